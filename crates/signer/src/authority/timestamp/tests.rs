//! Tests of time-stamps: each refusal, and what a token says. That others accept the tokens is
//! tested with OpenSSL and `notation` (`interop/ca.py`).

use der::asn1::OctetString;
use der::{Any, Decode as _};
use proptest::prelude::*;
use time::macros::datetime;

use super::*;
use crate::authority::tests::{NOW, open};

const SHA256: &str = "2.16.840.1.101.3.4.2.1";

/// A request in DER.
struct Draft {
    version: u8,
    algorithm: &'static str,
    hash: Vec<u8>,
    rest: Vec<u8>,
}

impl Default for Draft {
    fn default() -> Self {
        Self {
            version: 1,
            algorithm: SHA256,
            hash: vec![7; 32],
            rest: Vec::new(),
        }
    }
}

fn sequence(content: &[u8]) -> Vec<u8> {
    let tag = der::Tag::Sequence;
    Any::new(tag, content).unwrap().to_der().unwrap()
}

fn oid(text: &str) -> Vec<u8> {
    ObjectIdentifier::new_unwrap(text).to_der().unwrap()
}

impl Draft {
    fn der(&self) -> Vec<u8> {
        let hash = OctetString::new(self.hash.clone()).unwrap();
        let imprint = [sequence(&oid(self.algorithm)), hash.to_der().unwrap()].concat();
        let body = [
            vec![2, 1, self.version],
            sequence(&imprint),
            self.rest.clone(),
        ];
        sequence(&body.concat())
    }
}

/// The status, and the bit of the failure, of an answer.
fn outcome(answer: &[u8]) -> (u8, Option<u8>) {
    let response = Vec::<Any>::from_der(answer).unwrap();
    let status = Vec::<Any>::from_der(&response[0].to_der().unwrap()).unwrap();
    let number: u8 = status[0].decode_as().unwrap();
    let bits = status.get(2).map(|bits| {
        let bits: der::asn1::BitString = bits.decode_as().unwrap();
        u8::try_from(bits.bits().position(|bit| bit).unwrap()).unwrap()
    });
    assert_eq!(response.len(), if number == 0 { 2 } else { 1 });
    (number, bits)
}

#[test]
fn each_failure_has_its_bit() {
    let folder = tempfile::tempdir().unwrap();
    let authority = open(folder.path(), NOW).unwrap();
    let stamper = authority.timestamping().unwrap();
    let with = |change: fn(&mut Draft)| {
        let mut draft = Draft::default();
        change(&mut draft);
        draft.der()
    };
    let extension = || vec![0xa0, 9, 0x30, 7, 6, 3, 0x2a, 3, 4, 4, 0];
    let table = [
        ("good", Draft::default().der(), (0, None)),
        (
            "sha-384",
            with(|d| (d.algorithm, d.hash) = ("2.16.840.1.101.3.4.2.2", vec![7; 48])),
            (0, None),
        ),
        (
            "sha-512",
            with(|d| (d.algorithm, d.hash) = ("2.16.840.1.101.3.4.2.3", vec![7; 64])),
            (0, None),
        ),
        (
            "our policy",
            with(|d| d.rest = oid("1.3.6.1.4.1.32473.1.3161")),
            (0, None),
        ),
        ("nonce", with(|d| d.rest = vec![2, 2, 0x41, 1]), (0, None)),
        (
            "sha-1",
            with(|d| (d.algorithm, d.hash) = ("1.3.14.3.2.26", vec![7; 20])),
            (2, Some(0)),
        ),
        ("not DER", vec![1, 2, 3], (2, Some(2))),
        ("version", with(|d| d.version = 2), (2, Some(2))),
        (
            "long nonce",
            with(|d| d.rest = [vec![2, 33], vec![0x41; 33]].concat()),
            (2, Some(2)),
        ),
        (
            "too long",
            vec![0x30; MAX_TIMESTAMP_REQUEST_BYTES + 1],
            (2, Some(2)),
        ),
        ("short hash", with(|d| d.hash = vec![7; 31]), (2, Some(5))),
        ("policy", with(|d| d.rest = oid("1.2.3.4")), (2, Some(15))),
        (
            "extension",
            [Draft {
                rest: extension(),
                ..Draft::default()
            }
            .der()]
            .concat(),
            (2, Some(16)),
        ),
    ];
    for (name, request, expected) in table {
        let answer = stamper.respond(&request, NOW).unwrap();
        assert_eq!(outcome(&answer), expected, "{name}");
    }
    let failed = TimestampAuthority::failed().unwrap();
    assert_eq!(outcome(&failed), (2, Some(25)));
}

