//! Building and reading record batches, for the metadata log, coordinators, tools and tests.

use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict, PyList};
use record::{BatchBuilder, BatchFacts, BatchView, Batches, Codec, NewRecord, Records, TimestampType};

use crate::errors::told;

/// timestamp, key, value, headers
type RecordIn = (i64, Option<Vec<u8>>, Option<Vec<u8>>, Vec<(Vec<u8>, Option<Vec<u8>>)>);

const INFLATED_BYTES_MAX: usize = 1 << 30;

pub fn codec_of(id: i16) -> PyResult<Codec> {
    Codec::from_id(id).ok_or_else(|| told(format!("codec {id} is not one of 0..4")))
}

/// One batch of format v2 with consecutive offsets from `base_offset`.
#[pyfunction]
#[pyo3(signature = (records, *, base_offset=0, leader_epoch=-1, codec=0, level=None, control=false, transactional=false,
                    producer_id=-1, producer_epoch=-1, base_sequence=-1, log_append_time=false))]
#[allow(clippy::too_many_arguments, reason = "keyword arguments of a batch header")]
pub fn build_batch<'py>(
    py: Python<'py>,
    records: Vec<RecordIn>,
    base_offset: i64,
    leader_epoch: i32,
    codec: i16,
    level: Option<i32>,
    control: bool,
    transactional: bool,
    producer_id: i64,
    producer_epoch: i16,
    base_sequence: i32,
    log_append_time: bool,
) -> PyResult<Bound<'py, PyBytes>> {
    let codec = codec_of(codec)?;
    let timestamp_type = if log_append_time { TimestampType::LogAppendTime } else { TimestampType::CreateTime };
    let mut builder = BatchBuilder::new(BatchFacts {
        base_offset,
        leader_epoch,
        codec,
        level,
        timestamp_type,
        is_transactional: transactional,
        is_control: control,
        producer_id,
        producer_epoch,
        base_sequence,
    });
    for (timestamp, key, value, headers) in &records {
        let headers: Vec<(&[u8], Option<&[u8]>)> = headers.iter().map(|(k, v)| (&k[..], v.as_deref())).collect();
        builder.push(NewRecord {
            timestamp: *timestamp,
            key: key.as_deref(),
            value: value.as_deref(),
            headers: &headers,
        });
    }
    let bytes = builder.build().map_err(told)?;
    Ok(PyBytes::new(py, &bytes))
}

/// Batches that stand back to back, as dicts of their header fields. With `records`, their records as well:
/// (offset, timestamp, key, value, headers). A last batch that is cut short is left out.
#[pyfunction]
#[pyo3(signature = (data, *, records=true))]
pub fn parse_batches<'py>(py: Python<'py>, data: &[u8], records: bool) -> PyResult<Bound<'py, PyList>> {
    let list = PyList::empty(py);
    let mut at = 0;
    for batch in Batches::new(data) {
        let batch = match batch {
            Ok(batch) => batch,
            Err(record::Error::Truncated { .. }) => break,
            Err(error) => return Err(told(error)),
        };
        let dict = header_dict(py, &batch, at)?;
        if records {
            dict.set_item("records", record_list(py, &batch)?)?;
        }
        at += batch.size_bytes();
        list.append(dict)?;
    }
    Ok(list)
}

fn header_dict<'py>(py: Python<'py>, batch: &BatchView<'_>, position: usize) -> PyResult<Bound<'py, PyDict>> {
    let dict = PyDict::new(py);
    dict.set_item("position", position)?;
    dict.set_item("size_bytes", batch.size_bytes())?;
    dict.set_item("base_offset", batch.base_offset())?;
    dict.set_item("last_offset", batch.last_offset())?;
    dict.set_item("leader_epoch", batch.leader_epoch())?;
    dict.set_item("magic", batch.magic())?;
    dict.set_item("crc", batch.crc())?;
    dict.set_item("crc_is_valid", batch.crc_is_valid())?;
    dict.set_item("attributes", batch.attributes())?;
    dict.set_item("codec", batch.codec().map_or("unknown", Codec::name))?;
    dict.set_item("log_append_time", batch.timestamp_type() == TimestampType::LogAppendTime)?;
    dict.set_item("is_transactional", batch.is_transactional())?;
    dict.set_item("is_control", batch.is_control())?;
    dict.set_item("has_delete_horizon", batch.has_delete_horizon())?;
    dict.set_item("base_timestamp", batch.base_timestamp())?;
    dict.set_item("max_timestamp", batch.max_timestamp())?;
    dict.set_item("producer_id", batch.producer_id())?;
    dict.set_item("producer_epoch", batch.producer_epoch())?;
    dict.set_item("base_sequence", batch.base_sequence())?;
    dict.set_item("last_sequence", batch.last_sequence())?;
    dict.set_item("record_count", batch.record_count())?;
    Ok(dict)
}

fn record_list<'py>(py: Python<'py>, batch: &BatchView<'_>) -> PyResult<Bound<'py, PyList>> {
    let list = PyList::empty(py);
    let codec = batch.codec().ok_or_else(|| told("unknown codec"))?;
    let inflated;
    let payload = if codec == Codec::None {
        batch.payload()
    } else {
        inflated = codec.decompress(batch.payload(), INFLATED_BYTES_MAX).map_err(told)?;
        &inflated
    };
    let append_time = (batch.timestamp_type() == TimestampType::LogAppendTime).then(|| batch.max_timestamp());
    for record in Records::new(payload, batch.record_count()) {
        let record = record.map_err(told)?;
        let headers = PyList::empty(py);
        for (key, value) in record.headers() {
            headers.append((PyBytes::new(py, key), value.map(|v| PyBytes::new(py, v))))?;
        }
        list.append((
            batch.base_offset() + i64::from(record.offset_delta),
            append_time.unwrap_or(batch.base_timestamp() + record.timestamp_delta),
            record.key.map(|k| PyBytes::new(py, k)),
            record.value.map(|v| PyBytes::new(py, v)),
            headers,
        ))?;
    }
    Ok(list)
}

#[pyfunction]
pub fn crc32c(data: &[u8]) -> u32 {
    record::crc32c::crc32c(data)
}
