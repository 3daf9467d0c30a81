//! The command line: what a person types, and what the program says back.

pub mod check;
pub mod clip;
pub mod config;
pub mod index;
pub mod inspect;
pub mod notify;
pub mod serve;
mod shelves;
pub mod sign;
mod traces;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::config::written::Written;

/// An edge packager and origin: fragmented MP4 in, HLS and DASH out, served from memory.
#[derive(Parser, Debug)]
#[command(name = "headwater", version, max_term_width = 110)]
#[command(
    after_help = "Examples:\n  headwater serve media\n  headwater serve media --listen 0.0.0.0:8080 --cache-memory 4GiB\n  \
    headwater inspect film.mp4\n  headwater check media\n  headwater config print headwater.toml"
)]
pub struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand, Debug)]
enum Command {
    /// Serve a folder, a file, or what a configuration file says
    ///
    /// A file directly in the folder is one presentation; so are the files of a folder below that belong together. Players
    /// find them at /NAME/master.m3u8 (HLS) and /NAME/manifest.mpd (DASH). Durations are written 6s, 500ms or 10m, sizes
    /// 64KiB, 512MiB or 2GiB.
    Serve {
        /// A folder, a media file, or a configuration file (CONFIG.toml). The latter has a key `source`, the folder or file
        /// to serve, and may have every option below under its name without the dashes: `segment-duration = "4s"`
        #[arg(value_name = "DIR|FILE|CONFIG.toml")]
        target: PathBuf,
        #[command(flatten)]
        options: Box<Written>,
    },
    /// Read the indexes of all presentations in remote storage beforehand, into the folder that --storage-cache-dir names
    Index {
        /// A storage (s3://BUCKET/PREFIX), or a configuration file
        #[arg(value_name = "URL|CONFIG.toml")]
        target: PathBuf,
        #[command(flatten)]
        options: Box<Written>,
    },
    /// Make a presentation on demand of what was broadcast, without copying media
    Clip {
        #[command(flatten)]
        options: clip::Options,
    },
    /// Print a URL with a token, for who may fetch what lies under it
    Sign {
        #[command(flatten)]
        options: sign::Options,
    },
    /// Show what a media file holds: tracks, codecs, sync points, and what is odd
    Inspect {
        /// The media file
        #[arg(value_name = "FILE")]
        file: PathBuf,
        /// Print JSON instead of text [default: text]
        #[arg(long)]
        json: bool,
    },
    /// Say whether every presentation of a folder would be served well, and what makes it one; the exit status says so too
    Check {
        /// The folder
        #[arg(value_name = "DIR")]
        dir: PathBuf,
        /// Write the presentation.toml files that say what was found [default: write nothing]
        #[arg(long)]
        write: bool,
        /// Print JSON instead of text [default: text]
        #[arg(long)]
        json: bool,
    },
    /// Say whether a configuration is right, print what it comes to, or print an example with every key
    Config {
        #[command(subcommand)]
        command: ConfigCommand,
    },
}

#[derive(Subcommand, Debug)]
enum ConfigCommand {
    /// Say whether `serve` would take the same arguments; the exit status says so too
    Check {
        /// A configuration file, a folder or a media file
        #[arg(value_name = "DIR|FILE|CONFIG.toml")]
        target: PathBuf,
        #[command(flatten)]
        options: Box<Written>,
    },
    /// Print what the same arguments come to in `serve`, with file, environment and defaults; secrets are hidden
    Print {
        /// A configuration file, a folder or a media file
        #[arg(value_name = "DIR|FILE|CONFIG.toml")]
        target: PathBuf,
        #[command(flatten)]
        options: Box<Written>,
    },
    /// Print a configuration file with every key, its default and the reason for it
    Example,
}

/// Does what the command line says; returns once it is done.
pub fn run() -> ExitCode {
    let result = match Cli::parse().command {
        Command::Serve { target, options } => serve::run(&target, *options).map(|()| ExitCode::SUCCESS),
        Command::Index { target, options } => index::run(&target, *options).map(|()| ExitCode::SUCCESS),
        Command::Clip { options } => clip::run(options),
        Command::Sign { options } => sign::run(options),
        Command::Inspect { file, json } => inspect::run(&file, json),
        Command::Check { dir, write, json } => check::run(&dir, write, json),
        Command::Config { command } => match command {
            ConfigCommand::Check { target, options } => config::check(&target, *options),
            ConfigCommand::Print { target, options } => config::print(&target, *options),
            ConfigCommand::Example => config::example(),
        }
        .map(|()| ExitCode::SUCCESS),
    };
    result.unwrap_or_else(|error| {
        use std::io::Write;
        // Nobody is left to tell if the error stream is closed.
        let _ = writeln!(std::io::stderr(), "headwater: {error}");
        ExitCode::FAILURE
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn every_option_is_documented_with_its_default() {
        let mut command = Cli::command();
        command.build();
        command.clone().debug_assert();
        for sub in command.get_subcommands() {
            for option in sub.get_arguments().filter(|arg| arg.get_long().is_some_and(|long| long != "help")) {
                let help = option.get_help().map(ToString::to_string).unwrap_or_default();
                assert!(help.contains("[default: "), "{} {:?}: {help:?}", sub.get_name(), option.get_long());
            }
        }
    }

    #[test]
    fn options_are_read_as_they_are_documented() {
        let words = "headwater serve media --admin off --segment-duration 4s --cache-memory 512MiB --follow-symlinks --log-format json";
        let cli = Cli::try_parse_from(words.split(' ')).unwrap();
        let Command::Serve { target, options } = cli.command else { panic!("not serve") };
        assert_eq!(target, PathBuf::from("media"));
        assert_eq!(options.admin, Some(crate::config::written::AdminAddress::Off));
        assert_eq!(options.follow_symlinks, Some(true));
        for words in ["headwater serve", "headwater serve a --grace soon", "headwater serve a --cache-memory 200%"] {
            assert!(Cli::try_parse_from(words.split(' ')).is_err(), "{words}");
        }
    }
}
