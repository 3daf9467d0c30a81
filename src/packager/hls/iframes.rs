//! The I-frame playlist of a rendition (rfc8216bis §4.4.3.6): its pictures that need no other, for going through it quickly.
//!
//! Each is a resource of its own rather than a byte range: so it is the one that DASH names too, and where the byte ranges of
//! encrypted ones lie would only be known from reading.

use crate::media::presentation::{Presentation, rounded_s};
use crate::media::track::Track;
use crate::media::trick::{self, TrickFrame};
use crate::packager::hls::media::{InForce, PREFIX_BYTES, folder, micros};
use crate::packager::hls::rendition::Rendition;
use crate::packager::hls::{NoHls, Options};
use crate::packager::push;

/// Bytes that a picture takes: `#EXTINF:2.000000,` and a name of a few digits more than a day at 10 MHz.
const FRAME_BYTES: usize = 48;

/// The I-frame playlist of `rendition` of `presentation`. Its URIs are relative to where it is itself: `init.mp4` and
/// `{time}.trick.m4s` of the one period, and of several periods those after `../../{track}/{version}/`.
pub fn playlist(presentation: &Presentation, rendition: &Rendition, options: &Options) -> Result<Vec<u8>, NoHls> {
    let tracks = || rendition.tracks(presentation).map(|(_, track)| track);
    let several = presentation.periods.len() > 1;
    let frames: usize = tracks().map(|track| trick::frames(track).count()).sum();
    let mut out = Vec::with_capacity(512 + frames * (FRAME_BYTES + if several { PREFIX_BYTES } else { 0 }));
    // As of media playlists; less would do, since EXT-X-MAP asks for 5 here, and KEYFORMAT too (rfc8216bis §8).
    out.extend_from_slice(b"#EXTM3U\n#EXT-X-VERSION:7\n#EXT-X-TARGETDURATION:");
    // It may differ from that of media playlists (rfc8216bis §6.2.4).
    let longest = tracks().flat_map(|track| shown(track).map(|(_, from, to)| rounded_s(track.time(to - from))));
    push::decimal(&mut out, longest.max().unwrap_or(1));
    out.extend_from_slice(b"\n#EXT-X-MEDIA-SEQUENCE:0\n#EXT-X-PLAYLIST-TYPE:VOD\n#EXT-X-I-FRAMES-ONLY\n");
    let mut in_force = InForce::new(options);
    for (index, track) in tracks().enumerate() {
        if index > 0 {
            out.extend_from_slice(b"#EXT-X-DISCONTINUITY\n");
        }
        period(&mut out, &mut in_force, track, &folder(presentation, track))?;
    }
    out.extend_from_slice(b"#EXT-X-ENDLIST\n");
    Ok(out)
}

/// The pictures of `track`, each with from when until when it is shown, in ticks: where the first is not the first that is
/// presented, it stands for those before it, so that playlists begin together.
fn shown(track: &Track) -> impl Iterator<Item = (TrickFrame, i64, i64)> {
    let mut from = track.start();
    trick::frames(track).map(move |frame| {
        let to = frame.time + frame.duration;
        (frame, std::mem::replace(&mut from, to), to)
    })
}

