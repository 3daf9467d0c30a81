//! Common Encryption in fragments (ISO/IEC 23001-7): sample groups of keys, and auxiliary information taken apart and put
//! together again when a fragment is cut.

use std::ops::Range;

use super::boxes::BoxRef;
use super::fragment::{FragmentProtection, SampleEncryption};
use super::groups::{self, KeyGroups};
use super::sample_entry::Protection;
use crate::formats::error::Malformed;

/// The most samples of a `saiz` that gives all one size, so that a count costs no memory by itself.
const SAMPLES_MAX: u32 = 1 << 20;

/// Runs of samples and the KIDs that they are encrypted under, by their groups or by `default`; `None`: in the clear. The runs
/// add up to `samples`.
pub fn sample_kids(
    protection: &FragmentProtection<'_>,
    default: &Protection,
    samples: u32,
) -> Vec<(u32, Option<[u8; 16]>)> {
    // What is malformed here is an error when it is cut; until then the default is the best guess.
    let local = local_groups(protection).unwrap_or_default();
    let runs = protection.sbgp.map(groups::runs).and_then(Result::ok).unwrap_or_default();
    let mut kids: Vec<(u32, Option<[u8; 16]>)> = Vec::new();
    for (count, index) in groups::mapped(&runs, samples) {
        let kid = match groups::key_group(index, &local, &default.groups) {
            Some(group) => group.is_protected.then_some(group.kid),
            None => default.is_protected.then_some(default.default_kid),
        };
        match kids.last_mut() {
            Some((run, last)) if *last == kid => *run += count,
            _ => kids.push((count, kid)),
        }
    }
    kids
}

fn local_groups(protection: &FragmentProtection<'_>) -> Result<KeyGroups, Malformed> {
    protection.sgpd.map(KeyGroups::parse).transpose().map_err(|e| e.within("sgpd")).map(Option::unwrap_or_default)
}

/// Where the auxiliary information of a fragment's samples lies, if not in a `senc`: ranges of the file, from `saiz` and
/// `saio`, whose offsets count from `base` (ISO/IEC 14496-12 §8.7.9): that of the fragment's data. There is one for all
/// samples, or one for each of `runs`, the sample counts of its `trun`s.
pub fn auxiliary_ranges(
    protection: &FragmentProtection<'_>,
    runs: &[u32],
    base: u64,
) -> Result<Vec<Range<u64>>, Malformed> {
    let (None, Some(saiz), Some(saio)) = (protection.senc, protection.saiz, protection.saio) else {
        return Ok(Vec::new());
    };
    let sizes = read_sizes(saiz)?;
    let mut fields = saio.fields();
    let (version, flags) = fields.version_and_flags()?;
    if flags & 1 != 0 {
        fields.skip(8)?;
    }
    let count = fields.u32()? as usize;
    let filled: Vec<u32> = runs.iter().copied().filter(|&samples| samples > 0).collect();
    let lengths: &[u32] = match count {
        1 => &[u32::MAX],
        _ if count == runs.len() => runs,
        _ if count == filled.len() => &filled,
        _ => {
            let what = format!("{count} offsets for {} runs: one, or one a run, is read", runs.len());
            return Err(Malformed::new(what, saio.offset).within("saio"));
        }
    };
    let mut ranges = Vec::with_capacity(lengths.len());
    let mut sizes = &sizes[..];
    for &samples in lengths {
        let (run, rest) = sizes.split_at(sizes.len().min(samples as usize));
        sizes = rest;
        let start = base.saturating_add(fields.u32_or_u64(version == 1).map_err(|e| e.within("saio"))?);
        let total: u64 = run.iter().map(|&size| u64::from(size)).sum();
        if total > 0 {
            ranges.push(start..start.saturating_add(total));
        }
    }
    Ok(ranges)
}

fn read_sizes(saiz: BoxRef<'_>) -> Result<Vec<u8>, Malformed> {
    let mut fields = saiz.fields();
    let (_, flags) = fields.version_and_flags()?;
    if flags & 1 != 0 {
        fields.skip(8)?;
    }
    let default = fields.u8()?;
    let count = fields.u32()?;
    if default == 0 {
        return Ok(fields.take(count as usize)?.to_vec());
    }
    if count > SAMPLES_MAX {
        return Err(
            Malformed::new(format!("{count} samples, at most {SAMPLES_MAX} are read"), saiz.offset).within("saiz")
        );
    }
    Ok(vec![default; count as usize])
}

