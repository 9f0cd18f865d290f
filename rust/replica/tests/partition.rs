//! A partition with its log in memory: appends, reads, waits, sessions. No clock, no socket.

mod common;

use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use bytes::BytesMut;
use common::offer;
use log::memory::MemoryStorage;
use log::{Few, Log, OpenOptions};
use record::{BatchBuilder, BatchFacts, NewRecord};
use replica::append::Offered;
use replica::fetch::{Answer, Begun, FetchCall, Fetching};
use replica::fetch_session::FetchSessions;
use replica::leadership::Leadership;
use replica::partition::{Opened, Partition};
use replica::produce::{ProduceCall, ProduceCaller, Produced, produce};
use replica::purgatory::{Wake, Watch, Watcher};
use replica::read::{ReadRequest, Records};
use replica::tail::TailBudget;
use replica::topic::Topic;
use replica::view::{Published, View};
use replica::waiting::Wanted;
use wire::fetch::{FetchPartition, FetchRequest};
use wire::produce::{ProducePartition, ProduceRequest};
use wire::{ErrorCode, Range32, TopicRef};

const TOPIC_ID: [u8; 16] = [7; 16];
const NODE_ID: i32 = 1;

fn leadership(leader_id: i32, leader_epoch: i32, isr: &[i32]) -> Leadership {
    Leadership { leader_id, leader_epoch, partition_epoch: 0, replicas: vec![1, 2], isr: isr.to_vec() }
}

struct World {
    published: Published,
    partitions: Vec<Arc<Partition>>,
    storage: Arc<MemoryStorage>,
}

impl World {
    /// Only the disk has the records of this partition that are in no hot tail.
    fn cool(&self, partition: i32) {
        self.storage.cool(&PathBuf::from(format!("/flights-{partition}/00000000000000000000.log")), 0).unwrap();
    }
}

/// `count` partitions led here in epoch 3, whose hot tails hold at most `tail_bytes`.
fn world(count: i32, min_insync_replicas: usize, tail_bytes: usize) -> World {
    let topic = Arc::new(Topic::new(TOPIC_ID, "flights", common::settings(false, min_insync_replicas)));
    let budget = Arc::new(TailBudget::new(tail_bytes, tail_bytes));
    let mut view = View::default();
    view.insert_topic(topic.clone());
    let storage = Arc::new(MemoryStorage::default());
    let partitions: Vec<_> = (0..count)
        .map(|index| {
            let partition = Arc::new(Partition::new(topic.clone(), index, NODE_ID, budget.clone()));
            let (log, _) = Log::open(OpenOptions {
                storage: storage.clone(),
                dir: format!("/flights-{index}").into(),
                topic_id: TOPIC_ID,
                sibling: None,
                config: topic.settings.load().log.clone(),
                clean_shutdown: true,
                recovery_point: 0,
                log_start_offset: None,
                now_ms: 0,
            })
            .unwrap();
            partition
                .apply_leadership(leadership(NODE_ID, 3, &[1]), Some(Opened { log, high_watermark: 0, disk: None }))
                .unwrap();
            view.insert_partition(partition.clone());
            partition
        })
        .collect();
    let published = Published::default();
    published.publish(view, 1);
    World { published, partitions, storage }
}

fn batch(records: usize, sequence: Option<i32>) -> BytesMut {
    let mut facts = BatchFacts::default();
    if let Some(sequence) = sequence {
        facts = BatchFacts { producer_id: 9, producer_epoch: 0, base_sequence: sequence, ..facts };
    }
    let mut builder = BatchBuilder::new(facts);
    for _ in 0..records {
        builder.push(NewRecord { timestamp: 1000, value: Some(&[1; 20]), ..NewRecord::default() });
    }
    BytesMut::from(&builder.build().unwrap()[..])
}

fn append(partition: &Arc<Partition>, records: usize) -> Result<i64, ErrorCode> {
    offer(partition, batch(records, None), -1, 9, 5000).map(|a| a.first_offset).map_err(|f| f.error)
}

