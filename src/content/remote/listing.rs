//! What was listed of a storage, on disk beside the indexes, so that a start asks the storage for nothing that it told before. Like them it may be
//! lost or wrong at any time.
//!
//! ```text
//!   "HWLS"  version u32
//!   as_of   u64                           when it was listed, in milliseconds since 1970
//!   count   u32, of  key, length u64, modified u64, tag    objects; modified in seconds since 1970
//!   count   u32, of  key                                   folders
//!   blake3 of all before                  a text is its length u32 and its bytes; length 2^32 - 1: there is none
//! ```

use std::time::{Duration, SystemTime};

use object_store::path::Path as Key;
use object_store::{ListResult, ObjectMeta};

use crate::content::remote::index::{IndexFolder, LISTING, Rest, put_text};
use crate::time::Utc;

const MAGIC: &[u8; 4] = b"HWLS";
/// Another form has another one, and is made anew.
const FORMAT: u32 = 1;
/// The year 9999: calendars go no further.
const MODIFIED_S_MAX: u64 = 253_402_300_799;

/// Objects and folders, as they were listed.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Listing {
    /// In the order of their keys.
    pub objects: Vec<ObjectMeta>,
    /// Folders beside them.
    pub folders: Vec<Key>,
}

/// What was listed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Of<'a> {
    /// What lies directly in the folder at this path.
    Folder(&'a std::path::Path),
    /// What lies at the top under names that begin so.
    Beginning(&'a str),
}

impl From<ListResult> for Listing {
    fn from(listed: ListResult) -> Listing {
        Listing { objects: listed.objects, folders: listed.common_prefixes }
    }
}

impl Listing {
    /// Whether nothing was found.
    pub fn is_empty(&self) -> bool {
        self.objects.is_empty() && self.folders.is_empty()
    }

    /// What `folder` keeps in `file`, and when that was listed. Blocks.
    pub fn read(folder: &IndexFolder, file: &str) -> Option<(Listing, Utc)> {
        parse(&folder.load(file)?)
    }

    /// Has `folder` keep it in `file`, as of `as_of`; of nothing it keeps nothing. Blocks.
    pub fn write(&self, folder: &IndexFolder, file: &str, as_of: Utc) -> std::io::Result<()> {
        match self.is_empty() {
            true => folder.remove(file),
            false => folder.store(file, self.form(as_of)),
        }
    }

    fn form(&self, as_of: Utc) -> Vec<u8> {
        let mut out = Vec::with_capacity(64 + 128 * self.objects.len() + 64 * self.folders.len());
        out.extend_from_slice(MAGIC);
        out.extend_from_slice(&FORMAT.to_be_bytes());
        out.extend_from_slice(&as_of.0.to_be_bytes());
        out.extend_from_slice(&(self.objects.len() as u32).to_be_bytes());
        for ObjectMeta { location, size, last_modified, e_tag, .. } in &self.objects {
            put_text(&mut out, Some(location.as_ref()));
            out.extend_from_slice(&size.to_be_bytes());
            out.extend_from_slice(&(last_modified.timestamp().max(0) as u64).to_be_bytes());
            put_text(&mut out, e_tag.as_deref());
        }
        out.extend_from_slice(&(self.folders.len() as u32).to_be_bytes());
        self.folders.iter().for_each(|folder| put_text(&mut out, Some(folder.as_ref())));
        out
    }
}

impl Of<'_> {
    /// What the file is called that keeps what was listed of the storage at `url`.
    pub fn file(self, url: &str) -> String {
        let mut hasher = blake3::Hasher::new();
        hasher.update(url.as_bytes()).update(b"\0");
        match self {
            Of::Folder(path) => hasher.update(b"folder\0").update(path.as_os_str().as_encoded_bytes()),
            Of::Beginning(name) => hasher.update(b"beginning\0").update(name.as_bytes()),
        };
        format!("{}.{LISTING}", &hasher.finalize().to_hex()[..32])
    }
}

fn parse(bytes: &[u8]) -> Option<(Listing, Utc)> {
    let mut bytes = Rest(bytes);
    if bytes.take(4)? != MAGIC || bytes.u32()? != FORMAT {
        return None;
    }
    let as_of = Utc(bytes.u64()?);
    let mut listing = Listing::default();
    for _ in 0..bytes.u32()? {
        let location = Key::parse(bytes.text()??).ok()?;
        let (size, modified_s, e_tag) = (bytes.u64()?, bytes.u64()?, bytes.text()?);
        let last_modified = time(modified_s)?.into();
        listing.objects.push(ObjectMeta {
            location,
            last_modified,
            size,
            e_tag: e_tag.map(str::to_owned),
            version: None,
        });
    }
    for _ in 0..bytes.u32()? {
        listing.folders.push(Key::parse(bytes.text()??).ok()?);
    }
    bytes.0.is_empty().then_some((listing, as_of))
}

fn time(modified_s: u64) -> Option<SystemTime> {
    SystemTime::UNIX_EPOCH.checked_add(Duration::from_secs(modified_s)).filter(|_| modified_s <= MODIFIED_S_MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn object((key, size, modified_s, e_tag): (String, u64, u64, Option<String>)) -> ObjectMeta {
        let last_modified = time(modified_s).unwrap().into();
        ObjectMeta { location: Key::parse(key).unwrap(), last_modified, size, e_tag, version: None }
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(
            objects in proptest::collection::vec(
                ("[a-zü ]{1,9}/[a-z.]{3,9}", any::<u64>(), 0..MODIFIED_S_MAX, proptest::option::of("[a-z\"]{0,9}")),
                0..20,
            ),
            folders in proptest::collection::vec("[a-z]{1,9}", 0..20),
            as_of in any::<u64>(),
        ) {
            let folders = folders.into_iter().map(|key| Key::parse(key).unwrap()).collect();
            let listing = Listing { objects: objects.into_iter().map(object).collect(), folders };
            let formed = listing.form(Utc(as_of));
            prop_assert_eq!(parse(&formed[..formed.len() - 1]), None);
            prop_assert_eq!(parse(&formed), Some((listing, Utc(as_of))));
        }

        #[test]
        fn any_bytes_are_a_listing_or_none(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let mut formed = [&MAGIC[..], &FORMAT.to_be_bytes()].concat();
            formed.extend(bytes);
            if let Some((listing, as_of)) = parse(&formed) {
                prop_assert_eq!(listing.form(as_of), formed);
            }
        }
    }

    #[test]
    fn one_storage_is_told_from_another_and_what_is_gone_is_removed() {
        let dir = tempfile::tempdir().unwrap();
        let folder = IndexFolder::open(dir.path().to_path_buf(), 1 << 20).unwrap();
        let listing = Listing { objects: vec![object(("a/b.mp4".into(), 7, 8, None))], folders: Vec::new() };
        let of = Of::Folder(std::path::Path::new("/a"));
        let file = of.file("s3://one");
        listing.write(&folder, &file, Utc(5)).unwrap();
        assert_eq!(Listing::read(&folder, &file), Some((listing, Utc(5))));
        assert_eq!(Listing::read(&folder, &of.file("s3://other")), None);
        assert_eq!(Listing::read(&folder, &Of::Beginning("/a").file("s3://one")), None);
        for _ in 0..2 {
            Listing::default().write(&folder, &file, Utc(6)).unwrap();
            assert_eq!(Listing::read(&folder, &file), None);
        }
    }
}
