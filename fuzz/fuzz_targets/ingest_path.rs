//! A path of the ingest listener, and a query: what they name has letters that URLs and folders may have, whatever is pushed already.
#![no_main]

use headwater::content::live::channel::is_name;
use headwater::server::ingest::paths::{Target, encoder_of, target};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &str| {
    // A path with a query, then the names that are known.
    let (url, known) = input.split_once(' ').unwrap_or((input, ""));
    let (path, query) = url.split_once('?').unwrap_or((url, ""));
    if let Some(Some(encoder)) = encoder_of(query) {
        assert!(is_name(&encoder), "{encoder:?}");
    }
    let Some((channel, target)) = target(path) else { return };
    assert!(is_name(&channel), "{channel:?}");
    let Target::Track(named) = target else { return };
    assert!(is_name(&named.name), "{named:?}");
    let known: Vec<String> = known.split(' ').filter(|name| is_name(name)).map(str::to_owned).collect();
    let meant = named.of_media(&known);
    assert!(is_name(&meant.name), "{meant:?}");
    // What is known is meant by its own name.
    if known.contains(&named.name) {
        assert_eq!(meant.name, named.name);
    }
    if known.contains(&meant.name) {
        assert_eq!(meant.of_media(&known).name, meant.name);
    }
});
