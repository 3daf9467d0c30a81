//! The program under a service manager: sockets that it is given, what it says of itself, and restarts that nobody notices.

use std::io::{Read, Write};
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
