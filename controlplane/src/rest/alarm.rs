//! Alarms over HTTP (reference 2.2): found, listed, changed, and what people say of them. ThingsBoard's paths and shapes.

use axum::{Json, extract::State};
use schemas::alarm::{Alarm, Propagation};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;
use utoipa_axum::{router::OpenApiRouter, routes};
use uuid::Uuid;

use crate::{
    app::AlarmComment,
    domain::{AlarmChange, AlarmDraft, AlarmFilter, AlarmInfo, EntityKind, Invalid, User, present, severity},
    error::Error,
    rest::{
        Web,
        answer::Paging,
        extract::{Body, Params, Segment, Signed},
        shape::{IdShape, PageShape, given},
    },
};

/// An alarm as shown.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = Alarm)]
pub(in crate::rest) struct AlarmShape {
    id: IdShape,
    /// Milliseconds since the Unix epoch, as all times here.
    created_time: i64,
    tenant_id: IdShape,
    customer_id: Option<IdShape>,
    #[serde(rename = "type")]
    kind: String,
    originator: IdShape,
    #[schema(example = "CRITICAL")]
    severity: &'static str,
    acknowledged: bool,
    cleared: bool,
    assignee_id: Option<IdShape>,
    start_ts: i64,
    end_ts: i64,
    ack_ts: i64,
    clear_ts: i64,
    assign_ts: i64,
    details: Value,
    propagate: bool,
    propagate_to_owner: bool,
    propagate_to_tenant: bool,
    propagate_relation_types: Vec<String>,
    name: String,
    #[schema(example = "ACTIVE_UNACK")]
    status: &'static str,
}

impl AlarmShape {
    fn new(alarm: Alarm, customer: Option<Uuid>) -> Self {
        let (status, cleared) = (alarm.status().name(), alarm.is_cleared());
        Self {
            id: IdShape { entity_type: "ALARM".to_owned(), id: alarm.id },
            created_time: alarm.created_ts,
            tenant_id: IdShape::new(EntityKind::Tenant, alarm.tenant.0),
            customer_id: customer.map(|id| IdShape::new(EntityKind::Customer, id)),
            name: alarm.kind.clone(),
            kind: alarm.kind,
            originator: IdShape { entity_type: alarm.originator_type, id: alarm.originator.0 },
            severity: alarm.severity.name(),
            acknowledged: alarm.ack_ts.is_some(),
            cleared,
            assignee_id: alarm.assignee.map(|id| IdShape::new(EntityKind::User, id)),
            start_ts: alarm.start_ts,
            end_ts: alarm.end_ts,
            ack_ts: alarm.ack_ts.unwrap_or(0),
            clear_ts: alarm.clear_ts.unwrap_or(0),
            assign_ts: alarm.assign_ts.unwrap_or(0),
            // It was JSON when the shard took it; a broken record must not take its reader down.
            details: serde_json::from_str(&alarm.details).unwrap_or(Value::Null),
            propagate: alarm.propagation.along_relations,
            propagate_to_owner: alarm.propagation.to_owner,
            propagate_to_tenant: alarm.propagation.to_tenant,
            propagate_relation_types: alarm.propagation.relation_types,
            status,
        }
    }
}

/// Who is to look after an alarm.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = AlarmAssignee)]
pub(in crate::rest) struct AssigneeShape {
    id: IdShape,
    email: String,
    first_name: Option<String>,
    last_name: Option<String>,
}

impl From<User> for AssigneeShape {
    fn from(user: User) -> Self {
        let User { id, email, first_name, last_name, .. } = user;
        Self { id: IdShape::new(EntityKind::User, id), email, first_name, last_name }
    }
}

/// An alarm with the names of its originator and assignee.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = AlarmInfo)]
pub(in crate::rest) struct AlarmInfoShape {
    #[serde(flatten)]
    alarm: AlarmShape,
    originator_name: String,
    originator_label: Option<String>,
    originator_display_name: String,
    assignee: Option<AssigneeShape>,
}

