//! Events of the caller's rule nodes and chains: gathered from the data planes' memory, and what these refused. None is kept here, so
//! that a restart of an instance forgets what was seen there, and one of the control plane what was refused before.

use serde_json::{Map, Value, json};
use uuid::Uuid;

use crate::{
    access::{Caller, Operation, Resource},
    app::{App, Use, permit_within},
    domain::{Event, EventFilter, EventKind, Page, PageLink, page_of_events},
    error::Error,
    telemetry::{AtNode, Seen, Sighting},
};

const RULE_NODE: &str = "RULE_NODE";
const RULE_CHAIN: &str = "RULE_CHAIN";

impl App {
    /// A page of the events of an entity, the newest first unless the link says otherwise.
    ///
    /// # Errors
    /// [`Error::NotFound`] for what the caller cannot see, [`Error::Unavailable`], [`Error::Invalid`] for another order.
    pub async fn events(
        &self,
        caller: &Caller,
        entity: (&str, Uuid),
        filter: &EventFilter,
        link: &PageLink,
    ) -> Result<Page<Event>, Error> {
        let tenant = self.whose_events(caller, entity).await?;
        Ok(page_of_events(self.gathered(tenant, entity, filter).await?, link)?)
    }

    /// Has everyone forget the events of an entity that the filter takes.
    ///
    /// # Errors
    /// [`Error::NotFound`], [`Error::Unavailable`].
    pub async fn clear_events(&self, caller: &Caller, entity: (&str, Uuid), filter: &EventFilter) -> Result<(), Error> {
        let tenant = self.whose_events(caller, entity).await?;
        let ids: Vec<Uuid> = self.gathered(tenant, entity, filter).await?.into_iter().map(|event| event.id).collect();
        match filter.kind {
            EventKind::NodeDebug | EventKind::Error if !ids.is_empty() => {
                for (_, instance) in self.data_planes().await? {
                    instance.forget_sightings(tenant, &ids).await?;
                }
            }
            EventKind::LifeCycle => self.registry.forget_refusals(&ids),
            EventKind::NodeDebug | EventKind::Error | EventKind::ChainDebug | EventKind::Statistics => {}
        }
        Ok(())
    }

    /// The tenant whose events these are. A node is not looked up: what is seen of it lies under its tenant.
    async fn whose_events(&self, caller: &Caller, (entity_type, id): (&str, Uuid)) -> Result<Uuid, Error> {
        match entity_type {
            RULE_NODE => Ok(permit_within(caller, Resource::RuleChain, Operation::Read)?.tenant),
            RULE_CHAIN => Ok(self.chain(caller, id).await?.tenant),
            _ => Ok(self.authorize_entity(caller, entity_type, id, Use::Read).await?.tenant),
        }
    }

    /// In the order of time, those of each instance in theirs.
    async fn gathered(&self, tenant: Uuid, (entity_type, id): (&str, Uuid), filter: &EventFilter) -> Result<Vec<Event>, Error> {
        let event = |id_of: Uuid, created_ms: i64, kind: EventKind, body: Map<String, Value>| Event {
            id: id_of,
            created_ms,
            tenant,
            kind,
            entity: (entity_type.to_owned(), id),
            body,
        };
        let mut events = Vec::new();
        match (filter.kind, entity_type) {
            (EventKind::NodeDebug, RULE_NODE) | (EventKind::Error, RULE_CHAIN) => {
                for (server, instance) in self.data_planes().await? {
                    for Seen { id, at, what } in instance.sightings(tenant, id).await? {
                        events.push(match what {
                            Sighting::AtNode(seen) => event(id, at, EventKind::NodeDebug, at_node(&server, seen)),
                            Sighting::Unled { node, reason } => event(
                                id,
                                at,
                                EventKind::Error,
                                body([("server", json!(server)), ("method", json!(node)), ("error", json!(reason))]),
                            ),
                        });
                    }
                }
            }
            (EventKind::LifeCycle, _) => {
                for refused in self.registry.refusals(entity_type, id) {
                    let said = [
                        ("server", json!(refused.instance)),
                        ("event", json!("UPDATED")),
                        ("success", json!(false)),
                        ("error", json!(refused.reason)),
                    ];
                    events.push(event(refused.id, refused.at_ms, EventKind::LifeCycle, body(said)));
                }
            }
            (EventKind::NodeDebug | EventKind::Error | EventKind::ChainDebug | EventKind::Statistics, _) => {}
        }
        events.sort_by_key(|event| event.created_ms);
        Ok(filter.pick(events))
    }
}

fn at_node(server: &str, seen: AtNode) -> Map<String, Value> {
    let AtNode { left, originator: (entity_type, id), message, node: _, msg_type, label, data, metadata, error } = seen;
    body([
        ("server", json!(server)),
        ("type", json!(if left { "OUT" } else { "IN" })),
        ("entityId", json!(id)),
        ("entityType", json!(entity_type)),
        ("msgId", json!(message)),
        ("msgType", json!(msg_type)),
        ("dataType", json!("JSON")),
        ("relationType", json!(label)),
        ("data", json!(data)),
        ("metadata", json!(metadata)),
        ("error", json!(error)),
    ])
}

/// What is null is left out, as ThingsBoard does.
fn body<const N: usize>(members: [(&str, Value); N]) -> Map<String, Value> {
    members.into_iter().filter(|(_, value)| !value.is_null()).map(|(name, value)| (name.to_owned(), value)).collect()
}
