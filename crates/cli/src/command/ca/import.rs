//! `countersign ca import`.

use std::path::PathBuf;

use serde::Serialize;
use signer::AuthoritySubject;
use signer::authority::{Ceremony, Imported, IssuerRole};

use super::failed;
use super::service::ServiceArgs;
use crate::context::{Context, read_file};
use crate::error::CliError;

/// Bring in the certificate of an intermediate, or a revocation list of the root.
///
/// A certificate file holds the intermediate first, then those above it up to the root, in PEM. It
/// is checked as a verifier would check it: the key is one that asked, CA certificates meet the
/// Notary Project's requirements, every signature and path length holds. A revocation list is in
/// DER. The server takes both over at its next start.
#[derive(clap::Args)]
pub(super) struct Args {
    #[command(flatten)]
    service: ServiceArgs,
    /// The files.
    #[arg(value_name = "FILE", required = true)]
    files: Vec<PathBuf>,
}

#[derive(Serialize)]
struct Done {
    imported: Vec<String>,
}

pub(super) async fn run(args: Args, context: &Context) -> Result<(), CliError> {
    let subject = AuthoritySubject::default();
    let service = args.service.open(subject, None, context).await?;
    let ceremony = service.ceremony();
    let mut imported = Vec::new();
    for file in &args.files {
        let bytes = read_file(file)?;
        let one = one(&ceremony, &bytes, context);
        imported.push(one.map_err(|error| {
            CliError::config(format!("`{}` was not brought in", file.display())).because(error)
        })?);
    }
    service.hand_over()?;
    context.print(&Done { imported }, |done| done.imported.join("\n") + "\n")?;
    context.hint("restart the server: it takes them over at its start");
    Ok(())
}

fn one(ceremony: &Ceremony<'_>, bytes: &[u8], context: &Context) -> Result<String, CliError> {
    let is_pem = bytes.starts_with(b"-----") || bytes.windows(10).any(|at| at == b"-----BEGIN");
    let imported = match is_pem {
        true => ceremony.import(bytes, context.now()),
        false => ceremony.import_list(bytes),
    };
    Ok(match imported.map_err(failed)? {
        Imported::RootList { revoked } => {
            format!("brought in a list of the root, which revokes {revoked}")
        }
        Imported::Intermediate {
            role,
            generation,
            subject,
        } => {
            let purpose = match role {
                IssuerRole::Signing => "signing",
                IssuerRole::TimeStamping => "time-stamping",
            };
            format!("brought in {purpose} intermediate {generation}: {subject}")
        }
    })
}
