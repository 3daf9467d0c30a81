//! Movie fragments (ISO/IEC 14496-12 §8.8): reading a `moof`, and writing one around the same samples.

use super::boxes::{BoxRef, write_box, write_full_box};
use super::groups::grouping_type;
use super::movie::{PsshRoom, TrackExtends};
use crate::formats::error::Malformed;

/// The most samples of a run that says nothing of each (all by default), so that a count costs no memory by itself.
const DEFAULT_SAMPLES_MAX: u32 = 1 << 20;
/// The latest decode time, in ticks: sums of a few times stay within 64 bits.
pub const DECODE_TIME_MAX: i64 = i64::MAX / 4;

/// A `moof`.
#[derive(Clone, Debug)]
pub struct MovieFragment<'a> {
    /// mfhd sequence_number.
    pub sequence_number: u32,
    /// In order.
    pub trafs: Vec<TrackFragment<'a>>,
    /// `pssh` boxes, whole.
    pub pssh: Vec<&'a [u8]>,
}

/// A `traf`.
#[derive(Clone, Debug)]
pub struct TrackFragment<'a> {
    /// track_ID.
    pub track_id: u32,
    /// Whether default-base-is-moof is set.
    pub default_base_is_moof: bool,
    /// base_data_offset, if it is explicit.
    pub base_data_offset: Option<u64>,
    /// tfdt baseMediaDecodeTime.
    pub base_media_decode_time: Option<u64>,
    /// sample_description_index, if the fragment says so.
    pub description_index: Option<u32>,
    /// Its runs.
    pub runs: Vec<TrackRun<'a>>,
    /// What Common Encryption adds.
    pub protection: FragmentProtection<'a>,
    defaults: [Option<u32>; 3],
}

/// A `trun`.
#[derive(Clone, Copy, Debug)]
pub struct TrackRun<'a> {
    /// sample_count.
    pub sample_count: u32,
    /// data_offset.
    pub data_offset: Option<i32>,
    first_sample_flags: Option<u32>,
    version: u8,
    flags: u32,
    /// What is said of each sample: `width` fields of each.
    rows: &'a [[u8; 4]],
    width: usize,
}

/// The most `sgpd` and `sbgp` boxes of other grouping types that are kept when a protected fragment is cut.
const OTHER_GROUPS_MAX: usize = 32;

/// Boxes of a `traf` that Common Encryption uses (ISO/IEC 23001-7 §7), each whole.
#[derive(Clone, Debug, Default)]
pub struct FragmentProtection<'a> {
    /// `senc`.
    pub senc: Option<BoxRef<'a>>,
    /// `saiz`.
    pub saiz: Option<BoxRef<'a>>,
    /// `saio`.
    pub saio: Option<BoxRef<'a>>,
    /// `sgpd` of grouping type `seig`.
    pub sgpd: Option<BoxRef<'a>>,
    /// `sbgp` of grouping type `seig`.
    pub sbgp: Option<BoxRef<'a>>,
    /// `sgpd` and `sbgp` of other grouping types (`roll`, `prol`, `sap `, …), in order: they say nothing of keys.
    pub other_groups: Vec<BoxRef<'a>>,
}

/// What holds of the samples of a fragment unless their run says otherwise.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SampleDefaults {
    /// default_sample_duration.
    pub duration: u32,
    /// default_sample_size.
    pub size: u32,
    /// default_sample_flags.
    pub flags: u32,
}

/// What a `trun` says of one sample, defaults filled in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RunSample {
    /// sample_duration.
    pub duration: u32,
    /// sample_size.
    pub size: u32,
    /// sample_flags.
    pub flags: u32,
    /// sample_composition_time_offset; of version 0 too read as signed, since writers that need negative ones forget the
    /// version, and no real offset reaches 2^31.
    pub composition_offset: i32,
}

