//! HLS playlists (RFC 8216, draft-pantos-hls-rfc8216bis), of presentations that have ended.

mod dateranges;
pub mod iframes;
pub mod images;
pub(crate) mod key;
pub mod live;
pub mod media;
pub mod multivariant;
pub mod rendition;

use std::fmt;

use crate::formats::isobmff::boxes::FourCc;
use crate::media::presentation::SwitchingSet;
use crate::media::track::{Kind, Track};

/// What a playlist takes from configuration, and what a multivariant one does from a broadcast.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Options {
    /// Where the key of encrypted media is, an absolute URI: `{kid}` becomes the key id, 32 lower-case hexadecimal digits.
    /// `skd://…` is FairPlay's; any other names the 16 bytes of the key. `None`: only what the media's own `pssh` say.
    pub key_uri: Option<String>,
    /// Whether this is a broadcast: its media playlists change, and have no version in their names.
    pub is_live: bool,
    /// Whether a segment is listed that needs the one before it: of a broadcast the multivariant playlist knows none.
    pub lists_dependent: bool,
}

/// Why something can't be had as HLS.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NoHls {
    /// A clip has nothing that a media playlist could go on with.
    Clip {
        /// Of what.
        kind: Kind,
        /// A track of another clip.
        track: String,
        /// Its codec.
        codecs: String,
        /// The clip.
        period: String,
    },
    /// No video and no audio that can be listed.
    NoMedia,
    /// A video track whose segments begin elsewhere than the main video's: nobody could switch to it.
    Unaligned {
        /// Its name.
        track: String,
    },
    /// Text that HLS has no form for: neither `wvtt` in the clear nor `stpp`.
    Format {
        /// Its track's name.
        track: String,
        /// Its sample entry type.
        format: FourCc,
    },
    /// A protection scheme that no METHOD of EXT-X-KEY stands for.
    Scheme {
        /// Its track's name.
        track: String,
        /// Its scheme.
        scheme: FourCc,
    },
    /// Another key begins to hold where no segment begins, since there is no sync sample: a segment has one key
    /// (rfc8216bis §4.4.4.4).
    KeyInside {
        /// Its track's name.
        track: String,
        /// Name of the segment.
        segment: i64,
    },
    /// Live, and its key changes.
    Rotates {
        /// Its track's name.
        track: String,
    },
    /// Its keys change so often, and their `pssh` are so large, that no player would take the playlist.
    KeysTooLong {
        /// Its track's name.
        track: String,
    },
    /// Encrypted, and no key URI is configured, nor does a `pssh` of Widevine or PlayReady come with the media.
    NoKey {
        /// Its track's name.
        track: String,
    },
}

impl fmt::Display for NoHls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            NoHls::Clip { kind: Kind::Text, track, period, .. } => {
                write!(f, "clip {period} has no text that goes with {track}")
            }
            NoHls::Clip { kind, track, codecs, period } => {
                write!(f, "clip {period} has no {kind} that could go on for {track} ({codecs})")
            }
            NoHls::NoMedia => f.write_str("no video and no audio for HLS"),
            NoHls::Unaligned { track } => {
                write!(
                    f,
                    "track {track}: its segments do not begin where those of the main video do, so HLS leaves it out"
                )
            }
            NoHls::Format { track, format } => write!(f, "track {track}: HLS has no form for {format} text"),
            NoHls::Scheme { track, scheme } => {
                write!(f, "track {track}: HLS has no METHOD for the protection scheme {scheme}")
            }
            NoHls::KeyInside { track, segment } => write!(
                f,
                "track {track}: its key changes inside segment {segment}, where no sync sample lies, and an HLS segment has one key"
            ),
            NoHls::Rotates { track } => {
                write!(f, "track {track}: its key changes, which playlists of a broadcast do not follow")
            }
            NoHls::KeysTooLong { track } => {
                write!(
                    f,
                    "track {track}: its changes of keys and their pssh boxes come to more than a playlist may have"
                )
            }
            NoHls::NoKey { track } => write!(
                f,
                "track {track} is encrypted: HLS needs a configured key URI, or a pssh box of Widevine or PlayReady in the media"
            ),
        }
    }
}

impl std::error::Error for NoHls {}

/// How a track is offered.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Form {
    /// As CMAF segments.
    Fmp4,
    /// As WebVTT segments: players take no `wvtt` in fragmented MP4 (hls.js 1.7.4 and AVFoundation do not).
    WebVtt,
}

/// How `track` of `set` is offered, or why it is not.
pub(crate) fn form(set: &SwitchingSet, track: &Track) -> Result<Form, NoHls> {
    match (set.kind, &track.entry.format.0) {
        (Kind::Video, _) if !set.aligned => Err(NoHls::Unaligned { track: track.name.clone() }),
        (Kind::Text, b"wvtt") if !track.is_protected() => Ok(Form::WebVtt),
        (Kind::Video | Kind::Audio, _) | (Kind::Text, b"stpp") => Ok(Form::Fmp4),
        (Kind::Text, _) => Err(NoHls::Format { track: track.name.clone(), format: track.entry.format }),
    }
}

/// Whether every segment of `track` can be decoded without the one before it (EXT-X-INDEPENDENT-SEGMENTS).
pub(crate) fn is_independent(track: &Track) -> bool {
    track.segments.iter().all(|segment| segment.starts_with_sync)
}
