//! `countersign serve`: the server, as a supervisor and three roles.

use std::net::SocketAddr;
use std::path::PathBuf;

use client::witness::WitnessAddress;
use server::aws::DEFAULT_REQUESTS_PER_SECOND;
use server::custody::{CustodyChoice, unwrap_by_kms};
use server::observe::{LogFormat, init_log};
use server::roles::Role;
use server::roles::signer::AuthorityOptions;
use server::supervisor::{InstallationOptions, ServeError};
use server::{ServeOptions, roles};
use signer::account::parse_region;
use signer::authority::timestamp::TimestampPolicy;
use signer::custody::UnlockSource;
use signer::custody::unlock::ROOT_DEFAULT_PATH;
use signer::{AccountNumber, AuthoritySubject};

use crate::context::Context;
use crate::env_var::COUNTERSIGN_CUSTODY;
use crate::error::{CliError, Kind};
use crate::exit::ExitCode;

/// Run the server: registry, signing, pipelines.
///
/// Three processes: the front, which listens; the signer, which holds the keys; the worker, which
/// builds. Started as root, each has a user id and a folder of its own. At the first start the
/// administrator's token is written to DIR/admin.token.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// The folder that everything is kept in.
    #[arg(long, value_name = "DIR", required_unless_present = "role")]
    data: Option<PathBuf>,
    /// The address to listen on. Anything but a loopback address needs TLS.
    #[arg(long, value_name = "ADDRESS:PORT", default_value = "127.0.0.1:5000")]
    listen: SocketAddr,
    /// The URL under which others reach this server [default: that of the address].
    #[arg(long, value_name = "URL")]
    public_url: Option<String>,
    /// The TLS certificate and those above it, in PEM.
    #[arg(long, value_name = "FILE", requires = "tls_key")]
    tls_cert: Option<PathBuf>,
    /// The key of the TLS certificate, in PEM.
    #[arg(long, value_name = "FILE", requires = "tls_cert")]
    tls_key: Option<PathBuf>,
    /// Make a TLS certificate for the host NAME, data-NAME and verification.NAME, which AWS's
    /// clients use, and say where the CA certificate is that clients must trust.
    #[arg(long, value_name = "NAME", conflicts_with = "tls_cert")]
    tls_self_signed: Option<String>,
    /// The file with the secret that unlocks the signing keys; never inside DIR
    /// [default: /etc/countersign/unlock for root, else `unlock` in the folder of our settings;
    /// made at the first start].
    #[arg(long, value_name = "FILE", conflicts_with_all = ["unlock_fd", "unlock_kms"])]
    unlock_file: Option<PathBuf>,
    /// An open file descriptor to read that secret from.
    #[arg(long, value_name = "N", conflicts_with = "unlock_kms")]
    unlock_fd: Option<u32>,
    /// A file with that secret as AWS KMS encrypted it (`aws kms encrypt`); the service is asked
    /// to decrypt it at each start, with the access key and region of the environment.
    #[arg(long, value_name = "FILE")]
    unlock_kms: Option<PathBuf>,
    /// Where the signing keys lie: `file`, `pkcs11:token=NAME?module-path=FILE&pin-source=FILE`,
    /// `kms:REGION` or `vault:URL?token-file=FILE` (docs/guides/key-custody.md).
    #[arg(long, value_name = "WHERE", default_value = "file", env = COUNTERSIGN_CUSTODY)]
    custody: CustodyChoice,
    /// The subject of the certificate authority that the first start makes; trust policies name
    /// it, and it cannot be changed later.
    #[arg(
        long,
        value_name = "SUBJECT",
        default_value = "C=US, ST=WA, O=Countersign"
    )]
    authority: AuthoritySubject,
    /// Where verifiers fetch the revocation lists; plain HTTP, and stable: every signature names it.
    /// `{issuer}` stands for the identifier of the intermediate's key, and `ca.crl` at the end for
    /// `crl/{issuer}.crl` [default: /pki/ca.crl of the public URL, on port 80 when that is HTTPS].
    #[arg(long, value_name = "URL", value_parser = parse_crl_url)]
    crl_url: Option<String>,
    /// A witness that is asked to cosign the checkpoints of the transparency log, and the key of
    /// its cosignatures. May be given several times.
    #[arg(long = "witness", value_name = "URL=VKEY")]
    witnesses: Vec<WitnessAddress>,
    /// The account number of 12 digits that stands in the ARNs of AWS's API; fixed at the first
    /// start [default: a random one].
    #[arg(long, value_name = "NUMBER")]
    account_number: Option<AccountNumber>,
    /// The region that stands in those ARNs; fixed at the first start [default: us-east-1].
    /// Clients may sign for any.
    #[arg(long, value_name = "REGION", value_parser = parse_region)]
    region: Option<String>,
    /// How many requests a second each account number may make through AWS's API; twice as many
    /// may come at once.
    #[arg(long, value_name = "N", default_value_t = DEFAULT_REQUESTS_PER_SECOND,
          value_parser = clap::value_parser!(u32).range(1..))]
    aws_requests_per_second: u32,
    /// Where verifiers ask the OCSP responder; plain HTTP [default: /pki/ocsp beside the lists].
    #[arg(long, value_name = "URL", value_parser = parse_crl_url)]
    ocsp_url: Option<String>,
    /// The policy under which time is stamped, an object identifier of your own
    /// [default: 1.3.6.1.4.1.32473.1.3161, which is kept for examples].
    #[arg(long, value_name = "OID", value_parser = parse_policy)]
    timestamp_policy: Option<String>,
    /// How the log is written to standard error.
    #[arg(long, value_name = "FORMAT", default_value = "text")]
    log_format: Format,
    /// The role of this process; the supervisor gives it, with the settings on standard input.
    #[arg(long, hide = true)]
    role: Option<Role>,
}

