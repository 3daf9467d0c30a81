//! Sample descriptions as QuickTime lays them out (QuickTime File Format, "Sound Sample Descriptions"), written as ISO/IEC 14496-12 §12.2.3
//! has them: readers of that look for boxes right after its fields.
//!
//! ```text
//!   QuickTime  fields:20  version 1: 16 more, version 2: 36 more  wave { frma mp4a esds 0 } chan …  0:u32
//!   ISO        fields:20                                          esds …
//! ```

use super::boxes::{BoxRef, write_box};
use super::sample_entry::{EntryFields, Kind, SAMPLE_ENTRY_BYTES, VISUAL_BYTES};
use crate::formats::error::Malformed;

/// Appends `stsd`: byte for byte, unless an entry is laid out as in QuickTime.
pub(super) fn write_descriptions(out: &mut Vec<u8>, stsd: BoxRef<'_>) -> Result<(), Malformed> {
    let mut entries = Vec::new();
    let mut any = false;
    for entry in stsd.children_after(8) {
        let entry = entry.map_err(|e| e.within(stsd.kind))?;
        let kind = Kind::of(entry.kind).filter(|kind| *kind != Kind::Text);
        let fields = kind.map(|kind| EntryFields::parse(entry, kind).map(|fields| (kind, fields))).transpose();
        let fields = fields.map_err(|e| e.within(entry.kind).within(stsd.kind))?;
        let fields = fields.filter(|(_, fields)| fields.is_quicktime);
        any |= fields.is_some();
        entries.push((entry, fields));
    }
    if !any {
        out.extend_from_slice(stsd.bytes());
        return Ok(());
    }
    write_box(out, b"stsd", |out| {
        out.extend_from_slice(&stsd.payload()[..8]);
        for (entry, fields) in &entries {
            match fields {
                Some((kind, fields)) => write_entry(out, *entry, *kind, fields),
                None => out.extend_from_slice(entry.bytes()),
            }
        }
    });
    Ok(())
}

