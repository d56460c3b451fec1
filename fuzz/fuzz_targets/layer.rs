//! Layers: any bytes as a tar archive, plain or compressed, then the packages in it.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    for media_type in [oci::MediaType::LAYER_TAR, oci::MediaType::LAYER_TAR_GZIP] {
        let layer = scan::Layer { digest: oci::Digest::sha256(bytes), media_type, reader: bytes };
        if let Ok(view) = scan::ImageFiles::from_layers([layer]) {
            let _ = scan::catalog(&view);
        }
    }
});
