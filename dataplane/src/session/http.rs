//! The HTTP session of one connection: ThingsBoard's HTTP device API (reference 1.3). Every request names its device by the token
//! in its path. Never parses bytes itself (codec), never judges a token, never looks into a payload.
//!
//! Requests may come before their predecessors are answered; responses leave in the order of the requests (DESIGN 8.1, 4).
//! [`crate::limits::RECEIPTS_PER_CONNECTION_MAX`] may be open at once.

mod answering;
pub mod harness;
mod patience;
mod routing;
#[cfg(test)]
mod tests;
mod waiting;

use patience::Patience;
use routing::Route;
use waiting::{Drained, Waiting};

use crate::clock::{Instant, Now, Timestamp};
use crate::codec::http::{Content, HttpError, Incoming, Manner, Persistence, Response, Status, encode_continue, encode_upgrade};
use crate::limits;
use crate::session::{Close, Delivery, Downlink, Intent, Outcome, Reason, Receipt};

/// What of a request does not lie in the input as it is meant: an escaped token, a body in several chunks. One is enough for all
/// connections of a shard.
#[derive(Debug, Default)]
pub struct Decoded {
    token: String,
    content: Vec<u8>,
}

/// Protocol state of one connection. Small and without a heap allocation while nothing is open: there are tens of thousands.
#[derive(Debug)]
pub struct Http {
    phase: Phase,
    patience: Patience,
    incoming: Incoming,
    waiting: Waiting,
    outbox: Vec<u8>,
    turn: Turn,
}

const _: () = assert!(size_of::<Http>() <= 256, "an idle session is small");

/// Who has to do something for a download to go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Turn {
    Ours,
    /// The client has to take what it was given.
    Theirs,
    /// It was seen to have that to do already.
    StillTheirs,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Open,
    /// No more requests are understood; the connection ends for this reason with the last response.
    Last(Reason),
    /// What follows is WebSocket.
    Upgraded,
    Ended,
}

impl Http {
    /// The state of a connection accepted at `accepted`, which has until [`limits::CONNECT_DEADLINE_MS`] to send the head of
    /// a request.
    #[must_use]
    pub fn new(accepted: Instant) -> Self {
        Self {
            phase: Phase::Open,
            patience: Patience::until_first_request(accepted),
            incoming: Incoming::default(),
            waiting: Waiting::default(),
            outbox: Vec::new(),
            turn: Turn::Ours,
        }
    }

