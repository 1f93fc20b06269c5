//! Signing in and out over HTTP. Never sees a password hash or a signing key.

use axum::{Json, extract::State};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa_axum::{router::OpenApiRouter, routes};

use crate::{
    app::TokenPair,
    error::Error,
    rest::{
        Web,
        extract::{Body, Peer, Signed},
        user::UserShape,
    },
};

/// Who signs in.
#[derive(Deserialize, ToSchema)]
#[schema(as = LoginRequest)]
pub(in crate::rest) struct LoginForm {
    /// The e-mail address.
    #[schema(example = "tenant@thingsboard.org")]
    username: String,
    password: String,
}

/// What opens the API, and what renews it.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = JwtPair)]
pub(in crate::rest) struct TokenPairShape {
    /// For `X-Authorization: Bearer`.
    token: String,
    /// For `/api/auth/token`.
    refresh_token: String,
    scope: Option<String>,
}

impl From<TokenPair> for TokenPairShape {
    fn from(pair: TokenPair) -> Self {
        Self { token: pair.token, refresh_token: pair.refresh_token, scope: None }
    }
}

#[derive(Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = RefreshTokenRequest)]
pub(in crate::rest) struct RefreshForm {
    refresh_token: String,
}

#[derive(Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = ChangePasswordRequest)]
pub(in crate::rest) struct PasswordForm {
    current_password: String,
    new_password: String,
}

pub(in crate::rest) fn routes() -> OpenApiRouter<Web> {
    OpenApiRouter::new()
        .routes(routes!(login))
        .routes(routes!(refresh))
        .routes(routes!(logout))
        .routes(routes!(current))
        .routes(routes!(change_password))
}

/// Sign in. Too many attempts are answered 429 with Retry-After.
#[utoipa::path(post, path = "/api/auth/login", operation_id = "login", tag = "auth", security(()),
    request_body = LoginForm, responses((status = 200, body = TokenPairShape)))]
async fn login(State(web): State<Web>, Peer(address): Peer, Body(form): Body<LoginForm>) -> Result<Json<TokenPairShape>, Error> {
    Ok(Json(web.app.login(&form.username, &form.password, address).await?.into()))
}

/// Exchange a refresh token for a new pair.
#[utoipa::path(post, path = "/api/auth/token", operation_id = "refreshToken", tag = "auth", security(()),
    request_body = RefreshForm, responses((status = 200, body = TokenPairShape)))]
async fn refresh(State(web): State<Web>, Body(form): Body<RefreshForm>) -> Result<Json<TokenPairShape>, Error> {
    Ok(Json(web.app.refresh(&form.refresh_token).await?.into()))
}

/// Sign out. The client forgets its tokens, which end by themselves.
#[utoipa::path(post, path = "/api/auth/logout", operation_id = "logout", tag = "auth",
    responses((status = 200, description = "signed out")))]
async fn logout(Signed(caller): Signed) {
    tracing::debug!(user = %caller.user, "signed out");
}

/// Who is signed in.
#[utoipa::path(get, path = "/api/auth/user", operation_id = "getUser", tag = "auth",
    responses((status = 200, body = UserShape)))]
async fn current(State(web): State<Web>, Signed(caller): Signed) -> Result<Json<UserShape>, Error> {
    Ok(Json(web.app.current_user(&caller).await?.into()))
}

/// Change one's own password; earlier tokens end and a new pair is answered.
#[utoipa::path(post, path = "/api/auth/changePassword", operation_id = "changePassword", tag = "auth",
    request_body = PasswordForm, responses((status = 200, body = TokenPairShape)))]
async fn change_password(
    State(web): State<Web>,
    Signed(caller): Signed,
    Peer(address): Peer,
    Body(form): Body<PasswordForm>,
) -> Result<Json<TokenPairShape>, Error> {
    let pair = web.app.change_password(&caller, &form.current_password, &form.new_password, address).await?;
    Ok(Json(pair.into()))
}
