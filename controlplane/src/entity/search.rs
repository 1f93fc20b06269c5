//! Devices and assets for entity queries: what of a query SQL can answer narrows the rows, and says whether it was all of it.
//! Never reads attributes or series: they are on shards (DESIGN 24).

use sea_orm::{
    Condition, ConnectionTrait, EntityTrait, FromQueryResult, Order, PaginatorTrait, QueryFilter, QueryOrder, QuerySelect,
    Select,
    sea_query::{Expr, ExprTrait, Func, LikeExpr, SimpleExpr},
};
use uuid::Uuid;

use crate::{
    domain::{
        EntityKind, EntityListing, EntityQuery, Key, KeyFilter, KeyKind, ListedEntity, NumberOperation, Page, PageLink,
        Predicate, Selector, TextOperation,
    },
    entity::{StoreError, asset, device, page::contains},
};

/// The columns that the tables of devices and of assets have by the same names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Column {
    Id,
    TenantId,
    CustomerId,
    CreatedMs,
    Name,
    Search,
    Kind,
    Label,
}

impl Column {
    fn expr(self) -> Expr {
        Expr::col(match self {
            Self::Id => "id",
            Self::TenantId => "tenant_id",
            Self::CustomerId => "customer_id",
            Self::CreatedMs => "created_ms",
            Self::Name => "name",
            Self::Search => "search",
            Self::Kind => "kind",
            Self::Label => "label",
        })
    }
}

impl From<device::Model> for ListedEntity {
    fn from(row: device::Model) -> Self {
        crate::domain::Device::from(row).into()
    }
}

impl From<asset::Model> for ListedEntity {
    fn from(row: asset::Model) -> Self {
        crate::domain::Asset::from(row).into()
    }
}

/// Whose entities.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Wall {
    pub tenant: Uuid,
    pub customer: Option<Uuid>,
}

/// Can SQL alone say which entities match?
#[must_use]
pub fn is_exact(query: &EntityQuery) -> bool {
    query.kinds.len() == 1 && narrowed(query).1
}

/// Can SQL alone put them in order?
#[must_use]
pub fn is_sortable(sort: &Key) -> bool {
    column(sort).is_some()
}

/// How many entities match; only for a query that is exact.
///
/// # Errors
/// [`StoreError`]; so do all functions here.
pub async fn count(db: &impl ConnectionTrait, wall: Wall, query: &EntityQuery) -> Result<u64, StoreError> {
    Ok(match query.kinds.first() {
        Some(EntityKind::Asset) => asset::Entity::find().filter(condition(wall, query)).count(db).await?,
        _ => device::Entity::find().filter(condition(wall, query)).count(db).await?,
    })
}

/// A page of those that match; only for a query that is exact and an order that SQL knows.
///
/// # Errors
/// [`StoreError`].
pub async fn page(db: &impl ConnectionTrait, wall: Wall, listing: &EntityListing) -> Result<Page<ListedEntity>, StoreError> {
    match listing.query.kinds.first() {
        Some(EntityKind::Asset) => page_of(db, asset::Entity::find(), wall, listing).await,
        _ => page_of(db, device::Entity::find(), wall, listing).await,
    }
}

async fn page_of<E>(
    db: &impl ConnectionTrait,
    table: Select<E>,
    wall: Wall,
    listing: &EntityListing,
) -> Result<Page<ListedEntity>, StoreError>
where
    E: EntityTrait,
    E::Model: FromQueryResult + Send + Sync + Into<ListedEntity>,
{
    let link = PageLink::new(listing.page_size, listing.page)?;
    let select = table.filter(condition(wall, &listing.query));
    let total = select.clone().count(db).await?;
    let order = if listing.descending { Order::Desc } else { Order::Asc };
    let sort = column(&listing.sort).unwrap_or(Column::CreatedMs);
    // As when rows are sorted here: entities of one place by their ids, upwards.
    let rows = select.order_by(sort.expr(), order).order_by(Column::Id.expr(), Order::Asc);
    let rows = rows.offset(link.offset()).limit(link.page_size).all(db).await?;
    Ok(Page::new(rows, total, &link).map(Into::into))
}

/// Every entity that may match, at most `limit`.
///
/// # Errors
/// [`StoreError`].
pub async fn candidates(
    db: &impl ConnectionTrait,
    wall: Wall,
    query: &EntityQuery,
    limit: u64,
) -> Result<Vec<ListedEntity>, StoreError> {
    let mut found: Vec<ListedEntity> = Vec::new();
    for kind in &query.kinds {
        let left = limit.saturating_sub(found.len() as u64);
        let matching = condition(wall, query);
        if *kind == EntityKind::Asset {
            let rows = asset::Entity::find().filter(matching).order_by(Column::Id.expr(), Order::Asc).limit(left).all(db).await?;
            found.extend(rows.into_iter().map(ListedEntity::from));
        } else {
            let rows =
                device::Entity::find().filter(matching).order_by(Column::Id.expr(), Order::Asc).limit(left).all(db).await?;
            found.extend(rows.into_iter().map(ListedEntity::from));
        }
    }
    Ok(found)
}

