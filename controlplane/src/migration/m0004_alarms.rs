//! The projection of alarms, and what people say of them.

use sea_orm_migration::{
    MigrationName, MigrationTrait, SchemaManager, async_trait,
    sea_orm::DbErr,
    sea_query::{Table, TableCreateStatement},
};

use super::shape::{bytes, index, number, optional_uuid, refer, text, uuid};

#[derive(Debug)]
pub(super) struct Step;

impl MigrationName for Step {
    fn name(&self) -> &'static str {
        "m0004_alarms"
    }
}

#[async_trait::async_trait]
impl MigrationTrait for Step {
    #[expect(elided_lifetimes_in_paths, reason = "the trait's macro needs the same elision as its declaration")]
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        for table in [alarm(), alarm_comment()] {
            manager.create_table(table).await?;
        }
        let indexes = [
            index("alarm", &["tenant_id", "created_ms"]),
            index("alarm", &["originator_id", "created_ms"]),
            index("alarm", &["tenant_id", "kind"]),
            index("alarm_comment", &["alarm_id", "created_ms"]),
        ];
        for index in indexes {
            manager.create_index(index).await?;
        }
        Ok(())
    }
}

/// An alarm as its originator's shard has told it: the record, and what lists are filtered and sorted by.
fn alarm() -> TableCreateStatement {
    Table::create()
        .table("alarm")
        .col(uuid("id").primary_key())
        .col(number("version"))
        .col(uuid("tenant_id"))
        .col(text("originator_type"))
        .col(uuid("originator_id"))
        .col(text("kind"))
        .col(number("severity"))
        .col(number("created_ms"))
        .col(number("start_ms"))
        .col(number("end_ms"))
        .col(number("ack_ms"))
        .col(number("clear_ms"))
        .col(number("assign_ms"))
        .col(optional_uuid("assignee_id"))
        .col(text("search"))
        .col(bytes("record"))
        .foreign_key(&mut refer("alarm", "tenant_id", "tenant"))
        .take()
}

fn alarm_comment() -> TableCreateStatement {
    Table::create()
        .table("alarm_comment")
        .col(uuid("id").primary_key())
        .col(uuid("alarm_id"))
        .col(number("created_ms"))
        .col(optional_uuid("user_id"))
        .col(text("kind"))
        .col(text("comment"))
        .foreign_key(&mut refer("alarm_comment", "alarm_id", "alarm"))
        .take()
}
