//! `countersign inspect`.

use client::ArtifactSink;
use client::evidence::MAX_ENVELOPE_BYTES;
use oci::graph::{GraphLimits, Node};
use oci::{Digest, Manifest, MediaType};
use serde::Serialize;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use trust::UnverifiedView;
use trust::inspect::CertificateView;

use crate::context::Context;
use crate::error::CliError;
use crate::exit::ExitCode;
use crate::render::{self, tree::Tree};
use crate::target::Target;

/// Show what the signatures and attestations of an artifact claim, without verifying anything.
///
/// Anybody can write anything into an envelope: `countersign verify` says what is true.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// The artifact.
    #[arg(value_name = "REF")]
    target: Target,
}

#[derive(Serialize)]
struct Inspected {
    reference: String,
    /// Always false: nothing here was verified.
    verified: bool,
    envelopes: Vec<Envelope>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Envelope {
    digest: Digest,
    artifact_type: MediaType,
    #[serde(skip_serializing_if = "Option::is_none")]
    problem: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    claims: Option<UnverifiedView>,
}

/// Inspects.
pub(crate) async fn run(args: Args, context: &Context) -> Result<ExitCode, CliError> {
    let source = args.target.open(context)?;
    let root = args.target.resolve(&*source, context, None).await?;
    let limits = GraphLimits {
        depth: 1,
        ..GraphLimits::default()
    };
    let graph = client::walk(&*source, root, limits).await;
    let mut envelopes = Vec::new();
    for node in graph.nodes() {
        if let Some(artifact_type) = envelope_type(node) {
            envelopes.push(envelope(&*source, node, artifact_type).await);
        }
    }
    let inspected = Inspected {
        reference: args.target.at(graph.root()).to_string(),
        verified: false,
        envelopes,
    };
    context.print(&inspected, text)?;
    Ok(ExitCode::Done)
}

fn envelope_type(node: &Node) -> Option<MediaType> {
    let kind = node.artifact_type()?;
    let is_envelope = kind.is_endorsement() || *kind == MediaType::PROVENANCE;
    (node.subject.is_some() && is_envelope).then(|| kind.clone())
}

async fn envelope(source: &dyn ArtifactSink, node: &Node, artifact_type: MediaType) -> Envelope {
    let read = claims(source, node).await;
    Envelope {
        digest: node.descriptor.digest.clone(),
        artifact_type,
        problem: read.as_ref().err().cloned(),
        claims: read.ok(),
    }
}

async fn claims(source: &dyn ArtifactSink, node: &Node) -> Result<UnverifiedView, String> {
    let image = node.manifest.as_ref().and_then(Manifest::as_image);
    let unread = || node.problem.clone().unwrap_or_default();
    let image = image.ok_or_else(unread)?;
    let [layer] = &image.layers[..] else {
        return Err("it has not exactly one layer".to_owned());
    };
    let bytes = source.blob(layer, MAX_ENVELOPE_BYTES).await;
    let bytes = bytes.map_err(|error| error.to_string())?;
    trust::inspect::inspect(&layer.media_type, &bytes).map_err(|refusal| refusal.reason)
}

fn text(inspected: &Inspected) -> String {
    let mut tree = Tree::new(inspected.reference.clone());
    for envelope in &inspected.envelopes {
        let head = format!("{}  {}", envelope.artifact_type, envelope.digest);
        let mut below = Tree::new(head);
        if let Some(problem) = &envelope.problem {
            leaf(&mut below, "cannot be read", problem);
        }
        if let Some(claims) = &envelope.claims {
            add_claims(&mut below, claims);
        }
        tree.push(below);
    }
    let remark = match inspected.envelopes.is_empty() {
        true => "there are no signatures or attestations",
        false => "nothing of this was verified: `countersign verify` says what is true",
    };
    format!("{}{remark}\n", tree.draw())
}

fn add_claims(tree: &mut Tree, claims: &UnverifiedView) {
    if let Some(attributes) = &claims.signed_attributes {
        leaf(tree, "algorithm", attributes.algorithm.name());
        leaf(tree, "signing scheme", attributes.scheme.name());
        leaf(tree, "signing time", &moment(attributes.signing_time));
        if let Some(expiry) = attributes.expiry {
            leaf(tree, "expiry", &moment(expiry));
        }
        for (name, value) in &attributes.extended {
            leaf(tree, name, &value.to_string());
        }
    }
    if let Some(agent) = &claims.signing_agent {
        leaf(tree, "signing agent", agent);
    }
    if let Some(target) = &claims.target {
        leaf(tree, "signed artifact", target.digest.as_str());
        for (name, value) in &target.annotations {
            leaf(tree, "user metadata", &format!("{name}={value}"));
        }
    }
    if let Some(statement) = &claims.statement {
        leaf(tree, "predicate type", &statement.predicate_type);
        for subject in &statement.subjects {
            leaf(tree, "subject", subject.as_str());
        }
    }
    let mut chain = Tree::new("certificates");
    for certificate in &claims.certificates {
        chain.push(certificate_tree(certificate));
    }
    tree.push(chain);
}

fn certificate_tree(certificate: &CertificateView) -> Tree {
    let subject = certificate.subject.to_string();
    let mut tree = Tree::new(render::sanitise(&subject));
    leaf(&mut tree, "SHA-256", &certificate.sha256);
    leaf(&mut tree, "issued by", &certificate.issuer.to_string());
    leaf(&mut tree, "key", &certificate.key);
    let validity = format!(
        "{} to {}",
        moment(certificate.not_before),
        moment(certificate.not_after)
    );
    leaf(&mut tree, "valid", &validity);
    for url in &certificate.crl_urls {
        leaf(&mut tree, "revocation list", url);
    }
    tree
}

fn leaf(tree: &mut Tree, name: &str, value: &str) {
    let line = format!("{}: {}", render::sanitise(name), render::sanitise(value));
    tree.push(Tree::new(line));
}

fn moment(time: OffsetDateTime) -> String {
    time.format(&Rfc3339).unwrap_or_default()
}
