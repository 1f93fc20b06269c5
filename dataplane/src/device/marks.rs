//! Which parts of gateways' QoS 2 packs a device has taken (DESIGN 8.3, 8 and 10). A mark goes into the batch of what its part
//! wrote, so a part that comes again, after a crash or for want of an answer, is known. Never asks who may speak for the device.
//!
//! A mark is of one gateway and one child, not of two partitions: the child's state has to be loaded anyway, so parts for other
//! children need not wait behind it, and its numbers need not come in order. It lies under the child's partition and moves with it.

use schemas::id::DeviceId;

use super::{DeviceState, Writing};
use crate::limits;
use crate::store::{
    Family,
    key::{self, Part},
};

/// One gateway's parts.
#[derive(Clone, Debug)]
struct Mark {
    gateway: DeviceId,
    /// Every pack below is finished: nothing of it is to be stored any more.
    floor: u64,
    /// Those taken of the packs from there on, in the order they came.
    numbers: Vec<u64>,
}

/// The marks of one device.
#[derive(Clone, Debug, Default)]
pub(super) struct Marks(Vec<Mark>);

const NUMBER_BYTES: usize = 8;

impl Marks {
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn bytes(&self) -> usize {
        self.0.iter().map(|mark| size_of::<Mark>() + mark.numbers.capacity() * NUMBER_BYTES).sum()
    }

    /// Takes in a record: the floor, then the numbers. `None`: it is no such record.
    pub(super) fn take(&mut self, gateway: DeviceId, record: &[u8]) -> Option<()> {
        let mut numbers = record.chunks(NUMBER_BYTES).map(|bytes| Some(u64::from_be_bytes(bytes.try_into().ok()?)));
        let floor = numbers.next()??;
        let numbers = numbers.collect::<Option<Vec<u64>>>()?;
        self.0.push(Mark { gateway, floor, numbers });
        Some(())
    }

    fn has(&self, gateway: DeviceId, number: u64) -> bool {
        let mark = self.0.iter().find(|mark| mark.gateway == gateway);
        mark.is_some_and(|mark| number < mark.floor || mark.numbers.contains(&number))
    }

    /// Marks a part; every pack of the gateway below `floor` is finished. Gives back the mark as it is now, and the gateway whose
    /// mark made room for it.
    fn keep(&mut self, gateway: DeviceId, number: u64, floor: u64) -> (Vec<u8>, Option<DeviceId>) {
        let mut forgotten = None;
        let place = self.0.iter().position(|mark| mark.gateway == gateway).unwrap_or_else(|| {
            if self.0.len() >= limits::MARKS_PER_DEVICE_MAX {
                forgotten = self.forget_oldest();
            }
            self.0.push(Mark { gateway, floor, numbers: Vec::new() });
            self.0.len() - 1
        });
        let mark = &mut self.0[place];
        mark.floor = mark.floor.max(floor);
        mark.numbers.push(number);
        if mark.numbers.len() > limits::FORWARDS_PER_GATEWAY_MAX {
            // The gateway's own bound keeps it from coming to this: the oldest is finished then.
            mark.floor = mark.numbers.iter().min().map_or(mark.floor, |oldest| mark.floor.max(oldest + 1));
        }
        mark.numbers.retain(|number| *number >= mark.floor);
        (mark.record(), forgotten)
    }

    /// Numbers begin with the epoch of the start that gave them, so they compare between gateways as their times do.
    fn forget_oldest(&mut self) -> Option<DeviceId> {
        let oldest = self.0.iter().enumerate().min_by_key(|(_, mark)| mark.newest()).map(|(place, _)| place)?;
        Some(self.0.swap_remove(oldest).gateway)
    }
}

impl Mark {
    fn newest(&self) -> u64 {
        self.numbers.iter().copied().max().unwrap_or(self.floor)
    }

    fn record(&self) -> Vec<u8> {
        std::iter::once(&self.floor).chain(&self.numbers).flat_map(|number| number.to_be_bytes()).collect()
    }
}

impl DeviceState {
    /// Whether this part of a gateway's pack was taken before.
    #[must_use]
    pub fn is_marked(&self, gateway: DeviceId, number: u64) -> bool {
        self.kept().is_some_and(|kept| kept.marks.has(gateway, number))
    }

    /// A part of a gateway's pack is in the batch; so is its mark.
    pub fn keep_mark(&mut self, w: &mut Writing<'_>, gateway: DeviceId, number: u64, floor: u64) {
        let (record, forgotten) = self.kept_mut().marks.keep(gateway, number, floor);
        let key = |gateway: DeviceId| key::kept(self.entity(), Part::Mark, gateway.0.as_bytes());
        if let Some(forgotten) = forgotten {
            w.batch.delete(Family::State, &key(forgotten));
        }
        w.batch.put(Family::State, &key(gateway), &record);
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    fn gateway(n: u128) -> DeviceId {
        DeviceId(Uuid::from_u128(n))
    }

    #[test]
    fn a_number_is_known_in_whatever_order_it_comes_until_all_below_the_floor_are() {
        let mut marks = Marks::default();
        for number in [12, 10, 15] {
            marks.keep(gateway(1), number, 10);
        }
        let known = |marks: &Marks, number| marks.has(gateway(1), number);
        assert!(known(&marks, 10) && known(&marks, 12) && !known(&marks, 11) && known(&marks, 9), "9 is finished");
        assert!(!marks.has(gateway(2), 12), "another gateway's numbers are its own");
        let (record, _) = marks.keep(gateway(1), 16, 15);
        assert!(known(&marks, 11) && known(&marks, 15) && !known(&marks, 17));
        assert_eq!(record.len(), 3 * NUMBER_BYTES, "what is below the floor takes no room");
        let mut read = Marks::default();
        read.take(gateway(1), &record).unwrap();
        assert!(known(&read, 14) && known(&read, 15) && known(&read, 16) && !known(&read, 17));
        for damaged in [&record[..3], &record[..9], &[]] {
            assert!(Marks::default().take(gateway(1), damaged).is_none());
        }
    }

    #[test]
    fn marks_are_bounded_and_the_oldest_gateway_makes_room() {
        let mut marks = Marks::default();
        for n in 0..limits::MARKS_PER_DEVICE_MAX as u128 {
            assert_eq!(marks.keep(gateway(n), 100 + u64::try_from(n).unwrap(), 0).1, None);
        }
        marks.keep(gateway(0), 900, 900);
        assert_eq!(marks.keep(gateway(99), 901, 901).1, Some(gateway(1)), "gateway 0 was heard of since");
        for number in 0..1_000 {
            marks.keep(gateway(5), 1_000 + number, 0);
        }
        assert!(marks.has(gateway(5), 1_999) && marks.has(gateway(5), 1_000));
        assert!(marks.bytes() < limits::MARKS_PER_DEVICE_MAX * 1_200, "{}", marks.bytes());
    }
}
