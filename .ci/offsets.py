#!/usr/bin/env python3
"""offsets.py HLS DASH SOURCE...: are picture and sound as far apart as in the sources? By ffprobe alone: each packet of the sources is looked
for, by its hash, in what is served; what was added to its presentation time must be the same for all packets of all tracks, to
one tick. ffprobe applies the edit lists on both sides. And the MPD at DASH, if it is not empty, has one presentationTimeOffset for all sets
of a period. HLS may be empty where there is none: then the tracks are taken from the MPD."""
import json
import os
import re
import subprocess
import sys
import tempfile
import urllib.parse
import urllib.request
import xml.etree.ElementTree as tree
from collections import Counter
from fractions import Fraction

DASH = "{urn:mpeg:dash:schema:mpd:2011}"


def fetch(url):
    with urllib.request.urlopen(url, timeout=30) as answer:
        return answer.read()


def probe(path):
    """By stream: (kind, tick in seconds, [(hash, presentation time)]). Packets that are decoded and not shown count too."""
    said = subprocess.run(
        ["ffprobe", "-v", "error", "-show_streams", "-show_packets", "-show_data_hash", "md5", "-show_entries",
         "stream=index,codec_type,time_base:packet=stream_index,pts,data_hash", "-of", "json", path],
        stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, check=False).stdout
    read = json.loads(said or "{}")
    streams = {s["index"]: (s.get("codec_type"), Fraction(s["time_base"]), []) for s in read.get("streams", [])}
    for packet in read.get("packets", []):
        if "pts" in packet and packet["stream_index"] in streams:
            _, tick, packets = streams[packet["stream_index"]]
            packets.append((packet["data_hash"], packet["pts"] * tick))
    return [s for s in streams.values() if s[0] in ("video", "audio")]


def of_hls(master):
    """The URLs of each media playlist: initialization segment and segments."""
    text = fetch(master).decode()
    uris = [line for line in text.splitlines() if line and not line.startswith("#")]
    uris += re.findall(r'#EXT-X-MEDIA:TYPE=AUDIO.*?URI="([^"]*)"', text)
    for uri in dict.fromkeys(uris):
        url = urllib.parse.urljoin(master, uri)
        playlist = fetch(url).decode()
        init = re.search(r'#EXT-X-MAP:URI="([^"]*)"', playlist)
        parts = [line for line in playlist.splitlines() if line and not line.startswith("#")]
        if init:
            yield [urllib.parse.urljoin(url, part) for part in [init[1], *parts]]


def of_dash(mpd):
    root = tree.fromstring(fetch(mpd))
    for adaptation in root.iter(DASH + "AdaptationSet"):
        if any("trickmode" in p.get("schemeIdUri", "") for p in adaptation.iter(DASH + "EssentialProperty")):
            continue
        for representation in adaptation.iter(DASH + "Representation"):
            template = next(iter([*representation.iter(DASH + "SegmentTemplate"), *adaptation.iter(DASH + "SegmentTemplate")]))
            base = urllib.parse.urljoin(mpd, representation.findtext(DASH + "BaseURL") or "")
            name = lambda text, time=0: urllib.parse.urljoin(
                base, text.replace("$RepresentationID$", representation.get("id")).replace("$Time$", str(time)))
            urls, time = [name(template.get("initialization"))], 0
            for s in template.iter(DASH + "S"):
                time = int(s.get("t", time))
                for _ in range(int(s.get("r", 0)) + 1):
                    urls.append(name(template.get("media"), time))
                    time += int(s.get("d"))
            yield urls


def offsets_of_sets(mpd):
    """The presentationTimeOffsets of each period differ by no more than half a tick of either side."""
    wrong = []
    for period in tree.fromstring(fetch(mpd)).iter(DASH + "Period"):
        seen = []
        for template in period.iter(DASH + "SegmentTemplate"):
            scale = int(template.get("timescale", 1))
            seen.append((Fraction(int(template.get("presentationTimeOffset", 0)), scale), Fraction(1, 2 * scale)))
        for one, off in seen[1:]:
            if abs(one - seen[0][0]) > off + seen[0][1]:
                wrong.append(f"presentationTimeOffset {float(one):.6f} s of one set, {float(seen[0][0]):.6f} s of another")
    return wrong


def matched(packets, others):
    """What was added to the time of each packet that is found again. Silence and still pictures come again and again: either the packets
    of one side are those of the other in their order, with some missing at the ends, or those count that are there once on both sides."""
    ours, theirs = [digest for digest, _ in packets], [digest for digest, _ in others]
    starts = [at for at in range(max(0, len(ours) - len(theirs) + 1)) if theirs and ours[at:at + len(theirs)] == theirs]
    if len(starts) == 1:
        return [time - packets[starts[0] + at][1] for at, (_, time) in enumerate(others)]
    once = lambda digests: {digest for digest, count in Counter(digests).items() if count == 1}
    told = once(ours) & once(theirs)
    at = {digest: time for digest, time in others if digest in told}
    return [at[digest] - time for digest, time in packets if digest in told]


def main():
    hls, dash, sources = sys.argv[1], sys.argv[2], sys.argv[3:]
    served = []
    with tempfile.TemporaryDirectory() as scratch:
        for urls in of_hls(hls) if hls else of_dash(dash):
            path = os.path.join(scratch, "track.mp4")
            with open(path, "wb") as out:
                for url in urls:
                    out.write(fetch(url))
            served += probe(path)
    wrong = offsets_of_sets(dash) if dash else []
    shifts = []  # (shift, tick, what)
    for source in sources:
        for number, (kind, tick, packets) in enumerate(probe(source)):
            best = (0, None)
            for other_kind, other_tick, others in served:
                moves = matched(packets, others) if other_kind == kind else []
                if len(moves) > best[0]:
                    best = (len(moves), (min(moves), max(moves), max(tick, other_tick)))
            if best[1] is None:
                print(f"{os.path.basename(source)} stream {number} {kind}: nothing of it is served")
                continue
            least, most, tick = best[1]
            print(f"{os.path.basename(source)} stream {number} {kind}: {best[0]} of {len(packets)} packets found,"
                  f" shifted by {float(least):.6f} to {float(most):.6f} s")
            if most - least > tick:
                wrong.append(f"stream {number} {kind}: its packets are not shifted by the same")
            shifts.append((least, tick))
    for shift, tick in shifts[1:]:
        if abs(shift - shifts[0][0]) > tick + shifts[0][1]:
            wrong.append(f"tracks are shifted by {float(shifts[0][0]):.6f} and by {float(shift):.6f} s")
    if not shifts:
        print("no picture and no sound to compare")
    for line in wrong:
        print(f"FAIL: {line}")
    sys.exit(bool(wrong))


main()
