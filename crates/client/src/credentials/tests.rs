use std::os::unix::fs::PermissionsExt;

use super::*;

fn config(text: &str) -> (tempfile::TempDir, PathBuf) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("config.json");
    std::fs::write(&path, text).unwrap();
    (dir, path)
}

fn pair(username: &str, password: &str) -> Option<Credential> {
    Some(basic(username.to_owned(), password.to_owned()))
}

async fn find(text: &str, registry: &str) -> Result<Option<Credential>, ClientError> {
    let (_dir, path) = config(text);
    Credentials::Docker(path)
        .find(&registry.parse().unwrap())
        .await
}

#[tokio::test]
async fn entries_are_found_under_every_name_that_clients_have_used() {
    // `dTpw` is `u:p`.
    for (text, registry, expected) in [
        ("{}", "r.example", None),
        (r#"{"auths":{"r.example":{}}}"#, "r.example", None),
        (
            r#"{"auths":{"r.example":{"auth":"dTpw"}}}"#,
            "r.example",
            pair("u", "p"),
        ),
        (
            r#"{"auths":{"r.example":{"auth":"dTpw"}}}"#,
            "r.example:5000",
            None,
        ),
        (
            r#"{"auths":{"https://r.example":{"auth":"dTpw"}}}"#,
            "r.example",
            pair("u", "p"),
        ),
        (
            r#"{"auths":{"https://index.docker.io/v1/":{"auth":"dTpw"}}}"#,
            "docker.io",
            pair("u", "p"),
        ),
        (
            r#"{"auths":{"r.example":{"username":"u","password":"p"}}}"#,
            "r.example",
            pair("u", "p"),
        ),
        (
            r#"{"auths":{"r.example":{"identitytoken":"t","auth":"dTpw"}}}"#,
            "r.example",
            pair("<token>", "t"),
        ),
    ] {
        assert_eq!(find(text, registry).await.unwrap(), expected, "{text}");
    }
}

#[tokio::test]
async fn malformed_entries_are_named_without_their_secret() {
    for text in [
        "[]",
        "{",
        r#"{"auths":{"r.example":{"auth":"c2VjcmV0"}}}"#,
        r#"{"auths":{"r.example":{"auth":["secret"]}}}"#,
        r#"{"auths":{"r.example":{"auth":"secret!"}}}"#,
    ] {
        let error = find(text, "r.example").await.unwrap_err();
        assert!(error.to_string().contains("config.json"), "{error}");
        assert!(!format!("{error:?}").contains("secret"), "{error:?}");
    }
}

#[tokio::test]
async fn a_helper_with_a_path_in_its_name_is_not_run() {
    let error = find(r#"{"credsStore":"../../bin/sh"}"#, "r.example")
        .await
        .unwrap_err();
    assert!(error.to_string().contains("its name"), "{error}");
}

#[tokio::test]
async fn stored_entries_come_back_and_other_members_stay() {
    let (_dir, path) = config(r#"{"HttpHeaders":{"X":"y"},"auths":{"other.example":{}}}"#);
    let registry: Registry = "127.0.0.1:5000".parse().unwrap();
    let credential = pair("dev", "t:0k=n").unwrap();
    let mut file = DockerConfig::load(&path).unwrap();
    file.store(&registry, &credential).await.unwrap();

    let mode = std::fs::metadata(&path).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let text = std::fs::read_to_string(&path).unwrap();
    assert!(text.contains("HttpHeaders") && text.contains("other.example"));
    let mut again = DockerConfig::load(&path).unwrap();
    assert_eq!(again.find(&registry).await.unwrap(), Some(credential));

    assert!(again.erase(&registry).await.unwrap());
    assert!(!again.erase(&registry).await.unwrap());
    let text = std::fs::read_to_string(&path).unwrap();
    assert!(!text.contains("127.0.0.1") && text.contains("other.example"));
}
