//! Fetching a bearer token (distribution, Token Authentication Specification and OAuth 2).
//!
//! The realm comes from the registry, so it may be anything: it must be encrypted unless the
//! registry itself is not, and no registry out there may send us to an address of this machine
//! or its neighbourhood (oras-go GHSA-28r5, GHSA-xf85).

use std::time::{Duration, Instant};

use reqwest::header::{AUTHORIZATION, CONTENT_TYPE};
use serde::Deserialize;
use url::{Host, Url};

use super::{Scope, Session, TOKEN_MARGIN, Token, basic_header, secret_header};
use crate::ClientError;
use crate::credentials::Credential;
use crate::http_client::{self, REQUEST_TIMEOUT};
use crate::registry::challenge::Challenge;
use crate::registry::transport::Transport;

/// The longest answer of a token service, in bytes. Real tokens have a few thousand.
const MAX_TOKEN_BYTES: usize = 256 * 1024;
/// How long a token lives that does not say so (Token Authentication Specification).
const DEFAULT_LIFETIME_SECS: u64 = 60;
/// The longest that we believe, in seconds: a server that says more gains nothing by it.
const MAX_LIFETIME_SECS: u64 = 24 * 60 * 60;
/// The name under which we introduce ourselves.
const CLIENT_ID: &str = "countersign";

#[derive(Deserialize)]
struct Answer {
    #[serde(default)]
    token: Option<String>,
    #[serde(default)]
    access_token: Option<String>,
    #[serde(default)]
    expires_in: Option<u64>,
}

/// Fetches a token for `wanted`: a scope, and the credential to show for it.
pub(super) async fn fetch(
    transport: &Transport,
    session: &Session,
    challenge: &Challenge,
    wanted: (&Scope, Option<&Credential>),
) -> Result<Token, ClientError> {
    let Challenge::Bearer {
        realm,
        service,
        scope: demanded,
    } = challenge
    else {
        return Err(session.denied("it does not hand out tokens"));
    };
    let realm = checked_realm(session, realm)?;
    let scope = match (wanted.0.0.as_str(), demanded) {
        ("", Some(demanded)) => demanded,
        (own, _) => own,
    };
    let question = Question {
        service: service.as_deref(),
        scope,
    };
    let client = transport.client(&realm)?;
    let request = match wanted.1 {
        Some(Credential::IdentityToken(token)) => client
            .post(realm)
            .header(CONTENT_TYPE, "application/x-www-form-urlencoded")
            .body(question.oauth_form(token.expose())),
        other => {
            let request = client.get(question.url(realm));
            match other.and_then(basic_header) {
                Some(header) => request.header(AUTHORIZATION, header),
                None => request,
            }
        }
    };
    let response = request
        .timeout(REQUEST_TIMEOUT)
        .send()
        .await
        .map_err(|e| transport.unavailable(session, e))?;
    read_answer(transport, session, response).await
}

struct Question<'a> {
    service: Option<&'a str>,
    scope: &'a str,
}

impl Question<'_> {
    fn url(&self, mut realm: Url) -> Url {
        {
            let mut query = realm.query_pairs_mut();
            if let Some(service) = self.service {
                query.append_pair("service", service);
            }
            for scope in self.scope.split(' ').filter(|scope| !scope.is_empty()) {
                query.append_pair("scope", scope);
            }
            query.append_pair("client_id", CLIENT_ID);
        }
        realm
    }

    fn oauth_form(&self, refresh_token: &str) -> String {
        url::form_urlencoded::Serializer::new(String::new())
            .append_pair("grant_type", "refresh_token")
            .append_pair("service", self.service.unwrap_or_default())
            .append_pair("scope", self.scope)
            .append_pair("client_id", CLIENT_ID)
            .append_pair("refresh_token", refresh_token)
            .finish()
    }
}

async fn read_answer(
    transport: &Transport,
    session: &Session,
    response: reqwest::Response,
) -> Result<Token, ClientError> {
    let status = response.status();
    let body = http_client::read_body(response, MAX_TOKEN_BYTES)
        .await
        .map_err(|e| transport.unavailable(session, e))?
        .ok_or_else(|| session.malformed("its token is longer than any token".to_owned()))?;
    if matches!(status.as_u16(), 400 | 401 | 403) {
        return Err(session.denied("its token service refused the credentials"));
    }
    if !status.is_success() {
        return Err(ClientError::Unavailable {
            place: session.registry().to_string(),
            reason: format!("its token service answered with status {}", status.as_u16()),
            source: None,
        });
    }
    // The words of the parser could quote the token.
    let answer: Answer = serde_json::from_slice(&body)
        .map_err(|_| session.malformed("its token service did not answer with JSON".to_owned()))?;
    into_token(answer)
        .ok_or_else(|| session.malformed("its token service gave no token".to_owned()))
}

fn into_token(answer: Answer) -> Option<Token> {
    let text = answer.token.or(answer.access_token)?;
    let lifetime = answer
        .expires_in
        .unwrap_or(DEFAULT_LIFETIME_SECS)
        .min(MAX_LIFETIME_SECS);
    let lifetime = Duration::from_secs(lifetime).saturating_sub(TOKEN_MARGIN);
    Some(Token {
        header: secret_header(format!("Bearer {text}"))?,
        expires: Instant::now() + lifetime,
    })
}

fn checked_realm(session: &Session, realm: &str) -> Result<Url, ClientError> {
    let refused =
        |reason: &str| session.malformed(format!("its token realm `{realm}` is refused: {reason}"));
    let url: Url = realm.parse().map_err(|_| refused("it is not a URL"))?;
    let base = session.base();
    if url.origin() == base.origin() {
        return Ok(url);
    }
    match url.scheme() {
        "https" => {}
        "http" if base.scheme() == "http" => {}
        _ => return Err(refused("it is not encrypted")),
    }
    if is_near(&url) && !http_client::is_loopback(base) {
        return Err(refused("it leads to this machine or its neighbourhood"));
    }
    Ok(url)
}

/// Loopback and link-local addresses: the latter is where clouds keep their metadata services.
fn is_near(url: &Url) -> bool {
    match url.host() {
        Some(Host::Ipv4(address)) => address.is_loopback() || address.is_link_local(),
        Some(Host::Ipv6(address)) => address.is_loopback() || address.is_unicast_link_local(),
        Some(Host::Domain(name)) => name == "localhost",
        None => true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::credentials::Credentials;

    #[test]
    fn a_realm_may_not_weaken_what_the_registry_promises() {
        for (base, realm, is_fine) in [
            ("https://r.example/", "https://auth.example/token", true),
            ("https://r.example/", "https://r.example/token", true),
            ("https://r.example/", "http://auth.example/token", false),
            ("https://r.example/", "http://r.example/token", false),
            (
                "https://r.example/",
                "https://169.254.169.254/latest",
                false,
            ),
            ("https://r.example/", "https://127.0.0.1:8443/t", false),
            ("https://r.example/", "https://localhost/t", false),
            ("https://r.example/", "file:///etc/passwd", false),
            ("https://r.example/", "/token", false),
            (
                "http://127.0.0.1:5000/",
                "http://127.0.0.1:5001/token",
                true,
            ),
            (
                "http://127.0.0.1:5000/",
                "http://127.0.0.1:5000/token",
                true,
            ),
        ] {
            let session = Session::new(
                "r.example".parse().unwrap(),
                base.parse().unwrap(),
                Credentials::Anonymous,
            );
            let checked = checked_realm(&session, realm);
            assert_eq!(checked.is_ok(), is_fine, "{base} {realm}");
        }
    }
}
