//! What benchmarks and the tests of the hot path share: an origin over a folder, the names of what it serves, and a
//! connection that lies in memory.
//!
//! ```text
//!   requests -> Wire::poll_read -> Conn -> hyper http1 -> Media -> Origin::serve -> hyper -> Wire::poll_write_vectored
//! ```

#![allow(dead_code, reason = "each bench and test uses a part of it")]

pub(crate) mod synthetic;

use std::convert::Infallible;
use std::io::{self, IoSlice};
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use bytes::{Buf, Bytes};
use http::{Request, Response, StatusCode};
use http_body_util::BodyExt;
use hyper::service::service_fn;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::runtime::Runtime;

use headwater::content::library::{self, Library};
use headwater::content::vod::Opened;
use headwater::origin::object::Body;
use headwater::origin::options::Options;
use headwater::origin::serve::Origin;
use headwater::server;
use headwater::server::clock::{Clock, Readings, utc};
use headwater::server::conn::{Conn, Deadlines, Stream};
use headwater::server::http::{Answer, Media, converse};
use headwater::server::state::State;
use headwater::time::Utc;

/// The folder of small media that comes with the source.
pub(crate) fn testdata() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata")
}

/// Copies the file or folder at `from` to `to`.
pub(crate) fn copy(from: &Path, to: &Path) {
    if from.is_file() {
        std::fs::copy(from, to).expect("the file can be copied");
        return;
    }
    std::fs::create_dir_all(to).expect("the folder can be made");
    for entry in std::fs::read_dir(from).expect("the folder can be read") {
        let entry = entry.expect("the folder can be read");
        copy(&entry.path(), &to.join(entry.file_name()));
    }
}

/// A runtime of one thread: what happens is in one order, and counted in one place.
pub(crate) fn runtime() -> Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime")
}

/// An origin of the files at `root`, however young they are.
pub(crate) fn origin(root: &Path, cache_bytes: u64) -> Arc<Origin> {
    let library = Library::new(library::Options::new(root.to_path_buf()));
    library.rescan(later()).expect("the library can be read");
    let options = Options { cache_bytes, ..Options::default() };
    Arc::new(Origin::new(Arc::new(library), options, Arc::default()))
}

/// An hour from now, when files written just now have rested.
fn later() -> Utc {
    utc().after(Duration::from_secs(3600))
}

/// The presentation called `name`, opened.
pub(crate) fn open(origin: &Origin, name: &str) -> Opened {
    origin.library().entry(name).expect("the library has it").open(Utc(0)).expect("it can be served")
}

/// What a track is fetched by: paths on the media listener.
pub(crate) struct Paths {
    /// The track's name.
    pub(crate) track: String,
    /// Its HLS media playlist.
    pub(crate) playlist: String,
    /// Its initialization segment.
    pub(crate) init: String,
    /// Its segments, in order.
    pub(crate) segments: Vec<String>,
}

/// The paths of all tracks of the presentation called `name`.
pub(crate) fn paths(origin: &Origin, name: &str) -> Vec<Paths> {
    let of = |track: &headwater::media::track::Track| {
        let folder = format!("/{name}/{}/{}", track.name, track.version);
        Paths {
            track: track.name.clone(),
            playlist: format!("{folder}/media.m3u8"),
            init: format!("{folder}/init.mp4"),
            segments: track.segments.iter().map(|segment| format!("{folder}/{}.m4s", segment.time)).collect(),
        }
    };
    open(origin, name).presentation.tracks().map(of).collect()
}

/// A GET of `path`.
pub(crate) fn get(path: &str) -> Request<()> {
    Request::get(path).header("host", "origin.example").body(()).expect("a path")
}

/// Serves a GET of `path`, without HTTP around it; it must be found.
pub(crate) async fn serve(origin: &Arc<Origin>, path: &str) -> Response<Body> {
    let response = origin.serve(&get(path), utc()).await;
    assert_eq!(response.status(), StatusCode::OK, "{path}");
    response
}

/// Where the bytes of a body lie, slice by slice: address, and the bytes.
pub(crate) async fn slices(body: Body) -> Vec<(usize, Vec<u8>)> {
    let mut body = body;
    let mut found = Vec::new();
    while let Some(frame) = body.frame().await {
        let data = frame.expect("bodies do not fail").into_data().expect("there are no trailers");
        let mut slices = [IoSlice::new(&[]); 64];
        let count = data.chunks_vectored(&mut slices);
        found.extend(slices[..count].iter().map(|slice| (slice.as_ptr() as usize, slice.to_vec())));
        assert_eq!(found.iter().map(|(_, bytes)| bytes.len()).sum::<usize>(), data.remaining());
    }
    found
}

/// The head of a GET as a CDN sends it; `lines` are further header lines, each with its line end.
pub(crate) fn head(path: &str, lines: &str) -> Bytes {
    Bytes::from(format!(
        "GET {path} HTTP/1.1\r\nHost: origin.example\r\nUser-Agent: cdn/1.0\r\nAccept: */*\r\nVia: 1.1 edge\r\n{lines}\r\n"
    ))
}

