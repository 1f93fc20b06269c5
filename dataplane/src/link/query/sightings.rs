//! What people look at of messages at nodes, on all shards together, and which they wait for. Never keeps any of it.

use std::sync::Arc;

use schemas::generated::query::{self as wire, sighting::What};
use schemas::id::{EntityId, InvalidId, TenantId, uuid};
use tokio::sync::oneshot;
use tonic::Status;

use super::post;
use crate::limits;
use crate::rules::Sighting;
use crate::shard::{Event, Seen, Shards, Trace};

fn wrong(error: InvalidId) -> Status {
    Status::invalid_argument(error.to_string())
}

pub(super) async fn sightings(shards: &Shards, request: &wire::SightingsRequest) -> Result<wire::SightingsReply, Status> {
    let tenant = TenantId(uuid("tenant_id", &request.tenant_id).map_err(wrong)?);
    let of = uuid("of_id", &request.of_id).map_err(wrong)?;
    let mut asked = Vec::new();
    for mailbox in shards.all() {
        let (reply, answer) = oneshot::channel();
        post(mailbox, Event::Sightings { tenant, of, reply }).await?;
        asked.push(answer);
    }
    let mut seen: Vec<Arc<Seen>> = Vec::new();
    for answer in asked {
        seen.extend(answer.await.map_err(|_| Status::unavailable("a shard has ended"))?);
    }
    // Those of one shard come in their order.
    seen.sort_by_key(|seen| seen.at);
    let (mut bytes, mut sightings) = (0, Vec::new());
    for seen in seen.iter().rev() {
        bytes += seen.what.bytes();
        if bytes > limits::SIGHTINGS_ANSWER_BYTES_MAX {
            break;
        }
        sightings.push(to_wire(seen));
    }
    sightings.reverse();
    Ok(wire::SightingsReply { sightings })
}

pub(super) async fn forget(shards: &Shards, request: &wire::ForgetSightingsRequest) -> Result<wire::WriteReply, Status> {
    let tenant = TenantId(uuid("tenant_id", &request.tenant_id).map_err(wrong)?);
    let ids: Vec<_> = request.ids.iter().map(|id| uuid("ids", id)).collect::<Result<_, _>>().map_err(wrong)?;
    for mailbox in shards.all() {
        let (done, answer) = oneshot::channel();
        post(mailbox, Event::ForgetSightings { tenant, ids: ids.clone(), done }).await?;
        answer.await.map_err(|_| Status::unavailable("a shard has ended"))?;
    }
    Ok(wire::WriteReply {})
}

pub(super) async fn trace(shards: &Shards, request: wire::TraceRequest) -> Result<wire::WriteReply, Status> {
    let tenant = TenantId(uuid("tenant_id", &request.tenant_id).map_err(wrong)?);
    let entity = EntityId(uuid("entity_id", &request.entity_id).map_err(wrong)?);
    let message = uuid("message_id", &request.message_id).map_err(wrong)?;
    let kind = (!request.msg_type.is_empty()).then_some(request.msg_type);
    let trace = Box::new(Trace { tenant, entity, kind, message, for_ms: request.for_ms.into() });
    let (done, answer) = oneshot::channel();
    post(shards.owner(entity), Event::Trace { trace, done }).await?;
    match answer.await {
        Ok(true) => Ok(wire::WriteReply {}),
        Ok(false) => Err(Status::resource_exhausted(format!("{} messages are waited for already", limits::TRACES_PER_SHARD_MAX))),
        Err(_) => Err(Status::unavailable("a shard has ended")),
    }
}

fn to_wire(seen: &Seen) -> wire::Sighting {
    let what = match &seen.what {
        Sighting::AtNode(seen) => What::AtNode(wire::AtNode {
            left: seen.left,
            originator_type: seen.originator_type.name().to_owned(),
            originator_id: seen.originator.0.as_bytes().to_vec(),
            message_id: seen.message.as_bytes().to_vec(),
            msg_type: seen.kind.clone(),
            label: seen.label.clone().unwrap_or_default(),
            data: seen.data.clone(),
            metadata: seen.metadata.clone(),
            error: seen.error.clone().unwrap_or_default(),
            node_id: seen.node.as_bytes().to_vec(),
            node_name: seen.name.clone(),
        }),
        Sighting::Unled { node, reason, .. } => What::Unled(wire::Unled { node: node.clone(), reason: reason.clone() }),
    };
    wire::Sighting { id: seen.id.as_bytes().to_vec(), at_ts: seen.at.0, what: Some(what) }
}
