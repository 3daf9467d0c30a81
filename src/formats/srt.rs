//! SubRip (`.srt`), which no standard describes: what its files have in common, and the markup that players know.
//!
//! ```text
//!   1
//!   00:00:01,000 --> 00:00:04,000
//!   <i>text</i>, of one line or several
//! ```

use super::cues::{self, Cue, Cues, Fault, Look, PAYLOAD_BYTES_MAX, Palette};
use super::webvtt;

/// The cues of `text`. The error says why there is none at all.
pub fn parse(text: &str) -> Result<Cues, Fault> {
    let lines: Vec<&str> = webvtt::lines(text).collect();
    // A cue goes to the number before the next timing line, though there are blank lines in it.
    let timings: Vec<usize> = (0..lines.len()).filter(|&index| lines[index].contains("-->")).collect();
    let Some(&first) = timings.first() else { return Err(Fault::new(1, "no cue in it: not SubRip")) };
    let mut cues = Cues::default();
    let mut palette = Palette::default();
    let begins = |timing: usize| {
        let number = timing.checked_sub(1).map(|before| lines[before].trim()).unwrap_or_default();
        let is_number = !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit());
        if is_number { timing - 1 } else { timing }
    };
    if let Some(stray) = lines[..begins(first)].iter().position(|line| !line.trim().is_empty()) {
        cues.faults.push(stray as u32 + 1, "text before the first cue");
    }
    for (index, &timing) in timings.iter().enumerate() {
        let end = timings.get(index + 1).map_or(lines.len(), |&next| begins(next)).max(timing + 1);
        let line = timing as u32 + 1;
        let Some((start_ms, end_ms)) = times(lines[timing]) else {
            cues.faults.push(line, "times that can't be read");
            continue;
        };
        let text = lines[timing + 1..end].join("\n");
        if text.len() > PAYLOAD_BYTES_MAX {
            cues.faults.push(line, format!("a cue of more than {PAYLOAD_BYTES_MAX} bytes"));
            continue;
        }
        let (payload, settings) = cue_text(text.trim_matches(['\n', ' ', '\t']), &mut palette);
        cues.push(Cue { id: String::new(), start_ms, end_ms, settings, payload }, line);
    }
    cues.head = palette.head();
    cues.sort();
    Ok(cues)
}

/// `00:00:01,000 --> 00:00:04,000`; coordinates may follow.
fn times(line: &str) -> Option<(u64, u64)> {
    let (start, end) = line.split_once("-->")?;
    Some((time(start.trim())?, time(end.split_whitespace().next()?)?))
}

/// `h:mm:ss,ttt`, with a comma or a point, and one to three digits behind it.
fn time(clock: &str) -> Option<u64> {
    let (clock, fraction) = clock.split_once([',', '.']).unwrap_or((clock, "0"));
    let digits = |text: &str, most: usize| {
        let fits = !text.is_empty() && text.len() <= most && text.bytes().all(|byte| byte.is_ascii_digit());
        if fits { text.parse::<u64>().ok() } else { None }
    };
    let scale = [0, 100, 10, 1].get(fraction.len()).copied()?;
    let mut parts = clock.split(':');
    let (hours, minutes, seconds) = (digits(parts.next()?, 4)?, digits(parts.next()?, 2)?, digits(parts.next()?, 2)?);
    if parts.next().is_some() || minutes > 59 || seconds > 59 {
        return None;
    }
    Some(((hours * 60 + minutes) * 60 + seconds) * 1000 + digits(fraction, 3)? * scale)
}

/// What is longer is no tag, and nobody looks for its end.
const TAG_BYTES_MAX: usize = 200;
/// Tags that may be open at once.
const DEPTH_MAX: usize = 16;

