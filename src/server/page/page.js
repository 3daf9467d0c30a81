// The admin page: what there is, a player for it, and what the server is doing. No framework, no other host.

const $ = (id) => document.getElementById(id);

/** An element with properties, data and children. */
function el(tag, props = {}, ...children) {
  const node = document.createElement(tag);
  for (const [key, value] of Object.entries(props)) {
    if (key in node && key !== "list") node[key] = value;
    else node.setAttribute(key, value);
  }
  node.append(...children.filter((child) => child !== null && child !== undefined));
  return node;
}

// ---- numbers for people

const exact = new Intl.NumberFormat("en", { maximumFractionDigits: 0 });
const short = new Intl.NumberFormat("en", { notation: "compact", maximumFractionDigits: 1 });
const number = { format: (value) => (value < 100_000 ? exact : short).format(value) };
function scaled(value, units, base) {
  let power = 0;
  while (value >= base && power < units.length - 1) {
    value /= base;
    power += 1;
  }
  return `${value < 10 && power > 0 ? value.toFixed(1) : Math.round(value)} ${units[power]}`;
}
const bytes = (value) => scaled(value, ["B", "KiB", "MiB", "GiB", "TiB", "PiB"], 1024);
const bits = (value) => scaled(value, ["b/s", "kb/s", "Mb/s", "Gb/s", "Tb/s"], 1000);
const rate = (value) => `${value > 0 && value < 10 ? value.toFixed(1) : number.format(value)}/s`;
function length(one) {
  return one.duration_s == null ? "" : clock(one.duration_s);
}

function clock(seconds) {
  const s = Math.round(seconds);
  const pad = (n) => String(n).padStart(2, "0");
  return s < 3600 ? `${Math.floor(s / 60)}:${pad(s % 60)}` : `${Math.floor(s / 3600)}:${pad(Math.floor(s / 60) % 60)}:${pad(s % 60)}`;
}
function since(seconds) {
  const units = [[86400, "d"], [3600, "h"], [60, "min"], [1, "s"]];
  const [size, unit] = units.find(([size]) => seconds >= size) ?? [1, "s"];
  return `up ${Math.floor(seconds / size)} ${unit}`;
}

// ---- live figures

const FLOW_SECONDS = 120;
const flow = [];
/** What each figure was, for its plot. */
const history = new Map();
let last = null;

async function refreshFigures() {
  let figures;
  try {
    const response = await fetch("/api/status", { signal: AbortSignal.timeout(5000) });
    if (!response.ok) throw new Error(`status ${response.status}`);
    figures = await response.json();
  } catch {
    state("gone", "no answer");
    last = null;
    return;
  }
  state(figures.ready ? "ready" : "ending", figures.ready ? "ready" : "ending");
  const now = performance.now() / 1000;
  // A counter that went back belongs to a server that was started again.
  const usable = last && figures.requests >= last.figures.requests && figures.bytes_out >= last.figures.bytes_out;
  const per = (key) => (usable ? Math.max(0, figures[key] - last.figures[key]) / Math.max(0.2, now - last.now) : 0);
  const out = per("bytes_out") * 8;
  flow.push({ now, out });
  while (flow.length > 2 && flow[1].now < now - FLOW_SECONDS) flow.shift();
  drawFlow(now);

  $("media").textContent = figures.media;
  $("uptime").textContent = since(figures.uptime_s);
  $("version").textContent = `version ${figures.version}`;
  const apart = figures.clock_offset_s;
  $("clock").hidden = Math.abs(apart) < 1;
  $("clock").textContent = `the wall clock was set: ${number.format(Math.abs(apart))} s ${apart > 0 ? "ahead of" : "behind"} what is live`;
  const lookups = figures.hits + figures.misses;
  const set = (id, value, more) => {
    $(`f-${id}`).textContent = value;
    $(`f-${id}-more`).textContent = more;
  };
  set("out", bits(out), `${bytes(figures.bytes_out)} in all`);
  set("requests", rate(per("requests")), `${number.format(figures.requests)} in all, ${number.format(figures.requests_in_flight)} in flight`);
  plot("requests", now, per("requests"));
  const hitShare = Math.floor((figures.hits / lookups) * 1000) / 10;
  set("hits", lookups ? `${hitShare} %` : "–", `${number.format(figures.hits)} hits, ${number.format(figures.misses)} misses`);
  // Of the last second; in all would hide that it has just become bad.
  const found = per("hits");
  plot("hits", now, found + per("misses") > 0 ? found / (found + per("misses")) : null, 1);
  set("failures", rate(per("failures")), `${number.format(figures.failures)} in all, ${number.format(figures.connections_refused)} connections refused`);
  plot("failures", now, per("failures"));
  const mean = figures.flights_started ? figures.flights_us / figures.flights_started / 1000 : 0;
  set("flights", number.format(figures.flights), `${number.format(figures.flights_started)} begun, ${number.format(figures.flights_joined)} joined, ${mean.toFixed(mean < 10 ? 1 : 0)} ms each`);
  plot("flights", now, per("flights_started"));
  set("connections", number.format(figures.connections_open), `of ${number.format(figures.connections_max)}, ${number.format(figures.connections)} in all`);
  plot("connections", now, figures.connections_open);
  set("memory", figures.resident_bytes === null ? "–" : bytes(figures.resident_bytes), figures.descriptors === null ? "" : `${number.format(figures.descriptors)} descriptors`);
  plot("memory", now, figures.resident_bytes);
  set("players", rate(per("cmcd_requests")), `${number.format(figures.cmcd_starvations)} times starved`);
  plot("players", now, per("cmcd_requests"));
  set("cache", bytes(figures.cache.bytes), `of ${bytes(figures.cache.ceiling)}, ${number.format(figures.cache.entries)} objects`);
  drawCache(figures.cache.classes);
  last = { figures, now };
}

