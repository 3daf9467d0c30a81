//! `headwater config`: whether a configuration is right, what it comes to, and an example with every key.

use std::error::Error;
use std::io::{self, Write};
use std::path::Path;

use tracing_subscriber::EnvFilter;

use crate::config::machine::Machine;
use crate::config::quantity::readable_bytes;
use crate::config::written::Written;
use crate::config::{self, Config, environment, keys};

/// The configuration for `target`: its file, the environment, and `options` before both.
pub fn load(target: &Path, options: Written, machine: Machine) -> Result<Config, config::error::Error> {
    let (environment, _) = environment::written(variables())?;
    config::load(target, options.over(environment), machine)
}

/// The names of variables that begin as ours do and say nothing to us.
pub fn unknown_variables() -> Vec<String> {
    environment::written(variables()).map(|(_, unknown)| unknown).unwrap_or_default()
}

/// Variables that are not UTF-8 are none of ours.
fn variables() -> impl Iterator<Item = (String, String)> {
    std::env::vars_os().filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
}

/// What of the log is written.
pub fn filter(config: &Config) -> Result<EnvFilter, String> {
    EnvFilter::try_new(&config.log).map_err(|error| format!("log: {error}"))
}

/// The same, with the spans of requests, which are sent elsewhere.
pub fn filter_with_spans(config: &Config) -> Result<EnvFilter, String> {
    let spans = "headwater::spans=trace".parse().map_err(|error| format!("log: {error}"))?;
    Ok(filter(config)?.add_directive(spans))
}

/// Says whether `serve` would take the same arguments.
pub fn check(target: &Path, options: Written) -> Result<(), Box<dyn Error>> {
    let config = load(target, options, Machine::read())?;
    filter(&config)?;
    if let Some(root) = config.library.roots.iter().find(|root| !root.path.exists()) {
        return Err(format!("{}: there is nothing to serve", root.path.display()).into());
    }
    let mut out = io::stdout().lock();
    for variable in unknown_variables() {
        writeln!(out, "warning: {variable} is no key, and not used")?;
    }
    let machine = &config.machine;
    writeln!(
        out,
        "{}: right, for {} memory, {} cores and {} descriptors",
        target.display(),
        readable_bytes(machine.memory_bytes),
        machine.cores,
        machine.descriptors
    )?;
    Ok(())
}

/// Prints what the same arguments come to in `serve`.
pub fn print(target: &Path, options: Written) -> Result<(), Box<dyn Error>> {
    let config = load(target, options, Machine::read())?;
    Ok(io::stdout().write_all(keys::resolved(&config).as_bytes())?)
}

/// Prints a file with every key.
pub fn example() -> Result<(), Box<dyn Error>> {
    Ok(io::stdout().write_all(keys::example().as_bytes())?)
}
