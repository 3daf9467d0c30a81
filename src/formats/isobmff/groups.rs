//! Sample groups (ISO/IEC 14496-12 §8.9): which samples belong to which group, and what the `seig` groups of Common Encryption
//! (ISO/IEC 23001-7 §6) say of theirs.
//!
//! ```text
//!   sgpd, in stbl or traf   the groups of one type, described
//!   sbgp, in traf           runs of samples, each with the index of its group:
//!                             0 none; 1..=0x10000 those of stbl; from 0x10001 on those of the traf
//!   samples after the runs  the default group of sgpd version 2, or none
//! ```

use std::ops::Range;

use super::boxes::{BoxRef, write_box};
use crate::formats::error::Malformed;
use crate::formats::fields::Fields;

/// The most entries of a group box that are looked at.
const ENTRIES_MAX: u32 = 1 << 20;

/// The first index of a group that the `traf` itself describes (§8.9.4).
const LOCAL: u32 = 0x1_0001;

/// The grouping_type of an `sgpd` or `sbgp`, if the box has one.
pub fn grouping_type(group: BoxRef<'_>) -> Option<[u8; 4]> {
    group.payload().get(4..8)?.try_into().ok()
}

/// How the samples of a `seig` group are encrypted. Pattern and constant initialization vector are carried, not read: nothing
/// that is signalled or cut depends on them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyGroup {
    /// isProtected.
    pub is_protected: bool,
    /// Per_Sample_IV_Size in bytes: 0, 8 or 16.
    pub per_sample_iv_size: u8,
    /// KID.
    pub kid: [u8; 16],
}

/// The `seig` groups that one `sgpd` describes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct KeyGroups {
    groups: Vec<KeyGroup>,
    /// default_group_description_index; 0 for none.
    default_index: u32,
}

impl KeyGroups {
    /// Reads a `sgpd` of grouping type `seig`.
    ///
    /// Of version 2, editions of the standard disagree: those before 2020 give its entries no length. What fits the box holds.
    pub fn parse(sgpd: BoxRef<'_>) -> Result<KeyGroups, Malformed> {
        let (version, _) = sgpd.fields().version_and_flags()?;
        let read = KeyGroups::read(sgpd.fields(), version >= 1, version >= 2);
        if version < 2 || matches!(read, Ok((_, 0))) {
            return read.map(|(groups, _)| groups);
        }
        match KeyGroups::read(sgpd.fields(), false, true) {
            Ok((groups, 0)) => Ok(groups),
            _ => read.map(|(groups, _)| groups),
        }
    }

    /// The groups, and how many bytes follow them.
    fn read(mut fields: Fields<'_>, has_lengths: bool, has_default: bool) -> Result<(KeyGroups, usize), Malformed> {
        fields.skip(8)?;
        let default_length = if has_lengths { fields.u32()? } else { 0 };
        let default_index = if has_default { fields.u32()? } else { 0 };
        let count = fields.u32()?;
        let mut groups = Vec::new();
        for _ in 0..count.min(ENTRIES_MAX) {
            if !has_lengths {
                groups.push(KeyGroup::read(&mut fields)?);
                continue;
            }
            let length = if default_length == 0 { fields.u32()? } else { default_length };
            let at = fields.offset();
            groups.push(KeyGroup::read(&mut Fields::new(fields.take(length as usize)?, at))?);
        }
        Ok((KeyGroups { groups, default_index }, fields.remaining()))
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.groups.is_empty()
    }

    fn at(&self, index: u32) -> Option<&KeyGroup> {
        self.groups.get(index as usize)
    }
}

impl KeyGroup {
    fn read(fields: &mut Fields<'_>) -> Result<KeyGroup, Malformed> {
        fields.skip(2)?;
        let is_protected = fields.u8()? == 1;
        let per_sample_iv_size = fields.u8()?;
        let mut kid = [0; 16];
        kid.copy_from_slice(fields.take(16)?);
        if is_protected && per_sample_iv_size == 0 {
            let size = fields.u8()?;
            fields.skip(size.into())?;
        }
        Ok(KeyGroup { is_protected, per_sample_iv_size, kid })
    }
}

