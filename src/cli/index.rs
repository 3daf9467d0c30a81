//! `headwater index`: opens every presentation of the storages once, so that what that reads lies on disk.

use std::error::Error;
use std::io::{self, IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use tokio::task::JoinSet;

use crate::cli::shelves;
use crate::config::machine::Machine;
use crate::config::written::Written;
use crate::content::library::entry::Entry;
use crate::server::clock::utc;
use crate::telemetry::Telemetry;

/// Presentations opened at once: each may hold 64 MiB of windows.
const AT_ONCE: usize = 8;
/// Folders below folders: deeper is no library.
const DEPTH_MAX: usize = 16;
/// Characters of the bar.
const BAR: usize = 30;

/// Indexes the storages that `target` names; ends with an error if something can't be read.
pub fn run(target: &Path, options: Written) -> Result<(), Box<dyn Error>> {
    let config = super::config::load(target, options, Machine::read())?;
    if config.storage.cache_dir.is_none() {
        return Err("there is no place to keep indexes in: --storage-cache-dir, or cache-dir in [storage]".into());
    }
    if config.storage.places.is_empty() {
        return Err("there is no storage in it: folders of this machine need no index".into());
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(config.threads).enable_all().build()?;
    runtime.block_on(async {
        let telemetry = Arc::<Telemetry>::default();
        let mut progress = Progress::default();
        let mut opening = JoinSet::new();
        for shelf in shelves::connect(&config, &telemetry)? {
            let mut folders = vec![(PathBuf::from("/"), 0)];
            while let Some((folder, depth)) = folders.pop() {
                match shelf.of_folder(&folder, utc()).await {
                    Ok((entries, below)) => {
                        progress.found += entries.len();
                        let deeper = below.into_iter().filter(|_| depth < DEPTH_MAX);
                        folders.extend(deeper.map(|below| (below, depth + 1)));
                        for entry in entries {
                            while opening.len() >= AT_ONCE {
                                progress.note(opening.join_next().await)?;
                            }
                            opening.spawn_blocking(move || (entry.name().to_owned(), open(&entry)));
                        }
                    }
                    Err(error) => progress.failed(&folder.display().to_string(), &error.to_string())?,
                }
            }
        }
        while let Some(opened) = opening.join_next().await {
            progress.note(Some(opened))?;
        }
        progress.end(&telemetry)
    })
}

fn open(entry: &Entry) -> Result<(), String> {
    entry.open(utc()).map(|_| ()).map_err(|error| error.to_string())
}

/// A presentation by its name, and why it could not be opened, if so.
type Indexed = (String, Result<(), String>);

#[derive(Debug, Default)]
struct Progress {
    found: usize,
    opened: usize,
    failures: usize,
}

impl Progress {
    fn note(&mut self, opened: Option<Result<Indexed, tokio::task::JoinError>>) -> io::Result<()> {
        match opened {
            None => return Ok(()),
            Some(Ok((_, Ok(())))) => self.opened += 1,
            Some(Ok((name, Err(why)))) => self.failed(&name, &why)?,
            Some(Err(error)) => self.failed("a presentation", &error.to_string())?,
        }
        let mut out = io::stderr().lock();
        if out.is_terminal() {
            let done = self.opened + self.failures;
            let filled = BAR * done / self.found.max(1);
            write!(out, "\r[{:BAR$}] {done} of {} found so far", "#".repeat(filled.min(BAR)), self.found)?;
            out.flush()?;
        }
        Ok(())
    }

    fn failed(&mut self, name: &str, why: &str) -> io::Result<()> {
        self.failures += 1;
        let mut out = io::stderr().lock();
        writeln!(out, "{}{name}: {why}", if out.is_terminal() { "\r\x1b[K" } else { "" })
    }

    fn end(&self, telemetry: &Telemetry) -> Result<(), Box<dyn Error>> {
        if io::stderr().is_terminal() {
            writeln!(io::stderr())?;
        }
        writeln!(
            io::stdout(),
            "{} presentations indexed: {} requests, {} bytes read, {} indexes written, {} known already",
            self.opened,
            telemetry.storage_requests.get(),
            telemetry.storage_read_bytes.get(),
            telemetry.storage_index_writes.get(),
            telemetry.storage_index_hits.get(),
        )?;
        match self.failures {
            0 => Ok(()),
            failures => Err(format!("{failures} could not be indexed").into()),
        }
    }
}
