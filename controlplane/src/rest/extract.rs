//! What handlers are given: who calls, the query string, path segments, the JSON body. Every refusal has the error body; axum's
//! own plain-text rejections never leave. Never asks the entity store.

use std::{
    convert::Infallible,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    str::FromStr,
};

use axum::{
    Json,
    body::Bytes,
    extract::{ConnectInfo, FromRequest, FromRequestParts, Path, Query, Request, rejection::BytesRejection},
    http::{HeaderMap, StatusCode, header::AUTHORIZATION, request::Parts},
    response::{IntoResponse, Response},
};
use serde::de::DeserializeOwned;
use uuid::Uuid;

use crate::{
    access::Caller,
    clock,
    domain::{Invalid, PageLink},
    error::Error,
    rest::{Web, shape::ErrorShape},
};

const PAGE_ROWS_DEFAULT: u64 = 10;

/// Who calls, by the bearer token of `X-Authorization` or `Authorization`. First argument of every handler that needs it,
/// so that nothing else of a request is looked at before.
#[derive(Debug)]
pub(in crate::rest) struct Signed(pub(in crate::rest) Caller);

impl FromRequestParts<Web> for Signed {
    type Rejection = Error;

    async fn from_request_parts(parts: &mut Parts, web: &Web) -> Result<Self, Error> {
        let token = bearer(&parts.headers).ok_or(Error::Unauthenticated("no bearer token"))?;
        web.app.caller(token).await.map(Self)
    }
}

pub(crate) fn bearer(headers: &HeaderMap) -> Option<&str> {
    let value = headers.get("x-authorization").or_else(|| headers.get(AUTHORIZATION))?.to_str().ok()?;
    let (scheme, token) = value.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
}

/// The peer's address, by which logins are throttled; unspecified when the server was started without it.
#[derive(Debug)]
pub(in crate::rest) struct Peer(pub(in crate::rest) IpAddr);

impl<S: Send + Sync> FromRequestParts<S> for Peer {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Infallible> {
        let address = parts.extensions.get::<ConnectInfo<SocketAddr>>().map(|info| info.0.ip());
        Ok(Self(address.unwrap_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED))))
    }
}

/// The query string. An empty parameter counts as absent.
#[derive(Debug)]
pub(in crate::rest) struct Params(Vec<(String, String)>);

impl<S: Send + Sync> FromRequestParts<S> for Params {
    type Rejection = Error;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Error> {
        let Query(pairs) = Query::<Vec<(String, String)>>::from_request_parts(parts, state)
            .await
            .map_err(|rejection| Error::Refused(rejection.body_text()))?;
        Ok(Self(pairs))
    }
}

impl Params {
    #[cfg(test)]
    pub(in crate::rest) fn of(pairs: &[(&str, &str)]) -> Self {
        Self(pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect())
    }

    pub(in crate::rest) fn text(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(known, value)| known == name && !value.is_empty()).map(|(_, value)| value.as_str())
    }

    /// Every value of a parameter that may be repeated.
    pub(in crate::rest) fn all(&self, name: &str) -> Vec<String> {
        self.0.iter().filter(|(known, value)| known == name && !value.is_empty()).map(|(_, value)| value.clone()).collect()
    }

    /// The parameter read as `T`; `rule` is what it must be.
    pub(in crate::rest) fn read<T: FromStr>(&self, name: &'static str, rule: &str) -> Result<Option<T>, Invalid> {
        self.text(name).map(|value| value.parse().map_err(|_| Invalid::new(name, value, rule))).transpose()
    }

    pub(in crate::rest) fn flag(&self, name: &'static str) -> Result<Option<bool>, Invalid> {
        self.read(name, "must be true or false")
    }

    pub(in crate::rest) fn id(&self, name: &'static str) -> Result<Option<Uuid>, Invalid> {
        self.read(name, "must be a UUID")
    }

    /// `a,b` as a list.
    pub(in crate::rest) fn list(&self, name: &str) -> Vec<String> {
        self.all(name)
            .iter()
            .flat_map(|value| value.split(','))
            .map(str::trim)
            .filter(|part| !part.is_empty())
            .map(str::to_owned)
            .collect()
    }

    /// ThingsBoard's paging parameters.
    pub(in crate::rest) fn page(&self) -> Result<PageLink, Invalid> {
        let size = self.read("pageSize", "must be a number from 1 to 1000")?.unwrap_or(PAGE_ROWS_DEFAULT);
        let page = self.read("page", "must be a number of 0 or more")?.unwrap_or(0);
        PageLink::new(size, page)?.search(self.text("textSearch"))?.sort(self.text("sortProperty"), self.text("sortOrder"))
    }
}

/// The segments of the path.
#[derive(Debug)]
pub(in crate::rest) struct Segment<T>(pub(in crate::rest) T);

impl<S: Send + Sync, T: DeserializeOwned + Send> FromRequestParts<S> for Segment<T> {
    type Rejection = Error;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Error> {
        let Path(value) =
            Path::<T>::from_request_parts(parts, state).await.map_err(|rejection| Error::Refused(rejection.body_text()))?;
        Ok(Self(value))
    }
}

/// The JSON body. Its content type is not looked at: there is no other kind of body.
#[derive(Debug)]
pub(in crate::rest) struct Body<T>(pub(in crate::rest) T);

impl<T: DeserializeOwned> FromRequest<Web> for Body<T> {
    type Rejection = Response;

    async fn from_request(request: Request, web: &Web) -> Result<Self, Response> {
        let Raw(bytes) = Raw::from_request(request, web).await?;
        serde_json::from_slice(&bytes).map(Self).map_err(|error| Error::Refused(format!("request body: {error}")).into_response())
    }
}

/// The body as it came, for payloads only the data plane reads.
#[derive(Debug)]
pub(in crate::rest) struct Raw(pub(in crate::rest) Vec<u8>);

impl FromRequest<Web> for Raw {
    type Rejection = Response;

    async fn from_request(request: Request, web: &Web) -> Result<Self, Response> {
        let bytes = Bytes::from_request(request, web).await.map_err(|rejection: BytesRejection| {
            refuse(rejection.status(), format!("request body: {}", rejection.body_text()))
        })?;
        Ok(Self(bytes.into()))
    }
}

/// A refusal of HTTP itself, which no error of the application stands for.
pub(in crate::rest) fn refuse(status: StatusCode, message: String) -> Response {
    let error_code = if status == StatusCode::NOT_FOUND { 32 } else { 31 };
    let body = ErrorShape { status: status.as_u16(), message, error_code, timestamp: clock::now_ms() };
    (status, Json(body)).into_response()
}
