//! Cues: what every text format is read into. The words are WebVTT's, since that is what is served.

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::fmt;

/// The largest text file that is read, in bytes: the subtitles of a long film are a hundredth of it.
pub const FILE_BYTES_MAX: u64 = 8 << 20;
/// The most cues of a text.
pub const CUES_MAX: usize = 200_000;
/// The longest payload of a cue, in bytes: more than a screen holds, many times over.
pub const PAYLOAD_BYTES_MAX: usize = 16 << 10;
/// The most bytes of all cues of a text: times that nest may show a text many times.
pub const CUES_BYTES_MAX: usize = 16 << 20;
/// The longest head, in bytes.
pub const HEAD_BYTES_MAX: usize = 256 << 10;
/// Faults that are kept with their places; of others only the number is.
const FAULTS_MAX: usize = 20;
/// The latest time of a cue: a thousand hours, in milliseconds.
pub const TIME_MS_MAX: u64 = 3_600_000_000;

/// A cue: what is shown, when, and where.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Cue {
    /// WebVTT cue identifier; empty if there is none.
    pub id: String,
    /// When it appears, in milliseconds.
    pub start_ms: u64,
    /// When it goes, in milliseconds; after the start.
    pub end_ms: u64,
    /// WebVTT cue settings; empty if there are none.
    pub settings: String,
    /// WebVTT cue text, of one line or several, none of them blank.
    pub payload: String,
}

/// The cues of a text.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Cues {
    /// What a WebVTT file has before its first cue, its signature included.
    pub head: String,
    /// BCP 47 tag, where the text itself says so.
    pub language: Option<String>,
    /// By start; of equal starts as they were written.
    pub cues: Vec<Cue>,
    /// What was left out of it.
    pub faults: Faults,
    /// Bytes of the cues.
    bytes: usize,
}

impl Cues {
    /// Takes `cue` if it can be shown; says what is wrong, at `line`, if not.
    pub fn push(&mut self, cue: Cue, line: u32) {
        let bytes = cue.payload.len() + cue.settings.len() + cue.id.len();
        let wrong = if self.cues.len() == CUES_MAX {
            Some(format!("more than {CUES_MAX} cues"))
        } else if cue.end_ms <= cue.start_ms {
            Some("a cue that ends before it begins".to_owned())
        } else if cue.end_ms > TIME_MS_MAX {
            Some("a cue later than 1000 hours".to_owned())
        } else if bytes > PAYLOAD_BYTES_MAX {
            Some(format!("a cue of more than {PAYLOAD_BYTES_MAX} bytes"))
        } else if self.bytes + bytes > CUES_BYTES_MAX {
            Some(format!("more than {CUES_BYTES_MAX} bytes of cues"))
        } else {
            None
        };
        match wrong {
            Some(what) => self.faults.push(line, what),
            None if cue.payload.is_empty() => {}
            None => {
                self.bytes += bytes;
                self.cues.push(cue);
            }
        }
    }

    /// Bytes of all its cues.
    pub fn len_bytes(&self) -> usize {
        self.bytes
    }

    /// Whether no more cues may come.
    pub fn is_full(&self) -> bool {
        self.cues.len() >= CUES_MAX || self.bytes + PAYLOAD_BYTES_MAX > CUES_BYTES_MAX
    }

    /// Puts the cues in order.
    pub fn sort(&mut self) {
        self.cues.sort_by_key(|cue| cue.start_ms);
    }
}

/// Something wrong with a text, and where.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Fault {
    /// Counted from 1.
    pub line: u32,
    /// What is wrong.
    pub what: String,
}

impl Fault {
    /// `what` is wrong in `line`.
    pub fn new(line: u32, what: impl Into<String>) -> Fault {
        Fault { line, what: what.into() }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}: {}", self.line, self.what)
    }
}

impl std::error::Error for Fault {}

/// The first faults of a text, and how many more there are.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Faults {
    /// The first.
    pub first: Vec<Fault>,
    /// How many came after them.
    pub more: u32,
}

impl Faults {
    /// Adds one.
    pub fn push(&mut self, line: u32, what: impl Into<String>) {
        if self.first.len() < FAULTS_MAX {
            self.first.push(Fault::new(line, what));
        } else {
            self.more = self.more.saturating_add(1);
        }
    }
}

