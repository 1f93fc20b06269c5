//! What rule chains are still to be told of writes, and the last number that was given to such a message.

use sea_orm_migration::{
    MigrationName, MigrationTrait, SchemaManager, async_trait,
    sea_orm::DbErr,
    sea_query::{Table, TableCreateStatement},
};

use super::shape::{number, optional_uuid, text, uuid};

#[derive(Debug)]
pub(super) struct Step;

impl MigrationName for Step {
    fn name(&self) -> &'static str {
        "m0010_announcements"
    }
}

#[async_trait::async_trait]
impl MigrationTrait for Step {
    #[expect(elided_lifetimes_in_paths, reason = "the trait's macro needs the same elision as its declaration")]
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        manager.create_table(announcement()).await?;
        let announced = number("announced").default(0).take();
        manager.alter_table(Table::alter().table("revision_counter").add_column(announced).take()).await
    }
}

/// Of entities that may be gone: nothing refers to them.
fn announcement() -> TableCreateStatement {
    Table::create()
        .table("announcement")
        .col(number("number").primary_key())
        .col(number("revision"))
        .col(uuid("tenant_id"))
        .col(text("entity_type"))
        .col(uuid("entity_id"))
        .col(text("kind"))
        .col(optional_uuid("chain_id"))
        .col(text("metadata"))
        .col(text("data"))
        .take()
}
