//! The media playlist of a track (rfc8216bis §4.4.3), of a presentation that has ended.

use crate::media::presentation::{Period, Presentation, rounded_s};
use crate::media::track::{Kind, Track};
use crate::packager::hls::key::Keys;
use crate::packager::hls::rendition::Rendition;
use crate::packager::hls::{Form, NoHls, Options, is_independent};
use crate::packager::push;
use crate::time::{Rounding, Timescale, rescale};

/// Bytes that a segment takes: `#EXTINF:6.000000,` and a name of a few digits more than a day at 10 MHz.
const SEGMENT_BYTES: usize = 48;
/// Bytes of the way from one track's folder to another's, with a name of some length.
pub(crate) const PREFIX_BYTES: usize = 48;

const MICRO: u32 = 1_000_000;

/// The playlist of `rendition` of `presentation`. Its URIs are relative to where it is itself: `init.mp4`, `{time}.m4s`, `{time}.vtt`
/// of the one period, and of several periods those after `../../{track}/{version}/`.
pub fn playlist(presentation: &Presentation, rendition: &Rendition, options: &Options) -> Result<Vec<u8>, NoHls> {
    let segments: usize = rendition.tracks(presentation).map(|(_, track)| track.segments.len()).sum();
    let several = presentation.periods.len() > 1;
    let mut out = Vec::with_capacity(512 + segments * (SEGMENT_BYTES + if several { PREFIX_BYTES } else { 0 }));
    // 7: EXT-X-MAP without EXT-X-I-FRAMES-ONLY asks for 6, KEYFORMAT for 5 (rfc8216bis §8).
    out.extend_from_slice(b"#EXTM3U\n#EXT-X-VERSION:7\n#EXT-X-TARGETDURATION:");
    push::decimal(&mut out, target_duration_s(presentation, rendition));
    out.extend_from_slice(b"\n#EXT-X-MEDIA-SEQUENCE:0\n#EXT-X-PLAYLIST-TYPE:VOD\n");
    if rendition.tracks(presentation).all(|(_, track)| is_independent(track)) {
        out.extend_from_slice(b"#EXT-X-INDEPENDENT-SEGMENTS\n");
    }
    let mut list = List { out, extension: rendition.form, in_force: InForce::new(options) };
    for (index, (period, track)) in rendition.tracks(presentation).enumerate() {
        if index > 0 {
            list.out.extend_from_slice(b"#EXT-X-DISCONTINUITY\n");
        }
        list.period(period, track, &folder(presentation, track))?;
    }
    list.out.extend_from_slice(b"#EXT-X-ENDLIST\n");
    Ok(list.out)
}

/// Where the segments of `track` are, as seen from a playlist of `presentation`.
pub(crate) fn folder(presentation: &Presentation, track: &Track) -> String {
    match presentation.periods.len() {
        0 | 1 => String::new(),
        _ => format!("../../{}/{}/", track.name, track.version),
    }
}

/// What holds in a playlist under way, from period to period.
pub(crate) struct InForce<'a> {
    options: &'a Options,
    /// Where the segments that the EXT-X-MAP in force belongs to are.
    map: Option<String>,
    /// Whether an EXT-X-KEY is in force.
    is_locked: bool,
}

