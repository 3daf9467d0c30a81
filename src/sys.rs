//! Two system calls, and one of the allocator's, that no safe crate makes as we need them: all `unsafe` there is (docs/adr/0004-unsafe.md).
#![allow(unsafe_code, reason = "the only file that may; each block says why it is sound")]

use std::io;
use std::os::fd::{AsFd, AsRawFd};

/// Whether a read may wait for storage.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Wait {
    /// For as long as it takes.
    Allowed,
    /// Not at all: what does not lie in the page cache is an error (EAGAIN), as it is where the file system can't tell
    /// (EOPNOTSUPP).
    Forbidden,
}

/// Reads at most `count` bytes at `offset` of `file` behind what `buffer` holds, into memory that need not have been written
/// before; returns how many came, which is 0 at the end of the file. `preadv2(2)`.
pub fn append_at(file: impl AsFd, buffer: &mut Vec<u8>, count: usize, offset: u64, wait: Wait) -> io::Result<usize> {
    buffer.reserve(count);
    let spare = &mut buffer.spare_capacity_mut()[..count];
    let part = libc::iovec { iov_base: spare.as_mut_ptr().cast(), iov_len: spare.len() };
    let offset = libc::off_t::try_from(offset).map_err(|_| io::Error::from(io::ErrorKind::InvalidInput))?;
    let flags = if wait == Wait::Allowed { 0 } else { libc::RWF_NOWAIT };
    // SAFETY: `part` names `count` bytes of the spare capacity of `buffer`, which is borrowed exclusively until the call
    // returns, and the kernel only writes them.
    let read = unsafe { libc::preadv2(file.as_fd().as_raw_fd(), &part, 1, offset, flags) };
    let read = usize::try_from(read).map_err(|_| io::Error::last_os_error())?;
    assert!(read <= count, "the kernel says it wrote {read} of {count} bytes");
    // SAFETY: `read` bytes of the spare capacity have just been written, one after another from its beginning.
    unsafe { buffer.set_len(buffer.len() + read) };
    Ok(read)
}

/// Bytes that were written to a TCP socket and that its peer has not acknowledged. `tcp(7)`, SIOCOUTQ.
pub fn unacknowledged(socket: impl AsFd) -> io::Result<usize> {
    let mut bytes: libc::c_int = 0;
    // SAFETY: the request (of the same number as SIOCOUTQ) writes one int, and `bytes` is one that outlives the call.
    let result = unsafe { libc::ioctl(socket.as_fd().as_raw_fd(), libc::TIOCOUTQ, &mut bytes) };
    if result < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(usize::try_from(bytes).unwrap_or(0))
}

/// How long the program keeps freed memory: long enough that memory of bodies that come and go is used again, short enough that a server
/// that rests gives it back.
pub const FREED_MEMORY_KEPT_MS: u16 = 10_000;
/// `mi_option_purge_delay` of mimalloc, which its binding does not name.
const PURGE_DELAY: libmimalloc_sys::mi_option_t = 15;

/// How long the allocator keeps freed memory before the kernel gets it back, in milliseconds; `MIMALLOC_PURGE_DELAY` in the
/// environment goes before it. Each page that was given back costs a fault when the next body is read into it.
pub fn keep_freed_memory_for(milliseconds: u16) {
    let delay = libc::c_long::from(milliseconds);
    // SAFETY: the call stores an integer in a table of the allocator's own, at an index below its length.
    unsafe { libmimalloc_sys::mi_option_set_default(PURGE_DELAY, delay) };
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Read, Write};
    use std::net::{TcpListener, TcpStream};

    #[test]
    fn what_is_read_stands_behind_what_was_there() {
        let mut file = tempfile::tempfile().expect("a temporary file");
        file.write_all(b"0123456789").expect("written");
        let mut buffer = b"ab".to_vec();
        assert_eq!(append_at(&file, &mut buffer, 3, 4, Wait::Allowed).expect("read"), 3);
        assert_eq!(buffer, b"ab456");
        assert_eq!(append_at(&file, &mut buffer, 100, 8, Wait::Forbidden).expect("it was just written"), 2);
        assert_eq!(buffer, b"ab45689");
        assert_eq!(append_at(&file, &mut buffer, 100, 10, Wait::Allowed).expect("the end"), 0);
        assert_eq!(append_at(&file, &mut buffer, 0, 0, Wait::Allowed).expect("nothing"), 0);
        assert_eq!(buffer, b"ab45689");
        assert!(append_at(&file, &mut buffer, 1, u64::MAX, Wait::Allowed).is_err());
        let (reader, _writer) = io::pipe().expect("a pipe");
        assert!(append_at(&reader, &mut buffer, 1, 0, Wait::Allowed).is_err(), "a pipe has no places");
        assert_eq!(buffer, b"ab45689");
    }

    #[test]
    fn bytes_that_the_peer_has_are_not_waited_for() {
        let listener = TcpListener::bind("127.0.0.1:0").expect("bound");
        let mut writer = TcpStream::connect(listener.local_addr().expect("an address")).expect("connected");
        let (mut reader, _) = listener.accept().expect("accepted");
        assert_eq!(unacknowledged(&writer).expect("a socket"), 0);
        writer.set_nonblocking(true).expect("set");
        while writer.write(&[0; 65_536]).is_ok() {}
        let queued = unacknowledged(&writer).expect("a socket");
        assert!(queued > 0);
        let mut space = vec![0; 65_536];
        for _ in 0..1000 {
            if unacknowledged(&writer).expect("a socket") < queued {
                return;
            }
            reader.read_exact(&mut space).expect("there is more");
        }
        panic!("{queued} bytes are queued though the peer reads");
    }
    #[test]
    fn the_option_of_the_allocator_is_the_one_that_is_meant() {
        // SAFETY: the call reads an integer.
        let delay = || unsafe { libmimalloc_sys::mi_option_get(PURGE_DELAY) };
        assert_eq!(delay(), 1000, "mimalloc's own delay: another number means that its options were numbered anew");
        keep_freed_memory_for(10_000);
        assert_eq!(delay(), 10_000);
    }
}
