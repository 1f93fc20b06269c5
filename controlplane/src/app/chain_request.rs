//! Requests of people that enter a rule chain, which answers them (ThingsBoard's rule engine API). Who may write an entity's values may say
//! something in its name. Never knows what the chain does.

use std::{collections::BTreeMap, sync::Arc};

use schemas::chain::MessageType;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::{
    access::Caller,
    app::{App, Use},
    clock,
    domain::{Announcement, End, EntityKind, EntityRef, Invalid},
    entity::audit::Action,
    error::Error,
};

/// How long a request waits that does not say it, ThingsBoard's default, and at most; milliseconds.
const TIMEOUT_MS: u32 = 10_000;
const TIMEOUT_MS_MAX: u32 = 300_000;
/// What a request may say, in bytes.
const BODY_BYTES_MAX: usize = 64 << 10;
/// When to try again what found too many requests under way.
const BUSY_RETRY_S: u64 = 1;
/// Where requests wait, as chains name it.
const PLACE: &str = "tidegate";

impl App {
    /// Has a chain answer: the one of `originator`, ThingsBoard's entity type and the id, else of the caller. `None`: it did not in time.
    ///
    /// # Errors
    /// [`Error::Refused`] for what is no JSON, [`Error::TooLarge`], [`Error::Invalid`], [`Error::NotFound`], [`Error::Forbidden`],
    /// [`Error::TooMany`] when too many requests wait, [`Error::Unavailable`].
    pub async fn ask_chain(
        self: &Arc<Self>,
        caller: &Caller,
        originator: Option<(&str, Uuid)>,
        timeout_ms: Option<i64>,
        body: Vec<u8>,
    ) -> Result<Option<String>, Error> {
        let of = match originator {
            Some((kind, id)) => self.authorize_entity(caller, kind, id, Use::Write).await?,
            None => {
                let scope = caller.scope().ok_or(Error::Forbidden)?;
                EntityRef { kind: EntityKind::User, id: caller.user, tenant: scope.tenant }
            }
        };
        let timeout_ms = timeout(timeout_ms)?;
        let data = text(body)?;
        let permit = Arc::clone(&self.calls).try_acquire_owned();
        let permit = permit.map_err(|_| Error::TooMany { retry_after_s: BUSY_RETRY_S })?;
        let request = Uuid::new_v4();
        let expires_ms = clock::now_ms().saturating_add(i64::from(timeout_ms));
        let beside =
            [("serviceId", PLACE.to_owned()), ("requestUUID", request.to_string()), ("expirationTime", expires_ms.to_string())];
        let metadata: BTreeMap<String, String> = beside.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
        let shown = json!({"request": serde_json::from_str::<Value>(&data).unwrap_or_default()});
        let end = End { kind: of.kind, id: of.id };
        let message = Announcement { tenant: of.tenant, of: end, kind: MessageType::RestApiRequest, chain: None, metadata, data };
        let app = Arc::clone(self);
        let deed = Box::pin(async move {
            let answer = app.data_plane().await?.ask_chain(request, message, timeout_ms).await;
            drop(permit);
            Ok(answer?)
        });
        let silent = |answer: &Option<String>| answer.is_none().then(|| "Processing timeout detected!".to_owned());
        self.audited(caller, (Action::RuleEngineCalled, of, shown), deed, silent).await
    }
}

fn timeout(asked_ms: Option<i64>) -> Result<u32, Invalid> {
    let Some(asked_ms) = asked_ms else { return Ok(TIMEOUT_MS) };
    let known = u32::try_from(asked_ms).ok().filter(|asked| (1..=TIMEOUT_MS_MAX).contains(asked));
    known.ok_or_else(|| Invalid::new("timeout", &asked_ms.to_string(), format!("must be 1 to {TIMEOUT_MS_MAX} ms")))
}

fn text(body: Vec<u8>) -> Result<String, Error> {
    if body.len() > BODY_BYTES_MAX {
        return Err(Error::TooLarge(format!("The request has {} bytes, at most {BODY_BYTES_MAX} are taken", body.len())));
    }
    let text = String::from_utf8(body).ok();
    let json = text.filter(|text| serde_json::from_str::<serde::de::IgnoredAny>(text).is_ok());
    json.ok_or_else(|| Error::Refused("Invalid request body".to_owned()))
}
