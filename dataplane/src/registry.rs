//! What a shard must ask of the control plane, because only that may create: values only (DESIGN 8.3, 10). Whoever asks waits for
//! nothing: the answer comes through its mailbox.

use std::sync::Arc;

use schemas::id::DeviceId;
use schemas::wish::{Granted, Wished};
use uuid::Uuid;

/// A question, and where its answer goes.
#[derive(Debug)]
pub struct Question {
    pub shard: u16,
    /// Comes back with the answer.
    pub number: u64,
    pub ask: Ask,
}

/// What is asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ask {
    /// The device that a gateway calls by this name; made if there is none.
    Child {
        gateway: DeviceId,
        name: Arc<str>,
        kind: String,
    },
    /// A device's own request, JSON as it came.
    Provision {
        payload: Vec<u8>,
    },
    /// Whose certificate chain this is: DER, the device's own first.
    Certificate {
        chain: Vec<Vec<u8>>,
    },
    Claim {
        device: DeviceId,
        secret_key: String,
        duration_ms: i64,
    },
    /// These alarms have changed: no question, but the control plane says that it knows.
    Alarms {
        /// kept.proto's `Alarm` each.
        alarms: Vec<Vec<u8>>,
    },
    /// What a message wants at a rule node.
    Wish(Box<Wished>),
    /// Bytes [chunk x size, +size) of the device's package; `size` 0: all of it.
    Piece {
        device: DeviceId,
        software: bool,
        chunk: u32,
        size: u32,
    },
    /// Of the same bytes, which may be many, some from `from` on, if the package has this title and version.
    Stretch {
        device: DeviceId,
        software: bool,
        named: (String, String),
        chunk: u32,
        size: u32,
        from: u64,
    },
}

/// What is answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Told {
    Device(DeviceId),
    /// There is none, and why.
    Nobody(String),
    /// JSON for the device.
    Provisioned(Vec<u8>),
    Claimed,
    /// The alarms are known there.
    Taken,
    Granted(Granted),
    /// It went wrong there, with this question and perhaps no other.
    Failed(String),
    Piece(Vec<u8>),
    /// No more than `limits::STRETCH_BYTES` of `length` bytes; none when `from` lies behind them.
    Stretch {
        package: Uuid,
        length: u64,
        bytes: Vec<u8>,
    },
    NoPackage,
    /// It is not the package that was named.
    OtherPackage,
    /// More bytes than one answer may have.
    PieceTooLarge,
    /// The control plane is away, or took too long.
    Unavailable(String),
}
