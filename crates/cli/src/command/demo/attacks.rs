//! The attacks: each is tried on the released image by somebody who has the registry's
//! administrator's token, and each must end in a denial with its own code while the released
//! version is still served.
//!
//! Most work on a copy of the release in a repository of its own, so that one attack does not
//! stand in for another.

use serde_json::Value;

use super::story::{Story, failure_code, in_folder, text};
use super::teller::broken;
use crate::error::CliError;

/// The version that must be served throughout.
const RELEASED: &str = "1.0.1";

type Attack = fn(&mut Story, &str) -> Result<(), CliError>;

/// What is tried, the code that must refuse it, and how it is done on a copy of the release.
const ON_A_COPY: &[(&str, &str, &str, Attack)] = &[
    (
        "an unsigned report",
        "unsigned",
        "signature-missing",
        unsigned_report,
    ),
    (
        "a required report deleted",
        "deleted",
        "artifact-missing",
        deleted_report,
    ),
    (
        "a report signed by the wrong team",
        "wrong-team",
        "signer-not-in-role",
        wrong_team,
    ),
    (
        "a signature copied from another digest",
        "copied",
        "signature-for-other-artifact",
        copied_signature,
    ),
    (
        "an expired signature",
        "expired",
        "signature-expired",
        expired_signature,
    ),
    (
        "an older clean report in place of a newer one",
        "older",
        "report-superseded",
        older_report,
    ),
    (
        "a revoked signature",
        "revoked",
        "signature-revoked",
        revoked_signature,
    ),
];

/// Plays all attacks.
pub(super) fn play(story: &mut Story) -> Result<(), CliError> {
    story.teller.step("attack: a tag moved after the approval");
    moved_tag(story)?;
    for (title, name, code, attack) in ON_A_COPY {
        story.teller.step(&format!("attack: {title}"));
        let copy = copy_release(story, name)?;
        attack(story, &copy)?;
        let run = start(story, &copy)?;
        let run = story.wait_until(&run, &["failed", "waiting-for-approval", "succeeded"])?;
        refused(story, title, &run, code)?;
    }
    Ok(())
}

fn refused(story: &mut Story, title: &str, run: &Value, code: &str) -> Result<(), CliError> {
    story.must_be(run, "failed")?;
    let found = failure_code(run)?;
    if found != code {
        story.show_run("admin", run)?;
        return Err(broken(format!(
            "the attack was refused with `{found}`, not `{code}`"
        )));
    }
    story.teller.refused(title, code);
    story.still_served(RELEASED)
}

/// Starts a production run for `reference` and returns its id.
fn start(story: &mut Story, reference: &str) -> Result<String, CliError> {
    let run = story.json(
        "admin",
        &["run", "start", "production", "--image", reference],
    )?;
    let id = text(&run, &["id"])?;
    story.saw(&id);
    Ok(id)
}

/// Copies the release with everything that hangs on it, and returns the copy by digest.
fn copy_release(story: &Story, name: &str) -> Result<String, CliError> {
    let repository = format!("{}/apps/{name}", story.sandbox.server);
    story.json(
        "admin",
        &[
            "copy",
            "--recursive",
            &story.released,
            &format!("{repository}:1.0.1"),
        ],
    )?;
    Ok(format!("{repository}@{}", digest_of(&story.released)))
}

/// The worker is held up, so that there is a moment between the approval and the deployment.
fn moved_tag(story: &mut Story) -> Result<(), CliError> {
    let latest = format!("{}/apps/shop:latest", story.sandbox.server);
    let run = start(story, &latest)?;
    let waiting = story.wait_until(&run, &["waiting-for-approval", "failed", "succeeded"])?;
    story.must_be(&waiting, "waiting-for-approval")?;
    story.signal("worker", "STOP")?;
    story.tell(
        "release-manager",
        &["run", "approve", &run, "--comment", "as before"],
    )?;
    let moved = story.tell("admin", &["tag", &story.denied, "latest"]);
    story.signal("worker", "CONT")?;
    moved?;
    let run = story.wait_same(&run)?;
    refused(story, "a tag moved after the approval", &run, "tag-moved")?;
    story
        .tell("admin", &["tag", &story.released, "latest"])
        .map(drop)
}

fn unsigned_report(story: &mut Story, copy: &str) -> Result<(), CliError> {
    let report = artifact(story, copy, "test/example")?;
    remove_signatures(story, copy, &report)
}

fn deleted_report(story: &mut Story, copy: &str) -> Result<(), CliError> {
    let report = artifact(story, copy, "test/example")?;
    remove(story, copy, &digest(&report)?)
}

fn wrong_team(story: &mut Story, copy: &str) -> Result<(), CliError> {
    let report = artifact(story, copy, "test/example")?;
    remove_signatures(story, copy, &report)?;
    sign(story, "mallory", copy, &report, "marketing")
}

fn copied_signature(story: &mut Story, copy: &str) -> Result<(), CliError> {
    let report = artifact(story, copy, "test/example")?;
    let signature = signatures(&report)
        .next()
        .ok_or_else(|| broken("the test report has no signature"))?;
    let stolen = steal(story, copy, &digest(signature)?)?;
    let licence = artifact(story, copy, "licence/example")?;
    remove_signatures(story, copy, &licence)?;
    let target = at(copy, &digest(&licence)?);
    let file = format!("{stolen}:application/jose+json");
    let kind = "application/vnd.cncf.notary.signature";
    story.tell(
        "admin",
        &["attach", "--artifact-type", kind, &target, &file],
    )?;
    Ok(())
}

