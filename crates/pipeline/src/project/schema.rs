//! The JSON schema of a declarative file, for editors: `docs/reference/countersign.schema.json`.
//!
//! It says what the parser says about shape, and less about meaning: that names lead somewhere is
//! checked by [`super::Project::parse`] only. A test keeps its members those of the types.

use serde_json::{Value, json};

/// Returns the schema (JSON Schema, draft 2020-12).
pub fn schema() -> Value {
    let mut definitions = serde_json::Map::new();
    for (name, definition) in definitions_of_types().into_iter().chain(texts()) {
        definitions.insert(name.to_owned(), definition);
    }
    json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$id": "https://countersign.dev/schema/countersign.schema.json",
        "title": "countersign.yaml",
        "description": "A Countersign project: who may do what, what is built, and where it goes.",
        "$ref": "#/$defs/Project",
        "$defs": definitions,
    })
}

/// Returns the definition of a mapping: its members, and which of them must be there.
fn mapping(required: &[&str], members: Value) -> Value {
    json!({
        "type": "object",
        "additionalProperties": false,
        "required": required,
        "properties": members,
    })
}

fn to(name: &str) -> Value {
    json!({"$ref": format!("#/$defs/{name}")})
}

fn list(name: &str) -> Value {
    json!({"type": "array", "items": to(name)})
}

fn some(name: &str) -> Value {
    json!({"type": "array", "items": to(name), "minItems": 1})
}

fn commands() -> Value {
    json!({"type": "array", "items": {"type": "string"}, "minItems": 1})
}

fn definitions_of_types() -> Vec<(&'static str, Value)> {
    let mut all = people();
    all.extend(places());
    all.extend(pipelines());
    all.extend(actions());
    all
}

fn people() -> Vec<(&'static str, Value)> {
    vec![
        (
            "Project",
            mapping(
                &["apiVersion", "kind", "name"],
                json!({
                    "apiVersion": {"const": "countersign.dev/v1"},
                    "kind": {"const": "Project"},
                    "name": to("Name"),
                    "accounts": list("Account"),
                    "profiles": list("Profile"),
                    "oidcIssuers": list("OidcIssuer"),
                    "gitRepositories": list("GitRepository"),
                    "trustPolicy": to("RelativePath"),
                    "gatePolicies": list("RelativePath"),
                    "environments": list("Environment"),
                    "pipelines": list("Pipeline"),
                }),
            ),
        ),
        (
            "Account",
            mapping(
                &["name"],
                json!({
                    "name": to("Name"),
                    "git": to("GitGrants"),
                    "pull": list("RepositoryPattern"),
                    "push": list("RepositoryPattern"),
                    "profiles": list("Name"),
                    "approve": list("Name"),
                    "groups": list("Name"),
                    "robot": {"type": "boolean", "default": false},
                }),
            ),
        ),
        (
            "GitGrants",
            mapping(&[], json!({"push": list("Name"), "pull": list("Name")})),
        ),
        (
            "Profile",
            mapping(
                &["name", "validity"],
                json!({
                    "name": to("Name"),
                    "validity": to("Validity"),
                    "pipelines": list("Name"),
                    "rules": {"type": "array", "items": to("Rule"), "maxItems": 32},
                    "twoPerson": {"type": "boolean", "default": false},
                }),
            ),
        ),
        ("Rule", rule()),
        ("Principals", principals()),
        ("Workload", workload()),
        (
            "OidcIssuer",
            mapping(
                &["issuer", "audience"],
                json!({
                    "issuer": {"type": "string", "pattern": "^https?://", "description": "exactly as the tokens say it"},
                    "audience": {"type": "string", "minLength": 1},
                    "claims": {"type": "array", "items": {"type": "string"}, "maxItems": 16},
                    "jwks": to("RelativePath"),
                    "access": {"type": "array", "items": to("IssuerAccess"), "maxItems": 64},
                }),
            ),
        ),
        (
            "IssuerAccess",
            mapping(
                &["subject"],
                json!({
                    "subject": to("Glob"),
                    "claims": {"type": "object", "additionalProperties": to("Glob")},
                    "pull": list("RepositoryPattern"),
                    "push": list("RepositoryPattern"),
                }),
            ),
        ),
        (
            "GitRepository",
            mapping(&["name"], json!({"name": to("Name")})),
        ),
    ]
}

