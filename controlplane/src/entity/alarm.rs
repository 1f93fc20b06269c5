//! Rows of alarms: what shards have told of them, the newest version each. An alarm is changed by its originator's shard alone
//! (DESIGN 8.6, 23); nothing here changes what a record says.

use std::collections::{HashMap, HashSet};

use schemas::alarm::{Alarm, Severity};
use sea_orm::{
    ActiveModelBehavior,
    ActiveValue::Set,
    ColumnTrait, Condition, ConnectionTrait, DeriveEntityModel, DerivePrimaryKey, DeriveRelation, EntityTrait, EnumIter, Order,
    PaginatorTrait, PrimaryKeyTrait, QueryFilter, QueryOrder, QuerySelect, QueryTrait, Select,
    sea_query::{Expr, ExprTrait, Func, OnConflict},
};
use uuid::Uuid;

use crate::{
    domain::{AlarmFilter, EntityKind, Page, PageLink, SortOrder},
    entity::{
        StoreError, Write, alarm_parent, asset, comment, customer, device,
        page::{self, Listing},
        tenant, user,
    },
};

#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "alarm")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: Uuid,
    pub version: i64,
    pub tenant_id: Uuid,
    pub originator_type: String,
    pub originator_id: Uuid,
    pub kind: String,
    /// Its place among the severities: 0 is the worst.
    pub severity: i64,
    pub created_ms: i64,
    pub start_ms: i64,
    pub end_ms: i64,
    /// 0: it is not acknowledged; so with the two below.
    pub ack_ms: i64,
    pub clear_ms: i64,
    pub assign_ms: i64,
    pub assignee_id: Option<Uuid>,
    /// The originator's owner sees it, its tenant does.
    pub to_owner: bool,
    pub to_tenant: bool,
    /// Relation types along which it is propagated; see [`alarm_parent::along`].
    pub along: Option<String>,
    /// What a list is searched by, lower-cased.
    pub search: String,
    /// kept.proto's Alarm.
    pub record: Vec<u8>,
}

#[derive(Clone, Copy, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}

/// Rows in one INSERT: keeps the bound variables below SQLite's 32,766.
const ROWS_PER_INSERT_MAX: usize = 500;

impl TryFrom<Model> for Alarm {
    type Error = StoreError;

    fn try_from(row: Model) -> Result<Self, StoreError> {
        Self::decode(&row.record).map_err(|invalid| StoreError::Corrupt { table: "alarm", rule: invalid.to_string() })
    }
}

fn row(alarm: &Alarm) -> ActiveModel {
    let words = [alarm.kind.as_str(), alarm.severity.name(), alarm.status().name()];
    ActiveModel {
        id: Set(alarm.id),
        version: Set(signed(alarm.version)),
        tenant_id: Set(alarm.tenant.0),
        originator_type: Set(alarm.originator_type.clone()),
        originator_id: Set(alarm.originator.0),
        kind: Set(alarm.kind.clone()),
        severity: Set(alarm.severity as i64),
        created_ms: Set(alarm.created_ts),
        start_ms: Set(alarm.start_ts),
        end_ms: Set(alarm.end_ts),
        ack_ms: Set(alarm.ack_ts.unwrap_or(0)),
        clear_ms: Set(alarm.clear_ts.unwrap_or(0)),
        assign_ms: Set(alarm.assign_ts.unwrap_or(0)),
        assignee_id: Set(alarm.assignee),
        to_owner: Set(alarm.propagation.to_owner),
        to_tenant: Set(alarm.propagation.to_tenant),
        along: Set(alarm_parent::along(alarm)),
        search: Set(words.join(" ").to_lowercase()),
        record: Set(alarm.encode()),
    }
}

fn signed(version: u64) -> i64 {
    i64::try_from(version).unwrap_or(i64::MAX)
}

