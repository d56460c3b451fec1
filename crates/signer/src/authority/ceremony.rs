//! The ceremony: bringing an intermediate into the service, from a root that is elsewhere.
//!
//! The service's side of it is [`Ceremony`], over the folder of the service's keys; the root's side
//! is [`super::RootAuthority`], over a folder of its own. Between the two go files that are no
//! secrets: a signing request one way, certificates and a revocation list the other.

use std::path::Path;

use der::{Decode as _, Encode as _};
use time::{Duration, OffsetDateTime};
use x509_cert::Certificate;
use x509_cert::ext::pkix::{BasicConstraints, ExtendedKeyUsage, KeyUsage};

use super::issuer::{SigningIssuer, key_id};
use super::root::{ROOT, RootAuthority, root_certificate};
use super::root_list::RootList;
use super::vault::{Certificates, MAX_BUNDLE, Vault};
use super::{
    AuthorityConfig, AuthorityError, AuthoritySubject, IssuerRole, not_after, not_before, pem,
    write,
};
use crate::authority::{LeafSerial, LeafTimes};
use crate::custody::{Custody, KeyAlgorithm};
use crate::keys::{AuthorityKey, LeafKey};

/// An intermediate that ends sooner than this is not worth bringing in.
const SHORTEST_LIFE: Duration = Duration::days(30);

/// What was brought in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Imported {
    /// The certificate of an intermediate, which is now the newest of its kind or renews it.
    Intermediate {
        /// What it is for.
        role: IssuerRole,
        /// Its number, from 1 on.
        generation: u32,
        /// Its subject.
        subject: String,
    },
    /// A revocation list of the root.
    RootList {
        /// How many certificates it revokes.
        revoked: usize,
    },
}

/// One certificate of the authority, as it is shown.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ShownCertificate {
    /// What it is: the file's name without its end.
    pub name: String,
    /// Its subject.
    pub subject: String,
    /// Its serial number, in hexadecimal.
    pub serial: String,
    /// The identifier of its key, in hexadecimal; empty where it has none.
    pub key_id: String,
    /// First moment.
    #[serde(with = "time::serde::rfc3339")]
    pub not_before: OffsetDateTime,
    /// Last moment.
    #[serde(with = "time::serde::rfc3339")]
    pub not_after: OffsetDateTime,
    /// Whether the root's list revokes it.
    pub revoked: bool,
}

/// An authority as it is shown.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ShownAuthority {
    /// Its certificates: the root, the signing intermediates, those for time-stamping.
    pub certificates: Vec<ShownCertificate>,
    /// Whether the root's key lies beside the service.
    pub root_key_beside: bool,
    /// Until when the root's revocation list may be used, where there is one.
    #[serde(with = "time::serde::rfc3339::option")]
    pub root_list_until: Option<OffsetDateTime>,
}

/// The service's side of the ceremony.
pub struct Ceremony<'a> {
    vault: Vault<'a>,
}

impl<'a> Ceremony<'a> {
    /// Returns the ceremony over the folder of `config`, whose keys lie in `custody`.
    pub fn new(config: &'a AuthorityConfig, custody: &'a dyn Custody) -> Self {
        Self {
            vault: Vault { config, custody },
        }
    }

    /// Returns whether there is a signing intermediate.
    pub fn is_complete(&self) -> Result<bool, AuthorityError> {
        Ok(self.vault.kept().generations(IssuerRole::Signing)? > 0)
    }

    /// Returns the signing request for the next intermediate, in PEM. Asking again returns a
    /// request of the same key, until its certificate was brought in.
    pub fn request(
        &self,
        role: IssuerRole,
        subject: &AuthoritySubject,
    ) -> Result<String, AuthorityError> {
        let generation = self.vault.kept().generations(role)? + 1;
        self.vault.request(subject, (role, generation))
    }

    /// Has a root that is at hand certify the next intermediate, and brings it in.
    pub fn renew(
        &self,
        root: &RootAuthority,
        role: IssuerRole,
        now: OffsetDateTime,
    ) -> Result<u32, AuthorityError> {
        let generation = self.vault.kept().generations(role)? + 1;
        self.vault.certify(root, (role, generation), now)?;
        Ok(generation)
    }

    /// Opens the root beside the service.
    pub fn root_beside(&self) -> Result<RootAuthority, AuthorityError> {
        RootAuthority::open(self.vault.folder(), self.vault.custody)
    }

    /// Keeps the certificate of a root whose key is elsewhere.
    pub fn keep_root(&self, root: &RootAuthority) -> Result<(), AuthorityError> {
        let path = self.vault.folder().join("root.pem");
        write(&path, root.certificate_pem()?.as_bytes())
    }

