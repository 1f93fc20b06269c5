//! Who did what, when, to what, and whether it was done. A write of the entity store is one row in the same transaction; what a
//! shard does is a row that is pending until its outcome is known (DESIGN 24). Rows are never removed.

mod subject;

use sea_orm::{
    ActiveModelBehavior, ActiveValue::Set, ColumnTrait, ConnectionTrait, DeriveEntityModel, DerivePrimaryKey, DeriveRelation,
    EntityTrait, EnumIter, PrimaryKeyTrait, QueryFilter, QueryOrder, QuerySelect, sea_query::Expr,
};
use serde_json::{Value, json};
use uuid::Uuid;

use crate::{
    domain::{AuditFilter, AuditLine, AuditSubject, EntityKind, Page, PageLink},
    entity::{
        Author, StoreError, Write, json as parsed,
        page::{self, Listing},
    },
};

#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "audit_log")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: Uuid,
    pub created_ms: i64,
    pub tenant_id: Option<Uuid>,
    pub user_id: Option<Uuid>,
    pub user_name: String,
    pub action: String,
    pub entity_type: String,
    pub entity_id: Uuid,
    pub customer_id: Option<Uuid>,
    pub entity_name: Option<String>,
    /// What a list is searched by, lower-cased.
    pub search: Option<String>,
    /// JSON text.
    pub action_data: Option<String>,
    /// One of the statuses; `None` in rows of the first version, which were all successes.
    pub status: Option<String>,
    pub failure: Option<String>,
}

#[derive(Clone, Copy, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}

/// Rows in one INSERT: keeps the bound variables far below SQLite's 32,766.
const ROWS_PER_INSERT_MAX: usize = 1_000;
/// Facts of an entity longer than this are left out of its line.
const FACTS_BYTES_MAX: usize = 16 << 10;
const SUCCESS: &str = "SUCCESS";
const FAILURE: &str = "FAILURE";
const PENDING: &str = "PENDING";
/// What is said of a row whose outcome nobody wrote: it is under way, or the process ended meanwhile.
const UNKNOWN: &str = "the outcome is not known";

/// What was done, with ThingsBoard's names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    Added,
    Updated,
    Deleted,
    Assigned,
    Unassigned,
    CredentialsUpdated,
    Provisioned,
    Login,
    AttributesUpdated,
    AttributesDeleted,
    TimeseriesUpdated,
    TimeseriesDeleted,
    RpcCall,
    RelationSaved,
    RelationDeleted,
    RelationsDeleted,
    AlarmSaved,
    AlarmAcknowledged,
    AlarmCleared,
    AlarmAssigned,
    AlarmUnassigned,
    AlarmDeleted,
    RuleEngineCalled,
    DeadLettersRevived,
    DeadLettersDeleted,
    CommentAdded,
    CommentUpdated,
    CommentDeleted,
}

impl Action {
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Added => "ADDED",
            Self::Updated => "UPDATED",
            Self::Deleted => "DELETED",
            Self::Assigned => "ASSIGNED_TO_CUSTOMER",
            Self::Unassigned => "UNASSIGNED_FROM_CUSTOMER",
            Self::CredentialsUpdated => "CREDENTIALS_UPDATED",
            Self::Provisioned => "PROVISION_SUCCESS",
            Self::Login => "LOGIN",
            Self::AttributesUpdated => "ATTRIBUTES_UPDATED",
            Self::AttributesDeleted => "ATTRIBUTES_DELETED",
            Self::TimeseriesUpdated => "TIMESERIES_UPDATED",
            Self::TimeseriesDeleted => "TIMESERIES_DELETED",
            Self::RpcCall => "RPC_CALL",
            Self::RuleEngineCalled => "REST_API_RULE_ENGINE_CALL",
            Self::RelationSaved => "RELATION_ADD_OR_UPDATE",
            Self::RelationDeleted => "RELATION_DELETED",
            Self::RelationsDeleted => "RELATIONS_DELETED",
            // ThingsBoard does not say that it is an alarm that was.
            Self::AlarmSaved => "UPDATED",
            Self::AlarmAcknowledged => "ALARM_ACK",
            Self::AlarmCleared => "ALARM_CLEAR",
            Self::AlarmAssigned => "ALARM_ASSIGNED",
            Self::AlarmUnassigned => "ALARM_UNASSIGNED",
            Self::AlarmDeleted => "ALARM_DELETE",
            // ThingsBoard has none: of whose entity they are.
            Self::DeadLettersRevived => "UPDATED",
            Self::DeadLettersDeleted => "DELETED",
            Self::CommentAdded => "ADDED_COMMENT",
            Self::CommentUpdated => "UPDATED_COMMENT",
            Self::CommentDeleted => "DELETED_COMMENT",
        }
    }

    /// What changes rows, and so what the row says is worth keeping.
    fn is_of_rows(self) -> bool {
        let other = matches!(self, Self::Login | Self::RelationSaved | Self::RelationDeleted | Self::RelationsDeleted);
        !self.is_elsewhere() && !other
    }

    /// What is not done by the entity store itself.
    fn is_elsewhere(self) -> bool {
        matches!(
            self,
            Self::AttributesUpdated
                | Self::AttributesDeleted
                | Self::TimeseriesUpdated
                | Self::TimeseriesDeleted
                | Self::RpcCall
                | Self::RuleEngineCalled
                | Self::AlarmSaved
                | Self::AlarmAcknowledged
                | Self::AlarmCleared
                | Self::AlarmAssigned
                | Self::AlarmUnassigned
                | Self::AlarmDeleted
                | Self::DeadLettersRevived
                | Self::DeadLettersDeleted
        )
    }
}