    /// Consumes whole requests from the front of `input` until one means something to the shard. `None`: more bytes are needed,
    /// or the session is [`Self::blocked`] or over. Bytes that are no request are answered, in their turn, and end the
    /// connection.
    pub fn next<'a, 'i: 'a>(
        &mut self,
        input: &mut &'i [u8],
        decoded: &'a mut Decoded,
        now: Now,
    ) -> Result<Option<Intent<'a>>, Close> {
        let (receipt, token, asked, request) = loop {
            if self.phase != Phase::Open || self.blocked() {
                if matches!(self.phase, Phase::Last(_)) {
                    *input = &[];
                }
                return Ok(None);
            }
            if self.outbox.len() > limits::OUTBOX_BYTES_MAX {
                return Err(self.fail(Reason::SlowPeer));
            }
            let request = match self.incoming.next(input) {
                Ok(Some(request)) => request,
                Ok(None) => {
                    self.more_is_needed(now.instant);
                    return Ok(None);
                }
                Err(error) => {
                    *input = &[];
                    return self.refuse_bytes(error, now.timestamp).map(|()| None);
                }
            };
            self.patience.request_came(now.instant);
            let manner = Manner::of(&request.head);
            match routing::route(&request) {
                Route::Device { token, asked } => {
                    let receipt = self.promise(manner, asked.is_download());
                    break (receipt, token, asked, request);
                }
                Route::Upgrade { accept, protocol } if self.waiting.is_empty() => {
                    encode_upgrade(&accept, protocol, &mut self.outbox);
                    self.phase = Phase::Upgraded;
                    return Ok(Some(Intent::Upgrade));
                }
                // Responses could not follow it: a client upgrades when it has them all.
                Route::Upgrade { .. } => {
                    let response = answering::bad_request("an upgrade behind requests that are not answered");
                    self.respond_last(&response, Reason::UnexpectedPacket, now.timestamp)?;
                }
                Route::Response(response) => {
                    let receipt = self.promise(manner, false);
                    self.respond(receipt, &response, now.timestamp)?;
                }
            }
        };
        let operation = asked.operation(request.body.content(&mut decoded.content));
        decoded.token.clear();
        decoded.token.push_str(&token);
        Ok(Some(Intent::Request { token: &decoded.token, operation, receipt, forwarded: request.head.forwarded }))
    }

    /// Whether no more may be read before receipts settle (DESIGN 8.1, 4), or ever. What comes behind a download would be answered
    /// into memory.
    #[must_use]
    pub fn blocked(&self) -> bool {
        let full = self.waiting.downloads() || self.waiting.len() >= limits::RECEIPTS_PER_CONNECTION_MAX;
        full || matches!(self.phase, Phase::Last(_))
    }

    /// The shard could not take the request that this receipt was promised for, the newest one: nothing was done, and its bytes
    /// come again (DESIGN 8.3, 9).
    pub fn take_back(&mut self, receipt: Receipt) {
        if self.waiting.take_back(receipt) {
            self.incoming = Incoming::default();
            if matches!(self.phase, Phase::Last(_)) {
                self.phase = Phase::Open;
            }
        }
    }

    /// Keeps a promise or breaks it. Receipts of a connection that is over settle silently.
    pub fn settle(&mut self, receipt: Receipt, outcome: Outcome, now: Now) -> Result<(), Close> {
        self.respond(receipt, &answering::of_outcome(outcome), now.timestamp)
    }

    /// Keeps a promise by what was asked for. `Full`, `TooLarge`: nothing happened, and [`Self::settle`] must say why there is no
    /// answer; with `Full` the same answer may be tried later. `NotSubscribed`: nobody asked for it, or no longer.
    pub fn answer(&mut self, receipt: Option<Receipt>, downlink: Downlink<'_>, now: Now) -> Result<Delivery, Close> {
        let Some(receipt) = receipt.filter(|&receipt| self.waiting.is_open(receipt)) else { return Ok(Delivery::NotSubscribed) };
        let Some(response) = answering::of_downlink(downlink) else { return Ok(Delivery::NotSubscribed) };
        let bytes = response.bytes_estimated();
        if bytes > limits::OUTBOX_BYTES_MAX {
            return Ok(Delivery::TooLarge);
        }
        if bytes.saturating_add(self.outbox.len()).saturating_add(self.waiting.held_bytes()) > limits::OUTBOX_BYTES_MAX {
            return Ok(Delivery::Full);
        }
        self.respond(receipt, &response, now.timestamp)?;
        Ok(Delivery::QueuedUnacked)
    }

    /// Whether a download is asked for or under way; then [`Self::drained`] wants to be called.
    #[must_use]
    pub fn downloads(&self) -> bool {
        self.waiting.downloads()
    }

    /// More of the download under way.
    pub fn go_on(&mut self, bytes: &[u8]) -> Result<(), Close> {
        self.turn = Turn::Theirs;
        if self.waiting.go_on(bytes, &mut self.outbox) { Ok(()) } else { Err(self.fail(Reason::Unspecified)) }
    }

    /// All output is with the socket. Whether a download wants more.
    pub fn drained(&mut self) -> Result<bool, Close> {
        let drained = self.waiting.drained(&mut self.outbox);
        if drained != Drained::Nothing {
            self.turn = Turn::Ours;
        }
        if drained == Drained::Over {
            self.answered()?;
        }
        Ok(drained == Drained::WantsMore)
    }

    /// Ends the session. Who waits for a response is told to come again, if that is of use.
    pub fn close(&mut self, close: Close, now: Now) {
        let open = matches!(self.phase, Phase::Open | Phase::Last(_));
        let come_again = matches!(close.reason, Reason::ShuttingDown | Reason::Unavailable);
        // A word in the middle of an answer would be taken for its content.
        if open && come_again && !self.waiting.has_begun() && (!self.waiting.is_empty() || self.incoming.has_begun()) {
            self.waiting.give_up();
            let receipt = self.waiting.promise(Manner::LAST, false);
            self.waiting.respond(receipt, &answering::of_outcome(Outcome::Unavailable), now.timestamp, &mut self.outbox);
        }
        self.phase = Phase::Ended;
        self.waiting.give_up();
    }

    /// Encoded bytes waiting to be sent; the shard sends and clears (or takes) them. Allocates nothing while empty.
    pub fn output(&mut self) -> &mut Vec<u8> {
        if self.outbox.is_empty() && self.outbox.capacity() > 0 {
            self.outbox = Vec::new();
        }
        &mut self.outbox
    }

    /// Whether the session is not over, and still HTTP.
    #[must_use]
    pub fn connected(&self) -> bool {
        matches!(self.phase, Phase::Open | Phase::Last(_))
    }

    /// Requests whose response is not queued yet.
    #[must_use]
    pub fn unsettled(&self) -> usize {
        self.waiting.len()
    }

    /// When [`Self::elapse`] wants to be called.
    #[must_use]
    pub fn deadline(&self) -> Instant {
        self.patience.deadline()
    }

    /// Time has passed: a request that takes too long to arrive is answered by 408, an idle connection ends without a word. A
    /// connection that waits for us is not idle (DESIGN 14).
    pub fn elapse(&mut self, now: Now) -> Option<Close> {
        if now.instant < self.patience.deadline() || !self.connected() {
            return None;
        }
        if self.turn == Turn::StillTheirs {
            return Some(self.fail(Reason::SlowPeer));
        }
        if self.turn == Turn::Theirs {
            self.turn = Turn::StillTheirs;
        }
        let first = self.patience.awaits_first();
        let ours = !first && (self.patience.is_paused() || self.blocked());
        let idle = !self.incoming.has_begun();
        if ours || self.phase != Phase::Open || (idle && (!self.waiting.is_empty() || self.patience.take_answered())) {
            self.patience.restart(now.instant);
            return None;
        }
        if idle {
            return Some(self.fail(if first { Reason::ConnectTimeout } else { Reason::KeepAlive }));
        }
        self.patience.restart(now.instant);
        self.respond_last(&answering::too_slow(), Reason::ConnectTimeout, now.timestamp).err()
    }

    /// The shard stops reading this connection: no deadline runs but that of the first request (DESIGN 14).
    pub fn pause(&mut self) {
        self.patience.pause();
    }

    /// The shard reads again: whatever is waited for has its whole time.
    pub fn resume(&mut self, now: Instant) {
        self.patience.resume(now);
    }

    fn promise(&mut self, manner: Manner, download: bool) -> Receipt {
        if manner.persistence == Persistence::Close {
            // The client said that it will go.
            self.phase = Phase::Last(Reason::PeerClosed);
        }
        self.waiting.promise(manner, download)
    }

    fn respond(&mut self, receipt: Receipt, response: &Response<'_>, now: Timestamp) -> Result<(), Close> {
        if !self.connected() || !self.waiting.is_open(receipt) {
            return Ok(());
        }
        self.waiting.respond(receipt, response, now, &mut self.outbox);
        if self.waiting.has_begun() {
            self.turn = Turn::Theirs;
        }
        self.answered()
    }

    /// Something was answered, perhaps the last that was open.
    fn answered(&mut self) -> Result<(), Close> {
        if !self.waiting.is_empty() {
            return Ok(());
        }
        self.patience.answered();
        match self.phase {
            Phase::Last(reason) => Err(self.fail(reason)),
            _ => {
                self.tell_to_continue();
                Ok(())
            }
        }
    }

    /// Answers what could not be read, in its turn; nothing is read after it.
    fn respond_last(&mut self, response: &Response<'_>, reason: Reason, now: Timestamp) -> Result<(), Close> {
        self.phase = Phase::Last(reason);
        let receipt = self.waiting.promise(Manner::LAST, false);
        self.respond(receipt, response, now)
    }

    fn refuse_bytes(&mut self, error: HttpError, now: Timestamp) -> Result<(), Close> {
        let message = error.to_string();
        let status = error.status();
        let content = Content::Failure { message: &message, error_code: answering::error_code(status) };
        let reason = if status == Status::ContentTooLarge { Reason::PacketTooLarge } else { Reason::UnexpectedPacket };
        self.respond_last(&Response { status, retry_after_s: None, allow: None, content }, reason, now)
    }

    fn more_is_needed(&mut self, now: Instant) {
        if self.incoming.has_begun() {
            self.patience.began(self.incoming.has_head(), now);
            self.tell_to_continue();
        }
    }

    /// 100 may not overtake a response to an earlier request.
    fn tell_to_continue(&mut self) {
        if self.waiting.is_empty() && self.incoming.take_continue() {
            encode_continue(&mut self.outbox);
        }
    }

    fn fail(&mut self, reason: Reason) -> Close {
        self.phase = Phase::Ended;
        self.waiting.give_up();
        Close { reason }
    }
}
