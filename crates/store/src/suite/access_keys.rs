//! Access keys, account numbers, and that none outlives its account.

use super::at;
use crate::access_keys::AccessKeyRow;
use crate::accounts::AccountRow;
use crate::{Store, StoreError};

/// Runs the suite over a store without accounts.
pub async fn access_keys(store: &Store) {
    let account = |name: &str| AccountRow::new(name, at(1));
    for name in ["dev", "ops"] {
        store.accounts.put_account(&account(name)).await.unwrap();
    }
    keys_are_found_by_their_public_part(store).await;
    numbers_are_given_and_taken_back(store).await;

    store.accounts.delete_account("dev").await.unwrap();
    assert_eq!(store.access_keys.find("AKIA1").await.unwrap(), None);
    assert_eq!(store.access_keys.number("dev").await.unwrap(), None);
    store.accounts.delete_account("ops").await.unwrap();
}

fn key(id: &str, account: &str, expires_at: Option<i64>) -> AccessKeyRow {
    AccessKeyRow {
        id: id.to_owned(),
        account: account.to_owned(),
        sealed: vec![0, 1, 255],
        session_hash: expires_at.map(|_| "hash".to_owned()),
        scopes: serde_json::json!({"limits": {"pull": ["**"]}}),
        created_at: at(1),
        expires_at: expires_at.map(at),
    }
}

async fn keys_are_found_by_their_public_part(store: &Store) {
    let keys = &store.access_keys;
    let (one, two) = (key("AKIA1", "dev", None), key("AKIA2", "dev", None));
    let session = key("ASIA1", "dev", Some(5));
    for row in [&one, &two, &session] {
        keys.add(row).await.unwrap();
    }
    assert!(keys.add(&one).await.is_err());
    let orphan = keys.add(&key("AKIA3", "nobody", None)).await;
    assert!(matches!(orphan, Err(StoreError::NotFound(_))));
    assert_eq!(keys.find("ASIA1").await.unwrap(), Some(session));
    assert_eq!(keys.find("AKIA9").await.unwrap(), None);
    assert_eq!(keys.list("dev").await.unwrap(), [one, two]);
    assert_eq!(keys.list("ops").await.unwrap(), []);

    assert!(!keys.remove("ops", "AKIA2").await.unwrap());
    assert!(keys.remove("dev", "AKIA2").await.unwrap());
    assert!(!keys.remove("dev", "AKIA2").await.unwrap());
    assert_eq!(keys.remove_expired(at(4)).await.unwrap(), 0);
    assert_eq!(keys.remove_expired(at(5)).await.unwrap(), 1);
    assert_eq!(keys.find("ASIA1").await.unwrap(), None);
    assert!(keys.find("AKIA1").await.unwrap().is_some());
}

async fn numbers_are_given_and_taken_back(store: &Store) {
    let keys = &store.access_keys;
    assert_eq!(keys.number("dev").await.unwrap(), None);
    for number in ["111122223333", "444455556666"] {
        keys.set_number("dev", Some(number)).await.unwrap();
        assert_eq!(keys.number("dev").await.unwrap().as_deref(), Some(number));
    }
    keys.set_number("ops", Some("111122223333")).await.unwrap();
    keys.set_number("ops", None).await.unwrap();
    assert_eq!(keys.number("ops").await.unwrap(), None);
    let orphan = keys.set_number("nobody", Some("111122223333")).await;
    assert!(matches!(orphan, Err(StoreError::NotFound(_))));
}
