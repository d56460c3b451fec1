//! Hearing of revocations: a list in pages, and a stream that does not end by itself.

use std::time::Duration;

use axum::body::Body as HttpBody;
use axum::extract::{Query, State};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use http::header;
use serde::Deserialize;
use tokio::time::Instant;

use crate::auth::Caller;
use crate::error::{ApiError, ErrorKind};
use crate::revocations::{SubscribeError, Subscription};
use crate::state::{Front, FrontState};

/// How long one stream lasts. Then the subscriber comes back, and its token is looked at again.
const MAX_STREAM: Duration = Duration::from_secs(15 * 60);
/// The most lines in one page of the list.
const PAGE_LINES: usize = 1000;
/// The content type of lines of JSON.
const NDJSON: &str = "application/x-ndjson";

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub(super) struct After {
    after: u64,
}

/// Answers with the lines after a number, at most a thousand.
pub(super) async fn page(
    State(front): State<Front>,
    caller: Caller,
    Query(After { after }): Query<After>,
) -> Result<Response, ApiError> {
    caller.require_account()?;
    let lines = lines_after(&front, after, PAGE_LINES).await?;
    let mut text = String::new();
    for line in lines {
        text.push_str(&line);
        text.push('\n');
    }
    Ok(([(header::CONTENT_TYPE, NDJSON)], text).into_response())
}

/// Answers with a stream of lines and heartbeats.
pub(super) async fn feed(
    State(front): State<Front>,
    caller: Caller,
    Query(After { after }): Query<After>,
) -> Result<Response, ApiError> {
    caller.require_account()?;
    let subscription = front.revocations.subscribe(after).map_err(refusal)?;
    let reader = Reader {
        subscription,
        until: Instant::now() + MAX_STREAM,
    };
    let lines = futures_util::stream::unfold(reader, Reader::next);
    let kind = [(header::CONTENT_TYPE, NDJSON)];
    Ok((kind, HttpBody::from_stream(lines)).into_response())
}

struct Reader {
    subscription: Subscription,
    until: Instant,
}

impl Reader {
    async fn next(mut self) -> Option<(Result<Bytes, std::io::Error>, Self)> {
        let line = tokio::time::timeout_at(self.until, self.subscription.next());
        let line = line.await.ok()??;
        Some((Ok(Bytes::from(format!("{line}\n"))), self))
    }
}

fn refusal(error: SubscribeError) -> ApiError {
    let text = error.to_string();
    match error {
        SubscribeError::Full => ApiError::new(ErrorKind::Unavailable, "feed-full", text),
        SubscribeError::TooFarBehind(_) => {
            ApiError::new(ErrorKind::Conflict, "feed-too-far-behind", text)
                .hint("read `/api/v1/revocations?after=NUMBER` page by page first")
        }
        SubscribeError::Ahead(_) => ApiError::new(ErrorKind::Conflict, "feed-ahead", text)
            .hint("this server was set back, or it is another one: read everything again"),
    }
}

/// Returns the lines up to number `last`.
pub(super) async fn lines_up_to(front: &FrontState, last: u64) -> Result<Vec<String>, ApiError> {
    let wanted = usize::try_from(last).unwrap_or(usize::MAX);
    lines_after(front, 0, wanted).await
}

async fn lines_after(
    front: &FrontState,
    after: u64,
    wanted: usize,
) -> Result<Vec<String>, ApiError> {
    let mut lines: Vec<String> = Vec::new();
    while lines.len() < wanted {
        let next = after.saturating_add(lines.len() as u64);
        let (page, _) = front.signer.revocation_feed(next, Duration::ZERO).await?;
        if page.lines.is_empty() {
            break;
        }
        lines.extend(page.lines);
    }
    lines.truncate(wanted);
    Ok(lines)
}
