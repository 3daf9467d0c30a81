//! A server from its first bind to its last connection.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use crate::origin::serve::Origin;
use crate::server::Options;
use crate::server::admin::{Admin, MediaBase};
use crate::server::clock::{Clock, Readings};
use crate::server::drain::Drain;
use crate::server::http::{self, Door, Media};
use crate::server::ingest::{self, Ingest};
use crate::server::inherited::Inherited;
use crate::server::peers::Peers;
use crate::server::state::{Current, State};
use crate::server::tls::{self, Tls};
use crate::telemetry::Telemetry;

/// Connections open at once on the admin listener: a few people, a scraper, a load balancer's probes.
const ADMIN_CONNECTIONS_MAX: usize = 256;

/// Listening, but not yet accepting.
#[derive(Debug)]
pub struct Server {
    /// One, or a plain one and one for TLS.
    media: Vec<(TcpListener, Option<Arc<Tls>>)>,
    media_base: MediaBase,
    admin: Option<(TcpListener, SocketAddr)>,
    ingest: Option<(TcpListener, SocketAddr, Option<Arc<Tls>>)>,
    current: Arc<Current>,
}

/// Why a server cannot begin.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// A listener could not be had.
    #[error("cannot listen on {address}: {cause}")]
    Bind {
        /// The address asked for.
        address: SocketAddr,
        /// Why not.
        #[source]
        cause: io::Error,
    },
    /// TLS cannot be spoken.
    #[error(transparent)]
    Tls(#[from] tls::Error),
}

impl Server {
    /// Takes the addresses; to be called inside a runtime. Port 0 means any free port. It goes by the wall clock as it is now.
    pub fn bind(options: Options, origin: Arc<Origin>, telemetry: Arc<Telemetry>) -> Result<Server, StartError> {
        let clock = Arc::new(Clock::new(Readings::take()));
        Server::take(Inherited::default(), options, origin, telemetry, clock)
    }

    /// Takes the sockets that are `inherited`, and the addresses of the others.
    pub fn take(
        inherited: Inherited,
        options: Options,
        origin: Arc<Origin>,
        telemetry: Arc<Telemetry>,
        clock: Arc<Clock>,
    ) -> Result<Server, StartError> {
        type Socket = Option<std::net::TcpListener>;
        let bind = |inherited: Socket, address: SocketAddr| -> Result<(TcpListener, SocketAddr), StartError> {
            let error = |cause| StartError::Bind { address, cause };
            let listener = match inherited {
                Some(socket) => socket.set_nonblocking(true).and_then(|()| TcpListener::from_std(socket)),
                None => http::listen(address, options.reuses_port),
            };
            let listener = listener.map_err(error)?;
            let bound = listener.local_addr().map_err(error)?;
            Ok((listener, bound))
        };
        let speaks_tls = !options.tls.certificates.is_empty();
        let tls = speaks_tls.then(|| Tls::load(options.tls.clone()).map(Arc::new)).transpose()?;
        let beside = tls.as_ref().and_then(|tls| tls.options().listen);
        let (first, address) = bind(inherited.media, options.listen)?;
        let media_base = MediaBase { address, is_tls: tls.is_some() && beside.is_none() };
        let media = match (tls, beside) {
            (Some(tls), Some(beside)) => vec![(first, None), (bind(inherited.tls, beside)?.0, Some(tls))],
            (tls, _) => vec![(first, tls)],
        };
        let admin = options.admin.map(|address| bind(inherited.admin, address)).transpose()?;
        let ingest = options.ingest.listen.map(|address| bind(inherited.ingest, address)).transpose()?;
        // Encoders show a token; `client_ca` is that of the CDN. Over HTTP/2 all that one pushes would share a connection, and its window.
        let of_encoders = tls::Options { client_ca: None, only_http1: true, ..options.tls.clone() };
        let pushed_over_tls = options.ingest.speaks_tls.then(|| Tls::load(of_encoders).map(Arc::new)).transpose()?;
        let ingest = ingest.map(|(listener, address)| (listener, address, pushed_over_tls));
        let current = Arc::new(Current::new(State::new(origin, telemetry, clock, options)));
        Ok(Server { media, media_base, admin, ingest, current })
    }

