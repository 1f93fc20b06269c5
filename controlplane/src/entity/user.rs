//! Rows of people, with the hash of their password and the secret of their activation link. Neither leaves `app::login`.

use sea_orm::{
    ActiveModelBehavior, ActiveModelTrait, ActiveValue::Set, ColumnTrait, ConnectionTrait, DeriveEntityModel, DerivePrimaryKey,
    DeriveRelation, EntityTrait, EnumIter, PaginatorTrait, PrimaryKeyTrait, QueryFilter,
};
use uuid::Uuid;

use crate::{
    domain::{Authority, EntityKind, Page, PageLink, User},
    entity::{
        StoreError, Write, alarm, json,
        page::{self, Listing},
        relation, unique,
    },
};

#[derive(Clone, PartialEq, DeriveEntityModel)]
#[sea_orm(table_name = "app_user")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: Uuid,
    pub created_ms: i64,
    pub version: i64,
    pub tenant_id: Option<Uuid>,
    pub customer_id: Option<Uuid>,
    pub email: String,
    pub authority: String,
    pub first_name: Option<String>,
    pub last_name: Option<String>,
    pub phone: Option<String>,
    pub enabled: bool,
    pub password_hash: Option<String>,
    pub password_ms: i64,
    pub activation: Option<String>,
    pub activation_until_ms: i64,
    pub additional_info: String,
}

impl std::fmt::Debug for Model {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "User({} {})", self.id, self.email)
    }
}

#[derive(Clone, Copy, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}

/// A user with what signing in needs.
#[derive(Clone, PartialEq)]
pub struct WithSecret {
    pub user: User,
    /// `None` until the user was activated.
    pub password_hash: Option<String>,
    /// When the password was set; tokens from before are refused.
    pub password_ms: i64,
    pub activation: Option<String>,
    pub activation_until_ms: i64,
}

impl std::fmt::Debug for WithSecret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.user.fmt(f)
    }
}

/// Which users a list shows; `None` does not narrow.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Filter {
    pub tenant: Option<Uuid>,
    pub customer: Option<Uuid>,
    pub authority: Option<Authority>,
}

fn with_secrets(row: Model) -> Result<WithSecret, StoreError> {
    let authority = Authority::parse(&row.authority)
        .ok_or_else(|| StoreError::Corrupt { table: "app_user", rule: format!("no authority {}", row.authority) })?;
    let user = User {
        id: row.id,
        created_ms: row.created_ms,
        version: row.version,
        tenant: row.tenant_id,
        customer: row.customer_id,
        email: row.email,
        authority,
        first_name: row.first_name,
        last_name: row.last_name,
        phone: row.phone,
        enabled: row.enabled,
        additional_info: json(&row.additional_info),
    };
    let Model { password_hash, password_ms, activation, activation_until_ms, .. } = row;
    Ok(WithSecret { user, password_hash, password_ms, activation, activation_until_ms })
}

/// The columns that [`User`] has; the secrets are left alone.
fn row(user: &User) -> ActiveModel {
    ActiveModel {
        id: Set(user.id),
        created_ms: Set(user.created_ms),
        version: Set(user.version),
        tenant_id: Set(user.tenant),
        customer_id: Set(user.customer),
        email: Set(user.email.clone()),
        authority: Set(user.authority.name().to_owned()),
        first_name: Set(user.first_name.clone()),
        last_name: Set(user.last_name.clone()),
        phone: Set(user.phone.clone()),
        enabled: Set(user.enabled),
        additional_info: Set(user.additional_info.to_string()),
        ..Default::default()
    }
}

/// # Errors
/// [`StoreError`]; so do all functions here.
pub async fn find(db: &impl ConnectionTrait, id: Uuid) -> Result<Option<User>, StoreError> {
    Ok(with_secret(db, id).await?.map(|stored| stored.user))
}

/// Those of `ids` that exist, of whatever tenant.
///
/// # Errors
/// [`StoreError`].
pub async fn by_ids(db: &impl ConnectionTrait, ids: Vec<Uuid>) -> Result<Vec<User>, StoreError> {
    let found = Entity::find().filter(Column::Id.is_in(ids)).all(db).await?;
    found.into_iter().map(|row| with_secrets(row).map(|stored| stored.user)).collect()
}

/// # Errors
/// [`StoreError`].
pub async fn with_secret(db: &impl ConnectionTrait, id: Uuid) -> Result<Option<WithSecret>, StoreError> {
    Entity::find_by_id(id).one(db).await?.map(with_secrets).transpose()
}