/// Serves one connection on `wire`, exactly as the media listener does, until its requests have been answered.
pub(crate) async fn connection(state: Arc<State>, wire: Wire) {
    let deadlines = Deadlines {
        head: Duration::from_secs(10),
        idle: Duration::from_secs(600),
        write: Duration::from_secs(30),
        takes_bodies: false,
    };
    let conn = Conn::new(wire, deadlines, state.telemetry.clone(), state.drain.clone());
    let peer = SocketAddr::from((Ipv4Addr::LOCALHOST, 1));
    let serving = state.clone();
    let service = service_fn(move |request| {
        let state = serving.clone();
        async move { Ok::<_, Infallible>(Media.answer(state, peer, request).await) }
    });
    converse(conn, &state.drain, state.options.head_bytes_max, service).await.expect("the connection does not fail");
}

/// A server around `origin`.
pub(crate) fn server(origin: &Arc<Origin>) -> Arc<State> {
    let clock = Arc::new(Clock::new(Readings::take()));
    Arc::new(State::new(origin.clone(), origin.telemetry().clone(), clock, server::Options::default()))
}

/// The server's end of a connection that lies in memory: it gives requests, and takes answers as `writev` would.
///
/// Each request comes when the answer to the one before has been flushed; after the last one the client closes.
pub(crate) struct Wire {
    requests: Box<dyn Iterator<Item = Bytes> + Send>,
    /// Of the current request, what has not been read.
    rest: Bytes,
    /// Whether the current request has been answered.
    is_answered: bool,
    reader: Option<Waker>,
    /// Whether something was written and not flushed yet.
    has_written: bool,
    /// The most bytes a write takes; after each such write the client rests once.
    write_bytes_max: usize,
    rests: bool,
    takes_vectors: bool,
    taken: Arc<Mutex<Taken>>,
    records: bool,
}

/// What came out of a [`Wire`].
#[derive(Default)]
pub(crate) struct Taken {
    /// Bytes, if they were only counted.
    pub(crate) count: u64,
    /// All bytes, if they were recorded.
    pub(crate) bytes: Vec<u8>,
    /// Where each of them lay.
    pub(crate) addresses: Vec<usize>,
    /// Bytes that came as one flattened buffer.
    pub(crate) flattened: u64,
}

impl Wire {
    /// A wire that counts what it takes.
    pub(crate) fn new(requests: impl Iterator<Item = Bytes> + Send + 'static) -> Wire {
        Wire {
            requests: Box::new(requests),
            rest: Bytes::new(),
            is_answered: true,
            reader: None,
            has_written: false,
            write_bytes_max: usize::MAX,
            rests: false,
            takes_vectors: true,
            taken: Arc::default(),
            records: false,
        }
    }

    /// Records every byte and where it lay.
    pub(crate) fn recorded(self) -> Wire {
        Wire { records: true, ..self }
    }

    /// Takes at most `write_bytes_max` bytes a write, and rests in between.
    pub(crate) fn slow(self, write_bytes_max: usize) -> Wire {
        Wire { write_bytes_max, ..self }
    }

    /// Says that it does not take vectored writes, which makes hyper copy.
    pub(crate) fn flattening(self) -> Wire {
        Wire { takes_vectors: false, ..self }
    }

    /// Where to look for what it took.
    pub(crate) fn taken(&self) -> Arc<Mutex<Taken>> {
        self.taken.clone()
    }

    fn take(&mut self, slices: &[IoSlice<'_>], cx: &mut Context<'_>, flattened: bool) -> Poll<io::Result<usize>> {
        if self.write_bytes_max < usize::MAX {
            self.rests = !self.rests;
            if self.rests {
                cx.waker().wake_by_ref();
                return Poll::Pending;
            }
        }
        self.has_written = true;
        let mut taken = self.taken.lock().expect("nobody panics with it");
        let mut left = self.write_bytes_max;
        for slice in slices {
            let part = &slice[..slice.len().min(left)];
            left -= part.len();
            taken.count += part.len() as u64;
            if self.records {
                taken.bytes.extend_from_slice(part);
                let start = part.as_ptr() as usize;
                taken.addresses.extend(start..start + part.len());
            }
        }
        let count = slices.iter().map(|slice| slice.len()).sum::<usize>().min(self.write_bytes_max);
        if flattened {
            taken.flattened += count as u64;
        }
        Poll::Ready(Ok(count))
    }
}

impl AsyncRead for Wire {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if self.rest.is_empty() {
            if !self.is_answered {
                self.reader = Some(cx.waker().clone());
                return Poll::Pending;
            }
            let Some(next) = self.requests.next() else { return Poll::Ready(Ok(())) };
            self.rest = next;
            self.is_answered = false;
        }
        let count = self.rest.len().min(buf.remaining());
        buf.put_slice(&self.rest[..count]);
        self.rest.advance(count);
        Poll::Ready(Ok(()))
    }
}

impl Stream for Wire {}

impl AsyncWrite for Wire {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.take(&[IoSlice::new(bytes)], cx, true)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.take(slices, cx, false)
    }

    fn is_write_vectored(&self) -> bool {
        self.takes_vectors
    }

    fn poll_flush(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        if std::mem::take(&mut self.has_written) {
            self.is_answered = true;
            if let Some(reader) = self.reader.take() {
                reader.wake();
            }
        }
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}
