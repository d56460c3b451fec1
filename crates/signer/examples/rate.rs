//! Measures how many signatures a second the signer makes, against the bare rate of the key.
//!
//! Prints one JSON object. `bare_per_second` is P-384 signing by aws-lc-rs alone on one processor
//! for [`MEASURED`], `bare_all_per_second` on all of them; the others are whole jobs (authorize,
//! parse, sign, record in memory, encode) in the same process, with a rotating leaf and with a leaf
//! for each job, and their ratios are to all processors.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P384_SHA384_FIXED_SIGNING, EcdsaKeyPair};
use signer::custody::KdfCost;
use signer::service::DEFAULT_CRL_PERIOD;
use signer::{
    AuthorityConfig, AuthoritySubject, Grants, LeafPolicy, MemoryRecords, Principal, ProfileSpec,
    ServiceConfig, SignRequest, Signer, SigningPlatform, UnlockSource,
};
use time::OffsetDateTime;

/// How long each rate is measured.
const MEASURED: Duration = Duration::from_secs(2);
/// How many requests are under way at once.
const CALLERS: usize = 64;

#[expect(
    clippy::disallowed_methods,
    reason = "a measurement is an edge: it reads the clock"
)]
fn now() -> OffsetDateTime {
    OffsetDateTime::now_utc()
}

#[tokio::main]
#[expect(clippy::print_stdout, reason = "the result")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let folder = std::env::temp_dir().join(format!("signer-rate-{}", std::process::id()));
    let signer = open(&folder).await?;
    let bare = tokio::task::spawn_blocking(|| bare_rate(1)).await?;
    let bare_all = tokio::task::spawn_blocking(|| bare_rate(processors())).await?;
    let rotating = job_rate(&signer, LeafPolicy::Rotating { days: 3 }).await?;
    let per_job = job_rate(&signer, LeafPolicy::PerJob).await?;
    std::fs::remove_dir_all(&folder)?;
    let report = serde_json::json!({
        "processors": processors(),
        "bare_per_second": bare.round(),
        "bare_all_per_second": bare_all.round(),
        "rotating_per_second": rotating.round(),
        "per_job_per_second": per_job.round(),
        "rotating_to_bare_all": rotating / bare_all,
        "per_job_to_bare_all": per_job / bare_all,
    });
    println!("{report}");
    Ok(())
}

fn processors() -> usize {
    std::thread::available_parallelism().map_or(2, usize::from)
}

fn bare_rate(threads: usize) -> f64 {
    let message = [7u8; 1024];
    let started = Instant::now();
    let work = || {
        let key = EcdsaKeyPair::generate(&ECDSA_P384_SHA384_FIXED_SIGNING).expect("a key");
        let mut count = 0u32;
        while started.elapsed() < MEASURED {
            key.sign(&SystemRandom::new(), &message)
                .expect("a signature");
            count += 1;
        }
        count
    };
    let count: u32 = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..threads).map(|_| scope.spawn(work)).collect();
        threads
            .into_iter()
            .map(|thread| thread.join().expect("a count"))
            .sum()
    });
    f64::from(count) / started.elapsed().as_secs_f64()
}

async fn open(folder: &std::path::Path) -> Result<Arc<Signer>, Box<dyn std::error::Error>> {
    std::fs::create_dir_all(folder.join("data"))?;
    let config = ServiceConfig {
        authority: AuthorityConfig {
            folder: folder.join("data/keys"),
            subject: AuthoritySubject::default(),
            crl_url: Some("http://127.0.0.1:5000/pki/ca.crl".to_owned()),
            kdf_cost: KdfCost::DEFAULT,
        },
        unlock: UnlockSource::Default(folder.join("unlock")),
        custody: None,
        crl_period: DEFAULT_CRL_PERIOD,
        log_origin: "sign.example/log".to_owned(),
        clock: Arc::new(now),
    };
    Ok(Signer::open(config, Arc::new(MemoryRecords::default())).await?)
}

async fn job_rate(
    signer: &Arc<Signer>,
    leaf: LeafPolicy,
) -> Result<f64, Box<dyn std::error::Error>> {
    let name = match leaf {
        LeafPolicy::PerJob => "per-job",
        LeafPolicy::Rotating { .. } => "rotating",
    };
    let accounts = ["bench".to_owned()].into();
    let spec = ProfileSpec {
        name: name.parse()?,
        platform: SigningPlatform::default(),
        validity: "7 days".parse()?,
        leaf,
        grants: Grants {
            accounts,
            ..Grants::default()
        },
    };
    let administrator = Principal::account("root").as_admin();
    signer.put_profile(&administrator, spec, false).await?;
    let (count, started) = (Arc::new(AtomicU64::new(0)), Instant::now());
    let callers: Vec<_> = (0..CALLERS)
        .map(|_| tokio::spawn(call(signer.clone(), name, count.clone(), started)))
        .collect();
    for caller in callers {
        caller.await?;
    }
    let count = u32::try_from(count.load(Ordering::Relaxed))?;
    Ok(f64::from(count) / started.elapsed().as_secs_f64())
}

async fn call(signer: Arc<Signer>, name: &'static str, count: Arc<AtomicU64>, started: Instant) {
    let target = serde_json::json!({"targetArtifact": {
        "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "digest": format!("sha256:{}", "a".repeat(64)),
        "size": 512,
    }});
    let request = SignRequest {
        principal: Principal::account("bench"),
        profile: name.parse().expect("a profile name"),
        payload: target.to_string().into_bytes(),
    };
    while started.elapsed() < MEASURED {
        signer.sign(request.clone()).await.expect("a signature");
        count.fetch_add(1, Ordering::Relaxed);
    }
}
