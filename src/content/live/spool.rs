//! What was pushed, on disk: a log that a channel is read back from after a restart, and where old segments are read from.
//!
//! ```text
//!   file    "HWSPOOL2" record…
//!   record  payload_len:u32 kind:u8 flags:u8 name_len:u16 utc_ms:u64 encoder:u32 push:u32 name payload hash:8
//! ```
//!
//! Records are only appended; the hash covers all before it. A record that is not whole, as a kill or a full disk leaves it, ends the
//! file: what follows is cut off. A file of version 1 is read, too: it has no chunks as they are served.

use std::fs::{self, File};
use std::io::{self, BufReader, Read, Write};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use bytes::Bytes;

use crate::content::live::receiver::CHUNK_BYTES_MAX;
use crate::content::live::window::Source;
use crate::media::live::first_u64;
use crate::media::sample::SourceRange;
use crate::time::Utc;

const MAGIC: &[u8; 8] = b"HWSPOOL2";
/// Of files that are read, and left for another one at once.
const MAGIC_BEFORE: &[u8; 8] = b"HWSPOOL1";
const HEAD_BYTES: usize = 24;
const HASH_BYTES: usize = 8;
/// The most files that are let go of at once: more than what comes fills in the meantime, and so few that writing need not wait for it.
pub const FORGOTTEN_MAX: usize = 4;
/// The longest name of a track.
pub const NAME_BYTES_MAX: usize = 128;

/// What a record says.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    /// What the window was when the file was begun.
    Checkpoint,
    /// An initialization segment.
    Init,
    /// A chunk.
    Chunk,
    /// A push ended well.
    PushEnds,
    /// The encoder says that nothing more will come.
    End,
    /// Time has passed, and something came of it.
    Tick,
    /// What the window was when writing went on, after records that could not be written.
    Resumed,
    /// A chunk whose times are those after the edit of its track: not as it came, but as it is served.
    Served,
}

const KINDS: [Kind; 8] =
    [Kind::Checkpoint, Kind::Init, Kind::Chunk, Kind::PushEnds, Kind::End, Kind::Tick, Kind::Resumed, Kind::Served];

impl Kind {
    /// Whether it is media.
    pub fn is_chunk(self) -> bool {
        matches!(self, Kind::Chunk | Kind::Served)
    }
}

/// One thing that happened to a channel.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Record {
    /// What.
    pub kind: Kind,
    /// When.
    pub at: Utc,
    /// To which track; empty of the channel itself.
    pub track: String,
    /// By which push.
    pub source: Source,
    /// Its bytes.
    pub payload: Bytes,
}

/// What records are appended to: a file, which may fail.
pub trait Sink: Write + std::fmt::Debug + Send {
    /// Leaves the first `len` bytes.
    fn cut(&self, len: u64) -> io::Result<()>;
}

impl Sink for File {
    fn cut(&self, len: u64) -> io::Result<()> {
        self.set_len(len)
    }
}

/// The files of one channel.
#[derive(Debug)]
pub struct Spool {
    dir: PathBuf,
    file: Box<dyn Sink>,
    number: u32,
    len: u64,
    full: Vec<Full>,
    file_bytes: u64,
    /// Whether the file is of the version before.
    is_old: bool,
    /// Whether half a record may stand behind what is whole.
    is_torn: bool,
}

/// A file before the one that is written.
#[derive(Clone, Copy, Debug)]
struct Full {
    number: u32,
    /// When its last record came.
    until: Utc,
    bytes: u64,
}

/// What is kept of a spool.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Keep {
    /// Media that came since then, in any case.
    pub needed_from: Utc,
    /// Media that came since then, if there is room.
    pub wanted_from: Utc,
    /// Bytes, of files that are full.
    pub bytes_max: u64,
}

/// What file `number` is called.
pub fn file_name(number: u32) -> String {
    format!("{number:08}.spool")
}

fn path(dir: &Path, number: u32) -> PathBuf {
    dir.join(file_name(number))
}

/// Whether `dir` has files of a spool; if that can't be said, it has.
pub fn has_files(dir: &Path) -> bool {
    match numbers(dir, "spool") {
        Ok(numbers) => !numbers.is_empty(),
        Err(error) => error.kind() != io::ErrorKind::NotFound && error.kind() != io::ErrorKind::NotADirectory,
    }
}

/// The number of a file whose name is that and `extension`.
pub fn number_of(path: &Path, extension: &str) -> Option<u32> {
    path.file_stem().filter(|_| path.extension().is_some_and(|own| own == extension))?.to_str()?.parse().ok()
}

