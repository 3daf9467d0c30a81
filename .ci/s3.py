#!/usr/bin/env python3
"""s3.py LISTEN FOLDER BUCKET: as much of S3 as a reader needs, over the files of FOLDER: ListObjectsV2, and GET and HEAD with Range and If-Match.

GET /~counts answers with a JSON object: requests by kind since the last time it was asked. It asks for no signature, and holds nothing in memory, so it stands for a storage in runs that ask much of one. `.ci/storage` uses a real imitation.
"""
import asyncio
import bisect
import email.utils
import json
import os
import sys
import urllib.parse
from xml.sax.saxutils import escape

HOST, PORT = sys.argv[1].rsplit(":", 1)
FOLDER, BUCKET = sys.argv[2], sys.argv[3]
KEYS_MAX = 1000


def keys():
    found = []
    for folder, _, files in os.walk(FOLDER):
        found += [os.path.relpath(os.path.join(folder, file), FOLDER) for file in files]
    return sorted(found)


KEYS = keys()
counts = {}


def head_of(path):
    stat = os.stat(path)
    return stat.st_size, f'"{stat.st_size:x}-{stat.st_mtime_ns:x}"', email.utils.formatdate(stat.st_mtime, usegmt=True)


def listing(query):
    """Keys are sorted, so a prefix is a range of them, and a folder is passed over by searching for what comes behind it."""
    one = {name: values[0] for name, values in urllib.parse.parse_qs(query, keep_blank_values=True).items()}
    prefix, delimiter = one.get("prefix", ""), one.get("delimiter", "")
    after = one.get("continuation-token") or one.get("start-after", "")
    most = min(int(one.get("max-keys", KEYS_MAX)), KEYS_MAX)
    at = max(bisect.bisect_left(KEYS, prefix), bisect.bisect_right(KEYS, after))
    contents, folders, last = [], [], ""
    while at < len(KEYS) and KEYS[at].startswith(prefix) and len(contents) + len(folders) < most:
        key = KEYS[at]
        cut = key.find(delimiter, len(prefix)) if delimiter else -1
        if cut >= 0:
            folder = key[:cut + 1]
            at = bisect.bisect_left(KEYS, folder[:-1] + chr(ord(folder[-1]) + 1))
            if folder > after:
                folders.append(folder)
            last = KEYS[at - 1]
            continue
        size, tag, _ = head_of(os.path.join(FOLDER, key))
        contents.append(f"<Contents><Key>{escape(key)}</Key><LastModified>2026-01-01T00:00:00.000Z</LastModified>"
                        f"<ETag>{escape(tag)}</ETag><Size>{size}</Size></Contents>")
        last, at = key, at + 1
    is_more = at < len(KEYS) and KEYS[at].startswith(prefix)
    more = f"<NextContinuationToken>{escape(last)}</NextContinuationToken>" if is_more else ""
    common = "".join(f"<CommonPrefixes><Prefix>{escape(folder)}</Prefix></CommonPrefixes>" for folder in folders)
    return (f'<?xml version="1.0"?><ListBucketResult><Name>{BUCKET}</Name><Prefix>{escape(prefix)}</Prefix><IsTruncated>{str(is_more).lower()}'
            f"</IsTruncated>{more}{''.join(contents)}{common}</ListBucketResult>").encode()


def answer(method, target, headers):
    """Status, headers and body: bytes, or a path with an offset and a length."""
    global counts
    if target == "/~counts":
        said, counts = counts, {}
        return 200, {}, json.dumps(said).encode()
    kind = "list" if "list-type=" in target else method.lower()
    counts[kind] = counts.get(kind, 0) + 1
    path, _, query = target.partition("?")
    key = urllib.parse.unquote(path).lstrip("/").removeprefix(BUCKET).lstrip("/")
    if "list-type=" in query:
        return 200, {"Content-Type": "application/xml"}, listing(query)
    file = os.path.join(FOLDER, key)
    if ".." in key or not os.path.isfile(file):
        return 404, {}, b"<Error><Code>NoSuchKey</Code></Error>"
    size, tag, modified = head_of(file)
    if headers.get("if-match", tag) != tag:
        return 412, {}, b"<Error><Code>PreconditionFailed</Code></Error>"
    start, end, status = 0, size, 200
    if (wanted := headers.get("range", "")).startswith("bytes="):
        first, _, until = wanted[6:].partition("-")
        start, end, status = int(first), min(int(until or size - 1) + 1, size), 206
    said = {"ETag": tag, "Last-Modified": modified, "Content-Type": "application/octet-stream", "Accept-Ranges": "bytes"}
    if status == 206:
        said["Content-Range"] = f"bytes {start}-{end - 1}/{size}"
    return status, said, (file, start, end - start)


async def serve(reader, writer):
    try:
        while True:
            head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
            method, target, _ = head[0].split(" ")
            headers = {name.strip().lower(): value.strip() for name, _, value in (line.partition(":") for line in head[1:])}
            status, said, body = answer(method, target, headers)
            said["Content-Length"] = str(len(body) if isinstance(body, bytes) else body[2])
            lines = "".join(f"{name}: {value}\r\n" for name, value in said.items())
            writer.write(f"HTTP/1.1 {status} X\r\n{lines}\r\n".encode())
            if method != "HEAD" and not isinstance(body, bytes):
                counts["bytes"] = counts.get("bytes", 0) + body[2]
            if method != "HEAD":
                if isinstance(body, bytes):
                    writer.write(body)
                else:
                    with open(body[0], "rb") as file:
                        await asyncio.get_running_loop().sendfile(writer.transport, file, body[1], body[2])
            await writer.drain()
    except (asyncio.IncompleteReadError, ConnectionError, OSError):
        pass
    finally:
        writer.close()


async def main():
    server = await asyncio.start_server(serve, HOST, int(PORT), limit=1 << 20, backlog=4096)
    async with server:
        await server.serve_forever()


asyncio.run(main())
