//! Calculated fields over HTTP: shapes and handlers. Who may is decided by the application.

use axum::{Json, extract::State};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use utoipa::ToSchema;
use utoipa_axum::{router::OpenApiRouter, routes};
use uuid::Uuid;

use crate::{
    domain::{CalculatedField, EntityKind, FieldDraft, FieldOf, Invalid},
    error::Error,
    rest::{
        Web,
        answer::{Applied, Paging},
        extract::{Body, Params, Segment, Signed},
        shape::{IdShape, PageShape, given},
    },
    telemetry::FieldCount,
};

/// A calculated field as shown.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = CalculatedField)]
pub(in crate::rest) struct FieldShape {
    id: IdShape,
    /// Milliseconds since the Unix epoch.
    created_time: i64,
    tenant_id: IdShape,
    /// A device or a device profile.
    entity_id: IdShape,
    /// `SIMPLE` or `SCRIPT`.
    r#type: Value,
    name: String,
    debug_settings: Value,
    configuration_version: i64,
    configuration: Value,
    version: i64,
    additional_info: Value,
}

impl From<CalculatedField> for FieldShape {
    fn from(field: CalculatedField) -> Self {
        Self {
            id: IdShape::new(EntityKind::CalculatedField, field.id),
            created_time: field.created_ms,
            tenant_id: IdShape::new(EntityKind::Tenant, field.tenant),
            entity_id: IdShape::new(field.of.kind(), field.of.id()),
            r#type: field.configuration.get("type").cloned().unwrap_or_default(),
            name: field.name,
            debug_settings: field.debug_settings,
            configuration_version: field.configuration_version,
            configuration: field.configuration,
            version: field.version,
            additional_info: field.additional_info,
        }
    }
}

/// A calculated field to create (no id) or replace.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = CalculatedFieldForm)]
pub(in crate::rest) struct FieldForm {
    id: Option<IdShape>,
    /// A device or a device profile.
    entity_id: IdShape,
    #[schema(example = "SIMPLE")]
    r#type: Option<String>,
    #[schema(example = "Dew point")]
    name: String,
    #[serde(default)]
    debug_settings: Value,
    #[serde(default)]
    configuration_version: i64,
    configuration: Value,
    version: Option<i64>,
    #[serde(default)]
    additional_info: Value,
}

impl TryFrom<FieldForm> for FieldDraft {
    type Error = Invalid;

    fn try_from(form: FieldForm) -> Result<Self, Invalid> {
        Ok(Self {
            id: given(form.id),
            version: form.version,
            of: FieldOf::parse(&form.entity_id.entity_type, form.entity_id.id)?,
            name: form.name,
            kind: form.r#type,
            configuration: form.configuration,
            configuration_version: form.configuration_version,
            debug_settings: form.debug_settings,
            additional_info: form.additional_info,
        })
    }
}

pub(in crate::rest) fn routes() -> OpenApiRouter<Web> {
    OpenApiRouter::new()
        .routes(routes!(save))
        .routes(routes!(read, delete))
        .routes(routes!(list))
        .routes(routes!(counts))
        .routes(routes!(test_script))
}

/// Create or replace a calculated field. Everything wrong with its configuration is answered at once.
#[utoipa::path(post, path = "/api/calculatedField", operation_id = "saveCalculatedField", tag = "calculated field",
    request_body = FieldForm, responses((status = 200, body = FieldShape)))]
async fn save(State(web): State<Web>, Signed(caller): Signed, Body(form): Body<FieldForm>) -> Result<Applied<FieldShape>, Error> {
    Ok(Applied::of(web.app.save_field(&caller, form.try_into()?).await?))
}

/// Read a calculated field.
#[utoipa::path(get, path = "/api/calculatedField/{id}", operation_id = "getCalculatedFieldById", tag = "calculated field",
    params(("id" = Uuid, Path)), responses((status = 200, body = FieldShape)))]
async fn read(State(web): State<Web>, Signed(caller): Signed, Segment(id): Segment<Uuid>) -> Result<Json<FieldShape>, Error> {
    Ok(Json(web.app.field(&caller, id).await?.into()))
}

