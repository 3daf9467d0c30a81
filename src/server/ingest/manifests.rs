//! What the manifests say that a packager pushes: which of its files belong to which initialization segment. Everything else in them is
//! decided here.

use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use quick_xml::events::{BytesStart, Event};
use quick_xml::{Reader, XmlVersion};

use crate::formats::uri::percent_decoded;
use crate::server::ingest::paths::{self, Named, Target};

/// What is looked at of a manifest. It has the names of all tracks, unless its timelines are many hours long.
pub(super) const BYTES_READ: usize = 256 << 10;
/// Manifests of a channel that are remembered, a playlist a track, and an MPD: of more, those that were pushed last.
const MANIFESTS_MAX: usize = 128;
/// Tracks of one manifest.
const TRACKS_MAX: usize = 64;
/// Longer addresses are nobody's.
const URI_BYTES_MAX: usize = 1024;
/// Elements of an MPD that may be open at once.
const DEPTH_MAX: usize = 32;

/// By channel, what each manifest says, those first that came first.
#[derive(Debug, Default)]
pub struct Manifests(Mutex<BTreeMap<String, Vec<Manifest>>>);

#[derive(Debug)]
struct Manifest {
    path: String,
    files: Vec<Files>,
}

/// The segments of a track: paths that differ in digits alone.
#[derive(Clone, PartialEq, Eq, Debug)]
struct Files {
    before: String,
    /// What the digits of each begin with: `0` of `s_015`, where the 0 may be a variant's and another's are `s_115`.
    kept: String,
    after: String,
    /// The digits of the last that is listed; empty of a template.
    last: String,
    /// From one number to the next.
    step: u64,
    /// What the track is called, by its initialization segment.
    track: String,
}

/// How a path is one of a track's.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum By {
    Prefix,
    /// It has another beginning, as `s_10` behind `s_09`, and no number is between.
    Number,
}

/// What manifests say of a path.
#[derive(PartialEq, Eq, Debug)]
pub(super) enum Said {
    /// It is a segment of this track, whether that is there or not.
    Segment(Named),
    /// It is called like segments of a track, but for the digits that may be a variant's.
    OfAnother,
    Nothing,
}

impl Manifests {
    /// Takes what was pushed to `path`, of `channel`. Channels that are not there any more, as `is_there` says, are forgotten.
    pub(super) fn take(&self, channel: &str, path: &str, body: &[u8], is_there: impl Fn(&str) -> bool) {
        let Some(decoded) = percent_decoded(path).filter(|path| path.len() <= URI_BYTES_MAX) else { return };
        let found = match decoded.ends_with(".mpd") {
            true => of_mpd(&decoded, &String::from_utf8_lossy(body)),
            false => of_playlist(&decoded, body),
        };
        let mut all = self.lock();
        all.retain(|name, _| is_there(name));
        if !is_there(channel) || found.is_empty() {
            return;
        }
        let manifests = all.entry(channel.to_owned()).or_default();
        manifests.retain(|own| own.path != decoded);
        // What another says of the same segments was so before.
        for listed in &found {
            manifests.iter_mut().for_each(|own| own.yields_to(listed));
        }
        manifests.retain(|own| !own.files.is_empty());
        if manifests.len() == MANIFESTS_MAX {
            manifests.remove(0);
        }
        manifests.push(Manifest { path: decoded, files: found });
    }

    /// Forgets the manifest at `path`.
    pub(super) fn forget(&self, channel: &str, path: &str) {
        let Some(path) = percent_decoded(path) else { return };
        if let Some(manifests) = self.lock().get_mut(channel) {
            manifests.retain(|own| own.path != path);
        }
    }