/** How the channel that is selected is. */
async function refreshChannel() {
  const panel = $("channel");
  if (!panel || !selected) return;
  let channels;
  try {
    const response = await fetch("/api/live", { signal: AbortSignal.timeout(5000) });
    if (!response.ok) return;
    channels = await response.json();
  } catch {
    return;
  }
  const one = channels.find((channel) => channel.name === selected?.name);
  if (!one || panel !== $("channel")) return;
  const seconds = (value) => `${value.toFixed(1)} s`;
  const facts = [
    one.state,
    `media ${seconds(one.media_age_s)} ago`,
    `segments of ${one.target_s} s`,
    one.part_target_s ? `parts of ${one.part_target_s} s` : "no parts",
    one.latency_s ? `DASH ${seconds(one.latency_s)} behind` : null,
    `${number.format(one.waiting)} waiting`,
  ].filter(Boolean).join(" · ");
  const drift = (value) => Math.abs(value ?? 0) < 0.1 ? "" : ` (clock ${value > 0 ? "slow" : "fast"} by ${seconds(Math.abs(value))})`;
  const rows = one.tracks.map((track) => {
    const gaps = track.gaps ? `, ${number.format(track.gaps)} missing` : "";
    const state = { missing: ", nothing comes of it", left: ", left behind by the others" }[track.state] ?? "";
    return el("li", {}, `${track.name}: segment ${track.next_number} next, ${seconds(track.behind_s)} behind${drift(track.drift_s)}, ${number.format(track.listed)} listed${gaps}${state}`);
  });
  const given = (own) => `${number.format(own.segments)} ${own.segments === 1 ? "segment" : "segments"}`;
  const encoders = one.encoders.map((own) => {
    const tracks = own.state === "standby" ? ` for ${own.standby.join(", ")}` : own.active.length ? `: ${own.active.join(", ")}` : "";
    return el("li", {}, `encoder ${own.name}, ${own.state}${tracks} · heard ${seconds(own.heard_s)} ago · ${given(own)}`);
  });
  const recording = one.recording
    ? [el("h3", {}, `Recording, ${one.recording.from} to ${one.recording.to}`),
      el("div", { className: "urls" }, drawUrl("HLS", one.recording.hls), drawUrl("DASH", one.recording.dash))]
    : [];
  panel.dataset.state = one.state;
  panel.replaceChildren(el("p", { className: "rule" }, facts), el("ul", {}, ...rows, ...encoders), ...recording);
}

function state(name, text) {
  const node = $("state");
  if (node.dataset.state === name) return;
  node.dataset.state = name;
  node.textContent = text;
}

function drawFlow(now) {
  const most = Math.max(1, ...flow.map((point) => point.out));
  const points = flow.map(({ now: at, out }) => `${(FLOW_SECONDS - (now - at)).toFixed(2)} ${(39 - (out / most) * 34).toFixed(2)}`);
  const line = points.length > 1 ? `M${points.join("L")}` : "";
  $("flow-line").setAttribute("d", line);
  const first = (FLOW_SECONDS - (now - flow[0].now)).toFixed(2);
  $("flow-area").setAttribute("d", line && `${line}L${FLOW_SECONDS} 40L${first} 40Z`);
}