impl From<AlarmInfo> for AlarmInfoShape {
    fn from(info: AlarmInfo) -> Self {
        let AlarmInfo { alarm, customer, originator_name, originator_label, assignee } = info;
        Self {
            alarm: AlarmShape::new(alarm, customer),
            originator_display_name: originator_label.clone().unwrap_or_else(|| originator_name.clone()),
            originator_name,
            originator_label,
            assignee: assignee.map(AssigneeShape::from),
        }
    }
}

impl From<AlarmInfo> for AlarmShape {
    fn from(info: AlarmInfo) -> Self {
        Self::new(info.alarm, info.customer)
    }
}

/// An alarm to begin, or how the one of its originator and type is to be.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = AlarmRequest)]
pub(in crate::rest) struct AlarmForm {
    #[serde(rename = "type")]
    #[schema(example = "High temperature")]
    kind: String,
    originator: IdShape,
    #[schema(example = "CRITICAL")]
    severity: String,
    #[serde(default)]
    details: Value,
    #[serde(default)]
    propagate: bool,
    #[serde(default)]
    propagate_to_owner: bool,
    #[serde(default)]
    propagate_to_tenant: bool,
    propagate_relation_types: Option<Vec<String>>,
    /// Milliseconds since the Unix epoch; now, if there is none.
    start_ts: Option<i64>,
    end_ts: Option<i64>,
    #[serde(default)]
    acknowledged: bool,
    #[serde(default)]
    cleared: bool,
    assignee_id: Option<IdShape>,
}

/// A type of alarms.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = AlarmType)]
pub(in crate::rest) struct TypeShape {
    tenant_id: IdShape,
    #[schema(example = "ALARM")]
    entity_type: &'static str,
    #[serde(rename = "type")]
    kind: String,
}

/// Something said of an alarm.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = AlarmCommentInfo)]
pub(in crate::rest) struct CommentShape {
    id: IdShape,
    created_time: i64,
    alarm_id: IdShape,
    user_id: Option<IdShape>,
    #[serde(rename = "type")]
    #[schema(example = "OTHER")]
    kind: String,
    /// `{"text": "..."}`
    comment: Value,
    first_name: Option<String>,
    last_name: Option<String>,
    email: Option<String>,
}

impl From<AlarmComment> for CommentShape {
    fn from(said: AlarmComment) -> Self {
        let AlarmComment { row, user } = said;
        let (email, first_name, last_name) =
            user.map_or((None, None, None), |user| (Some(user.email), user.first_name, user.last_name));
        Self {
            id: IdShape { entity_type: "ALARM_COMMENT".to_owned(), id: row.id },
            created_time: row.created_ms,
            alarm_id: IdShape { entity_type: "ALARM".to_owned(), id: row.alarm_id },
            user_id: row.user_id.map(|id| IdShape::new(EntityKind::User, id)),
            kind: row.kind,
            comment: serde_json::from_str(&row.comment).unwrap_or(Value::Null),
            first_name,
            last_name,
            email,
        }
    }
}

#[derive(Debug, Deserialize, ToSchema)]
#[schema(as = AlarmCommentRequest)]
pub(in crate::rest) struct CommentForm {
    /// Of one that is to be said otherwise.
    id: Option<IdShape>,
    /// `{"text": "..."}`
    comment: Value,
}

pub(in crate::rest) fn routes() -> OpenApiRouter<Web> {
    OpenApiRouter::new()
        .routes(routes!(save))
        .routes(routes!(read, delete))
        .routes(routes!(info))
        .routes(routes!(acknowledge))
        .routes(routes!(clear))
        .routes(routes!(assign))
        .routes(routes!(unassign))
        .routes(routes!(list))
        .routes(routes!(list_of))
        .routes(routes!(list_v2))
        .routes(routes!(list_of_v2))
        .routes(routes!(worst))
        .routes(routes!(types))
        .routes(routes!(comment, comments))
        .routes(routes!(delete_comment))
}

/// Begin an alarm, or change the one of the same originator and type that is not cleared.
#[utoipa::path(post, path = "/api/alarm", operation_id = "saveAlarm", tag = "alarm", request_body = AlarmForm,
    responses((status = 200, body = AlarmShape)))]
