//! The sessions with a token: opened when needed, kept, thrown away when the token went away.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use cryptoki::context::{CInitializeArgs, CInitializeFlags, Pkcs11};
use cryptoki::error::{Error, RvError};
use cryptoki::session::{Session, UserType};
use cryptoki::slot::Slot;
use cryptoki::types::AuthPin;

use super::{TokenFailure, TokenOptions};

/// A token that was out of reach is not looked for again sooner: looking takes the module's time,
/// and meanwhile each request is answered at once.
const PAUSE: Duration = Duration::from_millis(500);

/// A session that is logged in.
pub(super) struct LoggedIn {
    pub(super) session: Session,
    /// Which connection with the token it belongs to: numbers of objects hold within one.
    pub(super) generation: u64,
}

/// The sessions.
pub(super) struct Sessions {
    name: String,
    options: TokenOptions,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    token: Option<(Pkcs11, Slot)>,
    idle: Vec<Session>,
    generation: u64,
    /// When the token was last looked for in vain, and what was found.
    failed: Option<(Instant, String)>,
    /// Why the PIN was refused; it is not tried again.
    refused: Option<String>,
}

impl Sessions {
    pub(super) fn new(name: String, options: TokenOptions) -> Self {
        Self {
            name,
            options,
            state: Mutex::default(),
        }
    }

    /// Returns a session: one that waits, or a new one.
    pub(super) fn take(&self) -> Result<LoggedIn, TokenFailure> {
        let mut state = self.state();
        if let Some(reason) = &state.refused {
            return Err(TokenFailure::Pin(reason.clone()));
        }
        let generation = state.generation;
        if let Some(session) = state.idle.pop() {
            return Ok(LoggedIn {
                session,
                generation,
            });
        }
        let session = self.open(&mut state)?;
        let generation = state.generation;
        Ok(LoggedIn {
            session,
            generation,
        })
    }

    /// Keeps a session for the next request.
    pub(super) fn give_back(&self, session: LoggedIn) {
        let mut state = self.state();
        if session.generation == state.generation {
            state.idle.push(session.session);
        }
    }

    /// Throws away everything of the connection that `session` belongs to.
    pub(super) fn lost(&self, session: LoggedIn) {
        let mut state = self.state();
        if session.generation != state.generation {
            return;
        }
        tracing::warn!("{} went away: it is looked for again", self.name);
        state.generation += 1;
        state.idle.clear();
        drop(session);
        // Modules look at what is plugged in when they are initialised.
        if let Some((module, _)) = state.token.take() {
            let _ = module.finalize();
        }
    }

    fn open(&self, state: &mut State) -> Result<Session, TokenFailure> {
        if let Some((when, reason)) = &state.failed
            && when.elapsed() < PAUSE
        {
            return Err(TokenFailure::Lost(reason.clone()));
        }
        let opened = self.open_now(state);
        match &opened {
            Ok(_) => state.failed = None,
            Err(TokenFailure::Lost(reason)) => {
                state.failed = Some((Instant::now(), reason.clone()));
                state.generation += 1;
                state.idle.clear();
                if let Some((module, _)) = state.token.take() {
                    let _ = module.finalize();
                }
            }
            Err(TokenFailure::Pin(reason)) => {
                let not_again = format!("{reason}; it is not tried again before a restart");
                state.refused = Some(not_again);
            }
            Err(_) => {}
        }
        opened
    }

    fn open_now(&self, state: &mut State) -> Result<Session, TokenFailure> {
        let (module, slot) = match &state.token {
            Some(token) => token,
            None => state.token.insert(self.find_token()?),
        };
        // Keys are made in the same sessions, so they may write.
        let session = module.open_rw_session(*slot)?;
        // secrecy's copy is wiped when it is dropped.
        let pin = AuthPin::new(self.options.pin.as_str().into());
        match session.login(UserType::User, Some(&pin)) {
            // The login is the application's: another session did it.
            Ok(()) | Err(Error::Pkcs11(RvError::UserAlreadyLoggedIn, _)) => Ok(session),
            Err(error) => Err(error.into()),
        }
    }

    fn find_token(&self) -> Result<(Pkcs11, Slot), TokenFailure> {
        let module = Pkcs11::new(&self.options.module)
            .map_err(|error| TokenFailure::Lost(self.module_failed(&error)))?;
        match module.initialize(CInitializeArgs::new(CInitializeFlags::OS_LOCKING_OK)) {
            Ok(()) | Err(Error::Pkcs11(RvError::CryptokiAlreadyInitialized, _)) => {}
            Err(error) => return Err(TokenFailure::Lost(self.module_failed(&error))),
        }
        for slot in module.get_slots_with_token()? {
            let label = module.get_token_info(slot)?.label().to_owned();
            if label.trim_end() == self.options.token {
                return Ok((module, slot));
            }
        }
        let _ = module.finalize();
        let reason = "the module has no token of that label".to_owned();
        Err(TokenFailure::Lost(reason))
    }

    fn module_failed(&self, error: &Error) -> String {
        let module = self.options.module.display();
        format!("module `{module}` cannot be used: {error}")
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
