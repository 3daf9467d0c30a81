//! The program as a person runs it: help, `inspect` and `check`, what they print and with which status they end.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

fn headwater(arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_headwater"));
    command.args(arguments).output().expect("the program runs")
}

fn stdout(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).expect("UTF-8")
}

fn stderr(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).expect("UTF-8")
}

fn testdata(name: &str) -> String {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata").join(name).display().to_string()
}

/// The JSON that `arguments` print, and whether the program ended well.
fn json(arguments: &[&str]) -> (serde_json::Value, bool) {
    let output = headwater(arguments);
    (serde_json::from_slice(&output.stdout).expect("JSON"), output.status.success())
}

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).expect("made");
    for entry in std::fs::read_dir(from).expect("a folder") {
        let (path, target) = entry.map(|e| (e.path(), to.join(e.file_name()))).expect("an entry");
        if path.is_dir() { copy(&path, &target) } else { std::fs::copy(&path, &target).map(drop).expect("copied") }
    }
}

#[test]
fn sample_tables_are_read_by_another_reader_too() {
    let (report, is_served) = json(&["inspect", "--json", &testdata("progressive.mp4")]);
    assert!(is_served);
    let tracks = report["tracks"].as_array().expect("tracks");
    assert!(!tracks.is_empty() && tracks.iter().all(|track| track["second_reading"] == "agrees"), "{report}");
    assert!(stdout(&headwater(&["inspect", &testdata("progressive.mp4")])).contains("Read again  agrees"));
    let (report, _) = json(&["inspect", "--json", &testdata("muxed.mp4")]);
    assert!(report["tracks"][0].get("second_reading").is_none(), "of fragments there are no tables: {report}");
}

/// A library of some of testdata's folders and files.
fn library(names: &[&str]) -> (tempfile::TempDir, PathBuf) {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let root = dir.path().join("library");
    std::fs::create_dir(&root).expect("made");
    for name in names {
        let (from, to) = (PathBuf::from(testdata(name)), root.join(name));
        if from.is_dir() { copy(&from, &to) } else { std::fs::copy(&from, &to).map(drop).expect("copied") }
    }
    (dir, root)
}

#[test]
fn help_says_what_there_is() {
    let help = stdout(&headwater(&["--help"]));
    for word in ["serve", "inspect", "check", "Examples:"] {
        assert!(help.contains(word), "{word} is not in\n{help}");
    }
    let help = stdout(&headwater(&["check", "--help"]));
    for word in ["--write", "--json", "presentation.toml"] {
        assert!(help.contains(word), "{word} is not in\n{help}");
    }
    let nothing = headwater(&["inspect"]);
    assert_eq!(nothing.status.code(), Some(2));
    assert!(stderr(&nothing).contains("<FILE>"));
}

#[test]
fn inspect_shows_each_track_of_a_file() {
    let output = headwater(&["inspect", &testdata("ac3.mp4")]);
    assert!(output.status.success());
    let text = stdout(&output);
    for line in [
        "Track 1  video1  video  avc1.64000c",
        "  Picture     160x90, 24 fps, 8 bit",
        "Track 2  audio1  audio  ec-3",
        "  Sound       2 channels, 48000 Hz",
        "  Language    de",
        "  Edit list   0 from 1024: 1024 ticks are taken off",
        "  Samples     144, 3 sync points at 0.000 2.000 4.000 s; GOPs of 2.000 to 2.000 s, median 2.000 s",
        "  Fragments   3: 3 rebuilt: it came with other tracks",
    ] {
        assert!(text.lines().any(|l| l == line), "{line:?} is not in\n{text}");
    }
}

#[test]
fn inspect_in_json_is_what_is_served() {
    let (file, served) = json(&["inspect", "--json", &testdata("encrypted-cenc.mp4")]);
    assert!(served);
    assert_eq!(file["error"], serde_json::Value::Null);
    assert_eq!(file["duration_s"], 8.0);
    let track = &file["tracks"][0];
    assert_eq!(track["protection"]["scheme"], "cenc");
    assert_eq!(track["protection"]["default_kid"], "10111213-1415-1617-1819-202122232425");
    assert_eq!(track["protection"]["systems"][0]["id"], "1077efec-c0b2-4d02-ace3-3c1e52e2fb4b");
    assert_eq!(track["served"]["samples"], 192);
    assert_eq!(track["served"]["fragments"]["intact"], 4);
    assert_eq!(track["served"]["segments"]["count"], 2);
    assert_eq!(track["served"]["segments"]["longest_s"], 6.0);
    assert_eq!(track["served"]["sync_points"]["gop_median_s"], 2.0);

    let (file, _) = json(&["inspect", "--json", &testdata("shape-empty-edit.mp4")]);
    let sound = &file["tracks"][1]["served"];
    assert_eq!((&sound["delay_ticks"], &sound["media_time_ticks"]), (&3840.into(), &1024.into()));
}