fn wanted(offset: i64, current_leader_epoch: i32, bytes_max: i32) -> FetchPartition {
    FetchPartition {
        topic: TopicRef::Id(TOPIC_ID),
        partition: 0,
        current_leader_epoch,
        fetch_offset: offset,
        last_fetched_epoch: -1,
        log_start_offset: -1,
        partition_bytes_max: bytes_max,
    }
}

fn read(partition: &Partition, request: FetchPartition) -> replica::read::ReadResult {
    partition.read(&ReadRequest {
        request: &request,
        replica_id: -1,
        isolation_level: 0,
        bytes_left: 1 << 20,
        min_one: true,
        may_wait: false,
    })
}

#[test]
fn offsets_rise_without_gaps_and_the_high_watermark_follows_a_sole_replica() {
    let world = world(1, 1, 1 << 20);
    let partition = &world.partitions[0];
    assert_eq!(append(partition, 3), Ok(0));
    assert_eq!(append(partition, 2), Ok(3));
    assert_eq!(partition.high_watermark(), 5);
}

#[test]
fn a_reader_is_served_from_memory_while_the_tail_holds_it_and_from_the_file_before() {
    let world = world(1, 1, 400);
    let partition = &world.partitions[0];
    append(partition, 3).unwrap();
    assert!(matches!(read(partition, wanted(0, -1, 1 << 20)).records, Records::File { .. }), "nobody was there");
    for _ in 0..9 {
        append(partition, 3).unwrap();
    }
    assert!(matches!(read(partition, wanted(28, -1, 1 << 20)).records, Records::Memory { .. }));
    assert!(matches!(read(partition, wanted(0, -1, 1 << 20)).records, Records::File { .. }));
    assert!(matches!(read(partition, wanted(30, -1, 1 << 20)).records, Records::None));
}

#[test]
fn a_read_gives_whole_batches_and_at_least_the_first() {
    let world = world(1, 1, 1);
    let partition = &world.partitions[0];
    let one = batch(3, None).len();
    for _ in 0..4 {
        append(partition, 3).unwrap();
    }
    assert_eq!(
        read(partition, wanted(4, -1, 1)).records.len(),
        one,
        "the batch that holds offset 4, though it is larger"
    );
    assert_eq!(read(partition, wanted(0, -1, one as i32 * 2 + 5)).records.len(), one * 2);
}

#[test]
fn leader_epochs_fence_those_who_know_another() {
    let world = world(1, 1, 1 << 20);
    let partition = &world.partitions[0];
    assert_eq!(read(partition, wanted(0, 2, 100)).error, ErrorCode::FENCED_LEADER_EPOCH);
    assert_eq!(read(partition, wanted(0, 4, 100)).error, ErrorCode::UNKNOWN_LEADER_EPOCH);
    assert_eq!(read(partition, wanted(0, 3, 100)).error, ErrorCode::NONE);
    assert_eq!(read(partition, wanted(1, -1, 100)).error, ErrorCode::OFFSET_OUT_OF_RANGE);
}

#[test]
fn a_replica_that_does_not_lead_says_who_does() {
    let world = world(1, 1, 1 << 20);
    let partition = &world.partitions[0];
    partition.apply_leadership(leadership(2, 4, &[1, 2]), None).unwrap();
    let failure = offer(partition, batch(1, None), 1, 9, 0).unwrap_err();
    assert_eq!(failure.error, ErrorCode::NOT_LEADER_OR_FOLLOWER);
    assert_eq!(failure.current_leader.map(|l| (l.leader_id, l.leader_epoch)), Some((2, 4)));
    assert_eq!(read(partition, wanted(0, -1, 100)).error, ErrorCode::NOT_LEADER_OR_FOLLOWER);
}

#[test]
fn acks_all_needs_the_minimum_in_sync_and_acks_one_does_not() {
    let world = world(1, 2, 1 << 20);
    let partition = &world.partitions[0];
    assert_eq!(append(partition, 1), Err(ErrorCode::NOT_ENOUGH_REPLICAS));
    assert!(offer(partition, batch(1, None), 1, 9, 0).is_ok());
}

