//! `DataPlane`: started with a config, given views and jobs, drained of upcalls, stopped.

use std::path::PathBuf;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use pyo3::prelude::*;
use pyo3::pybacked::{PyBackedBytes, PyBackedStr};
use record::{BatchBuilder, BatchFacts, Codec, NewRecord};
use replica::append::Appended;
use server::asked::{EpochEndWanted, OffsetWanted, Query};
use server::config::{Compaction, Housekeeping};
use server::config::{ListenerConfig, LogDirConfig, ServerConfig};
use server::decided;
use server::kept::Question;
use wire::ErrorCode;
use wire::header::Api;

use crate::batches::codec_of;
use crate::errors::told;
use crate::upcalls::to_python;
use crate::view::DeltaIn;

#[derive(FromPyObject)]
#[pyo3(from_item_all)]
struct ConfigIn {
    node_id: i32,
    /// name, host, port, serves records
    listeners: Vec<(String, String, u16, bool)>,
    /// path, directory.id, whether new partitions may be placed there
    log_dirs: Vec<(PathBuf, [u8; 16], bool)>,
    is_dir_away: bool,
    /// key, oldest, newest, first flexible version
    apis: Vec<(i16, i16, i16, i16)>,
    reactor_count: usize,
    request_bytes_max: usize,
    send_buffer_bytes: Option<usize>,
    receive_buffer_bytes: Option<usize>,
    idle_ms_max: Option<u64>,
    connections_max: usize,
    connections_per_ip_max: usize,
    queued_requests_max: usize,
    queued_request_bytes_max: Option<usize>,
    fetch_bytes_max: usize,
    fetch_session_slots: usize,
    tail_bytes_max: usize,
    tail_partition_bytes_max: usize,
    file_delete_delay_ms: u64,
    reserve_bytes: u64,
    move_bytes_per_s: u64,
    housekeeping: HousekeepingIn,
    seed: u64,
}

#[derive(FromPyObject)]
#[pyo3(from_item_all)]
struct HousekeepingIn {
    initial_delay_ms: u64,
    retention_period_ms: u64,
    producer_expiration_period_ms: u64,
    compacts: bool,
    compaction_period_ms: u64,
    compaction_dedupe_bytes: usize,
    compaction_load_factor: f64,
    compaction_io_buffer_bytes: usize,
    compaction_bytes_per_s: f64,
    scrub_bytes_per_s: u64,
}

impl From<HousekeepingIn> for Housekeeping {
    fn from(given: HousekeepingIn) -> Housekeeping {
        let compaction = Compaction {
            dedupe_bytes: given.compaction_dedupe_bytes,
            load_factor: given.compaction_load_factor,
            io_buffer_bytes: given.compaction_io_buffer_bytes,
            bytes_per_s: given.compaction_bytes_per_s,
        };
        Housekeeping {
            compaction: given.compacts.then_some(compaction),
            compaction_period: Duration::from_millis(given.compaction_period_ms.max(1)),
            scrub_bytes_per_s: given.scrub_bytes_per_s,
            initial_delay: Duration::from_millis(given.initial_delay_ms),
            retention_period: Duration::from_millis(given.retention_period_ms),
            producer_expiration_period: Duration::from_millis(given.producer_expiration_period_ms),
        }
    }
}

#[pyclass(frozen, module = "pykafkacore._core")]
pub struct DataPlane {
    inner: server::DataPlane,
    /// For each directory: was it closed cleanly, and in which broker epoch.
    stops: Vec<(bool, Option<i64>)>,
}

type PartitionRef = ([u8; 16], i32);
/// A partition, (leader epoch, end of its log), and a key and a value each.
type RecordsIn = (PartitionRef, (i32, i64), Vec<(PyBackedBytes, Option<PyBackedBytes>)>);
/// error, why, end offset behind what was appended, high watermark
type Outcome = (i16, Option<String>, i64, i64);

fn outcome(appended: Result<Appended, (ErrorCode, Option<String>)>) -> Outcome {
    match appended {
        Ok(appended) => (0, None, appended.last_offset + 1, appended.high_watermark),
        Err((error, why)) => (error.0, why, -1, -1),
    }
}

fn built(records: &[(PyBackedBytes, Option<PyBackedBytes>)], codec: Codec, timestamp: i64) -> record::Result<BytesMut> {
    let mut builder = BatchBuilder::new(BatchFacts { codec, ..BatchFacts::default() });
    for (key, value) in records {
        builder.push(NewRecord { timestamp, key: Some(key), value: value.as_deref(), headers: &[] });
    }
    Ok(BytesMut::from(Bytes::from(builder.build()?)))
}

