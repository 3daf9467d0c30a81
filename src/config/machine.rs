//! What the machine lets this process use.

use std::path::{Component, Path, PathBuf};

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Memory that is assumed where nothing says how much there is.
const MEMORY_UNKNOWN_BYTES: u64 = 2 << 30;

/// What the process may use.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Machine {
    /// Memory: the machine's, or what a container is limited to.
    pub memory_bytes: u64,
    /// Threads that run at the same time, from 1.
    pub cores: usize,
    /// Descriptors: connections, sources, and a few more.
    pub descriptors: usize,
}

impl Machine {
    /// Looks, after raising the limit of descriptors as far as is allowed.
    pub fn read() -> Machine {
        Machine {
            memory_bytes: memory_bytes(Path::new("/")).unwrap_or(MEMORY_UNKNOWN_BYTES),
            cores: std::thread::available_parallelism().map_or(1, usize::from),
            descriptors: raise_descriptors(),
        }
    }
}

/// Raises the soft limit of open descriptors to the hard one; programs that use select(2) are why it is low at first.
fn raise_descriptors() -> usize {
    let limit = getrlimit(Resource::Nofile);
    if limit.current != limit.maximum {
        // Refused by some systems for a hard limit of "unlimited"; then the soft one holds.
        let _ = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, maximum: limit.maximum });
    }
    getrlimit(Resource::Nofile).current.map_or(usize::MAX, |limit| usize::try_from(limit).unwrap_or(usize::MAX))
}

/// The least of the machine's memory and the limits of the control groups (cgroups(7)) around this process, read below
/// `root`.
fn memory_bytes(root: &Path) -> Option<u64> {
    let read = |path: PathBuf| std::fs::read_to_string(root.join(path.strip_prefix("/").unwrap_or(&path))).ok();
    let machine = read("/proc/meminfo".into()).and_then(|text| mem_total(&text));
    let groups = read("/proc/self/cgroup".into()).unwrap_or_default();
    let limits = limit_files(&groups).into_iter().filter_map(read).filter_map(|text| text.trim().parse().ok());
    limits.chain(machine).min()
}

/// `MemTotal` of `/proc/meminfo`, in bytes.
fn mem_total(meminfo: &str) -> Option<u64> {
    let line = meminfo.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
    let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    kib.checked_mul(1024)
}

/// The files that may hold a limit, for the groups that `/proc/self/cgroup` names and those around them. A container often
/// sees its own group at the root of the tree, whatever the name.
fn limit_files(groups: &str) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for line in groups.lines() {
        let mut fields = line.splitn(3, ':').skip(1);
        let (Some(controllers), Some(group)) = (fields.next(), fields.next()) else { continue };
        let (base, file) = match controllers {
            "" => ("/sys/fs/cgroup", "memory.max"),
            _ if controllers.split(',').any(|name| name == "memory") => {
                ("/sys/fs/cgroup/memory", "memory.limit_in_bytes")
            }
            _ => continue,
        };
        let group = Path::new(group.trim_start_matches('/'));
        if group.components().all(|part| matches!(part, Component::Normal(_))) {
            files.extend(group.ancestors().map(|group| Path::new(base).join(group).join(file)));
        }
    }
    files
}

#[cfg(test)]
mod tests {
    use super::*;

    fn root(files: &[(&str, &str)]) -> tempfile::TempDir {
        let root = tempfile::tempdir().unwrap();
        for (path, text) in files {
            let path = root.path().join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        }
        root
    }

    const MEMINFO: (&str, &str) = ("proc/meminfo", "MemTotal:       8000000 kB\nMemFree: 1 kB\n");

    #[test]
    fn the_smallest_limit_around_the_process_counts() {
        let root = root(&[
            MEMINFO,
            ("proc/self/cgroup", "0::/outer/inner\n"),
            ("sys/fs/cgroup/outer/memory.max", "1073741824\n"),
            ("sys/fs/cgroup/outer/inner/memory.max", "max\n"),
        ]);
        assert_eq!(memory_bytes(root.path()), Some(1 << 30));
    }

    #[test]
    fn a_container_that_sees_its_group_at_the_root_is_limited_too() {
        let groups = ("proc/self/cgroup", "12:cpu:/\n5:memory:/docker/abc\n");
        let root = root(&[MEMINFO, groups, ("sys/fs/cgroup/memory/memory.limit_in_bytes", "536870912\n")]);
        assert_eq!(memory_bytes(root.path()), Some(512 << 20));
    }

    #[test]
    fn without_limits_it_is_the_memory_of_the_machine() {
        // What version 1 writes for "no limit" is larger than any machine.
        let none = ("sys/fs/cgroup/memory/memory.limit_in_bytes", "9223372036854771712\n");
        assert_eq!(
            memory_bytes(root(&[MEMINFO, ("proc/self/cgroup", "5:memory:/\n"), none]).path()),
            Some(8_192_000_000)
        );
        assert_eq!(memory_bytes(root(&[MEMINFO]).path()), Some(8_192_000_000));
        assert_eq!(memory_bytes(root(&[]).path()), None);
    }

    #[test]
    fn a_group_does_not_lead_out_of_its_tree() {
        assert_eq!(limit_files("0::/../../etc\n"), Vec::<PathBuf>::new());
    }
}
