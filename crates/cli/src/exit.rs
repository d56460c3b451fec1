//! Exit codes: part of the interface, documented in the help and never renumbered.

/// How a command ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(dead_code, reason = "the table is whole before every command exists")]
pub(crate) enum ExitCode {
    /// Done; trusted; allowed.
    Done = 0,
    /// A defect of ours.
    Internal = 1,
    /// The command line, a setting or a file given to us is wrong.
    Usage = 2,
    /// What was named does not exist.
    NotFound = 3,
    /// Credentials or permissions do not suffice.
    Denied = 4,
    /// Verification failed: nobody trusted vouches for it.
    Untrusted = 5,
    /// The gate says no.
    GateDenied = 6,
    /// The gate could not decide.
    Inconclusive = 7,
    /// Something else is there already.
    Conflict = 8,
    /// The network or a server does not answer.
    Unavailable = 9,
    /// The run failed, or a person rejected it.
    RunFailed = 10,
    /// A second person has to confirm it first.
    Pending = 11,
}

impl From<ExitCode> for std::process::ExitCode {
    fn from(code: ExitCode) -> Self {
        Self::from(code as u8)
    }
}

/// The table, for the help text.
pub(crate) const TABLE: &str = "\
Exit codes:
   0  done, trusted, allowed
   1  internal error
   2  usage or configuration
   3  not found
   4  denied (authentication or permission)
   5  untrusted (verification failed)
   6  gate denied
   7  could not decide
   8  conflict
   9  unavailable (network, server)
  10  run failed or rejected
  11  waits for a second person";
