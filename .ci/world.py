#!/usr/bin/env python3
"""world.py MEDIA VERDICTS PRESENTATIONS INSPECTED EXCEPTIONS: the table of what becomes of every file of MEDIA/MANIFEST.tsv, in Markdown.
VERDICTS has a line `presentation judge verdict` each, parted by tabs; PRESENTATIONS and INSPECTED are JSON: what the API lists, and what
`inspect` says of each file. Fails if a file that ffmpeg decodes is refused, or a judge failed, or `inspect` has nothing to say."""
import csv
import json
import os
import re
import sys

media, verdicts_path, presentations_path, inspected_path, exceptions_path = sys.argv[1:6]
files = list(csv.DictReader(open(os.path.join(media, "MANIFEST.tsv")), delimiter="\t", quoting=csv.QUOTE_NONE))
verdicts = {}
for line in open(verdicts_path):
    presentation, judge, verdict = line.rstrip("\n").split("\t")
    verdicts.setdefault(presentation, {})[judge] = verdict
presentations = {each["name"]: each for each in json.load(open(presentations_path))}
inspected = json.load(open(inspected_path))
reasons = {}
for line in open(exceptions_path):
    if line.strip() and not line.startswith("#"):
        presentation, judge, reason = line.split(None, 2)
        reasons[presentation, judge] = reason.strip()

# What names a long segment is about how it is cut, not about what of the file is served.
ABOUT_CUTTING = re.compile(r"a segment of [0-9.]+ s, since no sync sample comes sooner|segments do not begin with a sync sample")
EXACT, EXCEPTION, REFUSED, NOT_READ = "exactly", "with an exception", "refused", "not read"


def presentation_of(path):
    folder, name = path.split("/", 1)
    if folder in ("segs", "emsg"):
        parts = name.split("/")
        return next(("/".join(parts[:n]) for n in range(len(parts), 0, -1) if "/".join(parts[:n]) in presentations), None)
    if path.endswith((".vtt", ".srt", ".ttml")):
        return f"text-{os.path.splitext(name)[0]}/film"
    return os.path.splitext(path.replace("/", "-"))[0]


def short(warning):
    """Without the name of the file and the place in it."""
    warning = re.sub(r"^\S+ can't be served: ", "", warning)
    warning = re.sub(r"^\S+\.(mp4|m4a|m4s|cmft|vtt|srt|ttml)(: |, )", "", warning)
    return re.sub(r" \((?:at 0x|moov)[^)]*\)", "", warning)


def of_file(path):
    """Verdict and what is to be said."""
    if path.endswith(".mpd"):
        return NOT_READ, "what a manifest says is in the media"
    name = presentation_of(path)
    each = presentations.get(name)
    warnings = [w for w in (each or {}).get("warnings", []) if not ABOUT_CUTTING.search(w)]
    text = path.endswith((".vtt", ".srt", ".ttml"))
    if text:
        warnings = [w for w in warnings if os.path.splitext(path)[1] in w]
    is_listed = each and (each["hls"] or each["dash"])
    judged = verdicts.get(name, {})
    identity = "cues" if text else "compare-samples"
    if not is_listed or (text and identity not in judged):
        why = "; ".join(map(short, warnings)) or short(inspected.get(path, {}).get("error") or "")
        return REFUSED, why
    failed = [judge for judge, verdict in judged.items() if verdict == "FAIL"]
    if failed:
        return "FAIL", ", ".join(failed)
    said = [short(w) for w in warnings]
    known = [f"{judge}: {reasons[name, judge]}" for judge, verdict in judged.items() if verdict == "known"]
    inexact = [judge for judge in (identity, "offsets") if judged.get(judge) not in ("ok", None)]
    return EXCEPTION if said or inexact else EXACT, "; ".join(said + known)


rows, wrong = [], []
for file in files:
    path = file["file"]
    verdict, said = of_file(path)
    rows.append((path, verdict, said))
    decodes = (file.get("ffmpeg5.1") or "").strip() == "ffmpeg-decode ok"
    if verdict == "FAIL" or (verdict == REFUSED and (decodes or not said)):
        wrong.append(f"{path}: {verdict}: {said}")
    report = inspected.get(path)
    if report is None or not (report.get("tracks") or report.get("text") or report.get("error")):
        wrong.append(f"{path}: inspect says nothing")

# Files of one folder of segments that came to the same are one row.
grouped = {}
for path, verdict, said in rows:
    folder = "/".join(path.split("/")[:2]) + "/" if path.startswith(("segs/", "emsg/")) else path
    grouped.setdefault((path.split("/")[0], folder, verdict, said), []).append(path)

columns = [EXACT, EXCEPTION, REFUSED, NOT_READ]
print("| category | files |", " | ".join(columns), "|\n|---|---:|" + "---:|" * len(columns))
total = [0] * len(columns)
for category in dict.fromkeys(path.split("/")[0] for path, _, _ in rows):
    counts = [sum(1 for path, verdict, _ in rows if path.startswith(category + "/") and verdict == column) for column in columns]
    total = [a + b for a, b in zip(total, counts)]
    print(f"| {category} | {sum(path.startswith(category + '/') for path, _, _ in rows)} |", " | ".join(str(n or "") for n in counts), "|")
print(f"| all | {len(rows)} |", " | ".join(map(str, total)), "|\n")
print("| file | served | what is to be said |\n|---|---|---|")
for (_, folder, verdict, said), paths in sorted(grouped.items()):
    name = folder if len(paths) == 1 and folder == paths[0] else f"{folder} ({len(paths)} files)"
    print(f"| {name} | {verdict} | {said.replace('|', chr(92) + '|')} |")
for line in wrong:
    print(line, file=sys.stderr)
sys.exit(bool(wrong))