#[pymethods]
impl DataPlane {
    /// Locks the log directories. Nothing is served before `listen`.
    #[new]
    fn new(py: Python<'_>, config: ConfigIn) -> PyResult<Self> {
        let delay = Duration::from_millis(config.file_delete_delay_ms);
        let housekeeping = config.housekeeping.into();
        let listener = |(name, host, port, serves_records)| ListenerConfig { name, host, port, serves_records };
        let log_dir = |(path, id, takes_new)| LogDirConfig { path, id, takes_new };
        let api = |(api_key, version_min, version_max, flexible_from)| Api {
            api_key,
            version_min,
            version_max,
            flexible_from,
        };
        let config = ServerConfig {
            node_id: config.node_id,
            listeners: config.listeners.into_iter().map(listener).collect(),
            log_dirs: config.log_dirs.into_iter().map(log_dir).collect(),
            is_dir_away: config.is_dir_away,
            apis: config.apis.into_iter().map(api).collect(),
            reactor_count: config.reactor_count,
            request_bytes_max: config.request_bytes_max,
            send_buffer_bytes: config.send_buffer_bytes,
            receive_buffer_bytes: config.receive_buffer_bytes,
            idle_ms_max: config.idle_ms_max,
            connections_max: config.connections_max,
            connections_per_ip_max: config.connections_per_ip_max,
            queued_requests_max: config.queued_requests_max,
            queued_request_bytes_max: config.queued_request_bytes_max,
            fetch_bytes_max: config.fetch_bytes_max,
            fetch_session_slots: config.fetch_session_slots,
            tail_bytes_max: config.tail_bytes_max,
            tail_partition_bytes_max: config.tail_partition_bytes_max,
            reserve_bytes: config.reserve_bytes,
            move_bytes_per_s: config.move_bytes_per_s,
            seed: config.seed,
        };
        py.detach(|| {
            let dirs = config.log_dirs.iter().map(|dir| log::LogDir::open(&dir.path));
            let dirs = dirs.collect::<log::Result<Vec<_>>>().map_err(told)?;
            let stops = dirs.iter().map(|dir| (dir.was_clean(), dir.broker_epoch())).collect();
            let inner = server::DataPlane::new(config, dirs, delay, housekeeping).map_err(told)?;
            Ok(DataPlane { inner, stops })
        })
    }

    /// For each directory: (was it closed cleanly, the broker epoch that its last clean stop names).
    #[getter]
    fn stops(&self) -> Vec<(bool, Option<i64>)> {
        self.stops.clone()
    }

    /// Which of the log directories failed since, as indexes.
    fn failed_dirs(&self) -> Vec<usize> {
        self.inner.failed_dirs()
    }

    /// Opens the listeners; gives (host, port) of each, in order.
    fn listen(&self, py: Python<'_>) -> PyResult<Vec<(String, u16)>> {
        let addresses = py.detach(|| self.inner.listen()).map_err(told)?;
        Ok(addresses.iter().map(|a| (a.ip().to_string(), a.port())).collect())
    }

    /// Readable when there are upcalls to drain.
    fn fileno(&self) -> i32 {
        self.inner.upcalls().fd()
    }

    fn drain(&self, py: Python<'_>, batch_max: usize) -> PyResult<Vec<Py<PyAny>>> {
        self.inner.drain(batch_max).into_iter().map(|upcall| to_python(py, upcall)).collect()
    }

    /// Answers requests with (ticket, body of the response, close the connection after it); the header is put in front here.
    fn respond(&self, answers: Vec<(u64, PyBackedBytes, bool)>) {
        let owned = |(ticket, body, close): (u64, PyBackedBytes, bool)| (ticket, Bytes::copy_from_slice(&body), close);
        self.inner.respond(answers.into_iter().map(owned));
    }

    /// The same question (api key, version, listener, body) gets this answer, until `forget` of its scope.
    fn keep(&self, scope: u64, question: (i16, i16, usize, PyBackedBytes), answer: PyBackedBytes) {
        let (api_key, api_version, listener, body) = question;
        let shared = self.inner.shared();
        let question = Question::new(api_key, api_version, listener, &body);
        shared.kept.keep(scope, &question, Bytes::copy_from_slice(&answer), shared.clock_ms());
    }

