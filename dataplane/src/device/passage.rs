//! Messages whose originator a rule node has changed, on disk: from the batch of the message that caused them until the new originator's
//! shard has taken them, and up to which number a partition has taken those of another (DESIGN 8.3, 8). Never sends one.

use std::ops::ControlFlow;

use prost::Message;
use schemas::{
    chain::EntityType,
    config::End,
    generated::kept,
    id::{EntityId, PARTITIONS, Partition, TenantId},
};
use uuid::Uuid;

use super::kept as record;
use super::outbox::{self, OwedCall};
use crate::{
    limits,
    store::{
        Batch, Engine, Family, Range, StoreError,
        key::{self, Kind},
    },
};

/// From which partition to which. Order is kept within a pair.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Pair {
    pub from: Partition,
    pub to: Partition,
}

/// A message, and who its originator is from now on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Passage {
    pub owed: OwedCall,
    pub to: End,
}

/// What a start has to know of a message under way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pending {
    pub pair: Pair,
    pub number: u64,
    pub tenant: TenantId,
    pub bytes: usize,
}

/// Messages of one pair as they were read, in the order of their numbers.
pub type Read = Vec<(u64, Result<Passage, StoreError>)>;

/// A message is under way from this batch on. Returns how many bytes it takes.
pub fn put(batch: &mut Batch, pair: Pair, number: u64, passage: &Passage) -> usize {
    let Passage { owed, to } = passage;
    let (originator, originator_type) = (to.id.0.as_bytes().to_vec(), to.kind.name().to_owned());
    let record = kept::Passage { delivery: Some(outbox::encode(owed)), originator, originator_type }.encode_to_vec();
    batch.put(Family::State, &key::passage(pair.from, pair.to, number), &record);
    record.len()
}

/// A message is not under way any more.
pub fn delete(batch: &mut Batch, pair: Pair, number: u64) {
    batch.delete(Family::State, &key::passage(pair.from, pair.to, number));
}

/// The receiving partition has taken all of a pair's messages up to this number.
pub fn mark(batch: &mut Batch, pair: Pair, number: u64) {
    batch.put(Family::State, &key::passage_mark(pair.to, pair.from), &number.to_be_bytes());
}

/// The first messages of a pair from `first` on, as many as are sent at once.
///
/// # Errors
/// The store cannot be read.
pub fn read(engine: &dyn Engine, pair: Pair, first: u64) -> Result<Read, StoreError> {
    let (from, to) = (key::passage(pair.from, pair.to, first), key::passages_end(pair.from, pair.to));
    let (mut found, mut bytes) = (Read::new(), 0);
    engine.scan(Range::new(Family::State, &from, &to), &mut |key, record| {
        if found.len() >= limits::PASSAGES_AT_ONCE_MAX || bytes >= limits::PASSAGES_AT_ONCE_BYTES_MAX {
            return ControlFlow::Break(());
        }
        bytes += record.len();
        if let Some((_, _, number)) = key::parse_passage(key) {
            found.push((number, decode(key, record)));
        }
        ControlFlow::Continue(())
    })?;
    Ok(found)
}

/// Gives out all messages under way, those of one pair in the order of their numbers. A damaged one is an error in its place.
///
/// # Errors
/// The store cannot be read.
pub fn pending(engine: &dyn Engine, mut each: impl FnMut(Result<Pending, StoreError>)) -> Result<(), StoreError> {
    of_kind(engine, Kind::Passage, &mut |key, record| {
        each(decode(key, record).and_then(|passage| {
            let (from, to, number) = key::parse_passage(key).ok_or_else(|| bad(key, "the key is no message's key"))?;
            Ok(Pending { pair: Pair { from, to }, number, tenant: passage.owed.tenant, bytes: record.len() })
        }));
    })
}

/// Gives out up to which numbers messages were taken.
///
/// # Errors
/// The store cannot be read, or holds something damaged.
pub fn marks(engine: &dyn Engine, mut each: impl FnMut(Pair, u64)) -> Result<(), StoreError> {
    let mut damaged = None;
    of_kind(engine, Kind::PassageMark, &mut |key, record| {
        let number = record.try_into().ok().map(u64::from_be_bytes);
        match (key::parse_passage_mark(key), number) {
            (Some((to, from)), Some(number)) => each(Pair { from, to }, number),
            _ => damaged = Some(bad(key, "expected a number of 8 bytes")),
        }
    })?;
    damaged.map_or(Ok(()), Err)
}

