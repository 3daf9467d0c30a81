#!/usr/bin/env python3
"""storage.py HEADWATER SERVER SCRATCH LIBRARY: scenes of LIBRARY in an S3 server, and the table of what came of them. See .ci/storage."""
import concurrent.futures
import datetime
import hashlib
import hmac
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.parse
import urllib.request

HEADWATER, SERVER, SCRATCH, LIBRARY = sys.argv[1:5]
FIRST_PORT = int(os.environ.get("STORAGE_PORT", "19200"))
PROXY, S3, RPC, MEDIA, ADMIN, LOCAL, TLS = (FIRST_PORT + n for n in (1, 10, 11, 20, 21, 22, 30))
KEY, SECRET, BUCKET = "GK" + "0123456789abcdef01234567", "ab" * 32, "media"
REGION = "us-east-1"
# How many presentations the scene of a restart has; the goal is stated for 10000.
MANY = int(os.environ.get("PRESENTATIONS", "300"))
DOWN_S = int(os.environ.get("DOWN_S", "20"))
rows, failures = [], 0


def row(scene, ok, said):
    global failures
    failures += not ok
    rows.append((scene, "ok" if ok else "FAIL", said))
    print(f"{'ok' if ok else 'FAIL':5} {scene}: {said}", flush=True)


def signed(method, path, body=b"", headers=None, query=""):
    """A request to the S3 server, signed as AWS describes (Signature Version 4)."""
    now = datetime.datetime.now(datetime.timezone.utc)
    stamp, day = now.strftime("%Y%m%dT%H%M%SZ"), now.strftime("%Y%m%d")
    digest = hashlib.sha256(body).hexdigest()
    head = {"host": f"127.0.0.1:{S3}", "x-amz-content-sha256": digest, "x-amz-date": stamp, **(headers or {})}
    names = ";".join(sorted(head))
    quoted = urllib.parse.quote(path)
    lines = [method, quoted, query, *(f"{name}:{head[name]}" for name in sorted(head)), "", names, digest]
    scope = f"{day}/{REGION}/s3/aws4_request"
    text = "\n".join(["AWS4-HMAC-SHA256", stamp, scope, hashlib.sha256("\n".join(lines).encode()).hexdigest()])
    key = ("AWS4" + SECRET).encode()
    for part in (day, REGION, "s3", "aws4_request"):
        key = hmac.new(key, part.encode(), hashlib.sha256).digest()
    signature = hmac.new(key, text.encode(), hashlib.sha256).hexdigest()
    head["authorization"] = f"AWS4-HMAC-SHA256 Credential={KEY}/{scope}, SignedHeaders={names}, Signature={signature}"
    request = urllib.request.Request(f"http://127.0.0.1:{S3}{quoted}", data=body if method == "PUT" else None, method=method, headers=head)
    return urllib.request.urlopen(request, timeout=60).read()


def put(key, path):
    with open(path, "rb") as file:
        signed("PUT", f"/{BUCKET}/{key}", file.read(), {"content-type": "application/octet-stream"})


def copy(source, key):
    signed("PUT", f"/{BUCKET}/{key}", headers={"x-amz-copy-source": f"/{BUCKET}/{source}"})


def wait_for(url, seconds=30, process=None):
    end = time.time() + seconds
    while time.time() < end:
        try:
            return urllib.request.urlopen(url, timeout=5).read()
        except urllib.error.HTTPError:
            return b""
        except OSError:
            if process is not None and process.poll() is not None:
                raise SystemExit(f"{process.args[0]} has ended")
            time.sleep(0.1)
    raise SystemExit(f"{url} does not answer")


def start_server():
    """Garage, or moto's server (its buckets are made by a request, garage's by its environment)."""
    log = open(os.path.join(SCRATCH, "server.log"), "w")
    if os.path.basename(SERVER) == "moto_server":
        process = subprocess.Popen([SERVER, "-H", "127.0.0.1", "-p", str(S3)], stdout=log, stderr=log)
        wait_for(f"http://127.0.0.1:{S3}/", process=process)
        signed("PUT", f"/{BUCKET}", headers={"content-type": "application/octet-stream"})
        return process
    config = os.path.join(SCRATCH, "garage.toml")
    with open(config, "w") as file:
        file.write(f"""metadata_dir = "{SCRATCH}/meta"
data_dir = "{SCRATCH}/data"
db_engine = "lmdb"
replication_factor = 1
rpc_bind_addr = "127.0.0.1:{RPC}"
rpc_secret = "{'cd' * 32}"
[s3_api]
s3_region = "{REGION}"
api_bind_addr = "127.0.0.1:{S3}"
""")
    env = {**os.environ, "GARAGE_DEFAULT_ACCESS_KEY": KEY, "GARAGE_DEFAULT_SECRET_KEY": SECRET, "GARAGE_DEFAULT_BUCKET": BUCKET}
    process = subprocess.Popen([SERVER, "-c", config, "server", "--single-node", "--default-bucket"], env=env, stdout=log, stderr=log)
    wait_for(f"http://127.0.0.1:{S3}/", process=process)
    return process