    /// Takes back the answers of a scope; how many milliseconds ago one of them was last asked for, if there were any.
    fn forget(&self, scope: u64) -> Option<u64> {
        let shared = self.inner.shared();
        shared.kept.forget(scope).map(|asked_ms| shared.clock_ms().saturating_sub(asked_ms))
    }

    /// How many milliseconds ago an answer of this scope was last asked for, if there are any.
    fn heard(&self, scope: u64) -> Option<u64> {
        let shared = self.inner.shared();
        shared.kept.heard(scope).map(|asked_ms| shared.clock_ms().saturating_sub(asked_ms))
    }

    /// What stands before and behind the topics in answers to Metadata of this kind (version, listener). None is told yet.
    fn begin_topic_parts(&self, kind: (i16, usize), before: PyBackedBytes, behind: PyBackedBytes) {
        self.inner.shared().topic_parts.begin(kind, &before, &behind);
    }

    /// What they tell of topics, by name. False if there was no room for all.
    fn keep_topic_parts(&self, kind: (i16, usize), topics: Vec<(PyBackedStr, PyBackedBytes)>) -> bool {
        let topics = topics.iter().map(|(name, part)| (name.as_bytes(), &part[..]));
        self.inner.shared().topic_parts.keep(kind, topics)
    }

    /// Takes back what is told of these topics.
    fn forget_topic_parts(&self, names: Vec<PyBackedStr>) {
        self.inner.shared().topic_parts.forget(names.iter().map(|name| name.as_bytes()));
    }

    /// Answers each `Verify` with an error code for each of its partitions, in order.
    fn verified(&self, verdicts: Vec<(u64, Vec<i16>)>) {
        self.inner.verified(verdicts);
    }

    /// Publishes a `ViewDelta`. Completes with (metadata_offset, [(topic_id, partition, why)]).
    fn publish(&self, ticket: u64, delta: DeltaIn) -> PyResult<()> {
        self.inner.publish(ticket, delta.into_delta()?);
        Ok(())
    }

    /// The view is as new as this broker's registration: logs that are of none of its partitions are set aside. Completes as
    /// `publish` does.
    fn set_strays_aside(&self, ticket: u64) {
        self.inner.set_strays_aside(ticket);
    }

    /// The metadata offset of the view that readers see now.
    #[getter]
    fn metadata_offset(&self) -> i64 {
        self.inner.shared().published.metadata_offset()
    }

    /// `max.connections` and `max.connections.per.ip` from now on.
    fn set_connection_limits(&self, count_max: usize, per_ip_max: usize) {
        self.inner.shared().connections.set_limits(count_max, per_ip_max);
    }

    /// Retention, cleaning and their like from now on.
    fn set_housekeeping(&self, settings: HousekeepingIn) {
        self.inner.set_housekeeping(settings.into());
    }

    /// `replica.alter.log.dirs.io.max.bytes.per.second` from now on.
    fn set_move_throttle(&self, bytes_per_s: u64) {
        self.inner.set_move_throttle(bytes_per_s);
    }

    /// ((topic_id, partition), path of a log directory) each. Completes with an error each.
    fn alter_dirs(&self, ticket: u64, wanted: Vec<(PartitionRef, PathBuf)>) {
        self.inner.alter_dirs(ticket, wanted);
    }

    /// `log.reserve.bytes` from now on.
    fn set_reserve(&self, reserve_bytes: u64) {
        self.inner.set_reserve(reserve_bytes);
    }

    #[getter]
    fn connection_count(&self) -> usize {
        self.inner.shared().connections.count.load(std::sync::atomic::Ordering::Relaxed)
    }

    /// (topic_id, partition, timestamp, committed only, from a replica, current leader epoch) each.
    /// Completes with (error, timestamp, offset, leader_epoch) each.
    fn list_offsets(&self, ticket: u64, wanted: Vec<([u8; 16], i32, i64, bool, bool, i32)>) {
        let one = |(id, index, timestamp, committed_only, from_replica, current_leader_epoch)| OffsetWanted {
            partition: (id, index),
            timestamp,
            committed_only,
            from_replica,
            current_leader_epoch,
        };
        self.inner.query(ticket, Query::ListOffsets(wanted.into_iter().map(one).collect()));
    }

