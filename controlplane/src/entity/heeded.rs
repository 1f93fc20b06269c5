//! Which messages the chains of a tenant could do anything with: of others nobody is told. Remembered until one of the chains changes.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
};

use schemas::chain::{Chain, MessageType};
use sea_orm::{ColumnTrait, EntityTrait, QueryFilter, QuerySelect};
use tokio::sync::Mutex;
use uuid::Uuid;

use crate::entity::{StoreError, Write, chain};

type Kinds = Arc<HashSet<MessageType>>;

/// Tenants that are remembered; beyond it all are forgotten.
const TENANTS_MAX: usize = 10_000;

/// What is remembered of tenants: the highest revision of their chains, how many there are, and what they heed.
#[derive(Debug, Default)]
pub(super) struct Heeded(Mutex<HashMap<Uuid, (i64, i64, Kinds)>>);

impl Heeded {
    /// As the chains are in this write.
    pub(super) async fn of(&self, write: &Write, tenant: Uuid) -> Result<Kinds, StoreError> {
        let of_tenant = || chain::Entity::find().filter(chain::Column::TenantId.eq(tenant)).select_only();
        let state =
            of_tenant().column_as(chain::Column::Revision.max(), "revision").column_as(chain::Column::Id.count(), "chains");
        let (revision, chains) = state.into_tuple::<(Option<i64>, i64)>().one(write.db()).await?.unwrap_or_default();
        let revision = revision.unwrap_or(0);
        let mut known = self.0.lock().await;
        if let Some((known_revision, known_chains, kinds)) = known.get(&tenant)
            && (*known_revision, *known_chains) == (revision, chains)
        {
            return Ok(Arc::clone(kinds));
        }
        let all: Vec<String> = of_tenant().column(chain::Column::Metadata).into_tuple().all(write.db()).await?;
        let kinds: Kinds = Arc::new(all.iter().flat_map(|metadata| heeded_by(metadata)).collect());
        // What this write has changed may never be committed, and another one may get its numbers.
        if !write.changes_chains() {
            if known.len() >= TENANTS_MAX {
                known.clear();
            }
            known.insert(tenant, (revision, chains, Arc::clone(&kinds)));
        }
        Ok(kinds)
    }
}

/// Of a chain that this version cannot read, a data plane may make more: it heeds everything.
fn heeded_by(metadata: &str) -> Vec<MessageType> {
    let parsed = Chain::parse(metadata).ok();
    let heeds = |kind: &MessageType| parsed.as_ref().is_none_or(|chain| chain.heeds(*kind));
    MessageType::ALL.iter().copied().filter(heeds).collect()
}
