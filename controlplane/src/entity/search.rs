//! Devices for entity queries: what of a query SQL can answer narrows the rows, and says whether it was all of it. Never reads
//! attributes or series: they are on shards (DESIGN 24).

use sea_orm::{
    ColumnTrait, Condition, ConnectionTrait, EntityTrait, Order, PaginatorTrait, QueryFilter, QueryOrder, QuerySelect, Select,
    sea_query::{Expr, ExprTrait, Func, LikeExpr, SimpleExpr},
};
use uuid::Uuid;

use crate::{
    domain::{
        Device, DeviceListing, DeviceQuery, Key, KeyFilter, KeyKind, NumberOperation, Page, PageLink, Predicate, Selector,
        TextOperation,
    },
    entity::{
        StoreError,
        device::{Column, Entity},
        page::contains,
    },
};

/// Whose devices.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Wall {
    pub tenant: Uuid,
    pub customer: Option<Uuid>,
}

/// Can SQL alone say which devices match?
#[must_use]
pub fn is_exact(query: &DeviceQuery) -> bool {
    narrowed(query).1
}

/// Can SQL alone put them in order?
#[must_use]
pub fn is_sortable(sort: &Key) -> bool {
    column(sort).is_some()
}

/// How many devices match; only for a query that is exact.
///
/// # Errors
/// [`StoreError`]; so do all functions here.
pub async fn count(db: &impl ConnectionTrait, wall: Wall, query: &DeviceQuery) -> Result<u64, StoreError> {
    Ok(select(wall, query).count(db).await?)
}

/// A page of those that match; only for a query that is exact and an order that SQL knows.
///
/// # Errors
/// [`StoreError`].
pub async fn page(db: &impl ConnectionTrait, wall: Wall, listing: &DeviceListing) -> Result<Page<Device>, StoreError> {
    let link = PageLink::new(listing.page_size, listing.page)?;
    let select = select(wall, &listing.query);
    let total = select.clone().count(db).await?;
    let order = if listing.descending { Order::Desc } else { Order::Asc };
    let sort = column(&listing.sort).unwrap_or(Column::CreatedMs);
    // As when rows are sorted here: devices of one place by their ids, upwards.
    let rows = select.order_by(sort, order).order_by(Column::Id, Order::Asc).offset(link.offset()).limit(link.page_size);
    let rows = rows.all(db).await?;
    Ok(Page::new(rows, total, &link).map(Device::from))
}

/// Every device that may match, at most `limit`.
///
/// # Errors
/// [`StoreError`].
pub async fn candidates(
    db: &impl ConnectionTrait,
    wall: Wall,
    query: &DeviceQuery,
    limit: u64,
) -> Result<Vec<Device>, StoreError> {
    let rows = select(wall, query).order_by(Column::Id, Order::Asc).limit(limit).all(db).await?;
    Ok(rows.into_iter().map(Device::from).collect())
}

fn select(wall: Wall, query: &DeviceQuery) -> Select<Entity> {
    let mut select = Entity::find().filter(Column::TenantId.eq(wall.tenant));
    if let Some(customer) = wall.customer {
        select = select.filter(Column::CustomerId.eq(customer));
    }
    select = match &query.selector {
        Selector::All => select,
        Selector::Ids(ids) => select.filter(Column::Id.is_in(ids.iter().copied())),
        Selector::Named(name) => select.filter(named(name)),
        Selector::Types(types, name) => {
            let typed = select.filter(Column::Kind.is_in(types.iter().map(String::as_str)));
            match name {
                Some(name) => typed.filter(named(name)),
                None => typed,
            }
        }
    };
    if let Some(text) = &query.search {
        let in_column = |column: Column| Expr::expr(Func::lower(Expr::col(column.as_column_ref()))).like(contains(text));
        let found = Condition::any()
            .add(Expr::col(Column::Search.as_column_ref()).like(contains(text)))
            .add(in_column(Column::Kind))
            .add(in_column(Column::Label));
        select = select.filter(found);
    }
    select.filter(narrowed(query).0)
}

/// ThingsBoard's name filter: what a name begins with, `%` for any text.
fn named(filter: &str) -> SimpleExpr {
    like(&format!("{}%", escaped(&filter.to_lowercase()).replace("\\%", "%")))
}

fn like(pattern: &str) -> SimpleExpr {
    Expr::col(Column::Search.as_column_ref()).like(LikeExpr::new(pattern).escape('\\'))
}

fn escaped(text: &str) -> String {
    text.replace('\\', "\\\\").replace('%', "\\%").replace('_', "\\_")
}

/// The conditions of a query as far as SQL knows them, and whether that is all of them. What is left out makes more rows match,
/// never fewer.
fn narrowed(query: &DeviceQuery) -> (Condition, bool) {
    let parts: Vec<Option<Condition>> = query.filters.iter().map(condition).collect();
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
fn condition(filter: &KeyFilter) -> Option<Condition> {
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
            let column = Expr::col(Column::CreatedMs.as_column_ref());
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
        TextOperation::Equal => Some(exactly.eq(operand)),
        TextOperation::NotEqual => Some(exactly.ne(operand)),
        TextOperation::In => Some(exactly.is_in(listed)),
        TextOperation::NotIn => Some(exactly.is_not_in(listed)),
        _ if !ignore_case => None,
        TextOperation::StartsWith => Some(like(&format!("{pattern}%"))),
        TextOperation::EndsWith => Some(like(&format!("%{pattern}"))),
        TextOperation::Contains => Some(like(&format!("%{pattern}%"))),
        TextOperation::NotContains => {
            Some(Expr::col(Column::Search.as_column_ref()).not_like(LikeExpr::new(format!("%{pattern}%")).escape('\\')))
        }
    }
}
