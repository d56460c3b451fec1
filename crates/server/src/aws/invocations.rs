//! Requests that an SDK sends again: answered once.
//!
//! The SDKs try a request again when its connection breaks or an answer is late, with the same
//! `amz-sdk-invocation-id`. Signing has no token of its own against being done twice, so a second
//! attempt is given the answer of the first: one job, not two. Only answers that succeeded are
//! kept, for as long as the same signed request could be sent again.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use axum::response::{IntoResponse, Response};
use http::StatusCode;
use serde_json::Value;
use tokio::sync::OnceCell;

use super::error::AwsError;

/// How long an answer is kept: twice the skew that a signature may have.
const LIFE: Duration = Duration::from_secs(600);
/// The most answers, of a few KiB each; above it the oldest half is dropped.
const MAX_ENTRIES: usize = 4096;

/// What one attempt shares with the next: the access key, the SDK's id, and the hash of the request.
pub(super) type Invocation = (String, String, [u8; 32]);

/// An answer as handlers give it: a status and a JSON document.
#[derive(Clone, Debug, PartialEq)]
pub struct AwsAnswer {
    /// The status.
    pub status: StatusCode,
    /// The document, or nothing.
    pub body: Option<Value>,
}

impl AwsAnswer {
    /// Returns the answer `200` with a document.
    pub fn ok(body: Value) -> Self {
        Self {
            status: StatusCode::OK,
            body: Some(body),
        }
    }

    /// Returns the answer of something that was done and has nothing to show.
    pub fn done() -> Self {
        Self::ok(Value::Object(serde_json::Map::new()))
    }
}

impl IntoResponse for AwsAnswer {
    fn into_response(self) -> Response {
        match self.body {
            Some(body) => (self.status, axum::Json(body)).into_response(),
            None => self.status.into_response(),
        }
    }
}

type Entry = (Instant, Arc<OnceCell<AwsAnswer>>);

/// The answers that may be asked for again.
#[derive(Default)]
pub(super) struct Invocations {
    entries: Mutex<HashMap<Invocation, Entry>>,
}

impl Invocations {
    /// Answers, unless an earlier attempt of the same invocation did; one that is still under way
    /// is waited for.
    pub(super) async fn once(
        &self,
        invocation: Option<Invocation>,
        answering: impl Future<Output = Result<AwsAnswer, AwsError>>,
    ) -> Result<Response, AwsError> {
        let answer = match invocation {
            None => answering.await?,
            Some(invocation) => {
                let cell = self.cell(invocation, Instant::now());
                cell.get_or_try_init(|| answering).await?.clone()
            }
        };
        Ok(answer.into_response())
    }

    fn cell(&self, invocation: Invocation, now: Instant) -> Arc<OnceCell<AwsAnswer>> {
        let mut entries = self.entries.lock().unwrap_or_else(PoisonError::into_inner);
        if entries.len() >= MAX_ENTRIES {
            entries.retain(|_, (at, _)| now.saturating_duration_since(*at) < LIFE);
        }
        if entries.len() >= MAX_ENTRIES {
            let mut times: Vec<Instant> = entries.values().map(|(at, _)| *at).collect();
            times.sort_unstable();
            let middle = times[times.len() / 2];
            entries.retain(|_, (at, _)| *at >= middle);
        }
        let entry = entries.entry(invocation).or_default_at(now);
        entry.1.clone()
    }
}

/// An entry that is new, or old enough to be replaced.
trait OrDefaultAt<'a> {
    fn or_default_at(self, now: Instant) -> &'a mut Entry;
}

impl<'a> OrDefaultAt<'a> for std::collections::hash_map::Entry<'a, Invocation, Entry> {
    fn or_default_at(self, now: Instant) -> &'a mut Entry {
        let entry = self.or_insert_with(|| (now, Arc::default()));
        if now.saturating_duration_since(entry.0) >= LIFE {
            *entry = (now, Arc::default());
        }
        entry
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicU32, Ordering};

    fn invocation(id: &str) -> Option<Invocation> {
        Some(("AKIA1".to_owned(), id.to_owned(), [0; 32]))
    }

    struct Counter(AtomicU32);

    impl Counter {
        async fn count(&self) -> Result<AwsAnswer, AwsError> {
            match self.0.fetch_add(1, Ordering::Relaxed) {
                0 => Err(AwsError::validation("not yet")),
                number => Ok(AwsAnswer::ok(number.into())),
            }
        }
    }

    #[tokio::test]
    async fn an_answer_is_given_again_and_a_failure_is_not() {
        let invocations = Invocations::default();
        let counter = Counter(AtomicU32::new(0));
        let ask = async |id| {
            let answer = invocations.once(id, counter.count()).await;
            answer.map(|_| counter.0.load(Ordering::Relaxed)).ok()
        };
        assert_eq!(ask(invocation("a")).await, None);
        assert_eq!(ask(invocation("a")).await, Some(2));
        assert_eq!(ask(invocation("a")).await, Some(2));
        assert_eq!(ask(invocation("b")).await, Some(3));
        assert_eq!(ask(None).await, Some(4));
        assert_eq!(ask(None).await, Some(5));
    }

    #[test]
    fn what_is_kept_is_bounded_and_ends() {
        let invocations = Invocations::default();
        let start = Instant::now();
        let first = invocations.cell(invocation("0").unwrap(), start);
        let again = invocations.cell(invocation("0").unwrap(), start + LIFE / 2);
        assert!(Arc::ptr_eq(&first, &again));
        let later = invocations.cell(invocation("0").unwrap(), start + LIFE);
        assert!(!Arc::ptr_eq(&first, &later));
        for number in 0..3 * MAX_ENTRIES {
            let id = invocation(&number.to_string()).unwrap();
            invocations.cell(id, start + Duration::from_millis(number as u64));
        }
        assert!(invocations.entries.lock().unwrap().len() <= MAX_ENTRIES);
    }
}
