//! Rows of calculated fields with their configuration, which was checked before it came here.

use sea_orm::{
    ActiveModelBehavior, ActiveModelTrait, ActiveValue::Set, ColumnTrait, ConnectionTrait, DeriveEntityModel, DerivePrimaryKey,
    DeriveRelation, EntityTrait, EnumIter, PrimaryKeyTrait, QueryFilter, QuerySelect, sea_query::ExprTrait,
};
use uuid::Uuid;

use crate::{
    domain::{CalculatedField, EntityKind, FieldOf, Page, PageLink},
    entity::{
        StoreError, Write, json,
        page::{self, Listing},
        unique,
    },
};

#[derive(Clone, Debug, PartialEq, DeriveEntityModel)]
#[sea_orm(table_name = "calculated_field")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: Uuid,
    pub created_ms: i64,
    pub version: i64,
    pub revision: i64,
    pub tenant_id: Uuid,
    /// Of either this or `profile_id`.
    pub device_id: Option<Uuid>,
    pub profile_id: Option<Uuid>,
    pub name: String,
    pub search: String,
    pub configuration: String,
    pub configuration_version: i64,
    pub debug_settings: String,
    pub additional_info: String,
}

#[derive(Clone, Copy, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}

impl From<Model> for CalculatedField {
    fn from(row: Model) -> Self {
        let Model { id, created_ms, version, tenant_id: tenant, device_id, profile_id, name, configuration_version, .. } = row;
        let of = match device_id {
            Some(device) => FieldOf::Device(device),
            None => FieldOf::Profile(profile_id.unwrap_or_default()),
        };
        let (configuration, debug_settings) = (json(&row.configuration), json(&row.debug_settings));
        let additional_info = json(&row.additional_info);
        Self { id, created_ms, version, tenant, of, name, configuration, configuration_version, debug_settings, additional_info }
    }
}

fn row(field: &CalculatedField, revision: i64) -> ActiveModel {
    let (device_id, profile_id) = match field.of {
        FieldOf::Device(id) => (Some(id), None),
        FieldOf::Profile(id) => (None, Some(id)),
    };
    ActiveModel {
        id: Set(field.id),
        created_ms: Set(field.created_ms),
        version: Set(field.version),
        revision: Set(revision),
        tenant_id: Set(field.tenant),
        device_id: Set(device_id),
        profile_id: Set(profile_id),
        name: Set(field.name.clone()),
        search: Set(field.name.to_lowercase()),
        configuration: Set(field.configuration.to_string()),
        configuration_version: Set(field.configuration_version),
        debug_settings: Set(field.debug_settings.to_string()),
        additional_info: Set(field.additional_info.to_string()),
    }
}

fn of(of: FieldOf) -> sea_orm::sea_query::SimpleExpr {
    match of {
        FieldOf::Device(id) => Column::DeviceId.eq(id),
        FieldOf::Profile(id) => Column::ProfileId.eq(id),
    }
}

/// # Errors
/// [`StoreError`]; so do all functions here.
pub async fn find(db: &impl ConnectionTrait, tenant: Uuid, id: Uuid) -> Result<Option<CalculatedField>, StoreError> {
    let found = Entity::find_by_id(id).filter(Column::TenantId.eq(tenant)).one(db).await?;
    Ok(found.map(CalculatedField::from))
}

/// All fields of a device or a profile.
///
/// # Errors
/// [`StoreError`].
pub async fn all_of(db: &impl ConnectionTrait, tenant: Uuid, whose: FieldOf) -> Result<Vec<CalculatedField>, StoreError> {
    let rows = Entity::find().filter(Column::TenantId.eq(tenant).and(of(whose))).all(db).await?;
    Ok(rows.into_iter().map(CalculatedField::from).collect())
}

/// # Errors
/// [`StoreError::Duplicate`] for the name.
pub async fn insert(write: &mut Write, field: &CalculatedField) -> Result<(), StoreError> {
    let revision = write.changed(EntityKind::CalculatedField, field.id, false).await?;
    let done = Entity::insert(row(field, revision)).exec_without_returning(write.db()).await;
    done.map(|_| ()).map_err(unique(EntityKind::CalculatedField, &[("search", "name")]))
}

/// # Errors
/// [`StoreError::Duplicate`] for the name.
pub async fn update(write: &mut Write, field: &CalculatedField) -> Result<(), StoreError> {
    let revision = write.changed(EntityKind::CalculatedField, field.id, false).await?;
    let done = row(field, revision).update(write.db()).await;
    done.map(|_| ()).map_err(unique(EntityKind::CalculatedField, &[("search", "name")]))
}

/// # Errors
/// [`StoreError`].
pub async fn delete(write: &mut Write, id: Uuid) -> Result<(), StoreError> {
    write.changed(EntityKind::CalculatedField, id, true).await?;
    Entity::delete_by_id(id).exec(write.db()).await?;
    Ok(())
}

/// Those of a device or a profile that goes.
///
/// # Errors
/// [`StoreError`].
pub async fn delete_of(write: &mut Write, whose: FieldOf) -> Result<(), StoreError> {
    let ids: Vec<Uuid> = Entity::find().select_only().column(Column::Id).filter(of(whose)).into_tuple().all(write.db()).await?;
    if !ids.is_empty() {
        write.changed_all(EntityKind::CalculatedField, &ids, true).await?;
        Entity::delete_many().filter(of(whose)).exec(write.db()).await?;
    }
    Ok(())
}

/// Those of a device or a profile.
///
/// # Errors
/// [`StoreError`].
pub async fn page(
    db: &impl ConnectionTrait,
    tenant: Uuid,
    whose: FieldOf,
    link: &PageLink,
) -> Result<Page<CalculatedField>, StoreError> {
    let sort = [("createdTime", Column::CreatedMs), ("name", Column::Search)];
    let listing = Listing { id: Column::Id, search: Column::Search, sort: &sort };
    let select = Entity::find().filter(Column::TenantId.eq(tenant).and(of(whose)));
    Ok(page::page(db, select, listing, link).await?.map(CalculatedField::from))
}