/// The numbers of the files in `dir` whose names are those and `extension`, ascending.
pub fn numbers(dir: &Path, extension: &str) -> io::Result<Vec<u32>> {
    numbers_of_each(dir, [extension]).map(|[numbers]| numbers)
}

/// The same of each of several `extensions`: the folder is read once.
pub fn numbers_of_each<const N: usize>(dir: &Path, extensions: [&str; N]) -> io::Result<[Vec<u32>; N]> {
    let mut numbers = extensions.map(|_| Vec::new());
    for entry in fs::read_dir(dir)? {
        let path = entry?.path();
        for (numbers, extension) in numbers.iter_mut().zip(extensions) {
            numbers.extend(number_of(&path, extension));
        }
    }
    numbers.iter_mut().for_each(|numbers| numbers.sort_unstable());
    Ok(numbers)
}

impl Spool {
    /// Opens the spool in `dir`, which is made if it is not there; hands `each` what is in it, with where its payload lies. It begins with the
    /// file that has media since when `needed_from` says of the checkpoint that the last file begins with.
    pub fn open(
        dir: &Path,
        file_bytes: u64,
        needed_from: impl FnOnce(&Record) -> Utc,
        mut each: impl FnMut(Record, SourceRange),
    ) -> io::Result<Spool> {
        fs::create_dir_all(dir)?;
        let mut numbers = numbers(dir, "spool")?;
        let first_records = numbers.iter().map(|&number| first_record(&path(dir, number)));
        let mut first_records: Vec<Option<Record>> = first_records.collect::<io::Result<_>>()?;
        // A kill left it before its checkpoint was written, which the records that would follow build on.
        while let ([_, .., last], [.., None]) = (&numbers[..], &first_records[..]) {
            fs::remove_file(path(dir, *last))?;
            numbers.pop();
            first_records.pop();
        }
        let needed = first_records.last().and_then(Option::as_ref).map(needed_from).unwrap_or(Utc(0));
        let mut full = Vec::with_capacity(numbers.len());
        for (&number, next) in numbers.iter().zip(first_records.iter().skip(1)) {
            let until = next.as_ref().map_or(Utc(u64::MAX), |record| record.at);
            full.push(Full { number, until, bytes: fs::metadata(path(dir, number))?.len() });
        }
        let skipped = full.windows(2).take_while(|pair| pair[1].until < needed).count();
        let (mut end, mut is_damaged) = (None, false);
        for &number in &numbers[skipped..] {
            let path = path(dir, number);
            let len = replay(&path, number, &mut |record: Record, place| {
                // What is missing before it was not done again.
                let is_after_hole = record.kind == Kind::Checkpoint && std::mem::take(&mut is_damaged);
                each(if is_after_hole { Record { kind: Kind::Resumed, ..record } } else { record }, place);
            })?;
            is_damaged = len < fs::metadata(&path)?.len();
            end = Some((number, len));
        }
        let Some((number, len)) = end else { return Spool::begin(dir, 1, full, file_bytes) };
        if len < MAGIC.len() as u64 {
            return Spool::begin(dir, number, full, file_bytes);
        }
        let is_old = version(&mut File::open(path(dir, number))?)? != Some(2);
        let file = File::options().append(true).open(path(dir, number))?;
        file.set_len(len)?;
        Ok(Spool {
            dir: dir.to_path_buf(),
            file: Box::new(file),
            number,
            len,
            full,
            file_bytes,
            is_old,
            is_torn: false,
        })
    }

    fn begin(dir: &Path, number: u32, full: Vec<Full>, file_bytes: u64) -> io::Result<Spool> {
        // What is written goes to the end of the file, however far a record came of which nothing is left.
        let mut file = File::options().create(true).append(true).open(path(dir, number))?;
        if file.metadata()?.len() > 0 {
            file.set_len(0)?;
        }
        file.write_all(MAGIC)?;
        Ok(Spool {
            dir: dir.to_path_buf(),
            file: Box::new(file),
            number,
            len: MAGIC.len() as u64,
            full,
            file_bytes,
            is_old: false,
            is_torn: false,
        })
    }

    /// The same, written through what `wrap` makes of its file.
    #[cfg(test)]
    pub fn through(self, wrap: impl FnOnce(Box<dyn Sink>) -> Box<dyn Sink>) -> Spool {
        Spool { file: wrap(self.file), ..self }
    }