fn write_entry(out: &mut Vec<u8>, entry: BoxRef<'_>, kind: Kind, fields: &EntryFields<'_>) {
    write_box(out, &entry.kind.0, |out| {
        let payload = entry.payload();
        if kind == Kind::Video {
            out.extend_from_slice(&payload[..VISUAL_BYTES]);
        } else {
            // Version, revision and vendor are reserved (§12.2.3.2), as are the compression's number and the size of packets.
            out.extend_from_slice(&payload[..SAMPLE_ENTRY_BYTES]);
            out.extend_from_slice(&[0; 8]);
            out.extend_from_slice(&fields.channels.to_be_bytes());
            out.extend_from_slice(&payload[SAMPLE_ENTRY_BYTES + 10..SAMPLE_ENTRY_BYTES + 12]);
            out.extend_from_slice(&[0; 4]);
            // 16.16; of a rate that does not fit, 0 says that it is in the codec's configuration.
            out.extend_from_slice(&u16::try_from(fields.sample_rate).unwrap_or(0).to_be_bytes());
            out.extend_from_slice(&[0; 2]);
        }
        for own in &fields.boxes {
            // The last of a wave may reach to its end by a size of 0, which would be another one here.
            write_box(out, &own.kind.0, |out| out.extend_from_slice(own.payload()));
        }
    });
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::formats::isobmff::boxes::{Boxes, write_full_box};
    use crate::formats::isobmff::sample_entry;

    const DDTS: [u8; 20] = [0, 0, 0x5d, 0xc0, 0, 2, 0xee, 0, 0, 2, 0xee, 0, 16, 2, 8, 0x1f, 0xf0, 0, 2, 0];

    /// The payload of a sound description after its data_reference_index: `head`, then boxes.
    fn entry(head: &[u8], boxes: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        write_box(&mut out, b"dtsc", |out| out.extend([&[0, 0, 0, 0, 0, 0, 0, 1][..], head, boxes].concat()));
        out
    }

    fn boxed(kind: &[u8; 4], payload: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        write_box(&mut out, kind, |out| out.extend_from_slice(payload));
        out
    }

    fn written(entry: &[u8]) -> Vec<u8> {
        let mut stsd = Vec::new();
        write_full_box(&mut stsd, b"stsd", 0, 0, |out| out.extend([&[0, 0, 0, 1][..], entry].concat()));
        let mut out = Vec::new();
        let stsd = Boxes::new(&stsd, 0).next().expect("one").expect("well formed");
        write_descriptions(&mut out, stsd).expect("well formed");
        let mut again = Vec::new();
        let stsd = Boxes::new(&out, 0).next().expect("one").expect("well formed");
        write_descriptions(&mut again, stsd).expect("well formed");
        assert_eq!(again, out, "what is written is not laid out as in QuickTime");
        out.split_off(16)
    }

    const VERSION_0: [u8; 20] = [0, 0, 0, 0, 0, 0, 0, 0, 0, 2, 0, 16, 0, 0, 0, 0, 0xbb, 0x80, 0, 0];
    const VERSION_1: [u8; 20] = [0, 1, 0, 3, b'a', b'p', b'p', b'l', 0, 2, 0, 16, 0xff, 0xfe, 0, 0, 0xbb, 0x80, 0, 0];

    #[test]
    fn what_iso_lays_out_is_passed_on() {
        let ddts = boxed(b"ddts", &DDTS);
        let chan = boxed(b"chan", &[0; 16]);
        for entry in [
            entry(&VERSION_0, &ddts),
            // not wanted, and no hindrance
            entry(&VERSION_0, &[&ddts[..], &chan].concat()),
            // AudioSampleEntryV1, whose srat is as long as what QuickTime adds
            entry(&VERSION_1, &[&boxed(b"srat", &[0, 0, 0, 0, 0, 1, 0x77, 0])[..], &ddts].concat()),
        ] {
            assert_eq!(written(&entry), entry);
        }
    }

    #[test]
    fn a_rate_box_before_the_configuration_is_read() {
        let boxes = [boxed(b"srat", &[0, 0, 0, 0, 0, 1, 0x77, 0]), boxed(b"ddts", &[0; 20])].concat();
        let bytes = entry(&VERSION_1, &boxes);
        let read = sample_entry::parse(Boxes::new(&bytes, 0).next().expect("one").expect("well formed"));
        let sample_entry::Media::Audio(audio) = read.expect("well formed").media else { panic!("sound") };
        assert_eq!(audio.sample_rate, 96_000);
    }

    #[test]
    fn fields_and_boxes_of_quicktime_are_left_out() {
        let ddts = boxed(b"ddts", &DDTS);
        let btrt = boxed(b"btrt", &[7; 12]);
        let expected = entry(&VERSION_0, &[&ddts[..], &btrt].concat());
        let wave = boxed(b"wave", &[&boxed(b"frma", b"dtsc")[..], &ddts, &boxed(&[0; 4], &[])].concat());
        let rest = [&wave[..], &boxed(b"chan", &[0; 16]), &btrt, &[0; 4]].concat();
        let added = [0, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2];
        assert_eq!(written(&entry(&VERSION_0, &rest)), expected);
        assert_eq!(written(&entry(&VERSION_1, &[&added[..], &rest].concat())), expected);
        // a terminator of eight bytes, and a configuration that is there twice
        let rest = [&ddts[..], &wave, &btrt, &boxed(&[0; 4], &[])].concat();
        assert_eq!(written(&entry(&VERSION_1, &[&added[..], &rest].concat())), expected);
        // a ddts to the end of its wave
        let mut open = ddts.clone();
        open[..4].fill(0);
        let rest = [&boxed(b"wave", &open)[..], &btrt].concat();
        assert_eq!(written(&entry(&VERSION_0, &rest)), expected);
    }

    #[test]
    fn version_2_tells_as_far_as_it_fits() {
        let head = [0, 2, 0, 0, 0, 0, 0, 0, 0, 3, 0, 16, 0xff, 0xfe, 0, 0, 0, 1, 0, 0];
        let ddts = boxed(b"ddts", &DDTS);
        let of = |rate: f64, channels: u32| {
            let added = [&[0, 0, 0, 72][..], &rate.to_be_bytes(), &channels.to_be_bytes(), &[0; 20]].concat();
            entry(&head, &[&added[..], &boxed(b"wave", &ddts)].concat())
        };
        let expected = |channels: u8, rate: u16| {
            let mut fields = VERSION_0;
            fields[9] = channels;
            fields[16..18].copy_from_slice(&rate.to_be_bytes());
            entry(&fields, &ddts)
        };
        assert_eq!(written(&of(48_000.0, 6)), expected(6, 48_000));
        assert_eq!(written(&of(96_000.0, 2)), expected(2, 0));
        let bytes = of(48_000.0, 65_536);
        let read = sample_entry::parse(Boxes::new(&bytes, 0).next().expect("one").expect("well formed"));
        assert_eq!(read.expect_err("too many").what, "65536 channels");
    }
}
