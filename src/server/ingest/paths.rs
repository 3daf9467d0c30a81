//! What a path on the ingest listener names: interface 1 of DASH-IF Live Media Ingest has a path a track, or a request of one, interface 2
//! files of a packager.
//!
//! ```text
//!   /ingest/tv/video                          a track, however it is sent
//!   /ingest/tv/video.m4s                      likewise: it has no number
//!   /ingest/tv/Streams(video.cmfv)            likewise
//!   /ingest/tv/Streams(video.cmfv)/Segment(7) a segment of it
//!   /ingest/tv/video/7.m4s                    likewise
//!   /ingest/tv/video-7.m4s                    likewise
//!   /ingest/tv/video-7.cmfv                   a track, unless that is not known and `video` is
//! ```

use std::borrow::Cow;

use crate::content::live::channel::is_name;
use crate::formats::uri::percent_decoded;

/// What of a channel is named.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Target {
    /// The publishing point: where an encoder asks whether it may push.
    Point,
    /// A track, or something of it.
    Track(Named),
    /// A manifest.
    Manifest,
    /// Something that is not taken.
    TransportStream,
    /// Nothing.
    Unknown,
}

/// How a track is named.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Named {
    /// What it is called, or its initialization segment is.
    pub name: String,
    /// Whether requests are segments.
    pub is_segment: bool,
    /// What it is called if this is a segment, where only what comes can tell.
    or_segment_of: Option<String>,
    /// The last number of a file's name.
    number: String,
    /// Whether it may be of a track that is called otherwise, where it can be of no other.
    may_be_of_only: bool,
}

/// The channel, and what of it `path` names; `None` if that names no channel.
pub fn target(path: &str) -> Option<(String, Target)> {
    let rest = path.strip_prefix("/ingest/")?;
    let decoded = |part: &str| {
        let part = if part.contains('%') { percent_decoded(part)? } else { part.to_owned() };
        Some(part).filter(|part| !part.contains('/'))
    };
    let mut parts = rest.split('/');
    let channel = decoded(parts.next()?)?;
    let channel = channel.strip_suffix(".isml").unwrap_or(&channel).to_owned();
    if !is_name(&channel) {
        return None;
    }
    // An encoder that is given a publishing point with a slash may add one of its own.
    let parts: Option<Vec<String>> = parts.filter(|part| !part.is_empty()).map(decoded).collect();
    let target = parts.filter(|parts| !parts.iter().any(|part| part.starts_with('.'))).map(|parts| of_parts(&parts));
    Some((channel, target.unwrap_or(Target::Unknown)))
}

/// The encoder that `query` names, if it does; `Some(None)` if that is no name.
pub fn encoder_of(query: &str) -> Option<Option<String>> {
    let mut pairs = query.split('&').filter_map(|pair| pair.split_once('='));
    let (_, said) = pairs.find(|(name, _)| *name == "encoder")?;
    Some(percent_decoded(said).filter(|name| is_name(name)))
}

/// What is named by the parts of a path behind the channel.
fn of_parts(parts: &[String]) -> Target {
    let Some((file, folders)) = parts.split_last() else { return Target::Point };
    let (stem, extension) = file.rsplit_once('.').map_or((file.as_str(), None), |(stem, own)| (stem, Some(own)));
    let keyword = |part: &String| Some(part.strip_prefix("Streams(")?.strip_suffix(')')?.to_owned());
    let stream = parts.iter().enumerate().find_map(|(at, part)| Some((at, keyword(part)?)));
    if let Some((at, stream)) = &stream
        && at + 1 == parts.len()
    {
        return track(&of_stream(stream), false, None);
    }
    match extension {
        Some("mpd" | "m3u8") => return Target::Manifest,
        Some("ts" | "aac" | "vtt") => return Target::TransportStream,
        _ => {}
    }
    if let Some((_, stream)) = &stream {
        return track(&of_stream(stream), true, None);
    }
    // What a switching set is called says nothing of a track.
    let folders: Vec<&String> = folders.iter().filter(|folder| !folder.starts_with("Switching(")).collect();
    let has_number = !number_of(stem).is_empty();
    match (&folders[..], extension) {
        ([folder], None) if is_of_track(file) => track(folder, true, None),
        (_, None) => track(file, false, None),
        // Of segments each has a number; without one it is all of a track.
        ([], Some("m4s" | "m4f" | "m4v" | "m4a" | "dash")) => match track(&track_of(stem, true), has_number, None) {
            Target::Track(named) => Target::Track(Named { number: number_of(stem).to_owned(), ..named }),
            other => other,
        },
        // Both interfaces have these extensions.
        ([], Some("cmfv" | "cmfa" | "cmft" | "cmfm" | "mp4")) => {
            let (name, of_segment) = (track_of(stem, false), track_of(stem, true));
            let or_segment_of = Some(of_segment).filter(|own| *own != name);
            track(&name, false, or_segment_of)
        }
        ([], Some(_)) => track(&track_of(stem, false), false, None),
        ([folder], Some("m4s" | "m4f" | "m4v" | "m4a" | "dash")) => track(folder, has_number, None),
        ([folder], Some("cmfv" | "cmfa" | "cmft" | "cmfm" | "mp4")) if ends_with_number(stem) => {
            track(folder, false, Some((*folder).clone()))
        }
        ([folder], Some(_)) => track(folder, false, None),
        (_, Some(_)) => Target::Unknown,
    }
}

