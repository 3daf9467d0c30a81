//! Channels: what is pushed to one goes through its spool into its window, and whoever waits for the next state is woken.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use tokio::sync::watch;

use crate::content::live::pushed::{Chunk, Init, Refusal};
use crate::content::live::receiver::{Event, RawChunk, Receiver};
use crate::content::live::spool::{Kind, NAME_BYTES_MAX, Record, Spool, read_places};
use crate::content::live::window::{self, Source, Taken, Window};
use crate::media::live::{Broadcast, LiveSegment};
use crate::media::sample::SourceRange;
use crate::time::Utc;

/// The most channels: each keeps its window in memory.
pub const CHANNELS_MAX: usize = 1024;

/// How channels behave.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Options {
    /// Where spools are, a folder a channel; `None`: nothing survives the process.
    pub dir: Option<PathBuf>,
    /// Of every channel that is not listed.
    pub every: window::Options,
    /// Of those that are.
    pub named: BTreeMap<String, window::Options>,
    /// Whether a push may make a channel that is not listed.
    pub open: bool,
    /// A file of a spool is left for the next when it has so many bytes: old media goes file by file.
    pub spool_file_bytes: u64,
}

impl Default for Options {
    fn default() -> Options {
        Options {
            dir: None,
            every: window::Options::default(),
            named: BTreeMap::new(),
            open: false,
            // Some ten seconds of a ladder: a small part of what is kept.
            spool_file_bytes: 64 << 20,
        }
    }
}

/// A channel.
#[derive(Debug)]
pub struct Channel {
    name: String,
    dir: Option<PathBuf>,
    state: Mutex<State>,
    published: watch::Sender<Arc<Broadcast>>,
}

#[derive(Debug)]
struct State {
    window: Window,
    spool: Option<Spool>,
    /// Whether the last append failed: it is said once.
    is_failing: bool,
}

/// All channels.
#[derive(Debug, Default)]
pub struct Channels {
    options: Options,
    by_name: Mutex<BTreeMap<String, Arc<Channel>>>,
    pushes: AtomicU64,
}

/// Whether `name` may be a channel or a track: it is part of URLs and of paths.
pub fn is_name(name: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-');
    !name.is_empty() && name.len() <= NAME_BYTES_MAX && name.bytes().all(plain)
}

impl Channels {
    /// Those whose spools are there, read back as of `now`. Blocks.
    pub fn open(options: Options, now: Utc) -> io::Result<Channels> {
        let channels = Channels { options, ..Channels::default() };
        if let Some(dir) = &channels.options.dir {
            std::fs::create_dir_all(dir)?;
            for entry in std::fs::read_dir(dir)? {
                let name = entry?.file_name().to_string_lossy().into_owned();
                if is_name(&name) && channels.get_or_make(&name, true).is_ok() {
                    tracing::info!(channel = name, "read back");
                }
            }
        }
        channels.tick(now);
        Ok(channels)
    }

    /// The channel called `name`.
    pub fn get(&self, name: &str) -> Option<Arc<Channel>> {
        lock(&self.by_name).get(name).cloned()
    }

    /// All of them, by name.
    pub fn all(&self) -> Vec<Arc<Channel>> {
        lock(&self.by_name).values().cloned().collect()
    }

    /// The channel that a push to `name` goes to. Blocks when it has to be made.
    pub fn for_push(&self, name: &str) -> Result<Arc<Channel>, Refusal> {
        self.get_or_make(name, self.options.open || self.options.named.contains_key(name))
    }

    fn get_or_make(&self, name: &str, may_make: bool) -> Result<Arc<Channel>, Refusal> {
        let mut by_name = lock(&self.by_name);
        if let Some(channel) = by_name.get(name) {
            return Ok(Arc::clone(channel));
        }
        if !may_make || !is_name(name) {
            return Err(Refusal::Conflict(format!("there is no channel {name}")));
        }
        if by_name.len() >= CHANNELS_MAX {
            return Err(Refusal::TooMuch(format!("{CHANNELS_MAX} channels are there already")));
        }
        let options = self.options.named.get(name).unwrap_or(&self.options.every).clone();
        let dir = self.options.dir.as_ref().map(|dir| dir.join(name));
        let channel = Arc::new(Channel::open(name, options, dir.as_deref(), self.options.spool_file_bytes));
        by_name.insert(name.to_owned(), Arc::clone(&channel));
        Ok(channel)
    }

