#!/usr/bin/env python3
"""make-shapes.py MUXED.mp4 DIR: the first four seconds of MUXED.mp4 (one video and one audio track, fragmented), written again in the
rarer shapes that ISO/IEC 14496-12 allows: DIR/shape-*.mp4; and broken on purpose: DIR/broken-*.mp4. The samples stay as they are, but for
those with captions."""
import os
import struct
import sys

SECONDS = 4
SYNC, NOT_SYNC = 0x02000000, 0x01010000


def box(name, *parts, wide=False):
    body = b"".join(parts)
    if wide:
        return struct.pack(">I4sQ", 1, name, 16 + len(body)) + body
    return struct.pack(">I4s", 8 + len(body), name) + body


def full(name, version, flags, *parts):
    return box(name, struct.pack(">I", version << 24 | flags), *parts)


def children(data, start, end):
    """(name, start, start of body, end) of the boxes in data[start:end]; the source has no 64-bit sizes."""
    while start < end:
        size, name = struct.unpack_from(">I4s", data, start)
        yield name, start, start + 8, start + size
        start += size


def child(data, start, end, *path):
    for name in path:
        start, end = next((body, stop) for found, _, body, stop in children(data, start, end) if found == name)
    return start, end


class Sample:
    def __init__(self, time, duration, offset, sync, data):
        self.time, self.duration, self.offset, self.sync, self.data = time, duration, offset, sync, data


class Track:
    """One track of the source: its trak box as it is, and its samples."""

    def __init__(self, data, trak):
        self.trak = data[trak[0] - 8 : trak[1]]
        self.id = struct.unpack_from(">I", data, child(data, *trak, b"tkhd")[0] + 12)[0]
        self.timescale = struct.unpack_from(">I", data, child(data, *trak, b"mdia", b"mdhd")[0] + 12)[0]
        handler = child(data, *trak, b"mdia", b"hdlr")[0]
        self.video = data[handler + 8 : handler + 12] == b"vide"
        self.samples = []

    def read(self, data, moof, traf):
        tfhd = child(data, *traf, b"tfhd")[0]
        flags, position = struct.unpack_from(">I", data, tfhd)[0] & 0xFFFFFF, tfhd + 8
        assert flags & 0x1 == 0 and flags & 0x38 == 0x38, "the source has default-base-is-moof and the three defaults"
        duration, size, sample_flags = struct.unpack_from(">III", data, position)
        (time,) = struct.unpack_from(">Q", data, child(data, *traf, b"tfdt")[0] + 4)
        for name, _, body, _ in children(data, *traf):
            if name != b"trun":
                continue
            flags, count = struct.unpack_from(">II", data, body)
            version, flags, position = flags >> 24, flags & 0xFFFFFF, body + 8
            (at,) = struct.unpack_from(">i", data, position)
            position += 4
            at += moof
            first_flags = None
            if flags & 0x4:
                (first_flags,) = struct.unpack_from(">I", data, position)
                position += 4
            for index in range(count):
                row = [duration, size, sample_flags, 0]
                for column, bit in enumerate((0x100, 0x200, 0x400, 0x800)):
                    if flags & bit:
                        (row[column],) = struct.unpack_from(">i" if column == 3 and version else ">I", data, position)
                        position += 4
                if index == 0 and first_flags is not None:
                    row[2] = first_flags
                self.samples.append(Sample(time, row[0], row[3], not row[2] & 0x10000, data[at : at + row[1]]))
                time, at = time + row[0], at + row[1]


class Source:
    def __init__(self, data):
        self.tracks = []
        for name, start, body, end in children(data, 0, len(data)):
            if name == b"ftyp":
                self.ftyp = data[start:end]
            elif name == b"moov":
                mvhd = child(data, body, end, b"mvhd")
                self.mvhd = data[mvhd[0] - 8 : mvhd[1]]
                self.tracks = [Track(data, (inner, stop)) for found, _, inner, stop in children(data, body, end) if found == b"trak"]
            elif name == b"moof":
                for found, _, inner, stop in children(data, body, end):
                    if found == b"traf":
                        track_id = struct.unpack_from(">I", data, child(data, inner, stop, b"tfhd")[0] + 4)[0]
                        next(track for track in self.tracks if track.id == track_id).read(data, start, (inner, stop))
        for track in self.tracks:
            limit = SECONDS * track.timescale + (0 if track.video else 1024)
            track.samples = [sample for sample in track.samples if sample.time < limit]
        self.video = next(track for track in self.tracks if track.video)
        self.audio = next(track for track in self.tracks if not track.video)

    def cut(self, track, seconds):
        """The samples of `track` in spans of `seconds`, by decode time."""
        spans = {}
        for sample in track.samples:
            spans.setdefault(int(sample.time / track.timescale / seconds), []).append(sample)
        return [spans[key] for key in sorted(spans)]