def start_proxy():
    here = os.path.dirname(os.path.abspath(__file__))
    process = subprocess.Popen([sys.executable, os.path.join(here, "fault-proxy.py"), f"127.0.0.1:{PROXY}", f"127.0.0.1:{S3}"])
    wait_for(f"http://127.0.0.1:{PROXY}/~counts", process=process)
    return process


def faults(**wanted):
    urllib.request.urlopen(f"http://127.0.0.1:{PROXY}/~faults?" + urllib.parse.urlencode(wanted)).read()


def counts():
    return json.loads(urllib.request.urlopen(f"http://127.0.0.1:{PROXY}/~counts").read())


ENVIRONMENT = {**os.environ, "AWS_ACCESS_KEY_ID": KEY, "AWS_SECRET_ACCESS_KEY": SECRET, "AWS_REGION": REGION,
               "AWS_ENDPOINT_URL": f"http://127.0.0.1:{PROXY}"}


class Server:
    """Headwater on `source`."""

    def __init__(self, source, *options, port=MEDIA, admin=ADMIN):
        self.url = f"http://127.0.0.1:{port}"
        self.admin = f"http://127.0.0.1:{admin}"
        log = open(os.path.join(SCRATCH, f"headwater-{port}.log"), "a")
        self.began = time.time()
        self.process = subprocess.Popen(
            [HEADWATER, "serve", source, "--listen", f"127.0.0.1:{port}", "--admin", f"127.0.0.1:{admin}", *options],
            env=ENVIRONMENT, stdout=log, stderr=log)
        wait_for(self.url + "/readyz", process=self.process)
        self.ready_s = time.time() - self.began

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.process.kill()

    def get(self, path, tries=1):
        for left in reversed(range(tries)):
            try:
                with urllib.request.urlopen(self.url + path, timeout=60) as answer:
                    return answer.status, answer.read()
            except urllib.error.HTTPError as error:
                if error.code != 503 or left == 0:
                    return error.code, error.read()
                time.sleep(1)
            except OSError:
                if left == 0:
                    return 0, b""

    def metric(self, name):
        text = urllib.request.urlopen(self.admin + "/metrics", timeout=30).read().decode()
        return sum(float(value) for value in re.findall(rf"^headwater_{name}(?:_total)?(?:{{[^}}]*}})? (\S+)$", text, re.M))

    def segments(self, presentation, tries=1):
        """The paths of all media segments that the HLS of a presentation names."""
        found = []
        base = f"/{presentation}/"
        status, master = self.get(base + "master.m3u8", tries)
        if status != 200:
            return None
        lists = re.findall(r'URI="([^"]+media\.m3u8)"', master.decode()) + re.findall(r"^([^#\s]\S*)$", master.decode(), re.M)
        for name in dict.fromkeys(lists):
            path = urllib.parse.urljoin(base, name)
            status, text = self.get(path, tries)
            if status == 200:
                found += [urllib.parse.urljoin(path, line) for line in re.findall(r"^([^#\s]\S*)$", text.decode(), re.M)]
        return found

    def rss_mib(self):
        with open(f"/proc/{self.process.pid}/status") as file:
            return int(re.search(r"VmRSS:\s+(\d+)", file.read())[1]) / 1024


def place(path):
    """What a segment is called in every version: presentation, track, file name."""
    parts = path.split("/")
    return "/".join(parts[:-2] + parts[-1:])


def pool(work, items, threads=16):
    with concurrent.futures.ThreadPoolExecutor(threads) as executor:
        return list(executor.map(work, items))