    /// Where players find the media listener, without a slash at the end.
    pub fn media_url(&self) -> String {
        self.media_base.url(None)
    }

    /// Where players find the listener for TLS beside it, if there is one.
    pub fn tls_address(&self) -> Option<SocketAddr> {
        let beside = self.media.iter().skip(1).find(|(_, tls)| tls.is_some());
        beside.and_then(|(listener, _)| listener.local_addr().ok())
    }

    /// Where people find the page; `None` without an admin listener.
    pub fn admin_url(&self) -> Option<String> {
        self.admin.as_ref().map(|(_, address)| format!("{}/", MediaBase { address: *address, is_tls: false }.url(None)))
    }

    /// Where encoders push to; `None` without an ingest listener.
    pub fn ingest_url(&self) -> Option<String> {
        let base = |(_, address, tls): &(_, _, Option<_>)| MediaBase { address: *address, is_tls: tls.is_some() };
        self.ingest.as_ref().map(|ingest| format!("{}/ingest/", base(ingest).url(None)))
    }

    /// What connections are served with, to change it while the server runs.
    pub fn current(&self) -> Arc<Current> {
        self.current.clone()
    }

    /// Serves until `stop` is done, then drains: `/readyz` says 503, the media listener is closed, and connections finish
    /// what is under way. Returns how many connections were still open at the drain's deadline.
    pub async fn run(self, stop: impl Future<Output = ()>) -> usize {
        let Server { media, media_base, admin, ingest, current } = self;
        let state = current.get();
        let slots_max = state.options.connections_max.min(Semaphore::MAX_PERMITS).min(u32::MAX as usize);
        let slots = Arc::new(Semaphore::new(slots_max));
        let door = |listener, tls, slots: &Arc<Semaphore>, telemetry: Arc<Telemetry>, drain: &Arc<Drain>| Door {
            listener,
            tls,
            slots: slots.clone(),
            peers: None,
            telemetry,
            drain: drain.clone(),
        };
        // The admin listener outlives the drain, so that who asks `/readyz` there is told; its connections are nobody's
        // traffic, and counted where nobody looks.
        let admin_end = Arc::<Drain>::default();
        if let Some((listener, address)) = admin {
            let slots = Arc::new(Semaphore::new(ADMIN_CONNECTIONS_MAX));
            let door = door(listener, None, &slots, Arc::default(), &admin_end);
            tokio::spawn(http::accept(door, current.clone(), Admin { media: media_base, own: address }));
        }
        let mut accepting = JoinSet::new();
        let mut reloading = JoinSet::new();
        let peers = state.options.connections_peer_max.map(|max| Arc::new(Peers::new(max)));
        for (listener, tls) in media {
            if let Some(tls) = &tls {
                reloading.spawn(Arc::clone(tls).watch());
            }
            let door = door(listener, tls, &slots, state.telemetry.clone(), &state.drain);
            let door = Door { peers: peers.clone(), ..door };
            accepting.spawn(http::accept(door, current.clone(), Media));
        }
        // What is pushed ends with the drain: encoders go to another server.
        if let Some((listener, _, tls)) = ingest {
            if let Some(tls) = &tls {
                reloading.spawn(Arc::clone(tls).watch());
            }
            let slots = Arc::new(Semaphore::new(ingest::CONNECTIONS_MAX));
            let door = door(listener, tls, &slots, Arc::default(), &state.drain);
            tokio::spawn(http::accept(door, current.clone(), Ingest));
        }
        stop.await;
        state.drain.begin();
        accepting.join_all().await;
        reloading.abort_all();
        let all = slots.acquire_many(slots_max as u32);
        let left = match tokio::time::timeout(current.get().options.drain_timeout, all).await {
            Ok(_) => 0,
            Err(_) => slots_max - slots.available_permits(),
        };
        admin_end.begin();
        left
    }
}