/// Appends the pictures of `track`, which lie in `folder`.
fn period<'a>(out: &mut Vec<u8>, in_force: &mut InForce<'a>, track: &'a Track, folder: &str) -> Result<(), NoHls> {
    let keys = in_force.begin(track, out)?;
    let mut changes = keys.as_ref().map(|keys| keys.segments().enumerate()).into_iter().flatten().peekable();
    for (index, (frame, from, to)) in shown(track).enumerate() {
        let mut change = None;
        while let Some((due, _)) = changes.next_if(|&(_, segment)| track.segments[segment].first_sample <= frame.sample)
        {
            change = Some(due);
        }
        if let (Some(keys), Some(change)) = (&keys, change) {
            keys.write(out, change);
        }
        if index == 0 {
            in_force.map(folder, out);
        }
        // The difference of positions, each rounded by itself: what the EXTINFs add up to never drifts.
        let (from, to) = (micros(from, track.timescale), micros(to, track.timescale));
        out.extend_from_slice(b"#EXTINF:");
        push::seconds(out, to.saturating_sub(from));
        out.extend_from_slice(b",\n");
        out.extend_from_slice(folder.as_bytes());
        push::decimal(out, u64::try_from(frame.time).unwrap_or(0));
        out.extend_from_slice(b".trick.m4s\n");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::media::sample::{Sample, SampleFlags, SampleTable};
    use crate::media::track::Version;
    use crate::packager::fixture::{self, Build};
    use crate::packager::hls::rendition::Renditions;
    use crate::packager::rate;

    fn written(presentation: &Presentation) -> Option<String> {
        let renditions = Renditions::of(presentation, &rate::measure(presentation));
        let rendition = renditions.list.iter().find(|rendition| rendition.trick().is_some())?;
        let options = Options { key_uri: Some("skd://{kid}".into()), ..Options::default() };
        let text = playlist(presentation, rendition, &options).expect("a playlist");
        Some(String::from_utf8(text).expect("text"))
    }

    fn alone(build: Build) -> Presentation {
        fixture::presentation(vec![fixture::set(vec![build.done()])])
    }

    /// Two segments of six seconds with a picture at the begin of each.
    fn film() -> Build {
        let segment = &[(900, 25_600), (100, 25_600), (100, 25_600)];
        fixture::video("film").segment(segment).segment(segment)
    }

    /// The same with samples at these composition times instead, each a second after the other decoded; true: a sync sample.
    fn at(times: &[(i64, bool)]) -> Build {
        film().with(|track| {
            track.samples = SampleTable::default();
            for (index, &(seconds, is_sync)) in (0i64..).zip(times) {
                let flags = if is_sync { SampleFlags::SYNC } else { SampleFlags::NON_SYNC };
                let composition_offset = ((seconds - index) * 12_800) as i32;
                let sample =
                    Sample { decode_time: index * 12_800, duration: 12_800, composition_offset, size: 9, flags };
                track.samples.push(sample, 0, 0);
            }
            track.segments.truncate(1);
            track.segments[0].duration = times.len() as i64 * 12_800;
        })
    }

    fn times(build: Build) -> Vec<(u32, i64, i64)> {
        let seconds = |frame: TrickFrame| (frame.sample, frame.time / 12_800, frame.duration / 12_800);
        trick::frames(&build.done()).map(seconds).collect()
    }

    #[test]
    fn every_picture_lasts_until_the_next() {
        insta::assert_snapshot!(written(&alone(film())).expect("a playlist"), @r#"
        #EXTM3U
        #EXT-X-VERSION:7
        #EXT-X-TARGETDURATION:6
        #EXT-X-MEDIA-SEQUENCE:0
        #EXT-X-PLAYLIST-TYPE:VOD
        #EXT-X-I-FRAMES-ONLY
        #EXT-X-MAP:URI="init.mp4"
        #EXTINF:6.000000,
        0.trick.m4s
        #EXTINF:6.000000,
        76800.trick.m4s
        #EXT-X-ENDLIST
        "#);
    }

    #[test]
    fn several_periods_and_their_keys() {
        let locked = film().protected(b"cbcs", [1; 16]).key(3, [2; 16]).with(|track| track.version = Version(1));
        let periods = [locked, film()].map(|build| alone(build).periods.remove(0));
        let presentation = Presentation { periods: periods.into(), thumbnails: Vec::new(), warnings: Vec::new() };
        insta::assert_snapshot!(written(&presentation).expect("a playlist"), @r#"
        #EXTM3U
        #EXT-X-VERSION:7
        #EXT-X-TARGETDURATION:6
        #EXT-X-MEDIA-SEQUENCE:0
        #EXT-X-PLAYLIST-TYPE:VOD
        #EXT-X-I-FRAMES-ONLY
        #EXT-X-KEY:METHOD=SAMPLE-AES,URI="skd://01010101010101010101010101010101",KEYID=0x01010101010101010101010101010101,KEYFORMAT="com.apple.streamingkeydelivery",KEYFORMATVERSIONS="1"
        #EXT-X-MAP:URI="../../film/0000000000000001/init.mp4"
        #EXTINF:6.000000,
        ../../film/0000000000000001/0.trick.m4s
        #EXT-X-KEY:METHOD=SAMPLE-AES,URI="skd://02020202020202020202020202020202",KEYID=0x02020202020202020202020202020202,KEYFORMAT="com.apple.streamingkeydelivery",KEYFORMATVERSIONS="1"
        #EXTINF:6.000000,
        ../../film/0000000000000001/76800.trick.m4s
        #EXT-X-DISCONTINUITY
        #EXT-X-KEY:METHOD=NONE
        #EXT-X-MAP:URI="../../film/0123456789abcdef/init.mp4"
        #EXTINF:6.000000,
        ../../film/0123456789abcdef/0.trick.m4s
        #EXTINF:6.000000,
        ../../film/0123456789abcdef/76800.trick.m4s
        #EXT-X-ENDLIST
        "#);
    }

    #[test]
    fn the_first_stands_for_what_is_presented_before_it() {
        let text = written(&alone(at(&[(2, true), (0, false), (1, false), (3, true), (4, false), (5, false)])));
        let text = text.expect("a playlist");
        assert!(text.contains("#EXTINF:3.000000,\n25600.trick.m4s\n#EXTINF:3.000000,\n38400.trick.m4s\n"), "{text}");
        assert!(text.contains("#EXT-X-TARGETDURATION:3\n"), "{text}");
    }

    #[test]
    fn times_that_run_back_are_passed_over() {
        assert_eq!(
            times(at(&[(0, true), (3, true), (2, true), (3, false), (4, true)])),
            [(0, 0, 3), (1, 3, 1), (4, 4, 1)]
        );
    }

    #[test]
    fn of_those_before_the_begin_the_last_is_seen() {
        let edited = |build: Build| build.with(|track| track.media_time = 5 * 12_800);
        let frames = times(edited(at(&[(0, true), (1, false), (2, true), (3, false), (8, true), (9, false)])));
        assert_eq!(frames, [(2, 0, 3), (4, 3, 3)]);
    }

    #[test]
    fn a_picture_without_bytes_or_after_the_end_is_none() {
        let build = film().with(|track| {
            let empty = |index, sample: Sample| Sample { size: if index == 0 { 0 } else { sample.size }, ..sample };
            track.samples = track.samples.slice(0..6, empty);
        });
        assert_eq!(times(build), [(3, 6, 6)]);
        assert_eq!(times(film().with(|track| track.clip_end = Some(3))), [(0, 0, 12)]);
        assert_eq!(times(at(&[(0, true), (1, false), (7, true), (8, true)])), [(0, 0, 4)]);
    }

    #[test]
    fn where_all_or_one_is_a_picture_it_is_not_offered() {
        assert_eq!(written(&alone(fixture::video("intra").regular(3))), None);
        assert_eq!(written(&alone(fixture::video("one").segment(&[(9, 25_600), (9, 25_600)]))), None);
        assert_eq!(written(&alone(fixture::audio("sound").segment(&[(9, 9), (9, 9)]).segment(&[(9, 9)]))), None);
        // A clip of one, and one where each is a picture, go along with the rest.
        let clips =
            [film(), fixture::video("one").segment(&[(9, 25_600), (9, 25_600)]), fixture::video("i").regular(2)];
        let periods = clips.map(|build| alone(build).periods.remove(0));
        let text = written(&Presentation { periods: periods.into(), thumbnails: Vec::new(), warnings: Vec::new() })
            .expect("a playlist");
        assert_eq!(text.matches(".trick.m4s\n").count(), 5, "{text}");
    }
}