/// What SQL knows of the query, for either table.
fn condition(wall: Wall, query: &EntityQuery) -> Condition {
    let mut all = Condition::all().add(Column::TenantId.expr().eq(wall.tenant));
    if let Some(customer) = wall.customer {
        all = all.add(Column::CustomerId.expr().eq(customer));
    }
    let typed = |types: &[String]| Column::Kind.expr().is_in(types.iter().map(String::as_str));
    all = match &query.selector {
        // One that was not walked yet has found nothing.
        Selector::Reached(..) => all.add(Column::Id.expr().is_in(Vec::<Uuid>::new())),
        Selector::All => all,
        Selector::Ids(ids) => all.add(Column::Id.expr().is_in(ids.iter().copied())),
        Selector::Found(ids, types) => {
            let found = all.add(Column::Id.expr().is_in(ids.iter().copied()));
            if types.is_empty() { found } else { found.add(typed(types)) }
        }
        Selector::Named(name) => all.add(named(name)),
        Selector::Types(types, name) => {
            let of_types = all.add(typed(types));
            match name {
                Some(name) => of_types.add(named(name)),
                None => of_types,
            }
        }
    };
    if let Some(text) = &query.search {
        let in_column = |column: Column| Expr::expr(Func::lower(column.expr())).like(contains(text));
        let found = Condition::any()
            .add(Column::Search.expr().like(contains(text)))
            .add(in_column(Column::Kind))
            .add(in_column(Column::Label));
        all = all.add(found);
    }
    all.add(narrowed(query).0)
}

/// ThingsBoard's name filter: what a name begins with, `%` for any text.
fn named(filter: &str) -> SimpleExpr {
    like(&format!("{}%", escaped(&filter.to_lowercase()).replace("\\%", "%")))
}

fn like(pattern: &str) -> SimpleExpr {
    Column::Search.expr().like(LikeExpr::new(pattern).escape('\\'))
}

fn escaped(text: &str) -> String {
    text.replace('\\', "\\\\").replace('%', "\\%").replace('_', "\\_")
}

/// The conditions of a query as far as SQL knows them, and whether that is all of them. What is left out makes more rows match,
/// never fewer.
fn narrowed(query: &EntityQuery) -> (Condition, bool) {
    let parts: Vec<Option<Condition>> = query.filters.iter().map(known).collect();
    let exact = parts.iter().all(Option::is_some);
    if query.any && !parts.is_empty() {
        // One part that SQL does not know may let any row in.
        let all: Option<Vec<Condition>> = parts.into_iter().collect();
        return (all.map_or_else(Condition::all, |all| all.into_iter().fold(Condition::any(), Condition::add)), exact);
    }
    (parts.into_iter().flatten().fold(Condition::all(), Condition::add), exact)
}

fn column(key: &Key) -> Option<Column> {
    match (key.kind, key.name.as_str()) {
        (KeyKind::Field, "createdTime") => Some(Column::CreatedMs),
        (KeyKind::Field, "name") => Some(Column::Search),
        (KeyKind::Field, "type") => Some(Column::Kind),
        _ => None,
    }
}

/// The condition, if SQL answers it as the domain does.
fn known(filter: &KeyFilter) -> Option<Condition> {
    if filter.key.kind != KeyKind::Field {
        return None;
    }
    translated(&filter.key.name, &filter.predicate)
}

fn translated(field: &str, predicate: &Predicate) -> Option<Condition> {
    let all = |parts: &[Predicate]| parts.iter().map(|part| translated(field, part)).collect::<Option<Vec<_>>>();
    Some(match predicate {
        Predicate::All(parts) => all(parts)?.into_iter().fold(Condition::all(), Condition::add),
        Predicate::Any(parts) => all(parts)?.into_iter().fold(Condition::any(), Condition::add),
        Predicate::Number { operation, operand } if field == "createdTime" => {
            let column = Column::CreatedMs.expr();
            let value = operand.fixed;
            Condition::all().add(match operation {
                NumberOperation::Equal => column.eq(value),
                NumberOperation::NotEqual => column.ne(value),
                NumberOperation::Greater => column.gt(value),
                NumberOperation::Less => column.lt(value),
                NumberOperation::GreaterOrEqual => column.gte(value),
                NumberOperation::LessOrEqual => column.lte(value),
            })
        }
        Predicate::Text { operation, operand, ignore_case } => {
            Condition::all().add(text(field, *operation, &operand.fixed, *ignore_case)?)
        }
        _ => return None,
    })
}

/// LIKE minds the case on one database and not on the other, so only the lower-cased column is searched by it.
fn text(field: &str, operation: TextOperation, operand: &str, ignore_case: bool) -> Option<SimpleExpr> {
    let pattern = escaped(&operand.to_lowercase());
    let exactly = match (field, ignore_case) {
        ("name", false) => Column::Name,
        ("type", false) => Column::Kind,
        ("name", true) => Column::Search,
        _ => return None,
    };
    let operand = if ignore_case { operand.to_lowercase() } else { operand.to_owned() };
    let listed = operand.split(',').map(|one| one.trim().to_owned());
    match operation {
        TextOperation::Equal => Some(exactly.expr().eq(operand)),
        TextOperation::NotEqual => Some(exactly.expr().ne(operand)),
        TextOperation::In => Some(exactly.expr().is_in(listed)),
        TextOperation::NotIn => Some(exactly.expr().is_not_in(listed)),
        _ if !ignore_case => None,
        TextOperation::StartsWith => Some(like(&format!("{pattern}%"))),
        TextOperation::EndsWith => Some(like(&format!("%{pattern}"))),
        TextOperation::Contains => Some(like(&format!("%{pattern}%"))),
        TextOperation::NotContains => Some(Column::Search.expr().not_like(LikeExpr::new(format!("%{pattern}%")).escape('\\'))),
    }
}
