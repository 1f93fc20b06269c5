//! Alarms that their originator's owner or tenant sees, too; of alarms that were told before, only a further change says it. And data
//! planes are told of alarm rules.

use sea_orm_migration::{
    MigrationName, MigrationTrait, SchemaManager, async_trait,
    sea_orm::{ConnectionTrait, DbErr},
    sea_query::Table,
};

use super::shape::flag;

#[derive(Debug)]
pub(super) struct Step;

impl MigrationName for Step {
    fn name(&self) -> &'static str {
        "m0009_propagation"
    }
}

#[async_trait::async_trait]
impl MigrationTrait for Step {
    #[expect(elided_lifetimes_in_paths, reason = "the trait's macro needs the same elision as its declaration")]
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        // SQLite adds one column at a time.
        for name in ["to_owner", "to_tenant"] {
            let column = flag(name).default(false).take();
            manager.alter_table(Table::alter().table("alarm").add_column(column).take()).await?;
        }
        // Data planes are told of the alarm rules of profiles, which the log does not say: with another epoch every instance takes full
        // state (DESIGN 25).
        manager.get_connection().execute_unprepared("DELETE FROM meta WHERE name = 'epoch'").await?;
        Ok(())
    }
}
