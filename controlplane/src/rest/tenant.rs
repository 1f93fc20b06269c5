//! Tenants over HTTP: shapes and handlers. Who may is decided by the application.

use axum::{Json, extract::State};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;
use utoipa_axum::{router::OpenApiRouter, routes};
use uuid::Uuid;

use crate::{
    domain::{EntityKind, Tenant, TenantDraft},
    error::Error,
    rest::{
        Web,
        answer::Applied,
        extract::{Body, Params, Segment, Signed},
        shape::{ContactShape, IdShape, PageShape, given},
    },
};

/// A tenant as shown.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = Tenant)]
pub(in crate::rest) struct TenantShape {
    id: IdShape,
    /// Milliseconds since the Unix epoch.
    created_time: i64,
    title: String,
    /// The same as the title.
    name: String,
    region: Option<String>,
    tenant_profile_id: IdShape,
    #[serde(flatten)]
    contact: ContactShape,
    additional_info: Value,
    version: i64,
}

impl From<Tenant> for TenantShape {
    fn from(tenant: Tenant) -> Self {
        Self {
            id: IdShape::new(EntityKind::Tenant, tenant.id),
            created_time: tenant.created_ms,
            name: tenant.title.clone(),
            title: tenant.title,
            region: tenant.region,
            tenant_profile_id: IdShape::new(EntityKind::TenantProfile, tenant.profile),
            contact: tenant.contact.into(),
            additional_info: tenant.additional_info,
            version: tenant.version,
        }
    }
}

/// A tenant with the name of its profile.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = TenantInfo)]
pub(in crate::rest) struct TenantInfoShape {
    #[serde(flatten)]
    tenant: TenantShape,
    tenant_profile_name: String,
}

/// A tenant to create (no id) or replace.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = TenantForm)]
pub(in crate::rest) struct TenantForm {
    id: Option<IdShape>,
    #[schema(example = "Acme")]
    title: String,
    region: Option<String>,
    /// Absent: the one it has; of a new tenant, the default one.
    tenant_profile_id: Option<IdShape>,
    #[serde(flatten)]
    contact: ContactShape,
    #[serde(default)]
    additional_info: Value,
    version: Option<i64>,
}

impl From<TenantForm> for TenantDraft {
    fn from(form: TenantForm) -> Self {
        Self {
            id: given(form.id),
            version: form.version,
            title: form.title,
            region: form.region,
            profile: given(form.tenant_profile_id),
            contact: form.contact.into(),
            additional_info: form.additional_info,
        }
    }
}

pub(in crate::rest) fn routes() -> OpenApiRouter<Web> {
    OpenApiRouter::new()
        .routes(routes!(save))
        .routes(routes!(read, delete))
        .routes(routes!(read_info))
        .routes(routes!(list))
        .routes(routes!(list_infos))
}

/// Create or update a tenant (system administrator).
#[utoipa::path(post, path = "/api/tenant", operation_id = "saveTenant", tag = "tenant",
    request_body = TenantForm, responses((status = 200, body = TenantShape)))]
async fn save(
    State(web): State<Web>,
    Signed(caller): Signed,
    Body(form): Body<TenantForm>,
) -> Result<Applied<TenantShape>, Error> {
    Ok(Applied::of(web.app.save_tenant(&caller, form.into()).await?))
}

/// Read a tenant.
#[utoipa::path(get, path = "/api/tenant/{id}", operation_id = "getTenantById", tag = "tenant",
    params(("id" = Uuid, Path)), responses((status = 200, body = TenantShape)))]
async fn read(State(web): State<Web>, Signed(caller): Signed, Segment(id): Segment<Uuid>) -> Result<Json<TenantShape>, Error> {
    Ok(Json(web.app.tenant(&caller, id).await?.into()))
}

/// Read a tenant with the name of its profile (system administrator).
#[utoipa::path(get, path = "/api/tenant/info/{id}", operation_id = "getTenantInfoById", tag = "tenant",
    params(("id" = Uuid, Path)), responses((status = 200, body = TenantInfoShape)))]
async fn read_info(
    State(web): State<Web>,
    Signed(caller): Signed,
    Segment(id): Segment<Uuid>,
) -> Result<Json<TenantInfoShape>, Error> {
    let tenant = web.app.tenant(&caller, id).await?;
    let mut names = web.app.tenant_profile_names(&caller, std::slice::from_ref(&tenant)).await?;
    let tenant_profile_name = names.remove(&tenant.profile).unwrap_or_default();
    Ok(Json(TenantInfoShape { tenant: tenant.into(), tenant_profile_name }))
}

/// Delete a tenant and everything that belongs to it (system administrator).
#[utoipa::path(delete, path = "/api/tenant/{id}", operation_id = "deleteTenant", tag = "tenant",
    params(("id" = Uuid, Path)), responses((status = 200, description = "deleted")))]
async fn delete(State(web): State<Web>, Signed(caller): Signed, Segment(id): Segment<Uuid>) -> Result<Applied<()>, Error> {
    Ok(Applied::of(web.app.delete_tenant(&caller, id).await?))
}

/// A page of the tenants (system administrator).
#[utoipa::path(get, path = "/api/tenants", operation_id = "getTenants", tag = "tenant",
    params(crate::rest::answer::Paging), responses((status = 200, body = PageShape<TenantShape>)))]
async fn list(State(web): State<Web>, Signed(caller): Signed, params: Params) -> Result<Json<PageShape<TenantShape>>, Error> {
    Ok(Json(PageShape::of(web.app.tenants(&caller, &params.page()?).await?, Into::into)))
}

/// A page of the tenants with the names of their profiles (system administrator).
#[utoipa::path(get, path = "/api/tenantInfos", operation_id = "getTenantInfos", tag = "tenant",
    params(crate::rest::answer::Paging), responses((status = 200, body = PageShape<TenantInfoShape>)))]
async fn list_infos(
    State(web): State<Web>,
    Signed(caller): Signed,
    params: Params,
) -> Result<Json<PageShape<TenantInfoShape>>, Error> {
    let page = web.app.tenants(&caller, &params.page()?).await?;
    let names = web.app.tenant_profile_names(&caller, &page.data).await?;
    Ok(Json(PageShape::of(page, |tenant| {
        let tenant_profile_name = names.get(&tenant.profile).cloned().unwrap_or_default();
        TenantInfoShape { tenant: tenant.into(), tenant_profile_name }
    })))
}
