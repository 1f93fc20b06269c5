//! What was seen of messages at rule nodes, over the Query service. Never filters: an answer is what an instance still has.

use schemas::generated::query::{self as wire, sighting::What};
use uuid::Uuid;

use crate::telemetry::{
    Client, Unanswered,
    client::{READ_TIMEOUT, WRITE_TIMEOUT, within},
};

/// Something that was seen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seen {
    pub id: Uuid,
    /// Milliseconds since the Unix epoch.
    pub at: i64,
    pub what: Sighting,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Sighting {
    AtNode(AtNode),
    /// A node failed, and nothing led on from there.
    Unled {
        node: String,
        reason: String,
    },
}

/// A message at a node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AtNode {
    pub node: (Uuid, String),
    /// Else it came in.
    pub left: bool,
    /// ThingsBoard's entity type, and the id.
    pub originator: (String, Uuid),
    pub message: Uuid,
    pub msg_type: String,
    pub label: Option<String>,
    /// JSON, cut.
    pub data: String,
    /// JSON, cut.
    pub metadata: String,
    pub error: Option<String>,
}

impl Client {
    /// What the instance still has of a node, a chain or a message, the oldest first.
    ///
    /// # Errors
    /// [`Unanswered`]; so do the other functions.
    pub async fn sightings(&self, tenant: Uuid, of: Uuid) -> Result<Vec<Seen>, Unanswered> {
        let request = wire::SightingsRequest { tenant_id: tenant.as_bytes().to_vec(), of_id: of.as_bytes().to_vec() };
        let mut stub = self.0.clone();
        let reply = within(READ_TIMEOUT, stub.sightings(request)).await?;
        Ok(reply.sightings.into_iter().filter_map(seen).collect())
    }

    /// Has the instance look at the next message of an entity wherever it goes, of this type if one is named; it will be known as
    /// `message`.
    ///
    /// # Errors
    /// [`Unanswered`].
    pub async fn trace(
        &self,
        tenant: Uuid,
        (entity, msg_type): (Uuid, Option<&str>),
        message: Uuid,
        for_ms: u32,
    ) -> Result<(), Unanswered> {
        let request = wire::TraceRequest {
            tenant_id: tenant.as_bytes().to_vec(),
            entity_id: entity.as_bytes().to_vec(),
            msg_type: msg_type.unwrap_or_default().to_owned(),
            message_id: message.as_bytes().to_vec(),
            for_ms,
        };
        let mut stub = self.0.clone();
        within(WRITE_TIMEOUT, stub.trace(request)).await.map(drop)
    }

    /// Has the instance forget what it has with these ids.
    ///
    /// # Errors
    /// [`Unanswered`].
    pub async fn forget_sightings(&self, tenant: Uuid, ids: &[Uuid]) -> Result<(), Unanswered> {
        let ids = ids.iter().map(|id| id.as_bytes().to_vec()).collect();
        let request = wire::ForgetSightingsRequest { tenant_id: tenant.as_bytes().to_vec(), ids };
        let mut stub = self.0.clone();
        within(WRITE_TIMEOUT, stub.forget_sightings(request)).await.map(drop)
    }
}

/// `None` for one of a kind that this version does not know.
fn seen(seen: wire::Sighting) -> Option<Seen> {
    let id = |bytes: &[u8]| Uuid::from_slice(bytes).unwrap_or_default();
    let some = |text: String| (!text.is_empty()).then_some(text);
    let what = match seen.what? {
        What::Unled(wire::Unled { node, reason }) => Sighting::Unled { node, reason },
        What::AtNode(at) => Sighting::AtNode(AtNode {
            node: (id(&at.node_id), at.node_name),
            left: at.left,
            originator: (at.originator_type, id(&at.originator_id)),
            message: id(&at.message_id),
            msg_type: at.msg_type,
            label: some(at.label),
            data: at.data,
            metadata: at.metadata,
            error: some(at.error),
        }),
    };
    Some(Seen { id: id(&seen.id), at: seen.at_ts, what })
}
