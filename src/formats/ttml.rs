//! TTML (W3C TTML2, as its profiles IMSC and EBU-TT-D use it for text), read into cues of WebVTT.
//!
//! ```text
//!   tt > head > styling > style, layout > region
//!      > body > div > p > span, br        begin, end, dur: from where the parent begins; timeContainer: par or seq
//! ```
//!
//! A paragraph is a cue for every stretch of time in which it shows the same. What WebVTT has words for is kept: italics, bold,
//! underline, colour, and where a region lies. Prefixes are not looked at: all that is read has names of its own.

pub mod document;

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::ops::Range;

use quick_xml::events::{BytesStart, Event};
use quick_xml::{Reader, XmlVersion};

use super::cues::{Cue, Cues, Fault, Look, PAYLOAD_BYTES_MAX, Palette, colour};
use document::{Body, Container, Document, Ns, OPEN, Paragraph, Parts, SECOND};

/// Elements that may be open at once.
const DEPTH_MAX: usize = 64;
/// Styles and regions of a document, and styles that an element may come to through others.
const STYLES_MAX: usize = 10_000;
const STYLE_CHAIN_MAX: usize = 32;
/// Pieces of text of one paragraph.
const RUNS_MAX: usize = 128;
/// `div`s of a document, each in every document that it is taken apart into.
const CONTAINERS_MAX: usize = 100_000;
/// What only IMSC 1.1 has (IMSC 1.1 §7.4, features above those of IMSC 1.0.1).
const OF_IMSC_1_1: [&str; 9] = [
    "ruby",
    "rubyAlign",
    "rubyPosition",
    "rubyReserve",
    "textCombine",
    "textEmphasis",
    "shear",
    "luminanceGain",
    "position",
];
/// Longer names are nobody's, and would be copied with everything that refers to them.
const ID_BYTES_MAX: usize = 256;

/// Whether the root element of `text` is `tt`: not every XML file is subtitles.
pub fn is_ttml(text: &str) -> bool {
    let mut reader = Reader::from_str(text);
    loop {
        match reader.read_event() {
            Ok(Event::Start(start) | Event::Empty(start)) => return start.local_name().as_ref() == "tt",
            Ok(Event::Eof) | Err(_) => return false,
            Ok(_) => {}
        }
    }
}

/// A document as cues, and as itself: the document that can be taken apart, or why it can't.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Read {
    /// What WebVTT can say of it.
    pub cues: Cues,
    /// All of it.
    pub document: Result<Document, &'static str>,
}

/// Reads a document. The error says why it is none; what is wrong with an element costs that element, and is a fault of the
/// result.
pub fn parse(text: &str) -> Result<Read, Fault> {
    let mut reader = Reader::from_str(text);
    reader.config_mut().expand_empty_elements = true;
    let mut document = Reading::default();
    let (mut line, mut counted) = (1, 0);
    loop {
        let at = reader.buffer_position() as usize;
        line += text.as_bytes()[counted..at].iter().filter(|&&byte| byte == b'\n').count() as u32;
        counted = at;
        let event = reader.read_event().map_err(|error| Fault::new(line, format!("not well-formed: {error}")))?;
        let place = at..reader.buffer_position() as usize;
        match event {
            Event::Eof => break,
            Event::Start(start) => document.open(&start, place, line)?,
            Event::End(_) => document.close(place),
            Event::Text(text) => document.text(&text.xml10_content()),
            Event::CData(text) => document.text(&text.xml10_content()),
            Event::GeneralRef(name) => {
                let c = name.resolve_char_ref().ok().flatten();
                let named = || quick_xml::escape::resolve_predefined_entity(&name);
                match (c, named()) {
                    (Some(c), _) => document.text(c.encode_utf8(&mut [0; 4])),
                    (None, Some(text)) => document.text(text),
                    (None, None) => {
                        document.parts.refuse("it has entities of its own");
                        document.cues.faults.push(line, format!("an unknown entity &{};", &*name));
                    }
                }
            }
            Event::Comment(_) | Event::Decl(_) | Event::PI(_) | Event::DocType(_) | Event::Empty(_) => {}
        }
    }
    match document.frames.first() {
        _ if !document.is_ttml => Err(Fault::new(1, "no tt element: not TTML")),
        Some(_) => Err(Fault::new(line, "it ends before its elements do")),
        None => Ok(document.done(text)),
    }
}

/// What an element is to us.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Role {
    Root,
    /// `head`, `styling`, `layout`: what counts is inside.
    Frame,
    Style,
    Region,
    Body,
    Paragraph,
    Span,
    Break,
    /// Metadata and what is not understood, with all that is inside.
    Other,
}

/// Properties, where they are given.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
struct Style {
    italic: Option<bool>,
    bold: Option<bool>,
    underline: Option<bool>,
    colour: Option<[u8; 3]>,
    align: Option<Align>,
    display_align: Option<Align>,
    /// Of the root container, in millionths: x and y, width and height.
    origin: Option<(i64, i64)>,
    extent: Option<(i64, i64)>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Align {
    Before,
    Centre,
    After,
}

impl Style {
    /// These properties, and where they are not given, those of `base`.
    fn over(self, base: Style) -> Style {
        Style {
            italic: self.italic.or(base.italic),
            bold: self.bold.or(base.bold),
            underline: self.underline.or(base.underline),
            colour: self.colour.or(base.colour),
            align: self.align.or(base.align),
            display_align: self.display_align.or(base.display_align),
            origin: self.origin.or(base.origin),
            extent: self.extent.or(base.extent),
        }
    }

