//! WebVTT (W3C WebVTT §4): read as §6 says, and written.

use super::cues::{self, Cues, Fault, HEAD_BYTES_MAX, tidy_lines};

/// A cue: what is shown, when, and where.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Cue<'a> {
    /// Cue identifier; empty if there is none.
    pub id: &'a str,
    /// When it appears, in milliseconds.
    pub start_ms: u64,
    /// When it goes, in milliseconds; after the start.
    pub end_ms: u64,
    /// Cue settings, `line:0 position:20%`; empty if there are none.
    pub settings: &'a str,
    /// Cue payload, of one line or several.
    pub payload: &'a str,
}

/// Appends the head of a file: the signature, `headers` (lines of `Name=value` or `Name: value` that follow it at once), then
/// the blocks of `head`, which is what another file has before its first cue (its signature and headers included): its styles
/// and regions stay, an X-TIMESTAMP-MAP of its own does not.
pub fn write_head(out: &mut Vec<u8>, headers: &[&str], head: &str) {
    let head = head.strip_prefix('\u{feff}').unwrap_or(head);
    let mut lines = lines(head).peekable();
    lines.next_if(|line| line.starts_with("WEBVTT"));
    out.extend_from_slice(b"WEBVTT\n");
    for header in headers {
        push_line(out, header);
    }
    while let Some(line) = lines.next_if(|line| !line.is_empty()) {
        if !line.starts_with("X-TIMESTAMP-MAP") {
            push_line(out, line);
        }
    }
    let blocks = Blocks { lines };
    for block in blocks {
        out.push(b'\n');
        block.iter().for_each(|line| push_line(out, line));
    }
}

/// Appends `cue` after a blank line. What would end it early or begin another is taken out of its text.
pub fn write_cue(out: &mut Vec<u8>, cue: &Cue<'_>) {
    out.push(b'\n');
    let id = lines(cue.id).next().unwrap_or_default();
    if !id.is_empty() && !id.contains("-->") {
        push_line(out, id);
    }
    out.extend_from_slice(written_time(cue.start_ms).as_bytes());
    out.extend_from_slice(b" --> ");
    out.extend_from_slice(written_time(cue.end_ms.max(cue.start_ms + 1)).as_bytes());
    let settings = cue.settings.trim();
    if !settings.is_empty() && !settings.contains("-->") {
        out.push(b' ');
        settings.chars().map(|c| if c.is_control() { ' ' } else { c }).for_each(|c| push_char(out, c));
    }
    out.push(b'\n');
    for line in lines(cue.payload).filter(|line| !line.is_empty()) {
        // An arrow in a line makes it a cue's timings (§6.3).
        let mut parts = line.split("-->");
        out.extend_from_slice(parts.next().unwrap_or_default().as_bytes());
        for part in parts {
            out.extend_from_slice(b"--&gt;");
            out.extend_from_slice(part.as_bytes());
        }
        out.push(b'\n');
    }
}

/// `ms` as `hh:mm:ss.ttt` (§4.2): hours have two digits or more.
pub fn written_time(ms: u64) -> String {
    let (hours, minutes, seconds) = (ms / 3_600_000, ms / 60_000 % 60, ms / 1000 % 60);
    format!("{hours:02}:{minutes:02}:{seconds:02}.{:03}", ms % 1000)
}

