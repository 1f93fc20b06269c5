//! Who devices are: credentials of every kind, profiles in full, provisioning, claims; and tenant profiles. Rows from before
//! stay as they are: access tokens, profiles that provision nobody, tenants of the default profile.

use sea_orm_migration::{
    MigrationName, MigrationTrait, SchemaManager, async_trait,
    sea_orm::DbErr,
    sea_query::{ColumnDef, Index, Query, Table},
};
use uuid::Uuid;

/// `domain::DEFAULT_TENANT_PROFILE`, as it was when this step was written.
const FIRST_PROFILE: Uuid = Uuid::from_u128(0x0190_0000_0000_7000_8000_0000_0000_0001);

#[derive(Debug)]
pub(super) struct Step;

impl MigrationName for Step {
    fn name(&self) -> &'static str {
        "m0002_identity"
    }
}

#[async_trait::async_trait]
impl MigrationTrait for Step {
    #[expect(elided_lifetimes_in_paths, reason = "the trait's macro needs the same elision as its declaration")]
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        tenant_profiles(manager).await?;
        credentials(manager).await?;
        for (table, column) in columns() {
            manager.alter_table(Table::alter().table(table).add_column(column).take()).await?;
        }
        for (table, column) in [("device_profile", "provision_key"), ("device_credential", "lookup")] {
            let name = format!("{table}_{column}");
            manager.create_index(Index::create().name(name).table(table).col(column).unique().take()).await?;
        }
        let issuers =
            Index::create().name("device_profile_provision_issuer").table("device_profile").col("provision_issuer").take();
        manager.create_index(issuers).await?;
        let claim = Table::create()
            .table("device_claim")
            .col(ColumnDef::new("device_id").uuid().not_null().primary_key())
            .col(ColumnDef::new("tenant_id").uuid().not_null())
            .col(ColumnDef::new("secret").text().not_null())
            .col(ColumnDef::new("until_ms").big_integer().not_null())
            .take();
        manager.create_table(claim).await?;
        manager.create_index(Index::create().name("device_claim_tenant_id").table("device_claim").col("tenant_id").take()).await
    }
}

/// The table with the profile every installation has, which becomes that of the tenants there are.
async fn tenant_profiles(manager: &SchemaManager<'_>) -> Result<(), DbErr> {
    let table = Table::create()
        .table("tenant_profile")
        .col(ColumnDef::new("id").uuid().not_null().primary_key())
        .col(ColumnDef::new("created_ms").big_integer().not_null())
        .col(ColumnDef::new("version").big_integer().not_null())
        .col(ColumnDef::new("name").text().not_null())
        .col(ColumnDef::new("search").text().not_null())
        .col(ColumnDef::new("description").text().null())
        .col(ColumnDef::new("is_default").boolean().not_null())
        .col(ColumnDef::new("isolated").boolean().not_null())
        .col(ColumnDef::new("profile_data").text().not_null())
        .take();
    manager.create_table(table).await?;
    let names = Index::create().name("tenant_profile_search").table("tenant_profile").col("search").unique().take();
    manager.create_index(names).await?;
    let created_ms = Uuid::now_v7().get_timestamp().map_or(0, |at| at.to_unix().0.saturating_mul(1_000));
    let created_ms = i64::try_from(created_ms).unwrap_or(0);
    let first = Query::insert()
        .into_table("tenant_profile")
        .columns(["id", "created_ms", "version", "name", "search", "description", "is_default", "isolated", "profile_data"])
        .values_panic([
            FIRST_PROFILE.into(),
            created_ms.into(),
            1_i64.into(),
            "Default".into(),
            "default".into(),
            "Default tenant profile".into(),
            true.into(),
            false.into(),
            r#"{"configuration":{"type":"DEFAULT"}}"#.into(),
        ])
        .take();
    manager.execute(first).await?;
    // SQLite adds a column that refers to another table only if it may be null.
    let of_tenant = ColumnDef::new("profile_id").uuid().null().extra("REFERENCES tenant_profile(id)").take();
    manager.alter_table(Table::alter().table("tenant").add_column(of_tenant).take()).await?;
    manager.execute(Query::update().table("tenant").value("profile_id", FIRST_PROFILE).take()).await?;
    manager.create_index(Index::create().name("tenant_profile_id").table("tenant").col("profile_id").take()).await
}

/// An access token's row keeps its token, which is its `credentialsId`.
async fn credentials(manager: &SchemaManager<'_>) -> Result<(), DbErr> {
    manager.drop_index(Index::drop().name("device_credential_token").table("device_credential").to_owned()).await?;
    let renamed = Table::alter().table("device_credential").rename_column("token", "credentials_id").take();
    manager.alter_table(renamed).await?;
    let mut ids = Index::create();
    ids.name("device_credential_credentials_id").table("device_credential").col("credentials_id").unique();
    manager.create_index(ids).await
}

fn columns() -> Vec<(&'static str, ColumnDef)> {
    let text = |name: &'static str| ColumnDef::new(name).text().null().take();
    let id = |name: &'static str| ColumnDef::new(name).uuid().null().take();
    let text_or = |name: &'static str, value: &'static str| ColumnDef::new(name).text().not_null().default(value).take();
    vec![
        ("device_credential", text_or("kind", "ACCESS_TOKEN")),
        ("device_credential", text("value")),
        ("device_credential", text("lookup")),
        ("device", ColumnDef::new("provisioned").boolean().not_null().default(false).take()),
        ("device", id("firmware_id")),
        ("device", id("software_id")),
        ("device_profile", text_or("transport", "DEFAULT")),
        ("device_profile", text_or("provision", "DISABLED")),
        ("device_profile", text("provision_key")),
        ("device_profile", text("provision_issuer")),
        ("device_profile", text("image")),
        ("device_profile", text("queue")),
        ("device_profile", id("dashboard_id")),
        ("device_profile", id("edge_chain_id")),
        ("device_profile", id("firmware_id")),
        ("device_profile", id("software_id")),
    ]
}
