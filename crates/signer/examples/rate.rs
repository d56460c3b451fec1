//! Measures how many signatures a second the signer makes, against the bare rate of the keys.
//!
//! Prints one JSON object. `bare` is what aws-lc-rs alone does on all processors in
//! [`MEASURED`], for each algorithm, and for all that a leaf per job costs: a new key, the
//! authority's signature over its certificate, and its own. `bare_per_second` is P-384 on one
//! processor. `rotating` and `per_job` are whole jobs (authorize, parse, sign, record in memory,
//! encode) in the same process, and their ratios are to the bare rates.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::KeySize;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, ECDSA_P384_SHA384_FIXED_SIGNING, EcdsaKeyPair,
    EcdsaSigningAlgorithm, RSA_PSS_SHA384, RsaKeyPair,
};
use signer::custody::KdfCost;
use signer::service::DEFAULT_CRL_PERIOD;
use signer::{
    AuthorityConfig, AuthoritySubject, Grants, LeafPolicy, MemoryRecords, PkiSettings, Principal,
    ProfileSpec, ServiceConfig, SignRequest, Signer, SigningPlatform, UnlockSource,
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
    let bare = tokio::task::spawn_blocking(bare_rates).await?;
    let rotating = job_rate(&signer, LeafPolicy::Rotating { days: 3 }).await?;
    let per_job = job_rate(&signer, LeafPolicy::PerJob).await?;
    std::fs::remove_dir_all(&folder)?;
    let report = serde_json::json!({
        "processors": processors(),
        "bare_per_second": bare.p384_alone.round(),
        "bare": {
            "p384": bare.p384.round(),
            "p256": bare.p256.round(),
            "rsa-3072": bare.rsa3072.round(),
            "per-job": bare.per_job.round(),
        },
        "rotating_per_second": rotating.round(),
        "per_job_per_second": per_job.round(),
        "rotating_to_bare": rotating / bare.p384,
        "per_job_to_bare": per_job / bare.per_job,
    });
    println!("{report}");
    Ok(())
}

fn processors() -> usize {
    std::thread::available_parallelism().map_or(2, usize::from)
}

/// Operations a second.
struct BareRates {
    p384_alone: f64,
    p384: f64,
    p256: f64,
    rsa3072: f64,
    per_job: f64,
}

fn bare_rates() -> BareRates {
    let p384 = || ecdsa(&ECDSA_P384_SHA384_FIXED_SIGNING);
    BareRates {
        p384_alone: bare_rate(1, p384),
        p384: bare_rate(processors(), p384),
        p256: bare_rate(processors(), || ecdsa(&ECDSA_P256_SHA256_FIXED_SIGNING)),
        rsa3072: bare_rate(processors(), rsa3072),
        per_job: bare_rate(processors(), || {
            let mut authority = p384();
            move || {
                authority();
                p384()();
            }
        }),
    }
}

const MESSAGE: [u8; 1024] = [7; 1024];

/// Returns what signs once with a key that is made now.
fn ecdsa(algorithm: &'static EcdsaSigningAlgorithm) -> impl FnMut() {
    let key = EcdsaKeyPair::generate(algorithm).expect("a key");
    move || {
        key.sign(&SystemRandom::new(), &MESSAGE)
            .expect("a signature");
    }
}

fn rsa3072() -> impl FnMut() {
    let key = RsaKeyPair::generate(KeySize::Rsa3072).expect("a key");
    let mut signature = vec![0; key.public_modulus_len()];
    move || {
        let random = SystemRandom::new();
        key.sign(&RSA_PSS_SHA384, &random, &MESSAGE, &mut signature)
            .expect("a signature");
    }
}

/// Runs what `prepare` returns on so many threads; the time counts from when all are prepared.
fn bare_rate<W: FnMut()>(threads: usize, prepare: impl Fn() -> W + Sync) -> f64 {
    let ready = std::sync::Barrier::new(threads);
    let work = || {
        let mut once = prepare();
        ready.wait();
        let started = Instant::now();
        let mut count = 0u32;
        while started.elapsed() < MEASURED {
            once();
            count += 1;
        }
        f64::from(count) / started.elapsed().as_secs_f64()
    };
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..threads).map(|_| scope.spawn(work)).collect();
        let rates = threads.into_iter().map(|thread| thread.join());
        rates.map(|rate| rate.expect("a rate")).sum()
    })
}

async fn open(folder: &std::path::Path) -> Result<Arc<Signer>, Box<dyn std::error::Error>> {
    std::fs::create_dir_all(folder.join("data"))?;
    let config = ServiceConfig {
        installation: signer::Installation::default(),
        authority: AuthorityConfig {
            folder: folder.join("data/keys"),
            subject: AuthoritySubject::default(),
            pki: PkiSettings {
                crl_url: Some("http://127.0.0.1:5000/pki/ca.crl".to_owned()),
                ..PkiSettings::default()
            },
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
        dialect: signer::Dialect::default(),
        owner: None,
        grants: Grants {
            accounts,
            ..Grants::default()
        },
        rules: Default::default(),
        two_person: false,
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
        owner: None,
        payload: target.to_string().into_bytes(),
        artifact: Default::default(),
    };
    while started.elapsed() < MEASURED {
        signer.sign(request.clone()).await.expect("a signature");
        count.fetch_add(1, Ordering::Relaxed);
    }
}
