//! `pykafkacore._core`: the data plane and the log, as Python sees them. Translation only: a branch here is a smell.
//!
//! Every call that may wait releases the GIL. Nothing here ever calls a Python function.

mod batches;
mod data_plane;
mod errors;
mod local_log;
mod patterns;
mod upcalls;
mod view;

use pyo3::prelude::*;

#[pymodule(gil_used = false)]
fn _core(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add("__version__", env!("CARGO_PKG_VERSION"))?;
    module.add("CoreError", module.py().get_type::<errors::CoreError>())?;
    module.add("ERROR_CODES", wire::ErrorCode::ALL.to_vec())?;
    module.add_class::<data_plane::DataPlane>()?;
    module.add_class::<local_log::LocalLog>()?;
    module.add_class::<upcalls::Request>()?;
    module.add_class::<upcalls::Completed>()?;
    module.add_class::<upcalls::Verify>()?;
    module.add_class::<upcalls::Placed>()?;
    module.add_class::<upcalls::Notice>()?;
    module.add_function(wrap_pyfunction!(batches::build_batch, module)?)?;
    module.add_function(wrap_pyfunction!(batches::parse_batches, module)?)?;
    module.add_function(wrap_pyfunction!(batches::crc32c, module)?)?;
    module.add_function(wrap_pyfunction!(patterns::match_names, module)?)?;
    Ok(())
}
