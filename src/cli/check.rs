//! `headwater check`: whether a folder would be served well, told by the code that serves it.

use std::collections::BTreeMap;
use std::fs::OpenOptions;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use serde::Serialize;

use crate::content::library::entry::Entry;
use crate::content::library::folder::Rule;
use crate::content::library::{self, Library};
use crate::content::sidecar::{self, Sidecar};
use crate::origin;
use crate::origin::listing::{Listing, TrackListing};
use crate::origin::serve::Origin;
use crate::server::clock::utc;
use crate::telemetry::Telemetry;
use crate::time::Utc;

/// Presentations opened between two looks at the list.
const AT_ONCE: usize = 100;

/// Prints what makes each presentation of `dir` one, and its warnings, as text or JSON; writes `presentation.toml` files if
/// asked to. The exit status is a failure if something would not be served.
pub fn run(dir: &Path, write: bool, json: bool) -> Result<ExitCode, Box<dyn std::error::Error>> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let mut report = runtime.block_on(Report::of(dir)).map_err(|error| format!("{}: {error}", dir.display()))?;
    if write {
        report.written = report.write_sidecars()?;
    }
    let mut out = io::stdout().lock();
    if json {
        serde_json::to_writer_pretty(&mut out, &report)?;
        writeln!(out)?;
    } else {
        report.show(&mut out, write)?;
    }
    out.flush()?;
    Ok(if report.refused == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// A folder.
#[derive(Debug, Serialize)]
struct Report {
    folder: String,
    /// How many would be served without a warning, with one, and not at all.
    ok: usize,
    warned: usize,
    refused: usize,
    /// Whether files were looked at that changed a moment ago, and may still grow.
    young_files: bool,
    presentations: Vec<Judgement>,
    /// What is odd about the folder itself.
    warnings: Vec<String>,
    /// The `presentation.toml` files that were written.
    written: Vec<PathBuf>,
    #[serde(skip)]
    entries: BTreeMap<String, Arc<Entry>>,
    #[serde(skip)]
    root: PathBuf,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
#[serde(rename_all = "snake_case")]
enum Verdict {
    Ok,
    Warnings,
    NotServed,
}

/// A presentation.
#[derive(Debug, Serialize)]
struct Judgement {
    name: String,
    verdict: Verdict,
    rule: String,
    duration_s: Option<f64>,
    hls: bool,
    dash: bool,
    /// How many clips play one after another; 1 if all is one.
    clips: usize,
    tracks: Vec<TrackListing>,
    /// What is odd, or why it would not be served.
    warnings: Vec<String>,
}

impl Judgement {
    fn of(listing: Listing) -> Judgement {
        let Listing { name, duration_s, hls, dash, rule, periods, tracks, warnings, .. } = listing;
        let clips = periods.len();
        // The name stands beside it already.
        let prefix = format!("{name} can't be served: ");
        let short = |warning: String| warning.strip_prefix(&prefix).map(str::to_owned).unwrap_or(warning);
        let warnings: Vec<String> = warnings.into_iter().map(short).collect();
        let (hls, dash) = (hls.is_some(), dash.is_some());
        let verdict = match (hls || dash, warnings.is_empty()) {
            (false, _) => Verdict::NotServed,
            (true, true) => Verdict::Ok,
            (true, false) => Verdict::Warnings,
        };
        Judgement { name, verdict, rule, duration_s, hls, dash, clips, tracks, warnings }
    }
}

impl Report {
    async fn of(dir: &Path) -> io::Result<Report> {
        let root = dir.canonicalize()?;
        let library = Arc::new(Library::new(library::Options::new(root.clone())));
        let now = utc();
        library.rescan(now)?;
        // Nobody waits for a check: what changed just now is taken as it is, and that is said.
        let young_files = library.catalog().is_unsettled;
        if young_files {
            library.rescan(now.after(library::REST))?;
        }
        let catalog = library.catalog();
        let origin = Origin::new(library, origin::options::Options::default(), Arc::<Telemetry>::default());
        let presentations = judgements(&origin, now).await;
        let count = |verdict: Verdict| presentations.iter().filter(|p| p.verdict == verdict).count();
        Ok(Report {
            folder: dir.display().to_string(),
            ok: count(Verdict::Ok),
            warned: count(Verdict::Warnings),
            refused: count(Verdict::NotServed),
            young_files,
            presentations,
            warnings: catalog.warnings.clone(),
            written: Vec::new(),
            entries: catalog.entries.clone(),
            root,
        })
    }

    /// Fixes what packaging or proof made one presentation. What is there already stays as it is.
    fn write_sidecars(&self) -> io::Result<Vec<PathBuf>> {
        let mut written = Vec::new();
        for entry in self.entries.values() {
            let Ok(parts) = &entry.group.parts else { continue };
            if !matches!(entry.group.rule, Rule::Packaging | Rule::EqualTracks | Rule::SharedAudio) {
                continue;
            }
            let folder = self.root.join(entry.name());
            let Some(sidecar) = Sidecar::of(parts, &entry.group.texts, &folder) else { continue };
            let path = folder.join(sidecar::NAME);
            let named = |error: io::Error| io::Error::new(error.kind(), format!("{}: {error}", path.display()));
            match OpenOptions::new().write(true).create_new(true).open(&path) {
                Ok(mut file) => file.write_all(sidecar.text().as_bytes()).map_err(named)?,
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => continue,
                Err(error) => return Err(named(error)),
            }
            written.push(Path::new(&self.folder).join(entry.name()).join(sidecar::NAME));
        }
        Ok(written)
    }

    fn show(&self, out: &mut impl Write, write: bool) -> io::Result<()> {
        let Report { ok, warned, refused, .. } = self;
        writeln!(out, "{}: {ok} ok, {warned} with warnings, {refused} not served", self.folder)?;
        let width = self.presentations.iter().map(|p| p.name.chars().count()).max().unwrap_or(0).min(48);
        if !self.presentations.is_empty() {
            writeln!(out)?;
        }
        for Judgement { name, verdict, rule, clips, tracks, warnings, .. } in &self.presentations {
            let verdict = match verdict {
                Verdict::Ok => "ok",
                Verdict::Warnings => "warnings",
                Verdict::NotServed => "NOT SERVED",
            };
            let plural = if tracks.len() == 1 { "" } else { "s" };
            let clips = if *clips > 1 { format!("{clips} clips, ") } else { String::new() };
            writeln!(out, "{verdict:<10}  {name:<width$}  {clips}{} track{plural}, {rule}", tracks.len())?;
            for warning in warnings {
                writeln!(out, "{:<10}    {warning}", "")?;
            }
        }
        if !self.warnings.is_empty() {
            writeln!(out, "\nOf the folder itself")?;
        }
        for warning in &self.warnings {
            writeln!(out, "  {warning}")?;
        }
        if self.young_files {
            writeln!(
                out,
                "\nSome files changed less than {} s ago and were taken as they are; a server waits until they rest.",
                library::REST.as_secs()
            )?;
        }
        if write {
            writeln!(out, "\nWritten: {}", if self.written.is_empty() { "nothing" } else { "" })?;
        }
        for path in &self.written {
            writeln!(out, "  {}", path.display())?;
        }
        Ok(())
    }
}

/// All presentations, by name.
async fn judgements(origin: &Origin, now: Utc) -> Vec<Judgement> {
    let mut all: Vec<Judgement> = Vec::new();
    loop {
        let page = origin.listings(all.last().map(|last| last.name.as_str()), AT_ONCE, now).await;
        if page.is_empty() {
            return all;
        }
        all.extend(page.into_iter().map(Judgement::of));
    }
}
