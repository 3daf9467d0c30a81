//! `headwater serve`: from configuration to a running server, and what it says at its start.

use std::error::Error;
use std::io::{self, IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::pin::pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::runtime::Runtime;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{Notify, mpsc};
use tokio::task::JoinHandle;
use tracing_subscriber::EnvFilter;

use crate::cache::disk::Disk;
use crate::cli::config::{filter, filter_with_spans, load, unknown_variables};
use crate::cli::notify::{READY, STOPPING, notify};
use crate::cli::shelves;
use crate::cli::traces::Traces;
use crate::config::Config;
use crate::config::keys::{self, Change};
use crate::config::live;
use crate::config::machine::Machine;
use crate::config::quantity::readable_bytes;
use crate::config::written::{LogFormat, Written};
use crate::content::library::{self, Library};
use crate::content::live::channel::{self, Channels};
use crate::content::live::continuity;
use crate::content::live::custody::{Custody, Turn};
use crate::content::remote::index::FILES_AT_ONCE;
use crate::content::remote::shelf::JUDGED_AT_ONCE;
use crate::origin::listing::{Listing, PeriodListing, TrackListing};
use crate::origin::serve::Origin;
use crate::server::access_log::AccessLog;
use crate::server::clock::{Clock, Now, Readings, utc};
use crate::server::inherited::Inherited;
use crate::server::reload::{self, Call, Reloaded};
use crate::server::run::{Server, stop_signal};
use crate::server::state::Current;
use crate::telemetry::Telemetry;

/// Presentations shown with their tracks; the page shows them all.
const SHOWN_MAX: usize = 8;
/// Warnings shown of a presentation.
const WARNINGS_SHOWN_MAX: usize = 3;
/// Presentations opened before serving begins, to say how they are; of a larger library the others are opened when they are asked
/// for.
const OPENED_MAX: usize = 100;
/// Threads that may block, beside those that wait for sources: for what encoders push, the disk of the second tier, names of hosts, and the looks of a
/// server at its folders and files.
const SPARE_THREADS: usize = 48;
/// How often caches evict what is above their ceilings: a burst of a second is what they may exceed them by.
const SETTLE: Duration = Duration::from_secs(1);
/// How often segments leave the windows of channels: a segment is seldom shorter.
const TICK: Duration = Duration::from_millis(500);
/// What is kept of how the clock stands is so near to it, in microseconds: players do not notice when it is led by as much.
const KEPT_WITHIN_US: u64 = 50_000;
/// From a time when it could not be kept to the next try.
const KEPT_AGAIN: Duration = Duration::from_secs(30);
/// How often a folder is tried that another process has.
const LOCKED_WAIT: Duration = Duration::from_millis(50);
/// Time for reads under way when the server has ended.
const SHUTDOWN: Duration = Duration::from_secs(1);

/// Serves `target` until a signal says to stop.
pub fn run(target: &Path, options: Written) -> Result<(), Box<dyn Error>> {
    let config = load(target, options.clone(), Machine::read())?;
    let traces = Traces::of_environment()?;
    let set_filter = log(&config, traces.as_ref())?;
    for variable in unknown_variables() {
        tracing::warn!(variable, "no key has this name; it is not used");
    }
    let runtime = runtime(&config)?;
    let site = Site { target: target.to_owned(), options, set_filter, has_spans: traces.is_some() };
    let result = runtime.block_on(serve(config, site));
    // A read that storage does not answer must not keep an ended server.
    runtime.shutdown_timeout(SHUTDOWN);
    if let Some(traces) = traces {
        traces.end();
    }
    result
}

async fn serve(mut config: Config, site: Site) -> Result<(), Box<dyn Error>> {
    let telemetry = Arc::<Telemetry>::default();
    let (origin, clock, held) = open(&config, &telemetry).await?;
    let (custody, turn) = held.unzip();
    let look = Arc::<Notify>::default();
    tokio::spawn(keep(Arc::clone(&origin), Arc::clone(&clock), Arc::clone(&look)));
    tokio::spawn(settle(Arc::clone(&origin), Arc::clone(&clock)));
    tokio::spawn(tick(Arc::clone(&origin), Arc::clone(&clock), config.live.dir.clone()));
    let inherited = Inherited::take().map_err(|error| format!("LISTEN_FDS: {error}"))?;
    let (options, counts) = (config.server.clone(), Arc::clone(&telemetry));
    let server = Server::take(inherited, options, origin.clone(), counts, Arc::clone(&clock))?;
    let access_log = AccessLog::open(&config.access_log, &telemetry).map_err(|error| {
        format!("access-log: {}: {error}", config.access_log.path.clone().unwrap_or_default().display())
    })?;
    server.current().set_access_log(access_log.clone());
    let (reloader, calls) = reload::channel();
    server.current().set_reloader(reloader);
    tokio::spawn(site.reload_when_asked(config.clone(), server.current(), telemetry, look, calls));
    let (media, admin, ingest) = (server.media_url(), server.admin_url(), server.ingest_url());
    config.server.tls.listen = server.tls_address();
    let count = origin.library().catalog().entries.len();
    let (channels, patience) = (Arc::clone(origin.channels()), config.server.drain_timeout);
    let mut serving = pin!(server.run(async move {
        if let Err(error) = stop_signal().await {
            tracing::error!(%error, "signals_unavailable");
            std::future::pending().await
        }
        notify(STOPPING);
        if let Some(custody) = custody {
            hand_over(channels, custody, patience).await;
        }
        tracing::info!("draining");
    }));
    // Whose folder it was serves until then.
    drop(turn);
    notify(READY);
    // Serving begins at once: opening what is greeted with may wait for slow storage.
    let greeting = async {
        let opened = origin.listings(None, OPENED_MAX, clock.now().live).await;
        let mut out = io::stdout().lock();
        greet(&mut out, &config, count, &opened, &media, [ingest.as_deref(), admin.as_deref()])?;
        out.flush()
    };
    let left = tokio::select! {
        left = &mut serving => left,
        greeted = greeting => {
            greeted?;
            tracing::info!(media, admin, cache_bytes = config.origin.cache_bytes, threads = config.threads, "serving");
            serving.await
        }
    };
    if tokio::time::timeout(SHUTDOWN, origin.end()).await.is_err() {
        tracing::warn!("not all media that was read last is on disk");
    }
    if let Some(log) = access_log {
        tokio::task::spawn_blocking(move || log.close()).await?;
    }
    tracing::info!(connections_cut = left, "ended");
    Ok(())
}

/// Where the configuration comes from, to read it again.
struct Site {
    target: PathBuf,
    options: Written,
    set_filter: SetFilter,
    /// Whether spans are sent, whatever is logged.
    has_spans: bool,
}

/// Changes what of the log is written.
type SetFilter = Box<dyn Fn(EnvFilter) -> Result<(), String> + Send + Sync>;

impl Site {
    /// At each SIGHUP, and when a call asks for it, puts what has changed of `config` into use, or says why not; and has the library
    /// looked at.
    async fn reload_when_asked(
        self,
        mut config: Config,
        current: Arc<Current>,
        telemetry: Arc<Telemetry>,
        look: Arc<Notify>,
        mut calls: mpsc::Receiver<Call>,
    ) {
        let mut hangups = match signal(SignalKind::hangup()) {
            Ok(hangups) => hangups,
            Err(error) => return tracing::error!(%error, "signals_unavailable"),
        };
        loop {
            let call = tokio::select! {
                Some(()) = hangups.recv() => None,
                Some(call) = calls.recv() => Some(call),
                else => return,
            };
            look.notify_one();
            if let Some(log) = &current.get().access_log {
                log.reopen();
            }
            let result = match self.reload(&config, &current) {
                Ok((taken, reloaded)) => {
                    telemetry.config_reloads.inc();
                    config = taken;
                    Ok(reloaded)
                }
                Err(error) => {
                    telemetry.config_reloads_refused.inc();
                    tracing::error!(error, "configuration_refused");
                    Err(error)
                }
            };
            if let Some(call) = call {
                call.answer(result);
            }
        }
    }

    /// What is in use after it was read again, and put into use where that can be done; and what that changed.
    fn reload(&self, config: &Config, current: &Current) -> Result<(Config, Reloaded), String> {
        let new = load(&self.target, self.options.clone(), config.machine).map_err(|error| error.to_string())?;
        let taken = config.taking_over(&new);
        // The listener stays where it is until a restart, and may be for everybody where the new one would not be.
        live::guard(&taken.live, &taken.server.ingest).map_err(|error| error.to_string())?;
        (self.set_filter)(if self.has_spans { filter_with_spans(&new) } else { filter(&new) }?)?;
        let names = |changes: Vec<Change>| changes.iter().map(ToString::to_string).collect::<Vec<_>>();
        current.set_options(taken.server.clone());
        let (changed, needs_restart) = (names(keys::changes(config, &taken)), names(keys::changes(&taken, &new)));
        tracing::info!(changed = changed.join(" "), needs_restart = needs_restart.join(" "), "configuration_reloaded");
        Ok((taken, Reloaded { changed, needs_restart }))
    }
}

/// Waits until `dir` is this process's. Another one that has it goes on until it is told to end: nothing is listened to before, as who asked
/// here would find no channel.
async fn hold(dir: &Path) -> io::Result<(Custody, Turn)> {
    let mut has_said = false;
    let mut turn = None;
    loop {
        if turn.is_none() {
            let dir = dir.to_path_buf();
            turn = blocking(move || Turn::take(&dir)).await?;
        }
        if let Some(own) = turn.take() {
            let (own, custody) = blocking(move || own.custody().map(|custody| (own, custody))).await?;
            if let Some(custody) = custody {
                return Ok((custody, own));
            }
            turn = Some(own);
        }
        if !std::mem::replace(&mut has_said, true) {
            let folder = dir.display();
            tracing::warn!(%folder, "another process has the folder of what is live: this one serves when that is told to end");
        }
        tokio::time::sleep(LOCKED_WAIT).await;
    }
}

/// Lets go of the folder of what is live if another process waits for it, and returns when that serves, or `patience` is over. Else
/// what is pushed is taken until the end.
async fn hand_over(channels: Arc<Channels>, custody: Custody, patience: Duration) {
    let dir = custody.dir().to_path_buf();
    let is_awaited = || {
        let dir = dir.clone();
        async move { blocking(move || Custody::is_awaited(&dir)).await.unwrap_or(false) }
    };
    if !is_awaited().await {
        // Held to the end of the process.
        return std::mem::forget(custody);
    }
    tracing::info!("another process goes on with what is live");
    if !blocking(move || Ok(channels.give_up())).await.unwrap_or(false) {
        tracing::warn!("a spool is still written: it is let go of at the end");
        return std::mem::forget(custody);
    }
    drop(custody);
    let serves = async {
        while is_awaited().await {
            tokio::time::sleep(LOCKED_WAIT).await;
        }
    };
    if tokio::time::timeout(patience, serves).await.is_err() {
        tracing::warn!("the process that goes on does not serve yet");
    }
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> io::Result<T> + Send + 'static) -> io::Result<T> {
    tokio::task::spawn_blocking(work).await.map_err(io::Error::other)?
}

/// The origin for the library that `config` names, looked at once; the clock; and the folder of what is live, if there is one.
async fn open(
    config: &Config,
    telemetry: &Arc<Telemetry>,
) -> Result<(Arc<Origin>, Arc<Clock>, Option<(Custody, Turn)>), Box<dyn Error>> {
    let shelves = shelves::connect(config, telemetry)?;
    let library = Arc::new(Library::with_shelves(config.library.clone(), shelves));
    let wall = || Now { live: utc(), wall: utc() };
    rescan(&library, wall()).await?;
    if library.catalog().is_unsettled {
        // Files that were written just now: a moment later it shows whether they still grow.
        tokio::time::sleep(library::REST).await;
        rescan(&library, wall()).await?;
    }
    let live = config.live.clone();
    // Last, as another process may serve until then.
    let held = match &live.dir {
        Some(dir) => Some(hold(dir).await.map_err(|error| format!("data-dir: {error}"))?),
        None => None,
    };
    let opened = blocking(move || on_air(live)).await.map_err(|error| format!("data-dir: {error}"))?;
    let (channels, clock) = opened;
    let origin = Origin::new(library, config.origin.clone(), Arc::clone(telemetry)).broadcasting(channels);
    Ok((Arc::new(origin.keeping(media_disk(config, telemetry))), clock, held))
}

/// The channels, read back, and the clock that they go on by.
fn on_air(live: channel::Options) -> io::Result<(Arc<Channels>, Arc<Clock>)> {
    let ahead_us = live.dir.as_deref().and_then(continuity::kept);
    let channels = Channels::read_back(live)?;
    let clock = Clock::resumed(Readings::take(), ahead_us, |now| channels.under_way(now));
    channels.tick(clock.now().live);
    Ok((Arc::new(channels), Arc::new(clock)))
}

/// The disk for media of storages, if there is to be one. It is opened while serving begins, and does without it if it can't be.
fn media_disk(config: &Config, telemetry: &Arc<Telemetry>) -> Option<Arc<Disk>> {
    let storage = &config.storage;
    let folder = storage.media_cache_dir.as_ref().filter(|_| !storage.places.is_empty())?;
    let disk = Arc::new(Disk::new(folder.clone(), storage.media_cache_bytes, Arc::clone(telemetry)));
    let (opening, shown) = (Arc::clone(&disk), folder.display().to_string());
    tokio::spawn(async move {
        match opening.open().await {
            Ok(()) => tracing::info!(folder = shown, "media of storages is kept on disk"),
            Err(error) => tracing::error!(folder = shown, %error, "media of storages is not kept on disk"),
        }
    });
    Some(disk)
}

async fn rescan(library: &Arc<Library>, Now { live, wall }: Now) -> io::Result<()> {
    let library = Arc::clone(library);
    let before = library.catalog();
    let scan = tokio::task::spawn_blocking(move || library.rescan_at(live, wall).map(|()| library));
    let library = scan.await.map_err(io::Error::other)??;
    let after = library.catalog();
    for warning in after.warnings.iter().filter(|warning| !before.warnings.contains(warning)) {
        tracing::warn!("{warning}");
    }
    Ok(())
}

/// Lets the caches settle, as long as the server runs.
async fn settle(origin: Arc<Origin>, clock: Arc<Clock>) {
    loop {
        tokio::time::sleep(SETTLE).await;
        origin.settle(clock.now().live).await;
    }
}

/// Looks for changed files, at once when told to, as long as the server runs. A look at a mount that hangs does not end.
async fn keep(origin: Arc<Origin>, clock: Arc<Clock>, look: Arc<Notify>) {
    let interval = origin.library().options().scan_interval;
    let (mut wait, mut scanned) = (interval, Instant::now());
    loop {
        let is_told = tokio::time::timeout(Duration::from_secs(1).min(interval), look.notified()).await.is_ok();
        if scanned.elapsed() < wait && !is_told {
            continue;
        }
        let began = Instant::now();
        if let Err(error) = rescan(origin.library(), clock.now()).await {
            tracing::warn!(%error, "the library can't be looked at; what was found before is served");
        }
        scanned = Instant::now();
        // A large library, or a slow one, is looked at less often: for a fiftieth of the time at most.
        wait = interval.max(50 * (scanned - began));
    }
}

/// Lets time pass for what is live, and has the clock follow the wall clock; the folder `dir` keeps how they stand.
async fn tick(origin: Arc<Origin>, clock: Arc<Clock>, dir: Option<PathBuf>) {
    let mut kept_us = None;
    let mut keeping: Option<JoinHandle<bool>> = None;
    let mut kept_again = Instant::now();
    loop {
        tokio::time::sleep(TICK).await;
        let (channels, ticking) = (Arc::clone(origin.channels()), Arc::clone(&clock));
        // A channel waits for its disk.
        if let Err(error) = tokio::task::spawn_blocking(move || channels.tick(ticking.now().live)).await {
            tracing::error!(%error, "a tick of the channels failed");
        }
        let readings = Readings::take();
        let apart_us = clock.steer(readings, &origin.channels().under_way(clock.now().live));
        origin.telemetry().clock_offset_seconds.set_ms(apart_us / 1000);
        let ahead_us = clock.ahead_us(readings.steady_us);
        if let Some(done) = keeping.take_if(|keeping| keeping.is_finished())
            && !done.await.unwrap_or(false)
        {
            (kept_us, kept_again) = (None, Instant::now() + KEPT_AGAIN);
        }
        let is_kept = kept_us.is_some_and(|kept_us: i64| kept_us.abs_diff(ahead_us) < KEPT_WITHIN_US);
        // Nobody waits for it, and not for two at once; who goes on with the folder keeps its own.
        let may_keep = keeping.is_none() && Instant::now() >= kept_again && !origin.channels().are_given_up();
        if let Some(dir) = dir.clone().filter(|_| !is_kept && may_keep) {
            kept_us = Some(ahead_us);
            keeping = Some(tokio::task::spawn_blocking(move || {
                let kept = continuity::keep(&dir, ahead_us);
                if let Err(error) = &kept {
                    tracing::warn!(%error, "how the clock stands can't be kept: a restart would begin by the wall clock");
                }
                kept.is_ok()
            }));
        }
    }
}

/// One thread runs everything itself, which spares the hand-over between threads (measured at 6 to 12 % of a request); more
/// share one runtime, because a runtime a core gained nothing measurable and leaves cores idle when few connections are busy.
///
/// Of the threads that may block, more than all that may wait for sources together: what hangs then never keeps live, admin calls or other sources
/// waiting. They come when they are needed, and go when they are not.
fn runtime(config: &Config) -> io::Result<Runtime> {
    let (roots, storages) = (config.library.roots.len(), config.storage.places.len());
    let waiting =
        Origin::waiting_threads_max(&config.origin, roots, storages) + storages * JUDGED_AT_ONCE + FILES_AT_ONCE;
    let blocking = waiting + SPARE_THREADS;
    let mut builder = match config.threads {
        1 => tokio::runtime::Builder::new_current_thread(),
        _ => tokio::runtime::Builder::new_multi_thread(),
    };
    builder.worker_threads(config.threads).max_blocking_threads(blocking).enable_all().build()
}

/// Sends the log to the standard error stream; what is returned changes what of it is written.
fn log(config: &Config, traces: Option<&Traces>) -> Result<SetFilter, Box<dyn Error>> {
    let filter = if traces.is_some() { filter_with_spans(config) } else { filter(config) }?;
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(io::stderr);
    let is_terminal = io::stderr().is_terminal();
    let is_text = config.log_format == LogFormat::Text || (config.log_format == LogFormat::Auto && is_terminal);
    Ok(if is_text {
        let builder = builder.with_ansi(is_terminal).with_filter_reloading();
        let handle = builder.reload_handle();
        Traces::install(traces, builder.finish());
        Box::new(move |filter| handle.reload(filter).map_err(|error| error.to_string()))
    } else {
        let builder = builder.json().flatten_event(true).with_filter_reloading();
        let handle = builder.reload_handle();
        Traces::install(traces, builder.finish());
        Box::new(move |filter| handle.reload(filter).map_err(|error| error.to_string()))
    })
}

/// Says what was found, and where it plays.
fn greet(
    out: &mut impl Write,
    config: &Config,
    count: usize,
    opened: &[Listing],
    media: &str,
    [ingest, admin]: [Option<&str>; 2],
) -> io::Result<()> {
    let roots = config.library.roots.iter().map(|root| root.path.display().to_string());
    let root =
        roots.chain(config.storage.places.iter().map(|(_, place)| place.to_string())).collect::<Vec<_>>().join(", ");
    let plural = |count: usize, noun: &str| format!("{count} {noun}{}", if count == 1 { "" } else { "s" });
    let warned = opened.iter().filter(|listing| !listing.warnings.is_empty()).count();
    write!(out, "Headwater {}: {} in {root}", env!("CARGO_PKG_VERSION"), plural(count, "presentation"))?;
    match warned {
        0 => writeln!(out)?,
        _ if opened.len() < count => writeln!(out, ", {warned} of the first {} with warnings", opened.len())?,
        _ => writeln!(out, ", {warned} of them with warnings")?,
    }
    for listing in opened.iter().take(SHOWN_MAX) {
        show(out, listing, media)?;
    }
    if count > SHOWN_MAX {
        writeln!(out, "\n  ... and {} more", count - SHOWN_MAX)?;
    }
    let machine = &config.machine;
    writeln!(
        out,
        "\n  Cache   {} of {} memory\n  Limits  {} ({} descriptors), {} in flight, {}",
        readable_bytes(config.origin.cache_bytes),
        readable_bytes(machine.memory_bytes),
        plural(config.server.connections_max, "connection"),
        machine.descriptors,
        plural(config.origin.requests_max, "request"),
        plural(config.threads, "thread"),
    )?;
    writeln!(out, "  Media   {media}/")?;
    if let Some(ingest) = ingest {
        writeln!(out, "  Ingest  {ingest}{{channel}}/{{track}}")?;
    }
    if let Some(address) = config.server.tls.listen {
        writeln!(out, "  TLS     https://{address}/")?;
    }
    if let Some(admin) = admin {
        writeln!(out, "  Page    {admin}")?;
    }
    writeln!(out, "\nCtrl-C ends it.")
}

fn show(out: &mut impl Write, listing: &Listing, media: &str) -> io::Result<()> {
    write!(out, "\n  {}", listing.name)?;
    match listing.duration_s {
        Some(seconds) => writeln!(out, "  {}", clock(seconds))?,
        None if listing.live => writeln!(out, "  live")?,
        None => writeln!(out)?,
    }
    for PeriodListing { id, duration_s, .. } in &listing.periods {
        if listing.periods.len() > 1 {
            writeln!(out, "    clip {id}  {}", clock(*duration_s))?;
        }
        for track in listing.tracks.iter().filter(|track| track.period == *id) {
            writeln!(out, "    {}", track_line(track))?;
        }
    }
    for warning in listing.warnings.iter().take(WARNINGS_SHOWN_MAX) {
        writeln!(out, "    warning: {warning}")?;
    }
    if listing.warnings.len() > WARNINGS_SHOWN_MAX {
        writeln!(out, "    ... and {} more warnings", listing.warnings.len() - WARNINGS_SHOWN_MAX)?;
    }
    for (format, path) in [("HLS ", &listing.hls), ("DASH", &listing.dash)] {
        if let Some(path) = path {
            writeln!(out, "    {format}  {media}/{}", path.trim_start_matches('/'))?;
        }
    }
    Ok(())
}

/// `video  avc1.64001f  1280x720  25 fps  1.2 Mb/s`
fn track_line(track: &TrackListing) -> String {
    let mut line = format!("{:<5}  {}", track.kind, track.codec);
    if let (Some(width), Some(height)) = (track.width, track.height) {
        line += &format!("  {width}x{height}");
    }
    if let Some(rate) = track.frame_rate {
        let rate = format!("{rate:.3}");
        line += &format!("  {} fps", rate.trim_end_matches('0').trim_end_matches('.'));
    }
    if let Some(channels) = track.channels {
        line += &format!("  {channels} ch");
    }
    if let Some(rate) = track.sample_rate {
        line += &format!("  {} Hz", rate);
    }
    if let Some(language) = &track.language {
        line += &format!("  {language}");
    }
    match track.bandwidth {
        0 => {}
        bits @ ..1_000_000 => line += &format!("  {} kb/s", bits.div_ceil(1000)),
        bits => line += &format!("  {:.1} Mb/s", bits as f64 / 1e6),
    }
    if let Some(scheme) = &track.protection {
        line += &format!("  encrypted ({scheme})");
    }
    line
}

/// `1:05`, `2:03:04`.
fn clock(seconds: f64) -> String {
    let seconds = seconds.round() as u64;
    match seconds / 3600 {
        0 => format!("{}:{:02}", seconds / 60, seconds % 60),
        hours => format!("{hours}:{:02}:{:02}", seconds / 60 % 60, seconds % 60),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn track(kind: &str, codec: &str, bandwidth: u64) -> TrackListing {
        TrackListing {
            name: kind.into(),
            period: "1".into(),
            kind: kind.into(),
            codec: codec.into(),
            language: None,
            bandwidth,
            segments: 10,
            width: None,
            height: None,
            frame_rate: None,
            channels: None,
            sample_rate: None,
            protection: None,
            captions: None,
        }
    }

    #[test]
    fn a_start_says_what_was_found_and_where_it_plays() {
        let machine = Machine { memory_bytes: 8 << 30, cores: 2, descriptors: 20_000 };
        let config = crate::config::load(Path::new("media"), Written::default(), machine).unwrap();
        let video = TrackListing {
            width: Some(1280),
            height: Some(720),
            frame_rate: Some(29.97003),
            ..track("video", "avc1.64001f", 2_345_678)
        };
        let audio = TrackListing {
            channels: Some(2),
            sample_rate: Some(48000),
            language: Some("en".into()),
            protection: Some("cbcs".into()),
            ..track("audio", "mp4a.40.2", 128_000)
        };
        let film = Listing {
            name: "film".into(),
            live: false,
            duration_s: Some(64.6),
            hls: Some("/film/master.m3u8".into()),
            dash: None,
            rule: "a file of its own".into(),
            periods: vec![PeriodListing { id: "1".into(), start_s: 0.0, duration_s: 64.6 }],
            tracks: vec![video, audio],
            thumbnails: Vec::new(),
            warnings: (1..6).map(|n| format!("oddity {n}")).collect(),
        };
        let more = (0..9).map(|n| Listing { name: format!("x{n}"), warnings: vec![], ..film.clone() });
        let all: Vec<Listing> = [film.clone()].into_iter().chain(more).collect();
        let mut out = Vec::new();
        greet(&mut out, &config, all.len(), &all, "http://127.0.0.1:8080", [None, Some("http://127.0.0.1:8081/")])
            .unwrap();
        let text = String::from_utf8(out).unwrap();
        for line in [
            "Headwater 0.1.0: 10 presentations in media, 1 of them with warnings",
            "  film  1:05",
            "    video  avc1.64001f  1280x720  29.97 fps  2.3 Mb/s",
            "    audio  mp4a.40.2  2 ch  48000 Hz  en  128 kb/s  encrypted (cbcs)",
            "    warning: oddity 3",
            "    ... and 2 more warnings",
            "    HLS   http://127.0.0.1:8080/film/master.m3u8",
            "  ... and 2 more",
            "  Cache   2.0 GiB of 8.0 GiB memory",
            "  Limits  15000 connections (20000 descriptors), 4096 requests in flight, 2 threads",
            "  Page    http://127.0.0.1:8081/",
        ] {
            assert!(text.lines().any(|l| l == line), "{line:?} is not in\n{text}");
        }
        assert!(!text.contains("DASH"));
        assert!(!text.contains("oddity 4"));
    }

    #[test]
    fn durations_read_like_a_clock() {
        for (seconds, text) in [(0.0, "0:00"), (59.6, "1:00"), (3599.0, "59:59"), (7384.0, "2:03:04")] {
            assert_eq!(clock(seconds), text);
        }
    }
}
