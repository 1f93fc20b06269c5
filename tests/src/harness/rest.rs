//! REST over plain HTTP as any ThingsBoard client does it. Never fails on a status by itself: tests say what they expect.

use serde_json::{Value, json};
use std::net::SocketAddr;

/// One HTTP origin, perhaps with a user's token.
#[derive(Clone, Debug)]
pub struct Rest {
    agent: ureq::Agent,
    origin: String,
    token: Option<String>,
}

/// What came back.
#[derive(Debug)]
pub struct Reply {
    pub status: u16,
    pub text: String,
    /// The header `Tidegate-Applied` (DESIGN 8.7, 26).
    pub applied: Option<String>,
    request: String,
}

impl Reply {
    /// The body, when the status is the expected one.
    ///
    /// # Panics
    /// When it is another.
    pub fn expect_text(self, status: u16) -> String {
        assert_eq!(self.status, status, "{}: {}", self.request, self.text);
        self.text
    }

    /// The JSON body, when the status is 200.
    pub fn json(self) -> Value {
        let request = self.request.clone();
        let text = self.expect_text(200);
        serde_json::from_str(&text).unwrap_or_else(|error| panic!("{request}: {error}: {text}"))
    }

    /// Checks the status and that the body is ThingsBoard's error body.
    ///
    /// # Panics
    /// When either is otherwise.
    pub fn expect_error(self, status: u16) {
        let request = self.request.clone();
        let text = self.expect_text(status);
        let body: Value = serde_json::from_str(&text).unwrap_or_else(|error| panic!("{request}: {error}: {text}"));
        assert_eq!(body["status"], status, "{request}: {text}");
        for field in ["message", "errorCode", "timestamp"] {
            assert!(!body[field].is_null(), "{request}: an error body has {field}: {text}");
        }
    }
}

impl Rest {
    #[must_use]
    pub fn new(address: SocketAddr) -> Self {
        let config = ureq::Agent::config_builder().http_status_as_error(false).timeout_global(Some(super::PATIENCE)).build();
        Self { agent: config.into(), origin: format!("http://{address}"), token: None }
    }

    /// The same origin as a user.
    #[must_use]
    pub fn login(&self, user: &str, password: &str) -> Self {
        let body = json!({ "username": user, "password": password });
        let reply = self.post("/api/auth/login", &body).json();
        self.bearer(reply["token"].as_str().expect("a login answers a token"))
    }

    /// The same origin with another token.
    #[must_use]
    pub fn bearer(&self, token: &str) -> Self {
        Self { token: Some(token.to_owned()), ..self.clone() }
    }

    /// The user's token.
    #[must_use]
    pub fn token(&self) -> &str {
        self.token.as_deref().expect("logged in")
    }

    /// The origin for WebSockets.
    #[must_use]
    pub fn websocket_origin(&self) -> String {
        self.origin.replacen("http", "ws", 1)
    }

    #[must_use]
    pub fn get(&self, path: &str) -> Reply {
        self.try_get(path).unwrap_or_else(|error| panic!("GET {path}: {error}"))
    }

    /// Like [`Self::get`], for servers that may not be there.
    pub fn try_get(&self, path: &str) -> Result<Reply, ureq::Error> {
        let mut request = self.agent.get(format!("{}{path}", self.origin));
        if let Some(token) = &self.token {
            request = request.header("X-Authorization", format!("Bearer {token}"));
        }
        read(format!("GET {path}"), request.call())
    }

    #[must_use]
    pub fn post(&self, path: &str, body: &Value) -> Reply {
        self.post_text(path, &body.to_string())
    }

    /// A body that need not be JSON.
    #[must_use]
    pub fn post_text(&self, path: &str, body: &str) -> Reply {
        self.try_post(path, body).unwrap_or_else(|error| panic!("POST {path}: {error}"))
    }

    /// Like [`Self::post_text`], for servers that may be killed meanwhile.
    pub fn try_post(&self, path: &str, body: &str) -> Result<Reply, ureq::Error> {
        let mut request = self.agent.post(format!("{}{path}", self.origin)).header("Content-Type", "application/json");
        if let Some(token) = &self.token {
            request = request.header("X-Authorization", format!("Bearer {token}"));
        }
        read(format!("POST {path}"), request.send(body))
    }

    #[must_use]
    pub fn delete(&self, path: &str) -> Reply {
        let mut request = self.agent.delete(format!("{}{path}", self.origin));
        if let Some(token) = &self.token {
            request = request.header("X-Authorization", format!("Bearer {token}"));
        }
        read(format!("DELETE {path}"), request.call()).unwrap_or_else(|error| panic!("DELETE {path}: {error}"))
    }
}

fn read(request: String, answer: Result<ureq::http::Response<ureq::Body>, ureq::Error>) -> Result<Reply, ureq::Error> {
    let mut answer = answer?;
    let status = answer.status().as_u16();
    let applied = answer.headers().get("tidegate-applied").and_then(|value| value.to_str().ok()).map(str::to_owned);
    let text = answer.body_mut().with_config().limit(256 << 20).read_to_string()?;
    Ok(Reply { status, text, applied, request })
}
