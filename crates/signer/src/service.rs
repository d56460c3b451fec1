//! The signer's rules: who may sign what, what is recorded, what is revoked.
//!
//! One [`Signer`] lives in the signer process. Every signature is on record before it is given
//! out; every revocation is on record before the next list is made. Signing and revoking exclude
//! each other, so that a revocation sees every signature that was given out before it.

mod aws;
mod cpu_pool;
mod error;
mod forecast;
mod journal;
mod log;
mod ocsp;
mod profiles;
mod quotas;
mod revocation;
mod sign;
mod timestamp;

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};

use time::{Duration, OffsetDateTime};
use trust::tlog::note::SignatureType;

pub use aws::{JobFilter, JobListing, MAX_LISTED_JOBS, RevokedParts, StatusQuestion};
pub use error::SignerError;
pub use forecast::{ExpiringJob, ExpiryPlace};
pub use journal::{Head, Recorded};
pub use log::ProvenEntry;
pub use ocsp::OcspAnswer;
pub use profiles::{ProfileChange, RuleStep, RuleTest, RuleTestResult};
pub use revocation::{
    FeedPage, LISTED_AFTER_EXPIRY, MAX_BUNDLE_LIFE, MAX_PREVIEWED, Preview, PreviewedJob,
    RevocationAnswer, RevocationList, RevocationOutcome, RevocationQuestion, RevocationRequest,
    RevocationTarget,
};
pub use sign::{AttestRequest, SignRequest, SignedEnvelope};

use crate::account::{AccountNumber, Installation};
use crate::authority::{Authority, AuthorityConfig, Leaf};
use crate::custody::{Custody, CustodyError, SealedFolder, UnlockError, UnlockSource};
use crate::job::JobId;
use crate::log::key::LogKeyFiles;
use crate::log::{LogKey, LogKeyError};
use crate::principal::{Denial, Principal};
use crate::profile::{ProfileName, SigningProfile};
use crate::records::Records;
use cpu_pool::CpuPool;
use journal::{Journal, JournalParts};
use quotas::QuotaBook;
use revocation::{FeedHead, ListState};

/// How long a revocation list may be used, unless configured otherwise: ten minutes, so that a
/// revocation is known everywhere soon after the last cached list ran out.
pub const DEFAULT_CRL_PERIOD: Duration = Duration::minutes(10);

/// Tells the time. The edge that reads the clock makes one; tests make one that stands still.
pub type Clock = Arc<dyn Fn() -> OffsetDateTime + Send + Sync>;

/// What a signer needs to start.
#[derive(Clone)]
pub struct ServiceConfig {
    /// The account number and region that stand in ARNs.
    pub installation: Installation,
    /// The certificate authority.
    pub authority: AuthorityConfig,
    /// Where the unlocking secret comes from.
    pub unlock: UnlockSource,
    /// Where the keys lie; in sealed files in the authority's folder when absent.
    pub custody: Option<Arc<dyn Custody>>,
    /// How long a revocation list may be used.
    pub crl_period: Duration,
    /// The name of the log, if this start makes it: it is fixed with the log's key.
    pub log_origin: String,
    /// The time.
    pub clock: Clock,
}