    fn look(self) -> Look {
        let is = |property: Option<bool>| property.unwrap_or(false);
        Look { italic: is(self.italic), bold: is(self.bold), underline: is(self.underline), colour: self.colour }
    }
}

/// A style or region that others may refer to.
#[derive(Clone, Debug, Default)]
struct Named {
    style: Style,
    refers: Vec<String>,
}

/// An open element.
#[derive(Clone, Debug)]
struct Element {
    role: Role,
    begin: Ns,
    end: Ns,
    /// Whether the times of its children follow one another.
    is_sequence: bool,
    /// Where the next child of a sequence begins.
    next: Ns,
    /// The latest end that something inside gives.
    latest: Option<Ns>,
    has_end: bool,
    style: Style,
    region: Option<String>,
    keeps_space: bool,
    /// Where its start tag is, and the container that it is or is in.
    place: Range<usize>,
    container: usize,
}

/// A piece of a paragraph's text, and when it is shown.
#[derive(Clone, Debug)]
struct Run {
    begin: Ns,
    end: Ns,
    text: String,
    style: Style,
}

/// Clocks and sizes that the root gives.
#[derive(Clone, Copy, Debug)]
struct Units {
    frame_rate: i128,
    /// Numerator and denominator.
    multiplier: (i128, i128),
    sub_frame_rate: i128,
    tick_rate: i128,
    cells: (i64, i64),
    pixels: Option<(i64, i64)>,
}

impl Default for Units {
    fn default() -> Units {
        Units { frame_rate: 30, multiplier: (1, 1), sub_frame_rate: 1, tick_rate: 1, cells: (32, 15), pixels: None }
    }
}

#[derive(Debug, Default)]
struct Reading {
    is_ttml: bool,
    units: Units,
    styles: BTreeMap<String, Named>,
    regions: BTreeMap<String, Named>,
    region: Option<String>,
    frames: Vec<Element>,
    runs: Vec<Run>,
    paragraph_line: u32,
    palette: Palette,
    cues: Cues,
    parts: Parts,
}

impl Reading {
    fn open(&mut self, start: &BytesStart<'_>, place: Range<usize>, line: u32) -> Result<(), Fault> {
        if self.frames.len() == DEPTH_MAX {
            return Err(Fault::new(line, format!("more than {DEPTH_MAX} elements inside one another")));
        }
        let name = start.local_name();
        let attributes = Attributes::of(start);
        let Some(parent) = self.frames.last() else {
            if name.as_ref() != "tt" {
                return Err(Fault::new(line, format!("the root element is {}, not tt: not TTML", name.as_ref())));
            }
            if self.is_ttml {
                return Err(Fault::new(line, "a second root element after the first".to_owned()));
            }
            self.root(&attributes);
            self.parts.head.start = place.start;
            self.parts.read_root(&attributes);
            return Ok(());
        };
        let role = match (parent.role, name.as_ref()) {
            (Role::Root, "head") | (Role::Frame, "styling" | "layout") => Role::Frame,
            (Role::Frame | Role::Region, "style") => Role::Style,
            (Role::Frame, "region") => Role::Region,
            (Role::Root, "body") | (Role::Body, "div") => Role::Body,
            (Role::Body, "p") => Role::Paragraph,
            (Role::Paragraph | Role::Span, "span") => Role::Span,
            (Role::Paragraph | Role::Span, "br") => Role::Break,
            _ => Role::Other,
        };
        let mut element =
            Element { role, next: parent.begin, latest: None, has_end: false, place: place.clone(), ..parent.clone() };
        self.parts.read_element(name.as_ref(), &attributes);
        match role {
            Role::Style | Role::Region => self.define(role, &attributes),
            Role::Body | Role::Paragraph | Role::Span => {
                self.time(&mut element, &attributes, line);
                element.style = self.referred(&attributes).over(element.style);
                element.region = attributes.id("region").or(element.region);
                if let Some(space) = attributes.get("space") {
                    element.keeps_space = space == "preserve";
                }
            }
            Role::Root | Role::Frame | Role::Break | Role::Other => {}
        }
        match role {
            Role::Body if self.parts.containers.len() == CONTAINERS_MAX => {
                self.parts.refuse("it has too many divisions")
            }
            Role::Body => {
                let inner = element.container;
                element.container = self.parts.containers.len();
                if name.as_ref() == "body" && element.container > 0 {
                    self.parts.refuse("it has two bodies");
                }
                if element.container == 0 {
                    self.parts.head.end = place.start;
                    let end = attributes.get("end").and_then(|end| self.units.time(end.trim()));
                    let begin = attributes.get("begin").map(|_| element.begin);
                    self.parts.read_body(start, begin, end);
                }
                self.parts.containers.push(Container {
                    parent: inner,
                    start: place.clone(),
                    own: Vec::new(),
                    end: place,
                });
                if element.is_sequence {
                    self.parts.refuse(
                        "its times follow one another (timeContainer seq), and leaving one out moves the others",
                    );
                }
            }
            Role::Paragraph => {
                self.runs.clear();
                self.paragraph_line = line;
            }
            Role::Break => self.run("\n".to_owned()),
            _ => {}
        }
        self.frames.push(element);
        Ok(())
    }

