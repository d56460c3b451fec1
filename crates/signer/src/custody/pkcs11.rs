//! Keys in an HSM, behind its PKCS#11 module (PKCS#11 v2.40 and later).
//!
//! Keys are made non-extractable and sensitive; one that could be taken out of the token is not
//! used. Sessions are kept in a pool, logged in once. When the token went away they are thrown
//! away, and the next request finds the token again, by its label. A PIN that was refused is not
//! tried again: three wrong ones lock a token.

mod objects;
mod sessions;

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use cryptoki::error::Error;
use cryptoki::mechanism::rsa::{PkcsMgfType, PkcsPssParams};
use cryptoki::mechanism::{Mechanism, MechanismType};
use cryptoki::object::ObjectHandle;
use zeroize::Zeroizing;

use super::{Custody, CustodyError, KeyAlgorithm, KeyHandle, KeyUse, check_label};
use objects::FoundKey;
use sessions::{LoggedIn, Sessions};

/// How many signatures are under way at once. Network HSMs answer in milliseconds and serve many
/// sessions; [`sessions`] never opens more.
const PARALLELISM: usize = 16;
/// DigestInfo of SHA-384 up to the hash itself (RFC 8017 §9.2, note 1).
const DIGEST_INFO_SHA384: [u8; 19] = [
    0x30, 0x41, 0x30, 0x0d, 0x06, 0x09, 0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x02, 0x02, 0x05,
    0x00, 0x04, 0x30,
];

/// Which token, and what opens it.
pub struct TokenOptions {
    /// The module: a shared library, which this process loads and must trust.
    pub module: PathBuf,
    /// The token's label.
    pub token: String,
    /// What stands before each key's label on the token.
    pub key_prefix: String,
    /// The PIN of the token's user.
    pub pin: Zeroizing<String>,
}

/// A token.
pub struct Token {
    shared: Arc<Shared>,
}

struct Shared {
    name: String,
    key_prefix: String,
    sessions: Sessions,
}

impl Token {
    /// Loads the module and logs in to the token.
    pub fn open(options: TokenOptions) -> Result<Self, CustodyError> {
        let name = format!("PKCS#11 token `{}`", options.token);
        let shared = Shared {
            key_prefix: options.key_prefix.clone(),
            sessions: Sessions::new(name.clone(), options),
            name,
        };
        shared.with_session(|_| Ok(()))?;
        Ok(Self {
            shared: Arc::new(shared),
        })
    }

    fn handle(&self, label: &str, found: FoundKey) -> Arc<dyn KeyHandle> {
        Arc::new(TokenKey {
            shared: self.shared.clone(),
            label: label.to_owned(),
            algorithm: found.algorithm,
            public_key: found.public_key,
            object: Mutex::new((found.generation, found.private)),
        })
    }
}

impl Shared {
    fn object_label(&self, label: &str) -> Vec<u8> {
        format!("{}-{label}", self.key_prefix).into_bytes()
    }

    /// Runs `work` in a session; once more, in a new one, when the token had gone away.
    fn with_session<T>(
        &self,
        work: impl Fn(&LoggedIn) -> Result<T, TokenFailure>,
    ) -> Result<T, CustodyError> {
        let first = self.try_once(&work);
        match first {
            Err(TokenFailure::Lost(_)) => self.try_once(&work),
            first => first,
        }
        .map_err(|failure| failure.into_error(&self.name))
    }

    fn try_once<T>(
        &self,
        work: impl Fn(&LoggedIn) -> Result<T, TokenFailure>,
    ) -> Result<T, TokenFailure> {
        let session = self.sessions.take()?;
        let result = work(&session);
        match &result {
            Err(TokenFailure::Lost(_)) => self.sessions.lost(session),
            _ => self.sessions.give_back(session),
        }
        result
    }

    fn find(&self, label: &str) -> Result<Option<FoundKey>, CustodyError> {
        let object_label = self.object_label(label);
        self.with_session(|session| objects::find(session, label, &object_label))
    }
}

impl Custody for Token {
    fn describe(&self) -> String {
        self.shared.name.clone()
    }

    fn parallelism(&self) -> usize {
        PARALLELISM
    }

    fn open(&self, label: &str) -> Result<Option<Arc<dyn KeyHandle>>, CustodyError> {
        check_label(label)?;
        let found = self.shared.find(label)?;
        Ok(found.map(|found| self.handle(label, found)))
    }

    fn generate(
        &self,
        label: &str,
        algorithm: KeyAlgorithm,
    ) -> Result<Arc<dyn KeyHandle>, CustodyError> {
        check_label(label)?;
        if self.shared.find(label)?.is_some() {
            return Err(CustodyError::Exists {
                custody: self.describe(),
                label: label.to_owned(),
            });
        }
        let object_label = self.shared.object_label(label);
        self.shared
            .with_session(|session| objects::generate(session, &object_label, algorithm))?;
        let found = self.shared.find(label)?;
        let found = found.ok_or_else(|| CustodyError::Unusable {
            label: label.to_owned(),
            reason: format!("{} made it and does not find it", self.describe()),
        })?;
        Ok(self.handle(label, found))
    }
}

