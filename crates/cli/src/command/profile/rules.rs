//! `countersign profile rules`.

use std::path::{Path, PathBuf};

use oci::{MediaType, RepositoryName};
use server::api::signing::{Asker, Profile, ProfileRules, RuleQuestion};
use signer::profile::rules::{Effect, Principals, Rule};
use signer::{ProfileName, RuleTestResult, Rules, Workload};

use crate::context::{Context, read_file};
use crate::error::CliError;
use crate::exit::ExitCode;
use crate::render;

/// Show, set and try the rules of a profile: who may sign what with it.
#[derive(clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    action: Action,
}

#[derive(clap::Subcommand)]
enum Action {
    /// Show the rules, in the order in which they are asked.
    Show {
        /// The profile.
        name: ProfileName,
    },
    /// Give a profile the rules in FILE, in place of its rules or grants.
    Set {
        /// The profile.
        name: ProfileName,
        /// The rules, in YAML or JSON: a list, or a mapping with `rules`.
        file: PathBuf,
    },
    /// Say which rule would decide a request, and why; nothing is signed.
    Test(Test),
}

#[derive(clap::Args)]
struct Test {
    /// The profile.
    name: ProfileName,
    /// The account that would ask [default: you].
    #[arg(long, value_name = "NAME", group = "asker")]
    account: Option<String>,
    /// The pipeline whose run would ask.
    #[arg(long, value_name = "PROJECT/PIPELINE", group = "asker")]
    pipeline: Option<String>,
    /// The workload that would ask: its issuer, a space, and its subject.
    #[arg(long, value_name = "ISSUER SUBJECT", group = "asker")]
    workload: Option<String>,
    /// A claim of the workload; may be repeated.
    #[arg(long = "claim", value_name = "NAME=TEXT", requires = "workload")]
    claims: Vec<String>,
    /// The repository that holds the artifact [default: not known, as with SignPayload].
    #[arg(long, value_name = "NAME", requires = "artifact_type")]
    repository: Option<RepositoryName>,
    /// The type of the artifact.
    #[arg(long, value_name = "TYPE", requires = "repository")]
    artifact_type: Option<MediaType>,
    /// Try the rules in FILE in place of the profile's own.
    #[arg(long, value_name = "FILE")]
    rules: Option<PathBuf>,
}

/// Does it.
pub(crate) async fn run(args: Args, context: &Context) -> Result<ExitCode, CliError> {
    let control = context.control(None).await?;
    match args.action {
        Action::Show { name } => {
            let rules: ProfileRules = control.get(&path(&name, "")).await?;
            context.print(&rules, shown)?;
        }
        Action::Set { name, file } => {
            let request = ProfileRules {
                rules: load(&file)?,
                of_grants: false,
            };
            let answer = control.put(&path(&name, ""), &request).await?;
            return crate::command::pending::done_or_pending(
                context,
                answer,
                |profile: &Profile| {
                    let version = &profile.profile.version;
                    format!("profile `{name}` has new rules, in version {version}\n")
                },
            );
        }
        Action::Test(test) => {
            let question = question(&test)?;
            let path = path(&test.name, "/test");
            let result: RuleTestResult = control.post(&path, &question).await?;
            context.print(&result, tested)?;
            if !result.allowed {
                return Ok(ExitCode::Denied);
            }
        }
    }
    Ok(ExitCode::Done)
}

fn path(name: &ProfileName, rest: &str) -> String {
    format!("api/v1/profiles/{name}/rules{rest}")
}

/// Loads rules from a file that the user named.
pub(crate) fn load(path: &Path) -> Result<Rules, CliError> {
    #[derive(serde::Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Document {
        rules: Rules,
    }
    let shown = path.display();
    let text = String::from_utf8(read_file(path)?)
        .map_err(|_| CliError::config(format!("`{shown}` is not text")))?;
    let mistaken = |error: gate::yaml::DocumentError| {
        CliError::config(format!("`{shown}` does not hold rules")).because(error.to_string())
    };
    let is_mapping = text.lines().any(|line| line.starts_with("rules:"));
    match is_mapping {
        true => gate::yaml::parse::<Document>(&text, |_| Vec::new()).map(|document| document.rules),
        false => gate::yaml::parse::<Rules>(&text, |_| Vec::new()),
    }
    .map_err(mistaken)
}

