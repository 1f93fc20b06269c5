//! Asset profiles over HTTP: shapes and handlers. Who may is decided by the application.

use axum::{Json, extract::State};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa_axum::{router::OpenApiRouter, routes};
use uuid::Uuid;

use crate::{
    domain::{AssetProfile, AssetProfileDraft, EntityKind},
    error::Error,
    rest::{
        Web,
        answer::{Applied, Paging},
        extract::{Body, Params, Segment, Signed},
        shape::{IdShape, NamedShape, PageShape, given},
    },
};

/// An asset profile as shown.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = AssetProfile)]
pub(in crate::rest) struct AssetProfileShape {
    id: IdShape,
    /// Milliseconds since the Unix epoch.
    created_time: i64,
    tenant_id: IdShape,
    name: String,
    description: Option<String>,
    image: Option<String>,
    default: bool,
    /// Absent: the tenant's root chain.
    default_rule_chain_id: Option<IdShape>,
    default_dashboard_id: Option<IdShape>,
    default_queue_name: Option<String>,
    default_edge_rule_chain_id: Option<IdShape>,
    external_id: Option<IdShape>,
    version: i64,
}

impl From<AssetProfile> for AssetProfileShape {
    fn from(profile: AssetProfile) -> Self {
        let chain = |id| IdShape::new(EntityKind::RuleChain, id);
        Self {
            id: IdShape::new(EntityKind::AssetProfile, profile.id),
            created_time: profile.created_ms,
            tenant_id: IdShape::new(EntityKind::Tenant, profile.tenant),
            name: profile.name,
            description: profile.description,
            image: profile.image,
            default: profile.is_default,
            default_rule_chain_id: profile.chain.map(chain),
            default_dashboard_id: profile.dashboard.map(dashboard),
            default_queue_name: profile.queue,
            default_edge_rule_chain_id: profile.edge_chain.map(chain),
            external_id: None,
            version: profile.version,
        }
    }
}

fn dashboard(id: Uuid) -> IdShape {
    IdShape { entity_type: "DASHBOARD".to_owned(), id }
}

/// What a list of asset profiles shows.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = AssetProfileInfo)]
pub(in crate::rest) struct AssetProfileInfoShape {
    id: IdShape,
    tenant_id: IdShape,
    name: String,
    image: Option<String>,
    default_dashboard_id: Option<IdShape>,
}

impl From<AssetProfile> for AssetProfileInfoShape {
    fn from(profile: AssetProfile) -> Self {
        Self {
            id: IdShape::new(EntityKind::AssetProfile, profile.id),
            tenant_id: IdShape::new(EntityKind::Tenant, profile.tenant),
            name: profile.name,
            image: profile.image,
            default_dashboard_id: profile.dashboard.map(dashboard),
        }
    }
}

/// An asset profile to create (no id) or replace.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = AssetProfileForm)]
pub(in crate::rest) struct AssetProfileForm {
    id: Option<IdShape>,
    #[schema(example = "Building")]
    name: String,
    description: Option<String>,
    image: Option<String>,
    /// Where messages of these assets enter; absent: the tenant's root chain.
    default_rule_chain_id: Option<IdShape>,
    default_dashboard_id: Option<IdShape>,
    default_queue_name: Option<String>,
    default_edge_rule_chain_id: Option<IdShape>,
    version: Option<i64>,
}

impl From<AssetProfileForm> for AssetProfileDraft {
    fn from(form: AssetProfileForm) -> Self {
        Self {
            id: given(form.id),
            version: form.version,
            name: form.name,
            description: form.description,
            image: form.image,
            chain: given(form.default_rule_chain_id),
            queue: form.default_queue_name,
            dashboard: given(form.default_dashboard_id),
            edge_chain: given(form.default_edge_rule_chain_id),
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

/// Create or update an asset profile.
#[utoipa::path(post, path = "/api/assetProfile", operation_id = "saveAssetProfile", tag = "asset profile",
    request_body = AssetProfileForm, responses((status = 200, body = AssetProfileShape)))]
async fn save(
    State(web): State<Web>,
    Signed(caller): Signed,
    Body(form): Body<AssetProfileForm>,
) -> Result<Applied<AssetProfileShape>, Error> {
    Ok(Applied::of(web.app.save_asset_profile(&caller, form.into()).await?))
}

/// Read an asset profile.
#[utoipa::path(get, path = "/api/assetProfile/{id}", operation_id = "getAssetProfileById", tag = "asset profile",
    params(("id" = Uuid, Path)), responses((status = 200, body = AssetProfileShape)))]
