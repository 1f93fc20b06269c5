//! ThingsBoard's legacy telemetry WebSocket, by a published client crate. Never interprets what it receives.

use super::rest::Rest;
use futures_util::{SinkExt as _, StreamExt as _};
use serde_json::Value;
use std::time::Duration;
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::{Error, Message};
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream};

/// A connected socket, driven from a synchronous test.
#[derive(Debug)]
pub struct Live {
    runtime: tokio::runtime::Runtime,
    socket: WebSocketStream<MaybeTlsStream<TcpStream>>,
}

impl Live {
    /// Connects as the user of `rest`.
    #[must_use]
    pub fn connect(rest: &Rest) -> Self {
        Self::try_connect(rest).unwrap_or_else(|error| panic!("WebSocket: {error}"))
    }

    /// Connects, or says why not.
    pub fn try_connect(rest: &Rest) -> Result<Self, Box<Error>> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime can be built");
        let address = format!("{}/api/ws/plugins/telemetry?token={}", rest.websocket_origin(), rest.token());
        let (socket, _answer) = runtime.block_on(tokio_tungstenite::connect_async(address)).map_err(Box::new)?;
        Ok(Self { runtime, socket })
    }

    /// Sends one frame of commands.
    pub fn send(&mut self, commands: &Value) {
        let frame = Message::text(commands.to_string());
        self.runtime.block_on(self.socket.send(frame)).expect("the socket is open");
    }

    /// The next text frame.
    ///
    /// # Panics
    /// When none comes in time.
    pub fn update(&mut self) -> Value {
        self.update_within(super::PATIENCE).expect("an update comes in time")
    }

    /// The next text frame, if one comes in time and the socket stays open.
    pub fn update_within(&mut self, patience: Duration) -> Option<Value> {
        let socket = &mut self.socket;
        let text = self.runtime.block_on(async {
            let text = async {
                loop {
                    match socket.next().await {
                        Some(Ok(Message::Text(text))) => return Some(text),
                        Some(Ok(Message::Close(_)) | Err(_)) | None => return None,
                        Some(Ok(_)) => {}
                    }
                }
            };
            tokio::time::timeout(patience, text).await.ok().flatten()
        })?;
        Some(serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}")))
    }

    /// The next update of one subscription.
    pub fn update_of(&mut self, subscription: i64) -> Value {
        loop {
            let update = self.update();
            if update["subscriptionId"] == subscription {
                return update;
            }
        }
    }

    /// Reads updates of `key` until its value is `wanted`; all values seen, oldest first.
    pub fn values_until(&mut self, key: &str, wanted: &str) -> Vec<String> {
        let mut seen = Vec::new();
        while seen.last().is_none_or(|last| last != wanted) {
            let update = self.update();
            assert_eq!(update["errorCode"], 0, "{update}");
            let points = update["data"][key].as_array().cloned().unwrap_or_default();
            seen.extend(points.iter().map(|point| point[1].as_str().map_or_else(|| point[1].to_string(), str::to_owned)));
        }
        seen
    }
}
