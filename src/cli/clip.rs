//! `headwater clip`: a presentation on demand of what was broadcast, which refers to the archive's files and copies none.

use std::error::Error;
use std::io::{self, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;

use crate::config::machine::Machine;
use crate::config::written::Written;
use crate::config::{self};
use crate::content::live::archive::Shelf;
use crate::content::live::channel::is_name;
use crate::content::live::clip;
use crate::media::shift::Shift;
use crate::time::Utc;

/// Of what, and where to.
#[derive(Args, Debug)]
pub struct Options {
    /// The channel
    #[arg(value_name = "CHANNEL")]
    channel: String,
    /// The folder to make, in a library that is served: the presentation has its name
    #[arg(value_name = "DIR")]
    into: PathBuf,
    /// From when: seconds since 1970, or as in 2026-11-25T22:29:07Z [default: the archive's begin]
    #[arg(long, value_name = "TIME", value_parser = time)]
    from: Option<Utc>,
    /// Until when [default: the archive's end]
    #[arg(long, value_name = "TIME", value_parser = time)]
    to: Option<Utc>,
    /// The data-dir of the server that keeps the archive [default: that of --config]
    #[arg(long, value_name = "DIR", required_unless_present = "config")]
    data_dir: Option<PathBuf>,
    /// The configuration file of that server [default: none]
    #[arg(long, value_name = "CONFIG.toml")]
    config: Option<PathBuf>,
}

fn time(text: &str) -> Result<Utc, String> {
    text.parse().map_err(|()| format!("{text:?} is no time such as 1795645747 or 2026-11-25T22:29:07Z"))
}

/// Makes it, and says what was made.
pub fn run(options: Options) -> Result<ExitCode, Box<dyn Error>> {
    let Options { channel, into, from, to, data_dir, config } = options;
    if !is_name(&channel) {
        return Err(format!("{channel:?} is no name of a channel").into());
    }
    let live = match (data_dir, config) {
        (Some(dir), _) => dir.join("live"),
        (None, Some(path)) => {
            let config = config::load(&path, Written::default(), Machine::read())?;
            config.live.dir.ok_or_else(|| format!("{}: there is no live.data-dir", path.display()))?
        }
        (None, None) => return Err("neither --data-dir nor --config is given".into()),
    };
    let dir = live.join(&channel);
    let wrong = |error: io::Error| format!("{}: {error}", dir.display());
    let shift = Shift { from: from.unwrap_or(Utc(0)), to };
    let broadcast = Shelf::of(&dir).stretch(&shift).map_err(wrong)?;
    let broadcast = broadcast.ok_or_else(|| format!("{}: no archive is kept of this channel", dir.display()))?;
    let made = clip::make(&broadcast, &dir, &into)?;
    let clip::Made { from, duration_ms, stretches, bytes } = made;
    let seconds = duration_ms as f64 / 1000.0;
    let mut out = io::stdout();
    writeln!(
        out,
        "{}: {seconds:.3} s from {from} on, {bytes} bytes of media that stay where they are",
        into.display()
    )?;
    if stretches > 1 {
        writeln!(out, "media is missing in between: {stretches} clips")?;
    }
    Ok(ExitCode::SUCCESS)
}
