#!/usr/bin/env node
// watch.mjs --player hlsjs|dashjs|shaka --url URL [--start S] [--seconds S] ...: what a player has on screen, in headless Chromium.
//   --cues FILE [--text LANG]   is what is shown at each instant what FILE says ([[start, end, text], ...] in seconds)? Twice the same is wrong
//   --trick RATE                 Shaka Player: goes through it at RATE by its pictures alone, then plays on
//   --events COUNT               so many events of SCTE 35 are told while it plays; in HLS each a range that is valid, one of them over
//   --behind S --within W        hls.js, Shaka Player: at low latency, told to catch up: no stall, and in the second half of the time S behind on average, or W from it
// A second try where the first fails, for the machine may have been busy. PLAY_MODULES names a folder with node_modules: playwright-core and the players. Exit: 0 all well, 1 not, 2 no player.
import http from 'node:http';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { createRequire } from 'node:module';

const options = {};
for (let at = 2; at < process.argv.length; at += 2) options[process.argv[at].replace(/^--/, '')] = process.argv[at + 1];
const modules = path.resolve(process.env.PLAY_MODULES ?? '.', 'node_modules');
const libraries = { hlsjs: 'hls.js/dist/hls.js', dashjs: 'dashjs/dist/modern/umd/dash.all.debug.js', shaka: 'shaka-player/dist/shaka-player.compiled.debug.js' };
const library = path.join(modules, libraries[options.player] ?? '');
if (!options.url || !libraries[options.player] || !fs.existsSync(library)) {
  console.error('there is no such player');
  process.exit(2);
}
const { chromium } = createRequire(path.join(modules, 'x.js'))('playwright-core');

// What runs in the page.
function inPage(options) {
  const video = document.querySelector('video');
  const seen = { errors: [], samples: [], player: null, events: {} };
  window.seen = seen;
  const fail = (what) => seen.errors.push(String(what).slice(0, 300));
  video.addEventListener('error', () => fail(`media error ${video.error?.code} ${video.error?.message}`));
  const start = Number(options.start ?? 0);
  const imsc = document.querySelector('#imsc');
  // Shaka Player counts its delay from where it takes the newest media to begin to be there, and what it keeps from that delay. It takes the newest
  // segment to have ended when the MPD came (autoCorrectDrift), which at low latency is up to a segment too early.
  async function keepingBehind() {
    const mpd = new DOMParser().parseFromString(await (await fetch(options.url)).text(), 'text/xml');
    const templates = [...mpd.getElementsByTagName('SegmentTemplate')];
    const lengths = templates.flatMap((template) => [...template.getElementsByTagName('S')].map((s) => s.getAttribute('d') / template.getAttribute('timescale')));
    const offset = Math.min(...templates.map((template) => template.getAttribute('availabilityTimeOffset')));
    return {
      manifest: { defaultPresentationDelay: options.behind - (Math.max(...lengths) - offset), dash: { autoCorrectDrift: false, ignoreSuggestedPresentationDelay: true } },
      streaming: { lowLatencyMode: true, liveSync: { enabled: true, targetLatency: 0, targetLatencyTolerance: 0.1 } },
    };
  }
  const players = {
    hlsjs() {
      const hls = new Hls({
        startPosition: start || -1,
        subtitlePreference: options.cues ? { lang: options.text } : undefined,
        ...(options.behind ? { lowLatencyMode: true, maxLiveSyncPlaybackRate: 1.1 } : {}),
      });
      seen.behind = () => hls.latency;
      hls.on(Hls.Events.ERROR, (_, data) => { if (data.fatal || /subtitle|vtt/i.test(data.details)) fail(`${data.details} ${data.reason ?? ''}`); });
      hls.on(Hls.Events.MANIFEST_PARSED, () => video.play());
      hls.on(Hls.Events.LEVEL_UPDATED, (_, { details }) => {
        for (const [id, range] of Object.entries(details.dateRanges ?? {})) {
          if (!range.isValid) fail(`${id} is not valid`);
          if (range.attr['SCTE35-OUT']) seen.events[id] = Boolean(range.attr['SCTE35-IN']);
        }
      });
      hls.loadSource(options.url);
      hls.attachMedia(video);
    },
    dashjs() {
      const player = dashjs.MediaPlayer().create();
      player.initialize();
      player.updateSettings({ debug: { logLevel: 1 }, streaming: { text: { defaultEnabled: Boolean(options.cues) } } });
      const events = dashjs.MediaPlayer.events;
      player.on(events.ERROR, (event) => fail(event.error?.message ?? event.error));
      player.on(events.STREAM_INITIALIZED, () => {
        const index = player.getTracksFor('text').findIndex((track) => track.lang === options.text);
        if (options.cues && index >= 0) {
          player.enableText(true);
          player.setTextTrack(index);
        }
      });
      for (const scheme of ['urn:scte:scte35:2014:xml+bin', 'urn:scte:scte35:2013:bin']) {
        player.on(scheme, ({ event }) => { seen.events[event.id] = true; });
      }
      player.attachView(video);
      player.attachTTMLRenderingDiv(imsc);
      player.attachSource(options.url);
      player.setAutoPlay(true);
      if (start) player.on(events.CAN_PLAY, () => { if (!seen.begun) { seen.begun = true; player.seek(start); } });
    },
    async shaka() {
      shaka.polyfill.installAll();
      const player = new shaka.Player();
      seen.player = player;
      await player.attach(video);
      player.addEventListener('error', (event) => fail(`${event.detail.code} ${event.detail.message ?? ''}`));
      player.getNetworkingEngine().registerRequestFilter((_, request) => { if (request.uris[0].includes('.trick.m4s')) seen.pictures = (seen.pictures ?? 0) + 1; });
      const told = ({ detail }) => { if (/^urn:scte:scte35:/.test(detail.schemeIdUri)) seen.events[detail.id] = true; };
      player.addEventListener('timelineregionadded', told);
      player.addEventListener('emsg', told);
      if (options.behind) player.configure(await keepingBehind());
      seen.behind = () => player.getStats().liveLatency;
      await player.load(options.url, start || undefined);
      const track = player.getTextTracks().find((track) => track.language === options.text);
      if (options.cues && track) {
        player.selectTextTrack(track);
        player.setTextTrackVisibility?.(true);
      }
      await video.play();
    },
  };
  setInterval(() => {
    if (video.paused || video.seeking || video.readyState < 3) return;
    const active = [...video.textTracks].filter((track) => track.mode !== 'disabled' && track.kind !== 'metadata').flatMap((track) => [...track.activeCues ?? []]);
    const shown = active.map((cue) => cue.text ?? '').filter(Boolean);
    // IMSC is drawn as elements, and its cues have no text of their own.
    if (!shown.length) shown.push(imsc.innerText);
    seen.samples.push([video.currentTime, shown, video.getVideoPlaybackQuality().totalVideoFrames, performance.now(), options.behind ? seen.behind() : 0]);
  }, 50);
  Promise.resolve(players[options.player]()).catch((error) => fail(`${error.code ?? ''} ${error.message}`));
}