impl<'a> InForce<'a> {
    /// Nothing yet.
    pub(crate) fn new(options: &'a Options) -> InForce<'a> {
        InForce { options, map: None, is_locked: false }
    }

    /// Begins the media of `track`: gives its keys, if it has any, and ends those of the period before.
    pub(crate) fn begin(&mut self, track: &'a Track, out: &mut Vec<u8>) -> Result<Option<Keys<'a>>, NoHls> {
        let keys = Keys::of(track, self.options)?;
        if keys.is_none() && self.is_locked {
            out.extend_from_slice(b"#EXT-X-KEY:METHOD=NONE\n");
        }
        self.is_locked = keys.is_some();
        Ok(keys)
    }

    /// Names the initialization segment in `folder`, after the first KEY: that holds for the MAPs that follow it, too.
    pub(crate) fn map(&mut self, folder: &str, out: &mut Vec<u8>) {
        if self.map.as_deref() != Some(folder) {
            out.extend_from_slice(b"#EXT-X-MAP:URI=\"");
            out.extend_from_slice(folder.as_bytes());
            out.extend_from_slice(b"init.mp4\"\n");
            self.map = Some(folder.to_owned());
        }
    }
}

/// A playlist under way.
struct List<'a> {
    out: Vec<u8>,
    extension: Form,
    in_force: InForce<'a>,
}

impl<'a> List<'a> {
    /// Appends the segments of `track`, which lie in `folder`.
    fn period(&mut self, period: &Period, track: &'a Track, folder: &str) -> Result<(), NoHls> {
        let keys = self.in_force.begin(track, &mut self.out)?;
        let out = &mut self.out;
        let extension = match self.extension {
            Form::Fmp4 => b".m4s\n",
            Form::WebVtt => b".vtt\n",
        };
        let mut changes = keys.as_ref().map(|keys| keys.segments().enumerate()).into_iter().flatten().peekable();
        let mut from = micros(first_start(period, track), track.timescale);
        for (index, segment) in track.segments.iter().enumerate() {
            if let (Some(keys), Some((change, _))) = (&keys, changes.next_if(|&(_, first)| first == index)) {
                keys.write(out, change);
            }
            if index == 0 && self.extension == Form::Fmp4 {
                self.in_force.map(folder, out);
            }
            // The difference of positions, each rounded by itself: what the EXTINFs add up to never drifts.
            let to = micros(segment.time + segment.duration, track.timescale);
            out.extend_from_slice(b"#EXTINF:");
            push::seconds(out, to.saturating_sub(from));
            out.extend_from_slice(b",\n");
            out.extend_from_slice(folder.as_bytes());
            push::decimal(out, u64::try_from(segment.time).unwrap_or(0));
            out.extend_from_slice(extension);
            from = to;
        }
        Ok(())
    }
}

/// That of the presentation; of text with longer segments, its own (rfc8216bis §6.2.4 lets subtitles on demand differ).
fn target_duration_s(presentation: &Presentation, rendition: &Rendition) -> u64 {
    let common = presentation.target_duration_s();
    let own = rendition.tracks(presentation).filter(|(_, track)| track.kind == Kind::Text).map(|(period, track)| {
        let from = first_start(period, track);
        let first = track.segments.first().map_or(0, |segment| segment.time + segment.duration - from);
        rounded_s(track.longest_segment().max(track.time(first)))
    });
    own.fold(common, u64::max)
}

/// Where the playlist begins, in ticks. Playlists of one presentation begin together (rfc8216bis §6.2.4), and WebVTT has no
/// timestamps of its own to say that it begins late: so the first segment of text lasts from the period's start.
fn first_start(period: &Period, track: &Track) -> i64 {
    match track.kind {
        Kind::Text => period.origin.to(track.timescale, Rounding::Nearest).min(track.start()),
        _ => track.start(),
    }
}

/// `ticks` in microseconds, to the nearest.
pub(crate) fn micros(ticks: i64, timescale: Timescale) -> u64 {
    let per_second = u64::from(timescale.get());
    match u64::try_from(ticks).ok().and_then(|ticks| ticks.checked_mul(u64::from(MICRO))) {
        Some(scaled) if scaled < u64::MAX - per_second => (scaled + per_second / 2) / per_second,
        _ => u64::try_from(rescale(ticks, timescale, Timescale::MICRO, Rounding::Nearest)).unwrap_or(0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::media::track::Version;
    use crate::packager::hls::rendition::{Renditions, why_not};
    use crate::packager::{fixture, rate};
    use m3u8_rs::MediaPlaylistType;
    use proptest::prelude::*;

    fn playlist_of(presentation: &Presentation, name: &str, options: &Options) -> Result<String, NoHls> {
        let renditions = Renditions::of(presentation, &rate::measure(presentation));
        let (_, track) = presentation.track(name).expect("there");
        let rendition = match renditions.find(name, track.version) {
            Some(rendition) => rendition,
            None => return Err(why_not(presentation, name, track.version).expect("a reason")),
        };
        playlist(presentation, rendition, options).map(|bytes| String::from_utf8(bytes).expect("text"))
    }

    #[test]
    fn video_and_audio_on_demand() {
        let video = fixture::video("v").cut(&[(9, 76_800), (9, 76_800), (9, 25_600)]).done();
        let audio = fixture::audio("a").cut(&[(9, 288_768), (9, 287_744), (9, 95_232)]).done();
        let presentation = fixture::presentation(vec![fixture::set(vec![video]), fixture::set(vec![audio])]);
        insta::assert_snapshot!(playlist_of(&presentation, "v", &Options::default()).expect("a playlist"), @r#"
        #EXTM3U
        #EXT-X-VERSION:7
        #EXT-X-TARGETDURATION:6
        #EXT-X-MEDIA-SEQUENCE:0
        #EXT-X-PLAYLIST-TYPE:VOD
        #EXT-X-INDEPENDENT-SEGMENTS
        #EXT-X-MAP:URI="init.mp4"
        #EXTINF:6.000000,
        0.m4s
        #EXTINF:6.000000,
        76800.m4s
        #EXTINF:2.000000,
        153600.m4s
        #EXT-X-ENDLIST
        "#);
        insta::assert_snapshot!(playlist_of(&presentation, "a", &Options::default()).expect("a playlist"), @r#"
        #EXTM3U
        #EXT-X-VERSION:7
        #EXT-X-TARGETDURATION:6
        #EXT-X-MEDIA-SEQUENCE:0
        #EXT-X-PLAYLIST-TYPE:VOD
        #EXT-X-INDEPENDENT-SEGMENTS
        #EXT-X-MAP:URI="init.mp4"
        #EXTINF:6.016000,
        0.m4s
        #EXTINF:5.994667,
        288768.m4s
        #EXTINF:1.984000,
        576512.m4s
        #EXT-X-ENDLIST
        "#);
    }

    #[test]
    fn keys_precede_the_map_and_the_segment_where_they_change() {
        let track = fixture::video("v").protected(b"cbcs", [1; 16]).key(1, [2; 16]).regular(2).done();
        let presentation = fixture::presentation(vec![fixture::set(vec![track])]);
        let options = Options { key_uri: Some("skd://{kid}".into()), ..Options::default() };
        insta::assert_snapshot!(playlist_of(&presentation, "v", &options).expect("a playlist"), @r#"
        #EXTM3U
        #EXT-X-VERSION:7
        #EXT-X-TARGETDURATION:6
        #EXT-X-MEDIA-SEQUENCE:0
        #EXT-X-PLAYLIST-TYPE:VOD
        #EXT-X-INDEPENDENT-SEGMENTS
        #EXT-X-KEY:METHOD=SAMPLE-AES,URI="skd://01010101010101010101010101010101",KEYID=0x01010101010101010101010101010101,KEYFORMAT="com.apple.streamingkeydelivery",KEYFORMATVERSIONS="1"
        #EXT-X-MAP:URI="init.mp4"
        #EXTINF:6.000000,
        0.m4s
        #EXT-X-KEY:METHOD=SAMPLE-AES,URI="skd://02020202020202020202020202020202",KEYID=0x02020202020202020202020202020202,KEYFORMAT="com.apple.streamingkeydelivery",KEYFORMATVERSIONS="1"
        #EXTINF:6.000000,
        76800.m4s
        #EXT-X-ENDLIST
        "#);
        assert_eq!(playlist_of(&presentation, "v", &Options::default()), Err(NoHls::NoKey { track: "v".into() }));
    }

    #[test]
    fn several_periods_are_one_playlist() {
        let clear = fixture::video("trailer").cut(&[(9, 25_600)]);
        let locked = |version, start: i64| {
            let film = fixture::video("film").protected(b"cbcs", [1; 16]).cut(&[(9, 76_800), (9, 97_280)]);
            film.with(|track| {
                track.version = Version(version);
                track.segments.iter_mut().for_each(|segment| segment.time += start);
            })
        };
        let periods = [locked(1, 0), locked(2, 174_080), clear, locked(1, 0)];
        let period =
            |build: fixture::Build| fixture::presentation(vec![fixture::set(vec![build.done()])]).periods.remove(0);
        let presentation =
            Presentation { periods: periods.map(period).into(), thumbnails: Vec::new(), warnings: Vec::new() };
        let renditions = Renditions::of(&presentation, &rate::measure(&presentation));
        let options = Options { key_uri: Some("skd://{kid}".into()), ..Options::default() };
        let bytes = playlist(&presentation, &renditions.list[0], &options).expect("a playlist");
        let text = String::from_utf8(bytes).expect("text").replace(",KEYID=0x01010101010101010101010101010101", "");
        insta::assert_snapshot!(text, @r#"
        #EXTM3U
        #EXT-X-VERSION:7
        #EXT-X-TARGETDURATION:8
        #EXT-X-MEDIA-SEQUENCE:0
        #EXT-X-PLAYLIST-TYPE:VOD
        #EXT-X-INDEPENDENT-SEGMENTS
        #EXT-X-KEY:METHOD=SAMPLE-AES,URI="skd://01010101010101010101010101010101",KEYFORMAT="com.apple.streamingkeydelivery",KEYFORMATVERSIONS="1"
        #EXT-X-MAP:URI="../../film/0000000000000001/init.mp4"
        #EXTINF:6.000000,
        ../../film/0000000000000001/0.m4s
        #EXTINF:7.600000,
        ../../film/0000000000000001/76800.m4s
        #EXT-X-DISCONTINUITY
        #EXT-X-KEY:METHOD=SAMPLE-AES,URI="skd://01010101010101010101010101010101",KEYFORMAT="com.apple.streamingkeydelivery",KEYFORMATVERSIONS="1"
        #EXT-X-MAP:URI="../../film/0000000000000002/init.mp4"
        #EXTINF:6.000000,
        ../../film/0000000000000002/174080.m4s
        #EXTINF:7.600000,
        ../../film/0000000000000002/250880.m4s
        #EXT-X-DISCONTINUITY
        #EXT-X-KEY:METHOD=NONE
        #EXT-X-MAP:URI="../../trailer/0123456789abcdef/init.mp4"
        #EXTINF:2.000000,
        ../../trailer/0123456789abcdef/0.m4s
        #EXT-X-DISCONTINUITY
        #EXT-X-KEY:METHOD=SAMPLE-AES,URI="skd://01010101010101010101010101010101",KEYFORMAT="com.apple.streamingkeydelivery",KEYFORMATVERSIONS="1"
        #EXT-X-MAP:URI="../../film/0000000000000001/init.mp4"
        #EXTINF:6.000000,
        ../../film/0000000000000001/0.m4s
        #EXTINF:7.600000,
        ../../film/0000000000000001/76800.m4s
        #EXT-X-ENDLIST
        "#);
    }

    #[test]
    fn text_begins_with_the_period_and_may_have_longer_segments() {
        let video = fixture::video("v").cut(&[(9, 25_600); 5]).done();
        let mut text = fixture::text("t", b"wvtt").cut(&[(9, 4000), (9, 2000)]).done();
        for segment in &mut text.segments {
            segment.time += 4000;
        }
        let presentation = fixture::presentation(vec![fixture::set(vec![video]), fixture::set(vec![text])]);
        insta::assert_snapshot!(playlist_of(&presentation, "t", &Options::default()).expect("a playlist"), @"
        #EXTM3U
        #EXT-X-VERSION:7
        #EXT-X-TARGETDURATION:8
        #EXT-X-MEDIA-SEQUENCE:0
        #EXT-X-PLAYLIST-TYPE:VOD
        #EXT-X-INDEPENDENT-SEGMENTS
        #EXTINF:8.000000,
        4000.vtt
        #EXTINF:2.000000,
        8000.vtt
        #EXT-X-ENDLIST
        ");
    }

    #[test]
    fn what_is_not_listed_has_no_playlist() {
        let main = fixture::video("v").regular(1).done();
        let mut other = fixture::set(vec![fixture::video("w").regular(1).done()]);
        other.aligned = false;
        let odd = fixture::text("t", b"tx3g").regular(1).done();
        let sets = vec![fixture::set(vec![main]), other, fixture::set(vec![odd])];
        let presentation = fixture::presentation(sets);
        let why = |name| playlist_of(&presentation, name, &Options::default()).expect_err("not listed").to_string();
        assert_eq!(
            why("w"),
            "track w: its segments do not begin where those of the main video do, so HLS leaves it out"
        );
        assert_eq!(why("t"), "track t: HLS has no form for tx3g text");
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_and_never_drifts(
            timescale in prop_oneof![Just(24_000u32), Just(48_000), Just(90_000), Just(10_000_000), 1u32..100_000],
            start in 0i64..1 << 40,
            seconds in prop::collection::vec(0.01f64..12.0, 1..60),
        ) {
            let segments: Vec<_> = seconds.iter().map(|s| (1, ((s * f64::from(timescale)) as u32).max(1))).collect();
            let mut track = fixture::video("v").timescale(timescale).cut(&segments).done();
            for segment in &mut track.segments {
                segment.time += start;
            }
            let presentation = fixture::presentation(vec![fixture::set(vec![track])]);
            let text = playlist_of(&presentation, "v", &Options::default()).expect("a playlist");
            let read = m3u8_rs::parse_media_playlist_res(text.as_bytes()).expect("well formed");
            prop_assert_eq!(read.version, Some(7));
            prop_assert!(read.end_list && read.playlist_type == Some(MediaPlaylistType::Vod));
            let track = &presentation.periods[0].sets[0].tracks[0];
            prop_assert_eq!(read.segments.len(), track.segments.len());
            let mut total = 0;
            let written = text.lines().filter_map(|line| line.strip_prefix("#EXTINF:")?.strip_suffix(','));
            for ((written, read), segment) in written.zip(&read.segments).zip(&track.segments) {
                prop_assert_eq!(&read.uri, &format!("{}.m4s", segment.time));
                let micros: u64 = written.replace('.', "").parse().expect("digits");
                prop_assert!((f64::from(read.duration) - micros as f64 / 1e6).abs() < 1e-5);
                prop_assert!((micros + 500_000) / 1_000_000 <= read_target(&text), "{} rounds above the target", written);
                total += micros as i128;
                let end = i128::from(segment.time + segment.duration - track.start()) * 1_000_000;
                prop_assert!((total * i128::from(timescale) - end).abs() <= i128::from(timescale));
            }
        }
    }

    fn read_target(text: &str) -> u64 {
        let line = text.lines().find_map(|line| line.strip_prefix("#EXT-X-TARGETDURATION:")).expect("there");
        line.parse().expect("a number")
    }
}