/// The forms of the log.
#[derive(Clone, Copy, clap::ValueEnum)]
enum Format {
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
}

impl Args {
    /// Runs a role, if this process is one: it has only one thread so far.
    pub(crate) fn run_role(&self) -> Option<Result<ExitCode, CliError>> {
        let role = self.role?;
        Some(match roles::run(role) {
            Ok(()) => Ok(ExitCode::Done),
            Err(error) => {
                let message = format!("the {role} ended");
                Err(CliError::config(message).because(format!("{error:#}")))
            }
        })
    }

    async fn unlock(&self, context: &Context) -> Result<UnlockSource, CliError> {
        if let Some(blob) = &self.unlock_kms {
            let unwrapped = unwrap_by_kms(blob, context.aws()).await;
            return unwrapped.map_err(|error| CliError::wrapping(Kind::Config, error));
        }
        Ok(match (&self.unlock_file, self.unlock_fd) {
            (Some(path), _) => UnlockSource::File(path.clone()),
            (None, Some(number)) => UnlockSource::Descriptor(number),
            (None, None) if server::supervisor::is_root() => {
                UnlockSource::Default(ROOT_DEFAULT_PATH.into())
            }
            (None, None) => UnlockSource::Default(context.config_dir()?.join("unlock")),
        })
    }
}

/// Runs the supervisor until it is told to stop.
pub(crate) async fn run(args: Args, context: &Context) -> Result<ExitCode, CliError> {
    let log_format = match args.log_format {
        Format::Text => LogFormat::Text,
        Format::Json => LogFormat::Json,
    };
    let log_filter = context.log_filter();
    init_log(log_format, log_filter.as_deref());
    let unlock = args.unlock(context).await?;
    let data = args
        .data
        .ok_or_else(|| CliError::usage("`--data` is missing"))?;
    let options = ServeOptions {
        data,
        listen: args.listen,
        public_url: args.public_url,
        tls: args.tls_cert.zip(args.tls_key),
        tls_self_signed: args.tls_self_signed,
        unlock,
        custody: args.custody,
        aws: context.aws().clone(),
        authority: AuthorityOptions {
            subject: args.authority,
            crl_url: args.crl_url,
            ocsp_url: args.ocsp_url,
            timestamp_policy: args.timestamp_policy,
            ..AuthorityOptions::default()
        },
        witnesses: args.witnesses,
        installation: InstallationOptions {
            number: args.account_number,
            region: args.region,
        },
        aws_requests_per_second: args.aws_requests_per_second,
        log_format,
        log_filter,
    };
    server::serve(options).await.map_err(failed)?;
    Ok(ExitCode::Done)
}

fn parse_crl_url(text: &str) -> Result<String, String> {
    let parsed: Result<url::Url, _> = text.parse();
    match parsed {
        Ok(url) if url.scheme() == "http" && url.host().is_some() => Ok(url.into()),
        _ => {
            Err("expected an `http` URL: verifiers fetch lists and answers without TLS".to_owned())
        }
    }
}

fn parse_policy(text: &str) -> Result<String, String> {
    let parsed: Result<TimestampPolicy, _> = text.parse();
    parsed
        .map(|policy| policy.to_string())
        .map_err(|error| error.to_string())
}

fn failed(error: ServeError) -> CliError {
    CliError::wrapping(Kind::Config, error)
}
