//! Persistent calls, OTA packages with their roll-out, and what the audit log says beyond who and what.

use sea_orm_migration::{
    MigrationName, MigrationTrait, SchemaManager, async_trait,
    sea_orm::DbErr,
    sea_query::{ColumnDef, Index, IndexCreateStatement, Table, TableCreateStatement},
};

use super::shape::{index, number, optional_text, optional_uuid, refer, text, uuid};

#[derive(Debug)]
pub(super) struct Step;

impl MigrationName for Step {
    fn name(&self) -> &'static str {
        "m0003_calls"
    }
}

#[async_trait::async_trait]
impl MigrationTrait for Step {
    #[expect(elided_lifetimes_in_paths, reason = "the trait's macro needs the same elision as its declaration")]
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        for table in [rpc_call(), ota_package(), ota_rollout(), ota_update()] {
            manager.create_table(table).await?;
        }
        for (table, column) in columns() {
            manager.alter_table(Table::alter().table(table).add_column(column).take()).await?;
        }
        for index in indexes() {
            manager.create_index(index).await?;
        }
        Ok(())
    }
}

/// Which device a persistent call belongs to. Its state is on the device's shard (DESIGN 24).
fn rpc_call() -> TableCreateStatement {
    Table::create()
        .table("rpc_call")
        .col(uuid("id").primary_key())
        .col(uuid("tenant_id"))
        .col(uuid("device_id"))
        .col(number("created_ms"))
        .col(number("expires_ms"))
        .foreign_key(&mut refer("rpc_call", "tenant_id", "tenant"))
        .foreign_key(&mut refer("rpc_call", "device_id", "device"))
        .take()
}

/// The facts of a package; its bytes are a file.
fn ota_package() -> TableCreateStatement {
    Table::create()
        .table("ota_package")
        .col(uuid("id").primary_key())
        .col(number("created_ms"))
        .col(number("version"))
        .col(uuid("tenant_id"))
        .col(uuid("profile_id"))
        .col(text("kind"))
        .col(text("title"))
        .col(text("release"))
        .col(text("search"))
        .col(optional_text("tag"))
        .col(optional_text("url"))
        .col(optional_text("file_name"))
        .col(optional_text("content_type"))
        .col(optional_text("algorithm"))
        .col(optional_text("checksum"))
        .col(number("bytes"))
        .col(text("additional_info"))
        .foreign_key(&mut refer("ota_package", "tenant_id", "tenant"))
        .foreign_key(&mut refer("ota_package", "profile_id", "device_profile"))
        .take()
}

/// A profile whose devices are being told of its package, up to the device `after_device`.
fn ota_rollout() -> TableCreateStatement {
    Table::create()
        .table("ota_rollout")
        .col(uuid("profile_id"))
        .col(text("kind"))
        .col(uuid("tenant_id"))
        .col(uuid("after_device"))
        .primary_key(Index::create().col("profile_id").col("kind"))
        .foreign_key(&mut refer("ota_rollout", "profile_id", "device_profile"))
        .foreign_key(&mut refer("ota_rollout", "tenant_id", "tenant"))
        .take()
}

/// A device that is to be told of its package.
fn ota_update() -> TableCreateStatement {
    Table::create()
        .table("ota_update")
        .col(uuid("device_id"))
        .col(text("kind"))
        .col(uuid("tenant_id"))
        .col(number("state"))
        .col(number("order_ms"))
        .col(uuid("round"))
        .primary_key(Index::create().col("device_id").col("kind"))
        .foreign_key(&mut refer("ota_update", "device_id", "device"))
        .foreign_key(&mut refer("ota_update", "tenant_id", "tenant"))
        .take()
}

fn columns() -> Vec<(&'static str, ColumnDef)> {
    vec![
        ("audit_log", optional_uuid("customer_id")),
        ("audit_log", optional_text("entity_name")),
        ("audit_log", optional_text("search")),
        ("audit_log", optional_text("action_data")),
        ("audit_log", optional_text("status")),
        ("audit_log", optional_text("failure")),
    ]
}

fn indexes() -> Vec<IndexCreateStatement> {
    vec![
        index("rpc_call", &["device_id"]),
        index("rpc_call", &["expires_ms"]),
        index("ota_package", &["tenant_id", "title", "release"]).unique().take(),
        index("ota_package", &["profile_id"]),
        index("ota_update", &["state", "order_ms"]),
        index("device", &["firmware_id"]),
        index("device", &["software_id"]),
        index("audit_log", &["entity_id", "created_ms"]),
        index("audit_log", &["user_id", "created_ms"]),
        index("audit_log", &["customer_id", "created_ms"]),
    ]
}
