//! Device profiles over HTTP: shapes and handlers. Who may is decided by the application.

use axum::{Json, extract::State};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use utoipa::ToSchema;
use utoipa_axum::{router::OpenApiRouter, routes};
use uuid::Uuid;

use crate::{
    domain::{DeviceProfile, EntityKind, ProfileDraft},
    error::Error,
    rest::{
        Web,
        answer::{Applied, Paging},
        extract::{Body, Params, Segment, Signed},
        shape::{IdShape, PageShape, given},
    },
};

/// A device profile as shown.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = DeviceProfile)]
pub(in crate::rest) struct ProfileShape {
    id: IdShape,
    /// Milliseconds since the Unix epoch.
    created_time: i64,
    tenant_id: IdShape,
    name: String,
    description: Option<String>,
    image: Option<String>,
    default: bool,
    #[schema(example = "DEFAULT")]
    r#type: &'static str,
    #[schema(example = "DEFAULT")]
    transport_type: &'static str,
    #[schema(example = "DISABLED")]
    provision_type: &'static str,
    /// Absent: the tenant's root chain.
    default_rule_chain_id: Option<IdShape>,
    default_dashboard_id: Option<IdShape>,
    default_queue_name: Option<String>,
    provision_device_key: Option<String>,
    firmware_id: Option<IdShape>,
    software_id: Option<IdShape>,
    default_edge_rule_chain_id: Option<IdShape>,
    external_id: Option<IdShape>,
    profile_data: Value,
    version: i64,
}

impl From<DeviceProfile> for ProfileShape {
    fn from(profile: DeviceProfile) -> Self {
        let profile_data = if profile.profile_data.is_null() { default_profile_data() } else { profile.profile_data };
        Self {
            id: IdShape::new(EntityKind::DeviceProfile, profile.id),
            created_time: profile.created_ms,
            tenant_id: IdShape::new(EntityKind::Tenant, profile.tenant),
            name: profile.name,
            description: profile.description,
            image: None,
            default: profile.is_default,
            r#type: "DEFAULT",
            transport_type: "DEFAULT",
            provision_type: "DISABLED",
            default_rule_chain_id: profile.chain.map(|chain| IdShape::new(EntityKind::RuleChain, chain)),
            default_dashboard_id: None,
            default_queue_name: None,
            provision_device_key: None,
            firmware_id: profile.firmware.map(|id| IdShape::new(EntityKind::OtaPackage, id)),
            software_id: profile.software.map(|id| IdShape::new(EntityKind::OtaPackage, id)),
            default_edge_rule_chain_id: None,
            external_id: None,
            profile_data,
            version: profile.version,
        }
    }
}

fn default_profile_data() -> Value {
    json!({
        "configuration": {"type": "DEFAULT"},
        "transportConfiguration": {"type": "DEFAULT"},
        "provisionConfiguration": {"type": "DISABLED", "provisionDeviceSecret": null},
        "alarms": null,
    })
}

/// What a list of device profiles shows.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = DeviceProfileInfo)]
pub(in crate::rest) struct ProfileInfoShape {
    id: IdShape,
    tenant_id: IdShape,
    name: String,
    image: Option<String>,
    default_dashboard_id: Option<IdShape>,
    #[schema(example = "DEFAULT")]
    r#type: &'static str,
    #[schema(example = "DEFAULT")]
    transport_type: &'static str,
}

impl From<DeviceProfile> for ProfileInfoShape {
    fn from(profile: DeviceProfile) -> Self {
        Self {
            id: IdShape::new(EntityKind::DeviceProfile, profile.id),
            tenant_id: IdShape::new(EntityKind::Tenant, profile.tenant),
            name: profile.name,
            image: None,
            default_dashboard_id: None,
            r#type: "DEFAULT",
            transport_type: "DEFAULT",
        }
    }
}

/// A device profile to create (no id) or replace.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = DeviceProfileForm)]
pub(in crate::rest) struct ProfileForm {
    id: Option<IdShape>,
    #[schema(example = "Thermometer")]
    name: String,
    description: Option<String>,
    /// Where messages of these devices enter; absent: the tenant's root chain.
    default_rule_chain_id: Option<IdShape>,
    /// OTA packages of the devices that have none of their own.
    firmware_id: Option<IdShape>,
    software_id: Option<IdShape>,
    #[serde(default)]
    profile_data: Value,
    version: Option<i64>,
}

