//! The access log: a line for each answer of the media listener, in JSON or in the combined format that web servers share.
//!
//! ```text
//!   answer -> Entry -> bounded queue -> a thread of its own: lines, written when the queue is empty or a buffer is full
//!                      full: dropped, and counted
//! ```
//!
//! So a slow disk costs lines and never an answer. A line says how long the answer took to be made and how long it is, not how much
//! of it the peer has taken. The query is left out but for CMCD, because it may hold tokens.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant, SystemTime};

use http::header::HeaderValue;
use http::{Method, Version};
use serde::Serialize;
use serde_json::{Map, Value};

use crate::formats::cmcd;
use crate::telemetry::Telemetry;
use crate::time::Utc;

/// Bytes of lines that are written at once.
const BUFFER_BYTES: usize = 64 * 1024;
/// Between two complaints that the log can't be written.
const COMPLAINT_INTERVAL: Duration = Duration::from_secs(60);

/// Where and how it is written.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Options {
    /// A file that is appended to, or `-` for the standard output; `None`: there is no access log.
    pub path: Option<PathBuf>,
    /// How a line looks.
    pub format: Format,
    /// Lines that wait at most; each takes about a kilobyte.
    pub queue_max: usize,
}

/// How a line looks.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Format {
    /// A JSON object.
    #[default]
    Json,
    /// The combined log format of Apache and nginx.
    Combined,
}

/// What is logged of one answer.
#[derive(Debug)]
pub struct Entry {
    /// When it was asked for.
    pub at: Utc,
    /// Who asked.
    pub peer: SocketAddr,
    /// How.
    pub method: Method,
    /// For what: without the query, which may hold tokens.
    pub path: Box<str>,
    /// In which version of HTTP.
    pub version: Version,
    /// What the answer is.
    pub status: u16,
    /// Bytes of its body.
    pub bytes: u64,
    /// How long it took to be made.
    pub took: Duration,
    /// What it is called, by the peer or by us.
    pub id: HeaderValue,
    /// `traceparent` as the peer sent it, if it is one.
    pub traceparent: Option<HeaderValue>,
    /// `Referer`.
    pub referer: Option<HeaderValue>,
    /// `User-Agent`.
    pub user_agent: Option<HeaderValue>,
    /// How the cache came by it: `Cache-Status` of the answer.
    pub cache: Option<HeaderValue>,
    /// What the player says of itself.
    pub cmcd: String,
}

enum Message {
    Line(Box<Entry>),
    /// There is something to do, but no line.
    Wake,
    End,
}

/// Takes entries, and never waits.
#[derive(Debug)]
pub struct AccessLog {
    queue: SyncSender<Message>,
    /// Whether the file is to be opened anew: no message, since the queue may be full just then.
    is_moved: Arc<AtomicBool>,
    writer: Mutex<Option<JoinHandle<()>>>,
    telemetry: Arc<Telemetry>,
}

impl AccessLog {
    /// Opens the file, if one is named, and begins a thread that writes to it.
    pub fn open(options: &Options, telemetry: &Arc<Telemetry>) -> io::Result<Option<Arc<AccessLog>>> {
        let Some(path) = options.path.clone() else { return Ok(None) };
        let telemetry = telemetry.clone();
        let (queue, entries) = sync_channel(options.queue_max);
        let (out, format) = (open(&path)?, options.format);
        let is_moved = Arc::<AtomicBool>::default();
        let mut writer = Writer {
            path,
            out,
            format,
            is_moved: Arc::clone(&is_moved),
            telemetry: telemetry.clone(),
            complained: None,
        };
        let thread = std::thread::Builder::new().name("access-log".into()).spawn(move || writer.run(&entries))?;
        Ok(Some(Arc::new(AccessLog { queue, is_moved, writer: Mutex::new(Some(thread)), telemetry })))
    }

    /// Has `entry` written, if there is room in the queue.
    pub fn write(&self, entry: Entry) {
        match self.queue.try_send(Message::Line(Box::new(entry))) {
            Ok(()) => {}
            Err(TrySendError::Full(_) | TrySendError::Disconnected(_)) => self.telemetry.access_log_dropped.inc(),
        }
    }

    /// Opens the file anew, which may have been moved away.
    pub fn reopen(&self) {
        self.is_moved.store(true, Ordering::Release);
        // Full: the thread comes by soon.
        let _ = self.queue.try_send(Message::Wake);
    }

    /// Writes what is in the queue, and ends. Blocks.
    pub fn close(&self) {
        let writer = self.writer.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(writer) = writer
            && self.queue.send(Message::End).is_ok()
        {
            // A panic of the thread has been told by itself.
            let _ = writer.join();
        }
    }
}