    fn root(&mut self, attributes: &Attributes<'_>) {
        self.is_ttml = true;
        let number = |name| attributes.get(name).and_then(|value| value.trim().parse::<u32>().ok()).filter(|&n| n > 0);
        let pair = |value: Option<Cow<'_, str>>, unit: &str| {
            let value = value?;
            let mut parts = value.split_whitespace().map(|part| part.trim_end_matches(unit).parse::<u16>().ok());
            let (a, b) = (parts.next()??, parts.next()??);
            (a > 0 && b > 0).then_some((i64::from(a), i64::from(b)))
        };
        let units = &mut self.units;
        let frame_rate = number("frameRate");
        units.frame_rate = frame_rate.unwrap_or(30).into();
        units.sub_frame_rate = number("subFrameRate").unwrap_or(1).into();
        if let Some((a, b)) = pair(attributes.get("frameRateMultiplier").map(|m| m.replace(':', " ").into()), "") {
            units.multiplier = (a.into(), b.into());
        }
        // TTML2 §7.2.19: without a tick rate it is that of the frames, or 1 if there is none either.
        let of_frames = frame_rate.map_or(1, |_| units.frame_rate * units.sub_frame_rate);
        units.tick_rate = number("tickRate").map_or(of_frames, i128::from);
        units.cells = pair(attributes.get("cellResolution"), "").unwrap_or(units.cells);
        units.pixels = pair(attributes.get("extent"), "px");
        self.cues.language = attributes.get("lang").map(|tag| tag.trim().to_owned()).filter(|tag| !tag.is_empty());
        self.frames.push(Element {
            role: Role::Root,
            begin: 0,
            end: OPEN,
            is_sequence: false,
            next: 0,
            latest: None,
            has_end: false,
            style: Style::default(),
            region: None,
            place: 0..0,
            container: 0,
            keeps_space: attributes.get("space").is_some_and(|space| space == "preserve"),
        });
    }

    /// A `style` of the styling, a `region` of the layout, or a `style` that adds to the region around it.
    fn define(&mut self, role: Role, attributes: &Attributes<'_>) {
        let own = self.own(attributes);
        let refers = attributes.refers();
        let inside_region = role == Role::Style && self.frames.last().is_some_and(|frame| frame.role == Role::Region);
        if inside_region {
            if let Some(region) = self.region.as_ref().and_then(|id| self.regions.get_mut(id)) {
                region.style = own.over(region.style);
                region.refers.extend(refers);
                region.refers.truncate(STYLE_CHAIN_MAX);
            }
            return;
        }
        let id = attributes.id("id");
        let into = if role == Role::Region { &mut self.regions } else { &mut self.styles };
        if let Some(id) = &id
            && into.len() < STYLES_MAX
        {
            into.insert(id.clone(), Named { style: own, refers });
        }
        if role == Role::Region {
            self.region = id;
        }
    }

    /// The properties that an element gives itself.
    fn own(&self, attributes: &Attributes<'_>) -> Style {
        let get = |name: &str| attributes.get(name);
        let align = |name: &str| {
            Some(match get(name)?.trim() {
                "before" | "start" | "left" => Align::Before,
                "center" => Align::Centre,
                "after" | "end" | "right" => Align::After,
                _ => return None,
            })
        };
        let underline = get("textDecoration").and_then(|value| {
            let mut words = value.split_whitespace();
            words.find_map(|word| match word {
                "underline" => Some(true),
                "none" | "noUnderline" => Some(false),
                _ => None,
            })
        });
        Style {
            italic: get("fontStyle").map(|value| matches!(value.trim(), "italic" | "oblique")),
            bold: get("fontWeight").map(|value| value.trim() == "bold"),
            underline,
            colour: get("color").and_then(|value| colour(&value)),
            align: align("textAlign"),
            display_align: align("displayAlign"),
            origin: get("origin").and_then(|value| self.units.lengths(&value)),
            extent: get("extent").and_then(|value| self.units.lengths(&value)),
        }
    }

    /// The properties of an element: its own, and below them those of the styles it refers to, the last first.
    fn referred(&self, attributes: &Attributes<'_>) -> Style {
        self.own(attributes).over(self.of_styles(attributes.refers()))
    }

    fn of_styles(&self, mut open: Vec<String>) -> Style {
        let mut style = Style::default();
        let mut seen: Vec<String> = Vec::new();
        while let Some(id) = open.pop().filter(|_| seen.len() < STYLE_CHAIN_MAX) {
            if let Some(named) = self.styles.get(&id).filter(|_| !seen.contains(&id)) {
                style = style.over(named.style);
                open.extend(named.refers.iter().cloned());
                seen.push(id);
            }
        }
        style
    }