/** Draws what the figure `id` was over the last two minutes; `null` is a gap, and the top is `most` or the largest. */
function plot(id, now, value, most) {
  const points = history.get(id) ?? [];
  history.set(id, points);
  points.push({ now, value });
  while (points.length > 2 && points[1].now < now - FLOW_SECONDS) points.shift();
  let path = document.querySelector(`#plot-${id} path`);
  if (!path) {
    const make = (tag, attributes) => {
      const node = document.createElementNS("http://www.w3.org/2000/svg", tag);
      for (const [key, text] of Object.entries(attributes)) node.setAttribute(key, text);
      return node;
    };
    const svg = make("svg", { id: `plot-${id}`, class: "plot", viewBox: "0 0 120 24", preserveAspectRatio: "none", "aria-hidden": "true" });
    path = make("path", {});
    svg.append(make("line", { x1: 0, y1: 23.5, x2: 120, y2: 23.5 }), path);
    $(`f-${id}-more`).after(el("dd", { className: "more" }, svg));
  }
  const top = most ?? Math.max(Number.MIN_VALUE, ...points.map((point) => point.value ?? 0));
  let line = "";
  points.forEach((point, index) => {
    if (point.value === null) return;
    const command = index && points[index - 1].value !== null ? "L" : "M";
    line += `${command}${(FLOW_SECONDS - (now - point.now)).toFixed(1)} ${(23 - (point.value / top) * 21).toFixed(1)}`;
  });
  path.setAttribute("d", line);
}

function drawCache(classes) {
  const bars = $("f-cache-bars");
  if (bars.childElementCount !== classes.length) {
    bars.replaceChildren(...classes.map((one) => el("div", { className: "bar" }, el("i", {}, el("b")), one.name)));
  }
  classes.forEach((one, index) => {
    const bar = bars.children[index];
    const share = one.ceiling ? Math.min(100, (one.bytes / one.ceiling) * 100) : 0;
    bar.querySelector("b").style.width = `${share}%`;
    bar.title = `${one.name}: ${bytes(one.bytes)} of ${bytes(one.ceiling)}, ${number.format(one.entries)} objects`;
  });
}

// ---- presentations

const PAGE = 100;
const LOADED_MAX = 5000;
const SEARCH_FROM = 9;
let all = [];
let shown = "";
let selected = null;

async function loadPresentations() {
  const found = [];
  try {
    for (;;) {
      const after = found.length ? `?after=${encodeURIComponent(found.at(-1).name)}` : "";
      const response = await fetch(`/api/presentations${after}`);
      if (!response.ok) return;
      const page = await response.json();
      found.push(...page);
      if (page.length < PAGE || found.length >= LOADED_MAX) break;
    }
  } catch {
    return;
  }
  const text = JSON.stringify(found);
  if (text === shown) return;
  shown = text;
  all = found;
  $("search-label").hidden = all.length < SEARCH_FROM;
  drawList();
  const again = selected && all.find((one) => one.name === selected.name);
  const named = nameInAddress();
  if (again) {
    if (JSON.stringify(again) !== JSON.stringify(selected)) select(again);
  } else {
    const first = all.find((one) => one.name === named) ?? (matchMedia("(min-width: 56rem)").matches ? all[0] : null);
    if (first || selected) select(first ?? null);
  }
}

const kinds = { video: "video", audio: "audio", text: "text" };
function summary(one) {
  // Of clips, as many as the richest has.
  const count = (kind) => Math.max(0, ...one.periods.map((period) => one.tracks.filter((track) => track.kind === kind && track.period === period.id).length));
  const clips = one.periods.length > 1 ? `${one.periods.length} clips, ` : "";
  return clips + Object.keys(kinds).filter((kind) => count(kind)).map((kind) => `${count(kind)} ${kinds[kind]}`).join(", ") || "nothing that plays";
}

function drawList() {
  const words = $("search").value.toLowerCase().split(/\s+/).filter(Boolean);
  const matches = all.filter((one) => {
    const text = [one.name, ...one.tracks.flatMap((track) => [track.codec, track.language, track.kind])].join(" ").toLowerCase();
    return words.every((word) => text.includes(word));
  });
  $("count").textContent = words.length ? `${matches.length} of ${all.length}` : `${all.length}${all.length >= LOADED_MAX ? "+" : ""}`;
  $("list").replaceChildren(...matches.map((one) => {
    const odd = one.warnings.length ? el("span", { className: "odd" }, ` · ${one.warnings.length} warning${one.warnings.length > 1 ? "s" : ""}`) : null;
    const button = el("button", { type: "button", onclick: () => open(one) },
      el("span", { className: "name" }, one.name),
      el("span", { className: "time" }, one.live ? "live" : length(one)),
      el("span", { className: "sum" }, summary(one), odd));
    button.dataset.name = one.name;
    return el("li", {}, button);
  }));
  mark();
  const note = $("list-note");
  note.hidden = matches.length > 0;
  note.textContent = all.length ? "Nothing has all of these words." : "Nothing here yet. Put fragmented MP4 files into the folder that is served; they show up here by themselves.";
}

function mark() {
  for (const button of $("list").querySelectorAll("button")) {
    button.setAttribute("aria-current", String(selected !== null && button.dataset.name === selected.name));
  }
}

function open(one) {
  history.replaceState(null, "", `#${encodeURIComponent(one.name)}`);
  select(one);
  if (!matchMedia("(min-width: 56rem)").matches) {
    $("detail").scrollIntoView({ block: "start", behavior: matchMedia("(prefers-reduced-motion: reduce)").matches ? "auto" : "smooth" });
  }
  $("detail").focus({ preventScroll: true });
}

