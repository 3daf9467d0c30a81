// Runs the k6 scripts without k6: its modules are stubs, its clock is simulated, its server answers from a small presentation in
// memory. Fails if a script does not load, asks for what no manifest names, or does not do what it is for.
//
//   node check.mjs

import assert from "node:assert/strict";
import { cpSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";

const here = dirname(fileURLToPath(import.meta.url));
const scripts = ["viewers", "cdn"];
const SEGMENTS = 20;
const SEGMENT_S = 6;

// ---- A server: one presentation, two pictures, one sound.
const media = "http://media.example";
const api = "http://admin.example/api/presentations";
const files = new Map();
files.set(api, JSON.stringify([
  { name: "film", hls: `${media}/film/master.m3u8`, dash: `${media}/film/manifest.mpd`, tracks: [{ kind: "video" }, { kind: "audio" }] },
  { name: "broken", hls: null, dash: null, tracks: [] },
]));
files.set(`${media}/film/manifest.mpd`, "<MPD/>");
files.set(`${media}/film/master.m3u8`, [
  "#EXTM3U",
  '#EXT-X-MEDIA:TYPE=AUDIO,GROUP-ID="a",NAME="English, plain",LANGUAGE="en",DEFAULT=YES,URI="sound/1/media.m3u8"',
  '#EXT-X-STREAM-INF:BANDWIDTH=2000000,CODECS="avc1.64001f,mp4a.40.2",AUDIO="a"',
  "high/1/media.m3u8",
  '#EXT-X-STREAM-INF:BANDWIDTH=500000,CODECS="avc1.64001e,mp4a.40.2",AUDIO="a"',
  "low/1/media.m3u8",
  "",
].join("\n"));
const sizes = { high: 1_400_000, low: 300_000, sound: 100_000 };
for (const [track, bytes] of Object.entries(sizes)) {
  const list = ["#EXTM3U", "#EXT-X-TARGETDURATION:6", '#EXT-X-MAP:URI="init.mp4"'];
  files.set(`${media}/film/${track}/1/init.mp4`, new ArrayBuffer(800));
  for (let index = 0; index < SEGMENTS; index++) {
    list.push(`#EXTINF:${SEGMENT_S}.000,`, `${index * SEGMENT_S}.m4s`);
    files.set(`${media}/film/${track}/1/${index * SEGMENT_S}.m4s`, new ArrayBuffer(bytes));
  }
  files.set(`${media}/film/${track}/1/media.m3u8`, [...list, "#EXT-X-ENDLIST", ""].join("\n"));
}

// ---- k6, as far as the scripts use it.
const world = { now_ms: 1_000_000, slow: false, asked: [], counters: {}, checks: { passed: 0, failed: 0 }, turn: 0 };
globalThis.k6 = {
  get(url, params = {}) {
    const found = files.get(url);
    assert.notEqual(found, undefined, `no manifest names ${url}`);
    world.asked.push({ url, params });
    const length = typeof found === "string" ? found.length : found.byteLength;
    const duration = 5 + (length * 8) / (world.slow ? 600 : 50_000);
    world.now_ms += duration;
    const etag = `"${url.length}"`;
    const headers = params.headers ?? {};
    const status = headers["If-None-Match"] === etag ? 304 : headers.Range ? 206 : 200;
    const body = params.responseType === "none" ? null : found;
    assert.equal(typeof body === "object" && body !== null, params.responseType === "binary");
    return { status, body, headers: { Etag: etag }, timings: { duration }, json: () => JSON.parse(found) };
  },
  sleep(seconds) {
    assert(Number.isFinite(seconds) && seconds >= 0, `sleep(${seconds})`);
    world.now_ms += seconds * 1000;
  },
  check(value, checks) {
    const passed = Object.values(checks).every((holds) => holds(value));
    world.checks[passed ? "passed" : "failed"]++;
    return passed;
  },
  Counter: class {
    constructor(name) { this.name = name; world.counters[name] = 0; }
    add(value) {
      assert(Number.isFinite(value), `${this.name}: ${value}`);
      world.counters[this.name] += value;
    }
  },
  exec: { scenario: { get iterationInTest() { return world.turn; } } },
};
globalThis.__ENV = { API: api };
Date.now = () => world.now_ms;

// A generator of its own, so that each run takes the same turns.
let seed = 12345;
Math.random = () => {
  seed = (Math.imul(seed, 1103515245) + 12345) >>> 0;
  return seed / 2 ** 32;
};

// ---- The scripts, beside stubs that their imports find.
const folder = mkdtempSync(join(tmpdir(), "k6-check-"));
try {
  const stubs = {
    k6: "export const { check, sleep } = globalThis.k6;",
    "k6/http": "export default { get: globalThis.k6.get };",
    "k6/metrics": "export const { Counter } = globalThis.k6; export { Counter as Trend };",
    "k6/execution": "export default globalThis.k6.exec;",
  };
  for (const [name, text] of Object.entries(stubs)) {
    const module = join(folder, "node_modules", "k6");
    mkdirSync(module, { recursive: true });
    writeFileSync(join(module, name === "k6" ? "index.js" : `${name.slice(3)}.js`), text);
  }
  const exports = { ".": "./index.js", "./http": "./http.js", "./metrics": "./metrics.js", "./execution": "./execution.js" };
  writeFileSync(join(folder, "node_modules", "k6", "package.json"), JSON.stringify({ name: "k6", type: "module", exports }));
  writeFileSync(join(folder, "package.json"), '{"type":"module"}');
  for (const name of ["hls", "summary", ...scripts]) cpSync(join(here, `${name}.js`), join(folder, `${name}.js`));

  const loaded = {};
  for (const name of scripts) {
    loaded[name] = await import(pathToFileURL(join(folder, `${name}.js`)));
    const { options, setup, default: iteration, handleSummary } = loaded[name];
    for (const part of [setup, iteration, handleSummary]) assert.equal(typeof part, "function", name);
    assert(Object.values(options.scenarios).every((scenario) => scenario.executor));
    // What run hands over in the environment, the script must read.
    for (const variable of ["API", "DURATION"]) assert(readFileSync(join(here, `${name}.js`), "utf8").includes(`__ENV.${variable}`));
    const summed = handleSummary({ metrics: { http_reqs: { values: { count: 7 } } }, state: { testRunDurationMs: 1500 } });
    assert.match(summed.stdout, /^RESULT 7 1\.500000 0 0\.000 0\.000 0\n/);
  }

  const found = loaded.viewers.setup();
  assert.deepEqual(found, [`${media}/film/master.m3u8`]);
  let watched_s = 0;
  for (let viewer = 0; viewer < 200; viewer++) {
    world.slow = viewer % 4 === 0;
    const [began, played] = [world.now_ms, world.counters.segments_played];
    world.asked.length = 0;
    loaded.viewers.default(found);
    const seconds = (world.now_ms - began) / 1000;
    watched_s += seconds;
    // Nobody fetches further ahead than the buffer, whatever the speed of the network.
    const fetched_s = (world.counters.segments_played - played) * SEGMENT_S;
    assert(world.counters.seeks > 0 || fetched_s <= seconds + 30 + 2 * SEGMENT_S, `${fetched_s} s of media in ${seconds} s`);
    assert.equal(world.asked[0].url, `${media}/film/master.m3u8`);
    assert(world.asked[1].url.endsWith("/low/1/media.m3u8") || world.asked[1].url.includes("/sound/"));
  }
  const { counters, checks } = world;
  assert.equal(checks.failed, 0);
  for (const name of ["switches", "seeks", "abandoned", "stalls"]) assert(counters[name] > 0, `no ${name} in 200 viewers`);
  assert(watched_s / counters.segments_played > SEGMENT_S / 2, "segments are not paced in real time");

  const data = loaded.cdn.setup();
  assert.equal(data.segments.length, 3 * SEGMENTS);
  assert.equal(new Set(data.segments.slice(0, 3).map((url) => url.split("/").pop())).size, 1, "not in the order of time");
  world.asked.length = 0;
  for (world.turn = 0; world.turn < 400; world.turn++) loaded.cdn.default(data);
  assert.equal(checks.failed, 0);
  const times = (header) => world.asked.filter((each) => each.params.headers[header]).length;
  assert.equal(times("If-None-Match"), 20);
  assert.equal(times("Range"), 38);
  assert.equal(new Set(world.asked.map((each) => each.url).filter((url) => url.endsWith(".m4s"))).size, 3 * SEGMENTS, "segments left out");
  console.log(`k6 scripts: ok (200 viewers: ${JSON.stringify(counters)})`);
} finally {
  rmSync(folder, { recursive: true });
}
