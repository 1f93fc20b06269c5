//! Calls to devices, changes of alarms and how devices stand: between the Query service's messages and the shard's values.

use schemas::alarm::{Alarm, RELATION_TYPES_MAX};
use schemas::generated::kept;
use schemas::generated::query::{self as wire, CallStatus};
use tonic::Status;
use uuid::Uuid;

use super::convert;
use crate::clock::Timestamp;
use crate::limits;
use crate::query::{AlarmChange, Call, Called, ChangedAlarm, Standing, Target};

pub(super) fn call(request: wire::CallRequest) -> Result<(Target, Call), Status> {
    let target = convert::target(request.entity)?;
    let bytes = request.method.len() + request.params.len() + request.additional_info.len();
    if request.method.is_empty() || bytes > limits::PAYLOAD_BYTES_MAX {
        let most = limits::PAYLOAD_BYTES_MAX;
        return Err(Status::invalid_argument(format!(
            "method, params and additional info: 1 to {most} bytes together, method not empty"
        )));
    }
    let call = Call {
        id: id(&request.id)?,
        method: request.method,
        params: request.params,
        one_way: request.one_way,
        persistent: request.persistent,
        expires: Timestamp(request.expiration_ts),
        retries: request.retries,
        additional_info: request.additional_info,
    };
    Ok((target, call))
}

pub(super) fn called(called: Called) -> wire::CallReply {
    use wire::call_reply::Outcome;
    let outcome = match called {
        Called::Response(json) => Outcome::Response(json),
        Called::Delivered => Outcome::Response(String::new()),
        Called::NoConnection => Outcome::NoConnection(true),
        Called::TimedOut => Outcome::Timeout(true),
        Called::Queued => Outcome::Queued(true),
    };
    wire::CallReply { outcome: Some(outcome) }
}

pub(super) fn id(bytes: &[u8]) -> Result<Uuid, Status> {
    Uuid::from_slice(bytes).map_err(|_| Status::invalid_argument(format!("id: expected 16 bytes, got {}", bytes.len())))
}

pub(super) fn alarm_change(request: wire::ChangeAlarmRequest) -> Result<(Target, Alarm, AlarmChange), Status> {
    let change = request.change();
    let target = convert::target(request.entity)?;
    let alarm = Alarm::decode(&request.alarm).map_err(|invalid| Status::invalid_argument(invalid.to_string()))?;
    let change = match change {
        wire::AlarmChange::Save => AlarmChange::Save,
        wire::AlarmChange::Acknowledge => AlarmChange::Acknowledge,
        wire::AlarmChange::Clear => AlarmChange::Clear,
        wire::AlarmChange::Assign if request.assignee_id.is_empty() => AlarmChange::Assign(None),
        wire::AlarmChange::Assign => AlarmChange::Assign(Some(id(&request.assignee_id)?)),
        wire::AlarmChange::Delete => AlarmChange::Delete,
        wire::AlarmChange::Unspecified => return Err(Status::invalid_argument("change: missing")),
    };
    let fits = (1..=limits::NAME_BYTES_MAX).contains(&alarm.kind.len())
        && alarm.details.len() <= limits::ALARM_DETAILS_BYTES_MAX
        && alarm.propagation.relation_types.len() <= RELATION_TYPES_MAX
        && alarm.propagation.relation_types.iter().all(|kind| kind.len() <= limits::NAME_BYTES_MAX);
    if !fits {
        return Err(Status::invalid_argument(format!(
            "alarm: type of 1 to {} bytes, details of at most {} bytes, at most {RELATION_TYPES_MAX} relation types",
            limits::NAME_BYTES_MAX,
            limits::ALARM_DETAILS_BYTES_MAX
        )));
    }
    if (alarm.originator, alarm.tenant) != (target.entity, target.tenant) {
        return Err(Status::invalid_argument("alarm: another originator's"));
    }
    Ok((target, alarm, change))
}

pub(super) fn changed_alarm(changed: &ChangedAlarm) -> wire::ChangeAlarmReply {
    wire::ChangeAlarmReply { alarm: changed.alarm.encode(), changed: changed.changed, created: changed.created }
}

/// Newest first; of one status if one is asked for.
pub(super) fn calls(calls: Vec<(Uuid, kept::Call)>, status: CallStatus) -> wire::CallsReply {
    let wanted = |call: &kept::Call| status == CallStatus::Unspecified || call.status == i32::from(status);
    let stored = |(id, call): (Uuid, kept::Call)| wire::StoredCall {
        id: id.as_bytes().to_vec(),
        created_ts: call.created_ts,
        expiration_ts: call.expiration_ts,
        status: call.status,
        method: call.method,
        params: call.params,
        one_way: call.one_way,
        retries: call.retries,
        response: call.response,
        additional_info: call.additional_info,
    };
    let mut calls: Vec<wire::StoredCall> = calls.into_iter().filter(|(_, call)| wanted(call)).map(stored).collect();
    calls.sort_by(|one, other| (other.created_ts, &other.id).cmp(&(one.created_ts, &one.id)));
    wire::CallsReply { calls }
}

pub(super) fn standing(standing: Standing) -> wire::StandingReply {
    wire::StandingReply {
        connected: standing.connected,
        transport: standing.transport.to_owned(),
        refused: standing.refused.into_iter().map(|(reason, count)| (reason.to_owned(), u64::from(count))).collect(),
    }
}