/// Reads a file. The error says why it is none; what is wrong with a cue costs that cue, and is a fault of the result.
pub fn parse(text: &str) -> Result<Cues, Fault> {
    let mut lines = (1u32..).zip(lines(text)).peekable();
    let (_, signature) = lines.next().unwrap_or((1, ""));
    if !signature.strip_prefix("WEBVTT").is_some_and(|rest| rest.is_empty() || rest.starts_with([' ', '\t'])) {
        return Err(Fault::new(1, "no WEBVTT at its start: not WebVTT"));
    }
    let mut read = Cues::default();
    read.head.push_str(signature);
    while let Some((_, header)) = lines.next_if(|(_, line)| !line.is_empty() && !line.contains("-->")) {
        // It maps to a transport stream, and there is none.
        if !header.starts_with("X-TIMESTAMP-MAP") {
            push_head(&mut read, [header]);
        }
        if let Some(language) = header.strip_prefix("Language:") {
            read.language = Some(language.trim().to_owned());
        }
    }
    let mut has_cues = false;
    while let Some((number, first)) = lines.find(|(_, line)| !line.is_empty()) {
        let (mut id, mut timing) = ("", (number, first));
        if !first.contains("-->") {
            match lines.next_if(|(_, line)| line.contains("-->")) {
                Some(next) => (id, timing) = (first, next),
                None => {
                    let mut block = vec![first];
                    while let Some((_, line)) = lines.next_if(|(_, line)| !line.is_empty() && !line.contains("-->")) {
                        block.push(line);
                    }
                    match first.trim_end_matches([' ', '\t']) {
                        // Styles and regions stand before the first cue (§4.1).
                        "STYLE" | "REGION" if !has_cues => push_head(&mut read, [""].into_iter().chain(block)),
                        "STYLE" | "REGION" => read.faults.push(number, "a style or region after the first cue"),
                        _ if first == "NOTE" || first.starts_with("NOTE ") || first.starts_with("NOTE\t") => {}
                        _ => read.faults.push(number, "a block that is no cue"),
                    }
                    continue;
                }
            }
        }
        has_cues = true;
        let mut payload = Vec::new();
        while let Some((_, line)) = lines.next_if(|(_, line)| !line.is_empty() && !line.contains("-->")) {
            payload.push(line);
        }
        let (line, timing) = timing;
        match times(timing) {
            Some((start_ms, end_ms, settings)) => {
                let payload = tidy_lines(&payload.join("\n").replace('\0', "\u{fffd}"));
                let text = |text: &str| text.trim().replace('\0', "\u{fffd}");
                let cue = cues::Cue { id: text(id), start_ms, end_ms, settings: text(settings), payload };
                read.push(cue, line);
            }
            None => read.faults.push(line, "cue timings that can't be read"),
        }
    }
    read.sort();
    Ok(read)
}

fn push_head<'a>(read: &mut Cues, lines: impl IntoIterator<Item = &'a str>) {
    for line in lines {
        if read.head.len() + line.len() < HEAD_BYTES_MAX {
            read.head.push('\n');
            read.head.push_str(line);
        }
    }
}

/// `00:01.000 --> 00:02.000 line:0`: start and end in milliseconds, and the settings (§6.3).
fn times(line: &str) -> Option<(u64, u64, &str)> {
    let (start, rest) = line.split_once("-->")?;
    let rest = rest.trim_start();
    let end = rest.find(|c: char| !(c.is_ascii_digit() || matches!(c, ':' | '.'))).unwrap_or(rest.len());
    Some((timestamp(start.trim())?, timestamp(&rest[..end])?, rest[end..].trim()))
}

/// `[hh:]mm:ss.ttt` in milliseconds (§4.3): hours of two digits or more, or none.
pub fn timestamp(clock: &str) -> Option<u64> {
    let digits = |text: &str, least: usize, most: usize| {
        let fits = (least..=most).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_digit());
        if fits { text.parse::<u64>().ok() } else { None }
    };
    let (clock, thousandths) = clock.split_once('.')?;
    let mut parts = clock.rsplit(':');
    let (seconds, minutes) = (digits(parts.next()?, 2, 2)?, digits(parts.next()?, 2, 2)?);
    let hours = parts.next().map_or(Some(0), |hours| digits(hours, 2, 6))?;
    if parts.next().is_some() || minutes > 59 || seconds > 59 {
        return None;
    }
    Some(((hours * 60 + minutes) * 60 + seconds) * 1000 + digits(thousandths, 3, 3)?)
}

