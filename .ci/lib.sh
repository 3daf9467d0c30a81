# lib.sh: what .ci/run and .ci/full share: installing, serving a library, running a judge, counting. Source it; it changes to the
# repository's root.
# shellcheck shell=bash
set -euo pipefail
export DEBIAN_FRONTEND=noninteractive
cd "$(dirname "${BASH_SOURCE[0]}")/.."

shared=../shared
judges=$shared/verify
media_address=${MEDIA_ADDRESS:-127.0.0.1:18080}
admin_address=${ADMIN_ADDRESS:-127.0.0.1:18081}
# Where the HLS of encrypted presentations says that keys are; nobody fetches them.
key_uri=https://keys.example/{kid}
exceptions=.ci/exceptions.txt
keys=.ci/keys.txt
# The program under test; another one for trying the scripts themselves.
headwater=${HEADWATER:-target/release/headwater}

scratch=$(mktemp -d)
server_pid=
passed=0
failed=0
# shellcheck disable=SC2034  # .ci/full reads it
declare -A verdicts=()  # "presentation judge" -> ok, FAIL, known or -

clean_up() {
  jobs -p | xargs -r kill 2>/dev/null || true
  stop_server
  rm -rf "$scratch"
}
trap clean_up EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

# say COMMAND...: prints the command, then runs it.
say() {
  printf '\n$ %s\n' "$*"
  "$@"
}

# step NAME COMMAND...: a command whose failure counts and does not stop the run.
step() {
  local name=$1 began=$SECONDS verdict=ok
  shift
  say "$@" || verdict=FAIL
  result "$verdict" "$name ($((SECONDS - began)) s)"
}

# result ok|FAIL|known|skip WHAT...
result() {
  local verdict=$1
  shift
  case $verdict in
    ok) passed=$((passed + 1)) ;;
    FAIL) failed=$((failed + 1)) ;;
  esac
  printf '%-5s %s\n' "$verdict" "$*"
}

# finish: the last line, and the exit status.
finish() {
  printf '\n%d passed, %d failed\n' "$passed" "$failed"
  [ "$failed" -eq 0 ]
}

# as_root COMMAND...: with sudo where there is need and there is one.
as_root() {
  if [ "$(id -u)" -ne 0 ] && command -v sudo >/dev/null; then sudo -E "$@"; else "$@"; fi
}

# write_verdicts: a line each, parted by tabs.
write_verdicts() {
  local key
  for key in "${!verdicts[@]}"; do printf '%s\t%s\t%s\n' "${key% *}" "${key##* }" "${verdicts[$key]}"; done
}

# at_once MANY FUNCTION: calls FUNCTION with each line of the standard input, MANY at once, each in a shell and a scratch folder of its own. What
# one prints comes when it is done, and its counts and verdicts are added to ours.
at_once() {
  local many=$1 function=$2 line folder number=0
  local -A folders=()
  while IFS= read -r line; do
    number=$((number + 1))
    folder=$scratch/part-$number
    mkdir -p "$folder"
    (
      scratch=$folder passed=0 failed=0 verdicts=()
      "$function" "$line" >"$folder/out" 2>&1 </dev/null
      printf '%d %d\n' "$passed" "$failed" >"$folder/counts"
      write_verdicts >"$folder/verdicts"
    ) &
    folders[$!]=$folder
    if [ "${#folders[@]}" -ge "$many" ]; then await_one; fi
  done
  while [ "${#folders[@]}" -gt 0 ]; do await_one; done
}

# await_one: waits for one of at_once's `folders`.
await_one() {
  local pid folder of_passed of_failed presentation judge verdict
  wait -n -p pid "${!folders[@]}" || true
  folder=${folders[$pid]}
  unset "folders[$pid]"
  cat "$folder/out"
  if [ -s "$folder/counts" ]; then
    read -r of_passed of_failed <"$folder/counts"
    passed=$((passed + of_passed))
    failed=$((failed + of_failed))
    while IFS=$'\t' read -r presentation judge verdict; do verdicts["$presentation $judge"]=$verdict; done <"$folder/verdicts"
  else
    result FAIL "what judges it broke off"
  fi
  rm -rf "$folder"
}

