//! Samples made of text: cues as the `wvtt` track that they are served from (ISO/IEC 14496-30 §7), and a document as an `stpp` track (§5).
//!
//! ```text
//!   cues       [a        ]      [b   ]
//!                   [c        ]
//!   segments   |            |            |
//!   samples    [a  ][a,c ][c][c][] ...          one as long as nothing changes and no segment begins
//! ```

use std::ops::Range;

use crate::formats::cues::Cue;
use crate::formats::isobmff::wvtt::{CueBox, write_cue, write_empty_cue};
use crate::formats::ttml::document::Document;
use crate::formats::webvtt;
use crate::media::sample::{Sample, SampleFlags, SampleTable};

/// Cues that are shown at once: more than fit a screen.
const SHOWN_MAX: usize = 64;
/// The longest track, in milliseconds: its samples have durations of 32 bits.
const SPAN_MS_MAX: i64 = u32::MAX as i64;

/// The samples of a text, in milliseconds.
#[derive(Clone, Debug, Default)]
pub struct TextSamples {
    /// All samples, one after another.
    pub bytes: Vec<u8>,
    /// Their table; their bytes begin at offset 0 of its file.
    pub table: SampleTable,
    /// Cues that are not shown, since too many others are, or none of the span is left to them.
    pub left_out: usize,
}

/// The samples that show `cues`, `offset_ms` later, during `span` (milliseconds), cut at `cuts`; their bytes are those of source
/// file `file`, at most `bytes_max` of them. The error says which limit they pass.
pub fn samples(
    cues: &[Cue],
    offset_ms: i64,
    span: Range<i64>,
    cuts: &[i64],
    file: u32,
    bytes_max: usize,
) -> Result<TextSamples, String> {
    if span.is_empty() || span.end - span.start > SPAN_MS_MAX {
        return Err(format!("there are {} ms to show it in", span.end - span.start));
    }
    let mut made = TextSamples::default();
    let mut shown: Vec<Shown<'_>> = Vec::with_capacity(cues.len());
    for (cue, id) in cues.iter().zip(0..) {
        let start = (cue.start_ms as i64).saturating_add(offset_ms).max(span.start);
        let end = (cue.end_ms as i64).saturating_add(offset_ms).min(span.end);
        if start < end {
            let payload = if offset_ms == 0 { None } else { webvtt::shifted(&cue.payload, offset_ms) };
            let has_times = payload.is_some() || webvtt::shifted(&cue.payload, 0).is_some();
            shown.push(Shown { start, end, id, cue, payload, has_times });
        } else {
            made.left_out += 1;
        }
    }
    shown.sort_by_key(|shown| (shown.start, shown.id));
    let edges = shown.iter().flat_map(|shown| [shown.start, shown.end]).chain(cuts.iter().copied());
    let mut edges: Vec<i64> =
        edges.chain([span.start, span.end]).filter(|&t| span.start <= t && t <= span.end).collect();
    edges.sort_unstable();
    edges.dedup();
    let mut waiting = shown.iter().peekable();
    let mut now: Vec<&Shown<'_>> = Vec::new();
    for pair in edges.windows(2) {
        let (from, to) = (pair[0], pair[1]);
        now.retain(|shown| shown.end > from);
        while let Some(next) = waiting.next_if(|shown| shown.start <= from) {
            if now.len() < SHOWN_MAX {
                now.push(next);
            } else {
                made.left_out += 1;
            }
        }
        let offset = made.bytes.len();
        for shown in &now {
            shown.write(&mut made.bytes, from);
        }
        if now.is_empty() {
            write_empty_cue(&mut made.bytes);
        }
        if made.bytes.len() > bytes_max {
            return Err(format!("its samples come to more than {bytes_max} bytes"));
        }
        let sample = Sample {
            decode_time: from,
            duration: (to - from) as u32,
            composition_offset: 0,
            size: (made.bytes.len() - offset) as u32,
            flags: SampleFlags::SYNC,
        };
        made.table.push(sample, file, offset as u64);
    }
    made.table.shrink_to_fit();
    Ok(made)
}

