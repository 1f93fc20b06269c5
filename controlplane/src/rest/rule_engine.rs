//! Requests that a rule chain answers, over HTTP (ThingsBoard's rule engine API). What they say and who may is the application's.

use axum::{
    extract::State,
    http::{StatusCode, header::CONTENT_TYPE},
    response::{IntoResponse, Response},
};
use utoipa_axum::{router::OpenApiRouter, routes};
use uuid::Uuid;

use crate::{
    access::Caller,
    error::Error,
    rest::{
        Web,
        extract::{Raw, Segment, Signed, refuse},
    },
};

pub(in crate::rest) fn routes() -> OpenApiRouter<Web> {
    OpenApiRouter::new()
        .routes(routes!(of_caller))
        .routes(routes!(of_entity))
        .routes(routes!(of_entity_in_time))
        .routes(routes!(of_entity_in_queue))
}

async fn ask(
    web: &Web,
    caller: &Caller,
    (originator, timeout_ms): (Option<(&str, Uuid)>, Option<i64>),
    body: Vec<u8>,
) -> Result<Response, Error> {
    Ok(match web.app.ask_chain(caller, originator, timeout_ms, body).await? {
        Some(text) => ([(CONTENT_TYPE, "application/json")], text).into_response(),
        None => refuse(StatusCode::REQUEST_TIMEOUT, "No rule node answered in time".to_owned()),
    })
}

/// Has the caller's own message enter its rule chain; the answer of a node "rest call reply" is the body. 408 when none came within 10 s.
#[utoipa::path(post, path = "/api/rule-engine/", operation_id = "handleRuleEngineRequestForUser", tag = "rule engine",
    request_body = serde_json::Value, responses((status = 200, description = "the answer", body = serde_json::Value)))]
async fn of_caller(State(web): State<Web>, Signed(caller): Signed, Raw(body): Raw) -> Result<Response, Error> {
    ask(&web, &caller, (None, None), body).await
}

/// The same in the name of an entity.
#[utoipa::path(post, path = "/api/rule-engine/{entityType}/{entityId}", operation_id = "handleRuleEngineRequestForEntity",
    tag = "rule engine", params(("entityType" = String, Path, example = "DEVICE"), ("entityId" = Uuid, Path)),
    request_body = serde_json::Value, responses((status = 200, description = "the answer", body = serde_json::Value)))]
async fn of_entity(
    State(web): State<Web>,
    Signed(caller): Signed,
    Segment((kind, id)): Segment<(String, Uuid)>,
    Raw(body): Raw,
) -> Result<Response, Error> {
    ask(&web, &caller, (Some((&kind, id)), None), body).await
}

/// The same within another time, in milliseconds, at most 300000.
#[utoipa::path(post, path = "/api/rule-engine/{entityType}/{entityId}/{timeout}",
    operation_id = "handleRuleEngineRequestForEntityWithTimeout", tag = "rule engine",
    params(("entityType" = String, Path, example = "DEVICE"), ("entityId" = Uuid, Path), ("timeout" = i64, Path)),
    request_body = serde_json::Value, responses((status = 200, description = "the answer", body = serde_json::Value)))]
async fn of_entity_in_time(
    State(web): State<Web>,
    Signed(caller): Signed,
    Segment((kind, id, timeout_ms)): Segment<(String, Uuid, i64)>,
    Raw(body): Raw,
) -> Result<Response, Error> {
    ask(&web, &caller, (Some((&kind, id)), Some(timeout_ms)), body).await
}

/// The same; there are no queues here, so that it does not matter which is named.
#[utoipa::path(post, path = "/api/rule-engine/{entityType}/{entityId}/{queueName}/{timeout}",
    operation_id = "handleRuleEngineRequestForEntityWithQueueAndTimeout", tag = "rule engine",
    params(("entityType" = String, Path, example = "DEVICE"), ("entityId" = Uuid, Path),
        ("queueName" = String, Path, example = "Main"), ("timeout" = i64, Path)),
    request_body = serde_json::Value, responses((status = 200, description = "the answer", body = serde_json::Value)))]
async fn of_entity_in_queue(
    State(web): State<Web>,
    Signed(caller): Signed,
    Segment((kind, id, _queue, timeout_ms)): Segment<(String, Uuid, String, i64)>,
    Raw(body): Raw,
) -> Result<Response, Error> {
    ask(&web, &caller, (Some((&kind, id)), Some(timeout_ms)), body).await
}
