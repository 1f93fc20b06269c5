//! Who is still to be told of a package: profiles whose devices are gone through page by page, and single devices in their
//! order. Rows, so that a restart goes on where it was. Never says which package: that is read when a device is told.

use sea_orm::{
    ActiveModelBehavior,
    ActiveValue::Set,
    ColumnTrait, Condition, ConnectionTrait, DeriveEntityModel, DerivePrimaryKey, DeriveRelation, EntityTrait, EnumIter,
    PrimaryKeyTrait, QueryFilter, QueryOrder, QuerySelect,
    sea_query::{Expr, OnConflict},
};
use uuid::Uuid;

use crate::{
    domain::PackageKind,
    entity::{StoreError, Write, device, meta},
};

/// Profiles under way.
pub mod profiles {
    use sea_orm::{
        ActiveModelBehavior, DeriveEntityModel, DerivePrimaryKey, DeriveRelation, EntityTrait, EnumIter, PrimaryKeyTrait,
    };
    use uuid::Uuid;

    #[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
    #[sea_orm(table_name = "ota_rollout")]
    pub struct Model {
        #[sea_orm(primary_key, auto_increment = false)]
        pub profile_id: Uuid,
        #[sea_orm(primary_key, auto_increment = false)]
        pub kind: String,
        pub tenant_id: Uuid,
        /// Devices up to this id have been gone through.
        pub after_device: Uuid,
    }

    #[derive(Clone, Copy, Debug, EnumIter, DeriveRelation)]
    pub enum Relation {}

    impl ActiveModelBehavior for ActiveModel {}
}

#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "ota_update")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub device_id: Uuid,
    #[sea_orm(primary_key, auto_increment = false)]
    pub kind: String,
    pub tenant_id: Uuid,
    /// A [`State`].
    pub state: i64,
    /// Its place in the queue; for one that is being told, when that began.
    pub order_ms: i64,
    /// Another one means that something was assigned meanwhile.
    pub round: Uuid,
}

#[derive(Clone, Copy, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}

/// Numbers on disk: append only.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// To be told that something is to come.
    New = 0,
    /// To be told what, when its turn comes.
    Waiting = 1,
    /// Being told.
    Taken = 2,
}

/// One that is taken for so long was taken by a process that is gone.
const TAKEN_MS_MAX: i64 = 300_000;
/// When the next pack may be told, in milliseconds since the Unix epoch.
const NEXT_PACK: &str = "ota_next_pack_ms";

/// A device to tell.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Due {
    pub device: Uuid,
    pub tenant: Uuid,
    pub kind: PackageKind,
    round: Uuid,
}

fn due(row: &Model) -> Result<Due, StoreError> {
    let corrupt = || StoreError::Corrupt { table: "ota_update", rule: format!("kind {:?}", row.kind) };
    let kind = PackageKind::parse(&row.kind).ok_or_else(corrupt)?;
    Ok(Due { device: row.device_id, tenant: row.tenant_id, kind, round: row.round })
}

/// Devices of the tenant have something new to be told, also those that are being told something else.
///
/// # Errors
/// [`StoreError`]; so do all functions here.
pub async fn enqueue(write: &mut Write, tenant: Uuid, devices: &[Uuid], kind: PackageKind) -> Result<(), StoreError> {
    if devices.is_empty() {
        return Ok(());
    }
    let now_ms = write.now_ms();
    let rows = devices.iter().map(|device| ActiveModel {
        device_id: Set(*device),
        kind: Set(kind.name().to_owned()),
        tenant_id: Set(tenant),
        state: Set(State::New as i64),
        order_ms: Set(now_ms),
        round: Set(Uuid::now_v7()),
    });
    let replace = OnConflict::columns([Column::DeviceId, Column::Kind])
        .update_columns([Column::State, Column::OrderMs, Column::Round])
        .to_owned();
    Entity::insert_many(rows).on_conflict(replace).exec_without_returning(write.db()).await?;
    Ok(())
}

/// Every device of the profile that has no package of its own is to be told, from the first one on.
///
/// # Errors
/// [`StoreError`].
pub async fn begin(write: &mut Write, tenant: Uuid, profile: Uuid, kind: PackageKind) -> Result<(), StoreError> {
    let row = profiles::ActiveModel {
        profile_id: Set(profile),
        kind: Set(kind.name().to_owned()),
        tenant_id: Set(tenant),
        after_device: Set(Uuid::nil()),
    };
    let again = OnConflict::columns([profiles::Column::ProfileId, profiles::Column::Kind])
        .update_column(profiles::Column::AfterDevice)
        .to_owned();
    profiles::Entity::insert(row).on_conflict(again).exec_without_returning(write.db()).await?;
    Ok(())
}

/// Is anything to be done at all?
///
/// # Errors
/// [`StoreError`].
pub async fn is_idle(db: &impl ConnectionTrait) -> Result<bool, StoreError> {
    Ok(profiles::Entity::find().one(db).await?.is_none() && Entity::find().one(db).await?.is_none())
}

