//! The platform's REST interface as ThingsBoard's clients use it: login, GET, POST. Waits for a server that restarts, logs in
//! again when its session ended. Never prints a password or a token.

use std::time::Duration;

use anyhow::{Context as _, anyhow, bail};
use serde_json::{Value, json};

use super::clock::{self, SECOND};

/// Who asks and where.
#[derive(Clone)]
pub(crate) struct Platform {
    /// `http://HOST:PORT`, without a slash at the end.
    pub(crate) origin: String,
    pub(crate) user: String,
    pub(crate) password: String,
}

impl std::fmt::Debug for Platform {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Platform").field("origin", &self.origin).field("user", &self.user).finish_non_exhaustive()
    }
}

/// A logged-in user.
#[derive(Clone, Debug)]
pub(crate) struct Rest {
    agent: ureq::Agent,
    platform: Platform,
    token: String,
}

/// What came back.
#[derive(Debug)]
pub(crate) struct Reply {
    pub(crate) status: u16,
    pub(crate) text: String,
}

/// How long a request may take.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(120);
/// How long a server that is not there, or says that it is not ready, is waited for.
const PATIENCE: u64 = 60 * SECOND;
const PAUSE: Duration = Duration::from_millis(200);
const ANSWER_BYTES_MAX: u64 = 512 << 20;

impl Rest {
    /// Logs in.
    ///
    /// # Errors
    /// When the server cannot be reached within a minute or refuses the user.
    pub(crate) fn login(platform: Platform) -> anyhow::Result<Self> {
        let config = ureq::Agent::config_builder().http_status_as_error(false).timeout_global(Some(REQUEST_TIMEOUT)).build();
        let mut rest = Self { agent: config.into(), platform, token: String::new() };
        rest.log_in()?;
        Ok(rest)
    }

    fn log_in(&mut self) -> anyhow::Result<()> {
        let body = json!({ "username": self.platform.user, "password": self.platform.password }).to_string();
        let path = "/api/auth/login";
        let reply = self.patiently(path, |rest| rest.send_once(path, &body, false))?;
        if reply.status != 200 {
            bail!("--user {}: {} refused the login: {} {}", self.platform.user, self.platform.origin, reply.status, reply.text);
        }
        let answer: Value = serde_json::from_str(&reply.text).with_context(|| format!("POST {path}: not JSON"))?;
        let token = answer.get("token").and_then(Value::as_str).ok_or_else(|| anyhow!("POST {path}: the answer has no token"))?;
        self.token = token.to_owned();
        Ok(())
    }

    /// The user's token.
    pub(crate) fn token(&self) -> &str {
        &self.token
    }

    /// `HOST:PORT` of the server.
    pub(crate) fn authority(&self) -> &str {
        self.platform.origin.trim_start_matches("http://")
    }

    /// The body of a GET.
    ///
    /// # Errors
    /// When the answer is not 200.
    pub(crate) fn get(&mut self, path: &str) -> anyhow::Result<String> {
        let reply = self.signed(path, |rest| rest.get_once(path))?;
        if reply.status == 200 { Ok(reply.text) } else { bail!("GET {path}: {} {}", reply.status, shortened(&reply.text)) }
    }

    /// POSTs JSON; any status is an answer.
    ///
    /// # Errors
    /// When there is none.
    pub(crate) fn post(&mut self, path: &str, body: &str) -> anyhow::Result<Reply> {
        self.signed(path, |rest| rest.send_once(path, body, true))
    }

    /// Sessions end, and a restarted server may not know them.
    fn signed(&mut self, path: &str, ask: impl Fn(&Self) -> Result<Reply, ureq::Error>) -> anyhow::Result<Reply> {
        let reply = self.patiently(path, &ask)?;
        if reply.status != 401 {
            return Ok(reply);
        }
        self.log_in()?;
        self.patiently(path, &ask)
    }

    fn patiently(&self, path: &str, ask: impl Fn(&Self) -> Result<Reply, ureq::Error>) -> anyhow::Result<Reply> {
        let end = clock::now() + PATIENCE;
        loop {
            let reply = ask(self);
            let again = matches!(&reply, Err(ureq::Error::Io(_) | ureq::Error::ConnectionFailed))
                || matches!(&reply, Ok(reply) if reply.status == 429 || reply.status == 503);
            if !again || clock::now() > end {
                return reply.with_context(|| format!("{}{path}", self.platform.origin));
            }
            std::thread::sleep(PAUSE);
        }
    }

    fn get_once(&self, path: &str) -> Result<Reply, ureq::Error> {
        let request = self.agent.get(format!("{}{path}", self.platform.origin));
        read(request.header("X-Authorization", format!("Bearer {}", self.token)).call()?)
    }

    fn send_once(&self, path: &str, body: &str, signed: bool) -> Result<Reply, ureq::Error> {
        let mut request = self.agent.post(format!("{}{path}", self.platform.origin)).header("Content-Type", "application/json");
        if signed {
            request = request.header("X-Authorization", format!("Bearer {}", self.token));
        }
        read(request.send(body)?)
    }
}

fn read(mut answer: ureq::http::Response<ureq::Body>) -> Result<Reply, ureq::Error> {
    let status = answer.status().as_u16();
    let text = answer.body_mut().with_config().limit(ANSWER_BYTES_MAX).read_to_string()?;
    Ok(Reply { status, text })
}

/// The beginning of a text, for messages to people.
pub(crate) fn shortened(text: &str) -> String {
    if text.chars().count() <= 300 { text.to_owned() } else { text.chars().take(300).chain(['…']).collect() }
}
