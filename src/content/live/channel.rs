//! Channels: what is pushed to one goes through its spool into its window, and whoever waits for the next state is woken.

#[cfg(test)]
mod restarts;
mod standby;
mod writing;

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::watch;

use crate::cache::Lease;
use crate::content::live::archive::{self, Archive, Shelf};
use crate::content::live::beginnings::Beginnings;
use crate::content::live::clip;
use crate::content::live::disk::Disk;
use crate::content::live::drift::Drift;
use crate::content::live::encoders::{self, Encoders, Need};
use crate::content::live::hand::Hand;
use crate::content::live::intake::Intake;
use crate::content::live::published::{Published, Step};
use crate::content::live::pushed::{Chunk, Init, Refusal};
use crate::content::live::receiver::{Event, RawChunk, Receiver};
use crate::content::live::reorder::{Held, Item};
use crate::content::live::room::Room;
use crate::content::live::spool::{self, Kind, NAME_BYTES_MAX, Record, Spool, read_places};
use crate::content::live::window::{self, Source, Taken, Window};
use crate::media::live::{Broadcast, LiveSegment};
use crate::media::sample::SourceRange;
use crate::media::shift::{Shift, shifted};
use crate::time::Utc;

/// How often files of the spool that are old are looked for.
const FORGETS_EVERY: Duration = Duration::from_secs(10);
/// How often a spool that could not be written is tried again.
const TRIED_AGAIN: Duration = Duration::from_secs(1);
/// The most channels: each keeps its window in memory.
pub const CHANNELS_MAX: usize = 1024;
/// How many channels were opened.
static OPENED: AtomicU64 = AtomicU64::new(0);
/// A channel that has ended is forgotten so long after all that is kept of it is gone: its last window stays at its URL for who comes late.
pub const ENDED_STAYS: Duration = Duration::from_secs(24 * 3600);

/// How channels behave.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Options {
    /// Where spools are, a folder a channel; `None`: nothing survives the process.
    pub dir: Option<PathBuf>,
    /// Of every channel that is not listed.
    pub every: window::Options,
    /// Of those that are.
    pub named: BTreeMap<String, window::Options>,
    /// How much is kept of every channel that is not said otherwise of.
    pub archive: archive::Options,
    /// How much is kept of the others.
    pub archives: BTreeMap<String, archive::Options>,
    /// Whether a push may make a channel that is not listed.
    pub open: bool,
    /// The most bytes a second that are pushed to a channel, over ten seconds.
    pub bytes_s_max: u64,
    /// A file of a spool is left for the next when it has so many bytes: old media goes file by file.
    pub spool_file_bytes: u64,
    /// A write to a spool is waited for so long; then the channel goes on from memory until the disk is done.
    pub spool_patience: Duration,
}

impl Default for Options {
    fn default() -> Options {
        Options {
            dir: None,
            every: window::Options::default(),
            named: BTreeMap::new(),
            archive: archive::Options::default(),
            archives: BTreeMap::new(),
            open: false,
            // 400 Mb/s: a ladder, or one track of production quality.
            bytes_s_max: 48 << 20,
            // Some ten seconds of a ladder: a small part of what is kept.
            spool_file_bytes: 64 << 20,
            // Less than a chunk lasts, and a hundred times what a disk takes that is well.
            spool_patience: Duration::from_millis(400),
        }
    }
}

/// A channel.
#[derive(Debug)]
pub struct Channel {
    name: String,
    /// No other of this process has it, whatever its name.
    number: u64,
    dir: Option<PathBuf>,
    intake: Intake,
    /// What has left the window, if that is kept.
    shelf: Option<Shelf>,
    /// How long its media is kept.
    kept: Duration,
    /// Whether there was nothing of it before.
    is_new: bool,
    /// Held while the disk is waited for.
    state: Mutex<State>,
    /// What of it is asked for by who can't wait.
    told: Mutex<Told>,
    published: Published,
}

/// What is known of a channel without its state.
#[derive(Debug, Default)]
struct Told {
    /// The names under which something was pushed.
    names: Vec<String>,
    lease: Arc<Lease>,
}

#[derive(Debug)]
struct State {
    window: Window,
    /// The spool and the index of the archive, if there are any.
    disk: Option<Hand<Disk>>,
    /// By track: what waits for what comes before it.
    held: BTreeMap<String, Held<Waiting>>,
    /// Who pushes, and what is held of those that stand by.
    encoders: Encoders<Waiting>,
    /// By track: how the clock runs of whose media it is.
    drifts: BTreeMap<String, Drift>,
    beginnings: Beginnings,
    /// When writing failed last: that is said once, and what is written next says where the window stood.
    failed: Option<Utc>,
    /// Whether it is time for another file of the spool.
    is_full: bool,
    /// The state of the broadcast that the archive was told of last.
    noted: u64,
    /// When another file could not be begun last: that is said once.
    unrolled: Option<Utc>,
    kept: archive::Options,
    /// Whether another process goes on with it.
    is_given_up: bool,
    /// When old files were looked for last.
    forgot_at: Utc,
    /// Whether that, or noting in the archive, was not done in time: that is said once.
    is_behind: bool,
    /// Ends when something is not kept any more.
    lease: Arc<Lease>,
    /// Whether it has to end when the disk is done with what it was asked: files may have gone by that.
    owes_end: bool,
}

