//! DSSE: a payload of a stated type, signed over its pre-authentication encoding.
//!
//! DSSE v1 (envelope.md, protocol.md). The certificate chain travels in the extension member
//! `x5c` of the signature (standard base64 DER, leaf first). [`pae`] and [`assemble`] make
//! envelopes; [`ParsedAttestation`] is one that somebody else made.

mod parse;

use serde::Serialize;

pub use parse::ParsedAttestation;

use crate::chain::CertificateChain;
use crate::encoding::base64;

/// The largest attestation envelope, in bytes: build provenance of others can name hundreds of
/// materials; ours stays under 4096.
pub const MAX_ATTESTATION_BYTES: usize = 1 << 20;

/// Returns the chain of an attestation that can be read.
pub(crate) fn chain_of(envelope: &[u8]) -> Option<CertificateChain> {
    let envelope = ParsedAttestation::parse(envelope).ok()?;
    Some(envelope.chain().clone())
}

/// Returns the bytes to sign: `DSSEv1 SP len(type) SP type SP len(payload) SP payload`.
pub fn pae(payload_type: &str, payload: &[u8]) -> Vec<u8> {
    let mut bytes = format!(
        "DSSEv1 {} {payload_type} {} ",
        payload_type.len(),
        payload.len()
    )
    .into_bytes();
    bytes.extend_from_slice(payload);
    bytes
}

/// Returns the envelope of a payload, its signature and the chain of the signer.
///
/// An ECDSA signature is given as `r ‖ s` in fixed width and is carried so.
pub fn assemble(
    payload_type: &str,
    payload: &[u8],
    signature: &[u8],
    chain: &[Vec<u8>],
) -> Vec<u8> {
    let envelope = Envelope {
        payload: base64(payload),
        payload_type,
        signatures: [Signature {
            sig: base64(signature),
            x5c: chain.iter().map(|der| base64(der)).collect(),
        }],
    };
    // A struct of strings always serialises.
    serde_json::to_vec(&envelope).unwrap_or_default()
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Envelope<'a> {
    payload: String,
    payload_type: &'a str,
    signatures: [Signature; 1],
}

#[derive(Serialize)]
struct Signature {
    sig: String,
    x5c: Vec<String>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_pre_authentication_encoding_is_that_of_the_specification() {
        // protocol.md, the test vector.
        let encoded = pae("http://example.com/HelloWorld", b"hello world");
        let expected: &[u8] = b"DSSEv1 29 http://example.com/HelloWorld 11 hello world";
        assert_eq!(encoded, expected);
    }

    #[test]
    fn an_envelope_carries_its_chain() {
        let chain = [b"leaf".to_vec(), b"root".to_vec()];
        let bytes = assemble("application/vnd.in-toto+json", b"{}", b"sig", &chain);
        insta::assert_snapshot!(String::from_utf8(bytes).unwrap(), @r#"{"payload":"e30=","payloadType":"application/vnd.in-toto+json","signatures":[{"sig":"c2ln","x5c":["bGVhZg==","cm9vdA=="]}]}"#);
    }
}
