//! A path: what it names is spelt one way.
#![no_main]

use headwater::origin::address::{Address, decode, encode};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let Ok(path) = std::str::from_utf8(bytes) else { return };
    let Some(decoded) = decode(path) else { return };
    if let Some(address) = Address::parse(&decoded) {
        assert!(!address.presentation.split('/').any(|part| part.is_empty() || part.starts_with('.')));
        let url = format!("/{}/manifest.mpd", encode(&address.presentation));
        let again = Address::parse(&decode(&url).expect("what we encode can be decoded")).expect("an address");
        assert_eq!(again.presentation, address.presentation);
    }
});
