//! Writing and deleting attributes and series over HTTP. Answered when durable on the owning shard and written down in the audit
//! log; never stored here.

use std::future::Future;

use axum::{
    extract::State,
    response::{IntoResponse, Response},
};
use schemas::telemetry::Scope;
use serde_json::{Value, json};
use utoipa_axum::{router::OpenApiRouter, routes};
use uuid::Uuid;

use crate::{
    access::Caller,
    app::Use,
    domain::Invalid,
    entity::audit::Action,
    error::Error,
    rest::{
        Web,
        extract::{Params, Raw, Segment, Signed},
        telemetry::{keys, scope},
    },
    telemetry::{Client, Entity, Unanswered, Values},
};

const DEVICE: &str = "DEVICE";
/// A payload longer than this is not repeated in the audit log, in bytes.
const SHOWN_BYTES_MAX: usize = 4 << 10;

/// Writes to the entity of the path, if the caller may, and writes down that it was done.
async fn write<F>(
    web: &Web,
    caller: &Caller,
    (kind, id): (&str, Uuid),
    (action, data): (Action, Value),
    deed: impl FnOnce(Client, Entity) -> F,
) -> Result<(), Error>
where
    F: Future<Output = Result<(), Unanswered>> + Send + 'static,
{
    let entity = web.app.authorize_entity(caller, kind, id, Use::Write).await?;
    let client = web.app.data_plane().await?;
    // On the heap: a question over gRPC is large, and every handler that writes would carry it.
    let deed = Box::pin(deed(client, entity.into()));
    web.app.audited(caller, (action, entity, data), async move { Ok(deed.await?) }, |()| None).await
}

/// A payload for the audit log; null when it is long or no JSON.
fn shown(payload: &[u8]) -> Value {
    if payload.len() > SHOWN_BYTES_MAX { Value::Null } else { serde_json::from_slice(payload).unwrap_or_default() }
}

pub(in crate::rest) fn routes() -> OpenApiRouter<Web> {
    OpenApiRouter::new()
        .routes(routes!(save_attributes))
        .routes(routes!(save_attributes_short, delete_attributes))
        .routes(routes!(save_device_attributes, delete_device_attributes))
        .routes(routes!(save_timeseries))
        .routes(routes!(save_timeseries_with_ttl))
        .routes(routes!(delete_timeseries))
}

/// Save attributes: a flat JSON object. Shared ones are sent to the device.
#[utoipa::path(post, path = "/api/plugins/telemetry/{entityType}/{entityId}/attributes/{scope}",
    operation_id = "saveEntityAttributesV2", tag = "telemetry",
    params(("entityType" = String, Path, example = "DEVICE"), ("entityId" = Uuid, Path),
        ("scope" = String, Path, example = "SHARED_SCOPE")),
    request_body = serde_json::Value, responses((status = 200, description = "saved")))]
async fn save_attributes(
    State(web): State<Web>,
    Signed(caller): Signed,
    Segment((kind, id, name)): Segment<(String, Uuid, String)>,
    Raw(payload): Raw,
) -> Result<(), Error> {
    put_attributes(&web, &caller, (&kind, id, &name), payload).await
}

/// Save attributes, the short path.
#[utoipa::path(post, path = "/api/plugins/telemetry/{entityType}/{entityId}/{scope}",
    operation_id = "saveEntityAttributesV1", tag = "telemetry",
    params(("entityType" = String, Path, example = "DEVICE"), ("entityId" = Uuid, Path),
        ("scope" = String, Path, example = "SHARED_SCOPE")),
    request_body = serde_json::Value, responses((status = 200, description = "saved")))]
async fn save_attributes_short(
    State(web): State<Web>,
    Signed(caller): Signed,
    Segment((kind, id, name)): Segment<(String, Uuid, String)>,
    Raw(payload): Raw,
) -> Result<(), Error> {
    put_attributes(&web, &caller, (&kind, id, &name), payload).await
}

/// Save attributes of a device.
#[utoipa::path(post, path = "/api/plugins/telemetry/{deviceId}/{scope}",
    operation_id = "saveDeviceAttributes", tag = "telemetry",
    params(("deviceId" = Uuid, Path), ("scope" = String, Path, example = "SHARED_SCOPE")),
    request_body = serde_json::Value, responses((status = 200, description = "saved")))]