#[test]
fn inspect_says_what_is_wrong_and_where() {
    for (name, expected) in [
        ("broken-empty.mp4", "broken-empty.mp4: the file is empty (at 0x0)"),
        ("broken-not-mp4.mp4", "not an MP4 file"),
        ("broken-tiny-child.mp4", "a box of 4 bytes is smaller than its own head (moov/mvhd at 0x24)"),
        ("packaging/video/init.mp4", "an initialization segment: its media lies in other files"),
        ("packaging/video/001.m4s", "a media segment: its initialization segment is another file"),
        ("nowhere.mp4", "nowhere.mp4: No such file"),
        ("tour", "is a folder"),
    ] {
        let output = headwater(&["inspect", &testdata(name)]);
        assert_eq!(output.status.code(), Some(1), "{name}");
        let error = stderr(&output);
        assert!(error.contains(expected) && error.lines().count() == 1, "{name}: {error}");
    }
    let (file, served) = json(&["inspect", "--json", &testdata("packaging/video/init.mp4")]);
    assert!(!served);
    assert!(file["error"].as_str().is_some_and(|why| why.contains("an initialization segment")));
    assert_eq!(file["tracks"][0]["codec"], "avc1.64000c");
    assert_eq!(file["tracks"][0]["served"], serde_json::Value::Null);
    // What can be served is, with a warning.
    let output = headwater(&["inspect", &testdata("broken-truncated.mp4")]);
    assert!(output.status.success());
    assert!(stdout(&output).contains("broken-truncated.mp4: a box of 472 bytes, 44 left in the file (moof at 0x17ae)"));
}

#[test]
fn inspect_has_an_answer_for_every_file_of_testdata() {
    let mut folders = vec![PathBuf::from(testdata(""))];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).expect("a folder") {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                folders.push(path);
                continue;
            }
            let output = headwater(&["inspect", "--json", &path.display().to_string()]);
            let report: serde_json::Value = serde_json::from_slice(&output.stdout).expect("JSON");
            let code = if report["error"].is_null() { 0 } else { 1 };
            assert_eq!(output.status.code(), Some(code), "{}", path.display());
        }
    }
}

/// Name, rule and tracks' names of what `check` found.
fn found(report: &serde_json::Value) -> Vec<(String, String, Vec<String>)> {
    let text = |value: &serde_json::Value| value.as_str().expect("text").to_owned();
    let tracks =
        |p: &serde_json::Value| p["tracks"].as_array().expect("a list").iter().map(|t| text(&t["name"])).collect();
    let all = report["presentations"].as_array().expect("a list");
    all.iter().map(|p| (text(&p["name"]), text(&p["rule"]), tracks(p))).collect()
}

#[test]
fn check_writes_down_what_it_found_and_finds_it_again() {
    let (_dir, root) = library(&["tour", "packaging", "packaging-flat", "muxed.mp4"]);
    let dir = root.display().to_string();
    let (before, _) = json(&["check", &dir, "--json"]);
    assert!(before["written"].as_array().is_some_and(Vec::is_empty));
    let (report, well) = json(&["check", &dir, "--json", "--write"]);
    assert!(well, "{report:#}");
    assert_eq!(found(&report), found(&before));
    let sidecars = ["packaging", "packaging-flat", "tour"].map(|name| root.join(name).join("presentation.toml"));
    let written: Vec<PathBuf> =
        report["written"].as_array().expect("a list").iter().map(|path| path.as_str().expect("text").into()).collect();
    assert_eq!(written, sidecars);

    let (again, well) = json(&["check", &dir, "--json", "--write"]);
    assert!(well);
    assert!(again["written"].as_array().is_some_and(Vec::is_empty));
    let said = |(name, rule, tracks): (String, String, Vec<String>)| match name.as_str() {
        "muxed" => (name, rule, tracks),
        _ => (name, "presentation.toml says so".to_owned(), tracks),
    };
    let expected: Vec<_> = found(&report).into_iter().map(said).collect();
    assert_eq!(found(&again), expected);
}