    /// (topic_id, partition, current leader epoch, asked epoch) each. Completes with (error, epoch, end_offset) each.
    fn epoch_ends(&self, ticket: u64, wanted: Vec<([u8; 16], i32, i32, i32)>) {
        let one = |(id, index, current_leader_epoch, leader_epoch)| EpochEndWanted {
            partition: (id, index),
            current_leader_epoch,
            leader_epoch,
        };
        self.inner.query(ticket, Query::EpochEnds(wanted.into_iter().map(one).collect()));
    }

    /// ((topic_id, partition), offset) each. Completes with (error, low_watermark) each.
    fn delete_records(&self, ticket: u64, wanted: Vec<(PartitionRef, i64)>) {
        self.inner.query(ticket, Query::DeleteRecords(wanted));
    }

    /// Completes with (error, [(producer_id, epoch, last_sequence, last_timestamp, coordinator_epoch, first_offset)]) each.
    fn describe_producers(&self, ticket: u64, wanted: Vec<PartitionRef>) {
        self.inner.query(ticket, Query::DescribeProducers(wanted));
    }

    /// Completes with (path, error, total_bytes, usable_bytes, [(topic, partition, bytes, offset_lag, is_future)]) each.
    fn describe_log_dirs(&self, ticket: u64) {
        self.inner.query(ticket, Query::DescribeLogDirs);
    }

    /// Appends a batch of the control plane's own with acks=all, where (leader epoch, end of the log) is `at`; anywhere
    /// if `at` is None. Gives (error, why, end offset behind it, high watermark). Where the high watermark is not yet
    /// there, `watch` tells.
    #[pyo3(signature = (partition, batch, at, now_ms, transaction_version=0))]
    fn append(
        &self,
        py: Python<'_>,
        partition: PartitionRef,
        batch: &[u8],
        at: Option<(i32, i64)>,
        now_ms: i64,
        transaction_version: i8,
    ) -> Outcome {
        let batch = BytesMut::from(batch);
        let published = &self.inner.shared().published;
        outcome(py.detach(|| decided::append(published, partition, batch, at, transaction_version, now_ms)))
    }

    /// As `append`, of a batch of records with the time `now_ms` to each of these partitions; what it gives, in order.
    fn append_records(
        &self,
        py: Python<'_>,
        appends: Vec<RecordsIn>,
        codec: i16,
        now_ms: i64,
    ) -> PyResult<Vec<Outcome>> {
        let codec = codec_of(codec)?;
        let published = &self.inner.shared().published;
        py.detach(|| {
            let batches = appends.iter().map(|(_, _, records)| built(records, codec, now_ms));
            let batches = batches.collect::<record::Result<Vec<_>>>().map_err(told)?;
            let one = |(&(partition, at, _), batch): (&RecordsIn, BytesMut)| {
                outcome(decided::append(published, partition, batch, Some(at), 0, now_ms))
            };
            Ok(appends.iter().zip(batches).map(one).collect())
        })
    }

    /// Completes with None when the high watermark of a partition has passed `wanted_offset`, or never will.
    fn watch(&self, ticket: u64, partition: PartitionRef, wanted_offset: i64) {
        self.inner.watch(ticket, partition, wanted_offset);
    }

    /// Of a partition that is led here: (error, leader epoch, log start offset, high watermark, log end offset).
    fn log_state(&self, partition: PartitionRef) -> (i16, i32, i64, i64, i64) {
        match decided::state(&self.inner.shared().published, partition) {
            Ok(s) => (0, s.leader_epoch, s.log_start_offset, s.high_watermark, s.log_end_offset),
            Err(error) => (error.0, -1, -1, -1, -1),
        }
    }

    /// Completes with the bytes of some whole batches from `offset` on; none at the end of the log.
    fn read(&self, ticket: u64, partition: PartitionRef, offset: i64, bytes_max: usize) {
        self.inner.read(ticket, partition, offset, bytes_max);
    }

    /// Syncs a `LocalLog` on the worker thread. Completes with None.
    fn flush_log(&self, ticket: u64, log: &crate::local_log::LocalLog) {
        let log = log.shared();
        self.inner.submit(ticket, move || match log.lock().flush() {
            Ok(()) => server::asked::JobResult::Done,
            Err(error) => server::asked::JobResult::Failed(error.to_string()),
        });
    }

    /// Stops serving, closes every log, marks the directories clean.
    fn stop(&self, py: Python<'_>, broker_epoch: i64) {
        py.detach(|| self.inner.stop(broker_epoch));
    }
}
