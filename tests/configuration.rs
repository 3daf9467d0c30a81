//! The configuration as a person meets it: `headwater config`, the environment, and a file that changes while the server runs.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStderr, Command, Output, Stdio};

use rustix::process::{Pid, Signal, kill_process};

const MEDIA: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/testdata/hevc.mp4");

fn command(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_headwater"));
    command.args(arguments);
    for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("HEADWATER_")) {
        command.env_remove(name);
    }
    command
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).expect("UTF-8")
}

fn file(text: &str) -> (tempfile::TempDir, PathBuf) {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let path = dir.path().join("headwater.toml");
    std::fs::write(&path, text).expect("written");
    (dir, path)
}

fn shown(path: &Path) -> &str {
    path.to_str().expect("UTF-8")
}

fn run(mut command: Command) -> Output {
    command.output().expect("the program runs")
}

#[test]
fn what_is_printed_has_the_command_line_before_the_environment_before_the_file() {
    let (_dir, path) = file(&format!("source = {MEDIA:?}\nprefetch = 1\nflights-max = 10\nthreads = 1\n"));
    let mut print = command(&["config", "print", shown(&path), "--prefetch", "3"]);
    print.env("HEADWATER_PREFETCH", "2").env("HEADWATER_FLIGHTS_MAX", "20").env("HEADWATER_PORT", "tcp://10.0.0.1:80");
    let output = run(print);
    assert!(output.status.success(), "{}", text(&output.stderr));
    let printed = text(&output.stdout);
    for line in ["prefetch = 3", "flights-max = 20", "threads = 1", "segment-duration = \"6s\"  # default"] {
        assert!(printed.lines().any(|one| one == line), "{line:?} is not in\n{printed}");
    }
    // What is printed is a file that comes to the same.
    let (_dir, again) = file(&printed);
    let output = run(command(&["config", "print", shown(&again)]));
    assert_eq!(text(&output.stdout), printed);
}

