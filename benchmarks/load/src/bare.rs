//! The least that a broker could do, as a limit to hold real ones against: receive, check the CRC-32C, write to the page
//! cache, answer; and to readers a bare sendfile. One epoll loop on one thread.
//! With `--sync yes`, the least of one that answers only when it is on the disk: all that came in one turn of the loop, of
//! whatever partitions, is written over a file that is there already, and synced once.
//!
//! It is no broker: any topic exists, a partition is a file, nothing is kept, and of a batch's header only the CRC is read.
//! What it reads of offsets assumes that all batches of a partition are alike, as the load's are.

use std::collections::HashMap;
use std::fs::{self, File, OpenOptions};
use std::net::TcpListener;
use std::os::fd::AsRawFd;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use record::{BatchView, HEADER_BYTES};
use wire::error_code::ErrorCode;
use wire::fetch::FetchRequest;
use wire::header::{self, Api, ApiTable, RequestHeader, begin_response, finish_response};
use wire::primitives::{Reader, Writer};
use wire::produce::{ProduceRequest, ProduceResult, encode_response};
use wire::{Range32, TopicRef};

use crate::connection::{Connection, Frame};
use crate::options::{Options, Row};
use crate::sys::{self, Poll};

pub const OPTIONS: &[Row] = &[
    ("port", "9092", "where it listens, on loopback"),
    ("directory", ".", "where it keeps its files"),
    ("sync", "no", "yes: one file for all partitions, synced before it answers; nothing can be read then"),
];

const LIST_OFFSETS: i16 = 2;
const LISTENER: usize = usize::MAX;
const SYNCED_BYTES: usize = 32 << 20;
const SECTOR_BYTES: u64 = 512;
const APIS: [Api; 3] = [
    Api { api_key: header::PRODUCE, version_min: 9, version_max: 9, flexible_from: 9 },
    Api { api_key: header::FETCH, version_min: 12, version_max: 12, flexible_from: 12 },
    Api { api_key: LIST_OFFSETS, version_min: 1, version_max: 1, flexible_from: 6 },
];

/// A partition: a file, and what all of its batches are like.
struct Place {
    file: File,
    path: PathBuf,
    size_bytes: u64,
    batch_bytes: u64,
    record_count: i64,
}

impl Place {
    fn create(directory: &Path, name: &str, partition: i32) -> Result<Place, String> {
        let path = directory.join(format!("{name}-{partition}"));
        let file = OpenOptions::new().read(true).write(true).create(true).truncate(true).open(&path);
        let file = file.map_err(|e| format!("{}: {e}", path.display()))?;
        Ok(Place { file, path, size_bytes: 0, batch_bytes: 1, record_count: 1 })
    }

    /// With a round, it is written and synced with that.
    fn append(&mut self, batch: &[u8], round: Option<&mut Round>) -> Result<i64, String> {
        let view = BatchView::parse(batch).map_err(|e| e.to_string())?;
        if !view.crc_is_valid() {
            return Err("a batch has a wrong CRC".to_owned());
        }
        let base = self.end_offset();
        (self.batch_bytes, self.record_count) = (view.size_bytes() as u64, i64::from(view.record_count()));
        match round {
            Some(round) => round.bytes.extend_from_slice(batch),
            None => self.file.write_all_at(batch, self.size_bytes).map_err(|e| e.to_string())?,
        }
        self.size_bytes += batch.len() as u64;
        Ok(base)
    }

    fn end_offset(&self) -> i64 {
        (self.size_bytes / self.batch_bytes) as i64 * self.record_count
    }
}

/// What came since the last sync, and the file that it goes to.
struct Round {
    file: File,
    at: u64,
    bytes: Vec<u8>,
}

impl Round {
    fn create(directory: &Path) -> Result<Round, String> {
        let path = directory.join("synced");
        let file = OpenOptions::new().write(true).create(true).truncate(true).open(&path);
        let made = file.and_then(|file| {
            file.write_all_at(&vec![0; SYNCED_BYTES], 0)?;
            file.sync_data()?;
            Ok(Round { file, at: 0, bytes: Vec::new() })
        });
        made.map_err(|e| format!("{}: {e}", path.display()))
    }

    fn commit(&mut self) -> Result<(), String> {
        if self.bytes.is_empty() {
            return Ok(());
        }
        if self.at + self.bytes.len() as u64 > SYNCED_BYTES as u64 {
            self.at = 0;
        }
        self.file.write_all_at(&self.bytes, self.at).and_then(|()| self.file.sync_data()).map_err(|e| e.to_string())?;
        self.at = (self.at + self.bytes.len() as u64).next_multiple_of(SECTOR_BYTES);
        self.bytes.clear();
        Ok(())
    }
}

/// What is left to be sent from a file behind what is in a connection's outbox.
struct Tail {
    partition: (String, i32),
    at: u64,
    left: usize,
}

