//! Whole requests from standard input, one a line in hexadecimal, each asked again and again on a connection of its own, one
//! in flight. Every answer must be as long as the first one to that request: whether it is right is for the caller to look at.

use std::io::Read;
use std::os::fd::AsRawFd;
use std::rc::Rc;

use crate::connection::{Connection, Frame};
use crate::histogram::Histogram;
use crate::options::{Options, Row};
use crate::sys::{self, Poll};

pub const OPTIONS: &[Row] =
    &[("port", "9092", "the broker's port, on loopback"), ("seconds", "3", "how long, after a first round of all")];

struct Asked {
    connection: Connection,
    frame: Rc<[u8]>,
    sent_ns: u64,
    answer_bytes: Option<usize>,
}

impl Asked {
    fn ask(&mut self) -> Result<(), String> {
        self.sent_ns = sys::now_ns();
        self.connection.push(Frame::Shared(self.frame.clone()));
        self.connection.flush()?;
        match self.connection.unsent_count() {
            0 => Ok(()),
            _ => Err("a request does not fit into an empty socket".to_owned()),
        }
    }

    /// How long the answer took, if it is here as a whole.
    fn answered(&mut self) -> Result<Option<u64>, String> {
        self.connection.receive()?;
        let Some(bytes) = self.connection.whole_frame()?.map(<[u8]>::len) else { return Ok(None) };
        let first = *self.answer_bytes.get_or_insert(bytes);
        if bytes != first {
            return Err(format!("an answer of {bytes} bytes, where the first had {first}"));
        }
        self.connection.consume(4 + bytes);
        Ok(Some(sys::now_ns() - self.sent_ns))
    }
}

fn bytes_of(line: &str) -> Result<Rc<[u8]>, String> {
    let digits = line.as_bytes().chunks(2).map(|pair| {
        let text = std::str::from_utf8(pair).map_err(|e| e.to_string())?;
        u8::from_str_radix(text, 16).map_err(|e| format!("{text}: {e}"))
    });
    digits.collect()
}

pub fn run(arguments: &[String]) -> Result<String, String> {
    let options = Options::parse(OPTIONS, arguments)?;
    let (port, seconds): (u16, f64) = (options.get("port")?, options.get("seconds")?);
    let mut text = String::new();
    std::io::stdin().read_to_string(&mut text).map_err(|e| e.to_string())?;
    let (mut poll, mut ready) = (Poll::new().map_err(|e| e.to_string())?, Vec::new());
    let mut all = Vec::new();
    for line in text.lines() {
        let connection = Connection::open(port)?;
        poll.add(connection.socket.as_raw_fd(), all.len()).map_err(|e| e.to_string())?;
        all.push(Asked { connection, frame: bytes_of(line)?, sent_ns: 0, answer_bytes: None });
    }
    let began_ns = sys::now_ns();
    let end_ns = began_ns + (seconds * 1e9) as u64;
    let mut latencies = Histogram::default();
    all.iter_mut().try_for_each(Asked::ask)?;
    let mut under_way = all.len();
    while under_way > 0 {
        poll.wait(Some(1_000_000_000), &mut ready).map_err(|e| e.to_string())?;
        for event in &ready {
            let asked = &mut all[event.token];
            let Some(took_ns) = asked.answered()? else { continue };
            latencies.record(took_ns);
            if sys::now_ns() < end_ns {
                asked.ask()?;
            } else {
                under_way -= 1;
            }
        }
    }
    let elapsed_s = (sys::now_ns() - began_ns) as f64 / 1e9;
    Ok(format!("{{\"requests\":{},\"seconds\":{elapsed_s:.6},\"latency\":{}}}", latencies.count(), latencies.json()))
}