    /// Whose segment `path` is, of a channel whose tracks are `known`.
    pub(super) fn said(&self, channel: &str, path: &str, known: &[String]) -> Said {
        let all = self.lock();
        let (Some(path), Some(manifests)) = (percent_decoded(path), all.get(channel)) else { return Said::Nothing };
        let files = || manifests.iter().flat_map(|own| &own.files);
        // Beside a track that is called alike, and of whose segments no manifest has said anything, what begins otherwise may be that one's.
        let is_sure = |own: &Files| {
            let is_other =
                |track: &&String| **track != own.track && without_digits(track) == without_digits(&own.track);
            known.iter().filter(is_other).all(|track| files().any(|own| own.track == *track))
        };
        let mut found = manifests
            .iter()
            .rev()
            .filter_map(|own| own.of(&path))
            .filter(|(own, by)| *by == By::Prefix || is_sure(own));
        match found.next() {
            Some((own, By::Prefix)) => Said::Segment(Named::segment_of(&own.track)),
            Some((own, By::Number)) if found.all(|(other, _)| other.track == own.track) => {
                Said::Segment(Named::segment_of(&own.track))
            }
            None if !files().any(|own| !own.kept.is_empty() && own.digits(&path).is_some()) => Said::Nothing,
            _ => Said::OfAnother,
        }
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, Vec<Manifest>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Manifest {
    /// Those that `path` is one of, by the longest beginning.
    fn of(&self, path: &str) -> Option<(&Files, By)> {
        let found = self.files.iter().filter_map(|own| Some((own, own.has(path)?)));
        found.max_by_key(|(own, by)| (*by == By::Prefix, own.before.len() + own.kept.len()))
    }

    /// Says no more of the last of `listed`, if that is another track's here.
    fn yields_to(&mut self, listed: &Files) {
        if listed.last.is_empty() {
            return;
        }
        let path = format!("{}{}{}", listed.before, listed.last, listed.after);
        let found = self.of(&path).filter(|(own, by)| *by == By::Prefix && own.track != listed.track);
        if let Some(wrong) = found.map(|(own, _)| own.clone()) {
            self.files.retain(|own| *own != wrong);
        }
    }
}

impl Files {
    fn digits<'a>(&self, path: &'a str) -> Option<&'a str> {
        path.strip_prefix(self.before.as_str())?.strip_suffix(self.after.as_str()).filter(|digits| is_number(digits))
    }

    fn has(&self, path: &str) -> Option<By> {
        let digits = self.digits(path)?;
        let Some(number) = digits.strip_prefix(self.kept.as_str()).filter(|number| !number.is_empty()) else {
            return self.is_next(digits, &self.last).then_some(By::Number);
        };
        // No other variant's number begins with 0. But if this one's is 1, of `s_11005` it is 11, and if it is 10, of `s_1005` it is 1.
        let is_alone = self.kept.is_empty() || self.kept == "0";
        let is_own = |last: &str| match number.len().cmp(&last.len()) {
            Ordering::Less => self.kept.len() == 1,
            Ordering::Equal => true,
            Ordering::Greater => self.is_next(number, last),
        };
        (is_alone || is_own(&self.last[self.kept.len()..])).then_some(By::Prefix)
    }

    /// Whether `number` follows `last`, or the next after that.
    fn is_next(&self, number: &str, last: &str) -> bool {
        let is_written_alike = number.len() == last.len() || !number.starts_with('0');
        let value = |text: &str| text.parse::<u64>().ok();
        let ahead = value(number).zip(value(last)).and_then(|(number, last)| number.checked_sub(last));
        is_written_alike && ahead.is_some_and(|ahead| ahead > 0 && ahead <= self.step.saturating_mul(2))
    }

    /// Those of `track` of which `listed` has the first, number `number` as far as anybody said, and the last.
    fn like(listed: &Listed, number: Option<u64>, track: &str) -> Option<Files> {
        let (first, last) = (listed.first.as_str(), listed.last.as_str());
        let digits_before = |text: &str| text.len() - text.trim_end_matches(|c: char| c.is_ascii_digit()).len();
        let digits_after = |text: &str| text.len() - text.trim_start_matches(|c: char| c.is_ascii_digit()).len();
        let (begin, end) = if first == last {
            // Nothing tells which number is the segment's own: the last one of its name, as a rule.
            let name = first.rfind('/').map_or(0, |at| at + 1);
            let stem = first[name..].rfind('.').map_or(first.len(), |at| name + at);
            let end = first[..stem].rfind(|c: char| c.is_ascii_digit())? + 1;
            (end - digits_before(&first[..end]), end)
        } else {
            let same = |(one, other): &((usize, char), (usize, char))| one.1 == other.1;
            let alike = first.char_indices().zip(last.char_indices()).take_while(same).last();
            let begin = alike.map_or(0, |((at, c), _)| at + c.len_utf8());
            let begin = begin - digits_before(&first[..begin]);
            (begin, begin + digits_after(&first[begin..]))
        };
        let (before, digits, after) = (first[..begin].to_owned(), &first[begin..end], first[end..].to_owned());
        let mut files =
            Files { before, kept: String::new(), after, last: String::new(), step: 1, track: track.to_owned() };
        let last_digits = files.digits(last).filter(|_| !digits.is_empty())?.to_owned();
        let own = number.filter(|number| {
            let last = number.saturating_add(listed.count.saturating_sub(1)).to_string();
            digits.ends_with(&number.to_string()) && last_digits.ends_with(&last)
        });
        files.kept = kept(digits, &last_digits, own, track).to_owned();
        let value = |text: &str| text[files.kept.len()..].parse::<u64>().ok();
        let far = value(&last_digits).zip(value(digits)).and_then(|(last, first)| last.checked_sub(first));
        let steps = listed.count.saturating_sub(1).max(1);
        files.step = far.filter(|_| own.is_none()).map_or(1, |far| (far / steps).max(1));
        files.last = last_digits;
        Some(files)
    }
}

