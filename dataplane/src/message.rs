//! Waist one: what a device (or an operator on its behalf) said, parsed once. Knows no protocol.

use std::{borrow::Cow, ops::Range};

pub use schemas::telemetry::{Scope, Value};
use schemas::{
    alarm::Alarm,
    chain::{EntityType, MessageType},
    id::{EntityId, TenantId},
};

use crate::clock::Timestamp;

/// One value with its key. Borrows from the read buffer wherever the text needs no unescaping.
#[derive(Clone, Debug, PartialEq)]
pub struct Reading<'a> {
    pub key: Cow<'a, str>,
    pub value: Value<'a>,
}

/// The readings of one ts. `None`: the device gave none, the server chooses (DESIGN 15).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    pub ts: Option<Timestamp>,
    /// Into [`Readings::readings`].
    pub range: Range<usize>,
}

/// All readings of one message, grouped by ts. Cleared and reused from message to message.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Readings<'a> {
    pub entries: Vec<Entry>,
    pub readings: Vec<Reading<'a>>,
}

impl<'a> Readings<'a> {
    /// The readings of one entry.
    #[must_use]
    pub fn of(&self, entry: &Entry) -> &[Reading<'a>] {
        self.readings.get(entry.range.clone()).unwrap_or_default()
    }

    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.readings.is_empty()
    }

    /// The same readings, owning their text.
    #[must_use]
    pub fn into_owned(self) -> Readings<'static> {
        let owned =
            |reading: Reading<'_>| Reading { key: Cow::Owned(reading.key.into_owned()), value: reading.value.into_owned() };
        Readings { entries: self.entries, readings: self.readings.into_iter().map(owned).collect() }
    }

    /// Empties it and keeps its memory for the readings of another message.
    #[must_use]
    pub fn recycle<'b>(mut self) -> Readings<'b> {
        self.entries.clear();
        Readings { entries: self.entries, readings: emptied(self.readings) }
    }
}

/// An empty vector of the same memory. The standard library collects in place what has the same layout.
#[must_use]
pub fn emptied<A, B>(mut vector: Vec<A>) -> Vec<B> {
    vector.clear();
    vector.into_iter().filter_map(|_| None).collect()
}

/// What was said, by kind.
#[derive(Clone, Debug, PartialEq)]
pub enum Body<'a> {
    /// POST_TELEMETRY_REQUEST, TIMESERIES_UPDATED
    Telemetry(Readings<'a>),
    /// POST_ATTRIBUTES_REQUEST, ATTRIBUTES_UPDATED. One entry without ts.
    Attributes { scope: Scope, readings: Readings<'a> },
    /// ATTRIBUTES_DELETED, TIMESERIES_DELETED
    Deleted { keys: Vec<Cow<'a, str>> },
    /// TO_SERVER_RPC_REQUEST: the whole payload, JSON; and the number under which a device waits for the answer.
    Rpc { request: Cow<'a, str>, id: Option<u32> },
    /// CONNECT_EVENT, DISCONNECT_EVENT, ACTIVITY_EVENT, INACTIVITY_EVENT
    Lifecycle,
    /// ALARM_ACK, ALARM_CLEAR and what else people do with alarms.
    Alarm(Box<Alarm>),
}

impl Body<'_> {
    /// The same, owning its text.
    #[must_use]
    pub fn into_owned(self) -> Body<'static> {
        match self {
            Self::Telemetry(readings) => Body::Telemetry(readings.into_owned()),
            Self::Attributes { scope, readings } => Body::Attributes { scope, readings: readings.into_owned() },
            Self::Deleted { keys } => Body::Deleted { keys: keys.into_iter().map(|key| Cow::Owned(key.into_owned())).collect() },
            Self::Rpc { request, id } => Body::Rpc { request: Cow::Owned(request.into_owned()), id },
            Self::Lifecycle => Body::Lifecycle,
            Self::Alarm(alarm) => Body::Alarm(alarm),
        }
    }

    /// About what it takes in memory, in bytes.
    #[must_use]
    pub fn bytes(&self) -> usize {
        let text = |value: &Value<'_>| match value {
            Value::Text(text) | Value::Json(text) => text.len(),
            _ => 0,
        };
        match self {
            Self::Telemetry(readings) | Self::Attributes { readings, .. } => {
                let each = |reading: &Reading<'_>| size_of::<Reading<'_>>() + reading.key.len() + text(&reading.value);
                readings.entries.len() * size_of::<Entry>() + readings.readings.iter().map(each).sum::<usize>()
            }
            Self::Deleted { keys } => keys.iter().map(|key| size_of::<Cow<'_, str>>() + key.len()).sum(),
            Self::Rpc { request, .. } => request.len(),
            Self::Lifecycle => 0,
            Self::Alarm(alarm) => size_of::<Alarm>() + alarm.text_bytes(),
        }
    }
}

/// A message as rules see it.
#[derive(Clone, Debug, PartialEq)]
pub struct Message<'a> {
    pub kind: MessageType,
    pub originator: EntityId,
    pub originator_type: EntityType,
    pub tenant: TenantId,
    /// ThingsBoard's metadata `deviceName` and `deviceType`; empty for entities that are no devices.
    pub device_name: &'a str,
    pub device_type: &'a str,
    /// When the shard took it.
    pub received: Timestamp,
    pub body: Body<'a>,
}
