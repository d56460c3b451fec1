//! Deployments: one serves, one is kept to go back to.

use oci::Digest;

use super::at;
use crate::StoreError;
use crate::deployments::{DeploymentRow, DeploymentState, Deployments};

/// Runs the suite over a store without deployments.
pub async fn deployments(deployments: &dyn Deployments) {
    for (number, id) in (0..).zip(["one", "two", "three"]) {
        deployments.begin(&row(id, number)).await.unwrap();
        let endpoint = format!("127.0.0.1:{}", 3000 + number);
        let before = deployments.current("production").await.unwrap();
        assert!(before.is_none_or(|before| before.id != id));
        deployments.switch(id, &endpoint, at(number)).await.unwrap();
        let current = deployments.current("production").await.unwrap().unwrap();
        assert_eq!(
            (current.id.as_str(), current.endpoint),
            (id, Some(endpoint))
        );
    }
    use DeploymentState::{Current, Failed, Previous, Retired, Starting};
    assert_states(deployments, &[Current, Previous, Retired]).await;
    // The same switch again, after a crash, changes nothing.
    deployments
        .switch("three", "127.0.0.1:3002", at(9))
        .await
        .unwrap();
    assert_states(deployments, &[Current, Previous, Retired]).await;
    // Beginning what serves already must not take it away.
    deployments.begin(&row("three", 10)).await.unwrap();
    assert_states(deployments, &[Current, Previous, Retired]).await;

    deployments.begin(&row("four", 11)).await.unwrap();
    assert_states(deployments, &[Starting, Current, Previous, Retired]).await;
    deployments
        .end("four", Failed, "never became healthy", at(12))
        .await
        .unwrap();
    assert_states(deployments, &[Failed, Current, Previous, Retired]).await;
    let four = deployments.deployment("four").await.unwrap().unwrap();
    assert_eq!(four.reason.as_deref(), Some("never became healthy"));

    let routes = deployments.routes().await.unwrap();
    assert_eq!(routes.len(), 1);
    let unknown = deployments.switch("nine", "127.0.0.1:1", at(13)).await;
    assert!(matches!(unknown, Err(StoreError::NotFound(_))));
    deployments.remove("production").await.unwrap();
    assert_eq!(deployments.routes().await.unwrap(), []);
    assert_states(deployments, &[]).await;
}

fn row(id: &str, seconds: i64) -> DeploymentRow {
    DeploymentRow {
        id: id.to_owned(),
        environment: "production".to_owned(),
        run: "run".to_owned(),
        repository: "apps/shop".parse().unwrap(),
        digest: Digest::sha256(id.as_bytes()),
        state: DeploymentState::Starting,
        endpoint: None,
        reason: None,
        started_at: at(seconds),
        updated_at: at(seconds),
    }
}

async fn assert_states(deployments: &dyn Deployments, expected: &[DeploymentState]) {
    let history = deployments.history("production", 10).await.unwrap();
    let states: Vec<_> = history.iter().map(|row| row.state).collect();
    assert_eq!(states, expected);
}