/// Bytes that the boxes of `protection` take in a new fragment of all its `samples`: `senc`, `saiz`, `saio`, and all `sgpd` and
/// `sbgp`.
pub fn weight(protection: &FragmentProtection<'_>, samples: u32) -> usize {
    let auxiliary = match (protection.senc, protection.saiz) {
        (Some(senc), _) => senc.payload().len().saturating_sub(8),
        (None, Some(saiz)) => read_sizes(saiz).map_or(0, |sizes| sizes.iter().map(|&size| usize::from(size)).sum()),
        (None, None) => 0,
    };
    let of_keys = [protection.sgpd, protection.sbgp].into_iter().flatten();
    let groups = of_keys.chain(protection.other_groups.iter().copied()).map(|b| b.bytes().len()).sum::<usize>();
    // senc 16, saiz 17 and a byte a sample, saio 20.
    if auxiliary == 0 { groups } else { auxiliary + 16 + 17 + samples as usize + 20 + groups }
}

/// What is kept of a fragment's protection for some of its samples.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CutProtection {
    /// For the `senc`; `None` if the samples carry no information of their own (constant IV, whole samples).
    pub encryption: Option<SampleEncryption>,
    /// `sgpd` and `sbgp` of all grouping types, whole.
    pub groups: Vec<u8>,
    /// `pssh` boxes of the `moof`, whole.
    pub pssh: Vec<Vec<u8>>,
}

/// The protection of the samples `range` (counted within the fragment, which has `count`) of a fragment. `auxiliary` holds
/// the bytes of [`auxiliary_ranges`].
pub fn cut(
    protection: &FragmentProtection<'_>,
    default: &Protection,
    auxiliary: Option<&[u8]>,
    range: Range<u32>,
    count: u32,
) -> Result<CutProtection, Malformed> {
    let local = local_groups(protection)?;
    let runs = protection.sbgp.map(groups::runs).transpose().map_err(|e| e.within("sbgp"))?.unwrap_or_default();
    let mut iv_sizes: Vec<u8> = Vec::new();
    for (length, index) in groups::mapped(&runs, count) {
        let iv_size = match groups::key_group(index, &local, &default.groups) {
            Some(group) if !group.is_protected => 0,
            Some(group) => group.per_sample_iv_size,
            None => default.per_sample_iv_size,
        };
        iv_sizes.extend(std::iter::repeat_n(iv_size, length as usize));
    }
    let mut cut = CutProtection::default();
    let mut encryption = SampleEncryption::default();
    let mut sample_auxiliary = |index: u32, bytes: &[u8]| {
        if range.contains(&index) {
            encryption.entries.extend_from_slice(bytes);
            encryption.sizes.push(bytes.len() as u8);
        }
    };
    if let Some(senc) = protection.senc {
        let mut fields = senc.fields();
        let (_, flags) = fields.version_and_flags()?;
        let has_subsamples = flags & 2 != 0;
        let listed = fields.u32()?;
        for index in 0..listed.min(count) {
            let start = fields;
            fields.skip(iv_sizes[index as usize].into()).map_err(|e| e.within("senc"))?;
            if has_subsamples {
                let subsamples = fields.u16().map_err(|e| e.within("senc"))?;
                fields.skip(usize::from(subsamples) * 6).map_err(|e| e.within("senc"))?;
            }
            let length = start.remaining() - fields.remaining();
            if length > 255 {
                return Err(Malformed::new(format!("{length} bytes for one sample"), senc.offset).within("senc"));
            }
            sample_auxiliary(index, &start.rest()[..length]);
        }
        encryption.has_subsamples = has_subsamples;
    } else if let (Some(saiz), Some(mut rest)) = (protection.saiz, auxiliary) {
        let sizes = read_sizes(saiz)?;
        let has_subsamples = sizes.iter().zip(&iv_sizes).any(|(size, iv_size)| size > iv_size);
        for (index, (&size, &iv_size)) in sizes.iter().zip(&iv_sizes).enumerate() {
            let Some((bytes, after)) = rest.split_at_checked(size.into()) else {
                return Err(Malformed::new("auxiliary information ends early", saiz.offset).within("saiz"));
            };
            rest = after;
            if has_subsamples && size <= iv_size {
                // In a senc all samples have a subsample_count, or none has (ISO/IEC 23001-7 §7.2).
                sample_auxiliary(index as u32, &[bytes, &[0, 0]].concat());
            } else {
                sample_auxiliary(index as u32, bytes);
            }
        }
        encryption.has_subsamples = has_subsamples;
    }
    if !encryption.entries.is_empty() {
        cut.encryption = Some(encryption);
    }
    let of_keys = [protection.sgpd, protection.sbgp].into_iter().flatten();
    for group in of_keys.chain(protection.other_groups.iter().copied()) {
        match &group.kind.0 {
            b"sbgp" => groups::write_cut(&mut cut.groups, group, range.clone()).map_err(|e| e.within("sbgp"))?,
            // Groups may be described in the moov instead, which the initialization segment keeps.
            _ => cut.groups.extend_from_slice(group.bytes()),
        }
    }
    Ok(cut)
}
