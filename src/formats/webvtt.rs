//! WebVTT (W3C WebVTT §4), written.

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
    write_time(out, cue.start_ms);
    out.extend_from_slice(b" --> ");
    write_time(out, cue.end_ms.max(cue.start_ms + 1));
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

/// `hh:mm:ss.ttt` (§4.2): hours have two digits or more.
fn write_time(out: &mut Vec<u8>, ms: u64) {
    let (hours, minutes, seconds) = (ms / 3_600_000, ms / 60_000 % 60, ms / 1000 % 60);
    out.extend_from_slice(format!("{hours:02}:{minutes:02}:{seconds:02}.{:03}", ms % 1000).as_bytes());
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
fn lines(text: &str) -> impl Iterator<Item = &str> {
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
}
