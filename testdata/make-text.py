#!/usr/bin/env python3
"""make-text.py wvtt|stpp LANGUAGE SECONDS OUT.mp4: a subtitle track in fragmented MP4 (ISO/IEC 14496-30), one fragment every 2 s.

The cues overlap (every third one reaches into the next) and cross the 2 s boundaries; there are moments without any.
wvtt: a sample for every span in which the set of cues does not change (a vttc each, with a vsid where a cue is cut; vtte where there is
none). stpp: one IMSC text document every sample of 2 s; its times count from the start of the track.
"""
import struct
import sys

TIMESCALE = 1000
FRAGMENT = 2 * TIMESCALE
SYNC = 0x02000000  # sample_depends_on = 2
WORDS = {"eng": "Cue {} from {} s to {} s", "deu": "Untertitel {} von {} s bis {} s – äöüß"}


def box(name, *parts):
    body = b"".join(parts)
    return struct.pack(">I4s", 8 + len(body), name) + body


def full(name, version, flags, *parts):
    return box(name, struct.pack(">I", version << 24 | flags), *parts)


def cues(language, seconds):
    """(start, end, number, text), times in milliseconds."""
    found, start, number = [], 500, 1
    while start < (seconds - 2) * 1000:
        end = start + (1700 if number % 3 else 3400)
        found.append((start, end, number, WORDS[language].format(number, start / 1000, end / 1000)))
        start, number = start + 2300, number + 1
    return found


def wvtt_samples(all_cues, first, last):
    edges = sorted({first, last} | {t for cue in all_cues for t in cue[:2] if first < t < last})
    for start, end in zip(edges, edges[1:]):
        shown = [cue for cue in all_cues if cue[0] < end and start < cue[1]]
        body = b"".join(
            box(b"vttc", box(b"vsid", struct.pack(">i", n)), box(b"iden", str(n).encode()), box(b"payl", text.encode())) for _, _, n, text in shown
        )
        yield end - start, body or box(b"vtte")


def clock(t):
    return f"{t // 3600000:02}:{t // 60000 % 60:02}:{t // 1000 % 60:02}.{t % 1000:03}"


def stpp_samples(all_cues, first, last, language):
    shown = "".join(
        f'<p region="bottom" begin="{clock(max(start, first))}" end="{clock(min(end, last))}"><span style="plain">{text}</span></p>'
        for start, end, _, text in all_cues
        if start < last and first < end
    )
    document = (
        '<?xml version="1.0" encoding="UTF-8"?>'
        '<tt xmlns="http://www.w3.org/ns/ttml" xmlns:tts="http://www.w3.org/ns/ttml#styling" xmlns:ttp="http://www.w3.org/ns/ttml#parameter"'
        f' ttp:timeBase="media" ttp:cellResolution="32 15" ttp:contentProfiles="http://www.w3.org/ns/ttml/profile/imsc1/text" xml:lang="{language[:2]}">'
        '<head><styling><style xml:id="plain" tts:color="white" tts:backgroundColor="black" tts:fontFamily="proportionalSansSerif"/></styling>'
        '<layout><region xml:id="bottom" tts:origin="10% 80%" tts:extent="80% 15%" tts:displayAlign="after" tts:textAlign="center"/></layout></head>'
        f"<body><div>{shown}</div></body></tt>"
    )
    yield last - first, document.encode()


def moov(kind, language):
    matrix = struct.pack(">9i", 0x10000, 0, 0, 0, 0x10000, 0, 0, 0, 0x40000000)
    code = 0
    for letter in language:
        code = code << 5 | ord(letter) - 0x60
    if kind == "wvtt":
        entry = box(b"wvtt", bytes(6), struct.pack(">H", 1), box(b"vttC", b"WEBVTT"))
        handler, header = b"text", full(b"nmhd", 0, 0)
    else:
        entry = box(b"stpp", bytes(6), struct.pack(">H", 1), b"http://www.w3.org/ns/ttml\0", b"\0", b"\0", box(b"mime", bytes(4), b"application/ttml+xml;codecs=im1t\0"))
        handler, header = b"subt", full(b"sthd", 0, 0)
    stbl = box(
        b"stbl",
        full(b"stsd", 0, 0, struct.pack(">I", 1), entry),
        full(b"stts", 0, 0, bytes(4)),
        full(b"stsc", 0, 0, bytes(4)),
        full(b"stsz", 0, 0, bytes(8)),
        full(b"stco", 0, 0, bytes(4)),
    )
    minf = box(b"minf", header, box(b"dinf", full(b"dref", 0, 0, struct.pack(">I", 1), full(b"url ", 0, 1))), stbl)
    mdia = box(
        b"mdia",
        full(b"mdhd", 0, 0, struct.pack(">IIIIHH", 0, 0, TIMESCALE, 0, code, 0)),
        full(b"hdlr", 0, 0, bytes(4), handler, bytes(12), b"Subtitles\0"),
        minf,
    )
    tkhd = full(b"tkhd", 0, 3, struct.pack(">IIIII", 0, 0, 1, 0, 0), bytes(8), struct.pack(">hhhH", 0, 0, 0, 0), matrix, struct.pack(">II", 0, 0))
    mvhd = full(b"mvhd", 0, 0, struct.pack(">IIII", 0, 0, 1000, 0), struct.pack(">IH", 0x10000, 0x100), bytes(10), matrix, bytes(24), struct.pack(">I", 2))
    trex = full(b"trex", 0, 0, struct.pack(">IIIII", 1, 1, 0, 0, SYNC))
    return box(b"moov", mvhd, box(b"trak", tkhd, mdia), box(b"mvex", trex))


def fragment(number, first, samples):
    def moof(data_offset):
        rows = b"".join(struct.pack(">II", duration, len(body)) for duration, body in samples)
        trun = full(b"trun", 0, 0x301, struct.pack(">Ii", len(samples), data_offset), rows)
        traf = box(b"traf", full(b"tfhd", 0, 0x020000, struct.pack(">I", 1)), full(b"tfdt", 1, 0, struct.pack(">Q", first)), trun)
        return box(b"moof", full(b"mfhd", 0, 0, struct.pack(">I", number)), traf)

    return moof(len(moof(0)) + 8) + box(b"mdat", *(body for _, body in samples))


def main():
    kind, language, seconds, out = sys.argv[1], sys.argv[2], int(sys.argv[3]), sys.argv[4]
    all_cues = cues(language, seconds)
    brands = b"iso6" + bytes(4) + b"iso6cmfc" + (b"cwvt" if kind == "wvtt" else b"im1t")
    parts = [box(b"ftyp", brands), moov(kind, language)]
    for number, first in enumerate(range(0, seconds * TIMESCALE, FRAGMENT), 1):
        cut = wvtt_samples(all_cues, first, first + FRAGMENT) if kind == "wvtt" else stpp_samples(all_cues, first, first + FRAGMENT, language)
        parts.append(fragment(number, first, list(cut)))
    with open(out, "wb") as file:
        file.write(b"".join(parts))


main()