impl<'a> MovieFragment<'a> {
    /// Reads a `moof`.
    pub fn parse(moof: BoxRef<'a>) -> Result<MovieFragment<'a>, Malformed> {
        let mut fragment = MovieFragment { sequence_number: 0, trafs: Vec::new(), pssh: Vec::new() };
        let mut room = PsshRoom::default();
        for child in moof.children() {
            let child = child.map_err(|e| e.within("moof"))?;
            match &child.kind.0 {
                b"mfhd" => {
                    let mut fields = child.fields();
                    fields.skip(4).map_err(|e| e.within("moof/mfhd"))?;
                    fragment.sequence_number = fields.u32().map_err(|e| e.within("moof/mfhd"))?;
                }
                b"traf" => {
                    let index = fragment.trafs.len();
                    let within = |e: Malformed| e.within(format_args!("moof/traf[{index}]"));
                    fragment.trafs.push(TrackFragment::parse(child).map_err(within)?);
                }
                b"pssh" if room.takes(child.bytes()) => fragment.pssh.push(child.bytes()),
                _ => {}
            }
        }
        Ok(fragment)
    }
}

impl<'a> TrackFragment<'a> {
    fn parse(traf: BoxRef<'a>) -> Result<TrackFragment<'a>, Malformed> {
        let tfhd = traf.required(b"tfhd").map_err(|mut e| {
            e.path.clear();
            e
        })?;
        let mut fragment = TrackFragment::parse_tfhd(tfhd).map_err(|e| e.within("tfhd"))?;
        for child in traf.children() {
            let child = child?;
            match &child.kind.0 {
                b"tfdt" => {
                    let mut fields = child.fields();
                    let time = fields.version_and_flags().and_then(|(version, _)| fields.u32_or_u64(version == 1));
                    let time = time.map_err(|e| e.within("tfdt"))?;
                    if time > DECODE_TIME_MAX as u64 {
                        return Err(Malformed::new(
                            format!("a decode time of {time}, {DECODE_TIME_MAX} is the latest"),
                            child.offset,
                        )
                        .within("tfdt"));
                    }
                    fragment.base_media_decode_time = Some(time);
                }
                b"trun" => fragment.runs.push(TrackRun::parse(child).map_err(|e| e.within("trun"))?),
                b"senc" => fragment.protection.senc = Some(child),
                b"saiz" if is_cenc_auxiliary(child) => fragment.protection.saiz = Some(child),
                b"saio" if is_cenc_auxiliary(child) => fragment.protection.saio = Some(child),
                b"sgpd" if grouping_type(child) == Some(*b"seig") => fragment.protection.sgpd = Some(child),
                b"sbgp" if grouping_type(child) == Some(*b"seig") => fragment.protection.sbgp = Some(child),
                b"sgpd" | b"sbgp" if fragment.protection.other_groups.len() < OTHER_GROUPS_MAX => {
                    fragment.protection.other_groups.push(child);
                }
                _ => {}
            }
        }
        Ok(fragment)
    }

    fn parse_tfhd(tfhd: BoxRef<'a>) -> Result<TrackFragment<'a>, Malformed> {
        let mut fields = tfhd.fields();
        let (_, flags) = fields.version_and_flags()?;
        let track_id = fields.u32()?;
        let base_data_offset = if flags & 0x1 != 0 { Some(fields.u64()?) } else { None };
        let mut optional = |flag: u32| if flags & flag != 0 { fields.u32().map(Some) } else { Ok(None) };
        let description_index = optional(0x2)?;
        let defaults = [optional(0x8)?, optional(0x10)?, optional(0x20)?];
        Ok(TrackFragment {
            track_id,
            default_base_is_moof: flags & 0x2_0000 != 0,
            base_data_offset,
            base_media_decode_time: None,
            description_index,
            runs: Vec::new(),
            protection: FragmentProtection::default(),
            defaults,
        })
    }

    /// What its runs leave unsaid, from the fragment or from `trex`.
    pub fn defaults(&self, trex: &TrackExtends) -> SampleDefaults {
        let [duration, size, flags] = self.defaults;
        SampleDefaults {
            duration: duration.unwrap_or(trex.duration),
            size: size.unwrap_or(trex.size),
            flags: flags.unwrap_or(trex.flags),
        }
    }
}

/// Whether a `saiz` or `saio` speaks of Common Encryption: its type is `cenc`, `cbcs`, … or, as mostly, not said.
fn is_cenc_auxiliary(b: BoxRef<'_>) -> bool {
    let mut fields = b.fields();
    match fields.version_and_flags() {
        Ok((_, flags)) if flags & 1 != 0 => {
            fields.take(4).is_ok_and(|kind| matches!(kind, b"cenc" | b"cens" | b"cbc1" | b"cbcs"))
        }
        Ok(_) => true,
        Err(_) => false,
    }
}

impl<'a> TrackRun<'a> {
    fn parse(trun: BoxRef<'a>) -> Result<TrackRun<'a>, Malformed> {
        let mut fields = trun.fields();
        let (version, flags) = fields.version_and_flags()?;
        let sample_count = fields.u32()?;
        let data_offset = if flags & 0x1 != 0 { Some(fields.u32()? as i32) } else { None };
        let first_sample_flags = if flags & 0x4 != 0 { Some(fields.u32()?) } else { None };
        let each = u64::from((flags & 0xf00).count_ones()) * 4;
        let (wanted, left) = (u64::from(sample_count) * each, fields.remaining());
        if wanted > left as u64 {
            let what = format!("{sample_count} samples need {wanted} bytes, {left} left");
            return Err(Malformed::new(what, trun.offset));
        }
        if each == 0 && sample_count > DEFAULT_SAMPLES_MAX {
            let what = format!("{sample_count} samples of default size, more than {DEFAULT_SAMPLES_MAX}");
            return Err(Malformed::new(what, trun.offset));
        }
        let (rows, _) = fields.rest()[..wanted as usize].as_chunks();
        Ok(TrackRun { sample_count, data_offset, first_sample_flags, version, flags, rows, width: each as usize / 4 })
    }

    /// Whether nothing is written down for each of its samples, so that their number is only claimed.
    pub fn is_claimed(&self) -> bool {
        self.width == 0
    }

    /// Its samples, with `defaults` filled in.
    pub fn samples(&self, defaults: SampleDefaults) -> impl Iterator<Item = RunSample> + use<'a> {
        let run = *self;
        let [duration, size, flags, composition_offset] = [0x100, 0x200, 0x400, 0x800].map(|flag| run.field_at(flag));
        (0..run.sample_count as usize).map(move |index| {
            let field = |at: Option<usize>| at.map(|at| run.field(index, at));
            let first = if index == 0 { run.first_sample_flags } else { None };
            RunSample {
                duration: field(duration).unwrap_or(defaults.duration),
                size: field(size).unwrap_or(defaults.size),
                flags: field(flags).or(first).unwrap_or(defaults.flags),
                composition_offset: field(composition_offset).unwrap_or(0) as i32,
            }
        })
    }

    /// Bytes of all its samples, with `defaults` filled in.
    pub fn size(&self, defaults: SampleDefaults) -> u64 {
        match self.field_at(0x200) {
            Some(at) => (0..self.sample_count as usize).map(|index| u64::from(self.field(index, at))).sum(),
            None => u64::from(defaults.size) * u64::from(self.sample_count),
        }
    }

    /// Field `at` of sample `index`.
    fn field(&self, index: usize, at: usize) -> u32 {
        u32::from_be_bytes(self.rows[index * self.width + at])
    }

    /// Which field of a sample is that of `flag`, if each has one (§8.8.8.2): it comes after those of lower flags.
    fn field_at(&self, flag: u32) -> Option<usize> {
        (self.flags & flag != 0).then(|| (self.flags & 0xf00 & (flag - 1)).count_ones() as usize)
    }

    /// Whether any composition offset is negative though the version has none of these.
    pub fn has_unsigned_negatives(&self) -> bool {
        let negative = |at| (0..self.sample_count as usize).any(|index| (self.field(index, at) as i32) < 0);
        self.version == 0 && self.field_at(0x800).is_some_and(negative)
    }
}

/// A fragment of one track to be written: one `traf`, one `trun`.
#[derive(Clone, Debug, Default)]
pub struct NewFragment {
    /// mfhd sequence_number.
    pub sequence_number: u32,
    /// track_ID.
    pub track_id: u32,
    /// sample_description_index.
    pub description_index: u32,
    /// tfdt baseMediaDecodeTime.
    pub base_media_decode_time: u64,
    /// At least one.
    pub samples: Vec<RunSample>,
    /// Whole `pssh` boxes for the `moof`.
    pub pssh: Vec<Vec<u8>>,
    /// Whole boxes for the end of the `traf` that hold no offsets (`sgpd`, `sbgp`).
    pub groups: Vec<u8>,
    /// Flags and entries of a `senc`, sample_count left out; and the sizes of its entries, for `saiz`.
    pub encryption: Option<SampleEncryption>,
}

/// What a `senc` holds (ISO/IEC 23001-7 §7.2).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SampleEncryption {
    /// Whether entries have subsamples (flag 2).
    pub has_subsamples: bool,
    /// The entries, one after another.
    pub entries: Vec<u8>,
    /// Bytes of each.
    pub sizes: Vec<u8>,
}

impl NewFragment {
    /// The `moof`, and the head of the `mdat` whose payload is the samples' bytes.
    pub fn write(&self) -> Vec<u8> {
        let shape = self.shape();
        let mut out = Vec::with_capacity(self.len_as(&shape));
        let mut data_offset_at = 0;
        write_box(&mut out, b"moof", |out| {
            write_full_box(out, b"mfhd", 0, 0, |out| put(out, self.sequence_number));
            write_box(out, b"traf", |out| data_offset_at = self.write_traf(&shape, out));
            for pssh in &self.pssh {
                out.extend_from_slice(pssh);
            }
        });
        let moof_len = out.len();
        match u32::try_from(shape.media + 8) {
            Ok(size) => {
                put(&mut out, size);
                out.extend_from_slice(b"mdat");
            }
            Err(_) => {
                put(&mut out, 1);
                out.extend_from_slice(b"mdat");
                out.extend_from_slice(&(shape.media + 16).to_be_bytes());
            }
        }
        let data_offset = out.len() as u32;
        out[data_offset_at..data_offset_at + 4].copy_from_slice(&data_offset.to_be_bytes());
        debug_assert!(moof_len < out.len());
        debug_assert_eq!(out.len(), self.len());
        out
    }

