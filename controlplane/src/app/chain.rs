//! Rule chains of the caller's tenant. Metadata is checked by the same code that the data planes compile it with.

use std::collections::HashMap;

use schemas::chain::{Chain, NodeKind, Target, debug};
use serde_json::{Value, json};
use uuid::Uuid;

use crate::{
    access::{Caller, Operation, Resource},
    app::{App, Written, new_id, permit_within, quota, same_version},
    clock,
    domain::{EntityKind, Invalid, Page, PageLink, RuleChain, RuleChainDraft, ScriptTrial, SortOrder},
    entity::{Write, asset_profile, audit::Action, chain},
    error::Error,
    telemetry::NodeCount,
};

/// The largest metadata of one chain, in bytes; it must fit one message of the push.
const METADATA_BYTES_MAX: usize = 1 << 20;
const ROOT_NAME: &str = "Root Rule Chain";

impl App {
    /// Creates an empty chain, or renames one.
    ///
    /// # Errors
    /// [`Error::Invalid`], [`Error::NotFound`], [`Error::Conflict`], [`Error::LimitReached`].
    pub async fn save_chain(&self, caller: &Caller, draft: RuleChainDraft) -> Result<Written<RuleChain>, Error> {
        let draft = draft.checked()?;
        let operation = if draft.id.is_some() { Operation::Write } else { Operation::Create };
        let tenant = permit_within(caller, Resource::RuleChain, operation)?.tenant;
        let mut write = self.begin(caller).await?;
        let saved = match draft.id {
            None => {
                quota::admit(&write, tenant, EntityKind::RuleChain).await?;
                let saved = made(draft, tenant);
                chain::insert(&mut write, &saved, &empty_metadata().to_string()).await?;
                write.audit(Action::Added, EntityKind::RuleChain, saved.id, Some(tenant)).await?;
                saved
            }
            Some(id) => {
                let stored = chain::find(write.db(), tenant, id).await?;
                let stored = stored.ok_or_else(|| Error::not_found(EntityKind::RuleChain, id))?;
                same_version(EntityKind::RuleChain, draft.version, stored.version)?;
                let RuleChainDraft { name, debug_mode, additional_info, .. } = draft;
                let saved = RuleChain { version: stored.version + 1, name, debug_mode, additional_info, ..stored };
                chain::update(&mut write, &saved).await?;
                write.audit(Action::Updated, EntityKind::RuleChain, id, Some(tenant)).await?;
                saved
            }
        };
        self.finish(write, saved).await
    }

    /// # Errors
    /// [`Error::NotFound`].
    pub async fn chain(&self, caller: &Caller, id: Uuid) -> Result<RuleChain, Error> {
        let scope = permit_within(caller, Resource::RuleChain, Operation::Read)?;
        let found = chain::find(self.reader(), scope.tenant, id).await?;
        found.ok_or_else(|| Error::not_found(EntityKind::RuleChain, id))
    }

    /// The tenant's chains; sorted by `createdTime`, `name` or `root`.
    ///
    /// # Errors
    /// [`Error::Invalid`] for an unknown sort property.
    pub async fn chains(&self, caller: &Caller, link: &PageLink) -> Result<Page<RuleChain>, Error> {
        let scope = permit_within(caller, Resource::RuleChain, Operation::Read)?;
        Ok(chain::page(self.reader(), scope.tenant, link).await?)
    }

    /// The chain's RuleChainMetaData, with `ruleChainId` and `version`.
    ///
    /// # Errors
    /// [`Error::NotFound`].
    pub async fn chain_metadata(&self, caller: &Caller, id: Uuid) -> Result<Value, Error> {
        let found = self.chain(caller, id).await?;
        let text = chain::metadata(self.reader(), id).await?.ok_or_else(|| Error::not_found(EntityKind::RuleChain, id))?;
        described(&found, &text)
    }

    /// Replaces what a chain does. Nodes without an id get one; `ruleChainId` and `version` inside are ignored in favour of
    /// the arguments.
    ///
    /// # Errors
    /// [`Error::Invalid`] with every problem of the chain, [`Error::NotFound`], [`Error::Conflict`].
    pub async fn save_chain_metadata(
        &self,
        caller: &Caller,
        id: Uuid,
        version: Option<i64>,
        metadata: Value,
    ) -> Result<Written<Value>, Error> {
        let tenant = permit_within(caller, Resource::RuleChain, Operation::Write)?.tenant;
        let mut write = self.begin(caller).await?;
        let Checked { text, first_node, enters } = checked(metadata, debug_until_ms(&write, tenant).await?)?;
        let stored = chain::find(write.db(), tenant, id).await?.ok_or_else(|| Error::not_found(EntityKind::RuleChain, id))?;
        same_version(EntityKind::RuleChain, version, stored.version)?;
        they_exist(&write, tenant, &enters).await?;
        let saved = RuleChain { version: stored.version + 1, first_node, ..stored };
        chain::update_metadata(&mut write, &saved, &text).await?;
        write.audit(Action::Updated, EntityKind::RuleChain, id, Some(tenant)).await?;
        let shown = described(&saved, &text)?;
        self.finish(write, shown).await
    }

