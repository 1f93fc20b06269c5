//! Calls that rule nodes owe to the outside, on disk: from the batch of the message that caused them until they are answered, and
//! those that were given up (DESIGN 8.6, 22). Never makes a call.

use std::ops::ControlFlow;

use prost::Message;
use schemas::{
    generated::kept::{DeadLetter, Delivery, delivery::Place},
    id::{ChainId, EntityId, PARTITIONS, Partition, TenantId},
};
use uuid::Uuid;

use super::kept;
use crate::{
    clock::Timestamp,
    limits,
    owed::Departed,
    query::DeadLetters,
    store::{
        Batch, Engine, Family, Range, StoreError,
        key::{self, Kind},
    },
};

/// A call that is owed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OwedCall {
    pub tenant: TenantId,
    pub taken: Timestamp,
    pub departed: Departed,
}

/// What a start has to know of a call that is owed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pending {
    pub originator: EntityId,
    pub node: Uuid,
    pub number: u64,
    pub tenant: TenantId,
    pub bytes: usize,
}

/// A call is owed from this batch on. Returns how many bytes it takes.
pub fn put(batch: &mut Batch, originator: EntityId, number: u64, owed: &OwedCall) -> usize {
    let record = encode(owed).encode_to_vec();
    batch.put(Family::State, &key::owed(originator, owed.departed.node().1, number), &record);
    record.len()
}

/// A call is not owed any more.
pub fn delete(batch: &mut Batch, originator: EntityId, node: Uuid, number: u64) {
    batch.delete(Family::State, &key::owed(originator, node, number));
}

/// A call is given up, and kept for whoever looks into it, in place of one of the originator's that was before it: no target fills a
/// disk with what it does not take.
pub fn bury(batch: &mut Batch, originator: EntityId, number: u64, (owed, reason, now): (&OwedCall, &str, Timestamp)) {
    let letter = DeadLetter { delivery: Some(encode(owed)), reason: reason.to_owned(), given_up_ts: now.0, number };
    batch.put(Family::State, &key::dead_letter(originator, place(number)), &letter.encode_to_vec());
}

/// A call that was given up is not kept any more.
pub fn unbury(batch: &mut Batch, originator: EntityId, number: u64) {
    batch.delete(Family::State, &key::dead_letter(originator, place(number)));
}

fn place(number: u64) -> u8 {
    u8::try_from(number % limits::DEAD_LETTERS_PER_ENTITY_MAX).unwrap_or(0)
}

/// Gives out the calls that were given up and are sought, as far as `most` of them are looked at, found or not, and `bytes_max` bytes
/// lie in those. Damaged ones are passed over. True: there may be more.
///
/// # Errors
/// The store cannot be read.
pub fn dead_letters(
    engine: &dyn Engine,
    sought: &DeadLetters,
    (most, bytes_max): (usize, usize),
    mut each: impl FnMut(EntityId, DeadLetter) -> ControlFlow<()>,
) -> Result<bool, StoreError> {
    let (mut looked, mut bytes, mut partial) = (0, 0, false);
    let mut look = |key: &[u8], record: &[u8]| {
        if looked >= most || bytes >= bytes_max {
            partial = true;
            return ControlFlow::Break(());
        }
        looked += 1;
        bytes += record.len();
        let Some(originator) = key.get(..key::ENTITY_PREFIX_BYTES).and_then(key::parse_entity) else {
            return ControlFlow::Continue(());
        };
        match DeadLetter::decode(record) {
            Ok(letter) if is_sought(sought, &letter) => {
                let flow = each(originator, letter);
                partial |= flow.is_break();
                flow
            }
            _ => ControlFlow::Continue(()),
        }
    };
    if let Some(originator) = sought.originator {
        let (from, to) = (key::entity(Kind::DeadLetter, originator), key::entity_end(Kind::DeadLetter, originator));
        engine.scan(Range::new(Family::State, &from, &to), &mut look)?;
        return Ok(partial);
    }
    for partition in (0..PARTITIONS).filter_map(Partition::new) {
        let (from, to) = key::kind_range(partition, Kind::DeadLetter);
        let mut ended = false;
        engine.scan(Range::new(Family::State, &from, &to), &mut |key, record| {
            let flow = look(key, record);
            ended = flow.is_break();
            flow
        })?;
        if ended {
            break;
        }
    }
    Ok(partial)
}

fn is_sought(sought: &DeadLetters, letter: &DeadLetter) -> bool {
    let Some(delivery) = &letter.delivery else { return false };
    let chain = delivery.path.last().map(|place| place.chain.as_slice());
    delivery.tenant == sought.tenant.0.as_bytes()
        && sought.chain.is_none_or(|wanted| chain == Some(wanted.0.as_bytes()))
        && sought.number.is_none_or(|number| number == letter.number)
        && letter.given_up_ts <= sought.until.0
}

/// The call of a dead letter, with its number; `None` for a damaged one.
#[must_use]
pub fn revived(letter: DeadLetter) -> Option<(u64, OwedCall)> {
    Some((letter.number, decode(letter.delivery?)?))
}