/// A key on the token.
struct TokenKey {
    shared: Arc<Shared>,
    label: String,
    algorithm: KeyAlgorithm,
    public_key: Vec<u8>,
    /// The object's number, which holds as long as the sessions of that generation.
    object: Mutex<(u64, ObjectHandle)>,
}

impl TokenKey {
    fn object(&self, session: &LoggedIn) -> Result<ObjectHandle, TokenFailure> {
        let (generation, object) = *self.object.lock().unwrap_or_else(PoisonError::into_inner);
        if generation == session.generation {
            return Ok(object);
        }
        let found = objects::find(session, &self.label, &self.shared.object_label(&self.label))?;
        // Another key under the same label would make signatures that nobody can verify.
        let same = found.filter(|found| found.public_key == self.public_key);
        let found = same.ok_or_else(|| {
            TokenFailure::Lost(format!("key `{}` is not on the token", self.label))
        })?;
        let mut kept = self.object.lock().unwrap_or_else(PoisonError::into_inner);
        *kept = (found.generation, found.private);
        Ok(found.private)
    }
}

impl KeyHandle for TokenKey {
    fn algorithm(&self) -> KeyAlgorithm {
        self.algorithm
    }

    fn public_key_der(&self) -> &[u8] {
        &self.public_key
    }

    fn sign(&self, usage: KeyUse, message: &[u8]) -> Result<Vec<u8>, CustodyError> {
        let hash = self.algorithm.hash(message);
        let (mechanism, input) = mechanism(self.algorithm, usage, hash);
        let signature = self.shared.with_session(|session| {
            let object = self.object(session)?;
            Ok(session.session.sign(&mechanism, object, &input)?)
        })?;
        if !self.algorithm.is_ecdsa() {
            return Ok(signature);
        }
        let asn1 = self.algorithm.asn1(&signature);
        asn1.ok_or_else(|| CustodyError::Refused {
            custody: self.shared.name.clone(),
            action: "sign",
            reason: format!("it gave a signature of {} bytes", signature.len()),
        })
    }
}

/// Returns how the token is asked for a signature, and what over.
fn mechanism(
    algorithm: KeyAlgorithm,
    usage: KeyUse,
    hash: Vec<u8>,
) -> (Mechanism<'static>, Vec<u8>) {
    match (algorithm.is_ecdsa(), usage) {
        (true, _) => (Mechanism::Ecdsa, hash),
        (false, KeyUse::Certificate) => (
            Mechanism::RsaPkcs,
            [DIGEST_INFO_SHA384.as_slice(), &hash].concat(),
        ),
        (false, KeyUse::Envelope) => {
            let parameters = PkcsPssParams {
                hash_alg: MechanismType::SHA384,
                mgf: PkcsMgfType::MGF1_SHA384,
                s_len: 48.into(),
            };
            (Mechanism::RsaPkcsPss(parameters), hash)
        }
    }
}

/// Why something on the token did not work.
enum TokenFailure {
    /// The token went away, or with it our sessions: worth a second attempt.
    Lost(String),
    /// The PIN does not open it.
    Pin(String),
    /// The token answered, and will not.
    Refused(String),
    /// The key cannot be used.
    Unusable(CustodyError),
}

impl TokenFailure {
    fn into_error(self, name: &str) -> CustodyError {
        let custody = name.to_owned();
        match self {
            Self::Lost(reason) => CustodyError::Unavailable { custody, reason },
            Self::Pin(reason) => CustodyError::Locked { custody, reason },
            Self::Unusable(error) => error,
            Self::Refused(reason) => CustodyError::Refused {
                custody,
                action: "use a key",
                reason,
            },
        }
    }
}

impl From<Error> for TokenFailure {
    fn from(error: Error) -> Self {
        use cryptoki::error::RvError as Rv;
        let text = error.to_string();
        match error {
            Error::Pkcs11(
                Rv::PinIncorrect
                | Rv::PinInvalid
                | Rv::PinLenRange
                | Rv::PinExpired
                | Rv::PinLocked,
                _,
            ) => Self::Pin(text),
            Error::Pkcs11(
                Rv::MechanismInvalid
                | Rv::MechanismParamInvalid
                | Rv::CurveNotSupported
                | Rv::FunctionNotSupported
                | Rv::KeyFunctionNotPermitted
                | Rv::KeyTypeInconsistent
                | Rv::KeySizeRange
                | Rv::TemplateInconsistent
                | Rv::TemplateIncomplete
                | Rv::AttributeTypeInvalid
                | Rv::AttributeValueInvalid
                | Rv::TokenWriteProtected
                | Rv::DataLenRange,
                _,
            )
            | Error::NotSupported
            | Error::NullFunctionPointer
            | Error::MissingSymbol(_) => Self::Refused(text),
            // Modules report a vanished device in many ways, CKR_GENERAL_ERROR among them: what
            // is not known to be a refusal is tried again, and said to be out of reach.
            _ => Self::Lost(text),
        }
    }
}