struct Client {
    connection: Connection,
    file: Option<Tail>,
    /// What stands behind the records of an answer.
    trailer: Vec<u8>,
}

struct Bare {
    directory: PathBuf,
    places: HashMap<(String, i32), Place>,
    apis: ApiTable,
    round: Option<Round>,
}

pub fn run(arguments: &[String]) -> Result<String, String> {
    let options = Options::parse(OPTIONS, arguments)?;
    let directory = PathBuf::from(options.text("directory"));
    fs::create_dir_all(&directory).map_err(|e| e.to_string())?;
    let port: u16 = options.get("port")?;
    let listener = TcpListener::bind(("127.0.0.1", port)).map_err(|e| format!("port {port}: {e}"))?;
    let mut poll = Poll::new().map_err(|e| e.to_string())?;
    poll.add(listener.as_raw_fd(), LISTENER).map_err(|e| e.to_string())?;
    let is_synced = options.choice("sync", &["no", "yes"])? == 1;
    let round = if is_synced { Some(Round::create(&directory)?) } else { None };
    let mut bare = Bare { directory, places: HashMap::new(), apis: ApiTable::new(APIS), round };
    let (mut clients, mut ready, mut next) = (HashMap::new(), Vec::new(), 0);
    loop {
        poll.wait(None, &mut ready).map_err(|e| e.to_string())?;
        for event in &ready {
            if event.token == LISTENER {
                let (socket, _) = listener.accept().map_err(|e| e.to_string())?;
                let connection = Connection::accepted(socket)?;
                poll.add(connection.socket.as_raw_fd(), next).map_err(|e| e.to_string())?;
                clients.insert(next, Client { connection, file: None, trailer: Vec::new() });
                next += 1;
                continue;
            }
            let Some(client) = clients.get_mut(&event.token) else { continue };
            let mut done = bare.receive(client, event.readable);
            if !is_synced {
                done = done.and_then(|()| bare.answer_all(client, event.token, &mut poll));
            }
            forget_if_gone(&mut clients, event.token, done);
        }
        let Some(round) = &mut bare.round else { continue };
        round.commit()?;
        for event in &ready {
            let Some(client) = clients.get_mut(&event.token) else { continue };
            let done = bare.answer_all(client, event.token, &mut poll);
            forget_if_gone(&mut clients, event.token, done);
        }
    }
}

fn forget_if_gone(clients: &mut HashMap<usize, Client>, token: usize, done: Result<(), String>) {
    if let Err(error) = done {
        if !error.contains("closed") && !error.contains("reset") {
            eprintln!("bare: {error}");
        }
        clients.remove(&token);
    }
}

impl Bare {
    fn receive(&mut self, client: &mut Client, readable: bool) -> Result<(), String> {
        self.send(client)?;
        if readable {
            client.connection.receive()?;
        }
        while client.file.is_none() {
            let Some(frame) = client.connection.whole_frame()? else { break };
            let bytes = frame.len() + 4;
            let (answer, file, trailer) = self.answer(frame)?;
            client.connection.consume(bytes);
            if let Some(answer) = answer {
                client.connection.push(Frame::Owned(answer));
            }
            (client.file, client.trailer) = (file, trailer);
            if client.file.is_some() {
                self.send(client)?;
            }
        }
        Ok(())
    }

    fn answer_all(&mut self, client: &mut Client, token: usize, poll: &mut Poll) -> Result<(), String> {
        self.send(client)?;
        let wants = client.connection.unsent_count() > 0 || client.file.is_some();
        if wants != client.connection.wants_writable {
            client.connection.wants_writable = wants;
            poll.set_writable(client.connection.socket.as_raw_fd(), token, wants).map_err(|e| e.to_string())?;
        }
        Ok(())
    }

    fn send(&mut self, client: &mut Client) -> Result<(), String> {
        client.connection.flush()?;
        while client.connection.unsent_count() == 0 {
            let Some(tail) = &mut client.file else { return Ok(()) };
            let place = self.places.get(&tail.partition).ok_or("the partition is gone")?;
            match sys::send_file(client.connection.socket.as_raw_fd(), place.file.as_raw_fd(), tail.at, tail.left) {
                Ok(sent) => {
                    tail.at += sent as u64;
                    tail.left -= sent;
                    if tail.left == 0 {
                        client.file = None;
                        client.connection.push(Frame::Owned(std::mem::take(&mut client.trailer)));
                        client.connection.flush()?;
                        return Ok(());
                    }
                }
                Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(format!("sendfile failed: {error}")),
            }
        }
        Ok(())
    }

    fn answer(&mut self, frame: &[u8]) -> Result<Answer, String> {
        let head = RequestHeader::decode(frame, &self.apis).map_err(|e| e.to_string())?;
        match head.api_key {
            header::PRODUCE => self.produce(frame, head),
            header::FETCH => self.fetch(frame, head),
            _ => self.list_offsets(frame, head),
        }
    }