/// Takes what shards have told, as far as it is newer than what is known. An alarm whose originator is gone is passed over: it went
/// with it.
///
/// # Errors
/// [`StoreError`]; so do all functions here.
pub async fn take(write: &mut Write, alarms: Vec<Alarm>) -> Result<(), StoreError> {
    let mut newest: HashMap<Uuid, Alarm> = HashMap::new();
    for alarm in alarms {
        let known = newest.get(&alarm.id).map_or(0, |known| known.version);
        if alarm.version > known {
            newest.insert(alarm.id, alarm);
        }
    }
    let ids: Vec<Uuid> = newest.keys().copied().collect();
    let mut spread: HashMap<Uuid, Option<String>> = HashMap::new();
    for (id, version, along) in known(write.db(), &ids).await? {
        if newest.get(&id).is_some_and(|alarm| signed(alarm.version) <= version) {
            newest.remove(&id);
        }
        spread.insert(id, along);
    }
    let there = originators(write.db(), newest.values()).await?;
    newest.retain(|_, alarm| there.contains(&(alarm.tenant.0, alarm.originator.0)));
    let (deleted, kept): (Vec<Alarm>, Vec<Alarm>) = newest.into_values().partition(|alarm| alarm.deleted);
    let gone: Vec<Uuid> = deleted.iter().map(|alarm| alarm.id).collect();
    comment::delete_of_alarms(write, &gone).await?;
    alarm_parent::delete_of_alarms(write, &gone).await?;
    Entity::delete_many().filter(Column::Id.is_in(gone)).exec(write.db()).await?;
    let columns = [
        Column::Version,
        Column::Severity,
        Column::StartMs,
        Column::EndMs,
        Column::AckMs,
        Column::ClearMs,
        Column::AssignMs,
        Column::AssigneeId,
        Column::ToOwner,
        Column::ToTenant,
        Column::Along,
        Column::Search,
        Column::Record,
    ];
    for some in kept.chunks(ROWS_PER_INSERT_MAX) {
        let replace = OnConflict::column(Column::Id).update_columns(columns).to_owned();
        Entity::insert_many(some.iter().map(row)).on_conflict(replace).exec_without_returning(write.db()).await?;
    }
    let along = |alarm: &Alarm| spread.get(&alarm.id).cloned().flatten();
    let changed: Vec<&Alarm> = kept.iter().filter(|alarm| along(alarm) != alarm_parent::along(alarm)).collect();
    alarm_parent::spread(write, &changed).await
}

/// Of those that are known, the version and along which relations they are propagated.
async fn known(db: &impl ConnectionTrait, ids: &[Uuid]) -> Result<Vec<(Uuid, i64, Option<String>)>, StoreError> {
    let known = Entity::find().select_only().columns([Column::Id, Column::Version, Column::Along]);
    Ok(known.filter(Column::Id.is_in(ids.iter().copied())).into_tuple().all(db).await?)
}

/// Tenant and id of those originators that exist.
async fn originators<'a>(
    db: &impl ConnectionTrait,
    alarms: impl Iterator<Item = &'a Alarm>,
) -> Result<HashSet<(Uuid, Uuid)>, StoreError> {
    let mut of: HashMap<&str, Vec<Uuid>> = HashMap::new();
    for alarm in alarms {
        of.entry(alarm.originator_type.as_str()).or_default().push(alarm.originator.0);
    }
    let mut ids = |kind: EntityKind| of.remove(kind.name()).unwrap_or_default();
    let (devices, assets, tenants) = (ids(EntityKind::Device), ids(EntityKind::Asset), ids(EntityKind::Tenant));
    let (customers, users) = (ids(EntityKind::Customer), ids(EntityKind::User));
    let found = device::Entity::find().select_only().columns([device::Column::TenantId, device::Column::Id]);
    let mut there: Vec<(Uuid, Uuid)> = found.filter(device::Column::Id.is_in(devices)).into_tuple().all(db).await?;
    let found = asset::Entity::find().select_only().columns([asset::Column::TenantId, asset::Column::Id]);
    there.extend(found.filter(asset::Column::Id.is_in(assets)).into_tuple::<(Uuid, Uuid)>().all(db).await?);
    let found = customer::Entity::find().select_only().columns([customer::Column::TenantId, customer::Column::Id]);
    there.extend(found.filter(customer::Column::Id.is_in(customers)).into_tuple::<(Uuid, Uuid)>().all(db).await?);
    let found = user::Entity::find().select_only().columns([user::Column::TenantId, user::Column::Id]);
    let found = found.filter(user::Column::Id.is_in(users)).into_tuple::<(Option<Uuid>, Uuid)>().all(db).await?;
    there.extend(found.into_iter().filter_map(|(tenant, user)| Some((tenant?, user))));
    let found = tenant::Entity::find().select_only().column(tenant::Column::Id).filter(tenant::Column::Id.is_in(tenants));
    there.extend(found.into_tuple::<Uuid>().all(db).await?.into_iter().map(|tenant| (tenant, tenant)));
    Ok(there.into_iter().collect())
}