/// The group that samples mapped to `index` (`None`: to nothing) belong to, of those that the `traf` (`local`) and `stbl`
/// (`track`) describe.
pub fn key_group<'a>(index: Option<u32>, local: &'a KeyGroups, track: &'a KeyGroups) -> Option<&'a KeyGroup> {
    let default = if local.default_index == 0 { track.default_index } else { local.default_index };
    match index.unwrap_or(default) {
        0 => None,
        index if index < LOCAL => track.at(index - 1),
        index => local.at(index - LOCAL),
    }
}

/// Runs of samples, each with the index of its group.
pub type GroupRuns = Vec<(u32, u32)>;

/// The runs of an `sbgp`, as they are written.
pub fn runs(sbgp: BoxRef<'_>) -> Result<GroupRuns, Malformed> {
    let mut fields = sbgp.fields();
    let (version, _) = fields.version_and_flags()?;
    fields.skip(if version == 1 { 8 } else { 4 })?;
    let count = fields.u32()?;
    let mut runs = Vec::new();
    for _ in 0..count.min(ENTRIES_MAX) {
        runs.push((fields.u32()?, fields.u32()?));
    }
    Ok(runs)
}

/// `runs` over the first `count` samples, neighbours of one group joined; what no run maps is mapped to `None`.
pub fn mapped(runs: &[(u32, u32)], count: u32) -> Vec<(u32, Option<u32>)> {
    let mut mapped: Vec<(u32, Option<u32>)> = Vec::new();
    let mut left = count;
    for (length, index) in runs.iter().map(|&(length, index)| (length, Some(index))).chain([(u32::MAX, None)]) {
        let length = length.min(left);
        left -= length;
        match mapped.last_mut() {
            _ if length == 0 => {}
            Some((run, last)) if *last == index => *run += length,
            _ => mapped.push((length, index)),
        }
    }
    mapped
}