    /// When an element is active (TTML2 §11.2, §12.4).
    fn time(&mut self, element: &mut Element, attributes: &Attributes<'_>, line: u32) {
        let Some(parent) = self.frames.last() else { return };
        let mut wrong = None;
        let mut read = |name: &str| {
            let value = attributes.get(name)?;
            let time = self.units.time(value.trim());
            if time.is_none() {
                wrong = Some(format!("{name}={:?} is no time", value.chars().take(40).collect::<String>()));
            }
            time
        };
        let (begin, end, duration) = (read("begin"), read("end"), read("dur"));
        let from = if parent.is_sequence { parent.next } else { parent.begin };
        element.begin = from.saturating_add(begin.unwrap_or(0));
        let ends = [end.map(|end| from.saturating_add(end)), duration.map(|d| element.begin.saturating_add(d))];
        let own_end = ends.into_iter().flatten().min();
        element.has_end = own_end.is_some();
        element.end = own_end.unwrap_or(OPEN).min(parent.end);
        element.is_sequence = attributes.get("timeContainer").is_some_and(|value| value == "seq");
        element.next = element.begin;
        if let Some(what) = wrong {
            // What it would show, and when, is not known.
            element.end = element.begin;
            self.cues.faults.push(line, what);
        }
    }

    fn text(&mut self, text: &str) {
        let Some(element) = self.frames.last() else { return };
        if !matches!(element.role, Role::Paragraph | Role::Span) {
            return;
        }
        if element.keeps_space {
            return self.run(text.to_owned());
        }
        let mut collapsed = String::with_capacity(text.len());
        let mut after_space = self.runs.last().is_none_or(|run| run.text.ends_with([' ', '\n']));
        for c in text.chars() {
            let is_space = matches!(c, ' ' | '\t' | '\n' | '\r');
            if !(is_space && after_space) {
                collapsed.push(if is_space { ' ' } else { c });
            }
            after_space = is_space;
        }
        self.run(collapsed);
    }

    fn run(&mut self, text: String) {
        let Some(element) = self.frames.last() else { return };
        if text.is_empty() || !matches!(element.role, Role::Paragraph | Role::Span) {
            return;
        }
        let (begin, end, style) = (element.begin, element.end, element.style);
        let is_full = self.runs.len() == RUNS_MAX;
        match self.runs.last_mut() {
            // References and sections of character data come one by one.
            Some(last) if (last.begin, last.end, last.style) == (begin, end, style) => {
                if last.text.len() < PAYLOAD_BYTES_MAX {
                    last.text.push_str(&text);
                }
            }
            _ if is_full => {
                self.cues.faults.push(self.paragraph_line, format!("a paragraph of more than {RUNS_MAX} pieces"));
            }
            _ => self.runs.push(Run { begin, end, text, style }),
        }
    }

    fn close(&mut self, place: Range<usize>) {
        let Some(element) = self.frames.pop() else { return };
        if element.role == Role::Paragraph {
            self.parts.paragraph(&element, &self.runs, place.end);
            self.paragraph(&element);
        }
        match (element.role, self.frames.last().map(|parent| parent.role)) {
            (Role::Body, _) => {
                if element.container == 0 {
                    self.parts.tail.start = place.end;
                }
                if let Some(container) = self.parts.containers.get_mut(element.container) {
                    container.end = place;
                }
            }
            (Role::Other, Some(Role::Body)) => {
                if let Some(container) = self.parts.containers.get_mut(element.container) {
                    container.own.push(element.place.start..place.end);
                }
            }
            (Role::Root, _) => self.parts.tail.end = place.end,
            _ => {}
        }
        let latest = if element.has_end { Some(element.end) } else { element.latest };
        if let Some(parent) = self.frames.last_mut().filter(|_| element.role != Role::Other) {
            parent.latest = parent.latest.max(latest);
            if parent.is_sequence {
                parent.next = latest.unwrap_or(parent.end);
            }
        }
    }

    /// The cues of a paragraph that has ended.
    fn paragraph(&mut self, element: &Element) {
        let runs = std::mem::take(&mut self.runs);
        if self.cues.is_full() || runs.iter().map(|run| run.text.len()).sum::<usize>() > PAYLOAD_BYTES_MAX {
            self.cues.faults.push(self.paragraph_line, "more text than a paragraph, or all of them, may have");
            return;
        }
        let region = element.region.as_ref().and_then(|id| self.regions.get(id)).cloned();
        let region = region.map(|named| named.style.over(self.of_styles(named.refers)));
        let settings = region.unwrap_or_default().settings(element.style);
        let mut edges: Vec<Ns> = runs.iter().flat_map(|run| [run.begin, run.end]).collect();
        edges.sort_unstable();
        edges.dedup();
        for pair in edges.windows(2) {
            if self.cues.is_full() {
                return;
            }
            let shown = runs.iter().filter(|run| run.begin <= pair[0] && run.end >= pair[1]);
            let shown: Vec<(String, Look)> =
                shown.map(|run| (run.text.clone(), run.style.over(region.unwrap_or_default()).look())).collect();
            let payload = self.palette.cue_text(&shown);
            if payload.is_empty() {
                continue;
            }
            let ms = |time: Ns| (time.saturating_add(SECOND / 2000) / (SECOND / 1000)).max(0) as u64;
            let (start_ms, end_ms) =
                (ms(pair[0]), if pair[1] == OPEN { super::cues::TIME_MS_MAX } else { ms(pair[1]) });
            match self.cues.cues.last_mut() {
                // Paragraphs in one place at one time are the lines of one cue: WebVTT would lay them over one another.
                Some(last) if (last.start_ms, last.end_ms, &last.settings) == (start_ms, end_ms, &settings) => {
                    if last.payload.len() + payload.len() < PAYLOAD_BYTES_MAX {
                        last.payload.push('\n');
                        last.payload.push_str(&payload);
                    }
                }
                _ => {
                    let cue = Cue { id: String::new(), start_ms, end_ms, settings: settings.clone(), payload };
                    self.cues.push(cue, self.paragraph_line);
                }
            }
        }
    }

