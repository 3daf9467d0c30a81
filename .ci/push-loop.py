#!/usr/bin/env python3
"""push-loop.py FILE URL [cues]: pushes the fragmented track that FILE is to URL in real time, over and over, with decode times that go on: as an encoder
would, for media that ffmpeg does not make (it encrypts no fragments, and writes no event messages: with `cues` the breaks of .ci/scte35.py are told in emsg
boxes)."""

import http.client
import struct
import sys
import time
import urllib.parse

import scte35


def boxes(data, start, end):
    """Kind, start and end of each box between two offsets (ISO/IEC 14496-12 §4.2)."""
    while start + 8 <= end:
        size, kind = struct.unpack_from(">I4s", data, start)
        yield kind, start, start + size
        start += size


def find(data, start, end, *path):
    for kind, at, until in boxes(data, start, end):
        if kind == path[0]:
            return (at, until) if len(path) == 1 else find(data, at + 8, until, *path[1:])
    raise SystemExit(f"no {path[0].decode()}")


def field(data, at, v0, v1):
    """A number of a full box that is of 32 bits in version 0, and its form."""
    form, offset = (">I", v0) if data[at + 8] == 0 else (">Q", v1)
    return struct.unpack_from(form, data, at + offset)[0], form, at + offset


def lasts(data, at, until):
    """How long a fragment is whose samples all last as its tfhd says (§8.8.7, §8.8.8)."""
    tfhd, _ = find(data, at, until, b"traf", b"tfhd")
    trun, _ = find(data, at, until, b"traf", b"trun")
    flags = struct.unpack_from(">I", data, tfhd + 8)[0]
    if not flags & 0x08:
        raise SystemExit("no default_sample_duration")
    before = 16 + (8 if flags & 0x01 else 0) + (4 if flags & 0x02 else 0)
    return struct.unpack_from(">I", data, tfhd + before)[0] * struct.unpack_from(">I", data, trun + 12)[0]


def main(path, url, with_cues=None):
    data = bytearray(open(path, "rb").read())
    top = list(boxes(data, 0, len(data)))
    mdhd, _ = find(data, 0, len(data), b"moov", b"trak", b"mdia", b"mdhd")
    timescale = struct.unpack_from(">I", data, mdhd + (20 if data[mdhd + 8] == 0 else 28))[0]
    init = b"".join(data[at:until] for kind, at, until in top if kind in (b"ftyp", b"moov"))
    fragments = []
    for kind, at, until in top:
        if kind == b"moof":
            tfdt, _ = find(data, at + 8, until, b"traf", b"tfdt")
            fragments.append([field(data, tfdt, 12, 12), lasts(data, at + 8, until), at, until])
        elif kind == b"mdat":
            fragments[-1][-1] = until
    begin, end = fragments[0][0][0], fragments[-1][0][0] + fragments[-1][1]
    parts = urllib.parse.urlsplit(url)
    connection = http.client.HTTPConnection(parts.netloc)
    connection.putrequest("PUT", parts.path)
    connection.putheader("Transfer-Encoding", "chunked")
    connection.endheaders()

    def send(piece):
        connection.send(b"%x\r\n%b\r\n" % (len(piece), piece))

    send(init)
    began, passed = time.monotonic(), 0
    while True:
        for (start, form, offset), length, at, until in fragments:
            # It is there when its last sample is.
            time.sleep(max(0, began + (passed + start + length - begin) / timescale - time.monotonic()))
            piece = data[at:until]
            struct.pack_into(form, piece, offset - at, passed + start)
            if with_cues:
                soon = (passed + start) / timescale + scte35.AHEAD_S
                send(b"".join(scte35.emsg(*cue) for cue in scte35.cues(soon, soon + length / timescale)) + bytes(piece))
            else:
                send(bytes(piece))
        passed += end - begin


main(*sys.argv[1:])
