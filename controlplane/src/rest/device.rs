//! Devices over HTTP: shapes and handlers of single devices. Lists and assignment are in `fleet`, what devices show is in
//! `credential`.

use axum::{Json, extract::State};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use utoipa::ToSchema;
use utoipa_axum::{router::OpenApiRouter, routes};
use uuid::Uuid;

use crate::{
    domain::{CredentialDraft, Device, DeviceDraft, DeviceInfo, EntityKind},
    error::Error,
    rest::{
        Web,
        answer::Applied,
        extract::{Body, Params, Segment, Signed},
        shape::{IdShape, given},
    },
};

/// A device as shown.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = Device)]
pub(in crate::rest) struct DeviceShape {
    id: IdShape,
    /// Milliseconds since the Unix epoch.
    created_time: i64,
    tenant_id: IdShape,
    /// ThingsBoard's null UUID when the device is assigned to nobody.
    customer_id: IdShape,
    name: String,
    /// The name of the device profile.
    r#type: String,
    label: Option<String>,
    device_profile_id: IdShape,
    device_data: Value,
    firmware_id: Option<IdShape>,
    software_id: Option<IdShape>,
    external_id: Option<IdShape>,
    version: i64,
    additional_info: Value,
}

impl From<Device> for DeviceShape {
    fn from(device: Device) -> Self {
        Self {
            id: IdShape::new(EntityKind::Device, device.id),
            created_time: device.created_ms,
            tenant_id: IdShape::new(EntityKind::Tenant, device.tenant),
            customer_id: IdShape::or_null(EntityKind::Customer, device.customer),
            name: device.name,
            r#type: device.kind,
            label: device.label,
            device_profile_id: IdShape::new(EntityKind::DeviceProfile, device.profile),
            device_data: json!({"configuration": {"type": "DEFAULT"}, "transportConfiguration": {"type": "DEFAULT"}}),
            firmware_id: device.firmware.map(IdShape::of_package),
            software_id: device.software.map(IdShape::of_package),
            external_id: None,
            version: device.version,
            additional_info: device.additional_info,
        }
    }
}

/// A device with the names a list shows.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = DeviceInfo)]
pub(in crate::rest) struct DeviceInfoShape {
    #[serde(flatten)]
    device: DeviceShape,
    customer_title: Option<String>,
    customer_is_public: bool,
    device_profile_name: String,
    /// Whether the device is active; false too when no data plane can say.
    active: bool,
}

impl DeviceInfoShape {
    pub(in crate::rest) fn new(info: DeviceInfo, active: bool) -> Self {
        Self {
            device: info.device.into(),
            customer_title: info.customer_title,
            customer_is_public: info.customer_is_public,
            device_profile_name: info.profile_name,
            active,
        }
    }
}

/// A device to create (no id) or replace. `{"name":"A","type":"default"}` is enough.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = DeviceForm)]
pub(in crate::rest) struct DeviceForm {
    id: Option<IdShape>,
    #[schema(example = "Thermometer 1")]
    name: String,
    /// The name of the device profile, which is created when it does not exist.
    #[schema(example = "default")]
    r#type: Option<String>,
    label: Option<String>,
    /// Wins over `type`.
    device_profile_id: Option<IdShape>,
    /// The packages it is to run; absent: those of its profile.
    firmware_id: Option<IdShape>,
    software_id: Option<IdShape>,
    #[serde(default)]
    additional_info: Value,
    version: Option<i64>,
}

impl From<DeviceForm> for DeviceDraft {
    fn from(form: DeviceForm) -> Self {
        Self {
            id: given(form.id),
            version: form.version,
            name: form.name,
            kind: form.r#type,
            label: form.label,
            profile: given(form.device_profile_id),
            firmware: given(form.firmware_id),
            software: given(form.software_id),
            additional_info: form.additional_info,
        }
    }
}

pub(in crate::rest) fn routes() -> OpenApiRouter<Web> {
    OpenApiRouter::new().routes(routes!(save)).routes(routes!(read, delete)).routes(routes!(read_info))
}

/// Create or update a device. Without `accessToken` a new device gets a random token.
#[utoipa::path(post, path = "/api/device", operation_id = "saveDevice", tag = "device",
    params(("accessToken" = Option<String>, Query, description = "The access token of a new device")),
    request_body = DeviceForm, responses((status = 200, body = DeviceShape)))]
async fn save(
    State(web): State<Web>,
    Signed(caller): Signed,
    params: Params,
    Body(form): Body<DeviceForm>,
) -> Result<Applied<DeviceShape>, Error> {
    let token = params.text("accessToken").map(|text| CredentialDraft::token("accessToken", text)).transpose()?;
    Ok(Applied::of(web.app.save_device(&caller, form.into(), token).await?))
}

/// Read a device.
#[utoipa::path(get, path = "/api/device/{id}", operation_id = "getDeviceById", tag = "device",
    params(("id" = Uuid, Path)), responses((status = 200, body = DeviceShape)))]
async fn read(State(web): State<Web>, Signed(caller): Signed, Segment(id): Segment<Uuid>) -> Result<Json<DeviceShape>, Error> {
    Ok(Json(web.app.device(&caller, id).await?.into()))
}

/// Delete a device with its attributes and series; its session is closed.
#[utoipa::path(delete, path = "/api/device/{id}", operation_id = "deleteDevice", tag = "device",
    params(("id" = Uuid, Path)), responses((status = 200, description = "deleted")))]
async fn delete(State(web): State<Web>, Signed(caller): Signed, Segment(id): Segment<Uuid>) -> Result<Applied<()>, Error> {
    Ok(Applied::of(web.app.delete_device(&caller, id).await?))
}

/// Read a device with the names a list shows.
#[utoipa::path(get, path = "/api/device/info/{id}", operation_id = "getDeviceInfoById", tag = "device",
    params(("id" = Uuid, Path)), responses((status = 200, body = DeviceInfoShape)))]
async fn read_info(
    State(web): State<Web>,
    Signed(caller): Signed,
    Segment(id): Segment<Uuid>,
) -> Result<Json<DeviceInfoShape>, Error> {
    let info = web.app.device_info(&caller, id).await?;
    let active = web.active([&info.device].into_iter()).await == [true];
    Ok(Json(DeviceInfoShape::new(info, active)))
}
