//! Socket options that std and mio do not offer.

use std::os::fd::AsRawFd;

use crate::config::ServerConfig;

/// Sets the kernel's buffer sizes where the operator asked for some; otherwise the kernel tunes them itself.
pub fn set_buffers(stream: &mio::net::TcpStream, config: &ServerConfig) {
    let options = [(libc::SO_SNDBUF, config.send_buffer_bytes), (libc::SO_RCVBUF, config.receive_buffer_bytes)];
    for (option, bytes) in options {
        let Some(bytes) = bytes else { continue };
        let value = bytes.min(i32::MAX as usize) as libc::c_int;
        // SAFETY: the descriptor is open, and the option's value is a C int that lives for the call.
        unsafe {
            libc::setsockopt(
                stream.as_raw_fd(),
                libc::SOL_SOCKET,
                option,
                std::ptr::from_ref(&value).cast(),
                size_of::<libc::c_int>() as libc::socklen_t,
            );
        }
    }
}
