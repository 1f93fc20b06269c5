//! Entity queries over devices and assets. What SQL can answer it answers; where conditions or the order touch attributes and
//! series, the candidates' values are asked of the data plane in batches, up to a budget (DESIGN 24). Never keeps a value.

use std::collections::{BTreeSet, HashMap};

use schemas::telemetry::{Scope, Value};

use crate::{
    access::{Caller, Operation, Resource, Scope as Reach},
    app::{App, permit_within},
    domain::{
        Customer, Dynamic, DynamicSource, EntityKind, EntityListing, EntityQuery, EntityRef, EntityRow, Key, KeyKind,
        ListedEntity, Page, PageLink, Sample, Selector,
    },
    entity::{
        customer,
        search::{self, Wall},
        tenant,
    },
    error::Error,
    telemetry::{AttributeKey, Entity, Latest},
};

/// Entities whose values one query may look at.
const CANDIDATES_MAX: usize = 10_000;

impl App {
    /// A page of the entities that match, each with what is to be shown of it.
    ///
    /// # Errors
    /// [`Error::Invalid`], [`Error::TooLarge`] when too many entities would have to be looked at, [`Error::Unavailable`].
    pub async fn find_entities(&self, caller: &Caller, listing: EntityListing) -> Result<Page<EntityRow>, Error> {
        let mut listing = listing.checked()?;
        let scope = readable(caller, &listing.query)?;
        self.resolve(caller, &mut listing.query).await?;
        let mut page = if search::is_exact(&listing.query) && search::is_sortable(&listing.sort) {
            let Page { data, total_pages, total_elements, has_next } =
                search::page(self.reader(), wall(&scope), &listing).await?;
            Page { data: self.rows(&scope, data).await?, total_pages, total_elements, has_next }
        } else {
            let mut matching = self.matching(&scope, &listing.query, &listing.deciding_keys()).await?;
            matching.sort_by(|one, other| listing.order(one, other));
            let link = PageLink::new(listing.page_size, listing.page)?;
            let total = matching.len() as u64;
            let (skip, take) = (to_usize(link.offset()), to_usize(link.page_size));
            Page::new(matching.into_iter().skip(skip).take(take).collect(), total, &link)
        };
        self.fill(&mut page.data, &listing.shown_keys()).await?;
        Ok(page)
    }

    /// How many entities match.
    ///
    /// # Errors
    /// As [`App::find_entities`].
    pub async fn count_entities(&self, caller: &Caller, query: EntityQuery) -> Result<u64, Error> {
        let mut query = query.checked()?;
        let scope = readable(caller, &query)?;
        self.resolve(caller, &mut query).await?;
        if search::is_exact(&query) {
            return Ok(search::count(self.reader(), wall(&scope), &query).await?);
        }
        Ok(self.matching(&scope, &query, &query.remote_keys()).await?.len() as u64)
    }

    /// Every entity that matches, with the values of `keys`.
    async fn matching(&self, scope: &Reach, query: &EntityQuery, keys: &[Key]) -> Result<Vec<EntityRow>, Error> {
        let limit = CANDIDATES_MAX as u64 + 1;
        let candidates = search::candidates(self.reader(), wall(scope), query, limit).await?;
        if candidates.len() > CANDIDATES_MAX {
            return Err(Error::TooLarge(format!(
                "The conditions or the order would look at the values of more than {CANDIDATES_MAX} entities: narrow the entity \
                 filter, or the conditions on entity fields"
            )));
        }
        let mut rows = self.rows(scope, candidates).await?;
        self.fill(&mut rows, keys).await?;
        rows.retain(|row| query.matches(row));
        Ok(rows)
    }

    async fn rows(&self, scope: &Reach, entities: Vec<ListedEntity>) -> Result<Vec<EntityRow>, Error> {
        let own = tenant::find(self.reader(), scope.tenant).await?.map(|tenant| tenant.title).unwrap_or_default();
        let customers: BTreeSet<uuid::Uuid> = entities.iter().filter_map(|entity| entity.customer).collect();
        let customers = customer::by_ids(self.reader(), customers.into_iter().collect()).await?;
        let customers: HashMap<_, Customer> = customers.into_iter().map(|customer| (customer.id, customer)).collect();
        let row = |entity: ListedEntity| {
            let title = entity.customer.and_then(|id| Some(customers.get(&id)?.title.clone()));
            EntityRow { entity, owner: title.unwrap_or_else(|| own.clone()), samples: HashMap::new() }
        };
        Ok(entities.into_iter().map(row).collect())
    }

    /// Adds the values of `keys` that shards have.
    async fn fill(&self, rows: &mut [EntityRow], keys: &[Key]) -> Result<(), Error> {
        if rows.is_empty() || keys.is_empty() {
            return Ok(());
        }
        let series: Vec<String> = keys.iter().filter(|key| key.kind == KeyKind::Series).map(|key| key.name.clone()).collect();
        let attributes: Vec<AttributeKey> =
            keys.iter().filter_map(|key| Some(AttributeKey { scope: key.kind.scope()?, key: key.name.clone() })).collect();
        let entities: Vec<Entity> = rows.iter().map(|row| row.entity.reference().into()).collect();
        let latest = self.data_plane().await?.latest_of(&entities, &series, &attributes).await?;
        for (row, latest) in rows.iter_mut().zip(latest) {
            for key in keys {
                if let Some(sample) = sample(key, &latest) {
                    row.samples.insert(key.clone(), sample);
                }
            }
        }
        Ok(())
    }

