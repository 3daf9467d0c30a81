#!/usr/bin/env bash
# play.sh JUDGES ARGUMENT..: plays with JUDGES/play-brief.sh and is content when nothing failed, stalled or was refused; tries twice.
set -euo pipefail
judges=$1
shift
for try in 1 2; do
  line=$(T=90 bash "$judges/play-brief.sh" "$@" || true)
  echo "try $try: $line"
  if python3 - "$line" <<'PYTHON'; then exit 0; fi
import json, sys
try:
    said = json.loads(sys.argv[1])
except ValueError:
    sys.exit("FAIL: no answer from the player")
# What a player breaks off itself is no fault of the answer: Chromium's own HLS begins a range and seeks elsewhere.
said["failed"] = [failure for failure in said.get("failed") or [] if not failure.startswith("net::ERR_ABORTED")]
wrong = {name: said.get(name) for name in ("errs", "stalls", "bad", "failed", "exc") if said.get(name)}
wrong.update({"seeks": seek for seek in said.get("seeks") or [] if seek.endswith("FAIL")})
if not said.get("ok"):
    wrong["ok"] = False
if wrong:
    sys.exit(f"FAIL: {json.dumps(wrong)}")
PYTHON
done
exit 1