/// `payload` with its timestamp tags (`<00:00:05.000>`, §4.2.2) later by `offset_ms`; `None` if it has none.
pub fn shifted(payload: &str, offset_ms: i64) -> Option<String> {
    let mut out = String::new();
    let mut rest = payload;
    let mut found = false;
    while let Some(at) = rest.find('<') {
        let (before, tag) = rest.split_at(at + 1);
        out.push_str(before);
        rest = tag;
        // No timestamp is longer, and where others end does not matter.
        let end = tag.bytes().take(20).position(|byte| byte == b'>').unwrap_or(0);
        if let Some(ms) = timestamp(&tag[..end]) {
            out.push_str(&written_time(ms.saturating_add_signed(offset_ms)));
            rest = &tag[end..];
            found = true;
        }
    }
    out.push_str(rest);
    found.then_some(out)
}

/// Groups of lines between blank ones; those with an arrow are cues, which a head cannot have.
struct Blocks<I> {
    lines: I,
}

impl<'a, I: Iterator<Item = &'a str>> Iterator for Blocks<I> {
    type Item = Vec<&'a str>;

    fn next(&mut self) -> Option<Vec<&'a str>> {
        loop {
            let mut block = vec![self.lines.by_ref().find(|line| !line.is_empty())?];
            block.extend(self.lines.by_ref().take_while(|line| !line.is_empty()));
            if !block.iter().any(|line| line.contains("-->")) {
                return Some(block);
            }
        }
    }
}

/// Lines as WebVTT ends them: CR LF, LF or CR (§4.1).
pub(crate) fn lines(text: &str) -> impl Iterator<Item = &str> {
    text.split('\n').flat_map(|line| line.strip_suffix('\r').unwrap_or(line).split('\r'))
}

fn push_line(out: &mut Vec<u8>, line: &str) {
    out.extend_from_slice(line.as_bytes());
    out.push(b'\n');
}

