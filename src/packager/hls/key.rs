//! EXT-X-KEY of samples under Common Encryption (rfc8216bis §4.4.4.4; fMP4: `cbcs` is SAMPLE-AES, `cenc` SAMPLE-AES-CTR).

use crate::formats::fields::Fields;
use crate::media::track::{Pssh, Track};
use crate::packager::hls::{NoHls, Options};
use crate::packager::push;

const WIDEVINE: [u8; 16] = *b"\xed\xef\x8b\xa9\x79\xd6\x4a\xce\xa3\xc8\x27\xdc\xd5\x1d\x21\xed";
const PLAYREADY: [u8; 16] = *b"\x9a\x04\xf0\x79\x98\x40\x42\x86\xab\x92\xe6\x5b\xe0\x88\x5f\x95";

/// The most bytes of `pssh` boxes that are gone through for the keys of a track, of which playlists repeat the best: as much as a day of
/// a key every ten seconds takes, some times over.
const PSSH_BYTES_MAX: usize = 64 << 20;

/// The keys of a track and how their tags are written.
#[derive(Debug)]
pub(crate) struct Keys<'a> {
    method: &'static str,
    key_uri: Option<&'a str>,
    /// By segment; the first is that of segment 0.
    changes: Vec<Change<'a>>,
    /// Whether any of them is told to Widevine or PlayReady.
    has_systems: bool,
}

#[derive(Debug)]
struct Change<'a> {
    segment: usize,
    kid: &'a [u8; 16],
    widevine: Option<&'a Pssh>,
    /// The PlayReady object: what a `pssh` box of that system holds.
    playready: Option<&'a [u8]>,
}