/// The samples that show `document`, `offset_ms` later, during `span` (milliseconds): one for each stretch between `cuts`, a document of its
/// own. Their bytes are those of source file `file`, at most `bytes_max` of them. The error says which limit they pass.
pub fn documents(
    document: &Document,
    offset_ms: i64,
    span: Range<i64>,
    cuts: &[i64],
    file: u32,
    bytes_max: usize,
) -> Result<TextSamples, String> {
    if span.is_empty() || span.end - span.start > SPAN_MS_MAX {
        return Err(format!("there are {} ms to show it in", span.end - span.start));
    }
    let too_large = || format!("its documents come to more than {bytes_max} bytes");
    let inside = cuts.iter().copied().filter(|&cut| span.start < cut && cut < span.end);
    let mut edges: Vec<i64> = inside.chain([span.start, span.end]).collect();
    edges.sort_unstable();
    edges.dedup();
    let mut made = TextSamples::default();
    // Which paragraphs each stretch shows; what lasts long is in many, and so the sum is what is bounded.
    let mut shown: Vec<Vec<usize>> = vec![Vec::new(); edges.len() - 1];
    let mut len = document.frame_len().saturating_mul(shown.len());
    for (index, times) in document.shown_ms().enumerate() {
        let (start, end) = (times.start.saturating_add(offset_ms), times.end.saturating_add(offset_ms));
        let first = edges.partition_point(|&edge| edge <= start).saturating_sub(1);
        let last = edges.partition_point(|&edge| edge < end).min(shown.len());
        if first >= last {
            made.left_out += 1;
        }
        for stretch in shown.get_mut(first..last).into_iter().flatten() {
            len = len.saturating_add(document.paragraph_len(index));
            if len > bytes_max {
                return Err(too_large());
            }
            stretch.push(index);
        }
    }
    if len > bytes_max {
        return Err(too_large());
    }
    document.write(&mut made.bytes, &[], offset_ms);
    let empty_size = made.bytes.len() as u32;
    for (pair, paragraphs) in edges.windows(2).zip(&shown) {
        let offset = if paragraphs.is_empty() { 0 } else { made.bytes.len() as u64 };
        if !paragraphs.is_empty() {
            document.write(&mut made.bytes, paragraphs, offset_ms);
        }
        // What stands around paragraphs may be more than they are.
        if made.bytes.len() > bytes_max {
            return Err(too_large());
        }
        let sample = Sample {
            decode_time: pair[0],
            duration: (pair[1] - pair[0]) as u32,
            composition_offset: 0,
            size: if paragraphs.is_empty() { empty_size } else { (made.bytes.len() as u64 - offset) as u32 },
            flags: SampleFlags::SYNC,
        };
        made.table.push(sample, file, offset);
    }
    made.table.shrink_to_fit();
    Ok(made)
}

/// A cue where it is shown.
#[derive(Debug)]
struct Shown<'a> {
    start: i64,
    end: i64,
    id: u32,
    cue: &'a Cue,
    /// Its text, where the times in it are not those of the cue.
    payload: Option<String>,
    has_times: bool,
}

