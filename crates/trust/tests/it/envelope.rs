//! Strict reading of JWS envelopes. Every case is signed with the right key, so that only the
//! shape is wrong.

use serde_json::{Value, json};
use testkit::KeyKind;
use trust::FailureCode;

use crate::world::{Parts, World, failures, stable};

const SCHEME: &str = "io.cncf.notary.signingScheme";
const TIME: &str = "io.cncf.notary.signingTime";
const AUTHENTIC_TIME: &str = "io.cncf.notary.authenticSigningTime";
const EXPIRY: &str = "io.cncf.notary.expiry";

fn bent(bend: impl Fn(&mut Parts)) -> (World, Vec<u8>) {
    let world = World::new(KeyKind::P256);
    let mut parts = Parts::of(&world);
    bend(&mut parts);
    let envelope = parts.signed(&world);
    (world, envelope)
}

fn refused(name: &str, world: &World, envelope: &[u8]) -> String {
    let outcome = world.verify(envelope);
    assert!(!outcome.is_trusted(), "{name}");
    assert_eq!(
        outcome.failures().len(),
        1,
        "{name}: {}",
        failures(&outcome)
    );
    stable(&format!("{name}\n  {}", failures(&outcome)))
}

#[test]
fn the_protected_header_must_be_as_the_specification_says() {
    type Bend = &'static dyn Fn(&mut Parts);
    let cases: &[(&str, Bend)] = &[
        ("no algorithm", &|p| drop(p.protected.remove("alg"))),
        ("algorithm none", &|p| {
            drop(p.protected.insert("alg".into(), "none".into()))
        }),
        ("algorithm HS256", &|p| {
            drop(p.protected.insert("alg".into(), "HS256".into()))
        }),
        ("algorithm as a number", &|p| {
            drop(p.protected.insert("alg".into(), 1.into()))
        }),
        ("no content type", &|p| drop(p.protected.remove("cty"))),
        ("another content type", &|p| {
            drop(p.protected.insert("cty".into(), "application/json".into()));
        }),
        ("no scheme", &|p| drop(p.protected.remove(SCHEME))),
        ("another scheme", &|p| {
            drop(p.protected.insert(SCHEME.into(), "notary.x".into()))
        }),
        ("no crit", &|p| drop(p.protected.remove("crit"))),
        ("an empty crit", &|p| {
            drop(p.protected.insert("crit".into(), json!([])))
        }),
        ("crit without the scheme", &|p| {
            drop(
                p.protected
                    .insert("crit".into(), json!([AUTHENTIC_TIME, EXPIRY])),
            );
        }),
        ("crit without the time", &|p| {
            drop(p.protected.insert("crit".into(), json!([SCHEME, EXPIRY])));
        }),
        ("crit without the expiry", &|p| {
            drop(
                p.protected
                    .insert("crit".into(), json!([SCHEME, AUTHENTIC_TIME])),
            );
        }),
        ("crit names something twice", &|p| {
            let crit = json!([SCHEME, AUTHENTIC_TIME, EXPIRY, SCHEME]);
            drop(p.protected.insert("crit".into(), crit));
        }),
        ("crit names what is not there", &|p| {
            let crit = json!([SCHEME, AUTHENTIC_TIME, EXPIRY, "missing"]);
            drop(p.protected.insert("crit".into(), crit));
        }),
        ("crit names a registered member", &|p| {
            let crit = json!([SCHEME, AUTHENTIC_TIME, EXPIRY, "alg"]);
            drop(p.protected.insert("crit".into(), crit));
        }),
        ("no time", &|p| {
            p.protected.remove(AUTHENTIC_TIME);
            drop(p.protected.insert("crit".into(), json!([SCHEME, EXPIRY])));
        }),
        ("the other scheme's time as well", &|p| {
            drop(
                p.protected
                    .insert(TIME.into(), "2026-03-01T00:00:00Z".into()),
            );
        }),
        ("a time with a fraction", &|p| {
            let time = "2026-03-01T00:00:00.5Z";
            drop(p.protected.insert(AUTHENTIC_TIME.into(), time.into()));
        }),
        ("a time that is none", &|p| {
            drop(p.protected.insert(EXPIRY.into(), "tomorrow".into()));
        }),
        ("a case variant", &|p| {
            drop(p.protected.insert("Alg".into(), "ES256".into()));
        }),
        ("a plugin", &|p| {
            let name = "io.cncf.notary.verificationPlugin";
            drop(p.protected.insert(name.into(), "com.example.plugin".into()));
            p.protected["crit"]
                .as_array_mut()
                .unwrap()
                .push(name.into());
        }),
        ("an unknown critical attribute", &|p| {
            drop(p.protected.insert("com.example.rule".into(), "x".into()));
            p.protected["crit"]
                .as_array_mut()
                .unwrap()
                .push("com.example.rule".into());
        }),
    ];
    let lines: Vec<_> = cases
        .iter()
        .map(|(name, bend)| {
            let (world, envelope) = bent(bend);
            refused(name, &world, &envelope)
        })
        .collect();
    insta::assert_snapshot!(lines.join("\n"), @r#"
    no algorithm
      integrity (enforce) envelope-malformed: member `alg` is missing
    algorithm none
      integrity (enforce) envelope-unsupported: signature algorithm `none` is not supported
    algorithm HS256
      integrity (enforce) envelope-unsupported: signature algorithm `HS256` is not supported
    algorithm as a number
      integrity (enforce) envelope-malformed: member `alg` is not a text
    no content type
      integrity (enforce) envelope-malformed: member `cty` is missing
    another content type
      integrity (enforce) envelope-unsupported: content type `application/json` is not supported
    no scheme
      integrity (enforce) envelope-malformed: member `io.cncf.notary.signingScheme` is missing
    another scheme
      integrity (enforce) envelope-unsupported: signing scheme `notary.x` is not supported
    no crit
      integrity (enforce) envelope-malformed: `crit` is not a list of different names of signed attributes
    an empty crit
      integrity (enforce) envelope-malformed: `crit` is not a list of different names of signed attributes
    crit without the scheme
      integrity (enforce) envelope-malformed: `crit` does not name `io.cncf.notary.signingScheme`
    crit without the time
      integrity (enforce) envelope-malformed: `crit` does not name `io.cncf.notary.authenticSigningTime`
    crit without the expiry
      integrity (enforce) envelope-malformed: `crit` does not name `io.cncf.notary.expiry`
    crit names something twice
      integrity (enforce) envelope-malformed: `crit` is not a list of different names of signed attributes
    crit names what is not there
      integrity (enforce) envelope-malformed: `crit` is not a list of different names of signed attributes
    crit names a registered member
      integrity (enforce) envelope-malformed: `crit` names the registered member `alg`
    no time
      integrity (enforce) envelope-malformed: `io.cncf.notary.authenticSigningTime` is missing, which `notary.x509.signingAuthority` needs
    the other scheme's time as well
      integrity (enforce) envelope-malformed: `io.cncf.notary.signingTime` is not allowed in signing scheme `notary.x509.signingAuthority`
    a time with a fraction
      integrity (enforce) envelope-malformed: `io.cncf.notary.authenticSigningTime` is `2026-03-01T00:00:00.5Z`, not a time in RFC 3339 in whole seconds
    a time that is none
      integrity (enforce) envelope-malformed: `io.cncf.notary.expiry` is `tomorrow`, not a time in RFC 3339 in whole seconds
    a case variant
      integrity (enforce) envelope-malformed: `Alg` differs from a known member only in case
    a plugin
      integrity (enforce) envelope-unsupported: it asks for the verification plugin `com.example.plugin`, and plugins are not supported
    an unknown critical attribute
      integrity (enforce) critical-attribute-unknown: the critical attribute `com.example.rule` is not understood
    "#);
}

#[test]
fn unknown_attributes_that_are_not_critical_change_nothing() {
    let (world, envelope) = bent(|parts| {
        parts
            .protected
            .insert("com.example.note".into(), json!({"a": 1}));
        parts.header.insert("com.example.other".into(), json!("x"));
    });
    assert_eq!(failures(&world.verify(&envelope)), "");
}

#[test]
fn the_unprotected_header_must_be_as_the_specification_says() {
    type Bend = &'static dyn Fn(&mut Parts);
    let cases: &[(&str, Bend)] = &[
        ("no chain", &|p| drop(p.header.remove("x5c"))),
        ("an empty chain", &|p| {
            drop(p.header.insert("x5c".into(), json!([])))
        }),
        ("a chain of numbers", &|p| {
            drop(p.header.insert("x5c".into(), json!([1])))
        }),
        ("a chain in base64url", &|p| {
            drop(p.header.insert("x5c".into(), json!(["-_8"])))
        }),
        ("a case variant", &|p| {
            drop(p.header.insert("X5C".into(), json!([])))
        }),
        ("a member of the protected header", &|p| {
            drop(p.header.insert("alg".into(), "ES256".into()));
        }),
        ("an agent that is no text", &|p| {
            drop(
                p.header
                    .insert("io.cncf.notary.signingAgent".into(), 1.into()),
            );
        }),
    ];
    let lines: Vec<_> = cases
        .iter()
        .map(|(name, bend)| {
            let (world, envelope) = bent(bend);
            refused(name, &world, &envelope)
        })
        .collect();
    insta::assert_snapshot!(lines.join("\n"), @r#"
    no chain
      integrity (enforce) envelope-malformed: `header.x5c` is not a list of certificates
    an empty chain
      integrity (enforce) envelope-malformed: `header.x5c`: there is no certificate
    a chain of numbers
      integrity (enforce) envelope-malformed: `header.x5c` is not in standard base64
    a chain in base64url
      integrity (enforce) envelope-malformed: `header.x5c` is not in standard base64
    a case variant
      integrity (enforce) envelope-malformed: `X5C` differs from a known member only in case
    a member of the protected header
      integrity (enforce) envelope-malformed: `alg` is both in `protected` and in `header`
    an agent that is no text
      integrity (enforce) envelope-malformed: member `io.cncf.notary.signingAgent` is not a text
    "#);
}

#[test]
fn the_payload_must_be_as_the_specification_says() {
    let payloads = [
        "{}",
        "[]",
        "not json",
        r#"{"targetArtifact":{},"targetArtifact":{}}"#,
    ];
    let lines = payloads.map(|payload| {
        let (world, envelope) = bent(|parts| parts.payload = payload.as_bytes().to_vec());
        refused(payload, &world, &envelope)
    });
    insta::assert_snapshot!(lines.join("\n"), @r#"
    {}
      integrity (enforce) envelope-malformed: the payload is not a Notary payload: missing field `targetArtifact`
    []
      integrity (enforce) envelope-malformed: the payload is not a Notary payload: expected an object
    not json
      integrity (enforce) envelope-malformed: the payload is not a Notary payload: expected ident at line 1 column 2
    {"targetArtifact":{},"targetArtifact":{}}
      integrity (enforce) envelope-malformed: the payload is not a Notary payload: member `targetArtifact` is given twice at line 1 column 37
    "#);
}

#[test]
fn the_top_level_has_exactly_four_members() {
    let world = World::new(KeyKind::P256);
    let good: Value = serde_json::from_slice(&world.envelope()).unwrap();
    let text = good.to_string();
    let with = |name: &str, value: Value| {
        let mut envelope = good.clone();
        envelope[name] = value;
        envelope.to_string()
    };
    let without = |name: &str| {
        let mut envelope = good.clone();
        envelope.as_object_mut().unwrap().remove(name);
        envelope.to_string()
    };
    let inner = text.trim_start_matches('{');
    let padded = format!("{}=", good["signature"].as_str().unwrap());
    let cases = [
        ("an unknown member", with("kid", json!("x"))),
        ("a case variant", with("Payload", good["payload"].clone())),
        ("general serialisation", with("signatures", json!([]))),
        ("a member twice", format!("{{\"payload\":\"e30\",{inner}")),
        ("no payload", without("payload")),
        ("no protected header", without("protected")),
        ("no header", without("header")),
        ("no signature", without("signature")),
        ("a header that is a list", with("header", json!([]))),
        ("a padded signature", with("signature", json!(padded))),
        ("trailing bytes", format!("{text} {{}}")),
        ("compact serialisation", "e30.e30.AA".to_owned()),
        ("a list", format!("[{text}]")),
        ("nothing", String::new()),
        ("too large", format!("{text}{}", " ".repeat(1 << 20))),
    ];
    let lines = cases.map(|(name, text)| refused(name, &world, text.as_bytes()));
    insta::assert_snapshot!(lines.join("\n"), @r#"
    an unknown member
      integrity (enforce) envelope-malformed: member `kid` is not allowed
    a case variant
      integrity (enforce) envelope-malformed: member `Payload` is not allowed
    general serialisation
      integrity (enforce) envelope-malformed: member `signatures` is not allowed
    a member twice
      integrity (enforce) envelope-malformed: the envelope is not JSON as it should be: member `payload` is given twice at line 1 column N
    no payload
      integrity (enforce) envelope-malformed: member `payload` is missing
    no protected header
      integrity (enforce) envelope-malformed: member `protected` is missing
    no header
      integrity (enforce) envelope-malformed: member `header` is not an object
    no signature
      integrity (enforce) envelope-malformed: member `signature` is missing
    a header that is a list
      integrity (enforce) envelope-malformed: member `header` is not an object
    a padded signature
      integrity (enforce) envelope-malformed: member `signature` is not in unpadded base64url
    trailing bytes
      integrity (enforce) envelope-malformed: the envelope is not JSON as it should be: trailing characters at line 1 column N
    compact serialisation
      integrity (enforce) envelope-malformed: the envelope is not JSON as it should be: expected value at line 1 column 1
    a list
      integrity (enforce) envelope-malformed: the envelope is not a JSON object
    nothing
      integrity (enforce) envelope-malformed: the envelope is not JSON as it should be: EOF while parsing a value at line 1 column 0
    too large
      integrity (enforce) envelope-malformed: it has N bytes, more than 1048576
    "#);
}

#[test]
fn a_protected_header_that_can_be_read_in_two_ways_is_refused() {
    let world = World::new(KeyKind::P256);
    let parts = Parts::of(&world);
    let protected = serde_json::to_string(&parts.protected).unwrap();
    let twice = protected.replacen('{', "{\"alg\":\"ES256\",", 1);
    insta::assert_snapshot!(refused("twice", &world, &parts.signed_over(&world, &twice)), @r#"
    twice
      integrity (enforce) envelope-malformed: `protected` is not JSON as it should be: member `alg` is given twice at line 1 column 20
    "#);
    let trailing = format!("{protected}{{}}");
    let outcome = world.verify(&parts.signed_over(&world, &trailing));
    assert_eq!(outcome.failures()[0].code, FailureCode::EnvelopeMalformed);
}

#[test]
fn an_ecdsa_signature_in_der_is_refused() {
    let world = World::new(KeyKind::P256);
    let mut envelope: Value = serde_json::from_slice(&world.envelope()).unwrap();
    // SEQUENCE { INTEGER 1, INTEGER 1 }
    envelope["signature"] = json!("MAYCAQECAQE");
    let outcome = world.verify(envelope.to_string().as_bytes());
    assert_eq!(outcome.failures()[0].code, FailureCode::SignatureInvalid);
}

const PLUGIN: &str = "io.cncf.notary.verificationPlugin";
const PROFILE_VERSION: &str = "com.amazonaws.signer.signingProfileVersion";
const JOB: &str = "com.amazonaws.signer.signingJob";
const ARN: &str = "arn:aws:signer:us-east-1:111122223333:";

/// Makes the envelope one of the AWS Signer dialect.
fn to_aws(parts: &mut Parts) {
    let values = [
        (PLUGIN, "com.amazonaws.signer.notation.plugin".to_owned()),
        (
            PROFILE_VERSION,
            format!("{ARN}/signing-profiles/ci-build/ABCDEFGHJK"),
        ),
        (
            JOB,
            format!("{ARN}/signing-jobs/0199c2a0-0000-7000-8000-000000000000"),
        ),
    ];
    for (name, value) in values {
        parts.protected.insert(name.into(), value.into());
        let crit = parts.protected["crit"].as_array_mut().unwrap();
        crit.push(name.into());
    }
}

#[test]
fn the_aws_dialect_is_verified_by_the_subject_of_the_certificate() {
    let (world, envelope) = bent(to_aws);
    assert_eq!(failures(&world.verify(&envelope)), "");
    let parsed = trust::jws::ParsedEnvelope::parse(&envelope).unwrap();
    let verified = parsed.verify().unwrap();
    assert_eq!(verified.aws().unwrap().profile(), Some("ci-build"));
}

#[test]
fn the_aws_dialect_is_understood_as_a_whole_only() {
    type Bend = &'static dyn Fn(&mut Parts);
    let cases: &[(&str, Bend)] = &[
        ("no profile", &|p| {
            p.protected.remove(PROFILE_VERSION);
            drop_critical(p, PROFILE_VERSION);
        }),
        ("a profile that is not critical", &|p| {
            drop_critical(p, PROFILE_VERSION)
        }),
        ("a job that is not critical", &|p| drop_critical(p, JOB)),
        ("a job that is no text", &|p| {
            drop(p.protected.insert(JOB.into(), json!(1)))
        }),
        ("a plugin that is not critical", &|p| {
            drop_critical(p, PLUGIN)
        }),
        ("no plugin", &|p| {
            p.protected.remove(PLUGIN);
            drop_critical(p, PLUGIN);
        }),
        ("another plugin", &|p| {
            drop(
                p.protected
                    .insert(PLUGIN.into(), json!("com.example.plugin")),
            )
        }),
        ("a third attribute", &|p| {
            let name = "com.amazonaws.signer.signingProfileAlias";
            p.protected.insert(name.into(), json!("x"));
            p.protected["crit"]
                .as_array_mut()
                .unwrap()
                .push(json!(name));
        }),
        ("a version of the plugin", &|p| {
            let name = "io.cncf.notary.verificationPluginMinVersion";
            p.protected.insert(name.into(), json!("1.0.0"));
            p.protected["crit"]
                .as_array_mut()
                .unwrap()
                .push(json!(name));
        }),
        ("another profile than the certificate's", &|p| {
            let arn = format!("{ARN}/signing-profiles/release/ABCDEFGHJK");
            drop(p.protected.insert(PROFILE_VERSION.into(), arn.into()))
        }),
    ];
    let lines: Vec<_> = cases
        .iter()
        .map(|(name, bend)| {
            let (world, envelope) = bent(|parts| {
                to_aws(parts);
                bend(parts);
            });
            refused(name, &world, &envelope)
        })
        .collect();
    insta::assert_snapshot!(lines.join("\n"), @r"
    no profile
      integrity (enforce) envelope-malformed: `com.amazonaws.signer.signingProfileVersion`, which the plugin `com.amazonaws.signer.notation.plugin` needs, is not a critical text
    a profile that is not critical
      integrity (enforce) envelope-malformed: `com.amazonaws.signer.signingProfileVersion`, which the plugin `com.amazonaws.signer.notation.plugin` needs, is not a critical text
    a job that is not critical
      integrity (enforce) envelope-malformed: `com.amazonaws.signer.signingJob`, which the plugin `com.amazonaws.signer.notation.plugin` needs, is not a critical text
    a job that is no text
      integrity (enforce) envelope-malformed: `com.amazonaws.signer.signingJob`, which the plugin `com.amazonaws.signer.notation.plugin` needs, is not a critical text
    a plugin that is not critical
      integrity (enforce) envelope-malformed: `crit` does not name `io.cncf.notary.verificationPlugin`
    no plugin
      integrity (enforce) critical-attribute-unknown: the critical attribute `com.amazonaws.signer.signingProfileVersion` is not understood
    another plugin
      integrity (enforce) envelope-unsupported: it asks for the verification plugin `com.example.plugin`, and plugins are not supported
    a third attribute
      integrity (enforce) critical-attribute-unknown: the critical attribute `com.amazonaws.signer.signingProfileAlias` is not understood
    a version of the plugin
      integrity (enforce) envelope-unsupported: it asks for a version of the plugin `com.amazonaws.signer.notation.plugin`, which is not used here
    another profile than the certificate's
      integrity (enforce) envelope-unsupported: it names the signing profile `arn:aws:signer:us-east-1:111122223333:/signing-profiles/release/ABCDEFGHJK`, and the certificate is for `ci-build`: without the plugin `com.amazonaws.signer.notation.plugin` only envelopes whose certificate names the profile are verified
    ");
}

fn drop_critical(parts: &mut Parts, name: &str) {
    let crit = parts.protected["crit"].as_array_mut().unwrap();
    crit.retain(|one| one != name);
}
