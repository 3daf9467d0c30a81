//! Common Encryption in fragments (ISO/IEC 23001-7): sample groups of keys, and auxiliary information taken apart and put
//! together again when a fragment is cut.

use std::ops::Range;

use super::boxes::{BoxRef, write_full_box};
use super::fragment::{FragmentProtection, SampleEncryption};
use super::sample_entry::Protection;
use crate::formats::error::Malformed;

/// The most entries of a group box that are looked at.
const GROUPS_MAX: u32 = 1 << 20;

/// A `seig` group: how its samples are encrypted (§6).
#[derive(Clone, Debug, PartialEq, Eq)]
struct Group {
    is_protected: bool,
    per_sample_iv_size: u8,
    kid: [u8; 16],
}

/// Runs of samples and the KIDs their groups name (`None`: the track's default). Empty if the fragment has no groups.
pub fn sample_kids(protection: &FragmentProtection<'_>, samples: u32) -> Vec<(u32, Option<[u8; 16]>)> {
    let Some(sbgp) = protection.sbgp else { return Vec::new() };
    let groups = protection.sgpd.map(read_groups).and_then(Result::ok).unwrap_or_default();
    let Ok(runs) = read_runs(sbgp) else { return Vec::new() };
    let mut kids = Vec::new();
    let mut left = samples;
    for (count, index) in runs {
        let count = count.min(left);
        left -= count;
        if count > 0 {
            kids.push((count, group_at(&groups, index).filter(|group| group.is_protected).map(|group| group.kid)));
        }
    }
    if left > 0 {
        kids.push((left, None));
    }
    kids
}

/// Groups of this fragment are numbered from 0x10001 (ISO/IEC 14496-12 §8.9.4).
fn group_at(groups: &[Group], index: u32) -> Option<&Group> {
    groups.get(index.checked_sub(0x1_0001)? as usize)
}

fn read_groups(sgpd: BoxRef<'_>) -> Result<Vec<Group>, Malformed> {
    let mut fields = sgpd.fields();
    let (version, _) = fields.version_and_flags()?;
    fields.skip(4)?;
    let length = if version >= 1 { fields.u32()? } else { 20 };
    if version >= 2 {
        fields.skip(4)?;
    }
    let count = fields.u32()?;
    let mut groups = Vec::new();
    for _ in 0..count.min(GROUPS_MAX) {
        let length = if length == 0 { fields.u32()? } else { length };
        let mut entry = crate::formats::fields::Fields::new(fields.take(length as usize)?, 0);
        entry.skip(2)?;
        let is_protected = entry.u8()? == 1;
        let per_sample_iv_size = entry.u8()?;
        let mut kid = [0; 16];
        kid.copy_from_slice(entry.take(16)?);
        groups.push(Group { is_protected, per_sample_iv_size, kid });
    }
    Ok(groups)
}

fn read_runs(sbgp: BoxRef<'_>) -> Result<Vec<(u32, u32)>, Malformed> {
    let mut fields = sbgp.fields();
    let (version, _) = fields.version_and_flags()?;
    fields.skip(if version == 1 { 8 } else { 4 })?;
    let count = fields.u32()?;
    let mut runs = Vec::new();
    for _ in 0..count.min(GROUPS_MAX) {
        runs.push((fields.u32()?, fields.u32()?));
    }
    Ok(runs)
}

/// Where the auxiliary information of a fragment's samples lies, if not in a `senc`: a range of the file, from `saio` and
/// `saiz`, whose offsets count from `base`.
pub fn auxiliary_range(protection: &FragmentProtection<'_>, base: u64) -> Result<Option<Range<u64>>, Malformed> {
    let (None, Some(saiz), Some(saio)) = (protection.senc, protection.saiz, protection.saio) else { return Ok(None) };
    let total: u64 = read_sizes(saiz)?.iter().map(|&size| u64::from(size)).sum();
    let mut fields = saio.fields();
    let (version, flags) = fields.version_and_flags()?;
    if flags & 1 != 0 {
        fields.skip(8)?;
    }
    let count = fields.u32()?;
    if count != 1 {
        return Err(
            Malformed::new(format!("{count} offsets, of several runs: one is read"), saio.offset).within("saio")
        );
    }
    let start = base.saturating_add(fields.u32_or_u64(version == 1)?);
    Ok(Some(start..start.saturating_add(total)))
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
    if count > GROUPS_MAX {
        return Err(
            Malformed::new(format!("{count} samples, at most {GROUPS_MAX} are read"), saiz.offset).within("saiz")
        );
    }
    Ok(vec![default; count as usize])
}

