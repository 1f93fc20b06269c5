//! Reason codes (MQTT 5, 2.4) and CONNACK return codes (3.1.1, 3.2.2.3). Never chooses one: codec errors and the session do.

/// One byte that says how something went; 0x80 and above are failures.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ReasonCode(pub u8);

impl ReasonCode {
    pub const SUCCESS: Self = Self(0x00);
    pub const GRANTED_QOS_1: Self = Self(0x01);
    pub const DISCONNECT_WITH_WILL: Self = Self(0x04);
    pub const NO_MATCHING_SUBSCRIBERS: Self = Self(0x10);
    pub const NO_SUBSCRIPTION_EXISTED: Self = Self(0x11);
    pub const CONTINUE_AUTHENTICATION: Self = Self(0x18);
    pub const RE_AUTHENTICATE: Self = Self(0x19);
    pub const UNSPECIFIED_ERROR: Self = Self(0x80);
    pub const MALFORMED_PACKET: Self = Self(0x81);
    pub const PROTOCOL_ERROR: Self = Self(0x82);
    pub const IMPLEMENTATION_SPECIFIC_ERROR: Self = Self(0x83);
    pub const UNSUPPORTED_PROTOCOL_VERSION: Self = Self(0x84);
    pub const CLIENT_IDENTIFIER_NOT_VALID: Self = Self(0x85);
    pub const BAD_USER_NAME_OR_PASSWORD: Self = Self(0x86);
    pub const NOT_AUTHORIZED: Self = Self(0x87);
    pub const SERVER_UNAVAILABLE: Self = Self(0x88);
    pub const SERVER_BUSY: Self = Self(0x89);
    pub const SERVER_SHUTTING_DOWN: Self = Self(0x8B);
    pub const BAD_AUTHENTICATION_METHOD: Self = Self(0x8C);
    pub const KEEP_ALIVE_TIMEOUT: Self = Self(0x8D);
    pub const SESSION_TAKEN_OVER: Self = Self(0x8E);
    pub const TOPIC_FILTER_INVALID: Self = Self(0x8F);
    pub const TOPIC_NAME_INVALID: Self = Self(0x90);
    pub const PACKET_IDENTIFIER_IN_USE: Self = Self(0x91);
    pub const PACKET_IDENTIFIER_NOT_FOUND: Self = Self(0x92);
    pub const RECEIVE_MAXIMUM_EXCEEDED: Self = Self(0x93);
    pub const TOPIC_ALIAS_INVALID: Self = Self(0x94);
    pub const PACKET_TOO_LARGE: Self = Self(0x95);
    pub const MESSAGE_RATE_TOO_HIGH: Self = Self(0x96);
    pub const QUOTA_EXCEEDED: Self = Self(0x97);
    pub const ADMINISTRATIVE_ACTION: Self = Self(0x98);
    pub const PAYLOAD_FORMAT_INVALID: Self = Self(0x99);
    pub const RETAIN_NOT_SUPPORTED: Self = Self(0x9A);
    pub const QOS_NOT_SUPPORTED: Self = Self(0x9B);
    pub const SHARED_SUBSCRIPTIONS_NOT_SUPPORTED: Self = Self(0x9E);
    pub const CONNECTION_RATE_EXCEEDED: Self = Self(0x9F);
    pub const SUBSCRIPTION_IDENTIFIERS_NOT_SUPPORTED: Self = Self(0xA1);

    /// CONNACK return codes of 3.1 and 3.1.1.
    pub const RETURN_UNACCEPTABLE_VERSION: Self = Self(1);
    pub const RETURN_IDENTIFIER_REJECTED: Self = Self(2);
    pub const RETURN_SERVER_UNAVAILABLE: Self = Self(3);
    pub const RETURN_NOT_AUTHORIZED: Self = Self(5);

    /// Whether it says that something failed (MQTT 5, 2.4).
    #[must_use]
    pub fn is_failure(self) -> bool {
        self.0 >= 0x80
    }

    /// May stand in PUBACK and PUBREC (MQTT 5, 3.4.2.1 and 3.5.2.1).
    #[must_use]
    pub fn is_of_puback(self) -> bool {
        matches!(
            self,
            Self::SUCCESS
                | Self::NO_MATCHING_SUBSCRIBERS
                | Self::UNSPECIFIED_ERROR
                | Self::IMPLEMENTATION_SPECIFIC_ERROR
                | Self::NOT_AUTHORIZED
                | Self::TOPIC_NAME_INVALID
                | Self::PACKET_IDENTIFIER_IN_USE
                | Self::QUOTA_EXCEEDED
                | Self::PAYLOAD_FORMAT_INVALID
        )
    }

    /// May stand in PUBREL and PUBCOMP (MQTT 5, 3.6.2.1 and 3.7.2.1).
    #[must_use]
    pub fn is_of_pubrel(self) -> bool {
        matches!(self, Self::SUCCESS | Self::PACKET_IDENTIFIER_NOT_FOUND)
    }

    /// May stand in a DISCONNECT that a client sends (MQTT 5, 3.14.2.1).
    #[must_use]
    pub fn is_of_client_disconnect(self) -> bool {
        matches!(
            self,
            Self::SUCCESS
                | Self::DISCONNECT_WITH_WILL
                | Self::UNSPECIFIED_ERROR
                | Self::MALFORMED_PACKET
                | Self::PROTOCOL_ERROR
                | Self::IMPLEMENTATION_SPECIFIC_ERROR
                | Self::TOPIC_NAME_INVALID
                | Self::RECEIVE_MAXIMUM_EXCEEDED
                | Self::TOPIC_ALIAS_INVALID
                | Self::PACKET_TOO_LARGE
                | Self::MESSAGE_RATE_TOO_HIGH
                | Self::QUOTA_EXCEEDED
                | Self::ADMINISTRATIVE_ACTION
                | Self::PAYLOAD_FORMAT_INVALID
        )
    }

    /// May stand in an AUTH that a client sends (MQTT 5, 3.15.2.1).
    #[must_use]
    pub fn is_of_client_auth(self) -> bool {
        matches!(self, Self::CONTINUE_AUTHENTICATION | Self::RE_AUTHENTICATE)
    }
}