#[test]
fn with_a_follower_in_sync_the_high_watermark_waits_and_a_waiter_is_told_of_a_new_leader() {
    let world = world(1, 1, 1 << 20);
    let partition = &world.partitions[0];
    partition.apply_leadership(leadership(NODE_ID, 4, &[1, 2]), None).unwrap();
    let appended = offer(partition, batch(2, None), -1, 9, 0).unwrap();
    assert_eq!((appended.last_offset, appended.high_watermark), (1, 0));
    assert!(
        matches!(read(partition, wanted(0, -1, 100)).records, Records::None),
        "not visible before it is replicated"
    );
    let woken = Arc::new(Woken::default());
    let watch = Watch::new();
    partition.watch_for(Wanted::HighWatermark(2), Watcher { watch: watch.clone(), slot: 0 });
    assert!(watch.park(5, woken.clone(), 1));
    partition.apply_leadership(leadership(2, 5, &[2]), None).unwrap();
    assert_eq!(woken.tickets(), [5]);
    assert_eq!(partition.outcome_of(Wanted::HighWatermark(2)), ErrorCode::NOT_LEADER_OR_FOLLOWER);
}

#[test]
fn a_writer_that_waits_is_not_told_of_changes_that_leave_the_leader_in_place() {
    let world = world(1, 1, 1 << 20);
    let partition = &world.partitions[0];
    partition.apply_leadership(leadership(NODE_ID, 4, &[1, 2]), None).unwrap();
    append(partition, 2).unwrap();
    let (woken, watch) = (Arc::new(Woken::default()), Watch::new());
    partition.watch_for(Wanted::HighWatermark(2), Watcher { watch: watch.clone(), slot: 0 });
    assert!(watch.park(5, woken.clone(), 1));
    partition.change_log(|_, _| ());
    partition.apply_leadership(Leadership { partition_epoch: 9, ..leadership(NODE_ID, 4, &[1, 2]) }, None).unwrap();
    assert!(woken.tickets().is_empty(), "the records are neither on all replicas in sync nor lost");
    partition.apply_leadership(leadership(NODE_ID, 4, &[1]), None).unwrap();
    assert_eq!(woken.tickets(), [5]);
    assert_eq!(partition.outcome_of(Wanted::HighWatermark(2)), ErrorCode::NONE);
}

#[test]
fn a_retried_batch_is_acknowledged_with_its_first_offsets_and_stored_once() {
    let world = world(1, 1, 1 << 20);
    let partition = &world.partitions[0];
    let first = offer(partition, batch(3, Some(0)), -1, 9, 0).unwrap();
    offer(partition, batch(2, Some(3)), -1, 9, 0).unwrap();
    let again = offer(partition, batch(3, Some(0)), -1, 9, 0).unwrap();
    assert_eq!((again.first_offset, again.last_offset), (first.first_offset, first.last_offset));
    assert_eq!(partition.high_watermark(), 5);
    let gap = offer(partition, batch(1, Some(9)), -1, 9, 0).unwrap_err();
    assert_eq!(gap.error, ErrorCode::OUT_OF_ORDER_SEQUENCE_NUMBER);
}

fn offered(batches: impl IntoIterator<Item = BytesMut>) -> Few<Offered> {
    batches.into_iter().map(|batch| Offered { batch, acks: -1, api_version: 9 }).collect()
}

/// First offsets, or errors.
fn firsts(told: Few<replica::append::Told>) -> Vec<Result<i64, ErrorCode>> {
    told.into_iter().map(|each| each.map(|a| a.first_offset).map_err(|f| f.error)).collect()
}

