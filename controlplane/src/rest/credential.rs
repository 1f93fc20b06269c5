//! What devices show to be let in, over HTTP: shapes and handlers. A password is never shown: a mask stands for it, and sent
//! back means the same password.

use axum::{Json, extract::State};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa_axum::{router::OpenApiRouter, routes};
use uuid::Uuid;

use crate::{
    domain::{ACCESS_TOKEN, Credential, CredentialDraft, EntityKind, Invalid},
    error::Error,
    rest::{
        Web,
        answer::Applied,
        device::{DeviceForm, DeviceShape},
        extract::{Body, Segment, Signed},
        shape::{IdShape, given},
    },
};

/// What a device shows to be let in.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = DeviceCredentials)]
pub(in crate::rest) struct CredentialShape {
    id: IdShape,
    /// Milliseconds since the Unix epoch.
    created_time: i64,
    device_id: IdShape,
    /// ACCESS_TOKEN, MQTT_BASIC or X509_CERTIFICATE.
    #[schema(example = "ACCESS_TOKEN")]
    credentials_type: &'static str,
    /// The access token; the user name, or SHA3-256 of the client id, or of `clientId|userName`; SHA3-256 of the certificate.
    credentials_id: String,
    /// Of MQTT_BASIC the text of a JSON object with `clientId`, `userName` and `password`, a set password as `********`; of
    /// X509_CERTIFICATE the PEM body.
    credentials_value: Option<String>,
    version: i64,
}

impl From<Credential> for CredentialShape {
    fn from(credential: Credential) -> Self {
        Self {
            id: IdShape::new(EntityKind::Credential, credential.id),
            created_time: credential.created_ms,
            device_id: IdShape::new(EntityKind::Device, credential.device),
            credentials_type: credential.shown.kind(),
            credentials_id: credential.shown.id(),
            credentials_value: credential.shown.value(),
            version: credential.version,
        }
    }
}

/// Credentials to set.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = DeviceCredentialsForm)]
pub(in crate::rest) struct CredentialForm {
    /// Which device; not needed when it is created with them.
    device_id: Option<IdShape>,
    /// ACCESS_TOKEN (also when absent), MQTT_BASIC or X509_CERTIFICATE.
    #[schema(example = "ACCESS_TOKEN")]
    credentials_type: Option<String>,
    /// The access token, 1 to 32 visible ASCII characters; of other types it is made of the value.
    credentials_id: Option<String>,
    /// Of MQTT_BASIC the text of a JSON object with `clientId`, `userName` and `password`; `********` keeps the password. Of
    /// X509_CERTIFICATE the certificate as PEM.
    credentials_value: Option<String>,
    version: Option<i64>,
}

impl CredentialForm {
    fn draft(&self) -> Result<CredentialDraft, Invalid> {
        let [kind, id, value] = [&self.credentials_type, &self.credentials_id, &self.credentials_value].map(Option::as_deref);
        CredentialDraft::read(kind, id, value)
    }

    /// Of a new device: an access token that is not said is made.
    fn of_new(&self) -> Result<Option<CredentialDraft>, Invalid> {
        let token = self.credentials_type.as_deref().is_none_or(|kind| kind == ACCESS_TOKEN);
        let unsaid = self.credentials_id.as_deref().unwrap_or_default().is_empty();
        if token && unsaid { Ok(None) } else { self.draft().map(Some) }
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
    OpenApiRouter::new().routes(routes!(save_with_device)).routes(routes!(read)).routes(routes!(save))
}

/// Create a device with given credentials.
#[utoipa::path(post, path = "/api/device-with-credentials", operation_id = "saveDeviceWithCredentials", tag = "device",
    request_body = DeviceWithCredentialsForm, responses((status = 200, body = DeviceShape)))]
async fn save_with_device(
    State(web): State<Web>,
    Signed(caller): Signed,
    Body(form): Body<DeviceWithCredentialsForm>,
) -> Result<Applied<DeviceShape>, Error> {
    let credentials = form.credentials.of_new()?;
    Ok(Applied::of(web.app.save_device(&caller, form.device.into(), credentials).await?))
}

/// Read a device's credentials.
#[utoipa::path(get, path = "/api/device/{id}/credentials", operation_id = "getDeviceCredentialsByDeviceId", tag = "device",
    params(("id" = Uuid, Path)), responses((status = 200, body = CredentialShape)))]
async fn read(
    State(web): State<Web>,
    Signed(caller): Signed,
    Segment(id): Segment<Uuid>,
) -> Result<Json<CredentialShape>, Error> {
    Ok(Json(web.app.credential(&caller, id).await?.into()))
}

/// Replace a device's credentials; sessions opened with the old ones are closed.
#[utoipa::path(post, path = "/api/device/credentials", operation_id = "updateDeviceCredentials", tag = "device",
    request_body = CredentialForm, responses((status = 200, body = CredentialShape)))]
async fn save(
    State(web): State<Web>,
    Signed(caller): Signed,
    Body(form): Body<CredentialForm>,
) -> Result<Applied<CredentialShape>, Error> {
    let draft = form.draft()?;
    let device = given(form.device_id.clone()).ok_or_else(|| Invalid::new("deviceId", "", "must be given"))?;
    Ok(Applied::of(web.app.save_credential(&caller, device, draft, form.version).await?))
}