    /// Bytes that [`NewFragment::write`] makes.
    pub fn len(&self) -> usize {
        self.len_as(&self.shape())
    }

    fn len_as(&self, shape: &Shape) -> usize {
        let encryption = self.encryption.as_ref().map_or(0, |e| {
            let saiz = 12 + 5 + if e.uniform_size().is_some() { 0 } else { e.sizes.len() };
            16 + e.entries.len() + saiz + 12 + 8
        });
        shape.heads_len() + self.groups.len() + encryption + self.pssh.iter().map(|p| p.len()).sum::<usize>()
    }

    /// Whether there is no sample.
    pub fn is_empty(&self) -> bool {
        self.samples.is_empty()
    }

    fn shape(&self) -> Shape {
        Shape::of(self.samples.iter().copied())
    }

    /// Appends the boxes of the `traf`; returns where the data_offset is to be filled in.
    fn write_traf(&self, shape: &Shape, out: &mut Vec<u8>) -> usize {
        write_full_box(out, b"tfhd", 0, shape.header_flags, |out| {
            put(out, self.track_id);
            put(out, self.description_index);
            for (flag, value) in [0x8, 0x10, 0x20].into_iter().zip(shape.defaults) {
                if shape.header_flags & flag != 0 {
                    put(out, value);
                }
            }
        });
        write_full_box(out, b"tfdt", 1, 0, |out| out.extend_from_slice(&self.base_media_decode_time.to_be_bytes()));
        let mut data_offset_at = 0;
        write_full_box(out, b"trun", 1, shape.run_flags, |out| {
            put(out, self.samples.len() as u32);
            data_offset_at = out.len();
            put(out, 0);
            if shape.run_flags & 0x4 != 0 {
                put(out, self.samples[0].flags);
            }
            for sample in &self.samples {
                let RunSample { duration, size, flags, composition_offset } = *sample;
                for (flag, value) in
                    [(0x100, duration), (0x200, size), (0x400, flags), (0x800, composition_offset as u32)]
                {
                    if shape.run_flags & flag != 0 {
                        put(out, value);
                    }
                }
            }
        });
        out.extend_from_slice(&self.groups);
        if let Some(encryption) = &self.encryption {
            encryption.write(out);
        }
        data_offset_at
    }
}

/// What a new fragment says once for all of its samples, and what of each.
#[derive(Clone, Copy, Debug)]
pub struct Shape {
    header_flags: u32,
    run_flags: u32,
    defaults: [u32; 3],
    samples: usize,
    media: u64,
}

impl Shape {
    /// That of a fragment of `samples`, looked at once.
    pub fn of(mut samples: impl Iterator<Item = RunSample>) -> Shape {
        let none = RunSample { duration: 0, size: 0, flags: 0, composition_offset: 0 };
        let first = samples.next();
        let mut count = usize::from(first.is_some());
        let first = first.unwrap_or(none);
        let mut second = None;
        let (mut one_duration, mut one_size, mut one_flags) = (true, true, true);
        let mut has_offsets = first.composition_offset != 0;
        let mut media = u64::from(first.size);
        for sample in samples {
            one_duration &= sample.duration == first.duration;
            one_size &= sample.size == first.size;
            // The first of a fragment differs from the rest mostly, and has a field for that.
            one_flags &= sample.flags == second.get_or_insert(sample).flags;
            has_offsets |= sample.composition_offset != 0;
            media += u64::from(sample.size);
            count += 1;
        }
        let second = second.unwrap_or(first);
        // description index and default-base-is-moof always; data_offset always.
        let mut shape = Shape {
            header_flags: 0x2_0002,
            run_flags: 0x1,
            defaults: [first.duration, first.size, second.flags],
            samples: count,
            media,
        };
        let mut choose = |uniform: bool, default: u32, each: u32| {
            if uniform { shape.header_flags |= default } else { shape.run_flags |= each }
        };
        choose(one_duration, 0x8, 0x100);
        choose(one_size, 0x10, 0x200);
        choose(one_flags, 0x20, 0x400);
        if shape.run_flags & 0x400 == 0 && first.flags != second.flags {
            shape.run_flags |= 0x4;
        }
        if has_offsets {
            shape.run_flags |= 0x800;
        }
        shape
    }

