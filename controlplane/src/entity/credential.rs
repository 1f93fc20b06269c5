//! Rows of device credentials: one per device, unique on the whole installation. Of passwords only a hash is stored.

use sea_orm::{
    ActiveModelBehavior, ActiveModelTrait, ActiveValue::Set, ColumnTrait, ConnectionTrait, DeriveEntityModel, DerivePrimaryKey,
    DeriveRelation, EntityTrait, EnumIter, PrimaryKeyTrait, QueryFilter,
};
use uuid::Uuid;

use crate::{
    domain::{ACCESS_TOKEN, Basic, Certificate, Credential, EntityKind, MQTT_BASIC, Shown, X509_CERTIFICATE, hex, unhex},
    entity::{StoreError, Write, json, unique},
};

#[derive(Clone, PartialEq, DeriveEntityModel)]
#[sea_orm(table_name = "device_credential")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: Uuid,
    pub created_ms: i64,
    pub version: i64,
    pub revision: i64,
    pub tenant_id: Uuid,
    pub device_id: Uuid,
    /// Of an access token, the token.
    pub credentials_id: String,
    pub kind: String,
    /// Of MQTT basic, what is set and whether there is a password; of a certificate, its PEM body.
    pub value: Option<String>,
    /// What data planes find the device by, as hexadecimal text; of an access token it is its SHA-256 and not stored.
    pub lookup: Option<String>,
}

impl std::fmt::Debug for Model {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Credential({} of device {})", self.id, self.device_id)
    }
}

#[derive(Clone, Copy, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}

/// The columns that break when two devices would show the same, and the field that says so.
const UNIQUE: &[(&str, &str)] = &[("credentials_id", "credentialsId"), ("lookup", "credentialsId")];

fn stored(row: Model) -> Result<Credential, StoreError> {
    let corrupt = |rule: &str| StoreError::Corrupt { table: "device_credential", rule: format!("{}: {rule}", row.id) };
    let shown = match row.kind.as_str() {
        ACCESS_TOKEN => Shown::Token(row.credentials_id),
        MQTT_BASIC => {
            let value = json(row.value.as_deref().unwrap_or_default());
            let text = |name: &str| value[name].as_str().map(str::to_owned);
            Shown::Basic(Basic {
                client_id: text("clientId"),
                user_name: text("userName"),
                has_password: value["hasPassword"].as_bool().unwrap_or(false),
                lookup: row.lookup.as_deref().and_then(unhex).ok_or_else(|| corrupt("no lookup"))?,
            })
        }
        X509_CERTIFICATE => {
            let certificate = Certificate::read("value", row.value.as_deref().unwrap_or_default());
            Shown::Certificate(certificate.map_err(|_| corrupt("no certificate"))?)
        }
        kind => return Err(corrupt(kind)),
    };
    let Model { id, created_ms, version, tenant_id: tenant, device_id: device, .. } = row;
    Ok(Credential { id, created_ms, version, tenant, device, shown })
}

fn row(credential: &Credential, revision: i64) -> ActiveModel {
    let (value, lookup) = match &credential.shown {
        Shown::Token(_) => (None, None),
        Shown::Basic(Basic { client_id, user_name, has_password, lookup }) => {
            let value = serde_json::json!({"clientId": client_id, "userName": user_name, "hasPassword": has_password});
            (Some(value.to_string()), Some(hex(lookup)))
        }
        Shown::Certificate(certificate) => (Some(certificate.body()), Some(hex(&certificate.lookup()))),
    };
    ActiveModel {
        id: Set(credential.id),
        created_ms: Set(credential.created_ms),
        version: Set(credential.version),
        revision: Set(revision),
        tenant_id: Set(credential.tenant),
        device_id: Set(credential.device),
        credentials_id: Set(credential.shown.id()),
        kind: Set(credential.shown.kind().to_owned()),
        value: Set(value),
        lookup: Set(lookup),
    }
}

/// # Errors
/// [`StoreError`]; so do all functions here.
pub async fn of_device(db: &impl ConnectionTrait, device: Uuid) -> Result<Option<Credential>, StoreError> {
    Entity::find().filter(Column::DeviceId.eq(device)).one(db).await?.map(stored).transpose()
}

/// At which revision data planes know a device's credentials.
///
/// # Errors
/// [`StoreError`].
pub async fn revision(db: &impl ConnectionTrait, device: Uuid) -> Result<Option<u64>, StoreError> {
    let row = Entity::find().filter(Column::DeviceId.eq(device)).one(db).await?;
    Ok(row.and_then(|row| u64::try_from(row.revision).ok()))
}

/// Whose credentials have one of these ids, of any tenant.
///
/// # Errors
/// [`StoreError`].
pub async fn owners(db: &impl ConnectionTrait, ids: Vec<String>) -> Result<Vec<(String, Uuid)>, StoreError> {
    let rows = Entity::find().filter(Column::CredentialsId.is_in(ids)).all(db).await?;
    Ok(rows.into_iter().map(|row| (row.credentials_id, row.device_id)).collect())
}

/// All together; at most some hundred at once, for the sake of the bound variables.
///
/// # Errors
/// [`StoreError::Duplicate`] for what another device shows.
pub async fn insert_all(write: &mut Write, credentials: &[Credential]) -> Result<(), StoreError> {
    if credentials.is_empty() {
        return Ok(());
    }
    let ids: Vec<Uuid> = credentials.iter().map(|credential| credential.id).collect();
    let revisions = write.changed_each(EntityKind::Credential, &ids).await?;
    let rows = credentials.iter().zip(revisions).map(|(credential, revision)| row(credential, revision));
    let done = Entity::insert_many(rows).exec_without_returning(write.db()).await;
    done.map(|_| ()).map_err(unique(EntityKind::Credential, UNIQUE))
}

/// # Errors
/// [`StoreError::Duplicate`] for what another device shows.
pub async fn insert(write: &mut Write, credential: &Credential) -> Result<(), StoreError> {
    insert_all(write, std::slice::from_ref(credential)).await
}

/// # Errors
/// [`StoreError::Duplicate`] for what another device shows.
pub async fn update(write: &mut Write, credential: &Credential) -> Result<(), StoreError> {
    let revision = write.changed(EntityKind::Credential, credential.id, false).await?;
    let done = row(credential, revision).update(write.db()).await;
    done.map(|_| ()).map_err(unique(EntityKind::Credential, UNIQUE))
}

/// # Errors
/// [`StoreError`].
pub async fn delete_of_device(write: &mut Write, device: Uuid) -> Result<(), StoreError> {
    if let Some(stored) = of_device(write.db(), device).await? {
        write.changed(EntityKind::Credential, stored.id, true).await?;
        Entity::delete_by_id(stored.id).exec(write.db()).await?;
    }
    Ok(())
}
