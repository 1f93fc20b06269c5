//! Claiming devices over HTTP, with ThingsBoard's answers: what could not be claimed is one word of JSON, not the error body.

use axum::{
    Json,
    extract::State,
    http::StatusCode,
    response::{IntoResponse, Response},
};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa_axum::{router::OpenApiRouter, routes};

use crate::{
    app::{Claimed, Written},
    error::Error,
    rest::{
        Web,
        answer::Applied,
        device::DeviceShape,
        extract::{Peer, Raw, Segment, Signed},
    },
};

/// What proves that one may have the device.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = ClaimRequest)]
pub(in crate::rest) struct ClaimForm {
    /// As the device said it; empty if it said none.
    secret_key: Option<String>,
}

/// A device that was claimed.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = ClaimResult)]
pub(in crate::rest) struct ClaimShape {
    device: DeviceShape,
    #[schema(example = "SUCCESS")]
    response: &'static str,
}

impl From<crate::domain::Device> for ClaimShape {
    fn from(device: crate::domain::Device) -> Self {
        Self { device: device.into(), response: "SUCCESS" }
    }
}

pub(in crate::rest) fn routes() -> OpenApiRouter<Web> {
    OpenApiRouter::new().routes(routes!(claim, reclaim))
}

/// Take a device for one's customer: 400 with `"CLAIMED"` if it has one already, with `"FAILURE"` if it may not be had.
#[utoipa::path(post, path = "/api/customer/device/{deviceName}/claim", operation_id = "claimDevice", tag = "device",
    params(("deviceName" = String, Path)), request_body = Option<ClaimForm>,
    responses((status = 200, body = ClaimShape), (status = 400, body = String, description = "`CLAIMED` or `FAILURE`")))]
async fn claim(
    State(web): State<Web>,
    Signed(caller): Signed,
    Peer(address): Peer,
    Segment(name): Segment<String>,
    Raw(body): Raw,
) -> Result<Response, Error> {
    let form: Option<ClaimForm> = match body.as_slice() {
        [] => None,
        body => serde_json::from_slice(body).map_err(|error| Error::Refused(format!("request body: {error}")))?,
    };
    let secret = form.unwrap_or_default().secret_key.unwrap_or_default();
    let Written { value, applied } = web.app.claim_device(&caller, &name, &secret, address).await?;
    Ok(match value {
        Claimed::Success(device) => Applied::<ClaimShape>::of(Written { value: *device, applied }).into_response(),
        Claimed::Already => (StatusCode::BAD_REQUEST, Json("CLAIMED")).into_response(),
        Claimed::Failure => (StatusCode::BAD_REQUEST, Json("FAILURE")).into_response(),
    })
}

/// Give a device back: it has no customer then and may be claimed anew.
#[utoipa::path(delete, path = "/api/customer/device/{deviceName}/claim", operation_id = "reClaimDevice", tag = "device",
    params(("deviceName" = String, Path)), responses((status = 200, description = "given back")))]
async fn reclaim(State(web): State<Web>, Signed(caller): Signed, Segment(name): Segment<String>) -> Result<Applied<()>, Error> {
    Ok(Applied::of(web.app.reclaim_device(&caller, &name).await?))
}
