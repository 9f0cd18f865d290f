//! What the machine itself can do, each probe for so many seconds: the yardstick beside every row.
//!
//! Figures of two processes that talk are of two threads here; the kernel sees the same two sockets.

use std::fs::OpenOptions;
use std::hint::black_box;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::thread;

use crate::histogram::Histogram;
use crate::options::{Options, Row};
use crate::sys::now_ns;
use crate::usage;

pub const OPTIONS: &[Row] =
    &[("directory", ".", "on the disk that the brokers use"), ("seconds", "1", "length of each probe")];

const BLOCK_BYTES: usize = 1 << 20;
const FILE_BYTES_MAX: u64 = 1 << 30;

type Found = std::io::Result<String>;

fn gb_per_s(bytes: u64, start_ns: u64) -> f64 {
    bytes as f64 / (now_ns() - start_ns) as f64
}

fn memcpy(_: &Options, budget_ns: u64) -> Found {
    let (from, mut to) = (vec![7u8; 256 << 20], vec![0u8; 256 << 20]);
    to.copy_from_slice(&from);
    let (start, mut bytes) = (now_ns(), 0);
    while now_ns() - start < budget_ns {
        black_box(&mut to).copy_from_slice(black_box(&from));
        bytes += from.len() as u64;
    }
    Ok(format!("\"memcpy_gb_s\":{:.3}", gb_per_s(bytes, start)))
}

fn crc(_: &Options, budget_ns: u64) -> Found {
    let block = vec![7u8; 64 << 10];
    let (start, mut bytes) = (now_ns(), 0);
    while now_ns() - start < budget_ns {
        for _ in 0..64 {
            black_box(record::crc32c::crc32c(black_box(&block)));
            bytes += block.len() as u64;
        }
    }
    Ok(format!("\"crc32c_gb_s\":{:.3}", gb_per_s(bytes, start)))
}

fn pair() -> std::io::Result<(TcpStream, TcpStream)> {
    let listener = TcpListener::bind(("127.0.0.1", 0))?;
    let near = TcpStream::connect(listener.local_addr()?)?;
    let (far, _) = listener.accept()?;
    near.set_nodelay(true)?;
    far.set_nodelay(true)?;
    Ok((near, far))
}

fn loopback_bulk(_: &Options, budget_ns: u64) -> Found {
    let (mut near, mut far) = pair()?;
    let receiver = thread::spawn(move || {
        let mut buffer = vec![0; BLOCK_BYTES];
        while far.read(&mut buffer).is_ok_and(|bytes| bytes > 0) {}
    });
    let block = vec![7u8; BLOCK_BYTES];
    let before = usage::read(0);
    let (start, mut bytes) = (now_ns(), 0);
    while now_ns() - start < budget_ns {
        near.write_all(&block)?;
        bytes += block.len() as u64;
    }
    let rate = gb_per_s(bytes, start);
    let after = usage::read(0);
    drop(near);
    receiver.join().expect("the receiver only reads");
    let cpu_s = after.own_user_s + after.own_system_s - before.own_user_s - before.own_system_s;
    Ok(format!("\"loopback_gb_s\":{rate:.3},\"loopback_cpu_s_gb\":{:.3}", cpu_s / (bytes as f64 / 1e9)))
}

/// There and back again: 64 bytes between two threads that sleep until they are woken.
fn wake_up(_: &Options, budget_ns: u64) -> Found {
    let (mut near, mut far) = pair()?;
    let echo = thread::spawn(move || {
        let mut buffer = [0; 64];
        while far.read_exact(&mut buffer).is_ok() && far.write_all(&buffer).is_ok() {}
    });
    let (mut buffer, mut times, start) = ([0; 64], Histogram::default(), now_ns());
    while now_ns() - start < budget_ns {
        let sent = now_ns();
        near.write_all(&buffer)?;
        near.read_exact(&mut buffer)?;
        times.record(now_ns() - sent);
    }
    drop(near);
    echo.join().expect("the echo only answers");
    Ok(format!("\"wake_up\":{}", times.json()))
}

fn probe_file(options: &Options) -> std::io::Result<(PathBuf, std::fs::File)> {
    let path = PathBuf::from(options.text("directory")).join("limits-probe");
    let file = OpenOptions::new().read(true).write(true).create(true).truncate(true).open(&path)?;
    Ok((path, file))
}

/// Into memory that the kernel has handed out before: the file is written once, then measured over again.
fn page_cache_write(options: &Options, budget_ns: u64) -> Found {
    let (path, file) = probe_file(options)?;
    let block = vec![7u8; BLOCK_BYTES];
    for at in (0..FILE_BYTES_MAX / 4).step_by(BLOCK_BYTES) {
        file.write_all_at(&block, at)?;
    }
    file.set_len(0)?;
    let (start, mut bytes) = (now_ns(), 0);
    while now_ns() - start < budget_ns {
        if bytes % FILE_BYTES_MAX == 0 {
            file.set_len(0)?;
        }
        file.write_all_at(&block, bytes % FILE_BYTES_MAX)?;
        bytes += block.len() as u64;
    }
    let rate = gb_per_s(bytes, start);
    drop(file);
    std::fs::remove_file(path)?;
    Ok(format!("\"page_cache_write_gb_s\":{rate:.3}"))
}

fn fdatasync(options: &Options, budget_ns: u64) -> Found {
    let (path, file) = probe_file(options)?;
    let block = vec![7u8; 4096];
    let (mut times, start, mut at) = (Histogram::default(), now_ns(), 0);
    while now_ns() - start < budget_ns {
        let began = now_ns();
        file.write_all_at(&block, at)?;
        file.sync_data()?;
        times.record(now_ns() - began);
        at += block.len() as u64;
    }
    drop(file);
    std::fs::remove_file(path)?;
    Ok(format!("\"fdatasync\":{}", times.json()))
}

const PROBES: &[fn(&Options, u64) -> Found] = &[memcpy, crc, loopback_bulk, wake_up, page_cache_write, fdatasync];

pub fn run(arguments: &[String]) -> Result<String, String> {
    let options = Options::parse(OPTIONS, arguments)?;
    let budget_ns = (options.get::<f64>("seconds")? * 1e9) as u64;
    let found: Result<Vec<_>, _> = PROBES.iter().map(|probe| probe(&options, budget_ns)).collect();
    Ok(format!("{{{}}}", found.map_err(|e| e.to_string())?.join(",")))
}