fn question(test: &Test) -> Result<RuleQuestion, CliError> {
    let asker = match (&test.account, &test.pipeline, &test.workload) {
        (Some(account), _, _) => Some(Asker::Account(account.clone())),
        (_, Some(pipeline), _) => Some(Asker::Pipeline(pipeline.clone())),
        (_, _, Some(workload)) => Some(Asker::Workload(parsed(workload, &test.claims)?)),
        (None, None, None) => None,
    };
    Ok(RuleQuestion {
        asker,
        repository: test.repository.clone(),
        artifact_type: test.artifact_type.clone(),
        rules: test.rules.as_deref().map(load).transpose()?,
    })
}

fn parsed(workload: &str, claims: &[String]) -> Result<Workload, CliError> {
    let (issuer, subject) = workload
        .split_once(' ')
        .ok_or_else(|| CliError::usage("a workload is its issuer, a space, and its subject"))?;
    let claim = |text: &String| {
        let parts = text.split_once('=');
        let (name, value) = parts.ok_or_else(|| CliError::usage("write a claim as `name=text`"))?;
        Ok::<_, CliError>((name.to_owned(), value.to_owned()))
    };
    Ok(Workload {
        issuer: issuer.to_owned(),
        subject: subject.to_owned(),
        claims: claims.iter().map(claim).collect::<Result<_, _>>()?,
    })
}

fn shown(rules: &ProfileRules) -> String {
    let mut text = String::new();
    if rules.of_grants {
        text += "the profile has grants, which mean this rule:\n";
    }
    if rules.rules.is_empty() {
        return "nobody may sign with it\n".to_owned();
    }
    for rule in rules.rules.as_slice() {
        text += &described(rule);
    }
    text
}

/// Returns a rule in words; also what `profile show` says.
pub(crate) fn described(rule: &Rule) -> String {
    let (verb, who) = match &rule.effect {
        Effect::Allow(who) => ("allows", who),
        Effect::Deny(who) => ("denies", who),
    };
    let mut text = format!("{}: {verb} {}", rule.id, principals(who));
    let list = |words: Vec<String>| render::sanitise(&words.join(", "));
    if !rule.artifact_types.is_empty() {
        let types = rule
            .artifact_types
            .iter()
            .map(ToString::to_string)
            .collect();
        text += &format!("; types {}", list(types));
    }
    if !rule.repositories.is_empty() {
        let repositories = rule.repositories.iter().map(ToString::to_string).collect();
        text += &format!("; repositories {}", list(repositories));
    }
    if let Some(quota) = rule.quota {
        text += &format!("; {quota} each");
    }
    text + "\n"
}

fn principals(who: &Principals) -> String {
    let mut words = Vec::new();
    if who.anyone {
        words.push("anyone".to_owned());
    }
    words.extend(
        who.kinds
            .iter()
            .map(|kind| format!("every {kind:?}").to_lowercase()),
    );
    words.extend(who.accounts.iter().map(|name| format!("account {name}")));
    words.extend(who.groups.iter().map(|name| format!("group {name}")));
    words.extend(who.pipelines.iter().map(|name| format!("pipeline {name}")));
    words.extend(who.workloads.iter().map(|one| format!("workload {one}")));
    render::sanitise(&words.join(", "))
}

fn tested(result: &RuleTestResult) -> String {
    let verdict = if result.allowed { "allowed" } else { "denied" };
    let mut text = format!("{verdict}: {}\n", render::sanitise(&result.reason));
    for step in &result.steps {
        let effect = if step.denies { "denies" } else { "allows" };
        let how = match (step.matches, &step.used) {
            (true, Some(used)) => format!("matches and {effect}; {used} used"),
            (true, None) => format!("matches and {effect}"),
            (false, _) => format!("does not match: {}", step.misses.join("; ")),
        };
        text += &format!("  {}: {}\n", step.rule, render::sanitise(&how));
    }
    text
}