async fn save_device_attributes(
    State(web): State<Web>,
    Signed(caller): Signed,
    Segment((id, name)): Segment<(Uuid, String)>,
    Raw(payload): Raw,
) -> Result<(), Error> {
    put_attributes(&web, &caller, (DEVICE, id, &name), payload).await
}

async fn put_attributes(web: &Web, caller: &Caller, (kind, id, name): (&str, Uuid, &str), payload: Vec<u8>) -> Result<(), Error> {
    let scope = scope(name)?;
    // Client attributes are the device's own word; people write the other scopes, as in ThingsBoard.
    if scope == Scope::Client {
        return Err(Invalid::new("scope", name, "must be SERVER_SCOPE or SHARED_SCOPE").into());
    }
    let data = json!({"scope": scope.name(), "attributes": shown(&payload)});
    let deed = |client: Client, entity| async move { client.save_attributes(&entity, scope, Values::given(payload)).await };
    write(web, caller, (kind, id), (Action::AttributesUpdated, data), deed).await
}

/// Delete attributes of one scope.
#[utoipa::path(delete, path = "/api/plugins/telemetry/{entityType}/{entityId}/{scope}",
    operation_id = "deleteEntityAttributes", tag = "telemetry",
    params(("entityType" = String, Path, example = "DEVICE"), ("entityId" = Uuid, Path),
        ("scope" = String, Path, example = "SHARED_SCOPE"), ("keys" = String, Query, description = "`a,b`")),
    responses((status = 200, description = "deleted")))]
async fn delete_attributes(
    State(web): State<Web>,
    Signed(caller): Signed,
    Segment((kind, id, name)): Segment<(String, Uuid, String)>,
    params: Params,
) -> Result<(), Error> {
    drop_attributes(&web, &caller, (&kind, id, &name), &params).await
}

/// Delete attributes of a device.
#[utoipa::path(delete, path = "/api/plugins/telemetry/{deviceId}/{scope}",
    operation_id = "deleteDeviceAttributes", tag = "telemetry",
    params(("deviceId" = Uuid, Path), ("scope" = String, Path, example = "SHARED_SCOPE"),
        ("keys" = String, Query, description = "`a,b`")),
    responses((status = 200, description = "deleted")))]
async fn delete_device_attributes(
    State(web): State<Web>,
    Signed(caller): Signed,
    Segment((id, name)): Segment<(Uuid, String)>,
    params: Params,
) -> Result<(), Error> {
    drop_attributes(&web, &caller, (DEVICE, id, &name), &params).await
}

async fn drop_attributes(web: &Web, caller: &Caller, (kind, id, name): (&str, Uuid, &str), params: &Params) -> Result<(), Error> {
    let scope = scope(name)?;
    let keys = named(params)?;
    let data = json!({"scope": scope.name(), "attributes": keys});
    let deed = |client: Client, entity| async move { client.delete_attributes(&entity, scope, keys).await };
    write(web, caller, (kind, id), (Action::AttributesDeleted, data), deed).await
}

/// Save time series: telemetry JSON, any of its three forms.
#[utoipa::path(post, path = "/api/plugins/telemetry/{entityType}/{entityId}/timeseries/{scope}",
    operation_id = "saveEntityTelemetry", tag = "telemetry",
    params(("entityType" = String, Path, example = "DEVICE"), ("entityId" = Uuid, Path),
        ("scope" = String, Path, description = "Any text, ThingsBoard's `ANY`")),
    request_body = serde_json::Value, responses((status = 200, description = "saved")))]
async fn save_timeseries(
    State(web): State<Web>,
    Signed(caller): Signed,
    Segment((kind, id, _scope)): Segment<(String, Uuid, String)>,
    Raw(payload): Raw,
) -> Result<(), Error> {
    put_timeseries(&web, &caller, (&kind, id), payload, 0).await
}

