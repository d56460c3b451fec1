//! The command line: what is common to all commands. Each command's own arguments are in its file.

use std::path::PathBuf;

use clap::{Args, Parser};

use crate::command::Command;
use crate::exit;

/// Says who vouches for a container image, on what evidence, and whether that satisfies the rules.
///
/// REF is `registry/repository:tag` or `registry/repository@sha256:…`. Credentials for registries
/// and for the Countersign server are those of Docker's clients; see `countersign login`.
#[derive(Parser)]
#[command(name = "countersign", version, after_help = exit::TABLE, max_term_width = 100)]
#[command(disable_help_subcommand = true, propagate_version = false)]
pub(crate) struct Cli {
    #[command(flatten)]
    pub(crate) global: GlobalArgs,
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// Arguments that every command takes.
#[derive(Args, Clone)]
pub(crate) struct GlobalArgs {
    /// How to print the result: `text` or `json`, or a format of the command's own.
    #[arg(
        short,
        long,
        global = true,
        value_name = "FORMAT",
        help_heading = "Common options"
    )]
    pub(crate) output: Option<String>,
    /// Talk plain HTTP to registries other than this machine's (which it is automatic for).
    #[arg(long, global = true, help_heading = "Common options")]
    pub(crate) plain_http: bool,
    /// A file of further certificate authorities to trust for TLS, in PEM.
    #[arg(
        long,
        global = true,
        value_name = "FILE",
        help_heading = "Common options"
    )]
    pub(crate) ca_file: Option<PathBuf>,
    /// The address of the Countersign server [default: $COUNTERSIGN_SERVER, else the registry at hand].
    #[arg(
        long,
        global = true,
        value_name = "URL",
        help_heading = "Common options"
    )]
    pub(crate) server: Option<String>,
    /// The folder of our settings [default: $COUNTERSIGN_CONFIG, else ~/.config/countersign].
    #[arg(
        long,
        global = true,
        value_name = "DIR",
        help_heading = "Common options"
    )]
    pub(crate) config: Option<PathBuf>,
    /// Say what is being done, on standard error; twice for every detail.
    #[arg(short, long, global = true, action = clap::ArgAction::Count, help_heading = "Common options")]
    pub(crate) verbose: u8,
}
