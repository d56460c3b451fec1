//! The document as it is written, and the way from there to checked statements.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::{Map, Value};

use super::{
    TrustPolicy, TrustPolicyError, TrustPolicyStatement, TrustStoreName, TrustedIdentities,
    VerificationLevel, VerifyTimestamp, check_uniqueness, is_scope, wrong,
};
use crate::outcome::VerificationAction;
use crate::tlog::note::SignatureType;
use crate::tlog::{LogPolicy, VerifierKey};
use crate::{DistinguishedName, json};

/// The prefix of identities that name a certificate's subject.
const X509_SUBJECT: &str = "x509.subject:";
/// Attributes that every identity must name (R065).
const MANDATORY: [&str; 3] = ["C", "ST", "O"];

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Document {
    version: String,
    trust_policies: Vec<Statement>,
    #[serde(flatten)]
    unknown: Map<String, Value>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Statement {
    name: String,
    registry_scopes: Vec<String>,
    signature_verification: SignatureVerification,
    #[serde(default)]
    trust_stores: Vec<String>,
    #[serde(default)]
    trusted_identities: Vec<String>,
    transparency_log: Option<LogPolicy>,
    #[serde(flatten)]
    unknown: Map<String, Value>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct SignatureVerification {
    level: String,
    #[serde(default, rename = "override")]
    overrides: BTreeMap<String, String>,
    verify_timestamp: Option<String>,
    #[serde(flatten)]
    unknown: Map<String, Value>,
}

impl Document {
    pub(super) fn into_policy(self) -> Result<TrustPolicy, TrustPolicyError> {
        check_case(&self.unknown, &["version", "trustPolicies"], "")?;
        if self.version != "1.0" {
            let problem = format!("`{}` is not supported: use `1.0`", self.version);
            return Err(wrong("version", problem));
        }
        if self.trust_policies.is_empty() {
            return Err(wrong(
                "trustPolicies",
                "there must be at least one statement",
            ));
        }
        let statements = self.trust_policies.into_iter().enumerate();
        let statements: Vec<_> = statements
            .map(|(index, one)| one.into_statement(&format!("trustPolicies[{index}]")))
            .collect::<Result<_, _>>()?;
        check_uniqueness(&statements)?;
        Ok(TrustPolicy {
            version: "1.0",
            trust_policies: statements,
        })
    }
}

impl Statement {
    fn into_statement(self, path: &str) -> Result<TrustPolicyStatement, TrustPolicyError> {
        const KNOWN: &[&str] = &[
            "name",
            "registryScopes",
            "signatureVerification",
            "trustStores",
            "trustedIdentities",
            "transparencyLog",
        ];
        check_case(&self.unknown, KNOWN, &format!("{path}."))?;
        if self.name.is_empty() {
            return Err(wrong(format!("{path}.name"), "a statement needs a name"));
        }
        let verification = format!("{path}.signatureVerification");
        let level = self.signature_verification.level(&verification)?;
        self.check_scopes(path, &level)?;
        self.check_presence(path, &level)?;
        let verify_timestamp = self.signature_verification.timestamp(&verification)?;
        Ok(TrustPolicyStatement {
            trust_stores: trust_stores(&self.trust_stores, &format!("{path}.trustStores"))?,
            trusted_identities: identities(
                &self.trusted_identities,
                &format!("{path}.trustedIdentities"),
            )?,
            transparency_log: transparency_log(self.transparency_log, path, &level)?,
            name: self.name,
            registry_scopes: self.registry_scopes,
            level,
            verify_timestamp,
        })
    }

    fn check_scopes(&self, path: &str, level: &VerificationLevel) -> Result<(), TrustPolicyError> {
        let member = format!("{path}.registryScopes");
        let scopes = &self.registry_scopes;
        if scopes.is_empty() {
            return Err(wrong(member, "there must be at least one scope"));
        }
        let global = scopes.iter().any(|scope| scope == "*");
        if global && scopes.len() > 1 {
            return Err(wrong(member, "`*` must stand alone"));
        }
        if global && level.is_skip() {
            let problem = "level `skip` is not allowed for `*`: list the repositories";
            return Err(wrong(member, problem));
        }
        match scopes.iter().find(|scope| !is_scope(scope)) {
            Some(scope) => Err(wrong(
                member,
                format!(
                    "`{scope}` is not `*` or a whole repository, such as `registry.example/apps/shop`"
                ),
            )),
            None => Ok(()),
        }
    }

    /// Trust stores and identities are given, or, for level `skip`, left out (R068).
    fn check_presence(
        &self,
        path: &str,
        level: &VerificationLevel,
    ) -> Result<(), TrustPolicyError> {
        for (member, given) in [
            ("trustStores", !self.trust_stores.is_empty()),
            ("trustedIdentities", !self.trusted_identities.is_empty()),
        ] {
            let member = format!("{path}.{member}");
            if level.is_skip() && given {
                return Err(wrong(member, "must be absent for level `skip`"));
            }
            if !level.is_skip() && !given {
                return Err(wrong(member, "there must be at least one entry"));
            }
        }
        Ok(())
    }
}

impl SignatureVerification {
    fn level(&self, path: &str) -> Result<VerificationLevel, TrustPolicyError> {
        check_case(
            &self.unknown,
            &["level", "override", "verifyTimestamp"],
            &format!("{path}."),
        )?;
        let levels = [
            VerificationLevel::STRICT,
            VerificationLevel::PERMISSIVE,
            VerificationLevel::AUDIT,
            VerificationLevel::SKIP,
        ];
        let found = levels.into_iter().find(|level| level.name == self.level);
        let mut level = found.ok_or_else(|| {
            let problem = format!(
                "`{}` is not a level: use `strict`, `permissive`, `audit` or `skip`",
                self.level
            );
            wrong(format!("{path}.level"), problem)
        })?;
        for (kind, action) in &self.overrides {
            let member = format!("{path}.override.{kind}");
            override_action(&mut level, kind, action).map_err(|problem| wrong(member, problem))?;
        }
        Ok(level)
    }

    fn timestamp(&self, path: &str) -> Result<VerifyTimestamp, TrustPolicyError> {
        match self.verify_timestamp.as_deref() {
            None | Some("" | "always") => Ok(VerifyTimestamp::Always),
            Some("afterCertExpiry") => Ok(VerifyTimestamp::AfterCertExpiry),
            Some(other) => Err(wrong(
                format!("{path}.verifyTimestamp"),
                format!("`{other}` is not known: use `always` or `afterCertExpiry`"),
            )),
        }
    }
}

/// Applies one override, within what may be overridden (R062).
fn override_action(level: &mut VerificationLevel, kind: &str, action: &str) -> Result<(), String> {
    if level.is_skip() {
        return Err("level `skip` cannot be overridden".to_owned());
    }
    let may_skip = kind == "revocation";
    let action = match action {
        "enforce" => VerificationAction::Enforce,
        "log" => VerificationAction::Log,
        "skip" if may_skip => VerificationAction::Skip,
        other => {
            let more = if may_skip {
                ", `log` or `skip`"
            } else {
                " or `log`"
            };
            return Err(format!("`{other}` is not allowed: use `enforce`{more}"));
        }
    };
    let slot = match kind {
        "authenticity" => &mut level.authenticity,
        "authenticTimestamp" => &mut level.authentic_timestamp,
        "expiry" => &mut level.expiry,
        "revocation" => &mut level.revocation,
        "integrity" => return Err("integrity cannot be overridden".to_owned()),
        _ => {
            return Err("is not a verification type: use `authenticity`, \
                        `authenticTimestamp`, `expiry` or `revocation`"
                .to_owned());
        }
    };
    *slot = action;
    level.name = "custom";
    Ok(())
}

/// A threshold that cannot be reached would refuse everything, and one of 0 with witnesses named
/// would look as if they counted.
fn transparency_log(
    policy: Option<LogPolicy>,
    path: &str,
    level: &VerificationLevel,
) -> Result<Option<LogPolicy>, TrustPolicyError> {
    let Some(policy) = policy else {
        return Ok(None);
    };
    let member = format!("{path}.transparencyLog");
    let (count, threshold) = (policy.witnesses.len(), policy.threshold);
    let is_note_key = |key: &VerifierKey| key.signature_type() == SignatureType::Ed25519;
    let problem = if level.is_skip() {
        "must be absent for level `skip`"
    } else if policy.logs.is_empty() {
        "there must be at least one key in `logs`"
    } else if !policy.logs.iter().all(is_note_key) || policy.witnesses.iter().any(is_note_key) {
        "`logs` holds keys of type 1, and `witnesses` keys of type 4"
    } else if threshold > count || (threshold == 0 && count > 0) {
        "`threshold` is 1 to the number of `witnesses`"
    } else {
        return Ok(Some(policy));
    };
    Err(wrong(member, problem))
}

fn trust_stores(texts: &[String], member: &str) -> Result<Vec<TrustStoreName>, TrustPolicyError> {
    let parse = |text: &String| {
        let (kind, name) = text.split_once(':')?;
        let kind = kind.parse().ok()?;
        crate::trust_store::is_store_name(name).then(|| TrustStoreName {
            kind,
            name: name.to_owned(),
        })
    };
    let checked = texts.iter().map(|text| {
        parse(text).ok_or_else(|| {
            let problem = format!(
                "`{text}` is not `ca:NAME`, `signingAuthority:NAME` or `tsa:NAME` \
                 (letters, digits, `_`, `.`, `-`)"
            );
            wrong(member, problem)
        })
    });
    checked.collect()
}

fn identities(texts: &[String], member: &str) -> Result<TrustedIdentities, TrustPolicyError> {
    if texts.iter().any(|text| text == "*") {
        return match texts {
            [_] => Ok(TrustedIdentities::Any),
            _ => Err(wrong(member, "`*` must stand alone")),
        };
    }
    let mut subjects: Vec<DistinguishedName> = Vec::new();
    for text in texts {
        if let Some(subject) = text.strip_prefix(X509_SUBJECT) {
            subjects.push(identity(subject, text, member)?);
        } else if text
            .split_once(':')
            .is_none_or(|(prefix, _)| prefix.is_empty())
        {
            let problem = format!("`{text}` is not `*` or `{X509_SUBJECT}` and a name");
            return Err(wrong(member, problem));
        }
        // Other prefixes belong to plugins, which we do not have: they trust nobody here.
    }
    check_overlap(&subjects, member)?;
    Ok(TrustedIdentities::Subjects(subjects))
}

fn identity(
    subject: &str,
    text: &str,
    member: &str,
) -> Result<DistinguishedName, TrustPolicyError> {
    let name: DistinguishedName = subject
        .parse()
        .map_err(|error| wrong(member, format!("`{text}`: {error}")))?;
    match MANDATORY.into_iter().find(|kind| name.get(kind).is_none()) {
        Some(missing) => Err(wrong(
            member,
            format!("`{text}` lacks `{missing}`: an identity names at least C, ST and O"),
        )),
        None => Ok(name),
    }
}

/// Refuses a name whose attributes are all in another one (R066): the wider one would silently
/// make the narrower one meaningless.
fn check_overlap(subjects: &[DistinguishedName], member: &str) -> Result<(), TrustPolicyError> {
    for (index, one) in subjects.iter().enumerate() {
        let mut others = subjects.iter().enumerate();
        let covered = others.find(|(at, other)| *at != index && one.is_subset_of(other));
        if let Some((_, other)) = covered {
            return Err(wrong(
                member,
                format!("`{X509_SUBJECT}{one}` overlaps with `{X509_SUBJECT}{other}`"),
            ));
        }
    }
    Ok(())
}

fn check_case(
    unknown: &Map<String, Value>,
    known: &[&str],
    path: &str,
) -> Result<(), TrustPolicyError> {
    match json::case_variant(unknown, known) {
        Some(name) => Err(TrustPolicyError::Case {
            member: format!("{path}{}", name.chars().take(80).collect::<String>()),
        }),
        None => Ok(()),
    }
}