async fn save(State(web): State<Web>, Signed(caller): Signed, Body(form): Body<AlarmForm>) -> Result<Json<AlarmShape>, Error> {
    let draft = AlarmDraft {
        kind: form.kind,
        severity: form.severity,
        details: form.details,
        propagation: Propagation {
            along_relations: form.propagate,
            to_owner: form.propagate_to_owner,
            to_tenant: form.propagate_to_tenant,
            relation_types: form.propagate_relation_types.unwrap_or_default(),
        },
        start_ts: form.start_ts,
        end_ts: form.end_ts,
        acknowledged: form.acknowledged,
        cleared: form.cleared,
        assignee: given(form.assignee_id),
    };
    let of = (form.originator.entity_type.as_str(), form.originator.id);
    Ok(Json(web.app.save_alarm(&caller, of, &draft).await?.into()))
}

/// Read an alarm.
#[utoipa::path(get, path = "/api/alarm/{alarmId}", operation_id = "getAlarmById", tag = "alarm",
    params(("alarmId" = Uuid, Path)), responses((status = 200, body = AlarmShape)))]
async fn read(State(web): State<Web>, Signed(caller): Signed, Segment(id): Segment<Uuid>) -> Result<Json<AlarmShape>, Error> {
    Ok(Json(web.app.alarm(&caller, id).await?.into()))
}

/// Read an alarm with the names of its originator and assignee.
#[utoipa::path(get, path = "/api/alarm/info/{alarmId}", operation_id = "getAlarmInfoById", tag = "alarm",
    params(("alarmId" = Uuid, Path)), responses((status = 200, body = AlarmInfoShape)))]
async fn info(State(web): State<Web>, Signed(caller): Signed, Segment(id): Segment<Uuid>) -> Result<Json<AlarmInfoShape>, Error> {
    Ok(Json(web.app.alarm(&caller, id).await?.into()))
}

/// Delete an alarm.
#[utoipa::path(delete, path = "/api/alarm/{alarmId}", operation_id = "deleteAlarm", tag = "alarm",
    params(("alarmId" = Uuid, Path)), responses((status = 200, description = "true", body = bool)))]
async fn delete(State(web): State<Web>, Signed(caller): Signed, Segment(id): Segment<Uuid>) -> Result<Json<bool>, Error> {
    web.app.change_alarm(&caller, id, AlarmChange::Delete).await?;
    Ok(Json(true))
}

/// Take notice of an alarm.
#[utoipa::path(post, path = "/api/alarm/{alarmId}/ack", operation_id = "ackAlarm", tag = "alarm",
    params(("alarmId" = Uuid, Path)), responses((status = 200, body = AlarmInfoShape)))]
async fn acknowledge(
    State(web): State<Web>,
    Signed(caller): Signed,
    Segment(id): Segment<Uuid>,
) -> Result<Json<AlarmInfoShape>, Error> {
    Ok(Json(web.app.change_alarm(&caller, id, AlarmChange::Acknowledge).await?.into()))
}

/// End an alarm.
#[utoipa::path(post, path = "/api/alarm/{alarmId}/clear", operation_id = "clearAlarm", tag = "alarm",
    params(("alarmId" = Uuid, Path)), responses((status = 200, body = AlarmInfoShape)))]
async fn clear(
    State(web): State<Web>,
    Signed(caller): Signed,
    Segment(id): Segment<Uuid>,
) -> Result<Json<AlarmInfoShape>, Error> {
    Ok(Json(web.app.change_alarm(&caller, id, AlarmChange::Clear).await?.into()))
}

/// Have a user look after an alarm.
#[utoipa::path(post, path = "/api/alarm/{alarmId}/assign/{assigneeId}", operation_id = "assignAlarm", tag = "alarm",
    params(("alarmId" = Uuid, Path), ("assigneeId" = Uuid, Path)), responses((status = 200, body = AlarmInfoShape)))]
async fn assign(
    State(web): State<Web>,
    Signed(caller): Signed,
    Segment((id, user)): Segment<(Uuid, Uuid)>,
) -> Result<Json<AlarmInfoShape>, Error> {
    Ok(Json(web.app.change_alarm(&caller, id, AlarmChange::Assign(Some(user))).await?.into()))
}

/// Have nobody look after an alarm.
#[utoipa::path(delete, path = "/api/alarm/{alarmId}/assign", operation_id = "unassignAlarm", tag = "alarm",
    params(("alarmId" = Uuid, Path)), responses((status = 200, body = AlarmInfoShape)))]