#[test]
fn batches_that_come_together_are_one_write_in_each_segment() {
    let world = world(1, 1, 1 << 20);
    let partition = &world.partitions[0];
    append(partition, 1).unwrap();
    // A write, and that of a second segment with its file and the snapshot before it; then nothing may be written any more.
    let told = partition.append(offered([0, 4, 8].map(|sequence| batch(4, Some(sequence)))), 5000);
    assert_eq!(firsts(told), [Ok(1), Ok(5), Ok(9)]);
    assert_eq!(partition.high_watermark(), 13);
    world.storage.fail_after(1);
    let told = partition.append(offered((0..5).map(|_| batch(2, None))), 5000);
    assert_eq!(firsts(told), [13, 15, 17, 19, 21].map(Ok), "one write is left");
    let told = partition.append(offered([batch(1, None)]), 5000);
    assert_eq!(firsts(told), [Err(ErrorCode::KAFKA_STORAGE_ERROR)]);
}

#[test]
fn batches_that_come_together_go_on_in_the_next_segment() {
    let world = world(1, 1, 1 << 20);
    let partition = &world.partitions[0];
    let told = partition.append(offered((0..20).map(|number| batch(20, Some(20 * number)))), 5000);
    assert_eq!(firsts(told), (0..20).map(|number| Ok(20 * number)).collect::<Vec<_>>());
    let (segments, end) = partition.with_log(|log, _| (log.segment_count(), log.log_end_offset())).unwrap();
    assert!((3..20).contains(&segments), "{segments}");
    assert_eq!((end, partition.high_watermark()), (400, 400));
    let again = partition.append(offered([batch(20, Some(380))]), 5000);
    assert_eq!(firsts(again), [Ok(380)], "its producer is known");
}

#[test]
fn each_of_the_batches_that_come_together_is_judged_by_those_before_it() {
    let world = world(1, 1, 1 << 20);
    let partition = &world.partitions[0];
    let mut rotten = batch(1, Some(6));
    *rotten.last_mut().unwrap() ^= 1;
    let batches = [
        batch(3, Some(0)),
        batch(3, Some(3)),
        batch(3, Some(0)),
        batch(1, Some(9)),
        rotten,
        batch(2, None),
        batch(1, Some(6)),
    ];
    let expected = [
        Ok(0),
        Ok(3),
        Ok(0),
        Err(ErrorCode::OUT_OF_ORDER_SEQUENCE_NUMBER),
        Err(ErrorCode::CORRUPT_MESSAGE),
        Ok(6),
        Ok(8),
    ];
    assert_eq!(firsts(partition.append(offered(batches), 5000)), expected);
    assert_eq!(partition.high_watermark(), 9);
    let mut mixed = offered([batch(1, None), batch(1, None), batch(1, None)]);
    partition.apply_leadership(leadership(NODE_ID, 4, &[1]), None).unwrap();
    mixed[1].acks = 1;
    assert_eq!(firsts(partition.append(mixed, 5000)), [Ok(9), Ok(10), Ok(11)]);
}

#[test]
fn of_requests_that_come_together_each_is_told_of_its_own_batches() {
    let world = world(2, 1, 1 << 20);
    let view = world.published.load_full();
    let call = |correlation_id: i32, places: &[(i32, usize)]| {
        let mut frame = BytesMut::new();
        let wanted = |(index, records): &(i32, usize)| {
            let start = frame.len() as u32;
            frame.extend_from_slice(&batch(*records, None));
            let records = Some(Range32 { start, end: frame.len() as u32 });
            ProducePartition { topic: TopicRef::Id(TOPIC_ID), index: *index, records }
        };
        let partitions = places.iter().map(wanted).collect();
        let request = ProduceRequest { transactional_id: None, acks: -1, timeout_ms: 1000, topic_count: 1, partitions };
        let (refused, api_version) = (Vec::new(), 13);
        let caller = ProduceCaller { is_transactional: false, is_admin: false, refused, api_version, correlation_id };
        ProduceCall { caller, request, frame }
    };
    let mut calls = vec![call(7, &[(0, 2), (1, 3)]), call(8, &[(1, 1), (5, 1), (0, 1)]), call(9, &[(0, 4)])];
    let produced = produce(&view, &mut calls, 5000);
    let told = |one: &Produced| one.results.iter().map(|r| (r.index, r.error, r.base_offset)).collect::<Vec<_>>();
    let fine = ErrorCode::NONE;
    assert_eq!(told(&produced[0]), [(0, fine, 0), (1, fine, 0)]);
    let unknown = ErrorCode::UNKNOWN_TOPIC_OR_PARTITION;
    assert_eq!(told(&produced[1]), [(1, fine, 3), (5, unknown, -1), (0, fine, 2)]);
    assert_eq!(told(&produced[2]), [(0, fine, 3)]);
    assert_eq!(produced.iter().map(|one| one.correlation_id).collect::<Vec<_>>(), [7, 8, 9]);
}

