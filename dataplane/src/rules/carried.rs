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
    pub(crate) const NOTIFY_DEVICE: &str = "notifyDevice";
    pub(crate) const TTL: &str = "TTL";
    pub(crate) const IS_NEW_ALARM: &str = "isNewAlarm";
    pub(crate) const IS_EXISTING_ALARM: &str = "isExistingAlarm";
    pub(crate) const IS_SEVERITY_UPDATED: &str = "isSeverityUpdated";
    pub(crate) const IS_CLEARED_ALARM: &str = "isClearedAlarm";
    pub(crate) const CONDITION_REPEATS: &str = "alarmConditionRepeats";
    pub(crate) const CONDITION_DURATION: &str = "alarmConditionDuration";
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
            Self::AsCame(message) => beside(message, key),
            Self::Changed(changed) => Beside::Changed(&changed.metadata).get(key),
        }
    }

    /// What the message says, as JSON.
    pub(super) fn data(&self) -> Cow<'_, Value> {
        match self {
            Self::AsCame(message) => Cow::Owned(said(message)),
            Self::Changed(changed) => Cow::Borrowed(&changed.data),
        }
    }

    /// Looks at the message without a copy of it where that can be.
    pub(super) fn look<R>(&self, at: impl FnOnce(Sight<'_>) -> R) -> R {
        let message = match self {
            Self::AsCame(message) => *message,
            Self::Changed(changed) => return at(changed.sight()),
        };
        let (beside, kind) = (Beside::Came(message), message.kind.name());
        match readings(message) {
            Some(readings) => at(Sight { data: Data::Readings(readings), beside, kind }),
            None => at(Sight { data: Data::Whole(&said(message)), beside, kind }),
        }
    }

    /// All metadata, as JSON.
    pub(super) fn all_metadata(&self) -> String {
        match self {
            Self::AsCame(message) => json!(said_beside(message).collect::<BTreeMap<_, _>>()).to_string(),
            Self::Changed(changed) => json!(changed.metadata).to_string(),
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

/// What a message carries, as it lies there.
pub(super) struct Sight<'v> {
    pub(super) data: Data<'v>,
    pub(super) beside: Beside<'v>,
    pub(super) kind: &'v str,
}

pub(super) enum Data<'v> {
    /// An object with a member for each.
    Readings(&'v [Reading<'v>]),
    Whole(&'v Value),
}

/// Where the metadata are.
pub(super) enum Beside<'v> {
    Came(&'v Message<'v>),
    Changed(&'v Metadata),
}

impl<'v> Beside<'v> {
    pub(super) fn get(&self, key: &str) -> Option<Cow<'v, str>> {
        match self {
            Self::Came(message) => beside(message, key),
            Self::Changed(metadata) => metadata.get(key).map(|value| Cow::Borrowed(value.as_str())),
        }
    }

    /// At most so much all names and values measure.
    pub(super) fn at_most(&self, measure: impl Fn(&str) -> usize) -> usize {
        match self {
            Self::Came(message) => measure(message.device_name) + measure(message.device_type) + measure(OTHERS),
            Self::Changed(metadata) => metadata.iter().map(|(name, value)| measure(name) + measure(value)).sum(),
        }
    }
}

/// As long as what else stands beside a message that came in: the names, a ts, a scope, a number.
const OTHERS: &str = "deviceName deviceType ts scope requestId notifyDevice -9223372036854775808 CLIENT_SCOPE 4294967295 false, with \
    room for the marks";

impl Changed {
    pub(super) fn sight(&self) -> Sight<'_> {
        Sight { data: Data::Whole(&self.data), beside: Beside::Changed(&self.metadata), kind: self.kind.name() }
    }
}

/// The metadata of a message that came in.
fn said_beside<'m>(message: &'m Message<'m>) -> impl Iterator<Item = (&'static str, Cow<'m, str>)> {
    let names = [name::DEVICE_NAME, name::DEVICE_TYPE, name::TS, name::SCOPE, name::REQUEST_ID, name::NOTIFY_DEVICE];
    names.into_iter().filter_map(|name| Some((name, beside(message, name)?)))
}

/// One of them.
fn beside<'m>(message: &'m Message<'m>, key: &str) -> Option<Cow<'m, str>> {
    let own = |text: &'m str| (!text.is_empty()).then_some(Cow::Borrowed(text));
    match (key, &message.body) {
        (name::DEVICE_NAME, _) => own(message.device_name),
        (name::DEVICE_TYPE, _) => own(message.device_type),
        (name::TS, _) => Some(Cow::Owned(own_ts(message).unwrap_or(message.received).0.to_string())),
        // A device names no scope.
        (name::SCOPE, Body::Attributes { scope, .. }) if message.kind != MessageType::PostAttributesRequest => {
            Some(Cow::Borrowed(scope.name()))
        }
        // It knows what it has sent.
        (name::NOTIFY_DEVICE, Body::Attributes { .. }) if message.kind == MessageType::PostAttributesRequest => {
            Some(Cow::Borrowed("false"))
        }
        (name::REQUEST_ID, Body::Rpc { id: Some(id), .. }) => Some(Cow::Owned(id.to_string())),
        _ => None,
    }
}

/// The readings that a message is an object of.
fn readings<'m>(message: &'m Message<'m>) -> Option<&'m [Reading<'m>]> {
    match &message.body {
        Body::Telemetry(readings) => match readings.entries.as_slice() {
            [entry] => Some(readings.of(entry)),
            _ => None,
        },
        Body::Attributes { readings, .. } => Some(&readings.readings),
        _ => None,
    }
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