    fn done(mut self, text: &str) -> Read {
        self.cues.head = self.palette.head();
        self.cues.sort();
        Read { cues: self.cues, document: self.parts.done(text) }
    }
}

impl Parts {
    fn refuse(&mut self, why: &'static str) {
        self.refused = self.refused.or(Some(why));
    }

    fn read_root(&mut self, attributes: &Attributes<'_>) {
        if attributes.get("timeBase").is_some_and(|base| base.trim() != "media") {
            self.refuse("its times are those of a clock or a tape (timeBase), not of the media");
        }
        let names = |name: &str| attributes.get(name).is_some_and(|profiles| profiles.contains("/imsc1.1/text"));
        self.is_imsc_1_1 |= names("profile") || names("contentProfiles");
    }

    fn read_element(&mut self, name: &str, attributes: &Attributes<'_>) {
        let has = |name: &str| attributes.0.iter().any(|(have, _)| *have == name);
        if matches!(name, "image" | "audio") || has("backgroundImage") {
            self.refuse("it shows pictures, and is of the image profile");
        }
        self.is_imsc_1_1 |= OF_IMSC_1_1.iter().any(|name| has(name));
    }

    fn read_body(&mut self, start: &BytesStart<'_>, begin: Option<Ns>, end: Option<Ns>) {
        let mut all = start.attributes();
        all.with_checks(false);
        let own = all.flatten().filter(|attribute| !matches!(attribute.key.0, "begin" | "end"));
        let attributes = own.map(|attribute| (attribute.key.0.to_owned(), attribute.value.into_owned())).collect();
        self.body = Body { name: start.name().0.to_owned(), attributes, begin, end };
    }

    /// Takes a paragraph that has ended: it shows something as long as any of its text is shown.
    fn paragraph(&mut self, element: &Element, runs: &[Run], end: usize) {
        let shown = if runs.len() >= RUNS_MAX {
            element.begin..element.end
        } else {
            let begin = runs.iter().map(|run| run.begin).min();
            let end = runs.iter().map(|run| run.end).max();
            begin.unwrap_or(0)..end.unwrap_or(0)
        };
        if shown.start < shown.end && self.paragraphs.len() < super::cues::CUES_MAX {
            self.paragraphs.push(Paragraph { container: element.container, text: element.place.start..end, shown });
        }
    }

    fn done(mut self, text: &str) -> Result<Document, &'static str> {
        if self.containers.first().is_none_or(|body| body.end.is_empty()) {
            self.refuse("it has no body");
        }
        match self.refused {
            Some(why) => Err(why),
            None => Ok(Document::new(Parts { text: text.to_owned(), ..self })),
        }
    }
}

impl Style {
    /// A region with these properties, for text with those of `content`, as WebVTT cue settings.
    fn settings(self, content: Style) -> String {
        let mut words: Vec<String> = Vec::new();
        let align = content.align.or(self.align);
        if let Some((x, y)) = self.origin {
            const WHOLE: i64 = 1_000_000;
            let (x, y) = (x.clamp(0, WHOLE), y.clamp(0, WHOLE));
            let (width, height) = self.extent.unwrap_or((WHOLE - x, WHOLE - y));
            let (width, height) = (width.clamp(0, WHOLE - x), height.clamp(0, WHOLE - y));
            words.push(match self.display_align.unwrap_or(Align::Before) {
                Align::Before => format!("line:{}", percent(y)),
                Align::Centre => format!("line:{},center", percent(y + height / 2)),
                Align::After => format!("line:{},end", percent(y + height)),
            });
            match align.unwrap_or(Align::Before) {
                Align::Before => words.push(format!("position:{},line-left", percent(x))),
                Align::Centre if x + width / 2 == WHOLE / 2 => {}
                Align::Centre => words.push(format!("position:{},center", percent(x + width / 2))),
                Align::After => words.push(format!("position:{},line-right", percent(x + width))),
            }
            if width < WHOLE && width > 0 {
                words.push(format!("size:{}", percent(width)));
            }
        }
        match align.or(self.origin.map(|_| Align::Before)) {
            Some(Align::Before) => words.push("align:start".to_owned()),
            Some(Align::After) => words.push("align:end".to_owned()),
            Some(Align::Centre) | None => {}
        }
        words.join(" ")
    }
}

/// Millionths as a percentage of two digits at most.
fn percent(millionths: i64) -> String {
    let hundredths = (millionths + 50) / 100;
    match (hundredths / 100, hundredths % 100) {
        (whole, 0) => format!("{whole}%"),
        (whole, part) if part % 10 == 0 => format!("{whole}.{}%", part / 10),
        (whole, part) => format!("{whole}.{part:02}%"),
    }
}

