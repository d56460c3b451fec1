//! `countersign sign`.

use std::collections::BTreeMap;

use client::control::{ControlClient, ControlError};
use client::envelope_artifact::{EnvelopeArtifact, SignedContent};
use client::{ArtifactSink, walk};
use oci::graph::GraphLimits;
use oci::{Descriptor, Digest, MediaType};
use serde::Serialize;
use server::api::accounts::Account;
use server::api::signing::{NewAttestation, NewSignature, SignedEnvelope};
use signer::{Acceptance, JobId, ProfileName};
use time::OffsetDateTime;
use trust::tlog::LogProof;

use crate::context::Context;
use crate::error::{CliError, Kind};
use crate::exit::ExitCode;
use crate::render;
use crate::target::Target;

/// Sign an artifact, in any registry, with the keys of the Countersign server.
///
/// The signature is attached to the artifact. With `--accept`, an acceptance is attached instead:
/// you stand for the artifact with all the evidence that hangs on it now, and the acceptance
/// counts only as long as that evidence does not change.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// The artifact; by digest, so that nobody can move it while you sign.
    #[arg(value_name = "REF")]
    target: Target,
    /// The signing profile, which must be granted to you.
    #[arg(long, value_name = "NAME")]
    profile: ProfileName,
    /// Metadata that is signed with the artifact; may be repeated.
    #[arg(
        short = 'm',
        long = "user-metadata",
        value_name = "NAME=TEXT",
        conflicts_with = "accept"
    )]
    metadata: Vec<String>,
    /// Accept the artifact and its evidence, and say why.
    #[arg(long, value_name = "COMMENT")]
    accept: Option<String>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Signed {
    reference: String,
    signature: Descriptor,
    #[serde(skip_serializing_if = "Option::is_none")]
    graph_root: Option<Digest>,
    profile: ProfileName,
    job: JobId,
    #[serde(with = "time::serde::rfc3339")]
    signing_time: OffsetDateTime,
    #[serde(with = "time::serde::rfc3339")]
    expires: OffsetDateTime,
    certificate_sha256: Vec<String>,
}

/// Signs.
pub(crate) async fn run(args: Args, context: &Context) -> Result<ExitCode, CliError> {
    let sink = args.target.open(context)?;
    let warning = Some("signing");
    let subject = args.target.resolve(&*sink, context, warning).await?;
    let control = context.control(registry(&args.target)).await?;
    let work = Work {
        args: &args,
        sink: &*sink,
        control,
        subject: subject.bare(),
    };
    let signed = match &args.accept {
        None => work.sign().await?,
        Some(comment) => work.accept(comment, context).await?,
    };
    context.print(&signed, |signed| text(signed, &args))?;
    Ok(ExitCode::Done)
}

struct Work<'a> {
    args: &'a Args,
    sink: &'a dyn ArtifactSink,
    control: ControlClient,
    subject: Descriptor,
}

