//! Assets, asset profiles and relations; every tenant there is gets the asset profile a new one begins with.

use sea_orm_migration::{
    MigrationName, MigrationTrait, SchemaManager, async_trait,
    sea_orm::{ConnectionTrait, DbErr},
    sea_query::{IndexCreateStatement, Query, Table, TableCreateStatement},
};
use uuid::Uuid;

use super::shape::{flag, index, number, optional_text, optional_uuid, refer, text, uuid};

#[derive(Debug)]
pub(super) struct Step;

impl MigrationName for Step {
    fn name(&self) -> &'static str {
        "m0005_assets"
    }
}

#[async_trait::async_trait]
impl MigrationTrait for Step {
    #[expect(elided_lifetimes_in_paths, reason = "the trait's macro needs the same elision as its declaration")]
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        for table in [asset_profile(), asset(), relation()] {
            manager.create_table(table).await?;
        }
        for index in indexes() {
            manager.create_index(index).await?;
        }
        first_profiles(manager).await
    }
}

fn asset_profile() -> TableCreateStatement {
    Table::create()
        .table("asset_profile")
        .col(uuid("id").primary_key())
        .col(number("created_ms"))
        .col(number("version"))
        .col(uuid("tenant_id"))
        .col(text("name"))
        .col(text("search"))
        .col(optional_text("description"))
        .col(optional_text("image"))
        .col(flag("is_default"))
        .col(optional_uuid("chain_id"))
        .col(optional_text("queue"))
        .col(optional_uuid("dashboard_id"))
        .col(optional_uuid("edge_chain_id"))
        .foreign_key(&mut refer("asset_profile", "tenant_id", "tenant"))
        .foreign_key(&mut refer("asset_profile", "chain_id", "rule_chain"))
        .take()
}

fn asset() -> TableCreateStatement {
    Table::create()
        .table("asset")
        .col(uuid("id").primary_key())
        .col(number("created_ms"))
        .col(number("version"))
        .col(number("revision"))
        .col(uuid("tenant_id"))
        .col(optional_uuid("customer_id"))
        .col(uuid("profile_id"))
        .col(text("name"))
        .col(text("search"))
        .col(text("kind"))
        .col(optional_text("label"))
        .col(text("additional_info"))
        .foreign_key(&mut refer("asset", "tenant_id", "tenant"))
        .foreign_key(&mut refer("asset", "customer_id", "customer"))
        .foreign_key(&mut refer("asset", "profile_id", "asset_profile"))
        .take()
}

/// Its ends are of any table, so nothing refers to them: who deletes an entity deletes its relations.
fn relation() -> TableCreateStatement {
    Table::create()
        .table("relation")
        .col(uuid("id").primary_key())
        .col(number("version"))
        .col(number("revision"))
        .col(uuid("tenant_id"))
        .col(text("from_kind"))
        .col(uuid("from_id"))
        .col(text("to_kind"))
        .col(uuid("to_id"))
        .col(text("kind"))
        .col(text("kind_group"))
        .col(text("additional_info"))
        .foreign_key(&mut refer("relation", "tenant_id", "tenant"))
        .take()
}

fn indexes() -> Vec<IndexCreateStatement> {
    vec![
        index("asset_profile", &["tenant_id", "search"]).unique().take(),
        index("asset_profile", &["chain_id"]),
        index("asset", &["tenant_id", "search"]).unique().take(),
        index("asset", &["tenant_id", "created_ms"]),
        index("asset", &["customer_id"]),
        index("asset", &["profile_id"]),
        index("relation", &["from_id", "kind_group", "kind", "to_id"]).unique().take(),
        index("relation", &["to_id", "kind_group"]),
        index("relation", &["tenant_id"]),
    ]
}

async fn first_profiles(manager: &SchemaManager<'_>) -> Result<(), DbErr> {
    let tenants = Query::select().columns(["id", "created_ms"]).from("tenant").take();
    for row in manager.get_connection().query_all(&tenants).await? {
        let (tenant, created_ms): (Uuid, i64) = (row.try_get("", "id")?, row.try_get("", "created_ms")?);
        let first = Query::insert()
            .into_table("asset_profile")
            .columns(["id", "created_ms", "version", "tenant_id", "name", "search", "description", "is_default"])
            .values_panic([
                Uuid::now_v7().into(),
                created_ms.into(),
                1_i64.into(),
                tenant.into(),
                "default".into(),
                "default".into(),
                "Default asset profile".into(),
                true.into(),
            ])
            .take();
        manager.execute(first).await?;
    }
    Ok(())
}
