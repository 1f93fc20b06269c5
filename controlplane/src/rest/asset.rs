//! Assets over HTTP: shapes, handlers of single assets, lists and assignment to customers. Who may is decided by the application.

use axum::{
    Json,
    extract::State,
    response::{IntoResponse, Response},
};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;
use utoipa_axum::{router::OpenApiRouter, routes};
use uuid::Uuid;

use crate::{
    access::Caller,
    app::ShownTo,
    domain::{Asset, AssetDraft, AssetFilter, AssetInfo, EntityKind, Invalid, Page, RelationFilter},
    error::Error,
    rest::{
        Web,
        answer::{Applied, Paging},
        extract::{Body, Params, Segment, Signed},
        relation::{WalkForm, walk},
        shape::{IdShape, PageShape, given},
    },
};

/// Assets one request may name.
const NAMED_MAX: usize = 1_000;

/// An asset as shown.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = Asset)]
pub(in crate::rest) struct AssetShape {
    id: IdShape,
    /// Milliseconds since the Unix epoch.
    created_time: i64,
    tenant_id: IdShape,
    /// ThingsBoard's null UUID when the asset is assigned to nobody.
    customer_id: IdShape,
    name: String,
    /// The name of the asset profile.
    r#type: String,
    label: Option<String>,
    asset_profile_id: IdShape,
    external_id: Option<IdShape>,
    version: i64,
    additional_info: Value,
}

impl From<Asset> for AssetShape {
    fn from(asset: Asset) -> Self {
        Self {
            id: IdShape::new(EntityKind::Asset, asset.id),
            created_time: asset.created_ms,
            tenant_id: IdShape::new(EntityKind::Tenant, asset.tenant),
            customer_id: IdShape::or_null(EntityKind::Customer, asset.customer),
            name: asset.name,
            r#type: asset.kind,
            label: asset.label,
            asset_profile_id: IdShape::new(EntityKind::AssetProfile, asset.profile),
            external_id: None,
            version: asset.version,
            additional_info: asset.additional_info,
        }
    }
}

/// An asset with the names a list shows.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = AssetInfo)]
pub(in crate::rest) struct AssetInfoShape {
    #[serde(flatten)]
    asset: AssetShape,
    customer_title: Option<String>,
    customer_is_public: bool,
    asset_profile_name: String,
}

impl From<AssetInfo> for AssetInfoShape {
    fn from(info: AssetInfo) -> Self {
        Self {
            asset: info.asset.into(),
            customer_title: info.customer_title,
            customer_is_public: info.customer_is_public,
            asset_profile_name: info.profile_name,
        }
    }
}

/// An asset to create (no id) or replace. `{"name":"A","type":"default"}` is enough.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = AssetForm)]
pub(in crate::rest) struct AssetForm {
    id: Option<IdShape>,
    #[schema(example = "Building 1")]
    name: String,
    /// The name of the asset profile, which is created when it does not exist.
    #[schema(example = "default")]
    r#type: Option<String>,
    label: Option<String>,
    /// Wins over `type`.
    asset_profile_id: Option<IdShape>,
    #[serde(default)]
    additional_info: Value,
    version: Option<i64>,
}

impl From<AssetForm> for AssetDraft {
    fn from(form: AssetForm) -> Self {
        Self {
            id: given(form.id),
            version: form.version,
            name: form.name,
            kind: form.r#type,
            label: form.label,
            profile: given(form.asset_profile_id),
            additional_info: form.additional_info,
        }
    }
}

/// A type that assets have.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = EntitySubtype)]
pub(in crate::rest) struct TypeShape {
    tenant_id: IdShape,
    #[schema(example = "ASSET")]
    entity_type: &'static str,
    r#type: String,
}

/// Assets to find by their relations.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = AssetSearchQuery)]
pub(in crate::rest) struct SearchForm {
    parameters: WalkForm,
    /// Absent: of any type.
    relation_type: Option<String>,
    /// The names of profiles.
    asset_types: Vec<String>,
}

pub(in crate::rest) fn routes() -> OpenApiRouter<Web> {
    OpenApiRouter::new()
        .routes(routes!(save))
        .routes(routes!(read, delete))
        .routes(routes!(read_info))
        .routes(routes!(list))
        .routes(routes!(list_infos))
        .routes(routes!(named, search))
        .routes(routes!(types))
        .routes(routes!(assign))
        .routes(routes!(publish))
        .routes(routes!(unassign))
        .routes(routes!(of_customer))
        .routes(routes!(infos_of_customer))
}

/// Create or update an asset.
#[utoipa::path(post, path = "/api/asset", operation_id = "saveAsset", tag = "asset",
    request_body = AssetForm, responses((status = 200, body = AssetShape)))]
async fn save(State(web): State<Web>, Signed(caller): Signed, Body(form): Body<AssetForm>) -> Result<Applied<AssetShape>, Error> {
    Ok(Applied::of(web.app.save_asset(&caller, form.into()).await?))
}

