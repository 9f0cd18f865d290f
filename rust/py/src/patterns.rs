//! Regular expressions of subscriptions: RE2's kind, without backtracking, so that no pattern takes more than linear time.

use pyo3::prelude::*;
use regex::RegexBuilder;

/// What a compiled pattern may take in memory.
const PATTERN_BYTES_MAX: usize = 1 << 20;

/// The names that match as a whole; None if the pattern is no regular expression, or too large a one.
#[pyfunction]
pub fn match_names(py: Python<'_>, pattern: &str, names: Vec<String>) -> Option<Vec<String>> {
    py.detach(|| {
        // On its own first: else `a)(b` would be one in brackets.
        let sound = |text: &str| RegexBuilder::new(text).size_limit(PATTERN_BYTES_MAX).build().ok();
        sound(pattern)?;
        let whole = sound(&format!("^(?:{pattern})$"))?;
        Some(names.into_iter().filter(|name| whole.is_match(name)).collect())
    })
}
