//! Entity queries over HTTP, for devices and assets: what is answered. What may be asked is in `form`.

mod form;

use std::collections::BTreeMap;

use axum::{Json, extract::State};
use serde::{Serialize, de::DeserializeOwned};
use utoipa::ToSchema;
use utoipa_axum::{router::OpenApiRouter, routes};

pub(in crate::rest) use self::form::{AlarmCountForm, AlarmListingForm, CountForm, ListingForm};
use crate::{
    clock,
    domain::{AlarmRow, EntityRow, Invalid, Key, KeyKind},
    error::Error,
    rest::{
        Web,
        alarm::AlarmInfoShape,
        extract::{Body, Signed},
        shape::{IdShape, PageShape},
    },
    ws,
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
        Self {
            entity_id: IdShape::new(row.entity.kind, row.entity.id),
            latest: latest(row, shown, now_ms),
            timeseries: BTreeMap::new(),
            agg_latest: BTreeMap::new(),
        }
    }
}

/// What is shown of an entity, by key type and key.
fn latest(row: &EntityRow, shown: &[Key], now_ms: i64) -> BTreeMap<&'static str, ByKey> {
    let mut latest: BTreeMap<&'static str, ByKey> = BTreeMap::new();
    for key in shown {
        let value = match (key.kind, row.value(key)) {
            (_, None) => LatestShape { ts: 0, value: String::new() },
            // Fields have no time of their own: ThingsBoard shows when they were read.
            (KeyKind::Field, Some(value)) => LatestShape { ts: now_ms, value: value.to_string() },
            (_, Some(value)) => LatestShape { ts: row.samples.get(key).map_or(0, |sample| sample.ts), value: value.to_string() },
        };
        latest.entry(key.kind.name()).or_default().insert(key.name.clone(), value);
    }
    latest
}

/// An alarm with what was asked of its entity.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = AlarmData)]
pub(in crate::rest) struct AlarmRowShape {
    #[serde(flatten)]
    alarm: AlarmInfoShape,
    entity_id: IdShape,
    /// By key type, then by key.
    latest: BTreeMap<&'static str, ByKey>,
}

impl AlarmRowShape {
    fn new(row: AlarmRow, shown: &[Key], now_ms: i64) -> Self {
        let AlarmRow { info, entity } = row;
        let (entity_type, id) = match &entity {
            Some(row) => (row.entity.kind.name().to_owned(), row.entity.id),
            None => (info.alarm.originator_type.clone(), info.alarm.originator.0),
        };
        let entity_id = IdShape { entity_type, id };
        let latest = entity.map(|entity| latest(&entity, shown, now_ms)).unwrap_or_default();
        Self { alarm: info.into(), entity_id, latest }
    }
}

/// How alarm queries are read and answered on a socket.
pub(in crate::rest) const ALARMS: ws::Alarms = ws::Alarms {
    listing: |query| read::<AlarmListingForm>(query)?.listing(),
    count: |query| read::<AlarmCountForm>(query)?.count(),
    page: |page, shown, now_ms| {
        let page = PageShape::of(page, |row| AlarmRowShape::new(row, shown, now_ms));
        serde_json::to_value(page).unwrap_or_default()
    },
};

fn read<T: DeserializeOwned>(query: serde_json::Value) -> Result<T, Invalid> {
    serde_json::from_value(query).map_err(|error| Invalid::new("query", "", error.to_string()))
}

pub(in crate::rest) fn routes() -> OpenApiRouter<Web> {
    OpenApiRouter::new().routes(routes!(find)).routes(routes!(count)).routes(routes!(find_alarms)).routes(routes!(count_alarms))
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

/// A page of the alarms of the devices that match, with attributes and latest values of these. At most 10000 devices are looked at:
/// beyond it the answer is 413.
#[utoipa::path(post, path = "/api/alarmsQuery/find", operation_id = "findAlarmDataByQuery", tag = "entity query",
    request_body = AlarmListingForm, responses((status = 200, body = PageShape<AlarmRowShape>)))]
async fn find_alarms(
    State(web): State<Web>,
    Signed(caller): Signed,
    Body(form): Body<AlarmListingForm>,
) -> Result<Json<PageShape<AlarmRowShape>>, Error> {
    let listing = form.listing()?;
    let among = web.app.alarm_entities(&caller, listing.count.entities.as_ref()).await?;
    let page = web.app.find_alarms(&caller, &listing, &among).await?;
    let now_ms = clock::now_ms();
    Ok(Json(PageShape::of(page, |row| AlarmRowShape::new(row, &listing.shown, now_ms))))
}

/// How many alarms there are of the devices that match, or of everything.
#[utoipa::path(post, path = "/api/alarmsQuery/count", operation_id = "countAlarmsByQuery", tag = "entity query",
    request_body = AlarmCountForm, responses((status = 200, body = u64)))]
async fn count_alarms(
    State(web): State<Web>,
    Signed(caller): Signed,
    Body(form): Body<AlarmCountForm>,
) -> Result<Json<u64>, Error> {
    let count = form.count()?;
    let among = web.app.alarm_entities(&caller, count.entities.as_ref()).await?;
    Ok(Json(web.app.count_alarms(&caller, &count, &among).await?))
}
