//! Rows of devices. Names are unique in their tenant, whatever their case.

use std::collections::HashMap;

use sea_orm::{
    ActiveModelBehavior, ActiveModelTrait, ActiveValue::Set, ColumnTrait, ConnectionTrait, DeriveEntityModel, DerivePrimaryKey,
    DeriveRelation, EntityTrait, EnumIter, PaginatorTrait, PrimaryKeyTrait, QueryFilter,
};
use uuid::Uuid;

use crate::{
    domain::{Customer, Device, DeviceFilter, DeviceInfo, EntityKind, Page, PageLink},
    entity::{
        StoreError, Write, alarm, call, customer, json,
        page::{self, Listing},
        profile, relation, rollout, unique,
    },
};

#[derive(Clone, Debug, PartialEq, DeriveEntityModel)]
#[sea_orm(table_name = "device")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: Uuid,
    pub created_ms: i64,
    pub version: i64,
    pub revision: i64,
    pub tenant_id: Uuid,
    pub customer_id: Option<Uuid>,
    pub profile_id: Uuid,
    pub name: String,
    pub search: String,
    pub kind: String,
    pub label: Option<String>,
    pub additional_info: String,
    pub provisioned: bool,
    pub firmware_id: Option<Uuid>,
    pub software_id: Option<Uuid>,
}

#[derive(Clone, Copy, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}

impl From<Model> for Device {
    fn from(row: Model) -> Self {
        Self {
            id: row.id,
            created_ms: row.created_ms,
            version: row.version,
            tenant: row.tenant_id,
            customer: row.customer_id,
            name: row.name,
            kind: row.kind,
            label: row.label,
            profile: row.profile_id,
            provisioned: row.provisioned,
            firmware: row.firmware_id,
            software: row.software_id,
            additional_info: json(&row.additional_info),
        }
    }
}

fn row(device: &Device, revision: i64) -> ActiveModel {
    ActiveModel {
        id: Set(device.id),
        created_ms: Set(device.created_ms),
        version: Set(device.version),
        revision: Set(revision),
        tenant_id: Set(device.tenant),
        customer_id: Set(device.customer),
        profile_id: Set(device.profile),
        name: Set(device.name.clone()),
        search: Set(device.name.to_lowercase()),
        kind: Set(device.kind.clone()),
        label: Set(device.label.clone()),
        additional_info: Set(device.additional_info.to_string()),
        provisioned: Set(device.provisioned),
        firmware_id: Set(device.firmware),
        software_id: Set(device.software),
    }
}

/// # Errors
/// [`StoreError`]; so do all functions here.
pub async fn find(db: &impl ConnectionTrait, tenant: Uuid, id: Uuid) -> Result<Option<Device>, StoreError> {
    Ok(Entity::find_by_id(id).filter(Column::TenantId.eq(tenant)).one(db).await?.map(Device::from))
}

/// The device of this id, of whatever tenant, with the revision at which data planes know it. For what devices themselves ask:
/// people are shown what is of their tenant.
///
/// # Errors
/// [`StoreError`].
pub async fn anywhere(db: &impl ConnectionTrait, id: Uuid) -> Result<Option<(Device, u64)>, StoreError> {
    Ok(Entity::find_by_id(id).one(db).await?.map(with_revision))
}

/// [`by_name`] with the revision at which data planes know it.
///
/// # Errors
/// [`StoreError`].
pub async fn named(db: &impl ConnectionTrait, tenant: Uuid, name: &str) -> Result<Option<(Device, u64)>, StoreError> {
    let named = Entity::find().filter(Column::TenantId.eq(tenant)).filter(Column::Search.eq(name.to_lowercase()));
    Ok(named.one(db).await?.map(with_revision))
}

fn with_revision(row: Model) -> (Device, u64) {
    let revision = u64::try_from(row.revision).unwrap_or(0);
    (Device::from(row), revision)
}

/// How many devices a tenant has.
///
/// # Errors
/// [`StoreError`].
pub async fn count(db: &impl ConnectionTrait, tenant: Uuid) -> Result<u64, StoreError> {
    Ok(Entity::find().filter(Column::TenantId.eq(tenant)).count(db).await?)
}

/// A device of whatever tenant, for data planes.
///
/// # Errors
/// [`StoreError`].
pub async fn by_id(db: &impl ConnectionTrait, id: Uuid) -> Result<Option<Device>, StoreError> {
    Ok(Entity::find_by_id(id).one(db).await?.map(Device::from))
}

/// # Errors
/// [`StoreError`].
pub async fn by_name(db: &impl ConnectionTrait, tenant: Uuid, name: &str) -> Result<Option<Device>, StoreError> {
    Ok(named(db, tenant, name).await?.map(|(device, _)| device))
}

/// Those of the lower-cased `names` that exist in the tenant.
///
/// # Errors
/// [`StoreError`].
pub async fn by_names(db: &impl ConnectionTrait, tenant: Uuid, names: Vec<String>) -> Result<Vec<Device>, StoreError> {
    let named = Entity::find().filter(Column::TenantId.eq(tenant)).filter(Column::Search.is_in(names));
    Ok(named.all(db).await?.into_iter().map(Device::from).collect())
}

