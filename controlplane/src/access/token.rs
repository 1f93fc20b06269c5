//! Session tokens: JWT, HS512, with ThingsBoard's claims. An access token opens the API, a refresh token only another pair;
//! neither is taken for the other. Never looks at the user's row: see `app::login`.

use std::fmt;

use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header, Validation, decode, encode};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::{
    clock,
    domain::{NULL_UUID, User},
    error::Error,
};

const ISSUER: &str = "thingsboard.io";
const REFRESH_SCOPE: &str = "REFRESH_TOKEN";
/// Far beyond any token of ours; longer ones are not even decoded.
const TOKEN_BYTES_MAX: usize = 4_096;

/// What a login answers.
#[derive(Clone, PartialEq, Eq)]
pub struct TokenPair {
    pub token: String,
    pub refresh_token: String,
}

impl fmt::Debug for TokenPair {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TokenPair")
    }
}

/// ThingsBoard's claims, as far as both kinds of token have them.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Claims {
    sub: String,
    user_id: Uuid,
    scopes: Vec<String>,
    session_id: Uuid,
    iss: String,
    iat: i64,
    exp: i64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    first_name: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    last_name: Option<String>,
    #[serde(default)]
    enabled: bool,
    #[serde(default)]
    is_public: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    tenant_id: Option<Uuid>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    customer_id: Option<Uuid>,
    /// Makes two refresh tokens of the same second differ.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    jti: Option<Uuid>,
}

impl Claims {
    /// The user the token was made for.
    ///
    /// # Errors
    /// [`Error::Unauthenticated`] when it names none.
    pub fn user_id(&self) -> Result<Uuid, Error> {
        if self.user_id.is_nil() { Err(Error::Unauthenticated("Invalid token")) } else { Ok(self.user_id) }
    }

    /// Seconds since the Unix epoch.
    #[must_use]
    pub fn issued_s(&self) -> i64 {
        self.iat
    }
}

/// Makes and checks tokens.
pub struct Tokens {
    signing: EncodingKey,
    checking: DecodingKey,
    access_s: i64,
    refresh_s: i64,
}

impl fmt::Debug for Tokens {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tokens").field("access_s", &self.access_s).field("refresh_s", &self.refresh_s).finish_non_exhaustive()
    }
}

impl Tokens {
    /// `key` is the database's own; the lives are in seconds.
    #[must_use]
    pub fn new(key: &[u8], access_s: u64, refresh_s: u64) -> Self {
        let seconds = |value: u64| i64::try_from(value).unwrap_or(i64::MAX / 2);
        Self {
            signing: EncodingKey::from_secret(key),
            checking: DecodingKey::from_secret(key),
            access_s: seconds(access_s),
            refresh_s: seconds(refresh_s),
        }
    }

    /// A pair for a user who has just proved who it is.
    ///
    /// # Errors
    /// [`Error::Internal`] when it cannot be signed.
    pub fn issue(&self, user: &User, now_ms: i64) -> Result<TokenPair, Error> {
        let iat = now_ms / 1000;
        let access = Claims {
            sub: user.email.clone(),
            user_id: user.id,
            scopes: vec![user.authority.name().to_owned()],
            session_id: Uuid::new_v4(),
            iss: ISSUER.to_owned(),
            iat,
            exp: iat.saturating_add(self.access_s),
            first_name: user.first_name.clone(),
            last_name: user.last_name.clone(),
            enabled: user.enabled,
            is_public: false,
            tenant_id: Some(user.tenant.unwrap_or(NULL_UUID)),
            customer_id: Some(user.customer.unwrap_or(NULL_UUID)),
            jti: None,
        };
        let refresh = Claims {
            scopes: vec![REFRESH_SCOPE.to_owned()],
            exp: iat.saturating_add(self.refresh_s),
            first_name: None,
            last_name: None,
            tenant_id: None,
            customer_id: None,
            jti: Some(Uuid::new_v4()),
            ..access.clone()
        };
        Ok(TokenPair { token: self.sign(&access)?, refresh_token: self.sign(&refresh)? })
    }

    fn sign(&self, claims: &Claims) -> Result<String, Error> {
        encode(&Header::new(Algorithm::HS512), claims, &self.signing)
            .map_err(|error| Error::Internal(format!("signing a token: {error}")))
    }

    /// # Errors
    /// [`Error::Expired`]; [`Error::Unauthenticated`] for anything else, a refresh token among it.
    pub fn check_access(&self, token: &str) -> Result<Claims, Error> {
        let claims = self.check(token)?;
        if claims.is_refresh() { Err(INVALID) } else { Ok(claims) }
    }

    /// # Errors
    /// [`Error::Expired`]; [`Error::Unauthenticated`] for anything else, an access token among it.
    pub fn check_refresh(&self, token: &str) -> Result<Claims, Error> {
        let claims = self.check(token)?;
        if claims.is_refresh() { Ok(claims) } else { Err(INVALID) }
    }

    fn check(&self, token: &str) -> Result<Claims, Error> {
        if token.len() > TOKEN_BYTES_MAX {
            return Err(INVALID);
        }
        // Exactly HS512: a token that names another algorithm, or none, is not ours. Expiry is checked below, so that it can
        // be told apart and has no leeway.
        let mut rules = Validation::new(Algorithm::HS512);
        rules.set_issuer(&[ISSUER]);
        rules.set_required_spec_claims(&["exp", "iss", "sub"]);
        rules.validate_exp = false;
        let claims = decode::<Claims>(token, &self.checking, &rules).map_err(|_| INVALID)?.claims;
        if claims.exp <= clock::now_ms() / 1000 { Err(Error::Expired) } else { Ok(claims) }
    }
}

impl Claims {
    fn is_refresh(&self) -> bool {
        self.scopes.iter().any(|scope| scope == REFRESH_SCOPE)
    }
}

const INVALID: Error = Error::Unauthenticated("Invalid token");
