//! Languages: the packed code of `mdhd` (ISO/IEC 14496-12 §8.4.2, ISO 639-2) as a BCP 47 tag.
//!
//! ```text
//!   pad:1 c0:5 c1:5 c2:5       each the letter minus 0x60
//! ```

/// The shortest BCP 47 tag for a packed ISO 639-2 code: two letters where ISO 639-1 has them (RFC 5646 §2.2.1), else the
/// three of the code. `None` for `und` (nothing is known) and for what is not three letters (0, 0x7fff, Macintosh codes).
pub fn bcp47(packed: u16) -> Option<String> {
    let letter = |shift: u16| match (packed >> shift & 0x1f) as u8 {
        n @ 1..=26 => Some(n + 0x60),
        _ => None,
    };
    let code = [letter(10)?, letter(5)?, letter(0)?];
    if packed >> 15 != 0 || code == *b"und" {
        return None;
    }
    Some(match ISO_639_1.binary_search_by_key(&code, |&(three, _)| three) {
        Ok(at) => ISO_639_1[at].1.to_owned(),
        Err(_) => code.iter().map(|&b| char::from(b)).collect(),
    })
}

/// Whether `tag` has the shape of a BCP 47 tag (RFC 5646 §2.1).
pub fn is_tag(tag: &str) -> bool {
    let mut subtags = tag.split('-');
    let primary = subtags.next().unwrap_or("");
    (2..=8).contains(&primary.len())
        && primary.bytes().all(|b| b.is_ascii_alphabetic())
        && subtags.all(|s| (1..=8).contains(&s.len()) && s.bytes().all(|b| b.is_ascii_alphanumeric()))
}

/// The shortest form of a tag: two letters for its language where ISO 639-1 has them.
pub fn shortest(tag: &str) -> String {
    let (primary, rest) = tag.split_at(tag.find('-').unwrap_or(tag.len()));
    let short = packed(primary).filter(|_| primary.len() == 3).and_then(bcp47);
    format!("{}{rest}", short.unwrap_or_else(|| primary.to_ascii_lowercase()))
}

/// `und`, packed: nothing is known.
pub const UNDETERMINED: u16 = 0x55c4;

/// The packed code of the language of a BCP 47 tag, for `mdhd`: the terminology code where there are two; `None` if it has none.
pub fn packed(tag: &str) -> Option<u16> {
    let primary = tag.split(['-', '_']).next()?.to_ascii_lowercase();
    let code = match primary.len() {
        2 => {
            let mut codes = ISO_639_1.iter().filter(|(_, two)| *two == primary).map(|(three, _)| *three);
            codes.find(|three| !NOT_TERMINOLOGY.contains(&three))?
        }
        3 => primary.as_bytes().try_into().ok()?,
        _ => return None,
    };
    let letters = code.iter().all(u8::is_ascii_lowercase);
    letters.then(|| code.iter().fold(0, |packed, &b| packed << 5 | u16::from(b - 0x60)))
}

/// The bibliographic code of ISO 639-2 of a tag's language, in which CEA captions are said: `ger` where the terminology says `deu`.
pub fn bibliographic(tag: &str) -> Option<String> {
    let terminology = bcp47(packed(tag)?);
    let known = terminology.as_ref().and_then(|two| {
        let own = ISO_639_1.iter().filter(|(_, other)| other == two).map(|(three, _)| *three);
        let is_terminology = |three: &[u8; 3]| !NOT_TERMINOLOGY.contains(&three);
        own.clone()
            .find(|three| NOT_TERMINOLOGY[..BIBLIOGRAPHIC].contains(&three))
            .or_else(|| own.clone().find(is_terminology))
    });
    match known {
        Some(code) => Some(code.iter().map(|&b| char::from(b)).collect()),
        None => terminology,
    }
}

/// So many of the codes of [`NOT_TERMINOLOGY`] are bibliographic.
const BIBLIOGRAPHIC: usize = 20;

