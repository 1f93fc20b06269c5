//! The session of a connection, whatever it speaks: the same verbs for all. Decides nothing itself.

use super::http::{Decoded, Http};
use super::mqtt;
use super::{
    Admission, Close, Delivery, Downlink, Format, Intent, Kept, Outcome, Reason, Receipt, Refusal, Sending, Topics, Will,
};
use crate::clock::{Instant, Now};
use crate::codec::mqtt::Version;

/// See the module.
#[derive(Debug)]
pub enum AnySession {
    Mqtt(mqtt::Session),
    Http(Http),
}

impl AnySession {
    /// One that begins with CONNECT.
    #[must_use]
    pub fn mqtt(accepted: Instant) -> Self {
        Self::Mqtt(mqtt::Session::new(accepted))
    }

    /// One that begins with a request.
    #[must_use]
    pub fn http(accepted: Instant) -> Self {
        Self::Http(Http::new(accepted))
    }

    /// See [`mqtt::Session::next`] and [`Http::next`].
    ///
    /// # Errors
    /// The connection ends.
    pub fn next<'a, 'i: 'a>(
        &mut self,
        input: &mut &'i [u8],
        decoded: &'a mut Decoded,
        now: Now,
    ) -> Result<Option<Intent<'a>>, Close> {
        match self {
            Self::Mqtt(mqtt) => mqtt.next(input, now.instant),
            Self::Http(http) => http.next(input, decoded, now),
        }
    }

    #[must_use]
    pub fn blocked(&self) -> bool {
        match self {
            Self::Mqtt(mqtt) => mqtt.blocked(),
            Self::Http(http) => http.blocked(),
        }
    }

    /// See [`Http::downloads`].
    #[must_use]
    pub fn downloads(&self) -> bool {
        match self {
            Self::Mqtt(_) => false,
            Self::Http(http) => http.downloads(),
        }
    }

    /// See [`Http::go_on`].
    ///
    /// # Errors
    /// The connection ends.
    pub fn go_on(&mut self, bytes: &[u8]) -> Result<(), Close> {
        match self {
            Self::Mqtt(_) => Ok(()),
            Self::Http(http) => http.go_on(bytes),
        }
    }

    /// See [`Http::drained`].
    ///
    /// # Errors
    /// The connection ends.
    pub fn drained(&mut self) -> Result<bool, Close> {
        match self {
            Self::Mqtt(_) => Ok(false),
            Self::Http(http) => http.drained(),
        }
    }

    /// Keeps a promise or breaks it.
    ///
    /// # Errors
    /// The connection ends.
    pub fn settle(&mut self, receipt: Receipt, outcome: Outcome, now: Now) -> Result<(), Close> {
        match self {
            Self::Mqtt(mqtt) => mqtt.settle(receipt, outcome),
            Self::Http(http) => http.settle(receipt, outcome, now),
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
        now: Now,
    ) -> Result<(), Close> {
        let mqtt = match self {
            Self::Mqtt(mqtt) => mqtt,
            Self::Http(http) => return answer_request(http, receipt, outcome, downlink, now),
        };
        match (downlink, receipt) {
            (Some(downlink), receipt) => mqtt.answer(receipt, downlink, now.instant).map(|_| ()),
            (None, Some(receipt)) => mqtt.settle(receipt, outcome),
            (None, None) => mqtt.refuse_unacked(outcome),
        }
    }

    /// A message without a promise was refused.
    ///
    /// # Errors
    /// The connection ends.
    pub fn refuse_unacked(&mut self, outcome: Outcome) -> Result<(), Close> {
        match self {
            Self::Mqtt(mqtt) => mqtt.refuse_unacked(outcome),
            // Every request is answered.
            Self::Http(_) => Ok(()),
        }
    }

    /// How the payload of a downlink has to be written where it would go now; `json_v1`: topics of the first version have JSON.
    #[must_use]
    pub fn format(&self, downlink: &Downlink<'_>, json_v1: bool) -> Format {
        match self {
            Self::Mqtt(mqtt) if !json_v1 || !mqtt.is_of_v1(downlink) => mqtt.format(downlink).unwrap_or_default(),
            Self::Mqtt(_) | Self::Http(_) => Format::Json,
        }
    }

    /// Queues a message to the device.
    pub fn deliver(&mut self, downlink: Downlink<'_>, sending: Sending, now: Instant) -> Delivery {
        match self {
            Self::Mqtt(mqtt) => mqtt.deliver(downlink, sending, now),
            // Whoever speaks HTTP asks for what there is.
            Self::Http(_) => Delivery::NotSubscribed,
        }
    }

    /// The shard knows the device.
    pub fn admit(&mut self, admission: Admission, now: Instant) {
        match self {
            Self::Mqtt(mqtt) => mqtt.admit(admission, now),
            Self::Http(_) => {}
        }
    }

    /// The shard refuses.
    pub fn refuse(&mut self, refusal: Refusal) -> Close {
        match self {
            Self::Mqtt(mqtt) => mqtt.refuse(refusal),
            Self::Http(_) => Close::from(Reason::Refused(refusal)),
        }
    }

    /// Whether there is a use for a will; [`mqtt::Session::will`].
    ///
    /// # Errors
    /// The refusal that CONNECT is answered with.
    pub fn will(&self, will: &Will<'_>, topics: Option<&Topics>) -> Result<bool, Refusal> {
        match self {
            Self::Mqtt(mqtt) => mqtt.will(will, topics).map(|operation| operation.is_some()),
            Self::Http(_) => Ok(false),
        }
    }

    /// The client identifier that CONNACK will assign, if it will.
    #[must_use]
    pub fn assigned_client_id(&self) -> Option<String> {
        match self {
            Self::Mqtt(mqtt) => mqtt.assigned_client_id(),
            Self::Http(_) => None,
        }
    }

    /// What of it outlives the connection.
    #[must_use]
    pub fn kept(&self) -> Kept {
        match self {
            Self::Mqtt(mqtt) => mqtt.kept(),
            Self::Http(_) => Kept::default(),
        }
    }

    pub fn close(&mut self, close: Close, now: Now) {
        match self {
            Self::Mqtt(mqtt) => mqtt.close(close),
            Self::Http(http) => http.close(close, now),
        }
    }

    pub fn output(&mut self) -> &mut Vec<u8> {
        match self {
            Self::Mqtt(mqtt) => mqtt.output(),
            Self::Http(http) => http.output(),
        }
    }

    #[must_use]
    pub fn deadline(&self) -> Instant {
        match self {
            Self::Mqtt(mqtt) => mqtt.deadline(),
            Self::Http(http) => http.deadline(),
        }
    }

    pub fn elapse(&mut self, now: Now) -> Option<Close> {
        match self {
            Self::Mqtt(mqtt) => mqtt.elapse(now.instant),
            Self::Http(http) => http.elapse(now),
        }
    }

    pub fn pause(&mut self) {
        match self {
            Self::Mqtt(mqtt) => mqtt.pause(),
            Self::Http(http) => http.pause(),
        }
    }

    pub fn resume(&mut self, now: Instant) {
        match self {
            Self::Mqtt(mqtt) => mqtt.resume(now),
            Self::Http(http) => http.resume(now),
        }
    }

    #[must_use]
    pub fn is_http(&self) -> bool {
        !matches!(self, Self::Mqtt(_))
    }

    /// Whether it can refuse one message and go on; the others close.
    #[must_use]
    pub fn refuses(&self) -> bool {
        match self {
            Self::Mqtt(mqtt) => mqtt.version() == Version::V5,
            Self::Http(_) => true,
        }
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
            Self::Http(_) => "HTTP",
        }
    }
}

/// A request is answered by what it asked for, or by why there is nothing.
fn answer_request(
    http: &mut Http,
    receipt: Option<Receipt>,
    outcome: Outcome,
    downlink: Option<Downlink<'_>>,
    now: Now,
) -> Result<(), Close> {
    let delivery = match downlink {
        Some(downlink) if outcome == Outcome::Stored => http.answer(receipt, downlink, now)?,
        _ => Delivery::NotSubscribed,
    };
    let outcome = match delivery {
        Delivery::Queued | Delivery::QueuedUnacked => return Ok(()),
        Delivery::NotSubscribed => outcome,
        Delivery::Full => Outcome::Unavailable,
        Delivery::TooLarge => Outcome::Unspecified,
    };
    receipt.map_or(Ok(()), |receipt| http.settle(receipt, outcome, now))
}