/// # Errors
/// [`StoreError`].
pub async fn find(db: &impl ConnectionTrait, tenant: Uuid, id: Uuid) -> Result<Option<Alarm>, StoreError> {
    Entity::find_by_id(id).filter(Column::TenantId.eq(tenant)).one(db).await?.map(Alarm::try_from).transpose()
}

/// The alarms of a tenant, or of what belongs to one of its customers, that the filter lets through.
fn selected(tenant: Uuid, customer: Option<Uuid>, filter: &AlarmFilter) -> Select<Entity> {
    let mut select = Entity::find().filter(Column::TenantId.eq(tenant));
    if let Some(customer) = customer {
        let devices = device::Entity::find()
            .select_only()
            .column(device::Column::Id)
            .filter(device::Column::TenantId.eq(tenant))
            .filter(device::Column::CustomerId.eq(customer));
        let assets = asset::Entity::find()
            .select_only()
            .column(asset::Column::Id)
            .filter(asset::Column::TenantId.eq(tenant))
            .filter(asset::Column::CustomerId.eq(customer));
        let of = |own| Column::OriginatorId.in_subquery(own);
        select = select.filter(of(devices.into_query()).or(of(assets.into_query())));
    }
    if let Some((kind, id)) = &filter.originator {
        let own = Condition::all().add(Column::OriginatorId.eq(*id)).add(Column::OriginatorType.eq(kind.as_str()));
        let parent = Column::Id.in_subquery(alarm_parent::of([*id]));
        select = select.filter(Condition::any().add(own).add(parent).add_option(propagated(tenant, kind, *id)));
    }
    if let Some(among) = &filter.among {
        let parents = filter.propagated.then(|| Column::Id.in_subquery(alarm_parent::of(among.iter().copied())));
        let own = Column::OriginatorId.is_in(among.iter().copied());
        select = select.filter(Condition::any().add(own).add_option(parents));
    }
    for (wanted, column) in [(filter.cleared, Column::ClearMs), (filter.acknowledged, Column::AckMs)] {
        match wanted {
            Some(true) => select = select.filter(column.ne(0)),
            Some(false) => select = select.filter(column.eq(0)),
            None => {}
        }
    }
    if !filter.severities.is_empty() {
        select = select.filter(Column::Severity.is_in(filter.severities.iter().map(|severity| *severity as i64)));
    }
    if !filter.kinds.is_empty() {
        select = select.filter(Column::Kind.is_in(filter.kinds.iter().map(String::as_str)));
    }
    if let Some(user) = filter.assignee {
        select = select.filter(Column::AssigneeId.eq(user));
    }
    if let Some(from_ms) = filter.from_ms {
        select = select.filter(Column::CreatedMs.gte(from_ms));
    }
    if let Some(to_ms) = filter.to_ms {
        select = select.filter(Column::CreatedMs.lte(to_ms));
    }
    select
}

/// # Errors
/// [`StoreError`].
pub async fn page(
    db: &impl ConnectionTrait,
    (tenant, customer): (Uuid, Option<Uuid>),
    filter: &AlarmFilter,
    link: &PageLink,
) -> Result<Page<Alarm>, StoreError> {
    let sort = [
        ("createdTime", Column::CreatedMs),
        ("startTs", Column::StartMs),
        ("startTime", Column::StartMs),
        ("endTs", Column::EndMs),
        ("endTime", Column::EndMs),
        ("ackTs", Column::AckMs),
        ("ackTime", Column::AckMs),
        ("clearTs", Column::ClearMs),
        ("clearTime", Column::ClearMs),
        ("assignTs", Column::AssignMs),
        ("type", Column::Kind),
        ("severity", Column::Severity),
        // What is not cleared first.
        ("status", Column::ClearMs),
    ];
    let listing = Listing { id: Column::Id, search: Column::Search, sort: &sort };
    let page = page::page(db, selected(tenant, customer, filter), listing, link).await?;
    let (data, total) = (page.data, page.total_elements);
    let alarms = data.into_iter().map(Alarm::try_from).collect::<Result<Vec<_>, _>>()?;
    Ok(Page::new(alarms, total, link))
}

