#!/usr/bin/env python3
"""fault-proxy.py LISTEN UPSTREAM: an HTTP/1.1 proxy (HOST:PORT both) that passes requests on as they are, counts them, and spoils answers.

GET /~faults?latency=MS&NAME=PERCENT... sets what goes wrong with object reads and listings from now on, and forgets what was set before:
  reset    the connection is reset before an answer
  cut      the body ends half way
  hang     no answer, and the connection stays open for a minute
  slow     the answer begins a second later
  tag      another ETag than the object has
  e500 e503 e429   that status
GET /~counts answers with a JSON object: requests by kind since the last time it was asked.
"""
import asyncio
import json
import random
import socket
import struct
import sys
import urllib.parse

faults = {}
counts = {}


def count(kind):
    counts[kind] = counts.get(kind, 0) + 1


async def head_of(reader):
    try:
        return await reader.readuntil(b"\r\n\r\n")
    except (asyncio.IncompleteReadError, ConnectionError):
        return None


def header(head, name):
    for line in head.split(b"\r\n")[1:]:
        key, _, value = line.partition(b":")
        if key.strip().lower() == name:
            return value.strip()
    return None


def reset(writer):
    sock = writer.get_extra_info("socket")
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()


def control(target):
    global counts
    url = urllib.parse.urlsplit(target)
    if url.path == "/~faults":
        faults.clear()
        faults.update({key: float(value) for key, value in urllib.parse.parse_qsl(url.query)})
        return faults
    now, counts = counts, {}
    return now


def chosen():
    dice = random.random() * 100
    for name, percent in faults.items():
        if name != "latency":
            if dice < percent:
                return name
            dice -= percent
    return None


async def serve(reader, writer, upstream):
    up_reader = up_writer = None
    try:
        while (head := await head_of(reader)) is not None:
            method, target, _ = head.split(b"\r\n")[0].decode("latin-1").split(" ")
            if target.startswith("/~"):
                body = json.dumps(control(target)).encode()
                writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body) + body)
                await writer.drain()
                continue
            kind = "list" if "list-type=" in target else method.lower()
            count(kind)
            spoiled = kind in ("get", "list")
            fault = chosen() if spoiled else None
            if spoiled and "latency" in faults:
                await asyncio.sleep(faults["latency"] / 1000)
            if fault:
                count(fault)
            if fault == "reset":
                return reset(writer)
            if fault == "slow":
                await asyncio.sleep(1)
            if fault == "hang":
                await asyncio.sleep(60)
                return reset(writer)
            if fault and fault[0] == "e":
                body = b"<Error><Code>Spoiled</Code></Error>"
                writer.write(b"HTTP/1.1 %s Spoiled\r\nContent-Length: %d\r\n\r\n" % (fault[1:].encode(), len(body)) + body)
                await writer.drain()
                continue
            if up_writer is None:
                up_reader, up_writer = await asyncio.open_connection(*upstream, limit=1 << 20)
            up_writer.write(head)
            left = int(header(head, b"content-length") or 0)
            while left > 0:
                piece = await reader.read(min(left, 1 << 16))
                up_writer.write(piece)
                left -= len(piece)
            await up_writer.drain()
            answer = await head_of(up_reader)
            if answer is None:
                return reset(writer)
            if fault == "tag":
                answer = b"\r\n".join(
                    b'etag: "spoiled"' if line.lower().startswith(b"etag:") else line for line in answer.split(b"\r\n"))
            writer.write(answer)
            if method == "HEAD" or b" 304 " in answer[:16] or b" 204 " in answer[:16]:
                await writer.drain()
                continue
            length = header(answer, b"content-length")
            if length is None:  # chunked: as it comes, and then this connection is over
                up_writer.write_eof()
                while piece := await up_reader.read(1 << 16):
                    writer.write(piece)
                    await writer.drain()
                    if piece.endswith(b"0\r\n\r\n"):
                        break
                return
            left = int(length)
            end = left // 2 if fault == "cut" else 0
            while left > end:
                piece = await up_reader.read(min(left - end, 1 << 16))
                if not piece:
                    return reset(writer)
                counts["bytes"] = counts.get("bytes", 0) + len(piece)
                writer.write(piece)
                await writer.drain()
                left -= len(piece)
            if fault == "cut":
                return
    except (ConnectionError, OSError):
        pass
    finally:
        for each in (writer, up_writer):
            if each is not None:
                each.close()


async def main():
    def address(text):
        host, port = text.rsplit(":", 1)
        return host, int(port)

    upstream = address(sys.argv[2])
    server = await asyncio.start_server(lambda r, w: serve(r, w, upstream), *address(sys.argv[1]), limit=1 << 20, backlog=4096)
    async with server:
        await server.serve_forever()


asyncio.run(main())
