//! What people read when something is refused: reason strings of MQTT 5, texts of other transports. Short enough for the
//! smallest packet a client may ask for. Never decides anything.

use std::borrow::Cow;

use super::{Outcome, Reason, Refusal};

impl Outcome {
    /// Why a message was not taken; empty for [`Outcome::Stored`].
    #[must_use]
    pub fn text(self) -> Cow<'static, str> {
        Cow::Borrowed(match self {
            Self::Stored => "",
            Self::PayloadInvalid => "the payload is not what this topic takes",
            Self::TopicInvalid => "this is no topic of the device",
            Self::QuotaExceeded => "a bound of what is kept is reached",
            Self::RateExceeded { retry_after_s } => {
                return Cow::Owned(format!("more than a rate limit allows: try again in {retry_after_s} s"));
            }
            Self::NotFound => "what the message is about does not exist",
            Self::Unauthorized => "nobody has this token",
            Self::Forbidden => "the device may not do this, or is gone",
            Self::TimedOut => "nothing came in time",
            Self::Unavailable => "not now: later the same message will do",
            Self::Unspecified => "an error on this side",
        })
    }
}

impl Reason {
    /// Why the connection ends, for the peer that is told.
    #[must_use]
    pub fn text(self) -> Cow<'static, str> {
        Cow::Borrowed(match self {
            Self::Decode(error) => return Cow::Owned(error.to_string()),
            Self::UnexpectedPacket => "a packet that may not come now",
            Self::ReceiveMaximumExceeded => "more unacknowledged messages than the receive maximum",
            Self::TopicAliasInvalid => "a topic alias above the maximum",
            Self::SubscriptionIdsNotSupported => "subscription identifiers are not supported",
            Self::PacketTooLarge => "larger than this side, or its answer larger than the other side, accepts",
            Self::Refused(refusal) => refusal.text(),
            Self::PayloadInvalid => "the payload is not what this topic takes",
            Self::QuotaExceeded => "a bound of what is kept is reached",
            Self::RateExceeded => "more than a rate limit allows",
            Self::Unspecified => "an error on this side",
            Self::ConnectTimeout => "no CONNECT in time",
            Self::KeepAlive => "no packet for one and a half times the keep-alive",
            Self::TakenOver => "the device connected again",
            Self::Revoked => "the device or its credential was deleted or changed",
            Self::ShuttingDown => "the server is stopping",
            Self::Unavailable => "the server cannot take messages now",
            Self::PeerClosed | Self::SlowPeer => "",
        })
    }
}

impl Refusal {
    /// Why CONNECT is refused.
    #[must_use]
    pub fn text(self) -> &'static str {
        match self {
            Self::Version(_) => "MQTT 3.1, 3.1.1 and 5 are spoken here",
            Self::ClientIdInvalid => "the client identifier is missing or too long",
            Self::BadCredential => "nobody has this credential",
            Self::NotAuthorized => "the device may not connect",
            Self::Unavailable => "the server cannot serve this device now",
            Self::RateExceeded => "too many logins failed; try again later",
            Self::QuotaExceeded => "the tenant has as many connections as it may",
            Self::AuthenticationMethod => "there is no such authentication method here",
            Self::WillTopicInvalid => "a will goes to the device's telemetry or attributes",
            Self::PacketSizeTooSmall => "the maximum packet size is too small for any answer",
        }
    }
}
