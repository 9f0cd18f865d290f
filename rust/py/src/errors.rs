//! The one place where an error of Rust becomes an exception of Python.

use pyo3::exceptions::PyOSError;
use pyo3::{PyErr, create_exception};

create_exception!(
    pykafkacore,
    CoreError,
    PyOSError,
    "The log or the data plane failed; the message names what and where."
);

pub fn told(error: impl std::fmt::Display) -> PyErr {
    CoreError::new_err(error.to_string())
}
