//! The least that a broker could do, as a limit to hold real ones against: receive, check the CRC-32C, write to the page
//! cache, answer; and to readers a bare sendfile, or the newest batch out of memory once it comes. One epoll loop on one
//! thread.
//! With `--sync yes`, the least of one that answers only when it is on the disk: all that came in one turn of the loop, of
//! whatever partitions, is written over a file that is there already, and synced once.
//!
//! It is no broker: any topic exists, a partition is a file, nothing is kept, and of a batch's header only the CRC is read.
//! What it reads of offsets assumes that all batches of a partition are alike, as the load's are. Who asks for what is not
//! there yet waits for it, however long.

use std::collections::{HashMap, VecDeque};
use std::fs::{self, File, OpenOptions};
use std::net::TcpListener;
use std::os::fd::AsRawFd;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::rc::Rc;

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
    file: Rc<File>,
    path: PathBuf,
    size_bytes: u64,
    batch_bytes: u64,
    record_count: i64,
    /// What the file ends with, while somebody reads at the end of a log.
    newest: Option<Rc<[u8]>>,
}

impl Place {
    fn create(directory: &Path, name: &str, partition: i32) -> Result<Place, String> {
        let path = directory.join(format!("{name}-{partition}"));
        let file = OpenOptions::new().read(true).write(true).create(true).truncate(true).open(&path);
        let file = file.map_err(|e| format!("{}: {e}", path.display()))?;
        Ok(Place { file: Rc::new(file), path, size_bytes: 0, batch_bytes: 1, record_count: 1, newest: None })
    }

    /// With a round, it is written and synced with that.
    fn append(&mut self, batch: &mut [u8], round: Option<&mut Round>, is_read: bool) -> Result<i64, String> {
        let view = BatchView::parse(batch).map_err(|e| e.to_string())?;
        if !view.crc_is_valid() {
            return Err("a batch has a wrong CRC".to_owned());
        }
        let base = self.end_offset();
        (self.batch_bytes, self.record_count) = (view.size_bytes() as u64, i64::from(view.record_count()));
        batch[..8].copy_from_slice(&base.to_be_bytes());
        match round {
            Some(round) => round.bytes.extend_from_slice(batch),
            None => self.file.write_all_at(batch, self.size_bytes).map_err(|e| e.to_string())?,
        }
        self.size_bytes += batch.len() as u64;
        self.newest = is_read.then(|| (&*batch).into());
        Ok(base)
    }

