//! The way out of one socket: a bounded queue and the task that empties it. A client that does not read is cut, never waited
//! for; nobody else is slowed by it.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use axum::extract::ws::{CloseFrame, Message, WebSocket};
use futures_util::{SinkExt, stream::SplitSink};
use tokio::sync::{mpsc, oneshot};

/// Messages waiting for one client, ThingsBoard's bound.
const MESSAGES_MAX: usize = 1_000;
/// Bytes waiting for one client. One larger message may wait when nothing else does.
const BYTES_MAX: usize = 8 << 20;
const SEND_TIMEOUT: Duration = Duration::from_secs(5);

/// A client that does not read what it asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("too many updates wait to be read")]
pub(in crate::ws) struct Overflow;

pub(in crate::ws) struct Outgoing {
    messages: mpsc::Sender<Message>,
    close: oneshot::Sender<CloseFrame>,
    waiting_bytes: Arc<AtomicUsize>,
}

impl Outgoing {
    pub(in crate::ws) fn start(sink: SplitSink<WebSocket, Message>) -> Self {
        let (messages, queue) = mpsc::channel(MESSAGES_MAX);
        let (close, closing) = oneshot::channel();
        let waiting_bytes = Arc::new(AtomicUsize::new(0));
        tokio::spawn(drain(sink, queue, closing, Arc::clone(&waiting_bytes)));
        Self { messages, close, waiting_bytes }
    }

    /// Queues a text message.
    ///
    /// # Errors
    /// [`Overflow`] when the client is too far behind, or gone.
    pub(in crate::ws) fn text(&self, text: String) -> Result<(), Overflow> {
        let bytes = text.len();
        let waiting = self.waiting_bytes.load(Ordering::Relaxed);
        if waiting > 0 && waiting.saturating_add(bytes) > BYTES_MAX {
            return Err(Overflow);
        }
        self.waiting_bytes.fetch_add(bytes, Ordering::Relaxed);
        self.messages.try_send(Message::Text(text.into())).map_err(|_| Overflow)
    }

    /// Queues a ping; a full queue proves life or ends soon by itself.
    pub(in crate::ws) fn ping(&self) {
        drop(self.messages.try_send(Message::Ping(Vec::new().into())));
    }

    /// Resolves when nothing can be sent any more.
    pub(in crate::ws) async fn gone(&self) {
        self.messages.closed().await;
    }

    /// Ends the socket with a code and a reason, before what still waits.
    pub(in crate::ws) fn close(self, code: u16, reason: &str) {
        // A close reason has at most 123 bytes (RFC 6455, 5.5).
        let mut end = reason.len().min(123);
        while !reason.is_char_boundary(end) {
            end -= 1;
        }
        let reason = reason.get(..end).unwrap_or_default().to_owned();
        drop(self.close.send(CloseFrame { code, reason: reason.into() }));
    }
}

async fn drain(
    mut sink: SplitSink<WebSocket, Message>,
    mut queue: mpsc::Receiver<Message>,
    mut closing: oneshot::Receiver<CloseFrame>,
    waiting_bytes: Arc<AtomicUsize>,
) {
    loop {
        let message = tokio::select! {
            biased;
            frame = &mut closing => {
                if let Ok(frame) = frame {
                    drop(tokio::time::timeout(SEND_TIMEOUT, sink.send(Message::Close(Some(frame)))).await);
                }
                break;
            }
            message = queue.recv() => message,
        };
        let Some(message) = message else { break };
        let bytes = if let Message::Text(text) = &message { text.len() } else { 0 };
        if !matches!(tokio::time::timeout(SEND_TIMEOUT, sink.send(message)).await, Ok(Ok(()))) {
            break;
        }
        waiting_bytes.fetch_sub(bytes, Ordering::Relaxed);
    }
    drop(tokio::time::timeout(SEND_TIMEOUT, sink.close()).await);
}