/// The WebVTT cue text and settings of SubRip's text: `<i>`, `<b>`, `<u>`, `<font color>`, and of SubStation's overrides
/// `{\i1}`, `{\b1}`, `{\u1}` and `{\an8}`; other overrides are taken out, other tags are text.
fn cue_text(text: &str, palette: &mut Palette) -> (String, String) {
    let mut runs: Vec<(String, Look)> = Vec::new();
    let mut open: Vec<(String, Look)> = Vec::new();
    let mut look = Look::default();
    let mut settings = String::new();
    let mut plain = String::new();
    let mut rest = text;
    while let Some(at) = rest.find(['<', '{', '&']) {
        let (before, from) = rest.split_at(at);
        plain.push_str(before);
        let before_tag = look;
        let taken = if from.starts_with('<') {
            tag(from, &mut look, &mut open)
        } else if from.starts_with('{') {
            overrides(from, &mut look, &mut settings)
        } else {
            entity(from).map(|(c, len)| {
                plain.push(c);
                len
            })
        };
        match taken {
            Some(len) => {
                if look != before_tag {
                    runs.push((std::mem::take(&mut plain), before_tag));
                }
                rest = &from[len..];
            }
            None => {
                plain.push_str(&from[..1]);
                rest = &from[1..];
            }
        }
    }
    plain.push_str(rest);
    runs.push((plain, look));
    (palette.cue_text(&runs), settings)
}

/// The length of the tag that `from` begins with, if it is one that is known.
fn tag(from: &str, look: &mut Look, open: &mut Vec<(String, Look)>) -> Option<usize> {
    let len = from.bytes().take(TAG_BYTES_MAX).position(|byte| byte == b'>')? + 1;
    let inside = &from[1..len - 1];
    let (closes, name) = match inside.strip_prefix('/') {
        Some(name) => (true, name.trim().to_ascii_lowercase()),
        None => (false, inside.split_whitespace().next().unwrap_or_default().to_ascii_lowercase()),
    };
    if !matches!(name.as_str(), "i" | "b" | "u" | "font") {
        return None;
    }
    if closes {
        if let Some(at) = open.iter().rposition(|(opened, _)| *opened == name) {
            *look = open[at].1;
            open.truncate(at);
        }
        return Some(len);
    }
    if open.len() < DEPTH_MAX {
        open.push((name.clone(), *look));
        match name.as_str() {
            "i" => look.italic = true,
            "b" => look.bold = true,
            "u" => look.underline = true,
            _ => {
                let value = inside.to_ascii_lowercase().split_once("color=").map(|(_, value)| value.to_owned());
                let value = value.as_deref().and_then(|value| value.split_whitespace().next());
                look.colour = value.and_then(|value| cues::colour(value.trim_matches(['"', '\'']))).or(look.colour);
            }
        }
    }
    Some(len)
}

/// The length of the override block that `from` begins with.
fn overrides(from: &str, look: &mut Look, settings: &mut String) -> Option<usize> {
    let len = from.bytes().take(TAG_BYTES_MAX).position(|byte| byte == b'}')? + 1;
    let inside = from[1..len - 1].strip_prefix('\\')?;
    for code in inside.split('\\') {
        match code {
            "i1" | "i0" => look.italic = code == "i1",
            "b1" | "b0" => look.bold = code == "b1",
            "u1" | "u0" => look.underline = code == "u1",
            _ => {
                if let Some(numpad @ 1..=9) = code.strip_prefix("an").and_then(|n| n.parse::<u8>().ok())
                    && settings.is_empty()
                {
                    *settings = position(numpad);
                }
            }
        }
    }
    Some(len)
}

/// Where the digits of a number pad lie, as cue settings; 2 is where cues are anyway.
fn position(numpad: u8) -> String {
    let line = ["", "line:50%,center", "line:0"][usize::from((numpad - 1) / 3)];
    let align = ["align:start", "", "align:end"][usize::from((numpad - 1) % 3)];
    [line, align].iter().filter(|word| !word.is_empty()).copied().collect::<Vec<_>>().join(" ")
}

