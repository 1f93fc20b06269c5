//! Calls to devices over HTTP (ThingsBoard's RPC, reference 2.2) and what is known of their connections. The two versions of the
//! paths differ only in how they say that nobody answered.

use std::collections::BTreeMap;

use axum::{
    Json,
    extract::State,
    http::{StatusCode, header::CONTENT_TYPE},
    response::{IntoResponse, Response},
};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json, value::RawValue};
use utoipa::ToSchema;
use utoipa_axum::{router::OpenApiRouter, routes};
use uuid::Uuid;

use crate::{
    access::Caller,
    domain::{CallDraft, CallOutcome, CallStatus, Device, EntityKind, Invalid, StoredCall},
    error::Error,
    rest::{
        Web,
        answer::Paging,
        extract::{Body, Params, Segment, Signed, refuse},
        shape::{IdShape, PageShape},
    },
    telemetry::Standing,
};

/// A call to a device.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = RpcRequest)]
pub(in crate::rest) struct CallForm {
    #[schema(example = "setGpio")]
    method: String,
    /// Any JSON; the device gets it as it is.
    #[schema(value_type = Option<Value>)]
    params: Option<Box<RawValue>>,
    /// Milliseconds; default 10000, at least 5000, at most 300000.
    timeout: Option<i64>,
    /// Milliseconds since the Unix epoch; wins over `timeout`.
    expiration_time: Option<i64>,
    /// Keep the call until the device took it or it expires, and answer at once with its id.
    #[serde(default)]
    persistent: bool,
    /// Of a persistent call: how often it is sent again without an answer; default 5.
    retries: Option<u32>,
    #[serde(default)]
    additional_info: Value,
    /// The id of the call. A persistent call asked twice with one id is one call.
    #[serde(rename = "requestUUID")]
    request_uuid: Option<Uuid>,
}

impl CallForm {
    pub(in crate::rest) fn draft(self, one_way: bool) -> CallDraft {
        CallDraft {
            id: self.request_uuid,
            method: self.method,
            params: self.params.map(|params| params.get().to_owned()).unwrap_or_default(),
            one_way,
            persistent: self.persistent,
            timeout_ms: self.timeout,
            expires_ms: self.expiration_time,
            retries: self.retries,
            additional_info: self.additional_info,
        }
    }
}

/// A persistent call as shown.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = Rpc)]
pub(in crate::rest) struct CallShape {
    id: IdShape,
    /// Milliseconds since the Unix epoch.
    created_time: i64,
    tenant_id: IdShape,
    device_id: IdShape,
    /// Milliseconds since the Unix epoch.
    expiration_time: i64,
    /// What the device is sent, and how.
    request: Value,
    /// The device's answer.
    response: Value,
    #[schema(example = "SUCCESSFUL")]
    status: &'static str,
    additional_info: Value,
}

impl CallShape {
    fn new(device: &Device, stored: StoredCall) -> Self {
        let StoredCall { call, created_ms, status, response } = stored;
        let tenant_id = IdShape::new(EntityKind::Tenant, device.tenant);
        let device_id = IdShape::new(EntityKind::Device, device.id);
        let additional_info = parsed(&call.additional_info);
        let request = json!({
            "id": call.id,
            "tenantId": tenant_id,
            "deviceId": device_id,
            "oneway": call.one_way,
            "expirationTime": call.expires_ms,
            "body": {"method": call.method, "params": call.params},
            "persisted": true,
            "retries": call.retries,
            "additionalInfo": additional_info,
        });
        Self {
            id: IdShape::new(EntityKind::Rpc, call.id),
            created_time: created_ms,
            tenant_id,
            device_id,
            expiration_time: call.expires_ms,
            request,
            response: parsed(&response),
            status: status.name(),
            additional_info,
        }
    }
}

/// JSON text of a device or a client; one that is none was refused before it came here, and must not take its reader down.
fn parsed(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or(Value::Null)
}