/// Goes through the next `limit` devices of one profile; false when there is none to go through.
///
/// # Errors
/// [`StoreError`].
pub async fn advance(write: &mut Write, limit: u64) -> Result<bool, StoreError> {
    let Some(row) = profiles::Entity::find().one(write.db()).await? else { return Ok(false) };
    let corrupt = || StoreError::Corrupt { table: "ota_rollout", rule: format!("kind {:?}", row.kind) };
    let kind = PackageKind::parse(&row.kind).ok_or_else(corrupt)?;
    let own = match kind {
        PackageKind::Firmware => device::Column::FirmwareId,
        PackageKind::Software => device::Column::SoftwareId,
    };
    let ids: Vec<Uuid> = device::Entity::find()
        .select_only()
        .column(device::Column::Id)
        .filter(device::Column::ProfileId.eq(row.profile_id))
        .filter(device::Column::Id.gt(row.after_device))
        .filter(own.is_null())
        .order_by_asc(device::Column::Id)
        .limit(limit)
        .into_tuple()
        .all(write.db())
        .await?;
    enqueue(write, row.tenant_id, &ids, kind).await?;
    let this = (row.profile_id, row.kind);
    match ids.last() {
        Some(last) => {
            profiles::Entity::update_many()
                .col_expr(profiles::Column::AfterDevice, Expr::value(*last))
                .filter(profiles::Column::ProfileId.eq(this.0))
                .filter(profiles::Column::Kind.eq(this.1))
                .exec(write.db())
                .await?;
        }
        None => {
            profiles::Entity::delete_by_id(this).exec(write.db()).await?;
        }
    }
    Ok(true)
}

/// Those that have not been told yet that something is to come, at most `limit`.
///
/// # Errors
/// [`StoreError`].
pub async fn unannounced(db: &impl ConnectionTrait, limit: u64) -> Result<Vec<Due>, StoreError> {
    let select = Entity::find().filter(Column::State.eq(State::New as i64)).order_by_asc(Column::OrderMs);
    select.limit(limit).all(db).await?.iter().map(due).collect()
}

/// Takes the next pack, if its time has come: the next one may be taken `interval_ms` later, by whatever process.
///
/// # Errors
/// [`StoreError`].
pub async fn take_pack(write: &mut Write, limit: u64, interval_ms: i64) -> Result<Vec<Due>, StoreError> {
    let now_ms = write.now_ms();
    let next = meta::get(write.db(), NEXT_PACK).await?.and_then(|text| text.parse::<i64>().ok()).unwrap_or(0);
    // A clock that was set back must not stop the roll-out.
    if next > now_ms && next <= now_ms.saturating_add(interval_ms) {
        return Ok(Vec::new());
    }
    let abandoned =
        Condition::all().add(Column::State.eq(State::Taken as i64)).add(Column::OrderMs.lt(now_ms.saturating_sub(TAKEN_MS_MAX)));
    let ready = Condition::any().add(Column::State.eq(State::Waiting as i64)).add(abandoned);
    let rows = Entity::find().filter(ready).order_by_asc(Column::OrderMs).order_by_asc(Column::DeviceId).limit(limit);
    let pack: Vec<Due> = rows.all(write.db()).await?.iter().map(due).collect::<Result<_, _>>()?;
    if pack.is_empty() {
        return Ok(pack);
    }
    move_to(write, &pack, State::Taken).await?;
    meta::set(write.db(), NEXT_PACK, &now_ms.saturating_add(interval_ms).to_string()).await?;
    Ok(pack)
}

/// These have been told that something is to come, and wait for their turn. Those that were failed to be told wait again.
///
/// # Errors
/// [`StoreError`].
pub async fn wait(write: &mut Write, told: &[Due]) -> Result<(), StoreError> {
    move_to(write, told, State::Waiting).await
}

/// These have been told everything.
///
/// # Errors
/// [`StoreError`].
pub async fn done(write: &mut Write, told: &[Due]) -> Result<(), StoreError> {
    if !told.is_empty() {
        Entity::delete_many().filter(same_round(told)).exec(write.db()).await?;
    }
    Ok(())
}

/// # Errors
/// [`StoreError`].
pub async fn delete_of_device(write: &mut Write, device: Uuid) -> Result<(), StoreError> {
    Entity::delete_many().filter(Column::DeviceId.eq(device)).exec(write.db()).await?;
    Ok(())
}

/// # Errors
/// [`StoreError`].
pub async fn delete_of_profile(write: &mut Write, profile: Uuid) -> Result<(), StoreError> {
    profiles::Entity::delete_many().filter(profiles::Column::ProfileId.eq(profile)).exec(write.db()).await?;
    Ok(())
}

async fn move_to(write: &mut Write, rows: &[Due], state: State) -> Result<(), StoreError> {
    if rows.is_empty() {
        return Ok(());
    }
    Entity::update_many()
        .col_expr(Column::State, Expr::value(state as i64))
        .col_expr(Column::OrderMs, Expr::value(write.now_ms()))
        .filter(same_round(rows))
        .exec(write.db())
        .await?;
    Ok(())
}

/// The same rows, unless something was assigned meanwhile: a round's number is its own.
fn same_round(rows: &[Due]) -> Condition {
    Condition::all().add(Column::Round.is_in(rows.iter().map(|row| row.round)))
}