#[test]
fn a_clock_that_went_back_is_not_vouched_for() {
    let folder = tempfile::tempdir().unwrap();
    let authority = open(folder.path(), NOW).unwrap();
    let stamper = authority.timestamping().unwrap();
    let request = Draft::default().der();
    let at = |seconds: i64| {
        let now = NOW + Duration::seconds(seconds);
        outcome(&stamper.respond(&request, now).unwrap())
    };
    assert_eq!(at(10), (0, None));
    assert_eq!(at(9), (0, None), "within the accuracy");
    assert_eq!(at(8), (2, Some(14)));
    assert_eq!(at(11), (0, None));
    let before = datetime!(2020-01-01 0:00 UTC);
    let answer = open(folder.path(), NOW).unwrap();
    let answer = answer.timestamping().unwrap().respond(&request, before);
    assert_eq!(
        outcome(&answer.unwrap()),
        (2, Some(14)),
        "before the certificate"
    );
}

#[test]
fn the_certificate_is_for_time_stamps_alone_and_its_chain_is_its_own() {
    use x509_cert::ext::pkix::{ExtendedKeyUsage, KeyUsage};
    let folder = tempfile::tempdir().unwrap();
    let authority = open(folder.path(), NOW).unwrap();
    let [own, above] = &authority.timestamping().unwrap().chain[..] else {
        panic!("two certificates")
    };
    let tbs = own.tbs_certificate();
    let (critical, usage) = tbs.get_extension::<ExtendedKeyUsage>().unwrap().unwrap();
    assert!(critical);
    assert_eq!(usage.0, [TIME_STAMPING]);
    let (critical, usage) = tbs.get_extension::<KeyUsage>().unwrap().unwrap();
    assert!(critical && usage.digital_signature());
    assert_eq!(tbs.issuer(), above.tbs_certificate().subject());
    assert_ne!(above, &authority.current().certificates()[0]);
}

#[test]
fn the_certificate_is_renewed_with_its_key_when_half_its_life_is_over() {
    let folder = tempfile::tempdir().unwrap();
    let own = |now| {
        let authority = open(folder.path(), now).unwrap();
        authority.timestamping().unwrap().chain[0].clone()
    };
    let first = own(NOW);
    let half = NOW + TIMESTAMPING_LIFE / 2;
    assert_eq!(own(half), first);
    let renewed = own(half + Duration::SECOND);
    assert_ne!(renewed, first);
    let key = |one: &Certificate| one.tbs_certificate().subject_public_key_info().clone();
    assert_eq!(key(&renewed), key(&first));
}

#[test]
fn certificates_are_carried_only_when_they_are_asked_for() {
    let folder = tempfile::tempdir().unwrap();
    let authority = open(folder.path(), NOW).unwrap();
    let stamper = authority.timestamping().unwrap();
    let own = stamper.chain[0].to_der().unwrap();
    for (rest, expected) in [(vec![1, 1, 0xff], true), (vec![], false)] {
        let request = Draft {
            rest,
            ..Draft::default()
        };
        let answer = stamper.respond(&request.der(), NOW).unwrap();
        let carried = answer.windows(own.len()).any(|window| window == own);
        assert_eq!(carried, expected);
    }
}

proptest! {
    #[test]
    fn whatever_comes_is_answered(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let _ = TimestampRequest::parse(&bytes);
    }

    #[test]
    fn a_damaged_request_does_not_panic(at in 0usize..100, byte in any::<u8>()) {
        let mut der = Draft { rest: vec![2, 2, 0x41, 1], ..Draft::default() }.der();
        let at = at % der.len();
        der[at] = byte;
        let _ = TimestampRequest::parse(&der);
    }
}
