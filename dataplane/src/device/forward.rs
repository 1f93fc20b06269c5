//! A gateway's QoS 2 packs on disk, from their arrival to the last answer to their parts (DESIGN 8.3, 8 and 10): the whole pack under
//! the gateway's partition, numbered. Never sends anything and never looks into a part.

use std::ops::ControlFlow;

use prost::Message;
use schemas::{
    generated::kept::Forward,
    id::{DeviceId, PARTITIONS, Partition},
};

use super::kept;
use crate::{
    clock::Timestamp,
    store::{
        Batch, Engine, Family, Range, StoreError,
        key::{self, Kind, Part},
    },
};

/// What a start has to know of a pack that is not finished.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pending {
    pub gateway: DeviceId,
    pub number: u64,
    /// `None`: the client has given it up.
    pub packet_id: Option<u16>,
    pub taken: Timestamp,
}

/// A pack is under way from this batch on. One of the same number is replaced.
pub fn put(batch: &mut Batch, gateway: DeviceId, number: u64, pack: &Forward) {
    batch.put(Family::State, &key::forward(gateway.into(), number), &pack.encode_to_vec());
}

/// A pack is finished.
pub fn delete(batch: &mut Batch, gateway: DeviceId, number: u64) {
    batch.delete(Family::State, &key::forward(gateway.into(), number));
}

/// A pack that is under way.
///
/// # Errors
/// The store cannot be read, or holds something damaged.
pub fn read(engine: &dyn Engine, gateway: DeviceId, number: u64) -> Result<Option<Forward>, StoreError> {
    let key = key::forward(gateway.into(), number);
    engine.get(Family::State, &key)?.map(|record| kept::read(&key, &record)).transpose()
}

/// Gives out all packs that are under way, those of one gateway in the order of their numbers. A damaged one is an error in its
/// place; the others do not suffer from it.
///
/// # Errors
/// The store cannot be read.
pub fn pending(engine: &dyn Engine, mut each: impl FnMut(Result<Pending, StoreError>)) -> Result<(), StoreError> {
    for partition in (0..PARTITIONS).filter_map(Partition::new) {
        let (from, to) = key::kind_range(partition, Kind::Forward);
        engine.scan(Range::new(Family::State, &from, &to), &mut |key, record| {
            each(header(engine, key, record));
            ControlFlow::Continue(())
        })?;
    }
    Ok(())
}

fn header(engine: &dyn Engine, key: &[u8], record: &[u8]) -> Result<Pending, StoreError> {
    let (gateway, number) =
        key::parse_forward(key).ok_or_else(|| StoreError::corrupted("forward", key, "the key is no pack's key"))?;
    let pack: Forward = kept::read(key, record)?;
    // A session that began anew since has dropped the identifier, and may have given it to another pack.
    let packet_id = u16::try_from(pack.packet_id).unwrap_or(0);
    let received = engine.get(Family::State, &key::kept(gateway, Part::Received, &packet_id.to_be_bytes()))?;
    let packet_id = received.filter(|of| **of == number.to_be_bytes()).map(|_| packet_id);
    Ok(Pending { gateway: DeviceId(gateway.0), number, packet_id, taken: Timestamp(pack.taken_ts) })
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;
    use crate::store::memory::MemoryEngine;

    #[test]
    fn packs_are_found_in_the_order_of_their_numbers_and_damage_is_told() {
        let engine = MemoryEngine::new();
        let mut batch = Batch::new();
        let gateways: Vec<DeviceId> = (1..9).map(|n| DeviceId(Uuid::from_u128(n << 64))).collect();
        for gateway in &gateways {
            for number in [1 << 41, 7, 300] {
                let pack = Forward { packet_id: u32::try_from(number % 5).unwrap(), taken_ts: 9, ..Forward::default() };
                put(&mut batch, *gateway, number, &pack);
            }
        }
        delete(&mut batch, gateways[0], 300);
        batch.put(Family::State, &key::forward(gateways[1].into(), 5), b"\xFF");
        let seven = gateways[0];
        batch.put(Family::State, &key::kept(seven.into(), Part::Received, &[0, 2]), &7_u64.to_be_bytes());
        batch.put(Family::State, &key::kept(gateways[1].into(), Part::Received, &[0, 2]), &8_u64.to_be_bytes());
        engine.write(&batch).unwrap();
        let (mut found, mut damaged) = (Vec::new(), 0);
        pending(&*engine, |each| match each {
            Ok(pack) => found.push(pack),
            Err(_) => damaged += 1,
        })
        .unwrap();
        assert_eq!((found.len(), damaged), (23, 1));
        let of = |gateway| found.iter().filter(|pack| pack.gateway == gateway).map(|pack| pack.number).collect::<Vec<_>>();
        assert_eq!((of(gateways[0]), of(gateways[1])), (vec![7, 1 << 41], vec![7, 300, 1 << 41]));
        let pack = |gateway, packet_id| Pending { gateway, number: 7, packet_id, taken: Timestamp(9) };
        assert!(found.contains(&pack(seven, Some(2))) && found.contains(&pack(gateways[1], None)), "{found:?}");
        assert_eq!(read(&*engine, gateways[0], 7).unwrap().map(|pack| pack.packet_id), Some(2));
        assert_eq!(read(&*engine, gateways[0], 300).unwrap(), None);
        assert!(read(&*engine, gateways[1], 5).is_err());
    }
}