/// A call that is owed.
///
/// # Errors
/// The store cannot be read, or holds something damaged.
pub fn read(engine: &dyn Engine, originator: EntityId, node: Uuid, number: u64) -> Result<Option<OwedCall>, StoreError> {
    let key = key::owed(originator, node, number);
    let Some(record) = engine.get(Family::State, &key)? else { return Ok(None) };
    decode(kept::read(&key, &record)?).map(Some).ok_or_else(|| StoreError::corrupted("owed call", &key, "an id is not 16 bytes"))
}

/// Gives out all calls that are owed, those of one originator and node in the order of their numbers. A damaged one is an error in
/// its place; the others do not suffer from it.
///
/// # Errors
/// The store cannot be read.
pub fn pending(engine: &dyn Engine, mut each: impl FnMut(Result<Pending, StoreError>)) -> Result<(), StoreError> {
    for partition in (0..PARTITIONS).filter_map(Partition::new) {
        let (from, to) = key::kind_range(partition, Kind::Owed);
        engine.scan(Range::new(Family::State, &from, &to), &mut |key, record| {
            each(header(key, record));
            ControlFlow::Continue(())
        })?;
    }
    Ok(())
}

fn header(key: &[u8], record: &[u8]) -> Result<Pending, StoreError> {
    let bad = |why: &str| StoreError::corrupted("owed call", key, why);
    let (originator, node, number) = key::parse_owed(key).ok_or_else(|| bad("the key is no call's key"))?;
    let owed = decode(kept::read(key, record)?).ok_or_else(|| bad("an id is not 16 bytes"))?;
    Ok(Pending { originator, node, number, tenant: owed.tenant, bytes: record.len() })
}

pub(super) fn encode(owed: &OwedCall) -> Delivery {
    let OwedCall { tenant, taken, departed } = owed;
    let Departed { path, kind, metadata, data, own_ts, departures, trace } = departed.clone();
    let place = |(chain, node): (ChainId, Uuid)| Place { chain: chain.0.into(), node: node.into() };
    Delivery {
        tenant: tenant.0.into(),
        path: path.into_iter().map(place).collect(),
        kind,
        metadata: metadata.into_iter().collect(),
        data,
        own_ts,
        taken_ts: taken.0,
        departures,
        trace: trace.map(Into::into).unwrap_or_default(),
    }
}

pub(super) fn decode(delivery: Delivery) -> Option<OwedCall> {
    let Delivery { tenant, path, kind, metadata, data, own_ts, taken_ts, departures, trace } = delivery;
    let id = |bytes: &[u8]| Uuid::from_slice(bytes).ok();
    let path = path.iter().map(|place| Some((ChainId(id(&place.chain)?), id(&place.node)?))).collect::<Option<_>>()?;
    let (metadata, trace) = (metadata.into_iter().collect(), id(&trace));
    let departed = Departed { path, kind, metadata, data, own_ts, departures, trace };
    Some(OwedCall { tenant: TenantId(id(&tenant)?), taken: Timestamp(taken_ts), departed })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::memory::MemoryEngine;

    fn owed(node: u128) -> OwedCall {
        let path = vec![(ChainId(Uuid::from_u128(1)), Uuid::from_u128(2)), (ChainId(Uuid::from_u128(3)), Uuid::from_u128(node))];
        let metadata = [("ts".to_owned(), "7".to_owned())].into();
        let (kind, data, trace) = ("X".to_owned(), "[1]".to_owned(), Some(Uuid::from_u128(8)));
        let departed = Departed { path, kind, metadata, data, own_ts: true, departures: 2, trace };
        OwedCall { tenant: TenantId(Uuid::from_u128(9)), taken: Timestamp(5), departed }
    }

    #[test]
    fn calls_are_found_in_the_order_of_their_numbers_and_damage_is_told() {
        let (engine, mut batch) = (MemoryEngine::new(), Batch::new());
        let originator = EntityId(Uuid::from_u128(77));
        let node = Uuid::from_u128(4);
        for number in [1 << 41, 7, 300] {
            put(&mut batch, originator, number, &owed(4));
        }
        put(&mut batch, originator, 1, &owed(5));
        delete(&mut batch, originator, node, 300);
        batch.put(Family::State, &key::owed(originator, node, 8), b"\xFF");
        engine.write(&batch).unwrap();
        let (mut found, mut damaged) = (Vec::new(), 0);
        pending(&*engine, |each| match each {
            Ok(one) => found.push((one.node, one.number, one.tenant)),
            Err(_) => damaged += 1,
        })
        .unwrap();
        let tenant = TenantId(Uuid::from_u128(9));
        assert_eq!(found, [(node, 7, tenant), (node, 1 << 41, tenant), (Uuid::from_u128(5), 1, tenant)]);
        assert_eq!(damaged, 1);
        assert_eq!(read(&*engine, originator, node, 7).unwrap(), Some(owed(4)));
        assert_eq!(read(&*engine, originator, node, 300).unwrap(), None);
        assert!(read(&*engine, originator, node, 8).is_err());
    }
}
