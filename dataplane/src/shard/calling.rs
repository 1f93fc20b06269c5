//! The server's calls to devices (ThingsBoard's RPC). A call waits in memory until it has an outcome; a persistent one is a row too,
//! whose status goes QUEUED, SENT, DELIVERED and then SUCCESSFUL, TIMEOUT, EXPIRED or FAILED, each step in the batch of what
//! caused it. By which way a device is reached is `delivering`'s business.

use std::collections::{BTreeMap, BTreeSet};

use schemas::chain::MessageType;
use schemas::generated::kept::{self, downlink::Kind};
use schemas::generated::query::CallStatus;
use schemas::id::{DeviceId, TenantId};
use uuid::Uuid;

use super::alarming::fresh_id;
use super::delivering::keep;
use super::dues::{Asked, Outcome};
use super::ledger::Owed;
use super::needing::Waiter;
use super::resuming::error;
use super::saving::writing;
use super::shares::Shares;
use super::turn::Shard;
use crate::clock::Timestamp;
use crate::device::outbox::OwedCall;
use crate::device::waiting::Due;
use crate::limits;
use crate::message::Body;
use crate::owed::Departed;
use crate::payload;
use crate::query::{Call, Called, QueryError, Reply};
use crate::session::Delivery;

/// When the next persistent call leaves for a device (ThingsBoard's submit strategies).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Submit {
    #[default]
    Burst,
    /// When the device has acknowledged the one before.
    OnAck,
    /// When the device has answered the one before.
    OnResponse,
}

/// The open calls of one shard.
#[derive(Debug, Default)]
pub(super) struct Calls {
    submit: Submit,
    /// By device, in the order in which they came.
    open: BTreeMap<(DeviceId, u32), Open>,
    deadlines: BTreeSet<(Timestamp, DeviceId, u32)>,
    shares: Shares<{ limits::CALLS_PER_SHARD_MAX }, { limits::CALLS_BYTES_PER_SHARD_MAX }>,
    last_id: u32,
}

const _: () = assert!(
    (size_of::<((DeviceId, u32), Open)>() + size_of::<(Timestamp, DeviceId, u32)>()) * 2 <= limits::CALL_BYTES,
    "trees that are half empty are counted"
);

#[derive(Debug)]
struct Open {
    tenant: TenantId,
    whose: Whose,
    method: String,
    params: String,
    one_way: bool,
    progress: Progress,
    deadline: Timestamp,
}

#[derive(Debug)]
enum Whose {
    /// Somebody waits for the outcome.
    Asked(Asker),
    Stored(Uuid),
}

/// Who makes a call.
#[derive(Debug)]
enum Asker {
    /// Somebody by the API.
    Query(Reply<Called>),
    /// A message that waits at a node.
    Node(Box<Due>),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Progress {
    Waiting,
    /// It is sent with the ticket of what made it, if there is room for it then.
    Offered,
    /// It lies among the downlinks that the device's session keeps.
    Kept,
    Sent,
    Delivered,
}

impl Open {
    /// Persistent calls behind this one wait for it.
    fn holds_back_others(&self, submit: Submit) -> bool {
        let under_way = match self.progress {
            Progress::Waiting => false,
            Progress::Offered | Progress::Kept | Progress::Sent => submit != Submit::Burst,
            Progress::Delivered => submit == Submit::OnResponse,
        };
        under_way && self.is_persistent()
    }

    fn is_persistent(&self) -> bool {
        matches!(self.whose, Whose::Stored(_))
    }

    fn bytes(&self) -> usize {
        self.method.len() + self.params.len()
    }
}

impl Calls {
    pub(super) fn new(submit: Submit) -> Self {
        Self { submit, ..Self::default() }
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.open.len()
    }

    fn of(&self, device: DeviceId) -> impl Iterator<Item = (u32, &Open)> {
        self.open.range((device, 0)..=(device, u32::MAX)).map(|((_, id), call)| (*id, call))
    }

