//! Calls of rule nodes to the outside that were given up, over HTTP: listed, shown, made once more, deleted. ThingsBoard has no such
//! paths.

use std::collections::BTreeMap;

use axum::{Json, extract::State};
use serde::Serialize;
use serde_json::Value;
use utoipa::ToSchema;
use utoipa_axum::{router::OpenApiRouter, routes};
use uuid::Uuid;

use crate::{
    domain::{DeadLetter, DeadLetterFilter, DeadLetterId, DeadLettersEnded, EntityKind, Invalid},
    error::Error,
    rest::{
        Web,
        answer::Paging,
        extract::{Params, Segment, Signed},
        shape::{IdShape, PageShape},
    },
};

/// A call that was given up.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = DeadLetter)]
pub(in crate::rest) struct DeadLetterShape {
    /// The idempotency key that its target was shown.
    #[schema(example = "784f394c42b6435a983b7beff2784ff9-10000000a")]
    id: String,
    /// When it was given up, in milliseconds since the Unix epoch.
    created_time: i64,
    /// The id of the entity whose message it is.
    originator_id: Uuid,
    rule_chain_id: IdShape,
    /// The node that called.
    rule_node_id: IdShape,
    /// Why.
    error: String,
    #[schema(example = "POST_TELEMETRY_REQUEST")]
    msg_type: String,
    /// When the message came, or was last made to go out once more, in milliseconds since the Unix epoch.
    msg_time: i64,
    /// The message's; absent in lists.
    metadata: Option<BTreeMap<String, String>>,
    /// The message's; absent in lists.
    data: Option<Value>,
}

impl DeadLetterShape {
    fn listed(letter: DeadLetter) -> Self {
        let node = IdShape { entity_type: "RULE_NODE".to_owned(), id: letter.node };
        Self {
            id: letter.id.to_string(),
            created_time: letter.given_up_ms,
            originator_id: letter.id.originator,
            rule_chain_id: IdShape::new(EntityKind::RuleChain, letter.chain),
            rule_node_id: node,
            error: letter.reason,
            msg_type: letter.kind,
            msg_time: letter.taken_ms,
            metadata: None,
            data: None,
        }
    }

    fn whole(mut letter: DeadLetter) -> Self {
        let metadata = Some(std::mem::take(&mut letter.metadata));
        let data = Some(serde_json::from_str(&letter.data).unwrap_or(Value::Null));
        Self { metadata, data, ..Self::listed(letter) }
    }
}

/// What became of calls that were to be made once more, or deleted.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = DeadLettersEnded)]
pub(in crate::rest) struct EndedShape {
    /// How many are no dead letters any more.
    count: u64,
    /// Some are left, because the outbox is full or they are many: ask again.
    left: bool,
}

impl From<DeadLettersEnded> for EndedShape {
    fn from(DeadLettersEnded { ended, left }: DeadLettersEnded) -> Self {
        Self { count: ended, left }
    }
}

pub(in crate::rest) fn routes() -> OpenApiRouter<Web> {
    OpenApiRouter::new()
        .routes(routes!(list, delete_all))
        .routes(routes!(revive_all))
        .routes(routes!(read, delete))
        .routes(routes!(revive))
}

fn filter(params: &Params) -> Result<DeadLetterFilter, Invalid> {
    Ok(DeadLetterFilter { originator: params.id("originatorId")?, chain: params.id("ruleChainId")?, number: None })
}

/// The tenant's calls to the outside that were given up, the last one first. Tidegate's own, as everything here.
#[utoipa::path(get, path = "/api/tidegate/deadLetters", operation_id = "getDeadLetters", tag = "dead letter",
    params(Paging,
        ("originatorId" = Option<Uuid>, Query, description = "Only those of this entity's messages"),
        ("ruleChainId" = Option<Uuid>, Query, description = "Only those of this chain's nodes")),
    responses((status = 200, body = PageShape<DeadLetterShape>)))]
async fn list(State(web): State<Web>, Signed(caller): Signed, params: Params) -> Result<Json<PageShape<DeadLetterShape>>, Error> {
    let page = web.app.dead_letters(&caller, filter(&params)?, &params.page()?).await?;
    Ok(Json(PageShape::of(page, DeadLetterShape::listed)))
}

/// One of them, with its message.
#[utoipa::path(get, path = "/api/tidegate/deadLetters/{id}", operation_id = "getDeadLetter", tag = "dead letter",
    params(("id" = String, Path)), responses((status = 200, body = DeadLetterShape)))]
async fn read(
    State(web): State<Web>,
    Signed(caller): Signed,
    Segment(id): Segment<String>,
) -> Result<Json<DeadLetterShape>, Error> {
    Ok(Json(DeadLetterShape::whole(web.app.dead_letter(&caller, DeadLetterId::parse(&id)?).await?)))
}

/// Make one of these calls once more, under the same key. Answered when that is stored.
#[utoipa::path(post, path = "/api/tidegate/deadLetters/{id}/redrive", operation_id = "redriveDeadLetter", tag = "dead letter",
    params(("id" = String, Path)), responses((status = 200, body = EndedShape)))]
async fn revive(State(web): State<Web>, Signed(caller): Signed, Segment(id): Segment<String>) -> Result<Json<EndedShape>, Error> {
    Ok(Json(web.app.end_dead_letters(&caller, DeadLetterId::parse(&id)?.into(), true).await?.into()))
}

/// Make all of these calls once more.
#[utoipa::path(post, path = "/api/tidegate/deadLetters/redrive", operation_id = "redriveDeadLetters", tag = "dead letter",
    params(
        ("originatorId" = Option<Uuid>, Query, description = "Only those of this entity's messages"),
        ("ruleChainId" = Option<Uuid>, Query, description = "Only those of this chain's nodes")),
    responses((status = 200, body = EndedShape)))]
async fn revive_all(State(web): State<Web>, Signed(caller): Signed, params: Params) -> Result<Json<EndedShape>, Error> {
    Ok(Json(web.app.end_dead_letters(&caller, filter(&params)?, true).await?.into()))
}

/// Forget one of these calls.
#[utoipa::path(delete, path = "/api/tidegate/deadLetters/{id}", operation_id = "deleteDeadLetter", tag = "dead letter",
    params(("id" = String, Path)), responses((status = 200, body = EndedShape)))]
async fn delete(State(web): State<Web>, Signed(caller): Signed, Segment(id): Segment<String>) -> Result<Json<EndedShape>, Error> {
    Ok(Json(web.app.end_dead_letters(&caller, DeadLetterId::parse(&id)?.into(), false).await?.into()))
}

/// Forget all of these calls.
#[utoipa::path(delete, path = "/api/tidegate/deadLetters", operation_id = "deleteDeadLetters", tag = "dead letter",
    params(
        ("originatorId" = Option<Uuid>, Query, description = "Only those of this entity's messages"),
        ("ruleChainId" = Option<Uuid>, Query, description = "Only those of this chain's nodes")),
    responses((status = 200, body = EndedShape)))]
async fn delete_all(State(web): State<Web>, Signed(caller): Signed, params: Params) -> Result<Json<EndedShape>, Error> {
    Ok(Json(web.app.end_dead_letters(&caller, filter(&params)?, false).await?.into()))
}
