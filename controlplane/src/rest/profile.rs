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
        shape::{IdShape, NamedShape, PageShape, given},
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
    #[schema(example = "MQTT")]
    transport_type: String,
    /// DISABLED, ALLOW_CREATE_NEW_DEVICES, CHECK_PRE_PROVISIONED_DEVICES or X509_CERTIFICATE_CHAIN.
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
        let chain = |id| IdShape::new(EntityKind::RuleChain, id);
        Self {
            id: IdShape::new(EntityKind::DeviceProfile, profile.id),
            created_time: profile.created_ms,
            tenant_id: IdShape::new(EntityKind::Tenant, profile.tenant),
            name: profile.name,
            description: profile.description,
            image: profile.image,
            default: profile.is_default,
            r#type: "DEFAULT",
            transport_type: profile.transport,
            provision_type: profile.provision.name(),
            default_rule_chain_id: profile.chain.map(chain),
            default_dashboard_id: profile.dashboard.map(dashboard),
            default_queue_name: profile.queue,
            provision_device_key: profile.provision_key,
            firmware_id: profile.firmware.map(IdShape::of_package),
            software_id: profile.software.map(IdShape::of_package),
            default_edge_rule_chain_id: profile.edge_chain.map(chain),
            external_id: None,
            profile_data,
            version: profile.version,
        }
    }
}

fn dashboard(id: Uuid) -> IdShape {
    IdShape { entity_type: "DASHBOARD".to_owned(), id }
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
    #[schema(example = "MQTT")]
    transport_type: String,
}

impl From<DeviceProfile> for ProfileInfoShape {
    fn from(profile: DeviceProfile) -> Self {
        Self {
            id: IdShape::new(EntityKind::DeviceProfile, profile.id),
            tenant_id: IdShape::new(EntityKind::Tenant, profile.tenant),
            name: profile.name,
            image: profile.image,
            default_dashboard_id: profile.dashboard.map(dashboard),
            r#type: "DEFAULT",
            transport_type: profile.transport,
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
    image: Option<String>,
    /// Absent: what `profileData` says, or DEFAULT. One this version does not know is kept as data.
    #[schema(example = "MQTT")]
    transport_type: Option<String>,
    /// Absent: what `profileData` says, or DISABLED.
    #[schema(example = "ALLOW_CREATE_NEW_DEVICES")]
    provision_type: Option<String>,
    /// What devices show to be provisioned; made if absent. Of X509_CERTIFICATE_CHAIN it is the authority's fingerprint.
    provision_device_key: Option<String>,
    /// Where messages of these devices enter; absent: the tenant's root chain.
    default_rule_chain_id: Option<IdShape>,
    default_dashboard_id: Option<IdShape>,
    default_queue_name: Option<String>,
    default_edge_rule_chain_id: Option<IdShape>,
    firmware_id: Option<IdShape>,
    software_id: Option<IdShape>,
    /// `configuration`, `transportConfiguration`, `provisionConfiguration` and `alarms`; what is absent is completed.
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
            image: form.image,
            chain: given(form.default_rule_chain_id),
            transport: form.transport_type,
            provision: form.provision_type,
            provision_key: form.provision_device_key,
            queue: form.default_queue_name,
            dashboard: given(form.default_dashboard_id),
            edge_chain: given(form.default_edge_rule_chain_id),
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
        .routes(routes!(read_info))
        .routes(routes!(names))
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

/// Read a device profile, in short.
#[utoipa::path(get, path = "/api/deviceProfileInfo/{id}", operation_id = "getDeviceProfileInfoById", tag = "device profile",
    params(("id" = Uuid, Path)), responses((status = 200, body = ProfileInfoShape)))]
async fn read_info(
    State(web): State<Web>,
    Signed(caller): Signed,
    Segment(id): Segment<Uuid>,
) -> Result<Json<ProfileInfoShape>, Error> {
    Ok(Json(web.app.profile(&caller, id).await?.into()))
}

/// The names of the tenant's device profiles, in their order.
#[utoipa::path(get, path = "/api/deviceProfile/names", operation_id = "getDeviceProfileNames", tag = "device profile",
    params(("activeOnly" = Option<bool>, Query, description = "Only profiles that devices have")),
    responses((status = 200, body = Vec<NamedShape>)))]
async fn names(State(web): State<Web>, Signed(caller): Signed, params: Params) -> Result<Json<Vec<NamedShape>>, Error> {
    let names = web.app.profile_names(&caller, params.flag("activeOnly")?.unwrap_or(false)).await?;
    let shapes = names.into_iter().map(|(id, name)| NamedShape::new(EntityKind::DeviceProfile, id, name));
    Ok(Json(shapes.collect()))
}

/// A page of the tenant's device profiles.
#[utoipa::path(get, path = "/api/deviceProfiles", operation_id = "getDeviceProfiles", tag = "device profile",
    params(Paging), responses((status = 200, body = PageShape<ProfileShape>)))]
async fn list(State(web): State<Web>, Signed(caller): Signed, params: Params) -> Result<Json<PageShape<ProfileShape>>, Error> {
    Ok(Json(PageShape::of(web.app.profiles(&caller, None, &params.page()?).await?, Into::into)))
}

/// A page of the tenant's device profiles, in short.
#[utoipa::path(get, path = "/api/deviceProfileInfos", operation_id = "getDeviceProfileInfos", tag = "device profile",
    params(Paging, ("transportType" = Option<String>, Query, description = "Only profiles of this transport")), responses((status = 200, body = PageShape<ProfileInfoShape>)))]
async fn list_infos(
    State(web): State<Web>,
    Signed(caller): Signed,
    params: Params,
) -> Result<Json<PageShape<ProfileInfoShape>>, Error> {
    let transport = params.text("transportType");
    Ok(Json(PageShape::of(web.app.profiles(&caller, transport, &params.page()?).await?, Into::into)))
}