fn track(name: &str, is_segment: bool, or_segment_of: Option<String>) -> Target {
    let or_segment_of = or_segment_of.filter(|name| is_name(name));
    match is_name(name) {
        true => Target::Track(Named {
            name: name.to_owned(),
            is_segment,
            or_segment_of,
            number: String::new(),
            may_be_of_only: true,
        }),
        false => Target::Unknown,
    }
}

/// The track that a stream is: its name without the extension, in which a dot or `~` is as good as `-`.
fn of_stream(stream: &str) -> String {
    let known = ["cmfv", "cmfa", "cmft", "cmfm", "mp4", "m4s", "m4v", "m4a", "ismv", "isma", "ismt"];
    let stem = stream.rsplit_once('.').filter(|(_, extension)| known.contains(extension)).map_or(stream, |own| own.0);
    stem.replace(['.', '~'], "-")
}

/// Whether a file without an extension is of the track whose folder it is in: `InitializationSegment`, `Segment(17)`.
fn is_of_track(file: &str) -> bool {
    file == "InitializationSegment" || file.starts_with("Segment(")
}

fn is_number(word: &str) -> bool {
    word.bytes().all(|byte| byte.is_ascii_digit())
}

fn number_of(stem: &str) -> &str {
    let numbers = stem.split(|c: char| !c.is_ascii_digit());
    numbers.rev().find(|number| !number.is_empty()).unwrap_or("")
}

fn ends_with_number(stem: &str) -> bool {
    stem.rsplit(['-', '_', '.']).next().is_some_and(|word| !word.is_empty() && is_number(word))
}

/// The track that a file belongs to, by its name without the extension: what is left of `init-stream0` and `chunk-stream0-00001`. The last
/// number of one of many segments is its own, the others are the track's, as in `init_0` and `out_0_00001`.
fn track_of(stem: &str, is_segment: bool) -> String {
    let is_of_init = |word: &str| matches!(word, "init" | "header");
    let is_of_segments = |word: &str| matches!(word, "chunk" | "seg" | "segment" | "media");
    let mut words: Vec<&str> = stem.split(['-', '_', '.']).collect();
    if is_segment && !words.iter().any(|word| is_of_init(word)) {
        words.iter().rposition(|word| is_number(word)).map(|own| words.remove(own));
    }
    words.retain(|word| !word.is_empty() && !is_of_init(word) && !is_of_segments(word));
    if words.iter().all(|word| is_number(word)) {
        words.insert(0, "main");
    }
    words.join("-")
}

impl Named {
    /// A segment of `track`.
    pub(super) fn segment_of(track: &str) -> Named {
        Named {
            name: track.to_owned(),
            is_segment: true,
            or_segment_of: None,
            number: String::new(),
            may_be_of_only: false,
        }
    }

    /// The same, and of no track that is called otherwise.
    pub(super) fn by_name_alone(self) -> Named {
        Named { may_be_of_only: false, ..self }
    }

    /// The track of those `known` that is meant by a request that begins with media.
    pub fn of_media(&self, known: &[String]) -> Named {
        let is_known = |name: &str| known.iter().any(|known| known == name);
        if self.is_segment {
            return Named { name: known_name(known, self).into_owned(), ..self.clone() };
        }
        let Some(of_segment) = &self.or_segment_of else { return self.clone() };
        // In a folder both are called by that.
        if (self.name != *of_segment && is_known(&self.name)) || !is_known(of_segment) {
            return self.clone();
        }
        Named { name: of_segment.clone(), is_segment: true, or_segment_of: None, ..self.clone() }
    }
}

