//! Accounts, and that nothing of a removed one stays behind.

use super::at;
use crate::StoreError;
use crate::accounts::{AccountRow, Accounts, GrantRow, TokenRow};

/// Runs the suite over a store without accounts.
pub async fn accounts(accounts: &dyn Accounts) {
    let row = AccountRow {
        project: Some("shop".to_owned()),
        ..AccountRow::new("dev", at(1))
    };
    accounts.put_account(&row).await.unwrap();
    assert_eq!(accounts.account("dev").await.unwrap(), Some(row.clone()));
    assert_eq!(accounts.account("Dev").await.unwrap(), None);
    tokens_are_found_by_their_public_part(accounts).await;
    grants_are_replaced_as_a_whole(accounts).await;

    // Applying the same file again changes the account and leaves its tokens.
    let administrator = AccountRow {
        administrator: true,
        is_robot: true,
        groups: ["ops".to_owned()].into(),
        ..row
    };
    accounts.put_account(&administrator).await.unwrap();
    assert!(accounts.token("t2").await.unwrap().is_some());
    assert_eq!(accounts.accounts().await.unwrap(), [administrator]);

    assert!(accounts.delete_account("dev").await.unwrap());
    assert!(!accounts.delete_account("dev").await.unwrap());
    assert_eq!(accounts.token("t2").await.unwrap(), None);
    assert_eq!(accounts.grants("dev").await.unwrap(), []);
}

async fn tokens_are_found_by_their_public_part(accounts: &dyn Accounts) {
    let token = |id: &str, account: &str| TokenRow {
        id: id.to_owned(),
        account: account.to_owned(),
        secret_hash: "hash".to_owned(),
        scopes: serde_json::json!({"repositories": ["apps/**"]}),
        created_at: at(1),
        expires_at: Some(at(2)),
    };
    for id in ["t1", "t2", "t3"] {
        accounts.add_token(&token(id, "dev")).await.unwrap();
    }
    assert!(accounts.add_token(&token("t1", "dev")).await.is_err());
    let orphan = accounts.add_token(&token("t4", "nobody")).await;
    assert!(matches!(orphan, Err(StoreError::NotFound(_))));
    assert_eq!(
        accounts.token("t1").await.unwrap(),
        Some(token("t1", "dev"))
    );
    assert_eq!(accounts.delete_tokens("dev", Some("t1")).await.unwrap(), 1);
    assert_eq!(accounts.token("t1").await.unwrap(), None);
    let foreign = accounts.delete_tokens("nobody", Some("t2")).await;
    assert_eq!(foreign.unwrap(), 0);
}

async fn grants_are_replaced_as_a_whole(accounts: &dyn Accounts) {
    let grant = |action: &str, resource: &str| GrantRow {
        action: action.to_owned(),
        resource: resource.to_owned(),
    };
    let first = [grant("push", "apps/**"), grant("pull", "**")];
    accounts.set_grants("dev", &first).await.unwrap();
    let expected = [grant("pull", "**"), grant("push", "apps/**")];
    assert_eq!(accounts.grants("dev").await.unwrap(), expected);
    let second = [grant("sign", "ci-build"), grant("sign", "ci-build")];
    accounts.set_grants("dev", &second).await.unwrap();
    assert_eq!(
        accounts.grants("dev").await.unwrap(),
        [grant("sign", "ci-build")]
    );
    assert!(accounts.set_grants("nobody", &first).await.is_err());
}