let player = null;

function select(one) {
  const playing = player !== null && selected !== null && one !== null && one.hls === selected.hls;
  const stage = playing ? $("detail").querySelector(".stage") : null;
  if (!playing) {
    player?.close();
    player = null;
  }
  selected = one;
  mark();
  const detail = $("detail");
  detail.hidden = one === null;
  if (one === null) return;
  const facts = [one.live ? "live" : length(one), summary(one), one.rule].filter(Boolean).join(" · ");
  detail.setAttribute("aria-label", one.name);
  detail.replaceChildren(
    el("div", {}, el("h2", {}, one.name), el("p", { className: "rule" }, facts)),
    stage ?? drawStage(one),
    el("div", { className: "urls" }, drawUrl("HLS", one.hls), drawUrl("DASH", one.dash)),
    ...(one.live ? [el("div", { id: "channel", className: "channel" })] : []),
    ...(one.warnings.length ? [el("div", { className: "warnings" }, el("h3", {}, one.warnings.length > 1 ? "Warnings" : "Warning"),
      el("ul", {}, ...one.warnings.map((warning) => el("li", {}, warning))))] : []),
    ...(one.periods.length > 1
      ? one.periods.map((period) => el("div", {}, el("h3", {}, `Clip ${period.id}, ${clock(period.start_s)} to ${clock(period.start_s + period.duration_s)}`),
        drawTracks(one.tracks.filter((track) => track.period === period.id))))
      : [el("div", {}, el("h3", {}, "Tracks"), drawTracks(one.tracks), ...one.thumbnails.map(drawThumbnails))]),
  );
}

function drawThumbnails({ name, count, columns, rows, width, height, interval_s: interval }) {
  const sheets = `${number.format(count)} sheet${count === 1 ? "" : "s"} of ${columns}×${rows}`;
  return el("p", { className: "note" }, `Thumbnails (${name}): ${width}×${height}, one every ${Number(interval.toFixed(3))} s, ${sheets}`);
}

function drawUrl(label, url) {
  const id = `url-${label}`;
  if (!url) return el("div", { className: "url" }, el("label", {}, label), el("span", { className: "none" }, "not offered, see the warnings"));
  const field = el("input", { id, type: "text", readOnly: true, value: url, onfocus: () => field.select() });
  const button = el("button", { type: "button", className: "copy", "aria-label": `Copy the ${label} URL` }, "Copy");
  button.onclick = async () => {
    try {
      await navigator.clipboard.writeText(url);
    } catch {
      // Without TLS only loopback pages have a clipboard.
      field.select();
      document.execCommand("copy");
    }
    button.textContent = "Copied";
    $("said").textContent = `${label} URL copied`;
    setTimeout(() => { button.textContent = "Copy"; }, 1500);
  };
  return el("div", { className: "url" }, el("label", { htmlFor: id }, label), field, button);
}

function drawTracks(tracks) {
  const head = (text, className = "") => el("th", { scope: "col", className }, text);
  const row = (track) => {
    const facts = [
      track.width && track.height ? `${track.width}×${track.height}` : null,
      track.frame_rate ? `${Number(track.frame_rate.toFixed(3))} fps` : null,
      track.channels ? `${track.channels} ch` : null,
      track.sample_rate ? `${track.sample_rate / 1000} kHz` : null,
      `${number.format(track.segments)} segment${track.segments === 1 ? "" : "s"}`,
    ].filter(Boolean).join(", ");
    const lock = track.protection ? el("span", { className: "lock" }, ` encrypted (${track.protection})`) : null;
    const tr = el("tr", { title: track.name }, el("td", {}, track.kind), el("td", { className: "codec mono" }, track.codec),
      el("td", { className: "facts" }, facts, lock), el("td", { className: "language" }, track.language ?? ""),
      el("td", { className: "number" }, track.bandwidth ? bits(track.bandwidth) : ""));
    tr.dataset.kind = track.kind;
    return tr;
  };
  return el("table", {},
    el("thead", {}, el("tr", {}, head("Kind"), head("Codec"), head("Details"), head("Language"), head("Peak rate", "number"))),
    el("tbody", {}, ...tracks.map(row)));
}

