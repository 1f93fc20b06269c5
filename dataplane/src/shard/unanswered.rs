//! Devices' calls of the server that wait for an answer: of a chain, perhaps after it has called the outside, or the one that there is
//! none. Memory only: a device that hears nothing calls again.

use std::collections::VecDeque;

use schemas::id::{DeviceId, TenantId};

use super::ledger::OwnedDownlink;
use super::letter::{Address, Answer};
use super::shares::Shares;
use super::turn::Shard;
use crate::clock::Instant;
use crate::limits;
use crate::session::Outcome;

#[derive(Debug)]
struct Call {
    deadline: Instant,
    tenant: TenantId,
    device: DeviceId,
    /// Who waits, under which number.
    to: Address,
    id: u32,
}

const _: () = assert!(size_of::<Call>() <= limits::CLIENT_CALL_BYTES, "what the sum counts");

/// In the order in which their time ends.
#[derive(Debug, Default)]
pub(super) struct ClientCalls {
    waiting: VecDeque<Call>,
    shares: Shares<{ limits::CLIENT_CALLS_PER_SHARD_MAX }, { usize::MAX }>,
}

impl ClientCalls {
    /// The call waits; false: its tenant's devices have too many.
    pub(super) fn insert(&mut self, now: Instant, (tenant, device): (TenantId, DeviceId), (to, id): (Address, u32)) -> bool {
        let has_room = self.shares.has_room(tenant, 0);
        if has_room {
            self.shares.add(tenant, 0);
            self.waiting.push_back(Call { deadline: now.after_ms(limits::CLIENT_CALL_MS), tenant, device, to, id });
        }
        has_room
    }

    /// Who waits for the answer to this one.
    fn answered(&mut self, device: DeviceId, id: u32) -> Option<Address> {
        let place = self.waiting.iter().position(|call| (call.device, call.id) == (device, id))?;
        self.remove(place).map(|call| call.to)
    }

    /// One that has waited long enough.
    fn overdue(&mut self, now: Instant) -> Option<(Address, u32)> {
        self.waiting.front().filter(|call| call.deadline <= now)?;
        self.remove(0).map(|call| (call.to, call.id))
    }

    fn remove(&mut self, place: usize) -> Option<Call> {
        let call = self.waiting.remove(place)?;
        self.shares.remove(call.tenant, 0);
        Some(call)
    }
}

impl Shard {
    /// A node has answered a device's call after it called outside itself.
    pub(super) fn answer_client_call(&mut self, device: DeviceId, request: u32, json: String) {
        let Some(to) = self.client_calls.answered(device, request) else { return };
        let downlink = Some(OwnedDownlink::RpcResponse(request, json.into_bytes()));
        self.answer_later(to, Answer { downlink, ..Outcome::Stored.into() });
    }

    /// Calls of devices that nobody answered.
    pub(super) fn expire_client_calls(&mut self) {
        while let Some((to, id)) = self.client_calls.overdue(self.now.instant) {
            let json = br#"{"error":"timeout"}"#.to_vec();
            self.answer_later(to, Answer { downlink: Some(OwnedDownlink::RpcResponse(id, json)), ..Outcome::TimedOut.into() });
        }
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;
    use crate::shard::letter::Of;
    use crate::shard::slab::Key;

    #[test]
    fn devices_of_one_tenant_leave_places_for_those_of_others() {
        let [mine, other] = [1, 2].map(|number| (TenantId(Uuid::from_u128(number)), DeviceId(Uuid::from_u128(number))));
        let to = Address { shard: 0, connection: Key::of_token(0).0, receipt: None, of: Of::Nothing };
        let (mut calls, now) = (ClientCalls::default(), Instant::default());
        let most = u32::try_from(limits::CLIENT_CALLS_PER_SHARD_MAX / 2).unwrap();
        assert!((0..most).all(|id| calls.insert(now, mine, (to, id))));
        assert!(!calls.insert(now, mine, (to, most)) && calls.insert(now.after_ms(1), other, (to, 7)));
        assert_eq!((calls.answered(other.1, 0), calls.answered(mine.1, 5)), (None, Some(to)));
        assert!(calls.insert(now.after_ms(1), mine, (to, most)));
        let end = now.after_ms(limits::CLIENT_CALL_MS);
        let over: Vec<u32> = std::iter::from_fn(|| calls.overdue(end)).map(|(_, id)| id).collect();
        assert_eq!(over, (0..most).filter(|id| *id != 5).collect::<Vec<_>>());
        assert_eq!(calls.waiting.len(), 2);
        assert!((0..most - 1).all(|id| calls.insert(end, mine, (to, id))) && !calls.insert(end, mine, (to, most)));
    }
}