async fn unassign(
    State(web): State<Web>,
    Signed(caller): Signed,
    Segment(id): Segment<Uuid>,
) -> Result<Json<AlarmInfoShape>, Error> {
    Ok(Json(web.app.change_alarm(&caller, id, AlarmChange::Assign(None)).await?.into()))
}

/// Which alarms a query asks for, in the words of both versions.
fn filter(params: &Params, originator: Option<(String, Uuid)>) -> Result<AlarmFilter, Invalid> {
    let millis = "must be milliseconds since the Unix epoch";
    let severities = params.list("severityList").iter().map(|name| severity(name)).collect::<Result<_, _>>()?;
    let mut filter = AlarmFilter {
        originator,
        severities,
        kinds: params.list("typeList"),
        assignee: params.id("assigneeId")?.and_then(present),
        from_ms: params.read("startTime", millis)?,
        to_ms: params.read("endTime", millis)?,
        ..AlarmFilter::default()
    };
    if let Some(status) = params.text("status") {
        filter.with_status(status)?;
    }
    let mut statuses = params.list("statusList");
    statuses.extend(params.text("searchStatus").map(str::to_owned));
    filter.with_search_statuses(statuses.iter().map(String::as_str))?;
    Ok(filter)
}

async fn page(web: &Web, caller: &crate::access::Caller, of: Option<(String, Uuid)>, params: &Params) -> Listed {
    let page = web.app.alarms(caller, &filter(params, of)?, &params.page()?).await?;
    Ok(Json(PageShape::of(page, AlarmInfoShape::from)))
}

type Listed = Result<Json<PageShape<AlarmInfoShape>>, Error>;

/// A page of all alarms that the caller sees.
#[utoipa::path(get, path = "/api/alarms", operation_id = "getAllAlarms", tag = "alarm",
    params(Paging, ("searchStatus" = Option<String>, Query), ("status" = Option<String>, Query),
        ("assigneeId" = Option<Uuid>, Query), ("startTime" = Option<i64>, Query), ("endTime" = Option<i64>, Query)),
    responses((status = 200, body = PageShape<AlarmInfoShape>)))]
async fn list(State(web): State<Web>, Signed(caller): Signed, params: Params) -> Listed {
    page(&web, &caller, None, &params).await
}

/// A page of an entity's alarms.
#[utoipa::path(get, path = "/api/alarm/{entityType}/{entityId}", operation_id = "getAlarms", tag = "alarm",
    params(("entityType" = String, Path), ("entityId" = Uuid, Path), Paging, ("searchStatus" = Option<String>, Query),
        ("status" = Option<String>, Query), ("assigneeId" = Option<Uuid>, Query), ("startTime" = Option<i64>, Query),
        ("endTime" = Option<i64>, Query)),
    responses((status = 200, body = PageShape<AlarmInfoShape>)))]
async fn list_of(State(web): State<Web>, Signed(caller): Signed, Segment(of): Segment<(String, Uuid)>, params: Params) -> Listed {
    page(&web, &caller, Some(of), &params).await
}

/// A page of all alarms that the caller sees.
#[utoipa::path(get, path = "/api/v2/alarms", operation_id = "getAllAlarmsV2", tag = "alarm",
    params(Paging, ("statusList" = Option<String>, Query, description = "ANY, ACTIVE, CLEARED, ACK, UNACK"),
        ("severityList" = Option<String>, Query), ("typeList" = Option<String>, Query), ("assigneeId" = Option<Uuid>, Query),
        ("startTime" = Option<i64>, Query), ("endTime" = Option<i64>, Query)),
    responses((status = 200, body = PageShape<AlarmInfoShape>)))]
async fn list_v2(State(web): State<Web>, Signed(caller): Signed, params: Params) -> Listed {
    page(&web, &caller, None, &params).await
}