    /// Keeps a list of the root, which must have signed it and revoke no less than the last one.
    pub fn import_list(&self, der: &[u8]) -> Result<Imported, AuthorityError> {
        let list = RootList::parse(der)?;
        let root = self.anchor()?;
        list.check_signature(&root)?;
        if let Some(kept) = RootList::load(self.vault.folder(), &root)?
            && kept.number > list.number
        {
            let reason = "a newer list of the root is here already";
            return Err(AuthorityError::Unfit(reason.to_owned()));
        }
        list.keep(self.vault.folder())?;
        Ok(Imported::RootList {
            revoked: list.entries.len(),
        })
    }

    /// Brings in the certificate of an intermediate and those above it, in PEM: itself first. The
    /// root may be left out where it is this authority's own.
    pub fn import(&self, text: &[u8], now: OffsetDateTime) -> Result<Imported, AuthorityError> {
        let mut bundle = Certificate::load_pem_chain(text)?;
        if !(1..=MAX_BUNDLE).contains(&bundle.len()) {
            let count = bundle.len();
            return Err(unfit(format!(
                "{count} certificates: expected 1 to {MAX_BUNDLE}"
            )));
        }
        let last = bundle[bundle.len() - 1].tbs_certificate();
        if last.subject() != last.issuer() {
            let root = root_certificate(self.vault.folder())?;
            let missing = || unfit("the chain does not end in a root: add those above".to_owned());
            bundle.push(root.ok_or_else(missing)?);
        }
        let (role, generation) = self.whose(&bundle[0])?;
        check_intermediate(&bundle[0], role, now)?;
        self.probe(&bundle, (role, generation), now)?;
        let ders = bundle.iter().map(|one| Ok(pem(&one.to_der()?)));
        let text: String = ders.collect::<Result<_, AuthorityError>>()?;
        write(&self.vault.kept().path(role, generation), text.as_bytes())?;
        let subject = bundle[0].tbs_certificate().subject().to_string();
        Ok(Imported::Intermediate {
            role,
            generation,
            subject,
        })
    }

    /// Returns the authority's certificates and lists.
    pub fn show(&self) -> Result<ShownAuthority, AuthorityError> {
        show(self.vault.folder())
    }

    /// Returns how many intermediates of this kind there are.
    pub fn count(&self, role: IssuerRole) -> Result<u32, AuthorityError> {
        self.vault.kept().generations(role)
    }

    /// Returns the subject attributes that the next intermediate must have: those of the newest,
    /// because trust policies name them, and of the configuration where there is none.
    pub fn subject(&self) -> Result<AuthoritySubject, AuthorityError> {
        let generation = self.vault.kept().generations(IssuerRole::Signing)?;
        if generation == 0 {
            return Ok(self.vault.config.subject.clone());
        }
        let bundle = self.vault.kept().bundle(IssuerRole::Signing, generation)?;
        Ok(AuthoritySubject::of_certificate(&bundle[0])?)
    }

    fn anchor(&self) -> Result<Certificate, AuthorityError> {
        let generation = self.vault.kept().generations(IssuerRole::Signing)?;
        if generation == 0 {
            let root = root_certificate(self.vault.folder())?;
            return root.ok_or_else(|| unfit("this authority has no root yet".to_owned()));
        }
        let mut bundle = self.vault.kept().bundle(IssuerRole::Signing, generation)?;
        Ok(bundle.remove(bundle.len() - 1))
    }

    /// Returns whose key the certificate is for: the next intermediate's, or the newest one's.
    fn whose(&self, certificate: &Certificate) -> Result<(IssuerRole, u32), AuthorityError> {
        let info = certificate
            .tbs_certificate()
            .subject_public_key_info()
            .to_der()?;
        for role in IssuerRole::ALL {
            let newest = self.vault.kept().generations(role)?;
            for generation in [newest + 1, newest.max(1)] {
                let key = self.vault.custody.open(&role.label(generation))?;
                if key.is_some_and(|key| key.public_key_der() == info) {
                    return Ok((role, generation));
                }
            }
        }
        Err(unfit(
            "the certificate is for none of the keys that asked for one: make a request with \
             `countersign ca request`, and have that signed"
                .to_owned(),
        ))
    }

    /// Issues a leaf that nobody gets, and checks its whole chain as a verifier would.
    fn probe(
        &self,
        bundle: &[Certificate],
        (role, generation): (IssuerRole, u32),
        now: OffsetDateTime,
    ) -> Result<(), AuthorityError> {
        let Some(key) = self.vault.custody.open(&role.label(generation))? else {
            return Err(unfit("its key is gone".to_owned()));
        };
        let issuer = SigningIssuer::new(generation, bundle.to_vec(), AuthorityKey::new(key)?)?;
        let leaf = issuer.issue_leaf(
            &"probe".parse().map_err(|_| unfit("no probe".to_owned()))?,
            LeafTimes {
                not_before: now,
                not_after: now + Duration::HOUR,
            },
            (LeafKey::generate(KeyAlgorithm::P256)?, LeafSerial::Random),
            &self.vault.config.pki,
        )?;
        let issued = Certificate::from_der(&leaf.chain[0])?;
        let issuer_name = issued.tbs_certificate().issuer().to_der()?;
        if issuer_name != bundle[0].tbs_certificate().subject().to_der()? {
            return Err(unfit(
                "its subject has a form that cannot be repeated in leaves".to_owned(),
            ));
        }
        let chain = trust::CertificateChain::from_ders(&leaf.chain);
        let chain = chain.map_err(|error| unfit(error.to_string()))?;
        chain.check_rules().map_err(unfit)
    }
}