/// The bibliographic and withdrawn codes of the table.
#[rustfmt::skip]
const NOT_TERMINOLOGY: [&[u8; 3]; 23] = [
    b"alb", b"arm", b"baq", b"bur", b"chi", b"cze", b"dut", b"fre", b"geo", b"ger", b"gre", b"ice", b"mac", b"mao", b"may",
    b"per", b"rum", b"slo", b"tib", b"wel", b"scc", b"scr", b"mol",
];

/// Every ISO 639-2 code whose language has one of ISO 639-1: terminology codes, the twenty bibliographic ones (`ger` beside
/// `deu`), and three withdrawn ones that old files carry (`scc`, `scr`, `mol`). Sorted.
#[rustfmt::skip]
const ISO_639_1: [([u8; 3], &str); 207] = [
    (*b"aar", "aa"), (*b"abk", "ab"), (*b"afr", "af"), (*b"aka", "ak"), (*b"alb", "sq"), (*b"amh", "am"),
    (*b"ara", "ar"), (*b"arg", "an"), (*b"arm", "hy"), (*b"asm", "as"), (*b"ava", "av"), (*b"ave", "ae"),
    (*b"aym", "ay"), (*b"aze", "az"), (*b"bak", "ba"), (*b"bam", "bm"), (*b"baq", "eu"), (*b"bel", "be"),
    (*b"ben", "bn"), (*b"bih", "bh"), (*b"bis", "bi"), (*b"bod", "bo"), (*b"bos", "bs"), (*b"bre", "br"),
    (*b"bul", "bg"), (*b"bur", "my"), (*b"cat", "ca"), (*b"ces", "cs"), (*b"cha", "ch"), (*b"che", "ce"),
    (*b"chi", "zh"), (*b"chu", "cu"), (*b"chv", "cv"), (*b"cor", "kw"), (*b"cos", "co"), (*b"cre", "cr"),
    (*b"cym", "cy"), (*b"cze", "cs"), (*b"dan", "da"), (*b"deu", "de"), (*b"div", "dv"), (*b"dut", "nl"),
    (*b"dzo", "dz"), (*b"ell", "el"), (*b"eng", "en"), (*b"epo", "eo"), (*b"est", "et"), (*b"eus", "eu"),
    (*b"ewe", "ee"), (*b"fao", "fo"), (*b"fas", "fa"), (*b"fij", "fj"), (*b"fin", "fi"), (*b"fra", "fr"),
    (*b"fre", "fr"), (*b"fry", "fy"), (*b"ful", "ff"), (*b"geo", "ka"), (*b"ger", "de"), (*b"gla", "gd"),
    (*b"gle", "ga"), (*b"glg", "gl"), (*b"glv", "gv"), (*b"gre", "el"), (*b"grn", "gn"), (*b"guj", "gu"),
    (*b"hat", "ht"), (*b"hau", "ha"), (*b"heb", "he"), (*b"her", "hz"), (*b"hin", "hi"), (*b"hmo", "ho"),
    (*b"hrv", "hr"), (*b"hun", "hu"), (*b"hye", "hy"), (*b"ibo", "ig"), (*b"ice", "is"), (*b"ido", "io"),
    (*b"iii", "ii"), (*b"iku", "iu"), (*b"ile", "ie"), (*b"ina", "ia"), (*b"ind", "id"), (*b"ipk", "ik"),
    (*b"isl", "is"), (*b"ita", "it"), (*b"jav", "jv"), (*b"jpn", "ja"), (*b"kal", "kl"), (*b"kan", "kn"),
    (*b"kas", "ks"), (*b"kat", "ka"), (*b"kau", "kr"), (*b"kaz", "kk"), (*b"khm", "km"), (*b"kik", "ki"),
    (*b"kin", "rw"), (*b"kir", "ky"), (*b"kom", "kv"), (*b"kon", "kg"), (*b"kor", "ko"), (*b"kua", "kj"),
    (*b"kur", "ku"), (*b"lao", "lo"), (*b"lat", "la"), (*b"lav", "lv"), (*b"lim", "li"), (*b"lin", "ln"),
    (*b"lit", "lt"), (*b"ltz", "lb"), (*b"lub", "lu"), (*b"lug", "lg"), (*b"mac", "mk"), (*b"mah", "mh"),
    (*b"mal", "ml"), (*b"mao", "mi"), (*b"mar", "mr"), (*b"may", "ms"), (*b"mkd", "mk"), (*b"mlg", "mg"),
    (*b"mlt", "mt"), (*b"mol", "ro"), (*b"mon", "mn"), (*b"mri", "mi"), (*b"msa", "ms"), (*b"mya", "my"),
    (*b"nau", "na"), (*b"nav", "nv"), (*b"nbl", "nr"), (*b"nde", "nd"), (*b"ndo", "ng"), (*b"nep", "ne"),
    (*b"nld", "nl"), (*b"nno", "nn"), (*b"nob", "nb"), (*b"nor", "no"), (*b"nya", "ny"), (*b"oci", "oc"),
    (*b"oji", "oj"), (*b"ori", "or"), (*b"orm", "om"), (*b"oss", "os"), (*b"pan", "pa"), (*b"per", "fa"),
    (*b"pli", "pi"), (*b"pol", "pl"), (*b"por", "pt"), (*b"pus", "ps"), (*b"que", "qu"), (*b"roh", "rm"),
    (*b"ron", "ro"), (*b"rum", "ro"), (*b"run", "rn"), (*b"rus", "ru"), (*b"sag", "sg"), (*b"san", "sa"),
    (*b"scc", "sr"), (*b"scr", "hr"), (*b"sin", "si"), (*b"slk", "sk"), (*b"slo", "sk"), (*b"slv", "sl"),
    (*b"sme", "se"), (*b"smo", "sm"), (*b"sna", "sn"), (*b"snd", "sd"), (*b"som", "so"), (*b"sot", "st"),
    (*b"spa", "es"), (*b"sqi", "sq"), (*b"srd", "sc"), (*b"srp", "sr"), (*b"ssw", "ss"), (*b"sun", "su"),
    (*b"swa", "sw"), (*b"swe", "sv"), (*b"tah", "ty"), (*b"tam", "ta"), (*b"tat", "tt"), (*b"tel", "te"),
    (*b"tgk", "tg"), (*b"tgl", "tl"), (*b"tha", "th"), (*b"tib", "bo"), (*b"tir", "ti"), (*b"ton", "to"),
    (*b"tsn", "tn"), (*b"tso", "ts"), (*b"tuk", "tk"), (*b"tur", "tr"), (*b"twi", "tw"), (*b"uig", "ug"),
    (*b"ukr", "uk"), (*b"urd", "ur"), (*b"uzb", "uz"), (*b"ven", "ve"), (*b"vie", "vi"), (*b"vol", "vo"),
    (*b"wel", "cy"), (*b"wln", "wa"), (*b"wol", "wo"), (*b"xho", "xh"), (*b"yid", "yi"), (*b"yor", "yo"),
    (*b"zha", "za"), (*b"zho", "zh"), (*b"zul", "zu"),
];

