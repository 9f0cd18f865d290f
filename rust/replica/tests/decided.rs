//! What the control plane decided, appended: only where it was decided, and only by a producer that is not fenced.

mod common;

use std::sync::Arc;

use bytes::BytesMut;
use common::offer;
use log::memory::MemoryStorage;
use log::{Log, OpenOptions};
use record::control::marker;
use record::{BatchBuilder, BatchFacts, NewRecord};
use replica::append::Decided;
use replica::leadership::Leadership;
use replica::partition::{Opened, Partition};
use replica::tail::TailBudget;
use replica::topic::Topic;
use wire::ErrorCode;

const TOPIC_ID: [u8; 16] = [7; 16];

fn partition(min_insync_replicas: usize) -> Arc<Partition> {
    let settings = common::settings(true, min_insync_replicas);
    let topic = Arc::new(Topic::new(TOPIC_ID, "__consumer_offsets", settings));
    let partition = Arc::new(Partition::new(topic.clone(), 0, 1, Arc::new(TailBudget::new(1 << 20, 1 << 20))));
    let (log, _) = Log::open(OpenOptions {
        storage: Arc::new(MemoryStorage::default()),
        dir: "/__consumer_offsets-0".into(),
        topic_id: TOPIC_ID,
        sibling: None,
        config: topic.settings.load().log.clone(),
        clean_shutdown: true,
        recovery_point: 0,
        log_start_offset: None,
        now_ms: 0,
    })
    .unwrap();
    let leadership =
        Leadership { leader_id: 1, leader_epoch: 3, partition_epoch: 0, replicas: vec![1, 2], isr: vec![1] };
    partition.apply_leadership(leadership, Some(Opened { log, high_watermark: 0, disk: None })).unwrap();
    partition
}

fn records(count: usize, producer: Option<(i64, i16)>) -> BytesMut {
    let mut facts = BatchFacts::default();
    if let Some((producer_id, producer_epoch)) = producer {
        facts = BatchFacts { producer_id, producer_epoch, is_transactional: true, ..facts };
    }
    let mut builder = BatchBuilder::new(facts);
    for _ in 0..count {
        builder.push(NewRecord { key: Some(b"group"), value: Some(b"offset"), ..NewRecord::default() });
    }
    BytesMut::from(&builder.build().unwrap()[..])
}

fn commit(producer_id: i64, producer_epoch: i16, coordinator_epoch: i32) -> BytesMut {
    let facts =
        BatchFacts { producer_id, producer_epoch, is_transactional: true, is_control: true, ..BatchFacts::default() };
    let (key, value) = marker(true, coordinator_epoch);
    let mut builder = BatchBuilder::new(facts);
    builder.push(NewRecord { key: Some(&key), value: Some(&value), ..NewRecord::default() });
    BytesMut::from(&builder.build().unwrap()[..])
}

fn append(
    partition: &Arc<Partition>,
    batch: BytesMut,
    at: Option<(i32, i64)>,
    transaction_version: i8,
) -> Result<i64, ErrorCode> {
    let decided = Decided { batch, at, transaction_version };
    partition.append_decided(decided, 1000).map(|appended| appended.last_offset + 1).map_err(|failure| failure.error)
}

#[test]
fn a_batch_is_appended_only_in_its_leader_epoch_and_at_its_offset() {
    let partition = partition(1);
    assert_eq!(append(&partition, records(2, None), Some((3, 0)), 0), Ok(2));
    assert_eq!(append(&partition, records(2, None), Some((3, 0)), 0), Err(ErrorCode::NOT_LEADER_OR_FOLLOWER));
    assert_eq!(append(&partition, records(2, None), Some((2, 2)), 0), Err(ErrorCode::NOT_LEADER_OR_FOLLOWER));
    assert_eq!(append(&partition, records(1, None), Some((3, 2)), 0), Ok(3));
    assert_eq!(append(&partition, records(1, None), None, 0), Ok(4));
    assert_eq!(partition.high_watermark(), 4);
}

#[test]
fn too_few_replicas_in_sync_refuse_it() {
    assert_eq!(append(&partition(2), records(1, None), None, 0), Err(ErrorCode::NOT_ENOUGH_REPLICAS));
}