impl Units {
    /// A time expression (TTML2 §12.3.1).
    fn time(&self, text: &str) -> Option<Ns> {
        let second = i128::from(SECOND);
        let frames = |count: Decimal| count.times(second * self.multiplier.1, self.frame_rate * self.multiplier.0);
        if text.contains(':') {
            let mut parts = text.split(':');
            let mut whole = |most: i128| Decimal::parse(parts.next()?).and_then(Decimal::whole).filter(|&n| n <= most);
            let (hours, minutes) = (whole(100_000)?, whole(59)?);
            let mut rest = parts;
            let (seconds, counted) = (Decimal::parse(rest.next()?)?, rest.next());
            let seconds_ns = seconds.times(second, 1)?;
            let frames_ns = match counted {
                None => 0,
                Some(counted) => {
                    let (whole, part) = counted.split_once('.').unwrap_or((counted, "0"));
                    let part = Decimal::parse(part)?.whole()?;
                    let sub =
                        second * self.multiplier.1 * part / (self.frame_rate * self.multiplier.0 * self.sub_frame_rate);
                    frames(Decimal::parse(whole)?)?.checked_add(i64::try_from(sub).ok()?)?
                }
            };
            if rest.next().is_some() || seconds_ns > 60 * SECOND {
                return None;
            }
            let minutes_ns = i64::try_from((hours * 60 + minutes) * 60 * second).ok()?;
            return minutes_ns.checked_add(seconds_ns)?.checked_add(frames_ns);
        }
        let unit = text.find(|c: char| !(c.is_ascii_digit() || c == '.'))?;
        let count = Decimal::parse(&text[..unit])?;
        match &text[unit..] {
            "h" => count.times(3600 * second, 1),
            "m" => count.times(60 * second, 1),
            "s" => count.times(second, 1),
            "ms" => count.times(second, 1000),
            "f" => frames(count),
            "t" => count.times(second, self.tick_rate),
            _ => None,
        }
    }

    /// Two lengths, of the width and of the height of the root container, in millionths.
    fn lengths(&self, text: &str) -> Option<(i64, i64)> {
        let one = |text: &str, cells: i64, pixels: Option<i64>| {
            let unit = text.find(|c: char| !(c.is_ascii_digit() || c == '.'))?;
            let count = Decimal::parse(&text[..unit])?;
            match &text[unit..] {
                "%" => count.times(1_000_000, 100),
                "c" => count.times(1_000_000, cells.into()),
                "px" => count.times(1_000_000, pixels?.into()),
                _ => None,
            }
        };
        let (across, down) = text.trim().split_once(char::is_whitespace)?;
        Some((
            one(across, self.cells.0, self.pixels.map(|size| size.0))?,
            one(down.trim(), self.cells.1, self.pixels.map(|size| size.1))?,
        ))
    }
}

/// A decimal number: its digits, and how many of them stand behind the point.
#[derive(Clone, Copy, Debug)]
struct Decimal {
    digits: i128,
    scale: i128,
}

impl Decimal {
    fn parse(text: &str) -> Option<Decimal> {
        let (whole, part) = text.split_once('.').unwrap_or((text, ""));
        let part = part.get(..part.len().min(9))?;
        let is_number =
            !whole.is_empty() && whole.len() <= 18 && (whole.bytes().chain(part.bytes())).all(|b| b.is_ascii_digit());
        if !is_number {
            return None;
        }
        let scale = 10i128.pow(part.len() as u32);
        let behind = if part.is_empty() { 0 } else { part.parse().ok()? };
        Some(Decimal { digits: whole.parse::<i128>().ok()? * scale + behind, scale })
    }

    fn whole(self) -> Option<i128> {
        (self.scale == 1).then_some(self.digits)
    }

    /// The number times `numerator / denominator`, to the nearest.
    fn times(self, numerator: i128, denominator: i128) -> Option<i64> {
        let below = self.scale.checked_mul(denominator)?;
        let above = self.digits.checked_mul(numerator)?.checked_add(below / 2)?;
        i64::try_from(above.checked_div(below)?).ok()
    }
}

/// The attributes of an element, by their names without prefix.
struct Attributes<'a>(Vec<(&'a str, Cow<'a, str>)>);

