//! What all data planes share and its administrator may change. Kept among the installation's own values; never reads their meaning.

use sea_orm::ConnectionTrait;
use serde_json::{Map, Value};
use uuid::Uuid;

use crate::{
    domain::EntityKind,
    entity::{StoreError, Write, meta},
};

/// The settings `mail`.
///
/// # Errors
/// [`StoreError`].
pub async fn mail(db: &impl ConnectionTrait) -> Result<Option<Map<String, Value>>, StoreError> {
    Ok(meta::get(db, meta::MAIL).await?.and_then(|text| serde_json::from_str(&text).ok()))
}

/// # Errors
/// [`StoreError`].
pub async fn set_mail(write: &mut Write, settings: &Map<String, Value>) -> Result<(), StoreError> {
    let text = serde_json::to_string(settings).unwrap_or_default();
    meta::set(write.db(), meta::MAIL, &text).await?;
    let revision = write.changed(EntityKind::Installation, Uuid::nil(), false).await?;
    meta::set(write.db(), meta::INSTALLATION_REVISION, &revision.to_string()).await
}
