//! Rows of OTA packages, and which devices and profiles have one. Never holds their bytes: those are files.

use sea_orm::{
    ActiveModelBehavior, ActiveModelTrait,
    ActiveValue::Set,
    ColumnTrait, Condition, ConnectionTrait, DeriveEntityModel, DerivePrimaryKey, DeriveRelation, EntityTrait, EnumIter,
    FromQueryResult, PaginatorTrait, PrimaryKeyTrait, QueryFilter, QuerySelect,
    sea_query::{Expr, ExprTrait},
};
use uuid::Uuid;

use crate::{
    domain::{Algorithm, EntityKind, Package, PackageBytes, PackageFilter, PackageKind, PackagePlace, Page, PageLink},
    entity::{
        StoreError, Write, device, json,
        page::{self, Listing},
        profile, unique,
    },
};

#[derive(Clone, Debug, PartialEq, DeriveEntityModel)]
#[sea_orm(table_name = "ota_package")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: Uuid,
    pub created_ms: i64,
    pub version: i64,
    pub tenant_id: Uuid,
    pub profile_id: Uuid,
    pub kind: String,
    pub title: String,
    pub release: String,
    pub search: String,
    pub tag: Option<String>,
    pub url: Option<String>,
    pub file_name: Option<String>,
    pub content_type: Option<String>,
    pub algorithm: Option<String>,
    pub checksum: Option<String>,
    pub bytes: i64,
    pub additional_info: String,
}

#[derive(Clone, Copy, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}

/// The row as a package; one that says something impossible is named.
fn package(row: Model) -> Result<Package, StoreError> {
    let corrupt = |rule: String| StoreError::Corrupt { table: "ota_package", rule };
    let kind = PackageKind::parse(&row.kind).ok_or_else(|| corrupt(format!("kind {:?}", row.kind)))?;
    let place = match (row.url, row.algorithm, row.checksum) {
        (Some(url), ..) => PackagePlace::Url(url),
        (None, Some(algorithm), Some(checksum)) => PackagePlace::Here(PackageBytes {
            file_name: row.file_name.unwrap_or_default(),
            content_type: row.content_type.unwrap_or_default(),
            algorithm: Algorithm::parse(&algorithm).ok_or_else(|| corrupt(format!("algorithm {algorithm:?}")))?,
            checksum,
            size: u64::try_from(row.bytes).unwrap_or(0),
        }),
        _ => PackagePlace::Nowhere,
    };
    Ok(Package {
        id: row.id,
        created_ms: row.created_ms,
        version: row.version,
        tenant: row.tenant_id,
        profile: row.profile_id,
        kind,
        title: row.title,
        release: row.release,
        tag: row.tag,
        place,
        additional_info: json(&row.additional_info),
    })
}

fn row(package: &Package) -> ActiveModel {
    let (url, here) = match &package.place {
        PackagePlace::Nowhere => (None, None),
        PackagePlace::Here(bytes) => (None, Some(bytes)),
        PackagePlace::Url(url) => (Some(url.clone()), None),
    };
    ActiveModel {
        id: Set(package.id),
        created_ms: Set(package.created_ms),
        version: Set(package.version),
        tenant_id: Set(package.tenant),
        profile_id: Set(package.profile),
        kind: Set(package.kind.name().to_owned()),
        title: Set(package.title.clone()),
        release: Set(package.release.clone()),
        search: Set(package.named().to_lowercase()),
        tag: Set(package.tag.clone()),
        url: Set(url),
        file_name: Set(here.map(|bytes| bytes.file_name.clone())),
        content_type: Set(here.map(|bytes| bytes.content_type.clone())),
        algorithm: Set(here.map(|bytes| bytes.algorithm.name().to_owned())),
        checksum: Set(here.map(|bytes| bytes.checksum.clone())),
        bytes: Set(here.map_or(0, |bytes| i64::try_from(bytes.size).unwrap_or(i64::MAX))),
        additional_info: Set(package.additional_info.to_string()),
    }
}

/// # Errors
/// [`StoreError`]; so do all functions here.
pub async fn find(db: &impl ConnectionTrait, tenant: Uuid, id: Uuid) -> Result<Option<Package>, StoreError> {
    let found = Entity::find_by_id(id).filter(Column::TenantId.eq(tenant)).one(db).await?;
    found.map(package).transpose()
}