impl<'a> Attributes<'a> {
    fn of(start: &'a BytesStart<'_>) -> Attributes<'a> {
        let mut all = start.attributes();
        // The first of two with one name counts.
        all.with_checks(false);
        let read = all.flatten().map(|attribute| {
            let value = attribute.normalized_value(XmlVersion::Implicit1_0);
            (attribute.key.local_name().into_inner(), value.unwrap_or_default())
        });
        Attributes(read.collect())
    }

    fn get(&self, name: &str) -> Option<Cow<'a, str>> {
        self.0.iter().find(|(have, _)| *have == name).map(|(_, value)| value.clone())
    }

    /// The styles it refers to, in order.
    fn refers(&self) -> Vec<String> {
        let ids = self.get("style").unwrap_or_default();
        let ids = ids.split_whitespace().filter(|id| id.len() <= ID_BYTES_MAX);
        ids.take(STYLE_CHAIN_MAX).map(str::to_owned).collect()
    }

    /// The name in `attribute`.
    fn id(&self, attribute: &str) -> Option<String> {
        self.get(attribute).filter(|id| id.len() <= ID_BYTES_MAX).map(Cow::into_owned)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn shown(text: &str) -> Vec<(u64, u64, String, String)> {
        let cues = parse(text).expect("TTML").cues;
        assert_eq!(cues.faults, Default::default());
        cues.cues.into_iter().map(|cue| (cue.start_ms, cue.end_ms, cue.settings, cue.payload)).collect()
    }

    fn body(attributes: &str, body: &str) -> String {
        format!(
            "<?xml version=\"1.0\"?>\n<tt xmlns=\"http://www.w3.org/ns/ttml\" {attributes}><body>{body}</body></tt>"
        )
    }

    fn times(attributes: &str, inside: &str) -> Vec<(u64, u64)> {
        shown(&body(attributes, inside)).into_iter().map(|(start, end, ..)| (start, end)).collect()
    }

    #[test]
    fn a_second_root_element_is_an_error() {
        let one = body("", "<div><p begin=\"1s\" end=\"2s\">x</p></div>");
        let said = parse(&format!("{one}\n<tt/>")).expect_err("two roots").to_string();
        assert!(said.contains("a second root element"), "{said}");
    }

    #[test]
    fn a_time_that_goes_on_in_other_letters_is_none() {
        for time in ["1.12345678ß", "00:00:01.12345678ß", "1.12345678ßs"] {
            let read = parse(&body("", &format!("<div><p begin=\"{time}\" end=\"9s\">x</p></div>"))).expect("TTML");
            assert_ne!(read.cues.faults, Default::default(), "{time}");
        }
    }

    #[test]
    fn times_are_clocks_offsets_frames_and_ticks() {
        let one = |attributes: &str, begin: &str| {
            times(attributes, &format!("<div><p begin=\"{begin}\" dur=\"10s\">x</p></div>"))[0].0
        };
        assert_eq!(one("", "01:02:03.4567"), 3_723_457);
        assert_eq!(one("ttp:frameRate=\"25\"", "00:00:01:05"), 1200);
        assert_eq!(one("ttp:frameRate=\"24\" ttp:frameRateMultiplier=\"1000 1001\"", "00:00:00:24"), 1001);
        assert_eq!(one("ttp:frameRate=\"30\" ttp:frameRateMultiplier=\"1000 1001\"", "30f"), 1001);
        assert_eq!(one("ttp:tickRate=\"10000000\"", "15000000t"), 1500);
        assert_eq!(
            (one("", "1.5s"), one("", "250ms"), one("", "2m"), one("", "0.5h")),
            (1500, 250, 120_000, 1_800_000)
        );
        assert_eq!(one("ttp:frameRate=\"25\" ttp:subFrameRate=\"2\"", "00:00:01:00.1"), 1020);
    }

    #[test]
    fn times_nest() {
        // Counted from the parent, and cut where it ends.
        assert_eq!(
            times(
                "",
                "<div begin=\"10s\" end=\"20s\"><p begin=\"1s\" end=\"2s\">a</p><p begin=\"8s\" dur=\"9s\">b</p><p>c</p></div>"
            ),
            [(10_000, 20_000), (11_000, 12_000), (18_000, 20_000)]
        );
        // One after another; without an end a paragraph takes what is left.
        assert_eq!(
            times(
                "",
                "<div timeContainer=\"seq\" end=\"9s\"><p dur=\"2s\">a</p><p begin=\"1s\" dur=\"3s\">b</p><p>c</p><p>d</p></div>"
            ),
            [(0, 2000), (3000, 6000), (6000, 9000)]
        );
        // A group in a sequence lasts as long as what is in it.
        assert_eq!(
            times("", "<div timeContainer=\"seq\"><p><span dur=\"2s\">a</span></p><p dur=\"1s\">b</p></div>"),
            [(0, 2000), (2000, 3000)]
        );
    }

    #[test]
    fn spans_with_times_make_a_cue_for_each_state() {
        let text = body(
            "",
            "<div><p begin=\"1s\" end=\"5s\">a<span begin=\"1s\"> b</span><span begin=\"2s\" end=\"3s\"> c</span></p></div>",
        );
        let found: Vec<_> = shown(&text).into_iter().map(|(start, end, _, text)| (start, end, text)).collect();
        let expected = [(1000, 2000, "a"), (2000, 3000, "a b"), (3000, 4000, "a b c"), (4000, 5000, "a b")];
        assert_eq!(found, expected.map(|(a, b, text)| (a, b, text.to_owned())));
    }

    #[test]
    fn styles_and_regions_become_tags_and_settings() {
        let text = r##"<tt:tt xmlns:tt="http://www.w3.org/ns/ttml" xmlns:tts="http://www.w3.org/ns/ttml#styling" xml:lang="de">
          <tt:head>
            <tt:styling>
              <tt:style xml:id="base" tts:color="#ffffffff" tts:fontStyle="italic"/>
              <tt:style xml:id="loud" style="base" tts:color="yellow" tts:fontWeight="bold"/>
            </tt:styling>
            <tt:layout>
              <tt:region xml:id="low" tts:origin="10% 80%" tts:extent="80% 10%" tts:displayAlign="after"><tt:style tts:textAlign="center"/></tt:region>
              <tt:region xml:id="left" tts:origin="5% 10.5%" tts:extent="40% 20%" tts:color="red"/>
            </tt:layout>
          </tt:head>
          <tt:body><tt:div region="low">
            <tt:metadata><tt:p>not this</tt:p></tt:metadata>
            <tt:p begin="0s" end="1s" style="loud">A &amp;&#160;B<tt:br/>
               <tt:span tts:fontStyle="normal" tts:fontWeight="normal" tts:color="#0a0b0c">next   line</tt:span></tt:p>
            <tt:p begin="0s" end="1s" region="left">over there</tt:p>
          </tt:div></tt:body></tt:tt>"##;
        let cues = parse(text).expect("TTML").cues;
        assert_eq!(
            (cues.language.as_deref(), &*cues.head),
            (Some("de"), "WEBVTT\n\nSTYLE\n::cue(.c0a0b0c) { color: #0a0b0c }")
        );
        let expected = [
            (0, 1000, "line:90%,end size:80%", "<c.yellow><b><i>A &amp;\u{a0}B\n</i></b></c><c.c0a0b0c>next line</c>"),
            (0, 1000, "line:10.5% position:5%,line-left size:40% align:start", "<c.red>over there</c>"),
        ];
        assert_eq!(shown(text), expected.map(|(a, b, settings, text)| (a, b, settings.to_owned(), text.to_owned())));
    }

    #[test]
    fn paragraphs_at_one_time_in_one_place_are_one_cue() {
        let text = body("", "<div><p begin=\"0s\" end=\"1s\">a</p>\n<p begin=\"0s\" end=\"1s\">b</p></div>");
        assert_eq!(shown(&text), [(0, 1000, String::new(), "a\nb".to_owned())]);
    }

    #[test]
    fn what_is_wrong_is_named_with_its_line() {
        let error = |text: &str| parse(text).expect_err("no TTML").to_string();
        assert_eq!(error("<html/>"), "line 1: the root element is html, not tt: not TTML");
        assert_eq!(error("plain text"), "line 1: no tt element: not TTML");
        assert!(error("<tt>\n<body></tt>").starts_with("line 2: not well-formed"));
        assert_eq!(error("<tt>\n<body>"), "line 2: it ends before its elements do");
        assert!(error(&"<tt>".repeat(100)).contains("more than 64 elements"));
        let cues = parse(&body("", "\n<div><p begin=\"soon\">a</p><p end=\"1s\">b</p></div>")).expect("TTML").cues;
        assert_eq!(cues.faults.first[0].to_string(), "line 3: begin=\"soon\" is no time");
        assert_eq!(cues.cues.len(), 1);
    }

    #[test]
    fn styles_that_refer_to_each_other_end() {
        let text = "<tt><head><styling><style id=\"a\" style=\"b a\"/><style id=\"b\" style=\"a b\" color=\"red\"/></styling></head>\
            <body><div><p style=\"a\" end=\"1s\">x</p></div></body></tt>";
        assert_eq!(shown(text)[0].3, "<c.red>x</c>");
    }

    #[test]
    fn text_shown_many_times_took_memory_without_bound() {
        let spans = "<span begin=\"1s\">x</span><span end=\"2s\">y</span>".repeat(100);
        let text = body("", &format!("<div>{}</div>", format!("<p>{}{spans}</p>", "z".repeat(20_000)).repeat(20)));
        let cues = parse(&text).expect("TTML").cues;
        assert_eq!((cues.cues.len(), cues.faults.first.len()), (0, 20));
        let region = "r".repeat(1 << 20);
        let text = body("", &format!("<div region=\"{region}\">{}</div>", "<p end=\"1s\">x</p>".repeat(5000)));
        assert_eq!(parse(&text).expect("TTML").cues.cues.len(), 1, "paragraphs at one time are one cue");
    }

    #[test]
    fn what_can_not_be_taken_apart_says_why() {
        let why =
            |attributes: &str, inside: &str| parse(&body(attributes, inside)).expect("TTML").document.expect_err("why");
        let one = "<div><p end=\"1s\">x</p></div>";
        assert!(why("ttp:timeBase=\"smpte\"", one).contains("timeBase"));
        assert!(why("", "<div timeContainer=\"seq\"><p dur=\"1s\">x</p></div>").contains("timeContainer"));
        assert!(why("", "<div smpte:backgroundImage=\"#a\"/>").contains("image profile"));
        assert!(why("", "<div><p end=\"1s\">&own;</p></div>").contains("entities"));
        assert_eq!(parse("<tt><head/></tt>").expect("TTML").document, Err("it has no body"));
        assert_eq!(parse("<tt><body/></tt>").expect("TTML").document, Err("it has no body"));
        let profile = |attributes: &str| parse(&body(attributes, one)).expect("TTML").document.expect("text").profile();
        assert_eq!(profile(""), "im1t");
        assert_eq!(profile("ttp:profile=\"http://www.w3.org/ns/ttml/profile/imsc1/text\""), "im1t");
        assert_eq!(profile("ttp:contentProfiles=\"http://www.w3.org/ns/ttml/profile/imsc1.1/text\""), "im2t");
        let ruby = "<div><p end=\"1s\"><span tts:ruby=\"container\">x</span></p></div>";
        assert_eq!(parse(&body("", ruby)).expect("TTML").document.expect("text").profile(), "im2t");
    }

    proptest! {
        #[test]
        fn any_text_is_cues_or_a_fault(text in "(<tt|<body|<div|<p|<span|<br|>|/>|</p>|</| begin=\"| end=\"9s\"| dur=\"|1:2:3|99999999999999h|\"|&#|&amp;|;|<!\\[CDATA\\[|[a-z0-9 .:]){0,40}") {
            let _ = parse(&text);
            let _ = parse(&body("", &text));
            let _ = Units::default().time(&text);
            let _ = Units::default().lengths(&text);
        }
    }
}
