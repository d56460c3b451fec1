//! What a command is given besides its arguments: output, terminal, folders, clock, connections.

use std::io::{IsTerminal, Write};
use std::path::{Path, PathBuf};

use client::control::ControlClient;
use client::credentials::Credentials;
use client::http_client::HttpOptions;
use client::{RegistryClient, RegistryOptions, RegistryRepository};
use oci::{Reference, Registry};
use serde::Serialize;
use time::OffsetDateTime;
use url::Url;

use crate::args::GlobalArgs;
use crate::env_var::Environment;
use crate::error::CliError;
use crate::render;

/// How results are printed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Output {
    /// For people.
    Text,
    /// For programs: one JSON document on standard output, errors too.
    Json,
    /// A format of the command's own, such as `spdx-json`.
    Named(String),
}

/// Everything around one run of a command.
pub(crate) struct Context {
    output: Output,
    global: GlobalArgs,
    environment: Environment,
    http: HttpOptions,
}

#[allow(dead_code, reason = "each command uses the few that it needs")]
impl Context {
    /// Returns the context that flags and environment describe; flags win.
    pub(crate) fn new(global: &GlobalArgs, environment: Environment) -> Result<Self, CliError> {
        let output = match global.output.as_deref() {
            None | Some("text") => Output::Text,
            Some("json") => Output::Json,
            Some(other) => Output::Named(other.to_owned()),
        };
        let mut http = HttpOptions::default();
        if let Some(path) = &global.ca_file {
            http.extra_ca_pem.push(read_file(path)?);
        }
        Ok(Self {
            output,
            global: global.clone(),
            environment,
            http,
        })
    }

    /// Refuses an output format that the command does not know.
    pub(crate) fn accepts(&self, formats: &[&str]) -> Result<(), CliError> {
        match self.global.output.as_deref() {
            Some(given) if !formats.contains(&given) => Err(CliError::usage(format!(
                "output format `{given}` is not one of this command's"
            ))
            .hint(format!("use one of: {}", formats.join(", ")))),
            _ => Ok(()),
        }
    }

    /// Returns how results are printed.
    pub(crate) fn output(&self) -> &Output {
        &self.output
    }

    /// Returns whether standard error is a terminal: then progress is shown.
    pub(crate) fn shows_progress(&self) -> bool {
        self.output == Output::Text && std::io::stderr().is_terminal()
    }

    /// Returns whether a person can be asked.
    pub(crate) fn can_ask(&self) -> bool {
        std::io::stdin().is_terminal() && std::io::stderr().is_terminal()
    }

