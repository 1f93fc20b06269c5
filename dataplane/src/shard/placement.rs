//! Which shard owns a partition. The one place that may assume that an owner is in this process (DESIGN 7).

use schemas::id::{EntityId, PARTITIONS, Partition};

use super::event::Mailbox;

/// Partitions spread evenly, in contiguous ranges, over shards (DESIGN 3.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Placement {
    shards: u16,
}

impl Placement {
    /// `shards` is at least 1 and at most the number of partitions; settings have checked it.
    #[must_use]
    pub fn new(shards: u16) -> Self {
        Self { shards: shards.clamp(1, PARTITIONS) }
    }

    #[must_use]
    pub fn shards(self) -> u16 {
        self.shards
    }

    #[must_use]
    pub fn shard_of(self, partition: Partition) -> u16 {
        let shard = u32::from(partition.number()) * u32::from(self.shards) / u32::from(PARTITIONS);
        u16::try_from(shard).unwrap_or(0)
    }

    /// All partitions of one shard.
    pub fn partitions_of(self, shard: u16) -> impl Iterator<Item = Partition> {
        (0..PARTITIONS).filter_map(Partition::new).filter(move |partition| self.shard_of(*partition) == shard)
    }
}

/// The mailboxes of all shards of this process, as the link and the admin side hold them.
#[derive(Clone, Debug)]
pub struct Shards {
    placement: Placement,
    mailboxes: Vec<Mailbox>,
}

impl Shards {
    /// One mailbox per shard, in shard order.
    #[must_use]
    pub fn new(placement: Placement, mailboxes: Vec<Mailbox>) -> Self {
        debug_assert_eq!(usize::from(placement.shards()), mailboxes.len());
        Self { placement, mailboxes }
    }

    /// The mailbox of the shard that owns this entity.
    #[must_use]
    pub fn owner(&self, entity: EntityId) -> &Mailbox {
        self.of(Partition::of(entity))
    }

    /// The number of the shard that owns this partition.
    #[must_use]
    pub fn shard_of(&self, partition: Partition) -> u16 {
        self.placement.shard_of(partition)
    }

    #[must_use]
    pub fn of(&self, partition: Partition) -> &Mailbox {
        &self.mailboxes[usize::from(self.placement.shard_of(partition))]
    }

    #[must_use]
    pub fn all(&self) -> &[Mailbox] {
        &self.mailboxes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_partition_has_one_shard_and_shares_differ_by_one() {
        for shards in [1, 2, 3, 7, 64, 1024] {
            let placement = Placement::new(shards);
            let counts: Vec<usize> = (0..shards).map(|shard| placement.partitions_of(shard).count()).collect();
            assert_eq!(counts.iter().sum::<usize>(), usize::from(PARTITIONS));
            let (least, most) = (counts.iter().min().copied(), counts.iter().max().copied());
            assert!(most.zip(least).is_some_and(|(most, least)| most - least <= 1), "{shards}: {counts:?}");
        }
    }
}