/// `bytes` as text: UTF-8, or UTF-16 if a byte order mark says so; the mark is taken off. What is neither is a fault.
pub fn decode(bytes: &[u8]) -> Result<Cow<'_, str>, Fault> {
    let wide = |read: fn([u8; 2]) -> u16, bytes: &[u8]| {
        let units: Vec<u16> = bytes.chunks_exact(2).map(|pair| read([pair[0], pair[1]])).collect();
        String::from_utf16(&units).map(Cow::Owned).map_err(|_| Fault::new(1, "text that is not UTF-16"))
    };
    match bytes {
        [0xff, 0xfe, rest @ ..] => wide(u16::from_le_bytes, rest),
        [0xfe, 0xff, rest @ ..] => wide(u16::from_be_bytes, rest),
        [0xef, 0xbb, 0xbf, rest @ ..] | rest => match std::str::from_utf8(rest) {
            Ok(text) => Ok(Cow::Borrowed(text)),
            Err(error) => {
                let lines = rest[..error.valid_up_to()].iter().filter(|&&byte| byte == b'\n').count();
                Err(Fault::new(lines as u32 + 1, "text that is not UTF-8"))
            }
        },
    }
}

/// How a run of text looks.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Look {
    /// Slanted.
    pub italic: bool,
    /// Heavy.
    pub bold: bool,
    /// With a line below.
    pub underline: bool,
    /// Red, green, blue; `None` is white, WebVTT's own (§5).
    pub colour: Option<[u8; 3]>,
}

/// The colours that WebVTT has classes for (§5.1).
const NAMED: [(&str, [u8; 3]); 8] = [
    ("white", [255, 255, 255]),
    ("lime", [0, 255, 0]),
    ("cyan", [0, 255, 255]),
    ("red", [255, 0, 0]),
    ("yellow", [255, 255, 0]),
    ("magenta", [255, 0, 255]),
    ("blue", [0, 0, 255]),
    ("black", [0, 0, 0]),
];
/// More colours than that are no styling; what has another keeps its own.
const COLOURS_MAX: usize = 64;

/// Cue text being written, run by run, and the colours it needs.
#[derive(Clone, Debug, Default)]
pub struct Palette {
    colours: BTreeSet<[u8; 3]>,
}

impl Palette {
    /// The cue text of `runs`: escaped, each in tags for its look, neighbours of one look together, blank lines taken out.
    pub fn cue_text(&mut self, runs: &[(String, Look)]) -> String {
        let mut out = String::new();
        let mut index = 0;
        while let Some((_, look)) = runs.get(index) {
            let mut text = String::new();
            while let Some((more, _)) = runs.get(index).filter(|(_, other)| other == look) {
                text.push_str(more);
                index += 1;
            }
            if text.trim().is_empty() {
                out.push_str(&text);
                continue;
            }
            let class = look.colour.and_then(|colour| self.class(colour));
            let marks = [(look.bold, "b"), (look.italic, "i"), (look.underline, "u")];
            let tags: Vec<&str> = marks.iter().filter(|(on, _)| *on).map(|(_, tag)| *tag).collect();
            if let Some(class) = &class {
                out.push_str(&format!("<c.{class}>"));
            }
            tags.iter().for_each(|tag| out.push_str(&format!("<{tag}>")));
            push_escaped(&mut out, &text);
            tags.iter().rev().for_each(|tag| out.push_str(&format!("</{tag}>")));
            if class.is_some() {
                out.push_str("</c>");
            }
        }
        tidy_lines(&out)
    }

    fn class(&mut self, colour: [u8; 3]) -> Option<String> {
        if colour == [255; 3] {
            return None;
        }
        if let Some((name, _)) = NAMED.iter().find(|(_, named)| *named == colour) {
            return Some((*name).to_owned());
        }
        if self.colours.len() == COLOURS_MAX && !self.colours.contains(&colour) {
            return None;
        }
        self.colours.insert(colour);
        let [r, g, b] = colour;
        Some(format!("c{r:02x}{g:02x}{b:02x}"))
    }

    /// The head of a WebVTT file with the styles that the text written so far needs.
    pub fn head(&self) -> String {
        let mut head = "WEBVTT".to_owned();
        if !self.colours.is_empty() {
            head.push_str("\n\nSTYLE");
        }
        for [r, g, b] in &self.colours {
            let hex = format!("{r:02x}{g:02x}{b:02x}");
            head.push_str(&format!("\n::cue(.c{hex}) {{ color: #{hex} }}"));
        }
        head
    }
}