fn open(path: &Path) -> io::Result<Box<dyn Write + Send>> {
    if path.as_os_str() == "-" {
        return Ok(Box::new(io::stdout()));
    }
    let file: File = OpenOptions::new().create(true).append(true).open(path)?;
    Ok(Box::new(file))
}

struct Writer {
    path: PathBuf,
    out: Box<dyn Write + Send>,
    format: Format,
    is_moved: Arc<AtomicBool>,
    telemetry: Arc<Telemetry>,
    complained: Option<Instant>,
}

impl Writer {
    fn run(&mut self, entries: &Receiver<Message>) {
        let mut buffer = Vec::with_capacity(BUFFER_BYTES);
        let mut lines = 0;
        loop {
            // What waits is taken first: a write for each line would be most of the work.
            let message = match entries.try_recv() {
                Ok(message) => message,
                Err(_) => {
                    self.flush(&mut buffer, &mut lines);
                    match entries.recv() {
                        Ok(message) => message,
                        Err(_) => return,
                    }
                }
            };
            if self.is_moved.swap(false, Ordering::Acquire) {
                self.flush(&mut buffer, &mut lines);
                match open(&self.path) {
                    Ok(out) => self.out = out,
                    Err(error) => self.complain(&error),
                }
            }
            match message {
                Message::Line(entry) => {
                    entry.line(self.format, &mut buffer);
                    lines += 1;
                    if buffer.len() >= BUFFER_BYTES {
                        self.flush(&mut buffer, &mut lines);
                    }
                }
                Message::Wake => {}
                Message::End => return self.flush(&mut buffer, &mut lines),
            }
        }
    }

    fn flush(&mut self, buffer: &mut Vec<u8>, lines: &mut u64) {
        if *lines == 0 {
            return;
        }
        match self.out.write_all(buffer).and_then(|()| self.out.flush()) {
            Ok(()) => self.telemetry.access_log_lines.add(*lines),
            Err(error) => {
                self.telemetry.access_log_dropped.add(*lines);
                self.complain(&error);
            }
        }
        buffer.clear();
        *lines = 0;
    }

    fn complain(&mut self, error: &io::Error) {
        if self.complained.is_none_or(|at| at.elapsed() > COMPLAINT_INTERVAL) {
            self.complained = Some(Instant::now());
            tracing::error!(path = %self.path.display(), %error, "the access log can't be written");
        }
    }
}

#[derive(Serialize)]
struct Line<'a> {
    time: &'a str,
    id: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    trace_id: Option<&'a str>,
    peer: SocketAddr,
    method: &'a str,
    path: &'a str,
    protocol: &'static str,
    status: u16,
    bytes: u64,
    duration_us: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    cache: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    referer: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    user_agent: Option<&'a str>,
    #[serde(skip_serializing_if = "Map::is_empty")]
    cmcd: Map<String, Value>,
}

fn text(value: Option<&HeaderValue>) -> Option<&str> {
    value.and_then(|value| value.to_str().ok())
}

impl Entry {
    fn protocol(&self) -> &'static str {
        match self.version {
            Version::HTTP_10 => "HTTP/1.0",
            Version::HTTP_2 => "HTTP/2.0",
            _ => "HTTP/1.1",
        }
    }

    fn line(&self, format: Format, out: &mut Vec<u8>) {
        match format {
            Format::Json => self.json(out),
            Format::Combined => self.combined(out),
        }
        out.push(b'\n');
    }

    fn json(&self, out: &mut Vec<u8>) {
        let pairs = cmcd::pairs(&self.cmcd).map(|(key, value)| {
            let value = match value {
                cmcd::Value::Flag(flag) => Value::Bool(flag),
                cmcd::Value::Number(number) => Value::from(number),
                cmcd::Value::Text(text) => Value::from(text),
            };
            (key.to_owned(), value)
        });
        let line = Line {
            time: &timestamp(self.at),
            id: text(Some(&self.id)).unwrap_or_default(),
            trace_id: text(self.traceparent.as_ref()).and_then(trace_id),
            peer: self.peer,
            method: self.method.as_str(),
            path: &self.path,
            protocol: self.protocol(),
            status: self.status,
            bytes: self.bytes,
            duration_us: u64::try_from(self.took.as_micros()).unwrap_or(u64::MAX),
            cache: text(self.cache.as_ref()),
            referer: text(self.referer.as_ref()),
            user_agent: text(self.user_agent.as_ref()),
            cmcd: pairs.collect(),
        };
        serde_json::to_writer(out, &line).expect("a Vec takes all, and keys are strings");
    }

    /// `host ident user [date] "request" status bytes "referer" "user-agent"`
    fn combined(&self, out: &mut Vec<u8>) {
        let (date, protocol) = (common_date(self.at), self.protocol());
        let quoted = |value: Option<&HeaderValue>| text(value).map_or_else(|| "-".into(), escaped);
        let (method, path) = (self.method.as_str(), escaped(&self.path));
        let (referer, user_agent) = (quoted(self.referer.as_ref()), quoted(self.user_agent.as_ref()));
        let (peer, status, bytes) = (self.peer.ip(), self.status, self.bytes);
        write!(
            out,
            "{peer} - - [{date}] \"{method} {path} {protocol}\" {status} {bytes} \"{referer}\" \"{user_agent}\""
        )
        .expect("a Vec takes all");
    }
}

