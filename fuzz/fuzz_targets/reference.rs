//! References: what parses prints as it was read, and parses again.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    if let Ok(reference) = text.parse::<oci::Reference>() {
        assert_eq!(reference.to_string(), text);
    }
});