    /// What may leave now for a device, in order: all that wait, or of the persistent ones the first, and only when none is under
    /// way.
    fn due(&self, device: DeviceId) -> Vec<u32> {
        let mut held = self.of(device).any(|(_, call)| call.holds_back_others(self.submit));
        let mut due = Vec::new();
        for (id, call) in self.of(device).filter(|(_, call)| call.progress == Progress::Waiting) {
            let in_turn = self.submit != Submit::Burst && call.is_persistent();
            if !(in_turn && held) {
                due.push(id);
            }
            held |= in_turn;
        }
        due
    }

    /// A number that no open call has; they go on growing across starts.
    fn next_id(&mut self, now: Timestamp) -> u32 {
        if self.last_id == 0 {
            self.last_id = u32::try_from(now.0 / 1_000 % i64::from(u32::MAX / 2)).unwrap_or(0);
        }
        self.last_id = self.last_id.checked_add(1).unwrap_or(1);
        self.last_id
    }

    /// May this tenant have another one of this device that says so much?
    fn has_room(&self, tenant: TenantId, device: DeviceId, bytes: usize) -> bool {
        self.shares.has_room(tenant, bytes) && self.of(device).count() < limits::OPEN_CALLS_PER_DEVICE_MAX
    }

    /// What a load finds has its place, however much it is.
    fn insert(&mut self, device: DeviceId, id: u32, call: Open) {
        self.remove(device, id);
        self.shares.add(call.tenant, call.bytes());
        self.deadlines.insert((call.deadline, device, id));
        self.open.insert((device, id), call);
    }

    fn get_mut(&mut self, device: DeviceId, id: u32) -> Option<&mut Open> {
        self.open.get_mut(&(device, id))
    }

    fn remove(&mut self, device: DeviceId, id: u32) -> Option<Open> {
        let call = self.open.remove(&(device, id))?;
        self.shares.remove(call.tenant, call.bytes());
        self.deadlines.remove(&(call.deadline, device, id));
        Some(call)
    }

    fn set_deadline(&mut self, device: DeviceId, id: u32, at: Timestamp) {
        let Some(call) = self.open.get_mut(&(device, id)) else { return };
        self.deadlines.remove(&(call.deadline, device, id));
        call.deadline = at;
        self.deadlines.insert((at, device, id));
    }

    fn find_stored(&self, device: DeviceId, stored: Uuid) -> Option<u32> {
        let is = |call: &Open| matches!(call.whose, Whose::Stored(id) if id == stored);
        self.of(device).find(|(_, call)| is(call)).map(|(id, _)| id)
    }

    /// The device is gone, and whoever waited for its answer.
    pub(super) fn forget(&mut self, device: DeviceId) {
        let gone: Vec<u32> = self.of(device).map(|(id, _)| id).collect();
        for id in gone {
            self.remove(device, id);
        }
    }

    /// Nobody waits any more: the store generation ended.
    pub(super) fn clear(&mut self) {
        *self = Self { submit: self.submit, last_id: self.last_id, ..Self::default() };
    }
}

impl Shard {
    /// Takes a call whose device's state is resident.
    pub(super) fn call(&mut self, device: DeviceId, call: Call, reply: Reply<Called>) {
        let _told = self.call_for(device, call, Asker::Query(reply));
    }

    /// Makes the calls of messages that wait for the answers.
    pub(super) fn call_devices(&mut self) {
        for Asked { due, expires, mut departed } in self.dues.take_asked() {
            let call = call_of(&departed, expires, self.now.timestamp);
            let id = call.id;
            let stored = self.call_for(DeviceId(due.originator.0), call, Asker::Node(Box::new(due)));
            // That it is stored and that its message does not wait any more is one batch, so that a crash undoes both (DESIGN 8.1, 2).
            if stored && self.over(due, due.number) {
                departed.data = serde_json::json!({ "rpcId": id }).to_string();
                self.behind(due.originator, &OwedCall { tenant: due.tenant, taken: self.now.timestamp, departed }, None);
            }
            self.bell.ring();
        }
    }

