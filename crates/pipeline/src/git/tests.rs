use super::*;

fn listing(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    let pair = |(name, object): &(&str, &str)| ((*name).to_owned(), (*object).to_owned());
    pairs.iter().map(pair).collect()
}

#[test]
fn updates_are_what_is_new_moved_and_gone() {
    let before = listing(&[
        ("refs/heads/a", "1"),
        ("refs/heads/b", "2"),
        ("refs/tags/c", "3"),
    ]);
    let after = listing(&[
        ("refs/heads/a", "1"),
        ("refs/heads/b", "4"),
        ("refs/heads/d", "5"),
    ]);
    let shown: Vec<String> = updates(&before, &after)
        .iter()
        .map(|u| format!("{} {:?} {:?}", u.branch().unwrap_or(&u.name), u.old, u.new))
        .collect();
    insta::assert_snapshot!(shown.join("\n"), @r#"
    b Some("2") Some("4")
    d None Some("5")
    refs/tags/c Some("3") None
    "#);
}

#[tokio::test]
async fn a_repository_is_made_once_and_removed() {
    let folder = tempfile::tempdir().unwrap();
    let repositories = GitRepositories::open(&folder.path().join("git")).unwrap();
    let name: Name = "shop".parse().unwrap();
    let missing = repositories.references(&name).await;
    assert!(matches!(missing, Err(GitError::NotFound(_))));
    repositories.create(&name).await.unwrap();
    repositories.create(&name).await.unwrap();
    assert!(repositories.references(&name).await.unwrap().is_empty());
    repositories.remove(&name).unwrap();
    repositories.remove(&name).unwrap();
    assert!(!repositories.exists(&name));
}

#[tokio::test]
async fn references_are_advertised_and_unknown_services_are_not() {
    let folder = tempfile::tempdir().unwrap();
    let repositories = GitRepositories::open(folder.path()).unwrap();
    let name: Name = "shop".parse().unwrap();
    repositories.create(&name).await.unwrap();
    let mut request = CgiRequest {
        repository: &name,
        method: "GET",
        path: "/info/refs",
        query: "service=git-receive-pack",
        content_type: "",
        content_encoding: "",
        protocol: "",
        account: "dev",
    };
    let mut answer = repositories
        .serve(&request, tokio::io::empty())
        .await
        .unwrap();
    assert_eq!(answer.status, 200);
    let content_type = answer
        .headers
        .iter()
        .find(|(name, _)| name == "Content-Type");
    let expected = "application/x-git-receive-pack-advertisement";
    assert_eq!(content_type.unwrap().1, expected);
    let mut body = String::new();
    tokio::io::AsyncReadExt::read_to_string(&mut answer.body, &mut body)
        .await
        .unwrap();
    assert!(
        body.starts_with("001f# service=git-receive-pack\n"),
        "{body}"
    );
    answer.body.finish().await;

    request.query = "service=git-upload-archive";
    let answer = repositories
        .serve(&request, tokio::io::empty())
        .await
        .unwrap();
    assert_eq!(answer.status, 403);
    request.path = "/config";
    let answer = repositories
        .serve(&request, tokio::io::empty())
        .await
        .unwrap();
    assert_eq!(answer.status, 404);
}

#[tokio::test]
async fn only_the_name_of_a_commit_is_fetched() {
    let folder = tempfile::tempdir().unwrap();
    for commit in ["main", "", "--upload-pack=x", &"g".repeat(40)] {
        let request = Checkout {
            url: "http://127.0.0.1:1/git/shop.git",
            commit,
            folder: &folder.path().join("source"),
            scratch: folder.path(),
            account: "run",
            token: "token",
        };
        let error = checkout(&request, &runner::Tail::default())
            .await
            .unwrap_err();
        assert!(matches!(error, GitError::Commit(_)), "{commit}: {error}");
    }
}
