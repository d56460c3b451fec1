//! The subject attributes that all certificates of an authority share.

use std::str::FromStr;

use der::asn1::{PrintableStringRef, Utf8StringRef};
use der::oid::ObjectIdentifier;
use der::{Any, Tag, Tagged as _};
use rcgen::{DistinguishedName, DnType, DnValue};
use x509_cert::Certificate;

const COUNTRY: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.4.6");
const STATE: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.4.8");
const COMMON_NAME: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.4.3");
const ORGANIZATION: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.4.10");

/// `C`, `ST` and `O`: what an `x509.subject` identity must name besides the profile.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct AuthoritySubject {
    /// Two letters (ISO 3166).
    pub country: String,
    /// State or province.
    pub state: String,
    /// Organization.
    pub organization: String,
}

impl Default for AuthoritySubject {
    /// Returns `C=US, ST=WA, O=Countersign`, for installations that do not care.
    fn default() -> Self {
        Self {
            country: "US".to_owned(),
            state: "WA".to_owned(),
            organization: "Countersign".to_owned(),
        }
    }
}

/// Says why a subject cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SubjectError {
    /// The country is not two letters.
    #[error("`{0}` is not a country: use two capital letters, such as `US`")]
    Country(String),
    /// An attribute is empty, longer than RFC 5280 allows, or would need escaping in a trust policy.
    #[error(
        "`{value}` cannot be the {attribute} of the authority: use 1 to {limit} characters without `,`, `;`, `=`, `+`, `\\`, `\"`, `#`, `<`, `>` and control characters"
    )]
    Attribute {
        /// Which attribute.
        attribute: &'static str,
        /// Its value.
        value: String,
        /// The most characters.
        limit: usize,
    },
    /// An attribute is not there.
    #[error("the authority's subject names no {0}")]
    Missing(&'static str),
    /// There is something else than the three attributes.
    #[error(
        "`{0}` is not a subject: expected `C=US, ST=WA, O=Example`, each once and nothing else"
    )]
    Shape(String),
}

impl FromStr for AuthoritySubject {
    type Err = SubjectError;

    /// Parses `C=US, ST=WA, O=Example`: the three attributes, once each, in any order.
    fn from_str(text: &str) -> Result<Self, SubjectError> {
        let find = |name: &str, missing| {
            let mut values = text.split(',').filter_map(|part| {
                let (key, value) = part.split_once('=')?;
                (key.trim() == name).then(|| value.trim().to_owned())
            });
            let value = values.next().ok_or(SubjectError::Missing(missing))?;
            match values.next() {
                None => Ok(value),
                Some(_) => Err(SubjectError::Shape(text.chars().take(160).collect())),
            }
        };
        let subject = Self {
            country: find("C", "country (`C`)")?,
            state: find("ST", "state or province (`ST`)")?,
            organization: find("O", "organization (`O`)")?,
        };
        if text.split(',').count() != 3 {
            return Err(SubjectError::Shape(text.chars().take(160).collect()));
        }
        subject.check()?;
        Ok(subject)
    }
}

impl AuthoritySubject {
    /// Returns the whole name with `common_name` at its end.
    pub fn with_common_name(&self, common_name: &str) -> Result<DistinguishedName, SubjectError> {
        self.check()?;
        let country = rcgen::string::PrintableString::try_from(self.country.as_str())
            .map_err(|_| SubjectError::Country(self.country.clone()))?;
        let mut name = DistinguishedName::new();
        name.push(DnType::CountryName, DnValue::PrintableString(country));
        name.push(DnType::StateOrProvinceName, self.state.as_str());
        name.push(DnType::OrganizationName, self.organization.as_str());
        name.push(DnType::CommonName, common_name);
        Ok(name)
    }

    /// Returns the trusted identity that matches a profile, as a trust policy writes it.
    pub fn identity(&self, profile: &crate::ProfileName) -> String {
        let Self {
            country,
            state,
            organization,
        } = self;
        format!("x509.subject: C={country}, ST={state}, O={organization}, CN={profile}")
    }