    /// Walks where relations have to be walked, and puts attributes of the caller's tenant, customer and user in the place of
    /// dynamic operands.
    async fn resolve(&self, caller: &Caller, query: &mut EntityQuery) -> Result<(), Error> {
        if let Selector::Reached(walk, types) = &query.selector {
            let reached = self.reached(caller, walk.clone()).await?;
            query.selector = Selector::Found(reached.into_iter().map(|end| end.id).collect(), types.clone());
        }
        let mut asked = Vec::new();
        query.filters.iter().for_each(|filter| filter.predicate.dynamics(&mut asked));
        let names: BTreeSet<String> = asked.into_iter().map(|dynamic| dynamic.attribute).collect();
        if names.is_empty() {
            return Ok(());
        }
        let names: Vec<AttributeKey> = names.into_iter().map(|key| AttributeKey { scope: Some(Scope::Server), key }).collect();
        let holders = holders(caller);
        let entities: Vec<Entity> = holders.iter().map(|(_, entity)| (*entity).into()).collect();
        let latest = self.data_plane().await?.latest_of(&entities, &[], &names).await?;
        let known: HashMap<DynamicSource, Latest> = holders.iter().map(|(source, _)| *source).zip(latest).collect();
        let look_up = |dynamic: &Dynamic| -> Option<Value<'static>> {
            let above: &[DynamicSource] = match dynamic.source {
                DynamicSource::User => &[DynamicSource::User, DynamicSource::Customer, DynamicSource::Tenant],
                DynamicSource::Customer => &[DynamicSource::Customer, DynamicSource::Tenant],
                DynamicSource::Tenant => &[DynamicSource::Tenant],
            };
            let reach = if dynamic.inherit { above.len() } else { 1 };
            above.iter().take(reach).find_map(|source| {
                let found = known.get(source)?.attributes.iter().find(|found| found.key == dynamic.attribute)?;
                Some(found.value.clone())
            })
        };
        query.filters.iter_mut().for_each(|filter| filter.predicate.resolve(&look_up));
        Ok(())
    }

    /// Which of the devices are active, which only their shards know; nobody is when nobody can say.
    ///
    /// # Errors
    /// [`Error::Unavailable`].
    pub async fn are_active(&self, devices: &[EntityRef]) -> Result<Vec<bool>, Error> {
        let entities: Vec<Entity> = devices.iter().map(|entity| (*entity).into()).collect();
        let active = AttributeKey { scope: Some(Scope::Server), key: "active".to_owned() };
        let latest = self.data_plane().await?.latest_of(&entities, &[], &[active]).await?;
        Ok(latest.iter().map(|one| one.attributes.iter().any(|found| found.value == Value::Bool(true))).collect())
    }
}

/// Whoever queries reads both the entities and their values.
fn readable(caller: &Caller, query: &EntityQuery) -> Result<Reach, Error> {
    for kind in &query.kinds {
        let resource = if *kind == EntityKind::Asset { Resource::Asset } else { Resource::Device };
        permit_within(caller, resource, Operation::ReadValues)?;
        permit_within(caller, resource, Operation::Read)?;
    }
    caller.scope().ok_or(Error::Forbidden)
}

fn wall(scope: &Reach) -> Wall {
    Wall { tenant: scope.tenant, customer: scope.customer }
}

/// Who stands above a query.
fn holders(caller: &Caller) -> Vec<(DynamicSource, EntityRef)> {
    let Some(tenant) = caller.tenant else { return Vec::new() };
    let mut holders = vec![
        (DynamicSource::Tenant, EntityRef { kind: EntityKind::Tenant, id: tenant, tenant }),
        (DynamicSource::User, EntityRef { kind: EntityKind::User, id: caller.user, tenant }),
    ];
    if let Some(customer) = caller.customer {
        holders.push((DynamicSource::Customer, EntityRef { kind: EntityKind::Customer, id: customer, tenant }));
    }
    holders
}

/// The value of a key: of an attribute of any scope the one written last.
fn sample(key: &Key, latest: &Latest) -> Option<Sample> {
    let Some(scope) = key.kind.scope() else {
        let series = latest.series.iter().find(|series| series.key == key.name)?;
        let point = series.points.first()?;
        return Some(Sample { ts: point.ts, value: point.value.clone() });
    };
    let of_key = latest.attributes.iter().filter(|one| one.key == key.name && scope.is_none_or(|scope| one.scope == scope));
    let newest = of_key.max_by_key(|one| one.last_update)?;
    Some(Sample { ts: newest.last_update, value: newest.value.clone() })
}

fn to_usize(number: u64) -> usize {
    usize::try_from(number).unwrap_or(usize::MAX)
}