/// A page of an entity's alarms.
#[utoipa::path(get, path = "/api/v2/alarm/{entityType}/{entityId}", operation_id = "getAlarmsV2", tag = "alarm",
    params(("entityType" = String, Path), ("entityId" = Uuid, Path), Paging,
        ("statusList" = Option<String>, Query, description = "ANY, ACTIVE, CLEARED, ACK, UNACK"),
        ("severityList" = Option<String>, Query), ("typeList" = Option<String>, Query), ("assigneeId" = Option<Uuid>, Query),
        ("startTime" = Option<i64>, Query), ("endTime" = Option<i64>, Query)),
    responses((status = 200, body = PageShape<AlarmInfoShape>)))]
async fn list_of_v2(
    State(web): State<Web>,
    Signed(caller): Signed,
    Segment(of): Segment<(String, Uuid)>,
    params: Params,
) -> Listed {
    page(&web, &caller, Some(of), &params).await
}

/// The worst severity of an entity's alarms; empty when it has none.
#[utoipa::path(get, path = "/api/alarm/highestSeverity/{entityType}/{entityId}", operation_id = "getHighestAlarmSeverity",
    tag = "alarm", params(("entityType" = String, Path), ("entityId" = Uuid, Path), ("searchStatus" = Option<String>, Query),
        ("status" = Option<String>, Query), ("assigneeId" = Option<Uuid>, Query)),
    responses((status = 200, description = "such as `\"CRITICAL\"`", body = Option<String>)))]
async fn worst(
    State(web): State<Web>,
    Signed(caller): Signed,
    Segment(of): Segment<(String, Uuid)>,
    params: Params,
) -> Result<axum::response::Response, Error> {
    use axum::response::IntoResponse;
    let worst = web.app.worst_severity(&caller, &filter(&params, Some(of))?).await?;
    Ok(worst.map_or_else(|| ().into_response(), |severity| Json(severity.name()).into_response()))
}

/// The types of the alarms that the caller sees.
#[utoipa::path(get, path = "/api/alarm/types", operation_id = "getAlarmTypes", tag = "alarm", params(Paging),
    responses((status = 200, body = PageShape<TypeShape>)))]
async fn types(State(web): State<Web>, Signed(caller): Signed, params: Params) -> Result<Json<PageShape<TypeShape>>, Error> {
    let page = web.app.alarm_types(&caller, &params.page()?).await?;
    let tenant = caller.tenant;
    Ok(Json(PageShape::of(page, |kind| TypeShape {
        tenant_id: IdShape::or_null(EntityKind::Tenant, tenant),
        entity_type: "ALARM",
        kind,
    })))
}

/// Say something of an alarm, or say it otherwise.
#[utoipa::path(post, path = "/api/alarm/{alarmId}/comment", operation_id = "saveAlarmComment", tag = "alarm",
    params(("alarmId" = Uuid, Path)), request_body = CommentForm, responses((status = 200, body = CommentShape)))]
async fn comment(
    State(web): State<Web>,
    Signed(caller): Signed,
    Segment(id): Segment<Uuid>,
    Body(form): Body<CommentForm>,
) -> Result<Json<CommentShape>, Error> {
    let said = (given(form.id), form.comment);
    Ok(Json(web.app.save_alarm_comment(&caller, id, said).await?.into()))
}

/// What was said of an alarm.
#[utoipa::path(get, path = "/api/alarm/{alarmId}/comment", operation_id = "getAlarmComments", tag = "alarm",
    params(("alarmId" = Uuid, Path), Paging), responses((status = 200, body = PageShape<CommentShape>)))]
async fn comments(
    State(web): State<Web>,
    Signed(caller): Signed,
    Segment(id): Segment<Uuid>,
    params: Params,
) -> Result<Json<PageShape<CommentShape>>, Error> {
    let page = web.app.alarm_comments(&caller, id, &params.page()?).await?;
    Ok(Json(PageShape::of(page, CommentShape::from)))
}

/// Take back what one said of an alarm.
#[utoipa::path(delete, path = "/api/alarm/{alarmId}/comment/{commentId}", operation_id = "deleteAlarmComment", tag = "alarm",
    params(("alarmId" = Uuid, Path), ("commentId" = Uuid, Path)), responses((status = 200, description = "deleted")))]
async fn delete_comment(
    State(web): State<Web>,
    Signed(caller): Signed,
    Segment((id, comment)): Segment<(Uuid, Uuid)>,
) -> Result<(), Error> {
    web.app.delete_alarm_comment(&caller, id, comment).await
}
