"""front.py FRONT ORIGIN ADMIN [--plain]: judges a cache at FRONT before Headwater at ORIGIN (admin listener at ADMIN): what it answers is
what the origin answers, and what was asked for once is not asked of the origin again. Prints a line a check; fails if one does. --plain: viewers send no query, and
all the same Accept-Encoding."""
import concurrent.futures, hashlib, http.client, json, re, sys, urllib.parse

front, origin, admin = sys.argv[1:4]
is_plain = "--plain" in sys.argv
failed = 0

def ask(host, path, headers=(), method="GET"):
    connection = http.client.HTTPConnection(host, timeout=30)
    try:
        connection.request(method, path, headers=dict(headers))
        answer = connection.getresponse()
        return answer.status, {key.lower(): value for key, value in answer.getheaders()}, answer.read()
    finally:
        connection.close()

def requests():
    """Requests that the origin has answered."""
    text = ask(admin, "/metrics")[2].decode()
    return sum(int(line.rsplit(" ", 1)[1]) for line in text.splitlines() if line.startswith("headwater_requests_total{"))

def check(is_right, what):
    global failed
    failed += not is_right
    print(f"{'ok' if is_right else 'FAIL':5} {what}")

def playlist(path):
    status, _, body = ask(front, path)
    assert status == 200, (path, status)
    lines = body.decode().splitlines()
    uris = [line for line in lines if line and not line.startswith("#")]
    return [urllib.parse.urljoin(path, uri) for uri in uris + re.findall(r'URI="([^"]+)"', "\n".join(lines))]

def all_urls(name):
    lists = playlist(f"/{name}/master.m3u8")
    media = sorted({uri for each in lists for uri in playlist(each)})
    return sorted(set(lists)) + media

names = [each["name"] for each in json.loads(ask(admin, "/api/presentations")[2]) if each["hls"]]
chosen = [name for name in ("tour", "clips", "muxed") if name in names] or names[:3]
urls = [url for name in chosen for url in all_urls(name)]
spellings = ["identity", "gzip", "gzip, deflate, br", "br;q=1.0, gzip;q=0.8", "gzip, deflate, br, zstd"]
if is_plain:
    spellings = ["identity"] * 5
before = requests()
for round in range(5):
    query = "" if is_plain else f"?CMCD=sid%3D%22viewer-{round}%22%2Cbl%3D{round}000&session={round}"
    for url in urls:
        status, headers, body = ask(front, url + query, {"Accept-Encoding": spellings[round]})
        if status != 200:
            check(False, f"{url}: {status}")
        if round == 0:
            _, expected, bytes_ = ask(origin, url)
            before += 1
            same = hashlib.sha256(body).digest() == hashlib.sha256(bytes_).digest()
            keeps = all(headers.get(key) == expected.get(key) for key in ("content-type", "cache-control", "access-control-allow-origin"))
            etag = headers.get("etag", "").removeprefix("W/") == expected["etag"].removeprefix("W/") or expected["etag"].rstrip('"') in headers.get("etag", "")
            if not (same and keeps and etag and "set-cookie" not in headers):
                check(False, f"{url}: is not what the origin says: {headers} instead of {expected}")
asked = 5 * len(urls)
origin_saw = requests() - before
share = 1 - origin_saw / asked
check(share >= 0.79, f"{len(urls)} URLs of {', '.join(chosen)}, five viewers each: hit ratio {share:.3f}, the origin was asked {origin_saw} times for {asked}")
check(origin_saw <= len(urls), "nothing was asked of the origin twice")

segment = next(url for url in urls if url.endswith(".m4s"))
whole = ask(front, segment)
part = ask(front, segment, {"Range": "bytes=10-29"})
check(part[0] == 206 and part[2] == whole[2][10:30], f"a range of a segment: {part[0]} {part[1].get('content-range')}")
again = ask(front, segment, {"If-None-Match": whole[1]["etag"]})
check(again[0] == 304 and not again[2], f"a condition that holds: {again[0]}")
head = ask(front, segment, method="HEAD")
check(head[0] == 200 and head[1].get("content-length") == str(len(whole[2])), f"HEAD: {head[0]}")
check(not whole[1]["etag"].startswith("W/"), f"the entity tag of media stays strong: {whole[1]['etag']}")
check("headwater" in whole[1].get("cache-status", ""), f"Cache-Status: {whole[1].get('cache-status')}")
packed = ask(front, f"/{chosen[0]}/master.m3u8", {"Accept-Encoding": "gzip"})
check(packed[0] == 200, f"a playlist for who takes gzip: {packed[1].get('content-encoding', 'identity')}")

before = requests()
missing = [ask(front, f"/{chosen[0]}/nothing/0123456789abcdef/0.m4s")[0] for _ in range(5)]
check(set(missing) == {404} and requests() - before <= 1, f"what does not exist is remembered: the origin was asked {requests() - before} times for 5")

# Of a query, what a live playlist depends on makes another object, and what players say of themselves does not.
before = requests()
listed = f"/{chosen[0]}/master.m3u8"
for query in ("_HLS_msn=7&_HLS_part=0", "_HLS_msn=7&_HLS_part=1", "CMCD=sid%3D%22a%22&_HLS_msn=7&_HLS_part=1", "_HLS_msn=7&_HLS_part=1&CMCD=b", "_HLS_msn=8"):
    ask(front, f"{listed}?{query}")
blocking = requests() - before
before = requests()
for query in ("CMCD=c", "CMCD=d", "x_HLS_msn=7"):
    ask(front, f"{listed}?{query}")
check(blocking == 3 and requests() - before <= 1 or is_plain and blocking >= 3, f"3 states of a live playlist, whatever else the query says: the origin was asked {blocking} times, and {requests() - before} for what is no state")

cold = [url for name in names if name not in chosen for url in [f"/{name}/manifest.mpd"]][:5]
before = requests()
with concurrent.futures.ThreadPoolExecutor(50) as pool:
    for url in cold:
        answers = list(pool.map(lambda _: ask(front, url)[0], range(50)))
        if set(answers) - {200, 404}:
            check(False, f"{url}: {set(answers)}")
check(requests() - before <= 2 * len(cold), f"{len(cold)} cold objects for 50 viewers at once each: the origin was asked {requests() - before} times")
sys.exit(1 if failed else 0)
