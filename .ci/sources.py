#!/usr/bin/env python3
"""sources.py LIBRARY PRESENTATION SCRATCH: the MP4 files to compare a presentation with, a line each: path, `|`, and the kind of track
that must be found (`text` for a subtitle file; each kind that is served of a file of which a track is left out, as HEADWATER's `inspect`
says; else nothing). Init and media segments of a packaging are joined in SCRATCH, a file a track."""
import json
import os
import re
import struct
import subprocess
import sys

MEDIA = (".mp4", ".m4s", ".m4a", ".m4v", ".cmfv", ".cmfa", ".cmft")


def top_boxes(path):
    with open(path, "rb") as file:
        size = os.path.getsize(path)
        position, names = 0, []
        while position + 8 <= size:
            file.seek(position)
            length, name = struct.unpack(">I4s", file.read(8))
            if length == 1:
                (length,) = struct.unpack(">Q", file.read(8))
            names.append(name)
            if length < 8:
                break
            position += length
    return names


def by_number(name):
    return [int(part) if part.isdigit() else part for part in re.split(r"(\d+)", name)]


def tell(path):
    with open(path, "rb") as file:
        handlers = re.findall(rb"hdlr.{8}(....)", file.read(1 << 20), re.S)
    if handlers and handlers[0] in (b"text", b"subt") and len(set(handlers)) == 1:
        print(path, "text", sep="|")
        return
    for kind in kinds_served(path):
        print(path, kind, sep="|")


def kinds_served(path):
    """The kinds of track to look for one by one, where not all are served; else one empty one, for all."""
    program = os.environ.get("HEADWATER")
    said = subprocess.run([program, "inspect", "--json", path], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL).stdout if program else b""
    try:
        report = json.loads(said)
    except ValueError:
        return [""]
    left_out = any(track["served"] is None for track in report["tracks"]) or any("is left out" in w for w in report["warnings"])
    kinds = sorted({track["kind"] for track in report["tracks"] if track["served"] and track["kind"] in ("video", "audio")})
    return kinds if left_out and kinds else [""]


def main():
    library, presentation, scratch = sys.argv[1:4]
    for ending in MEDIA:
        if os.path.isfile(os.path.join(library, presentation + ending)):
            tell(os.path.join(library, presentation + ending))
            return
    for folder, folders, names in os.walk(os.path.join(library, presentation)):
        folders.sort()
        names = sorted((name for name in names if name.endswith(MEDIA)), key=by_number)
        boxes = {name: top_boxes(os.path.join(folder, name)) for name in names}
        whole = [name for name in names if b"moov" in boxes[name] and (b"moof" in boxes[name] or b"mdat" in boxes[name])]
        inits = [name for name in names if b"moov" in boxes[name] and name not in whole]
        segments = [name for name in names if b"moov" not in boxes[name]]
        for name in whole:
            tell(os.path.join(folder, name))
        for init in inits:
            # In a flat folder `init-stream0.m4s` goes with `chunk-stream0-1.m4s`, `video_init.mp4` with `video_1.m4s`.
            key = re.sub(r"^[-_.]+|[-_.]+$", "", re.sub(r"init", "", os.path.splitext(init)[0]))
            own = [name for name in segments if len(inits) == 1 or re.search(rf"(^|[-_.]){re.escape(key)}([-_.]|$)", name)]
            if not own:
                continue
            joined = os.path.join(scratch, re.sub(r"\W+", "-", os.path.relpath(os.path.join(folder, init), library)) + ".mp4")
            with open(joined, "wb") as out:
                for name in [init, *own]:
                    with open(os.path.join(folder, name), "rb") as file:
                        out.write(file.read())
            tell(joined)


main()
