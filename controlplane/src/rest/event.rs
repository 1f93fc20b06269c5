//! Events of rule nodes and chains over HTTP: ThingsBoard's paths, filters and shapes.

use axum::{Json, extract::State};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use utoipa::ToSchema;
use utoipa_axum::{router::OpenApiRouter, routes};
use uuid::Uuid;

use crate::{
    domain::{EntityKind, Event, EventFilter, EventKind, Invalid, PageLink},
    error::Error,
    rest::{
        Web,
        answer::Paging,
        extract::{Body, Params, Segment, Signed},
        shape::{IdShape, PageShape},
    },
};

/// Something that happened at an entity.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = EventInfo)]
pub(in crate::rest) struct EventShape {
    id: EventIdShape,
    /// Milliseconds since the Unix epoch.
    created_time: i64,
    tenant_id: IdShape,
    #[schema(example = "DEBUG_RULE_NODE")]
    r#type: &'static str,
    uid: String,
    entity_id: IdShape,
    /// ThingsBoard's members of an event of this type. Texts have at most 4,096 characters.
    #[schema(value_type = Object)]
    body: Map<String, Value>,
}

/// ThingsBoard's event ids have no entity type.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = EventId)]
pub(in crate::rest) struct EventIdShape {
    id: Uuid,
}

impl From<Event> for EventShape {
    fn from(event: Event) -> Self {
        let (entity_type, entity) = event.entity;
        Self {
            id: EventIdShape { id: event.id },
            created_time: event.created_ms,
            tenant_id: IdShape::new(EntityKind::Tenant, event.tenant),
            r#type: event.kind.name(),
            uid: event.id.to_string(),
            entity_id: IdShape { entity_type, id: entity },
            body: event.body,
        }
    }
}

/// Which events are asked for. Members that another type of event has are passed over.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", default)]
#[schema(as = EventFilter)]
pub(in crate::rest) struct FilterForm {
    #[schema(example = "DEBUG_RULE_NODE")]
    event_type: String,
    /// An instance's id.
    server: Option<String>,
    /// Only those with an error.
    is_error: bool,
    /// Part of the error.
    error_str: Option<String>,
    /// `IN` or `OUT`.
    msg_direction_type: Option<String>,
    entity_id: Option<String>,
    entity_type: Option<String>,
    msg_id: Option<String>,
    msg_type: Option<String>,
    relation_type: Option<String>,
    data_search: Option<String>,
    metadata_search: Option<String>,
    /// Of an ERROR, the node's name.
    method: Option<String>,
    /// Of an LC_EVENT.
    event: Option<String>,
    /// Of an LC_EVENT: `Success` or `Failure`.
    status: Option<String>,
}

impl FilterForm {
    fn filter(self, params: &Params) -> Result<EventFilter, Invalid> {
        let mut filter = of_type(EventKind::parse(&self.event_type)?, params)?;
        let given = |member, text: Option<String>| text.filter(|text| !text.is_empty()).map(|text| (member, text));
        let success = self.status.filter(|status| !status.is_empty()).map(|status| status.eq_ignore_ascii_case("success"));
        filter.failed = self.is_error;
        filter.are = [
            given("server", self.server),
            given("type", self.msg_direction_type),
            given("entityId", self.entity_id),
            given("entityType", self.entity_type),
            given("msgId", self.msg_id),
            given("success", success.map(|success| success.to_string())),
        ]
        .into_iter()
        .flatten()
        .collect();
        filter.contain = [
            given("msgType", self.msg_type),
            given("relationType", self.relation_type),
            given("data", self.data_search),
            given("metadata", self.metadata_search),
            given("error", self.error_str),
            given("method", self.method),
            given("event", self.event),
        ]
        .into_iter()
        .flatten()
        .collect();
        Ok(filter)
    }
}

/// Beside what the filter says.
#[derive(Debug, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
#[expect(dead_code, reason = "the fields exist for the OpenAPI document; `of_type` reads the query")]
struct EventParams {
    /// The caller's own, the only one there is to choose.
    #[param(rename = "tenantId")]
    tenant_id: Option<Uuid>,
    /// Only events from here on, in milliseconds since the Unix epoch.
    #[param(rename = "startTime")]
    start_time: Option<i64>,
    /// Only events up to here, inclusive.
    #[param(rename = "endTime")]
    end_time: Option<i64>,
}

fn of_type(kind: EventKind, params: &Params) -> Result<EventFilter, Invalid> {
    let millis = "must be milliseconds since the Unix epoch";
    let (from_ms, to_ms) = (params.read("startTime", millis)?, params.read("endTime", millis)?);
    Ok(EventFilter { from_ms, to_ms, ..EventFilter::all(kind) })
}

pub(in crate::rest) fn routes() -> OpenApiRouter<Web> {
    OpenApiRouter::new()
        .routes(routes!(of_a_type))
        .routes(routes!(life_cycle, filtered))
        .routes(routes!(clear))
        .routes(routes!(debug_in))
}

