//! Tenant profiles over HTTP: shapes and handlers. Who may is decided by the application.

use axum::{Json, extract::State};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;
use utoipa_axum::{router::OpenApiRouter, routes};
use uuid::Uuid;

use crate::{
    domain::{EntityKind, TenantProfile, TenantProfileDraft},
    error::Error,
    rest::{
        Web,
        answer::{Applied, Paging},
        extract::{Body, Params, Segment, Signed},
        shape::{IdShape, NamedShape, PageShape, given},
    },
};

/// A tenant profile as shown.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = TenantProfile)]
pub(in crate::rest) struct TenantProfileShape {
    id: IdShape,
    /// Milliseconds since the Unix epoch.
    created_time: i64,
    name: String,
    description: Option<String>,
    default: bool,
    /// Kept, and without a meaning here.
    isolated_tb_rule_engine: bool,
    /// `configuration` holds the limits; 0 or empty text is no limit.
    profile_data: Value,
    version: i64,
}

impl From<TenantProfile> for TenantProfileShape {
    fn from(profile: TenantProfile) -> Self {
        Self {
            id: IdShape::new(EntityKind::TenantProfile, profile.id),
            created_time: profile.created_ms,
            name: profile.name,
            description: profile.description,
            default: profile.is_default,
            isolated_tb_rule_engine: profile.isolated,
            profile_data: profile.profile_data,
            version: profile.version,
        }
    }
}

impl From<TenantProfile> for NamedShape {
    fn from(profile: TenantProfile) -> Self {
        Self::new(EntityKind::TenantProfile, profile.id, profile.name)
    }
}

/// A tenant profile to create (no id) or replace.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = TenantProfileForm)]
pub(in crate::rest) struct TenantProfileForm {
    id: Option<IdShape>,
    #[schema(example = "Small")]
    name: String,
    description: Option<String>,
    #[serde(default)]
    isolated_tb_rule_engine: bool,
    #[serde(default)]
    profile_data: Value,
    version: Option<i64>,
}

impl From<TenantProfileForm> for TenantProfileDraft {
    fn from(form: TenantProfileForm) -> Self {
        Self {
            id: given(form.id),
            version: form.version,
            name: form.name,
            description: form.description,
            isolated: form.isolated_tb_rule_engine,
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
        .routes(routes!(list))
        .routes(routes!(list_infos))
}

/// Create or update a tenant profile (system administrator). Its tenants' devices are bound by it at once.
#[utoipa::path(post, path = "/api/tenantProfile", operation_id = "saveTenantProfile", tag = "tenant profile",
    request_body = TenantProfileForm, responses((status = 200, body = TenantProfileShape)))]
async fn save(
    State(web): State<Web>,
    Signed(caller): Signed,
    Body(form): Body<TenantProfileForm>,
) -> Result<Applied<TenantProfileShape>, Error> {
    Ok(Applied::of(web.app.save_tenant_profile(&caller, form.into()).await?))
}

/// Read a tenant profile; a tenant administrator only the one of its tenant.
#[utoipa::path(get, path = "/api/tenantProfile/{id}", operation_id = "getTenantProfileById", tag = "tenant profile",
    params(("id" = Uuid, Path)), responses((status = 200, body = TenantProfileShape)))]
async fn read(
    State(web): State<Web>,
    Signed(caller): Signed,
    Segment(id): Segment<Uuid>,
) -> Result<Json<TenantProfileShape>, Error> {
    Ok(Json(web.app.tenant_profile(&caller, id).await?.into()))
}

/// Delete a tenant profile that no tenant has (system administrator). The default one cannot be deleted.
#[utoipa::path(delete, path = "/api/tenantProfile/{id}", operation_id = "deleteTenantProfile", tag = "tenant profile",
    params(("id" = Uuid, Path)), responses((status = 200, description = "deleted")))]
async fn delete(State(web): State<Web>, Signed(caller): Signed, Segment(id): Segment<Uuid>) -> Result<Applied<()>, Error> {
    Ok(Applied::of(web.app.delete_tenant_profile(&caller, id).await?))
}

/// Make this the profile tenants get when nothing is said (system administrator).
#[utoipa::path(post, path = "/api/tenantProfile/{id}/default", operation_id = "setDefaultTenantProfile",
    tag = "tenant profile", params(("id" = Uuid, Path)), responses((status = 200, body = TenantProfileShape)))]
async fn set_default(
    State(web): State<Web>,
    Signed(caller): Signed,
    Segment(id): Segment<Uuid>,
) -> Result<Applied<TenantProfileShape>, Error> {
    Ok(Applied::of(web.app.set_default_tenant_profile(&caller, id).await?))
}

/// The profile tenants get when nothing is said (system administrator).
#[utoipa::path(get, path = "/api/tenantProfileInfo/default", operation_id = "getDefaultTenantProfileInfo",
    tag = "tenant profile", responses((status = 200, body = NamedShape)))]
async fn read_default(State(web): State<Web>, Signed(caller): Signed) -> Result<Json<NamedShape>, Error> {
    Ok(Json(web.app.default_tenant_profile(&caller).await?.into()))
}

/// Read a tenant profile, in short.
#[utoipa::path(get, path = "/api/tenantProfileInfo/{id}", operation_id = "getTenantProfileInfoById", tag = "tenant profile",
    params(("id" = Uuid, Path)), responses((status = 200, body = NamedShape)))]
async fn read_info(
    State(web): State<Web>,
    Signed(caller): Signed,
    Segment(id): Segment<Uuid>,
) -> Result<Json<NamedShape>, Error> {
    Ok(Json(web.app.tenant_profile(&caller, id).await?.into()))
}

/// A page of the tenant profiles (system administrator).
#[utoipa::path(get, path = "/api/tenantProfiles", operation_id = "getTenantProfiles", tag = "tenant profile",
    params(Paging), responses((status = 200, body = PageShape<TenantProfileShape>)))]
async fn list(
    State(web): State<Web>,
    Signed(caller): Signed,
    params: Params,
) -> Result<Json<PageShape<TenantProfileShape>>, Error> {
    Ok(Json(PageShape::of(web.app.tenant_profiles(&caller, &params.page()?).await?, Into::into)))
}

/// A page of the tenant profiles, in short (system administrator).
#[utoipa::path(get, path = "/api/tenantProfileInfos", operation_id = "getTenantProfileInfos", tag = "tenant profile",
    params(Paging), responses((status = 200, body = PageShape<NamedShape>)))]
async fn list_infos(
    State(web): State<Web>,
    Signed(caller): Signed,
    params: Params,
) -> Result<Json<PageShape<NamedShape>>, Error> {
    Ok(Json(PageShape::of(web.app.tenant_profiles(&caller, &params.page()?).await?, Into::into)))
}