/// What would end the quotes around it, escaped as nginx does.
fn escaped(text: &str) -> String {
    text.chars()
        .map(|c| if c == '"' || c == '\\' || c.is_control() { format!("\\x{:02X}", c as u32) } else { c.into() })
        .collect()
}

/// The trace-id of a `traceparent` (W3C Trace Context §3.2).
pub fn trace_id(traceparent: &str) -> Option<&str> {
    let mut fields = traceparent.split('-');
    let (version, trace, parent, flags) = (fields.next()?, fields.next()?, fields.next()?, fields.next()?);
    let is_hex = |field: &str, len: usize| {
        field.len() == len && field.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b))
    };
    let is_zero = |field: &str| field.bytes().all(|b| b == b'0');
    // A later version may have more fields, and these first.
    let is_right = is_hex(version, 2) && version != "ff" && (version != "00" || fields.next().is_none());
    let is_right = is_right && is_hex(trace, 32) && is_hex(parent, 16) && is_hex(flags, 2);
    (is_right && !is_zero(trace) && !is_zero(parent)).then_some(trace)
}

/// `2026-11-25T22:29:06.123Z` (RFC 3339).
fn timestamp(at: Utc) -> String {
    let (year, month, day, seconds) = civil(at);
    let (hour, minute, second) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{:03}Z", at.0 % 1000)
}

/// `25/Nov/2026:22:29:06 +0000`
fn common_date(at: Utc) -> String {
    // IMF-fixdate is `Wed, 25 Nov 2026 22:29:06 GMT`.
    let date = httpdate::fmt_http_date(SystemTime::UNIX_EPOCH + Duration::from_millis(at.0.min(MILLIS_MAX)));
    let fields: Vec<&str> = date.split(' ').collect();
    format!("{}/{}/{}:{} +0000", fields[1], fields[2], fields[3], fields[4])
}

/// The end of the year 9999, which dates of four digits can say.
const MILLIS_MAX: u64 = 253_402_300_799_999;