/// `email` is lower-cased.
///
/// # Errors
/// [`StoreError`].
pub async fn by_email(db: &impl ConnectionTrait, email: &str) -> Result<Option<WithSecret>, StoreError> {
    Entity::find().filter(Column::Email.eq(email)).one(db).await?.map(with_secrets).transpose()
}

/// # Errors
/// [`StoreError`].
pub async fn by_activation(db: &impl ConnectionTrait, token: &str) -> Result<Option<WithSecret>, StoreError> {
    Entity::find().filter(Column::Activation.eq(token)).one(db).await?.map(with_secrets).transpose()
}

/// Is there any user at all?
///
/// # Errors
/// [`StoreError`].
pub async fn any(db: &impl ConnectionTrait) -> Result<bool, StoreError> {
    Ok(Entity::find().one(db).await?.is_some())
}

/// How many users a tenant has.
///
/// # Errors
/// [`StoreError`].
pub async fn count(db: &impl ConnectionTrait, tenant: Uuid) -> Result<u64, StoreError> {
    Ok(Entity::find().filter(Column::TenantId.eq(tenant)).count(db).await?)
}

/// # Errors
/// [`StoreError::Duplicate`] for the e-mail address.
pub async fn insert(write: &mut Write, user: &User) -> Result<(), StoreError> {
    let row = ActiveModel {
        password_hash: Set(None),
        password_ms: Set(0),
        activation: Set(None),
        activation_until_ms: Set(0),
        ..row(user)
    };
    let done = Entity::insert(row).exec_without_returning(write.db()).await;
    done.map(|_| ()).map_err(unique(EntityKind::User, &[("email", "email")]))
}

/// # Errors
/// [`StoreError::Duplicate`] for the e-mail address.
pub async fn update(write: &mut Write, user: &User) -> Result<(), StoreError> {
    let done = row(user).update(write.db()).await;
    done.map(|_| ()).map_err(unique(EntityKind::User, &[("email", "email")]))
}

/// Sets the password, spends the activation link and enables the user.
///
/// # Errors
/// [`StoreError`].
pub async fn set_password(write: &mut Write, id: Uuid, hash: &str) -> Result<(), StoreError> {
    let row = ActiveModel {
        id: Set(id),
        enabled: Set(true),
        password_hash: Set(Some(hash.to_owned())),
        password_ms: Set(write.now_ms()),
        activation: Set(None),
        activation_until_ms: Set(0),
        ..Default::default()
    };
    row.update(write.db()).await?;
    Ok(())
}

/// # Errors
/// [`StoreError`].
pub async fn set_activation(write: &mut Write, id: Uuid, token: &str, until_ms: i64) -> Result<(), StoreError> {
    let row = ActiveModel {
        id: Set(id),
        activation: Set(Some(token.to_owned())),
        activation_until_ms: Set(until_ms),
        ..Default::default()
    };
    row.update(write.db()).await?;
    Ok(())
}

/// # Errors
/// [`StoreError`].
pub async fn set_enabled(write: &mut Write, id: Uuid, enabled: bool) -> Result<(), StoreError> {
    ActiveModel { id: Set(id), enabled: Set(enabled), ..Default::default() }.update(write.db()).await?;
    Ok(())
}

/// # Errors
/// [`StoreError`].
pub async fn delete(write: &mut Write, id: Uuid) -> Result<(), StoreError> {
    relation::delete_of(write, EntityKind::User, id).await?;
    alarm::delete_of_originator(write, id).await?;
    Entity::delete_by_id(id).exec(write.db()).await?;
    Ok(())
}

/// # Errors
/// [`StoreError`].
pub async fn page(db: &impl ConnectionTrait, filter: &Filter, link: &PageLink) -> Result<Page<User>, StoreError> {
    let sort = [
        ("createdTime", Column::CreatedMs),
        ("email", Column::Email),
        ("firstName", Column::FirstName),
        ("lastName", Column::LastName),
    ];
    let listing = Listing { id: Column::Id, search: Column::Email, sort: &sort };
    let mut select = Entity::find();
    if let Some(tenant) = filter.tenant {
        select = select.filter(Column::TenantId.eq(tenant));
    }
    if let Some(customer) = filter.customer {
        select = select.filter(Column::CustomerId.eq(customer));
    }
    if let Some(authority) = filter.authority {
        select = select.filter(Column::Authority.eq(authority.name()));
    }
    let Page { data, total_pages, total_elements, has_next } = page::page(db, select, listing, link).await?;
    let data = data.into_iter().map(|row| Ok(with_secrets(row)?.user)).collect::<Result<_, StoreError>>()?;
    Ok(Page { data, total_pages, total_elements, has_next })
}
