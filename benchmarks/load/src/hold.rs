//! Many connections that do nothing: each asks ApiVersions once and stays, until standard input ends.

use std::io::Read;
use std::io::Write;

use crate::connection::connect;
use crate::frames;
use crate::options::{Options, Row};

pub const OPTIONS: &[Row] =
    &[("port", "9092", "the broker's port, on loopback"), ("connections", "5000", "how many are opened")];

pub fn run(arguments: &[String]) -> Result<String, String> {
    let options = Options::parse(OPTIONS, arguments)?;
    let (port, count): (u16, usize) = (options.get("port")?, options.get("connections")?);
    let frame = frames::api_versions();
    let mut held = Vec::with_capacity(count);
    for _ in 0..count {
        let mut socket = connect(port)?;
        let mut exchange = || {
            socket.write_all(&frame)?;
            let mut size = [0; 4];
            socket.read_exact(&mut size)?;
            socket.read_exact(&mut vec![0; i32::from_be_bytes(size).clamp(0, 1 << 20) as usize])
        };
        exchange().map_err(|e| format!("connection {} of {count} was not served: {e}", held.len() + 1))?;
        held.push(socket);
    }
    println!("{{\"held\":{}}}", held.len());
    std::io::stdin().read_to_end(&mut Vec::new()).map_err(|e| e.to_string())?;
    Ok(format!("{{\"held\":{}}}", held.len()))
}