/// A rule has exactly one of `allow` and `deny`. The parser of rules is the signer's.
fn rule() -> Value {
    json!({
        "type": "object",
        "additionalProperties": false,
        "required": ["id"],
        "oneOf": [{"required": ["allow"]}, {"required": ["deny"]}],
        "properties": {
            "id": {"type": "string", "pattern": "^[a-z0-9][a-z0-9-]{0,63}$"},
            "allow": to("Principals"),
            "deny": to("Principals"),
            "artifactTypes": {"type": "array", "items": to("Glob"), "maxItems": 64},
            "repositories": {"type": "array", "items": {"type": "string"}, "maxItems": 64},
            "quota": {"type": "string", "pattern": "^[0-9]+ per (second|minute|hour|day)$"},
        },
    })
}

fn principals() -> Value {
    let names = json!({"type": "array", "items": {"type": "string"}, "maxItems": 64});
    json!({
        "type": "object",
        "additionalProperties": false,
        "minProperties": 1,
        "properties": {
            "anyone": {"type": "boolean"},
            "kinds": {"type": "array", "items": {"enum": ["person", "robot", "run", "workload"]}},
            "accounts": names,
            "groups": names,
            "pipelines": names,
            "workloads": {"type": "array", "items": to("Workload"), "maxItems": 64},
        },
    })
}

fn workload() -> Value {
    json!({"oneOf": [
        {"type": "string", "pattern": "^https?://[^ ]+ .+$", "description": "the issuer, a space, and a pattern over its subjects"},
        {
            "type": "object",
            "additionalProperties": false,
            "required": ["issuer", "subject"],
            "properties": {
                "issuer": {"type": "string"},
                "subject": to("Glob"),
                "claims": {"type": "object", "additionalProperties": to("Glob"), "maxProperties": 8},
            },
        },
    ]})
}

fn places() -> Vec<(&'static str, Value)> {
    vec![
        (
            "Environment",
            mapping(
                &["name", "listen", "target", "container"],
                json!({
                    "name": to("Name"),
                    "listen": {"type": "string", "description": "address:port; a loopback address unless `tls` is given"},
                    "tls": to("Tls"),
                    "target": to("Target"),
                    "container": to("Container"),
                    "health": to("Health"),
                }),
            ),
        ),
        (
            "Tls",
            mapping(
                &["certificate", "key"],
                json!({"certificate": {"type": "string"}, "key": {"type": "string"}}),
            ),
        ),
        (
            "Target",
            mapping(
                &["engine"],
                json!({"engine": {"enum": ["podman", "docker"]}, "socket": {"type": "string"}}),
            ),
        ),
        (
            "Container",
            mapping(
                &["port"],
                json!({
                    "port": {"type": "integer", "minimum": 1, "maximum": 65535},
                    "user": to("User"),
                    "readOnly": {"type": "boolean", "default": true},
                    "memory": to("Memory"),
                    "cpus": {"type": "number", "exclusiveMinimum": 0, "maximum": 1024, "default": 1},
                    "pids": {"type": "integer", "minimum": 1, "default": 128},
                    "capabilities": {"type": "array", "items": {"type": "string", "pattern": "^[A-Z_]+$"}, "default": []},
                }),
            ),
        ),
        (
            "Health",
            mapping(
                &[],
                json!({"path": {"type": "string", "pattern": "^/", "default": "/"}, "within": to("Span")}),
            ),
        ),
    ]
}

fn pipelines() -> Vec<(&'static str, Value)> {
    let trigger = json!({
        "type": "object",
        "additionalProperties": false,
        "minProperties": 1,
        "maxProperties": 1,
        "properties": {"push": to("PushTrigger"), "evidence": to("EvidenceTrigger")},
    });
    vec![
        (
            "Pipeline",
            mapping(
                &["name", "stages"],
                json!({"name": to("Name"), "trigger": to("Trigger"), "stages": some("Stage")}),
            ),
        ),
        ("Trigger", trigger),
        (
            "PushTrigger",
            mapping(
                &["repository", "branch"],
                json!({"repository": to("Name"), "branch": {"type": "string"}}),
            ),
        ),
        (
            "EvidenceTrigger",
            mapping(
                &["repository", "policy"],
                json!({"repository": to("RepositoryName"), "policy": to("Name")}),
            ),
        ),
        (
            "Stage",
            mapping(
                &["name", "actions"],
                json!({"name": to("Name"), "actions": some("Action")}),
            ),
        ),
        ("Action", action()),
    ]
}