/// Delete a calculated field. What it has calculated stays.
#[utoipa::path(delete, path = "/api/calculatedField/{id}", operation_id = "deleteCalculatedField", tag = "calculated field",
    params(("id" = Uuid, Path)), responses((status = 200, description = "deleted")))]
async fn delete(State(web): State<Web>, Signed(caller): Signed, Segment(id): Segment<Uuid>) -> Result<Applied<()>, Error> {
    Ok(Applied::of(web.app.delete_field(&caller, id).await?))
}

/// A page of the calculated fields of a device or a device profile.
#[utoipa::path(get, path = "/api/{entityType}/{entityId}/calculatedFields", operation_id = "getCalculatedFieldsByEntityId",
    tag = "calculated field",
    params(("entityType" = String, Path, description = "`DEVICE` or `DEVICE_PROFILE`"), ("entityId" = Uuid, Path), Paging),
    responses((status = 200, body = PageShape<FieldShape>)))]
async fn list(
    State(web): State<Web>,
    Signed(caller): Signed,
    Segment((kind, id)): Segment<(String, Uuid)>,
    params: Params,
) -> Result<Json<PageShape<FieldShape>>, Error> {
    let of = FieldOf::parse(&kind, id)?;
    Ok(Json(PageShape::of(web.app.fields(&caller, of, &params.page()?).await?, Into::into)))
}

/// What became of a field.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = CalculatedFieldStatistics)]
pub(in crate::rest) struct CountShape {
    /// Results that were stored.
    calculated: u64,
    failed: u64,
    /// Why it failed last, if it did.
    last_failure: Option<String>,
    /// When, in milliseconds since the Unix epoch.
    last_failure_ts: Option<i64>,
}

impl From<FieldCount> for CountShape {
    fn from(FieldCount { calculated, failed, last_failure }: FieldCount) -> Self {
        let (last_failure_ts, last_failure) = last_failure.unzip();
        Self { calculated, failed, last_failure, last_failure_ts }
    }
}

/// What became of a field since it was saved, on all devices together. Not one of ThingsBoard's paths.
#[utoipa::path(get, path = "/api/calculatedField/{id}/statistics", operation_id = "getCalculatedFieldStatistics",
    tag = "calculated field", params(("id" = Uuid, Path)), responses((status = 200, body = CountShape)))]
async fn counts(State(web): State<Web>, Signed(caller): Signed, Segment(id): Segment<Uuid>) -> Result<Json<CountShape>, Error> {
    Ok(Json(web.app.field_count(&caller, id).await?.into()))
}

/// A script of a calculated field to try.
#[derive(Debug, Deserialize, ToSchema)]
#[schema(as = CalculatedFieldScriptTest)]
pub(in crate::rest) struct TrialForm {
    /// TBEL.
    #[schema(example = "return {mean: t.mean()};")]
    expression: String,
    /// By name: `{"type": "SINGLE_VALUE", "ts", "value"}` or `{"type": "TS_ROLLING", "timeWindow": {"startTs", "endTs"}, "values":
    /// [{"ts", "value"}]}`.
    #[serde(default)]
    #[schema(value_type = Object)]
    arguments: Map<String, Value>,
}

/// What a script of a calculated field answered.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = CalculatedFieldScriptTestResult)]
pub(in crate::rest) struct TriedShape {
    /// JSON.
    output: String,
    /// Empty if it answered.
    error: String,
}

/// Try a script of a calculated field on a data plane.
#[utoipa::path(post, path = "/api/calculatedField/testScript", operation_id = "testCalculatedFieldScript", tag = "calculated field",
    request_body = TrialForm, responses((status = 200, body = TriedShape)))]
async fn test_script(
    State(web): State<Web>,
    Signed(caller): Signed,
    Body(form): Body<TrialForm>,
) -> Result<Json<TriedShape>, Error> {
    Ok(Json(match web.app.try_field(&caller, &form.expression, &form.arguments).await? {
        Ok(output) => TriedShape { output, error: String::new() },
        Err(error) => TriedShape { output: String::new(), error },
    }))
}
