#!/usr/bin/env python3
"""traces.py: a program with the feature `otel`, and a collector that takes its spans (OTLP over HTTP, protobuf) and decodes what matters of them.

HEADWATER=PROGRAM (else target/debug/headwater) serves testdata/ and is asked for a playlist and a segment, twice, within a trace that the request
names. Then each request must be a span of that trace, below it what was made and read for it, each within the time of what it is below; a hit makes and
reads nothing; and what waits is sent when the program is told to end. A second run, whose collector does not answer, must serve all the same. Prints the
spans as a tree; ends with status 1 if something is missing. Needs python3.
"""
import http.server
import os
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
HEADWATER = os.environ.get("HEADWATER", os.path.join(ROOT, "target/debug/headwater"))
FIRST_PORT = int(os.environ.get("TRACES_PORT", "18110"))
MEDIA, COLLECTOR, SILENT, ADMIN = range(FIRST_PORT, FIRST_PORT + 4)
ADMIN_TOKEN = "a token of this check alone"
TRACE, PARENT = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"


def varint(bytes_, at):
    value = shift = 0
    while True:
        byte = bytes_[at]
        at += 1
        value |= (byte & 0x7F) << shift
        shift += 7
        if byte < 0x80:
            return value, at


def fields(message):
    """Number and value of each field of a protobuf message: an integer, or bytes."""
    at = 0
    while at < len(message):
        key, at = varint(message, at)
        kind = key & 7
        if kind == 0:
            value, at = varint(message, at)
        elif kind == 1:
            value, at = int.from_bytes(message[at:at + 8], "little"), at + 8
        elif kind == 2:
            length, at = varint(message, at)
            value, at = message[at:at + length], at + length
        elif kind == 5:
            value, at = int.from_bytes(message[at:at + 4], "little"), at + 4
        else:
            raise ValueError(f"wire type {kind}")
        yield key >> 3, value


def all_of(message, number):
    return [value for own, value in fields(message) if own == number]


def attributes(message, number):
    """KeyValue (opentelemetry/proto/common/v1/common.proto): a string or an integer by its key."""
    found = {}
    for pair in all_of(message, number):
        key, value = all_of(pair, 1)[0].decode(), next(fields(all_of(pair, 2)[0]))
        found[key] = value[1].decode() if value[0] == 1 else value[1]
    return found


class Collector(http.server.BaseHTTPRequestHandler):
    spans, resources, requests = [], [], []

    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.requests.append((self.path, self.headers["Content-Type"]))
        # ExportTraceServiceRequest: ResourceSpans 1, of which Resource 1 and ScopeSpans 2, of which Span 2.
        for of_resource in all_of(body, 1):
            self.resources.extend(attributes(resource, 1) for resource in all_of(of_resource, 1))
            for of_scope in all_of(of_resource, 2):
                for span in all_of(of_scope, 2):
                    one = dict(fields(span))
                    self.spans.append({"trace": one[1].hex(), "id": one[2].hex(), "parent": one.get(4, b"").hex(), "name": one[5].decode(), "kind": one.get(6, 0),
                                       "from": one[7], "to": one[8], "said": attributes(span, 9)})
        self.send_response(200)
        self.send_header("Content-Type", "application/x-protobuf")
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_):
        pass


def get(path, **headers):
    try:
        return urllib.request.urlopen(urllib.request.Request(f"http://127.0.0.1:{MEDIA}{path}", headers=headers), timeout=30).read()
    except urllib.error.HTTPError as error:
        return error.read()


STARTED = []


def serve(collector):
    environment = {**os.environ, "OTEL_EXPORTER_OTLP_ENDPOINT": f"http://127.0.0.1:{collector}", "OTEL_SERVICE_NAME": "edge-7",
                   "HEADWATER_ACCESS_ADMIN": ADMIN_TOKEN}
    process = subprocess.Popen([HEADWATER, "serve", os.path.join(ROOT, "testdata"), "--listen", f"127.0.0.1:{MEDIA}", "--admin", f"127.0.0.1:{ADMIN}", "--log", "error"],
                               env=environment, stdout=subprocess.PIPE)
    STARTED.append(process)
    for _ in range(300):
        try:
            get("/healthz")
            return process
        except OSError:
            if process.poll() is not None:
                sys.exit(f"{HEADWATER} has ended")
            time.sleep(0.1)
    sys.exit("it does not answer")


