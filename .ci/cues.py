#!/usr/bin/env python3
"""cues.py SOURCE HLS: are the cues of a subtitle file those that the WebVTT segments of the first subtitle rendition show? Of WebVTT and SubRip
by ffmpeg's reading of both sides, of TTML by its paragraphs. Compared are times and letters, without markup and white space; a cue in
several segments is one, and cues shown from and to the same time are joined. What begins behind the end of the media can't be served.
cues.py --json SOURCE|HLS [LANGUAGE]: the cues as JSON, [[start, end, text], ...]: of a file, or of the first subtitle rendition in LANGUAGE."""
import json
import re
import subprocess
import sys
import urllib.parse
import urllib.request
import xml.etree.ElementTree as tree

TTML = "{http://www.w3.org/ns/ttml}"


def fetch(url):
    with urllib.request.urlopen(url, timeout=30) as answer:
        return answer.read()


def seconds(clock):
    value = 0.0
    for part in clock.replace(",", ".").split(":"):
        value = value * 60 + float(part)
    return value


def letters(text):
    text = re.sub(r"<[^>]*>|\{\\[^}]*\}|&lrm;|&rlm;", "", text)
    for entity, letter in (("&lt;", "<"), ("&gt;", ">"), ("&nbsp;", " "), ("&amp;", "&")):
        text = text.replace(entity, letter)
    return re.sub(r"\s+", "", text)


def cues_of(text):
    """(start, end, letters) of SubRip or WebVTT."""
    for block in re.split(r"\n\s*\n", text.replace("\r\n", "\n")):
        lines = block.strip("\n").split("\n")
        at = next((i for i, line in enumerate(lines) if "-->" in line), None)
        if at is not None:
            start, end = lines[at].split("-->")
            yield seconds(start.strip()), seconds(end.strip().split()[0]), "\n".join(lines[at + 1:])


def of_source(path):
    if path.endswith(".ttml"):
        for p in tree.parse(path).getroot().iter(TTML + "p"):
            if p.get("begin"):
                yield seconds(p.get("begin")), seconds(p.get("end")), "".join(p.itertext())
        return
    yield from cues_of(subprocess.run(["ffmpeg", "-v", "error", "-i", path, "-f", "srt", "-"], stdout=subprocess.PIPE, check=False).stdout.decode())


def served(master, language=None):
    renditions = re.findall(r"#EXT-X-MEDIA:TYPE=SUBTITLES,(.*)", fetch(master).decode())
    renditions = [line for line in renditions if language is None or f'LANGUAGE="{language}"' in line]
    uri = re.search(r'URI="([^"]*)"', renditions[0]) if renditions else None
    if not uri:
        return None, []
    url = urllib.parse.urljoin(master, uri[1])
    playlist = fetch(url).decode()
    length = sum(float(found) for found in re.findall(r"#EXTINF:([0-9.]+)", playlist))
    seen = set()
    for part in playlist.splitlines():
        if not part or part.startswith("#"):
            continue
        segment = fetch(urllib.parse.urljoin(url, part)).decode()
        stamp = re.search(r"X-TIMESTAMP-MAP=MPEGTS:(\d+),LOCAL:([0-9:.]+)", segment)
        shift = int(stamp[1]) / 90000 - seconds(stamp[2]) if stamp else 0
        # The head, STYLE and REGION blocks have no arrow, and so are no cues.
        for start, end, text in cues_of(segment):
            seen.add((round(start + shift, 3), round(end + shift, 3), text))
    return length, sorted(seen)


def joined(cues):
    found = {}
    for start, end, text in cues:
        if letters(text):
            key = (round(start, 3), round(end, 3))
            found[key] = found.get(key, []) + [letters(text)]
    return {key: "".join(sorted(texts)) for key, texts in found.items()}


def main():
    if sys.argv[1] == "--json":
        source, language = sys.argv[2], (sys.argv[3:] or [None])[0]
        cues = served(source, language)[1] if source.startswith("http") else of_source(source)
        json.dump(list(cues), sys.stdout)
        return
    source, master = sys.argv[1:3]
    length, shown = served(master)
    if length is None:
        sys.exit("FAIL: no subtitle rendition")
    wanted = {key: text for key, text in joined(of_source(source)).items() if key[0] < length}
    have = joined(shown)
    wrong = [f"{key}: {wanted.get(key)!r} in the source, {have.get(key)!r} is shown" for key in sorted({*wanted, *have})
             if sorted(wanted.get(key, "")) != sorted(have.get(key, ""))]
    print(f"{len(wanted)} cues in the source, {len(have)} are shown")
    for line in wrong[:5]:
        print(f"FAIL: {line}")
    sys.exit(bool(wrong) or not wanted)


main()