/// The character and the length of the entity that `from` begins with.
fn entity(from: &str) -> Option<(char, usize)> {
    let known = [("&amp;", '&'), ("&lt;", '<'), ("&gt;", '>'), ("&nbsp;", '\u{a0}'), ("&quot;", '"')];
    known.iter().find(|(name, _)| from.starts_with(name)).map(|(name, c)| (*c, name.len()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn shown(text: &str) -> Vec<(u64, u64, String, String)> {
        let cues = parse(text).expect("cues").cues;
        cues.into_iter().map(|cue| (cue.start_ms, cue.end_ms, cue.settings, cue.payload)).collect()
    }

    #[test]
    fn what_files_have_in_common_is_read() {
        let text = "1\r\n00:00:01,000 --> 00:00:02,500\r\nTwo\r\nlines\r\n\r\n2\r\n0:00:03.5 --> 00:00:04,000 X1:0 X2:9\r\n\
            with a\r\n\r\nblank one\r\n\r\n00:01:00,000 --> 01:00:00,000\r\nno number\r\n";
        let expected = [
            (1000, 2500, String::new(), "Two\nlines".to_owned()),
            (3500, 4000, String::new(), "with a\nblank one".to_owned()),
            (60_000, 3_600_000, String::new(), "no number".to_owned()),
        ];
        assert_eq!(shown(text), expected);
    }

    #[test]
    fn markup_becomes_that_of_web_vtt() {
        let one = |text: &str| {
            let mut found = shown(&format!("1\n00:00:00,000 --> 00:00:01,000\n{text}\n"));
            let (_, _, settings, payload) = found.remove(0);
            (settings, payload)
        };
        assert_eq!(one("<I>slanted <b>and heavy</I> x").1, "<i>slanted </i><b><i>and heavy</i></b> x");
        assert_eq!(one("<font color=\"#ffff00\">yellow</font> a < b & c").1, "<c.yellow>yellow</c> a &lt; b &amp; c");
        assert_eq!(one("{\\an8}top"), ("line:0".into(), "top".into()));
        assert_eq!(one("{\\an1\\i1}left"), ("align:start".into(), "<i>left</i>".into()));
        assert_eq!(one("{not an override} <3 &amp; &lt;i&gt;").1, "{not an override} &lt;3 &amp; &lt;i&gt;");
    }

    #[test]
    fn a_bad_cue_costs_itself_alone() {
        let text = "stray\n1\n00:00:01,000 --> 00:00:99,000\nbad\n\n2\n00:00:05,000 --> 00:00:04,000\nbackwards\n\n3\n00:00:06,000 --> 00:00:07,000\ngood\n";
        let cues = parse(text).expect("cues");
        assert_eq!(cues.cues.len(), 1);
        let faults: Vec<String> = cues.faults.first.iter().map(ToString::to_string).collect();
        let expected = [
            "line 1: text before the first cue",
            "line 3: times that can't be read",
            "line 7: a cue that ends before it begins",
        ];
        assert_eq!(faults, expected);
        assert!(parse("nothing here").is_err());
    }

    #[test]
    fn tags_that_never_end_took_the_square_of_their_number() {
        let text = format!("1\n00:00:00,000 --> 00:00:01,000\n{}\n", "<{".repeat(4 << 20));
        assert_eq!(parse(&text).expect("read").faults.first[0].line, 2);
        let text = format!("1\n00:00:00,000 --> 00:00:01,000\n{}\n", "<{".repeat(8000)).repeat(10);
        assert_eq!(parse(&text).expect("read").cues.len(), 0, "as escaped text they are too long");
    }

    proptest! {
        #[test]
        fn any_text_is_cues_or_a_fault(text in "([0-9:,.<>{}/&; a-z\\\\\n\r-]|-->|00:00:01,000|<i>|ä){0,60}") {
            let _ = parse(&text);
        }

        #[test]
        fn written_is_read(start in 0u64..10_000_000, lasts in 1u64..10_000) {
            let clock = |ms: u64| format!("{:02}:{:02}:{:02},{:03}", ms / 3_600_000, ms / 60_000 % 60, ms / 1000 % 60, ms % 1000);
            let text = format!("1\n{} --> {}\nx", clock(start), clock(start + lasts));
            prop_assert_eq!(shown(&text), vec![(start, start + lasts, String::new(), "x".to_owned())]);
        }
    }
}