    fn place(&mut self, topic: &str, partition: i32) -> Result<&mut Place, String> {
        let key = (topic.to_owned(), partition);
        if !self.places.contains_key(&key) {
            self.forget_others(topic);
            let place = Place::create(&self.directory, topic, partition)?;
            self.places.insert(key.clone(), place);
        }
        Ok(self.places.get_mut(&key).expect("it was just made sure of"))
    }

    /// Runs follow one another, each with a topic of its own: what the one before wrote is dropped.
    fn forget_others(&mut self, topic: &str) {
        self.places.retain(|(name, _), place| {
            if name != topic {
                let _ = fs::remove_file(&place.path);
            }
            name == topic
        });
    }

    fn produce(&mut self, frame: &[u8], head: RequestHeader) -> Result<Answer, String> {
        let request = ProduceRequest::decode(frame, head.body, head.api_version).map_err(|e| e.to_string())?;
        let mut results = Vec::with_capacity(request.partitions.len());
        for partition in &request.partitions {
            let records = partition.records.map_or(&[][..], |range| range.of(frame));
            let name = name_of(partition.topic, frame)?;
            let mut round = self.round.take();
            let base_offset = self.place(name, partition.index)?.append(records, round.as_mut())?;
            self.round = round;
            let ok = ProduceResult::failed(partition, ErrorCode::NONE, None);
            results.push(ProduceResult { base_offset, ..ok });
        }
        if request.acks == 0 {
            return Ok((None, None, Vec::new()));
        }
        let answer = encode_response(&results, &[], frame, head.api_version, head.correlation_id);
        Ok((Some(answer.map_err(|e| e.to_string())?), None, Vec::new()))
    }

    fn fetch(&mut self, frame: &[u8], head: RequestHeader) -> Result<Answer, String> {
        let request = FetchRequest::decode(frame, head.body, head.api_version).map_err(|e| e.to_string())?;
        let [wanted] = request.partitions[..] else { return Err("it reads one partition at a time".to_owned()) };
        let name = name_of(wanted.topic, frame)?.to_owned();
        let place = self.place(&name, wanted.partition)?;
        let at = (wanted.fetch_offset / place.record_count) as u64 * place.batch_bytes;
        let left = (place.size_bytes.saturating_sub(at)).min(wanted.partition_bytes_max as u64) as usize;
        let mut w = Writer::with_capacity(128);
        begin_response(&mut w, head.correlation_id, true);
        w.int32(0);
        w.int16(0);
        w.int32(0);
        w.array_count(1, true);
        w.string(name.as_bytes(), true);
        w.array_count(1, true);
        w.int32(wanted.partition);
        w.int16(0);
        for _ in 0..2 {
            w.int64(place.end_offset());
        }
        w.int64(0);
        w.uvarint(0);
        w.int32(-1);
        w.bytes_length(left, true);
        // The tag sections of the partition, the topic and the answer, all empty.
        let trailer = vec![0; 3];
        finish_response(&mut w, left + trailer.len()).map_err(|e| e.to_string())?;
        if left < HEADER_BYTES {
            return Err(format!("nothing to read of {name} at offset {}", wanted.fetch_offset));
        }
        let tail = Tail { partition: (name, wanted.partition), at, left };
        Ok((Some(w.bytes), Some(tail), trailer))
    }
}

impl Bare {
    fn list_offsets(&mut self, frame: &[u8], head: RequestHeader) -> Result<Answer, String> {
        let why = |e: wire::Malformed| e.to_string();
        let mut r = Reader::new(frame, head.body);
        r.int32().map_err(why)?;
        r.array_count(false, 6).map_err(why)?;
        let name = r.string(false).map_err(why)?.of(frame);
        let topic = std::str::from_utf8(name).map_err(|e| e.to_string())?;
        let count = r.array_count(false, 12).map_err(why)?;
        let mut w = Writer::with_capacity(64 + count * 22);
        begin_response(&mut w, head.correlation_id, false);
        w.array_count(1, false);
        w.string(name, false);
        w.array_count(count, false);
        for _ in 0..count {
            let (partition, timestamp) = (r.int32().map_err(why)?, r.int64().map_err(why)?);
            let end = self.places.get(&(topic.to_owned(), partition)).map_or(0, Place::end_offset);
            w.int32(partition);
            w.int16(0);
            w.int64(-1);
            w.int64(if timestamp == -2 { 0 } else { end });
        }
        finish_response(&mut w, 0).map_err(why)?;
        Ok((Some(w.bytes), None, Vec::new()))
    }
}

/// The bytes to send first, then what of a file, then what stands behind it.
type Answer = (Option<Vec<u8>>, Option<Tail>, Vec<u8>);

fn name_of(topic: TopicRef, frame: &[u8]) -> Result<&str, String> {
    let TopicRef::Name(range) = topic else { return Err("it knows topics by name only".to_owned()) };
    let range: Range32 = range;
    std::str::from_utf8(range.of(frame)).map_err(|e| e.to_string())
}
