//! Trust policy documents: every rule of the specification broken alone.

use serde_json::{Value, json};
use trust::{TrustPolicy, VerificationAction};

use crate::world::{SCOPE, policy};

fn parse(policy: &Value) -> Result<TrustPolicy, String> {
    TrustPolicy::parse(policy.to_string().as_bytes()).map_err(|error| chain(&error))
}

fn chain(error: &dyn std::error::Error) -> String {
    match error.source() {
        Some(source) => format!("{error}: {}", chain(source)),
        None => error.to_string(),
    }
}

#[test]
fn broken_rules_are_named_with_the_member() {
    type Bend = &'static dyn Fn(&mut Value);
    let cases: &[(&str, Bend)] = &[
        ("version", &|p| p["version"] = json!("2.0")),
        ("no statement", &|p| p["trustPolicies"] = json!([])),
        ("no name", &|p| p["trustPolicies"][0]["name"] = json!("")),
        ("a name twice", &|p| {
            let mut second = p["trustPolicies"][0].clone();
            second["registryScopes"] = json!(["registry.example/other"]);
            p["trustPolicies"].as_array_mut().unwrap().push(second);
        }),
        ("a scope twice", &|p| {
            let mut second = p["trustPolicies"][0].clone();
            second["name"] = json!("second");
            p["trustPolicies"].as_array_mut().unwrap().push(second);
        }),
        ("no scope", &|p| {
            p["trustPolicies"][0]["registryScopes"] = json!([])
        }),
        ("a wildcard among scopes", &|p| {
            p["trustPolicies"][0]["registryScopes"] = json!(["*", SCOPE]);
        }),
        ("a wildcard inside a scope", &|p| {
            p["trustPolicies"][0]["registryScopes"] = json!(["registry.example/*"]);
        }),
        ("a scope with a tag", &|p| {
            p["trustPolicies"][0]["registryScopes"] = json!(["registry.example/shop:1"]);
        }),
        ("a scope without a registry", &|p| {
            p["trustPolicies"][0]["registryScopes"] = json!(["shop"]);
        }),
        ("level", &|p| {
            p["trustPolicies"][0]["signatureVerification"]["level"] = json!("lax");
        }),
        ("skip for everything", &|p| {
            p["trustPolicies"][0] = json!({
                "name": "n",
                "registryScopes": ["*"],
                "signatureVerification": {"level": "skip"},
            });
        }),
        ("skip with stores", &|p| {
            p["trustPolicies"][0]["signatureVerification"]["level"] = json!("skip");
        }),
        ("no stores", &|p| {
            p["trustPolicies"][0]["trustStores"] = json!([])
        }),
        ("a store of no kind", &|p| {
            p["trustPolicies"][0]["trustStores"] = json!(["example"])
        }),
        ("a store of an unknown kind", &|p| {
            p["trustPolicies"][0]["trustStores"] = json!(["root:example"]);
        }),
        ("a store named as a path", &|p| {
            p["trustPolicies"][0]["trustStores"] = json!(["ca:../example"]);
        }),
        ("no identities", &|p| {
            p["trustPolicies"][0]["trustedIdentities"] = json!([])
        }),
        ("a wildcard among identities", &|p| {
            let all = json!(["*", "x509.subject:C=US,ST=WA,O=x"]);
            p["trustPolicies"][0]["trustedIdentities"] = all;
        }),
        ("an identity without a prefix", &|p| {
            p["trustPolicies"][0]["trustedIdentities"] = json!(["CN=x"]);
        }),
        ("an identity without O", &|p| {
            p["trustPolicies"][0]["trustedIdentities"] = json!(["x509.subject:C=US,ST=WA"]);
        }),
        ("an identity that is no name", &|p| {
            p["trustPolicies"][0]["trustedIdentities"] = json!(["x509.subject:C=US,ST"]);
        }),
        ("identities that overlap", &|p| {
            p["trustPolicies"][0]["trustedIdentities"] = json!([
                "x509.subject:C=US,ST=WA,O=x,CN=y",
                "x509.subject:C=US,ST=WA,O=x"
            ]);
        }),
        ("override of integrity", &|p| {
            let verification = json!({"level": "strict", "override": {"integrity": "log"}});
            p["trustPolicies"][0]["signatureVerification"] = verification;
        }),
        ("override of nothing", &|p| {
            let verification = json!({"level": "strict", "override": {"all": "log"}});
            p["trustPolicies"][0]["signatureVerification"] = verification;
        }),
        ("override of skip", &|p| {
            p["trustPolicies"][0] = json!({
                "name": "n",
                "registryScopes": [SCOPE],
                "signatureVerification": {"level": "skip", "override": {"expiry": "log"}},
            });
        }),
        ("expiry skipped", &|p| {
            let verification = json!({"level": "strict", "override": {"expiry": "skip"}});
            p["trustPolicies"][0]["signatureVerification"] = verification;
        }),
        ("an unknown action", &|p| {
            let verification = json!({"level": "strict", "override": {"revocation": "ask"}});
            p["trustPolicies"][0]["signatureVerification"] = verification;
        }),
        ("verifyTimestamp", &|p| {
            p["trustPolicies"][0]["signatureVerification"]["verifyTimestamp"] = json!("never");
        }),
        ("a case variant", &|p| {
            p["trustPolicies"][0]["Trustedidentities"] = json!(["*"])
        }),
    ];
    let lines: Vec<_> = cases
        .iter()
        .map(|(name, bend)| {
            let mut policy = policy();
            bend(&mut policy);
            format!("{name}\n  {}", parse(&policy).unwrap_err())
        })
        .collect();
    insta::assert_snapshot!(lines.join("\n"), @r#"
    version
      trust policy member `version`: `2.0` is not supported: use `1.0`
    no statement
      trust policy member `trustPolicies`: there must be at least one statement
    no name
      trust policy member `trustPolicies[0].name`: a statement needs a name
    a name twice
      trust policy member `trustPolicies[1].name`: `shop` is already the name of trustPolicies[0]
    a scope twice
      trust policy member `trustPolicies[1].registryScopes`: `registry.example/apps/shop` is already a scope of trustPolicies[0]
    no scope
      trust policy member `trustPolicies[0].registryScopes`: there must be at least one scope
    a wildcard among scopes
      trust policy member `trustPolicies[0].registryScopes`: `*` must stand alone
    a wildcard inside a scope
      trust policy member `trustPolicies[0].registryScopes`: `registry.example/*` is not `*` or a whole repository, such as `registry.example/apps/shop`
    a scope with a tag
      trust policy member `trustPolicies[0].registryScopes`: `registry.example/shop:1` is not `*` or a whole repository, such as `registry.example/apps/shop`
    a scope without a registry
      trust policy member `trustPolicies[0].registryScopes`: `shop` is not `*` or a whole repository, such as `registry.example/apps/shop`
    level
      trust policy member `trustPolicies[0].signatureVerification.level`: `lax` is not a level: use `strict`, `permissive`, `audit` or `skip`
    skip for everything
      trust policy member `trustPolicies[0].registryScopes`: level `skip` is not allowed for `*`: list the repositories
    skip with stores
      trust policy member `trustPolicies[0].trustStores`: must be absent for level `skip`
    no stores
      trust policy member `trustPolicies[0].trustStores`: there must be at least one entry
    a store of no kind
      trust policy member `trustPolicies[0].trustStores`: `example` is not `ca:NAME`, `signingAuthority:NAME` or `tsa:NAME` (letters, digits, `_`, `.`, `-`)
    a store of an unknown kind
      trust policy member `trustPolicies[0].trustStores`: `root:example` is not `ca:NAME`, `signingAuthority:NAME` or `tsa:NAME` (letters, digits, `_`, `.`, `-`)
    a store named as a path
      trust policy member `trustPolicies[0].trustStores`: `ca:../example` is not `ca:NAME`, `signingAuthority:NAME` or `tsa:NAME` (letters, digits, `_`, `.`, `-`)
    no identities
      trust policy member `trustPolicies[0].trustedIdentities`: there must be at least one entry
    a wildcard among identities
      trust policy member `trustPolicies[0].trustedIdentities`: `*` must stand alone
    an identity without a prefix
      trust policy member `trustPolicies[0].trustedIdentities`: `CN=x` is not `*` or `x509.subject:` and a name
    an identity without O
      trust policy member `trustPolicies[0].trustedIdentities`: `x509.subject:C=US,ST=WA` lacks `O`: an identity names at least C, ST and O
    an identity that is no name
      trust policy member `trustPolicies[0].trustedIdentities`: `x509.subject:C=US,ST`: `ST` is not an attribute: expected `TYPE=value`, such as `O=Example`
    identities that overlap
      trust policy member `trustPolicies[0].trustedIdentities`: `x509.subject:C=US,ST=WA,O=x` overlaps with `x509.subject:C=US,ST=WA,O=x,CN=y`
    override of integrity
      trust policy member `trustPolicies[0].signatureVerification.override.integrity`: integrity cannot be overridden
    override of nothing
      trust policy member `trustPolicies[0].signatureVerification.override.all`: is not a verification type: use `authenticity`, `authenticTimestamp`, `expiry` or `revocation`
    override of skip
      trust policy member `trustPolicies[0].signatureVerification.override.expiry`: level `skip` cannot be overridden
    expiry skipped
      trust policy member `trustPolicies[0].signatureVerification.override.expiry`: `skip` is not allowed: use `enforce` or `log`
    an unknown action
      trust policy member `trustPolicies[0].signatureVerification.override.revocation`: `ask` is not allowed: use `enforce`, `log` or `skip`
    verifyTimestamp
      trust policy member `trustPolicies[0].signatureVerification.verifyTimestamp`: `never` is not known: use `always` or `afterCertExpiry`
    a case variant
      member `trustPolicies[0].Trustedidentities` differs from a known one only in case
    "#);
}

#[test]
fn shape_errors_name_the_line() {
    let cases = [
        "{\n  \"version\": \"1.0\",\n  \"version\": \"1.0\"\n}",
        "{\n  \"version\": \"1.0\",\n  \"trustPolicies\": [{\n    \"name\": 1\n  }]\n}",
        "{\n  \"version\": \"1.0\"\n}",
        "{\n  \"version\": \"1.0\",\n}",
        "",
    ];
    let lines = cases.map(|text| chain(&TrustPolicy::parse(text.as_bytes()).unwrap_err()));
    insta::assert_snapshot!(lines.join("\n"), @r#"
    the trust policy cannot be read: member `version` is given twice at line 3 column 11
    the trust policy cannot be read: invalid type: integer `1`, expected a string at line 4 column 13
    the trust policy cannot be read: missing field `trustPolicies` at line 3 column 1
    the trust policy cannot be read: trailing comma at line 3 column 1
    the trust policy cannot be read: EOF while parsing a value at line 1 column 0
    "#);
    let large = " ".repeat((1 << 20) + 1);
    assert!(TrustPolicy::parse(large.as_bytes()).is_err());
}

#[test]
fn the_statement_for_a_repository_is_the_exact_one_then_the_global_one() {
    let mut document = policy();
    let mut global = document["trustPolicies"][0].clone();
    global["name"] = json!("global");
    global["registryScopes"] = json!(["*"]);
    document["trustPolicies"]
        .as_array_mut()
        .unwrap()
        .push(global);
    let policy = parse(&document).unwrap();
    assert_eq!(policy.statement(SCOPE).unwrap().name, "shop");
    for other in ["registry.example/apps", "registry.example/apps/shop2", "*x"] {
        assert_eq!(policy.statement(other).unwrap().name, "global");
    }
    let only = parse(&crate::world::policy()).unwrap();
    let error = only.statement("registry.example/other").unwrap_err();
    assert_eq!(
        error.to_string(),
        "no trust policy statement is for `registry.example/other`"
    );
}

#[test]
fn levels_have_the_actions_of_the_table() {
    use VerificationAction::{Enforce, Log, Skip};
    let rows = [
        ("strict", [Enforce; 5]),
        ("permissive", [Enforce, Enforce, Log, Log, Log]),
        ("audit", [Enforce, Log, Log, Log, Log]),
    ];
    for (name, expected) in rows {
        let mut document = policy();
        document["trustPolicies"][0]["signatureVerification"] = json!({"level": name});
        let policy = parse(&document).unwrap();
        let level = policy.statement(SCOPE).unwrap().level;
        let actions = [
            level.integrity,
            level.authenticity,
            level.authentic_timestamp,
            level.expiry,
            level.revocation,
        ];
        assert_eq!(actions, expected, "{name}");
    }
    let mut document = policy();
    let verification = json!({"level": "audit", "override": {
        "authenticity": "enforce", "authenticTimestamp": "enforce", "revocation": "skip"}});
    document["trustPolicies"][0]["signatureVerification"] = verification;
    let policy = parse(&document).unwrap();
    let level = policy.statement(SCOPE).unwrap().level;
    assert_eq!(level.name, "custom");
    assert_eq!(level.authenticity, Enforce);
    assert_eq!(level.authentic_timestamp, Enforce);
    assert_eq!(level.expiry, Log);
    assert_eq!(level.revocation, Skip);
}

#[test]
fn unknown_members_are_accepted() {
    let mut document = policy();
    document["comment"] = json!("x");
    document["trustPolicies"][0]["owner"] = json!({"a": 1});
    assert!(parse(&document).is_ok());
}

#[test]
fn a_policy_prints_as_json() {
    let policy = parse(&policy()).unwrap();
    insta::assert_snapshot!(serde_json::to_string_pretty(&policy).unwrap(), @r#"
    {
      "version": "1.0",
      "trustPolicies": [
        {
          "name": "shop",
          "registryScopes": [
            "registry.example/apps/shop"
          ],
          "level": {
            "name": "strict",
            "integrity": "enforce",
            "authenticity": "enforce",
            "authenticTimestamp": "enforce",
            "expiry": "enforce",
            "revocation": "enforce"
          },
          "verifyTimestamp": "always",
          "trustStores": [
            "signingAuthority:example"
          ],
          "trustedIdentities": {
            "subjects": [
              "C=US,ST=WA,O=Example,CN=ci-build"
            ]
          }
        }
      ]
    }
    "#);
}
