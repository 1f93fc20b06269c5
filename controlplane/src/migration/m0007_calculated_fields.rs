//! Calculated fields of devices and device profiles.

use sea_orm_migration::{
    MigrationName, MigrationTrait, SchemaManager, async_trait,
    sea_orm::DbErr,
    sea_query::{Table, TableCreateStatement},
};

use super::shape::{index, number, optional_uuid, refer, text, uuid};

#[derive(Debug)]
pub(super) struct Step;

impl MigrationName for Step {
    fn name(&self) -> &'static str {
        "m0007_calculated_fields"
    }
}

#[async_trait::async_trait]
impl MigrationTrait for Step {
    #[expect(elided_lifetimes_in_paths, reason = "the trait's macro needs the same elision as its declaration")]
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        manager.create_table(calculated_field()).await?;
        for columns in [["device_id", "search"], ["profile_id", "search"]] {
            manager.create_index(index("calculated_field", &columns).unique().take()).await?;
        }
        manager.create_index(index("calculated_field", &["tenant_id"])).await
    }
}

/// Of either a device or a profile.
fn calculated_field() -> TableCreateStatement {
    Table::create()
        .table("calculated_field")
        .col(uuid("id").primary_key())
        .col(number("created_ms"))
        .col(number("version"))
        .col(number("revision"))
        .col(uuid("tenant_id"))
        .col(optional_uuid("device_id"))
        .col(optional_uuid("profile_id"))
        .col(text("name"))
        .col(text("search"))
        .col(text("configuration"))
        .col(number("configuration_version"))
        .col(text("debug_settings"))
        .col(text("additional_info"))
        .foreign_key(&mut refer("calculated_field", "tenant_id", "tenant"))
        .foreign_key(&mut refer("calculated_field", "device_id", "device"))
        .foreign_key(&mut refer("calculated_field", "profile_id", "device_profile"))
        .take()
}
