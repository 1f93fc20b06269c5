//! What is under way: receipts of the client's publishes, packet identifiers of ours. Never sends anything.

use std::collections::VecDeque;

use crate::codec::mqtt::ReasonCode;
use crate::limits;
use crate::session::Receipt;

/// Publishes of the client whose acknowledgement is not queued, in arrival order. Callers hold
/// [`limits::RECEIPTS_PER_CONNECTION_MAX`].
#[derive(Debug, Default)]
pub(super) struct Receipts {
    /// The number of the receipt at the front.
    first: u64,
    pending: VecDeque<Pending>,
}

#[derive(Clone, Copy, Debug)]
struct Pending {
    packet_id: u16,
    settled: Option<ReasonCode>,
}

/// An empty queue keeps at most this capacity: a steady publisher does not allocate per message, an idle one holds 64 bytes.
const KEPT_CAPACITY_MAX: usize = 16;

impl Receipts {
    pub(super) fn len(&self) -> usize {
        self.pending.len()
    }

    /// Promises to acknowledge `packet_id`.
    pub(super) fn promise(&mut self, packet_id: u16) -> Receipt {
        let number = self.first + self.pending.len() as u64;
        self.pending.push_back(Pending { packet_id, settled: None });
        Receipt(number)
    }

    /// Notes how a receipt ended. One that is not pending is ignored: its promise was kept or dropped.
    pub(super) fn settle(&mut self, receipt: Receipt, code: ReasonCode) {
        let index = receipt.0.checked_sub(self.first).and_then(|index| usize::try_from(index).ok());
        if let Some(pending) = index.and_then(|index| self.pending.get_mut(index)) {
            pending.settled.get_or_insert(code);
        }
    }

    /// The oldest receipt, if it is settled: packet identifier and code to acknowledge now.
    pub(super) fn pop_settled(&mut self) -> Option<(u16, ReasonCode)> {
        let Pending { packet_id, settled: Some(code) } = *self.pending.front()? else { return None };
        self.pending.pop_front();
        self.first += 1;
        if self.pending.is_empty() && self.pending.capacity() > KEPT_CAPACITY_MAX {
            self.pending = VecDeque::new();
        }
        Some((packet_id, code))
    }
}

/// Our QoS 1 publishes that the client has not acknowledged.
#[derive(Debug, Default)]
pub(super) struct Downlinks {
    last_id: u16,
    in_flight: Vec<u16>,
}

impl Downlinks {
    /// A packet identifier that is not in use [MQTT-2.2.1-4] (5), [MQTT-2.3.1-4] (3.1.1); `None` while `receive_maximum` or
    /// our own bound is reached [MQTT-3.3.4-9].
    pub(super) fn take(&mut self, receive_maximum: u16) -> Option<u16> {
        if self.in_flight.len() >= limits::DOWNLINKS_IN_FLIGHT_MAX.min(usize::from(receive_maximum)) {
            return None;
        }
        // Ends: fewer identifiers are in use than there are.
        loop {
            self.last_id = self.last_id.checked_add(1).unwrap_or(1);
            if !self.in_flight.contains(&self.last_id) {
                self.in_flight.push(self.last_id);
                return Some(self.last_id);
            }
        }
    }

    pub(super) fn release(&mut self, packet_id: u16) {
        if let Some(index) = self.in_flight.iter().position(|&id| id == packet_id) {
            self.in_flight.swap_remove(index);
        }
        if self.in_flight.is_empty() {
            self.in_flight = Vec::new();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn receipts_leave_in_arrival_order_whatever_order_they_settle_in() {
        let mut receipts = Receipts::default();
        let promised: Vec<_> = (10..15).map(|id| receipts.promise(id)).collect();
        assert_eq!(promised[4], Receipt(4));
        receipts.settle(promised[1], ReasonCode::SUCCESS);
        receipts.settle(promised[2], ReasonCode::QUOTA_EXCEEDED);
        assert_eq!(receipts.pop_settled(), None);
        receipts.settle(promised[0], ReasonCode::SUCCESS);
        receipts.settle(promised[0], ReasonCode::QUOTA_EXCEEDED);
        assert_eq!(receipts.pop_settled(), Some((10, ReasonCode::SUCCESS)), "the first settlement counts");
        assert_eq!(receipts.pop_settled(), Some((11, ReasonCode::SUCCESS)));
        assert_eq!(receipts.pop_settled(), Some((12, ReasonCode::QUOTA_EXCEEDED)));
        assert_eq!(receipts.pop_settled(), None);
        receipts.settle(promised[0], ReasonCode::SUCCESS);
        receipts.settle(Receipt(99), ReasonCode::SUCCESS);
        assert_eq!(receipts.len(), 2, "unknown receipts change nothing");
    }

    #[test]
    fn packet_identifiers_skip_zero_and_those_in_use() {
        let mut downlinks = Downlinks { last_id: u16::MAX - 1, in_flight: vec![1] };
        assert_eq!(downlinks.take(u16::MAX), Some(u16::MAX));
        assert_eq!(downlinks.take(u16::MAX), Some(2));
        assert_eq!(downlinks.take(3), None, "the client's receive maximum holds");
        downlinks.release(1);
        downlinks.release(1);
        assert_eq!(downlinks.take(3), Some(3));
    }

    #[test]
    fn nothing_is_held_when_nothing_is_under_way() {
        let mut receipts = Receipts::default();
        for id in 1..=64 {
            receipts.promise(id);
        }
        for number in 0..64 {
            receipts.settle(Receipt(number), ReasonCode::SUCCESS);
            assert!(receipts.pop_settled().is_some());
        }
        assert_eq!(receipts.pending.capacity(), 0);
        let mut downlinks = Downlinks::default();
        let ids: Vec<_> = (0..16).map_while(|_| downlinks.take(u16::MAX)).collect();
        assert_eq!(ids.len(), limits::DOWNLINKS_IN_FLIGHT_MAX);
        ids.into_iter().for_each(|id| downlinks.release(id));
        assert_eq!(downlinks.in_flight.capacity(), 0);
    }
}
