//! What the handlers of one request share.

use std::sync::Arc;

use oci::RepositoryName;

use crate::auth::Caller;
use crate::state::Front;

/// A request inside a repository: who, where, and the front.
pub(crate) struct Scope {
    /// The front.
    pub(crate) front: Front,
    /// Who sent the request.
    pub(crate) caller: Arc<Caller>,
    /// The repository in the path.
    pub(crate) repository: RepositoryName,
}
