//! Documents: the last reader's version wins, or nobody does.

use super::at;
use crate::StoreError;
use crate::documents::{DocumentKey, Documents, MAX_DOCUMENT_BYTES};

/// Runs the suite over a store without documents.
pub async fn documents(documents: &dyn Documents) {
    let key = DocumentKey::new("gate-policy", "production");
    assert_eq!(documents.get(&key).await.unwrap(), None);
    let first = documents.put_if_version(&key, 0, b"one", at(0)).await;
    assert_eq!(first.unwrap(), 1);
    let stale = documents.put_if_version(&key, 0, b"two", at(1)).await;
    assert!(matches!(stale, Err(StoreError::Conflict(_))));
    let second = documents.put_if_version(&key, 1, b"two", at(2)).await;
    assert_eq!(second.unwrap(), 2);
    assert_eq!(documents.put(&key, b"three", at(3)).await.unwrap(), 3);
    let row = documents.get(&key).await.unwrap().unwrap();
    assert_eq!((row.version, row.bytes.as_slice()), (3, &b"three"[..]));
    assert_eq!((row.key, row.updated_at), (key.clone(), at(3)));

    for name in ["a_b", "a%c", "aXb"] {
        let key = DocumentKey::new("report", name);
        documents.put(&key, b"{}", at(0)).await.unwrap();
    }
    let found = documents.list("report", "a_").await.unwrap();
    let names: Vec<_> = found.iter().map(|row| row.key.name.as_str()).collect();
    assert_eq!(names, ["a_b"], "`_` stands for itself");
    assert_eq!(documents.list("report", "").await.unwrap().len(), 3);

    let huge = vec![b' '; MAX_DOCUMENT_BYTES + 1];
    let refused = documents.put(&key, &huge, at(4)).await;
    assert!(matches!(refused, Err(StoreError::TooLarge { .. })));
    assert!(documents.delete(&key).await.unwrap());
    assert!(!documents.delete(&key).await.unwrap());
}