/// What the digits of a track's segments begin with, of which `first` and `last` are listed and the first is number `number`, so that others
/// may be another track's: `%v` in ffmpeg's `s_%v%d`, which the name of the initialization segment has, too.
fn kept<'a>(first: &'a str, last: &str, number: Option<u64>, track: &str) -> &'a str {
    let shared = first.bytes().zip(last.bytes()).take_while(|(one, other)| one == other).count();
    let shared = &first[..shared.min(first.len() - 1).min(last.len() - 1)];
    // Of `s_115` that is number 15 the 1 is a variant's; zeros may be of either.
    let own = number.and_then(|number| first.strip_suffix(number.to_string().as_str()));
    let shared = &shared[..own.map_or(shared.len(), |own| own.len().min(shared.len()))];
    let numbers = track.split(|c: char| !c.is_ascii_digit()).filter(|number| !number.is_empty());
    let variant = numbers.filter(|number| shared.starts_with(number)).map(str::len).max();
    match variant {
        Some(begin) => &shared[..begin],
        None if own.is_some() && !shared.starts_with('0') => shared.trim_end_matches('0'),
        None => &shared[..shared.len().min(1)],
    }
}

/// What a name is but for its numbers.
fn without_digits(name: &str) -> String {
    name.replace(|c: char| c.is_ascii_digit(), "")
}

fn is_number(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())
}

/// What a media playlist says (RFC 8216 §4.3.2.5): a multivariant playlist names no files.
fn of_playlist(path: &str, body: &[u8]) -> Vec<Files> {
    // What is behind the last line may be half of one.
    let whole = body.iter().rposition(|byte| *byte == b'\n').map_or(body.len(), |at| at + 1);
    let body = if body.len() == BYTES_READ { &body[..whole] } else { body };
    let Ok((_, playlist)) = m3u8_rs::parse_media_playlist(body) else { return Vec::new() };
    let map = playlist.segments.iter().rev().find_map(|segment| segment.map.as_ref());
    let ends = playlist.segments.first().zip(playlist.segments.last());
    let found = map.zip(ends).and_then(|(map, (first, last))| {
        let track = track_at(&resolved(path, &map.uri)?)?;
        let (first, last) = (resolved(path, &first.uri)?, resolved(path, &last.uri)?);
        let listed = Listed { first, last, count: playlist.segments.len() as u64 };
        Files::like(&listed, Some(playlist.media_sequence), &track)
    });
    found.into_iter().collect()
}

/// The segments that are listed.
#[derive(Clone, Default)]
struct Listed {
    first: String,
    last: String,
    count: u64,
}

/// What an element of an MPD says, and what those around it said (ISO/IEC 23009-1 §5.3.9.1, §5.6.4).
#[derive(Clone, Default)]
struct Level {
    base: String,
    id: String,
    bandwidth: String,
    initialization: Option<String>,
    media: Option<String>,
    /// Of a SegmentList.
    listed: Option<Listed>,
    is_representation: bool,
}

/// What an MPD says.
fn of_mpd(path: &str, text: &str) -> Vec<Files> {
    let mut reader = Reader::from_str(text);
    let mut found = Vec::new();
    let mut open = vec![Level { base: path.to_owned(), ..Level::default() }];
    let mut is_base = false;
    loop {
        let event = match reader.read_event() {
            Ok(event) => event,
            Err(_) => return found,
        };
        match event {
            Event::Start(start) if open.len() < DEPTH_MAX => {
                is_base = start.local_name().as_ref() == "BaseURL";
                let level = opened(&start, &mut open);
                open.push(level);
            }
            Event::Empty(start) => {
                let level = opened(&start, &mut open);
                found.extend(of_representation(&level).filter(|_| found.len() < TRACKS_MAX));
            }
            Event::Text(text) if is_base => {
                let around = open.len().saturating_sub(2);
                let base = text.xml10_content();
                if let Some(base) = resolved(&open[around].base, base.trim()) {
                    open[around].base = base;
                }
            }
            Event::End(_) => {
                is_base = false;
                let Some(level) = open.pop().filter(|_| !open.is_empty()) else { return found };
                found.extend(of_representation(&level).filter(|_| found.len() < TRACKS_MAX));
            }
            Event::Eof | Event::Start(_) => return found,
            _ => {}
        }
    }
}

