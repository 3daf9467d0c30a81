"""What .ci/push-events.py and .ci/push-loop.py say beside the media: breaks, as cues of SCTE 35 in event messages. A break begins every 20 s of media
time and lasts 8 s; what leads out and what leads back is told four seconds before (DASH-IF Live Media Ingest §6.8)."""

import struct

SCHEME = b"urn:scte:scte35:2013:bin"
EVERY_S, LASTS_S, AHEAD_S = 20, 8, 4


def box(kind, *parts):
    payload = b"".join(parts)
    return struct.pack(">I4s", 8 + len(payload), kind) + payload


def full_box(kind, version, flags, *parts):
    return box(kind, struct.pack(">I", version << 24 | flags), *parts)


def crc_32(data):
    """Of MPEG-2 sections (ISO/IEC 13818-1 Annex A)."""
    crc = 0xFFFFFFFF
    for byte in data:
        crc ^= byte << 24
        for _ in range(8):
            crc = (crc << 1 ^ (0x04C11DB7 if crc & 0x80000000 else 0)) & 0xFFFFFFFF
    return crc


def splice_insert(event, is_out):
    """A splice_info_section (ANSI/SCTE 35 §9.6, §9.7.3): at once, out for LASTS_S or back."""
    command = struct.pack(">IBB", event, 0x7F, 0xFF if is_out else 0x5F)
    if is_out:
        command += struct.pack(">BI", 0x7E, LASTS_S * 90_000)
    command += struct.pack(">HBB", 1, 0, 0)
    # protocol_version to cw_index, tier, splice_command_length and type; no descriptors.
    rest = bytes(7) + struct.pack(">BHB", 0xFF, 0xF000 | len(command), 5) + command + b"\0\0"
    section = struct.pack(">BH", 0xFC, 0x3000 | len(rest) + 4) + rest
    return section + struct.pack(">I", crc_32(section))


def cues(begin_s, end_s):
    """The cues whose time lies between two media times: when, which event, and whether it leads out."""
    number = max(1, int(begin_s // EVERY_S) - 1)
    while number * EVERY_S < end_s:
        for is_out, time_s in ((True, number * EVERY_S), (False, number * EVERY_S + LASTS_S)):
            if begin_s <= time_s < end_s:
                yield time_s, number, is_out
        number += 1


def message_id(event, is_out):
    return (2 * event + (not is_out)) & 0xFFFFFFFF


def emsg(time_s, event, is_out):
    """An event message of version 1 (ISO/IEC 23009-1 §5.10.3.3), in milliseconds."""
    numbers = struct.pack(">IQII", 1000, time_s * 1000, LASTS_S * 1000 if is_out else 0, message_id(event, is_out))
    return full_box(b"emsg", 1, 0, numbers, SCHEME, b"\0\0", splice_insert(event & 0xFFFFFFFF, is_out))


def emib(delta_ms, event, is_out):
    """The same in a sample of an event message track (ISO/IEC 23001-18 §6.1), so long after the sample."""
    numbers = struct.pack(">IqII", 0, delta_ms, LASTS_S * 1000 if is_out else 0, message_id(event, is_out))
    return full_box(b"emib", 0, 0, numbers, SCHEME, b"\0\0", splice_insert(event & 0xFFFFFFFF, is_out))
