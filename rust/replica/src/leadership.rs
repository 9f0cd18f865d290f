//! What a replica is in its partition, and what it may be asked for that reason. Pure.
//!
//! ```text
//!   role      append                 read
//!   Leader    yes                    up to its high watermark
//!   Follower  no (replication)       NOT_LEADER_OR_FOLLOWER
//!   Offline   KAFKA_STORAGE_ERROR where it should be here, else NOT_LEADER_OR_FOLLOWER
//!   Gone      UNKNOWN_TOPIC_OR_PARTITION, for good
//! ```

use wire::ErrorCode;
use wire::produce::CurrentLeader;

/// Who leads a partition, as the control plane decided.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Leadership {
    pub leader_id: i32,
    pub leader_epoch: i32,
    pub partition_epoch: i32,
    pub replicas: Vec<i32>,
    pub isr: Vec<i32>,
}

impl Leadership {
    /// Whether one of the replicas is this node's.
    pub fn hosts(&self, node_id: i32) -> bool {
        self.replicas.contains(&node_id)
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    Leader,
    Follower,
    Offline,
    Gone,
}

/// An error, and who leads as far as this broker knows, where that is told along with it.
pub type Refused = (ErrorCode, Option<CurrentLeader>);

/// What this node is in one partition.
pub struct Standing {
    node_id: i32,
    pub role: Role,
    pub leadership: Leadership,
}

impl Standing {
    pub fn new(node_id: i32) -> Standing {
        let leadership = Leadership { leader_id: -1, leader_epoch: -1, ..Leadership::default() };
        Standing { node_id, role: Role::Offline, leadership }
    }

    pub fn leads(&self) -> bool {
        self.role == Role::Leader
    }

    /// The role that this leadership gives a replica; `has_log`: one that can be written. True if it leads in a new epoch.
    pub fn take_role(&mut self, leadership: &Leadership, has_log: bool) -> bool {
        self.role = match self.role {
            Role::Gone => Role::Gone,
            _ if !has_log => Role::Offline,
            _ if leadership.leader_id == self.node_id => Role::Leader,
            _ => Role::Follower,
        };
        self.leads() && leadership.leader_epoch > self.leadership.leader_epoch
    }

    pub fn go_offline(&mut self) {
        if self.role != Role::Gone {
            self.role = Role::Offline;
        }
    }

    pub fn check_leader(&self) -> Result<(), Refused> {
        match self.role {
            Role::Leader => Ok(()),
            Role::Gone => Err((ErrorCode::UNKNOWN_TOPIC_OR_PARTITION, None)),
            Role::Offline if self.leadership.hosts(self.node_id) => Err((ErrorCode::KAFKA_STORAGE_ERROR, None)),
            _ => Err((ErrorCode::NOT_LEADER_OR_FOLLOWER, self.leader())),
        }
    }

    fn leader(&self) -> Option<CurrentLeader> {
        let Leadership { leader_id, leader_epoch, .. } = self.leadership;
        Some(CurrentLeader { leader_id, leader_epoch })
    }

    /// Whether a reader that knows this leader epoch, a replica if its id is not negative, may read from this leader.
    pub fn check_reader(&self, current_leader_epoch: i32, replica_id: i32) -> Result<(), Refused> {
        let leader_epoch = self.leadership.leader_epoch;
        if current_leader_epoch >= 0 && current_leader_epoch < leader_epoch {
            return Err((ErrorCode::FENCED_LEADER_EPOCH, self.leader()));
        }
        if current_leader_epoch > leader_epoch {
            return Err((ErrorCode::UNKNOWN_LEADER_EPOCH, self.leader()));
        }
        if replica_id == self.node_id {
            return Err((ErrorCode::NOT_LEADER_OR_FOLLOWER, None));
        }
        if replica_id >= 0 && !self.leadership.hosts(replica_id) {
            let named = current_leader_epoch >= 0;
            let error = if named { ErrorCode::UNKNOWN_LEADER_EPOCH } else { ErrorCode::NOT_LEADER_OR_FOLLOWER };
            return Err((error, None));
        }
        Ok(())
    }

    /// Whether as many are in sync as `min.insync.replicas` wants, of those that there are.
    pub fn has_in_sync(&self, min_insync_replicas: usize) -> bool {
        self.leadership.isr.len() >= min_insync_replicas.min(self.leadership.replicas.len())
    }

    /// Nobody else's offset is to be waited for.
    pub fn is_alone_in_sync(&self) -> bool {
        self.leadership.isr.iter().all(|id| *id == self.node_id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn led_by(leader_id: i32, leader_epoch: i32) -> Leadership {
        Leadership { leader_id, leader_epoch, replicas: vec![1, 2], isr: vec![1], ..Leadership::default() }
    }

    #[test]
    fn a_replica_that_is_gone_stays_gone() {
        let mut standing = Standing::new(1);
        assert!(standing.take_role(&led_by(1, 0), true));
        standing.role = Role::Gone;
        standing.go_offline();
        assert!(!standing.take_role(&led_by(1, 1), true));
        assert_eq!(standing.check_leader(), Err((ErrorCode::UNKNOWN_TOPIC_OR_PARTITION, None)));
    }

    #[test]
    fn it_begins_to_lead_once_an_epoch_and_only_with_a_log() {
        let mut standing = Standing::new(1);
        assert!(!standing.take_role(&led_by(1, 0), false));
        assert!(standing.take_role(&led_by(1, 0), true));
        standing.leadership = led_by(1, 0);
        assert!(!standing.take_role(&led_by(1, 0), true), "the same epoch");
        assert!(!standing.take_role(&led_by(2, 1), true), "somebody else");
        let leader = CurrentLeader { leader_id: 1, leader_epoch: 0 };
        assert_eq!(standing.check_leader(), Err((ErrorCode::NOT_LEADER_OR_FOLLOWER, Some(leader))));
    }
}