    /// Appends `record`; says where its payload lies. After an error nothing of it is there.
    pub fn append(&mut self, record: &Record) -> io::Result<SourceRange> {
        let name = record.track.as_bytes();
        let payload_len = u32::try_from(record.payload.len()).map_err(io::Error::other)?;
        let mut head = Vec::with_capacity(HEAD_BYTES + name.len());
        head.extend_from_slice(&payload_len.to_be_bytes());
        head.push(record.kind as u8);
        let Source { encoder, push, begins_segment, named_segments } = record.source;
        head.push(u8::from(begins_segment) | u8::from(named_segments) << 1);
        head.extend_from_slice(&(name.len() as u16).to_be_bytes());
        head.extend_from_slice(&record.at.0.to_be_bytes());
        head.extend_from_slice(&encoder.to_be_bytes());
        head.extend_from_slice(&(push as u32).to_be_bytes());
        head.extend_from_slice(name);
        let hash = hash(&head, &record.payload);
        if self.is_torn {
            self.file.cut(self.len)?;
            self.is_torn = false;
        }
        let written = (self.file.write_all(&head))
            .and_then(|()| self.file.write_all(&record.payload))
            .and_then(|()| self.file.write_all(&hash));
        if let Err(error) = written {
            // The next record must not follow half of this one.
            self.is_torn = self.file.cut(self.len).is_err();
            return Err(error);
        }
        let start = self.len + head.len() as u64;
        let end = start + record.payload.len() as u64;
        self.len = end + HASH_BYTES as u64;
        Ok(SourceRange { file: self.number, range: start..end })
    }

    /// Whether it is time for [`Spool::roll`].
    pub fn is_full(&self) -> bool {
        self.is_old || self.len >= self.file_bytes
    }

    /// The number of the file that is written.
    pub fn number(&self) -> u32 {
        self.number
    }

    /// Begins the next file with `checkpoint`.
    pub fn roll(&mut self, checkpoint: &Record) -> io::Result<()> {
        let number = self.number + 1;
        let next = Spool::begin(&self.dir, number, Vec::new(), self.file_bytes).and_then(|mut next| {
            next.append(checkpoint)?;
            Ok(next)
        });
        let next = next.inspect_err(|_| {
            // Else what is read back would begin with it, and with nothing.
            let _ = fs::remove_file(path(&self.dir, number));
        })?;
        let mut full = std::mem::take(&mut self.full);
        full.push(Full { number: self.number, until: checkpoint.at, bytes: self.len });
        *self = Spool { full, ..next };
        Ok(())
    }

    /// Removes files that nothing of what is to be kept is in, [`FORGOTTEN_MAX`] at most, and before each what lies `beside` it; says which.
    pub fn forget(&mut self, keep: &Keep, mut beside: impl FnMut(u32) -> io::Result<()>) -> io::Result<Vec<u32>> {
        let mut bytes: u64 = self.full.iter().map(|full| full.bytes).sum();
        let mut gone = Vec::new();
        // A segment that was under way at the end of one file ends in the next: that has to be old, too.
        while let [first, next, ..] = self.full[..]
            && gone.len() < FORGOTTEN_MAX
            && next.until < keep.needed_from
            && (next.until < keep.wanted_from || bytes > keep.bytes_max)
        {
            beside(first.number)?;
            match fs::remove_file(path(&self.dir, first.number)) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
            bytes -= first.bytes;
            self.full.remove(0);
            gone.push(first.number);
        }
        Ok(gone)
    }
}

/// The bytes at `places` of the spool in `dir`, one after another. Blocks.
pub fn read_places(dir: &Path, places: &[SourceRange]) -> io::Result<Bytes> {
    let len: u64 = places.iter().map(SourceRange::len).sum();
    let mut bytes = vec![0; usize::try_from(len).map_err(io::Error::other)?];
    let mut rest = &mut bytes[..];
    for place in places {
        let (own, after) = rest.split_at_mut(place.len() as usize);
        File::open(path(dir, place.file))?.read_exact_at(own, place.range.start)?;
        rest = after;
    }
    Ok(Bytes::from(bytes))
}

fn hash(head: &[u8], payload: &[u8]) -> [u8; HASH_BYTES] {
    let mut hasher = blake3::Hasher::new();
    hasher.update(head).update(payload);
    first_u64(hasher.finalize().as_bytes()).to_be_bytes()
}

