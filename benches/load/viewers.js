// Viewers on demand who behave like players: multivariant playlist, media playlists, initialization segments, then segments paced
// in real time behind a buffer; they switch renditions by the throughput they see, jump, and leave before the end.
//
//   k6 run -e API=http://127.0.0.1:8081/api/presentations -e VIEWERS=100 -e DURATION=60s viewers.js

import http from "k6/http";
import { check, sleep } from "k6";
import { Counter, Trend } from "k6/metrics";
import { parseMaster, parseMedia, segmentAt } from "./hls.js";
import { summary, trendStats } from "./summary.js";

const BUFFER_MAX_S = 30; // what hls.js and Shaka keep ahead, about
const BUFFER_TO_RISE_S = 10; // no rise to a better rendition with less in hand
const SAFETY = 0.8; // of the throughput seen is counted on
const SEEK_CHANCE = 0.03; // a segment
const ABANDON_CHANCE = 0.02; // a segment

export const options = {
  scenarios: {
    viewers: {
      executor: "ramping-vus",
      startVUs: 1,
      stages: [
        { duration: "3s", target: Number(__ENV.VIEWERS || 50) },
        { duration: __ENV.DURATION || "30s", target: Number(__ENV.VIEWERS || 50) },
      ],
      gracefulRampDown: "1s",
      gracefulStop: "1s",
    },
  },
  summaryTrendStats: trendStats,
  thresholds: { http_req_failed: ["rate<0.001"] },
};

const startup = new Trend("startup_ms");
const stalls = new Counter("stalls");
const switches = new Counter("switches");
const seeks = new Counter("seeks");
const abandoned = new Counter("abandoned");
const played = new Counter("segments_played");

const TEXT = { headers: { "Accept-Encoding": "gzip, deflate, br" } };
const MEDIA = { responseType: "binary" };

export function setup() {
  const presentations = http.get(__ENV.API).json();
  const found = presentations.filter((each) => each.hls && each.tracks.some((track) => track.kind === "video")).map((each) => each.hls);
  if (found.length === 0) throw new Error("no presentation has HLS");
  return found;
}

function text(url) {
  const response = http.get(url, TEXT);
  return check(response, { "playlist is there": (r) => r.status === 200 }) ? response.body : null;
}

// Fetches media; gives bits and seconds it took, or null.
function media(url) {
  const response = http.get(url, MEDIA);
  if (!check(response, { "media is there": (r) => r.status === 200 })) return null;
  return { bits: response.body.byteLength * 8, seconds: Math.max(response.timings.duration, 0.05) / 1000 };
}

// A rendition being played: its playlist, and its initialization segment fetched.
function rendition(url) {
  const body = text(url);
  if (body === null) return null;
  const playlist = parseMedia(url, body);
  if (playlist.init && media(playlist.init) === null) return null;
  return playlist;
}

export default function (presentations) {
  const url = presentations[Math.floor(Math.random() * presentations.length)];
  const opened = Date.now();
  const body = text(url);
  if (body === null) return;
  const master = parseMaster(url, body);
  if (master.variants.length === 0) return;
  let level = 0;
  const renditions = {};
  const of = (uri) => (renditions[uri] ??= rendition(uri));
  const group = master.audio[master.variants[0].audio];
  const sound = group ? of(group[Math.floor(Math.random() * group.length)]) : null;

  let position = 0; // seconds, of what has been fetched
  let playhead = 0; // seconds, of what is shown
  let clock = null; // when the playhead was there; null until playing
  let throughput = 0; // bits a second, smoothed
  const advance = () => {
    if (clock === null) return;
    const now = Date.now();
    const shown = (now - clock) / 1000;
    if (playhead + shown > position + 0.05) stalls.add(1);
    playhead = Math.min(playhead + shown, position);
    clock = now;
  };
  for (;;) {
    const picture = of(master.variants[level].url);
    if (picture === null) return;
    if (position >= picture.duration - 0.01) break;
    const segment = picture.segments[segmentAt(picture, position + 0.001)];
    const got = media(segment.url);
    if (got === null) return;
    if (sound) {
      for (const each of sound.segments.filter((s) => s.start + 0.01 >= segment.start && s.start + 0.01 < segment.start + segment.duration)) {
        if (media(each.url) === null) return;
      }
    }
    played.add(1);
    advance();
    position = segment.start + segment.duration;
    if (clock === null) {
      clock = Date.now();
      startup.add(clock - opened);
    }
    const seen = got.bits / got.seconds;
    throughput = throughput === 0 ? seen : 0.7 * throughput + 0.3 * seen;

    let wanted = 0;
    master.variants.forEach((variant, index) => {
      if (variant.bandwidth <= SAFETY * throughput) wanted = index;
    });
    const ahead = position - playhead;
    if (wanted < level || (wanted > level && ahead >= Math.min(BUFFER_TO_RISE_S, picture.duration / 4))) {
      switches.add(1);
      level = wanted;
    }
    if (Math.random() < ABANDON_CHANCE) {
      abandoned.add(1);
      return;
    }
    if (Math.random() < SEEK_CHANCE) {
      seeks.add(1);
      position = playhead = picture.segments[Math.floor(Math.random() * picture.segments.length)].start;
      clock = Date.now();
      continue;
    }
    if (ahead > BUFFER_MAX_S) {
      sleep(ahead - BUFFER_MAX_S);
      advance();
    }
  }
  // What is left in the buffer is watched to its end.
  sleep(Math.max(position - playhead - (Date.now() - clock) / 1000, 0));
}

export function handleSummary(data) {
  return summary(data);
}