/// A record that waits, and what it was understood as.
#[derive(Debug)]
struct Waiting {
    record: Record,
    input: Input,
}

/// All channels.
#[derive(Debug, Default)]
pub struct Channels {
    options: Options,
    by_name: Mutex<BTreeMap<String, Arc<Channel>>>,
    /// Held while one is made: that is for a disk to do, and who only looks for one does not wait for it.
    making: Mutex<()>,
    pushes: AtomicU64,
    /// Whether another process goes on with them.
    are_given_up: AtomicBool,
}

/// Whether `name` may be a channel or a track: it is part of URLs and of paths.
pub fn is_name(name: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-');
    !name.is_empty() && name.len() <= NAME_BYTES_MAX && name.bytes().all(plain)
}

impl Channels {
    /// Those whose spools are there, read back, as of `now`. Blocks.
    pub fn open(options: Options, now: Utc) -> io::Result<Channels> {
        let channels = Channels::read_back(options)?;
        channels.tick(now);
        Ok(channels)
    }

    /// Those whose spools are there, as they were when those were written. Blocks.
    pub fn read_back(options: Options) -> io::Result<Channels> {
        let channels = Channels { options, ..Channels::default() };
        if let Some(dir) = &channels.options.dir {
            std::fs::create_dir_all(dir)?;
            for entry in std::fs::read_dir(dir)? {
                let entry = entry?;
                let name = entry.file_name().to_string_lossy().into_owned();
                // What else lies there is none of ours.
                if is_name(&name) && spool::has_files(&entry.path()) && channels.get_or_make(&name, true).is_ok() {
                    tracing::info!(channel = name, "read back");
                }
            }
        }
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

    /// Whether a push to `name` would be taken; nothing is made for it.
    pub fn takes(&self, name: &str) -> Result<(), Refusal> {
        match self.get(name) {
            Some(_) => Ok(()),
            None => self.may_make(name, self.options.open || self.options.named.contains_key(name)),
        }
    }

    fn may_make(&self, name: &str, may_make: bool) -> Result<(), Refusal> {
        if self.are_given_up.load(Ordering::Relaxed) {
            return Err(Refusal::Elsewhere);
        }
        if !may_make || !is_name(name) {
            return Err(Refusal::Conflict(format!("there is no channel {name}")));
        }
        if lock(&self.by_name).len() >= CHANNELS_MAX {
            return Err(Refusal::TooMuch(format!("{CHANNELS_MAX} channels are there already")));
        }
        Ok(())
    }

    fn get_or_make(&self, name: &str, may_make: bool) -> Result<Arc<Channel>, Refusal> {
        if let Some(channel) = self.get(name) {
            return Ok(channel);
        }
        let _making = lock(&self.making);
        if let Some(channel) = self.get(name) {
            return Ok(channel);
        }
        self.may_make(name, may_make)?;
        let options = self.options.named.get(name).unwrap_or(&self.options.every).clone();
        let dir = self.options.dir.as_ref().map(|dir| dir.join(name));
        let channel = Arc::new(Channel::open(name, options, dir.as_deref(), &self.options));
        lock(&self.by_name).insert(name.to_owned(), Arc::clone(&channel));
        Ok(channel)
    }

    /// A number for the next push.
    pub fn next_push(&self) -> u64 {
        self.pushes.fetch_add(1, Ordering::Relaxed) + 1
    }

    /// Time has passed. To be called every second or so. Blocks.
    pub fn tick(&self, now: Utc) {
        self.all().iter().for_each(|channel| channel.tick(now));
        self.forget(now);
    }

    /// Forgets channels that are over, as of `now`: their names may be used anew.
    fn forget(&self, now: Utc) {
        let _making = lock(&self.making);
        if self.are_given_up.load(Ordering::Relaxed) {
            return;
        }
        // Who pushes to one has it in hand, and so has who is answered.
        let is_over = |channel: &Arc<Channel>| Arc::strong_count(channel) == 1 && channel.is_over(now);
        let over: Vec<String> =
            lock(&self.by_name).iter().filter(|(_, channel)| is_over(channel)).map(|(name, _)| name.clone()).collect();
        for name in over {
            let Some(channel) = self.get(&name) else { continue };
            // As long as a disk is at work on it the name is taken.
            if !channel.give_up() {
                continue;
            }
            lock(&self.by_name).remove(&name);
            channel.lease().end(now);
            tracing::info!(channel = name, "it is over, and forgotten");
            if let Some(Err(error)) = channel.dir.as_deref().map(remove_files) {
                tracing::warn!(channel = name, %error, "not all of its folder could be removed");
            }
        }
    }

    /// Whether another process goes on with them.
    pub fn are_given_up(&self) -> bool {
        self.are_given_up.load(Ordering::Relaxed)
    }

    /// Takes nothing more and closes the spools, so that another process may go on with them; what was taken is served on. Whether all are
    /// closed: a disk may still be at work. Blocks.
    pub fn give_up(&self) -> bool {
        let _making = lock(&self.making);
        self.are_given_up.store(true, Ordering::Relaxed);
        // Each of them, whatever is the matter with another.
        self.all().iter().filter(|channel| !channel.give_up()).count() == 0
    }
}

impl Channel {
    /// The channel called `name`, as its spool in `dir` left it. A spool that cannot be had is said, and done without.
    pub fn open(name: &str, options: window::Options, dir: Option<&Path>, all: &Options) -> Channel {
        let mut back =
            ReadBack { channel: name, window: Window::new(options.clone()), records: 0, at: Utc(0), is_said: false };
        let needed_from = |checkpoint: &Record| Window::needed_by(&checkpoint.payload).unwrap_or(Utc(0));
        let each = |record: Record, place: SourceRange| back.take(record, place);
        let is_new = dir.is_none_or(|dir| !spool::has_files(dir));
        let opened = dir.map(|dir| Spool::open(dir, all.spool_file_bytes, needed_from, each));
        let mut spool = match opened.transpose() {
            Ok(spool) => spool,
            Err(error) => {
                tracing::error!(channel = name, %error, "the spool can't be used: nothing of the channel survives a restart");
                None
            }
        };
        let ReadBack { mut window, records, at, is_said, .. } = back;
        // The log says what holds for what follows, since reading it back has to do the same again.
        let is_otherwise = *window.options() != options;
        if is_otherwise && window.adopt(options, at) {
            tracing::warn!(
                channel = name,
                "segments, parts or the cadence are to be otherwise: what comes next is announced anew, and alone in its playlists"
            );
        }
        // What was closed for that is not open again for who comes next.
        if (records == 0 || is_otherwise)
            && let Some(Err(error)) =
                spool.as_mut().map(|spool| spool.append(&checkpoint(&window, Kind::Checkpoint, at)))
        {
            tracing::error!(channel = name, %error, "the spool can't be written");
        }
        let published = Published::new(window.broadcast());
        let dir = dir.map(Path::to_path_buf);
        let kept = *all.archives.get(name).unwrap_or(&all.archive);
        let (mut archive, mut shelf) = (None, None);
        if let Some(dir) = dir.as_ref().filter(|_| !kept.kept.is_zero() && spool.is_some()) {
            match Archive::open(dir) {
                Ok(opened) => (archive, shelf) = (Some(opened), Some(Shelf::of(dir))),
                Err(error) => tracing::error!(channel = name, %error, "the archive can't be used"),
            }
        }
        let disk = spool.map(|spool| Hand::of(Disk { spool, archive }, all.spool_patience)).transpose();
        let disk = disk.unwrap_or_else(|error| {
            tracing::error!(channel = name, %error, "there is no thread for the spool: nothing of the channel survives a restart");
            None
        });
        let mut state = State::new(window, disk, kept);
        state.is_full = records > 0 && (is_otherwise || !is_said);
        let told = Mutex::new(state.told());
        let intake = Intake::new(all.bytes_s_max);
        let kept = kept.kept;
        Channel {
            name: name.to_owned(),
            number: OPENED.fetch_add(1, Ordering::Relaxed),
            dir,
            intake,
            shelf,
            kept,
            is_new,
            state: Mutex::new(state),
            told,
            published,
        }
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// What tells it from every other, one of the same name before it, too.
    pub fn number(&self) -> u64 {
        self.number
    }

    /// What bounds its pushes.
    pub fn intake(&self) -> &Intake {
        &self.intake
    }

    /// The names under which something was pushed.
    pub fn tracks(&self) -> Vec<String> {
        lock(&self.told).names.clone()
    }

    /// What the encoder called `name` is, as of `now`: for [`Source::encoder`].
    pub fn encoder(&self, name: &str, now: Utc) -> u32 {
        lock(&self.state).encoders.enter(name, now)
    }

    /// Where the chunks of `track` lie that `encoder` pushes; it is given back by [`Channel::keep_room`].
    pub fn room(&self, track: &str, encoder: u32) -> Room {
        lock(&self.state).encoders.room(track, encoder)
    }

    /// A push of `track` by `encoder` is over, whose chunks lay in `room`: those of the next one do, too.
    pub fn keep_room(&self, track: &str, encoder: u32, room: Room) {
        lock(&self.state).encoders.keep_room(track, encoder, room);
    }

    /// The encoders that pushed to it, by name, as of `now`, and how often a track went on with another one.
    pub fn encoders(&self, now: Utc) -> (Vec<encoders::Figures>, u64) {
        let state = lock(&self.state);
        let active = |track: &str| state.window.standing(track).map(|standing| standing.encoder);
        (state.encoders.figures(active, state.window.silence(), now), state.encoders.takeovers())
    }

    /// How much later media of `track` comes than it did when it began, in milliseconds; `None` if that is not known yet.
    pub fn drift_ms(&self, track: &str) -> Option<i64> {
        lock(&self.state).drifts.get(track).and_then(Drift::ms)
    }

    /// What viewers see now.
    pub fn broadcast(&self) -> Arc<Broadcast> {
        self.published.newest()
    }

    /// Tells of every such `step` of the tracks called `track`, and of the end; what is there then may be a later state than that.
    ///
    /// # Panics
    /// Outside of a runtime.
    pub fn subscribe(&self, track: &str, step: Step) -> watch::Receiver<Arc<Broadcast>> {
        self.published.subscribe(track, step)
    }

    /// Whether nothing is to be had of it any more: it never began, or has ended long ago.
    fn is_over(&self, now: Utc) -> bool {
        let live = self.broadcast();
        let stays = self.kept.max(Duration::from_millis(2 * live.timing.window_ms)) + ENDED_STAYS;
        (self.is_new && lock(&self.told).names.is_empty()) || (live.ended && now > live.media_at.after(stays))
    }

    /// How many wait for what comes next.
    pub fn waiting(&self) -> usize {
        self.published.subscribed()
    }

    /// The bytes of `segment`, which are not in memory any more. Blocks.
    pub fn read(&self, segment: &LiveSegment) -> io::Result<Bytes> {
        let dir = self.dir.as_ref().ok_or_else(|| io::Error::other("there is no spool"))?;
        read_places(dir, &segment.places)
    }

    /// The stretch of the broadcast that `shift` names, as of `live`. Blocks.
    pub fn shifted(&self, live: &Broadcast, shift: &Shift) -> io::Result<Broadcast> {
        let is_settled = shift.is_settled(live);
        Ok(match &self.shelf {
            Some(shelf) => shifted(&shelf.with(live, shift)?, shift, is_settled),
            None => shifted(live, shift, is_settled),
        })
    }

    /// What has left the window, if that is kept.
    pub fn shelf(&self) -> Option<&Shelf> {
        self.shelf.as_ref()
    }

    /// Makes the folder `into`, which is not there yet, a presentation of the stretch that `shift` names. Blocks.
    pub fn clip(&self, shift: &Shift, into: &Path) -> io::Result<clip::Made> {
        let nothing = || io::Error::other(format!("no archive is kept of {}", self.name));
        let (dir, shelf) = self.dir.as_deref().zip(self.shelf.as_ref()).ok_or_else(nothing)?;
        clip::make(&shelf.stretch(shift)?.ok_or_else(nothing)?, dir, into)
    }

    /// A lease that ends when something is not kept any more.
    pub fn lease(&self) -> Arc<Lease> {
        Arc::clone(&lock(&self.told).lease)
    }

    /// Something came to `track`. Blocks for as long as the spool takes to write it.
    pub fn take(&self, track: &str, event: Event, source: Source, now: Utc) -> Result<Taken, Refusal> {
        let record = |kind, payload, source| Record { kind, at: now, track: track.to_owned(), source, payload };
        match event {
            Event::Init(bytes) => self.record(record(Kind::Init, bytes, source), None),
            Event::End => self.record(record(Kind::End, Bytes::new(), source), None),
            Event::Chunk(raw) => {
                let (kind, pieces) = {
                    let state = lock(&self.state);
                    let raw = state.window.whole(track, source.encoder, raw, now)?;
                    match state.window.init_by(track, source.encoder) {
                        // An archive and clips have what is served.
                        Some(init) if !init.is_verbatim() => (Kind::Served, vec![init.retimed(raw)?]),
                        _ => (Kind::Chunk, state.window.pieces(track, source.encoder, raw)?),
                    }
                };
                let mut taken = Taken::Dropped;
                for (index, piece) in pieces.into_iter().enumerate() {
                    let source = Source { begins_segment: source.begins_segment && index == 0, ..source };
                    match self.record(record(kind, piece.bytes.clone(), source), Some(piece))? {
                        Taken::Dropped => {}
                        other => taken = other,
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

    /// A push of `track` ended otherwise than well: its connection is gone, or it was refused.
    pub fn push_breaks(&self, track: &str, source: Source, now: Utc) {
        let Some(mut state) = self.own() else { return };
        state.breaks(&self.name, track, source, now);
        self.publish(&state);
    }

    /// Time has passed.
    pub fn tick(&self, now: Utc) {
        let Some(mut state) = self.own() else { return };
        state.stand_in(&self.name, now);
        for track in state.held.keys().cloned().collect::<Vec<_>>() {
            state.release(&self.name, &track, now);
        }
        if state.window.tick(now) {
            let source = Source::default();
            let record = Record { kind: Kind::Tick, at: now, track: String::new(), source, payload: Bytes::new() };
            state.append(&self.name, &record);
        }
        state.keep_up(&self.name, now);
        self.publish(&state);
    }

    /// Takes nothing more and closes its spool; whether that is closed.
    fn give_up(&self) -> bool {
        let mut state = lock(&self.state);
        state.is_given_up = true;
        let is_closed = state.disk.as_mut().is_none_or(Hand::end);
        if is_closed {
            state.disk = None;
        }
        is_closed
    }

    /// Its state, unless another process goes on with it.
    fn own(&self) -> Option<MutexGuard<'_, State>> {
        Some(lock(&self.state)).filter(|state| !state.is_given_up)
    }

    fn record(&self, mut record: Record, raw: Option<RawChunk>) -> Result<Taken, Refusal> {
        let mut state = self.own().ok_or(Refusal::Elsewhere)?;
        // What is not understood is not written; what is taken is written before anybody is told.
        let input = understood(&state.window, &record, raw)?;
        // Who pushes what will be held is told now, too.
        fits(&state.window, &record, &input, record.at)?;
        let input = state.count_from_media(&mut record, input);
        let taken = state.admit(&self.name, record, input);
        self.publish(&state);
        taken
    }

    fn publish(&self, state: &State) {
        let mut told = lock(&self.told);
        if !state.window.names().eq(told.names.iter()) || !Arc::ptr_eq(&told.lease, &state.lease) {
            *told = state.told();
        }
        drop(told);
        self.published.follow_with(state.window.broadcast());
    }
}

impl State {
    fn told(&self) -> Told {
        Told { names: self.window.names().map(str::to_owned).collect(), lease: Arc::clone(&self.lease) }
    }

    fn new(window: Window, disk: Option<Hand<Disk>>, kept: archive::Options) -> State {
        State {
            window,
            disk,
            held: BTreeMap::new(),
            encoders: Encoders::default(),
            drifts: BTreeMap::new(),
            beginnings: Beginnings::default(),
            failed: None,
            is_full: false,
            noted: 0,
            unrolled: None,
            kept,
            is_given_up: false,
            forgot_at: Utc(0),
            is_behind: false,
            lease: Arc::default(),
            owes_end: false,
        }
    }

    /// `input`, whose messages count from where the media does: they are written as they are served.
    fn count_from_media(&mut self, record: &mut Record, input: Input) -> Input {
        let Input::Chunk(chunk) = input else { return input };
        let Some(init) = self.window.init_by(&record.track, record.source.encoder) else { return Input::Chunk(chunk) };
        let chunk = self.beginnings.counting(&record.track, init, &record.source, chunk);
        if chunk.is_spooled {
            record.payload = chunk.bytes.clone();
        }
        Input::Chunk(chunk)
    }

    /// Takes `record`, or holds it until what comes before it has come.
    fn admit(&mut self, channel: &str, record: Record, input: Input) -> Result<Taken, Refusal> {
        let (track, now) = (record.track.clone(), record.at);
        let Some(waiting) = self.stand_by(channel, Waiting { record, input }, now) else { return Ok(Taken::Held) };
        let result = match self.hold(&track, waiting, now) {
            None => Ok(Taken::Held),
            Some(Waiting { record, input }) => {
                // What ends or changes a track comes after all that was pushed of it.
                if record.kind == Kind::End || self.changes(&record, &input) {
                    self.release_all(channel, &track, now);
                }
                self.take(channel, record, input)
            }
        };
        self.release(channel, &track, now);
        result
    }

    /// Whether with `record`, an initialization segment, the track is another: not if it is the same again, or holds for what stands by.
    fn changes(&self, record: &Record, input: &Input) -> bool {
        let Input::Init(init) = input else { return false };
        let is_same = self.window.init_of(&record.track).is_some_and(|own| own.face.version == init.face.version);
        !is_same && !self.window.is_of_another(&record.track, record.source.encoder)
    }

    /// Holds `what`, if that is what to do with it; else gives it back.
    fn hold(&mut self, track: &str, what: Waiting, now: Utc) -> Option<Waiting> {
        let push = what.record.source.push;
        match &what.input {
            Input::Chunk(chunk) if self.window.is_ahead(track, chunk, &what.record.source) => {
                let (time, end, bytes) = (chunk.decode_time, chunk.decode_end, chunk.bytes.len());
                let held = self.held.entry(track.to_owned()).or_default();
                held.put(Item { time, end, push, bytes, since: now, what }).err().map(|item| item.what)
            }
            Input::Nothing if what.record.kind == Kind::PushEnds => match self.held.get_mut(track) {
                Some(held) => held.put_after(push, now, what).err(),
                None => Some(what),
            },
            _ => Some(what),
        }
    }

    /// Takes what was held of `track` and waits no more.
    fn release(&mut self, channel: &str, track: &str, now: Utc) {
        loop {
            let Some(held) = self.held.get_mut(track) else { return };
            let (end, slack) = self.window.next_decode_time(track).unwrap_or((i64::MAX, 0));
            let next = match held.next(end, slack) {
                None if held.is_overdue(now) && self.hand_over(channel, track, Need::NoHole, now) => return,
                None => self.held.get_mut(track).and_then(|held| held.overdue(now)),
                next => next,
            };
            match next {
                Some(waiting) => self.take_held(channel, waiting, now),
                None => break,
            }
        }
        self.held.retain(|_, held| !held.is_empty());
    }

    /// Takes all that was held of `track`.
    fn release_all(&mut self, channel: &str, track: &str, now: Utc) {
        let Some(mut held) = self.held.remove(track) else { return };
        while let Some(waiting) = held.first() {
            self.take_held(channel, waiting, now);
        }
    }

    fn take_held(&mut self, channel: &str, Waiting { record, input }: Waiting, now: Utc) {
        // Who pushed it was told that it is taken.
        if let Err(error) = self.take(channel, Record { at: now, ..record }, input) {
            tracing::warn!(channel, %error, "what was held is not taken");
        }
    }

    fn take(&mut self, channel: &str, record: Record, input: Input) -> Result<Taken, Refusal> {
        // While it was held something else may have been announced.
        fits(&self.window, &record, &input, record.at)?;
        let place = self.append(channel, &record);
        let (track, encoder) = (record.track.clone(), record.source.encoder);
        let (now, ends) = (record.at, self.end_ms(&record, &input));
        let before = self.window.next_number(&track);
        let (is_chunk, is_init) = (record.kind.is_chunk(), record.kind == Kind::Init);
        let (source, ends_push) = (record.source, record.kind == Kind::PushEnds);
        let taken = apply(&mut self.window, record, input, place);
        if is_chunk && self.window.next_number(&track) != before {
            self.encoders.gave(encoder);
        }
        if is_init {
            self.forget_names();
        }
        if let (Some(ends), Ok(Taken::Added)) = (ends, &taken)
            && let Some(drift_ms) = self.drifts.entry(track.clone()).or_default().came(ends, now)
        {
            tracing::warn!(
                channel,
                track,
                drift_ms,
                "the encoder's clock drifts: media comes later by so much than it did"
            );
        }
        if let Some(standing) = self.window.standing(&track) {
            self.encoders.let_go(&track, &standing);
        }
        if ends_push && self.was_last(&track, source) && self.ends(channel, &track, source, now) {
            self.end(channel, &track, source, now);
        }
        taken
    }

    /// What is known of tracks that made room for others goes.
    fn forget_names(&mut self) {
        let names: BTreeSet<&str> = self.window.names().collect();
        self.drifts.retain(|track, _| names.contains(track.as_str()));
        self.beginnings.forget_others(|track| names.contains(track));
        self.encoders.forget_others(|track| names.contains(track));
    }

    /// When `input` ends on its own clock, in milliseconds, if it is a chunk of media.
    fn end_ms(&self, record: &Record, input: &Input) -> Option<i64> {
        let Input::Chunk(chunk) = input else { return None };
        let init = self.window.init_by(&record.track, record.source.encoder)?;
        init.events.is_none().then(|| init.ms(chunk.end))
    }
}

/// A channel whose spool is being read back.
struct ReadBack<'a> {
    channel: &'a str,
    window: Window,
    /// How many came.
    records: u64,
    /// When the last of them did.
    at: Utc,
    /// Whether the log says how the channel behaved.
    is_said: bool,
}

impl ReadBack<'_> {
    fn take(&mut self, record: Record, place: SourceRange) {
        let channel = self.channel;
        self.at = self.at.max(record.at);
        self.records += 1;
        if !matches!(record.kind, Kind::Checkpoint | Kind::Resumed) {
            if let Err(error) = replay(&mut self.window, record, place) {
                tracing::warn!(channel, %error, "a record of the spool is not taken");
            }
            return;
        }
        let said = Window::options_of(&record.payload);
        self.is_said = said.is_some();
        let options = self.window.options().clone();
        let restored = match record.kind {
            Kind::Resumed => Window::resumed(options, &record.payload),
            _ if self.records == 1 => Window::restored(options, &record.payload),
            // What else it says has been done again already.
            _ => {
                if let Some(options) = said {
                    self.window.adopt(options, record.at);
                }
                return;
            }
        };
        match restored {
            Some(restored) => self.window = restored,
            None => tracing::warn!(channel, "a checkpoint of the spool can't be read"),
        }
    }
}

/// What `window` is, as a record.
fn checkpoint(window: &Window, kind: Kind, at: Utc) -> Record {
    let source = Source::default();
    Record { kind, at, track: String::new(), source, payload: Bytes::from(window.checkpoint()) }
}

/// A record, understood.
#[derive(Debug)]
enum Input {
    Init(Box<Init>),
    Chunk(Chunk),
    Nothing,
}

fn understood(window: &Window, record: &Record, raw: Option<RawChunk>) -> Result<Input, Refusal> {
    Ok(match (record.kind, raw) {
        (Kind::Init, _) => Input::Init(Box::new(Init::read(record.payload.clone(), &record.track)?)),
        (Kind::Chunk, Some(raw)) => {
            let init = window.init_by(&record.track, record.source.encoder).ok_or(Refusal::NoInit)?;
            Input::Chunk(init.chunk(raw)?)
        }
        (Kind::Served, Some(raw)) => {
            let init = window.init_by(&record.track, record.source.encoder).ok_or(Refusal::NoInit)?;
            Input::Chunk(init.served(raw)?)
        }
        _ => Input::Nothing,
    })
}

/// Whether what `record` was understood as can be part of what is announced, as of `now`. What the log has was taken, and is not asked.
fn fits(window: &Window, record: &Record, input: &Input, now: Utc) -> Result<(), Refusal> {
    let (Input::Chunk(chunk), Some(init)) = (input, window.init_by(&record.track, record.source.encoder)) else {
        return Ok(());
    };
    window.fits(&record.track, init, chunk, &record.source, now)
}

/// What `record` comes to that was understood as `input`.
fn apply(window: &mut Window, record: Record, input: Input, place: Option<SourceRange>) -> Result<Taken, Refusal> {
    let Record { kind, at, track, source, .. } = record;
    match (kind, input) {
        (_, Input::Init(init)) => window.init(&track, *init, source.encoder, at)?,
        (_, Input::Chunk(chunk)) => return window.chunk(&track, chunk, source, place, at),
        (Kind::PushEnds, _) => window.push_ends(&track, source, at),
        (Kind::End, _) => window.end(&track, at),
        (Kind::Tick, _) => {
            window.tick(at);
        }
        (Kind::Checkpoint | Kind::Resumed | Kind::Init | Kind::Chunk | Kind::Served, _) => {}
    }
    Ok(Taken::Added)
}

/// Does again what `record`, which lies at `place` in the spool, says was done.
fn replay(window: &mut Window, record: Record, place: SourceRange) -> Result<(), Refusal> {
    let (mut receiver, mut events) = (Receiver::default(), Vec::new());
    if record.kind.is_chunk() {
        receiver.push(&record.payload, &mut events)?;
    }
    let raw = events.into_iter().find_map(|event| match event {
        Event::Chunk(raw) => Some(raw),
        _ => None,
    });
    let input = understood(window, &record, raw)?;
    apply(window, record, input, Some(place)).map(|_| ())
}

/// Removes what a channel has in `dir`, and `dir` itself if nothing else is in it.
fn remove_files(dir: &Path) -> io::Result<()> {
    for entry in std::fs::read_dir(dir)? {
        let path = entry?.path();
        if ["spool", "index"].iter().any(|extension| spool::number_of(&path, extension).is_some()) {
            std::fs::remove_file(path)?;
        }
    }
    std::fs::remove_dir(dir)
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // Each change is made whole or not at all: states are values that are put in place last.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::sync::atomic::AtomicBool;

    use super::*;
    use crate::content::live::spool::Sink;
    use crate::formats::isobmff::fragment::{NewFragment, RunSample};

    pub(super) const NOW: Utc = Utc(1_900_000_000_000);

    /// A disk that is full while `is_full` says so.
    #[derive(Debug)]
    struct Full(Box<dyn Sink>, Arc<AtomicBool>);

    impl Write for Full {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            match self.1.load(Ordering::Relaxed) {
                true => Err(io::ErrorKind::StorageFull.into()),
                false => self.0.write(bytes),
            }
        }

        fn flush(&mut self) -> io::Result<()> {
            self.0.flush()
        }
    }

    impl Sink for Full {
        fn cut(&self, len: u64) -> io::Result<()> {
            self.0.cut(len)
        }
    }

    /// Has the spool of `channel` written through what `wrap` makes of its file.
    pub(super) fn through(channel: &Channel, wrap: impl FnOnce(Box<dyn Sink>) -> Box<dyn Sink>) {
        let mut state = lock(&channel.state);
        let disk = state.disk.as_mut().expect("a spool");
        disk.map(|disk| Disk { spool: disk.spool.through(wrap), ..disk });
    }

    fn open(dir: &Path, spool_patience: Duration) -> Channel {
        Channel::open("tv", window::Options::default(), Some(dir), &Options { spool_patience, ..Options::default() })
    }

    /// Has the spool of `channel` lie on a disk that may become full; says so.
    pub(super) fn on_a_disk(channel: &Channel) -> Arc<AtomicBool> {
        let is_full = Arc::<AtomicBool>::default();
        through(channel, |file| Box::new(Full(file, Arc::clone(&is_full))));
        is_full
    }

    pub(super) fn init() -> Event {
        let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata/packaging/video/init.mp4");
        Event::Init(Bytes::from(std::fs::read(file).expect("a file of the repository")))
    }

    /// Half a second of video, the `index`th; every fourth begins a GOP.
    pub(super) fn chunk(index: u64) -> Event {
        let sample = |at: u64| {
            let flags = if index.is_multiple_of(4) && at == 0 { 0x0200_0000 } else { 0x0101_0000 };
            RunSample { duration: 512, size: 10, flags, composition_offset: 1024 }
        };
        let fragment = NewFragment {
            sequence_number: index as u32 + 1,
            track_id: 1,
            description_index: 1,
            base_media_decode_time: index * 12 * 512,
            samples: (0..12).map(sample).collect(),
            ..NewFragment::default()
        };
        let mut bytes = fragment.write();
        bytes.extend((0..120).map(|at| (at as u64 + index) as u8));
        let (mut receiver, mut events) = (Receiver::default(), Vec::new());
        receiver.push(&bytes, &mut events).expect("a chunk");
        events.remove(0)
    }

    pub(super) fn at(index: u64) -> Utc {
        Utc(NOW.0 + (index + 1) * 500)
    }

    pub(super) const PUSH: Source = Source { encoder: 0, push: 1, begins_segment: false, named_segments: false };

    /// Number, time and whether it is a gap, of all that is listed.
    pub(super) fn listed(channel: &Channel) -> Vec<(u64, i64, bool)> {
        let broadcast = channel.broadcast();
        let tracks = broadcast.tracks_called("v").map(|(_, track)| Arc::clone(track)).collect::<Vec<_>>();
        let segments = tracks.iter().flat_map(|track| track.listed().cloned().collect::<Vec<_>>());
        segments.map(|segment| (segment.number, segment.time, segment.is_gap)).collect()
    }

    #[test]
    fn a_full_disk_ends_no_broadcast_and_what_was_not_written_is_a_gap_after_a_restart() {
        let dir = tempfile::tempdir().expect("a folder");
        let open = || open(dir.path(), Duration::from_secs(60));
        let channel = open();
        let is_full = on_a_disk(&channel);
        channel.take("v", init(), PUSH, NOW).expect("taken");
        for index in 0..22 {
            // In the middle of the third segment, for a second and a half.
            is_full.store((9..12).contains(&index), Ordering::Relaxed);
            channel.take("v", chunk(index), PUSH, at(index)).expect("taken");
        }
        let before = listed(&channel);
        let ticks = |segment: i64| segment * 48 * 512;
        assert_eq!(before, (0..5).map(|n| (n as u64, ticks(n), false)).collect::<Vec<_>>());
        let edge = channel.broadcast().tracks_called("v").last().map(|(_, track)| track.next_number);
        drop(channel);
        let channel = open();
        // Writing went on within the fourth.
        assert_eq!(listed(&channel), [(3, ticks(3), true), (4, ticks(4), false)]);
        assert_eq!(channel.broadcast().tracks_called("v").last().map(|(_, track)| track.next_number), edge);
        channel.take("v", chunk(22), PUSH, at(22)).expect("taken");
    }

    #[test]
    fn what_ends_within_a_segment_that_was_not_written_is_a_gap_of_the_same_number() {
        let dir = tempfile::tempdir().expect("a folder");
        let open = || open(dir.path(), Duration::from_secs(60));
        let channel = open();
        let is_full = on_a_disk(&channel);
        channel.take("v", init(), PUSH, NOW).expect("taken");
        for index in 0..22 {
            // One chunk, and the next, because nobody tries again within a second.
            is_full.store(index == 8, Ordering::Relaxed);
            channel.take("v", chunk(index), PUSH, at(index)).expect("taken");
        }
        let ticks = |segment: i64| segment * 48 * 512;
        let spooled = channel
            .broadcast()
            .tracks_called("v")
            .last()
            .map(|(_, track)| track.segments.iter().map(|segment| !segment.places.is_empty()).collect::<Vec<_>>());
        assert_eq!(spooled, Some(vec![true, true, false, true, true]), "from memory alone");
        let channel = open();
        assert_eq!(listed(&channel), [(2, ticks(2), true), (3, ticks(3), false), (4, ticks(4), false)]);
    }

    /// A disk that does not get on while somebody holds the lock.
    #[derive(Debug)]
    struct Slow(Box<dyn Sink>, Arc<Mutex<()>>);

    impl Write for Slow {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let _held = lock(&self.1);
            self.0.write(bytes)
        }

        fn flush(&mut self) -> io::Result<()> {
            self.0.flush()
        }
    }

    impl Sink for Slow {
        fn cut(&self, len: u64) -> io::Result<()> {
            self.0.cut(len)
        }
    }

    #[test]
    fn a_slow_disk_holds_nobody_up() {
        let dir = tempfile::tempdir().expect("a folder");
        // What is in time and what is not does not depend on how fast this machine is: a disk that is held is waited for a moment.
        let channel = open(dir.path(), Duration::from_secs(60));
        let disk = Arc::<Mutex<()>>::default();
        through(&channel, |file| Box::new(Slow(file, Arc::clone(&disk))));
        let patience = |length| lock(&channel.state).disk.as_mut().expect("a spool").wait(length);
        channel.take("v", init(), PUSH, NOW).expect("taken");
        let mut held = None;
        for index in 0..22 {
            // From the middle of the third segment on, for two seconds and a half.
            if index == 9 {
                held = Some(lock(&disk));
                patience(Duration::from_millis(1));
            }
            if index == 14 {
                held = None;
                patience(Duration::from_secs(60));
                lock(&channel.state).disk.as_mut().expect("a spool").settle();
            }
            channel.take("v", chunk(index), PUSH, at(index)).expect("taken");
        }
        assert!(held.is_none());
        let ticks = |segment: i64| segment * 48 * 512;
        assert_eq!(listed(&channel), (0..5).map(|n| (n as u64, ticks(n), false)).collect::<Vec<_>>());
        let spooled = channel
            .broadcast()
            .tracks_called("v")
            .last()
            .map(|(_, track)| track.segments.iter().map(|segment| !segment.places.is_empty()).collect::<Vec<_>>());
        assert_eq!(spooled, Some(vec![true, true, false, false, true]), "from memory alone");
        drop(channel);
        // The chunk that was late is in the log; those after it are not, and are a gap.
        let channel = open(dir.path(), Duration::from_secs(60));
        assert_eq!(listed(&channel), [(3, ticks(3), true), (4, ticks(4), false)]);
    }
}