/// Reads the whole records of a file; returns where the last of them ends.
fn replay(path: &Path, number: u32, each: &mut impl FnMut(Record, SourceRange)) -> io::Result<u64> {
    let mut reader = BufReader::new(File::open(path)?);
    if version(&mut reader)?.is_none() {
        return Ok(0);
    }
    let mut at = MAGIC.len() as u64;
    while let Some((record, head_len)) = read(&mut reader)? {
        let start = at + head_len as u64;
        let end = start + record.payload.len() as u64;
        at = end + HASH_BYTES as u64;
        each(record, SourceRange { file: number, range: start..end });
    }
    Ok(at)
}

/// The first record of a file, if it is whole.
fn first_record(path: &Path) -> io::Result<Option<Record>> {
    let mut reader = BufReader::new(File::open(path)?);
    if version(&mut reader)?.is_none() {
        return Ok(None);
    }
    Ok(read(&mut reader)?.map(|(record, _)| record))
}

/// The version of the file that `reader` begins; `None` if it is none of ours, or not begun. What a later build wrote is an error: it is not to be
/// written over.
fn version(reader: &mut impl Read) -> io::Result<Option<u8>> {
    let mut magic = [0; MAGIC.len()];
    if !fill(reader, &mut magic)? {
        return Ok(None);
    }
    match [MAGIC_BEFORE, MAGIC].into_iter().position(|known| magic == *known) {
        Some(at) => Ok(Some(at as u8 + 1)),
        None if magic[..7] == MAGIC[..7] && magic[7].is_ascii_graphic() => {
            let what = format!("a file of version {}: this build reads versions 1 and 2", char::from(magic[7]));
            Err(io::Error::new(io::ErrorKind::Unsupported, what))
        }
        None => Ok(None),
    }
}

/// The next record and the length of what is before its payload; `None` if no whole one follows.
fn read(reader: &mut impl Read) -> io::Result<Option<(Record, usize)>> {
    let mut head = vec![0; HEAD_BYTES];
    if !fill(reader, &mut head)? {
        return Ok(None);
    }
    let u64_at = |at: usize| head[at..at + 8].iter().fold(0, |value, byte| value << 8 | u64::from(*byte));
    let payload_len = (u64_at(0) >> 32) as usize;
    let (kind, flags, name_len) =
        (KINDS.get(usize::from(head[4])), head[5], usize::from(head[6]) << 8 | usize::from(head[7]));
    let (at, encoder, push) = (Utc(u64_at(8)), (u64_at(16) >> 32) as u32, u64_at(16) & u64::from(u32::MAX));
    let Some(&kind) = kind.filter(|_| payload_len as u64 <= CHUNK_BYTES_MAX && name_len <= NAME_BYTES_MAX) else {
        return Ok(None);
    };
    let mut name = vec![0; name_len];
    // Not all at once: a torn length must not cost memory that no byte stands for.
    let mut payload = Vec::new();
    let mut found = [0; HASH_BYTES];
    if !fill(reader, &mut name)?
        || reader.take(payload_len as u64).read_to_end(&mut payload)? < payload_len
        || !fill(reader, &mut found)?
    {
        return Ok(None);
    }
    head.extend_from_slice(&name);
    let track = match String::from_utf8(name) {
        Ok(track) if found == hash(&head, &payload) => track,
        _ => return Ok(None),
    };
    let has = |flag: u8| flags & flag != 0;
    let source = Source { encoder, push, begins_segment: has(1), named_segments: has(2) };
    let payload = Bytes::from(payload.into_boxed_slice());
    Ok(Some((Record { kind, at, track, source, payload }, head.len())))
}

