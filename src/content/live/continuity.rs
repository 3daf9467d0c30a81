//! What the clock was that the channels go by, for the process that goes on with their folder: how far it is ahead of the one that counts from
//! when the machine began, and which beginning that was.
//!
//! ```text
//!   8f0c…e1 boottime 0 0
//!   1899994999999999
//! ```

use std::fs;
use std::io;
use std::path::Path;

/// No channel is called so.
const FILE: &str = ".clock";
/// Another one after each start of the machine (random(4)).
const BOOT_ID: &str = "/proc/sys/kernel/random/boot_id";
/// A container may count from elsewhere (time_namespaces(7)).
const OFFSETS: &str = "/proc/self/timens_offsets";

/// How far the clock was ahead, in microseconds, when a process of this start of the machine kept that in `dir`. Blocks.
pub fn kept(dir: &Path) -> Option<i64> {
    read(dir, &beginning()?)
}

/// Keeps in `dir` how far the clock is ahead. Blocks.
pub fn keep(dir: &Path, ahead_us: i64) -> io::Result<()> {
    match beginning() {
        Some(beginning) => write(dir, &beginning, ahead_us),
        None => Ok(()),
    }
}

/// What the clock counts from, if this machine says.
fn beginning() -> Option<String> {
    let boot = fs::read_to_string(BOOT_ID).ok()?;
    let offsets = fs::read_to_string(OFFSETS).unwrap_or_default();
    let own = offsets.lines().find(|line| line.starts_with("boottime")).unwrap_or("boottime");
    Some(format!("{} {}", boot.trim(), own.split_whitespace().collect::<Vec<_>>().join(" ")))
}

fn read(dir: &Path, beginning: &str) -> Option<i64> {
    let text = fs::read_to_string(dir.join(FILE)).ok()?;
    let (as_of, ahead_us) = text.trim_end().split_once('\n')?;
    ahead_us.parse().ok().filter(|_| as_of == beginning)
}

/// Whoever reads it meanwhile, or after this process was killed, sees all of one or of the other.
fn write(dir: &Path, beginning: &str, ahead_us: i64) -> io::Result<()> {
    let new = dir.join(format!("{FILE}.new"));
    fs::write(&new, format!("{beginning}\n{ahead_us}\n"))?;
    fs::rename(&new, dir.join(FILE))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_of_one_start_of_the_machine() {
        let dir = tempfile::tempdir().expect("a folder");
        assert_eq!(kept(dir.path()), None);
        write(dir.path(), "one boottime 0 0", -7).expect("written");
        assert_eq!(read(dir.path(), "one boottime 0 0"), Some(-7));
        assert_eq!(read(dir.path(), "another boottime 0 0"), None);
        assert_eq!(read(dir.path(), "one boottime 60 0"), None, "a container that counts from elsewhere");
        fs::write(dir.path().join(FILE), "one boottime 0 0\n12x\n").expect("written");
        assert_eq!(read(dir.path(), "one boottime 0 0"), None);
        keep(dir.path(), 8).expect("written");
        assert_eq!(kept(dir.path()), beginning().map(|_| 8));
    }
}