fn push_char(out: &mut Vec<u8>, c: char) {
    out.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn written(write: impl FnOnce(&mut Vec<u8>)) -> String {
        let mut out = Vec::new();
        write(&mut out);
        String::from_utf8(out).expect("text")
    }

    #[test]
    fn a_head_keeps_styles_and_regions() {
        let head = "\u{feff}WEBVTT - made by hand\r\nX-TIMESTAMP-MAP=MPEGTS:900000,LOCAL:00:00:00.000\r\nKind: captions\r\n\r\n\
            STYLE\r\n::cue { color: lime }\r\n\r\n\r\nREGION\r\nid:fred\r\n\r\n00:00.000 --> 00:01.000\r\nnot here\r\n";
        insta::assert_snapshot!(written(|out| write_head(out, &["X-TIMESTAMP-MAP=MPEGTS:0,LOCAL:00:00:00.000"], head)), @"
        WEBVTT
        X-TIMESTAMP-MAP=MPEGTS:0,LOCAL:00:00:00.000
        Kind: captions

        STYLE
        ::cue { color: lime }

        REGION
        id:fred
        ");
    }

    #[test]
    fn a_head_without_a_signature_is_none_the_worse() {
        assert_eq!(written(|out| write_head(out, &[], "")), "WEBVTT\n");
        assert_eq!(written(|out| write_head(out, &[], "\n\nSTYLE\n::cue {}")), "WEBVTT\n\nSTYLE\n::cue {}\n");
    }

    #[test]
    fn a_cue_cannot_end_early_or_begin_another() {
        let cue = Cue {
            id: "one\ntwo",
            start_ms: 3_723_004,
            end_ms: 360_000_000,
            settings: "line:0\n",
            payload: "<i>first</i>\r\n\r\nsecond --> third\rlast",
        };
        insta::assert_snapshot!(written(|out| write_cue(out, &cue)), @"
        one
        01:02:03.004 --> 100:00:00.000 line:0
        <i>first</i>
        second --&gt; third
        last
        ");
        let cue = Cue { start_ms: 5, end_ms: 5, payload: "x", ..Cue::default() };
        assert_eq!(written(|out| write_cue(out, &cue)), "\n00:00:00.005 --> 00:00:00.006\nx\n");
    }

    #[test]
    fn a_file_is_read_whole() {
        let text = "WEBVTT - by hand\r\nX-TIMESTAMP-MAP=MPEGTS:9,LOCAL:00:00:00.000\r\nLanguage: de\r\n\r\n\
            STYLE\r\n::cue {}\r\n\r\nNOTE not\r\nshown\r\n\r\nREGION\r\nid:fred\r\n\r\n\
            first\r\n00:01.500 --> 00:02.000 line:0 region:fred\r\nTwo\r\n<i>lines</i>\r\n\r\n\
            01:00:00.000-->100:00:00.001\r\nlate\n\n\r\n00:00.500 --> 00:05.000\tposition:20%\rearly\r\n00:07.000 --> 00:08.000\nclose by";
        let read = parse(text).expect("WebVTT");
        assert_eq!(read.head, "WEBVTT - by hand\nLanguage: de\n\nSTYLE\n::cue {}\n\nREGION\nid:fred");
        assert_eq!((read.language.as_deref(), &read.faults), (Some("de"), &cues::Faults::default()));
        let cue = |id: &str, start_ms, end_ms, settings: &str, payload: &str| {
            let [id, settings, payload] = [id, settings, payload].map(str::to_owned);
            cues::Cue { id, start_ms, end_ms, settings, payload }
        };
        let expected = [
            cue("", 500, 5000, "position:20%", "early"),
            cue("first", 1500, 2000, "line:0 region:fred", "Two\n<i>lines</i>"),
            cue("", 7000, 8000, "", "close by"),
            cue("", 3_600_000, 360_000_001, "", "late"),
        ];
        assert_eq!(read.cues, expected);
    }

    #[test]
    fn a_bad_cue_costs_itself_alone() {
        let text = "WEBVTT\n\n0:01 --> 0:02\nno thousandths\n\n00:02.000 --> 00:01.000\nbackwards\n\nstray\n\n00:03.000 --> 00:04.000\ngood\n\nSTYLE\n::cue {}\n";
        let read = parse(text).expect("WebVTT");
        assert_eq!(read.cues.len(), 1);
        let faults: Vec<String> = read.faults.first.iter().map(ToString::to_string).collect();
        let expected = [
            "line 3: cue timings that can't be read",
            "line 6: a cue that ends before it begins",
            "line 9: a block that is no cue",
            "line 14: a style or region after the first cue",
        ];
        assert_eq!(faults, expected);
        assert_eq!(parse("WEBVTTX").expect_err("no signature").line, 1);
        assert!(parse("").is_err());
    }

    #[test]
    fn times_inside_a_cue_move_with_it() {
        let text = "a <00:00:05.000>b<i>c</i><00:07.250> < d";
        assert_eq!(shifted(text, 1000).as_deref(), Some("a <00:00:06.000>b<i>c</i><00:00:08.250> < d"));
        assert_eq!(shifted("<i>a</i> <", 1000), None);
    }

    proptest! {
        #[test]
        fn any_text_is_cues_or_a_fault(text in "(WEBVTT)?([0-9:.a-z <>\n\r-]|-->|\n\n|STYLE|NOTE|00:01.000 --> 00:02.000|ä|\0){0,60}") {
            let _ = parse(&text);
            let _ = shifted(&text, -5);
        }

        #[test]
        fn what_was_written_is_read(list in prop::collection::vec((0u64..5_000_000, 1u64..90_000, "[a-z&;<>/ ]{0,10}[a-z]", "[a-z]{0,5}"), 0..20)) {
            let mut out = Vec::new();
            write_head(&mut out, &[], "WEBVTT");
            let mut expected: Vec<cues::Cue> = Vec::new();
            for (start_ms, lasts, payload, id) in &list {
                let end_ms = start_ms + lasts;
                write_cue(&mut out, &Cue { id, start_ms: *start_ms, end_ms, settings: "line:0", payload });
                let payload = payload.trim().to_owned();
                expected.push(cues::Cue { id: id.clone(), start_ms: *start_ms, end_ms, settings: "line:0".into(), payload });
            }
            expected.sort_by_key(|cue| cue.start_ms);
            let read = parse(std::str::from_utf8(&out).expect("text")).expect("WebVTT");
            prop_assert_eq!(read.cues, expected);
            prop_assert_eq!(read.faults, cues::Faults::default());
        }
    }
}