/// Fills `space`; `false` if the file ends before.
fn fill(reader: &mut impl Read, space: &mut [u8]) -> io::Result<bool> {
    match reader.read_exact(space) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(false),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicBool, Ordering};

    use super::*;

    fn record(kind: Kind, track: &str, payload: &[u8]) -> Record {
        let source = Source { encoder: 0xfedc_ba98, push: 7, begins_segment: true, named_segments: false };
        Record {
            kind,
            at: Utc(1_900_000_000_000),
            track: track.into(),
            source,
            payload: Bytes::copy_from_slice(payload),
        }
    }

    fn read_back(dir: &Path) -> (Spool, Vec<(Record, SourceRange)>) {
        let mut all = Vec::new();
        let spool = Spool::open(dir, 1 << 20, |_| Utc(0), |record, place| all.push((record, place))).unwrap();
        (spool, all)
    }

    /// A file on a disk that becomes full in the middle of what is written, and can't even be cut then.
    #[derive(Debug)]
    struct Half(Box<dyn Sink>, Arc<AtomicBool>);

    impl Write for Half {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            if !self.1.load(Ordering::Relaxed) {
                return self.0.write(bytes);
            }
            self.0.write_all(&bytes[..bytes.len() / 2])?;
            Err(io::ErrorKind::StorageFull.into())
        }

        fn flush(&mut self) -> io::Result<()> {
            self.0.flush()
        }
    }

    impl Sink for Half {
        fn cut(&self, len: u64) -> io::Result<()> {
            if self.1.load(Ordering::Relaxed) { Err(io::ErrorKind::StorageFull.into()) } else { self.0.cut(len) }
        }
    }

    /// Once a disk had been full, segments that were read from it were bytes from somewhere else.
    #[test]
    fn what_is_written_once_a_disk_has_room_again_lies_where_it_is_said_to() {
        for cuts in [false, true] {
            let dir = tempfile::tempdir().unwrap();
            let is_full = Arc::<AtomicBool>::default();
            let mut spool = read_back(dir.path()).0.through(|file| Box::new(Half(file, Arc::clone(&is_full))));
            let before = spool.append(&record(Kind::Chunk, "video", &[1; 500])).unwrap();
            is_full.store(true, Ordering::Relaxed);
            spool.append(&record(Kind::Chunk, "video", &[2; 500])).unwrap_err();
            is_full.store(false, Ordering::Relaxed);
            if cuts {
                spool.is_torn = false;
                spool.file.cut(spool.len).unwrap();
            }
            let after = spool.append(&record(Kind::Chunk, "video", &[3; 500])).unwrap();
            let places = [before, after];
            assert_eq!(read_places(dir.path(), &places).unwrap()[..], [[1; 500], [3; 500]].concat());
            drop(spool);
            let (_, found) = read_back(dir.path());
            assert_eq!(found.into_iter().map(|(_, place)| place).collect::<Vec<_>>(), places);
        }
    }

    #[test]
    fn what_was_appended_is_read_back_and_lies_where_it_was_said() {
        let dir = tempfile::tempdir().unwrap();
        let (mut spool, before) = read_back(dir.path());
        assert!(before.is_empty());
        let records = [
            record(Kind::Init, "video", b"init"),
            record(Kind::Chunk, "video", &[9; 5000]),
            record(Kind::Tick, "", b""),
        ];
        let places: Vec<SourceRange> = records.iter().map(|record| spool.append(record).unwrap()).collect();
        drop(spool);
        let (mut spool, after) = read_back(dir.path());
        assert_eq!(after, records.iter().cloned().zip(places.iter().cloned()).collect::<Vec<_>>());
        assert_eq!(
            read_places(dir.path(), &[places[1].clone(), places[0].clone()]).unwrap()[4990..],
            *[&[9; 10][..], b"init"].concat()
        );
        // Files go one later than their media does.
        let at = |s: u64| Record { at: Utc(s * 1000), ..record(Kind::Checkpoint, "", b"{}") };
        let keep = |s: u64| Keep { needed_from: Utc(s * 1000), wanted_from: Utc(s * 1000), bytes_max: u64::MAX };
        let gone: Vec<Vec<u32>> = [(10, 0), (20, 15), (30, 15), (40, 25)]
            .map(|(now, until)| {
                spool.roll(&at(now)).unwrap();
                spool.forget(&keep(until), |_| Ok(())).unwrap()
            })
            .into();
        assert_eq!(gone, [vec![], vec![], vec![], vec![1]]);
        let (_, left) = read_back(dir.path());
        assert!(left.iter().all(|(record, _)| record.kind == Kind::Checkpoint) && left.len() == 4, "{left:?}");
        // What is wanted and not needed goes when it is too much.
        let keep = |bytes_max: u64| Keep { wanted_from: Utc(0), bytes_max, ..keep(45) };
        assert!(spool.forget(&keep(1000), |_| Ok(())).unwrap().is_empty());
        assert_eq!(spool.forget(&keep(50), |_| Ok(())).unwrap(), [2, 3]);
        // Reading back begins where it has to.
        let mut found = Vec::new();
        spool.roll(&at(50)).unwrap();
        Spool::open(dir.path(), 1 << 20, |last| Utc(last.at.0 + 1), |record, _| found.push(record.at.0 / 1000))
            .unwrap();
        assert_eq!(found, [40, 50]);
    }

    #[test]
    fn a_file_that_a_full_disk_left_without_its_checkpoint_is_not_gone_on_with() {
        let dir = tempfile::tempdir().unwrap();
        let (mut spool, _) = read_back(dir.path());
        spool.append(&record(Kind::Init, "v", b"init")).unwrap();
        // Every write to it fails.
        std::os::unix::fs::symlink("/dev/full", path(dir.path(), 2)).unwrap();
        assert_eq!(spool.roll(&record(Kind::Checkpoint, "", b"{}")).unwrap_err().kind(), io::ErrorKind::StorageFull);
        assert!(fs::symlink_metadata(path(dir.path(), 2)).is_err(), "nothing of it stays");
        spool.append(&record(Kind::Chunk, "v", b"1")).unwrap();
        drop(spool);
        // Killed before it could be removed; in the middle of the checkpoint, too.
        for left in [&MAGIC[..], b"HWSPOOL2\0\0\0\x02\0", b""] {
            fs::write(path(dir.path(), 2), left).unwrap();
            let (mut spool, found) = read_back(dir.path());
            assert_eq!((spool.number(), found.len()), (1, 2), "{left:?}");
            spool.roll(&record(Kind::Checkpoint, "", b"{}")).unwrap();
            assert_eq!(read_back(dir.path()).1.len(), 3);
        }
    }

    #[test]
    fn files_of_a_later_version_were_removed() {
        let dir = tempfile::tempdir().unwrap();
        let (mut spool, _) = read_back(dir.path());
        spool.append(&record(Kind::Init, "v", b"init")).unwrap();
        spool.roll(&record(Kind::Checkpoint, "", b"{}")).unwrap();
        drop(spool);
        let later = [&b"HWSPOOL3"[..], &[7; 60]].concat();
        fs::write(path(dir.path(), 2), &later).unwrap();
        let error = Spool::open(dir.path(), 1 << 20, |_| Utc(0), |_, _| panic!("nothing is read")).unwrap_err();
        assert_eq!(error.to_string(), "a file of version 3: this build reads versions 1 and 2");
        assert_eq!(fs::read(path(dir.path(), 2)).unwrap(), later);
    }

    #[test]
    fn behind_damage_in_the_middle_the_next_checkpoint_holds() {
        let dir = tempfile::tempdir().unwrap();
        let (mut spool, _) = read_back(dir.path());
        spool.append(&record(Kind::Init, "v", b"init")).unwrap();
        spool.append(&record(Kind::Chunk, "v", &[1; 300])).unwrap();
        spool.roll(&record(Kind::Checkpoint, "", b"{}")).unwrap();
        spool.append(&record(Kind::End, "v", b"")).unwrap();
        let kinds = |dir: &Path| read_back(dir).1.into_iter().map(|(record, _)| record.kind).collect::<Vec<_>>();
        assert_eq!(kinds(dir.path()), [Kind::Init, Kind::Chunk, Kind::Checkpoint, Kind::End]);
        let mut bytes = fs::read(path(dir.path(), 1)).unwrap();
        let at = bytes.len() - 100;
        bytes[at] ^= 1;
        fs::write(path(dir.path(), 1), bytes).unwrap();
        assert_eq!(kinds(dir.path()), [Kind::Init, Kind::Resumed, Kind::End]);
    }

    #[test]
    fn a_torn_tail_is_cut_off_and_written_over() {
        let whole = |dir: &Path| {
            let (mut spool, _) = read_back(dir);
            spool.append(&record(Kind::Init, "v", b"init")).unwrap();
            spool.append(&record(Kind::Chunk, "v", &[1; 300])).unwrap();
            drop(spool);
            fs::read(path(dir, 1)).unwrap()
        };
        let dir = tempfile::tempdir().unwrap();
        let bytes = whole(dir.path());
        let first_end = 8 + HEAD_BYTES + 1 + 4 + HASH_BYTES;
        for len in first_end..bytes.len() {
            fs::write(path(dir.path(), 1), &bytes[..len]).unwrap();
            let (mut spool, found) = read_back(dir.path());
            assert_eq!(found.len(), 1, "cut at {len}");
            spool.append(&record(Kind::End, "v", b"")).unwrap();
            assert_eq!(read_back(dir.path()).1.len(), 2, "cut at {len}");
        }
        // A bit that flipped ends the log, too.
        let mut flipped = bytes;
        flipped[first_end + 40] ^= 1;
        fs::write(path(dir.path(), 1), &flipped).unwrap();
        assert_eq!(read_back(dir.path()).1.len(), 1);
    }
}