def main():
    names = [name.strip() for name in os.environ.get("NAMES", "").split()] or [
        "tour", "packaging", "packaging-flat", "progressive", "muxed", "hevc", "av1", "hybrid", "encrypted-cbcs", "shape-short-fragments"]
    server, proxy = start_server(), start_proxy()
    try:
        for folder, _, files in os.walk(LIBRARY):
            for file in files:
                path = os.path.join(folder, file)
                put(os.path.relpath(path, LIBRARY), path)
        scenes(names)
        proxy = down(proxy)
        over_tls()
    finally:
        for process in (proxy, server):
            process.terminate()
    width = max(len(scene) for scene, _, _ in rows)
    print("\n" + "\n".join(f"{scene:{width}}  {verdict:4}  {said}" for scene, verdict, said in rows))
    return failures


def scenes(names):
    source = f"s3://{BUCKET}"
    whole = {}
    with Server(LIBRARY, "--key-uri", "https://keys.example/{kid}", port=LOCAL, admin=LOCAL + 1) as local:
        for name in names:
            for path in local.segments(name) or []:
                whole[place(path)] = local.get(path)[1]
    key_uri = ("--key-uri", "https://keys.example/{kid}")

    # As a folder is, and what it costs.
    with Server(source, *key_uri) as server:
        counts()
        paths = [path for name in names for path in server.segments(name, 5) or []]
        opening = counts()
        wrong = [path for path in paths if server.get(path)[1] != whole.get(place(path))]
        row("the same bytes as from a folder", not wrong and len(paths) == len(whole),
            f"{len(paths)} segments of {len(names)} presentations; opened with {opening}")
        reading = counts()
        # What is rebuilt of an encrypted source reads its moof first.
        row("requests a cold segment", reading.get("get", 0) <= len(paths) * 2, f"{reading} for {len(paths)} segments")

    with Server(source) as server:
        paths = [path for path in server.segments("tour", 5) if "/video" in path]
        counts()
        bytes_read = -server.metric("storage_read_bytes")
        bodies = sum(len(server.get(path)[1]) for path in paths)
        bytes_read += server.metric("storage_read_bytes")
        read = counts()
        row("bytes of fragmented input", read["get"] == len(paths) and bytes_read <= bodies * 1.05,
            f"{read['get']} requests for {len(paths)} segments, {bytes_read / bodies:.3f} of their bytes")

    if shutil.which("h2load"):
        with Server(source) as server:
            path = [path for path in server.segments("tour", 5) if "/video" in path][0]
            counts()
            faults(latency=300)
            out = subprocess.run(["h2load", "--h1", "-n", "1000", "-c", "1000", server.url + path], capture_output=True, text=True).stdout
            faults()
            good = re.search(r"(\d+) succeeded", out)
            read = counts()
            row("1,000 clients, one cold segment", good is not None and good[1] == "1000" and read.get("get") == 1,
                f"{good and good[1]} answered, {read.get('get')} storage read(s)")

    # What goes wrong.
    for fault in ({"latency": 200}, {"reset": 20}, {"cut": 20}, {"e500": 20}, {"e503": 40}, {"e429": 40}, {"tag": 5}, {"hang": 2}):
        with Server(source, *key_uri, "--storage-silence", "1s") as server:
            faults(**fault)
            counts()
            began = time.time()
            found = [path for name in names for path in server.segments(name, 20) or []]
            answers = pool(lambda path: server.get(path, 20), found)
            seconds = time.time() - began
            faults()
            short = [path for path, (status, body) in zip(found, answers) if status == 200 and body != whole.get(place(path))]
            failed = sum(status != 200 for status, _ in answers)
            # A tag that changes and changes back is a replaced object each time: its segments may be asked for under a name that has gone.
            right = not short and (failed == 0 or "tag" in fault)
            row("faults: " + " ".join(f"{name} {value:g}" for name, value in fault.items()), right and ("tag" in fault or len(found) >= len(whole) * 0.9),
                f"{len(found)} segments in {seconds:.1f} s, {failed} not answered, {len(short)} wrong; "
                f"{server.metric('storage_requests'):.0f} requests, {server.metric('storage_retries'):.0f} again")

    # Waits that a second request shortens.
    if os.environ.get("HEDGE", "1") == "1":
        for hedge in ((), ("--storage-hedge", "90")):
            with Server(source, *key_uri, *hedge) as server:
                paths = [path for name in names for path in server.segments(name, 5) or []]
                faults(slow=5)
                times = []

                def timed(path):
                    began = time.time()
                    server.get(path)
                    times.append(time.time() - began)

                pool(timed, paths, 4)
                faults()
                times.sort()
                row("5 % of answers a second late" + (", hedged" if hedge else ""), True,
                    f"slowest twentieth {times[-len(times) // 20 or -1] * 1000:.0f} ms, "
                    f"{server.metric('storage_hedges'):.0f} of {server.metric('storage_requests'):.0f} requests sent twice")

    # A restart.
    pool(lambda number: copy("hevc.mp4", f"many/{number:05}/film.mp4"), range(MANY), 8)
    films = [f"{number:05}/film" for number in range(MANY)]
    cache = os.path.join(SCRATCH, "cache")
    began = time.time()
    subprocess.run([HEADWATER, "index", f"{source}/many", "--storage-cache-dir", cache], env=ENVIRONMENT, check=True)
    indexed_s = time.time() - began
    counts()
    with Server(f"{source}/many", "--storage-cache-dir", cache) as server:
        answers = pool(lambda name: server.get(f"/{name}/master.m3u8", 5)[0], films)
        read = counts()
        disk = sum(os.path.getsize(os.path.join(folder, file)) for folder, _, files in os.walk(cache) for file in files)
        row(f"restart with {MANY} indexed presentations", read.get("get", 0) == 0 and set(answers) == {200},
            f"ready in {server.ready_s:.2f} s, {read.get('get', 0)} storage reads, {read.get('list', 0)} listings while all of them were asked for; "
            f"indexed in {indexed_s:.1f} s, {disk / MANY / 1024:.1f} KiB each")

    # A long fragmented film.
    if shutil.which("ffmpeg"):
        film = os.path.join(SCRATCH, "long.mp4")
        subprocess.run(["ffmpeg", "-v", "error", "-y", "-f", "lavfi", "-i", "testsrc2=size=1280x720:rate=25", "-t", "600", "-c:v", "libx264", "-preset",
                        "ultrafast", "-b:v", "5M", "-minrate", "5M", "-maxrate", "5M", "-bufsize", "5M", "-g", "50", "-movflags",
                        "+frag_keyframe+empty_moov+default_base_moof", film], check=True)
        put("long.mp4", film)
        with Server(source) as server:
            counts()
            began = time.time()
            found = server.segments("long", 20)
            seconds = time.time() - began
            read = counts()
            row("opening a fragmented film", bool(found), f"{os.path.getsize(film) >> 20} MiB, {len(found or [])} segments: {read} in {seconds:.1f} s")


