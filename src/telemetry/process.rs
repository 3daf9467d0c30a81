//! What the process itself takes, as `/proc` says; asked when somebody looks.

use std::fs;

/// Bytes of memory in use (`VmRSS` of `proc_pid_status(5)`).
pub fn resident_bytes() -> Option<i64> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    let kib: i64 =
        status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?.trim().strip_suffix("kB")?.trim().parse().ok()?;
    kib.checked_mul(1024)
}

/// Descriptors that are open.
pub fn descriptors() -> Option<i64> {
    // One of them is the folder that is being read.
    i64::try_from(fs::read_dir("/proc/self/fd").ok()?.count()).ok().map(|count| count - 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_has_memory_and_descriptors() {
        let before = descriptors().unwrap();
        let files: Vec<_> = (0..50).map(|_| fs::File::open("/proc/self/status").unwrap()).collect();
        // Other tests open and close some meanwhile.
        assert!(descriptors().unwrap() > before, "{} files are open", files.len());
        assert!(resident_bytes().unwrap() > 1 << 20);
    }
}