fn expired_signature(story: &mut Story, copy: &str) -> Result<(), CliError> {
    let report = artifact(story, copy, "test/example")?;
    remove_signatures(story, copy, &report)?;
    sign(story, "tester", copy, &report, "qa-brief")?;
    story
        .teller
        .say("the profile `qa-brief` is trusted, and its signatures are valid for two seconds");
    std::thread::sleep(std::time::Duration::from_secs(3));
    Ok(())
}

/// A newer scan knows of an advisory that the first did not. It is deleted, so that the older,
/// clean one is the latest again.
fn older_report(story: &mut Story, copy: &str) -> Result<(), CliError> {
    let before = digest(&artifact(story, copy, "cve/example")?)?;
    let run = story.json("admin", &["run", "start", "rescan", "--image", copy])?;
    let run = story.wait_same(&text(&run, &["id"])?)?;
    story.must_be(&run, "succeeded")?;
    let newer = artifacts(story, copy, "cve/example")?;
    let newer = newer.iter().map(digest).collect::<Result<Vec<_>, _>>()?;
    let newer = newer
        .into_iter()
        .find(|one| *one != before)
        .ok_or_else(|| broken("the new scan left no report"))?;
    story.teller.say(
        "the image was scanned again; the newer report is known to the server, and is now deleted",
    );
    remove(story, copy, &newer)
}

fn revoked_signature(story: &mut Story, copy: &str) -> Result<(), CliError> {
    let graph = story.ask("admin", &["discover", copy])?;
    let signature = signatures(&graph)
        .next()
        .ok_or_else(|| broken("the image has no signature"))?;
    let job = text(signature, &["annotations", "dev.countersign.signing-job"])?;
    story.tell(
        "admin",
        &[
            "signature",
            "revoke",
            &job,
            "--reason",
            "the build machine was found open",
        ],
    )?;
    Ok(())
}

fn sign(
    story: &Story,
    who: &str,
    copy: &str,
    artifact: &Value,
    profile: &str,
) -> Result<(), CliError> {
    story.tell(
        who,
        &["sign", &at(copy, &digest(artifact)?), "--profile", profile],
    )?;
    Ok(())
}

/// Returns the only artifact of this type on the image.
fn artifact(story: &Story, copy: &str, kind: &str) -> Result<Value, CliError> {
    artifacts(story, copy, kind)?
        .into_iter()
        .next()
        .ok_or_else(|| broken(format!("{copy} has no `{kind}`")))
}

fn artifacts(story: &Story, copy: &str, kind: &str) -> Result<Vec<Value>, CliError> {
    let graph = story.ask("admin", &["discover", copy])?;
    let referrers = graph["referrers"].as_array().into_iter().flatten();
    Ok(referrers
        .filter(|entry| entry["artifactType"] == kind)
        .cloned()
        .collect())
}

fn signatures(artifact: &Value) -> impl Iterator<Item = &Value> {
    let referrers = artifact["referrers"].as_array().into_iter().flatten();
    referrers.filter(|entry| entry["artifactType"] == "application/vnd.cncf.notary.signature")
}

fn remove_signatures(story: &Story, copy: &str, artifact: &Value) -> Result<(), CliError> {
    signatures(artifact).try_for_each(|signature| remove(story, copy, &digest(signature)?))
}

/// Deletes a manifest with somebody else's tool.
fn remove(story: &Story, copy: &str, digest: &str) -> Result<(), CliError> {
    let authority = credentials(story)?;
    let target = format!("docker://{}", at(copy, digest));
    let line = [
        "skopeo",
        "delete",
        "--tls-verify=false",
        "--authfile",
        &authority,
        &target,
    ];
    story.program("admin", &story.sandbox.dir, &line)
}

/// Takes the envelope out of a signature manifest and returns the file's path.
fn steal(story: &Story, copy: &str, signature: &str) -> Result<String, CliError> {
    let authority = credentials(story)?;
    let source = format!("docker://{}", at(copy, signature));
    let line = [
        "skopeo",
        "copy",
        "--quiet",
        "--src-tls-verify=false",
        "--authfile",
        &authority,
        &source,
        "dir:stolen",
    ];
    story.program("admin", &story.sandbox.dir, &line)?;
    let manifest =
        std::fs::read(story.sandbox.dir.join("stolen/manifest.json")).map_err(in_folder)?;
    let manifest: Value = serde_json::from_slice(&manifest)
        .map_err(|e| broken("the stolen manifest is not JSON").because(e))?;
    let envelope = text(&manifest["layers"][0], &["digest"])?;
    Ok(format!("stolen/{}", envelope.trim_start_matches("sha256:")))
}

fn credentials(story: &Story) -> Result<String, CliError> {
    Ok(story
        .sandbox
        .home("admin")?
        .join("docker/config.json")
        .display()
        .to_string())
}

fn digest(entry: &Value) -> Result<String, CliError> {
    text(entry, &["digest"])
}

fn digest_of(reference: &str) -> &str {
    reference.rsplit('@').next().unwrap_or(reference)
}

fn at(reference: &str, digest: &str) -> String {
    format!(
        "{}@{digest}",
        reference.split('@').next().unwrap_or(reference)
    )
}