impl<'a> Keys<'a> {
    /// The keys of `track`; `None` if it is in the clear, an error if a key of it could not be written.
    pub(crate) fn of(track: &'a Track, options: &'a Options) -> Result<Option<Keys<'a>>, NoHls> {
        let Some(protection) = &track.entry.protection else { return Ok(None) };
        let method = match &protection.scheme.0 {
            b"cbcs" | b"cbc1" => "SAMPLE-AES",
            b"cenc" | b"cens" => "SAMPLE-AES-CTR",
            _ => return Err(NoHls::Scheme { track: track.name.clone(), scheme: protection.scheme }),
        };
        if !protection.is_protected && track.keys.is_empty() {
            return Ok(None);
        }
        if options.is_live && !track.keys.is_empty() {
            return Err(NoHls::Rotates { track: track.name.clone() });
        }
        // A clip may begin behind the first samples that are known of it, and end before the last.
        let played = track.segments.first().map_or(0, |segment| segment.first_sample)..track.played_end();
        let before = track.keys.partition_point(|key| key.first_sample <= played.start);
        let begins_with_default = before == 0;
        let keys = track.keys[before.saturating_sub(1)..].iter().take_while(|key| key.first_sample < played.end);
        let keys = keys.map(|key| (key.first_sample.max(played.start), &key.kid, &key.pssh[..]));
        let default = (played.start, &protection.default_kid, &[][..]);
        let mut changes = Vec::with_capacity(track.keys.len() + 1);
        let mut bytes = 0;
        for (first_sample, kid, fragment_pssh) in begins_with_default.then_some(default).into_iter().chain(keys) {
            if changes.last().is_some_and(|last: &Change<'_>| last.kid == kid) {
                continue;
            }
            let before = track.segments.partition_point(|segment| segment.first_sample <= first_sample);
            // What is live has no samples here, and one key.
            let segment = before.saturating_sub(1);
            if let Some(holds) = track.segments.get(segment).filter(|holds| holds.first_sample != first_sample) {
                return Err(NoHls::KeyInside { track: track.name.clone(), segment: holds.time });
            }
            bytes += fragment_pssh.iter().chain(&track.pssh).map(|pssh| pssh.bytes.len()).sum::<usize>();
            if bytes > PSSH_BYTES_MAX {
                return Err(NoHls::KeysTooLong { track: track.name.clone() });
            }
            let of_system = |system: &[u8; 16]| {
                best_pssh(fragment_pssh, system, kid).or_else(|| best_pssh(&track.pssh, system, kid))
            };
            let (widevine, playready) = (of_system(&WIDEVINE), of_system(&PLAYREADY).and_then(pssh_data));
            if options.key_uri.is_none() && widevine.is_none() && playready.is_none() {
                return Err(NoHls::NoKey { track: track.name.clone() });
            }
            changes.push(Change { segment, kid, widevine, playready });
        }
        let has_systems = changes.iter().any(|change| change.widevine.is_some() || change.playready.is_some());
        Ok(Some(Keys { method, key_uri: options.key_uri.as_deref(), changes, has_systems }))
    }

    /// The segments from which on another key holds; the first is 0.
    pub(crate) fn segments(&self) -> impl Iterator<Item = usize> {
        self.changes.iter().map(|change| change.segment)
    }

    /// Appends the tags of the `index`th change: one a key format.
    pub(crate) fn write(&self, out: &mut Vec<u8>, index: usize) {
        let Change { kid, widevine, playready, .. } = &self.changes[index];
        if let Some(template) = self.key_uri {
            let uri = |out: &mut Vec<u8>| {
                let mut parts = template.split("{kid}");
                push_attribute(out, parts.next().unwrap_or_default());
                for part in parts {
                    push::hex(out, *kid);
                    push_attribute(out, part);
                }
            };
            if template.starts_with("skd:") {
                self.tag(out, uri, kid, "com.apple.streamingkeydelivery");
            } else {
                // hls.js 1.7.4 takes `identity` of SAMPLE-AES for that of MPEG-2 TS, asks no other system then, and waits for a key
                // for ever. So who has another system is not offered it. Without one, players other than hls.js need it.
                if !(self.method == "SAMPLE-AES" && self.has_systems) {
                    self.tag(out, uri, kid, "identity");
                }
                // Its name for the same key by way of EME.
                self.tag(out, uri, kid, "org.w3.clearkey");
            }
        }
        if let Some(pssh) = widevine {
            let uri = |out: &mut Vec<u8>| {
                out.extend_from_slice(b"data:text/plain;base64,");
                push::base64(out, &pssh.bytes);
            };
            self.tag(out, uri, kid, "urn:uuid:edef8ba9-79d6-4ace-a3c8-27dcd51d21ed");
        }
        if let Some(object) = playready {
            let uri = |out: &mut Vec<u8>| {
                out.extend_from_slice(b"data:text/plain;charset=UTF-16;base64,");
                push::base64(out, object);
            };
            self.tag(out, uri, kid, "com.microsoft.playready");
        }
    }

    /// No IV: that of every sample is in the media, and SAMPLE-AES-CTR forbids the attribute.
    fn tag(&self, out: &mut Vec<u8>, uri: impl Fn(&mut Vec<u8>), kid: &[u8; 16], format: &str) {
        for part in ["#EXT-X-KEY:METHOD=", self.method, ",URI=\""] {
            out.extend_from_slice(part.as_bytes());
        }
        uri(out);
        out.extend_from_slice(b"\",KEYID=0x");
        push::hex(out, kid);
        for part in [",KEYFORMAT=\"", format, "\",KEYFORMATVERSIONS=\"1\"\n"] {
            out.extend_from_slice(part.as_bytes());
        }
    }
}

/// Appends what may stand in a quoted-string (rfc8216bis §4.2): neither line ends nor quotes.
fn push_attribute(out: &mut Vec<u8>, text: &str) {
    out.extend(text.bytes().filter(|byte| !byte.is_ascii_control() && *byte != b'"'));
}

/// The box of `system` that names `kid` if one does, else the first: some systems keep key ids in their own data.
fn best_pssh<'a>(boxes: &'a [Pssh], system: &[u8; 16], kid: &[u8; 16]) -> Option<&'a Pssh> {
    let of_system = || boxes.iter().filter(|pssh| pssh.system_id == *system);
    let names = |pssh: &&Pssh| pssh.bytes.windows(16).any(|window| window == kid);
    of_system().find(names).or_else(|| of_system().next())
}

