//! The system calls that the standard library does not have: epoll with nanosecond timeouts, gathered sends, discarding
//! receives, clocks, limits. Linux only, as the benchmarks are.

use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};

pub fn check(result: libc::c_int) -> io::Result<libc::c_int> {
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(result) }
}

fn check_size(result: libc::ssize_t) -> io::Result<usize> {
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(result as usize) }
}

/// Nanoseconds of the monotonic clock, which all processes of a machine share.
pub fn now_ns() -> u64 {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: `time` outlives the call.
    unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC, &mut time) };
    time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64
}

/// Lets timers fire when they are due, not up to 50 us later, and lets this process have all descriptors it may have.
pub fn prepare_process() -> io::Result<()> {
    // SAFETY: no pointers are passed.
    check(unsafe { libc::prctl(libc::PR_SET_TIMERSLACK, 1) })?;
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: `limit` outlives both calls.
    unsafe {
        check(libc::getrlimit(libc::RLIMIT_NOFILE, &mut limit))?;
        limit.rlim_cur = limit.rlim_max;
        check(libc::setrlimit(libc::RLIMIT_NOFILE, &limit))?;
    }
    Ok(())
}

/// From now on this thread gets the processor as soon as it wants it. A wish: only who may do so is heard.
pub fn go_first() {
    let lowest = libc::sched_param { sched_priority: 1 };
    // SAFETY: `lowest` outlives the call; 0 names the calling thread.
    unsafe { libc::sched_setscheduler(0, libc::SCHED_FIFO, &lowest) };
}

#[derive(Clone, Copy)]
pub struct Ready {
    pub token: usize,
    pub readable: bool,
}

/// Level-triggered readiness of descriptors, each known by a token.
pub struct Poll {
    fd: OwnedFd,
    events: Vec<libc::epoll_event>,
}

fn interest(writable: bool) -> u32 {
    (libc::EPOLLIN | if writable { libc::EPOLLOUT } else { 0 }) as u32
}

impl Poll {
    pub fn new() -> io::Result<Poll> {
        // SAFETY: epoll_create1 takes no pointers; a non-negative result is a new descriptor that nobody else owns.
        let fd = unsafe { OwnedFd::from_raw_fd(check(libc::epoll_create1(libc::EPOLL_CLOEXEC))?) };
        Ok(Poll { fd, events: vec![libc::epoll_event { events: 0, u64: 0 }; 512] })
    }

    fn control(&self, operation: libc::c_int, fd: RawFd, token: usize, writable: bool) -> io::Result<()> {
        let mut event = libc::epoll_event { events: interest(writable), u64: token as u64 };
        // SAFETY: `event` outlives the call.
        check(unsafe { libc::epoll_ctl(self.fd.as_raw_fd(), operation, fd, &mut event) }).map(drop)
    }

    pub fn add(&self, fd: RawFd, token: usize) -> io::Result<()> {
        self.control(libc::EPOLL_CTL_ADD, fd, token, false)
    }

    pub fn set_writable(&self, fd: RawFd, token: usize, writable: bool) -> io::Result<()> {
        self.control(libc::EPOLL_CTL_MOD, fd, token, writable)
    }

    /// Waits until something is ready or the time is over. None waits for ever.
    pub fn wait(&mut self, timeout_ns: Option<u64>, ready: &mut Vec<Ready>) -> io::Result<()> {
        ready.clear();
        let time = timeout_ns.map(|ns| libc::timespec {
            tv_sec: (ns / 1_000_000_000) as libc::time_t,
            tv_nsec: (ns % 1_000_000_000) as libc::c_long,
        });
        let time = time.as_ref().map_or(std::ptr::null(), std::ptr::from_ref);
        // SAFETY: the events and the time outlive the call, and the count is that of the events.
        let found = unsafe {
            libc::syscall(
                libc::SYS_epoll_pwait2,
                self.fd.as_raw_fd(),
                self.events.as_mut_ptr(),
                self.events.len(),
                time,
                std::ptr::null::<libc::sigset_t>(),
                0usize,
            )
        };
        match check(found as libc::c_int) {
            Ok(count) => ready.extend(self.events[..count as usize].iter().map(|event| Ready {
                token: event.u64 as usize,
                readable: event.events & !(libc::EPOLLOUT as u32) != 0,
            })),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
        Ok(())
    }
}

/// Sends as much of the pieces as the socket takes now.
pub fn send_pieces(fd: RawFd, pieces: &[libc::iovec]) -> io::Result<usize> {
    // SAFETY: the caller's pieces point to live memory; writev reads them only.
    check_size(unsafe { libc::writev(fd, pieces.as_ptr(), pieces.len() as libc::c_int) })
}

/// Drops up to `bytes` of what has come, without copying it anywhere.
pub fn discard(fd: RawFd, bytes: usize) -> io::Result<usize> {
    // SAFETY: with MSG_TRUNC a stream socket writes nothing to the buffer, which may therefore be null.
    check_size(unsafe { libc::recv(fd, std::ptr::null_mut(), bytes, libc::MSG_TRUNC | libc::MSG_DONTWAIT) })
}

pub fn receive(fd: RawFd, buffer: &mut [u8]) -> io::Result<usize> {
    // SAFETY: the buffer is live and of the length that is told.
    check_size(unsafe { libc::recv(fd, buffer.as_mut_ptr().cast(), buffer.len(), libc::MSG_DONTWAIT) })
}

pub fn send_file(socket: RawFd, file: RawFd, offset: u64, bytes: usize) -> io::Result<usize> {
    let mut offset = offset as libc::off_t;
    // SAFETY: `offset` outlives the call.
    check_size(unsafe { libc::sendfile(socket, file, &mut offset, bytes) })
}

pub fn clock_ticks_per_second() -> f64 {
    // SAFETY: no pointers are passed.
    unsafe { libc::sysconf(libc::_SC_CLK_TCK) as f64 }
}
