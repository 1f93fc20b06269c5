//! What is under way: receipts of what the client sent, packet identifiers of our own publishes. Never sends anything.

use std::collections::VecDeque;

use crate::limits;
use crate::session::{Outcome, Receipt};

/// Which packet keeps a promise.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Puback,
    Pubrec,
    Pubcomp,
}

/// One promise.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Pending {
    pub(super) packet_id: u16,
    pub(super) kind: Kind,
    /// A repetition of a packet whose promise is still open: it shares that one's outcome.
    echo: bool,
    settled: Option<Outcome>,
}

/// Packets of the client whose acknowledgement is not queued, in arrival order [MQTT-4.6.0-2], [MQTT-4.6.0-3] (DESIGN 8.1, 4).
/// Callers hold the bounds.
#[derive(Debug, Default)]
pub(super) struct Receipts {
    /// The number of the receipt at the front.
    first: u64,
    pending: VecDeque<Pending>,
    /// Those that a PUBACK keeps.
    at_least_once: u16,
}

/// An empty queue keeps at most this capacity: a steady publisher does not allocate per message, an idle one holds 192 bytes.
const KEPT_CAPACITY_MAX: usize = 16;

impl Receipts {
    pub(super) fn len(&self) -> usize {
        self.pending.len()
    }

    /// QoS 1 messages among them.
    pub(super) fn at_least_once(&self) -> usize {
        usize::from(self.at_least_once)
    }

    /// Promises to acknowledge `packet_id`.
    pub(super) fn promise(&mut self, packet_id: u16, kind: Kind) -> Receipt {
        self.push(Pending { packet_id, kind, echo: false, settled: None })
    }

    /// Acknowledges what came again in the way of the first one, which is still open.
    pub(super) fn repeat(&mut self, packet_id: u16, kind: Kind) {
        self.push(Pending { packet_id, kind, echo: true, settled: None });
    }

    /// Acknowledges when its turn comes: nothing has to be done before.
    pub(super) fn grant(&mut self, packet_id: u16, kind: Kind, outcome: Outcome) {
        self.push(Pending { packet_id, kind, echo: true, settled: Some(outcome) });
    }

    fn push(&mut self, pending: Pending) -> Receipt {
        let number = self.first + self.pending.len() as u64;
        self.at_least_once += u16::from(pending.kind == Kind::Puback);
        self.pending.push_back(pending);
        Receipt(number)
    }

    /// Which packet will keep a promise; `None` if it was kept or dropped.
    pub(super) fn kind(&self, receipt: Receipt) -> Option<Kind> {
        self.pending.get(self.index(receipt)?).map(|pending| pending.kind)
    }

    /// Notes how a receipt ended. One that is not pending is ignored: its promise was kept or dropped. So is the number of a
    /// repetition, which is nobody's receipt: only the first one's outcome is its.
    pub(super) fn settle(&mut self, receipt: Receipt, outcome: Outcome) {
        let pending = self.index(receipt).and_then(|index| self.pending.get_mut(index));
        if let Some(pending) = pending.filter(|pending| pending.is_first()) {
            pending.settled.get_or_insert(outcome);
        }
    }

    fn index(&self, receipt: Receipt) -> Option<usize> {
        receipt.0.checked_sub(self.first).and_then(|index| usize::try_from(index).ok())
    }

    /// The identifier to acknowledge now if `receipt` is the oldest, for a QoS 1 message, and ends with `outcome` as it should.
    pub(super) fn pop_stored(&mut self, receipt: Receipt, outcome: Outcome) -> Option<u16> {
        let front = self.pending.front()?;
        if receipt.0 != self.first || front.kind != Kind::Puback || front.settled.is_some() || outcome != Outcome::Stored {
            return None;
        }
        let packet_id = front.packet_id;
        self.pop();
        Some(packet_id)
    }

    /// The oldest receipt, if it is settled: what to acknowledge now, and how.
    pub(super) fn pop_settled(&mut self) -> Option<(Pending, Outcome)> {
        let pending = *self.pending.front()?;
        let outcome = pending.settled?;
        self.pop();
        if pending.kind != Kind::Puback && !pending.echo {
            self.settle_echoes(pending, outcome);
        }
        Some((pending, outcome))
    }

