//! `countersign list`.

use std::collections::BTreeMap;

use client::Layout;
use oci::{Descriptor, Registry, RepositoryName, Tag};
use serde::Serialize;

use crate::context::Context;
use crate::error::CliError;
use crate::exit::ExitCode;
use crate::render::{self, table::Table};
use crate::target::Target;

/// List what is in a registry, in a repository, or attached to an artifact.
///
/// A registry lists its repositories; a repository, or an image layout `oci:FOLDER`, its tags; an
/// artifact what directly refers to it, signatures too, grouped by type. `countersign discover`
/// draws the whole graph.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// `registry`, `registry/repository`, or an artifact.
    #[arg(value_name = "REGISTRY|REPOSITORY|REF")]
    what: String,
}

#[derive(Serialize)]
struct Repositories {
    registry: Registry,
    repositories: Vec<RepositoryName>,
}

#[derive(Serialize)]
struct Tags {
    repository: String,
    tags: Vec<Tag>,
}

#[derive(Serialize)]
struct Referrers {
    reference: String,
    referrers: BTreeMap<String, Vec<Descriptor>>,
}

/// Lists.
pub(crate) async fn run(args: Args, context: &Context) -> Result<ExitCode, CliError> {
    match args.what.parse::<Registry>() {
        Ok(registry) => repositories(registry, context).await?,
        Err(_) => {
            let target: Target = args.what.parse()?;
            match target.name() {
                None => tags(target, context).await?,
                Some(_) => referrers(target, context).await?,
            }
        }
    }
    Ok(ExitCode::Done)
}

async fn repositories(registry: Registry, context: &Context) -> Result<(), CliError> {
    let repositories = context.registries()?.repositories(&registry).await?;
    let found = Repositories {
        registry,
        repositories,
    };
    context.print(&found, |found| {
        let lines = found.repositories.iter();
        lines
            .map(|name| format!("{}/{name}\n", found.registry))
            .collect()
    })
}

async fn tags(target: Target, context: &Context) -> Result<(), CliError> {
    let tags = match &target {
        Target::Registry(reference) => context.repository(reference)?.tags().await?,
        Target::Layout { folder, .. } => Layout::open(folder)?.tags()?,
    };
    let found = Tags {
        repository: target.to_string(),
        tags,
    };
    context.print(&found, |found| {
        found.tags.iter().map(|tag| format!("{tag}\n")).collect()
    })
}

async fn referrers(target: Target, context: &Context) -> Result<(), CliError> {
    let source = target.open(context)?;
    let root = target.resolve(&*source, context, None).await?;
    let mut by_type: BTreeMap<String, Vec<Descriptor>> = BTreeMap::new();
    for referrer in source.referrers(&root.digest).await? {
        let kind = referrer.artifact_type.as_ref().map(ToString::to_string);
        by_type
            .entry(kind.unwrap_or_default())
            .or_default()
            .push(referrer);
    }
    for group in by_type.values_mut() {
        group.sort_by(|a, b| a.digest.cmp(&b.digest));
    }
    let found = Referrers {
        reference: target.at(&root.digest).to_string(),
        referrers: by_type,
    };
    context.print(&found, text)
}

fn text(found: &Referrers) -> String {
    let mut table = Table::new(["TYPE", "DIGEST", "CREATED"]);
    for (kind, group) in &found.referrers {
        for referrer in group {
            let created = referrer.annotations.get("org.opencontainers.image.created");
            table.row([
                kind.clone(),
                referrer.digest.to_string(),
                created
                    .map(|text| render::sanitise(text))
                    .unwrap_or_default(),
            ]);
        }
    }
    match table.is_empty() {
        true => format!("nothing refers to {}\n", found.reference),
        false => format!("{}\n{}", found.reference, table.draw()),
    }
}
