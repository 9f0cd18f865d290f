//! What comes up, as frozen Python objects.

use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyInt, PyString};
use server::asked::{JobResult, ReplicaFound};
use server::upcall::{Level, Upcall};

/// A request for the control plane. All of it is Python's already, so that the interpreter reads it without a call.
#[pyclass(frozen, get_all, module = "pykafkacore._core")]
pub struct Request {
    ticket: Py<PyInt>,
    api_key: Py<PyInt>,
    api_version: Py<PyInt>,
    /// None or bytes
    client_id: Py<PyAny>,
    listener: Py<PyInt>,
    peer_host: Py<PyString>,
    body: Py<PyBytes>,
}

/// A produce request opens a transaction on (producer_id, producer_epoch, topic, partition) each; `verified` answers.
#[pyclass(frozen, get_all, module = "pykafkacore._core")]
pub struct Verify {
    ticket: u64,
    api_version: i16,
    transactional_id: Py<PyBytes>,
    partitions: Vec<(i64, i16, String, i32)>,
}

/// A job is done. `error` is None or says why it failed; `value` depends on the job.
#[pyclass(frozen, get_all, module = "pykafkacore._core")]
pub struct Completed {
    ticket: u64,
    value: Py<PyAny>,
    error: Option<String>,
}

/// A replica has moved to another log directory, which is an index.
#[pyclass(frozen, get_all, module = "pykafkacore._core")]
pub struct Placed {
    topic_id: Py<PyBytes>,
    partition: i32,
    dir: usize,
}

/// A line for the log; `level` is a level number of Python's logging.
#[pyclass(frozen, get_all, module = "pykafkacore._core")]
pub struct Notice {
    level: u8,
    text: String,
}

pub fn to_python(py: Python<'_>, upcall: Upcall) -> PyResult<Py<PyAny>> {
    Ok(match upcall {
        Upcall::Request(request) => Request {
            ticket: request.ticket.into_pyobject(py)?.unbind(),
            api_key: request.api_key.into_pyobject(py)?.unbind(),
            api_version: request.api_version.into_pyobject(py)?.unbind(),
            client_id: request.client_id.map_or_else(|| py.None(), |id| PyBytes::new(py, &id).into_any().unbind()),
            listener: request.listener.into_pyobject(py)?.unbind(),
            peer_host: PyString::new(py, &request.peer_host).unbind(),
            body: PyBytes::new(py, &request.body).unbind(),
        }
        .into_pyobject(py)?
        .into_any()
        .unbind(),
        Upcall::Verify(verify) => Verify {
            ticket: verify.ticket,
            api_version: verify.api_version,
            transactional_id: PyBytes::new(py, &verify.transactional_id).unbind(),
            partitions: verify
                .partitions
                .into_iter()
                .map(|(id, epoch, topic, index)| (id, epoch, topic.to_string(), index))
                .collect(),
        }
        .into_pyobject(py)?
        .into_any()
        .unbind(),
        Upcall::Completed { ticket, result } => {
            let (value, error) = match result {
                JobResult::Failed(why) => (py.None(), Some(why)),
                other => (value_of(py, other)?, None),
            };
            Completed { ticket, value, error }.into_pyobject(py)?.into_any().unbind()
        }
        Upcall::Placed { topic_id, partition, dir } => {
            Placed { topic_id: PyBytes::new(py, &topic_id).unbind(), partition, dir }
                .into_pyobject(py)?
                .into_any()
                .unbind()
        }
        Upcall::Notice { level, text } => {
            let level = match level {
                Level::Debug => 10,
                Level::Info => 20,
                Level::Warning => 30,
                Level::Error => 40,
            };
            Notice { level, text }.into_pyobject(py)?.into_any().unbind()
        }
    })
}

fn value_of(py: Python<'_>, result: JobResult) -> PyResult<Py<PyAny>> {
    let value = match result {
        JobResult::Published { metadata_offset, failed, placed } => {
            let failed: Vec<_> = failed.iter().map(|(id, index, why)| (PyBytes::new(py, id), index, why)).collect();
            let placed: Vec<_> = placed.iter().map(|(id, index, at)| (PyBytes::new(py, id), index, at)).collect();
            (metadata_offset, failed, placed).into_pyobject(py)?.into_any()
        }
        JobResult::Offsets(found) => {
            let rows: Vec<_> = found.iter().map(|f| (f.error.0, f.timestamp, f.offset, f.leader_epoch)).collect();
            rows.into_pyobject(py)?.into_any()
        }
        JobResult::EpochEnds(ends) => {
            let rows: Vec<_> = ends.iter().map(|e| (e.error.0, e.leader_epoch, e.end_offset)).collect();
            rows.into_pyobject(py)?.into_any()
        }
        JobResult::RecordsDeleted(deleted) => {
            let rows: Vec<_> = deleted.iter().map(|d| (d.error.0, d.low_watermark)).collect();
            rows.into_pyobject(py)?.into_any()
        }
        JobResult::Producers(found) => {
            let row = |p: &log::ActiveProducer| {
                (
                    p.producer_id,
                    p.producer_epoch,
                    p.last_sequence,
                    p.last_timestamp,
                    p.coordinator_epoch,
                    p.transaction_first_offset,
                )
            };
            let rows: Vec<_> =
                found.iter().map(|f| (f.error.0, f.producers.iter().map(row).collect::<Vec<_>>())).collect();
            rows.into_pyobject(py)?.into_any()
        }
        JobResult::LogDirs(dirs) => {
            let row = |r: &ReplicaFound| (r.topic.to_string(), r.partition, r.size_bytes, r.offset_lag, r.is_future);
            let rows: Vec<_> = dirs
                .into_iter()
                .map(|d| {
                    let partitions: Vec<_> = d.partitions.iter().map(row).collect();
                    (d.path, d.error.0, d.total_bytes, d.usable_bytes, partitions)
                })
                .collect();
            rows.into_pyobject(py)?.into_any()
        }
        JobResult::Moves(errors) => {
            errors.iter().map(|error| error.0).collect::<Vec<_>>().into_pyobject(py)?.into_any()
        }
        JobResult::Batches(bytes) => PyBytes::new(py, &bytes).into_any(),
        JobResult::Done | JobResult::Failed(_) => py.None().into_bound(py),
    };
    Ok(value.unbind())
}