    pub(crate) fn of_certificate(certificate: &Certificate) -> Result<Self, SubjectError> {
        let subject = certificate.tbs_certificate().subject();
        let find = |oid, missing| {
            let mut attributes = subject.iter().filter(|attribute| attribute.oid == oid);
            let value = attributes
                .next()
                .and_then(|attribute| text(&attribute.value));
            value.ok_or(SubjectError::Missing(missing))
        };
        Ok(Self {
            country: find(COUNTRY, "country")?,
            state: find(STATE, "state or province")?,
            organization: find(ORGANIZATION, "organization")?,
        })
    }

    fn check(&self) -> Result<(), SubjectError> {
        let is_country =
            self.country.len() == 2 && self.country.bytes().all(|byte| byte.is_ascii_uppercase());
        if !is_country {
            return Err(SubjectError::Country(
                self.country.chars().take(80).collect(),
            ));
        }
        // Upper bounds: RFC 5280, Appendix A.1, ub-state-name and ub-organization-name.
        for (attribute, value, limit) in [
            ("state or province", &self.state, 128),
            ("organization", &self.organization, 64),
        ] {
            if !is_plain(value, limit) {
                let value = value.chars().take(80).collect();
                return Err(SubjectError::Attribute {
                    attribute,
                    value,
                    limit,
                });
            }
        }
        Ok(())
    }
}

/// Returns the one common name of a subject.
pub(super) fn common_name(subject: &x509_cert::name::Name) -> Option<String> {
    let mut names = subject
        .iter()
        .filter(|attribute| attribute.oid == COMMON_NAME);
    let name = text(&names.next()?.value).filter(|name| is_plain(name, 64));
    names.next().is_none().then_some(name).flatten()
}

fn is_plain(value: &str, limit: usize) -> bool {
    let special = |c: char| c.is_control() || ",;=+\\\"#<>".contains(c);
    let length = value.chars().count();
    (1..=limit).contains(&length) && !value.contains(special) && value.trim() == value
}

fn text(value: &Any) -> Option<String> {
    match value.tag() {
        Tag::PrintableString => {
            let text: PrintableStringRef<'_> = value.decode_as().ok()?;
            Some(text.as_str().to_owned())
        }
        Tag::Utf8String => {
            let text: Utf8StringRef<'_> = value.decode_as().ok()?;
            Some(text.as_str().to_owned())
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attributes_that_a_trust_policy_cannot_name_are_refused() {
        let good = AuthoritySubject::default();
        assert!(good.with_common_name("ci-build").is_ok());
        for country in ["", "U", "us", "USA", "U,"] {
            let subject = AuthoritySubject {
                country: country.to_owned(),
                ..good.clone()
            };
            assert!(
                matches!(subject.check(), Err(SubjectError::Country(_))),
                "{country}"
            );
        }
        let too_long = "x".repeat(65);
        for organization in [
            "", " x", "x ", "a,b", "a=b", "a+b", "a\\b", "a\nb", &too_long,
        ] {
            let organization = organization.to_owned();
            let subject = AuthoritySubject {
                organization,
                ..good.clone()
            };
            assert!(matches!(
                subject.check(),
                Err(SubjectError::Attribute { .. })
            ));
        }
    }

    #[test]
    fn a_subject_is_three_attributes() {
        let subject: AuthoritySubject = "O=Example Ltd, C=DE,ST=Berlin".parse().unwrap();
        let profile = "ci".parse().unwrap();
        let identity = subject.identity(&profile);
        assert_eq!(
            identity,
            "x509.subject: C=DE, ST=Berlin, O=Example Ltd, CN=ci"
        );
        for bad in [
            "",
            "C=DE,ST=Berlin",
            "C=DE,ST=Berlin,O=a,O=b",
            "C=DE,ST=Berlin,O=a,CN=x",
            "C=Germany,ST=Berlin,O=a",
            "C=DE,ST=Berlin,O=",
            "C=DE,ST=Berlin,O=a,b",
        ] {
            assert!(bad.parse::<AuthoritySubject>().is_err(), "{bad}");
        }
    }

    #[test]
    fn the_identity_is_what_a_trust_policy_wants() {
        let profile = "ci-build".parse().unwrap();
        let identity = AuthoritySubject::default().identity(&profile);
        assert_eq!(
            identity,
            "x509.subject: C=US, ST=WA, O=Countersign, CN=ci-build"
        );
    }
}
