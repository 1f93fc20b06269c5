//! People over HTTP: shapes and handlers. Who may is decided by the application.

use axum::{
    Json,
    extract::State,
    http::{HeaderMap, header::HOST},
};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;
use utoipa_axum::{router::OpenApiRouter, routes};
use uuid::Uuid;

use crate::{
    domain::{Authority, EntityKind, Invalid, User, UserDraft},
    error::Error,
    rest::{
        Web,
        answer::Paging,
        auth::TokenPairShape,
        extract::{Body, Params, Peer, Segment, Signed},
        shape::{IdShape, PageShape, given},
    },
};

/// A person as shown.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = User)]
pub(in crate::rest) struct UserShape {
    id: IdShape,
    /// Milliseconds since the Unix epoch.
    created_time: i64,
    tenant_id: IdShape,
    customer_id: IdShape,
    email: String,
    /// The same as the e-mail address.
    name: String,
    /// `SYS_ADMIN`, `TENANT_ADMIN` or `CUSTOMER_USER`.
    authority: &'static str,
    first_name: Option<String>,
    last_name: Option<String>,
    phone: Option<String>,
    additional_info: Value,
    version: i64,
}

impl From<User> for UserShape {
    fn from(user: User) -> Self {
        Self {
            id: IdShape::new(EntityKind::User, user.id),
            created_time: user.created_ms,
            tenant_id: IdShape::or_null(EntityKind::Tenant, user.tenant),
            customer_id: IdShape::or_null(EntityKind::Customer, user.customer),
            name: user.email.clone(),
            email: user.email,
            authority: user.authority.name(),
            first_name: user.first_name,
            last_name: user.last_name,
            phone: user.phone,
            additional_info: user.additional_info,
            version: user.version,
        }
    }
}

/// A person to create (no id) or replace.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = UserForm)]
pub(in crate::rest) struct UserForm {
    id: Option<IdShape>,
    /// Needed when a system administrator creates a tenant administrator.
    tenant_id: Option<IdShape>,
    /// Needed for a customer user.
    customer_id: Option<IdShape>,
    #[schema(example = "ada@example.org")]
    email: String,
    /// `SYS_ADMIN`, `TENANT_ADMIN` or `CUSTOMER_USER`.
    #[schema(example = "TENANT_ADMIN")]
    authority: String,
    first_name: Option<String>,
    last_name: Option<String>,
    phone: Option<String>,
    #[serde(default)]
    additional_info: Value,
    version: Option<i64>,
}

impl TryFrom<UserForm> for UserDraft {
    type Error = Invalid;

    fn try_from(form: UserForm) -> Result<Self, Invalid> {
        let authority = Authority::parse(&form.authority)
            .ok_or_else(|| Invalid::new("authority", &form.authority, "must be SYS_ADMIN, TENANT_ADMIN or CUSTOMER_USER"))?;
        Ok(Self {
            id: given(form.id),
            version: form.version,
            tenant: given(form.tenant_id),
            customer: given(form.customer_id),
            email: form.email,
            authority,
            first_name: form.first_name,
            last_name: form.last_name,
            phone: form.phone,
            additional_info: form.additional_info,
        })
    }
}

/// What sets the first password.
#[derive(Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = ActivateUserRequest)]
pub(in crate::rest) struct ActivationForm {
    /// The token of the activation link.
    activate_token: String,
    password: String,
}

pub(in crate::rest) fn routes() -> OpenApiRouter<Web> {
    OpenApiRouter::new()
        .routes(routes!(save))
        .routes(routes!(read, delete))
        .routes(routes!(activation_link))
        .routes(routes!(list))
        .routes(routes!(of_tenant))
        .routes(routes!(of_customer))
        .routes(routes!(enable))
        .routes(routes!(activate))
}

/// Create or update a user. No mail is sent: see the activation link.
#[utoipa::path(post, path = "/api/user", operation_id = "saveUser", tag = "user",
    params(("sendActivationMail" = Option<bool>, Query, description = "Must be false: this version sends no mail")),
    request_body = UserForm, responses((status = 200, body = UserShape)))]
async fn save(
    State(web): State<Web>,
    Signed(caller): Signed,
    params: Params,
    Body(form): Body<UserForm>,
) -> Result<Json<UserShape>, Error> {
    if params.flag("sendActivationMail")? == Some(true) {
        return Err(Invalid::new("sendActivationMail", "true", "must be false: this version sends no mail").into());
    }
    Ok(Json(web.app.save_user(&caller, form.try_into()?).await?.value.into()))
}

