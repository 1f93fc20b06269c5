//! Rule chains of the caller's tenant. Metadata is checked by the same code that the data planes compile it with.

use schemas::chain::Chain;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::{
    access::{Caller, Operation, Resource},
    app::{App, Written, new_id, permit_within, quota, same_version},
    clock,
    domain::{EntityKind, Invalid, Page, PageLink, RuleChain, RuleChainDraft},
    entity::{Write, audit::Action, chain},
    error::Error,
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
        let (text, first_node) = checked(metadata)?;
        let mut write = self.begin(caller).await?;
        let stored = chain::find(write.db(), tenant, id).await?.ok_or_else(|| Error::not_found(EntityKind::RuleChain, id))?;
        same_version(EntityKind::RuleChain, version, stored.version)?;
        let saved = RuleChain { version: stored.version + 1, first_node, ..stored };
        chain::update_metadata(&mut write, &saved, &text).await?;
        write.audit(Action::Updated, EntityKind::RuleChain, id, Some(tenant)).await?;
        let shown = described(&saved, &text)?;
        self.finish(write, shown).await
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
    /// [`Error::NotFound`], [`Error::Refused`] for the root chain and for one that a device profile uses.
    pub async fn delete_chain(&self, caller: &Caller, id: Uuid) -> Result<Written<()>, Error> {
        let tenant = permit_within(caller, Resource::RuleChain, Operation::Delete)?.tenant;
        let mut write = self.begin(caller).await?;
        let stored = chain::find(write.db(), tenant, id).await?.ok_or_else(|| Error::not_found(EntityKind::RuleChain, id))?;
        if stored.root {
            return Err(Error::Refused("Deletion of Root Tenant Rule Chain is prohibited!".to_owned()));
        }
        if chain::profiles(write.db(), id).await? > 0 {
            return Err(Error::Refused("The rule chain referenced by the device profiles cannot be deleted!".to_owned()));
        }
        write.audit(Action::Deleted, EntityKind::RuleChain, id, Some(tenant)).await?;
        chain::delete(&mut write, id).await?;
        self.finish(write, ()).await
    }
}

/// The chain a new tenant starts with.
pub(super) async fn create_root(write: &mut Write, tenant: Uuid) -> Result<RuleChain, Error> {
    let (text, first_node) = checked(schemas::chain::default_root_chain())?;
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

/// The text to store and the id of the node messages enter, or everything that is wrong.
fn checked(mut metadata: Value) -> Result<(String, Option<Uuid>), Error> {
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
    let first = chain.first.and_then(|index| chain.nodes.get(index)).and_then(|node| node.id);
    Ok((text, first))
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