/// An action has its name and exactly one more member.
fn action() -> Value {
    json!({
        "type": "object",
        "additionalProperties": false,
        "required": ["name"],
        "minProperties": 2,
        "maxProperties": 2,
        "properties": {
            "name": to("Name"),
            "buildspec": to("RunBuildspec"),
            "image": to("BuildImage"),
            "sbom": to("Sbom"),
            "scan": to("Scan"),
            "attach": to("Attach"),
            "sign": to("Sign"),
            "gate": to("Gate"),
            "approval": to("Approval"),
            "deploy": to("Deploy"),
            "test": to("Test"),
            "hook": to("Hook"),
        },
    })
}

fn actions() -> Vec<(&'static str, Value)> {
    let mut all = building();
    all.extend(judging());
    all
}

fn building() -> Vec<(&'static str, Value)> {
    vec![
        (
            "RunBuildspec",
            mapping(
                &["image"],
                json!({"file": to("RelativePath"), "image": to("ImageName")}),
            ),
        ),
        (
            "BuildImage",
            mapping(
                &["repository"],
                json!({
                    "dockerfile": to("RelativePath"),
                    "context": to("RelativePath"),
                    "repository": to("RepositoryName"),
                    "tag": {"type": "string", "pattern": "^[a-zA-Z0-9_][a-zA-Z0-9._-]{0,127}$"},
                    "base": to("BaseImage"),
                }),
            ),
        ),
        (
            "BaseImage",
            mapping(&["policy"], json!({"policy": to("Name")})),
        ),
        (
            "Sbom",
            mapping(
                &["type", "format"],
                json!({"type": to("MediaType"), "format": {"enum": ["spdx-json", "cyclonedx-json"]}}),
            ),
        ),
        ("Scan", mapping(&["type"], json!({"type": to("MediaType")}))),
        (
            "Attach",
            mapping(
                &["type", "files"],
                json!({
                    "type": to("MediaType"),
                    "files": {"type": "array", "minItems": 1, "items": {"type": "string", "description": "path:mediaType"}},
                }),
            ),
        ),
        (
            "Sign",
            mapping(
                &["profile", "what"],
                json!({
                    "profile": to("Name"),
                    "what": {
                        "type": "array",
                        "minItems": 1,
                        "items": {"type": "string", "description": "`image`, `provenance`, or the type of an artifact"},
                    },
                }),
            ),
        ),
    ]
}

fn judging() -> Vec<(&'static str, Value)> {
    vec![
        ("Gate", mapping(&["policy"], json!({"policy": to("Name")}))),
        (
            "Approval",
            mapping(
                &["by", "profile"],
                json!({"by": some("Name"), "profile": to("Name"), "timeout": to("Span")}),
            ),
        ),
        (
            "Deploy",
            mapping(
                &["environment", "policy"],
                json!({"environment": to("Name"), "policy": to("Name")}),
            ),
        ),
        (
            "Test",
            mapping(
                &["environment", "image", "commands"],
                json!({
                    "environment": to("Name"),
                    "image": to("ImageName"),
                    "commands": commands(),
                    "report": to("TestReport"),
                }),
            ),
        ),
        (
            "TestReport",
            mapping(
                &["type", "file"],
                json!({"type": to("MediaType"), "file": to("RelativePath"), "mediaType": to("MediaType")}),
            ),
        ),
        (
            "Hook",
            mapping(
                &["image", "commands"],
                json!({
                    "image": to("ImageName"),
                    "commands": commands(),
                    "attach": list("HookArtifact"),
                    "sign": to("Name"),
                }),
            ),
        ),
        (
            "HookArtifact",
            mapping(
                &["type", "file", "mediaType"],
                json!({"type": to("MediaType"), "file": to("RelativePath"), "mediaType": to("MediaType")}),
            ),
        ),
    ]
}

