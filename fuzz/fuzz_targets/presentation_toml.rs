//! A presentation.toml.
#![no_main]

use headwater::content::sidecar::Sidecar;
use headwater::content::storage::Storage;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    if let Ok(sidecar) = Sidecar::parse(text) {
        let folder = std::path::Path::new("a-folder-that-is-not-there");
        let _ = (sidecar.parts(&Storage::Local, folder), sidecar.texts(&Storage::Local, folder), sidecar.named(&Storage::Local, folder));
    }
});