    /// What happened at each node of a chain since the data planes applied it, on all of them together.
    ///
    /// # Errors
    /// [`Error::NotFound`], [`Error::Unavailable`].
    pub async fn node_counts(&self, caller: &Caller, id: Uuid) -> Result<Vec<NodeCount>, Error> {
        let found = self.chain(caller, id).await?;
        let mut all = Vec::new();
        for (_, instance) in self.data_planes().await? {
            all.push(instance.node_counts(found.tenant, id).await?);
        }
        Ok(NodeCount::sum(all))
    }

    /// Runs a script once on a data plane: what it answers, as JSON, or why it does not.
    ///
    /// # Errors
    /// [`Error::Unavailable`], [`Error::Invalid`] for a message that is no JSON.
    pub async fn try_script(&self, caller: &Caller, trial: &ScriptTrial) -> Result<Result<String, String>, Error> {
        permit_within(caller, Resource::RuleChain, Operation::Write)?;
        Ok(self.data_plane().await?.try_script(trial).await?)
    }

    /// Messages enter here from now on when their profile names no chain.
    ///
    /// # Errors
    /// [`Error::NotFound`].
    pub async fn set_root_chain(&self, caller: &Caller, id: Uuid) -> Result<Written<RuleChain>, Error> {
        let tenant = permit_within(caller, Resource::RuleChain, Operation::Write)?.tenant;
        let mut write = self.begin(caller).await?;
        let stored = chain::find(write.db(), tenant, id).await?.ok_or_else(|| Error::not_found(EntityKind::RuleChain, id))?;
        if stored.root {
            return Ok(Written { value: stored, applied: true });
        }
        if let Some(old) = chain::root_of(write.db(), tenant).await? {
            let old = RuleChain { root: false, version: old.version + 1, ..old };
            chain::update(&mut write, &old).await?;
        }
        let saved = RuleChain { root: true, version: stored.version + 1, ..stored };
        chain::update(&mut write, &saved).await?;
        write.audit(Action::Updated, EntityKind::RuleChain, id, Some(tenant)).await?;
        self.finish(write, saved).await
    }

    /// # Errors
    /// [`Error::NotFound`], [`Error::Refused`] for the root chain and for one that a device profile or another chain uses.
    pub async fn delete_chain(&self, caller: &Caller, id: Uuid) -> Result<Written<()>, Error> {
        let tenant = permit_within(caller, Resource::RuleChain, Operation::Delete)?.tenant;
        let mut write = self.begin(caller).await?;
        let stored = chain::find(write.db(), tenant, id).await?.ok_or_else(|| Error::not_found(EntityKind::RuleChain, id))?;
        if stored.root {
            return Err(Error::Refused("Deletion of Root Tenant Rule Chain is prohibited!".to_owned()));
        }
        if asset_profile::of_chain(write.db(), id).await? > 0 {
            return Err(Error::Refused("The rule chain referenced by the asset profiles cannot be deleted!".to_owned()));
        }
        if chain::profiles(write.db(), id).await? > 0 {
            return Err(Error::Refused("The rule chain referenced by the device profiles cannot be deleted!".to_owned()));
        }
        if let Some(other) = chain::entering(write.db(), tenant, id).await?.into_iter().find(|other| other.id != id) {
            return Err(Error::Refused(format!(
                "The rule chain is entered by rule chain \"{}\" and cannot be deleted!",
                other.name
            )));
        }
        write.audit(Action::Deleted, EntityKind::RuleChain, id, Some(tenant)).await?;
        chain::delete(&mut write, id).await?;
        self.finish(write, ()).await
    }

    /// The tenant's chains with what they do, at most `limit` of them, oldest first.
    ///
    /// # Errors
    /// [`Error::Invalid`] for a limit that is no page size.
    pub async fn export_chains(&self, caller: &Caller, limit: u64) -> Result<Vec<(RuleChain, Value)>, Error> {
        let link = PageLink {
            sort_property: Some("createdTime".to_owned()),
            sort_order: SortOrder::Ascending,
            ..PageLink::new(limit, 0)?
        };
        let mut exported = Vec::new();
        for found in self.chains(caller, &link).await?.data {
            let text = chain::metadata(self.reader(), found.id).await?.unwrap_or_default();
            let metadata = described(&found, &text)?;
            exported.push((found, metadata));
        }
        Ok(exported)
    }

