//! What a path on the media listener names.
//!
//! ```text
//!   /{presentation}/master.m3u8            /{presentation}/{track}/{version}/init.mp4
//!   /{presentation}/manifest.mpd           /{presentation}/{track}/{version}/{time}.m4s
//!   /{presentation}/{track}/{version}/media.m3u8           …/{time}.vtt
//!   /{presentation}/{track}/{version}/trick.m3u8           …/{time}.trick.m4s
//!   /{presentation}/{thumbnails}/{version}/media.m3u8      …/{number}.jpg, …/{number}.png
//! ```
//!
//! A presentation's name may have slashes; a path is read from its end. A name is looked up in the catalogue and never
//! joined to a folder, so that no path can lead out of the library.

use std::borrow::Cow;

use crate::formats::image::Format;
use crate::media::track::Version;

/// Which cache an object lies in, told by the end of its path.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Class {
    /// Playlists and MPDs.
    Manifest,
    /// Initialization segments.
    Init,
    /// Media segments.
    Segment,
}

impl Class {
    /// The class of what `path` names, if it can name anything.
    pub fn of(path: &str) -> Option<Class> {
        let (_, extension) = path.rsplit_once('.')?;
        match extension {
            "m4s" | "vtt" | "jpg" | "png" => Some(Class::Segment),
            "m3u8" | "mpd" => Some(Class::Manifest),
            "mp4" => Some(Class::Init),
            _ => None,
        }
    }
}

/// What is asked for.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Address {
    /// Name of the presentation.
    pub presentation: String,
    /// What of it.
    pub item: Item,
}

/// What of a presentation is asked for.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Item {
    /// The HLS multivariant playlist.
    Multivariant,
    /// The DASH MPD.
    Mpd,
    /// Something of one version of one track.
    Of {
        /// Name of the track.
        track: String,
        /// Its version.
        version: Version,
        /// What of it.
        part: TrackItem,
    },
}

/// What of a track is asked for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum TrackItem {
    /// The HLS media playlist.
    Playlist,
    /// The HLS I-frame playlist.
    TrickPlaylist,
    /// The initialization segment.
    Init,
    /// The CMAF segment that begins at this time, in ticks.
    Segment(i64),
    /// The CMAF segment of the one picture that is shown from this time on, in ticks.
    TrickFrame(i64),
    /// The WebVTT segment that begins at this time, in ticks.
    WebVtt(i64),
    /// The sheet of thumbnails of this number, from 1, in this format.
    Sheet(i64, Format),
}

impl Address {
    /// Reads a path whose percent-encoding is resolved; `None` if it names nothing.
    pub fn parse(path: &str) -> Option<Address> {
        let (rest, last) = path.strip_prefix('/')?.rsplit_once('/')?;
        let of_presentation = match last {
            "master.m3u8" => Some(Item::Multivariant),
            "manifest.mpd" => Some(Item::Mpd),
            _ => None,
        };
        if let Some(item) = of_presentation {
            return Some(Address { presentation: name(rest)?, item });
        }
        let part = match last {
            "media.m3u8" => TrackItem::Playlist,
            "trick.m3u8" => TrackItem::TrickPlaylist,
            "init.mp4" => TrackItem::Init,
            _ => {
                let (time, extension) = last.split_once('.')?;
                let time = canonical_time(time)?;
                match extension {
                    "m4s" => TrackItem::Segment(time),
                    "trick.m4s" => TrackItem::TrickFrame(time),
                    "vtt" => TrackItem::WebVtt(time),
                    "jpg" => TrackItem::Sheet(time, Format::Jpeg),
                    "png" => TrackItem::Sheet(time, Format::Png),
                    _ => return None,
                }
            }
        };
        let (rest, version) = rest.rsplit_once('/')?;
        let (presentation, track) = rest.rsplit_once('/')?;
        let version = version.parse().ok()?;
        Some(Address { presentation: name(presentation)?, item: Item::Of { track: name(track)?, version, part } })
    }
}

/// A name as the catalogue may have it: no empty part, none that begins with a dot.
fn name(name: &str) -> Option<String> {
    let sound = name.split('/').all(|part| !part.is_empty() && !part.starts_with('.'));
    (sound && !name.contains(|c: char| c.is_control())).then(|| name.to_owned())
}