    fn tell(&mut self, asker: Asker, called: Result<Called, QueryError>) {
        let due = match asker {
            Asker::Query(reply) => return self.reply(reply, called),
            Asker::Node(due) => *due,
        };
        let data = match called {
            Ok(Called::Response(data)) => Ok(data),
            Ok(Called::Delivered | Called::Queued) => Ok("{}".to_owned()),
            Ok(Called::NoConnection) => Err("NO_ACTIVE_CONNECTION"),
            Ok(Called::TimedOut) => Err("TIMEOUT"),
            Err(_) => Err("INTERNAL"),
        };
        let outcome = match data {
            Ok(data) => Outcome { data, failure: None },
            Err(name) => Outcome { data: error(name), failure: Some(name.to_owned()) },
        };
        self.dues.answered(due, outcome);
        self.bell.ring();
    }

    /// Makes a call, or tells why there is none. True: it is stored, which a node's message is not told.
    fn call_for(&mut self, device: DeviceId, call: Call, asker: Asker) -> bool {
        let tenant = self.tenant_of(device);
        if let Err(refused) = self.may_call(tenant, device, &call) {
            self.tell(asker, Err(refused));
            return false;
        }
        let id = self.calls.next_id(self.now.timestamp);
        let Call { id: stored, method, params, one_way, persistent, expires, retries, additional_info } = call;
        // A call that rules make is nothing new to them.
        if matches!(asker, Asker::Query(_)) {
            self.raise_call(device, MessageType::RpcCallFromServerToDevice, &method, &params);
        }
        let whose = if persistent {
            let record = kept::Call {
                created_ts: self.now.timestamp.0,
                expiration_ts: expires.0,
                status: CallStatus::Queued.into(),
                method: method.clone(),
                params: params.clone(),
                one_way,
                retries,
                retries_left: retries,
                request_id: id,
                response: String::new(),
                additional_info,
            };
            if let Err(full) = self.store_call(device, stored, record) {
                self.tell(asker, Err(full));
                return false;
            }
            if let Asker::Query(reply) = asker {
                self.reply(reply, Ok(Called::Queued));
            }
            self.raise_call(device, MessageType::RpcQueued, &method, &params);
            // Another one with the same id takes its place.
            if let Some(before) = self.calls.find_stored(device, stored) {
                self.calls.remove(device, before);
            }
            Whose::Stored(stored)
        } else {
            Whose::Asked(asker)
        };
        let progress = Progress::Waiting;
        self.calls.insert(device, id, Open { tenant, whose, method, params, one_way, progress, deadline: expires });
        self.offer_calls(device);
        persistent
    }

    fn may_call(&self, tenant: TenantId, device: DeviceId, call: &Call) -> Result<(), QueryError> {
        if self.table.device(device).is_none() {
            return Err(QueryError::Invalid("the device does not exist".to_owned()));
        }
        let says = call.method.len() + call.params.len() + call.additional_info.len();
        if says > limits::PAYLOAD_BYTES_MAX {
            return Err(QueryError::Invalid(format!("a call of {says} bytes, at most {}", limits::PAYLOAD_BYTES_MAX)));
        }
        if !self.calls.has_room(tenant, device, says) {
            return Err(QueryError::TooLarge("too many calls are open".to_owned()));
        }
        Ok(())
    }

    fn store_call(&mut self, device: DeviceId, id: Uuid, record: kept::Call) -> Result<(), QueryError> {
        let now = self.now;
        let state = self
            .residents
            .get_mut(device.into(), now.instant)
            .ok_or_else(|| QueryError::Unavailable("the state is not loaded".to_owned()))?;
        state.keep_call(&mut writing(&mut self.ledger, now), id, record).map_err(|full| QueryError::TooLarge(full.to_string()))
    }

    /// A state was loaded: its open calls wait again. One that was sent may not have arrived, so it is sent again.
    pub(super) fn recall(&mut self, device: DeviceId) {
        let Some(state) = self.residents.get_mut(device.into(), self.now.instant) else { return };
        let open = state.open_calls();
        let tenant = self.tenant_of(device);
        for (stored, call) in open {
            if self.calls.find_stored(device, stored).is_some() {
                continue;
            }
            let (progress, deadline) = if call.status == i32::from(CallStatus::Delivered) {
                (Progress::Delivered, self.now.timestamp.0.saturating_add(limits::CALL_ANSWER_MS).min(call.expiration_ts))
            } else {
                (Progress::Waiting, call.expiration_ts)
            };
            let open = Open {
                tenant,
                whose: Whose::Stored(stored),
                method: call.method,
                params: call.params,
                one_way: call.one_way,
                progress,
                deadline: Timestamp(deadline),
            };
            self.calls.insert(device, call.request_id, open);
        }
        self.offer_calls(device);
    }

