//! Attributes and series over HTTP: what is asked and how it is shown. Handlers that write are in `record`. The data plane that
//! owns the entity answers (DESIGN 24); nothing is kept here.

use std::collections::BTreeMap;

use axum::{Json, extract::State};
use schemas::telemetry::{Scope, Value};
use serde::Serialize;
use utoipa::ToSchema;
use utoipa_axum::{router::OpenApiRouter, routes};
use uuid::Uuid;

use crate::{
    access::Caller,
    app::Use,
    domain::Invalid,
    error::Error,
    rest::{
        Web,
        extract::{Params, Segment, Signed},
    },
    telemetry::{Aggregation, Attribute, Client, Entity, Range, Series},
};

/// ThingsBoard's default number of points per key.
const LIMIT_DEFAULT: u32 = 100;

/// A value of a series at a time.
#[derive(Debug, PartialEq, Serialize, ToSchema)]
#[schema(as = TsValue)]
pub(in crate::rest) struct PointShape {
    /// Milliseconds since the Unix epoch.
    ts: i64,
    /// A string, or with `useStrictDataTypes=true` the value itself.
    value: serde_json::Value,
}

/// Points by key.
pub(in crate::rest) type SeriesShape = BTreeMap<String, Vec<PointShape>>;

/// An attribute as shown.
#[derive(Debug, PartialEq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = AttributeData)]
pub(in crate::rest) struct AttributeShape {
    /// Milliseconds since the Unix epoch.
    last_update_ts: i64,
    key: String,
    value: serde_json::Value,
}

impl From<Attribute> for AttributeShape {
    fn from(attribute: Attribute) -> Self {
        Self { last_update_ts: attribute.last_update, key: attribute.key, value: attribute.value.to_json() }
    }
}

/// ThingsBoard shows values as strings unless strict types are asked for.
pub(in crate::rest) fn series_shape(series: Vec<Series>, strict: bool) -> SeriesShape {
    let shown = |value: &Value<'static>| if strict { value.to_json() } else { serde_json::Value::String(value.to_string()) };
    series
        .into_iter()
        .map(|one| {
            let points = one.points.iter().map(|point| PointShape { ts: point.ts, value: shown(&point.value) }).collect();
            (one.key, points)
        })
        .collect()
}

/// The scope a path names.
pub(in crate::rest) fn scope(name: &str) -> Result<Scope, Invalid> {
    Scope::parse(name).ok_or_else(|| Invalid::new("scope", name, "must be CLIENT_SCOPE, SERVER_SCOPE or SHARED_SCOPE"))
}

/// `keys=a,b`, or `key=` repeated for keys that hold a comma.
pub(in crate::rest) fn keys(params: &Params) -> Vec<String> {
    let mut keys = params.list("keys");
    keys.extend(params.all("key"));
    let mut seen = std::collections::HashSet::new();
    keys.retain(|key| seen.insert(key.clone()));
    keys
}

/// The range a query asks for; `None` without `startTs` and `endTs`.
pub(in crate::rest) fn range(params: &Params) -> Result<Option<Range>, Invalid> {
    let millis = "must be milliseconds since the Unix epoch";
    let start: Option<i64> = params.read("startTs", millis)?;
    let end: Option<i64> = params.read("endTs", millis)?;
    let (start, end) = match (start, end) {
        (None, None) => return Ok(None),
        (Some(start), Some(end)) => (start, end),
        (Some(_), None) => return Err(Invalid::new("endTs", "", "must be given together with startTs")),
        (None, Some(_)) => return Err(Invalid::new("startTs", "", "must be given together with endTs")),
    };
    if start < 0 || start > end {
        return Err(Invalid::new("startTs", &start.to_string(), format!("must be 0 or more and not above endTs {end}")));
    }
    let keys = keys(params);
    if keys.is_empty() {
        return Err(Invalid::new("keys", "", "must name at least one key when a time range is asked for"));
    }
    if let Some(kind) = params.text("intervalType").filter(|kind| *kind != "MILLISECONDS") {
        return Err(Invalid::new("intervalType", kind, "must be MILLISECONDS: calendar intervals are not offered yet"));
    }
    let name = params.text("agg").unwrap_or("NONE");
    let aggregation =
        Aggregation::parse(name).ok_or_else(|| Invalid::new("agg", name, "must be NONE, MIN, MAX, AVG, SUM or COUNT"))?;
    let ascending = match params.text("orderBy").unwrap_or("DESC") {
        "DESC" => false,
        "ASC" => true,
        other => return Err(Invalid::new("orderBy", other, "must be ASC or DESC")),
    };
    let interval_ms: i64 = params.read("interval", "must be milliseconds, 0 or more")?.unwrap_or(0);
    if interval_ms < 0 {
        return Err(Invalid::new("interval", &interval_ms.to_string(), "must be milliseconds, 0 or more"));
    }
    let limit: u32 = params.read("limit", "must be a number of 1 or more")?.unwrap_or(LIMIT_DEFAULT);
    if limit == 0 {
        return Err(Invalid::new("limit", "0", "must be a number of 1 or more"));
    }
    Ok(Some(Range { keys, start, end, limit, ascending, aggregation, interval_ms }))
}

