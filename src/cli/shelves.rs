//! The storages of a configuration, connected.

use std::sync::Arc;

use crate::config::Config;
use crate::content::remote::index::IndexFolder;
use crate::content::remote::shelf::{Options, Shelf};
use crate::telemetry::Telemetry;

/// Connects the storages that `config` names; nothing is asked of them yet. To be called within a runtime.
pub(crate) fn connect(config: &Config, telemetry: &Arc<Telemetry>) -> Result<Vec<Arc<Shelf>>, String> {
    let storage = &config.storage;
    let index = match &storage.cache_dir {
        Some(dir) if !storage.places.is_empty() => {
            let opened = IndexFolder::open(dir.join("index"), storage.cache_dir_bytes);
            Some(Arc::new(opened.map_err(|error| format!("{}: {error}", dir.display()))?))
        }
        _ => None,
    };
    let options = Options { age: storage.age, segment_target: config.library.segment_target };
    let shelf = |(prefix, place): &(String, crate::content::remote::connect::Place)| {
        let store = place.connect(storage.requests.clone(), Arc::clone(telemetry))?.with_index(index.clone());
        Ok(Arc::new(Shelf::new(prefix, Arc::new(store), place.kind(), options.clone(), Arc::clone(telemetry))))
    };
    storage.places.iter().map(shelf).collect()
}
