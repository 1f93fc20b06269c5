//! A message on its way through plans: as it came in, until a node changes it. What it says becomes JSON only for a node that
//! asks. Never parses what a device sent.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::rc::Rc;

use schemas::chain::MessageType;
use schemas::telemetry::Scope;
use serde_json::{Map, Value, json};

use crate::clock::Timestamp;
use crate::message::{Body, Message, Reading};

/// ThingsBoard's names in the metadata.
pub(super) mod name {
    pub(crate) const DEVICE_NAME: &str = "deviceName";
    pub(crate) const DEVICE_TYPE: &str = "deviceType";
    pub(crate) const TS: &str = "ts";
    pub(crate) const SCOPE: &str = "scope";
    pub(crate) const REQUEST_ID: &str = "requestId";
    pub(crate) const TTL: &str = "TTL";
    pub(crate) const IS_NEW_ALARM: &str = "isNewAlarm";
    pub(crate) const IS_EXISTING_ALARM: &str = "isExistingAlarm";
    pub(crate) const IS_SEVERITY_UPDATED: &str = "isSeverityUpdated";
    pub(crate) const IS_CLEARED_ALARM: &str = "isClearedAlarm";
    pub(crate) const PREVIOUS_DETAILS: &str = "prevAlarmDetails";
}

pub(super) type Metadata = BTreeMap<String, String>;

#[derive(Clone, Debug)]
pub(super) enum Carried<'m> {
    AsCame(&'m Message<'m>),
    Changed(Rc<Changed>),
}

/// A message that a node made.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Changed {
    pub(super) kind: Kind,
    pub(super) metadata: Metadata,
    pub(super) data: Value,
    /// Whether the ts in the metadata is the device's, not the moment at which we took the message.
    pub(super) own_ts: bool,
}

#[derive(Clone, Debug, PartialEq)]
pub(super) enum Kind {
    Standard(MessageType),
    Custom(Rc<str>),
}

impl Kind {
    pub(super) fn parse(name: &str) -> Self {
        MessageType::parse(name).map_or_else(|| Self::Custom(name.into()), Self::Standard)
    }

    pub(super) fn name(&self) -> &str {
        match self {
            Self::Standard(kind) => kind.name(),
            Self::Custom(name) => name,
        }
    }
}

impl<'m> Carried<'m> {
    /// The type, if it is a standard one.
    pub(super) fn standard(&self) -> Option<MessageType> {
        match self {
            Self::AsCame(message) => Some(message.kind),
            Self::Changed(changed) => match changed.kind {
                Kind::Standard(kind) => Some(kind),
                Kind::Custom(_) => None,
            },
        }
    }

    pub(super) fn kind_name(&self) -> &str {
        match self {
            Self::AsCame(message) => message.kind.name(),
            Self::Changed(changed) => changed.kind.name(),
        }
    }

    /// One value of the metadata.
    pub(super) fn metadata(&self, key: &str) -> Option<Cow<'_, str>> {
        match self {
            Self::AsCame(message) => said_beside(message).find(|(name, _)| *name == key).map(|(_, value)| value),
            Self::Changed(changed) => changed.metadata.get(key).map(|value| Cow::Borrowed(value.as_str())),
        }
    }

    /// What the message says, as JSON.
    pub(super) fn data(&self) -> Cow<'_, Value> {
        match self {
            Self::AsCame(message) => Cow::Owned(said(message)),
            Self::Changed(changed) => Cow::Borrowed(&changed.data),
        }
    }

    /// A copy to change.
    pub(super) fn change(&self) -> Changed {
        match self {
            Self::AsCame(message) => Changed {
                kind: Kind::Standard(message.kind),
                metadata: said_beside(message).map(|(name, value)| (name.to_owned(), value.into_owned())).collect(),
                data: said(message),
                own_ts: own_ts(message).is_some(),
            },
            Self::Changed(changed) => Changed::clone(changed),
        }
    }
}

/// The ts of a message with one.
fn own_ts(message: &Message<'_>) -> Option<Timestamp> {
    match &message.body {
        Body::Telemetry(readings) => match readings.entries.as_slice() {
            [entry] => entry.ts,
            _ => None,
        },
        _ => None,
    }
}

/// The metadata of a message that came in.
fn said_beside<'m>(message: &'m Message<'m>) -> impl Iterator<Item = (&'static str, Cow<'m, str>)> {
    let device = [(name::DEVICE_NAME, message.device_name), (name::DEVICE_TYPE, message.device_type)];
    let device = device.into_iter().filter(|(_, value)| !value.is_empty()).map(|(name, value)| (name, Cow::Borrowed(value)));
    let ts = own_ts(message).unwrap_or(message.received).0.to_string();
    let more = match &message.body {
        // A device names no scope.
        Body::Attributes { scope, .. } if message.kind != MessageType::PostAttributesRequest => {
            Some((name::SCOPE, Cow::Borrowed(scope.name())))
        }
        Body::Rpc { id: Some(id), .. } => Some((name::REQUEST_ID, Cow::Owned(id.to_string()))),
        _ => None,
    };
    device.chain([(name::TS, Cow::Owned(ts))]).chain(more)
}

/// What a message that came in says.
fn said(message: &Message<'_>) -> Value {
    match &message.body {
        Body::Telemetry(readings) => match readings.entries.as_slice() {
            [entry] => values(readings.of(entry)),
            entries => {
                let entry = |entry: &crate::message::Entry| {
                    let ts = entry.ts.unwrap_or(message.received).0;
                    json!({ "ts": ts, "values": values(readings.of(entry)) })
                };
                entries.iter().map(entry).collect()
            }
        },
        Body::Attributes { readings, .. } => values(&readings.readings),
        Body::Deleted { keys } => {
            let of = if message.kind == MessageType::TimeseriesDeleted { "timeseries" } else { "attributes" };
            json!({ of: keys })
        }
        Body::Rpc { request, .. } => serde_json::from_str(request).unwrap_or(Value::Null),
        Body::Alarm(alarm) => alarm.to_json(),
        Body::Lifecycle => Value::Object(Map::new()),
    }
}

fn values(readings: &[Reading<'_>]) -> Value {
    Value::Object(readings.iter().map(|reading| (reading.key.to_string(), reading.value.to_json())).collect())
}

/// The scope that a message names.
pub(super) fn scope_of(carried: &Carried<'_>) -> Option<Scope> {
    carried.metadata(name::SCOPE).and_then(|scope| Scope::parse(&scope))
}