#[test]
fn check_says_where_a_file_is_wrong() {
    let (_dir, path) = file(&format!("source = {MEDIA:?}\n"));
    let mut check = command(&["config", "check", shown(&path)]);
    check.env("HEADWATER_PORT", "tcp://10.0.0.1:80");
    let output = run(check);
    assert!(output.status.success());
    let said = text(&output.stdout);
    assert!(said.contains("HEADWATER_PORT is no key") && said.contains("headwater.toml: right, for "), "{said}");
    for (content, expected) in [
        ("source = \".\"\n\nsegment-lenght = \"4s\"\n", "headwater.toml:3: unknown field `segment-lenght`"),
        ("source = \".\"\nlog = \"a=b=c\"\n", "log: "),
        ("source = \"nowhere\"\n", "nowhere: there is nothing to serve"),
    ] {
        let (_dir, path) = file(content);
        let output = run(command(&["config", "check", shown(&path)]));
        let said = text(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{content:?}");
        assert!(said.contains(expected) && said.lines().count() == 1, "{said}");
    }
}

/// A server of the program, and its log.
struct Serving {
    child: Child,
    log: BufReader<ChildStderr>,
}

impl Serving {
    /// What the file at `path` says.
    fn of(path: &Path) -> Serving {
        let mut command = command(&["serve", shown(path)]);
        let mut child = command.stderr(Stdio::piped()).stdout(Stdio::null()).spawn().expect("the program runs");
        let log = BufReader::new(child.stderr.take().expect("piped"));
        Serving { child, log }
    }

    /// The next line of the log with `message`.
    fn said(&mut self, message: &str) -> serde_json::Value {
        for line in self.log.by_ref().lines() {
            let line = line.expect("the log is UTF-8");
            if line.contains(&format!("\"message\":\"{message}\"")) {
                return serde_json::from_str(&line).expect("JSON");
            }
        }
        panic!("the log ended without {message}");
    }

    fn signal(&self, signal: Signal) {
        let pid = Pid::from_child(&self.child);
        kill_process(pid, signal).expect("it runs");
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        // Already ended, if all went well.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn status(address: &str, path: &str) -> String {
    let mut stream = TcpStream::connect(address).expect("it listens");
    write!(stream, "GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").expect("sent");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("answered");
    answer.split(' ').nth(1).expect("a status line").to_owned()
}

#[test]
fn a_changed_file_is_taken_over_at_a_signal_and_a_wrong_one_is_not() {
    let base = format!("source = {MEDIA:?}\nlisten = \"127.0.0.1:0\"\nadmin = \"off\"\nthreads = 1\n");
    let (_dir, path) = file(&base);
    let mut server = Serving::of(&path);
    let media = server.said("serving")["media"].as_str().expect("a URL").to_owned();
    let address = media.trim_start_matches("http://");
    let long = format!("/healthz?{}", "a".repeat(300));
    assert_eq!(status(address, &long), "200");

    std::fs::write(&path, format!("{base}\nurl-max = \"256B\"\nurl-mix = 1\n")).expect("written");
    server.signal(Signal::HUP);
    let refused = server.said("configuration_refused")["error"].as_str().expect("a reason").to_owned();
    assert!(refused.contains("headwater.toml:7: unknown field `url-mix`"), "{refused}");
    assert_eq!(status(address, &long), "200");

    std::fs::write(&path, format!("{base}\nurl-max = \"256B\"\nsegment-duration = \"4s\"\n")).expect("written");
    server.signal(Signal::HUP);
    let reloaded = server.said("configuration_reloaded");
    assert_eq!(reloaded["changed"], "url-max");
    assert_eq!(reloaded["needs_restart"], "segment-duration");
    assert_eq!(status(address, &long), "414");

    server.signal(Signal::TERM);
    server.said("ended");
    assert!(server.child.wait().expect("it ends").success());
}

#[test]
fn an_admin_call_with_the_token_has_the_file_read_again_and_says_what_came_of_it() {
    let base = format!(
        "source = {MEDIA:?}\nlisten = \"127.0.0.1:0\"\nadmin = \"127.0.0.1:0\"\nthreads = 1\nLIVE\n[access]\nadmin = \"sesame-sesame-sesame\"\n"
    );
    let written = |live: &str| base.replace("LIVE", live);
    let (_dir, path) = file(&written(""));
    let mut server = Serving::of(&path);
    let serving = server.said("serving");
    let admin =
        serving["admin"].as_str().expect("a URL").trim_start_matches("http://").trim_end_matches('/').to_owned();
    let call = |method: &str, token: &str| {
        let mut stream = TcpStream::connect(&admin).expect("it listens");
        let head = format!("{method} /api/reload HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {token}\r\n");
        write!(stream, "{head}Connection: close\r\n\r\n").expect("sent");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).expect("answered");
        let (head, body) = answer.split_once("\r\n\r\n").expect("a head");
        let status = head.split(' ').nth(1).expect("a status line").to_owned();
        (status, serde_json::from_str::<serde_json::Value>(body).expect("JSON"))
    };
    let token = "sesame-sesame-sesame";
    assert_eq!(call("POST", "sesame").0, "401");
    assert_eq!(call("GET", token).0, "405");

    std::fs::write(&path, written("url-max = \"256B\"\nsegment-duration = \"4s\"")).expect("written");
    let (status, reloaded) = call("POST", token);
    assert_eq!(status, "200");
    assert_eq!(reloaded, serde_json::json!({ "changed": ["url-max"], "needs_restart": ["segment-duration"] }));
    let media = serving["media"].as_str().expect("a URL").trim_start_matches("http://").to_owned();
    let long = format!("/healthz?{}", "a".repeat(300));
    assert_eq!(crate::status(&media, &long), "414");

    std::fs::write(&path, written("url-mix = 1")).expect("written");
    let (status, refused) = call("POST", token);
    assert_eq!((status.as_str(), &refused["error"]), ("422", &"configuration_refused".into()));
    let why = refused["message"].as_str().expect("a reason");
    assert!(why.contains("headwater.toml:5: unknown field `url-mix`"), "{why}");
    assert_eq!(crate::status(&media, &long), "414", "what was in use stays in use");
}

#[test]
fn an_answer_is_in_the_access_log_with_its_id_and_what_the_player_said() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let log = dir.path().join("access.log");
    let text = format!(
        "source = {MEDIA:?}\nlisten = \"127.0.0.1:0\"\nadmin = \"off\"\nthreads = 1\n[access-log]\npath = {log:?}\n\
         [observe]\nserver-timing = true\n"
    );
    let (_dir, path) = file(&text);
    let mut server = Serving::of(&path);
    let media = server.said("serving")["media"].as_str().expect("a URL").to_owned();
    let url = "/hevc/master.m3u8?CMCD=ot%3Dm%2Csid%3D%22s1%22&token=secret";
    let mut stream = TcpStream::connect(media.trim_start_matches("http://")).expect("it listens");
    let rest = "X-Request-Id: mine-7\r\nConnection: close\r\n\r\n";
    write!(stream, "GET {url} HTTP/1.1\r\nHost: x\r\nUser-Agent: a player\r\n{rest}").expect("sent");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("answered");
    let head = answer.split("\r\n\r\n").next().expect("a head").to_ascii_lowercase();
    assert!(head.contains("\r\nx-request-id: mine-7") && head.contains("\r\nserver-timing: origin;dur="), "{head}");

    server.signal(Signal::TERM);
    server.said("ended");
    assert!(server.child.wait().expect("it ends").success());
    let lines = std::fs::read_to_string(&log).expect("a log");
    let line: serde_json::Value = serde_json::from_str(lines.trim_end()).expect("one line of JSON");
    assert_eq!((&line["id"], &line["path"]), (&"mine-7".into(), &"/hevc/master.m3u8".into()));
    assert_eq!((&line["status"], &line["user_agent"]), (&200.into(), &"a player".into()));
    assert_eq!(line["cmcd"], serde_json::json!({"ot": "m", "sid": "s1"}));
    assert_eq!(line["cache"], "headwater; fwd=uri-miss; stored");
    assert!(!lines.contains("secret"));
}