#[test]
fn a_marker_of_the_old_protocol_has_the_epoch_of_the_records_that_it_ends() {
    let partition = partition(1);
    append(&partition, records(3, Some((9, 5))), None, 0).unwrap();
    assert_eq!(append(&partition, commit(9, 4, 1), None, 1), Err(ErrorCode(47)));
    assert_eq!(append(&partition, commit(9, 5, 1), None, 1), Ok(4));
}

#[test]
fn a_marker_of_the_new_protocol_has_a_newer_epoch_and_may_come_twice() {
    let partition = partition(1);
    append(&partition, records(3, Some((9, 5))), None, 2).unwrap();
    assert_eq!(append(&partition, commit(9, 5, 1), None, 2), Err(ErrorCode(47)));
    assert_eq!(append(&partition, commit(9, 6, 1), None, 2), Ok(4));
    assert_eq!(append(&partition, commit(9, 6, 1), None, 2), Ok(5));
    assert_eq!(append(&partition, records(1, Some((9, 5))), None, 2), Err(ErrorCode(47)), "late records");
}

#[test]
fn a_marker_of_a_coordinator_that_lost_its_place_is_refused() {
    let partition = partition(1);
    append(&partition, commit(9, 5, 7), None, 1).unwrap();
    assert_eq!(append(&partition, commit(9, 5, 6), None, 1), Err(ErrorCode(52)));
}

fn produced(producer_epoch: i16, base_sequence: i32) -> BytesMut {
    let facts =
        BatchFacts { producer_id: 9, producer_epoch, base_sequence, is_transactional: true, ..BatchFacts::default() };
    let mut builder = BatchBuilder::new(facts);
    builder.push(NewRecord { key: Some(b"key"), timestamp: 1000, ..NewRecord::default() });
    BytesMut::from(&builder.build().unwrap()[..])
}

fn must_verify(partition: &Arc<Partition>, batch: &BytesMut) -> Option<u64> {
    partition.must_verify(&record::BatchView::parse(batch).unwrap())
}

fn produce(partition: &Arc<Partition>, batch: BytesMut, api_version: i16) -> Result<i64, ErrorCode> {
    offer(partition, batch, -1, api_version, 1000).map(|a| a.first_offset).map_err(|failure| failure.error)
}

#[test]
fn a_transaction_opens_only_on_a_partition_that_its_coordinator_confirmed() {
    let partition = partition(1);
    assert_eq!(produce(&partition, produced(0, 0), 10), Err(ErrorCode::INVALID_TXN_STATE));
    assert_eq!(produce(&partition, produced(0, 0), 11), Err(ErrorCode::TRANSACTION_ABORTABLE));
    let number = must_verify(&partition, &produced(0, 0)).unwrap();
    partition.confirm(9, number);
    assert_eq!(produce(&partition, produced(0, 0), 12), Ok(0));
    assert_eq!(must_verify(&partition, &produced(0, 1)), None, "it is open");
    assert_eq!(produce(&partition, produced(0, 1), 12), Ok(1));
}

#[test]
fn a_marker_that_comes_before_the_coordinators_word_makes_it_void() {
    let partition = partition(1);
    let number = must_verify(&partition, &produced(0, 0)).unwrap();
    append(&partition, commit(9, 0, 1), None, 1).unwrap();
    partition.confirm(9, number);
    assert_eq!(produce(&partition, produced(0, 0), 11), Err(ErrorCode::TRANSACTION_ABORTABLE));
}

#[test]
fn a_transaction_does_not_open_in_the_middle() {
    let partition = partition(1);
    let number = must_verify(&partition, &produced(0, 3)).unwrap();
    partition.confirm(9, number);
    assert_eq!(produce(&partition, produced(0, 3), 12), Err(ErrorCode::OUT_OF_ORDER_SEQUENCE_NUMBER));
}

#[test]
fn a_batch_that_is_there_already_asks_nobody() {
    let partition = partition(1);
    let number = must_verify(&partition, &produced(0, 0)).unwrap();
    partition.confirm(9, number);
    produce(&partition, produced(0, 0), 12).unwrap();
    append(&partition, commit(9, 0, 1), None, 1).unwrap();
    assert_eq!(must_verify(&partition, &produced(0, 0)), None);
    assert_eq!(produce(&partition, produced(0, 0), 12), Ok(0));
    assert!(must_verify(&partition, &produced(0, 1)).is_some(), "the next transaction is another");
}
