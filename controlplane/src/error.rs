//! The one error of the application and its one mapping to HTTP: ThingsBoard's body with `status`, `message`, `errorCode`
//! and `timestamp`. Detail of an internal failure is logged, never sent. Also why the control plane cannot start.

use std::{io, net::SocketAddr, path::PathBuf};

use axum::{
    Json,
    http::{HeaderValue, StatusCode, header::RETRY_AFTER},
    response::{IntoResponse, Response},
};
use serde_json::json;
use uuid::Uuid;

use crate::{
    clock,
    domain::{EntityKind, Invalid},
    entity::StoreError,
    telemetry::Unanswered,
};

/// When to try again what found a device's queue full.
const FULL_RETRY_S: u64 = 5;

/// Why a request was not done.
#[expect(clippy::error_impl_error, reason = "it is the application's one error: `error::Error` says it all")]
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error(transparent)]
    Invalid(#[from] Invalid),
    /// Well-formed, but not possible in the present state, e.g. deleting the root chain.
    #[error("{0}")]
    Refused(String),
    /// A name, e-mail address or token that is taken.
    #[error("{} with such {field} already exists!", kind.noun())]
    Duplicate { kind: EntityKind, field: &'static str },
    /// Its tenant may have no more of them.
    #[error("{}s limit reached", .0.noun())]
    LimitReached(EntityKind),
    #[error("Authentication failed: {0}")]
    Unauthenticated(&'static str),
    #[error("Token has expired")]
    Expired,
    #[error("You don't have permission to perform this operation!")]
    Forbidden,
    #[error("{} with id [{id}] is not found", kind.noun())]
    NotFound { kind: EntityKind, id: Uuid },
    /// Something asked for by name or key.
    #[error("{0}")]
    Missing(String),
    #[error("{} was changed by someone else: version {sent} was sent, {stored} is stored", kind.noun())]
    Conflict { kind: EntityKind, sent: i64, stored: i64 },
    /// What was sent, or would have to be read, is more than may be.
    #[error("{0}")]
    TooLarge(String),
    #[error("Too many requests, try again in {retry_after_s} s")]
    TooMany { retry_after_s: u64 },
    /// No data plane can answer, or it refused for now.
    #[error("{0}")]
    Unavailable(String),
    #[error("Internal error")]
    Internal(String),
}

impl Error {
    #[must_use]
    pub fn not_found(kind: EntityKind, id: Uuid) -> Self {
        Self::NotFound { kind, id }
    }

    #[must_use]
    pub fn status(&self) -> StatusCode {
        match self {
            Self::Invalid(_) | Self::Refused(_) | Self::Duplicate { .. } => StatusCode::BAD_REQUEST,
            Self::Unauthenticated(_) | Self::Expired => StatusCode::UNAUTHORIZED,
            Self::Forbidden | Self::LimitReached(_) => StatusCode::FORBIDDEN,
            Self::NotFound { .. } | Self::Missing(_) => StatusCode::NOT_FOUND,
            Self::Conflict { .. } => StatusCode::CONFLICT,
            Self::TooLarge(_) => StatusCode::PAYLOAD_TOO_LARGE,
            Self::TooMany { .. } => StatusCode::TOO_MANY_REQUESTS,
            Self::Unavailable(_) => StatusCode::SERVICE_UNAVAILABLE,
            Self::Internal(_) => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }

    /// ThingsBoard's `errorCode`.
    #[must_use]
    pub fn code(&self) -> u32 {
        match self {
            Self::Unavailable(_) | Self::Internal(_) => 2,
            Self::Unauthenticated(_) => 10,
            Self::Expired => 11,
            Self::Forbidden => 20,
            Self::Invalid(_) | Self::Refused(_) | Self::Duplicate { .. } | Self::TooLarge(_) => 31,
            Self::NotFound { .. } | Self::Missing(_) => 32,
            Self::TooMany { .. } => 33,
            Self::Conflict { .. } => 35,
            Self::LimitReached(_) => 41,
        }
    }
}

impl From<StoreError> for Error {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::Duplicate { kind, field } => Self::Duplicate { kind, field },
            StoreError::Conflict { kind, sent, stored } => Self::Conflict { kind, sent, stored },
            StoreError::Invalid(invalid) => Self::Invalid(invalid),
            StoreError::Busy => Self::Unavailable("The database is busy, try again".to_owned()),
            other => Self::Internal(other.to_string()),
        }
    }
}

impl From<Unanswered> for Error {
    fn from(error: Unanswered) -> Self {
        match error {
            Unanswered::Invalid(said) => Self::Refused(said),
            Unanswered::TooLarge(_) => Self::Refused(error.to_string()),
            Unanswered::Full(_) => Self::TooMany { retry_after_s: FULL_RETRY_S },
            Unanswered::NoInstance | Unanswered::Unavailable(_) => Self::Unavailable(error.to_string()),
            Unanswered::Refused(_) => Self::Internal(error.to_string()),
        }
    }
}

/// Why the control plane cannot start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    #[error("{what}: {}: {source}", path.display())]
    File { what: &'static str, path: PathBuf, source: io::Error },
    #[error("{what}: cannot listen on {address}: {source}")]
    Listen { what: &'static str, address: SocketAddr, source: io::Error },
    #[error(
        "grpc.listen: {0} is not a loopback address, so the join token would cross the network in clear: set grpc.tls_cert and \
             grpc.tls_key"
    )]
    Insecure(SocketAddr),
    #[error("grpc: {0}")]
    Grpc(String),
    #[error("entity store: {0}")]
    Store(#[from] StoreError),
    #[error("--demo: this database was started without it; the demo's well-known passwords are only given to a new database")]
    DemoRefused,
    #[error("seeding the database: {0}")]
    Seed(#[from] Error),
}

impl IntoResponse for Error {
    fn into_response(self) -> Response {
        if let Self::Internal(detail) = &self {
            tracing::error!(detail, "a request failed");
        }
        let status = self.status();
        let body = json!({
            "status": status.as_u16(),
            "message": self.to_string(),
            "errorCode": self.code(),
            "timestamp": clock::now_ms(),
        });
        let mut response = (status, Json(body)).into_response();
        if let Self::TooMany { retry_after_s } = self {
            response.headers_mut().insert(RETRY_AFTER, HeaderValue::from(retry_after_s));
        }
        response
    }
}