/// Appends `sbgp` with what it says of the samples in `range` alone; nothing if that is nothing.
pub fn write_cut(out: &mut Vec<u8>, sbgp: BoxRef<'_>, range: Range<u32>) -> Result<(), Malformed> {
    let mut cut = Vec::new();
    let mut start = 0u32;
    for (length, index) in runs(sbgp)? {
        let end = start.saturating_add(length);
        let length = end.min(range.end).saturating_sub(start.max(range.start));
        start = end;
        match cut.last_mut() {
            _ if length == 0 => {}
            Some((run, last)) if *last == index => *run += length,
            _ => cut.push((length, index)),
        }
    }
    if cut.is_empty() {
        return Ok(());
    }
    // version, flags, grouping_type, and in version 1 grouping_type_parameter.
    let head = if sbgp.payload().first() == Some(&1) { 12 } else { 8 };
    write_box(out, b"sbgp", |out| {
        out.extend_from_slice(&sbgp.payload()[..head]);
        out.extend_from_slice(&(cut.len() as u32).to_be_bytes());
        for (length, index) in cut {
            out.extend_from_slice(&length.to_be_bytes());
            out.extend_from_slice(&index.to_be_bytes());
        }
    });
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::boxes::{Boxes, write_full_box};
    use super::*;
    use proptest::prelude::*;

    fn put(out: &mut Vec<u8>, values: &[u32]) {
        values.iter().for_each(|value| out.extend_from_slice(&value.to_be_bytes()));
    }

    fn only(bytes: &[u8]) -> BoxRef<'_> {
        Boxes::new(bytes, 0).next().expect("one").expect("well formed")
    }

    fn described(version: u8, head: &[u32], entries: &[Vec<u8>]) -> Vec<u8> {
        let mut out = Vec::new();
        write_full_box(&mut out, b"sgpd", version, 0, |out| {
            out.extend_from_slice(b"seig");
            put(out, head);
            put(out, &[entries.len() as u32]);
            entries.iter().for_each(|entry| out.extend_from_slice(entry));
        });
        out
    }

    fn entry(is_protected: u8, iv: u8, kid: u8, constant: &[u8]) -> Vec<u8> {
        let mut entry = vec![0, 0x19, is_protected, iv];
        entry.extend([kid; 16]);
        if is_protected == 1 && iv == 0 {
            entry.push(constant.len() as u8);
            entry.extend_from_slice(constant);
        }
        entry
    }

    #[test]
    fn descriptions_of_every_version() {
        let entries = [entry(1, 0, 1, &[9; 16]), entry(1, 8, 2, &[]), entry(0, 0, 3, &[])];
        let lengthed = entries.clone().map(|entry| [&(entry.len() as u32).to_be_bytes()[..], &entry].concat());
        for (bytes, default_index) in [
            (described(0, &[], &entries), 0),
            (described(1, &[0], &lengthed), 0),
            (described(2, &[0, 2], &lengthed), 2),
            (described(2, &[2], &entries), 2),
        ] {
            let groups = KeyGroups::parse(only(&bytes)).expect("well formed");
            assert_eq!(groups.default_index, default_index);
            let read: Vec<_> = groups.groups.iter().map(|g| (g.is_protected, g.per_sample_iv_size, g.kid[0])).collect();
            assert_eq!(read, [(true, 0, 1), (true, 8, 2), (false, 0, 3)]);
        }
        let short = described(1, &[19], &[vec![0; 19]]);
        assert!(KeyGroups::parse(only(&short)).is_err());
        let claimed = described(0, &[], &[]);
        let claimed = [&claimed[..claimed.len() - 4], &[0xff; 4]].concat();
        assert!(KeyGroups::parse(only(&claimed)).is_err());
    }

    #[test]
    fn indices_tell_the_groups_of_the_track_from_those_of_the_fragment() {
        let groups = |kids: &[u8], default_index| KeyGroups {
            groups: kids
                .iter()
                .map(|&kid| KeyGroup { is_protected: true, per_sample_iv_size: 8, kid: [kid; 16] })
                .collect(),
            default_index,
        };
        let (local, track) = (groups(&[10, 11], 0), groups(&[1, 2], 2));
        let kid = |index| key_group(index, &local, &track).map(|group| group.kid[0]);
        assert_eq!([Some(0), Some(1), Some(2), Some(3)].map(kid), [None, Some(1), Some(2), None]);
        assert_eq!([Some(0x10001), Some(0x10002), Some(0x10003)].map(kid), [Some(10), Some(11), None]);
        assert_eq!(kid(None), Some(2), "the default of stbl");
        let local = groups(&[10], 0x10001);
        assert_eq!(key_group(None, &local, &track).map(|group| group.kid[0]), Some(10), "that of the fragment first");
        assert_eq!(key_group(None, &KeyGroups::default(), &groups(&[1], 0)), None);
    }

    proptest! {
        #[test]
        fn what_is_cut_maps_each_sample_as_before(
            runs in prop::collection::vec((0u32..5, 0u32..3), 0..8),
            version in 0u8..2,
            start in 0u32..20,
            len in 0u32..20,
        ) {
            let mut bytes = Vec::new();
            write_full_box(&mut bytes, b"sbgp", version, 0, |out| {
                out.extend_from_slice(b"roll");
                put(out, &vec![7; version.into()]);
                put(out, &[runs.len() as u32]);
                runs.iter().for_each(|&(length, index)| put(out, &[length, index]));
            });
            let each = |runs: &[(u32, u32)], count| -> Vec<Option<u32>> {
                mapped(runs, count).iter().flat_map(|&(n, index)| std::iter::repeat_n(index, n as usize)).collect()
            };
            let whole = each(&super::runs(only(&bytes)).expect("well formed"), start + len);
            let mut out = Vec::new();
            write_cut(&mut out, only(&bytes), start..start + len).expect("well formed");
            let cut = if out.is_empty() {
                Vec::new()
            } else {
                prop_assert_eq!(&out[8..16 + 4 * usize::from(version)], &bytes[8..16 + 4 * usize::from(version)]);
                super::runs(only(&out)).expect("well formed")
            };
            prop_assert_eq!(each(&cut, len), &whole[start as usize..]);
        }
    }
}
