//! The checks that follow integrity: who signed, when, until when, and is it revoked.

use oci::Digest;
use time::OffsetDateTime;

use super::VerifyRequest;
use crate::Certificate;
use crate::SigningScheme;
use crate::chain::{CertificateChain, check_valid_at};
use crate::dsse::ParsedAttestation;
use crate::encoding::rfc3339;
use crate::jws::VerifiedEnvelope;
use crate::outcome::{
    FailureCode, Refusal, Signer, VerificationAction, VerificationOutcome, VerifiedStatement,
};
use crate::revocation::RevocationStatus;
use crate::revocation::feed::{Questioned, signature_identity};
use crate::trust_policy::{TrustStoreName, VerifyTimestamp};
use crate::trust_store::StoreKind;

/// What remains to be judged of an envelope whose integrity is established.
pub(super) struct Judged<'a> {
    chain: &'a CertificateChain,
    scheme: Option<SigningScheme>,
    signing_time: Option<OffsetDateTime>,
    expiry: Option<OffsetDateTime>,
    has_timestamp: bool,
    signed_sha256: String,
    /// What was signed: the target artifact, or the first subject of a statement.
    target: Option<&'a Digest>,
}

impl<'a> Judged<'a> {
    pub(super) fn signature(envelope: &'a VerifiedEnvelope) -> Self {
        let attributes = envelope.attributes();
        Self {
            chain: envelope.chain(),
            scheme: Some(attributes.scheme),
            signing_time: Some(attributes.signing_time),
            expiry: attributes.expiry,
            has_timestamp: envelope.has_timestamp(),
            signed_sha256: envelope.signed_sha256().to_owned(),
            target: Some(&envelope.target().digest),
        }
    }

    /// An attestation has no attributes of its own: its leaf, made for one job, says until when.
    pub(super) fn attestation(
        envelope: &'a ParsedAttestation,
        statement: &'a VerifiedStatement,
    ) -> Self {
        Self {
            chain: envelope.chain(),
            scheme: None,
            signing_time: None,
            expiry: Some(envelope.chain().leaf().not_after()),
            has_timestamp: false,
            signed_sha256: envelope.signed_sha256(),
            target: statement.subjects.first(),
        }
    }

    pub(super) fn judge(&self, request: &VerifyRequest<'_>, outcome: &mut VerificationOutcome) {
        let signer = self.signer();
        let rules = self.chain.check_rules();
        let sound = rules.is_ok();
        outcome.authenticity.finding = rules
            .map_err(|problem| Refusal::new(FailureCode::CertificateInvalid, problem))
            .and_then(|()| self.check_anchor(request))
            .and_then(|()| self.check_identity(request, &signer))
            .into();
        outcome.authentic_timestamp.finding = self.check_time(request).into();
        outcome.expiry.finding = self.check_expiry(request.now).into();
        // In a chain that breaks the rules nobody is known to be the issuer of anything.
        if sound && outcome.revocation.action != VerificationAction::Skip {
            outcome.revocation.finding = self.check_revocation(request).into();
        }
        if outcome.authenticity.passed() {
            outcome.signer = Some(signer.clone());
        }
        outcome.claimed_signer = Some(signer);
    }

    fn signer(&self) -> Signer {
        let leaf = self.chain.leaf();
        Signer {
            subject: leaf.subject().clone(),
            common_name: leaf.subject().common_name().to_owned(),
            certificate_sha256: leaf.sha256(),
            public_key_sha256: leaf.public_key().sha256().to_owned(),
        }
    }

    /// Whether trust stores of this kind count (R033). They never stand in for each other; an
    /// attestation claims no time, so both kinds of signers may make one.
    fn accepts(&self, kind: StoreKind) -> bool {
        match self.scheme {
            Some(SigningScheme::X509) => kind == StoreKind::Ca,
            Some(SigningScheme::SigningAuthority) => kind == StoreKind::SigningAuthority,
            None => kind != StoreKind::Tsa,
        }
    }

    /// A certificate of the chain is, byte for byte, in a trust store of the statement (R072).
    fn check_anchor(&self, request: &VerifyRequest<'_>) -> Result<(), Refusal> {
        let named = request.statement.trust_stores.iter();
        let stores: Vec<&TrustStoreName> = named.filter(|one| self.accepts(one.kind)).collect();
        let mut anchors = stores.iter().flat_map(|one| request.store.anchors(one));
        if anchors.any(|anchor| self.chain.certificates().any(|one| one == anchor)) {
            return Ok(());
        }
        let root = self.chain.certificates().next_back();
        let root = root.map_or(String::new(), |root| root.subject().to_string());
        let names: Vec<_> = stores.iter().map(|one| format!("`{one}`")).collect();
        let empty = stores
            .iter()
            .all(|one| request.store.anchors(one).is_empty());
        let problem = match (names.is_empty(), empty, self.scheme) {
            (true, _, Some(scheme)) => {
                format!("the policy names no trust store for the signing scheme `{scheme}`")
            }
            (true, _, None) => "the policy names no trust store for attestations".to_owned(),
            (false, true, _) => format!("there is no certificate in {}", names.join(", ")),
            (false, false, _) => {
                let names = names.join(", ");
                format!("no certificate of the chain, which ends at `{root}`, is in {names}")
            }
        };
        Err(Refusal::new(FailureCode::SignerNotTrusted, problem))
    }

