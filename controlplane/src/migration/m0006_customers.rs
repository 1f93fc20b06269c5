//! Data planes are told of customers, and of whose devices are.

use sea_orm_migration::{
    MigrationName, MigrationTrait, SchemaManager, async_trait,
    sea_orm::{ConnectionTrait, DbErr},
    sea_query::Table,
};

use super::shape::number;

#[derive(Debug)]
pub(super) struct Step;

impl MigrationName for Step {
    fn name(&self) -> &'static str {
        "m0006_customers"
    }
}

#[async_trait::async_trait]
impl MigrationTrait for Step {
    #[expect(elided_lifetimes_in_paths, reason = "the trait's macro needs the same elision as its declaration")]
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let column = number("revision").default(0).take();
        manager.alter_table(Table::alter().table("customer").add_column(column).take()).await?;
        // The log does not say what was never pushed: with another epoch every instance takes full state (DESIGN 25).
        manager.get_connection().execute_unprepared("DELETE FROM meta WHERE name = 'epoch'").await?;
        Ok(())
    }
}