/// `name`, or the track of those `known` that a packager means by it whose initialization segment is called otherwise: `out12` of `out`,
/// `out-1` of `main-1`, or of the only track that there is, unless that has another number, if it `may_be_of_only`.
fn known_name<'a>(known: &[String], named: &'a Named) -> Cow<'a, str> {
    let name = named.name.as_str();
    let is_known = |name: &str| known.iter().any(|known| known == name);
    let stem = name.trim_end_matches(|c: char| c.is_ascii_digit()).trim_end_matches('-');
    let number = |name: &str| {
        let (_, number) = name.rsplit_once('-')?;
        is_number(number).then(|| number.to_owned())
    };
    let own = number(name);
    // Only an initialization segment without a name may be of any.
    let is_alike = |known: &&String| own.is_some() && number(known) == own && known.starts_with("main-");
    let mut alike = known.iter().filter(is_alike);
    // Where a variant's number and the segment's own are one, as in `s_10`, that begins with the variant's.
    let may_be_of = |only: &str| {
        let variant = only.strip_prefix("main-").unwrap_or("");
        own.is_none() && (named.number.len() < 2 || named.number.starts_with(variant))
    };
    match (known, alike.next(), alike.next()) {
        _ if is_known(name) => name.into(),
        _ if is_known(stem) => stem.into(),
        _ if !named.may_be_of_only => name.into(),
        (_, Some(alike), None) => alike.clone().into(),
        ([only], ..) if may_be_of(only) || number(only).is_none() => only.clone().into(),
        _ => name.into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn named(path: &str) -> Named {
        match target(path) {
            Some((channel, Target::Track(named))) if channel == "c" => named,
            other => panic!("{path}: {other:?}"),
        }
    }

    #[test]
    fn paths_name_tracks_as_encoders_write_them() {
        let check = |path: &str, name: &str, is_segment: bool| {
            let found = named(path);
            assert_eq!((found.name.as_str(), found.is_segment), (name, is_segment), "{path}");
        };
        check("/ingest/c/video", "video", false);
        check("/ingest/c/Streams(video)", "video", false);
        check("/ingest/c//Streams(video-1280x720-700k.cmfv)", "video-1280x720-700k", false);
        check("/ingest/c.isml/Streams(video-1.cmfv)", "video-1", false);
        check("/ingest/c/video.cmfv", "video", false);
        check("/ingest/c/video.mp4", "video", false);
        check("/ingest/c/init-stream0.m4s", "stream0", true);
        check("/ingest/c/chunk-stream0-00012.m4s", "stream0", true);
        check("/ingest/c/v720/init.mp4", "v720", false);
        check("/ingest/c/v720/seg_00001.m4s", "v720", true);
        check("/ingest/c/init.mp4", "main", false);
        check("/ingest/c/7.m4s", "main", true);
        check("/ingest/c/video-1.cmfv", "video-1", false);
        check("/ingest/c/seg_en_00007.m4s", "en", true);
        check("/ingest/c/Switching(1)/Streams(video)", "video", false);
        check("/ingest/c/group/video", "video", false);
        check("/ingest/c/audio.m4a", "audio", false);
        check("/ingest/c/tv-video.m4s", "tv-video", false);
        check("/ingest/c/v720/video.m4v", "v720", false);
        check("/ingest/c/audio7.m4a", "audio7", true);
        let of = |path| target(path).map(|(_, target)| target);
        assert_eq!(of("/ingest/c/manifest.mpd"), Some(Target::Manifest));
        assert_eq!(of("/ingest/c/out0.ts"), Some(Target::TransportStream));
        for path in ["/ingest", "/ingest/", "/ingest//v", "/ingest/../v", "/c/v", "/ingest/c%2fd/v", "/ingest/c%/v"] {
            assert_eq!(target(path), None, "{path}");
        }
        for path in ["/ingest/c/..", "/ingest/c/a b", "/ingest/c/%2e%2e/v", "/ingest/c/a%2fb", "/ingest/c/a/b/1.m4s"] {
            assert_eq!(of(path), Some(Target::Unknown), "{path}");
        }
    }

    #[test]
    fn requests_of_a_stream_were_tracks_called_by_their_last_word() {
        for path in [
            "/ingest/c/Streams(default-video.cmfv)/InitializationSegment",
            "/ingest/c/Streams(default-video.cmfv)/Segment(17)",
            "/ingest/c/Streams%28default-video.cmfv%29/Segment%2817%29",
            "/ingest/c/Switching(1)/Streams(default-video.cmfv)/17.m4s",
        ] {
            let found = named(path);
            assert_eq!((found.name.as_str(), found.is_segment), ("default-video", true), "{path}");
        }
        assert_eq!(named("/ingest/c/video/Segment(17)").name, "video");
        assert_eq!(named("/ingest/c/video/Segment(17)"), named("/ingest/c/video/InitializationSegment"));
        assert_eq!(named("/ingest/c/Streams(video.1080p.cmfv)").name, "video-1080p");
        assert_eq!(named("/ingest/c/Streams(video.1080p)").name, "video-1080p");
        assert_eq!(named("/ingest/c/Streams(a~b)").name, "a-b");
        assert_eq!(named("/ingest/c/%76ideo").name, "video");
        let manifest = target("/ingest/c/Streams(video.cmfv)/index.m3u8").map(|(_, target)| target);
        assert_eq!(manifest, Some(Target::Manifest));
    }

    #[test]
    fn a_publishing_point_was_nothing() {
        for path in ["/ingest/tv", "/ingest/tv/", "/ingest/tv.isml", "/ingest/tv.isml//"] {
            assert_eq!(target(path), Some(("tv".to_owned(), Target::Point)), "{path}");
        }
        assert_eq!(target("/ingest/tv/a/b/index.m3u8"), Some(("tv".to_owned(), Target::Manifest)));
    }

    #[test]
    fn each_segment_of_interface_2_was_a_track() {
        let of_media = |path: &str, known: &[&str]| {
            let known: Vec<String> = known.iter().map(|name| (*name).to_owned()).collect();
            let found = named(path).of_media(&known);
            (found.name, found.is_segment)
        };
        let segment = |name: &str| (name.to_owned(), true);
        let track = |name: &str| (name.to_owned(), false);
        assert_eq!(named("/ingest/c/video-init.cmfv").name, "video");
        assert_eq!(of_media("/ingest/c/video-00001.cmfv", &["audio", "video"]), segment("video"));
        assert_eq!(of_media("/ingest/c/index_1_00001.mp4", &["index-1", "index-2"]), segment("index-1"));
        assert_eq!(of_media("/ingest/c/00001.mp4", &["main"]), segment("main"));
        assert_eq!(of_media("/ingest/c/video-1.cmfv", &["video-1", "video"]), track("video-1"), "interface 1");
        assert_eq!(of_media("/ingest/c/video-1.cmfv", &["video-2", "audio"]), track("video-1"), "no init came of it");
        assert_eq!(of_media("/ingest/c/video-1.cmfv", &["audio"]), track("video-1"), "nor of this");
        assert_eq!(of_media("/ingest/c/video.cmfv", &["video", "audio"]), track("video"));
        assert_eq!(of_media("/ingest/c/v720/00001.mp4", &["v720", "audio"]), segment("v720"));
        assert_eq!(of_media("/ingest/c/v720/seg-00001.cmfv", &["v720", "audio"]), segment("v720"));
        assert_eq!(of_media("/ingest/c/v720/video.cmfv", &["v720", "audio"]), track("v720"));
    }

    #[test]
    fn renditions_with_numbers_were_one_track() {
        let inits = ["/ingest/c/init_0.mp4", "/ingest/c/init_1.mp4", "/ingest/c/video_720_init.mp4"];
        let known = inits.map(|path| named(path).name);
        assert_eq!(known, ["main-0", "main-1", "video-720"]);
        let segment = |path: &str, known: &[String]| named(path).of_media(known).name;
        assert_eq!(segment("/ingest/c/out_0_00001.m4s", &known), "main-0");
        assert_eq!(segment("/ingest/c/out_1_00001.m4s", &known), "main-1");
        assert_eq!(segment("/ingest/c/video_720_00001.m4s", &known), "video-720");
        // Nothing tells whose it is: as a track of its own it has no initialization segment, and that is said.
        assert_eq!(segment("/ingest/c/out_10.m4s", &known), "out");
        let one = |name: &str| [name.to_owned()];
        assert_eq!(segment("/ingest/c/out_1_00001.m4s", &one("main-0")), "out-1", "another number is another track's");
        assert_eq!(segment("/ingest/c/audio_1_00001.m4s", &[one("video-1"), one("video-2")].concat()), "audio-1");
        assert_eq!(segment("/ingest/c/s_00.m4s", &one("main-0")), "main-0");
        assert_eq!(segment("/ingest/c/s_7.m4s", &one("main-0")), "main-0");
        assert_eq!(segment("/ingest/c/s_00012.m4s", &one("main-0")), "main-0");
        assert_eq!(segment("/ingest/c/s_10.m4s", &one("main-0")), "s", "it may be of variant 1, whose init comes next");
        assert_eq!(segment("/ingest/c/10.m4s", &one("main-0")), "main", "likewise");
        assert_eq!(segment("/ingest/c/s_05.m4s", &one("main-1")), "s");
        assert_eq!(segment("/ingest/c/s_15.m4s", &one("main-1")), "main-1");
        assert_eq!(segment("/ingest/c/out12.m4s", &one("out")), "out");
        assert_eq!(segment("/ingest/c/out12.m4s", &one("main")), "main");
        assert_eq!(segment("/ingest/c/en_20261126_00001.m4s", &["en".to_owned(), "de".to_owned()]), "en");
    }
}