/// The entity of the path, if the caller may use it so, and the line to its data plane.
pub(in crate::rest) async fn reach(
    web: &Web,
    caller: &Caller,
    kind: &str,
    id: Uuid,
    wanted: Use,
) -> Result<(Client, Entity), Error> {
    let entity = web.app.authorize_entity(caller, kind, id, wanted).await?;
    Ok((web.app.data_plane().await?, entity.into()))
}

pub(in crate::rest) fn routes() -> OpenApiRouter<Web> {
    OpenApiRouter::new()
        .routes(routes!(timeseries_keys))
        .routes(routes!(attribute_keys))
        .routes(routes!(attribute_keys_of_scope))
        .routes(routes!(attributes))
        .routes(routes!(attributes_of_scope))
        .routes(routes!(timeseries))
        .routes(routes!(history))
}

/// The keys of an entity's time series.
#[utoipa::path(get, path = "/api/plugins/telemetry/{entityType}/{entityId}/keys/timeseries",
    operation_id = "getTimeseriesKeys", tag = "telemetry",
    params(("entityType" = String, Path, example = "DEVICE"), ("entityId" = Uuid, Path)),
    responses((status = 200, body = Vec<String>)))]
async fn timeseries_keys(
    State(web): State<Web>,
    Signed(caller): Signed,
    Segment((kind, id)): Segment<(String, Uuid)>,
) -> Result<Json<Vec<String>>, Error> {
    let (client, entity) = reach(&web, &caller, &kind, id, Use::Read).await?;
    Ok(Json(client.keys(&entity).await?))
}

/// The keys of an entity's attributes, of every scope.
#[utoipa::path(get, path = "/api/plugins/telemetry/{entityType}/{entityId}/keys/attributes",
    operation_id = "getAttributeKeys", tag = "telemetry",
    params(("entityType" = String, Path, example = "DEVICE"), ("entityId" = Uuid, Path)),
    responses((status = 200, body = Vec<String>)))]
async fn attribute_keys(
    State(web): State<Web>,
    Signed(caller): Signed,
    Segment((kind, id)): Segment<(String, Uuid)>,
) -> Result<Json<Vec<String>>, Error> {
    let (client, entity) = reach(&web, &caller, &kind, id, Use::Read).await?;
    Ok(Json(distinct_keys(client.attributes(&entity, None, Vec::new()).await?)))
}

/// The keys of an entity's attributes of one scope.
#[utoipa::path(get, path = "/api/plugins/telemetry/{entityType}/{entityId}/keys/attributes/{scope}",
    operation_id = "getAttributeKeysByScope", tag = "telemetry",
    params(("entityType" = String, Path, example = "DEVICE"), ("entityId" = Uuid, Path),
        ("scope" = String, Path, example = "SERVER_SCOPE")),
    responses((status = 200, body = Vec<String>)))]
async fn attribute_keys_of_scope(
    State(web): State<Web>,
    Signed(caller): Signed,
    Segment((kind, id, name)): Segment<(String, Uuid, String)>,
) -> Result<Json<Vec<String>>, Error> {
    let scope = scope(&name)?;
    let (client, entity) = reach(&web, &caller, &kind, id, Use::Read).await?;
    Ok(Json(distinct_keys(client.attributes(&entity, Some(scope), Vec::new()).await?)))
}

fn distinct_keys(attributes: Vec<Attribute>) -> Vec<String> {
    let mut keys: Vec<String> = attributes.into_iter().map(|attribute| attribute.key).collect();
    keys.sort_unstable();
    keys.dedup();
    keys
}

/// An entity's attributes of every scope.
#[utoipa::path(get, path = "/api/plugins/telemetry/{entityType}/{entityId}/values/attributes",
    operation_id = "getAttributes", tag = "telemetry",
    params(("entityType" = String, Path, example = "DEVICE"), ("entityId" = Uuid, Path),
        ("keys" = Option<String>, Query, description = "`a,b`; absent: all")),
    responses((status = 200, body = Vec<AttributeShape>)))]
async fn attributes(
    State(web): State<Web>,
    Signed(caller): Signed,
    Segment((kind, id)): Segment<(String, Uuid)>,
    params: Params,
) -> Result<Json<Vec<AttributeShape>>, Error> {
    let (client, entity) = reach(&web, &caller, &kind, id, Use::Read).await?;
    let found = client.attributes(&entity, None, keys(&params)).await?;
    Ok(Json(found.into_iter().map(Into::into).collect()))
}