/// One spelling a number, so that one segment has one name: no sign, no leading zeros.
fn canonical_time(text: &str) -> Option<i64> {
    let digits = text.bytes().all(|b| b.is_ascii_digit());
    let canonical = digits && (text == "0" || !text.starts_with('0'));
    if canonical { text.parse().ok() } else { None }
}

/// `path` with its percent-encoding resolved; `None` if that is not UTF-8, or encodes what must not be encoded (`/`, NUL).
pub fn decode(path: &str) -> Option<Cow<'_, str>> {
    if !path.contains('%') {
        return Some(Cow::Borrowed(path));
    }
    let mut bytes = Vec::with_capacity(path.len());
    let mut rest = path.bytes();
    while let Some(byte) = rest.next() {
        if byte != b'%' {
            bytes.push(byte);
            continue;
        }
        let digit = |b: u8| char::from(b).to_digit(16);
        let value = digit(rest.next()?)? * 16 + digit(rest.next()?)?;
        if value == 0 || value == u32::from(b'/') {
            return None;
        }
        bytes.push(value as u8);
    }
    String::from_utf8(bytes).ok().map(Cow::Owned)
}

/// `name` as it stands in a URL (RFC 3986 §3.3): what is not unreserved is encoded, slashes stay.
pub fn encode(name: &str) -> String {
    let mut out = String::with_capacity(name.len());
    for byte in name.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' | b'/' => out.push(char::from(byte)),
            _ => out.push_str(&format!("%{byte:02X}")),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn parsed(path: &str) -> Option<Address> {
        decode(path).and_then(|path| Address::parse(&path))
    }

    #[test]
    fn names_may_have_slashes() {
        let address = parsed("/films/2024/tour/master.m3u8").expect("an address");
        assert_eq!(address, Address { presentation: "films/2024/tour".to_owned(), item: Item::Multivariant });
        let address = parsed("/a/b/v360/0123456789abcdef/184320.m4s").expect("an address");
        let Item::Of { track, version, part } = address.item else { panic!("of a track") };
        assert_eq!((address.presentation.as_str(), track.as_str()), ("a/b", "v360"));
        assert_eq!((version, part), (Version(0x0123_4567_89ab_cdef), TrackItem::Segment(184_320)));
    }

    #[test]
    fn what_names_nothing() {
        for path in [
            "",
            "/",
            "master.m3u8",
            "/master.m3u8",
            "//master.m3u8",
            "/a//master.m3u8",
            "/../a/master.m3u8",
            "/a/../master.m3u8",
            "/a/./master.m3u8",
            "/%2e%2e/a/master.m3u8",
            "/a%2fb/master.m3u8",
            "/a%00/master.m3u8",
            "/%ff/master.m3u8",
            "/a%2/master.m3u8",
            "/a/v/0123456789ABCDEF/0.m4s",
            "/a/v/0123456789abcdef/00.m4s",
            "/a/v/0123456789abcdef/-1.m4s",
            "/a/v/0123456789abcdef/+1.m4s",
            "/a/v/0123456789abcdef/99999999999999999999.m4s",
            "/a/v/0123456789abcde/0.m4s",
            "/v/0123456789abcdef/0.m4s",
            "/a/v/0123456789abcdef/0.mp4",
            "/a/v/0123456789abcdef/01.jpg",
            "/a/v/0123456789abcdef/1.jpeg",
            "/a/v/0123456789abcdef/trick.m4s",
            "/a/v/0123456789abcdef/0.trick.vtt",
            "/a/v/0123456789abcdef/0.trick.trick.m4s",
            "/.git/master.m3u8",
        ] {
            assert_eq!(parsed(path), None, "{path}");
        }
    }

    proptest! {
        #[test]
        fn no_path_panics(path in "(/|%|\\.\\.|[a-z0-9.%]){0,40}") {
            let _ = parsed(&path);
        }

        #[test]
        fn a_name_survives_its_url(name in "[^/\\x00-\\x1f.%]{1,20}") {
            let url = format!("/{}/manifest.mpd", encode(&name));
            prop_assume!(!name.chars().any(char::is_control));
            prop_assert_eq!(parsed(&url), Some(Address { presentation: name, item: Item::Mpd }));
        }
    }
}
