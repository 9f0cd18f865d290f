//! `LocalLog`: one log in Apache's formats, driven from Python: the metadata log, and the tools' view of any other.

use std::path::PathBuf;
use std::sync::Arc;

use log::{FileStorage, Log, LogConfig, OpenOptions, ReadError};
use parking_lot::Mutex;
use pyo3::prelude::*;
use pyo3::types::PyBytes;

use crate::errors::told;

#[pyclass(frozen, module = "pykafkacore._core")]
pub struct LocalLog {
    log: Arc<Mutex<Log>>,
}

impl LocalLog {
    pub fn shared(&self) -> Arc<Mutex<Log>> {
        self.log.clone()
    }
}

#[pymethods]
impl LocalLog {
    /// Opens or creates. `clean` says that the directory was closed cleanly; otherwise it is recovered by a scan.
    #[new]
    #[pyo3(signature = (dir, topic_id, *, clean, now_ms, recovery_point=0, segment_bytes=1 << 30, segment_ms=604_800_000))]
    #[allow(clippy::too_many_arguments, reason = "keyword arguments")]
    fn new(
        py: Python<'_>,
        dir: PathBuf,
        topic_id: [u8; 16],
        clean: bool,
        now_ms: i64,
        recovery_point: i64,
        segment_bytes: u64,
        segment_ms: i64,
    ) -> PyResult<LocalLog> {
        let config = LogConfig { segment_bytes, segment_ms, ..LogConfig::default() };
        let options = OpenOptions {
            storage: Arc::new(FileStorage),
            dir,
            topic_id,
            sibling: None,
            config,
            clean_shutdown: clean,
            recovery_point,
            log_start_offset: None,
            now_ms,
        };
        let (log, _report) = py.detach(|| Log::open(options)).map_err(told)?;
        Ok(LocalLog { log: Arc::new(Mutex::new(log)) })
    }

    #[getter]
    fn log_start_offset(&self) -> i64 {
        self.log.lock().log_start_offset()
    }

    #[getter]
    fn log_end_offset(&self) -> i64 {
        self.log.lock().log_end_offset()
    }

    #[getter]
    fn size_bytes(&self) -> u64 {
        self.log.lock().size_bytes()
    }

    /// (leader epoch, start offset), rising.
    #[getter]
    fn epochs(&self) -> Vec<(i32, i64)> {
        self.log.lock().epochs().to_vec()
    }

    /// Appends one batch whose offset and leader epoch are set already.
    fn append(&self, batch: &[u8], now_ms: i64) -> PyResult<i64> {
        let info = self.log.lock().append_raw(batch, now_ms).map_err(told)?;
        Ok(info.last_offset)
    }

    /// Everything appended is on the disk when this returns.
    fn flush(&self, py: Python<'_>) -> PyResult<()> {
        py.detach(|| self.log.lock().flush()).map_err(told)
    }

    /// Whole batches from the one that holds `offset`; empty at the end of the log.
    fn read<'py>(&self, py: Python<'py>, offset: i64, bytes_max: usize) -> PyResult<Bound<'py, PyBytes>> {
        let bytes = py.detach(|| {
            let log = self.log.lock();
            let slice = log.read(offset, bytes_max, true, log.log_end_offset()).map_err(|error| match error {
                ReadError::OffsetOutOfRange { start, end } => {
                    told(format!("offset {offset} is outside of the log, which holds {start} to {end}"))
                }
                ReadError::Storage(error) => told(error),
            })?;
            let Some(slice) = slice else { return Ok(Vec::new()) };
            let mut bytes = vec![0; slice.region.bytes];
            let read = slice.region.file.read_at(&mut bytes, slice.region.position).map_err(told)?;
            bytes.truncate(read);
            Ok::<_, PyErr>(bytes)
        })?;
        Ok(PyBytes::new(py, &bytes))
    }

    fn truncate_to(&self, py: Python<'_>, offset: i64) -> PyResult<()> {
        py.detach(|| self.log.lock().truncate_to(offset)).map_err(told)
    }

    /// Drops everything and starts anew at `offset`: a snapshot stands for what was before.
    fn start_at(&self, py: Python<'_>, offset: i64) -> PyResult<()> {
        py.detach(|| self.log.lock().truncate_fully_and_start_at(offset)).map_err(told)
    }

    /// Removes segments that lie wholly before `offset`.
    fn delete_before(&self, py: Python<'_>, offset: i64) -> PyResult<()> {
        py.detach(|| self.log.lock().delete_records_before(offset)).map_err(told)
    }

    fn roll(&self, py: Python<'_>, now_ms: i64) -> PyResult<()> {
        py.detach(|| self.log.lock().roll(now_ms)).map_err(told)
    }

    /// Leaves the directory as after a clean stop.
    fn close(&self, py: Python<'_>, now_ms: i64) -> PyResult<()> {
        let close = || {
            let mut log = self.log.lock();
            log.flush()?;
            log.close_clean(now_ms)
        };
        py.detach(close).map_err(told)
    }
}