fn of_kind(engine: &dyn Engine, kind: Kind, each: &mut dyn FnMut(&[u8], &[u8])) -> Result<(), StoreError> {
    for partition in (0..PARTITIONS).filter_map(Partition::new) {
        let (from, to) = key::kind_range(partition, kind);
        engine.scan(Range::new(Family::State, &from, &to), &mut |key, record| {
            each(key, record);
            ControlFlow::Continue(())
        })?;
    }
    Ok(())
}

fn decode(key: &[u8], bytes: &[u8]) -> Result<Passage, StoreError> {
    let kept::Passage { delivery, originator, originator_type } = record::read(key, bytes)?;
    let owed = outbox::decode(delivery.unwrap_or_default()).ok_or_else(|| bad(key, "an id is not 16 bytes"))?;
    let id = Uuid::from_slice(&originator).map_err(|_| bad(key, "an originator is not 16 bytes"))?;
    let kind = EntityType::parse(&originator_type).ok_or_else(|| bad(key, "the originator is of no entity type"))?;
    Ok(Passage { owed, to: End { kind, id: EntityId(id) } })
}

fn bad(key: &[u8], why: &str) -> StoreError {
    StoreError::corrupted("message under way", key, why)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Timestamp;
    use crate::owed::Departed;
    use crate::store::memory::MemoryEngine;

    fn partition(number: u16) -> Partition {
        Partition::new(number).unwrap()
    }

    fn passage(n: u128) -> Passage {
        let departed = Departed { kind: "X".to_owned(), data: n.to_string(), departures: 3, ..Departed::default() };
        let owed = OwedCall { tenant: TenantId(Uuid::from_u128(9)), taken: Timestamp(5), departed };
        Passage { owed, to: End { kind: EntityType::Asset, id: EntityId(Uuid::from_u128(n)) } }
    }

    #[test]
    fn messages_are_found_in_order_pair_by_pair_and_damage_is_told() {
        let (engine, mut batch) = (MemoryEngine::new(), Batch::new());
        let pair = Pair { from: partition(7), to: partition(255) };
        let other = Pair { to: partition(256), ..pair };
        for number in [1 << 41, 7, 300] {
            put(&mut batch, pair, number, &passage(number.into()));
        }
        put(&mut batch, other, 1, &passage(1));
        delete(&mut batch, pair, 300);
        batch.put(Family::State, &key::passage(pair.from, pair.to, 8), b"\xFF");
        mark(&mut batch, pair, 6);
        mark(&mut batch, other, 5);
        mark(&mut batch, other, 9);
        engine.write(&batch).unwrap();
        let numbers = |read: &Read| read.iter().map(|(number, found)| (*number, found.is_ok())).collect::<Vec<_>>();
        assert_eq!(numbers(&read(&*engine, pair, 0).unwrap()), [(7, true), (8, false), (1 << 41, true)]);
        assert_eq!(read(&*engine, pair, 9).unwrap()[0].1.as_ref().unwrap(), &passage(1 << 41));
        let (mut found, mut damaged) = (Vec::new(), 0);
        pending(&*engine, |each| match each {
            Ok(one) => found.push((one.pair, one.number, one.tenant)),
            Err(_) => damaged += 1,
        })
        .unwrap();
        let tenant = TenantId(Uuid::from_u128(9));
        assert_eq!((found, damaged), (vec![(pair, 7, tenant), (pair, 1 << 41, tenant), (other, 1, tenant)], 1));
        let mut known = Vec::new();
        marks(&*engine, |pair, number| known.push((pair, number))).unwrap();
        assert_eq!(known, [(pair, 6), (other, 9)]);
    }

    #[test]
    fn so_many_are_read_at_once() {
        let (engine, mut batch) = (MemoryEngine::new(), Batch::new());
        let pair = Pair { from: partition(1), to: partition(2) };
        for number in 0..200 {
            put(&mut batch, pair, number, &passage(1));
        }
        engine.write(&batch).unwrap();
        assert_eq!(read(&*engine, pair, 0).unwrap().len(), limits::PASSAGES_AT_ONCE_MAX);
    }
}
