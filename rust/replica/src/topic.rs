//! A topic as the data plane knows it: its name, its settings, and what its partitions are known by.

use std::sync::Arc;

use arc_swap::ArcSwap;
use record::{AppendRules, Codec};
use wire::Uuid;
use wire::produce::TopicName;

/// The settings of a topic that the data plane acts on, already resolved from topic, broker and default.
#[derive(Clone, Debug)]
pub struct TopicSettings {
    pub append: AppendRules,
    pub min_insync_replicas: usize,
    /// After so many records a log is flushed; after each one, nobody is told of it before that.
    pub flush_messages: u64,
    pub flush_ms: i64,
    pub log: log::LogConfig,
}

pub struct Topic {
    pub id: Uuid,
    pub name: Arc<str>,
    /// KAFKA: clients may not write to these (4.4: INVALID_TOPIC_EXCEPTION unless the client id is `__admin_client`).
    pub is_internal: bool,
    pub settings: ArcSwap<TopicSettings>,
}

impl Topic {
    pub fn new(id: Uuid, name: &str, settings: TopicSettings) -> Topic {
        let is_internal = matches!(name, "__consumer_offsets" | "__transaction_state" | "__share_group_state");
        Topic { id, name: name.into(), is_internal, settings: ArcSwap::from_pointee(settings) }
    }
}

pub type PartitionKey = (Uuid, i32);

/// What a request calls a topic.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum TopicKey {
    Name(Arc<str>),
    Id(Uuid),
}

impl TopicKey {
    pub fn name(&self) -> TopicName<'_> {
        match self {
            TopicKey::Name(name) => TopicName::Name(name.as_bytes()),
            TopicKey::Id(id) => TopicName::Id(*id),
        }
    }
}

/// The codec a topic's `compression.type` names; None is `producer`: keep what the producer sent.
pub fn target_codec(compression_type: &str) -> Option<Option<Codec>> {
    Some(match compression_type {
        "producer" => None,
        "uncompressed" => Some(Codec::None),
        "gzip" => Some(Codec::Gzip),
        "snappy" => Some(Codec::Snappy),
        "lz4" => Some(Codec::Lz4),
        "zstd" => Some(Codec::Zstd),
        _ => return None,
    })
}