/// What the language of a BCP 47 tag calls itself, for the commonest; else the tag.
pub fn name(tag: &str) -> String {
    let (language, rest) = tag.split_once('-').map_or((tag, None), |(language, rest)| (language, Some(rest)));
    let name = match language {
        "ar" => "العربية",
        "cs" => "Čeština",
        "da" => "Dansk",
        "de" => "Deutsch",
        "el" => "Ελληνικά",
        "en" => "English",
        "es" => "Español",
        "fi" => "Suomi",
        "fr" => "Français",
        "he" => "עברית",
        "hi" => "हिन्दी",
        "hu" => "Magyar",
        "it" => "Italiano",
        "ja" => "日本語",
        "ko" => "한국어",
        "nl" => "Nederlands",
        "no" | "nb" => "Norsk",
        "pl" => "Polski",
        "pt" => "Português",
        "ro" => "Română",
        "ru" => "Русский",
        "sv" => "Svenska",
        "tr" => "Türkçe",
        "uk" => "Українська",
        "zh" => "中文",
        _ => return tag.to_owned(),
    };
    rest.map_or_else(|| name.into(), |rest| format!("{name} ({rest})"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pack(code: &[u8; 3]) -> u16 {
        code.iter().fold(0, |packed, &b| packed << 5 | u16::from(b.wrapping_sub(0x60) & 0x1f))
    }

    #[test]
    fn bibliographic_codes() {
        let of = |tag: &str| bibliographic(tag).unwrap_or_default();
        assert_eq!(["de", "de-AT", "deu", "ger", "en", "gsw"].map(of), ["ger", "ger", "ger", "ger", "eng", "gsw"]);
        assert_eq!(["sr", "hr", "ro", "x-klingon", "und"].map(of), ["srp", "hrv", "rum", "", ""]);
    }

    #[test]
    fn the_table_is_sorted_and_every_row_is_found() {
        assert!(ISO_639_1.is_sorted_by(|a, b| a.0 < b.0));
        for (three, two) in ISO_639_1 {
            assert_eq!(bcp47(pack(&three)).as_deref(), Some(two));
        }
    }

    #[test]
    fn bibliographic_and_terminology_codes_say_the_same() {
        for (b, t, tag) in
            [(b"ger", b"deu", "de"), (b"fre", b"fra", "fr"), (b"chi", b"zho", "zh"), (b"dut", b"nld", "nl")]
        {
            assert_eq!((bcp47(pack(b)).as_deref(), bcp47(pack(t)).as_deref()), (Some(tag), Some(tag)));
        }
    }

    #[test]
    fn a_tag_is_packed_as_its_terminology_code() {
        for (three, two) in ISO_639_1 {
            let found = packed(two).expect("it has a code");
            assert_eq!(bcp47(found).as_deref(), Some(two));
            assert!(NOT_TERMINOLOGY.iter().all(|other| pack(other) != found), "{three:?}");
        }
        assert_eq!(
            (packed("de-AT"), packed("fil"), packed("und")),
            (Some(pack(b"deu")), Some(pack(b"fil")), Some(UNDETERMINED))
        );
        assert_eq!((packed("xx"), packed("english"), packed(""), packed("a1b")), (None, None, None, None));
    }

    #[test]
    fn tags_have_a_shape_and_a_shortest_form() {
        assert!(is_tag("zh-Hant-TW") && is_tag("fil") && !is_tag("english!") && !is_tag("e") && !is_tag("en-"));
        assert_eq!(
            [shortest("ger"), shortest("eng-US"), shortest("EN"), shortest("fil")],
            ["de", "en-US", "en", "fil"]
        );
    }

    #[test]
    fn a_language_without_two_letters_keeps_its_three() {
        assert_eq!(bcp47(pack(b"fil")).as_deref(), Some("fil"));
        assert_eq!(bcp47(pack(b"zxx")).as_deref(), Some("zxx"));
        assert_eq!(bcp47(pack(b"qaa")).as_deref(), Some("qaa"));
    }

    #[test]
    fn english_is_0x15c7_and_undetermined_0x55c4() {
        assert_eq!(bcp47(0x15c7).as_deref(), Some("en"));
        assert_eq!(bcp47(0x55c4), None);
    }

    #[test]
    fn what_is_no_language_is_none() {
        // "```" is what a zero field reads as; 0x7fff is QuickTime's "unspecified"; 0x8000 and up set the pad bit
        for packed in [0, 1, 0x7fff, 0xffff, pack(b"en\0"), pack(b"en{"), 0x95c7] {
            assert_eq!(bcp47(packed), None, "{packed:#06x}");
        }
    }
}
