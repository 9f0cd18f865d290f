//! The view: what the control plane has decided, as the data plane reads it. Produce and Fetch are answered from here
//! without asking anybody.
//!
//! A reader loads the current view with one atomic read and keeps it for the length of a request. Publishing builds the
//! next view by structural sharing: O(what changed), never O(partitions). What changes often (leadership, ISR, topic
//! settings) changes inside its one entry, and does not even make a new view.
//!
//! INVARIANT: a view is projected from committed metadata only and carries its offset; offsets never go back.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use arc_swap::ArcSwap;
use imbl::HashMap;
use wire::Uuid;
use wire::produce::NodeEndpoint;

use crate::partition::Partition;
use crate::topic::{PartitionKey, Topic};

#[derive(Clone, Default)]
pub struct View {
    by_name: HashMap<Arc<str>, Arc<Topic>>,
    by_id: HashMap<Uuid, Arc<Topic>>,
    partitions: HashMap<PartitionKey, Arc<Partition>>,
    pub brokers: Arc<Vec<NodeEndpoint>>,
}

impl View {
    pub fn topic_by_name(&self, name: &[u8]) -> Option<&Arc<Topic>> {
        self.by_name.get(std::str::from_utf8(name).ok()?)
    }

    pub fn topic_by_id(&self, id: &Uuid) -> Option<&Arc<Topic>> {
        self.by_id.get(id)
    }

    pub fn partition(&self, topic_id: Uuid, index: i32) -> Option<&Arc<Partition>> {
        self.partitions.get(&(topic_id, index))
    }

    pub fn partitions(&self) -> impl Iterator<Item = &Arc<Partition>> {
        self.partitions.values()
    }

    pub fn endpoint(&self, node_id: i32) -> Option<&NodeEndpoint> {
        self.brokers.iter().find(|broker| broker.node_id == node_id)
    }

    pub fn insert_topic(&mut self, topic: Arc<Topic>) {
        self.by_name.insert(topic.name.clone(), topic.clone());
        self.by_id.insert(topic.id, topic);
    }

    pub fn insert_partition(&mut self, partition: Arc<Partition>) {
        self.partitions.insert((partition.topic.id, partition.index), partition);
    }

    pub fn remove_partition(&mut self, key: PartitionKey) -> Option<Arc<Partition>> {
        self.partitions.remove(&key)
    }

    pub fn remove_topic(&mut self, id: Uuid) -> Option<Arc<Topic>> {
        let topic = self.by_id.remove(&id)?;
        // A topic made again under the same name has another id, and may already stand here.
        if self.by_name.get(&topic.name).is_some_and(|t| t.id == id) {
            self.by_name.remove(&topic.name);
        }
        Some(topic)
    }
}

/// The one place where the view changes hands.
#[derive(Default)]
pub struct Published {
    view: ArcSwap<View>,
    metadata_offset: AtomicI64,
}

impl Published {
    pub fn load(&self) -> arc_swap::Guard<Arc<View>> {
        self.view.load()
    }

    /// As `load`, for work that takes longer than a request.
    pub fn load_full(&self) -> Arc<View> {
        self.view.load_full()
    }

    pub fn metadata_offset(&self) -> i64 {
        self.metadata_offset.load(Ordering::Acquire)
    }

    /// Nothing that a reader could see changed but the offset.
    pub fn advance(&self, metadata_offset: i64) {
        self.metadata_offset.fetch_max(metadata_offset, Ordering::AcqRel);
    }

    /// Replaces the view. Called by one publisher only.
    pub fn publish(&self, view: View, metadata_offset: i64) {
        self.view.store(Arc::new(view));
        self.metadata_offset.fetch_max(metadata_offset, Ordering::AcqRel);
    }
}
