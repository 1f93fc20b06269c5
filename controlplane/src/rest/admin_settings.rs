//! Admin settings over HTTP: shapes and handlers. Who may is decided by the application.

use axum::{Json, extract::State};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use utoipa::ToSchema;
use utoipa_axum::{router::OpenApiRouter, routes};

use crate::{
    app::Written,
    error::Error,
    rest::{
        Web,
        answer::Applied,
        extract::{Body, Segment, Signed},
    },
};

const MAIL: &str = "mail";

/// ThingsBoard's AdminSettings. There is one key, `mail`: `mailFrom`, `smtpProtocol` (smtp or smtps), `smtpHost`, `smtpPort`, `timeout`
/// (ms), `enableTls`, `username`, `password`.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = AdminSettings)]
pub(in crate::rest) struct AdminSettingsShape {
    #[schema(example = "mail")]
    key: String,
    /// Never shows a password; without one that of the same account stays.
    #[schema(value_type = Object)]
    json_value: Map<String, Value>,
}

pub(in crate::rest) fn routes() -> OpenApiRouter<Web> {
    OpenApiRouter::new().routes(routes!(save)).routes(routes!(read))
}

fn known(key: &str) -> Result<(), Error> {
    if key == MAIL { Ok(()) } else { Err(Error::Missing(format!("There are no settings \"{key}\": expected {MAIL}"))) }
}

/// Read the admin settings of a key (system administrator).
#[utoipa::path(get, path = "/api/admin/settings/{key}", operation_id = "getAdminSettings", tag = "admin",
    params(("key" = String, Path)), responses((status = 200, body = AdminSettingsShape)))]
async fn read(
    State(web): State<Web>,
    Signed(caller): Signed,
    Segment(key): Segment<String>,
) -> Result<Json<AdminSettingsShape>, Error> {
    known(&key)?;
    let settings = web.app.mail_settings(&caller).await?;
    let json_value = settings.ok_or_else(|| Error::Missing("Nobody has set a mail server".to_owned()))?;
    Ok(Json(AdminSettingsShape { key, json_value }))
}

/// Replace the admin settings of a key (system administrator). Rule nodes that use the system's mail server use this one at once.
#[utoipa::path(post, path = "/api/admin/settings", operation_id = "saveAdminSettings", tag = "admin",
    request_body = AdminSettingsShape, responses((status = 200, body = AdminSettingsShape)))]
async fn save(
    State(web): State<Web>,
    Signed(caller): Signed,
    Body(AdminSettingsShape { key, json_value }): Body<AdminSettingsShape>,
) -> Result<Applied<AdminSettingsShape>, Error> {
    known(&key)?;
    let Written { value, applied } = web.app.save_mail_settings(&caller, json_value).await?;
    Ok(Applied::of(Written { value: AdminSettingsShape { key, json_value: value }, applied }))
}
