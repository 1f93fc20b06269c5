//! Entity queries over HTTP, for devices and assets: what is answered. What may be asked is in `form`.

mod form;

use std::collections::BTreeMap;

use axum::{Json, extract::State};
use serde::Serialize;
use utoipa::ToSchema;
use utoipa_axum::{router::OpenApiRouter, routes};

pub(in crate::rest) use self::form::{CountForm, ListingForm};
use crate::{
    clock,
    domain::{EntityRow, Key, KeyKind},
    error::Error,
    rest::{
        Web,
        extract::{Body, Signed},
        shape::{IdShape, PageShape},
    },
};

/// A value and when it was written.
#[derive(Debug, PartialEq, Serialize, ToSchema)]
#[schema(as = LatestValue)]
pub(in crate::rest) struct LatestShape {
    /// Milliseconds since the Unix epoch; 0 when there is no value.
    ts: i64,
    /// As text; empty when there is no value.
    value: String,
}

type ByKey = BTreeMap<String, LatestShape>;

/// An entity with what was asked of it.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = EntityData)]
pub(in crate::rest) struct RowShape {
    entity_id: IdShape,
    /// By key type, then by key.
    latest: BTreeMap<&'static str, ByKey>,
    /// Always empty: histories are not asked for here.
    timeseries: BTreeMap<String, LatestShape>,
    /// Always empty.
    agg_latest: BTreeMap<String, LatestShape>,
}

impl RowShape {
    fn new(row: &EntityRow, shown: &[Key], now_ms: i64) -> Self {
        let mut latest: BTreeMap<&'static str, ByKey> = BTreeMap::new();
        for key in shown {
            let value = match (key.kind, row.value(key)) {
                (_, None) => LatestShape { ts: 0, value: String::new() },
                // Fields have no time of their own: ThingsBoard shows when they were read.
                (KeyKind::Field, Some(value)) => LatestShape { ts: now_ms, value: value.to_string() },
                (_, Some(value)) => {
                    LatestShape { ts: row.samples.get(key).map_or(0, |sample| sample.ts), value: value.to_string() }
                }
            };
            latest.entry(key.kind.name()).or_default().insert(key.name.clone(), value);
        }
        Self {
            entity_id: IdShape::new(row.entity.kind, row.entity.id),
            latest,
            timeseries: BTreeMap::new(),
            agg_latest: BTreeMap::new(),
        }
    }
}

pub(in crate::rest) fn routes() -> OpenApiRouter<Web> {
    OpenApiRouter::new().routes(routes!(find)).routes(routes!(count))
}

/// A page of the devices and assets that match, with attributes and latest values. Conditions and orders that touch these look at
/// no more than 10000 of them: beyond it the answer is 413.
#[utoipa::path(post, path = "/api/entitiesQuery/find", operation_id = "findEntityDataByQuery", tag = "entity query",
    request_body = ListingForm, responses((status = 200, body = PageShape<RowShape>)))]
async fn find(
    State(web): State<Web>,
    Signed(caller): Signed,
    Body(form): Body<ListingForm>,
) -> Result<Json<PageShape<RowShape>>, Error> {
    let listing = form.listing()?;
    let shown = listing.shown.clone();
    let page = web.app.find_entities(&caller, listing).await?;
    let now_ms = clock::now_ms();
    Ok(Json(PageShape::of(page, |row| RowShape::new(&row, &shown, now_ms))))
}

/// How many devices and assets match.
#[utoipa::path(post, path = "/api/entitiesQuery/count", operation_id = "countEntitiesByQuery", tag = "entity query",
    request_body = CountForm, responses((status = 200, body = u64)))]
async fn count(State(web): State<Web>, Signed(caller): Signed, Body(form): Body<CountForm>) -> Result<Json<u64>, Error> {
    Ok(Json(web.app.count_entities(&caller, form.query()?).await?))
}