/// An entity's attributes of one scope.
#[utoipa::path(get, path = "/api/plugins/telemetry/{entityType}/{entityId}/values/attributes/{scope}",
    operation_id = "getAttributesByScope", tag = "telemetry",
    params(("entityType" = String, Path, example = "DEVICE"), ("entityId" = Uuid, Path),
        ("scope" = String, Path, example = "SERVER_SCOPE"),
        ("keys" = Option<String>, Query, description = "`a,b`; absent: all")),
    responses((status = 200, body = Vec<AttributeShape>)))]
async fn attributes_of_scope(
    State(web): State<Web>,
    Signed(caller): Signed,
    Segment((kind, id, name)): Segment<(String, Uuid, String)>,
    params: Params,
) -> Result<Json<Vec<AttributeShape>>, Error> {
    let scope = scope(&name)?;
    let (client, entity) = reach(&web, &caller, &kind, id, Use::Read).await?;
    let found = client.attributes(&entity, Some(scope), keys(&params)).await?;
    Ok(Json(found.into_iter().map(Into::into).collect()))
}

/// The latest values of an entity's series, or with `startTs` and `endTs` their history.
#[utoipa::path(get, path = "/api/plugins/telemetry/{entityType}/{entityId}/values/timeseries",
    operation_id = "getTimeseries", tag = "telemetry",
    params(("entityType" = String, Path, example = "DEVICE"), ("entityId" = Uuid, Path), HistoryParams),
    responses((status = 200, body = BTreeMap<String, Vec<PointShape>>)))]
async fn timeseries(
    State(web): State<Web>,
    Signed(caller): Signed,
    Segment((kind, id)): Segment<(String, Uuid)>,
    params: Params,
) -> Result<Json<SeriesShape>, Error> {
    let strict = params.flag("useStrictDataTypes")?.unwrap_or(false);
    let range = range(&params)?;
    let (client, entity) = reach(&web, &caller, &kind, id, Use::Read).await?;
    let series = match range {
        Some(range) => client.history(&entity, range).await?,
        None => client.latest(&entity, keys(&params)).await?,
    };
    Ok(Json(series_shape(series, strict)))
}

/// The history of an entity's series.
#[utoipa::path(get, path = "/api/plugins/telemetry/{entityType}/{entityId}/values/timeseries/history",
    operation_id = "getTimeseriesHistory", tag = "telemetry",
    params(("entityType" = String, Path, example = "DEVICE"), ("entityId" = Uuid, Path), HistoryParams),
    responses((status = 200, body = BTreeMap<String, Vec<PointShape>>)))]
async fn history(
    State(web): State<Web>,
    Signed(caller): Signed,
    Segment((kind, id)): Segment<(String, Uuid)>,
    params: Params,
) -> Result<Json<SeriesShape>, Error> {
    let strict = params.flag("useStrictDataTypes")?.unwrap_or(false);
    let range = range(&params)?.ok_or_else(|| Invalid::new("startTs", "", "must be given together with endTs"))?;
    let (client, entity) = reach(&web, &caller, &kind, id, Use::Read).await?;
    Ok(Json(series_shape(client.history(&entity, range).await?, strict)))
}

/// How values of series are asked for.
#[derive(Debug, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
#[expect(dead_code, reason = "the fields exist for the OpenAPI document; `range` reads the query")]
struct HistoryParams {
    /// `a,b`; needed with a time range, otherwise absent means all.
    keys: Option<String>,
    /// One key, may be repeated; for keys that hold a comma.
    key: Option<Vec<String>>,
    /// Start of the range, in milliseconds since the Unix epoch.
    #[param(rename = "startTs")]
    start_ts: Option<i64>,
    /// End of the range, exclusive.
    #[param(rename = "endTs")]
    end_ts: Option<i64>,
    /// `MILLISECONDS`, the only type so far.
    #[param(rename = "intervalType")]
    interval_type: Option<String>,
    /// Length of an aggregate's interval, in milliseconds; 0 = the whole range.
    interval: Option<i64>,
    /// Points per key when nothing is aggregated; default 100.
    limit: Option<u32>,
    /// `NONE` (default), `MIN`, `MAX`, `AVG`, `SUM` or `COUNT`.
    agg: Option<String>,
    /// `DESC` (default) or `ASC`.
    #[param(rename = "orderBy")]
    order_by: Option<String>,
    /// Show values with their type; default false: as strings.
    #[param(rename = "useStrictDataTypes")]
    use_strict_data_types: Option<bool>,
}