/** A bar over the length of `one`: it shows the thumbnail of the place that is pointed at, and `go` goes there. */
function drawSeek(one, video, go) {
  const { sheets, count, columns, rows, width, height, interval_s: interval } = one.thumbnails[0];
  const each = columns * rows;
  const picture = el("div", { className: "thumb", hidden: true });
  picture.style.width = `${width}px`;
  picture.style.height = `${height}px`;
  const bar = el("input", { type: "range", min: 0, max: one.duration_s, step: 0.1, value: 0, "aria-label": "Place, with thumbnails" });
  const show = (seconds) => {
    const place = Math.min(Math.floor(seconds / interval), count * each - 1);
    const tile = place % each;
    picture.style.backgroundImage = `url("${sheets.replace("{number}", Math.floor(place / each) + 1)}")`;
    picture.style.backgroundPosition = `${-(tile % columns) * width}px ${-Math.floor(tile / columns) * height}px`;
    const room = bar.clientWidth - width;
    picture.style.left = `${Math.max(0, Math.min(room, (seconds / one.duration_s) * bar.clientWidth - width / 2))}px`;
    picture.dataset.time = clock(seconds);
    picture.hidden = false;
  };
  bar.onpointermove = (event) => {
    const share = (event.clientX - bar.getBoundingClientRect().left) / bar.clientWidth;
    show(Math.max(0, Math.min(1, share)) * one.duration_s);
  };
  bar.oninput = () => {
    bar.setAttribute("aria-valuetext", clock(bar.value));
    show(Number(bar.value));
  };
  bar.onchange = () => go(Number(bar.value));
  bar.onpointerleave = bar.onblur = () => { picture.hidden = true; };
  video.addEventListener("timeupdate", () => { if (picture.hidden) bar.value = video.currentTime; });
  return el("div", { className: "seek" }, picture, bar);
}

function drawStage(one) {
  const video = el("video", { playsInline: true, preload: "none", "aria-label": `Player: ${one.name}` });
  const say = el("span", { className: "say", role: "status" });
  const tell = (text, bad = false) => {
    say.textContent = text;
    say.dataset.bad = String(bad);
  };
  const native = video.canPlayType("application/vnd.apple.mpegurl") !== "";
  const media = "MediaSource" in window || "ManagedMediaSource" in window;
  const engines = [native && ["native", "Browser's own HLS"], media && ["mse", "Page's player"]].filter(Boolean);
  const engine = el("select", { "aria-label": "Player" }, ...engines.map(([value, text]) => el("option", { value }, text)));
  engine.hidden = engines.length < 2;
  const variant = el("select", { "aria-label": "Quality", hidden: true });
  const go = el("button", { type: "button", className: "go" }, "Play");
  const screen = el("div", { className: "player" }, video, go);
  const begin = (at = 0, index = -1) => {
    player?.close();
    go.hidden = true;
    video.controls = true;
    tell("");
    variant.hidden = true;
    const mine = engine.value === "native" ? new NativePlayer(video, tell) : new MsePlayer(video, tell, (variants, chosen) => {
      variant.replaceChildren(...variants.map((one, i) => el("option", { value: i, selected: i === chosen, disabled: !one.types }, one.text)));
      variant.hidden = variants.length < 2;
    });
    player = mine;
    mine.open(one.hls, at, index).catch((error) => { if (player === mine && error.name !== "AbortError") tell(error.message, true); });
  };
  go.onclick = () => {
    begin();
    video.focus();
  };
  engine.onchange = () => { if (player) begin(video.currentTime); };
  variant.onchange = () => begin(video.currentTime, Number(variant.value));
  if (!one.hls) {
    screen.hidden = engine.hidden = true;
    tell("There is no HLS to play here; the warnings say why.");
  } else if (!engines.length) {
    go.disabled = true;
    tell("This browser has neither HLS nor Media Source Extensions.", true);
  } else if (one.tracks.some((track) => track.protection)) {
    tell("Encrypted: this page has no keys, so a player with a licence server is needed.");
  }
  const seek = one.hls && one.thumbnails.length && !go.disabled
    ? drawSeek(one, video, (seconds) => { if (player) video.currentTime = seconds; else begin(seconds); })
    : null;
  return el("div", { className: "stage" }, screen, seek, el("div", { className: "under" }, engine, variant, say));
}

// ---- the players

const ERRORS = ["", "stopped", "the network failed", "the media cannot be decoded", "this browser cannot play the format"];

class NativePlayer {
  constructor(video, tell) {
    Object.assign(this, { video, tell });
  }

  async open(url, at) {
    const { video, tell } = this;
    video.onerror = () => { if (video.error) tell(`The browser's player: ${ERRORS[video.error.code] ?? "failed"}. ${video.error.message}`, true); };
    video.onplaying = () => tell(`Playing with the browser's own HLS${video.videoHeight ? `, ${video.videoWidth}×${video.videoHeight}` : ""}`);
    video.onresize = video.onplaying;
    video.src = url;
    if (at) video.addEventListener("loadedmetadata", () => { video.currentTime = at; }, { once: true });
    tell("Opening");
    await video.play().catch((error) => { if (error.name === "NotAllowedError") tell("Press play."); });
  }

  close() {
    const { video } = this;
    video.onerror = video.onplaying = video.onresize = null;
    video.removeAttribute("src");
    video.load();
  }
}