    /// Whether the oldest is settled.
    pub(super) fn is_due(&self) -> bool {
        self.pending.front().is_some_and(|front| front.settled.is_some())
    }

    fn pop(&mut self) {
        let Some(gone) = self.pending.pop_front() else { return };
        self.first += 1;
        self.at_least_once -= u16::from(gone.kind == Kind::Puback);
        if self.pending.is_empty() && self.pending.capacity() > KEPT_CAPACITY_MAX {
            self.pending = VecDeque::new();
        }
    }

    fn settle_echoes(&mut self, of: Pending, outcome: Outcome) {
        let same = |pending: &&mut Pending| (pending.packet_id, pending.kind) == (of.packet_id, of.kind);
        // Up to the next promise with this identifier, which is another message.
        for echo in self.pending.iter_mut().filter(same).take_while(|pending| pending.echo) {
            echo.settled.get_or_insert(outcome);
        }
    }
}

impl Pending {
    /// Whether this one began or ended a flow, and does not only repeat.
    pub(super) fn is_first(&self) -> bool {
        !self.echo
    }
}

/// Our QoS 1 publishes that the client has not acknowledged.
#[derive(Debug, Default)]
pub(super) struct Downlinks {
    last_id: u16,
    in_flight: Vec<Sent>,
}

#[derive(Clone, Copy, Debug)]
struct Sent {
    packet_id: u16,
    /// 0: nobody asks.
    number: u64,
}

/// Identifiers below are the caller's to give ([`crate::session::Sending::packet_id`]), so the two seldom meet.
const OWN_ID_FIRST: u16 = 0x8000;

impl Downlinks {
    /// A packet identifier that is not in use [MQTT-2.2.1-4] (5), [MQTT-2.3.1-4] (3.1.1): `wanted`, or one of our own. `None`
    /// while `receive_maximum` or our own bound is reached [MQTT-3.3.4-9], or while `wanted` is in use.
    pub(super) fn take(&mut self, receive_maximum: u16, wanted: Option<u16>, number: u64) -> Option<u16> {
        if self.in_flight.len() >= limits::DOWNLINKS_IN_FLIGHT_MAX.min(usize::from(receive_maximum)) {
            return None;
        }
        let packet_id = match wanted {
            Some(wanted) if wanted == 0 || self.uses(wanted) => return None,
            Some(wanted) => wanted,
            None => self.own_id(),
        };
        self.in_flight.push(Sent { packet_id, number });
        Some(packet_id)
    }

    fn own_id(&mut self) -> u16 {
        // Ends: fewer identifiers are in use than there are.
        loop {
            self.last_id = self.last_id.checked_add(1).unwrap_or(OWN_ID_FIRST).max(OWN_ID_FIRST);
            if !self.uses(self.last_id) {
                return self.last_id;
            }
        }
    }

    fn uses(&self, packet_id: u16) -> bool {
        self.in_flight.iter().any(|sent| sent.packet_id == packet_id)
    }

