//! `WWW-Authenticate` challenges (RFC 9110 §11.6.1), as registries use them.

use std::collections::BTreeMap;

/// What a registry asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Challenge {
    /// A user name and a password with every request.
    Basic,
    /// A token from `realm` (distribution, Token Authentication).
    Bearer {
        /// The address of the token service.
        realm: String,
        /// The name under which the token service knows the registry.
        service: Option<String>,
        /// What the token must allow.
        scope: Option<String>,
    },
}

/// Returns the challenges of one header, in their order; those of other schemes are left out.
pub(super) fn parse(header: &str) -> Vec<Challenge> {
    let mut found = Vec::new();
    let mut rest = header;
    while let Some((scheme, after)) = token(rest) {
        let (parameters, after) = parameters(after);
        found.extend(challenge(scheme, parameters));
        match after.len() < rest.len() {
            true => rest = after,
            false => break,
        }
    }
    found
}

fn challenge(scheme: &str, mut parameters: BTreeMap<String, String>) -> Option<Challenge> {
    if scheme.eq_ignore_ascii_case("basic") {
        return Some(Challenge::Basic);
    }
    if !scheme.eq_ignore_ascii_case("bearer") {
        return None;
    }
    Some(Challenge::Bearer {
        realm: parameters.remove("realm")?,
        service: parameters.remove("service"),
        scope: parameters.remove("scope"),
    })
}

/// Reads `name=value` pairs until something follows that is none.
fn parameters(mut rest: &str) -> (BTreeMap<String, String>, &str) {
    let mut found = BTreeMap::new();
    while let Some((name, after)) = token(rest) {
        let Some(after) = after.trim_start().strip_prefix('=') else {
            break;
        };
        let Some((value, after)) = value(after.trim_start()) else {
            break;
        };
        found.insert(name.to_ascii_lowercase(), value);
        rest = after;
    }
    (found, rest)
}

/// Reads a token, after any commas and spaces.
fn token(text: &str) -> Option<(&str, &str)> {
    let text = text.trim_start_matches([',', ' ', '\t']);
    let is_token = |c: char| c.is_ascii_alphanumeric() || "!#$%&'*+-.^_`|~".contains(c);
    let end = text.find(|c| !is_token(c)).unwrap_or(text.len());
    (end > 0).then(|| text.split_at(end))
}

fn value(text: &str) -> Option<(String, &str)> {
    let Some(quoted) = text.strip_prefix('"') else {
        return token(text).map(|(value, rest)| (value.to_owned(), rest));
    };
    let mut value = String::new();
    let mut characters = quoted.char_indices();
    while let Some((position, character)) = characters.next() {
        match character {
            '"' => return Some((value, &quoted[position + 1..])),
            '\\' => value.push(characters.next()?.1),
            other => value.push(other),
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bearer(realm: &str, service: Option<&str>, scope: Option<&str>) -> Challenge {
        Challenge::Bearer {
            realm: realm.to_owned(),
            service: service.map(str::to_owned),
            scope: scope.map(str::to_owned),
        }
    }

    #[test]
    fn challenges_are_read_as_registries_write_them() {
        for (header, expected) in [
            ("Basic realm=\"r\"", vec![Challenge::Basic]),
            ("basic", vec![Challenge::Basic]),
            (
                r#"Bearer realm="https://a/t",service="s",scope="repository:a:pull,push""#,
                vec![bearer(
                    "https://a/t",
                    Some("s"),
                    Some("repository:a:pull,push"),
                )],
            ),
            (
                r#"Negotiate, Bearer realm="https://a/t" , Basic realm="x""#,
                vec![bearer("https://a/t", None, None), Challenge::Basic],
            ),
            (
                r#"Bearer realm=t, service = "a\"b""#,
                vec![bearer("t", Some("a\"b"), None)],
            ),
            (r#"Bearer realm="open"#, vec![]),
            ("Bearer", vec![]),
            ("", vec![]),
            ("=,=\"\"", vec![]),
        ] {
            assert_eq!(parse(header), expected, "{header}");
        }
    }
}