def forget():
    """What the greeting has opened is closed, so that requests open it."""
    url, token = f"http://127.0.0.1:{ADMIN}/api/purge?all", {"Authorization": f"Bearer {ADMIN_TOKEN}"}
    urllib.request.urlopen(urllib.request.Request(url, method="POST", headers=token), timeout=30).read()


def end(process):
    began = time.monotonic()
    process.send_signal(signal.SIGTERM)
    return process.wait(60), time.monotonic() - began


def lines(text):
    return [line for line in text.decode().splitlines() if line and not line.startswith("#")]


def show(spans, parent, depth=0):
    for span in sorted((span for span in spans if span["parent"] == parent), key=lambda span: span["from"]):
        what = " ".join(f"{key}={value}" for key, value in span["said"].items() if not key.startswith(("code.", "thread.", "busy", "idle", "target", "level")))
        print(f"     {'  ' * depth}{span['name']} {(span['to'] - span['from']) / 1e6:.2f} ms  {what}")
        show(spans, span["id"], depth + 1)


def main():
    server = http.server.ThreadingHTTPServer(("127.0.0.1", COLLECTOR), Collector)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    process = serve(COLLECTOR)
    # It greets when what it greets with is opened.
    process.stdout.readline()
    named = {"traceparent": f"00-{TRACE}-{PARENT}-01"}
    forget()
    playlist = "/tour/" + lines(get("/tour/master.m3u8"))[0]
    segment = playlist.rsplit("/", 1)[0] + "/" + lines(get(playlist))[0]
    get(segment, **named)
    get(segment, **named)
    get("/nothing/master.m3u8", **named)
    status, _ = end(process)

    spans, by_id = Collector.spans, {span["id"]: span for span in Collector.spans}
    ours = [span for span in spans if span["trace"] == TRACE]
    requests = sorted((span for span in ours if span["name"] == "request"), key=lambda span: span["from"])
    below = lambda span: [other for other in spans if other["parent"] == span["id"]]
    names = lambda spans: [span["name"] for span in spans]
    made = below(requests[0]) if requests else []
    within = [span for span in spans if span["parent"] in by_id and not by_id[span["parent"]]["from"] <= span["from"] <= by_id[span["parent"]]["to"]]
    checks = [
        ("it ends well", status == 0, f"status {status}"),
        ("spans come by OTLP over HTTP", set(Collector.requests) == {("/v1/traces", "application/x-protobuf")}, f"{set(Collector.requests)}"),
        ("the service has its name", bool(Collector.resources) and all(one.get("service.name") == "edge-7" for one in Collector.resources), f"{len(Collector.resources)} batches"),
        ("requests are of the trace that they name", len(requests) == 3 and all(span["parent"] == PARENT and span["kind"] == 2 for span in requests),
         f"{len(requests)} of 3"),
        ("what they asked for, and what came of it", [span["said"].get("http.response.status_code") for span in requests] == [200, 200, 404]
         and all(span["said"].get("url.path") == segment for span in requests[:2]), f"{[span['said'].get('http.response.status_code') for span in requests]}"),
        ("a segment is made for the first", names(made) == ["make"] and "read" in names(below(made[0])), f"{names(made)}"),
        ("and nothing for the second, which is a hit", len(requests) > 1 and not below(requests[1]) and "hit" in requests[1]["said"].get("cache", ""),
         f"{requests[1]['said'].get('cache') if len(requests) > 1 else ''}"),
        ("opening is below the request that wanted it", any(span["name"] == "open" and by_id.get(span["parent"], {}).get("name") == "request" for span in spans), ""),
        ("nothing begins outside what it is below", not within, f"{names(within)}"),
    ]
    for root in {span["parent"] for span in spans} - by_id.keys():
        show(spans, root)

    # A collector that takes connections and never answers.
    silent = socket.create_server(("127.0.0.1", SILENT))
    process = serve(SILENT)
    took = []
    for _ in range(200):
        began = time.monotonic()
        get(segment)
        took.append(time.monotonic() - began)
    status, ending_s = end(process)
    silent.close()
    checks.append(("without an answer of the collector it serves all the same, and ends", status == 0 and ending_s < 20,
                   f"200 requests, the slowest {max(took[1:]) * 1e3:.0f} ms; it ended within {ending_s:.1f} s"))
    for name, is_right, said in checks:
        print(f"{'ok' if is_right else 'FAIL':5} {name}{': ' if said else ''}{said}")
    return 0 if all(is_right for _, is_right, _ in checks) else 1


if __name__ == "__main__":
    try:
        sys.exit(main())
    finally:
        for process in STARTED:
            if process.poll() is None:
                process.kill()
