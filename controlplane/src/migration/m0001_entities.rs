//! The first tables: tenants, customers, people, device profiles, devices, credentials, rule chains, the change log, the
//! revision counter, the installation's own values and the audit log.
//!
//! UUIDs are SeaORM's (`uuid` on PostgreSQL, a blob on SQLite), times are i64 milliseconds, JSON is text that SQL never
//! looks into, and what is searched or unique whatever its case is stored lower-cased in `search`.

use sea_orm_migration::{
    MigrationName, MigrationTrait, SchemaManager, async_trait,
    sea_orm::DbErr,
    sea_query::{ColumnDef, IndexCreateStatement, Query, Table, TableCreateStatement},
};

use super::shape::{flag, index, number, optional_text, optional_uuid, refer, text, uuid};

#[derive(Debug)]
pub(super) struct Step;

impl MigrationName for Step {
    fn name(&self) -> &'static str {
        "m0001_entities"
    }
}

#[async_trait::async_trait]
impl MigrationTrait for Step {
    #[expect(elided_lifetimes_in_paths, reason = "the trait's macro needs the same elision as its declaration")]
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let tables = [
            tenant(),
            customer(),
            app_user(),
            rule_chain(),
            device_profile(),
            device(),
            device_credential(),
            change_log(),
            revision_counter(),
            meta(),
            audit_log(),
        ];
        for table in tables {
            manager.create_table(table).await?;
        }
        for index in indexes() {
            manager.create_index(index).await?;
        }
        let counter = Query::insert()
            .into_table("revision_counter")
            .columns(["id", "revision"])
            .values_panic([1_i32.into(), 0_i64.into()])
            .to_owned();
        manager.execute(counter).await
    }
}

/// A table whose rows have an id, a creation time and a version.
fn entity(name: &'static str) -> TableCreateStatement {
    Table::create().table(name).col(uuid("id").primary_key()).col(number("created_ms")).col(number("version")).take()
}

fn tenant() -> TableCreateStatement {
    entity("tenant")
        .col(number("revision"))
        .col(text("title"))
        .col(text("search"))
        .col(optional_text("region"))
        .col(text("contact"))
        .col(text("additional_info"))
        .take()
}

fn customer() -> TableCreateStatement {
    entity("customer")
        .col(uuid("tenant_id"))
        .col(text("title"))
        .col(text("search"))
        .col(text("contact"))
        .col(text("additional_info"))
        .foreign_key(&mut refer("customer", "tenant_id", "tenant"))
        .take()
}

fn app_user() -> TableCreateStatement {
    entity("app_user")
        .col(optional_uuid("tenant_id"))
        .col(optional_uuid("customer_id"))
        .col(text("email"))
        .col(text("authority"))
        .col(optional_text("first_name"))
        .col(optional_text("last_name"))
        .col(optional_text("phone"))
        .col(flag("enabled"))
        .col(optional_text("password_hash"))
        .col(number("password_ms"))
        .col(optional_text("activation"))
        .col(number("activation_until_ms"))
        .col(text("additional_info"))
        .foreign_key(&mut refer("app_user", "tenant_id", "tenant"))
        .foreign_key(&mut refer("app_user", "customer_id", "customer"))
        .take()
}

fn rule_chain() -> TableCreateStatement {
    entity("rule_chain")
        .col(number("revision"))
        .col(uuid("tenant_id"))
        .col(text("name"))
        .col(text("search"))
        .col(flag("root"))
        .col(flag("debug_mode"))
        .col(optional_uuid("first_node"))
        .col(text("metadata"))
        .col(text("additional_info"))
        .foreign_key(&mut refer("rule_chain", "tenant_id", "tenant"))
        .take()
}

fn device_profile() -> TableCreateStatement {
    entity("device_profile")
        .col(number("revision"))
        .col(uuid("tenant_id"))
        .col(text("name"))
        .col(text("search"))
        .col(optional_text("description"))
        .col(flag("is_default"))
        .col(optional_uuid("chain_id"))
        .col(text("profile_data"))
        .foreign_key(&mut refer("device_profile", "tenant_id", "tenant"))
        .foreign_key(&mut refer("device_profile", "chain_id", "rule_chain"))
        .take()
}

fn device() -> TableCreateStatement {
    entity("device")
        .col(number("revision"))
        .col(uuid("tenant_id"))
        .col(optional_uuid("customer_id"))
        .col(uuid("profile_id"))
        .col(text("name"))
        .col(text("search"))
        .col(text("kind"))
        .col(optional_text("label"))
        .col(text("additional_info"))
        .foreign_key(&mut refer("device", "tenant_id", "tenant"))
        .foreign_key(&mut refer("device", "customer_id", "customer"))
        .foreign_key(&mut refer("device", "profile_id", "device_profile"))
        .take()
}

fn device_credential() -> TableCreateStatement {
    entity("device_credential")
        .col(number("revision"))
        .col(uuid("tenant_id"))
        .col(uuid("device_id"))
        .col(text("token"))
        .foreign_key(&mut refer("device_credential", "tenant_id", "tenant"))
        .foreign_key(&mut refer("device_credential", "device_id", "device"))
        .take()
}

fn change_log() -> TableCreateStatement {
    Table::create()
        .table("change_log")
        .col(number("revision").primary_key())
        .col(number("kind"))
        .col(uuid("entity_id"))
        .col(flag("deleted"))
        .take()
}

fn revision_counter() -> TableCreateStatement {
    Table::create()
        .table("revision_counter")
        .col(ColumnDef::new("id").integer().not_null().primary_key())
        .col(number("revision"))
        .take()
}

fn meta() -> TableCreateStatement {
    Table::create().table("meta").col(text("name").primary_key()).col(text("value")).take()
}

fn audit_log() -> TableCreateStatement {
    Table::create()
        .table("audit_log")
        .col(uuid("id").primary_key())
        .col(number("created_ms"))
        .col(optional_uuid("tenant_id"))
        .col(optional_uuid("user_id"))
        .col(text("user_name"))
        .col(text("action"))
        .col(text("entity_type"))
        .col(uuid("entity_id"))
        .take()
}

fn indexes() -> Vec<IndexCreateStatement> {
    let unique = |table: &'static str, columns: &[&'static str]| index(table, columns).unique().take();
    vec![
        unique("tenant", &["search"]),
        unique("customer", &["tenant_id", "search"]),
        unique("app_user", &["email"]),
        unique("app_user", &["activation"]),
        index("app_user", &["tenant_id"]),
        index("app_user", &["customer_id"]),
        index("rule_chain", &["tenant_id"]),
        unique("device_profile", &["tenant_id", "search"]),
        index("device_profile", &["chain_id"]),
        unique("device", &["tenant_id", "search"]),
        index("device", &["tenant_id", "created_ms"]),
        index("device", &["customer_id"]),
        index("device", &["profile_id"]),
        index("device_credential", &["tenant_id"]),
        unique("device_credential", &["device_id"]),
        unique("device_credential", &["token"]),
        index("audit_log", &["tenant_id", "created_ms"]),
    ]
}