/// The small texts.
fn texts() -> Vec<(&'static str, Value)> {
    let text = |pattern: &str, description: &str| json!({"type": "string", "pattern": pattern, "description": description});
    vec![
        (
            "Name",
            text(
                "^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$",
                "lower-case letters, digits and `-`",
            ),
        ),
        (
            "RelativePath",
            text("^[^/]", "a relative path that does not leave its folder"),
        ),
        (
            "RepositoryName",
            text(
                "^[a-z0-9]+([._-]+[a-z0-9]+)*(/[a-z0-9]+([._-]+[a-z0-9]+)*)*$",
                "the repository of an image",
            ),
        ),
        (
            "RepositoryPattern",
            text(
                "^(\\*\\*|[a-z0-9][a-z0-9._/-]*(/\\*\\*?)?)$",
                "a repository, `path/*`, `path/**` or `**`",
            ),
        ),
        (
            "Validity",
            text(
                "^[0-9]+ (second|day|month|year)s?$",
                "such as `7 days`, up to 135 months",
            ),
        ),
        (
            "Span",
            text(
                "^[0-9]+ *(s|m|h|d|(second|minute|hour|day)s?)$",
                "such as `30s`, `24h` or `7 days`",
            ),
        ),
        (
            "ImageName",
            text(
                "[:@]",
                "`repository:tag` in our own registry, or `registry/repository:tag`, or one with `@digest`",
            ),
        ),
        (
            "Glob",
            text(
                "^.{1,256}$",
                "`*` stands for any characters but `/`, `:` and space, `**` for any",
            ),
        ),
        ("MediaType", text("^[^/ ]+/[^/ ]+$", "`type/subtype`")),
        ("User", text("^[0-9]+(:[0-9]+)?$", "`uid` or `uid:gid`")),
        ("Memory", text("^[0-9]+[kmg]$", "such as `128m`")),
    ]
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use serde::de::DeserializeOwned;

    use super::*;
    use crate::project;

    /// Returns the members that a type knows, in the words of its own refusal of another.
    fn members<T: DeserializeOwned>() -> BTreeSet<String> {
        let error = match serde_json::from_value::<T>(json!({"no such member": 1})) {
            Ok(_) => panic!("an unknown member was accepted"),
            Err(error) => error.to_string(),
        };
        let (_, expected) = error.split_once("expected ").unwrap();
        let quoted = expected.split('`').skip(1).step_by(2);
        quoted.map(str::to_owned).collect()
    }

    fn check<T: DeserializeOwned>(name: &str) {
        let schema = schema();
        let properties = schema["$defs"][name]["properties"].as_object();
        let there: BTreeSet<String> = properties.unwrap().keys().cloned().collect();
        assert_eq!(there, members::<T>(), "{name}");
        for required in schema["$defs"][name]["required"]
            .as_array()
            .into_iter()
            .flatten()
        {
            assert!(
                there.contains(required.as_str().unwrap()),
                "{name}: {required}"
            );
        }
    }

    #[test]
    fn the_members_are_those_of_the_types() {
        check::<project::Project>("Project");
        check::<project::Account>("Account");
        check::<project::GitGrants>("GitGrants");
        check::<project::Profile>("Profile");
        check::<project::OidcIssuer>("OidcIssuer");
        check::<project::GitRepository>("GitRepository");
        check::<project::Environment>("Environment");
        check::<project::Tls>("Tls");
        check::<project::Target>("Target");
        check::<project::Container>("Container");
        check::<project::Health>("Health");
        check::<project::Pipeline>("Pipeline");
        check::<project::PushTrigger>("PushTrigger");
        check::<project::EvidenceTrigger>("EvidenceTrigger");
        check::<project::Stage>("Stage");
        check::<project::Action>("Action");
        check::<project::RunBuildspec>("RunBuildspec");
        check::<project::BuildImage>("BuildImage");
        check::<project::BaseImage>("BaseImage");
        check::<project::Sbom>("Sbom");
        check::<project::Scan>("Scan");
        check::<project::Attach>("Attach");
        check::<project::Sign>("Sign");
        check::<project::Gate>("Gate");
        check::<project::Approval>("Approval");
        check::<project::Deploy>("Deploy");
        check::<project::Test>("Test");
        check::<project::TestReport>("TestReport");
        check::<project::Hook>("Hook");
        check::<project::HookArtifact>("HookArtifact");
    }

    #[test]
    fn every_reference_leads_to_a_definition() {
        fn references(value: &Value, found: &mut BTreeSet<String>) {
            match value {
                Value::Object(members) => {
                    if let Some(Value::String(to)) = members.get("$ref") {
                        found.insert(to.trim_start_matches("#/$defs/").to_owned());
                    }
                    members
                        .values()
                        .for_each(|member| references(member, found));
                }
                Value::Array(items) => items.iter().for_each(|item| references(item, found)),
                _ => {}
            }
        }
        let schema = schema();
        let mut found = BTreeSet::new();
        references(&schema, &mut found);
        let defined: BTreeSet<String> = schema["$defs"]
            .as_object()
            .unwrap()
            .keys()
            .cloned()
            .collect();
        assert_eq!(found, defined);
    }

    /// When it is not, the failure prints what the file should be.
    #[test]
    fn the_published_schema_is_this_one() {
        let published = include_str!("../../../../docs/reference/countersign.schema.json");
        let current = serde_json::to_string_pretty(&schema()).unwrap() + "\n";
        assert!(
            published == current,
            "docs/reference/countersign.schema.json is out of step; it should be:\n{current}"
        );
    }
}