# install_packages PROGRAM:PACKAGE...: what is missing, from Debian.
install_packages() {
  local pair missing=()
  for pair in "$@"; do command -v "${pair%%:*}" >/dev/null || missing+=("${pair#*:}"); done
  [ ${#missing[@]} -gt 0 ] || return 0
  say as_root apt-get update -qq
  say as_root apt-get install -y -qq --no-install-recommends "${missing[@]}"
}

install_build_tools() {
  install_packages cc:build-essential git:git curl:curl python3:python3 valgrind:valgrind node:nodejs
  command -v cargo >/dev/null || { echo "cargo is missing: install Rust 1.95 or later"; exit 2; }
  for component in fmt clippy; do
    cargo "$component" --version >/dev/null 2>&1 && continue
    say rustup component add "$([ "$component" = fmt ] && echo rustfmt || echo clippy)"
  done
}

# have_judges: says whether the judges are there; a run without them judges the code alone.
have_judges() {
  [ -x "$judges/hls-check" ] && return 0
  printf '\nThe judges (%s) are missing: hls-check, dash-check, compare-samples and the players are SKIPPED.\n' "$judges"
  return 1
}

install_judges() {
  install_packages node:nodejs npm:npm python3:python3 jq:jq xmllint:libxml2-utils ffmpeg:ffmpeg chromium:chromium
  local exports
  # The players stay between runs where the caller names a folder for them.
  local folder=${PLAY_MODULES:-$scratch/players}
  printf '\n$ %s\n' "$judges/setup $folder"
  exports=$("$judges/setup" "$folder")
  eval "$exports"
  export PLAY_MODULES
}

# install_decryptor: builds what compare-samples decrypts with. Without it samples of encrypted presentations are compared by size alone.
install_decryptor() {
  local folder=target/mp4decrypt
  if say cargo build --quiet --release --manifest-path .ci/mp4decrypt/Cargo.toml --target-dir "$folder"; then
    PATH=$PATH:$(realpath "$folder")/release
    result ok mp4decrypt
  else
    result FAIL "mp4decrypt: samples of encrypted presentations are compared by size alone"
  fi
}

# start_server LIBRARY: serves it and waits until it is ready.
start_server() {
  local log=$scratch/server.log
  printf '\n$ %s\n' "$headwater serve $1 --key-uri $key_uri --listen $media_address --admin $admin_address"
  "$headwater" serve "$1" --key-uri "$key_uri" --listen "$media_address" --admin "$admin_address" >"$log" 2>&1 &
  server_pid=$!
  local waited
  for waited in $(seq 120); do
    if curl -fsS -o /dev/null --max-time 5 "http://$admin_address/readyz" 2>/dev/null; then return 0; fi
    kill -0 "$server_pid" 2>/dev/null || break
    sleep 0.5
  done
  echo "the server is not ready after $waited half seconds:"
  tail -n 40 "$log"
  stop_server
  return 1
}

stop_server() {
  [ -n "$server_pid" ] || return 0
  kill "$server_pid" 2>/dev/null || true
  local _
  for _ in $(seq 40); do
    kill -0 "$server_pid" 2>/dev/null || break
    sleep 0.25
  done
  kill -9 "$server_pid" 2>/dev/null || true
  wait "$server_pid" 2>/dev/null || true
  server_pid=
}

# alive WHEN: the server still runs and answers.
alive() {
  if kill -0 "$server_pid" 2>/dev/null && curl -fsS -o /dev/null --max-time 5 "http://$media_address/healthz"; then
    result ok "alive $1"
  else
    result FAIL "alive $1"
    tail -n 40 "$scratch/server.log"
  fi
}

# presentations: a line each, fields parted by `|`: name, HLS, DASH (empty where there is none), seconds, codecs of video and audio with
# commas.
presentations() {
  ADMIN=$admin_address python3 - <<'PYTHON'
import json, os, urllib.parse, urllib.request
after = None
while True:
    query = "?" + urllib.parse.urlencode({"after": after}) if after is not None else ""
    with urllib.request.urlopen(f"http://{os.environ['ADMIN']}/api/presentations{query}", timeout=30) as answer:
        page = json.load(answer)
    for each in page:
        tracks = each.get("tracks") or []
        codecs = ",".join(sorted({str(track.get("codec")) for track in tracks if track.get("kind") in ("video", "audio")}))
        print(each["name"], each.get("hls") or "", each.get("dash") or "", round(each.get("duration_s") or 0), codecs, sep="|")
    # A page is full or the last; one that does not go on would never end.
    if not page or page[-1]["name"] == after:
        break
    after = page[-1]["name"]
PYTHON
}

# excepted PRESENTATION JUDGE: prints the reason, if that pair is in the list of exceptions.
excepted() {
  awk -v presentation="$1" -v judge="$2" '
    /^[[:space:]]*(#|$)/ { next }
    $1 == presentation && $2 == judge { $1 = ""; $2 = ""; sub(/^ +/, ""); print; found = 1; exit }
    END { exit !found }' "$exceptions"
}

# keys_of PRESENTATION: prints its content keys, KID:KEY with commas between, if it is in the list of keys.
keys_of() {
  awk -v presentation="$1" '$1 == presentation { print $2; found = 1; exit } END { exit !found }' "$keys"
}

# judge NAME PRESENTATION SECONDS COMMAND...: one line of result; what a failing judge said follows it.
judge() {
  local name=$1 presentation=$2 seconds=$3 reason status=0
  shift 3
  local log="$scratch/judge.log"
  timeout --kill-after=10 "$seconds" "$@" >"$log" 2>&1 </dev/null || status=$?
  if [ "$status" -eq 0 ]; then
    verdicts["$presentation $name"]=ok
    result ok "$name $presentation"
    if reason=$(excepted "$presentation" "$name"); then printf '      (it is in %s, and needs not be: %s)\n' "$exceptions" "$reason"; fi
  elif reason=$(excepted "$presentation" "$name"); then
    verdicts["$presentation $name"]=known
    result known "$name $presentation: $reason"
  else
    verdicts["$presentation $name"]=FAIL
    result FAIL "$name $presentation"
    [ "$status" -ne 124 ] || printf '      no answer within %d s\n' "$seconds"
    { grep -E '^== |ERROR|FAIL|Traceback|in NO rendition' "$log" || tail -n 12 "$log"; } | head -n 20 | cut -c1-400 | sed 's/^/      /'
  fi
}

# judge_manifests PRESENTATION HLS DASH
judge_manifests() {
  local presentation=$1 hls=$2 dash=$3 lenient=()
  if excepted "$presentation" lenient-duration >/dev/null; then lenient=(--lenient-duration); fi
  if [ -n "$hls" ]; then
    judge hls-check "$presentation" 180 "$judges/hls-check" "$hls" "${lenient[@]}"
  else
    result skip "hls-check $presentation (the API lists no HLS for it)"
  fi
  if [ -n "$dash" ]; then
    judge dash-check "$presentation" 180 "$judges/dash-check" "$dash" "${lenient[@]}"
  else
    result skip "dash-check $presentation (the API lists no DASH for it)"
  fi
}

# judge_samples LIBRARY PRESENTATION HLS DASH: every source file of it against what is served, access unit by access unit, and how far apart
# picture and sound are.
judge_samples() {
  local library=$1 presentation=$2 hls=$3 dash=$4 url=${4:-$3} list=$scratch/sources.txt sources=()
  [ -n "$url" ] || return 0
  rm -rf "$scratch/sources"
  mkdir -p "$scratch/sources"
  if ! HEADWATER=$headwater .ci/sources.py "$library" "$presentation" "$scratch/sources" >"$list" || [ ! -s "$list" ]; then
    verdicts["$presentation compare-samples"]=FAIL
    result FAIL "compare-samples $presentation: its sources were not found"
    return 0
  fi
  local content_keys=
  if command -v mp4decrypt >/dev/null; then content_keys=$(keys_of "$presentation" || true); fi
  # One verdict for all of them. What is quoted belongs to the inner shell. With keys both sides are decrypted by the same program.
  # shellcheck disable=SC2016
  judge compare-samples "$presentation" 300 bash -c '
    status=0
    while IFS="|" read -r source track; do
      echo "== ${source##*/}"
      if [ -n "$3" ]; then
        IFS=, read -ra pairs <<<"$3"
        mp4decrypt "${pairs[@]/#/--key=}" "$source" "$4" || status=1
        source=$4
      fi
      .ci/main-sets.py "$1" "$0" "$source" "{}" ${track:+--track "$track"} ${3:+--key "$3"} || status=1
    done <"$2"
    exit $status' "$judges/compare-samples" "$url" "$list" "$content_keys" "$scratch/sources/decrypted.mp4"
  mapfile -t sources < <(cut -d '|' -f 1 "$list" | sort -u)
  judge offsets "$presentation" 120 .ci/offsets.py "$hls" "$dash" "${sources[@]}"
}

# judge_player PLAYER PRESENTATION URL SECONDS [ARGUMENT...]: plays without an error and without a stall; a second try where the first
# fails, for the machine may have been busy.
judge_player() {
  local player=$1 presentation=$2 url=$3 seconds=$4
  shift 4
  judge "play-$player" "$presentation" $((2 * (seconds + 90))) .ci/play.sh "$judges" --player "$player" --url "$url" --seconds "$seconds" "$@"
}

# judge_all_players PRESENTATION HLS DASH SECONDS [ARGUMENT...]: those that are given keys are not native.
judge_all_players() {
  local presentation=$1 hls=$2 dash=$3 seconds=$4
  shift 4
  if [ -n "$hls" ]; then
    judge_player hlsjs "$presentation" "$hls" "$seconds" "$@"
    case " $* " in *" --clearkey "*) ;; *) judge_player native "$presentation" "$hls" "$seconds" "$@" ;; esac
  fi
  if [ -n "$dash" ]; then
    judge_player dashjs "$presentation" "$dash" "$seconds" "$@"
    judge_player shaka "$presentation" "$dash" "$seconds" "$@"
  fi
}

# judge_listed LIBRARY LIST: whatever lies in LIBRARY is in LIST (lines of `presentations`) with an address, broken things excepted.
judge_listed() {
  local library=$1 list=$2 path name
  for path in "$library"/*; do
    name=${path##*/}
    if [ -f "$path" ]; then
      case $name in
        *.mp4 | *.cmf? | *.m4s | *.m4a | *.m4v) name=${name%.*} ;;
        *) continue ;;
      esac
    fi
    case $name in broken-* | bad-*) continue ;; esac
    if awk -F'|' -v name="$name" '($1 == name || index($1, name "/") == 1) && ($2 != "" || $3 != "") { found = 1 } END { exit !found }' "$list"; then
      result ok "listed $name"
    elif reason=$(excepted "$name" listed); then
      result known "listed $name: $reason"
    else
      result FAIL "listed $name"
    fi
  done
}

# is_protected HLS DASH: whether a manifest says that its media are encrypted. All of it is read: curl fails if nobody takes what it has.
is_protected() {
  curl -fsS --max-time 20 "${2:-$1}" 2>/dev/null | grep -E 'ContentProtection|EXT-X-(SESSION-)?KEY' >/dev/null
}

# add_file SOURCE LIBRARY: a copy named by its category, `frag/main_1.mp4` as `frag-main_1.mp4`.
add_file() {
  local name=${1#"$shared/media/world/"}
  cp "$1" "$2/${name//\//-}"
}