/// What was done to which entities of a tenant.
#[derive(Clone, Debug, PartialEq)]
pub struct Deed<'a> {
    pub action: Action,
    pub kind: EntityKind,
    pub ids: &'a [Uuid],
    pub tenant: Option<Uuid>,
    /// Members to add to the row's data.
    pub data: Value,
}

/// One line each, with the name the entity has now; of one that is gone, the name of its last line. What a shard is to do is
/// pending. Returns the ids of the lines.
pub(super) async fn append(write: &Write, author: &Author, deed: &Deed<'_>) -> Result<Vec<Uuid>, StoreError> {
    let mut lines = Vec::with_capacity(deed.ids.len());
    for ids in deed.ids.chunks(ROWS_PER_INSERT_MAX) {
        let mut subjects = subject::subjects(write.db(), deed.kind, ids).await?;
        let mut rows = Vec::with_capacity(ids.len());
        for id in ids {
            let subject = match subjects.remove(id) {
                Some(subject) => subject,
                None => subject::remembered(write.db(), *id).await?,
            };
            let row = line(write, author, deed, *id, subject);
            lines.extend(row.id.clone().take());
            rows.push(row);
        }
        Entity::insert_many(rows).exec_without_returning(write.db()).await?;
    }
    Ok(lines)
}

fn line(write: &Write, author: &Author, deed: &Deed<'_>, id: Uuid, subject: subject::Subject) -> ActiveModel {
    let mut data = serde_json::Map::from_iter([("entityId".to_owned(), json!(id))]);
    data.extend(deed.data.as_object().cloned().unwrap_or_default());
    if deed.action.is_of_rows() && !subject.facts.is_null() && subject.facts.to_string().len() <= FACTS_BYTES_MAX {
        data.insert("entity".to_owned(), subject.facts);
    }
    let words = [deed.kind.name(), subject.name.as_deref().unwrap_or_default(), &author.name, deed.action.name()];
    let status = if deed.action.is_elsewhere() { PENDING } else { SUCCESS };
    ActiveModel {
        id: Set(Uuid::now_v7()),
        created_ms: Set(write.now_ms()),
        tenant_id: Set(deed.tenant),
        user_id: Set(author.user),
        user_name: Set(author.name.clone()),
        action: Set(deed.action.name().to_owned()),
        entity_type: Set(deed.kind.name().to_owned()),
        entity_id: Set(id),
        customer_id: Set(subject.customer),
        search: Set(Some(words.join(" ").to_lowercase())),
        entity_name: Set(subject.name),
        action_data: Set(Some(Value::Object(data).to_string())),
        status: Set(Some(status.to_owned())),
        failure: Set(None),
    }
}

/// Writes down what became of a pending line.
///
/// # Errors
/// [`StoreError`]; so do all functions here.
pub async fn complete(write: &mut Write, id: Uuid, failure: Option<String>) -> Result<(), StoreError> {
    let status = if failure.is_some() { FAILURE } else { SUCCESS };
    Entity::update_many()
        .col_expr(Column::Status, Expr::value(status))
        .col_expr(Column::Failure, Expr::value(failure))
        .filter(Column::Id.eq(id))
        .exec(write.db())
        .await?;
    Ok(())
}

/// The newest rows about one entity.
///
/// # Errors
/// [`StoreError`].
pub async fn about(db: &impl ConnectionTrait, entity: Uuid, limit: u64) -> Result<Vec<Model>, StoreError> {
    Ok(Entity::find().filter(Column::EntityId.eq(entity)).order_by_desc(Column::Id).limit(limit).all(db).await?)
}

/// # Errors
/// [`StoreError`].
pub async fn page(
    db: &impl ConnectionTrait,
    tenant: Uuid,
    filter: &AuditFilter,
    link: &PageLink,
) -> Result<Page<AuditLine>, StoreError> {
    let sort = [
        ("createdTime", Column::CreatedMs),
        ("entityType", Column::EntityType),
        ("entityName", Column::EntityName),
        ("userName", Column::UserName),
        ("actionType", Column::Action),
        ("actionStatus", Column::Status),
    ];
    let listing = Listing { id: Column::Id, search: Column::Search, sort: &sort };
    let mut select = Entity::find().filter(Column::TenantId.eq(tenant));
    select = match &filter.subject {
        AuditSubject::Everything => select,
        AuditSubject::Entity(kind, id) => select.filter(Column::EntityId.eq(*id)).filter(Column::EntityType.eq(kind.as_str())),
        AuditSubject::User(id) => select.filter(Column::UserId.eq(*id)),
        AuditSubject::Customer(id) => select.filter(Column::CustomerId.eq(*id)),
    };
    if let Some(from_ms) = filter.from_ms {
        select = select.filter(Column::CreatedMs.gte(from_ms));
    }
    if let Some(to_ms) = filter.to_ms {
        select = select.filter(Column::CreatedMs.lte(to_ms));
    }
    if !filter.actions.is_empty() {
        select = select.filter(Column::Action.is_in(filter.actions.iter().map(String::as_str)));
    }
    Ok(page::page(db, select, listing, link).await?.map(AuditLine::from))
}

impl From<Model> for AuditLine {
    fn from(row: Model) -> Self {
        let failure = match row.status.as_deref() {
            Some(FAILURE) => Some(row.failure.unwrap_or_default()),
            Some(PENDING) => Some(UNKNOWN.to_owned()),
            _ => None,
        };
        Self {
            id: row.id,
            created_ms: row.created_ms,
            tenant: row.tenant_id,
            customer: row.customer_id,
            entity_kind: row.entity_type,
            entity: row.entity_id,
            entity_name: row.entity_name,
            user: row.user_id,
            user_name: row.user_name,
            action: row.action,
            data: row.action_data.as_deref().map_or(Value::Null, parsed),
            failure,
        }
    }
}
