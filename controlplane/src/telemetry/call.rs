//! Calls to devices and what is known of a device's connection, over the Query service. Never retries a call: its shard does,
//! if it is persistent.

use std::{collections::BTreeMap, time::Duration};

use schemas::generated::query as wire;
use tonic::{Code, Status};
use uuid::Uuid;

use crate::{
    clock,
    domain::{Call, CallOutcome, CallStatus, StoredCall},
    telemetry::{
        Client, Entity, Unanswered,
        client::{READ_TIMEOUT, WRITE_TIMEOUT, to_wire, within},
    },
};

/// How much longer than a call lasts its outcome may be on the way.
const OUTCOME_GRACE: Duration = Duration::from_secs(2);

/// A device's connection, and what was refused of it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Standing {
    pub connected: bool,
    /// What the connection speaks, e.g. `MQTT 5`; empty when there is none.
    pub transport: String,
    /// By reason, since its shard loaded the device.
    pub refused: BTreeMap<String, u64>,
}

impl Client {
    /// Calls a device. Answers when there is an outcome, at the latest when the call ends; a persistent one when it is stored.
    /// A persistent call whose id is known already is the same call, and only once.
    ///
    /// # Errors
    /// [`Unanswered`], [`Unanswered::Full`] among them when the device has too many calls; so do all calls here.
    pub async fn call(&self, entity: &Entity, call: &Call) -> Result<CallOutcome, Unanswered> {
        let request = wire::CallRequest {
            entity: Some(to_wire(entity)),
            id: call.id.as_bytes().to_vec(),
            method: call.method.clone(),
            params: call.params.clone(),
            one_way: call.one_way,
            persistent: call.persistent,
            expiration_ts: call.expires_ms,
            retries: call.retries,
            additional_info: call.additional_info.clone(),
        };
        let left = call.expires_ms.saturating_sub(clock::now_ms());
        let left = Duration::from_millis(u64::try_from(left).unwrap_or(0)) + OUTCOME_GRACE;
        let deadline = if call.persistent { WRITE_TIMEOUT } else { left };
        let mut stub = self.0.clone();
        let asked = async { stub.call(request).await.map_err(full) };
        let reply = tokio::time::timeout(deadline, asked).await;
        match reply {
            Ok(reply) => outcome(reply?.into_inner()),
            // A shard that says nothing about a call that has ended: nobody can say any more.
            Err(_) if !call.persistent => Ok(CallOutcome::Timeout),
            Err(_) => Err(Unanswered::Unavailable(format!("no answer within {} s", deadline.as_secs()))),
        }
    }

    /// The persistent calls of a device, newest first; only the one with `id`, if given.
    ///
    /// # Errors
    /// [`Unanswered`].
    pub async fn calls(
        &self,
        entity: &Entity,
        id: Option<Uuid>,
        status: Option<CallStatus>,
    ) -> Result<Vec<StoredCall>, Unanswered> {
        let request = wire::CallsRequest {
            entity: Some(to_wire(entity)),
            id: id.map(|id| id.as_bytes().to_vec()).unwrap_or_default(),
            status: status.map_or(wire::CallStatus::Unspecified, status_to_wire).into(),
        };
        let mut stub = self.0.clone();
        let reply = within(READ_TIMEOUT, stub.calls(request)).await?;
        Ok(reply.calls.into_iter().filter_map(stored).collect())
    }

    /// Forgets a persistent call; one that is not there is gone already.
    ///
    /// # Errors
    /// [`Unanswered`].
    pub async fn delete_call(&self, entity: &Entity, id: Uuid) -> Result<(), Unanswered> {
        let request = wire::DeleteCallRequest { entity: Some(to_wire(entity)), id: id.as_bytes().to_vec() };
        let mut stub = self.0.clone();
        within(WRITE_TIMEOUT, stub.delete_call(request)).await.map(drop)
    }

    /// # Errors
    /// [`Unanswered`].
    pub async fn standing(&self, entity: &Entity) -> Result<Standing, Unanswered> {
        let mut stub = self.0.clone();
        let reply = within(READ_TIMEOUT, stub.standing(wire::StandingRequest { entity: Some(to_wire(entity)) })).await?;
        Ok(Standing { connected: reply.connected, transport: reply.transport, refused: reply.refused.into_iter().collect() })
    }
}

/// Of a call, "exhausted" speaks of the device's queue and not of the answer.
fn full(status: Status) -> Unanswered {
    if status.code() == Code::ResourceExhausted { Unanswered::Full(status.message().to_owned()) } else { status.into() }
}

fn outcome(reply: wire::CallReply) -> Result<CallOutcome, Unanswered> {
    use wire::call_reply::Outcome;
    match reply.outcome {
        Some(Outcome::Response(text)) if text.is_empty() => Ok(CallOutcome::Delivered),
        Some(Outcome::Response(text)) => Ok(CallOutcome::Answered(text)),
        Some(Outcome::NoConnection(_)) => Ok(CallOutcome::NoConnection),
        Some(Outcome::Timeout(_)) => Ok(CallOutcome::Timeout),
        Some(Outcome::Queued(_)) => Ok(CallOutcome::Stored),
        None => Err(Unanswered::Refused("a call came back without an outcome".to_owned())),
    }
}

fn status_to_wire(status: CallStatus) -> wire::CallStatus {
    match status {
        CallStatus::Queued => wire::CallStatus::Queued,
        CallStatus::Sent => wire::CallStatus::Sent,
        CallStatus::Delivered => wire::CallStatus::Delivered,
        CallStatus::Successful => wire::CallStatus::Successful,
        CallStatus::Timeout => wire::CallStatus::Timeout,
        CallStatus::Expired => wire::CallStatus::Expired,
        CallStatus::Failed => wire::CallStatus::Failed,
    }
}

/// A call that says something this version does not know is left out.
fn stored(call: wire::StoredCall) -> Option<StoredCall> {
    let status = CallStatus::ALL.into_iter().find(|status| status_to_wire(*status) == call.status())?;
    Some(StoredCall {
        created_ms: call.created_ts,
        status,
        response: call.response,
        call: Call {
            id: Uuid::from_slice(&call.id).ok()?,
            method: call.method,
            params: call.params,
            one_way: call.one_way,
            persistent: true,
            expires_ms: call.expiration_ts,
            retries: call.retries,
            additional_info: call.additional_info,
        },
    })
}
