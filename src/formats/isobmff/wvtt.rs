//! WebVTT in ISO base media files (ISO/IEC 14496-30 §7): the head of the file in the sample entry, the cues in samples.
//!
//! ```text
//!   stsd > wvtt > vttC: all that precedes the first cue
//!   sample = vtte                      nothing is shown
//!          | (vttc | vtta)+            every cue that is shown as long as the sample lasts
//!   vttc   = [vsid] [iden] [ctim] [sttg] [payl]
//! ```

use super::boxes::{BoxRef, Boxes, find, write_box};
use super::text_init;
use crate::formats::error::Malformed;
use crate::formats::webvtt::written_time;
use crate::time::Timescale;

/// Cues that one sample may hold: far more than can be read at once.
const CUES_MAX: usize = 1000;

/// A `vttc` box: a cue, for as long as its sample lasts.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub struct CueBox<'a> {
    /// source_ID of `vsid`: equal in the samples over which one cue lasts.
    pub source_id: Option<u32>,
    /// cue_id of `iden`; empty if there is none.
    pub id: &'a str,
    /// settings of `sttg`; empty if there are none.
    pub settings: &'a str,
    /// cue_text of `payl`.
    pub payload: &'a str,
}

/// The cues of a sample, in order. A sample of no bytes has none. Offsets in errors count from the sample's first byte.
pub fn cues(sample: &[u8]) -> Result<Vec<CueBox<'_>>, Malformed> {
    let mut cues = Vec::new();
    for child in Boxes::new(sample, 0) {
        let child = child?;
        match &child.kind.0 {
            b"vttc" if cues.len() == CUES_MAX => {
                return Err(Malformed::new(format!("more than {CUES_MAX} cues in one sample"), child.offset));
            }
            b"vttc" => cues.push(cue(&child).map_err(|error| error.within(child.kind))?),
            // `vtte`: an empty cue; `vtta`: text between cues, not to be shown.
            _ => {}
        }
    }
    Ok(cues)
}

fn cue<'a>(vttc: &BoxRef<'a>) -> Result<CueBox<'a>, Malformed> {
    let mut cue = CueBox::default();
    for child in vttc.children() {
        let child = child?;
        match &child.kind.0 {
            b"vsid" => cue.source_id = Some(child.fields().u32().map_err(|error| error.within(child.kind))?),
            b"iden" => cue.id = text(&child)?,
            b"sttg" => cue.settings = text(&child)?,
            b"payl" => cue.payload = text(&child)?,
            _ => {}
        }
    }
    Ok(cue)
}

/// config of `vttC` in the first `wvtt` entry of an initialization segment; empty if the entry has no such box.
pub fn head(init: &[u8]) -> Result<&str, Malformed> {
    let Some(moov) = find(Boxes::new(init, 0), b"moov")? else { return Err(Malformed::new("no moov box", 0)) };
    for trak in moov.children() {
        let trak = trak.map_err(|error| error.within(moov.kind))?;
        if trak.kind.0 != *b"trak" {
            continue;
        }
        let stbl = trak.required(b"mdia")?.required(b"minf")?.required(b"stbl")?;
        let stsd = stbl.required(b"stsd")?;
        // version and flags, entry_count
        let Some(entry) = find(stsd.children_after(8), b"wvtt").map_err(|error| error.within(stsd.kind))? else {
            continue;
        };
        // reserved, data_reference_index
        let config = find(entry.children_after(8), b"vttC").map_err(|error| error.within(entry.kind))?;
        return config.map_or(Ok(""), |config| text(&config).map_err(|error| error.within(entry.kind)));
    }
    Err(Malformed::new("no wvtt sample entry", moov.offset).within(moov.kind))
}

/// Appends a `vttc` box for `cue` to a sample that begins at `now_ms`: the current time, where the cue holds times of its own.
pub fn write_cue(out: &mut Vec<u8>, cue: &CueBox<'_>, now_ms: Option<u64>) {
    let text = |out: &mut Vec<u8>, kind: &[u8; 4], text: &str| {
        if !text.is_empty() {
            write_box(out, kind, |out| out.extend_from_slice(text.as_bytes()));
        }
    };
    write_box(out, b"vttc", |out| {
        if let Some(id) = cue.source_id {
            write_box(out, b"vsid", |out| out.extend_from_slice(&id.to_be_bytes()));
        }
        text(out, b"iden", cue.id);
        if let Some(now_ms) = now_ms {
            text(out, b"ctim", &written_time(now_ms));
        }
        text(out, b"sttg", cue.settings);
        text(out, b"payl", cue.payload);
    });
}

