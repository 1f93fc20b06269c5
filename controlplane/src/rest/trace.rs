//! One message on its way through chains, over HTTP. ThingsBoard has no such paths.

use axum::{Json, extract::State};
use serde::Serialize;
use utoipa::ToSchema;
use utoipa_axum::{router::OpenApiRouter, routes};
use uuid::Uuid;

use crate::{
    domain::TracedStep,
    error::Error,
    rest::{
        Web,
        extract::{Params, Segment, Signed},
        shape::IdShape,
    },
};

const SECONDS: u32 = 60;

/// A message that is waited for.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = Trace)]
pub(in crate::rest) struct TraceShape {
    /// By which the message is known, also in debug events (`msgId`).
    id: Uuid,
    /// Until when it is waited for, in milliseconds since the Unix epoch.
    until: i64,
}

/// The message at a node. Texts have at most 4,096 characters.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = TraceStep)]
pub(in crate::rest) struct StepShape {
    /// Milliseconds since the Unix epoch.
    ts: i64,
    /// The instance's id.
    server: String,
    rule_node_id: IdShape,
    rule_node_name: String,
    /// `IN` or `OUT`.
    #[schema(example = "OUT")]
    r#type: &'static str,
    /// The label by which it came or left; absent where it entered a chain.
    #[schema(example = "Success")]
    relation_type: Option<String>,
    entity_id: IdShape,
    #[schema(example = "POST_TELEMETRY_REQUEST")]
    msg_type: String,
    /// JSON.
    data: String,
    /// JSON.
    metadata: String,
    /// Why the node failed; absent if it did not.
    error: Option<String>,
}

impl From<TracedStep> for StepShape {
    fn from(step: TracedStep) -> Self {
        let ((node, name), (entity_type, entity)) = (step.node, step.originator);
        Self {
            ts: step.at_ms,
            server: step.server,
            rule_node_id: IdShape { entity_type: "RULE_NODE".to_owned(), id: node },
            rule_node_name: name,
            r#type: if step.left { "OUT" } else { "IN" },
            relation_type: step.label,
            entity_id: IdShape { entity_type, id: entity },
            msg_type: step.msg_type,
            data: step.data,
            metadata: step.metadata,
            error: step.error,
        }
    }
}

pub(in crate::rest) fn routes() -> OpenApiRouter<Web> {
    OpenApiRouter::new().routes(routes!(begin)).routes(routes!(read))
}

/// Look at the next message of an entity at every node that it comes to, whatever their debug settings say, also behind a wait, a call
/// to the outside or a change of its originator. It counts as what debugging may show in an hour.
#[utoipa::path(post, path = "/api/tidegate/trace/{entityType}/{entityId}", operation_id = "traceNextMessage", tag = "rule chain",
    params(("entityType" = String, Path, example = "DEVICE"), ("entityId" = Uuid, Path),
        ("msgType" = Option<String>, Query, description = "Only a message of this type", example = "POST_TELEMETRY_REQUEST"),
        ("seconds" = Option<u32>, Query, description = "How long it is waited for, 900 at most", example = 60)),
    responses((status = 200, body = TraceShape)))]
async fn begin(
    State(web): State<Web>,
    Signed(caller): Signed,
    Segment((entity_type, id)): Segment<(String, Uuid)>,
    params: Params,
) -> Result<Json<TraceShape>, Error> {
    let seconds = params.read("seconds", "must be 1 to 900")?.unwrap_or(SECONDS);
    let msg_type = params.text("msgType").filter(|msg_type| !msg_type.is_empty());
    let (id, until) = web.app.trace(&caller, (&entity_type, id), msg_type, seconds).await?;
    Ok(Json(TraceShape { id, until }))
}

/// What was seen of that message, or of one whose `msgId` debug events say, in the order of time: nothing if it did not come yet, or is
/// forgotten.
#[utoipa::path(get, path = "/api/tidegate/trace/{id}", operation_id = "getTrace", tag = "rule chain",
    params(("id" = Uuid, Path)), responses((status = 200, body = Vec<StepShape>)))]
async fn read(State(web): State<Web>, Signed(caller): Signed, Segment(id): Segment<Uuid>) -> Result<Json<Vec<StepShape>>, Error> {
    Ok(Json(web.app.traced(&caller, id).await?.into_iter().map(Into::into).collect()))
}