/// A device's connection and what was refused of it.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = DeviceStanding)]
pub(in crate::rest) struct StandingShape {
    connected: bool,
    /// What the connection speaks; absent without one.
    #[schema(example = "MQTT 5")]
    transport: Option<String>,
    /// How much was refused, by reason, since the device's shard loaded its state.
    refused: BTreeMap<String, u64>,
}

impl From<Standing> for StandingShape {
    fn from(standing: Standing) -> Self {
        let transport = Some(standing.transport).filter(|transport| !transport.is_empty());
        Self { connected: standing.connected, transport, refused: standing.refused }
    }
}

pub(in crate::rest) fn routes() -> OpenApiRouter<Web> {
    OpenApiRouter::new()
        .routes(routes!(one_way))
        .routes(routes!(two_way))
        .routes(routes!(one_way_v1))
        .routes(routes!(two_way_v1))
        .routes(routes!(read, delete))
        .routes(routes!(list))
        .routes(routes!(standing))
}

/// How a version of the paths says that the device did not answer in time, and that it is not there.
#[derive(Clone, Copy)]
struct Silence {
    timeout: StatusCode,
    no_connection: StatusCode,
}

const V1: Silence = Silence { timeout: StatusCode::REQUEST_TIMEOUT, no_connection: StatusCode::CONFLICT };
const V2: Silence = Silence { timeout: StatusCode::GATEWAY_TIMEOUT, no_connection: StatusCode::GATEWAY_TIMEOUT };

async fn call(web: &Web, caller: &Caller, device: Uuid, draft: CallDraft, silence: Silence) -> Result<Response, Error> {
    let (id, outcome) = web.app.call_device(caller, device, draft).await?;
    Ok(match outcome {
        CallOutcome::Answered(text) => ([(CONTENT_TYPE, "application/json")], text).into_response(),
        CallOutcome::Delivered => ().into_response(),
        CallOutcome::Stored => Json(json!({"rpcId": id})).into_response(),
        CallOutcome::NoConnection => refuse(silence.no_connection, "The device has no active connection".to_owned()),
        CallOutcome::Timeout => refuse(silence.timeout, "The device did not answer in time".to_owned()),
    })
}

/// Call a device; answered empty when it was delivered. 504 when it was not.
#[utoipa::path(post, path = "/api/rpc/oneway/{deviceId}", operation_id = "handleOneWayDeviceRPCRequestV2", tag = "rpc",
    params(("deviceId" = Uuid, Path)), request_body = CallForm,
    responses((status = 200, description = "delivered; of a persistent call `{\"rpcId\":\"..\"}`", body = Value)))]
async fn one_way(
    State(web): State<Web>,
    Signed(caller): Signed,
    Segment(id): Segment<Uuid>,
    Body(form): Body<CallForm>,
) -> Result<Response, Error> {
    call(&web, &caller, id, form.draft(true), V2).await
}

/// Call a device; its answer is the body. 504 when none came.
#[utoipa::path(post, path = "/api/rpc/twoway/{deviceId}", operation_id = "handleTwoWayDeviceRPCRequestV2", tag = "rpc",
    params(("deviceId" = Uuid, Path)), request_body = CallForm,
    responses((status = 200, description = "the answer; of a persistent call `{\"rpcId\":\"..\"}`", body = Value)))]
async fn two_way(
    State(web): State<Web>,
    Signed(caller): Signed,
    Segment(id): Segment<Uuid>,
    Body(form): Body<CallForm>,
) -> Result<Response, Error> {
    call(&web, &caller, id, form.draft(false), V2).await
}

/// Call a device; answered empty when it was delivered. 408 when it was not in time, 409 when it is not connected.
#[utoipa::path(post, path = "/api/plugins/rpc/oneway/{deviceId}", operation_id = "handleOneWayDeviceRPCRequestV1",
    tag = "rpc", params(("deviceId" = Uuid, Path)), request_body = CallForm,
    responses((status = 200, description = "delivered; of a persistent call `{\"rpcId\":\"..\"}`", body = Value)))]