/// The alarms of others that a customer or a tenant sees, as devices and assets belong to it now.
fn propagated(tenant: Uuid, kind: &str, id: Uuid) -> Option<Condition> {
    let owned_by = |customer: Option<Uuid>| {
        let owner = |column: Expr| match customer {
            Some(customer) => column.eq(customer),
            None => column.is_null(),
        };
        let devices = device::Entity::find().select_only().column(device::Column::Id).filter(device::Column::TenantId.eq(tenant));
        let devices = devices.filter(owner(Expr::col((device::Entity, device::Column::CustomerId))));
        let assets = asset::Entity::find().select_only().column(asset::Column::Id).filter(asset::Column::TenantId.eq(tenant));
        let assets = assets.filter(owner(Expr::col((asset::Entity, asset::Column::CustomerId))));
        let of = |own| Column::OriginatorId.in_subquery(own);
        Condition::all().add(Column::ToOwner.eq(true)).add(of(devices.into_query()).or(of(assets.into_query())))
    };
    if kind == EntityKind::Customer.name() {
        return Some(owned_by(Some(id)));
    }
    (kind == EntityKind::Tenant.name()).then(|| Condition::any().add(Column::ToTenant.eq(true)).add(owned_by(None)))
}

/// How many alarms the filter lets through.
///
/// # Errors
/// [`StoreError`].
pub async fn count(
    db: &impl ConnectionTrait,
    (tenant, customer): (Uuid, Option<Uuid>),
    filter: &AlarmFilter,
) -> Result<u64, StoreError> {
    Ok(selected(tenant, customer, filter).count(db).await?)
}

/// The worst severity among the alarms that the filter lets through.
///
/// # Errors
/// [`StoreError`].
pub async fn worst(
    db: &impl ConnectionTrait,
    (tenant, customer): (Uuid, Option<Uuid>),
    filter: &AlarmFilter,
) -> Result<Option<Severity>, StoreError> {
    let worst = selected(tenant, customer, filter).order_by_asc(Column::Severity).limit(1).one(db).await?;
    Ok(worst.map(Alarm::try_from).transpose()?.map(|alarm| alarm.severity))
}

/// The types of alarms that there are.
///
/// # Errors
/// [`StoreError`].
pub async fn kinds(
    db: &impl ConnectionTrait,
    (tenant, customer): (Uuid, Option<Uuid>),
    link: &PageLink,
) -> Result<Page<String>, StoreError> {
    let mut select = selected(tenant, customer, &AlarmFilter::default()).select_only().column(Column::Kind).distinct();
    if let Some(text) = &link.text_search {
        select = select.filter(Expr::expr(Func::lower(Expr::col(Column::Kind))).like(page::contains(text)));
    }
    let order = match link.sort_order {
        SortOrder::Ascending => Order::Asc,
        SortOrder::Descending => Order::Desc,
    };
    let total = select.clone().count(db).await?;
    let kinds = select.order_by(Column::Kind, order).offset(link.offset()).limit(link.page_size).into_tuple().all(db).await?;
    Ok(Page::new(kinds, total, link))
}

/// Forgets the alarms of what is gone, and that others were propagated to it.
///
/// # Errors
/// [`StoreError`].
pub async fn delete_of_originator(write: &mut Write, originator: Uuid) -> Result<(), StoreError> {
    alarm_parent::delete_of_entity(write, originator).await?;
    delete_where(write, Column::OriginatorId, originator).await
}

/// Forgets the alarms of a tenant that is to go.
///
/// # Errors
/// [`StoreError`].
pub async fn delete_of_tenant(write: &mut Write, tenant: Uuid) -> Result<(), StoreError> {
    delete_where(write, Column::TenantId, tenant).await
}

async fn delete_where(write: &mut Write, column: Column, id: Uuid) -> Result<(), StoreError> {
    let those = Entity::find().select_only().column(Column::Id).filter(column.eq(id)).into_query();
    alarm_parent::delete_within(write, those.clone()).await?;
    comment::Entity::delete_many().filter(comment::Column::AlarmId.in_subquery(those)).exec(write.db()).await?;
    Entity::delete_many().filter(column.eq(id)).exec(write.db()).await?;
    Ok(())
}