    /// Creates chains that were exported here or elsewhere, all of them or none. They get ids of their own, also where they enter
    /// each other; with `overwrite` one of the same name is replaced instead. None becomes the root chain.
    ///
    /// # Errors
    /// [`Error::Invalid`] with the problems of every chain, [`Error::LimitReached`].
    pub async fn import_chains(
        &self,
        caller: &Caller,
        exported: ChainExport,
        overwrite: bool,
    ) -> Result<Written<Vec<ChainImported>>, Error> {
        let tenant = permit_within(caller, Resource::RuleChain, Operation::Create)?.tenant;
        let mut write = self.begin(caller).await?;
        let mut imported = Vec::new();
        // Old id, new id: metadata that enters a chain of this import enters the new one.
        let mut ids: HashMap<String, Uuid> = HashMap::new();
        for (old, draft) in exported.chains {
            let draft = draft.checked()?;
            let known = if overwrite { chain::by_name(write.db(), tenant, &draft.name).await? } else { None };
            let (saved, updated) = match known {
                Some(stored) => (RuleChain { version: stored.version + 1, ..stored }, true),
                None => {
                    quota::admit(&write, tenant, EntityKind::RuleChain).await?;
                    let saved = made(draft, tenant);
                    chain::insert(&mut write, &saved, &empty_metadata().to_string()).await?;
                    (saved, false)
                }
            };
            if let Some(old) = old {
                ids.insert(old.to_string(), saved.id);
            }
            imported.push(ChainImported { chain: saved, updated });
        }
        let debug_until_ms = debug_until_ms(&write, tenant).await?;
        let mut problems = Vec::new();
        for (at, metadata) in exported.metadata.into_iter().enumerate() {
            let of = metadata.pointer("/ruleChainId/id").and_then(Value::as_str).and_then(|old| ids.get(old));
            let Some(place) = of.and_then(|id| imported.iter().position(|one| one.chain.id == *id)) else {
                problems.push(format!("metadata[{at}].ruleChainId: no chain of this import"));
                continue;
            };
            let one = &mut imported[place].chain;
            let saved = match checked(moved(metadata, &ids), debug_until_ms) {
                Ok(checked) => they_exist(&write, tenant, &checked.enters).await.map(|()| checked),
                Err(error) => Err(error),
            };
            match saved {
                Ok(Checked { text, first_node, .. }) => {
                    one.first_node = first_node;
                    chain::update_metadata(&mut write, one, &text).await?;
                }
                Err(error @ Error::Invalid(_)) => problems.push(format!("metadata[{at}] of \"{}\": {error}", one.name)),
                Err(other) => return Err(other),
            }
        }
        if !problems.is_empty() {
            return Err(Invalid::new("metadata", "", problems.join("; ")).into());
        }
        for one in &imported {
            let action = if one.updated { Action::Updated } else { Action::Added };
            write.audit(action, EntityKind::RuleChain, one.chain.id, Some(tenant)).await?;
        }
        self.finish(write, imported).await
    }
}

/// Chains and what they do, as ThingsBoard exports them.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ChainExport {
    /// With the ids that the metadata knows them by.
    pub chains: Vec<(Option<Uuid>, RuleChainDraft)>,
    /// RuleChainMetaData of each.
    pub metadata: Vec<Value>,
}

/// What became of a chain of an import.
#[derive(Clone, Debug, PartialEq)]
pub struct ChainImported {
    pub chain: RuleChain,
    /// One of the same name was replaced.
    pub updated: bool,
}

/// Metadata of a chain that has moved: new nodes, and the new ids of the chains that it enters.
fn moved(mut metadata: Value, ids: &HashMap<String, Uuid>) -> Value {
    let new = |old: &Value| old.as_str().and_then(|old| ids.get(old)).map(|id| json!(id));
    for node in metadata.get_mut("nodes").and_then(Value::as_array_mut).into_iter().flatten() {
        if let Some(node) = node.as_object_mut() {
            node.remove("id");
            node.remove("ruleChainId");
            if let Some(entered) = node.get_mut("configuration").and_then(|fields| fields.get_mut("ruleChainId"))
                && let Some(id) = new(entered)
            {
                *entered = id;
            }
        }
    }
    for edge in metadata.get_mut("ruleChainConnections").and_then(Value::as_array_mut).into_iter().flatten() {
        if let Some(entered) = edge.pointer_mut("/targetRuleChainId/id")
            && let Some(id) = new(entered)
        {
            *entered = id;
        }
    }
    metadata
}