const AHEAD_S = 30;
const BEHIND_S = 60;
const RETRIES = 3;

/** Attributes of a playlist tag (RFC 8216 §4.2). */
function attributes(text) {
  const found = {};
  for (const [, key, quoted, plain] of text.matchAll(/([A-Z0-9-]+)=(?:"([^"]*)"|([^,]*))/g)) found[key] = quoted ?? plain;
  return found;
}

/** The variants and audio renditions of a multivariant playlist; one variant of its own if it is a media playlist. */
function parseMaster(text, url) {
  if (!text.startsWith("#EXTM3U")) throw new Error("This is not an HLS playlist.");
  const lines = text.split(/\r?\n/);
  const audio = [];
  const variants = [];
  lines.forEach((line, index) => {
    if (line.startsWith("#EXT-X-MEDIA:")) {
      const tag = attributes(line.slice(13));
      if (tag.TYPE === "AUDIO") audio.push(tag);
    } else if (line.startsWith("#EXT-X-STREAM-INF:")) {
      const tag = attributes(line.slice(18));
      const uri = lines.slice(index + 1).find((next) => next && !next.startsWith("#"));
      if (uri) variants.push({ ...tag, url: new URL(uri, url).href });
    }
  });
  for (const variant of variants) {
    const group = audio.filter((tag) => tag["GROUP-ID"] === variant.AUDIO);
    const chosen = group.find((tag) => tag.DEFAULT === "YES") ?? group[0];
    variant.audio = chosen?.URI ? new URL(chosen.URI, url).href : null;
    const codecs = (variant.CODECS ?? "").split(",").map((codec) => codec.trim()).filter((codec) => codec && !/^(stpp|wvtt)/.test(codec));
    const isVideo = (codec) => /^(avc|hvc|hev|av01|vp0|dv)/.test(codec);
    const [pictures, sounds] = [codecs.filter(isVideo), codecs.filter((codec) => !isVideo(codec))];
    const type = (kind, list) => `${kind}/mp4; codecs="${list.join(",")}"`;
    const separate = variant.audio !== null && variant.audio !== variant.url && pictures.length > 0;
    const sound = sounds.map((codec) => type("audio", [codec])).find(supported);
    if (!pictures.length) variant.types = sound ? [sound] : null;
    else if (separate) variant.types = supported(type("video", pictures)) && sound ? [type("video", pictures), sound] : null;
    else variant.types = supported(type("video", codecs)) ? [type("video", codecs)] : null;
    variant.urls = separate ? [variant.url, variant.audio] : [variant.url];
    const size = variant.RESOLUTION ? `${variant.RESOLUTION.split("x")[1]}p` : "audio";
    variant.text = `${size}, ${bits(Number(variant.BANDWIDTH))}, ${codecs[0] ?? "unknown codec"}`;
  }
  return variants;
}

const Source = () => window.MediaSource ?? window.ManagedMediaSource;
const supported = (type) => Source().isTypeSupported(type);

/** The segments of a media playlist, with times from its start. */
function parseMedia(text, url) {
  const list = { segments: [], ended: false, target: 6, sequence: 0 };
  let [time, duration, map, range, sequence] = [0, 0, null, null, 0];
  const span = (text, before) => {
    const [length, offset] = text.split("@").map(Number);
    const start = offset ?? before ?? 0;
    return [start, start + length];
  };
  for (const line of text.split(/\r?\n/)) {
    const [, tag, value = ""] = line.match(/^#(EXT[A-Z0-9-]+):?(.*)$/) ?? [];
    if (tag === "EXT-X-TARGETDURATION") list.target = Number(value);
    else if (tag === "EXT-X-MEDIA-SEQUENCE") sequence = list.sequence = Number(value);
    else if (tag === "EXT-X-DISCONTINUITY") throw new Error("Several clips: this page's own player plays one. Choose the browser's own, or give the URL to another player.");
    else if (tag === "EXT-X-ENDLIST") list.ended = true;
    else if (tag === "EXTINF") duration = parseFloat(value);
    else if (tag === "EXT-X-BYTERANGE") range = span(value, list.segments.at(-1)?.range?.[1]);
    else if (tag === "EXT-X-KEY" && attributes(value).METHOD !== "NONE") throw new Error("Encrypted: this page has no keys, so a player with a licence server is needed.");
    else if (tag === "EXT-X-MAP") {
      const { URI, BYTERANGE } = attributes(value);
      map = { url: new URL(URI, url).href, range: BYTERANGE ? span(BYTERANGE) : null };
    } else if (line && !line.startsWith("#")) {
      list.segments.push({ url: new URL(line, url).href, range, map, start: time, end: time + duration, sequence });
      time += duration;
      sequence += 1;
      range = null;
    }
  }
  return list;
}

class MsePlayer {
  constructor(video, tell, offer) {
    Object.assign(this, { video, tell, offer, abort: new AbortController(), offset: null, tracks: [] });
  }

  async open(url, at, wanted) {
    const { video, tell } = this;
    tell("Opening");
    const variants = parseMaster(await this.text(url), url);
    const playable = variants.filter((variant) => variant.types);
    if (!playable.length) {
      const codecs = [...new Set(variants.map((variant) => variant.CODECS))].filter(Boolean).join("; ");
      throw new Error(`This browser can decode none of the variants (${codecs || "no codecs are named"}).`);
    }
    const height = (variant) => Number(variant.RESOLUTION?.split("x")[1] ?? 0);
    // One that fills the player without waste, unless one was asked for.
    const enough = video.clientHeight * devicePixelRatio;
    const ranked = [...playable].sort((a, b) => height(a) - height(b) || Number(a.BANDWIDTH) - Number(b.BANDWIDTH));
    const variant = playable.includes(variants[wanted]) ? variants[wanted] : ranked.find((one) => height(one) >= enough) ?? ranked.at(-1);
    this.offer(variants, variants.indexOf(variant));
    this.label = variant.text;
    const lists = await Promise.all(variant.urls.map(async (one) => parseMedia(await this.text(one), one)));
    if (lists.some((list) => !list.segments.length)) throw new Error("A playlist has no segments.");

    const source = new (Source())();
    this.source = source;
    video.disableRemotePlayback = true;
    this.objectUrl = URL.createObjectURL(source);
    video.src = this.objectUrl;
    await new Promise((resolve) => source.addEventListener("sourceopen", resolve, { once: true }));
    if (this.abort.signal.aborted) return;
    this.tracks = lists.map((list, index) => ({
      url: variant.urls[index], list, next: 0, map: null, busy: false, buffer: source.addSourceBuffer(variant.types[index]),
    }));
    const main = this.tracks[0];
    const live = !lists.every((list) => list.ended);
    if (live) at = Math.max(0, main.list.segments.at(-1).end - 3 * main.list.target);
    await this.align(main);
    // Only now: appending a first segment of a late time has moved the end.
    source.duration = live ? Infinity : Math.max(...lists.map((list) => list.segments.at(-1).end));
    for (const track of this.tracks) this.locate(track, at);
    video.currentTime = at;

    const on = (name, act) => video.addEventListener(name, act, { signal: this.abort.signal });
    on("seeking", () => { for (const track of this.tracks) this.locate(track, video.currentTime); this.pump(); });
    on("timeupdate", () => this.pump());
    on("error", () => { if (video.error) tell(`${ERRORS[video.error.code] ?? "failed"}: ${video.error.message}`, true); });
    this.timer = setInterval(() => this.pump(), 250);
    if (live) this.reload();
    this.pump();
    await video.play().catch((error) => { if (error.name === "NotAllowedError") tell("Press play."); });
  }

  /** Lets playlist time 0 be media time 0, whatever the first segment's own time is. */
  async align(track) {
    const first = track.list.segments[0];
    const bytes = [await this.bytes(first.map), await this.bytes(first)];
    for (const part of bytes) await this.append(track, part);
    track.map = first.map;
    const offset = track.buffer.buffered.length ? track.buffer.buffered.start(0) : 0;
    if (offset < 0.5) return;
    await this.change(track, () => track.buffer.remove(0, Infinity));
    for (const one of this.tracks) one.buffer.timestampOffset = -offset;
    await this.append(track, bytes[1]);
  }

  locate(track, time) {
    const index = track.list.segments.findIndex((segment) => time < segment.end);
    track.next = index < 0 ? track.list.segments.length : index;
  }

  pump() {
    if (this.abort.signal.aborted) return;
    const { video, source } = this;
    for (const track of this.tracks) {
      if (!track.busy) this.fill(track).catch((error) => this.fail(error));
    }
    const done = (track) => !track.busy && track.list.ended && track.next >= track.list.segments.length;
    if (source.readyState === "open" && this.tracks.every(done)) source.endOfStream();
    // Playback waits at a hole that is shorter than anybody would notice: step over it.
    for (let i = 0; i < video.buffered.length; i += 1) {
      const start = video.buffered.start(i);
      if (video.readyState < 3 && start > video.currentTime && start - video.currentTime < 0.5) video.currentTime = start + 0.001;
    }
    const ranges = [...Array(video.buffered.length).keys()].map((i) => [video.buffered.start(i), video.buffered.end(i)]);
    const ahead = ranges.find(([start, end]) => start <= video.currentTime + 0.1 && video.currentTime <= end)?.[1];
    if (!video.error) this.tell(`Playing ${this.label}, ${Math.max(0, Math.round((ahead ?? video.currentTime) - video.currentTime))} s ahead`);
  }

  async fill(track) {
    const { segments } = track.list;
    const has = (segment) => {
      const { buffered } = track.buffer;
      for (let i = 0; i < buffered.length; i += 1) {
        if (buffered.start(i) <= segment.start + 0.15 && buffered.end(i) >= segment.end - 0.15) return true;
      }
      return false;
    };
    while (track.next < segments.length && has(segments[track.next])) track.next += 1;
    const segment = segments[track.next];
    if (!segment || segment.start > this.video.currentTime + AHEAD_S) return;
    track.busy = true;
    try {
      const map = segment.map?.url !== track.map?.url ? await this.bytes(segment.map) : null;
      const media = await this.bytes(segment);
      if (segment !== track.list.segments[track.next]) return;
      if (map) await this.append(track, map);
      track.map = segment.map;
      await this.append(track, media);
      if (segment === track.list.segments[track.next]) track.next += 1;
    } finally {
      track.busy = false;
    }
  }

  /** Appends; when the browser's memory is full, what was played long ago makes room. */
  async append(track, data) {
    const before = this.video.currentTime - BEHIND_S;
    if (track.buffer.buffered.length && track.buffer.buffered.start(0) < before - BEHIND_S) await this.change(track, () => track.buffer.remove(0, before));
    try {
      await this.change(track, () => track.buffer.appendBuffer(data));
    } catch (error) {
      if (error.name !== "QuotaExceededError") throw error;
      await this.change(track, () => track.buffer.remove(0, Math.max(0.1, this.video.currentTime - 5)));
      await this.change(track, () => track.buffer.appendBuffer(data));
    }
  }

  change(track, act) {
    return new Promise((resolve, reject) => {
      if (this.abort.signal.aborted) return reject(new DOMException("closed", "AbortError"));
      const settle = (result) => () => {
        track.buffer.removeEventListener("updateend", done);
        track.buffer.removeEventListener("error", failed);
        result();
      };
      const done = settle(resolve);
      const failed = settle(() => reject(new Error("The browser refused a segment: it is damaged or of another codec than its playlist says.")));
      track.buffer.addEventListener("updateend", done);
      track.buffer.addEventListener("error", failed);
      try {
        act();
      } catch (error) {
        settle(() => reject(error))();
      }
    });
  }

  async reload() {
    while (!this.abort.signal.aborted && !this.tracks.every((track) => track.list.ended)) {
      await new Promise((resolve) => setTimeout(resolve, this.tracks[0].list.target * 1000));
      for (const track of this.tracks) {
        try {
          const fresh = parseMedia(await this.text(track.url), track.url);
          const known = track.list.segments;
          const more = fresh.segments.filter((segment) => segment.sequence > known.at(-1).sequence);
          for (const segment of more) {
            const length = segment.end - segment.start;
            segment.start = known.at(-1).end;
            segment.end = segment.start + length;
            known.push(segment);
          }
          track.list.ended = fresh.ended;
        } catch (error) {
          if (error.name !== "AbortError") this.tell(error.message, true);
        }
      }
    }
  }

  async text(url) {
    return (await this.get(url)).text();
  }

  async bytes({ url, range }) {
    return (await this.get(url, range)).arrayBuffer();
  }

  async get(url, range) {
    const headers = range ? { Range: `bytes=${range[0]}-${range[1] - 1}` } : {};
    for (let tries = 1; ; tries += 1) {
      let why;
      try {
        const response = await fetch(url, { headers, signal: this.abort.signal });
        if (response.ok) return response;
        const reason = await response.json().then((body) => body.error, () => null);
        why = `${response.status}${reason ? `, ${reason}` : ""}`;
        if (response.status < 500) tries = RETRIES;
      } catch (error) {
        if (error.name === "AbortError") throw error;
        why = "no answer";
      }
      if (tries >= RETRIES) throw new Error(`${new URL(url).pathname}: ${why}`);
      await new Promise((resolve) => setTimeout(resolve, 500 * tries));
    }
  }

  fail(error) {
    if (error.name === "AbortError" || this.abort.signal.aborted) return;
    this.tell(error.message, true);
    this.abort.abort();
    clearInterval(this.timer);
  }

  close() {
    this.abort.abort();
    clearInterval(this.timer);
    this.video.removeAttribute("src");
    this.video.load();
    if (this.objectUrl) URL.revokeObjectURL(this.objectUrl);
  }
}

// ---- going

/** The presentation that the address names; anything may stand there. */
function nameInAddress() {
  try {
    return decodeURIComponent(location.hash.slice(1));
  } catch {
    return "";
  }
}

$("search").addEventListener("input", drawList);
addEventListener("hashchange", () => {
  const one = all.find((one) => one.name === nameInAddress());
  if (one && one.name !== selected?.name) select(one);
});
const every = (ms, act) => {
  const tick = async () => {
    if (!document.hidden) await act();
    setTimeout(tick, ms);
  };
  tick();
};
every(1000, refreshFigures);
every(1000, refreshChannel);
every(10000, loadPresentations);
