//! From the name of an image to one digest, and to the gate's word on it.

use async_trait::async_trait;
use client::{ArtifactSource, TagOrDigest};
use oci::Reference;
use pipeline::builder::{BaseImages, BaseRefusal};
use pipeline::project::{ImageName, Name};
use pipeline::runner::LogSink;
use serde_json::{Value, json};

use super::WorkFailure;
use super::job::Job;
use crate::error::chain;

/// Resolves an image once; from here on it is the digest that counts.
pub(crate) async fn resolve(job: &Job, name: &ImageName) -> Result<Reference, WorkFailure> {
    let reference = match name {
        ImageName::Elsewhere(reference) => reference.clone(),
        ImageName::Own(repository, version) => {
            let separator = if version.contains(':') { '@' } else { ':' };
            let text = format!("{}/{repository}{separator}{version}", job.registry);
            text.parse()
                .map_err(|e| WorkFailure::of_work("image-name", chain(&e)))?
        }
    };
    let wanted = TagOrDigest::of(&reference)
        .ok_or_else(|| WorkFailure::of_work("image-name", format!("`{name}` has no tag")))?;
    let found = job.repository_of(&reference).resolve(&wanted).await?;
    Ok(reference.at(found.digest))
}

/// Admits base images that pass a gate policy.
pub(crate) struct GatedBases<'a> {
    pub(crate) job: &'a Job,
    pub(crate) policy: Option<&'a Name>,
    pub(crate) log: &'a dyn LogSink,
}

#[async_trait]
impl BaseImages for GatedBases<'_> {
    async fn admit(&self, name: &str) -> Result<Reference, BaseRefusal> {
        let refuse = |reason: String, is_verdict: bool| BaseRefusal {
            name: name.to_owned(),
            reason,
            is_verdict,
        };
        let image: ImageName = name
            .parse()
            .map_err(|e: pipeline::project::NameError| refuse(e.to_string(), true))?;
        let reference = resolve(self.job, &image)
            .await
            .map_err(|failure| refuse(failure.reason, !failure.retry))?;
        let Some(policy) = self.policy else {
            let line = format!("base image {name} was not judged: the action names no policy");
            self.log.line(&line).await;
            return Ok(reference);
        };
        let decision = ask(self.job, policy, &reference)
            .await
            .map_err(|failure| refuse(failure.reason, !failure.retry))?;
        match objection(&decision) {
            None => {
                let line = format!("base image {name} passes `{policy}`");
                self.log.line(&line).await;
                Ok(reference)
            }
            Some(reason) => Err(refuse(reason, true)),
        }
    }
}

async fn ask(job: &Job, policy: &Name, reference: &Reference) -> Result<Value, WorkFailure> {
    let question = json!({
        "policy": policy,
        "project": job.assignment.project,
        "reference": reference,
    });
    Ok(job.control()?.post("api/v1/gate/check", &question).await?)
}

/// Returns why a decision does not allow, if it does not.
fn objection(decision: &Value) -> Option<String> {
    let word = decision["decision"].as_str().unwrap_or("unreadable");
    if word == "allow" {
        return None;
    }
    let requirements = decision["requirements"].as_array();
    let failed = requirements
        .into_iter()
        .flatten()
        .filter(|r| r["result"] != "pass");
    let text = |value: &Value| value.as_str().unwrap_or("?").to_owned();
    let reasons: Vec<String> = failed
        .map(|r| format!("{}: {}", text(&r["code"]), text(&r["reason"])))
        .collect();
    Some(match reasons.is_empty() {
        true => format!("the decision is `{word}`"),
        false => reasons.join("; "),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_allow_allows() {
        assert_eq!(objection(&json!({"decision": "allow"})), None);
        for decision in [
            json!({}),
            json!({"decision": "inconclusive"}),
            json!("allow"),
        ] {
            assert!(objection(&decision).is_some(), "{decision}");
        }
        let denied = json!({"decision": "deny", "requirements": [
            {"id": "a", "result": "pass", "code": "", "reason": ""},
            {"id": "b", "result": "fail", "code": "signature-missing", "reason": "nobody signed"},
        ]});
        let expected = "signature-missing: nobody signed";
        assert_eq!(objection(&denied).as_deref(), Some(expected));
    }
}