/// What `start` says, of itself or of the last of those that are `open`.
fn opened(start: &BytesStart<'_>, open: &mut [Level]) -> Level {
    let value = |name: &str| {
        let own = start.try_get_attribute(name).ok()??;
        let value = own.normalized_value(XmlVersion::Implicit1_0).ok()?;
        Some(value.into_owned()).filter(|value| value.len() <= URI_BYTES_MAX)
    };
    let around = open.len() - 1;
    // What is in a SegmentTemplate or a SegmentList is of the element that this is in.
    let list = around.saturating_sub(1);
    match start.local_name().as_ref() {
        "SegmentTemplate" => {
            open[around].initialization = value("initialization").or(open[around].initialization.take());
            open[around].media = value("media").or(open[around].media.take());
        }
        "Initialization" => open[list].initialization = value("sourceURL"),
        "SegmentURL" => {
            if let Some(media) = value("media") {
                let before =
                    open[list].listed.take().unwrap_or_else(|| Listed { first: media.clone(), ..Listed::default() });
                open[list].listed = Some(Listed { last: media, count: before.count + 1, ..before });
            }
        }
        _ => {}
    }
    let mut level = Level { is_representation: false, ..open[around].clone() };
    if start.local_name().as_ref() == "Representation" {
        level.id = value("id").unwrap_or_default();
        level.bandwidth = value("bandwidth").unwrap_or_default();
        level.is_representation = true;
    }
    level
}

fn of_representation(level: &Level) -> Option<Files> {
    if !level.is_representation {
        return None;
    }
    let track = track_at(&resolved(&level.base, &filled(level.initialization.as_deref()?, level, "0"))?)?;
    if let Some(Listed { first, last, count }) = &level.listed {
        let (first, last) = (resolved(&level.base, first)?, resolved(&level.base, last)?);
        return Files::like(&Listed { first, last, count: *count }, None, &track);
    }
    // No path has it: where the number goes.
    let media = resolved(&level.base, &filled(level.media.as_deref()?, level, "\0"))?;
    let (before, after) = media.split_once('\0')?;
    let (before, after) = (before.to_owned(), after.to_owned());
    Some(Files { before, kept: String::new(), after, last: String::new(), step: 1, track })
}

/// The template `text`, with `number` for `$Number$` and `$Time$` (ISO/IEC 23009-1 §5.3.9.4.4).
fn filled(text: &str, level: &Level, number: &str) -> String {
    let mut out = String::new();
    for (index, part) in text.split('$').enumerate() {
        match part.split('%').next().unwrap_or(part) {
            _ if index % 2 == 0 => out.push_str(part),
            "" => out.push('$'),
            "RepresentationID" => out.push_str(&level.id),
            "Bandwidth" => out.push_str(&level.bandwidth),
            _ => out.push_str(number),
        }
    }
    out
}

/// The path that `reference` has in what lies at `base` (RFC 3986 §5.2), without its escapes.
fn resolved(base: &str, reference: &str) -> Option<String> {
    let reference = reference.split(['?', '#']).next()?;
    let path = match reference.split_once("://") {
        Some((_, rest)) => &rest[rest.find('/')?..],
        None => reference,
    };
    let folder = base.rfind('/').map_or("", |at| &base[..=at]);
    let path = percent_decoded(path)?;
    let joined = if path.starts_with('/') { path } else { format!("{folder}{path}") };
    let mut parts: Vec<&str> = Vec::new();
    for part in joined.split('/').skip(1) {
        match part {
            "." => {}
            ".." => drop(parts.pop()),
            part => parts.push(part),
        }
    }
    Some(format!("/{}", parts.join("/"))).filter(|path| path.len() <= URI_BYTES_MAX)
}

