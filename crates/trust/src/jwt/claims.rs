//! What a token says (RFC 7519 §4), and whether that is what it must say.

use std::collections::BTreeMap;

use serde_json::{Map, Value};
use time::OffsetDateTime;

use super::{CLOCK_SKEW, Expected, MAX_TOKEN_LIFE, TokenRefused, object};

/// The longest subject, in bytes.
pub const MAX_SUBJECT_BYTES: usize = 1024;
/// The longest claim that is kept, in bytes.
pub const MAX_CLAIM_BYTES: usize = 512;
/// The most audiences of one token.
const MAX_AUDIENCES: usize = 16;

/// What a token says.
#[derive(Clone, Debug)]
pub struct Claims {
    /// Who vouches for it.
    pub issuer: String,
    /// Whom it is about.
    pub subject: String,
    /// Until when it is valid.
    pub expires: OffsetDateTime,
    pub(super) id: Option<String>,
    audiences: Vec<String>,
    issued_at: OffsetDateTime,
    not_before: Option<OffsetDateTime>,
    members: Map<String, Value>,
}

impl Claims {
    pub(super) fn parse(bytes: &[u8]) -> Result<Self, TokenRefused> {
        let members = object(bytes)?;
        let malformed = TokenRefused::Malformed;
        Ok(Self {
            issuer: text(&members, "iss", 512)?.ok_or(malformed("it has no `iss`"))?,
            subject: text(&members, "sub", MAX_SUBJECT_BYTES)?
                .ok_or(malformed("it has no `sub`"))?,
            expires: moment(&members, "exp")?.ok_or(malformed("it has no `exp`"))?,
            issued_at: moment(&members, "iat")?.ok_or(malformed("it has no `iat`"))?,
            not_before: moment(&members, "nbf")?,
            id: text(&members, "jti", 256)?,
            audiences: audiences(&members)?,
            members,
        })
    }

    /// Returns those of the claims called `names` that the token has as a text, number or truth
    /// value of at most [`MAX_CLAIM_BYTES`].
    pub fn selected<'a>(&self, names: impl Iterator<Item = &'a str>) -> BTreeMap<String, String> {
        let claim = |name: &str| {
            let text = match self.members.get(name)? {
                Value::String(text) => text.clone(),
                Value::Number(number) => number.to_string(),
                Value::Bool(truth) => truth.to_string(),
                _ => return None,
            };
            let fits = text.len() <= MAX_CLAIM_BYTES && !text.chars().any(char::is_control);
            fits.then(|| (name.to_owned(), text))
        };
        names.filter_map(claim).collect()
    }

    pub(super) fn check(&self, expected: Expected<'_>) -> Result<(), TokenRefused> {
        if self.issuer != expected.issuer {
            return Err(TokenRefused::Issuer {
                found: self.issuer.clone(),
                expected: expected.issuer.to_owned(),
            });
        }
        if !self.audiences.iter().any(|one| one == expected.audience) {
            let quoted: Vec<String> = self
                .audiences
                .iter()
                .map(|one| format!("`{one}`"))
                .collect();
            return Err(TokenRefused::Audience {
                found: quoted.join(", "),
                expected: expected.audience.to_owned(),
            });
        }
        self.check_times(expected.now)
    }

    fn check_times(&self, now: OffsetDateTime) -> Result<(), TokenRefused> {
        if self.expires + CLOCK_SKEW <= now {
            return Err(TokenRefused::Expired(self.expires));
        }
        let begins = [Some(self.issued_at), self.not_before];
        if let Some(begin) = begins
            .into_iter()
            .flatten()
            .find(|begin| *begin > now + CLOCK_SKEW)
        {
            return Err(TokenRefused::NotYet(begin));
        }
        match self.expires - self.issued_at > MAX_TOKEN_LIFE {
            true => Err(TokenRefused::TooLong),
            false => Ok(()),
        }
    }
}

fn text(
    members: &Map<String, Value>,
    name: &str,
    limit: usize,
) -> Result<Option<String>, TokenRefused> {
    let fits =
        |text: &str| (1..=limit).contains(&text.len()) && !text.chars().any(char::is_control);
    match members.get(name) {
        None => Ok(None),
        Some(Value::String(text)) if fits(text) => Ok(Some(text.clone())),
        Some(_) => Err(TokenRefused::Malformed(
            "`iss`, `sub` or `jti` is not a text of a fit length",
        )),
    }
}

fn audiences(members: &Map<String, Value>) -> Result<Vec<String>, TokenRefused> {
    let malformed = TokenRefused::Malformed("`aud` is not a text or a short list of texts");
    match members.get("aud") {
        Some(Value::String(one)) => Ok(vec![one.clone()]),
        Some(Value::Array(list)) if list.len() <= MAX_AUDIENCES => {
            let texts = list.iter().map(|one| one.as_str().map(str::to_owned));
            texts.collect::<Option<_>>().ok_or(malformed)
        }
        _ => Err(malformed),
    }
}

/// A NumericDate: seconds since 1970, perhaps with a fraction, which is cut (RFC 7519 §2).
fn moment(
    members: &Map<String, Value>,
    name: &str,
) -> Result<Option<OffsetDateTime>, TokenRefused> {
    let malformed = || TokenRefused::Malformed("`exp`, `iat` or `nbf` is not a time");
    let Some(value) = members.get(name) else {
        return Ok(None);
    };
    let number = value.as_number().ok_or_else(malformed)?.to_string();
    let whole = number.split('.').next().unwrap_or_default();
    // An exponent does not parse, and a moment before 1970 or after 9999 is none.
    let seconds: u64 = whole.parse().map_err(|_| malformed())?;
    let seconds = i64::try_from(seconds).map_err(|_| malformed())?;
    let moment = OffsetDateTime::from_unix_timestamp(seconds).map_err(|_| malformed())?;
    // Room for the skew, so that no sum below leaves the calendar.
    (moment.year() < 9999)
        .then_some(Some(moment))
        .ok_or_else(malformed)
}