    /// What there is of it from an offset on.
    fn records(&self, wanted: &Wanted) -> Option<Piece> {
        let at = (wanted.offset / self.record_count) as u64 * self.batch_bytes;
        let left = self.size_bytes.saturating_sub(at).min(wanted.bytes_max) as usize;
        match &self.newest {
            _ if left < HEADER_BYTES => None,
            Some(newest) if newest.len() == left && at + left as u64 == self.size_bytes => {
                Some(Piece::Bytes(Frame::Shared(newest.clone())))
            }
            _ => Some(Piece::File { file: self.file.clone(), at, left }),
        }
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

/// A piece of a fetch answer.
enum Piece {
    Bytes(Frame),
    File { file: Rc<File>, at: u64, left: usize },
}

impl Piece {
    fn len(&self) -> usize {
        match self {
            Piece::Bytes(bytes) => bytes.len(),
            Piece::File { left, .. } => *left,
        }
    }
}

struct Wanted {
    partition: i32,
    offset: i64,
    bytes_max: u64,
}

/// What a connection reads: all of its session, of which a request names what has moved.
struct Reading {
    topic: String,
    wanted: Vec<Wanted>,
    session_id: i32,
    /// Of the request that waits for its answer.
    awaits: Option<i32>,
}

struct Client {
    connection: Connection,
    /// What is to be sent behind what the connection has.
    unsent: VecDeque<Piece>,
    reading: Option<Reading>,
}

struct Bare {
    directory: PathBuf,
    places: HashMap<(String, i32), Place>,
    apis: ApiTable,
    round: Option<Round>,
    /// Somebody waits, or has waited, at the end of a log.
    is_read: bool,
    /// Something was appended that nobody who waits was told of.
    has_grown: bool,
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
    let mut bare =
        Bare { directory, places: HashMap::new(), apis: ApiTable::new(APIS), round, is_read: false, has_grown: false };
    let (mut clients, mut ready, mut next) = (HashMap::new(), Vec::new(), 0);
    loop {
        poll.wait(None, &mut ready).map_err(|e| e.to_string())?;
        for event in &ready {
            if event.token == LISTENER {
                let (socket, _) = listener.accept().map_err(|e| e.to_string())?;
                let connection = Connection::accepted(socket)?;
                poll.add(connection.socket.as_raw_fd(), next).map_err(|e| e.to_string())?;
                clients.insert(next, Client { connection, unsent: VecDeque::new(), reading: None });
                next += 1;
                continue;
            }
            let Some(client) = clients.get_mut(&event.token) else { continue };
            let mut done = bare.receive(client, event.readable);
            if !is_synced {
                done = done.and_then(|()| answer_all(client, event.token, &mut poll));
            }
            forget_if_gone(&mut clients, event.token, done);
            if std::mem::take(&mut bare.has_grown) && bare.is_read {
                bare.tell_readers(&mut clients, &mut poll);
            }
        }
        let Some(round) = &mut bare.round else { continue };
        round.commit()?;
        for event in &ready {
            let Some(client) = clients.get_mut(&event.token) else { continue };
            let done = answer_all(client, event.token, &mut poll);
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

fn answer_all(client: &mut Client, token: usize, poll: &mut Poll) -> Result<(), String> {
    send(client)?;
    let wants = client.connection.unsent_count() > 0 || !client.unsent.is_empty();
    if wants != client.connection.wants_writable {
        client.connection.wants_writable = wants;
        poll.set_writable(client.connection.socket.as_raw_fd(), token, wants).map_err(|e| e.to_string())?;
    }
    Ok(())
}

fn send(client: &mut Client) -> Result<(), String> {
    loop {
        while let Some(Piece::Bytes(_)) = client.unsent.front() {
            let Some(Piece::Bytes(bytes)) = client.unsent.pop_front() else { break };
            client.connection.push(bytes);
        }
        client.connection.flush()?;
        if client.connection.unsent_count() > 0 {
            return Ok(());
        }
        let Some(Piece::File { file, at, left }) = client.unsent.front_mut() else { return Ok(()) };
        match sys::send_file(client.connection.socket.as_raw_fd(), file.as_raw_fd(), *at, *left) {
            Ok(sent) if sent == *left => drop(client.unsent.pop_front()),
            Ok(sent) => (*at, *left) = (*at + sent as u64, *left - sent),
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => return Ok(()),
            Err(error) => return Err(format!("sendfile failed: {error}")),
        }
    }
}

impl Bare {
    fn receive(&mut self, client: &mut Client, readable: bool) -> Result<(), String> {
        send(client)?;
        if readable {
            client.connection.receive()?;
        }
        while client.unsent.is_empty() {
            let Some(frame) = client.connection.whole_frame_mut()? else { break };
            let bytes = frame.len() + 4;
            let head = RequestHeader::decode(frame, &self.apis).map_err(|e| e.to_string())?;
            let answer = match head.api_key {
                header::PRODUCE => self.produce(frame, head)?,
                header::FETCH => {
                    Bare::fetch(frame, head, &mut client.reading)?;
                    None
                }
                _ => Some(self.list_offsets(frame, head)?),
            };
            client.connection.consume(bytes);
            match answer {
                Some(answer) => client.connection.push(Frame::Owned(answer)),
                None => self.answer_fetch(client)?,
            }
            if !client.unsent.is_empty() {
                send(client)?;
            }
        }
        Ok(())
    }

    fn tell_readers(&mut self, clients: &mut HashMap<usize, Client>, poll: &mut Poll) {
        let waits = |client: &Client| client.reading.as_ref().is_some_and(|reading| reading.awaits.is_some());
        let waiting: Vec<usize> = clients.iter().filter_map(|(token, each)| waits(each).then_some(*token)).collect();
        for token in waiting {
            let client = clients.get_mut(&token).expect("it was just found");
            let done = self.answer_fetch(client).and_then(|()| answer_all(client, token, poll));
            forget_if_gone(clients, token, done);
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
        self.is_read &= !self.places.is_empty();
    }

    fn produce(&mut self, frame: &mut [u8], head: RequestHeader) -> Result<Option<Vec<u8>>, String> {
        let request = ProduceRequest::decode(frame, head.body, head.api_version).map_err(|e| e.to_string())?;
        let mut results = Vec::with_capacity(request.partitions.len());
        for partition in &request.partitions {
            let records = partition.records.map_or(0..0, |range| range.start as usize..range.end as usize);
            let (mut round, is_read) = (self.round.take(), self.is_read);
            let place = self.place(name_of(partition.topic, frame)?, partition.index)?;
            let base_offset = place.append(&mut frame[records], round.as_mut(), is_read)?;
            self.round = round;
            let ok = ProduceResult::failed(partition, ErrorCode::NONE, None);
            results.push(ProduceResult { base_offset, ..ok });
        }
        self.has_grown = true;
        if request.acks == 0 {
            return Ok(None);
        }
        let answer = encode_response(&results, &[], frame, head.api_version, head.correlation_id);
        Ok(Some(answer.map_err(|e| e.to_string())?))
    }

    /// Notes what is wanted.
    fn fetch(frame: &[u8], head: RequestHeader, reading: &mut Option<Reading>) -> Result<(), String> {
        let request = FetchRequest::decode(frame, head.body, head.api_version).map_err(|e| e.to_string())?;
        if request.session_epoch <= 0 {
            let [first, ..] = request.partitions[..] else { return Err("a new session reads something".to_owned()) };
            let topic = name_of(first.topic, frame)?.to_owned();
            let session_id = i32::from(request.session_epoch == 0);
            *reading = Some(Reading { topic, wanted: Vec::new(), session_id, awaits: None });
        }
        let reading = reading.as_mut().ok_or("it knows no such session")?;
        for each in request.partitions {
            let bytes_max = each.partition_bytes_max as u64;
            let wanted = Wanted { partition: each.partition, offset: each.fetch_offset, bytes_max };
            match reading.wanted.iter_mut().find(|known| known.partition == each.partition) {
                Some(known) => *known = wanted,
                None => reading.wanted.push(wanted),
            }
        }
        reading.awaits = Some(head.correlation_id);
        Ok(())
    }

    /// Answers the fetch that waits, if there is something for it.
    fn answer_fetch(&mut self, client: &mut Client) -> Result<(), String> {
        let Some(reading) = &mut client.reading else { return Ok(()) };
        let Some(correlation_id) = reading.awaits else { return Ok(()) };
        let mut found = Vec::new();
        for wanted in &reading.wanted {
            let place = self.place(&reading.topic, wanted.partition)?;
            if let Some(records) = place.records(wanted) {
                found.push((wanted.partition, place.end_offset(), records));
            }
        }
        if found.is_empty() {
            self.is_read = true;
            return Ok(());
        }
        reading.awaits = None;
        let mut w = Writer::with_capacity(64 + found.len() * 64);
        begin_response(&mut w, correlation_id, true);
        w.int32(0);
        w.int16(0);
        w.int32(reading.session_id);
        w.array_count(1, true);
        w.string(reading.topic.as_bytes(), true);
        w.array_count(found.len(), true);
        let mut records = Vec::with_capacity(found.len());
        for (partition, end_offset, piece) in found {
            w.int32(partition);
            w.int16(0);
            w.int64(end_offset);
            w.int64(end_offset);
            w.int64(0);
            w.uvarint(0);
            w.int32(-1);
            w.bytes_length(piece.len(), true);
            records.push((w.bytes.len(), piece));
            w.no_tags(true);
        }
        w.no_tags(true);
        w.no_tags(true);
        let records_bytes = records.iter().map(|(_, piece)| piece.len()).sum();
        finish_response(&mut w, records_bytes).map_err(|e| e.to_string())?;
        let (mut encoded, mut sent) = (w.bytes, 0);
        for (hole, piece) in records {
            let behind = encoded.split_off(hole - sent);
            client.unsent.extend([Piece::Bytes(Frame::Owned(encoded)), piece]);
            (encoded, sent) = (behind, hole);
        }
        client.unsent.push_back(Piece::Bytes(Frame::Owned(encoded)));
        Ok(())
    }

    fn list_offsets(&mut self, frame: &[u8], head: RequestHeader) -> Result<Vec<u8>, String> {
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
        Ok(w.bytes)
    }
}

fn name_of(topic: TopicRef, frame: &[u8]) -> Result<&str, String> {
    let TopicRef::Name(range) = topic else { return Err("it knows topics by name only".to_owned()) };
    let range: Range32 = range;
    std::str::from_utf8(range.of(frame)).map_err(|e| e.to_string())
}

#[cfg(test)]
mod tests {
    use std::net::TcpStream;
    use std::time::Duration;

    use super::*;

    fn started() -> (u16, PathBuf) {
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let directory = std::env::temp_dir().join(format!("bare-{}-{port}", std::process::id()));
        let arguments = ["--port", &port.to_string(), "--directory", &directory.to_string_lossy()].map(str::to_owned);
        std::thread::spawn(move || run(&arguments));
        while TcpStream::connect(("127.0.0.1", port)).is_err() {
            std::thread::sleep(Duration::from_millis(1));
        }
        (port, directory)
    }

    fn loaded(port: u16, options: &str) -> String {
        let options = format!("--port {port} --topic t --batch-bytes 4096 --warmup 0 --seconds 0.05 {options}");
        crate::run::run(&options.split(' ').map(str::to_owned).collect::<Vec<_>>()).unwrap()
    }

    fn count(told: &str, name: &str) -> u64 {
        let (_, behind) = told.split_once(&format!("\"{name}\":")).unwrap();
        behind.split(|c: char| !c.is_ascii_digit()).next().unwrap().parse().unwrap()
    }

    #[test]
    fn who_reads_at_the_end_gets_all_that_comes_and_who_reads_from_the_start_gets_it_again() {
        let (port, directory) = started();
        // Such a run ends only when each reader has seen the stamp of each record.
        loaded(port, "--producers 2 --rate 2000 --stamp yes --readers 3 --read stamps");
        let told = loaded(port, "--producers 2 --rate 2000 --batches-per-request 3 --readers 2 --read check");
        assert!(count(&told, "read_records") > 0, "{told}");
        let told = loaded(port, "--partitions 2 --readers 2 --read check --from start --share one");
        assert!(count(&told, "read_records") > 0, "{told}");
        fs::remove_dir_all(directory).unwrap();
    }
}
