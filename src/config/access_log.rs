//! `[access-log]`: where the access log is written.

use std::path::PathBuf;

use clap::ValueEnum;
use serde::Deserialize;

use crate::config::error::{Error, bounded};
use crate::config::over::over;
use crate::server::access_log::{Format, Options};

/// Lines that wait: what comes in a tenth of a second of a busy server, in some megabytes.
const QUEUE_MAX: usize = 8192;

/// What a person wrote.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub struct Written {
    /// A file, or `-`.
    pub path: Option<PathBuf>,
    /// How a line looks.
    pub format: Option<LineFormat>,
    /// Lines that may wait.
    pub queue_max: Option<usize>,
}

/// How a line looks.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Deserialize, ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum LineFormat {
    /// A JSON object.
    Json,
    /// The combined log format.
    Combined,
}

impl Written {
    pub(crate) fn over(self, under: Written) -> Written {
        over!(self, under; path, format, queue_max)
    }

    pub(crate) fn resolve(self) -> Result<Options, Error> {
        let queue_max = bounded("access-log.queue-max", self.queue_max.unwrap_or(QUEUE_MAX), 1..=1 << 20)?;
        let format = match self.format {
            Some(LineFormat::Combined) => Format::Combined,
            Some(LineFormat::Json) | None => Format::Json,
        };
        Ok(Options { path: self.path, format, queue_max })
    }
}