    /// Sends what waits for the device, in order, as far as there is a way to it. What its session keeps goes there.
    pub(super) fn offer_calls(&mut self, device: DeviceId) {
        self.offer(device, usize::MAX);
    }

    /// The device has acknowledged something, so there is room for one more.
    pub(super) fn offer_next_call(&mut self, device: DeviceId) {
        self.offer(device, 1);
    }

    /// A call has gone on: another may have waited for that.
    fn offer_calls_in_turn(&mut self, device: DeviceId) {
        if self.calls.submit != Submit::Burst {
            self.offer_calls(device);
        }
    }

    fn offer(&mut self, device: DeviceId, count_max: usize) {
        for id in self.calls.due(device).into_iter().take(count_max) {
            if self.keep_for_call(device, id) || !self.reaches(device) {
                continue;
            }
            if let Some(call) = self.calls.get_mut(device, id) {
                call.progress = Progress::Offered;
                self.ledger.owe(Owed::Call { device, id });
            }
        }
    }

    /// Puts a call among the downlinks that the device's session keeps, if it keeps any.
    fn keep_for_call(&mut self, device: DeviceId, id: u32) -> bool {
        let now = self.now;
        let Some(call) = self.calls.get_mut(device, id) else { return true };
        let mut json = Vec::new();
        payload::rpc_request(None, &call.method, &call.params, &mut json);
        let downlink = kept::Downlink {
            kind: Kind::RpcRequest.into(),
            id,
            json,
            packet_id: 0,
            expires_ts: call.deadline.0,
            call: Vec::new(),
        };
        let Some(state) = self.residents.get_mut(device.into(), now.instant) else { return false };
        let kept = keep((state, &mut self.ledger, now), None, downlink);
        if matches!(kept, Ok(true)) {
            call.progress = Progress::Kept;
        }
        // A full queue has room again when the device acknowledges; until then the call waits.
        kept.unwrap_or(true)
    }

    /// What made a call is durable: it leaves.
    pub(super) fn send_offered_call(&mut self, device: DeviceId, id: u32) {
        let Some(call) = self.calls.get_mut(device, id).filter(|call| call.progress == Progress::Offered) else { return };
        let (method, params) = (std::mem::take(&mut call.method), std::mem::take(&mut call.params));
        let delivery = self.send_call(device, id, &method, &params);
        if let Some(call) = self.calls.get_mut(device, id) {
            (call.method, call.params) = (method, params);
            call.progress = Progress::Waiting;
        }
        if let Some(delivery) = delivery {
            self.call_sent(device, id, delivery);
        }
    }

    /// A call went out, or never will.
    pub(super) fn call_sent(&mut self, device: DeviceId, id: u32, delivery: Delivery) {
        if delivery == Delivery::TooLarge {
            return self.end_call(device, id, CallStatus::Failed, Called::NoConnection, "");
        }
        let Some(call) = self.calls.get_mut(device, id) else { return };
        call.progress = Progress::Sent;
        self.go_on(device, id, CallStatus::Sent, MessageType::RpcSent);
        if delivery == Delivery::QueuedUnacked {
            self.call_delivered(device, id);
        }
    }

    /// The device has a call.
    pub(super) fn call_delivered(&mut self, device: DeviceId, id: u32) {
        let Some(call) = self.calls.get_mut(device, id).filter(|call| call.progress != Progress::Delivered) else { return };
        if call.one_way {
            return self.end_call(device, id, CallStatus::Delivered, Called::Delivered, "");
        }
        call.progress = Progress::Delivered;
        self.go_on(device, id, CallStatus::Delivered, MessageType::RpcDelivered);
        self.offer_calls_in_turn(device);
    }