/// Save time series that expire after `ttl` seconds.
#[utoipa::path(post, path = "/api/plugins/telemetry/{entityType}/{entityId}/timeseries/{scope}/{ttl}",
    operation_id = "saveEntityTelemetryWithTTL", tag = "telemetry",
    params(("entityType" = String, Path, example = "DEVICE"), ("entityId" = Uuid, Path),
        ("scope" = String, Path, description = "Any text, ThingsBoard's `ANY`"),
        ("ttl" = u32, Path, description = "Seconds; 0 = kept")),
    request_body = serde_json::Value, responses((status = 200, description = "saved")))]
async fn save_timeseries_with_ttl(
    State(web): State<Web>,
    Signed(caller): Signed,
    Segment((kind, id, _scope, ttl)): Segment<(String, Uuid, String, u32)>,
    Raw(payload): Raw,
) -> Result<(), Error> {
    put_timeseries(&web, &caller, (&kind, id), payload, ttl).await
}

async fn put_timeseries(web: &Web, caller: &Caller, entity: (&str, Uuid), payload: Vec<u8>, ttl_s: u32) -> Result<(), Error> {
    let data = json!({"timeseries": shown(&payload), "ttl": ttl_s});
    let deed = |client: Client, entity| async move { client.save_timeseries(&entity, Values::given(payload), ttl_s).await };
    write(web, caller, entity, (Action::TimeseriesUpdated, data), deed).await
}

/// Delete points of series: all of the keys, or those of `[startTs, endTs)`.
#[utoipa::path(delete, path = "/api/plugins/telemetry/{entityType}/{entityId}/timeseries/delete",
    operation_id = "deleteEntityTimeseries", tag = "telemetry",
    params(("entityType" = String, Path, example = "DEVICE"), ("entityId" = Uuid, Path),
        ("keys" = String, Query, description = "`a,b`"),
        ("deleteAllDataForKeys" = Option<bool>, Query, description = "Default false: a time range is needed"),
        ("startTs" = Option<i64>, Query), ("endTs" = Option<i64>, Query, description = "Exclusive"),
        ("deleteLatest" = Option<bool>, Query, description = "Must be true: the latest value is the newest stored one"),
        ("rewriteLatestIfDeleted" = Option<bool>, Query, description = "Always true: see deleteLatest")),
    responses((status = 200, description = "deleted")))]
async fn delete_timeseries(
    State(web): State<Web>,
    Signed(caller): Signed,
    Segment((kind, id)): Segment<(String, Uuid)>,
    params: Params,
) -> Result<Response, Error> {
    let keys = named(&params)?;
    let range = deletion(&params)?;
    let (start, end) = range.unzip();
    let data = json!({"timeseries": keys, "startTs": start, "endTs": end});
    let deed = |client: Client, entity| async move { client.delete_timeseries(&entity, keys, range).await };
    write(&web, &caller, (&kind, id), (Action::TimeseriesDeleted, data), deed).await?;
    Ok(().into_response())
}

/// The keys a deletion names; it never means all.
fn named(params: &Params) -> Result<Vec<String>, Invalid> {
    let keys = keys(params);
    if keys.is_empty() { Err(Invalid::new("keys", "", "must name at least one key")) } else { Ok(keys) }
}

/// The range to delete; `None` = everything.
pub(in crate::rest) fn deletion(params: &Params) -> Result<Option<(i64, i64)>, Invalid> {
    if params.flag("deleteLatest")? == Some(false) {
        return Err(Invalid::new("deleteLatest", "false", "must be true: the latest value is the newest stored one"));
    }
    if params.flag("deleteAllDataForKeys")?.unwrap_or(false) {
        return Ok(None);
    }
    let millis = "must be milliseconds since the Unix epoch";
    let start: Option<i64> = params.read("startTs", millis)?;
    let end: Option<i64> = params.read("endTs", millis)?;
    match (start, end) {
        (Some(start), Some(end)) if start <= end => Ok(Some((start, end))),
        (Some(start), Some(end)) => Err(Invalid::new("startTs", &start.to_string(), format!("must not be above endTs {end}"))),
        _ => Err(Invalid::new("startTs, endTs", "", "must both be given unless deleteAllDataForKeys=true")),
    }
}
