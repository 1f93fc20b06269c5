//! The HTTP face of the control plane: the full list of routes, the OpenAPI document made from them, and what answers where
//! there is no route. ThingsBoard's paths and shapes (DESIGN 4). Never decides who may: handlers ask the application.

mod admin_settings;
mod alarm;
mod answer;
mod asset;
mod asset_profile;
mod audit;
mod auth;
mod calculated;
mod call;
mod chain;
mod claim;
mod credential;
mod customer;
mod dead_letter;
mod device;
mod event;
mod extract;
mod fleet;
mod forward;
mod import;
mod instance;
mod package;
mod profile;
mod query;
mod record;
mod relation;
mod shape;
mod telemetry;
mod tenant;
mod tenant_profile;
#[cfg(test)]
pub(crate) mod tests;
mod trace;
mod user;

use std::{sync::Arc, time::Duration};

use axum::{
    Router,
    extract::DefaultBodyLimit,
    http::{Method, StatusCode, Uri, header::CONTENT_TYPE},
    response::{Html, IntoResponse, Response},
    routing::get,
};
use utoipa::{
    PartialSchema, ToSchema,
    openapi::{
        Components, ContactBuilder, Content, InfoBuilder, LicenseBuilder, OpenApi, OpenApiBuilder, Ref, RefOr, ResponseBuilder,
        path::{Operation, PathItem},
        security::{Http, HttpAuthScheme, SecurityRequirement, SecurityScheme},
    },
};
use utoipa_axum::router::OpenApiRouter;

use crate::{
    app::App,
    domain::{Device, EntityKind, EntityRef},
    rest::{extract::refuse, shape::ErrorShape},
    ws,
};

/// The largest request body, in bytes.
const BODY_BYTES_MAX: usize = 2 << 20;
/// How long a list waits to learn whether a device is active.
const ACTIVE_TIMEOUT: Duration = Duration::from_secs(1);
const BEARER: &str = "bearer";

/// What every handler is given.
#[derive(Clone, Debug)]
pub(in crate::rest) struct Web {
    pub(in crate::rest) app: Arc<App>,
}

impl Web {
    /// Which of the devices are active, which only their shards know; nobody is when nobody can say.
    async fn active(&self, devices: impl Iterator<Item = &Device>) -> Vec<bool> {
        let entity = |device: &Device| EntityRef { kind: EntityKind::Device, id: device.id, tenant: device.tenant };
        let devices: Vec<EntityRef> = devices.map(entity).collect();
        match tokio::time::timeout(ACTIVE_TIMEOUT, self.app.are_active(&devices)).await {
            Ok(Ok(active)) => active,
            Ok(Err(_)) | Err(_) => vec![false; devices.len()],
        }
    }
}

/// Everything the control plane serves over HTTP. Serve it with connect info (`SocketAddr`), by which logins are throttled.
pub fn router(app: Arc<App>) -> Router {
    let document = document().to_json().unwrap_or_default();
    let openapi = move || {
        let document = document.clone();
        async move { ([(CONTENT_TYPE, "application/json")], document) }
    };
    let (api, _) = routes().split_for_parts();
    api.with_state(Web { app: Arc::clone(&app) })
        .route("/", get(|| async { Html(include_str!("rest/home.html")) }))
        .route("/v3/api-docs", get(openapi.clone()))
        .route("/api/openapi.json", get(openapi))
        .merge(forward::routes(Arc::clone(&app)))
        .merge(ws::routes(app, query::ALARMS))
        .fallback(unknown)
        .method_not_allowed_fallback(wrong_method)
        .layer(DefaultBodyLimit::max(BODY_BYTES_MAX))
}

/// The OpenAPI document of [`router`].
#[must_use]
pub fn document() -> OpenApi {
    let (_, mut document) = routes().split_for_parts();
    let components = document.components.get_or_insert_with(Components::new);
    components.add_security_scheme(BEARER, SecurityScheme::Http(Http::new(HttpAuthScheme::Bearer)));
    components.schemas.insert(ErrorShape::name().into_owned(), ErrorShape::schema());
    for item in document.paths.paths.values_mut() {
        for operation in operations(item) {
            complete(operation);
        }
    }
    document
}

/// What every operation has in common: the error body, and the bearer token unless it says it needs none.
fn complete(operation: &mut Operation) {
    let refusal = ResponseBuilder::new()
        .description("Refused: see `message`")
        .content("application/json", Content::new(Some(RefOr::Ref(Ref::from_schema_name(ErrorShape::name())))))
        .build();
    operation.responses.responses.insert("default".to_owned(), RefOr::T(refusal));
    if operation.security.is_none() {
        operation.security = Some(vec![SecurityRequirement::new(BEARER, Vec::<String>::new())]);
    }
}

fn operations(item: &mut PathItem) -> impl Iterator<Item = &mut Operation> {
    [&mut item.get, &mut item.put, &mut item.post, &mut item.delete, &mut item.patch].into_iter().flatten()
}

fn routes() -> OpenApiRouter<Web> {
    let info = InfoBuilder::new()
        .title("Tidegate")
        .version(env!("CARGO_PKG_VERSION"))
        .description(Some(concat!(
            "ThingsBoard's REST API as far as this version offers it. ",
            "Send the token of `/api/auth/login` as `X-Authorization: Bearer` or `Authorization: Bearer`. ",
            "A write that the data planes need is answered when they have it, or after 2 s with `Tidegate-Applied: false`."
        )))
        .contact(Some(ContactBuilder::new().name(Some("Tidegate")).build()))
        .license(Some(LicenseBuilder::new().name("Apache-2.0").build()))
        .build();
    OpenApiRouter::with_openapi(OpenApiBuilder::new().info(info).build())
        .merge(auth::routes())
        .merge(tenant::routes())
        .merge(tenant_profile::routes())
        .merge(admin_settings::routes())
        .merge(customer::routes())
        .merge(user::routes())
        .merge(device::routes())
        .merge(credential::routes())
        .merge(claim::routes())
        .merge(fleet::routes())
        .merge(import::routes())
        .merge(profile::routes())
        .merge(asset::routes())
        .merge(asset_profile::routes())
        .merge(relation::routes())
        .merge(chain::routes())
        .merge(telemetry::routes())
        .merge(record::routes())
        .merge(alarm::routes())
        .merge(call::routes())
        .merge(dead_letter::routes())
        .merge(trace::routes())
        .merge(calculated::routes())
        .merge(package::routes())
        .merge(audit::routes())
        .merge(event::routes())
        .merge(query::routes())
        .merge(instance::routes())
}

async fn unknown(method: Method, uri: Uri) -> Response {
    refuse(StatusCode::NOT_FOUND, format!("there is no {method} {}", uri.path())).into_response()
}

async fn wrong_method(method: Method, uri: Uri) -> Response {
    refuse(StatusCode::METHOD_NOT_ALLOWED, format!("{} does not take {method}", uri.path())).into_response()
}