async fn read(
    State(web): State<Web>,
    Signed(caller): Signed,
    Segment(id): Segment<Uuid>,
) -> Result<Json<AssetProfileShape>, Error> {
    Ok(Json(web.app.asset_profile(&caller, id).await?.into()))
}

/// Delete an asset profile that no asset has. The default one cannot be deleted.
#[utoipa::path(delete, path = "/api/assetProfile/{id}", operation_id = "deleteAssetProfile", tag = "asset profile",
    params(("id" = Uuid, Path)), responses((status = 200, description = "deleted")))]
async fn delete(State(web): State<Web>, Signed(caller): Signed, Segment(id): Segment<Uuid>) -> Result<Applied<()>, Error> {
    Ok(Applied::of(web.app.delete_asset_profile(&caller, id).await?))
}

/// Make this the profile assets get when nothing is said.
#[utoipa::path(post, path = "/api/assetProfile/{id}/default", operation_id = "setDefaultAssetProfile",
    tag = "asset profile", params(("id" = Uuid, Path)), responses((status = 200, body = AssetProfileShape)))]
async fn set_default(
    State(web): State<Web>,
    Signed(caller): Signed,
    Segment(id): Segment<Uuid>,
) -> Result<Applied<AssetProfileShape>, Error> {
    Ok(Applied::of(web.app.set_default_asset_profile(&caller, id).await?))
}

/// The profile assets get when nothing is said.
#[utoipa::path(get, path = "/api/assetProfileInfo/default", operation_id = "getDefaultAssetProfileInfo",
    tag = "asset profile", responses((status = 200, body = AssetProfileInfoShape)))]
async fn read_default(State(web): State<Web>, Signed(caller): Signed) -> Result<Json<AssetProfileInfoShape>, Error> {
    Ok(Json(web.app.default_asset_profile(&caller).await?.into()))
}

/// Read an asset profile, in short.
#[utoipa::path(get, path = "/api/assetProfileInfo/{id}", operation_id = "getAssetProfileInfoById", tag = "asset profile",
    params(("id" = Uuid, Path)), responses((status = 200, body = AssetProfileInfoShape)))]
async fn read_info(
    State(web): State<Web>,
    Signed(caller): Signed,
    Segment(id): Segment<Uuid>,
) -> Result<Json<AssetProfileInfoShape>, Error> {
    Ok(Json(web.app.asset_profile(&caller, id).await?.into()))
}

/// The names of the tenant's asset profiles, in their order.
#[utoipa::path(get, path = "/api/assetProfile/names", operation_id = "getAssetProfileNames", tag = "asset profile",
    params(("activeOnly" = Option<bool>, Query, description = "Only profiles that assets have")),
    responses((status = 200, body = Vec<NamedShape>)))]
async fn names(State(web): State<Web>, Signed(caller): Signed, params: Params) -> Result<Json<Vec<NamedShape>>, Error> {
    let names = web.app.asset_profile_names(&caller, params.flag("activeOnly")?.unwrap_or(false)).await?;
    let shapes = names.into_iter().map(|(id, name)| NamedShape::new(EntityKind::AssetProfile, id, name));
    Ok(Json(shapes.collect()))
}

/// A page of the tenant's asset profiles.
#[utoipa::path(get, path = "/api/assetProfiles", operation_id = "getAssetProfiles", tag = "asset profile",
    params(Paging), responses((status = 200, body = PageShape<AssetProfileShape>)))]
async fn list(
    State(web): State<Web>,
    Signed(caller): Signed,
    params: Params,
) -> Result<Json<PageShape<AssetProfileShape>>, Error> {
    Ok(Json(PageShape::of(web.app.asset_profiles(&caller, &params.page()?).await?, Into::into)))
}

/// A page of the tenant's asset profiles, in short.
#[utoipa::path(get, path = "/api/assetProfileInfos", operation_id = "getAssetProfileInfos", tag = "asset profile",
    params(Paging), responses((status = 200, body = PageShape<AssetProfileInfoShape>)))]
async fn list_infos(
    State(web): State<Web>,
    Signed(caller): Signed,
    params: Params,
) -> Result<Json<PageShape<AssetProfileInfoShape>>, Error> {
    Ok(Json(PageShape::of(web.app.asset_profiles(&caller, &params.page()?).await?, Into::into)))
}