/// Read an asset.
#[utoipa::path(get, path = "/api/asset/{id}", operation_id = "getAssetById", tag = "asset",
    params(("id" = Uuid, Path)), responses((status = 200, body = AssetShape)))]
async fn read(State(web): State<Web>, Signed(caller): Signed, Segment(id): Segment<Uuid>) -> Result<Json<AssetShape>, Error> {
    Ok(Json(web.app.asset(&caller, id).await?.into()))
}

/// Delete an asset with its relations, attributes and series.
#[utoipa::path(delete, path = "/api/asset/{id}", operation_id = "deleteAsset", tag = "asset",
    params(("id" = Uuid, Path)), responses((status = 200, description = "deleted")))]
async fn delete(State(web): State<Web>, Signed(caller): Signed, Segment(id): Segment<Uuid>) -> Result<Applied<()>, Error> {
    Ok(Applied::of(web.app.delete_asset(&caller, id).await?))
}

/// Read an asset with the names a list shows.
#[utoipa::path(get, path = "/api/asset/info/{id}", operation_id = "getAssetInfoById", tag = "asset",
    params(("id" = Uuid, Path)), responses((status = 200, body = AssetInfoShape)))]
async fn read_info(
    State(web): State<Web>,
    Signed(caller): Signed,
    Segment(id): Segment<Uuid>,
) -> Result<Json<AssetInfoShape>, Error> {
    Ok(Json(web.app.asset_info(&caller, id).await?.into()))
}

/// A page of the tenant's assets, or with `assetName` the one of that name.
#[utoipa::path(get, path = "/api/tenant/assets", operation_id = "getTenantAssets", tag = "asset",
    params(Paging,
        ("type" = Option<String>, Query, description = "Only assets of the profile of this name"),
        ("assetName" = Option<String>, Query, description = "Answer one asset instead of a page")),
    responses((status = 200, body = PageShape<AssetShape>)))]
async fn list(State(web): State<Web>, Signed(caller): Signed, params: Params) -> Result<Response, Error> {
    if let Some(name) = params.text("assetName") {
        let asset = web.app.asset_by_name(&caller, name).await?;
        return Ok(Json(AssetShape::from(asset)).into_response());
    }
    let page = assets(&web, &caller, &params, None).await?;
    Ok(Json(PageShape::of(page, |info| AssetShape::from(info.asset))).into_response())
}

/// A page of the tenant's assets with the names a list shows.
#[utoipa::path(get, path = "/api/tenant/assetInfos", operation_id = "getTenantAssetInfos", tag = "asset",
    params(Paging,
        ("type" = Option<String>, Query, description = "Only assets of the profile of this name"),
        ("assetProfileId" = Option<Uuid>, Query, description = "Only assets of this profile")),
    responses((status = 200, body = PageShape<AssetInfoShape>)))]
async fn list_infos(
    State(web): State<Web>,
    Signed(caller): Signed,
    params: Params,
) -> Result<Json<PageShape<AssetInfoShape>>, Error> {
    Ok(Json(PageShape::of(assets(&web, &caller, &params, None).await?, Into::into)))
}

/// The assets with the given ids, as far as they exist and may be seen.
#[utoipa::path(get, path = "/api/assets", operation_id = "getAssetsByIds", tag = "asset",
    params(("assetIds" = String, Query, description = "UUIDs, separated by commas")),
    responses((status = 200, body = Vec<AssetShape>)))]
async fn named(State(web): State<Web>, Signed(caller): Signed, params: Params) -> Result<Json<Vec<AssetShape>>, Error> {
    let ids: Vec<Uuid> = params
        .list("assetIds")
        .iter()
        .map(|text| text.parse().map_err(|_| Invalid::new("assetIds", text, "must be UUIDs, separated by commas")))
        .collect::<Result<_, _>>()?;
    if ids.is_empty() || ids.len() > NAMED_MAX {
        let rule = format!("must name 1 to {NAMED_MAX} assets");
        return Err(Invalid::new("assetIds", &format!("{} ids", ids.len()), rule).into());
    }
    Ok(Json(web.app.assets_by_ids(&caller, &ids).await?.into_iter().map(Into::into).collect()))
}

/// The assets of some types that a walk along relations reaches.
#[utoipa::path(post, path = "/api/assets", operation_id = "findAssetsByQuery", tag = "asset",
    request_body = SearchForm, responses((status = 200, body = Vec<AssetShape>)))]