    /// Bytes of the fragment, its media included, if nothing is protected.
    pub fn len(&self) -> u64 {
        self.heads_len() as u64 + self.media
    }

    /// Whether there is no sample.
    pub fn is_empty(&self) -> bool {
        self.samples == 0
    }

    /// Bytes before the media, if nothing is protected.
    fn heads_len(&self) -> usize {
        let each = (self.run_flags & 0xf00).count_ones() as usize * 4;
        let tfhd = 12 + 4 + (self.header_flags & 0x3a).count_ones() as usize * 4;
        let first = if self.run_flags & 0x4 != 0 { 4 } else { 0 };
        let trun = 12 + 4 + 4 + first + each * self.samples;
        let mdat = if self.media + 8 > u64::from(u32::MAX) { 16 } else { 8 };
        8 + 16 + (8 + tfhd + 20 + trun) + mdat
    }
}

impl SampleEncryption {
    fn uniform_size(&self) -> Option<u8> {
        let first = *self.sizes.first()?;
        // 0 would say "see the table" (ISO/IEC 14496-12 §8.7.8.3).
        (first != 0 && self.sizes.iter().all(|&size| size == first)).then_some(first)
    }

    /// `saiz`, `saio` and `senc`; the `saio` counts from the `moof`, which begins 8 + 16 + 8 bytes before the `traf`'s content.
    fn write(&self, out: &mut Vec<u8>) {
        write_full_box(out, b"saiz", 0, 0, |out| {
            let uniform = self.uniform_size();
            out.push(uniform.unwrap_or(0));
            put(out, self.sizes.len() as u32);
            if uniform.is_none() {
                out.extend_from_slice(&self.sizes);
            }
        });
        write_full_box(out, b"saio", 0, 0, |out| {
            put(out, 1);
            // This field, then the head, flags and count of the senc; `out` begins with the moof.
            put(out, (out.len() + 4 + 16) as u32);
        });
        write_full_box(out, b"senc", 0, if self.has_subsamples { 2 } else { 0 }, |out| {
            put(out, self.sizes.len() as u32);
            out.extend_from_slice(&self.entries);
        });
    }
}

fn put(out: &mut Vec<u8>, value: u32) {
    out.extend_from_slice(&value.to_be_bytes());
}

#[cfg(test)]
mod tests {
    use super::super::boxes::{Boxes, find};
    use super::*;
    use proptest::prelude::*;

