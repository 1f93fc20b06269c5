//! What is stored: rows in SQLite or PostgreSQL through SeaORM. Every write also appends to the change log (what data planes
//! need) and to the audit log, in the same transaction. Never decides who may do it.

pub mod alarm;
pub mod alarm_parent;
pub mod announcement;
pub mod asset;
pub mod asset_profile;
pub mod audit;
pub mod calculated;
pub mod call;
pub mod cascade;
pub mod chain;
pub mod change_log;
pub mod claim;
pub mod comment;
mod contact;
pub mod credential;
pub mod customer;
pub mod device;
mod heeded;
pub mod installation;
pub mod meta;
pub mod named;
mod open;
pub mod package;
mod page;
pub mod profile;
pub mod pushed;
pub mod relation;
pub mod rollout;
pub mod search;
pub mod tenant;
pub mod tenant_profile;
#[cfg(test)]
pub(crate) mod tests;
pub mod user;
mod write;

pub use open::Store;
pub use write::{Author, Write};

use sea_orm::{DbErr, RuntimeErr, SqlErr, sqlx};
use serde_json::Value;

use crate::domain::{EntityKind, Invalid};

/// Why the store did not do it.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    #[error("{} with such {field} already exists", kind.noun())]
    Duplicate { kind: EntityKind, field: &'static str },
    #[error("{}: version {sent} was sent, {stored} is stored", kind.noun())]
    Conflict { kind: EntityKind, sent: i64, stored: i64 },
    #[error(transparent)]
    Invalid(#[from] Invalid),
    /// The writer did not become free in time.
    #[error("the database is busy")]
    Busy,
    /// A row that says something impossible.
    #[error("{table}: {rule}")]
    Corrupt { table: &'static str, rule: String },
    /// It cannot be opened, created or migrated.
    #[error("{place}: {detail}")]
    Open { place: String, detail: String },
    #[error("database: {0}")]
    Database(DbErr),
}

impl From<DbErr> for StoreError {
    fn from(error: DbErr) -> Self {
        match &error {
            DbErr::ConnectionAcquire(_) => Self::Busy,
            DbErr::Exec(RuntimeErr::SqlxError(inner)) | DbErr::Query(RuntimeErr::SqlxError(inner))
                if matches!(inner.as_ref(), sqlx::Error::PoolTimedOut) =>
            {
                Self::Busy
            }
            _ => Self::Database(error),
        }
    }
}

/// A broken unique index, as the duplicate it means; the field is the one whose column the database names.
fn unique(kind: EntityKind, fields: &'static [(&'static str, &'static str)]) -> impl FnOnce(DbErr) -> StoreError {
    move |error| match error.sql_err() {
        Some(SqlErr::UniqueConstraintViolation(said)) => {
            let named = fields.iter().find(|(column, _)| said.contains(column));
            let field = named.or_else(|| fields.first());
            StoreError::Duplicate { kind, field: field.map_or("id", |(_, field)| field) }
        }
        _ => error.into(),
    }
}

/// Stored JSON text. It was valid when it was written; a broken row must not take its readers down.
fn json(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or(Value::Null)
}