def moov(source, tracks, traks=None, trex=None, wide=False):
    traks = traks or [track.trak for track in tracks]
    trexes = [trex or full(b"trex", 0, 0, struct.pack(">IIIII", track.id, 1, 0, 0, 0)) for track in tracks]
    return box(b"moov", source.mvhd, *traks, box(b"mvex", *trexes), wide=wide)


def with_edits(track, edits):
    """The trak of `track` with these edits: (duration in the movie's timescale, media time), or no edit list for an empty list."""
    parts = [(name, track.trak[start:end]) for name, start, _, end in children(track.trak, 8, len(track.trak)) if name != b"edts"]
    rows = b"".join(struct.pack(">Iihh", duration, time, 1, 0) for duration, time in edits)
    edts = box(b"edts", full(b"elst", 0, 0, struct.pack(">I", len(edits)), rows)) if edits else b""
    return box(b"trak", *(part + (edts if name == b"tkhd" else b"") for name, part in parts))


class Shape:
    """How fragments are written; each field is one of the choices that the standard leaves open."""

    def __init__(self, base="moof", tfdt=1, runs=1, trun_version=0, shift=0, start=0, trex_defaults=False, wide=False):
        self.base, self.tfdt, self.runs, self.trun_version = base, tfdt, runs, trun_version
        self.shift, self.start, self.trex_defaults, self.wide = shift, start, trex_defaults, wide

    def trun(self, samples, data_offset):
        flags, head = 0x200, b""
        if data_offset is not None:
            flags, head = flags | 0x1, struct.pack(">i", data_offset)
        columns = [lambda sample: struct.pack(">I", len(sample.data))]
        if self.trex_defaults:
            flags |= 0x4
            head += struct.pack(">I", SYNC if samples[0].sync else NOT_SYNC)
            assert not any(sample.sync for sample in samples[1:]), "only the first sample may differ from trex"
        else:
            flags |= 0x500
            columns = [
                lambda sample: struct.pack(">I", sample.duration),
                columns[0],
                lambda sample: struct.pack(">I", SYNC if sample.sync else NOT_SYNC),
            ]
        if any(sample.offset + self.shift for sample in samples):
            flags |= 0x800
            columns.append(lambda sample: struct.pack(">i", sample.offset + self.shift))
        rows = b"".join(column(sample) for sample in samples for column in columns)
        return full(b"trun", self.trun_version, flags, struct.pack(">I", len(samples)), head, rows)

    def fragment(self, number, position, pairs):
        """moof and mdat of `pairs` (track, samples), the moof at `position` of the file."""
        header = 16 if self.wide else 8
        runs = []  # (pair, samples of the run), in the order of the data: run 0 of every track, run 1 of every track
        for step in range(self.runs):
            for index, (_, samples) in enumerate(pairs):
                length = -(-len(samples) // self.runs)
                part = samples[step * length : (step + 1) * length]
                if part:
                    runs.append((index, part))

        # moof itself stays small: ffmpeg 5 counts data_offset from 8 bytes past the start of a moof with a 64-bit size.
        def moof(size):
            at, truns = size + header, [[] for _ in pairs]
            for place, (index, part) in enumerate(runs):
                # Without base_data_offset or default-base-is-moof, a track's data begins where the data of the track before it in the moof
                # ends (§8.8.7.1), and a run without data_offset where the run before it ends (§8.8.8.1).
                implicit = self.base == "explicit" or (self.base == "neither" and place > 0)
                truns[index].append(self.trun(part, None if implicit else at))
                at += sum(len(sample.data) for sample in part)
            trafs, data_at = [], position + size + header
            for (track, samples), boxes in zip(pairs, truns):
                flags, base = {"moof": (0x020000, b""), "explicit": (0x1, struct.pack(">Q", data_at)), "neither": (0, b"")}[self.base]
                data_at += sum(len(sample.data) for sample in samples)
                parts = [full(b"tfhd", 0, flags, struct.pack(">I", track.id), base)]
                time = samples[0].time + self.start * track.timescale
                if self.tfdt is not None:
                    parts.append(full(b"tfdt", self.tfdt, 0, struct.pack(">Q" if self.tfdt else ">I", time)))
                trafs.append(box(b"traf", *parts, *boxes, wide=self.wide))
            return box(b"moof", full(b"mfhd", 0, 0, struct.pack(">I", number)), *trafs)

        mdat = box(b"mdat", *(sample.data for _, part in runs for sample in part), wide=self.wide)
        return moof(len(moof(0))) + mdat


def earliest(samples):
    return min(sample.time + sample.offset for sample in samples)


def sidx(track, samples, size):
    duration = sum(sample.duration for sample in samples)
    head = struct.pack(">IIQQHH", track.id, track.timescale, earliest(samples), 0, 0, 1)
    return full(b"sidx", 1, 0, head, struct.pack(">III", size, duration, 0x90000000))


def boxes_between(track, samples):
    """What may stand before a fragment and is no part of it."""
    second = samples[0].time // track.timescale
    ntp = (3_900_000_000 + second) << 32
    return b"".join(
        (
            box(b"styp", b"msdh", bytes(4), b"msdhmsix"),
            full(b"prft", 1, 24, struct.pack(">IQQ", track.id, ntp, samples[0].time)),
            full(b"emsg", 1, 0, struct.pack(">IQII", track.timescale, samples[0].time, track.timescale, second), b"urn:example:tick\0", b"1\0", b"tick"),
            box(b"free", b"padding"),
            box(b"uuid", bytes(range(16)), b"of a kind that nobody knows"),
        )
    )


def mfra(track, places):
    rows = b"".join(struct.pack(">QQBBB", time, offset, 1, 1, 1) for time, offset in places)
    tfra = full(b"tfra", 1, 0, struct.pack(">III", track.id, 0, len(places)), rows)
    return box(b"mfra", tfra, full(b"mfro", 0, 0, struct.pack(">I", 8 + len(tfra) + 16)))


def build(source, groups, shape=None, head=None, before=None, after=None):
    """A file of one fragment for every group of (track, samples)."""
    shape = shape or Shape()
    tracks = []
    for group in groups:
        tracks += [track for track, _ in group if track not in tracks]
    tracks.sort(key=lambda track: track.id)
    out, places = source.ftyp + (head or moov(source, tracks)), []
    for number, group in enumerate(groups, 1):
        track, samples = group[0]
        if before:
            out += before(track, samples, len(shape.fragment(number, 0, group)))
        places.append((earliest(samples), len(out)))
        out += shape.fragment(number, len(out), group)
    return out + (after(groups[0][0][0], places) if after else b"")


def odd_parity(byte):
    return byte | (0x80 if bin(byte).count("1") % 2 == 0 else 0)


def pairs(*commands):
    """CEA-608: bytes of two, each with odd parity; a control code (two bytes) is sent twice, text is padded."""
    out = []
    for command in commands:
        if isinstance(command, str):
            text = command.encode() + b"\0" * (len(command) % 2)
            out += [text[at : at + 2] for at in range(0, len(text), 2)]
        else:
            out += [bytes(command)] * 2
    return [bytes(map(odd_parity, pair)) for pair in out]


def packet(sequence, *services):
    """CEA-708: a caption channel packet of (service number, bytes), as pairs."""
    data = b"".join(bytes([number << 5 | len(block)]) + block for number, block in services)
    data += b"\0" * ((len(data) + 1) % 2)
    data = bytes([sequence << 6 | (len(data) + 1) // 2]) + data
    return [data[at : at + 2] for at in range(0, len(data), 2)]


def with_captions(video):
    """`video` with captions in its pictures (ATSC A/53 part 4 §6.2.3): CC1 pops on at 1 s and goes at 3 s, CC3 rolls up, services 1 and 2."""
    rate = 24
    fields = [dict(), dict()]

    def say(field, at, *commands):
        for index, pair in enumerate(pairs(*commands)):
            fields[field][at + index] = pair

    # Resume caption loading, erase it, row 15, end of caption (shown); erase what is displayed.
    say(0, rate // 2, (0x14, 0x20), (0x14, 0x2E), (0x14, 0x70), "Pop-on", (0x14, 0x2F))
    say(0, 3 * rate, (0x14, 0x2C))
    # Roll-up of two rows, carriage return, row 15.
    say(1, rate, (0x15, 0x25), (0x15, 0x2D), (0x15, 0x70), "Roll-up")
    # Window 0, visible, at the bottom, one row of 32 columns; text; deleted.
    window = bytes([0x98, 0x38, 0x4A, 0x28, 0x70, 0x1F, 0x11])
    digital = {rate: packet(0, (1, window + b"Digital\x03")), rate + 1: packet(1, (2, window + b"Zwei\x03"))}
    digital[3 * rate] = packet(2, (1, b"\x8c\xff"), (2, b"\x8c\xff"))

    captioned = Track.__new__(Track)
    captioned.__dict__.update(video.__dict__)
    shown = sorted(video.samples, key=lambda sample: sample.time + sample.offset)
    place = {id(sample): index for index, sample in enumerate(shown)}
    captioned.samples = []
    for sample in video.samples:
        index = place[id(sample)]
        triples = b"".join(bytes([0xFC | field]) + fields[field].get(index, b"\x80\x80") for field in (0, 1))
        for number, pair in enumerate(digital.get(index, [])):
            triples += bytes([0xFE if number else 0xFF]) + pair
        message = b"\xb5\x00\x31GA94\x03" + bytes([0x40 | len(triples) // 3, 0xFF]) + triples + b"\xff"
        payload, zeros = bytearray(), 0
        for byte in bytes([4, len(message)]) + message + b"\x80":
            if zeros >= 2 and byte <= 3:
                payload.append(3)
                zeros = 0
            payload.append(byte)
            zeros = zeros + 1 if byte == 0 else 0
        sei = b"\x06" + payload
        at = 0
        while sample.data[at + 4] & 0x1F not in (1, 5):
            at += 4 + struct.unpack_from(">I", sample.data, at)[0]
        data = sample.data[:at] + struct.pack(">I", len(sei)) + sei + sample.data[at:]
        captioned.samples.append(Sample(sample.time, sample.duration, sample.offset, sample.sync, data))
    return captioned


def shapes(source):
    video, audio = source.video, source.audio
    pictures = [[(video, samples)] for samples in source.cut(video, 1)]
    both = [[(video, v), (audio, a)] for v, a in zip(source.cut(video, 1), source.cut(audio, 1.01))]
    alternating = [group for v, a in zip(source.cut(video, 1), source.cut(audio, 1.01)) for group in ([(video, v)], [(audio, a)])]
    yield "base-data-offset", build(source, both, Shape(base="explicit"))
    yield "no-base-no-tfdt", build(source, both, Shape(base="neither", tfdt=None))
    yield "tfdt-v0", build(source, pictures, Shape(tfdt=0))
    yield "many-truns", build(source, both, Shape(runs=4))
    yield "64-bit-sizes", build(source, both, Shape(wide=True), moov(source, source.tracks, wide=True))
    yield "late-start", build(source, both, Shape(start=100))
    yield "boxes-between", build(source, pictures, before=lambda track, samples, _: boxes_between(track, samples))
    yield "sidx-each", build(source, pictures, before=sidx)
    yield "mfra", build(source, pictures, after=mfra)
    yield "alternating", build(source, alternating)
    # The sound begins 80 ms after the picture, less than players jump over: the empty edit's duration is in the movie's timescale (§8.6.6).
    delayed = Track.__new__(Track)
    delayed.__dict__.update(audio.__dict__)
    delayed.samples = [sample for sample in audio.samples if sample.time < (SECONDS - 0.08) * audio.timescale]
    movie = struct.unpack_from(">I", source.mvhd, 8 + 12)[0]
    late = [[(video, v), (delayed, a)] for v, a in zip(source.cut(video, 1), source.cut(delayed, 0.9))]
    traks = [with_edits(delayed, [(movie * 8 // 100, -1), (0, 1024)]) if track is audio else track.trak for track in source.tracks]
    yield "empty-edit", build(source, late, head=moov(source, source.tracks, traks))
    trex = full(b"trex", 0, 0, struct.pack(">IIIII", video.id, 1, video.samples[0].duration, 0, NOT_SYNC))
    yield "trex-defaults", build(source, pictures, Shape(trex_defaults=True), moov(source, [video], trex=trex))
    first = earliest(video.samples)
    signed = Shape(trun_version=1, shift=-first)
    yield "signed-offsets", build(source, pictures, signed, moov(source, [video], [with_edits(video, [])]))
    yield "short-fragments", build(source, [[(video, samples)] for samples in source.cut(video, 1 / 6)])
    captioned = with_captions(video)
    yield "captions", build(source, [[(captioned, samples)] for samples in source.cut(captioned, 1)], head=moov(source, [video]))
    yield "one-fragment", build(source, [[(video, video.samples), (audio, audio.samples)]])


def broken(source):
    video = source.video
    groups = [[(video, samples)] for samples in source.cut(video, 1)[:2]]
    whole = build(source, groups)
    yield "empty", b""
    yield "not-mp4", b"This is a text, whatever its name says.\n"
    yield "truncated", whole[: whole.rindex(b"moof") + 40]
    trun = whole.rindex(b"trun")
    yield "huge-claim", whole[: trun + 8] + struct.pack(">I", 1 << 31) + whole[trun + 12 :]
    # A child that claims four bytes, less than its own header: who adds sizes up without looking never gets to the end.
    mvhd = whole.index(b"mvhd")
    yield "tiny-child", whole[: mvhd - 4] + struct.pack(">I", 4) + whole[mvhd:]


def main():
    with open(sys.argv[1], "rb") as file:
        source = Source(file.read())
    for prefix, files in (("shape", shapes(source)), ("broken", broken(source))):
        for name, data in files:
            with open(os.path.join(sys.argv[2], f"{prefix}-{name}.mp4"), "wb") as file:
                file.write(data)


main()
