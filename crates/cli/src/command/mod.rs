//! The commands, one file each: `Args`, and `run` that does the work.
//!
//! To add one: write `command/<name>.rs`, and add a `mod` line and a line in the table below.

mod login;
mod logout;

mod access_key;
mod account;
mod attach;
mod backup;
mod ca;
mod copy;
mod custody;
mod discover;
mod down;
mod forecast;
mod list;
mod log;
mod oidc;
pub(crate) mod pending;
mod profile;
mod pull;
mod push;
mod revocation;
mod revoking;
mod serve;
mod sign;
mod signature;
mod tag;
mod up;
mod witness;

mod db;
mod sbom;
mod scan;

mod gate;
mod inspect;
mod trust;
mod verifier;
mod verify;

mod deployment;
mod run;

mod completion;
mod demo;
mod version;

use clap::Subcommand;

use crate::context::Context;
use crate::error::CliError;
use crate::exit::ExitCode;

macro_rules! commands {
    ($($variant:ident => $module:ident,)*) => {
        /// What to do. The help of each command is the doc comment of its `Args`.
        #[derive(Subcommand)]
        #[allow(clippy::large_enum_variant, reason = "a process parses one command; which is largest changes")]
        pub(crate) enum Command {
            $(#[allow(missing_docs)] $variant($module::Args),)*
        }

        impl Command {
            /// Does it.
            pub(crate) async fn run(self, context: &Context) -> Result<ExitCode, CliError> {
                match self {
                    // Boxed: the futures of a few commands are large, and all would be as large.
                    $(Self::$variant(args) => Box::pin($module::run(args, context)).await,)*
                }
            }
        }
    };
}

// In the order of the help: first what a developer does, last what an operator does.
commands! {
    Login => login,
    Logout => logout,
    Push => push,
    Pull => pull,
    Attach => attach,
    Discover => discover,
    List => list,
    Tag => tag,
    Copy => copy,
    Sign => sign,
    Verify => verify,
    Inspect => inspect,
    Sbom => sbom,
    Scan => scan,
    Db => db,
    Trust => trust,
    Gate => gate,
    Account => account,
    Oidc => oidc,
    Profile => profile,
    AccessKey => access_key,
    Signature => signature,
    Pending => pending,
    Log => log,
    Revocation => revocation,
    Forecast => forecast,
    Verifier => verifier,
    Up => up,
    Down => down,
    Backup => backup,
    Ca => ca,
    Custody => custody,
    Serve => serve,
    Witness => witness,
    Run => run,
    Deployment => deployment,
    Demo => demo,
    Version => version,
    Completion => completion,
}

impl Command {
    /// Returns the values of `--output` that the command knows.
    pub(crate) fn formats(&self) -> &'static [&'static str] {
        // A command with formats of its own gets an arm here.
        match self {
            Self::Sbom(_) => sbom::FORMATS,
            Self::Scan(_) => scan::FORMATS,
            _ => &["text", "json"],
        }
    }

    /// Does the work of a command that must be alone in its process, before any thread is
    /// started: a role of the server gives up privileges, which a thread can do only for itself.
    pub(crate) fn run_before_threads(
        &self,
        _context: &Context,
    ) -> Option<Result<ExitCode, CliError>> {
        match self {
            Self::Serve(args) => args.run_role(),
            _ => None,
        }
    }

    /// Returns whether the command decides how the log is written.
    pub(crate) fn logs_by_itself(&self) -> bool {
        matches!(self, Self::Serve(_) | Self::Verifier(_))
    }
}
