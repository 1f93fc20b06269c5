//! The audit log over HTTP. Reading only: lines are written where things are done.

use axum::{Json, extract::State};
use serde::Serialize;
use serde_json::Value;
use utoipa::ToSchema;
use utoipa_axum::{router::OpenApiRouter, routes};
use uuid::Uuid;

use crate::{
    domain::{AuditFilter, AuditLine, AuditSubject, EntityKind, Invalid},
    error::Error,
    rest::{
        Web,
        answer::Paging,
        extract::{Params, Segment, Signed},
        shape::{IdShape, PageShape},
    },
};

/// A line of the audit log.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = AuditLog)]
pub(in crate::rest) struct AuditShape {
    id: AuditIdShape,
    /// Milliseconds since the Unix epoch.
    created_time: i64,
    tenant_id: IdShape,
    customer_id: IdShape,
    entity_id: IdShape,
    entity_name: Option<String>,
    user_id: IdShape,
    user_name: String,
    #[schema(example = "UPDATED")]
    action_type: String,
    /// What was done, as far as it may be shown.
    action_data: Value,
    /// `SUCCESS` or `FAILURE`.
    action_status: &'static str,
    /// Empty for a success.
    action_failure_details: String,
}

/// ThingsBoard's audit log ids have no entity type.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = AuditLogId)]
pub(in crate::rest) struct AuditIdShape {
    id: Uuid,
}

impl From<AuditLine> for AuditShape {
    fn from(line: AuditLine) -> Self {
        Self {
            id: AuditIdShape { id: line.id },
            created_time: line.created_ms,
            tenant_id: IdShape::or_null(EntityKind::Tenant, line.tenant),
            customer_id: IdShape::or_null(EntityKind::Customer, line.customer),
            entity_id: IdShape { entity_type: line.entity_kind, id: line.entity },
            entity_name: line.entity_name,
            user_id: IdShape::or_null(EntityKind::User, line.user),
            user_name: line.user_name,
            action_type: line.action,
            action_data: line.data,
            action_status: if line.failure.is_some() { "FAILURE" } else { "SUCCESS" },
            action_failure_details: line.failure.unwrap_or_default(),
        }
    }
}

/// Which lines are asked for.
#[derive(Debug, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
#[expect(dead_code, reason = "the fields exist for the OpenAPI document; `lines` reads the query")]
struct AuditParams {
    /// Only lines from here on, in milliseconds since the Unix epoch.
    #[param(rename = "startTime")]
    start_time: Option<i64>,
    /// Only lines up to here, inclusive.
    #[param(rename = "endTime")]
    end_time: Option<i64>,
    /// Only these actions, such as `ADDED,UPDATED`.
    #[param(rename = "actionTypes")]
    action_types: Option<String>,
}

/// Actions one request may name.
const ACTIONS_MAX: usize = 100;

pub(in crate::rest) fn routes() -> OpenApiRouter<Web> {
    OpenApiRouter::new().routes(routes!(all)).routes(routes!(of_entity)).routes(routes!(of_user)).routes(routes!(of_customer))
}

fn filter(params: &Params, subject: AuditSubject) -> Result<AuditFilter, Invalid> {
    let millis = "must be milliseconds since the Unix epoch";
    let actions = params.list("actionTypes");
    if actions.len() > ACTIONS_MAX {
        return Err(Invalid::new("actionTypes", &actions.len().to_string(), format!("must be at most {ACTIONS_MAX} actions")));
    }
    Ok(AuditFilter { subject, from_ms: params.read("startTime", millis)?, to_ms: params.read("endTime", millis)?, actions })
}

async fn lines(web: &Web, signed: Signed, params: &Params, subject: AuditSubject) -> Result<Json<PageShape<AuditShape>>, Error> {
    let Signed(caller) = signed;
    let page = web.app.audit_lines(&caller, &filter(params, subject)?, &params.page()?).await?;
    Ok(Json(PageShape::of(page, Into::into)))
}

/// A page of the tenant's audit log.
#[utoipa::path(get, path = "/api/audit/logs", operation_id = "getAuditLogs", tag = "audit",
    params(Paging, AuditParams), responses((status = 200, body = PageShape<AuditShape>)))]
async fn all(State(web): State<Web>, signed: Signed, params: Params) -> Result<Json<PageShape<AuditShape>>, Error> {
    lines(&web, signed, &params, AuditSubject::Everything).await
}

/// A page of the audit log about one entity.
#[utoipa::path(get, path = "/api/audit/logs/entity/{entityType}/{entityId}", operation_id = "getAuditLogsByEntityId",
    tag = "audit", params(("entityType" = String, Path, example = "DEVICE"), ("entityId" = Uuid, Path), Paging, AuditParams),
    responses((status = 200, body = PageShape<AuditShape>)))]
async fn of_entity(
    State(web): State<Web>,
    signed: Signed,
    Segment((kind, id)): Segment<(String, Uuid)>,
    params: Params,
) -> Result<Json<PageShape<AuditShape>>, Error> {
    if EntityKind::parse(&kind).is_none() {
        let names: Vec<&str> = EntityKind::ALL.iter().map(|kind| kind.name()).collect();
        return Err(Invalid::new("entityType", &kind, format!("must be one of {}", names.join(", "))).into());
    }
    lines(&web, signed, &params, AuditSubject::Entity(kind, id)).await
}

/// A page of what one user did.
#[utoipa::path(get, path = "/api/audit/logs/user/{userId}", operation_id = "getAuditLogsByUserId", tag = "audit",
    params(("userId" = Uuid, Path), Paging, AuditParams), responses((status = 200, body = PageShape<AuditShape>)))]
async fn of_user(
    State(web): State<Web>,
    signed: Signed,
    Segment(id): Segment<Uuid>,
    params: Params,
) -> Result<Json<PageShape<AuditShape>>, Error> {
    lines(&web, signed, &params, AuditSubject::User(id)).await
}

/// A page of the audit log about a customer, its devices and its users.
#[utoipa::path(get, path = "/api/audit/logs/customer/{customerId}", operation_id = "getAuditLogsByCustomerId",
    tag = "audit", params(("customerId" = Uuid, Path), Paging, AuditParams),
    responses((status = 200, body = PageShape<AuditShape>)))]
async fn of_customer(
    State(web): State<Web>,
    signed: Signed,
    Segment(id): Segment<Uuid>,
    params: Params,
) -> Result<Json<PageShape<AuditShape>>, Error> {
    lines(&web, signed, &params, AuditSubject::Customer(id)).await
}