/// Returns the certificates and lists in the folder of an authority, without opening a key.
pub fn show(folder: &Path) -> Result<ShownAuthority, AuthorityError> {
    let kept = Certificates(folder);
    let mut named = Vec::new();
    if let Some(root) = root_certificate(folder)? {
        named.push((ROOT.to_owned(), root));
    }
    for role in IssuerRole::ALL {
        for generation in 1..=kept.generations(role)? {
            let bundle = kept.bundle(role, generation)?.into_iter();
            named.extend(bundle.take(1).map(|one| (role.label(generation), one)));
        }
    }
    if let Some(certificate) = kept.timestamping_certificate()? {
        named.push(("timestamping".to_owned(), certificate));
    }
    let list = match kept.generations(IssuerRole::Signing)? > 0 {
        true => kept.root_list()?,
        false => None,
    };
    let shown = named
        .iter()
        .map(|(name, one)| shown(name, one, list.as_ref()));
    Ok(ShownAuthority {
        certificates: shown.collect::<Result<_, _>>()?,
        root_key_beside: folder.join("root.key").exists(),
        root_list_until: list.map(|list| list.next_update),
    })
}

fn check_intermediate(
    certificate: &Certificate,
    role: IssuerRole,
    now: OffsetDateTime,
) -> Result<(), AuthorityError> {
    let tbs = certificate.tbs_certificate();
    let basic = tbs.get_extension::<BasicConstraints>()?;
    if !basic.is_some_and(|(critical, basic)| critical && basic.ca) {
        return Err(unfit(
            "it is no CA: it needs critical basic constraints with cA".to_owned(),
        ));
    }
    let usage = tbs.get_extension::<KeyUsage>()?;
    let signs = |usage: &KeyUsage| usage.key_cert_sign() && usage.crl_sign();
    if !usage.is_some_and(|(critical, usage)| critical && signs(&usage)) {
        return Err(unfit(
            "it needs a critical key usage with keyCertSign and cRLSign".to_owned(),
        ));
    }
    let purpose = match role {
        IssuerRole::Signing => der::oid::db::rfc5280::ID_KP_CODE_SIGNING,
        IssuerRole::TimeStamping => der::oid::db::rfc5280::ID_KP_TIME_STAMPING,
    };
    if let Some((_, extended)) = tbs.get_extension::<ExtendedKeyUsage>()?
        && !extended.0.contains(&purpose)
        && !extended
            .0
            .contains(&der::oid::db::rfc5280::ANY_EXTENDED_KEY_USAGE)
    {
        return Err(unfit(format!(
            "its extended key usage does not hold {purpose}"
        )));
    }
    if key_id(certificate)?.is_none() {
        return Err(unfit("it has no subject key identifier".to_owned()));
    }
    check_critical(certificate)?;
    check_life(certificate, now)
}

/// Name constraints and policies of a CA may forbid the leaves that we issue; what is critical and
/// not understood is refused here and not by every verifier later.
fn check_critical(certificate: &Certificate) -> Result<(), AuthorityError> {
    const KNOWN: [&str; 3] = ["2.5.29.19", "2.5.29.15", "2.5.29.37"];
    let extensions = certificate.tbs_certificate().extensions();
    for extension in extensions.into_iter().flatten() {
        let oid = extension.extn_id.to_string();
        if extension.critical && !KNOWN.contains(&oid.as_str()) {
            return Err(unfit(format!("its critical extension {oid} is not known")));
        }
    }
    Ok(())
}

fn check_life(certificate: &Certificate, now: OffsetDateTime) -> Result<(), AuthorityError> {
    if now < not_before(certificate) {
        return Err(unfit("it is not valid yet".to_owned()));
    }
    if not_after(certificate) < now + SHORTEST_LIFE {
        return Err(unfit("it ends in less than 30 days".to_owned()));
    }
    Ok(())
}

fn shown(
    name: &str,
    certificate: &Certificate,
    list: Option<&RootList>,
) -> Result<ShownCertificate, AuthorityError> {
    let tbs = certificate.tbs_certificate();
    Ok(ShownCertificate {
        name: name.to_owned(),
        subject: tbs.subject().to_string(),
        serial: hex::encode(tbs.serial_number().as_bytes()),
        key_id: key_id(certificate)?.map_or_else(String::new, hex::encode),
        not_before: not_before(certificate),
        not_after: not_after(certificate),
        revoked: list.is_some_and(|list| list.revokes(certificate)),
    })
}

fn unfit(reason: String) -> AuthorityError {
    AuthorityError::Unfit(reason)
}

#[cfg(test)]
mod tests;
