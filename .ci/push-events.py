#!/usr/bin/env python3
"""push-events.py URL BEGAN: pushes an event message track (ISO/IEC 23001-18) to URL in real time, with the breaks of .ci/scte35.py: a sample of two seconds
a request, as sparse data is to be pushed. Media time 0 was BEGAN seconds after 1970."""

import http.client
import struct
import sys
import time
import urllib.parse

from scte35 import AHEAD_S, LASTS_S, box, cues, emib, full_box

SAMPLE_S = 2


def init():
    """Of a track of milliseconds whose samples are event messages."""
    entry = box(b"evte", bytes(6), struct.pack(">H", 1), box(b"btrt", bytes(12)))
    table = box(
        b"stbl",
        full_box(b"stsd", 0, 0, struct.pack(">I", 1), entry),
        full_box(b"stts", 0, 0, bytes(4)),
        full_box(b"stsc", 0, 0, bytes(4)),
        full_box(b"stsz", 0, 0, bytes(8)),
        full_box(b"stco", 0, 0, bytes(4)),
    )
    reference = box(b"dinf", full_box(b"dref", 0, 0, struct.pack(">I", 1), full_box(b"url ", 0, 1)))
    media = box(
        b"mdia",
        full_box(b"mdhd", 0, 0, bytes(8), struct.pack(">IIHH", 1000, 0, 0x55C4, 0)),
        full_box(b"hdlr", 0, 0, bytes(4), b"meta", bytes(12), b"events\0"),
        box(b"minf", full_box(b"nmhd", 0, 0), reference, table),
    )
    matrix = struct.pack(">9I", 0x10000, 0, 0, 0, 0x10000, 0, 0, 0, 0x40000000)
    header = full_box(b"tkhd", 0, 3, bytes(8), struct.pack(">II", 1, 0), bytes(4 + 16), matrix, bytes(8))
    movie = full_box(b"mvhd", 0, 0, bytes(8), struct.pack(">IIIH", 1000, 0, 0x10000, 0x100), bytes(10), matrix, bytes(24), struct.pack(">I", 2))
    extends = box(b"mvex", full_box(b"trex", 0, 0, struct.pack(">5I", 1, 1, 0, 0, 0)))
    return box(b"ftyp", b"cmf2", bytes(4), b"cmfc") + box(b"moov", movie, box(b"trak", header, media), extends)


def fragment(number, begin_s):
    """What is on in two seconds, or will be soon, or says of a while ago that it is over."""
    said = list(cues(begin_s - LASTS_S, begin_s + SAMPLE_S + AHEAD_S))
    sample = b"".join(emib((time_s - begin_s) * 1000, event, is_out) for time_s, event, is_out in said) or box(b"emeb")

    def moof(offset):
        run = struct.pack(">IiII", 1, offset, SAMPLE_S * 1000, len(sample))
        return box(
            b"moof",
            full_box(b"mfhd", 0, 0, struct.pack(">I", number)),
            box(
                b"traf",
                full_box(b"tfhd", 0, 0x20000, struct.pack(">I", 1)),
                full_box(b"tfdt", 1, 0, struct.pack(">Q", begin_s * 1000)),
                full_box(b"trun", 0, 0x301, run),
            ),
        )

    return moof(len(moof(0)) + 8) + box(b"mdat", sample)


def put(url, body):
    connection = http.client.HTTPConnection(url.netloc, timeout=10)
    connection.request("PUT", url.path, body)
    answer = connection.getresponse()
    if answer.status >= 300:
        print(answer.status, answer.read().decode(), file=sys.stderr, flush=True)
    connection.close()


def main(url, began):
    url, began = urllib.parse.urlsplit(url), float(began)
    begin_s = int(time.time() - began) // SAMPLE_S * SAMPLE_S
    number = 1
    while True:
        time.sleep(max(0, began + begin_s - time.time()))
        try:
            # Again with each: who has begun anew knows it then.
            put(url, init() + fragment(number, begin_s))
        except OSError as error:
            print(error, file=sys.stderr, flush=True)
        begin_s, number = begin_s + SAMPLE_S, number + 1


main(*sys.argv[1:])
