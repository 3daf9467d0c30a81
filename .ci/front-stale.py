"""front-stale.py FRONT INGEST PID: what a cache at FRONT answers when what it has is stale, and the origin, of process PID, can't help: a manifest on demand,
as its headers allow; never one of a channel, whether it has fallen silent or the origin is gone. The channel is pushed to INGEST."""
import http.client, os, signal, sys, time
from pathlib import Path

front, ingest, pid = sys.argv[1], sys.argv[2], int(sys.argv[3])
failed = 0

def check(is_right, what):
    global failed
    failed += not is_right
    print(f"{'ok' if is_right else 'FAIL':5} {what}")

def ask(path):
    connection = http.client.HTTPConnection(front, timeout=30)
    try:
        connection.request("GET", path, headers={"Accept-Encoding": "identity"})
        answer = connection.getresponse()
        return answer.status, answer.getheader("cache-control"), answer.read()
    finally:
        connection.close()

def push(track):
    folder = Path("testdata/packaging") / track
    connection = http.client.HTTPConnection(ingest, timeout=30)
    connection.request("PUT", f"/ingest/pushed/{track}", b"".join(path.read_bytes() for path in [folder / "init.mp4", *sorted(folder.glob("*.m4s"))]))
    answer = connection.getresponse()
    check(answer.status == 200, f"{track} is pushed: {answer.status} {answer.read().decode()}")

def until(path, wanted, limit_s=60):
    begin = time.monotonic()
    while (answer := ask(path))[0] != wanted and time.monotonic() - begin < limit_s:
        time.sleep(0.5)
    return answer[0], time.monotonic() - begin

for track in ("video", "audio"):
    push(track)
on_demand, live = "/hevc/master.m3u8", "/pushed/master.m3u8"
status, _ = until(live, 200, 10)
_, control, _ = ask(live)
check(status == 200 and "must-revalidate" in control, f"a playlist of the channel: {status}, {control}")
status, control, text = ask(on_demand)
check(status == 200 and "stale-if-error" in control, f"a playlist on demand: {status}, {control}")
status, seconds = until(live, 503)
check(status == 503, f"the channel has fallen silent, which is told after {seconds:.0f} s: {status}")
check(ask(on_demand)[0] == 200, "the playlist on demand is refreshed")
os.kill(pid, signal.SIGKILL)
# A cache may have to see that it is gone.
time.sleep(5)
status, _, now = ask(on_demand)
check(status == 200 and now == text, f"the origin is gone, and the playlist on demand is answered as it was: {status}")
status, _, _ = ask(live)
check(status >= 500, f"that of the channel is not: {status}")
sys.exit(1 if failed else 0)
