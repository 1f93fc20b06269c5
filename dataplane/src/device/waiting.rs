//! Messages that wait for time, on disk: from the batch of what left them until that of what they became (DESIGN 8.1, 2 and 8.5, 20
//! and 21). A small record by time says what is due; the message lies under its originator. Never asks the time.

use std::ops::ControlFlow;

use prost::Message;
use schemas::{
    generated::kept::Delivery,
    id::{EntityId, PARTITIONS, Partition, TenantId},
};
use uuid::Uuid;

use super::{
    kept,
    outbox::{OwedCall, decode, encode},
};
use crate::{
    clock::Timestamp,
    owed::Waits,
    store::{Batch, Engine, Family, Range, StoreError, key},
};

/// What a shard has to know of something that waits, without its message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Due {
    pub originator: EntityId,
    pub node: Uuid,
    pub number: u64,
    pub at: Timestamp,
    pub tenant: TenantId,
    pub how: Waits,
    /// Of its message on disk.
    pub bytes: usize,
    /// Of a node that makes messages: by which configuration; else 0.
    pub configuration: u64,
}

impl Due {
    /// Of something that no batch has yet.
    #[must_use]
    pub fn new(originator: EntityId, node: Uuid, number: u64, (tenant, how, at): (TenantId, Waits, Timestamp)) -> Self {
        Self { originator, node, number, at, tenant, how, bytes: 0, configuration: 0 }
    }
}

const RECORD_BYTES: usize = 16 + 1 + 4 + 8;

/// A message waits from this batch on. Returns how many bytes it takes.
pub fn put(batch: &mut Batch, due: Due, message: &OwedCall) -> usize {
    let record = encode(message).encode_to_vec();
    batch.put(Family::State, &key::waiting(due.originator, due.node, due.number), &record);
    put_due(batch, Due { bytes: record.len(), ..due });
    record.len()
}

fn put_due(batch: &mut Batch, due: Due) {
    let mut record = [0; RECORD_BYTES];
    record[..16].copy_from_slice(due.tenant.0.as_bytes());
    record[16] = due.how as u8;
    record[17..21].copy_from_slice(&u32::try_from(due.bytes).unwrap_or(u32::MAX).to_be_bytes());
    record[21..].copy_from_slice(&due.configuration.to_be_bytes());
    batch.put(Family::State, &key::due(due.originator, due.node, due.number, due.at), &record);
}

/// It does not wait any more.
pub fn delete(batch: &mut Batch, due: Due) {
    batch.delete(Family::State, &key::waiting(due.originator, due.node, due.number));
    batch.delete(Family::State, &key::due(due.originator, due.node, due.number, due.at));
}

/// The message with this number; of those that wait together all, in the order of their numbers.
///
/// # Errors
/// The store cannot be read, or holds something damaged.
pub fn read(engine: &dyn Engine, due: Due) -> Result<Vec<(u64, OwedCall)>, StoreError> {
    if due.how != Waits::Together {
        let key = key::waiting(due.originator, due.node, due.number);
        let found = engine.get(Family::State, &key)?;
        return found.map(|record| Ok((due.number, message(&key, &record)?))).into_iter().collect();
    }
    let (from, to) = key::waiting_range(due.originator, Some(due.node));
    let mut found = Vec::new();
    engine.scan(Range::new(Family::State, &from, &to), &mut |key, record| {
        found.push(message(key, record).map(|message| (key::parse_waiting(key).unwrap_or_default(), message)));
        ControlFlow::Continue(())
    })?;
    found.into_iter().collect()
}

fn message(key: &[u8], record: &[u8]) -> Result<OwedCall, StoreError> {
    let delivery: Delivery = kept::read(key, record)?;
    decode(delivery).ok_or_else(|| StoreError::corrupted("message that waits", key, "an id is not 16 bytes"))
}