async fn one_way_v1(
    State(web): State<Web>,
    Signed(caller): Signed,
    Segment(id): Segment<Uuid>,
    Body(form): Body<CallForm>,
) -> Result<Response, Error> {
    call(&web, &caller, id, form.draft(true), V1).await
}

/// Call a device; its answer is the body. 408 when none came, 409 when it is not connected.
#[utoipa::path(post, path = "/api/plugins/rpc/twoway/{deviceId}", operation_id = "handleTwoWayDeviceRPCRequestV1",
    tag = "rpc", params(("deviceId" = Uuid, Path)), request_body = CallForm,
    responses((status = 200, description = "the answer; of a persistent call `{\"rpcId\":\"..\"}`", body = Value)))]
async fn two_way_v1(
    State(web): State<Web>,
    Signed(caller): Signed,
    Segment(id): Segment<Uuid>,
    Body(form): Body<CallForm>,
) -> Result<Response, Error> {
    call(&web, &caller, id, form.draft(false), V1).await
}

/// Read a persistent call.
#[utoipa::path(get, path = "/api/rpc/persistent/{rpcId}", operation_id = "getPersistedRpc", tag = "rpc",
    params(("rpcId" = Uuid, Path)), responses((status = 200, body = CallShape)))]
async fn read(State(web): State<Web>, Signed(caller): Signed, Segment(id): Segment<Uuid>) -> Result<Json<CallShape>, Error> {
    let (device, stored) = web.app.stored_call(&caller, id).await?;
    Ok(Json(CallShape::new(&device, stored)))
}

/// Delete a persistent call; it is not sent any more.
#[utoipa::path(delete, path = "/api/rpc/persistent/{rpcId}", operation_id = "deleteRpc", tag = "rpc",
    params(("rpcId" = Uuid, Path)), responses((status = 200, description = "deleted")))]
async fn delete(State(web): State<Web>, Signed(caller): Signed, Segment(id): Segment<Uuid>) -> Result<(), Error> {
    web.app.delete_call(&caller, id).await
}

/// A page of a device's persistent calls.
#[utoipa::path(get, path = "/api/rpc/persistent/device/{deviceId}", operation_id = "getPersistedRpcByDevice", tag = "rpc",
    params(("deviceId" = Uuid, Path), Paging,
        ("rpcStatus" = Option<String>, Query, description = "Only calls of this status, such as `QUEUED`")),
    responses((status = 200, body = PageShape<CallShape>)))]
async fn list(
    State(web): State<Web>,
    Signed(caller): Signed,
    Segment(id): Segment<Uuid>,
    params: Params,
) -> Result<Json<PageShape<CallShape>>, Error> {
    let status = params.text("rpcStatus").map(|name| CallStatus::parse(name).ok_or_else(|| unknown_status(name)));
    let (device, page) = web.app.stored_calls(&caller, id, status.transpose()?, &params.page()?).await?;
    Ok(Json(PageShape::of(page, |stored| CallShape::new(&device, stored))))
}

fn unknown_status(name: &str) -> Invalid {
    let names: Vec<&str> = CallStatus::ALL.iter().map(|status| status.name()).collect();
    Invalid::new("rpcStatus", name, format!("must be one of {}", names.join(", ")))
}

/// A device's connection and what was refused of it. Tidegate's own.
#[utoipa::path(get, path = "/api/tidegate/device/{deviceId}/standing", operation_id = "getDeviceStanding", tag = "device",
    params(("deviceId" = Uuid, Path)), responses((status = 200, body = StandingShape)))]
async fn standing(
    State(web): State<Web>,
    Signed(caller): Signed,
    Segment(id): Segment<Uuid>,
) -> Result<Json<StandingShape>, Error> {
    Ok(Json(web.app.standing(&caller, id).await?.into()))
}