    /// A number for the next push.
    pub fn next_push(&self) -> u64 {
        self.pushes.fetch_add(1, Ordering::Relaxed) + 1
    }

    /// Time has passed. To be called every second or so. Blocks.
    pub fn tick(&self, now: Utc) {
        self.all().iter().for_each(|channel| channel.tick(now));
    }
}

impl Channel {
    /// The channel called `name`, as its spool in `dir` left it. A spool that cannot be had is said, and done without.
    pub fn open(name: &str, options: window::Options, dir: Option<&Path>, file_bytes: u64) -> Channel {
        let mut window = Window::new(options);
        let mut is_first = true;
        let mut each = |record: Record, place: SourceRange| {
            let is_first = std::mem::take(&mut is_first);
            if record.kind == Kind::Checkpoint {
                // Only where reading begins: else what it says has been done again already.
                match Window::restored(window.options().clone(), &record.payload).filter(|_| is_first) {
                    Some(restored) => window = restored,
                    None if is_first => {
                        tracing::warn!(channel = name, "the spool begins with a checkpoint that can't be read")
                    }
                    None => {}
                }
                return;
            }
            if let Err(error) = replay(&mut window, record, place) {
                tracing::warn!(channel = name, %error, "a record of the spool is not taken");
            }
        };
        let spool = match dir.map(|dir| Spool::open(dir, file_bytes, &mut each)).transpose() {
            Ok(spool) => spool,
            Err(error) => {
                tracing::error!(channel = name, %error, "the spool can't be used: nothing of the channel survives a restart");
                None
            }
        };
        let published = watch::Sender::new(Arc::clone(window.broadcast()));
        let dir = dir.map(Path::to_path_buf);
        Channel { name: name.to_owned(), dir, state: Mutex::new(State { window, spool, is_failing: false }), published }
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The names under which something was pushed.
    pub fn tracks(&self) -> Vec<String> {
        lock(&self.state).window.names().map(str::to_owned).collect()
    }

    /// What viewers see now.
    pub fn broadcast(&self) -> Arc<Broadcast> {
        Arc::clone(&self.published.borrow())
    }

    /// Tells of every new state.
    pub fn subscribe(&self) -> watch::Receiver<Arc<Broadcast>> {
        self.published.subscribe()
    }

    /// How many wait for the next state.
    pub fn waiting(&self) -> usize {
        self.published.receiver_count()
    }

    /// The bytes of `segment`, which are not in memory any more. Blocks.
    pub fn read(&self, segment: &LiveSegment) -> io::Result<Bytes> {
        let dir = self.dir.as_ref().ok_or_else(|| io::Error::other("there is no spool"))?;
        read_places(dir, &segment.places)
    }

    /// Something came to `track`. Blocks for as long as the spool takes to write it.
    pub fn take(&self, track: &str, event: Event, source: Source, now: Utc) -> Result<Taken, Refusal> {
        let record = |kind, payload, source| Record { kind, at: now, track: track.to_owned(), source, payload };
        match event {
            Event::Init(bytes) => self.record(record(Kind::Init, bytes, source), None),
            Event::End => self.record(record(Kind::End, Bytes::new(), source), None),
            Event::Chunk(raw) => {
                let pieces = lock(&self.state).window.pieces(track, raw)?;
                let mut taken = Taken::Dropped;
                for (index, piece) in pieces.into_iter().enumerate() {
                    let source = Source { begins_segment: source.begins_segment && index == 0, ..source };
                    if self.record(record(Kind::Chunk, piece.bytes.clone(), source), Some(piece))? == Taken::Added {
                        taken = Taken::Added;
                    }
                }
                Ok(taken)
            }
        }
    }

    /// A push of `track` ended well.
    pub fn push_ends(&self, track: &str, source: Source, now: Utc) {
        let record = Record { kind: Kind::PushEnds, at: now, track: track.to_owned(), source, payload: Bytes::new() };
        // Nothing of it can be refused.
        let _ = self.record(record, None);
    }

    /// Time has passed.
    pub fn tick(&self, now: Utc) {
        let mut state = lock(&self.state);
        if state.window.tick(now) {
            let source = Source { push: 0, begins_segment: false, named_segments: false };
            let record = Record { kind: Kind::Tick, at: now, track: String::new(), source, payload: Bytes::new() };
            state.append(&self.name, &record);
        }
        self.publish(&state);
    }

    fn record(&self, record: Record, raw: Option<RawChunk>) -> Result<Taken, Refusal> {
        let mut state = lock(&self.state);
        // What is not understood is not written; what is taken is written before anybody is told.
        let input = understood(&state.window, &record, raw)?;
        state.roll_if_full(&self.name, record.at);
        let place = state.append(&self.name, &record);
        let taken = apply(&mut state.window, record, input, place)?;
        self.publish(&state);
        Ok(taken)
    }

    fn publish(&self, state: &State) {
        let current = state.window.broadcast();
        self.published.send_if_modified(|published| {
            let is_new = published.sequence != current.sequence;
            if is_new {
                *published = Arc::clone(current);
            }
            is_new
        });
    }
}

impl State {
    /// Begins another file of the spool, if this one is full.
    fn roll_if_full(&mut self, channel: &str, now: Utc) {
        let Some(spool) = self.spool.as_mut().filter(|spool| spool.is_full()) else { return };
        let source = Source { push: 0, begins_segment: false, named_segments: false };
        let payload = Bytes::from(self.window.checkpoint());
        let record = Record { kind: Kind::Checkpoint, at: now, track: String::new(), source, payload };
        let keeps_ms = u64::try_from(self.window.keeps().as_millis()).unwrap_or(u64::MAX);
        if let Err(error) = spool.roll(&record, Utc(now.0.saturating_sub(keeps_ms)))
            && !self.is_failing
        {
            tracing::error!(channel, %error, "the spool can't begin another file");
        }
    }