def over_tls():
    """The judges of playlists, and players, over TLS, of what lies in the S3 server."""
    here = os.path.dirname(os.path.abspath(__file__))
    if not os.access(os.path.join(here, "../../shared/verify/hls-check"), os.X_OK):
        print("the judges are missing: nothing is judged over TLS")
        return
    environment = {**ENVIRONMENT, "TLS_STORAGE": f"http://127.0.0.1:{S3}", "TLS_PORT": str(TLS), "HEADWATER": HEADWATER}
    ran = subprocess.run([os.path.join(here, "tls")], env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    print(ran.stdout, flush=True)
    said = re.findall(r"^(ok|FAIL|known) +((?:hls-|dash-|play-)\S+) (\S+)$", ran.stdout, re.M)
    by_verdict = lambda wanted: ", ".join(f"{judge} {name}" for verdict, judge, name in said if verdict == wanted) or "none"
    row("judges and players over TLS", ran.returncode == 0, f"ok: {by_verdict('ok')}; failed: {by_verdict('FAIL')}")


def down(proxy):
    with Server(f"s3://{BUCKET}", "--storage-age", "2s", "--storage-silence", "1s", "--storage-timeout", "3s") as server:
        hot = server.segments("tour", 5)
        for path in hot:
            server.get(path)
        cold = server.segments("progressive", 5)
        proxy.terminate()
        proxy.wait()
        end, seen = time.time() + DOWN_S, {"hot": {}, "cold": {}}
        before = server.rss_mib()
        while time.time() < end:
            work = [("hot", path) for path in ["/tour/master.m3u8", "/tour/manifest.mpd", *hot[:20]]] + [("cold", path) for path in cold[:2]]
            for kind, status in pool(lambda item: (item[0], server.get(item[1])[0]), work):
                seen[kind][status] = seen[kind].get(status, 0) + 1
        proxy = start_proxy()
        time.sleep(6)
        after = {server.get(path, 5)[0] for path in cold}
        row(f"storage down for {DOWN_S} s", set(seen["hot"]) == {200} and set(seen["cold"]) == {503} and after == {200},
            f"what was cached {seen['hot']}, what was not {seen['cold']}, afterwards {after}; "
            f"{server.metric('storage_stale'):.0f} looks failed, memory {before:.0f} to {server.rss_mib():.0f} MiB")
    return proxy


sys.exit(1 if main() else 0)