    /// A persistent call has a new status and goes on.
    fn go_on(&mut self, device: DeviceId, id: u32, status: CallStatus, kind: MessageType) {
        let Some(call) = self.calls.get_mut(device, id) else { return };
        let Whose::Stored(stored) = call.whose else { return };
        let (method, params) = (call.method.clone(), call.params.clone());
        let now = self.now;
        let Some(state) = self.residents.get_mut(device.into(), now.instant) else { return };
        let Some(mut record) = state.open_call(stored).cloned() else { return };
        record.status = status.into();
        let answer_by = now.timestamp.0.saturating_add(limits::CALL_ANSWER_MS).min(record.expiration_ts);
        // It is there already, so there is room.
        let _kept = state.keep_call(&mut writing(&mut self.ledger, now), stored, record);
        self.calls.set_deadline(device, id, Timestamp(answer_by));
        self.raise_call(device, kind, &method, &params);
    }

    /// The device answers a call; one that is over or was never made changes nothing.
    pub(super) fn call_answered(&mut self, device: DeviceId, id: u32, response: &str) {
        if self.calls.get_mut(device, id).is_some_and(|call| !call.one_way) {
            self.end_call(device, id, CallStatus::Successful, Called::Response(response.to_owned()), response);
        }
    }

    /// A call has its outcome: whoever asked hears of it with this turn's ticket.
    fn end_call(&mut self, device: DeviceId, id: u32, status: CallStatus, called: Called, response: &str) {
        let now = self.now;
        let Some(call) = self.calls.remove(device, id) else { return };
        match call.whose {
            Whose::Asked(asker) => self.tell(asker, Ok(called)),
            Whose::Stored(stored) => {
                let Some(state) = self.residents.get_mut(device.into(), now.instant) else { return };
                state.end_call(&mut writing(&mut self.ledger, now), stored, false, |record| {
                    record.status = status.into();
                    record.response = response.to_owned();
                });
                let kind = match status {
                    CallStatus::Successful => MessageType::RpcSuccessful,
                    CallStatus::Delivered => MessageType::RpcDelivered,
                    CallStatus::Timeout => MessageType::RpcTimeout,
                    CallStatus::Expired => MessageType::RpcExpired,
                    _ => MessageType::RpcFailed,
                };
                self.raise_call(device, kind, &call.method, &call.params);
                self.offer_calls_in_turn(device);
            }
        }
    }

    /// Calls whose time is over, or whose answer is overdue.
    pub(super) fn expire_calls(&mut self) {
        let now = self.now.timestamp;
        for _ in 0..limits::EVENTS_PER_TURN_MAX {
            let Some((_, device, id)) = self.calls.deadlines.first().copied().filter(|(at, ..)| *at <= now) else { return };
            // A persistent call's row is changed, so its device's state has to be here.
            if self.residents.contains(device.into()) {
                self.call_overdue(device, id);
            } else {
                self.calls.set_deadline(device, id, Timestamp(now.0.saturating_add(1_000)));
                self.with_state(device.into(), super::residents::Parked::Calls);
            }
        }
    }

    fn call_overdue(&mut self, device: DeviceId, id: u32) {
        let Some(call) = self.calls.get_mut(device, id) else { return };
        let sent = matches!(call.progress, Progress::Sent | Progress::Delivered);
        let Whose::Stored(stored) = call.whose else {
            let called = if sent { Called::TimedOut } else { Called::NoConnection };
            return self.end_call(device, id, CallStatus::Timeout, called, "");
        };
        let now = self.now;
        let Some(state) = self.residents.get_mut(device.into(), now.instant) else { return };
        let Some(mut record) = state.open_call(stored).cloned() else {
            self.calls.remove(device, id);
            return;
        };
        if record.expiration_ts <= now.timestamp.0 {
            return self.end_call(device, id, CallStatus::Expired, Called::TimedOut, "");
        }
        if record.retries_left == 0 {
            return self.end_call(device, id, CallStatus::Timeout, Called::TimedOut, "");
        }
        record.retries_left -= 1;
        record.status = CallStatus::Queued.into();
        let expiration = Timestamp(record.expiration_ts);
        let _kept = state.keep_call(&mut writing(&mut self.ledger, now), stored, record);
        if let Some(call) = self.calls.get_mut(device, id) {
            call.progress = Progress::Waiting;
        }
        self.calls.set_deadline(device, id, expiration);
        self.offer_calls(device);
    }