    fn check_identity(&self, request: &VerifyRequest<'_>, signer: &Signer) -> Result<(), Refusal> {
        if request.statement.trusted_identities.trusts(&signer.subject) {
            return Ok(());
        }
        let problem = format!(
            "the signer `{}` is not among the trusted identities of `{}`",
            signer.subject, request.statement.name
        );
        Err(Refusal::new(FailureCode::SignerNotTrusted, problem))
    }

    /// The certificates were valid at the time that counts (R074, R075): the authority's time, or
    /// now where nobody vouches for a time.
    fn check_time(&self, request: &VerifyRequest<'_>) -> Result<(), Refusal> {
        let expired = |problem| Refusal::new(FailureCode::CertificateExpired, problem);
        if let Some(time) = self.signing_time {
            let what = "the signing time";
            check_valid_at(self.chain.certificates(), time, what).map_err(expired)?;
        }
        if self.scheme == Some(SigningScheme::SigningAuthority) {
            return Ok(());
        }
        let now = self.check_now(request.now);
        if self.needs_timestamp(request, now.is_err()) {
            let problem = match self.has_timestamp {
                true => {
                    "the policy asks for a timestamp, and the verification of timestamp tokens is not supported yet"
                }
                false => "the policy asks for a timestamp, and the signature has none",
            };
            return Err(Refusal::new(FailureCode::TimestampUnverified, problem));
        }
        now.map_err(expired)
    }

    /// The leaf of an attestation says until when the attestation itself holds: that is its
    /// expiry, and judged there.
    fn check_now(&self, now: OffsetDateTime) -> Result<(), String> {
        let leaf_expired = now >= self.chain.leaf().not_after();
        let skipped = usize::from(self.scheme.is_none() && leaf_expired);
        let certificates = self.chain.certificates().skip(skipped);
        check_valid_at(certificates, now, "the present time")
    }

    fn needs_timestamp(&self, request: &VerifyRequest<'_>, expired: bool) -> bool {
        let mut stores = request.statement.trust_stores.iter();
        self.scheme == Some(SigningScheme::X509)
            && stores.any(|one| one.kind == StoreKind::Tsa)
            && (request.statement.verify_timestamp == VerifyTimestamp::Always || expired)
    }

    /// Now is before the expiry (R073). At the very second of the expiry the signature has
    /// expired, as the appendix of the specification and the reference implementation say.
    fn check_expiry(&self, now: OffsetDateTime) -> Result<(), Refusal> {
        match self.expiry {
            Some(expiry) if now >= expiry => {
                let problem = format!("the signature expired at {}", rfc3339(expiry));
                Err(Refusal::new(FailureCode::SignatureExpired, problem))
            }
            Some(_) | None => Ok(()),
        }
    }

    /// No certificate below the root was revoked, from the root down to the leaf (R081). That one
    /// is revoked goes before that another one's status is not known.
    fn check_revocation(&self, request: &VerifyRequest<'_>) -> Result<(), Refusal> {
        let authority = self.scheme == Some(SigningScheme::SigningAuthority);
        let signed_at = self.signing_time.filter(|_| authority);
        let mut unknown = None;
        for (certificate, issuer) in self.chain.issued().rev() {
            match self.revocation_status(request, (certificate, issuer), signed_at) {
                RevocationStatus::Good => {}
                RevocationStatus::Revoked { at, reason } => {
                    let (subject, at) = (certificate.subject(), rfc3339(at));
                    let problem = format!("`{subject}` was revoked as of {at} ({reason})");
                    return Err(Refusal::new(FailureCode::SignatureRevoked, problem));
                }
                RevocationStatus::Unknown { reason } => {
                    let subject = certificate.subject();
                    unknown.get_or_insert(format!("`{subject}`: {reason}"));
                }
            }
        }
        match unknown {
            Some(problem) => Err(Refusal::new(FailureCode::RevocationUnknown, problem)),
            None => Ok(()),
        }
    }

    /// What an authority pushes about its leaves goes before lists.
    fn revocation_status(
        &self,
        request: &VerifyRequest<'_>,
        (certificate, issuer): (&Certificate, &Certificate),
        signed_at: Option<OffsetDateTime>,
    ) -> RevocationStatus {
        let evidence = request.revocation;
        let pushed = (certificate == self.chain.leaf()).then(|| {
            // The leaf of an attestation is made for it, and begins when it is signed.
            let is_attestation = self.scheme.is_none();
            let begins = is_attestation.then(|| certificate.not_before());
            let asked = Questioned {
                identity: &signature_identity(&certificate.sha256(), &self.signed_sha256),
                serial: &certificate.serial_number(),
                profile: certificate.subject().common_name(),
                target: self.target,
                signed_at: signed_at.or(begins),
            };
            evidence.pushed_status(issuer, &asked, request.now)
        });
        pushed
            .flatten()
            .unwrap_or_else(|| evidence.status(certificate, issuer, signed_at, request.now))
    }
}
