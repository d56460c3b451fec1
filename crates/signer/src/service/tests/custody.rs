//! Keys elsewhere: what happens when the custody is out of reach, and after.

use std::sync::atomic::{AtomicBool, Ordering};

use super::*;
use crate::custody::{Custody, CustodyError, KeyAlgorithm, KeyHandle, KeyUse, UnlockSecret};
use crate::protocol::{Failure, FailureKind};

/// Sealed files behind a cable that can be pulled.
struct Cabled {
    keys: SealedFolder,
    plugged: Arc<AtomicBool>,
}

struct CabledKey {
    key: Arc<dyn KeyHandle>,
    plugged: Arc<AtomicBool>,
}

fn reach(plugged: &AtomicBool) -> Result<(), CustodyError> {
    if plugged.load(Ordering::SeqCst) {
        return Ok(());
    }
    Err(CustodyError::Unavailable {
        custody: "token `signing`".to_owned(),
        reason: "the device was removed".to_owned(),
    })
}

impl Cabled {
    fn behind(&self, key: Arc<dyn KeyHandle>) -> Arc<dyn KeyHandle> {
        let plugged = self.plugged.clone();
        Arc::new(CabledKey { key, plugged })
    }
}

impl Custody for Cabled {
    fn describe(&self) -> String {
        "token `signing`".to_owned()
    }

    fn open(&self, label: &str) -> Result<Option<Arc<dyn KeyHandle>>, CustodyError> {
        reach(&self.plugged)?;
        Ok(self.keys.open(label)?.map(|key| self.behind(key)))
    }

    fn generate(
        &self,
        label: &str,
        algorithm: KeyAlgorithm,
    ) -> Result<Arc<dyn KeyHandle>, CustodyError> {
        reach(&self.plugged)?;
        Ok(self.behind(self.keys.generate(label, algorithm)?))
    }
}

impl KeyHandle for CabledKey {
    fn algorithm(&self) -> KeyAlgorithm {
        self.key.algorithm()
    }

    fn public_key_der(&self) -> &[u8] {
        self.key.public_key_der()
    }

    fn sign(&self, usage: KeyUse, message: &[u8]) -> Result<Vec<u8>, CustodyError> {
        reach(&self.plugged)?;
        self.key.sign(usage, message)
    }
}

#[tokio::test]
async fn keys_out_of_reach_make_signing_unavailable_until_they_are_back() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::create_dir(folder.path().join("data")).unwrap();
    let time = Arc::new(Mutex::new(START));
    let mut config = config(folder.path(), time.clone());
    let secret = UnlockSecret::parse(b"correct horse battery staple".to_vec()).unwrap();
    let keys = SealedFolder::open(&config.authority.folder, secret, KdfCost::TESTS_ONLY).unwrap();
    let plugged = Arc::new(AtomicBool::new(true));
    config.custody = Some(Arc::new(Cabled {
        keys,
        plugged: plugged.clone(),
    }));
    let records = Arc::new(MemoryRecords::default());
    let signer = Signer::open(config, records.clone()).await.unwrap();
    let fixture = Fixture {
        signer,
        records,
        time,
        folder,
    };
    fixture.profile("ci-build", LeafPolicy::PerJob).await;
    fixture.sign("ci-build").await.unwrap();

    plugged.store(false, Ordering::SeqCst);
    let failure = Failure::from(&fixture.sign("ci-build").await.unwrap_err());
    assert_eq!(failure.kind, FailureKind::Unavailable);
    assert_eq!(failure.code, "keys-unreachable");
    insta::assert_snapshot!(failure.message, @"token `signing` cannot be reached: the device was removed");
    fixture.pass(Duration::hours(1));
    assert!(fixture.signer.revocation_list(None).await.is_err());
    let query = JobQuery {
        limit: 10,
        ..JobQuery::default()
    };
    assert_eq!(fixture.records.jobs(&query).await.unwrap().jobs.len(), 1);

    plugged.store(true, Ordering::SeqCst);
    fixture.sign("ci-build").await.unwrap();
    fixture.signer.revocation_list(None).await.unwrap();
}