#[test]
fn check_never_writes_over_a_sidecar() {
    let (_dir, root) = library(&["tour"]);
    let sidecar = root.join("tour/presentation.toml");
    let text = "[[file]]\npath = \"video-90p.mp4\"\nname = \"small\"\n";
    std::fs::write(&sidecar, text).expect("written");
    let (report, well) = json(&["check", &root.display().to_string(), "--json", "--write"]);
    assert!(well);
    assert_eq!(std::fs::read_to_string(&sidecar).expect("read"), text);
    assert_eq!(found(&report)[0].1, "presentation.toml says so");
}

#[test]
fn check_fails_if_something_would_not_be_served() {
    let began = std::time::Instant::now();
    let (_dir, root) = library(&["hevc.mp4", "broken-truncated.mp4"]);
    let dir = root.display().to_string();
    let output = headwater(&["check", &dir]);
    assert!(output.status.success(), "a warning is no failure");
    let text = stdout(&output);
    assert!(text.starts_with(&format!("{dir}: 1 ok, 1 with warnings, 0 not served\n")), "{text}");
    if began.elapsed() < std::time::Duration::from_secs(2) {
        assert!(text.contains("taken as they are"), "files copied just now are looked at, and it is said:\n{text}");
    }

    std::fs::write(root.join("notes.mp4"), b"these are notes, not a film").expect("written");
    let output = headwater(&["check", &dir]);
    assert_eq!(output.status.code(), Some(1));
    let text = stdout(&output);
    assert!(text.contains("NOT SERVED  notes"), "{text}");
    assert!(text.contains("notes.mp4: not an MP4 file"), "{text}");
    assert_eq!(headwater(&["check", &root.join("nowhere").display().to_string()]).status.code(), Some(1));
}

#[test]
fn a_stray_segment_took_the_films_beside_it_along() {
    let (_dir, root) = library(&[]);
    std::fs::create_dir(root.join("films")).expect("made");
    for (from, to) in [("hevc.mp4", "a.mp4"), ("packaging/video/001.m4s", "stray.m4s")] {
        std::fs::copy(testdata(from), root.join("films").join(to)).expect("copied");
    }
    let (report, well) = json(&["check", &root.display().to_string(), "--json"]);
    assert!(!well);
    let names: Vec<String> = found(&report).into_iter().map(|(name, ..)| name).collect();
    assert_eq!(names, ["films", "films/a"]);
    assert_eq!(report["presentations"][1]["verdict"], "ok");
    let why = report["presentations"][0]["warnings"][0].as_str().expect("a reason");
    assert!(why.contains("stray.m4s: a media segment, but there is no initialization segment"), "{why}");
}

#[test]
fn inspect_reads_subtitles_and_says_of_manifests_that_they_are_not_read() {
    let (said, well) = json(&["inspect", "--json", &testdata("muxed.de.sdh.ttml")]);
    assert!(well, "{said}");
    assert_eq!((&said["text"]["language"], &said["text"]["roles"][0]), (&"de".into(), &"caption".into()));
    assert!(said["text"]["cues"].as_u64().expect("a number") > 0);
    let text = headwater(&["inspect", &testdata("muxed.en.vtt")]);
    assert!(stdout(&text).contains("subtitles, ") && stdout(&text).contains("they are served beside media"));

    let dir = tempfile::tempdir().expect("a temporary directory");
    let broken = dir.path().join("broken.vtt");
    std::fs::write(&broken, "WEBVTT\n\nno cue\n").expect("written");
    let broken = headwater(&["inspect", &broken.display().to_string()]);
    assert!(!broken.status.success());
    assert!(stderr(&broken).contains("there is no cue in it"), "{}", stderr(&broken));
    let manifest = headwater(&["inspect", &testdata("packaging/manifest.mpd")]);
    assert!(!manifest.status.success());
    assert!(stderr(&manifest).contains("a manifest, which is not read"), "{}", stderr(&manifest));
}
