//! What goes between shards, or from a shard to itself: connections that move, errands for a device's owner and their answers,
//! downlinks for a gateway's connection, facts that messages need, messages with another originator. Values only. The path is the same whoever owns the device (DESIGN 8.3, 8).

use std::sync::Arc;

use schemas::id::{DeviceId, TenantId};
use uuid::Uuid;

use super::channel::MovedChannel;
use super::ledger::OwnedDownlink;
use super::making::Counted;
use super::needing::Question;
use super::slab::Key;
use crate::clock::{Instant, Timestamp};
use crate::device::passage::{Pair, Passage};
use crate::rules::Found;
use crate::session::{Outcome, Package, Receipt};

/// A connection on its way to the shard that owns its device. Everything read so far moves along: nothing past CONNECT
/// was parsed, so the owner starts from its first byte (DESIGN 11).
#[derive(Debug)]
pub(super) struct Moved {
    pub channel: MovedChannel,
    pub bytes: Box<[u8]>,
    pub accepted: Instant,
}

/// Where an answer goes: to a connection of a shard, for one of its receipts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Address {
    pub shard: u16,
    pub connection: Key,
    /// `None`: a QoS 0 message; nobody is told, except of what the payload gets wrong.
    pub receipt: Option<Receipt>,
    pub of: Of,
}

/// What of a gateway something is a part of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Of {
    Nothing,
    /// A pack of its connection, by number.
    Pack(u32),
    /// A QoS 2 pack, by the number under which its parts were sent.
    Forward(u32),
}

/// What a device's owner is asked to do.
#[derive(Debug)]
pub(super) struct Errand {
    pub from: Address,
    pub device: DeviceId,
    /// The name by which a gateway speaks of it.
    pub child: Option<Arc<str>>,
    pub deed: Deed,
}

/// See [`Errand`].
#[derive(Debug)]
pub(super) enum Deed {
    Telemetry {
        payload: Box<[u8]>,
    },
    Attributes {
        payload: Box<[u8]>,
    },
    /// What a QoS 2 pack of a gateway says of the device.
    Forwarded(Box<Forwarded>),
    /// `None`: nothing of that side, unless both are: then everything.
    AttributesOf {
        id: u32,
        client: Option<Vec<String>>,
        shared: Option<Vec<String>>,
    },
    /// Answered in a gateway's words; `single`: one key was named by itself.
    ChildAttributes {
        id: i64,
        client: bool,
        keys: Vec<String>,
        single: bool,
    },
    RpcRequest {
        id: u32,
        payload: Box<[u8]>,
    },
    RpcResponse {
        id: u32,
        payload: Box<[u8]>,
    },
    Await {
        what: Awaited,
        timeout_ms: u64,
    },
    /// A gateway speaks for the device from now on.
    Attach,
    /// It does no longer. Not answered.
    Detach,
}

impl Deed {
    /// It is no message and costs one all the same.
    pub(super) fn is_question(&self) -> bool {
        matches!(self, Self::AttributesOf { .. } | Self::ChildAttributes { .. } | Self::RpcResponse { .. } | Self::Await { .. })
    }
}

/// See [`Deed::Forwarded`].
#[derive(Debug)]
pub(super) struct Forwarded {
    pub gateway: DeviceId,
    pub number: u64,
    /// Every pack of the gateway below this number is finished.
    pub floor: u64,
    /// When the pack was taken.
    pub taken: Timestamp,
    /// Client attributes, else telemetry.
    pub attributes: bool,
    pub texts: Vec<Vec<u8>>,
}

/// What a long poll waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Awaited {
    Attributes,
    Rpc,
}

/// What became of an errand.
#[derive(Debug)]
pub(super) struct Answer {
    pub outcome: Outcome,
    pub downlink: Option<OwnedDownlink>,
    /// The device that it was about, if that is not there any more or is called otherwise.
    pub gone: Option<DeviceId>,
}

impl From<Outcome> for Answer {
    fn from(outcome: Outcome) -> Self {
        Self { outcome, downlink: None, gone: None }
    }
}

/// One piece of a package.
#[derive(Clone, Debug)]
pub(super) struct Piece {
    pub package: Package,
    pub request: u32,
    pub chunk: u32,
    pub bytes: Vec<u8>,
}

/// See [`Letter::Passing`].
#[derive(Debug)]
pub(super) struct Passing {
    pub from: u16,
    pub pair: Pair,
    /// In the order of their numbers.
    pub messages: Vec<(u64, Passage)>,
}

/// What a ring carries.
#[derive(Debug)]
pub(super) enum Letter {
    Moved(Box<Moved>),
    Errand(Box<Errand>),
    Answer(Box<(Address, Answer)>),
    /// For a gateway's connection, in its words.
    Down(Box<(Key, OwnedDownlink)>),
    /// A fact is needed of an entity of the receiving shard.
    Ask(Box<Question>),
    /// The answer, under the question's number.
    Fact(Box<(u64, Found)>),
    /// What a shard has counted, for the owner of the tenant.
    Counted(Box<Counted>),
    /// Messages whose new originators are of the receiving shard.
    Passing(Box<Passing>),
    /// Up to which number those of a pair are taken.
    Passed(Box<(Pair, u64)>),
    /// What a chain answered to a request that waits at the receiving shard; whose, which, JSON.
    Reply(Box<((TenantId, Uuid), String)>),
}
