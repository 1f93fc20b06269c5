//! The data planes over HTTP: who is connected and what each has applied. For system administrators.

use axum::{Json, extract::State};
use serde::Serialize;
use utoipa::ToSchema;
use utoipa_axum::{router::OpenApiRouter, routes};
use uuid::Uuid;

use crate::{
    error::Error,
    feed::{Instance, Refusal},
    rest::{Web, extract::Signed},
};

/// A data plane.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = Instance)]
pub(in crate::rest) struct InstanceShape {
    id: String,
    connected: bool,
    version: String,
    shards: u32,
    /// Where it is asked for attributes and series.
    query_endpoint: String,
    /// Where its devices are served over HTTP; empty: nowhere.
    device_endpoint: String,
    /// The newest configuration revision it runs with.
    applied_revision: u64,
    /// What it refused to apply, and why.
    refused: Vec<RefusalShape>,
}

#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = Refusal)]
pub(in crate::rest) struct RefusalShape {
    revision: u64,
    entity_type: String,
    entity_id: Option<Uuid>,
    reason: String,
}

impl From<Refusal> for RefusalShape {
    fn from(refused: Refusal) -> Self {
        Self {
            revision: refused.revision,
            entity_type: refused.entity_type,
            entity_id: refused.entity_id,
            reason: refused.reason,
        }
    }
}

impl From<Instance> for InstanceShape {
    fn from(instance: Instance) -> Self {
        Self {
            id: instance.instance_id,
            connected: instance.connected,
            version: instance.version,
            shards: instance.shards,
            query_endpoint: instance.query_endpoint,
            device_endpoint: instance.device_endpoint,
            applied_revision: instance.applied_revision,
            refused: instance.refused.into_iter().map(Into::into).collect(),
        }
    }
}

pub(in crate::rest) fn routes() -> OpenApiRouter<Web> {
    OpenApiRouter::new().routes(routes!(list))
}

/// Every data plane seen since start (system administrator).
#[utoipa::path(get, path = "/api/instances", operation_id = "getInstances", tag = "instance",
    responses((status = 200, body = Vec<InstanceShape>)))]
async fn list(State(web): State<Web>, Signed(caller): Signed) -> Result<Json<Vec<InstanceShape>>, Error> {
    Ok(Json(web.app.instances(&caller)?.into_iter().map(Into::into).collect()))
}
