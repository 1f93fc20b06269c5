//! What handlers answer with, beyond plain JSON: writes that say whether the data planes have them, and what lists are asked
//! with. Never decides a status code of an error.

use axum::{
    Json,
    http::{HeaderName, HeaderValue},
    response::{IntoResponse, Response},
};
use serde::Serialize;
use utoipa::IntoParams;

use crate::app::Written;

/// Says whether every connected data plane had applied the write when it was answered (DESIGN 26).
const APPLIED: HeaderName = HeaderName::from_static("tidegate-applied");

/// A write that the data planes need.
#[derive(Debug)]
pub(in crate::rest) struct Applied<T> {
    body: T,
    applied: bool,
}

impl<T> Applied<T> {
    /// The answer to a write, its value in the shape of the API.
    pub(in crate::rest) fn of<U>(written: Written<U>) -> Self
    where
        T: From<U>,
    {
        Self { body: written.value.into(), applied: written.applied }
    }
}

/// An empty value is ThingsBoard's empty body.
impl<T: Serialize + 'static> IntoResponse for Applied<T> {
    fn into_response(self) -> Response {
        let mut response = if std::any::TypeId::of::<T>() == std::any::TypeId::of::<()>() {
            ().into_response()
        } else {
            Json(self.body).into_response()
        };
        response.headers_mut().insert(APPLIED, HeaderValue::from_static(if self.applied { "true" } else { "false" }));
        response
    }
}

/// How a list is asked for.
#[derive(Debug, IntoParams)]
#[into_params(parameter_in = Query)]
#[expect(dead_code, reason = "the fields exist for the OpenAPI document; `Params::page` reads the query")]
pub(in crate::rest) struct Paging {
    /// Rows of a page, 1 to 1000.
    #[param(rename = "pageSize", required = false, minimum = 1, maximum = 1000, default = 10)]
    page_size: u64,
    /// Number of the page, from 0.
    #[param(required = false, default = 0)]
    page: u64,
    /// Only rows whose name contains this, whatever its case.
    #[param(rename = "textSearch")]
    text_search: Option<String>,
    /// A property of the rows, such as `createdTime` or `name`.
    #[param(rename = "sortProperty")]
    sort_property: Option<String>,
    /// `ASC` or `DESC`.
    #[param(rename = "sortOrder")]
    sort_order: Option<String>,
}
