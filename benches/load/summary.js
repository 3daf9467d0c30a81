// The line of figures that `run` reads: requests, seconds, bytes, p50 and p99 in milliseconds, errors; k6's own metrics below it.

export function summary(data) {
  const of = (name, value) => data.metrics[name]?.values?.[value] ?? 0;
  const requests = of("http_reqs", "count");
  const seconds = (data.state?.testRunDurationMs ?? 0) / 1000;
  const failed = Math.round(of("http_req_failed", "rate") * requests);
  const latency = ["med", "p(99)"].map((value) => of("http_req_duration", value).toFixed(3));
  const lines = [`RESULT ${requests} ${seconds.toFixed(6)} ${of("data_received", "count")} ${latency.join(" ")} ${failed}`];
  for (const name of ["startup_ms", "stalls", "switches", "seeks", "abandoned", "segments_played"]) {
    const values = data.metrics[name]?.values;
    if (values) lines.push(`  ${name}: ${Object.entries(values).map(([key, value]) => `${key} ${Math.round(value * 100) / 100}`).join(", ")}`);
  }
  return { stdout: lines.join("\n") + "\n" };
}

export const trendStats = ["avg", "med", "p(95)", "p(99)", "max"];
