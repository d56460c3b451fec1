//! Tests of requests: strictly parsed, bounded. What answers look like is tested over a whole
//! authority, by OpenSSL and `notation` as well (`interop/ca.py`).

use der::Encode as _;
use der::asn1::OctetString;
use proptest::prelude::*;

use super::*;

/// A request in DER, put together by hand.
struct Draft {
    hash: ObjectIdentifier,
    serial: Vec<u8>,
    count: usize,
    extensions: Vec<u8>,
    version: Option<u8>,
}

impl Default for Draft {
    fn default() -> Self {
        Self {
            hash: SHA1,
            serial: vec![0x41, 1],
            count: 1,
            extensions: Vec::new(),
            version: None,
        }
    }
}

fn tlv(tag: u8, content: &[u8]) -> Vec<u8> {
    let mut bytes = vec![tag];
    match content.len() {
        length @ 0..=127 => bytes.push(u8::try_from(length).unwrap()),
        length @ 128..=255 => bytes.extend([0x81, u8::try_from(length).unwrap()]),
        length => {
            bytes.push(0x82);
            bytes.extend(u16::try_from(length).unwrap().to_be_bytes());
        }
    }
    bytes.extend(content);
    bytes
}

fn extension(oid: ObjectIdentifier, critical: bool, value: &[u8]) -> Vec<u8> {
    let mut body = oid.to_der().unwrap();
    if critical {
        body.extend([1, 1, 0xff]);
    }
    body.extend(tlv(4, value));
    tlv(0x30, &body)
}

fn nonce(value: &[u8]) -> Vec<u8> {
    let value = OctetString::new(value).unwrap().to_der().unwrap();
    extension(NONCE, false, &value)
}

impl Draft {
    fn der(&self) -> Vec<u8> {
        let hash = tlv(0x30, &self.hash.to_der().unwrap());
        let names = [tlv(4, &[1; 20]), tlv(4, &[2; 20]), tlv(2, &self.serial)].concat();
        let id = tlv(0x30, &[hash, names].concat());
        let requests = tlv(0x30, &tlv(0x30, &id).repeat(self.count));
        let mut tbs = Vec::new();
        if let Some(version) = self.version {
            tbs.extend(tlv(0xa0, &[2, 1, version]));
        }
        tbs.extend(requests);
        if !self.extensions.is_empty() {
            tbs.extend(tlv(0xa2, &tlv(0x30, &self.extensions)));
        }
        tlv(0x30, &tlv(0x30, &tbs))
    }
}

#[test]
fn a_request_says_whom_it_is_about() {
    let draft = Draft {
        count: 2,
        extensions: nonce(&[7; 16]),
        ..Draft::default()
    };
    let request = OcspRequest::parse(&draft.der()).unwrap();
    assert_eq!(request.nonce.as_deref(), Some(&[7; 16][..]));
    let [one, two] = &request.certificates[..] else {
        panic!("two certificates")
    };
    assert_eq!(one, two);
    assert_eq!(one.hash, IssuerHash::Sha1);
    assert_eq!(
        (&one.issuer_name, &one.issuer_key),
        (&vec![1; 20], &vec![2; 20])
    );
    assert_eq!(one.serial, [0x41, 1]);
}

#[test]
fn leading_zeros_are_not_part_of_a_serial_number() {
    let draft = Draft {
        serial: vec![0, 0x80, 1],
        ..Draft::default()
    };
    let request = OcspRequest::parse(&draft.der()).unwrap();
    assert_eq!(request.certificates[0].serial, [0x80, 1]);
}

#[test]
fn both_hashes_name_an_issuer_and_no_other_does() {
    let md5 = ObjectIdentifier::new_unwrap("1.2.840.113549.2.5");
    for (hash, expected) in [
        (SHA1, IssuerHash::Sha1),
        (SHA256, IssuerHash::Sha256),
        (md5, IssuerHash::Other),
    ] {
        let draft = Draft {
            hash,
            ..Draft::default()
        };
        let request = OcspRequest::parse(&draft.der()).unwrap();
        assert_eq!(request.certificates[0].hash, expected);
    }
}

#[test]
fn what_is_not_a_request_is_refused() {
    use OcspRequestError as E;
    let with = |change: fn(&mut Draft)| {
        let mut draft = Draft::default();
        change(&mut draft);
        draft.der()
    };
    let trailing = [Draft::default().der(), vec![0]].concat();
    type Expected = fn(&E) -> bool;
    let table: [(&str, Vec<u8>, Expected); 14] = [
        ("empty", vec![], |e| matches!(e, E::Shape(_))),
        ("trailing", trailing, |e| matches!(e, E::Shape(_))),
        ("none", with(|d| d.count = 0), |e| *e == E::Count(0)),
        ("many", with(|d| d.count = 17), |e| *e == E::Count(17)),
        ("version 2", with(|d| d.version = Some(1)), |e| {
            matches!(e, E::Shape(_))
        }),
        ("negative", with(|d| d.serial = vec![0x80, 1]), |e| {
            *e == E::Serial
        }),
        ("zero", with(|d| d.serial = vec![0]), |e| *e == E::Serial),
        ("long", with(|d| d.serial = vec![0x41; 21]), |e| {
            *e == E::Serial
        }),
        ("empty nonce", with(|d| d.extensions = nonce(&[])), |e| {
            *e == E::Nonce
        }),
        (
            "long nonce",
            with(|d| d.extensions = nonce(&[1; 129])),
            |e| *e == E::Nonce,
        ),
        (
            "bare nonce",
            with(|d| d.extensions = extension(NONCE, false, &[1; 8])),
            |e| *e == E::Nonce,
        ),
        (
            "two nonces",
            with(|d| d.extensions = nonce(&[1; 8]).repeat(2)),
            |e| *e == E::Nonce,
        ),
        (
            "critical",
            with(|d| d.extensions = extension(SHA1, true, &[5, 0])),
            |e| matches!(e, E::Critical(_)),
        ),
        ("too long", vec![0x30; MAX_OCSP_REQUEST_BYTES + 1], |e| {
            matches!(e, E::TooLong(_))
        }),
    ];
    for (name, der, expected) in table {
        let error = OcspRequest::parse(&der).unwrap_err();
        assert!(expected(&error), "{name}: {error}");
    }
    for good in [
        with(|d| d.count = 16),
        with(|d| d.extensions = nonce(&[1; 128])),
        with(|d| d.extensions = extension(SHA1, false, &[5, 0])),
        with(|d| d.serial = vec![0x41; 20]),
    ] {
        OcspRequest::parse(&good).unwrap();
    }
}

proptest! {
    #[test]
    fn whatever_comes_is_answered(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let _ = OcspRequest::parse(&bytes);
    }

    #[test]
    fn a_damaged_request_does_not_panic(at in 0usize..100, byte in any::<u8>()) {
        let mut der = Draft { extensions: nonce(&[7; 16]), ..Draft::default() }.der();
        let at = at % der.len();
        der[at] = byte;
        let _ = OcspRequest::parse(&der);
    }
}
