//! Devices and their credentials over HTTP: shapes and handlers of single devices. Lists and assignment are in `fleet`.

use axum::{Json, extract::State};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use utoipa::ToSchema;
use utoipa_axum::{router::OpenApiRouter, routes};
use uuid::Uuid;

use crate::{
    domain::{Credential, Device, DeviceDraft, DeviceInfo, EntityKind, Invalid},
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
            firmware_id: device.firmware.map(|id| IdShape::new(EntityKind::OtaPackage, id)),
            software_id: device.software.map(|id| IdShape::new(EntityKind::OtaPackage, id)),
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
            customer_is_public: false,
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
    /// OTA packages of its own; absent: its profile's.
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

/// What a device shows to be let in.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = DeviceCredentials)]
pub(in crate::rest) struct CredentialShape {
    id: IdShape,
    /// Milliseconds since the Unix epoch.
    created_time: i64,
    device_id: IdShape,
    #[schema(example = "ACCESS_TOKEN")]
    credentials_type: String,
    /// The access token.
    credentials_id: String,
    credentials_value: Option<String>,
    version: i64,
}

impl From<Credential> for CredentialShape {
    fn from(credential: Credential) -> Self {
        Self {
            id: IdShape::new(EntityKind::Credential, credential.id),
            created_time: credential.created_ms,
            device_id: IdShape::new(EntityKind::Device, credential.device),
            credentials_type: ACCESS_TOKEN.to_owned(),
            credentials_id: credential.token,
            credentials_value: None,
            version: credential.version,
        }
    }
}

/// Credentials to set. Only access tokens exist so far.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = DeviceCredentialsForm)]
pub(in crate::rest) struct CredentialForm {
    /// Which device; not needed when it is created with them.
    device_id: Option<IdShape>,
    #[schema(example = "ACCESS_TOKEN")]
    credentials_type: Option<String>,
    /// The access token, 1 to 32 visible ASCII characters.
    credentials_id: Option<String>,
    version: Option<i64>,
}

const ACCESS_TOKEN: &str = "ACCESS_TOKEN";

impl CredentialForm {
    fn token(&self) -> Result<Option<&str>, Invalid> {
        match self.credentials_type.as_deref() {
            None | Some(ACCESS_TOKEN) => Ok(self.credentials_id.as_deref().filter(|token| !token.is_empty())),
            Some(other) => Err(Invalid::new("credentialsType", other, "must be ACCESS_TOKEN")),
        }
    }
}

/// A device and its credentials in one request.
#[derive(Debug, Deserialize, ToSchema)]
#[schema(as = DeviceWithCredentials)]
pub(in crate::rest) struct DeviceWithCredentialsForm {
    device: DeviceForm,
    credentials: CredentialForm,
}

pub(in crate::rest) fn routes() -> OpenApiRouter<Web> {
    OpenApiRouter::new()
        .routes(routes!(save))
        .routes(routes!(save_with_credentials))
        .routes(routes!(read, delete))
        .routes(routes!(read_info))
        .routes(routes!(read_credentials))
        .routes(routes!(save_credentials))
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
    Ok(Applied::of(web.app.save_device(&caller, form.into(), params.text("accessToken")).await?))
}

/// Create a device with given credentials.
#[utoipa::path(post, path = "/api/device-with-credentials", operation_id = "saveDeviceWithCredentials", tag = "device",
    request_body = DeviceWithCredentialsForm, responses((status = 200, body = DeviceShape)))]
async fn save_with_credentials(
    State(web): State<Web>,
    Signed(caller): Signed,
    Body(form): Body<DeviceWithCredentialsForm>,
) -> Result<Applied<DeviceShape>, Error> {
    let token = form.credentials.token()?.map(str::to_owned);
    Ok(Applied::of(web.app.save_device(&caller, form.device.into(), token.as_deref()).await?))
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

/// Read a device's credentials.
#[utoipa::path(get, path = "/api/device/{id}/credentials", operation_id = "getDeviceCredentialsByDeviceId", tag = "device",
    params(("id" = Uuid, Path)), responses((status = 200, body = CredentialShape)))]
async fn read_credentials(
    State(web): State<Web>,
    Signed(caller): Signed,
    Segment(id): Segment<Uuid>,
) -> Result<Json<CredentialShape>, Error> {
    Ok(Json(web.app.credential(&caller, id).await?.into()))
}

/// Replace a device's credentials; sessions opened with the old ones are closed.
#[utoipa::path(post, path = "/api/device/credentials", operation_id = "updateDeviceCredentials", tag = "device",
    request_body = CredentialForm, responses((status = 200, body = CredentialShape)))]
async fn save_credentials(
    State(web): State<Web>,
    Signed(caller): Signed,
    Body(form): Body<CredentialForm>,
) -> Result<Applied<CredentialShape>, Error> {
    let token = form.token()?.ok_or_else(|| Invalid::new("credentialsId", "", "must be given"))?;
    let device = given(form.device_id.clone()).ok_or_else(|| Invalid::new("deviceId", "", "must be given"))?;
    Ok(Applied::of(web.app.save_credential(&caller, device, token, form.version).await?))
}