const PAGE = '<!doctype html><meta charset="utf-8"><body><video width="640" height="360" playsinline></video><div id="imsc"></div><script src="/library.js"></script>';
const server = http.createServer((request, response) => {
  if (request.url === '/library.js') return fs.createReadStream(library).pipe(response.setHeader('content-type', 'text/javascript'));
  return response.setHeader('content-type', 'text/html').end(PAGE);
});
await new Promise((listening) => server.listen(0, '127.0.0.1', listening));
const args = ['--no-sandbox', '--disable-gpu', '--mute-audio', '--autoplay-policy=no-user-gesture-required', '--disable-dev-shm-usage', '--disable-background-networking', '--disable-component-update'];
const seconds = Number(options.seconds ?? 10);

/** `text` without markup and white space. */
const letters = (text) => text.replace(/<[^>]*>|\{\\[^}]*\}|&lrm;|&rlm;/g, '').replace(/&lt;/g, '<').replace(/&gt;/g, '>').replace(/&nbsp;/g, ' ').replace(/&amp;/g, '&').replace(/\s+/g, '');

/** What came of watching once, a sentence a line. */
async function watch() {
  const said = [];
  const profile = fs.mkdtempSync(path.join(os.tmpdir(), 'watch-'));
  let context;
  try {
    context = await chromium.launchPersistentContext(profile, { executablePath: '/usr/bin/chromium', headless: true, args });
    const page = context.pages()[0] ?? await context.newPage();
    await page.goto(`http://127.0.0.1:${server.address().port}/`);
    await page.evaluate(inPage, options);
    const pause = (ms) => new Promise((over) => setTimeout(over, ms));
    // until CONDITION(samples, errors) or a limit: how far it went.
    const until = async (condition, limitS) => {
      const end = Date.now() + limitS * 1000;
      for (;;) {
        const now = await page.evaluate(() => ({ samples: seen.samples, errors: seen.errors, events: seen.events, pictures: seen.pictures ?? 0, ended: document.querySelector('video').ended }));
        if (condition(now) || now.errors.length || now.ended || Date.now() > end) return now;
        await pause(100);
      }
    };
    const played = (samples) => (samples.length ? samples.at(-1)[0] - samples[0][0] : 0);
    const ENOUGH_S = 30;
    if (options.trick) {
      await until(({ samples }) => played(samples) > 1.5, ENOUGH_S);
      await page.evaluate((rate) => { seen.samples = []; seen.player.trickPlay(rate); }, Number(options.trick));
      const trick = await until(({ samples }) => Math.abs(played(samples)) > seconds, ENOUGH_S);
      await page.evaluate(() => { seen.samples = []; seen.player.cancelTrickPlay(); });
      const after = await until(({ samples }) => played(samples) > 1, ENOUGH_S);
      const [from, to] = [trick.samples[0], trick.samples.at(-1)];
      const wall = trick.samples.length > 1 ? (to[3] - from[3]) / 1000 : 0;
      const frames = trick.samples.length > 1 ? to[2] - from[2] : 0;
      const speed = wall ? (to[0] - from[0]) / wall : 0;
      said.push(`${(to?.[0] - from?.[0]).toFixed(2)} s in ${wall.toFixed(2)} s, ${frames} pictures shown, ${trick.pictures} fetched; then ${played(after.samples).toFixed(2)} s played on`);
      const errors = [...trick.errors, ...after.errors];
      if (errors.length) said.push(`FAIL: ${errors.join('; ')}`);
      if (!trick.pictures) said.push('FAIL: no picture of its own was fetched');
      if (Math.abs(speed) < Math.abs(options.trick) * 0.7) said.push(`FAIL: it went ${speed.toFixed(2)} times as fast as it plays`);
      if (played(after.samples) < 0.5 && !after.ended) said.push('FAIL: it did not play on');
    } else if (options.events) {
      const are = ({ samples, events }) => played(samples) > 5 && Object.keys(events).length >= Number(options.events) && Object.values(events).includes(true);
      const now = await until(are, seconds);
      said.push(`${played(now.samples).toFixed(2)} s played, told of ${Object.keys(now.events).join(', ')}`);
      if (now.errors.length) said.push(`FAIL: ${now.errors.join('; ')}`);
      if (!are(now)) said.push(`FAIL: less than ${options.events} events`);
    } else if (options.behind) {
      const { samples, errors } = await until(({ samples }) => played(samples) > seconds, seconds + ENOUGH_S);
      const later = samples.slice(samples.length / 2).map((sample) => sample[4]);
      const mean = later.reduce((sum, one) => sum + one, 0) / later.length;
      // No frame for so long is seen.
      const STALL_MS = 400;
      const stalls = samples.filter((sample, at) => at && sample[3] - samples[at - 1][3] > STALL_MS).length;
      said.push(`${played(samples).toFixed(1)} s played, ${stalls} stalls, ${samples[20]?.[4].toFixed(2)} s behind after a second, ${mean.toFixed(2)} s in the second half, ${options.behind} s asked for`);
      if (errors.length) said.push(`FAIL: ${errors.join('; ')}`);
      if (played(samples) < seconds || stalls) said.push('FAIL: it did not play through');
      if (!(Math.abs(mean - options.behind) <= options.within)) said.push(`FAIL: it is not within ${options.within} s of that`);
    } else {
      const now = await until(({ samples }) => played(samples) > seconds, seconds + ENOUGH_S);
      if (now.errors.length) said.push(`FAIL: ${now.errors.join('; ')}`);
      const cues = JSON.parse(fs.readFileSync(options.cues)).map(([start, end, text]) => ({ start, end, text: letters(text) })).filter(({ text }) => text);
      // As long as a player may take: to notice an edge, and to fetch a text at first.
      const [EDGE_S, FIRST_S] = [0.3, 2];
      const first = now.samples[0]?.[0] ?? 0;
      const wrong = [];
      const watched = new Set();
      let compared = 0;
      for (const [time, shown] of now.samples) {
        const isNear = cues.some(({ start, end }) => Math.abs(time - start) < EDGE_S || Math.abs(time - end) < EDGE_S);
        if (time < first + FIRST_S || isNear) continue;
        const expected = cues.filter(({ start, end }) => start <= time && time < end);
        expected.forEach((cue) => watched.add(cue));
        compared += 1;
        // One cue of several lines or several cues: the letters are the same.
        const sorted = (texts) => [...texts.join('')].sort().join('');
        if (sorted(shown.map(letters)) !== sorted(expected.map(({ text }) => text))) wrong.push(`at ${time.toFixed(2)} s: ${JSON.stringify(shown)}, not ${JSON.stringify(expected.map(({ text }) => text))}`);
      }
      said.push(`${compared} instants, ${watched.size} of ${cues.length} cues`);
      if (wrong.length) said.push(`FAIL: ${wrong.length} instants wrong: ${wrong[0]}`);
      if (!watched.size) said.push('FAIL: no cue was due in what was watched');
    }
  } catch (error) {
    said.push(`FAIL: ${error.message}`);
  } finally {
    await context?.close();
    fs.rmSync(profile, { recursive: true, force: true });
  }
  return said;
}

let failed = true;
for (let attempt = 1; failed && attempt <= 2; attempt += 1) {
  const said = await watch();
  failed = said.some((line) => line.startsWith('FAIL'));
  said.forEach((line) => console.log(`try ${attempt}: ${line}`));
}
server.close();
process.exit(failed ? 1 : 0);
