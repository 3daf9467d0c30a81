// Reading HLS playlists, as far as the k6 scripts need it: no library, since k6 has no packages.

// `uri` against the URL of the playlist that names it. Ours are relative and lead down, never up.
export function resolve(base, uri) {
  if (/^https?:\/\//.test(uri)) return uri;
  if (uri.startsWith("/")) return base.match(/^https?:\/\/[^/]+/)[0] + uri;
  return base.slice(0, base.lastIndexOf("/") + 1) + uri;
}

function attributes(line) {
  const found = {};
  for (const [, name, quoted, plain] of line.matchAll(/([A-Z0-9-]+)=(?:"([^"]*)"|([^",]*))/g)) found[name] = quoted ?? plain;
  return found;
}

function lines(text) {
  return text.split(/\r?\n/).filter((line) => line !== "");
}

// { variants: [{ url, bandwidth, audio }] by rising bandwidth, audio: { group: [url] } }
export function parseMaster(url, text) {
  const variants = [];
  const audio = {};
  let stream = null;
  for (const line of lines(text)) {
    if (line.startsWith("#EXT-X-STREAM-INF:")) {
      stream = attributes(line);
    } else if (line.startsWith("#EXT-X-MEDIA:")) {
      const media = attributes(line);
      if (media.TYPE === "AUDIO" && media.URI) (audio[media["GROUP-ID"]] ??= []).push(resolve(url, media.URI));
    } else if (!line.startsWith("#") && stream) {
      variants.push({ url: resolve(url, line), bandwidth: Number(stream.BANDWIDTH), audio: stream.AUDIO ?? null });
      stream = null;
    }
  }
  variants.sort((a, b) => a.bandwidth - b.bandwidth);
  return { variants, audio };
}

// { init, segments: [{ url, start, duration }] in seconds, duration, isOver }
export function parseMedia(url, text) {
  const segments = [];
  let init = null;
  let duration = 0;
  let start = 0;
  for (const line of lines(text)) {
    if (line.startsWith("#EXT-X-MAP:")) init = resolve(url, attributes(line).URI);
    else if (line.startsWith("#EXTINF:")) duration = parseFloat(line.slice(8));
    else if (!line.startsWith("#")) {
      segments.push({ url: resolve(url, line), start, duration });
      start += duration;
    }
  }
  return { init, segments, duration: start, isOver: text.includes("#EXT-X-ENDLIST") };
}

// The index of the segment that plays at `seconds`.
export function segmentAt(playlist, seconds) {
  const index = playlist.segments.findIndex((segment) => seconds < segment.start + segment.duration);
  return index < 0 ? playlist.segments.length - 1 : index;
}