impl Shown<'_> {
    fn write(&self, out: &mut Vec<u8>, now: i64) {
        let Cue { id, settings, payload, .. } = self.cue;
        let payload = self.payload.as_deref().unwrap_or(payload);
        let now_ms = if self.has_times { u64::try_from(now).ok() } else { None };
        // Equal over all samples of the cue, and no other's: so players and we ourselves know that it goes on.
        write_cue(out, &CueBox { source_id: Some(self.id), id, settings, payload }, now_ms);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::formats::isobmff::wvtt;
    use crate::formats::ttml;
    use proptest::prelude::*;

    fn cue(start_ms: u64, end_ms: u64, payload: &str) -> Cue {
        Cue { start_ms, end_ms, payload: payload.into(), ..Cue::default() }
    }

    /// Start and end of a sample, and the source_ID and text of each of its cues.
    type Read = (i64, i64, Vec<(u32, String)>);

    fn read(made: &TextSamples) -> Vec<Read> {
        let mut at = 0;
        let samples = made.table.iter(0..made.table.len()).map(|sample| {
            let bytes = &made.bytes[at..at + sample.size as usize];
            at += sample.size as usize;
            let cues = wvtt::cues(bytes).expect("well formed");
            let cues = cues.iter().map(|cue| (cue.source_id.expect("one"), cue.payload.to_owned())).collect();
            (sample.decode_time, sample.decode_time + i64::from(sample.duration), cues)
        });
        samples.collect()
    }

    #[test]
    fn a_sample_lasts_until_something_changes() {
        let cues = [cue(1000, 4000, "a"), cue(3000, 7000, "b"), cue(9000, 12_000, "late")];
        let made = samples(&cues, 0, 0..10_000, &[0, 6000], 0, 16 << 20).expect("made");
        let (a, b, late) = ((0, "a".to_owned()), (1, "b".to_owned()), (2, "late".to_owned()));
        let expected = [
            (0, 1000, vec![]),
            (1000, 3000, vec![a.clone()]),
            (3000, 4000, vec![a, b.clone()]),
            (4000, 6000, vec![b.clone()]),
            (6000, 7000, vec![b]),
            (7000, 9000, vec![]),
            (9000, 10_000, vec![late]),
        ];
        assert_eq!(read(&made), expected);
        assert!(made.table.all_sync());
    }

    #[test]
    fn times_count_from_the_start_of_the_media() {
        let made =
            samples(&[cue(0, 1000, "<00:00:00.500>x")], 100_000, 99_979..110_000, &[], 0, 16 << 20).expect("made");
        let found = read(&made);
        assert_eq!(found[1], (100_000, 101_000, vec![(0, "<00:01:40.500>x".to_owned())]));
        assert!(made.bytes.windows(16).any(|bytes| bytes == b"ctim00:01:40.000"));
    }

    #[test]
    fn limits_are_kept() {
        let many: Vec<Cue> = (0..100).map(|_| cue(0, 1000, "x")).collect();
        let made = samples(&many, 0, 0..1000, &[], 0, 16 << 20).expect("made");
        assert_eq!((made.left_out, read(&made)[0].2.len()), (36, 64));
        assert!(samples(&many, 0, 5..5, &[], 0, 16 << 20).is_err());
        assert!(samples(&many, 0, 0..i64::MAX, &[], 0, 16 << 20).is_err());
        let long = "x".repeat(16_000);
        let many: Vec<Cue> = (0..2000).map(|n| cue(n, 4000, &long)).collect();
        assert!(samples(&many, 0, 0..10_000, &[], 0, 16 << 20).expect_err("too much").contains("bytes"));
        let made = samples(&[cue(2000, 3000, "after the end")], 0, 0..1000, &[], 0, 16 << 20).expect("made");
        assert_eq!((made.left_out, made.table.len()), (1, 1));
    }

    proptest! {
        #[test]
        fn every_cue_is_shown_exactly_as_long_as_it_lasts(
            list in prop::collection::vec((0u64..1000, 1u64..300), 0..30),
            cuts in prop::collection::btree_set(1i64..1100, 0..8),
            offset in -200i64..200,
        ) {
            let cues: Vec<Cue> = list.iter().map(|&(start, lasts)| cue(start, start + lasts, "x")).collect();
            let cuts: Vec<i64> = cuts.into_iter().collect();
            let made = samples(&cues, offset, 0..1100, &cuts, 0, 16 << 20).expect("made");
            let read = read(&made);
            prop_assert_eq!((read[0].0, read[read.len() - 1].1), (0, 1100));
            for pair in read.windows(2) {
                prop_assert_eq!(pair[0].1, pair[1].0);
            }
            for cut in cuts {
                prop_assert!(read.iter().any(|sample| sample.0 == cut) || cut >= 1100);
            }
            for (id, cue) in (0u32..).zip(&cues) {
                let (start, end) = ((cue.start_ms as i64 + offset).max(0), (cue.end_ms as i64 + offset).min(1100));
                let shown: i64 = read.iter().filter(|s| s.2.iter().any(|c| c.0 == id)).map(|s| s.1 - s.0).sum();
                prop_assert_eq!(shown, (end - start).max(0));
            }
        }
    }

    /// What is shown at `t`, line by line.
    fn lines(cues: &[Cue], t: i64) -> Vec<String> {
        let is_shown = |cue: &&Cue| (cue.start_ms as i64) <= t && t < cue.end_ms as i64;
        let mut lines: Vec<String> =
            cues.iter().filter(is_shown).flat_map(|cue| cue.payload.lines().map(str::to_owned)).collect();
        lines.sort();
        lines
    }

    /// Every document, read by itself, shows in its stretch what the whole does, `offset_ms` later.
    fn check_documents(text: &str, offset_ms: i64, cuts: &[i64]) {
        let whole = ttml::parse(text).expect("TTML");
        let document = whole.document.expect("one that can be taken apart");
        let made = documents(&document, offset_ms, 0..20_000, cuts, 0, 1 << 20).expect("made");
        for index in 0..made.table.len() {
            let (sample, place) = (made.table.get(index), made.table.places(index..index + 1).remove(0).range);
            let bytes = &made.bytes[place.start as usize..place.end as usize];
            let own = ttml::parse(std::str::from_utf8(bytes).expect("UTF-8")).expect("TTML");
            assert_eq!(own.cues.faults, Default::default());
            for t in (sample.decode_time..sample.decode_time + i64::from(sample.duration)).step_by(50) {
                assert_eq!(lines(&own.cues.cues, t), lines(&whole.cues.cues, t - offset_ms), "at {t} of\n{text}");
            }
        }
    }

    #[test]
    fn documents_keep_what_belongs_to_all_and_drop_what_is_not_shown() {
        let text = "<?xml version=\"1.0\" encoding=\"UTF-16\"?><!DOCTYPE tt><!-- by us --><tt xml:lang='de' xmlns='http://www.w3.org/ns/ttml'>\n\
            <head><styling><style xml:id='s'/></styling></head>\n<body id='b' title='a \"b\"' end='9s'> <metadata/>\n\
            <div><p begin='1s' end='2s'>one</p> <p begin='5s' end='7s'>two &amp; <br/>lines</p></div><div><p begin='8s'>three</p></div>\n</body></tt>\n";
        let document = ttml::parse(text).expect("TTML").document.expect("one that can be taken apart");
        let made = documents(&document, 0, 0..10_000, &[3000, 6000], 0, 4096).expect("made");
        let all: Vec<&str> = std::str::from_utf8(&made.bytes).expect("UTF-8").split_inclusive("</tt>").collect();
        let head = "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<tt xml:lang='de' xmlns='http://www.w3.org/ns/ttml'>\n\
            <head><styling><style xml:id='s'/></styling></head>\n<body id='b' title='a \"b\"' end='9s'><metadata/>";
        let tail = "</body></tt>";
        let (two, three) = ("<p begin='5s' end='7s'>two &amp; <br/>lines</p>", "<div><p begin='8s'>three</p></div>");
        assert_eq!(
            all,
            [
                head.to_owned() + tail,
                head.to_owned() + "<div><p begin='1s' end='2s'>one</p></div>" + tail,
                head.to_owned() + "<div>" + two + "</div>" + tail,
                head.to_owned() + "<div>" + two + "</div>" + three + tail,
            ]
        );
        let later = documents(&document, 1500, 0..10_000, &[], 0, 4096).expect("made");
        let later = String::from_utf8(later.bytes).expect("UTF-8");
        assert!(later.contains("<body begin=\"1.500s\" end=\"10.500s\" id=\"b\" title='a \"b\"'>"), "{later}");
        check_documents(text, 1500, &[3000, 6000]);
    }

    #[test]
    fn documents_take_no_more_room_than_they_may() {
        let p = "<p end='20s'>over and over</p>".repeat(100);
        let text = format!("<tt><body><div>{p}</div></body></tt>");
        let document = ttml::parse(&text).expect("TTML").document.expect("one that can be taken apart");
        let cuts: Vec<i64> = (1..20).map(|second| second * 1000).collect();
        let error = documents(&document, 0, 0..20_000, &cuts, 0, 10_000).expect_err("too much");
        assert_eq!(error, "its documents come to more than 10000 bytes");
    }

    proptest! {
        #[test]
        fn documents_show_what_the_whole_does(
            divs in prop::collection::vec((0u32..8, 1u32..20, prop::collection::vec((0u32..10, 1u32..10, 0u32..3), 0..4)), 0..4),
            body in 0u32..3,
            offset in 0i64..3,
            cuts in prop::collection::vec(1i64..20_000, 0..6),
        ) {
            let mut text = format!("<tt><head/><body begin='{body}.5s'>");
            for (begin, dur, paragraphs) in &divs {
                text += &format!("<div begin='{begin}s' dur='{dur}s'>\n");
                for (number, (begin, end, span)) in paragraphs.iter().enumerate() {
                    text += &format!("<p begin='{begin}s' end='{}s'>", begin + end);
                    text += &match span {
                        0 => format!("line {number}</p>"),
                        1 => format!("<span begin='1s'>late {number}</span></p>"),
                        _ => format!("<span dur='1s'>early {number}</span>,<br/><span>after</span></p>"),
                    };
                }
                text += "<div/></div>";
            }
            check_documents(&(text + "</body></tt>"), offset * 1000, &cuts);
        }
    }
}
