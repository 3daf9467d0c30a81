//! The program under a service manager: sockets that it is given, what it says of itself, and restarts that nobody notices.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixDatagram;
use std::process::{Child, Command, Stdio};

use rustix::process::{Pid, Signal, kill_process};

const MEDIA: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/testdata/hevc.mp4");
const REQUEST: &[u8] = b"GET /hevc/master.m3u8 HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";

/// The program with `listener` as its third descriptor and `LISTEN_FDS`, as systemd begins it.
fn begin(listener: &TcpListener, told: &std::path::Path) -> Child {
    let descriptor = OwnedFd::from(listener.try_clone().expect("a second descriptor"));
    let script = "LISTEN_FDS=1 LISTEN_PID=$$ exec \"$0\" serve \"$1\" --admin off --threads 1 3<&0 </dev/null";
    let mut command = Command::new("sh");
    command.args(["-c", script, env!("CARGO_BIN_EXE_headwater"), MEDIA]).env("NOTIFY_SOCKET", told);
    command.stdin(descriptor).stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("the program runs")
}

fn said(manager: &UnixDatagram) -> String {
    let mut space = [0; 64];
    let count = manager.recv(&mut space).expect("a datagram");
    String::from_utf8_lossy(&space[..count]).into_owned()
}

fn ask(address: SocketAddr) -> TcpStream {
    let mut stream = TcpStream::connect(address).expect("somebody listens");
    stream.write_all(REQUEST).expect("sent");
    stream
}

fn answer(mut stream: TcpStream) -> String {
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("answered");
    answer.lines().next().expect("a status line").to_owned()
}

#[test]
fn a_restart_under_a_manager_that_keeps_the_socket_refuses_nobody() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let told = dir.path().join("notify");
    let manager = UnixDatagram::bind(&told).expect("a socket");
    let listener = TcpListener::bind("127.0.0.1:0").expect("a socket");
    let address = listener.local_addr().expect("its address");

    let early = ask(address);
    let mut first = begin(&listener, &told);
    assert_eq!(said(&manager), "READY=1");
    assert_eq!(answer(early), "HTTP/1.1 200 OK");
    kill_process(Pid::from_child(&first), Signal::TERM).expect("it runs");
    assert_eq!(said(&manager), "STOPPING=1");
    assert!(first.wait().expect("it ends").success());

    let between = ask(address);
    let mut second = begin(&listener, &told);
    assert_eq!(said(&manager), "READY=1");
    assert_eq!(answer(between), "HTTP/1.1 200 OK");
    kill_process(Pid::from_child(&second), Signal::TERM).expect("it runs");
    assert!(second.wait().expect("it ends").success());
}

/// The program with a folder for what is live, at addresses that others may listen at, too; and what it says.
fn begin_live(data: &std::path::Path, [media, ingest]: [&str; 2]) -> Child {
    let mut command = Command::new(env!("CARGO_BIN_EXE_headwater"));
    command.args(["serve", MEDIA, "--admin", "off", "--threads", "1", "--reuse-port", "--listen", media]);
    command.args(["--ingest", ingest, "--data-dir"]).arg(data);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("the program runs")
}

/// What follows `what` in the next line that has it.
fn next_of(lines: &mut impl BufRead, what: &str) -> String {
    loop {
        let mut line = String::new();
        assert!(lines.read_line(&mut line).expect("it speaks") > 0, "it ended before it said {what:?}");
        if let Some((_, rest)) = line.split_once(what) {
            return rest.trim().trim_end_matches('/').to_owned();
        }
    }
}

/// The status of a push of `file` of `testdata/packaging/video` to `address`.
fn push(address: &str, file: &str) -> String {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/testdata/packaging/video/");
    let bytes = std::fs::read(format!("{path}{file}")).expect("a file of the repository");
    let mut stream = TcpStream::connect(address).expect("somebody listens");
    let head =
        format!("PUT /ingest/tv/v HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: {}\r\n\r\n", bytes.len());
    stream.write_all(&[head.as_bytes(), &bytes].concat()).expect("sent");
    answer(stream)
}

#[test]
fn of_two_processes_with_one_data_dir_the_second_goes_on_with_the_channels_when_the_first_is_told_to_end() {
    let data = tempfile::tempdir().expect("a temporary directory");
    let mut first = begin_live(data.path(), ["127.0.0.1:0", "127.0.0.1:0"]);
    let mut said = BufReader::new(first.stdout.take().expect("its output"));
    let media = next_of(&mut said, "Media   http://");
    let ingest = next_of(&mut said, "Ingest  http://").trim_end_matches("/ingest/{channel}/{track}").to_owned();
    assert_eq!(push(&ingest, "init.mp4"), "HTTP/1.1 200 OK");

    let mut second = begin_live(data.path(), [&media, &ingest]);
    let mut logged = BufReader::new(second.stderr.take().expect("its log"));
    next_of(&mut logged, "another process has the folder of what is live");
    // Whoever asks is answered by the first: the second listens to nobody.
    for _ in 0..8 {
        assert_eq!(push(&ingest, "001.m4s"), "HTTP/1.1 200 OK");
    }
    kill_process(Pid::from_child(&first), Signal::TERM).expect("it runs");
    let address = media.parse().expect("an address");
    assert_eq!(answer(ask(address)), "HTTP/1.1 200 OK");
    assert!(first.wait().expect("it ends").success());
    next_of(&mut BufReader::new(second.stdout.as_mut().expect("its output")), "Media   http://");
    assert_eq!(answer(ask(address)), "HTTP/1.1 200 OK");
    // Without what the first was told this were `412 Precondition Failed`.
    assert_eq!(push(&ingest, "002.m4s"), "HTTP/1.1 200 OK");
    kill_process(Pid::from_child(&second), Signal::TERM).expect("it runs");
    assert!(second.wait().expect("it ends").success());
}