impl From<ProfileForm> for ProfileDraft {
    fn from(form: ProfileForm) -> Self {
        Self {
            id: given(form.id),
            version: form.version,
            name: form.name,
            description: form.description,
            chain: given(form.default_rule_chain_id),
            firmware: given(form.firmware_id),
            software: given(form.software_id),
            profile_data: form.profile_data,
        }
    }
}

pub(in crate::rest) fn routes() -> OpenApiRouter<Web> {
    OpenApiRouter::new()
        .routes(routes!(save))
        .routes(routes!(read, delete))
        .routes(routes!(set_default))
        .routes(routes!(read_default))
        .routes(routes!(list))
        .routes(routes!(list_infos))
}

/// Create or update a device profile.
#[utoipa::path(post, path = "/api/deviceProfile", operation_id = "saveDeviceProfile", tag = "device profile",
    request_body = ProfileForm, responses((status = 200, body = ProfileShape)))]
async fn save(
    State(web): State<Web>,
    Signed(caller): Signed,
    Body(form): Body<ProfileForm>,
) -> Result<Applied<ProfileShape>, Error> {
    Ok(Applied::of(web.app.save_profile(&caller, form.into()).await?))
}

/// Read a device profile.
#[utoipa::path(get, path = "/api/deviceProfile/{id}", operation_id = "getDeviceProfileById", tag = "device profile",
    params(("id" = Uuid, Path)), responses((status = 200, body = ProfileShape)))]
async fn read(State(web): State<Web>, Signed(caller): Signed, Segment(id): Segment<Uuid>) -> Result<Json<ProfileShape>, Error> {
    Ok(Json(web.app.profile(&caller, id).await?.into()))
}

/// Delete a device profile that no device has. The default one cannot be deleted.
#[utoipa::path(delete, path = "/api/deviceProfile/{id}", operation_id = "deleteDeviceProfile", tag = "device profile",
    params(("id" = Uuid, Path)), responses((status = 200, description = "deleted")))]
async fn delete(State(web): State<Web>, Signed(caller): Signed, Segment(id): Segment<Uuid>) -> Result<Applied<()>, Error> {
    Ok(Applied::of(web.app.delete_profile(&caller, id).await?))
}

/// Make this the profile devices get when nothing is said.
#[utoipa::path(post, path = "/api/deviceProfile/{id}/default", operation_id = "setDefaultDeviceProfile",
    tag = "device profile", params(("id" = Uuid, Path)), responses((status = 200, body = ProfileShape)))]
async fn set_default(
    State(web): State<Web>,
    Signed(caller): Signed,
    Segment(id): Segment<Uuid>,
) -> Result<Applied<ProfileShape>, Error> {
    Ok(Applied::of(web.app.set_default_profile(&caller, id).await?))
}

/// The profile devices get when nothing is said.
#[utoipa::path(get, path = "/api/deviceProfileInfo/default", operation_id = "getDefaultDeviceProfileInfo",
    tag = "device profile", responses((status = 200, body = ProfileInfoShape)))]
async fn read_default(State(web): State<Web>, Signed(caller): Signed) -> Result<Json<ProfileInfoShape>, Error> {
    Ok(Json(web.app.default_profile(&caller).await?.into()))
}

/// A page of the tenant's device profiles.
#[utoipa::path(get, path = "/api/deviceProfiles", operation_id = "getDeviceProfiles", tag = "device profile",
    params(Paging), responses((status = 200, body = PageShape<ProfileShape>)))]
async fn list(State(web): State<Web>, Signed(caller): Signed, params: Params) -> Result<Json<PageShape<ProfileShape>>, Error> {
    Ok(Json(PageShape::of(web.app.profiles(&caller, &params.page()?).await?, Into::into)))
}

/// A page of the tenant's device profiles, in short.
#[utoipa::path(get, path = "/api/deviceProfileInfos", operation_id = "getDeviceProfileInfos", tag = "device profile",
    params(Paging), responses((status = 200, body = PageShape<ProfileInfoShape>)))]
async fn list_infos(
    State(web): State<Web>,
    Signed(caller): Signed,
    params: Params,
) -> Result<Json<PageShape<ProfileInfoShape>>, Error> {
    Ok(Json(PageShape::of(web.app.profiles(&caller, &params.page()?).await?, Into::into)))
}