/// Appends a `vtte` box: nothing is shown.
pub fn write_empty_cue(out: &mut Vec<u8>) {
    write_box(out, b"vtte", |_| {});
}

/// The initialization segment of a `wvtt` track of `timescale` that we make ourselves: `head` is what the text has before its
/// first cue, `roles` its kinds in urn:mpeg:dash:role:2011.
pub fn write_init(id: u32, timescale: Timescale, tag: Option<&str>, roles: &[&str], head: &str) -> Vec<u8> {
    text_init::write(id, timescale, tag, roles, [b"text", b"nmhd"], |out| {
        write_box(out, b"wvtt", |out| {
            out.extend_from_slice(&[0, 0, 0, 0, 0, 0, 0, 1]);
            write_box(out, b"vttC", |out| out.extend_from_slice(head.as_bytes()));
        });
    })
}

/// The payload as text; some writers end it with NUL, which the standard does not.
fn text<'a>(from: &BoxRef<'a>) -> Result<&'a str, Malformed> {
    match std::str::from_utf8(from.payload()) {
        Ok(text) => Ok(text.trim_end_matches('\0')),
        Err(error) => {
            let offset = from.payload_offset() + error.valid_up_to() as u64;
            Err(Malformed::new("text that is not UTF-8", offset).within(from.kind))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::formats::isobmff::boxes::write_box;
    use crate::formats::language;
    use proptest::prelude::*;

    fn vttc(children: &[(&[u8; 4], &[u8])]) -> Vec<u8> {
        let mut out = Vec::new();
        write_box(&mut out, b"vttc", |out| {
            children.iter().for_each(|(kind, payload)| write_box(out, kind, |out| out.extend_from_slice(payload)));
        });
        out
    }

    #[test]
    fn the_largest_track_id_has_no_next() {
        let init = write_init(u32::MAX, Timescale::MILLI, None, &[], "");
        let mvhd = init.windows(4).position(|kind| kind == b"mvhd").expect("there");
        let end = mvhd - 4 + u32::from_be_bytes(*init[mvhd - 4..].first_chunk().expect("a size")) as usize;
        assert_eq!(init[end - 4..end], [0xff; 4]);
    }

    #[test]
    fn a_cue_is_read_whole() {
        let full = vttc(&[
            (b"vsid", &[0, 0, 0, 7]),
            (b"iden", b"c1"),
            (b"ctim", b"00:00:01.000"),
            (b"sttg", b"line:0"),
            (b"payl", "Grüße,\nWelt\0".as_bytes()),
        ]);
        let sample = [full, vttc(&[(b"payl", b"second")])].concat();
        let expected = [
            CueBox { source_id: Some(7), id: "c1", settings: "line:0", payload: "Grüße,\nWelt" },
            CueBox { payload: "second", ..CueBox::default() },
        ];
        assert_eq!(cues(&sample).expect("well formed"), expected);
    }

    #[test]
    fn nothing_shown() {
        assert_eq!(cues(&[]), Ok(vec![]));
        assert_eq!(cues(b"\0\0\0\x08vtte"), Ok(vec![]));
    }

    #[test]
    fn what_is_wrong_is_named() {
        let error = cues(&vttc(&[(b"payl", b"a\xff")])).expect_err("not UTF-8");
        assert_eq!(error.to_string(), "text that is not UTF-8 (vttc/payl at 0x11)");
        let error = cues(&vttc(&[(b"vsid", &[1])])).expect_err("short");
        assert_eq!(error.to_string(), "4 bytes wanted, 1 left (vttc/vsid at 0x10)");
        let many = b"\0\0\0\x08vttc".repeat(1001);
        assert_eq!(cues(&many).expect_err("many").to_string(), "more than 1000 cues in one sample (at 0x1f40)");
    }

    #[test]
    fn the_head_is_found() {
        let init = |config: &[u8]| {
            let mut out = b"\0\0\0\x08ftyp".to_vec();
            write_box(&mut out, b"moov", |out| {
                write_box(out, b"trak", |out| {
                    write_box(out, b"mdia", |out| {
                        write_box(out, b"minf", |out| {
                            write_box(out, b"stbl", |out| {
                                write_box(out, b"stsd", |out| {
                                    out.extend_from_slice(&[0, 0, 0, 0, 0, 0, 0, 1]);
                                    write_box(out, b"wvtt", |out| {
                                        out.extend_from_slice(&[0, 0, 0, 0, 0, 0, 0, 1]);
                                        write_box(out, b"vttC", |out| out.extend_from_slice(config));
                                    });
                                });
                            });
                        });
                    });
                });
            });
            out
        };
        assert_eq!(head(&init(b"WEBVTT\n\nSTYLE\n::cue{}")), Ok("WEBVTT\n\nSTYLE\n::cue{}"));
        assert!(head(&init(b"\xff")).is_err());
        assert_eq!(head(b"").expect_err("empty").to_string(), "no moov box (at 0x0)");
    }

    #[test]
    fn a_cue_that_was_written_is_read() {
        let cue = CueBox { source_id: Some(7), id: "c1", settings: "line:0", payload: "a <00:00:02.000>b" };
        let mut sample = Vec::new();
        write_cue(&mut sample, &cue, Some(1500));
        assert!(sample.windows(16).any(|bytes| bytes == b"ctim00:00:01.500"));
        write_cue(&mut sample, &CueBox { payload: "second", ..CueBox::default() }, None);
        write_empty_cue(&mut sample);
        assert_eq!(cues(&sample), Ok(vec![cue, CueBox { payload: "second", ..CueBox::default() }]));
    }

    #[test]
    fn an_initialization_segment_says_what_it_was_told() {
        let init = write_init(3, Timescale::MILLI, Some("pt-BR"), &["caption"], "WEBVTT\n\nSTYLE\n::cue {}");
        assert_eq!(head(&init), Ok("WEBVTT\n\nSTYLE\n::cue {}"));
        let moov = find(Boxes::new(&init, 0), b"moov").expect("well formed").expect("there");
        let movie = crate::formats::isobmff::movie::Movie::parse(moov).expect("well formed");
        let track = &movie.tracks[0];
        assert_eq!((track.id, track.timescale, &track.handler.0), (3, Timescale::MILLI, b"text"));
        assert_eq!((&track.entry.format.0, &*track.entry.codecs), (b"wvtt", "wvtt"));
        assert_eq!(
            (track.extended_language.as_deref(), language::bcp47(track.language)),
            (Some("pt-BR"), Some("pt".into()))
        );
        assert_eq!(track.kinds, [("urn:mpeg:dash:role:2011".to_owned(), "caption".to_owned())]);
        assert!(movie.is_fragmented);
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(
            list in prop::collection::vec((any::<Option<u32>>(), "[a-zä]{0,4}", "(line:0)?", "[a-z<>ä ]{0,9}", any::<bool>()), 0..5),
        ) {
            let cue = |(source_id, id, settings, payload, _): &(Option<u32>, String, String, String, bool)| {
                (*source_id, id.clone(), settings.clone(), payload.clone())
            };
            let mut sample = Vec::new();
            for each in &list {
                let (source_id, id, settings, payload) = (each.0, &*each.1, &*each.2, &*each.3);
                write_cue(&mut sample, &CueBox { source_id, id, settings, payload }, each.4.then_some(1500));
            }
            let read: Vec<_> = (cues(&sample).expect("well formed").iter())
                .map(|cue| (cue.source_id, cue.id.to_owned(), cue.settings.to_owned(), cue.payload.to_owned()))
                .collect();
            prop_assert_eq!(read, list.iter().map(cue).collect::<Vec<_>>());
        }

        #[test]
        fn any_bytes_are_cues_or_an_error(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = cues(&bytes);
            let _ = cues(&vttc(&[(b"payl", &bytes)]));
            let _ = head(&bytes);
        }
    }
}