async fn page(
    web: &Web,
    Signed(caller): Signed,
    (entity_type, id): (&str, Uuid),
    filter: &EventFilter,
    params: &Params,
) -> Result<Json<PageShape<EventShape>>, Error> {
    own_tenant(caller.tenant, params)?;
    let found = web.app.events(&caller, (entity_type, id), filter, &params.page()?).await?;
    Ok(Json(PageShape::of(found, Into::into)))
}

/// ThingsBoard's clients say whose events they want.
fn own_tenant(own: Option<Uuid>, params: &Params) -> Result<(), Error> {
    match params.id("tenantId")? {
        Some(tenant) if Some(tenant) != own => Err(Error::Forbidden),
        _ => Ok(()),
    }
}

/// A page of the events of an entity: `DEBUG_RULE_NODE` of a `RULE_NODE`, `ERROR` and `LC_EVENT` of a `RULE_CHAIN`. There are none of
/// others. They lie in the memory of the data planes, the newest 4 MiB of each shard.
#[utoipa::path(get, path = "/api/events/{entityType}/{entityId}/{eventType}", operation_id = "getEventsByType", tag = "event",
    params(("entityType" = String, Path, example = "RULE_NODE"), ("entityId" = Uuid, Path),
        ("eventType" = String, Path, example = "DEBUG_RULE_NODE"), Paging, EventParams),
    responses((status = 200, body = PageShape<EventShape>)))]
async fn of_a_type(
    State(web): State<Web>,
    signed: Signed,
    Segment((entity_type, id, kind)): Segment<(String, Uuid, String)>,
    params: Params,
) -> Result<Json<PageShape<EventShape>>, Error> {
    let filter = of_type(EventKind::parse(&kind)?, &params)?;
    page(&web, signed, (&entity_type, id), &filter, &params).await
}

/// A page of the life cycle events of an entity: of a rule chain, the instances that refused it since the control plane started.
#[utoipa::path(get, path = "/api/events/{entityType}/{entityId}", operation_id = "getEvents", tag = "event",
    params(("entityType" = String, Path, example = "RULE_CHAIN"), ("entityId" = Uuid, Path), Paging, EventParams),
    responses((status = 200, body = PageShape<EventShape>)))]
async fn life_cycle(
    State(web): State<Web>,
    signed: Signed,
    Segment((entity_type, id)): Segment<(String, Uuid)>,
    params: Params,
) -> Result<Json<PageShape<EventShape>>, Error> {
    let filter = of_type(EventKind::LifeCycle, &params)?;
    page(&web, signed, (&entity_type, id), &filter, &params).await
}

/// A page of the events of an entity that a filter takes.
#[utoipa::path(post, path = "/api/events/{entityType}/{entityId}", operation_id = "getEventsByFilter", tag = "event",
    params(("entityType" = String, Path, example = "RULE_NODE"), ("entityId" = Uuid, Path), Paging, EventParams),
    request_body = FilterForm, responses((status = 200, body = PageShape<EventShape>)))]
async fn filtered(
    State(web): State<Web>,
    signed: Signed,
    Segment((entity_type, id)): Segment<(String, Uuid)>,
    params: Params,
    Body(form): Body<FilterForm>,
) -> Result<Json<PageShape<EventShape>>, Error> {
    let filter = form.filter(&params)?;
    page(&web, signed, (&entity_type, id), &filter, &params).await
}

/// Forget the events of an entity that a filter takes.
#[utoipa::path(post, path = "/api/events/{entityType}/{entityId}/clear", operation_id = "clearEvents", tag = "event",
    params(("entityType" = String, Path, example = "RULE_NODE"), ("entityId" = Uuid, Path), EventParams),
    request_body = FilterForm, responses((status = 200, description = "forgotten")))]
async fn clear(
    State(web): State<Web>,
    Signed(caller): Signed,
    Segment((entity_type, id)): Segment<(String, Uuid)>,
    params: Params,
    Body(form): Body<FilterForm>,
) -> Result<(), Error> {
    own_tenant(caller.tenant, &params)?;
    web.app.clear_events(&caller, (&entity_type, id), &form.filter(&params)?).await
}

/// The newest message that came to a node, as the body of its event; `null` if none was seen.
#[utoipa::path(get, path = "/api/ruleNode/{id}/debugIn", operation_id = "getLatestRuleNodeDebugInput", tag = "rule chain",
    params(("id" = Uuid, Path)), responses((status = 200, body = Value)))]
async fn debug_in(State(web): State<Web>, Signed(caller): Signed, Segment(id): Segment<Uuid>) -> Result<Json<Value>, Error> {
    let mut filter = EventFilter::all(EventKind::NodeDebug);
    filter.are = vec![("type", "IN".to_owned())];
    let newest = web.app.events(&caller, ("RULE_NODE", id), &filter, &PageLink::new(1, 0)?).await?.data.pop();
    Ok(Json(newest.map_or(Value::Null, |event| Value::Object(event.body))))
}