#[derive(Default)]
struct Woken(Mutex<Vec<u64>>);

impl Woken {
    fn tickets(&self) -> Vec<u64> {
        self.0.lock().unwrap().clone()
    }
}

impl Wake for Woken {
    fn wake(&self, ticket: u64) {
        self.0.lock().unwrap().push(ticket);
    }
}

struct Reader<'w> {
    world: &'w World,
    sessions: FetchSessions,
    woken: Arc<Woken>,
}

impl<'w> Reader<'w> {
    fn new(world: &'w World) -> Self {
        Reader { world, sessions: FetchSessions::new(10, 1), woken: Arc::default() }
    }

    fn begin(&self, session: (i32, i32), partitions: Vec<FetchPartition>, min_bytes: i32) -> Result<Fetching, Told> {
        let request = FetchRequest {
            replica_id: -1,
            replica_epoch: -1,
            max_wait_ms: 500,
            min_bytes,
            max_bytes: 1 << 20,
            isolation_level: 0,
            session_id: session.0,
            session_epoch: session.1,
            partitions,
            forgotten: Vec::new(),
            rack_id: Default::default(),
        };
        let call = FetchCall { api_version: 13, correlation_id: 1, now_ms: 0, broker_bytes_max: 1 << 20 };
        match Fetching::begin(&request, &[], &self.world.published.load(), &self.sessions, call).unwrap() {
            Begun::Fetching(fetching) => Ok(fetching),
            Begun::Refused(answer) => Err(told(&answer)),
        }
    }

    fn go_on(&self, fetching: &mut Fetching, last_chance: bool) -> Option<Told> {
        let wake: Arc<dyn Wake> = self.woken.clone();
        let answer = fetching.answer_or_park(&self.world.published, &self.sessions, 0, 77, &wake, last_chance).unwrap();
        answer.map(|answer| told(&answer))
    }

    fn fetch(&self, session: (i32, i32), partitions: Vec<FetchPartition>) -> Told {
        match self.begin(session, partitions, 0) {
            Ok(mut fetching) => self.go_on(&mut fetching, true).unwrap(),
            Err(refused) => refused,
        }
    }
}

/// What an answer of version 13 says: top-level error, session, and how many bytes of payload.
#[derive(Debug, PartialEq, Eq)]
struct Told {
    error: i16,
    session_id: i32,
    partitions: Vec<i32>,
    payload_bytes: usize,
}

fn told(answer: &Answer) -> Told {
    let bytes = &answer.encoded.bytes;
    let int32 = |at: usize| i32::from_be_bytes(bytes[at..at + 4].try_into().unwrap());
    // size 4, correlation id 4, tags 1, throttle 4, error 2, session 4, then the compact count of topics
    let mut partitions = Vec::new();
    let mut at = 20;
    for _ in 1..bytes[19] {
        at += 16;
        let count = bytes[at] - 1;
        at += 1;
        for _ in 0..count {
            partitions.push(int32(at));
            // index 4, error 2, three offsets 24, aborted 1, preferred replica 4, then the compact length of the records
            at += 35;
            while bytes[at] & 0x80 != 0 {
                at += 1;
            }
            at += 2;
        }
        at += 1;
    }
    Told {
        error: i16::from_be_bytes([bytes[13], bytes[14]]),
        session_id: int32(15),
        partitions,
        payload_bytes: answer.payloads.iter().map(Records::len).sum(),
    }
}

fn at(partition: i32, offset: i64) -> FetchPartition {
    FetchPartition { partition, ..wanted(offset, -1, 1 << 20) }
}

