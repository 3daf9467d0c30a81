//! `[observe]`: what is read of players, and what answers say of themselves.

use serde::Deserialize;

use crate::config::over::over;

/// What a person wrote.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub struct Written {
    /// Whether CMCD is read.
    pub cmcd: Option<bool>,
    /// Whether CMSD is sent.
    pub cmsd: Option<bool>,
    /// Whether `Server-Timing` is sent.
    pub server_timing: Option<bool>,
}

impl Written {
    pub(crate) fn over(self, under: Written) -> Written {
        over!(self, under; cmcd, cmsd, server_timing)
    }
}