/// The track whose initialization segment lies at `path`.
fn track_at(path: &str) -> Option<String> {
    match paths::target(path)?.1 {
        Target::Track(named) => Some(named.name),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What `path` is a segment of, once each of `pushed` came, a path and a text.
    fn whose(pushed: &[(&str, &str)], path: &str) -> Option<String> {
        let manifests = Manifests::default();
        for (path, text) in pushed {
            push(&manifests, path, text);
        }
        said(&manifests, path, &[]).ok().flatten()
    }

    fn push(manifests: &Manifests, path: &str, text: &str) {
        manifests.take("c", path, text.as_bytes(), |channel| channel == "c");
    }

    /// The track that manifests say, of those `known`; an error if it is another's.
    fn said(manifests: &Manifests, path: &str, known: &[&str]) -> Result<Option<String>, ()> {
        let known: Vec<String> = known.iter().map(|name| (*name).to_owned()).collect();
        match manifests.said("c", path, &known) {
            Said::Segment(named) => Ok(Some(named.name)),
            Said::Nothing => Ok(None),
            Said::OfAnother => Err(()),
        }
    }

    fn playlist(init: &str, segments: &[&str]) -> String {
        let listed: String = segments.iter().map(|uri| format!("#EXTINF:2.0,\n{uri}\n")).collect();
        format!("#EXTM3U\n#EXT-X-VERSION:7\n#EXT-X-TARGETDURATION:2\n#EXT-X-MAP:URI=\"{init}\"\n{listed}")
    }

    #[test]
    fn a_playlist_says_whose_its_segments_are() {
        let list = playlist("picture_init.mp4", &["a9.m4s", "a10.m4s"]);
        let of = |path| whose(&[("/ingest/c/index.m3u8", &list)], path);
        for path in ["/ingest/c/a9.m4s", "/ingest/c/a11.m4s", "/ingest/c/a000.m4s", "/ingest/c/%61100.m4s"] {
            assert_eq!(of(path).as_deref(), Some("picture"), "{path}");
        }
        for path in
            ["/ingest/c/a.m4s", "/ingest/c/b9.m4s", "/ingest/c/a9.mp4", "/ingest/c/x/a9.m4s", "/ingest/c/a9b.m4s"]
        {
            assert_eq!(of(path), None, "{path}");
        }
    }

    #[test]
    fn the_number_of_a_segment_is_what_differs() {
        let of = |init: &str, segments: &[&str], path: &str| {
            whose(&[("/ingest/c/hls/index.m3u8", &playlist(init, segments))], path)
        };
        let v = Some("v".to_owned());
        assert_eq!(of("../v.mp4", &["../19-0.m4s", "../20-0.m4s"], "/ingest/c/21-0.m4s"), v);
        assert_eq!(of("../v.mp4", &["../19-0.m4s", "../20-0.m4s"], "/ingest/c/19-1.m4s"), None);
        assert_eq!(of("../v.mp4", &["../v1-19.m4s"], "/ingest/c/v1-20.m4s"), v, "the last number, as a rule");
        assert_eq!(of("../v.mp4", &["../x0.m4s", "../x0.m4s"], "/ingest/c/x1.m4s"), v);
        assert_eq!(of("../v.mp4", &["../a.m4s", "../b.m4s"], "/ingest/c/b.m4s"), None, "nothing to go on from");
        assert_eq!(of("/ingest/c/v.mp4", &["http://x:9/ingest/c/s/1.m4s?a=b"], "/ingest/c/s/2.m4s"), v);
        assert_eq!(of("http://x:9", &["1.m4s"], "/ingest/c/hls/2.m4s"), None);
        assert_eq!(of("../../../../v.mp4", &["1.m4s"], "/ingest/c/hls/2.m4s"), None, "no channel's");
    }

    #[test]
    fn a_variant_and_a_number_in_one_are_told_apart_by_the_media_sequence() {
        let at = |variant: u64, number: u64| format!("s_{variant}{number}.m4s");
        for first in [0, 1, 5, 9, 10, 16, 19, 95, 99, 110] {
            let list = |variant: u64| {
                let segments: Vec<String> = (first..first + 5).map(|number| at(variant, number)).collect();
                let list =
                    playlist(&format!("init_{variant}.mp4"), &segments.iter().map(String::as_str).collect::<Vec<_>>());
                list.replace("#EXT-X-TARGET", &format!("#EXT-X-MEDIA-SEQUENCE:{first}\n#EXT-X-TARGET"))
            };
            let lists = [list(0), list(1), list(2)];
            let names = ["/ingest/c/0.m3u8", "/ingest/c/1.m3u8", "/ingest/c/2.m3u8"];
            let pushed: Vec<(&str, &str)> = names.into_iter().zip(lists.iter().map(String::as_str)).collect();
            for variant in 0..3 {
                let next = format!("/ingest/c/{}", at(variant, first + 5));
                assert_eq!(whose(&pushed, &next), Some(format!("main-{variant}")), "{next}");
            }
        }
        // Another count, and zeros before it.
        let list = |first: &str, last: &str| {
            playlist("v.mp4", &[first, last]).replace("#EXT-X-TARGET", "#EXT-X-MEDIA-SEQUENCE:8\n#EXT-X-TARGET")
        };
        let of = |list: &str, path: &str| whose(&[("/ingest/c/a.m3u8", list)], path);
        assert_eq!(of(&list("a128.m4s", "a129.m4s"), "/ingest/c/a130.m4s").as_deref(), Some("v"));
        assert_eq!(of(&list("a00008.m4s", "a00009.m4s"), "/ingest/c/a00010.m4s").as_deref(), Some("v"));
    }

    #[test]
    fn an_mpd_says_whose_its_segments_are() {
        let own = r#"<MPD><Period><AdaptationSet>
            <Representation id="0" bandwidth="700000"><SegmentTemplate initialization="p$RepresentationID$.mp4" media="c$RepresentationID$$Number%05d$.m4s"/></Representation>
            <Representation id="1" bandwidth="9"><SegmentTemplate initialization="p$RepresentationID$.mp4" media="c$RepresentationID$$Number%05d$.m4s"/></Representation>
            </AdaptationSet></Period></MPD>"#;
        let of = |path| whose(&[("/ingest/c/manifest.mpd", own)], path);
        assert_eq!(of("/ingest/c/c000001.m4s").as_deref(), Some("p0"));
        assert_eq!(of("/ingest/c/c100001.m4s").as_deref(), Some("p1"));
        let shared = r#"<MPD><BaseURL>media/</BaseURL><Period><AdaptationSet><SegmentTemplate initialization="$RepresentationID$/i.mp4"
            media="$RepresentationID$/at$Time$$$.m4s"><SegmentTimeline><S t="0" d="2"/></SegmentTimeline></SegmentTemplate>
            <Representation id="low" bandwidth="1"/><Representation id="high" bandwidth="2"></Representation></AdaptationSet></Period></MPD>"#;
        let of = |path| whose(&[("/ingest/c/manifest.mpd", shared)], path);
        assert_eq!(of("/ingest/c/media/low/at7$.m4s"), None, "an initialization segment two folders down has no name");
        let of = |path| whose(&[("/ingest/c/manifest.mpd", &shared.replace("media/", "../c/"))], path);
        assert_eq!(of("/ingest/c/low/at7$.m4s").as_deref(), Some("low"));
        assert_eq!(of("/ingest/c/high/at8$.m4s").as_deref(), Some("high"));
        let list = r#"<MPD><Period><AdaptationSet><Representation id="x"><SegmentList><Initialization sourceURL="v.mp4"/>
            <SegmentURL media="s9.m4s"/><SegmentURL media="s10.m4s"/></SegmentList></Representation></AdaptationSet></Period></MPD>"#;
        assert_eq!(whose(&[("/ingest/c/manifest.mpd", list)], "/ingest/c/s11.m4s").as_deref(), Some("v"));
        // As much as is well-formed.
        let cut = &own[..own.find("<Representation id=\"1\"").unwrap()];
        let of = |path| whose(&[("/ingest/c/manifest.mpd", cut)], path);
        assert_eq!(of("/ingest/c/c000001.m4s").as_deref(), Some("p0"));
        assert_eq!(of("/ingest/c/c100001.m4s"), None);
    }

    /// A media playlist of ffmpeg that lists the segments `numbers`.
    fn numbered(init: &str, numbers: std::ops::Range<u64>, at: impl Fn(u64) -> String) -> String {
        let names: Vec<String> = numbers.clone().map(at).collect();
        let list = playlist(init, &names.iter().map(String::as_str).collect::<Vec<_>>());
        list.replace("#EXT-X-TARGET", &format!("#EXT-X-MEDIA-SEQUENCE:{}\n#EXT-X-TARGET", numbers.start))
    }

    /// As ffmpeg 5.1 pushes, whose playlists have five segments, each after its segment and each variant after the one before: what is said
    /// of each segment, from number `from` on and of `variants`, when it comes.
    fn as_ffmpeg_pushes(
        manifests: &Manifests,
        (variants, numbers): (&[u64], std::ops::Range<u64>),
        at: impl Fn(u64, u64) -> String,
        mut check: impl FnMut(u64, u64, Result<Option<String>, ()>),
    ) {
        let known: Vec<String> = variants.iter().map(|variant| format!("main-{variant}")).collect();
        let known: Vec<&str> = known.iter().map(String::as_str).collect();
        for number in numbers {
            for &variant in variants {
                check(variant, number, said(manifests, &format!("/ingest/c/{}", at(variant, number)), &known));
                let listed = number.saturating_sub(4)..number + 1;
                let list = numbered(&format!("init_{variant}.mp4"), listed, |number| at(variant, number));
                push(manifests, &format!("/ingest/c/{variant}.m3u8"), &list);
            }
        }
    }

    #[test]
    fn sound_of_a_variant_whose_playlist_had_not_come_was_a_segment_of_the_pictures() {
        let forms: [fn(u64, u64) -> String; 3] = [
            |variant, number| format!("s_{variant}{number}.m4s"),
            |variant, number| format!("s_{variant}{number:03}.m4s"),
            |variant, number| format!("{variant}{number}.m4s"),
        ];
        let variants: Vec<u64> = (0..13).collect();
        for (form, at) in forms.into_iter().enumerate() {
            // Without zeros names of an eleventh variant are others' too, and with three of them those of the thousandth segment.
            for count in [1, 2, 3, if form == 1 { 13 } else { 10 }] {
                // At the beginning, and after a restart of the server, which has forgotten its manifests.
                for first in [0, 1, 4, 8, 9, 10, 11, 16, 95, 99, 100, 109, 980, 999] {
                    if count > 10 && first == 999 {
                        continue;
                    }
                    let mut told = 0;
                    let numbers = first..first + 12;
                    as_ffmpeg_pushes(
                        &Manifests::default(),
                        (&variants[..count], numbers),
                        at,
                        |variant, number, said| {
                            let own = Some(format!("main-{variant}"));
                            let expected = number > first;
                            assert!(
                                if expected { said == Ok(own) } else { said == Err(()) || said == Ok(None) },
                                "{count} from {first}: {}: {said:?}",
                                at(variant, number)
                            );
                            told += usize::from(expected);
                        },
                    );
                    assert_eq!(told, 11 * count);
                }
            }
        }
    }

    #[test]
    fn after_a_restart_of_the_server_sound_was_a_segment_of_the_pictures() {
        let at = |variant: u64, number: u64| format!("s_{variant}{number}.m4s");
        let mut refused = Vec::new();
        for numbers in [0..11, 11..30] {
            // What manifests said is lost with it.
            as_ffmpeg_pushes(&Manifests::default(), (&[0, 1], numbers), at, |variant, number, said| match said {
                Ok(Some(track)) => assert_eq!(track, format!("main-{variant}"), "number {number}"),
                _ => refused.push((variant, number)),
            });
        }
        assert_eq!(refused, [(0, 0), (1, 0), (0, 11), (1, 11)]);
    }

    #[test]
    fn an_encoder_that_counts_anew_after_a_restart_of_both_was_another_track() {
        let at = |variant: u64, number: u64| format!("s_{variant}{number}.m4s");
        for last in 0..30 {
            let manifests = Manifests::default();
            let known = ["main-0", "main-1"];
            push(&manifests, "/ingest/c/0.m3u8", &numbered("init_0.mp4", last..last + 1, |number| at(0, number)));
            for number in 0..40 {
                let found = said(&manifests, &format!("/ingest/c/{}", at(0, number)), &known);
                assert_eq!(found, Ok(Some("main-0".to_owned())), "{number} after {last}");
                assert_eq!(
                    said(&manifests, &format!("/ingest/c/{}", at(1, number)), &known),
                    Err(()),
                    "{number} after {last}"
                );
            }
        }
    }

    #[test]
    fn one_variant_is_known_by_its_playlist_whatever_its_numbers_are_like() {
        let forms: [fn(u64) -> String; 5] = [
            |number| format!("a{number}.m4s"),
            |number| format!("a{number:02}.m4s"),
            |number| format!("a{number:03}.m4s"),
            |number| format!("a{number:05}.m4s"),
            |number| format!("a{}.m4s", 1_700_000_000 + 2 * number),
        ];
        for at in forms {
            for init in ["v.mp4", "init_0.mp4", "v0.mp4", "init_1.mp4"] {
                let track = track_at(&format!("/ingest/c/{init}")).unwrap();
                for (first, sequence) in [(0, 0), (3, 3), (50, 0), (150, 0), (95, 95), (990, 990), (99_990, 99_990)] {
                    let manifests = Manifests::default();
                    for number in first..first + 120 {
                        let found = said(&manifests, &format!("/ingest/c/{}", at(number)), &[&track, "b"]);
                        if number > first {
                            assert_eq!(found, Ok(Some(track.clone())), "{init}: {} from {first}", at(number));
                        }
                        let listed = number.saturating_sub(4).max(first)..number + 1;
                        let list = numbered(init, listed.clone(), at);
                        let counted = format!("SEQUENCE:{}\n", listed.start - first + sequence);
                        let list = list.replace(&format!("SEQUENCE:{}\n", listed.start), &counted);
                        push(&manifests, "/ingest/c/a.m3u8", &list);
                    }
                }
            }
        }
    }

    #[test]
    fn names_that_are_times_are_known_by_their_distance() {
        let manifests = Manifests::default();
        for number in 0..60u64 {
            let path = |number: u64| format!("/ingest/c/a{}.m4s", number * 180_000);
            if number > 2 {
                assert_eq!(said(&manifests, &path(number), &["v"]), Ok(Some("v".to_owned())), "{}", path(number));
            }
            let listed: Vec<String> = (number.saturating_sub(4)..=number).map(path).collect();
            push(
                &manifests,
                "/ingest/c/a.m3u8",
                &playlist("v.mp4", &listed.iter().map(String::as_str).collect::<Vec<_>>()),
            );
        }
    }

    #[test]
    fn a_manifest_that_was_renamed_vetoed_what_came_after_it() {
        let (one, other) = (playlist("v.mp4", &["1.m4s", "2.m4s"]), playlist("w.mp4", &["1.m4s", "2.m4s"]));
        let of = |pushed: &[(&str, &str)]| whose(pushed, "/ingest/c/3.m4s");
        assert_eq!(of(&[("/ingest/c/a.m3u8", &one), ("/ingest/c/b.m3u8", &one)]).as_deref(), Some("v"));
        assert_eq!(of(&[("/ingest/c/a.m3u8", &one), ("/ingest/c/b.m3u8", &other)]).as_deref(), Some("w"));
        assert_eq!(of(&[("/ingest/c/b.m3u8", &other), ("/ingest/c/a.m3u8", &one)]).as_deref(), Some("v"));
        assert_eq!(of(&[("/ingest/c/a.m3u8", &one), ("/ingest/c/a.m3u8", &other)]).as_deref(), Some("w"));
        // One that begins otherwise, too: once there were two variants, and now there is one.
        let at = |variant: u64, number: u64| format!("s_{variant}{number}.m4s");
        let old = [0, 1].map(|variant| numbered(&format!("init_{variant}.mp4"), 0..5, |number| at(variant, number)));
        let new = numbered("init.mp4", 5..10, |number| format!("s_{number}.m4s"));
        let pushed =
            [("/ingest/c/0.m3u8", old[0].as_str()), ("/ingest/c/1.m3u8", &old[1]), ("/ingest/c/index.m3u8", &new)];
        assert_eq!(whose(&pushed, "/ingest/c/s_10.m4s").as_deref(), Some("main"));
        assert_eq!(whose(&pushed[..2], "/ingest/c/s_10.m4s").as_deref(), Some("main-1"));
        // And back: of the one nothing is left.
        let back = [pushed[2], pushed[0]];
        let manifests = Manifests::default();
        back.iter().for_each(|(path, text)| push(&manifests, path, text));
        let known = ["main", "main-0", "main-1"];
        assert_eq!(said(&manifests, "/ingest/c/s_05.m4s", &known), Ok(Some("main-0".to_owned())));
        assert_eq!(said(&manifests, "/ingest/c/s_15.m4s", &known), Err(()));
        for nothing in ["", "#EXTM3U", "<MPD>", "<MPD", "\0", "#EXTM3U\n#EXTINF:2,\n"] {
            assert_eq!(of(&[("/ingest/c/a.m3u8", nothing), ("/ingest/c/a.mpd", nothing)]), None, "{nothing}");
        }
    }

    #[test]
    fn a_manifest_that_was_deleted_went_on_to_count() {
        let manifests = Manifests::default();
        let list = playlist("v.mp4", &["a1.m4s"]);
        push(&manifests, "/ingest/c/a.m3u8", &list);
        manifests.forget("d", "/ingest/c/a.m3u8");
        manifests.forget("c", "/ingest/c/b.m3u8");
        assert_eq!(said(&manifests, "/ingest/c/a2.m4s", &["v"]), Ok(Some("v".to_owned())));
        manifests.forget("c", "/ingest/c/%61.m3u8");
        assert_eq!(said(&manifests, "/ingest/c/a2.m4s", &["v"]), Ok(None));
    }

    #[test]
    fn an_encoder_that_named_its_playlists_anew_was_not_understood_any_more() {
        let manifests = Manifests::default();
        for start in 0..2 * MANIFESTS_MAX {
            for variant in 0..4 {
                let list = playlist(&format!("v{variant}.mp4"), &[&format!("{start}_{variant}_1.m4s")]);
                push(&manifests, &format!("/ingest/c/{start}_{variant}.m3u8"), &list);
            }
            for variant in 0..4 {
                let found = said(&manifests, &format!("/ingest/c/{start}_{variant}_2.m4s"), &[]);
                assert_eq!(found, Ok(Some(format!("v{variant}"))), "start {start}");
            }
        }
        // Those that are pushed again are not the oldest.
        let kept = format!("/ingest/c/{}_0.m3u8", 2 * MANIFESTS_MAX - 1);
        for number in 0..2 * MANIFESTS_MAX {
            push(&manifests, &kept, &playlist("v0.mp4", &["k1.m4s"]));
            push(&manifests, &format!("/ingest/c/n{number}.m3u8"), &playlist("w.mp4", &[&format!("n{number}-1.m4s")]));
        }
        assert_eq!(said(&manifests, "/ingest/c/k2.m4s", &[]), Ok(Some("v0".to_owned())));
    }

    #[test]
    fn no_more_is_remembered_than_channels_have() {
        let manifests = Manifests::default();
        let list = playlist("v.mp4", &["1.m4s"]);
        manifests.take("gone", "/ingest/gone/a.m3u8", list.as_bytes(), |channel| channel == "gone");
        for number in 0..MANIFESTS_MAX + 9 {
            manifests.take("c", &format!("/ingest/c/{number}.m3u8"), list.as_bytes(), |channel| channel == "c");
        }
        manifests.take("d", "/ingest/d/a.m3u8", list.as_bytes(), |channel| channel == "c");
        let all = manifests.lock();
        assert_eq!(
            all.iter().map(|(name, own)| (name.as_str(), own.len())).collect::<Vec<_>>(),
            [("c", MANIFESTS_MAX)]
        );
    }
}
