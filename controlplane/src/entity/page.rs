//! One page of any table: search in the lower-cased column, sort by a known column, then by id so that pages do not overlap.

use sea_orm::{
    ColumnTrait, ConnectionTrait, EntityTrait, FromQueryResult, Order, PaginatorTrait, QueryFilter, QueryOrder, QuerySelect,
    Select,
    sea_query::{Expr, ExprTrait, LikeExpr},
};

use crate::{
    domain::{Invalid, Page, PageLink, SortOrder},
    entity::StoreError,
};

/// The columns a list can be searched and sorted by.
pub(super) struct Listing<'a, C> {
    pub(super) id: C,
    pub(super) search: C,
    /// ThingsBoard's property name and its column; the first is the default.
    pub(super) sort: &'a [(&'static str, C)],
}

pub(super) async fn page<E>(
    db: &impl ConnectionTrait,
    mut select: Select<E>,
    listing: Listing<'_, E::Column>,
    link: &PageLink,
) -> Result<Page<E::Model>, StoreError>
where
    E: EntityTrait,
    E::Model: FromQueryResult + Send + Sync,
    E::Column: Copy,
{
    let column = match &link.sort_property {
        None => listing.sort.first().map_or(listing.id, |(_, column)| *column),
        Some(asked) => {
            let known = listing.sort.iter().find(|(name, _)| name == asked);
            known.map(|(_, column)| *column).ok_or_else(|| {
                let names: Vec<_> = listing.sort.iter().map(|(name, _)| *name).collect();
                Invalid::new("sortProperty", asked, format!("must be one of {}", names.join(", ")))
            })?
        }
    };
    if let Some(text) = &link.text_search {
        select = select.filter(Expr::col(listing.search.as_column_ref()).like(contains(text)));
    }
    let order = match link.sort_order {
        SortOrder::Ascending => Order::Asc,
        SortOrder::Descending => Order::Desc,
    };
    let total = select.clone().count(db).await?;
    let rows = select
        .order_by(column, order.clone())
        .order_by(listing.id, order)
        .offset(link.offset())
        .limit(link.page_size)
        .all(db)
        .await?;
    Ok(Page::new(rows, total, link))
}

/// Text that contains `text`.
pub(super) fn contains(text: &str) -> LikeExpr {
    let escaped = text.replace('\\', "\\\\").replace('%', "\\%").replace('_', "\\_");
    LikeExpr::new(format!("%{escaped}%")).escape('\\')
}
