//! The folders of a storage that were listed for one presentation, and the objects in them that were opened.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use object_store::ObjectMeta;

use crate::content::file::{SourceError, Stamp};
use crate::content::remote::object::Object;
use crate::content::remote::store::Store;

/// Objects as they were listed.
#[derive(Debug)]
pub struct View {
    store: Arc<Store>,
    listed: BTreeMap<PathBuf, ObjectMeta>,
    opened: Mutex<Opened>,
}

#[derive(Debug, Default)]
struct Opened {
    objects: BTreeMap<PathBuf, Arc<Object>>,
    /// The first failure that was no answer about an object.
    failure: Option<SourceError>,
}

/// What the listing says an object is like.
pub fn stamp(meta: &ObjectMeta) -> Stamp {
    let modified_ns = i128::from(meta.last_modified.timestamp()) * 1_000_000_000;
    Stamp::of_object(meta.size, modified_ns, meta.e_tag.as_deref())
}

impl View {
    /// The `listed` objects of `store`.
    pub fn new(store: Arc<Store>, listed: BTreeMap<PathBuf, ObjectMeta>) -> View {
        View { store, listed, opened: Mutex::default() }
    }

    /// The object at `path`. Blocks if it was not listed.
    pub fn object(&self, path: &Path) -> Result<Arc<Object>, SourceError> {
        if let Some(known) = self.opened().objects.get(path) {
            return Ok(Arc::clone(known));
        }
        let key = self.store.key(path);
        let stamp = match self.listed.get(path) {
            Some(meta) => stamp(meta),
            None => match self.store.wait(self.store.head(&key)) {
                Ok(Some(meta)) => stamp(&meta),
                Ok(None) => return Err(SourceError::Replaced { path: path.to_path_buf() }),
                Err(error) => return Err(self.failed(error)),
            },
        };
        let object = Arc::new(Object::new(Arc::clone(&self.store), key, path.to_path_buf(), stamp));
        Ok(Arc::clone(self.opened().objects.entry(path.to_path_buf()).or_insert(object)))
    }

    fn failed(&self, error: SourceError) -> SourceError {
        if let Some(failure) = error.of_the_moment() {
            self.opened().failure.get_or_insert(failure);
        }
        error
    }

    /// Ends an opening: forgets what was read for it. An error is the first failure to read meanwhile.
    pub fn settle(&self) -> Result<(), SourceError> {
        let mut opened = self.opened();
        let failures: Vec<SourceError> = opened.objects.values().filter_map(|object| object.take_failure()).collect();
        let failure = failures.into_iter().next().or(opened.failure.take());
        opened.objects.values().for_each(|object| object.forget());
        failure.map_or(Ok(()), Err)
    }

    fn opened(&self) -> std::sync::MutexGuard<'_, Opened> {
        self.opened.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
