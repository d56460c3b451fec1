//! What a buildspec may not say, or may not say here.

use gate::yaml::Mistake;

use super::{Artifacts, Buildspec, Env, Phase};

/// The longest value of a variable, in bytes: what Linux gives one argument or variable.
const MAX_VALUE_BYTES: usize = 128 * 1024;

/// Returns everything that is wrong with `spec`.
pub(super) fn buildspec(spec: &Buildspec) -> Vec<Mistake> {
    let mut mistakes = Vec::new();
    match spec.version.as_str() {
        "0.2" => {}
        "0.1" => mistakes.push(Mistake::new(
            "version",
            "version 0.1 runs each command in a shell of its own: change it to 0.2",
        )),
        other => mistakes.push(Mistake::new(
            "version",
            format!("version `{other}` is not supported: use 0.2"),
        )),
    }
    mistakes.extend(refusals(spec));
    env(&spec.env, &mut mistakes);
    user("run-as", spec.run_as.as_deref(), &mut mistakes);
    if spec.phases().next().is_none() {
        mistakes.push(Mistake::new("phases", "there is no phase"));
    }
    for (name, phase) in spec.phases() {
        phase_commands(&format!("phases.{name}"), phase, &mut mistakes);
        let runtimes = phase.runtime_versions.is_some() && name != super::PhaseName::Install;
        if runtimes {
            let member = format!("phases.{name}.runtime-versions");
            mistakes.push(Mistake::new(member, "belongs to the phase `install` only"));
        }
    }
    if let Some(artifacts) = &spec.artifacts {
        files(artifacts, &mut mistakes);
    }
    mistakes
}

fn refusals(spec: &Buildspec) -> Vec<Mistake> {
    let artifacts = spec.artifacts.as_ref();
    let refused = [
        (
            spec.proxy.is_some(),
            "proxy",
            "set proxy variables in `env.variables`",
        ),
        (
            spec.batch.is_some(),
            "batch",
            "write several actions in `countersign.yaml`",
        ),
        (
            spec.reports.is_some(),
            "reports",
            "attach the report with a `test` or `attach` action",
        ),
        (
            spec.cache.is_some(),
            "cache",
            "put what is reused into the build image",
        ),
        (
            spec.env.parameter_store.is_some(),
            "env.parameter-store",
            "use `env.variables` for what is not secret",
        ),
        (
            spec.env.secrets_manager.is_some(),
            "env.secrets-manager",
            "runs get no secrets but a token for themselves",
        ),
        (
            artifacts.is_some_and(|a| a.exclude_paths.is_some()),
            "artifacts.exclude-paths",
            "name the files that you want",
        ),
        (
            artifacts.is_some_and(|a| a.enable_symlinks.is_some()),
            "artifacts.enable-symlinks",
            "symbolic links are not followed",
        ),
        (
            artifacts.is_some_and(|a| a.s3_prefix.is_some()),
            "artifacts.s3-prefix",
            "artifacts stay with the run",
        ),
        (
            artifacts.is_some_and(|a| a.secondary_artifacts.is_some()),
            "artifacts.secondary-artifacts",
            "list all files under `files`",
        ),
    ];
    refused
        .into_iter()
        .filter(|(is_there, _, _)| *is_there)
        .map(|(_, member, instead)| Mistake::new(member, format!("is not supported: {instead}")))
        .collect()
}

fn env(env: &Env, mistakes: &mut Vec<Mistake>) {
    for (name, value) in &env.variables {
        let member = format!("env.variables.{name}");
        if !is_variable(name) {
            mistakes.push(Mistake::new(member, "is not the name of a variable"));
        } else if name.starts_with("CODEBUILD_") {
            let reason = "names that start with `CODEBUILD_` are set by the system";
            mistakes.push(Mistake::new(member, reason));
        } else if value.len() > MAX_VALUE_BYTES || value.contains('\0') {
            let reason = format!("is longer than {MAX_VALUE_BYTES} bytes, or holds a NUL");
            mistakes.push(Mistake::new(member, reason));
        }
    }
    for (index, name) in env.exported_variables.iter().enumerate() {
        let member = format!("env.exported-variables[{index}]");
        if !is_variable(name) || name.starts_with("AWS_") {
            let reason = format!("`{name}` cannot be exported");
            mistakes.push(Mistake::new(member, reason));
        }
    }
    match env.git_credential_helper.as_deref() {
        None | Some("no") => {}
        Some(_) => mistakes.push(Mistake::new(
            "env.git-credential-helper",
            "is not supported: the source is there already",
        )),
    }
}

fn phase_commands(at: &str, phase: &Phase, mistakes: &mut Vec<Mistake>) {
    user(&format!("{at}.run-as"), phase.run_as.as_deref(), mistakes);
    for (list, commands) in [("commands", &phase.commands), ("finally", &phase.finally)] {
        for (index, command) in commands.iter().enumerate() {
            if command.contains('\0') {
                let member = format!("{at}.{list}[{index}]");
                mistakes.push(Mistake::new(member, "holds a NUL"));
            }
        }
    }
}

fn user(member: &str, name: Option<&str>, mistakes: &mut Vec<Mistake>) {
    let good = |b: u8| b.is_ascii_alphanumeric() || b"_-.".contains(&b);
    let Some(name) = name else { return };
    let is_name = (1..=32).contains(&name.len()) && name.bytes().all(good);
    if !is_name || name.starts_with('-') {
        let reason = format!("`{name}` is not the name of a user");
        mistakes.push(Mistake::new(member, reason));
    }
}

fn files(artifacts: &Artifacts, mistakes: &mut Vec<Mistake>) {
    if artifacts.files.is_empty() {
        mistakes.push(Mistake::new("artifacts.files", "names no file"));
    }
    for (index, file) in artifacts.files.iter().enumerate() {
        let leaves = file.starts_with('/') || file.split('/').any(|part| part == "..");
        if file.is_empty() || leaves || file.contains('\0') {
            let reason = format!("`{file}` is not a path below the base folder");
            mistakes.push(Mistake::new(format!("artifacts.files[{index}]"), reason));
        }
    }
}

fn is_variable(name: &str) -> bool {
    let word = |b: u8| b.is_ascii_alphanumeric() || b == b'_';
    (1..=128).contains(&name.len())
        && name.bytes().all(word)
        && !name.starts_with(|c: char| c.is_ascii_digit())
}