/// The colour that `name` means: a class of WebVTT's, `#rrggbb`, `#rrggbbaa`, `rgb(r,g,b)`, or another name of HTML's sixteen.
pub fn colour(name: &str) -> Option<[u8; 3]> {
    let name = name.trim().trim_matches('"').to_ascii_lowercase();
    if let Some(hex) = name.strip_prefix('#') {
        let byte = |at: usize| hex.get(at..at + 2).and_then(|pair| u8::from_str_radix(pair, 16).ok());
        return if matches!(hex.len(), 6 | 8) { Some([byte(0)?, byte(2)?, byte(4)?]) } else { None };
    }
    if let Some(list) = name.strip_prefix("rgba(").or_else(|| name.strip_prefix("rgb(")) {
        let mut parts = list.trim_end_matches(')').split(',').map(|part| part.trim().parse::<u8>().ok());
        return Some([parts.next()??, parts.next()??, parts.next()??]);
    }
    let other = match name.as_str() {
        "aqua" => [0, 255, 255],
        "fuchsia" => [255, 0, 255],
        "green" => [0, 128, 0],
        "gray" | "grey" => [128, 128, 128],
        "silver" => [192, 192, 192],
        "maroon" => [128, 0, 0],
        "purple" => [128, 0, 128],
        "olive" => [128, 128, 0],
        "navy" => [0, 0, 128],
        "teal" => [0, 128, 128],
        "orange" => [255, 165, 0],
        _ => return NAMED.iter().find(|(named, _)| *named == name).map(|(_, colour)| *colour),
    };
    Some(other)
}

/// Appends `text` with what WebVTT takes for markup escaped (§4.2.2), and without NUL.
pub fn push_escaped(out: &mut String, text: &str) {
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '\0' => {}
            c => out.push(c),
        }
    }
}

/// `text` without blank lines and without white space at the ends of its lines: a blank line would end a cue.
pub fn tidy_lines(text: &str) -> String {
    let lines = text.split(['\n', '\r']).map(|line| line.trim_matches([' ', '\t'])).filter(|line| !line.is_empty());
    lines.collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn text_is_utf_8_or_marked_utf_16() {
        assert_eq!(decode(b"\xef\xbb\xbfa").expect("UTF-8"), "a");
        assert_eq!(decode(b"\xff\xfea\0\xe4\0").expect("UTF-16"), "aä");
        assert_eq!(decode(b"\xfe\xff\0a").expect("UTF-16"), "a");
        assert_eq!(decode(b"a\nb\n\xe4").expect_err("Latin 1").to_string(), "line 3: text that is not UTF-8");
        assert!(decode(b"\xff\xfe\0\xd8").is_err());
    }

    #[test]
    fn runs_become_tags_and_colours_classes() {
        let mut palette = Palette::default();
        let plain = Look::default();
        let italic = Look { italic: true, ..plain };
        let orange = Look { bold: true, colour: Some([255, 165, 0]), ..plain };
        let runs = [("a < b\n\n", plain), ("slan", italic), ("ted", italic), (" ", plain), ("warm", orange)];
        let runs: Vec<(String, Look)> = runs.iter().map(|(text, look)| ((*text).to_owned(), *look)).collect();
        assert_eq!(palette.cue_text(&runs), "a &lt; b\n<i>slanted</i> <c.cffa500><b>warm</b></c>");
        assert_eq!(palette.head(), "WEBVTT\n\nSTYLE\n::cue(.cffa500) { color: #ffa500 }");
        let red = vec![("stop".to_owned(), Look { colour: Some([255, 0, 0]), ..plain })];
        assert_eq!(palette.cue_text(&red), "<c.red>stop</c>");
    }

    #[test]
    fn colours_have_names_and_numbers() {
        assert_eq!(colour("#FF8000"), Some([255, 128, 0]));
        assert_eq!(colour("#ff8000c0"), Some([255, 128, 0]));
        assert_eq!(colour("rgb(1, 2,3)"), Some([1, 2, 3]));
        assert_eq!(colour("Lime"), Some([0, 255, 0]));
        assert_eq!((colour("#ff"), colour("#äöüx"), colour("rgb(1)"), colour("mauve")), (None, None, None, None));
    }

    proptest! {
        #[test]
        fn any_bytes_are_text_or_a_fault(bytes in prop::collection::vec(any::<u8>(), 0..100)) {
            let _ = decode(&bytes);
        }

        #[test]
        fn any_word_is_a_colour_or_none(word in ".{0,12}") {
            let _ = colour(&word);
        }
    }
}