/// `Data` of a `pssh` box (ISO/IEC 23001-7 §8.1.2); `None` if the box is cut short.
fn pssh_data(pssh: &Pssh) -> Option<&[u8]> {
    let mut fields = Fields::new(pssh.bytes.get(8..)?, 8);
    let (version, _) = fields.version_and_flags().ok()?;
    fields.skip(16).ok()?;
    if version > 0 {
        let key_ids = fields.u32().ok()? as usize;
        fields.skip(key_ids.checked_mul(16)?).ok()?;
    }
    let size = fields.u32().ok()? as usize;
    fields.take(size).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::packager::fixture;

    fn written(track: &Track, key_uri: Option<&str>) -> Result<String, NoHls> {
        let options = Options { key_uri: key_uri.map(Into::into), ..Options::default() };
        let keys = Keys::of(track, &options)?.expect("encrypted");
        let mut out = Vec::new();
        for (index, segment) in keys.segments().enumerate() {
            out.extend_from_slice(format!("{segment}\n").as_bytes());
            keys.write(&mut out, index);
        }
        Ok(String::from_utf8(out).expect("text"))
    }

    #[test]
    fn a_template_and_the_boxes_of_the_media_are_all_written() {
        let track = fixture::video("v")
            .protected(b"cenc", [0xab; 16])
            .pssh(WIDEVINE, b"wv")
            .pssh(PLAYREADY, b"pro")
            .regular(2)
            .done();
        insta::assert_snapshot!(written(&track, Some("https://keys.example/{kid}?a")).expect("keys"), @r#"
        0
        #EXT-X-KEY:METHOD=SAMPLE-AES-CTR,URI="https://keys.example/abababababababababababababababab?a",KEYID=0xabababababababababababababababab,KEYFORMAT="identity",KEYFORMATVERSIONS="1"
        #EXT-X-KEY:METHOD=SAMPLE-AES-CTR,URI="https://keys.example/abababababababababababababababab?a",KEYID=0xabababababababababababababababab,KEYFORMAT="org.w3.clearkey",KEYFORMATVERSIONS="1"
        #EXT-X-KEY:METHOD=SAMPLE-AES-CTR,URI="data:text/plain;base64,AAAAInBzc2gAAAAA7e+LqXnWSs6jyCfc1R0h7QAAAAJ3dg==",KEYID=0xabababababababababababababababab,KEYFORMAT="urn:uuid:edef8ba9-79d6-4ace-a3c8-27dcd51d21ed",KEYFORMATVERSIONS="1"
        #EXT-X-KEY:METHOD=SAMPLE-AES-CTR,URI="data:text/plain;charset=UTF-16;base64,cHJv",KEYID=0xabababababababababababababababab,KEYFORMAT="com.microsoft.playready",KEYFORMATVERSIONS="1"
        "#);
    }

    #[test]
    fn a_large_pssh_and_many_changes_of_keys_made_a_playlist_of_gigabytes() {
        let track = |changes: u32| {
            let build = fixture::video("v").protected(b"cenc", [1; 16]).pssh(WIDEVINE, &[0; 60_000]).regular(2000);
            (1..changes).fold(build, |build, at| build.key(at, [1 + at as u8 % 2; 16])).done()
        };
        assert!(written(&track(10), None).is_ok());
        assert_eq!(written(&track(2000), None), Err(NoHls::KeysTooLong { track: "v".into() }));
        assert!(track(10).weight() > 60_000);
    }

    #[test]
    fn identity_made_hls_js_wait_for_ever_where_widevine_was_there() {
        let formats = |text: String| -> Vec<String> {
            let formats = text.lines().filter_map(|line| line.split_once("KEYFORMAT=\"")?.1.split_once('"'));
            formats.map(|(format, _)| format.to_owned()).collect()
        };
        let alone = fixture::video("v").protected(b"cbcs", [0xab; 16]).regular(2).done();
        let template = Some("https://keys.example/{kid}");
        assert_eq!(formats(written(&alone, template).expect("keys")), ["identity", "org.w3.clearkey"]);
        let track = fixture::video("v").protected(b"cbcs", [0xab; 16]).pssh(WIDEVINE, b"wv").regular(2).done();
        let widevine = "urn:uuid:edef8ba9-79d6-4ace-a3c8-27dcd51d21ed";
        assert_eq!(formats(written(&track, template).expect("keys")), ["org.w3.clearkey", widevine]);
    }

    #[test]
    fn keys_that_rotate() {
        let track = fixture::video("v")
            .protected(b"cbcs", [1; 16])
            .key(1, [2; 16])
            .key(2, [2; 16])
            .key(3, [1; 16])
            .regular(4)
            .done();
        insta::assert_snapshot!(written(&track, Some("skd://{kid}")).expect("keys"), @r#"
        0
        #EXT-X-KEY:METHOD=SAMPLE-AES,URI="skd://01010101010101010101010101010101",KEYID=0x01010101010101010101010101010101,KEYFORMAT="com.apple.streamingkeydelivery",KEYFORMATVERSIONS="1"
        1
        #EXT-X-KEY:METHOD=SAMPLE-AES,URI="skd://02020202020202020202020202020202",KEYID=0x02020202020202020202020202020202,KEYFORMAT="com.apple.streamingkeydelivery",KEYFORMATVERSIONS="1"
        3
        #EXT-X-KEY:METHOD=SAMPLE-AES,URI="skd://01010101010101010101010101010101",KEYID=0x01010101010101010101010101010101,KEYFORMAT="com.apple.streamingkeydelivery",KEYFORMATVERSIONS="1"
        "#);
    }

    #[test]
    fn a_key_that_changes_inside_a_segment_can_not_be_said() {
        let track = fixture::video("v").protected(b"cbcs", [1; 16]).key(2, [2; 16]);
        let track = track.cut(&[(9, 76_800)]).segment(&[(9, 51_200), (9, 25_600)]).done();
        let error = written(&track, Some("https://k/{kid}")).expect_err("no KEY holds for half a segment");
        assert_eq!(error, NoHls::KeyInside { track: "v".into(), segment: 76_800 });
        assert!(error.to_string().starts_with("track v: its key changes inside segment 76800, "), "{error}");
    }

    #[test]
    fn what_is_in_the_clear_throughout_needs_no_key() {
        let track = fixture::video("v").protected(b"cbcs", [0; 16]).regular(2);
        let clear = |track: &mut Track| track.entry.protection.as_mut().expect("there").is_protected = false;
        assert!(Keys::of(&track.with(clear).done(), &Options::default()).expect("no fault").is_none());
    }

    #[test]
    fn the_box_that_names_the_key_is_taken() {
        let (other, own) = ([&b"x"[..], &[7; 16]].concat(), [&b"y"[..], &[9; 16]].concat());
        let track = fixture::video("v")
            .protected(b"cenc", [9; 16])
            .pssh(WIDEVINE, &other)
            .pssh(WIDEVINE, &own)
            .regular(1)
            .done();
        let keys = Options::default();
        let keys = Keys::of(&track, &keys).expect("a key").expect("encrypted");
        assert_eq!(keys.changes[0].widevine, Some(&track.pssh[1]));
    }

    #[test]
    fn no_key_can_be_written() {
        let track = fixture::video("v").protected(b"cenc", [1; 16]).pssh([3; 16], b"another system").regular(1).done();
        assert_eq!(written(&track, None), Err(NoHls::NoKey { track: "v".into() }));
        let track = fixture::video("v").protected(b"piff", [1; 16]).regular(1).done();
        let error = written(&track, Some("https://k/")).expect_err("no METHOD");
        assert_eq!(error.to_string(), "track v: HLS has no METHOD for the protection scheme piff");
    }

    #[test]
    fn a_playready_box_cut_short_is_no_key() {
        let mut track = fixture::video("v").protected(b"cenc", [1; 16]).pssh(PLAYREADY, b"object").regular(1).done();
        track.pssh[0].bytes.truncate(30);
        assert_eq!(written(&track, None), Err(NoHls::NoKey { track: "v".into() }));
    }
}