/// Every chain that nodes lead to is one of the tenant's.
async fn they_exist(write: &Write, tenant: Uuid, enters: &[(String, Uuid)]) -> Result<(), Error> {
    let mut missing = Vec::new();
    for (path, id) in enters {
        if chain::find(write.db(), tenant, *id).await?.is_none() {
            missing.push(format!("{path}: {id}: there is no such rule chain"));
        }
    }
    if missing.is_empty() { Ok(()) } else { Err(Invalid::new("metadata", "", missing.join("; ")).into()) }
}

/// The chain a new tenant starts with.
pub(super) async fn create_root(write: &mut Write, tenant: Uuid) -> Result<RuleChain, Error> {
    let Checked { text, first_node, .. } = checked(schemas::chain::default_root_chain(), 0)?;
    let draft = RuleChainDraft { name: ROOT_NAME.to_owned(), ..RuleChainDraft::default() };
    let saved = RuleChain { root: true, first_node, ..made(draft, tenant) };
    chain::insert(write, &saved, &text).await?;
    Ok(saved)
}

fn made(draft: RuleChainDraft, tenant: Uuid) -> RuleChain {
    let RuleChainDraft { name, debug_mode, additional_info, .. } = draft;
    RuleChain {
        id: new_id(),
        created_ms: clock::now_ms(),
        version: 1,
        tenant,
        name,
        root: false,
        debug_mode,
        first_node: None,
        additional_info,
    }
}

fn empty_metadata() -> Value {
    json!({"firstNodeIndex": null, "nodes": [], "connections": [], "ruleChainConnections": null})
}

/// Metadata without a problem of its own.
struct Checked {
    /// What to store.
    text: String,
    /// The node that messages enter.
    first_node: Option<Uuid>,
    /// The chains that are entered, and where it says so.
    enters: Vec<(String, Uuid)>,
}

/// Until when a node may show all its messages that is saved now, in milliseconds since the Unix epoch.
async fn debug_until_ms(write: &Write, tenant: Uuid) -> Result<i64, Error> {
    let minutes = quota::debug_minutes(write, tenant).await?;
    Ok(clock::now_ms().saturating_add(i64::try_from(minutes * 60_000).unwrap_or(i64::MAX)))
}

/// What to store, or everything that is wrong. No node shows all its messages for longer than until then.
fn checked(mut metadata: Value, debug_until_ms: i64) -> Result<Checked, Error> {
    debug::bound(&mut metadata, debug_until_ms);
    if let Some(object) = metadata.as_object_mut() {
        object.remove("ruleChainId");
        object.remove("version");
    }
    for node in metadata.get_mut("nodes").and_then(Value::as_array_mut).into_iter().flatten() {
        if let Some(node) = node.as_object_mut()
            && node.get("id").is_none_or(Value::is_null)
        {
            node.insert("id".to_owned(), json!({"entityType": "RULE_NODE", "id": new_id()}));
        }
    }
    let text = metadata.to_string();
    if text.len() > METADATA_BYTES_MAX {
        return Err(Invalid::new("metadata", "", format!("{} bytes, at most {METADATA_BYTES_MAX}", text.len())).into());
    }
    let chain = Chain::parse(&text).map_err(|error| Invalid::new("metadata", "", error.to_string()))?;
    let first_node = chain.first.and_then(|index| chain.nodes.get(index)).and_then(|node| node.id);
    // Connections to other chains are nodes behind those that are written as such.
    let written = metadata.get("nodes").and_then(Value::as_array).map_or(0, Vec::len);
    let path = |place: usize| match place.checked_sub(written) {
        Some(connection) => format!("ruleChainConnections[{connection}].targetRuleChainId"),
        None => format!("nodes[{place}].configuration.ruleChainId"),
    };
    let entered = |(place, node): (usize, &schemas::chain::Node)| match node.kind {
        NodeKind::Nested { chain: Target::Chain(id) | Target::OfOriginator { otherwise: Some(id) } } => Some((path(place), id.0)),
        _ => None,
    };
    let enters = chain.nodes.iter().enumerate().filter_map(entered).collect();
    Ok(Checked { text, first_node, enters })
}

fn described(chain: &RuleChain, text: &str) -> Result<Value, Error> {
    let mut value: Value =
        serde_json::from_str(text).map_err(|error| Error::Internal(format!("metadata of rule chain {}: {error}", chain.id)))?;
    if let Some(object) = value.as_object_mut() {
        object.insert("ruleChainId".to_owned(), json!({"entityType": "RULE_CHAIN", "id": chain.id}));
        object.insert("version".to_owned(), json!(chain.version));
    }
    Ok(value)
}
