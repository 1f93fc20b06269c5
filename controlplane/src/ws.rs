//! Live values over WebSocket: ThingsBoard's `/api/ws` and its legacy path. Says who may open a socket and how many there are;
//! what happens on one is `session`. Never reads a data plane itself.

mod alarms;
mod command;
mod outgoing;
mod session;
#[cfg(test)]
mod tests;
mod update;

use std::sync::Arc;

use axum::{
    Router,
    extract::{Query, State, WebSocketUpgrade, rejection::QueryRejection, ws::rejection::WebSocketUpgradeRejection},
    response::{IntoResponse, Response},
    routing::get,
};
use serde::Deserialize;
use tokio::sync::Semaphore;

pub(crate) use self::alarms::Alarms;
use crate::{app::App, error::Error};

/// Bytes of one frame or message from a client, ThingsBoard's bound.
const FRAME_BYTES_MAX: usize = 32 * 1024;
/// Open sockets of this process.
const SOCKETS_MAX: usize = 10_000;

#[derive(Clone)]
struct Doorway {
    app: Arc<App>,
    sockets: Arc<Semaphore>,
    alarms: Alarms,
}

#[derive(Deserialize)]
struct Opening {
    token: Option<String>,
}

/// The two socket paths.
pub(crate) fn routes(app: Arc<App>, alarms: Alarms) -> Router {
    let doorway = Doorway { app, sockets: Arc::new(Semaphore::new(SOCKETS_MAX)), alarms };
    Router::new().route("/api/ws/plugins/telemetry", get(legacy)).route("/api/ws", get(current)).with_state(doorway)
}

/// The legacy path: the token must be in the URL, and a wrong one is refused before the upgrade.
async fn legacy(
    State(doorway): State<Doorway>,
    opening: Result<Query<Opening>, QueryRejection>,
    upgrade: Result<WebSocketUpgrade, WebSocketUpgradeRejection>,
) -> Response {
    match token_of(opening) {
        Ok(Some(token)) => open(doorway, Some(token), upgrade).await,
        Ok(None) => Error::Unauthenticated("no token in the URL").into_response(),
        Err(error) => error.into_response(),
    }
}

/// The current path: a token in the URL, or the first frame's `authCmd`.
async fn current(
    State(doorway): State<Doorway>,
    opening: Result<Query<Opening>, QueryRejection>,
    upgrade: Result<WebSocketUpgrade, WebSocketUpgradeRejection>,
) -> Response {
    match token_of(opening) {
        Ok(token) => open(doorway, token, upgrade).await,
        Err(error) => error.into_response(),
    }
}

fn token_of(opening: Result<Query<Opening>, QueryRejection>) -> Result<Option<String>, Error> {
    let Query(opening) = opening.map_err(|rejection| Error::Refused(rejection.body_text()))?;
    Ok(opening.token.filter(|token| !token.is_empty()))
}

async fn open(doorway: Doorway, token: Option<String>, upgrade: Result<WebSocketUpgrade, WebSocketUpgradeRejection>) -> Response {
    let Doorway { app, sockets, alarms } = doorway;
    let known = match token {
        None => None,
        Some(token) => match app.caller(&token).await {
            Ok(caller) => Some((token, caller)),
            Err(error) => return error.into_response(),
        },
    };
    let upgrade = match upgrade {
        Ok(upgrade) => upgrade,
        Err(rejection) => return Error::Refused(rejection.body_text()).into_response(),
    };
    let Ok(place) = sockets.try_acquire_owned() else {
        return Error::Unavailable(format!("{SOCKETS_MAX} sockets are open, which is the most there may be")).into_response();
    };
    upgrade
        .max_message_size(FRAME_BYTES_MAX)
        .max_frame_size(FRAME_BYTES_MAX)
        .on_upgrade(async move |socket| {
            session::run((app, alarms), socket, known).await;
            drop(place);
        })
        .into_response()
}
