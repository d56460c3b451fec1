//! Cosignatures (C2SP `tlog-cosignature`, Ed25519): a witness says that, at a time, the checkpoint
//! was the largest that it had seen of the log, and that the log had only ever grown.

use super::note::{NoteError, SignatureLine, SignatureType, SignedNote, VerifierKey};

const TIME_BYTES: usize = 8;

/// Returns the bytes that a witness signs, at `time` in seconds since 1970, for a checkpoint whose
/// text this is.
pub fn message(time: u64, text: &str) -> Vec<u8> {
    format!("cosignature/v1\ntime {time}\n{text}").into_bytes()
}

/// Returns the line for a cosignature that `key` made at `time`.
pub fn line(key: &VerifierKey, time: u64, signature: &[u8]) -> SignatureLine {
    let mut bytes = time.to_be_bytes().to_vec();
    bytes.extend_from_slice(signature);
    key.line(bytes)
}

/// Returns when `witness` cosigned the checkpoint, in seconds since 1970.
///
/// # Errors
/// When it did not, or a line that names it does not verify.
pub fn verify(note: &SignedNote, witness: &VerifierKey) -> Result<u64, NoteError> {
    if witness.signature_type() != SignatureType::CosignatureV1 {
        return Err(NoteError::NotSigned(witness.to_string()));
    }
    let lines = note.signatures.iter().filter(|line| witness.is_of(line));
    let times = lines.map(|line| time_of(note, witness, line));
    let times: Vec<u64> = times.collect::<Result<_, _>>()?;
    let last = times.into_iter().max();
    last.ok_or_else(|| NoteError::NotSigned(witness.to_string()))
}

fn time_of(
    note: &SignedNote,
    witness: &VerifierKey,
    line: &SignatureLine,
) -> Result<u64, NoteError> {
    let refused = || NoteError::Signature(witness.name().to_owned());
    let bytes = line.signature();
    let (time, signature) = bytes
        .split_first_chunk::<TIME_BYTES>()
        .ok_or_else(refused)?;
    let time = u64::from_be_bytes(*time);
    let message = message(time, note.unverified_text());
    // The specification bounds the time to 63 bits.
    match i64::try_from(time).is_ok() && witness.verifies(&message, signature) {
        true => Ok(time),
        false => Err(refused()),
    }
}

/// Returns how many of `witnesses` cosigned the checkpoint; each counts once.
///
/// # Errors
/// When a line that names one of them does not verify.
pub fn count(note: &SignedNote, witnesses: &[VerifierKey]) -> Result<usize, NoteError> {
    let mut seen: Vec<&VerifierKey> = Vec::new();
    for witness in witnesses {
        match verify(note, witness) {
            Ok(_) if !seen.contains(&witness) => seen.push(witness),
            Ok(_) | Err(NoteError::NotSigned(_)) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(seen.len())
}

#[cfg(test)]
mod tests {
    use super::*;
    use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair as _};

    const TEXT: &str = "example.com/log\n20852163\nCsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=\n";

    fn witness(name: &str) -> (Ed25519KeyPair, VerifierKey) {
        let pair = Ed25519KeyPair::generate().unwrap();
        let public = pair.public_key().as_ref().try_into().unwrap();
        let key = VerifierKey::new(name, SignatureType::CosignatureV1, public).unwrap();
        (pair, key)
    }

    fn cosigned(pair: &Ed25519KeyPair, key: &VerifierKey, time: u64) -> SignatureLine {
        line(key, time, pair.sign(&message(time, TEXT)).as_ref())
    }

    #[test]
    fn the_message_is_that_of_the_specification() {
        let message = String::from_utf8(message(1_679_315_147, TEXT)).unwrap();
        insta::assert_snapshot!(message, @r"
        cosignature/v1
        time 1679315147
        example.com/log
        20852163
        CsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=
        ");
    }

    /// One key and name for two types of signatures are two keys.
    #[test]
    fn a_key_for_notes_is_not_one_for_cosignatures() {
        let pair = Ed25519KeyPair::generate().unwrap();
        let public: [u8; 32] = pair.public_key().as_ref().try_into().unwrap();
        let key = |kind| VerifierKey::new("w", kind, public).unwrap();
        let (signs, cosigns) = (
            key(SignatureType::Ed25519),
            key(SignatureType::CosignatureV1),
        );
        assert_eq!(cosigns.to_string().parse(), Ok(cosigns.clone()));
        let note = SignedNote::new(TEXT.to_owned(), vec![cosigned(&pair, &cosigns, 1)]).unwrap();
        assert_eq!(verify(&note, &cosigns), Ok(1));
        assert!(matches!(
            verify(&note, &signs),
            Err(NoteError::NotSigned(_))
        ));
        assert!(matches!(
            note.verify(&cosigns),
            Err(NoteError::NotSigned(_))
        ));
    }

    #[test]
    fn each_witness_counts_once_and_only_with_a_good_signature() {
        let (one, one_key) = witness("one");
        let (two, two_key) = witness("two");
        let note = |lines| SignedNote::new(TEXT.to_owned(), lines).unwrap();
        let keys = [one_key.clone(), two_key.clone(), one_key.clone()];
        let first = cosigned(&one, &one_key, 100);
        assert_eq!(verify(&note(vec![first.clone()]), &one_key), Ok(100));
        assert_eq!(
            count(&note(vec![first.clone(), first.clone()]), &keys),
            Ok(1)
        );
        let both = vec![first.clone(), cosigned(&two, &two_key, 101)];
        assert_eq!(count(&note(both), &keys), Ok(2));
        assert_eq!(count(&note(Vec::new()), &keys), Ok(0));
        // By another key, at another time, over another text, cut, or from beyond the calendar.
        let mut later = first.signature().to_vec();
        later[7] += 1;
        let bad = [
            line(&one_key, 100, two.sign(&message(100, TEXT)).as_ref()),
            one_key.line(later),
            line(&one_key, 100, one.sign(&message(100, "x\n")).as_ref()),
            one_key.line(vec![0; 7]),
            cosigned(&one, &one_key, 1 << 63),
        ];
        for line in bad {
            let refused = count(&note(vec![line]), &keys);
            assert!(matches!(refused, Err(NoteError::Signature(_))));
        }
    }
}
