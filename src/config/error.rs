//! Why a configuration is not used, and the checks that say so by the option's name.

use std::fmt;
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::time::Duration;

use crate::config::quantity::Span;

/// Why a configuration is not used.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The file cannot be read.
    #[error("{}: {cause}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why not.
        #[source]
        cause: std::io::Error,
    },
    /// The file is not what it should be.
    #[error("{}:{line}: {message}", path.display())]
    Parse {
        /// The file.
        path: PathBuf,
        /// From 1.
        line: usize,
        /// What is wrong.
        message: String,
    },
    /// A variable of the environment is not what it should be.
    #[error("{variable}: {message}")]
    Variable {
        /// Its name.
        variable: String,
        /// What is wrong.
        message: String,
    },
    /// An option has a value that cannot be used.
    #[error("{option}: {message}")]
    Value {
        /// Its name.
        option: &'static str,
        /// What is wrong.
        message: String,
    },
}

/// Sets what was written, if it is in `range`.
pub(crate) fn set(
    option: &'static str,
    place: &mut Duration,
    written: Option<Span>,
    range: RangeInclusive<Duration>,
) -> Result<(), Error> {
    if let Some(Span(value)) = written {
        if !range.contains(&value) {
            let message = format!("{value:?} is not between {:?} and {:?}", range.start(), range.end());
            return Err(Error::Value { option, message });
        }
        *place = value;
    }
    Ok(())
}

/// `value`, if it is in `range`.
pub(crate) fn bounded<T: PartialOrd + fmt::Display>(
    option: &'static str,
    value: T,
    range: RangeInclusive<T>,
) -> Result<T, Error> {
    if range.contains(&value) {
        return Ok(value);
    }
    Err(Error::Value { option, message: format!("{value} is not between {} and {}", range.start(), range.end()) })
}