/// Bytes that the boxes of `protection` take in a new fragment of all its `samples`: `senc`, `saiz`, `saio`, `sgpd`, `sbgp`.
pub fn weight(protection: &FragmentProtection<'_>, samples: u32) -> usize {
    let auxiliary = match (protection.senc, protection.saiz) {
        (Some(senc), _) => senc.payload().len().saturating_sub(8),
        (None, Some(saiz)) => read_sizes(saiz).map_or(0, |sizes| sizes.iter().map(|&size| usize::from(size)).sum()),
        (None, None) => 0,
    };
    let groups = [protection.sgpd, protection.sbgp].into_iter().flatten().map(|b| b.bytes().len()).sum::<usize>();
    // senc 16, saiz 17 and a byte a sample, saio 20.
    if auxiliary == 0 { groups } else { auxiliary + 16 + 17 + samples as usize + 20 + groups }
}

/// What is kept of a fragment's protection for some of its samples.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CutProtection {
    /// For the `senc`; `None` if the samples carry no information of their own (constant IV, whole samples).
    pub encryption: Option<SampleEncryption>,
    /// `sgpd` and `sbgp`, whole.
    pub groups: Vec<u8>,
    /// `pssh` boxes of the `moof`, whole.
    pub pssh: Vec<Vec<u8>>,
}

/// The protection of the samples `range` (counted within the fragment, which has `count`) of a fragment. `auxiliary` holds
/// the bytes of [`auxiliary_range`].
pub fn cut(
    protection: &FragmentProtection<'_>,
    default: &Protection,
    auxiliary: Option<&[u8]>,
    range: Range<u32>,
    count: u32,
) -> Result<CutProtection, Malformed> {
    let groups = protection.sgpd.map(read_groups).transpose().map_err(|e| e.within("sgpd"))?.unwrap_or_default();
    let runs = protection.sbgp.map(read_runs).transpose().map_err(|e| e.within("sbgp"))?.unwrap_or_default();
    let mut group_of: Vec<u32> = Vec::new();
    for (run, index) in runs {
        group_of.extend(std::iter::repeat_n(index, (run as usize).min(count as usize - group_of.len())));
    }
    group_of.resize(count as usize, 0);
    let iv_size = |sample: u32| match group_at(&groups, group_of[sample as usize]) {
        Some(group) if !group.is_protected => 0,
        Some(group) => group.per_sample_iv_size,
        None => default.per_sample_iv_size,
    };
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
            fields.skip(iv_size(index).into()).map_err(|e| e.within("senc"))?;
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
        for (index, size) in read_sizes(saiz)?.into_iter().take(count as usize).enumerate() {
            let Some((bytes, after)) = rest.split_at_checked(size.into()) else {
                return Err(Malformed::new("auxiliary information ends early", saiz.offset).within("saiz"));
            };
            rest = after;
            encryption.has_subsamples |= size > iv_size(index as u32);
            sample_auxiliary(index as u32, bytes);
        }
    }
    if !encryption.entries.is_empty() {
        cut.encryption = Some(encryption);
    }
    if let Some(sgpd) = protection.sgpd {
        cut.groups.extend_from_slice(sgpd.bytes());
    }
    // Groups may be described in the moov instead, which the initialization segment keeps.
    if protection.sbgp.is_some() {
        let mut runs: Vec<(u32, u32)> = Vec::new();
        for &index in &group_of[range.start as usize..range.end as usize] {
            match runs.last_mut() {
                Some((count, last)) if *last == index => *count += 1,
                _ => runs.push((1, index)),
            }
        }
        write_full_box(&mut cut.groups, b"sbgp", 0, 0, |out| {
            out.extend_from_slice(b"seig");
            out.extend_from_slice(&(runs.len() as u32).to_be_bytes());
            for (count, index) in runs {
                out.extend_from_slice(&count.to_be_bytes());
                out.extend_from_slice(&index.to_be_bytes());
            }
        });
    }
    Ok(cut)
}