/// Gives out everything that waits, of each partition what is due first before the rest; no message is read. A damaged record is an
/// error in its place.
///
/// # Errors
/// The store cannot be read.
pub fn pending(engine: &dyn Engine, mut each: impl FnMut(Result<Due, StoreError>)) -> Result<(), StoreError> {
    for partition in (0..PARTITIONS).filter_map(Partition::new) {
        let (from, to) = key::due_range(partition);
        engine.scan(Range::new(Family::State, &from, &to), &mut |key, record| {
            each(parse(key, record).ok_or_else(|| StoreError::corrupted("time of what waits", key, "it is none")));
            ControlFlow::Continue(())
        })?;
    }
    Ok(())
}

fn parse(key: &[u8], record: &[u8]) -> Option<Due> {
    let (originator, node, number, at) = key::parse_due(key)?;
    let (tenant, rest) = record.split_at_checked(16)?;
    let (how, rest) = rest.split_first()?;
    let (bytes, configuration) = rest.split_at_checked(4)?;
    let configuration = u64::from_be_bytes(configuration.try_into().ok()?);
    let bytes = usize::try_from(u32::from_be_bytes(bytes.try_into().ok()?)).ok()?;
    let tenant = TenantId(Uuid::from_slice(tenant).ok()?);
    Some(Due { originator, node, number, at, tenant, how: Waits::from_number(*how)?, bytes, configuration })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::memory::MemoryEngine;
    use crate::{device::delete_entity, owed::Departed};

    fn due(originator: u128, node: u128, number: u64, at: i64, how: Waits) -> Due {
        let (originator, node) = (EntityId(Uuid::from_u128(originator)), Uuid::from_u128(node));
        Due { configuration: 4, ..Due::new(originator, node, number, (TenantId(Uuid::from_u128(9)), how, Timestamp(at))) }
    }

    fn message(data: &str) -> OwedCall {
        let departed = Departed { data: data.to_owned(), ..Departed::default() };
        OwedCall { tenant: TenantId(Uuid::from_u128(9)), taken: Timestamp(5), departed }
    }

    fn all(engine: &dyn Engine) -> (Vec<Due>, usize) {
        let (mut found, mut damaged) = (Vec::new(), 0);
        pending(engine, |each| match each {
            Ok(one) => found.push(one),
            Err(_) => damaged += 1,
        })
        .unwrap();
        (found, damaged)
    }

    #[test]
    fn what_waits_is_found_by_time_and_its_message_by_its_originator() {
        let (engine, mut batch) = (MemoryEngine::new(), Batch::new());
        let (late, soon, other) =
            (due(7, 1, 1, 900, Waits::Alone), due(7, 1, 2, 100, Waits::Alone), due(7, 2, 3, 500, Waits::Together));
        let bytes = put(&mut batch, late, &message("1"));
        put(&mut batch, soon, &message("2"));
        put(&mut batch, other, &message("3"));
        put(&mut batch, Due { number: 4, ..other }, &message("4"));
        batch.put(Family::State, &key::due(late.originator, late.node, 8, Timestamp(950)), b"?");
        engine.write(&batch).unwrap();
        let sized = |due| Due { bytes, ..due };
        let expected = [soon, other, Due { number: 4, ..other }, late].map(sized).to_vec();
        assert_eq!(all(&*engine), (expected, 1));
        assert_eq!(read(&*engine, late).unwrap(), [(1, message("1"))]);
        assert_eq!(read(&*engine, other).unwrap(), [(3, message("3")), (4, message("4"))]);
        let mut batch = Batch::new();
        delete(&mut batch, late);
        engine.write(&batch).unwrap();
        assert_eq!((read(&*engine, late).unwrap(), all(&*engine).0.len()), (vec![], 3));
        // The times of an entity that is deleted are those that its shard knows; its messages are a range.
        let mut batch = Batch::new();
        delete_entity(late.originator, &mut batch);
        engine.write(&batch).unwrap();
        assert_eq!((read(&*engine, soon).unwrap(), read(&*engine, other).unwrap()), (vec![], vec![]));
    }
}
