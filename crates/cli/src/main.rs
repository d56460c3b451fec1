//! The binary `countersign`: native commands and their rendering.
//!
//! Here, and nowhere else, the runtime is created, the clock and the environment are read,
//! errors are put into words and exit codes are given. A command parses its flags into a request
//! of a library room, calls it, and renders the result; it holds no rules of its own.

mod args;
mod command;

mod artifact;
mod background;
mod duration;
mod scanning;
mod target;
mod trust_config;

mod context;
mod env_var;
mod error;
mod exit;

mod progress;
mod render;

use clap::Parser;

use crate::args::Cli;
use crate::context::Context;
use crate::error::CliError;
use crate::exit::ExitCode;

fn main() -> std::process::ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => return usage(&error).into(),
    };
    let environment = env_var::Environment::read();
    let code = match Context::new(&cli.global, environment) {
        Ok(context) => perform(cli, &context).unwrap_or_else(|error| {
            render::error::write(&error, context.output());
            error.kind().exit_code()
        }),
        Err(error) => {
            render::error::write(&error, &context::Output::Text);
            error.kind().exit_code()
        }
    };
    code.into()
}

fn perform(cli: Cli, context: &Context) -> Result<ExitCode, CliError> {
    if !cli.command.logs_by_itself() {
        context.start_logging();
    }
    context.accepts(cli.command.formats())?;
    if let Some(done) = cli.command.run_before_threads(context) {
        return done;
    }
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|e| {
            CliError::internal("the asynchronous runtime could not be started").because(e)
        })?;
    let result = runtime.block_on(cli.command.run(context));
    // A read of the terminal that nobody answers must not hold the process back.
    runtime.shutdown_background();
    result
}

/// Help and version are answers, everything else is a wrong use of the command line.
fn usage(error: &clap::Error) -> ExitCode {
    // There is nobody to tell when the terminal itself is gone.
    let _ = error.print();
    if error.use_stderr() {
        ExitCode::Usage
    } else {
        ExitCode::Done
    }
}
