//! Metadata, as far as a question for topics by their names goes. What is told of them comes from the control plane as bytes.

use crate::primitives::{Range32, Reader, Result};

const AUTO_CREATION_FROM: i16 = 4;
const OPERATIONS_FROM: i16 = 8;
const CLUSTER_OPERATIONS_UP_TO: i16 = 10;
const FLEXIBLE_FROM: i16 = 9;
const TOPIC_IDS_FROM: i16 = 10;

pub fn is_flexible(api_version: i16) -> bool {
    api_version >= FLEXIBLE_FROM
}

/// The names, in order. None where anything else is asked: all topics, topics by their ids, what one is allowed to do.
pub fn topic_names(body: &[u8], api_version: i16) -> Option<Vec<Range32>> {
    read_names(body, api_version).ok().flatten()
}

fn read_names(body: &[u8], api_version: i16) -> Result<Option<Vec<Range32>>> {
    let flexible = is_flexible(api_version);
    let mut reader = Reader::new(body, 0);
    let count = reader.array_count(flexible, 2)?;
    let mut names = Vec::with_capacity(count);
    let mut asks_more = count == 0;
    for _ in 0..count {
        asks_more |= api_version >= TOPIC_IDS_FROM && reader.uuid()? != [0; 16];
        names.push(reader.string(flexible)?);
        reader.skip_tags(flexible)?;
    }
    if api_version >= AUTO_CREATION_FROM {
        reader.int8()?;
    }
    if (OPERATIONS_FROM..=CLUSTER_OPERATIONS_UP_TO).contains(&api_version) {
        asks_more |= reader.int8()? != 0;
    }
    if api_version >= OPERATIONS_FROM {
        asks_more |= reader.int8()? != 0;
    }
    reader.skip_tags(flexible)?;
    Ok((!asks_more && reader.remaining() == 0).then_some(names))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::primitives::Writer;

    fn question(names: &[&str], id: u8, operations: bool, api_version: i16) -> Vec<u8> {
        let flexible = is_flexible(api_version);
        let mut writer = Writer::default();
        writer.array_count(names.len(), flexible);
        for name in names {
            if api_version >= TOPIC_IDS_FROM {
                writer.uuid(&[id; 16]);
            }
            writer.string(name.as_bytes(), flexible);
            writer.no_tags(flexible);
        }
        if api_version >= AUTO_CREATION_FROM {
            writer.int8(1);
        }
        let asks = [api_version <= CLUSTER_OPERATIONS_UP_TO, true].into_iter().filter(|asks| *asks);
        asks.filter(|_| api_version >= OPERATIONS_FROM).for_each(|_| writer.int8(i8::from(operations)));
        writer.no_tags(flexible);
        writer.bytes
    }

    #[test]
    fn names_are_read_at_every_version_and_nothing_else_is_taken_for_them() {
        for version in 0..=13 {
            let body = question(&["a", "topic"], 0, false, version);
            let names = topic_names(&body, version).unwrap();
            assert_eq!(names.iter().map(|name| name.of(&body)).collect::<Vec<_>>(), [&b"a"[..], b"topic"], "{version}");
            assert_eq!(topic_names(&question(&[], 0, false, version), version), None, "all topics, or none");
            assert_eq!(topic_names(&[&body[..], b"x"].concat(), version), None, "more than there is");
            assert!((0..body.len()).all(|end| topic_names(&body[..end], version).is_none()), "less");
            if version >= OPERATIONS_FROM {
                assert_eq!(topic_names(&question(&["a"], 0, true, version), version), None);
            }
            if version >= TOPIC_IDS_FROM {
                assert_eq!(topic_names(&question(&["a"], 1, false, version), version), None);
            }
        }
    }
}
