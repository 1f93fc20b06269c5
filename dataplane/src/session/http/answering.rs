//! What became of a request, as HTTP says it. The codes in the body are ThingsBoard's (reference 2.1). Never writes bytes.

use crate::codec::http::{Content, Response, Status};
use crate::limits;
use crate::session::{Downlink, Outcome};

/// The response when a request is settled and not answered.
pub(super) fn of_outcome(outcome: Outcome) -> Response<'static> {
    let (status, message) = match outcome {
        Outcome::Stored => return response(Status::Ok, Content::Empty),
        Outcome::PayloadInvalid => (Status::BadRequest, "the payload is not valid"),
        Outcome::TopicInvalid | Outcome::NotFound => return not_found(),
        // ThingsBoard's answer when a limit of entities is reached.
        Outcome::QuotaExceeded => {
            let content = Content::Failure { message: "a limit of what is kept is reached", error_code: ENTITIES_LIMIT };
            return response(Status::Forbidden, content);
        }
        Outcome::RateExceeded { .. } => (Status::TooManyRequests, "too many requests"),
        Outcome::Unauthorized => (Status::Unauthorized, "no device has this token"),
        Outcome::Forbidden => (Status::Forbidden, "the device may not do this"),
        Outcome::TimedOut => (Status::RequestTimeout, "nothing came in time"),
        Outcome::Unavailable => (Status::ServiceUnavailable, "not now; try again"),
        Outcome::Unspecified => (Status::InternalServerError, "an unexpected error"),
    };
    let retry_after_s = match outcome {
        Outcome::RateExceeded { retry_after_s } => Some(retry_after_s),
        Outcome::Unavailable => Some(limits::RETRY_AFTER_S),
        _ => None,
    };
    Response { retry_after_s, ..failure(status, message) }
}

/// The response that carries what was asked for; `None` for what nobody can ask for over HTTP.
pub(super) fn of_downlink(downlink: Downlink<'_>) -> Option<Response<'_>> {
    match downlink {
        Downlink::AttributesUpdated { json }
        | Downlink::AttributesResponse { json, .. }
        | Downlink::RpcRequest { json, .. }
        | Downlink::RpcResponse { json, .. }
        | Downlink::Provisioned { json } => Some(response(Status::Ok, Content::Json(json))),
        Downlink::Download { length, bytes } => Some(response(Status::Ok, Content::Download { length, bytes })),
        Downlink::Chunk { .. }
        | Downlink::ChunkError { .. }
        | Downlink::GatewayAttributesUpdated { .. }
        | Downlink::GatewayAttributesResponse { .. }
        | Downlink::GatewayRpcRequest { .. }
        | Downlink::GatewayDisconnect { .. } => None,
    }
}

pub(super) fn not_found() -> Response<'static> {
    failure(Status::NotFound, "what was asked for does not exist")
}

pub(super) fn bad_request(message: &str) -> Response<'_> {
    failure(Status::BadRequest, message)
}

/// The target is there and the method is none of its own.
pub(super) fn method_not_allowed(allow: &'static str) -> Response<'static> {
    Response { allow: Some(allow), ..failure(Status::MethodNotAllowed, "the target does not know this method") }
}

/// The answer to OPTIONS.
pub(super) fn options(allow: &'static str) -> Response<'static> {
    Response { allow: Some(allow), ..response(Status::NoContent, Content::Empty) }
}

pub(super) fn upgrade_required() -> Response<'static> {
    failure(Status::UpgradeRequired, "only WebSocket, version 13, is spoken here")
}

pub(super) fn too_slow() -> Response<'static> {
    failure(Status::RequestTimeout, "the request did not arrive in time")
}

fn response(status: Status, content: Content<'_>) -> Response<'_> {
    Response { status, retry_after_s: None, allow: None, content }
}

fn failure(status: Status, message: &str) -> Response<'_> {
    response(status, Content::Failure { message, error_code: error_code(status) })
}

const ENTITIES_LIMIT: u16 = 41;

/// ThingsBoard's error code for a status (reference 2.1).
pub(super) fn error_code(status: Status) -> u16 {
    match status {
        Status::Unauthorized => 10,
        Status::Forbidden => 20,
        Status::BadRequest => 31,
        Status::NotFound => 32,
        Status::TooManyRequests => 33,
        // "general"
        _ => 2,
    }
}
