//! The errors that a command ends with: a kind, which gives the exit code, a message, the causes
//! and a hint.
//!
//! Library errors are classified here, once. Outcomes (untrusted, denied by the gate) are no
//! errors: a command renders them and returns their exit code.

use client::control::ControlError;
use client::{ClientError, ErrorKind};

use crate::exit::ExitCode;

/// What kind of thing went wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// The command line.
    Usage,
    /// A setting, or a file given to us.
    Config,
    /// The thing does not exist.
    NotFound,
    /// Credentials or permissions.
    Denied,
    /// Content that nobody can trust.
    Untrusted,
    /// Something else is there.
    Conflict,
    /// Network or server.
    Unavailable,
    /// A defect of ours.
    Internal,
}

impl Kind {
    /// Returns the exit code.
    pub(crate) fn exit_code(self) -> ExitCode {
        match self {
            Self::Usage | Self::Config => ExitCode::Usage,
            Self::NotFound => ExitCode::NotFound,
            Self::Denied => ExitCode::Denied,
            Self::Untrusted => ExitCode::Untrusted,
            Self::Conflict => ExitCode::Conflict,
            Self::Unavailable => ExitCode::Unavailable,
            Self::Internal => ExitCode::Internal,
        }
    }

    /// Returns the name that `--output json` shows.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Usage => "usage",
            Self::Config => "config",
            Self::NotFound => "not-found",
            Self::Denied => "denied",
            Self::Untrusted => "untrusted",
            Self::Conflict => "conflict",
            Self::Unavailable => "unavailable",
            Self::Internal => "internal",
        }
    }
}

/// An error that ends a command.
#[derive(Debug)]
pub(crate) struct CliError {
    kind: Kind,
    message: String,
    cause: Option<Box<dyn std::error::Error + Send + Sync>>,
    hint: Option<String>,
}

#[allow(dead_code, reason = "each command uses the few that it needs")]
impl CliError {
    /// Returns an error of `kind`.
    pub(crate) fn new(kind: Kind, message: impl Into<String>) -> Self {
        Self {
            kind,
            message: message.into(),
            cause: None,
            hint: None,
        }
    }

    /// Returns an error about the command line.
    pub(crate) fn usage(message: impl Into<String>) -> Self {
        Self::new(Kind::Usage, message)
    }

    /// Returns an error about a setting or a file.
    pub(crate) fn config(message: impl Into<String>) -> Self {
        Self::new(Kind::Config, message)
    }

    /// Returns an error about something that does not exist.
    pub(crate) fn not_found(message: impl Into<String>) -> Self {
        Self::new(Kind::NotFound, message)
    }

    /// Returns an error about a defect of ours.
    pub(crate) fn internal(message: impl Into<String>) -> Self {
        Self::new(Kind::Internal, message)
    }

    /// Adds what caused it.
    pub(crate) fn because(
        mut self,
        cause: impl Into<Box<dyn std::error::Error + Send + Sync>>,
    ) -> Self {
        self.cause = Some(cause.into());
        self
    }

    /// Adds the next step, one sentence.
    pub(crate) fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// Returns the kind.
    pub(crate) fn kind(&self) -> Kind {
        self.kind
    }

    /// Returns the hint.
    pub(crate) fn hint_text(&self) -> Option<&str> {
        self.hint.as_deref()
    }
}

impl std::fmt::Display for CliError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for CliError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.cause
            .as_deref()
            .map(|cause| cause as &(dyn std::error::Error + 'static))
    }
}

impl From<ClientError> for CliError {
    fn from(error: ClientError) -> Self {
        let kind = match error.kind() {
            ErrorKind::NotFound => Kind::NotFound,
            ErrorKind::Denied => Kind::Denied,
            ErrorKind::Unavailable => Kind::Unavailable,
            ErrorKind::Bad => Kind::Untrusted,
            ErrorKind::Conflict => Kind::Conflict,
            ErrorKind::Refused => Kind::Usage,
            ErrorKind::Configuration => Kind::Config,
            ErrorKind::Internal => Kind::Internal,
        };
        let hint = match &error {
            ClientError::Denied { place, .. } => {
                let host = place.split('/').next().unwrap_or(place);
                Some(format!("log in with `countersign login {host}`"))
            }
            _ => None,
        };
        Self {
            hint,
            ..Self::wrapping(kind, error)
        }
    }
}

impl From<ControlError> for CliError {
    fn from(error: ControlError) -> Self {
        let kind = match &error {
            ControlError::Refused { status, .. } => kind_of_status(*status),
            ControlError::Unavailable { .. } => Kind::Unavailable,
            ControlError::Malformed { .. } => Kind::Unavailable,
            _ => Kind::Config,
        };
        let hint = match &error {
            ControlError::Refused { hint, .. } => hint.clone(),
            _ => None,
        };
        Self {
            hint,
            ..Self::wrapping(kind, error)
        }
    }
}

impl CliError {
    /// Returns an error with the message and the causes of `error`.
    pub(crate) fn wrapping(
        kind: Kind,
        error: impl std::error::Error + Send + Sync + 'static,
    ) -> Self {
        let message = error.to_string();
        let wrapped = Self::new(kind, message);
        match error.source() {
            // The cause must be owned, and `source` only lends: keep its words.
            Some(source) => wrapped.because(chain_text(source)),
            None => wrapped,
        }
    }
}

fn chain_text(error: &(dyn std::error::Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        next = cause.source();
    }
    text
}

fn kind_of_status(status: u16) -> Kind {
    match status {
        400 | 405 | 413 | 415 | 422 => Kind::Usage,
        401 | 403 => Kind::Denied,
        404 | 410 => Kind::NotFound,
        409 | 412 => Kind::Conflict,
        _ => Kind::Unavailable,
    }
}

macro_rules! usage_errors {
    ($($error:ty),* $(,)?) => {
        $(impl From<$error> for CliError {
            fn from(error: $error) -> Self {
                Self::wrapping(Kind::Usage, error)
            }
        })*
    };
}

usage_errors!(
    oci::reference::ReferenceError,
    oci::name::NameError,
    oci::digest::DigestError,
);