#[test]
fn a_long_poll_is_woken_by_the_append_that_brings_enough() {
    let world = world(2, 1, 1 << 20);
    let reader = Reader::new(&world);
    let size = batch(1, None).len();
    let mut fetching = reader.begin((0, -1), vec![at(0, 0), at(1, 0)], size as i32 * 2).unwrap();
    assert!(reader.go_on(&mut fetching, false).is_none());
    append(&world.partitions[0], 1).unwrap();
    assert!(reader.woken.tickets().is_empty(), "one batch is not enough yet");
    append(&world.partitions[1], 1).unwrap();
    assert_eq!(reader.woken.tickets(), [77]);
    let answer = reader.go_on(&mut fetching, false).unwrap();
    assert_eq!((answer.partitions, answer.payload_bytes), (vec![0, 1], size * 2));
}

#[test]
fn a_long_poll_that_runs_out_tells_what_there_is() {
    let world = world(1, 1, 1 << 20);
    let reader = Reader::new(&world);
    let mut fetching = reader.begin((0, -1), vec![at(0, 0)], 1000).unwrap();
    assert!(reader.go_on(&mut fetching, false).is_none());
    assert_eq!(reader.go_on(&mut fetching, true).unwrap().partitions, [0]);
}

#[test]
fn a_session_tells_only_what_changed() {
    let world = world(100, 1, 1 << 20);
    let reader = Reader::new(&world);
    let opened = reader.fetch((0, 0), (0..100).map(|p| at(p, 0)).collect());
    assert_ne!(opened.session_id, 0);
    assert_eq!(opened.partitions.len(), 100, "the first answer tells all");
    let session = opened.session_id;
    assert!(reader.fetch((session, 1), vec![]).partitions.is_empty());
    append(&world.partitions[42], 1).unwrap();
    let news = reader.fetch((session, 2), vec![]);
    assert_eq!((news.partitions, news.payload_bytes), (vec![42], batch(1, None).len()));
    let again = reader.fetch((session, 3), vec![]);
    assert_eq!(again.partitions, [42], "not taken yet, so told again");
    assert!(reader.fetch((session, 4), vec![at(42, 1)]).partitions.is_empty(), "taken");
}

#[test]
fn an_append_wakes_a_parked_session_and_costs_one_slot() {
    let world = world(100, 1, 1 << 20);
    let reader = Reader::new(&world);
    let session = reader.fetch((0, 0), (0..100).map(|p| at(p, 0)).collect()).session_id;
    let mut fetching = reader.begin((session, 1), vec![], 1).unwrap();
    assert!(reader.go_on(&mut fetching, false).is_none());
    append(&world.partitions[7], 1).unwrap();
    assert_eq!(reader.woken.tickets(), [77]);
    assert_eq!(reader.go_on(&mut fetching, false).unwrap().partitions, [7]);
}

#[test]
fn sessions_are_checked_by_id_epoch_and_kind() {
    let world = world(1, 1, 1 << 20);
    let reader = Reader::new(&world);
    let session = reader.fetch((0, 0), vec![at(0, 0)]).session_id;
    assert_eq!(reader.fetch((session + 1, 1), vec![]).error, ErrorCode::FETCH_SESSION_ID_NOT_FOUND.0);
    assert_eq!(reader.fetch((session, 5), vec![]).error, ErrorCode::INVALID_FETCH_SESSION_EPOCH.0);
    assert_eq!(reader.fetch((0, 1), vec![]).error, ErrorCode::FETCH_SESSION_ID_NOT_FOUND.0);
    assert_eq!(reader.fetch((session, -1), vec![at(0, 0)]).session_id, 0, "closed");
    assert_eq!(reader.sessions.count(), 0);
}

#[test]
fn sessions_are_bounded_and_the_young_are_not_pushed_out() {
    let world = world(1, 1, 1 << 20);
    let reader = Reader::new(&world);
    for _ in 0..10 {
        assert_ne!(reader.fetch((0, 0), vec![at(0, 0)]).session_id, 0);
    }
    assert_eq!(reader.fetch((0, 0), vec![at(0, 0)]).session_id, 0, "no room: the reader goes on without a session");
    assert_eq!(reader.sessions.count(), 10);
}