/// # Errors
/// [`StoreError::Duplicate`] for title and version.
pub async fn insert(write: &mut Write, package: &Package) -> Result<(), StoreError> {
    let done = Entity::insert(row(package)).exec_without_returning(write.db()).await;
    done.map(|_| ()).map_err(unique(EntityKind::OtaPackage, &[("title", "title and version")]))
}

/// # Errors
/// [`StoreError`].
pub async fn update(write: &mut Write, package: &Package) -> Result<(), StoreError> {
    row(package).update(write.db()).await?;
    Ok(())
}

/// # Errors
/// [`StoreError`].
pub async fn delete(write: &mut Write, id: Uuid) -> Result<(), StoreError> {
    Entity::delete_by_id(id).exec(write.db()).await?;
    Ok(())
}

/// # Errors
/// [`StoreError`].
pub async fn page(
    db: &impl ConnectionTrait,
    tenant: Uuid,
    filter: &PackageFilter,
    link: &PageLink,
) -> Result<Page<Package>, StoreError> {
    let sort = [
        ("createdTime", Column::CreatedMs),
        ("title", Column::Search),
        ("version", Column::Release),
        ("type", Column::Kind),
        ("tag", Column::Tag),
        ("fileName", Column::FileName),
        ("dataSize", Column::Bytes),
        ("checksum", Column::Checksum),
    ];
    let listing = Listing { id: Column::Id, search: Column::Search, sort: &sort };
    let mut select = Entity::find().filter(Column::TenantId.eq(tenant));
    if let Some(profile) = filter.profile {
        select = select.filter(Column::ProfileId.eq(profile));
    }
    if let Some(kind) = filter.kind {
        select = select.filter(Column::Kind.eq(kind.name()));
    }
    if filter.with_data {
        select = select.filter(Condition::any().add(Column::Url.is_not_null()).add(Column::Checksum.is_not_null()));
    }
    let Page { data, total_pages, total_elements, has_next } = page::page(db, select, listing, link).await?;
    let data = data.into_iter().map(package).collect::<Result<_, _>>()?;
    Ok(Page { data, total_pages, total_elements, has_next })
}

#[derive(FromQueryResult)]
struct Total {
    total: Option<i64>,
}

/// Bytes of all packages of the tenant.
///
/// # Errors
/// [`StoreError`].
pub async fn bytes_of_tenant(db: &impl ConnectionTrait, tenant: Uuid) -> Result<u64, StoreError> {
    let sum = Expr::col(Column::Bytes).sum().cast_as("BIGINT");
    let select = Entity::find().select_only().column_as(sum, "total").filter(Column::TenantId.eq(tenant));
    let total = select.into_model::<Total>().one(db).await?.and_then(|row| row.total);
    Ok(u64::try_from(total.unwrap_or(0)).unwrap_or(0))
}

/// The ids of every package whose bytes are here; of one tenant, if given.
///
/// # Errors
/// [`StoreError`].
pub async fn stored_ids(db: &impl ConnectionTrait, tenant: Option<Uuid>) -> Result<Vec<Uuid>, StoreError> {
    let mut select = Entity::find().select_only().column(Column::Id).filter(Column::Checksum.is_not_null());
    if let Some(tenant) = tenant {
        select = select.filter(Column::TenantId.eq(tenant));
    }
    Ok(select.into_tuple().all(db).await?)
}

/// How many packages are for devices of this profile.
///
/// # Errors
/// [`StoreError`].
pub async fn of_profile(db: &impl ConnectionTrait, profile: Uuid) -> Result<u64, StoreError> {
    Ok(Entity::find().filter(Column::ProfileId.eq(profile)).count(db).await?)
}

/// How many devices, and how many profiles, have this package.
///
/// # Errors
/// [`StoreError`].
pub async fn users(db: &impl ConnectionTrait, id: Uuid) -> Result<(u64, u64), StoreError> {
    let devices = Condition::any().add(device::Column::FirmwareId.eq(id)).add(device::Column::SoftwareId.eq(id));
    let profiles = Condition::any().add(profile::Column::FirmwareId.eq(id)).add(profile::Column::SoftwareId.eq(id));
    let devices = device::Entity::find().filter(devices).count(db).await?;
    Ok((devices, profile::Entity::find().filter(profiles).count(db).await?))
}