    fn run_samples() -> impl Strategy<Value = Vec<RunSample>> {
        let one = (0u32..3, 0u32..3, 0u32..2, -1i32..2);
        prop::collection::vec(one, 1..20).prop_map(|list| {
            let sample =
                |(duration, size, flags, composition_offset)| RunSample { duration, size, flags, composition_offset };
            list.into_iter().map(sample).collect()
        })
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(samples in run_samples(), time in 0u64..1 << 40, encrypted in any::<bool>()) {
            let encryption = encrypted.then(|| SampleEncryption {
                has_subsamples: false,
                entries: vec![7; samples.len() * 8],
                sizes: vec![8; samples.len()],
            });
            let new = NewFragment {
                sequence_number: 5, track_id: 2, description_index: 1, base_media_decode_time: time,
                samples: samples.clone(), encryption, ..NewFragment::default()
            };
            let bytes = new.write();
            let moof = find(Boxes::new(&bytes[..bytes.len() - 8], 0), b"moof").expect("well formed").expect("there");
            let fragment = MovieFragment::parse(moof).expect("well formed");
            prop_assert_eq!(fragment.sequence_number, 5);
            let traf = &fragment.trafs[0];
            prop_assert_eq!((traf.track_id, traf.base_media_decode_time), (2, Some(time)));
            prop_assert!(traf.default_base_is_moof);
            let run = &traf.runs[0];
            prop_assert_eq!(run.data_offset, Some(bytes.len() as i32));
            prop_assert_eq!(run.samples(traf.defaults(&TrackExtends::default())).collect::<Vec<_>>(), samples.clone());
            if encrypted {
                let saio = traf.protection.saio.expect("there").payload();
                let at = u32::from_be_bytes(saio[8..12].try_into().expect("four bytes")) as usize;
                prop_assert_eq!(&bytes[at..at + 8 * samples.len()], &vec![7; 8 * samples.len()]);
            }
        }
    }

    #[test]
    fn a_count_that_claims_more_than_there_is() {
        let mut trun = Vec::new();
        write_full_box(&mut trun, b"trun", 0, 0x300, |out| {
            put(out, 40);
            out.extend_from_slice(&[0; 96]);
        });
        let trun = Boxes::new(&trun, 0x1f3).next().expect("one").expect("well formed");
        let error = TrackRun::parse(trun).unwrap_err().within("trun").within("traf[1]").within("moof");
        assert_eq!(error.to_string(), "40 samples need 320 bytes, 96 left (moof/traf[1]/trun at 0x1f3)");
    }
}