#[test]
fn a_topic_that_went_away_is_told_in_a_session_and_outside() {
    let world = world(1, 1, 1 << 20);
    let reader = Reader::new(&world);
    let session = reader.fetch((0, 0), vec![at(0, 0)]).session_id;
    let mut view = View::clone(&world.published.load());
    view.remove_partition((TOPIC_ID, 0)).unwrap().retire();
    view.remove_topic(TOPIC_ID);
    world.published.publish(view, 2);
    assert_eq!(reader.fetch((session, 1), vec![]).partitions, [0]);
    assert_eq!(reader.fetch((0, -1), vec![at(0, 0)]).partitions, [0]);
}

#[test]
fn records_that_only_the_disk_has_are_brought_before_they_are_told_however_short_the_wait() {
    let world = world(1, 1, 1);
    append(&world.partitions[0], 3).unwrap();
    for session in [(0, -1), (0, 0)] {
        world.cool(0);
        let reader = Reader::new(&world);
        let mut fetching = reader.begin(session, vec![at(0, 0)], 1).unwrap();
        assert!(reader.go_on(&mut fetching, false).is_none());
        let cold = fetching.take_cold().unwrap();
        assert_eq!((cold.position, cold.bytes), (0, batch(3, None).len()));
        assert!(reader.go_on(&mut fetching, true).is_none(), "its time is over, but there are records");
        assert!(fetching.take_cold().is_none(), "somebody brings them already");
        cold.bring();
        fetching.brought();
        let told = reader.go_on(&mut fetching, false).unwrap();
        assert_eq!((told.partitions, told.payload_bytes), (vec![0], cold.bytes));
    }
}

#[test]
fn what_memory_has_lost_again_is_waited_for() {
    let world = world(1, 1, 1);
    append(&world.partitions[0], 3).unwrap();
    world.cool(0);
    let reader = Reader::new(&world);
    let mut fetching = reader.begin((0, -1), vec![at(0, 0)], 1).unwrap();
    assert!(reader.go_on(&mut fetching, false).is_none());
    fetching.take_cold().unwrap();
    fetching.brought();
    assert_eq!(reader.go_on(&mut fetching, false).unwrap().payload_bytes, batch(3, None).len());
}

#[test]
fn what_is_in_memory_does_not_wait_for_what_is_not() {
    let world = world(2, 1, 1);
    append(&world.partitions[0], 3).unwrap();
    append(&world.partitions[1], 2).unwrap();
    world.cool(0);
    let reader = Reader::new(&world);
    let mut fetching = reader.begin((0, 0), vec![at(0, 0), at(1, 0)], 1 << 20).unwrap();
    let told = reader.go_on(&mut fetching, false).unwrap();
    assert_eq!(told.payload_bytes, batch(2, None).len());
    let cold = fetching.take_cold().unwrap();
    cold.bring();
    let told = reader.fetch((told.session_id, 1), vec![at(1, 2)]);
    assert_eq!((told.partitions, told.payload_bytes), (vec![0], batch(3, None).len()));
}

#[test]
fn a_session_looks_again_at_what_it_waited_for() {
    let world = world(2, 1, 1);
    append(&world.partitions[0], 3).unwrap();
    let reader = Reader::new(&world);
    let opened = reader.fetch((0, 0), vec![at(0, 0), at(1, 0)]);
    assert_eq!(opened.payload_bytes, batch(3, None).len());
    append(&world.partitions[0], 1).unwrap();
    world.cool(0);
    let mut fetching = reader.begin((opened.session_id, 1), vec![at(0, 3)], 1).unwrap();
    assert!(reader.go_on(&mut fetching, false).is_none());
    let cold = fetching.take_cold().unwrap();
    cold.bring();
    fetching.brought();
    assert_eq!(reader.go_on(&mut fetching, false).unwrap().payload_bytes, batch(1, None).len());
}