/// Done at the first SIGTERM or SIGINT; after that, the second one ends the process at once.
pub async fn stop_signal() -> io::Result<()> {
    let (mut terminate, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    tokio::spawn(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        // What a shell reports of a program ended by SIGINT.
        std::process::exit(130);
    });
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpStream;
    use tokio::sync::oneshot;
    use tokio::task::JoinHandle;

    struct Running {
        media: SocketAddr,
        admin: SocketAddr,
        telemetry: Arc<Telemetry>,
        current: Arc<Current>,
        stop: oneshot::Sender<()>,
        run: JoinHandle<usize>,
    }

    fn start(options: Options) -> Running {
        let any = SocketAddr::from(([127, 0, 0, 1], 0));
        let origin = State::for_tests().origin;
        let telemetry = Arc::<Telemetry>::default();
        let options = Options { listen: any, admin: Some(any), ..options };
        let server = Server::bind(options, origin, telemetry.clone()).unwrap();
        let (media, admin) = (server.media_base.address, server.admin.as_ref().unwrap().1);
        let (current, (stop, stopped)) = (server.current(), oneshot::channel());
        let run = tokio::spawn(server.run(async { stopped.await.unwrap_or(()) }));
        Running { media, admin, telemetry, current, stop, run }
    }

    /// Sends `request` and reads until the server closes.
    async fn exchange(address: SocketAddr, request: &[u8]) -> String {
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream.write_all(request).await.unwrap();
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).await.unwrap();
        String::from_utf8_lossy(&answer).into_owned()
    }

    /// Reads until `text` has come.
    async fn read_until(stream: &mut TcpStream, text: &str) -> String {
        let mut all = String::new();
        while !all.contains(text) {
            let mut space = [0; 1024];
            let count = stream.read(&mut space).await.unwrap();
            assert_ne!(count, 0, "closed after {all:?}");
            all.push_str(std::str::from_utf8(&space[..count]).unwrap());
        }
        all
    }

    #[tokio::test]
    async fn a_connection_is_kept_and_pipelined_requests_are_answered_in_order() {
        let server = start(Options::default());
        let mut stream = TcpStream::connect(server.media).await.unwrap();
        for _ in 0..3 {
            stream.write_all(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n").await.unwrap();
            let answer = read_until(&mut stream, "{\"status\":\"ok\"}").await;
            assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"));
            assert_eq!(answer.to_ascii_lowercase().matches("\r\ndate: ").count(), 1, "{answer}");
        }
        let pipelined = b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\nHEAD /readyz HTTP/1.1\r\nHost: x\r\n\r\n\
            GET /readyz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
        stream.write_all(pipelined).await.unwrap();
        let mut answers = String::new();
        stream.read_to_string(&mut answers).await.unwrap();
        assert_eq!(answers.matches("HTTP/1.1 200 OK\r\n").count(), 3);
        let bodies: Vec<usize> =
            ["{\"status\":\"ok\"}", "{\"status\":\"ready\"}"].map(|body| answers.find(body).unwrap()).into();
        assert!(bodies[0] < bodies[1]);
        assert_eq!(answers.matches("{\"status\":\"ready\"}").count(), 1, "HEAD has no body");
        assert_eq!(answers.to_ascii_lowercase().matches("content-length: 18\r\n").count(), 2, "{answers}");
        assert_eq!(server.telemetry.connections.get(), 1);
        assert_eq!(server.telemetry.requests.sum(), 6);
    }

    #[tokio::test]
    async fn what_is_too_long_or_no_http_is_refused() {
        let server = start(Options::default());
        let head = |path: &str, rest: &str| format!("GET {path} HTTP/1.1\r\n{rest}Connection: close\r\n\r\n");
        let fits = format!("/healthz?{}", "a".repeat(4096 - 9));
        for (request, status) in [
            (head(&fits, "Host: x\r\n"), "200"),
            (head(&(fits.clone() + "a"), "Host: x\r\n"), "414"),
            (head(&"/a".repeat(40_000), "Host: x\r\n"), "4"),
            (head("/", &format!("Host: x\r\nX: {}\r\n", "a".repeat(70_000))), "431"),
            (head("/", &"X: y\r\n".repeat(200)), "431"),
            (head("/", ""), "400"),
            (head("/", "Host: x\r\nHost: y\r\n"), "400"),
            (head("/", "Host: a b\r\n"), "400"),
            (head("/", "Host: x/y\r\n"), "400"),
            (head("/healthz", "Host: [::1]:8080\r\n"), "200"),
            (head("/healthz", "Host:\r\n"), "200"),
            (head("*", "Host: x\r\n"), "400"),
            (head("/", "Host: x\r\nTransfer-Encoding: chunked\r\n") + "zz\r\n", "400"),
            (head("/", "Host: x\r\nContent-Length: 999999\r\n"), "413"),
            ("GET / HTTP/1.1\r\nHost : x\r\n\r\n".into(), "400"),
            ("nonsense\r\n\r\n".into(), "400"),
        ] {
            let answer = exchange(server.media, request.as_bytes()).await;
            let shown = &request[..request.len().min(80)];
            assert!(answer.starts_with(&format!("HTTP/1.1 {status}")), "{shown:?} -> {answer:?}");
        }
        let options = exchange(server.media, b"OPTIONS * HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").await;
        assert!(options.starts_with("HTTP/1.1 204 ") && options.contains("GET, HEAD, OPTIONS"), "{options}");
    }

    #[tokio::test]
    async fn http2_is_spoken_with_who_begins_with_it() {
        let server = start(Options::default());
        let mut stream = TcpStream::connect(server.media).await.unwrap();
        let mut request = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec();
        request.extend([0, 0, 0, 4, 0, 0, 0, 0, 0]);
        // HPACK (RFC 7541): :method GET and :scheme http indexed; :path and :authority literal with an indexed name.
        let mut fields = vec![0x82, 0x86, 0x04, 8];
        fields.extend(b"/healthz");
        fields.extend([0x01, 1, b'x']);
        request.extend([0, 0, fields.len() as u8, 1, 0x05, 0, 0, 0, 1]);
        request.extend(&fields);
        stream.write_all(&request).await.unwrap();
        loop {
            let mut frame = [0; 9];
            stream.read_exact(&mut frame).await.unwrap();
            let mut payload = vec![0; usize::from(u16::from_be_bytes([frame[1], frame[2]]))];
            stream.read_exact(&mut payload).await.unwrap();
            match (frame[3], frame[8]) {
                // HEADERS: the first field is :status 200, indexed.
                (1, 1) => assert_eq!(payload[0], 0x88),
                (0, 1) => {
                    assert_eq!(payload, b"{\"status\":\"ok\"}");
                    break;
                }
                _ => {}
            }
        }
        assert_eq!(server.telemetry.requests.sum(), 1);
    }

    #[tokio::test]
    async fn a_connection_too_many_is_refused_and_a_freed_place_is_given_again() {
        let server = start(Options { connections_max: 1, ..Options::default() });
        let mut first = TcpStream::connect(server.media).await.unwrap();
        first.write_all(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n").await.unwrap();
        read_until(&mut first, "ok").await;
        let mut second = TcpStream::connect(server.media).await.unwrap();
        let mut answer = String::new();
        second.read_to_string(&mut answer).await.unwrap();
        assert!(answer.starts_with("HTTP/1.1 503 "), "{answer}");
        assert_eq!(server.telemetry.connections_refused.get(), 1);
        drop(first);
        while server.telemetry.connections_open.get() > 0 {
            tokio::task::yield_now().await;
        }
        let again = exchange(server.media, b"GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").await;
        assert!(again.starts_with("HTTP/1.1 200 "), "{again}");
    }

    #[tokio::test]
    async fn a_client_with_too_many_connections_is_refused_unless_it_is_trusted() {
        let options = Options { connections_peer_max: Some(1), ..Options::default() };
        let request = b"GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
        for (is_trusted, status) in [(false, "503"), (true, "200")] {
            let mut options = options.clone();
            options.access.trusted = if is_trusted { vec!["127.0.0.1".parse().unwrap()] } else { Vec::new() };
            let server = start(options);
            let mut first = TcpStream::connect(server.media).await.unwrap();
            first.write_all(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n").await.unwrap();
            read_until(&mut first, "ok").await;
            let answer = exchange(server.media, request).await;
            assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{answer}");
            drop(first);
            while server.telemetry.connections_open.get() > 0 {
                tokio::task::yield_now().await;
            }
        }
    }

    #[tokio::test]
    async fn a_drain_says_not_ready_closes_the_listener_and_ends_when_the_last_connection_does() {
        let server = start(Options { drain_timeout: Duration::from_secs(60), ..Options::default() });
        let mut idle = TcpStream::connect(server.media).await.unwrap();
        idle.write_all(b"GET /readyz HTTP/1.1\r\nHost: x\r\n\r\n").await.unwrap();
        read_until(&mut idle, "ready").await;
        let mut busy = TcpStream::connect(server.media).await.unwrap();
        busy.write_all(b"GET /readyz HTTP/1.1\r\nHo").await.unwrap();
        while server.telemetry.connections_open.get() < 2 {
            tokio::task::yield_now().await;
        }
        // Until the second connection has been told apart, it has asked nothing and would simply be closed.
        tokio::time::sleep(Duration::from_millis(50)).await;
        server.stop.send(()).unwrap();
        assert_eq!(idle.read(&mut [0; 8]).await.unwrap(), 0);
        let ready =
            exchange(server.admin, b"GET /readyz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").await;
        assert!(ready.starts_with("HTTP/1.1 503 "), "{ready}");
        busy.write_all(b"st: x\r\n\r\n").await.unwrap();
        let mut answer = String::new();
        busy.read_to_string(&mut answer).await.unwrap();
        assert!(answer.starts_with("HTTP/1.1 503 "), "{answer}");
        assert_eq!(server.run.await.unwrap(), 0);
        assert!(TcpStream::connect(server.media).await.is_err());
    }

    #[tokio::test]
    async fn other_options_hold_for_requests_that_begin_then_on_old_connections_too() {
        let server = start(Options::default());
        let head = format!("GET /healthz?{} HTTP/1.1\r\nHost: x\r\n", "a".repeat(500));
        let mut old = TcpStream::connect(server.media).await.unwrap();
        old.write_all(format!("{head}\r\n").as_bytes()).await.unwrap();
        read_until(&mut old, "ok").await;
        server.current.set_options(Options { url_bytes_max: 256, ..Options::default() });
        let answer = exchange(server.media, format!("{head}Connection: close\r\n\r\n").as_bytes()).await;
        assert!(answer.starts_with("HTTP/1.1 414 "), "{answer}");
        old.write_all(format!("{head}\r\n").as_bytes()).await.unwrap();
        read_until(&mut old, "HTTP/1.1 414 ").await;
    }

    #[tokio::test]
    async fn a_second_server_takes_the_port_over_from_the_first() {
        let options = Options { reuses_port: true, ..Options::default() };
        let first = start(options.clone());
        let media = first.media;
        let options = Options { listen: media, admin: None, ..options };
        let telemetry = Arc::<Telemetry>::default();
        let second = Server::bind(options, State::for_tests().origin, telemetry.clone()).unwrap();
        let second = tokio::spawn(second.run(std::future::pending()));
        first.stop.send(()).unwrap();
        first.run.await.unwrap();
        for _ in 0..10 {
            let answer = exchange(media, b"GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").await;
            assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
        }
        assert_eq!(telemetry.requests.sum(), 10);
        second.abort();
    }

    #[tokio::test]
    async fn an_address_in_use_is_named() {
        let server = start(Options::default());
        let options = Options { listen: server.media, admin: None, ..Options::default() };
        let error = Server::bind(options, State::for_tests().origin, Arc::default()).unwrap_err();
        assert!(error.to_string().starts_with(&format!("cannot listen on {}", server.media)), "{error}");
    }
}