/// Read a user.
#[utoipa::path(get, path = "/api/user/{id}", operation_id = "getUserById", tag = "user",
    params(("id" = Uuid, Path)), responses((status = 200, body = UserShape)))]
async fn read(State(web): State<Web>, Signed(caller): Signed, Segment(id): Segment<Uuid>) -> Result<Json<UserShape>, Error> {
    Ok(Json(web.app.user(&caller, id).await?.into()))
}

/// Delete a user.
#[utoipa::path(delete, path = "/api/user/{id}", operation_id = "deleteUser", tag = "user",
    params(("id" = Uuid, Path)), responses((status = 200, description = "deleted")))]
async fn delete(State(web): State<Web>, Signed(caller): Signed, Segment(id): Segment<Uuid>) -> Result<(), Error> {
    web.app.delete_user(&caller, id).await.map(drop)
}

/// The link with which a new user sets the first password.
#[utoipa::path(get, path = "/api/user/{id}/activationLink", operation_id = "getActivationLink", tag = "user",
    params(("id" = Uuid, Path)), responses((status = 200, body = String, content_type = "text/plain")))]
async fn activation_link(
    State(web): State<Web>,
    Signed(caller): Signed,
    Segment(id): Segment<Uuid>,
    headers: HeaderMap,
) -> Result<String, Error> {
    let token = web.app.activation_token(&caller, id).await?;
    let host = headers.get(HOST).and_then(|host| host.to_str().ok());
    let base = host.map(|host| format!("http://{host}")).unwrap_or_default();
    Ok(format!("{base}/api/noauth/activate?activateToken={token}"))
}

/// A page of the users the caller administers.
#[utoipa::path(get, path = "/api/users", operation_id = "getUsers", tag = "user",
    params(Paging), responses((status = 200, body = PageShape<UserShape>)))]
async fn list(State(web): State<Web>, Signed(caller): Signed, params: Params) -> Result<Json<PageShape<UserShape>>, Error> {
    Ok(Json(PageShape::of(web.app.users(&caller, &params.page()?).await?, Into::into)))
}

/// A page of a tenant's administrators (system administrator).
#[utoipa::path(get, path = "/api/tenant/{id}/users", operation_id = "getTenantAdmins", tag = "user",
    params(("id" = Uuid, Path), Paging), responses((status = 200, body = PageShape<UserShape>)))]
async fn of_tenant(
    State(web): State<Web>,
    Signed(caller): Signed,
    Segment(id): Segment<Uuid>,
    params: Params,
) -> Result<Json<PageShape<UserShape>>, Error> {
    Ok(Json(PageShape::of(web.app.tenant_admins(&caller, id, &params.page()?).await?, Into::into)))
}

/// A page of a customer's users.
#[utoipa::path(get, path = "/api/customer/{id}/users", operation_id = "getCustomerUsers", tag = "user",
    params(("id" = Uuid, Path), Paging), responses((status = 200, body = PageShape<UserShape>)))]
async fn of_customer(
    State(web): State<Web>,
    Signed(caller): Signed,
    Segment(id): Segment<Uuid>,
    params: Params,
) -> Result<Json<PageShape<UserShape>>, Error> {
    Ok(Json(PageShape::of(web.app.customer_users(&caller, id, &params.page()?).await?, Into::into)))
}

/// Let a user sign in, or no longer.
#[utoipa::path(post, path = "/api/user/{id}/userCredentialsEnabled", operation_id = "setUserCredentialsEnabled",
    tag = "user", params(("id" = Uuid, Path), ("userCredentialsEnabled" = Option<bool>, Query, description = "Default true")),
    responses((status = 200, description = "done")))]
async fn enable(State(web): State<Web>, Signed(caller): Signed, Segment(id): Segment<Uuid>, params: Params) -> Result<(), Error> {
    let enabled = params.flag("userCredentialsEnabled")?.unwrap_or(true);
    web.app.set_user_enabled(&caller, id, enabled).await
}

/// Set the first password and sign in.
#[utoipa::path(post, path = "/api/noauth/activate", operation_id = "activateUser", tag = "user", security(()),
    request_body = ActivationForm, responses((status = 200, body = TokenPairShape)))]
async fn activate(
    State(web): State<Web>,
    Peer(address): Peer,
    Body(form): Body<ActivationForm>,
) -> Result<Json<TokenPairShape>, Error> {
    Ok(Json(web.app.activate(&form.activate_token, &form.password, address).await?.into()))
}