/// Says why a signer cannot start.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// There is no unlocking secret.
    #[error(transparent)]
    Unlock(#[from] UnlockError),
    /// The keys cannot be opened.
    #[error(transparent)]
    Custody(#[from] CustodyError),
    /// The authority cannot be opened or made.
    #[error(transparent)]
    Authority(#[from] crate::authority::AuthorityError),
    /// The key of the log cannot be opened or made.
    #[error(transparent)]
    LogKey(#[from] LogKeyError),
    /// The log does not agree with its own checkpoint: somebody edited the records, or put them
    /// together from two backups. Restore them from one.
    #[error("the log does not agree with its own checkpoint: {0}")]
    Log(String),
    /// The records cannot be read.
    #[error(transparent)]
    Records(#[from] crate::records::RecordsError),
    /// The threads that sign cannot be started, or the socket cannot be made.
    #[error("cannot {action}")]
    System {
        /// What was tried.
        action: &'static str,
        /// What the operating system says.
        #[source]
        source: std::io::Error,
    },
}

/// The signer.
pub struct Signer {
    installation: Installation,
    authority: Arc<Authority>,
    records: Arc<dyn Records>,
    clock: Clock,
    profiles: RwLock<BTreeMap<ProfileName, Arc<SigningProfile>>>,
    /// The rotating leaves in use. They are never written down: a restart issues new ones.
    leaves: Mutex<HashMap<ProfileName, Arc<Leaf>>>,
    list: tokio::sync::Mutex<ListState>,
    /// How far the feed of revocations goes.
    feed: tokio::sync::watch::Sender<FeedHead>,
    journal: Journal,
    log_key: Arc<LogKey>,
    quotas: QuotaBook,
    pool: CpuPool,
    /// Held shared while signing, and alone while profiles or revocations change.
    changes: tokio::sync::RwLock<()>,
}

impl Signer {
    /// Opens keys and records. Derives a key from the unlocking secret, which takes a moment.
    ///
    /// Must be called on a tokio runtime.
    pub async fn open(
        config: ServiceConfig,
        records: Arc<dyn Records>,
    ) -> Result<Arc<Self>, StartError> {
        let (clock, crl_period) = (config.clock.clone(), config.crl_period);
        let installation = config.installation.clone();
        let now = clock();
        let keys = tokio::task::spawn_blocking(move || open_keys(config, now));
        let (authority, log_key) = keys.await.unwrap_or_else(|panic| {
            let source = std::io::Error::other(panic);
            Err(StartError::System {
                action: "open the keys",
                source,
            })
        })?;
        let profiles = records.profiles().await?.into_iter();
        let revoked = records.revoked_leaves(now).await?;
        let pool = CpuPool::start(authority.custody().parallelism()).map_err(|source| {
            StartError::System {
                action: "start the threads that sign",
                source,
            }
        })?;
        let log_key = Arc::new(log_key);
        let feed = FeedHead::load(&*records).await?;
        let parts = JournalParts {
            records: records.clone(),
            key: log_key.clone(),
            clock: clock.clone(),
        };
        Ok(Arc::new(Self {
            installation,
            authority: Arc::new(authority),
            feed: tokio::sync::watch::Sender::new(feed),
            journal: Journal::start(parts).await?,
            log_key,
            records,
            clock,
            profiles: RwLock::new(profiles.map(|p| (p.name.clone(), Arc::new(p))).collect()),
            leaves: Mutex::default(),
            list: tokio::sync::Mutex::new(ListState::new(revoked, crl_period)),
            quotas: QuotaBook::default(),
            pool,
            changes: tokio::sync::RwLock::default(),
        }))
    }

    /// Returns the authority's public side.
    pub fn authority(&self) -> &Authority {
        &self.authority
    }

    /// Returns the log as it is on the disk.
    pub fn log_head(&self) -> Head {
        self.journal.head()
    }

    /// Returns the account number that a profile belongs to.
    fn owner_of(&self, profile: &SigningProfile) -> AccountNumber {
        profile.owner.unwrap_or(self.installation.number)
    }

    pub(crate) fn now(&self) -> OffsetDateTime {
        (self.clock)()
    }

    fn find_profile(&self, name: &ProfileName) -> Option<Arc<SigningProfile>> {
        let profiles = self.profiles.read().unwrap_or_else(PoisonError::into_inner);
        profiles.get(name).cloned()
    }

    fn leaves(&self) -> MutexGuard<'_, HashMap<ProfileName, Arc<Leaf>>> {
        self.leaves.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn profile_or_not_found(&self, name: &ProfileName) -> Result<Arc<SigningProfile>, SignerError> {
        let found = self.find_profile(name);
        found.ok_or_else(|| SignerError::NoProfile(name.clone()))
    }
}

/// Derives what opens the keys from the unlocking secret, which takes a moment for each. The key
/// of the log lies in a sealed file wherever the others lie.
fn open_keys(
    config: ServiceConfig,
    now: OffsetDateTime,
) -> Result<(Authority, LogKey), StartError> {
    let AuthorityConfig {
        folder, kdf_cost, ..
    } = config.authority.clone();
    let secret = config.unlock.load(&folder)?;
    let custody = match config.custody {
        Some(custody) => custody,
        None => Arc::new(SealedFolder::open(&folder, secret.clone(), kdf_cost)?),
    };
    let authority = Authority::open(config.authority, custody, now)?;
    let files = LogKeyFiles {
        folder: &folder,
        label: "log",
        secret: &secret,
        kdf_cost,
    };
    let name = (config.log_origin.as_str(), SignatureType::Ed25519);
    Ok((authority, LogKey::open_or_make(&files, name)?))
}

fn administrators_only(principal: &Principal, action: &'static str) -> Result<(), SignerError> {
    if principal.administers() {
        return Ok(());
    }
    let account = principal.account.clone();
    Err(Denial::AdministratorsOnly { account, action }.into())
}

fn no_job(id: JobId) -> SignerError {
    SignerError::NoJob(id)
}

#[cfg(test)]
mod tests;