impl Work<'_> {
    async fn sign(&self) -> Result<Signed, CliError> {
        let request = NewSignature {
            profile: self.args.profile.clone(),
            artifact: self.subject.clone(),
            repository: match &self.args.target {
                Target::Registry(reference) => Some(reference.repository.clone()),
                Target::Layout { .. } => None,
            },
            metadata: metadata(&self.args.metadata)?,
        };
        let signed: SignedEnvelope = self.control.post("api/v1/signatures", &request).await?;
        let content = self.content(&signed).await?;
        let artifact = EnvelopeArtifact::signature(content, &signed.certificate_sha256);
        self.push(signed, (&artifact, None)).await
    }

    async fn accept(&self, comment: &str, context: &Context) -> Result<Signed, CliError> {
        let graph_root = self.graph_root().await?;
        let account: Account = self.control.get("api/v1/whoami").await?;
        let acceptance = Acceptance {
            name: place(&self.args.target),
            subject: self.subject.digest.clone(),
            graph_root: graph_root.clone(),
            profile: self.args.profile.clone(),
            account: account.name,
            comment: comment.to_owned(),
            at: context.now(),
        };
        let profile = self.args.profile.clone();
        let request = NewAttestation::of_statement(profile, &acceptance.to_statement());
        let signed: SignedEnvelope = self.control.post("api/v1/attestations", &request).await?;
        let content = self.content(&signed).await?;
        let artifact = EnvelopeArtifact::attestation(content, MediaType::ACCEPTANCE);
        self.push(signed, (&artifact, Some(graph_root))).await
    }

    /// Walks the graph. What cannot be read cannot be accepted.
    async fn graph_root(&self) -> Result<Digest, CliError> {
        let graph = walk(self.sink, self.subject.clone(), GraphLimits::default()).await;
        graph.graph_root().ok_or_else(|| {
            let place = self.args.target.at(&self.subject.digest);
            CliError::config(format!("the evidence of `{place}` cannot all be read"))
                .hint(format!("look at it with `countersign discover {place}`"))
        })
    }

    async fn content(&self, signed: &SignedEnvelope) -> Result<SignedContent, CliError> {
        Ok(SignedContent {
            subject: self.subject.clone(),
            envelope: signed.envelope.clone(),
            signing_time: signed.signing_time,
            job: signed.job.to_string(),
            log: self.log_proof(&signed.job).await?,
        })
    }

    /// Returns the proof that the signature is in the server's log; `None` from a server of a time
    /// before there was one.
    async fn log_proof(&self, job: &JobId) -> Result<Option<LogProof>, CliError> {
        let bytes = self
            .control
            .get_bytes(&format!("log/proof?job={job}"))
            .await;
        let bytes = match bytes {
            Ok(bytes) => bytes,
            Err(ControlError::Refused { status: 404, .. }) => return Ok(None),
            Err(error) => return Err(error.into()),
        };
        let proof = LogProof::parse(&bytes);
        let proof = proof.map_err(|error| CliError::wrapping(Kind::Untrusted, error))?;
        Ok(Some(proof))
    }

    async fn push(
        &self,
        signed: SignedEnvelope,
        (artifact, graph_root): (&EnvelopeArtifact, Option<Digest>),
    ) -> Result<Signed, CliError> {
        Ok(Signed {
            reference: self.args.target.at(&self.subject.digest).to_string(),
            signature: artifact.push(self.sink).await?,
            graph_root,
            profile: self.args.profile.clone(),
            job: signed.job,
            signing_time: signed.signing_time,
            expires: signed.expires,
            certificate_sha256: signed.certificate_sha256,
        })
    }
}

fn registry(target: &Target) -> Option<&oci::Registry> {
    match target {
        Target::Registry(reference) => Some(&reference.registry),
        Target::Layout { .. } => None,
    }
}

/// Returns the repository without tag and digest.
fn place(target: &Target) -> String {
    match target {
        Target::Registry(reference) => reference.scope(),
        Target::Layout { folder, .. } => folder.display().to_string(),
    }
}

fn metadata(given: &[String]) -> Result<BTreeMap<String, String>, CliError> {
    let mut metadata = BTreeMap::new();
    for pair in given {
        let parts = pair.split_once('=').filter(|(name, text)| {
            let is_reserved = name.starts_with(trust::target::RESERVED_ANNOTATION_PREFIX);
            !name.is_empty() && !text.is_empty() && !is_reserved
        });
        let Some((name, text)) = parts else {
            let message = format!("`{}` is not user metadata", render::sanitise(pair));
            return Err(CliError::usage(message).hint(
                "write it as `name=text`, with a name that does not start with `io.cncf.notary`",
            ));
        };
        if metadata.insert(name.to_owned(), text.to_owned()).is_some() {
            return Err(CliError::usage(format!(
                "user metadata `{name}` is given twice"
            )));
        }
    }
    Ok(metadata)
}

fn text(signed: &Signed, args: &Args) -> String {
    let expires = render::time(signed.expires);
    let what = match &signed.graph_root {
        None => "signed".to_owned(),
        Some(_) => "accepted".to_owned(),
    };
    let mut text = format!("{what} {}\n", signed.reference);
    text += &format!("attached {}\n", args.target.at(&signed.signature.digest));
    if let Some(root) = &signed.graph_root {
        text += &format!("graph root {root}\n");
    }
    text + &format!(
        "profile {}, job {}, valid until {expires}\n",
        signed.profile, signed.job
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn metadata_is_names_and_texts() {
        let owned = |texts: &[&str]| {
            texts
                .iter()
                .map(|text| (*text).to_owned())
                .collect::<Vec<_>>()
        };
        let good = metadata(&owned(&["build=7", "url=http://x/?a=b"])).unwrap();
        assert_eq!(good["url"], "http://x/?a=b");
        for bad in [
            &["build"][..],
            &["=7"],
            &["a="],
            &["io.cncf.notary.x=1"],
            &["a=1", "a=2"],
        ] {
            assert!(metadata(&owned(bad)).is_err(), "{bad:?}");
        }
    }
}
