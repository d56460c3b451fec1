//! What certificates say of lists and answers: where they are, and under which policy time is
//! stamped.

use der::Encode as _;
use der::asn1::Ia5String;
use der::oid::ObjectIdentifier;
use rcgen::{CrlDistributionPoint, CustomExtension};
use x509_cert::ext::pkix::name::GeneralName;
use x509_cert::ext::pkix::{AccessDescription, AuthorityInfoAccessSyntax};

use super::AuthorityError;
use super::issuer::SigningIssuer;
use super::timestamp::TimestampPolicy;

const AUTHORITY_INFORMATION_ACCESS: &[u64] = &[1, 3, 6, 1, 5, 5, 7, 1, 1];
const OCSP: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.6.1.5.5.7.48.1");
/// Stands for the identifier of the issuer's key in the address of a list.
const ISSUER: &str = "{issuer}";
/// The end of an address that names no issuer, and what it becomes.
const CURRENT: &str = "ca.crl";
const OF_ISSUER: &str = "crl/{issuer}.crl";

/// Where verifiers find lists and answers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PkiSettings {
    /// The revocation lists of the intermediates: `{issuer}` stands for the identifier of the
    /// issuer's key, and `ca.crl` at the end for `crl/{issuer}.crl`.
    pub crl_url: Option<String>,
    /// The OCSP responder.
    pub ocsp_url: Option<String>,
    /// The revocation list of the root.
    pub root_crl_url: Option<String>,
    /// The policy of time-stamps.
    pub timestamp_policy: TimestampPolicy,
}

impl PkiSettings {
    /// Returns where the list of the issuer with this key is. Each issuer's list has an address of
    /// its own, so that what an earlier one issued still finds a list that it signed.
    pub fn crl_url_of(&self, key_id: &str) -> Option<String> {
        let url = self.crl_url.as_deref()?;
        let template = match url.strip_suffix(CURRENT) {
            Some(base) => format!("{base}{OF_ISSUER}"),
            None => url.to_owned(),
        };
        Some(template.replace(ISSUER, key_id))
    }

    pub(super) fn crl_points(&self, issuer: &SigningIssuer) -> Vec<CrlDistributionPoint> {
        let url = self.crl_url_of(&issuer.key_id());
        url.map(|url| CrlDistributionPoint { uris: vec![url] })
            .into_iter()
            .collect()
    }

    /// Returns the extension that names the responder (RFC 5280 §4.2.2.1).
    pub(super) fn ocsp_access(&self) -> Result<Option<CustomExtension>, AuthorityError> {
        let Some(url) = &self.ocsp_url else {
            return Ok(None);
        };
        let access = AuthorityInfoAccessSyntax(vec![AccessDescription {
            access_method: OCSP,
            access_location: GeneralName::UniformResourceIdentifier(Ia5String::new(url)?),
        }]);
        let (oid, content) = (AUTHORITY_INFORMATION_ACCESS, access.to_der()?);
        Ok(Some(CustomExtension::from_oid_content(oid, content)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_issuer_has_a_list_at_an_address_of_its_own() {
        for (url, expected) in [
            (
                "http://a.example/pki/ca.crl",
                "http://a.example/pki/crl/0a.crl",
            ),
            (
                "http://b.example/lists/{issuer}",
                "http://b.example/lists/0a",
            ),
            ("http://c.example/list", "http://c.example/list"),
        ] {
            let settings = PkiSettings {
                crl_url: Some(url.to_owned()),
                ..PkiSettings::default()
            };
            assert_eq!(settings.crl_url_of("0a").as_deref(), Some(expected));
        }
        assert_eq!(PkiSettings::default().crl_url_of("0a"), None);
    }
}