    /// Appends `record` to the spool, if there is one that works.
    fn append(&mut self, channel: &str, record: &Record) -> Option<SourceRange> {
        match self.spool.as_mut()?.append(record) {
            Ok(place) => {
                if std::mem::take(&mut self.is_failing) {
                    tracing::info!(channel, "the spool is written again");
                }
                Some(place)
            }
            Err(error) => {
                if !std::mem::replace(&mut self.is_failing, true) {
                    tracing::error!(channel, %error, "the spool can't be written: the channel goes on from memory");
                }
                None
            }
        }
    }
}

/// A record, understood.
enum Input {
    Init(Box<Init>),
    Chunk(Chunk),
    Nothing,
}

fn understood(window: &Window, record: &Record, raw: Option<RawChunk>) -> Result<Input, Refusal> {
    Ok(match (record.kind, raw) {
        (Kind::Init, _) => Input::Init(Box::new(Init::read(record.payload.clone(), &record.track)?)),
        (Kind::Chunk, Some(raw)) => Input::Chunk(window.init_of(&record.track).ok_or(Refusal::NoInit)?.chunk(raw)?),
        _ => Input::Nothing,
    })
}

/// What `record` comes to that was understood as `input`.
fn apply(window: &mut Window, record: Record, input: Input, place: Option<SourceRange>) -> Result<Taken, Refusal> {
    let Record { kind, at, track, source, .. } = record;
    match (kind, input) {
        (_, Input::Init(init)) => window.init(&track, *init, at)?,
        (_, Input::Chunk(chunk)) => return window.chunk(&track, chunk, source, place, at),
        (Kind::PushEnds, _) => window.push_ends(&track, source.named_segments, at),
        (Kind::End, _) => window.end(&track, at),
        (Kind::Tick, _) => {
            window.tick(at);
        }
        (Kind::Checkpoint | Kind::Init | Kind::Chunk, _) => {}
    }
    Ok(Taken::Added)
}

/// Does again what `record`, which lies at `place` in the spool, says was done.
fn replay(window: &mut Window, record: Record, place: SourceRange) -> Result<(), Refusal> {
    let (mut receiver, mut events) = (Receiver::default(), Vec::new());
    if record.kind == Kind::Chunk {
        receiver.push(&record.payload, &mut events)?;
    }
    let raw = events.into_iter().find_map(|event| match event {
        Event::Chunk(raw) => Some(raw),
        _ => None,
    });
    let input = understood(window, &record, raw)?;
    apply(window, record, input, Some(place)).map(|_| ())
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // Each change is made whole or not at all: states are values that are put in place last.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