async fn search(
    State(web): State<Web>,
    Signed(caller): Signed,
    Body(form): Body<SearchForm>,
) -> Result<Json<Vec<AssetShape>>, Error> {
    let kind = form.relation_type.filter(|kind| !kind.is_empty());
    let wanted = RelationFilter { kind, entity_kinds: vec![EntityKind::Asset], negate: false };
    let reached = web.app.reached(&caller, walk(form.parameters, vec![wanted])?).await?;
    let ids: Vec<Uuid> = reached.into_iter().map(|end| end.id).collect();
    let mut found = Vec::new();
    for ids in ids.chunks(NAMED_MAX) {
        found.extend(web.app.assets_by_ids(&caller, ids).await?);
    }
    found.retain(|asset| form.asset_types.contains(&asset.kind));
    Ok(Json(found.into_iter().map(Into::into).collect()))
}

/// The types that assets have, in their order.
#[utoipa::path(get, path = "/api/asset/types", operation_id = "getAssetTypes", tag = "asset",
    responses((status = 200, body = Vec<TypeShape>)))]
async fn types(State(web): State<Web>, Signed(caller): Signed) -> Result<Json<Vec<TypeShape>>, Error> {
    let (tenant, types) = web.app.asset_types(&caller).await?;
    let shape = |name: String| TypeShape {
        tenant_id: IdShape::new(EntityKind::Tenant, tenant),
        entity_type: EntityKind::Asset.name(),
        r#type: name,
    };
    Ok(Json(types.into_iter().map(shape).collect()))
}

/// Assign an asset to a customer, whose users then see it.
#[utoipa::path(post, path = "/api/customer/{customerId}/asset/{assetId}", operation_id = "assignAssetToCustomer",
    tag = "asset", params(("customerId" = Uuid, Path), ("assetId" = Uuid, Path)),
    responses((status = 200, body = AssetShape)))]
async fn assign(
    State(web): State<Web>,
    Signed(caller): Signed,
    Segment((customer, asset)): Segment<(Uuid, Uuid)>,
) -> Result<Applied<AssetShape>, Error> {
    Ok(Applied::of(web.app.show_asset(&caller, asset, ShownTo::Customer(customer)).await?))
}

/// Show an asset to everybody: assign it to the tenant's public customer.
#[utoipa::path(post, path = "/api/customer/public/asset/{assetId}", operation_id = "assignAssetToPublicCustomer",
    tag = "asset", params(("assetId" = Uuid, Path)), responses((status = 200, body = AssetShape)))]
async fn publish(
    State(web): State<Web>,
    Signed(caller): Signed,
    Segment(asset): Segment<Uuid>,
) -> Result<Applied<AssetShape>, Error> {
    Ok(Applied::of(web.app.show_asset(&caller, asset, ShownTo::Everybody).await?))
}

/// Take an asset from its customer.
#[utoipa::path(delete, path = "/api/customer/asset/{assetId}", operation_id = "unassignAssetFromCustomer",
    tag = "asset", params(("assetId" = Uuid, Path)), responses((status = 200, body = AssetShape)))]
async fn unassign(
    State(web): State<Web>,
    Signed(caller): Signed,
    Segment(asset): Segment<Uuid>,
) -> Result<Applied<AssetShape>, Error> {
    Ok(Applied::of(web.app.show_asset(&caller, asset, ShownTo::Nobody).await?))
}

/// A page of the assets assigned to a customer.
#[utoipa::path(get, path = "/api/customer/{customerId}/assets", operation_id = "getCustomerAssets", tag = "asset",
    params(("customerId" = Uuid, Path), Paging,
        ("type" = Option<String>, Query, description = "Only assets of the profile of this name")),
    responses((status = 200, body = PageShape<AssetShape>)))]
async fn of_customer(
    State(web): State<Web>,
    Signed(caller): Signed,
    Segment(customer): Segment<Uuid>,
    params: Params,
) -> Result<Json<PageShape<AssetShape>>, Error> {
    let page = assets(&web, &caller, &params, Some(customer)).await?;
    Ok(Json(PageShape::of(page, |info| info.asset.into())))
}

/// A page of the assets assigned to a customer, with the names a list shows.
#[utoipa::path(get, path = "/api/customer/{customerId}/assetInfos", operation_id = "getCustomerAssetInfos", tag = "asset",
    params(("customerId" = Uuid, Path), Paging,
        ("type" = Option<String>, Query, description = "Only assets of the profile of this name"),
        ("assetProfileId" = Option<Uuid>, Query, description = "Only assets of this profile")),
    responses((status = 200, body = PageShape<AssetInfoShape>)))]
async fn infos_of_customer(
    State(web): State<Web>,
    Signed(caller): Signed,
    Segment(customer): Segment<Uuid>,
    params: Params,
) -> Result<Json<PageShape<AssetInfoShape>>, Error> {
    Ok(Json(PageShape::of(assets(&web, &caller, &params, Some(customer)).await?, Into::into)))
}

async fn assets(web: &Web, caller: &Caller, params: &Params, customer: Option<Uuid>) -> Result<Page<AssetInfo>, Error> {
    let filter = AssetFilter { customer, kind: params.text("type").map(str::to_owned), profile: params.id("assetProfileId")? };
    web.app.assets(caller, filter, &params.page()?).await
}
