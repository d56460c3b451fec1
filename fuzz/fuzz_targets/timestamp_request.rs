//! Time-stamp requests, which anybody may send.
#![no_main]

use libfuzzer_sys::fuzz_target;
use signer::authority::timestamp::TimestampRequest;

fuzz_target!(|bytes: &[u8]| {
    let _ = TimestampRequest::parse(bytes);
});
