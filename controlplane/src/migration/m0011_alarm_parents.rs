//! Alarms that those see, too, who look at what their originator belongs to; of alarms that were told before, only a further change says
//! it.

use sea_orm_migration::{
    MigrationName, MigrationTrait, SchemaManager, async_trait,
    sea_orm::DbErr,
    sea_query::{Index, Table},
};

use super::shape::{index, optional_text, refer, uuid};

#[derive(Debug)]
pub(super) struct Step;

impl MigrationName for Step {
    fn name(&self) -> &'static str {
        "m0011_alarm_parents"
    }
}

#[async_trait::async_trait]
impl MigrationTrait for Step {
    #[expect(elided_lifetimes_in_paths, reason = "the trait's macro needs the same elision as its declaration")]
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        manager.alter_table(Table::alter().table("alarm").add_column(optional_text("along").take()).take()).await?;
        let parents = Table::create()
            .table("alarm_parent")
            .col(uuid("alarm_id"))
            .col(uuid("entity_id"))
            .primary_key(Index::create().col("alarm_id").col("entity_id"))
            .foreign_key(&mut refer("alarm_parent", "alarm_id", "alarm"))
            .take();
        manager.create_table(parents).await?;
        manager.create_index(index("alarm_parent", &["entity_id"])).await
    }
}