/// Those of `ids` in the tenant, and in the customer if there is one.
///
/// # Errors
/// [`StoreError`].
pub async fn by_ids(
    db: &impl ConnectionTrait,
    tenant: Uuid,
    customer: Option<Uuid>,
    ids: &[Uuid],
) -> Result<Vec<Device>, StoreError> {
    let mut select = Entity::find().filter(Column::TenantId.eq(tenant)).filter(Column::Id.is_in(ids.iter().copied()));
    if let Some(customer) = customer {
        select = select.filter(Column::CustomerId.eq(customer));
    }
    Ok(select.all(db).await?.into_iter().map(Device::from).collect())
}

/// # Errors
/// [`StoreError::Duplicate`] for the name.
pub async fn insert(write: &mut Write, device: &Device) -> Result<(), StoreError> {
    insert_all(write, std::slice::from_ref(device)).await
}

/// All together; at most some hundred at once, for the sake of the bound variables.
///
/// # Errors
/// [`StoreError::Duplicate`] for a name.
pub async fn insert_all(write: &mut Write, devices: &[Device]) -> Result<(), StoreError> {
    if devices.is_empty() {
        return Ok(());
    }
    let ids: Vec<Uuid> = devices.iter().map(|device| device.id).collect();
    let revisions = write.changed_each(EntityKind::Device, &ids).await?;
    let rows = devices.iter().zip(revisions).map(|(device, revision)| row(device, revision));
    let done = Entity::insert_many(rows).exec_without_returning(write.db()).await;
    done.map(|_| ()).map_err(unique(EntityKind::Device, &[("search", "name")]))
}

/// # Errors
/// [`StoreError::Duplicate`] for the name.
pub async fn update(write: &mut Write, device: &Device) -> Result<(), StoreError> {
    let revision = write.changed(EntityKind::Device, device.id, false).await?;
    let done = row(device, revision).update(write.db()).await;
    done.map(|_| ()).map_err(unique(EntityKind::Device, &[("search", "name")]))
}

/// Its credentials must be gone already.
///
/// # Errors
/// [`StoreError`].
pub async fn delete(write: &mut Write, id: Uuid) -> Result<(), StoreError> {
    write.changed(EntityKind::Device, id, true).await?;
    relation::delete_of(write, EntityKind::Device, id).await?;
    call::delete_of_device(write, id).await?;
    alarm::delete_of_originator(write, id).await?;
    rollout::delete_of_device(write, id).await?;
    Entity::delete_by_id(id).exec(write.db()).await?;
    Ok(())
}

/// # Errors
/// [`StoreError`].
pub async fn page(
    db: &impl ConnectionTrait,
    tenant: Uuid,
    filter: &DeviceFilter,
    link: &PageLink,
) -> Result<Page<Device>, StoreError> {
    let sort = [
        ("createdTime", Column::CreatedMs),
        ("name", Column::Search),
        ("type", Column::Kind),
        ("deviceProfileName", Column::Kind),
        ("label", Column::Label),
    ];
    let listing = Listing { id: Column::Id, search: Column::Search, sort: &sort };
    let mut select = Entity::find().filter(Column::TenantId.eq(tenant));
    if let Some(customer) = filter.customer {
        select = select.filter(Column::CustomerId.eq(customer));
    }
    if let Some(kind) = &filter.kind {
        select = select.filter(Column::Kind.eq(kind.as_str()));
    }
    if let Some(profile) = filter.profile {
        select = select.filter(Column::ProfileId.eq(profile));
    }
    Ok(page::page(db, select, listing, link).await?.map(Device::from))
}

/// The devices with the names of their customers and profiles, in two queries whatever their number.
///
/// # Errors
/// [`StoreError`].
pub async fn infos(db: &impl ConnectionTrait, devices: Vec<Device>) -> Result<Vec<DeviceInfo>, StoreError> {
    let mut customers: Vec<Uuid> = devices.iter().filter_map(|device| device.customer).collect();
    customers.sort_unstable();
    customers.dedup();
    let mut profiles: Vec<Uuid> = devices.iter().map(|device| device.profile).collect();
    profiles.sort_unstable();
    profiles.dedup();
    let customers = customer::by_ids(db, customers).await?;
    let customers: HashMap<Uuid, Customer> = customers.into_iter().map(|customer| (customer.id, customer)).collect();
    let profiles: HashMap<_, _> = profile::names(db, profiles).await?.into_iter().collect();
    let info = |device: Device| DeviceInfo {
        customer_title: device.customer.and_then(|id| Some(customers.get(&id)?.title.clone())),
        customer_is_public: device.customer.and_then(|id| customers.get(&id)).is_some_and(Customer::is_public),
        profile_name: profiles.get(&device.profile).cloned().unwrap_or_else(|| device.kind.clone()),
        device,
    };
    Ok(devices.into_iter().map(info).collect())
}