    /// Forgets a persistent call, whatever became of it.
    pub(super) fn delete_call(&mut self, device: DeviceId, stored: Uuid, reply: Reply<()>) {
        if let Some(id) = self.calls.find_stored(device, stored) {
            self.calls.remove(device, id);
        }
        let now = self.now;
        if let Some(state) = self.residents.get_mut(device.into(), now.instant) {
            let mut writing = writing(&mut self.ledger, now);
            if state.end_call(&mut writing, stored, true, |_| {}).is_none() {
                state.forget_ended_call(&mut writing, stored);
            }
        }
        self.reply(reply, Ok(()));
        self.raise_call(device, MessageType::RpcDeleted, "", "{}");
        self.offer_calls_in_turn(device);
    }

    /// What happens to calls is a message of the device too.
    fn raise_call(&mut self, device: DeviceId, kind: MessageType, method: &str, params: &str) {
        let mut json = Vec::new();
        payload::rpc_request(None, method, params, &mut json);
        let plan = self.plan_of(device);
        let request = String::from_utf8(json).unwrap_or_default().into();
        let body = Body::Rpc { request, id: None };
        let _outcome = self.evaluate_device((device, &plan), kind, body, Waiter::Nobody);
    }
}

/// Whether a message wants its call stored.
pub(super) fn is_persistent(departed: &Departed) -> bool {
    is(departed, "persistent")
}

fn is(departed: &Departed, key: &str) -> bool {
    departed.metadata.get(key).is_some_and(|value| value.trim().eq_ignore_ascii_case("true"))
}

/// The call that a message makes, as its data and metadata say.
fn call_of(departed: &Departed, expires: Timestamp, now: Timestamp) -> Call {
    let data: serde_json::Value = serde_json::from_str(&departed.data).unwrap_or_default();
    let said = |key: &str| departed.metadata.get(key).map(|value| value.trim()).filter(|value| !value.is_empty());
    let json = |field: &str| data.get(field).map(ToString::to_string).unwrap_or_default();
    let method = data.get("method").map(|method| method.as_str().map_or_else(|| method.to_string(), str::to_owned));
    Call {
        id: said("requestUUID").and_then(|id| Uuid::parse_str(id).ok()).unwrap_or_else(|| fresh_id(now)),
        method: method.unwrap_or_default(),
        params: json("params"),
        one_way: is(departed, "oneway"),
        persistent: is_persistent(departed),
        expires,
        retries: said("retries")
            .and_then(|retries| retries.parse().ok())
            .unwrap_or(limits::CALL_RETRIES)
            .min(limits::CALL_RETRIES_MAX),
        additional_info: json("additionalInfo"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn calls_of_one_tenant_leave_places_and_bytes_for_those_of_others() {
        let [mine, other] = [1, 2].map(|number| TenantId(Uuid::from_u128(number)));
        let device = |number: usize| DeviceId(Uuid::from_u128(u128::try_from(number).unwrap()));
        let open = |tenant, says: usize| {
            let (whose, method, params) = (Whose::Stored(Uuid::nil()), String::new(), "1".repeat(says));
            Open { tenant, whose, method, params, one_way: false, progress: Progress::Waiting, deadline: Timestamp(1) }
        };
        let (mut calls, most) = (Calls::default(), limits::CALLS_PER_SHARD_MAX / 2);
        (0..most).for_each(|number| calls.insert(device(number), 1, open(mine, 1)));
        assert!(!calls.has_room(mine, device(0), 1) && calls.has_room(other, device(most), 1));
        calls.forget(device(0));
        assert!(calls.has_room(mine, device(0), limits::CALLS_BYTES_PER_SHARD_MAX / 2 - most + 1));
        assert!(!calls.has_room(mine, device(0), limits::CALLS_BYTES_PER_SHARD_MAX / 2 - most + 2));
        (1..most).for_each(|number| drop(calls.remove(device(number), 1)));
        assert_eq!((calls.len(), calls.deadlines.len()), (0, 0));
        let each = u32::try_from(limits::OPEN_CALLS_PER_DEVICE_MAX).unwrap();
        (0..each).for_each(|id| calls.insert(device(1), id, open(mine, 1)));
        assert!(!calls.has_room(mine, device(1), 1) && calls.has_room(mine, device(2), 1));
    }
}
