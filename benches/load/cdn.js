// A CDN's pull pattern: edges ask for each segment once, in the order of time, from many connections; they ask again for
// manifests with the entity tag they have, and fetch large segments in slices.
//
//   k6 run -e API=http://127.0.0.1:8081/api/presentations -e RATE=500 -e DURATION=60s cdn.js

import http from "k6/http";
import { check } from "k6";
import exec from "k6/execution";
import { parseMaster, parseMedia } from "./hls.js";
import { summary, trendStats } from "./summary.js";

const MANIFEST_EVERY = 20; // requests
const SLICED_EVERY = 10; // segments; what nginx's slice module and most CDNs' large-file modes send
const SLICE_BYTES = 1 << 20;

export const options = {
  scenarios: {
    edges: {
      executor: "constant-arrival-rate",
      rate: Number(__ENV.RATE || 300),
      timeUnit: "1s",
      duration: __ENV.DURATION || "30s",
      preAllocatedVUs: 50,
      maxVUs: 200,
      gracefulStop: "1s",
    },
  },
  summaryTrendStats: trendStats,
  thresholds: { http_req_failed: ["rate<0.001"] },
};

// All segments, the first of every track first; and all manifests, with their entity tags.
export function setup() {
  const manifests = [];
  const segments = [];
  const manifest = (url) => {
    const response = http.get(url);
    if (response.status !== 200) throw new Error(`${url}: ${response.status}`);
    manifests.push({ url, etag: response.headers.Etag || response.headers.ETag });
    return response.body;
  };
  for (const presentation of http.get(__ENV.API).json()) {
    if (presentation.dash) manifest(presentation.dash);
    if (!presentation.hls) continue;
    const master = parseMaster(presentation.hls, manifest(presentation.hls));
    for (const url of new Set([...master.variants.map((variant) => variant.url), ...Object.values(master.audio).flat()])) {
      parseMedia(url, manifest(url)).segments.forEach((segment, index) => segments.push({ index, url: segment.url }));
    }
  }
  if (segments.length === 0) throw new Error("there is no segment");
  segments.sort((a, b) => a.index - b.index);
  return { manifests, segments: segments.map((segment) => segment.url) };
}

export default function ({ manifests, segments }) {
  const turn = exec.scenario.iterationInTest;
  const headers = { "User-Agent": "cdn", Via: "1.1 edge" };
  if (turn % MANIFEST_EVERY === 0) {
    const { url, etag } = manifests[(turn / MANIFEST_EVERY) % manifests.length];
    const response = http.get(url, { headers: { ...headers, "If-None-Match": etag } });
    check(response, { "manifest is the same": (r) => r.status === 304 });
    return;
  }
  const asked = turn - Math.ceil(turn / MANIFEST_EVERY); // segments so far, so that none is left out
  if (asked % SLICED_EVERY === 0) headers.Range = `bytes=0-${SLICE_BYTES - 1}`;
  const response = http.get(segments[asked % segments.length], { headers, responseType: "none" });
  check(response, { "segment is there": (r) => r.status === (headers.Range ? 206 : 200) });
}

export function handleSummary(data) {
  return summary(data);
}
