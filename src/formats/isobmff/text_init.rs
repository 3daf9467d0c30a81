//! Initialization segments of text tracks that we make ourselves: all but the sample entry is the same for every form.

use super::boxes::{write_box, write_full_box};
use crate::formats::language;
use crate::time::Timescale;

/// The initialization segment of text track `id` of `timescale`, in language `tag`; `roles` are its kinds in urn:mpeg:dash:role:2011.
/// Its handler and media header are `kinds`; `entry` appends its sample entry.
pub(crate) fn write(
    id: u32,
    timescale: Timescale,
    tag: Option<&str>,
    roles: &[&str],
    kinds: [&[u8; 4]; 2],
    entry: impl Fn(&mut Vec<u8>),
) -> Vec<u8> {
    let [handler, media_header] = kinds;
    const MATRIX: [u32; 9] = [0x1_0000, 0, 0, 0, 0x1_0000, 0, 0, 0, 0x4000_0000];
    let words =
        |out: &mut Vec<u8>, words: &[u32]| words.iter().for_each(|word| out.extend_from_slice(&word.to_be_bytes()));
    let string = |out: &mut Vec<u8>, text: &str| {
        out.extend_from_slice(text.as_bytes());
        out.push(0);
    };
    let mut out = Vec::with_capacity(1024);
    write_box(&mut out, b"ftyp", |out| out.extend_from_slice(b"iso6\0\0\0\0iso6cmfcmp41"));
    write_box(&mut out, b"moov", |out| {
        write_full_box(out, b"mvhd", 0, 0, |out| {
            words(out, &[0, 0, timescale.get(), 0, 0x1_0000, 0x100_0000, 0, 0]);
            words(out, &MATRIX);
            // next_track_ID; all ones after the largest (§8.2.2).
            words(out, &[0, 0, 0, 0, 0, 0, id.saturating_add(1)]);
        });
        write_box(out, b"trak", |out| {
            // track_enabled, track_in_movie
            write_full_box(out, b"tkhd", 0, 3, |out| {
                words(out, &[0, 0, id, 0, 0, 0, 0, 0, 0]);
                words(out, &MATRIX);
                words(out, &[0, 0]);
            });
            write_box(out, b"mdia", |out| {
                write_full_box(out, b"mdhd", 0, 0, |out| {
                    let packed = tag.and_then(language::packed).unwrap_or(language::UNDETERMINED);
                    words(out, &[0, 0, timescale.get(), 0, u32::from(packed) << 16]);
                });
                write_full_box(out, b"hdlr", 0, 0, |out| {
                    words(out, &[0, u32::from_be_bytes(*handler), 0, 0, 0]);
                    string(out, "");
                });
                if let Some(tag) = tag {
                    write_full_box(out, b"elng", 0, 0, |out| string(out, tag));
                }
                write_box(out, b"minf", |out| {
                    write_full_box(out, media_header, 0, 0, |_| {});
                    write_box(out, b"dinf", |out| {
                        write_full_box(out, b"dref", 0, 0, |out| {
                            words(out, &[1]);
                            write_full_box(out, b"url ", 0, 1, |_| {});
                        });
                    });
                    write_box(out, b"stbl", |out| {
                        write_full_box(out, b"stsd", 0, 0, |out| {
                            words(out, &[1]);
                            entry(out);
                        });
                        write_full_box(out, b"stts", 0, 0, |out| words(out, &[0]));
                        write_full_box(out, b"stsc", 0, 0, |out| words(out, &[0]));
                        write_full_box(out, b"stsz", 0, 0, |out| words(out, &[0, 0]));
                        write_full_box(out, b"stco", 0, 0, |out| words(out, &[0]));
                    });
                });
            });
            if !roles.is_empty() {
                write_box(out, b"udta", |out| {
                    for role in roles {
                        write_full_box(out, b"kind", 0, 0, |out| {
                            string(out, "urn:mpeg:dash:role:2011");
                            string(out, role);
                        });
                    }
                });
            }
        });
        write_box(out, b"mvex", |out| write_full_box(out, b"trex", 0, 0, |out| words(out, &[id, 1, 0, 0, 0])));
    });
    out
}