    /// The client has it: its number, if somebody asks.
    pub(super) fn release(&mut self, packet_id: u16) -> Option<u64> {
        let index = self.in_flight.iter().position(|sent| sent.packet_id == packet_id)?;
        let Sent { number, .. } = self.in_flight.swap_remove(index);
        if self.in_flight.is_empty() {
            self.in_flight = Vec::new();
        }
        (number != 0).then_some(number)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What leaves now: packet identifiers and outcomes.
    fn popped(receipts: &mut Receipts) -> Vec<(u16, Outcome)> {
        std::iter::from_fn(|| receipts.pop_settled()).map(|(pending, outcome)| (pending.packet_id, outcome)).collect()
    }

    #[test]
    fn receipts_leave_in_arrival_order_whatever_order_they_settle_in() {
        let mut receipts = Receipts::default();
        let promised: Vec<_> = (10..15).map(|id| receipts.promise(id, Kind::Puback)).collect();
        assert_eq!(promised[4], Receipt(4));
        receipts.settle(promised[1], Outcome::Stored);
        receipts.settle(promised[2], Outcome::QuotaExceeded);
        assert_eq!(popped(&mut receipts), []);
        receipts.settle(promised[0], Outcome::Stored);
        receipts.settle(promised[0], Outcome::QuotaExceeded);
        let expected = [(10, Outcome::Stored), (11, Outcome::Stored), (12, Outcome::QuotaExceeded)];
        assert_eq!(popped(&mut receipts), expected, "the first settlement counts");
        receipts.settle(promised[0], Outcome::Stored);
        receipts.settle(Receipt(99), Outcome::Stored);
        assert_eq!((receipts.len(), receipts.at_least_once()), (2, 2), "unknown receipts change nothing");
    }

    #[test]
    fn repetitions_share_the_outcome_of_the_first() {
        let mut receipts = Receipts::default();
        let first = receipts.promise(7, Kind::Pubrec);
        receipts.repeat(7, Kind::Pubrec);
        receipts.grant(9, Kind::Pubcomp, Outcome::NotFound);
        receipts.repeat(7, Kind::Pubrec);
        let next = receipts.promise(7, Kind::Pubrec);
        receipts.repeat(7, Kind::Pubrec);
        receipts.settle(Receipt(first.0 + 1), Outcome::Stored);
        assert_eq!(popped(&mut receipts), [], "a repetition has no receipt of its own");
        receipts.settle(first, Outcome::QuotaExceeded);
        let quota = (7, Outcome::QuotaExceeded);
        assert_eq!(popped(&mut receipts), [quota, quota, (9, Outcome::NotFound), quota]);
        receipts.settle(next, Outcome::Stored);
        assert_eq!(popped(&mut receipts), [(7, Outcome::Stored); 2]);
    }

    #[test]
    fn packet_identifiers_skip_zero_and_those_in_use() {
        // [MQTT-4.3.2-1].
        let mut downlinks = Downlinks { last_id: u16::MAX - 1, in_flight: Vec::new() };
        assert_eq!(downlinks.take(u16::MAX, Some(OWN_ID_FIRST), 5), Some(OWN_ID_FIRST));
        assert_eq!(downlinks.take(u16::MAX, Some(OWN_ID_FIRST), 6), None, "[MQTT-2.2.1-4]");
        assert_eq!(downlinks.take(u16::MAX, Some(0), 6), None);
        assert_eq!(downlinks.take(u16::MAX, None, 0), Some(u16::MAX));
        assert_eq!(downlinks.take(u16::MAX, None, 7), Some(OWN_ID_FIRST + 1));
        assert_eq!(downlinks.take(3, None, 0), None, "the client's receive maximum holds");
        assert_eq!(downlinks.release(OWN_ID_FIRST), Some(5));
        assert_eq!(downlinks.release(OWN_ID_FIRST), None);
        assert_eq!(downlinks.release(u16::MAX), None, "nobody asks");
        assert_eq!(downlinks.take(3, Some(1), 0), Some(1));
    }

    #[test]
    fn nothing_is_held_when_nothing_is_under_way() {
        let mut receipts = Receipts::default();
        for id in 1..=64 {
            receipts.promise(id, Kind::Puback);
        }
        for number in 0..64 {
            receipts.settle(Receipt(number), Outcome::Stored);
            assert!(receipts.pop_settled().is_some());
        }
        assert_eq!(receipts.pending.capacity(), 0);
        assert!(size_of::<Pending>() * KEPT_CAPACITY_MAX <= 192);
        let mut downlinks = Downlinks::default();
        let ids: Vec<_> = (0..16).map_while(|_| downlinks.take(u16::MAX, None, 0)).collect();
        assert_eq!(ids.len(), limits::DOWNLINKS_IN_FLIGHT_MAX);
        for id in ids {
            downlinks.release(id);
        }
        assert_eq!(downlinks.in_flight.capacity(), 0);
    }
}
