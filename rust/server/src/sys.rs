//! The system calls that are not the same everywhere, behind one small module: a notifier that an event loop of another
//! world can wait on, and a send straight from a file. Linux has the fast ones; elsewhere a portable fallback does.

use std::fs::File;
use std::io;
use std::mem::ManuallyDrop;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::time::Duration;

/// A file descriptor that becomes readable when something is to be done.
pub struct Notifier {
    read: OwnedFd,
    #[cfg(not(target_os = "linux"))]
    write: OwnedFd,
}

/// The calling thread gets the processor where nobody else wants it. A wish: where it cannot be had, nothing is lost.
pub fn yield_to_others() {
    #[cfg(target_os = "linux")]
    // SAFETY: setpriority takes no pointers; 0 names the calling thread.
    unsafe {
        libc::setpriority(libc::PRIO_PROCESS, 0, 10);
    }
}

/// The calling thread works in short bursts that others wait for: once it may go on, it is not to wait until another's longer
/// slice of the processor is over. It gets no larger share by that. A wish, as above; Linux knows it from 6.12 on, and takes
/// 0.1 ms at least.
pub fn work_in_bursts(length: Duration) {
    // What whoever started the process chose besides, its policy and its niceness, stays.
    #[cfg(target_os = "linux")]
    if let Some(mut attributes) = scheduling() {
        attributes.sched_runtime = length.as_nanos() as u64;
        // SAFETY: `attributes` says its own size and outlives the call; 0 names the calling thread.
        unsafe { libc::syscall(libc::SYS_sched_setattr, 0, &attributes, 0) };
    }
    #[cfg(not(target_os = "linux"))]
    let _ = length;
}

/// How the calling thread is given the processor, where the kernel tells.
#[cfg(target_os = "linux")]
fn scheduling() -> Option<libc::sched_attr> {
    let size = size_of::<libc::sched_attr>() as u32;
    // SAFETY: a zeroed sched_attr is a valid value of that plain struct.
    let mut attributes: libc::sched_attr = unsafe { std::mem::zeroed() };
    // SAFETY: `attributes` is a valid place of the size told; 0 names the calling thread.
    let result = unsafe { libc::syscall(libc::SYS_sched_getattr, 0, &mut attributes, size, 0) };
    (result == 0).then_some(attributes)
}

fn check(result: libc::c_int) -> io::Result<libc::c_int> {
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(result) }
}

/// Reads or writes through a descriptor that somebody else owns.
fn borrowed(fd: RawFd) -> ManuallyDrop<File> {
    // SAFETY: the caller's object owns `fd` and outlives the call; ManuallyDrop keeps this File from closing it.
    ManuallyDrop::new(unsafe { File::from_raw_fd(fd) })
}

#[cfg(target_os = "linux")]
impl Notifier {
    pub fn new() -> io::Result<Notifier> {
        // SAFETY: eventfd takes no pointers; a non-negative result is a new descriptor that nobody else owns.
        let fd = check(unsafe { libc::eventfd(0, libc::EFD_NONBLOCK | libc::EFD_CLOEXEC) })?;
        // SAFETY: as above.
        Ok(Notifier { read: unsafe { OwnedFd::from_raw_fd(fd) } })
    }

    pub fn notify(&self) {
        use std::io::Write;
        // A full counter is readable already; there is nothing to do about any other failure.
        let _ = borrowed(self.read.as_raw_fd()).write(&1u64.to_ne_bytes());
    }
}

#[cfg(not(target_os = "linux"))]
impl Notifier {
    pub fn new() -> io::Result<Notifier> {
        let mut fds = [0; 2];
        // SAFETY: pipe fills the two descriptors of the array it is given.
        check(unsafe { libc::pipe(fds.as_mut_ptr()) })?;
        for fd in fds {
            // SAFETY: fcntl on a descriptor that was just made, without pointers.
            check(unsafe { libc::fcntl(fd, libc::F_SETFL, libc::O_NONBLOCK) })?;
        }
        // SAFETY: both are new descriptors that nobody else owns.
        Ok(Notifier { read: unsafe { OwnedFd::from_raw_fd(fds[0]) }, write: unsafe { OwnedFd::from_raw_fd(fds[1]) } })
    }

    pub fn notify(&self) {
        use std::io::Write;
        let _ = borrowed(self.write.as_raw_fd()).write(&[1]);
    }
}

impl Notifier {
    pub fn fd(&self) -> RawFd {
        self.read.as_raw_fd()
    }

    /// Makes the descriptor unreadable until the next `notify`.
    pub fn clear(&self) {
        use std::io::Read;
        let mut buffer = [0; 64];
        let _ = borrowed(self.read.as_raw_fd()).read(&mut buffer);
    }
}

/// Sends up to `bytes` of `file` from `position` to `socket` without bringing them into this process.
#[cfg(target_os = "linux")]
pub fn send_file(socket: RawFd, file: RawFd, position: u64, bytes: usize) -> io::Result<usize> {
    let mut offset = position as libc::off_t;
    // SAFETY: both descriptors are open for the call, and `offset` is a valid place for the kernel to write.
    let sent = unsafe { libc::sendfile(socket, file, &mut offset, bytes) };
    if sent < 0 { Err(io::Error::last_os_error()) } else { Ok(sent as usize) }
}

#[cfg(not(target_os = "linux"))]
pub fn send_file(socket: RawFd, file: RawFd, position: u64, bytes: usize) -> io::Result<usize> {
    use std::io::Write;
    use std::os::unix::fs::FileExt;
    let mut buffer = vec![0; bytes.min(128 * 1024)];
    let read = borrowed(file).read_at(&mut buffer, position)?;
    (&*borrowed(socket)).write(&buffer[..read])
}

/// Total and usable bytes of the file system that holds `path`.
pub fn disk_space(path: &std::path::Path) -> io::Result<(i64, i64)> {
    use std::os::unix::ffi::OsStrExt;
    let path = std::ffi::CString::new(path.as_os_str().as_bytes())?;
    // SAFETY: a zeroed statvfs is a valid value of that plain struct.
    let mut space: libc::statvfs = unsafe { std::mem::zeroed() };
    // SAFETY: the path is a C string and `space` a valid place for the call to fill.
    check(unsafe { libc::statvfs(path.as_ptr(), &mut space) })?;
    #[allow(clippy::unnecessary_cast, reason = "the fields' widths differ between systems")]
    let of = |blocks: u64| (blocks as i64).saturating_mul(space.f_frsize as i64);
    #[allow(clippy::unnecessary_cast, reason = "the fields' widths differ between systems")]
    Ok((of(space.f_blocks as u64), of(space.f_bavail as u64)))
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    #[test]
    fn a_thread_that_works_in_bursts_stays_as_nice_as_it_was() {
        let in_bursts = || {
            yield_to_others();
            work_in_bursts(Duration::from_micros(700));
            scheduling().unwrap()
        };
        let told = std::thread::spawn(in_bursts).join().unwrap();
        assert_eq!((told.sched_policy, told.sched_nice), (libc::SCHED_OTHER as u32, 10));
        // An older kernel tells of no length, and takes none.
        assert!([0, 700_000].contains(&told.sched_runtime), "{}", told.sched_runtime);
    }
}