/// Year, month, day and seconds of the day.
fn civil(at: Utc) -> (u64, u64, u64, u64) {
    let seconds = at.0.min(MILLIS_MAX) / 1000;
    // Years that begin in March have their leap day at the end: days since 0000-03-01, in cycles of 400 years.
    let days = seconds / 86_400 + 719_468;
    let (cycle, day_of_cycle) = (days / 146_097, days % 146_097);
    let year = (day_of_cycle - day_of_cycle / 1460 + day_of_cycle / 36_524 - day_of_cycle / 146_096) / 365;
    let day_of_year = day_of_cycle - (365 * year + year / 4 - year / 100);
    let month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month + 2) / 5 + 1;
    let (month, next) = if month < 10 { (month + 3, 0) } else { (month - 9, 1) };
    (cycle * 400 + year + next, month, day, seconds % 86_400)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(at: Utc) -> Entry {
        Entry {
            at,
            peer: "192.0.2.1:4242".parse().unwrap(),
            method: Method::GET,
            path: "/film/video/0123456789abcdef/0.m4s".into(),
            version: Version::HTTP_11,
            status: 206,
            bytes: 1234,
            took: Duration::from_micros(56),
            id: HeaderValue::from_static("abc-1"),
            traceparent: Some(HeaderValue::from_static("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01")),
            referer: None,
            user_agent: Some(HeaderValue::from_static("a \"player\"")),
            cache: Some(HeaderValue::from_static("headwater; hit")),
            cmcd: "bl=4000,bs,sid=\"s1\"".into(),
        }
    }

    const AT: Utc = Utc(1_795_645_746_123);

    fn line(format: Format) -> String {
        let mut out = Vec::new();
        entry(AT).line(format, &mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn a_line_in_json_has_what_was_asked_and_answered_and_no_query() {
        let line = line(Format::Json);
        let expected = serde_json::json!({
            "time": "2026-11-25T22:29:06.123Z", "id": "abc-1", "trace_id": "0af7651916cd43dd8448eb211c80319c",
            "peer": "192.0.2.1:4242", "method": "GET", "path": "/film/video/0123456789abcdef/0.m4s", "protocol": "HTTP/1.1",
            "status": 206, "bytes": 1234, "duration_us": 56, "cache": "headwater; hit", "user_agent": "a \"player\"",
            "cmcd": {"bl": 4000, "bs": true, "sid": "s1"},
        });
        assert_eq!(serde_json::from_str::<Value>(&line).unwrap(), expected);
        assert!(line.ends_with("}\n"));
    }

    #[test]
    fn a_combined_line_is_one_that_log_readers_know() {
        assert_eq!(
            line(Format::Combined),
            "192.0.2.1 - - [25/Nov/2026:22:29:06 +0000] \"GET /film/video/0123456789abcdef/0.m4s HTTP/1.1\" 206 1234 \
             \"-\" \"a \\x22player\\x22\"\n"
        );
    }

    #[test]
    fn timestamps_are_those_of_the_calendar() {
        for (at, text) in [
            (0, "1970-01-01T00:00:00.000Z"),
            (951_782_399_999, "2000-02-28T23:59:59.999Z"),
            (951_782_400_000, "2000-02-29T00:00:00.000Z"),
            (1_709_251_199_000, "2024-02-29T23:59:59.000Z"),
            (4_107_542_399_000, "2100-02-28T23:59:59.000Z"),
            (4_107_542_400_000, "2100-03-01T00:00:00.000Z"),
            (MILLIS_MAX, "9999-12-31T23:59:59.999Z"),
        ] {
            assert_eq!(timestamp(Utc(at)), text);
        }
    }

    #[test]
    fn a_traceparent_is_taken_only_if_it_is_one() {
        let id = "0af7651916cd43dd8448eb211c80319c";
        let right = format!("00-{id}-b7ad6b7169203331-01");
        assert_eq!(trace_id(&right), Some(id));
        assert_eq!(trace_id(&format!("01-{id}-b7ad6b7169203331-01-more")), Some(id));
        for wrong in [
            format!("ff-{id}-b7ad6b7169203331-01"),
            format!("{right}-more"),
            right.to_uppercase(),
            format!("00-{}-b7ad6b7169203331-01", "0".repeat(32)),
            format!("00-{id}-{}-01", "0".repeat(16)),
            format!("00-{id}"),
            String::new(),
        ] {
            assert_eq!(trace_id(&wrong), None, "{wrong}");
        }
    }

    #[test]
    fn what_the_queue_does_not_take_is_counted_and_the_rest_is_written() {
        let (telemetry, dir) = (Arc::<Telemetry>::default(), tempfile::tempdir().unwrap());
        // A queue that nobody empties.
        let (queue, entries) = sync_channel(2);
        let is_moved = Arc::<AtomicBool>::default();
        let (writer, telemetry_of_log) = (Mutex::default(), telemetry.clone());
        let log = AccessLog { queue, is_moved: Arc::clone(&is_moved), writer, telemetry: telemetry_of_log };
        (0..5).for_each(|_| log.write(entry(AT)));
        assert_eq!(telemetry.access_log_dropped.get(), 3);
        let path = dir.path().join("access.log");
        let (out, format) = (open(&path).unwrap(), Format::Json);
        std::fs::rename(&path, dir.path().join("access.log.1")).unwrap();
        // The queue is full: that is no reason to write on to a file that was moved away.
        log.reopen();
        drop(log);
        let mut writer =
            Writer { path: path.clone(), out, format, is_moved, telemetry: telemetry.clone(), complained: None };
        writer.run(&entries);
        assert_eq!(telemetry.access_log_lines.get(), 2);
        assert_eq!(std::fs::read_to_string(path).unwrap().lines().count(), 2);
    }

    #[test]
    fn a_file_that_was_moved_away_is_begun_anew() {
        let (telemetry, dir) = (Arc::<Telemetry>::default(), tempfile::tempdir().unwrap());
        let path = dir.path().join("access.log");
        let options = Options { path: Some(path.clone()), format: Format::Combined, queue_max: 16 };
        let log = AccessLog::open(&options, &telemetry).unwrap().unwrap();
        log.write(entry(AT));
        while telemetry.access_log_lines.get() < 1 {
            std::thread::yield_now();
        }
        std::fs::rename(&path, dir.path().join("access.log.1")).unwrap();
        log.reopen();
        log.write(entry(AT));
        log.write(entry(AT));
        log.close();
        assert_eq!(std::fs::read_to_string(&path).unwrap().lines().count(), 2);
        assert_eq!(telemetry.access_log_lines.get(), 3);
        log.write(entry(AT));
        assert_eq!(telemetry.access_log_dropped.get(), 1);
    }
}