    /// Returns the time. Read anew at each call: some commands run for hours.
    #[expect(
        clippy::disallowed_methods,
        reason = "the clock is read here, and handed on as an argument"
    )]
    pub(crate) fn now(&self) -> OffsetDateTime {
        OffsetDateTime::now_utc()
    }

    /// Returns the folder of our settings; it need not exist.
    pub(crate) fn config_dir(&self) -> Result<&Path, CliError> {
        let dir = self.global.config.as_ref();
        dir.or(self.environment.config_dir.as_ref())
            .map(PathBuf::as_path)
            .ok_or_else(|| {
                CliError::config("there is no folder for settings: `HOME` is not set")
                    .hint("set `COUNTERSIGN_CONFIG`, or give `--config DIR`")
            })
    }

    /// Returns the folder for what can be made again; `None` if there is no home.
    pub(crate) fn cache_dir(&self) -> Option<&Path> {
        self.environment.cache_dir.as_deref()
    }

    /// Returns the folder of the advisory database: the one given, else the one of the
    /// environment; it need not exist.
    pub(crate) fn db_dir(&self, given: Option<&Path>) -> Result<PathBuf, CliError> {
        given
            .or(self.environment.db_dir.as_deref())
            .map(Path::to_owned)
            .ok_or_else(|| {
                CliError::config("there is no folder for the database: `HOME` is not set")
                    .hint("set `COUNTERSIGN_DB`, or give `--db DIR`")
            })
    }

    /// Returns whether `--plain-http` was given.
    pub(crate) fn plain_http(&self) -> bool {
        self.global.plain_http
    }

    /// Returns the settings of outbound connections.
    pub(crate) fn http_options(&self) -> &HttpOptions {
        &self.http
    }

    /// Returns the file with Docker's credentials; it need not exist.
    pub(crate) fn docker_config_file(&self) -> Option<PathBuf> {
        let dir = self.environment.docker_config.as_ref()?;
        Some(dir.join("config.json"))
    }

    /// Prints a result: `value` as JSON, or the text that `text` makes of it. The text goes out
    /// as it is: foreign words in it must have gone through [`render::sanitise`].
    pub(crate) fn print<T: Serialize>(
        &self,
        value: &T,
        text: impl FnOnce(&T) -> String,
    ) -> Result<(), CliError> {
        match self.output {
            Output::Json => {
                let mut json = serde_json::to_vec_pretty(value)
                    .map_err(|e| CliError::internal("the result is not JSON").because(e))?;
                json.push(b'\n');
                self.print_bytes(&json)
            }
            _ => self.print_bytes(text(value).as_bytes()),
        }
    }

    /// Prints bytes to standard output. A reader that has gone away is no error: it has seen
    /// what it wanted to see.
    pub(crate) fn print_bytes(&self, bytes: &[u8]) -> Result<(), CliError> {
        let mut out = std::io::stdout().lock();
        match out.write_all(bytes).and_then(|()| out.flush()) {
            Err(e) if e.kind() != std::io::ErrorKind::BrokenPipe => {
                Err(CliError::config("standard output could not be written").because(e))
            }
            _ => Ok(()),
        }
    }

    /// Prints a line of progress or a remark to standard error.
    pub(crate) fn note(&self, text: &str) {
        render::to_stderr(&format!("{text}\n"));
    }

    /// Prints a warning to standard error.
    pub(crate) fn warn(&self, text: &str) {
        render::to_stderr(&format!("warning: {text}\n"));
    }

    /// Prints a next step to standard error.
    pub(crate) fn hint(&self, text: &str) {
        render::to_stderr(&format!("hint: {text}\n"));
    }

    /// Sends the log to standard error, if any was asked for.
    pub(crate) fn start_logging(&self) {
        let Some(filter) = self.log_filter() else {
            return;
        };
        // The first one wins; a role of the server may have set its own already.
        let _ = tracing_subscriber::fmt()
            .with_env_filter(tracing_subscriber::EnvFilter::new(filter))
            .with_writer(std::io::stderr)
            .try_init();
    }

    /// Returns what the environment says of AWS KMS.
    pub(crate) fn aws(&self) -> &server::custody::AwsEnvironment {
        &self.environment.aws
    }

    /// Returns what to log, if that was said.
    pub(crate) fn log_filter(&self) -> Option<String> {
        match self.global.verbose {
            0 => self.environment.log.clone(),
            1 => Some("info".to_owned()),
            _ => Some("debug".to_owned()),
        }
    }

    /// Returns a client for registries, with the credentials of Docker's clients.
    pub(crate) fn registries(&self) -> Result<RegistryClient, CliError> {
        let credentials = match self.docker_config_file() {
            Some(path) => Credentials::Docker(path),
            None => Credentials::Anonymous,
        };
        Ok(RegistryClient::new(RegistryOptions {
            http: self.http.clone(),
            plain_http: self.global.plain_http,
            credentials,
        })?)
    }

    /// Returns the repository that `reference` lies in.
    pub(crate) fn repository(&self, reference: &Reference) -> Result<RegistryRepository, CliError> {
        Ok(self.registries()?.repository(reference))
    }

    /// Returns a connection to the control API: of `--server`, `COUNTERSIGN_SERVER`, or the
    /// server that is `registry`. The token is `COUNTERSIGN_TOKEN`, else the one that
    /// `countersign login` kept for the server.
    pub(crate) async fn control(
        &self,
        registry: Option<&Registry>,
    ) -> Result<ControlClient, CliError> {
        let base = self.server_url(registry)?;
        let token = match &self.environment.token {
            Some(token) => Some(token.clone()),
            None => self.stored_token(&base).await?,
        };
        Ok(ControlClient::with_options(base, token, &self.http)?)
    }

    /// Returns a connection to the control API of the server that is `registry`, without a token.
    pub(crate) fn anonymous_control(&self, registry: &Registry) -> Result<ControlClient, CliError> {
        let base = self.server_url(Some(registry))?;
        Ok(ControlClient::with_options(base, None, &self.http)?)
    }

    /// Returns a connection to the control API of the server that was named, with this token.
    pub(crate) fn control_with_token(&self, token: String) -> Result<ControlClient, CliError> {
        let base = self.server_url(None)?;
        Ok(ControlClient::with_options(base, Some(token), &self.http)?)
    }

    async fn stored_token(&self, base: &Url) -> Result<Option<String>, CliError> {
        let Some(registry) = registry_of(base) else {
            return Ok(None);
        };
        let credential = self.registries()?.credential(&registry).await?;
        Ok(credential.map(|c| c.secret().expose().to_owned()))
    }

    fn server_url(&self, registry: Option<&Registry>) -> Result<Url, CliError> {
        let named = self.global.server.clone();
        let text = match (named.or_else(|| self.environment.server.clone()), registry) {
            (Some(text), _) => text,
            (None, Some(registry)) if registry.is_loopback() || self.global.plain_http => {
                format!("http://{registry}/")
            }
            (None, Some(registry)) => format!("https://{registry}/"),
            (None, None) => {
                return Err(CliError::usage("no Countersign server is named")
                    .hint("give `--server URL`, or set `COUNTERSIGN_SERVER`"));
            }
        };
        parse_server_url(&text)
    }
}

fn parse_server_url(text: &str) -> Result<Url, CliError> {
    let wrong = || {
        CliError::usage(format!("`{text}` is not the address of a server"))
            .hint("write it like `https://countersign.example`")
    };
    let mut url: Url = text.parse().map_err(|_| wrong())?;
    if !matches!(url.scheme(), "http" | "https") || url.host().is_none() {
        return Err(wrong());
    }
    // A base without the closing slash would lose its last segment when paths are joined to it.
    if !url.path().ends_with('/') {
        url.set_path(&format!("{}/", url.path()));
    }
    Ok(url)
}

/// The name under which `countersign login` keeps the token of the server at `base`.
fn registry_of(base: &Url) -> Option<Registry> {
    let host = base.host_str()?;
    let name = match base.port() {
        Some(port) => format!("{host}:{port}"),
        None => host.to_owned(),
    };
    name.parse().ok()
}

/// Reads a file that the user named.
pub(crate) fn read_file(path: &Path) -> Result<Vec<u8>, CliError> {
    std::fs::read(path)
        .map_err(|e| CliError::config(format!("`{}` could not be read", path.display())).because(e))
}
