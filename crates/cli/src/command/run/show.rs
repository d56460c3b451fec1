//! Runs in words.

use pipeline::run::Input;
use server::api::runs::{Awaiting, Run, RunAction, RunSummary};

use crate::render;
use crate::render::table::Table;

/// Returns one line about a run.
pub(super) fn line(run: &RunSummary) -> String {
    format!("run {} of {}: {}\n", run.id, run.pipeline, run.status)
}

/// Returns what a run was started with.
pub(super) fn input(input: &Input) -> String {
    match input {
        Input::Commit {
            repository,
            branch,
            commit,
        } => {
            let branch = render::sanitise(branch);
            let commit = commit.get(..12).unwrap_or(commit);
            format!("{repository} {branch} {commit}")
        }
        Input::Image {
            repository,
            digest,
            tag,
        } => {
            let tag = tag.as_ref().map(|tag| format!(":{tag}"));
            format!("{repository}{}@{}", tag.unwrap_or_default(), digest.short())
        }
    }
}

/// Returns everything about a run.
pub(super) fn whole(run: &Run) -> String {
    let summary = &run.summary;
    let mut text = format!(
        "run       {}\npipeline  {} of {}\nstatus    {}\ninput     {}\nstarted   {}\nchanged   {}\n\n",
        summary.id,
        summary.pipeline,
        summary.project,
        summary.status,
        input(&summary.input),
        render::time(summary.started_at),
        render::time(summary.updated_at),
    );
    let mut table = Table::new(["STAGE", "ACTION", "STATUS", "TIME", ""]);
    for action in &run.actions {
        table.row([
            action.stage.clone(),
            action.name.clone(),
            action.status.clone(),
            took(action),
            remark(action),
        ]);
    }
    text += &table.draw();
    let outputs = outputs(run);
    if !outputs.is_empty() {
        text += "\n";
        text += &outputs;
    }
    if let Some(awaiting) = &run.awaiting {
        text += "\n";
        text += &verdict(awaiting);
    }
    text
}

fn took(action: &RunAction) -> String {
    match (action.started_at, action.finished_at) {
        (Some(started), Some(finished)) => {
            format!("{:.1}s", (finished - started).as_seconds_f64())
        }
        _ => String::new(),
    }
}

/// Returns why an action failed or was rejected.
fn remark(action: &RunAction) -> String {
    let text = |pointer: &str| action.detail.pointer(pointer).and_then(|one| one.as_str());
    let failure = text("/status/failure/message").map(|message| {
        let code = text("/status/failure/code").unwrap_or_default();
        format!("{code}: {message}")
    });
    let rejection = text("/status/comment").map(|comment| {
        let account = text("/status/account").unwrap_or_default();
        format!("by {account}: {comment}")
    });
    let remark = failure.or(rejection).unwrap_or_default();
    render::sanitise(&remark)
}

fn outputs(run: &Run) -> String {
    let text = |pointer: &str| run.outputs.pointer(pointer).and_then(|one| one.as_str());
    let mut lines = String::new();
    if let (Some(repository), Some(digest)) = (text("/image/repository"), text("/image/digest")) {
        lines += &format!("image     {repository}@{digest}\n");
    }
    let artifacts = run.outputs["artifacts"].as_array();
    for artifact in artifacts.into_iter().flatten() {
        let kind = artifact["type"].as_str().unwrap_or_default();
        let digest = artifact["digest"].as_str().unwrap_or_default();
        lines += &format!("attached  {} {digest}\n", render::sanitise(kind));
    }
    let deployments = run.outputs["deployments"].as_array();
    for deployment in deployments.into_iter().flatten() {
        let environment = deployment["environment"].as_str().unwrap_or_default();
        let url = deployment["url"].as_str().unwrap_or_default();
        lines += &format!("deployed  {environment} {}\n", render::sanitise(url));
    }
    lines
}

/// Returns what a person is asked to approve.
pub(super) fn verdict(awaiting: &Awaiting) -> String {
    let mut text = format!(
        "waits for an approval by {} until {}\n",
        awaiting.by.join(" or "),
        render::time(awaiting.until)
    );
    if let Some(root) = &awaiting.graph_root {
        text += &format!("over the evidence {root}\n");
    }
    if let Some(tree) = &awaiting.tree {
        text += &render::sanitise_lines(tree);
        text += "\n";
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_run_that_waits_shows_the_verdict() {
        let run: Run = serde_json::from_value(json!({
            "id": "a1b2c3", "project": "shop", "pipeline": "production",
            "status": "waiting-for-approval", "finished": false, "at": "approval",
            "input": {"image": {
                "repository": "apps/shop",
                "digest": oci::Digest::sha256(b"image"), "tag": "latest",
            }},
            "startedAt": "2026-01-02T03:04:05Z", "updatedAt": "2026-01-02T03:04:06Z",
            "actions": [
                {"stage": "verify", "name": "verdict", "status": "succeeded", "detail": {},
                 "startedAt": "2026-01-02T03:04:05Z", "finishedAt": "2026-01-02T03:04:05.5Z"},
                {"stage": "deploy", "name": "deploy", "status": "failed", "detail": {"status": {
                    "status": "failed", "failure": {"code": "tag-moved", "message": "moved\u{1b}"},
                }}},
            ],
            "outputs": {"artifacts": [{"type": "sbom/example", "digest": "sha256:1"}]},
            "awaiting": {
                "action": "approval", "by": ["release-manager"], "until": "2026-01-09T03:04:05Z",
                "tree": "allow\n  ✓ image",
            },
        }))
        .unwrap();
        insta::assert_snapshot!(whole(&run));
    }
}
