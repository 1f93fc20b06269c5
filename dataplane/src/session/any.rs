//! The session of a connection, whatever it speaks: the same verbs for all. Decides nothing itself.

use super::mqtt;
use super::{Admission, Close, Delivery, Downlink, Intent, Kept, Outcome, Receipt, Refusal, Sending, Topics, Will};
use crate::clock::Instant;
use crate::codec::mqtt::Version;

/// See the module.
#[derive(Debug)]
pub enum AnySession {
    Mqtt(mqtt::Session),
}

impl AnySession {
    /// One that begins with CONNECT.
    #[must_use]
    pub fn mqtt(accepted: Instant) -> Self {
        Self::Mqtt(mqtt::Session::new(accepted))
    }

    /// See [`mqtt::Session::next`].
    ///
    /// # Errors
    /// The connection ends.
    pub fn next<'a>(&mut self, input: &mut &'a [u8], now: Instant) -> Result<Option<Intent<'a>>, Close> {
        match self {
            Self::Mqtt(mqtt) => mqtt.next(input, now),
        }
    }

    #[must_use]
    pub fn blocked(&self) -> bool {
        match self {
            Self::Mqtt(mqtt) => mqtt.blocked(),
        }
    }

    /// Keeps a promise or breaks it.
    ///
    /// # Errors
    /// The connection ends.
    pub fn settle(&mut self, receipt: Receipt, outcome: Outcome) -> Result<(), Close> {
        match self {
            Self::Mqtt(mqtt) => mqtt.settle(receipt, outcome),
        }
    }

    /// Answers a request: with what it asked for if there is something, and with its outcome.
    ///
    /// # Errors
    /// The connection ends.
    pub fn answer(
        &mut self,
        receipt: Option<Receipt>,
        outcome: Outcome,
        downlink: Option<Downlink<'_>>,
        now: Instant,
    ) -> Result<(), Close> {
        match (self, downlink, receipt) {
            (Self::Mqtt(mqtt), Some(downlink), receipt) => mqtt.answer(receipt, downlink, now).map(|_| ()),
            (Self::Mqtt(mqtt), None, Some(receipt)) => mqtt.settle(receipt, outcome),
            (Self::Mqtt(mqtt), None, None) => mqtt.refuse_unacked(outcome),
        }
    }

    /// A message without a promise was refused.
    ///
    /// # Errors
    /// The connection ends.
    pub fn refuse_unacked(&mut self, outcome: Outcome) -> Result<(), Close> {
        match self {
            Self::Mqtt(mqtt) => mqtt.refuse_unacked(outcome),
        }
    }

    /// Queues a message to the device.
    pub fn deliver(&mut self, downlink: Downlink<'_>, sending: Sending, now: Instant) -> Delivery {
        match self {
            Self::Mqtt(mqtt) => mqtt.deliver(downlink, sending, now),
        }
    }

    /// The shard knows the device.
    pub fn admit(&mut self, admission: Admission, now: Instant) {
        match self {
            Self::Mqtt(mqtt) => mqtt.admit(admission, now),
        }
    }

    /// The shard refuses.
    pub fn refuse(&mut self, refusal: Refusal) -> Close {
        match self {
            Self::Mqtt(mqtt) => mqtt.refuse(refusal),
        }
    }

    /// Whether there is a use for a will; [`mqtt::Session::will`].
    ///
    /// # Errors
    /// The refusal that CONNECT is answered with.
    pub fn will(&self, will: &Will<'_>, topics: Option<&Topics>) -> Result<bool, Refusal> {
        match self {
            Self::Mqtt(mqtt) => mqtt.will(will, topics).map(|operation| operation.is_some()),
        }
    }

    /// The client identifier that CONNACK will assign, if it will.
    #[must_use]
    pub fn assigned_client_id(&self) -> Option<String> {
        match self {
            Self::Mqtt(mqtt) => mqtt.assigned_client_id(),
        }
    }

    /// What of it outlives the connection.
    #[must_use]
    pub fn kept(&self) -> Kept {
        match self {
            Self::Mqtt(mqtt) => mqtt.kept(),
        }
    }

    pub fn close(&mut self, close: Close) {
        match self {
            Self::Mqtt(mqtt) => mqtt.close(close),
        }
    }

    pub fn output(&mut self) -> &mut Vec<u8> {
        match self {
            Self::Mqtt(mqtt) => mqtt.output(),
        }
    }

    #[must_use]
    pub fn deadline(&self) -> Instant {
        match self {
            Self::Mqtt(mqtt) => mqtt.deadline(),
        }
    }

    pub fn elapse(&mut self, now: Instant) -> Option<Close> {
        match self {
            Self::Mqtt(mqtt) => mqtt.elapse(now),
        }
    }

    pub fn pause(&mut self) {
        match self {
            Self::Mqtt(mqtt) => mqtt.pause(),
        }
    }

    pub fn resume(&mut self, now: Instant) {
        match self {
            Self::Mqtt(mqtt) => mqtt.resume(now),
        }
    }

    #[must_use]
    pub fn is_http(&self) -> bool {
        !matches!(self, Self::Mqtt(_))
    }

    /// What it speaks, for people.
    #[must_use]
    pub fn protocol(&self) -> &'static str {
        match self {
            Self::Mqtt(mqtt) => match mqtt.version() {
                Version::V31 => "MQTT 3.1",
                Version::V311 => "MQTT 3.1.1",
                Version::V5 => "MQTT 5",
            },
        }
    }
}
