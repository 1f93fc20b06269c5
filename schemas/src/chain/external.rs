//! What a rule node calls outside, or the control plane: its target and how, as the node's configuration says. Texts are templates unless said otherwise.
//! Never reads JSON and calls nobody.

use super::Wish;

/// A node whose work is done outside its shard; the message goes on when it is (DESIGN 8.6, 22).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum External {
    Rest(RestCall),
    Mqtt(MqttPublish),
    /// `None`: by the installation's own mail server.
    Email(Option<Mailer>),
    Kafka(KafkaPublish),
    RabbitMq(RabbitMqPublish),
    Nats(NatsPublish),
    Slack(SlackMessage),
    /// Of the control plane.
    Wish(Wish),
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RestCall {
    pub url: String,
    /// Put behind the URL: names and values.
    pub parameters: Vec<(String, String)>,
    pub method: Method,
    pub headers: Vec<(String, String)>,
    /// User name and password, no templates.
    pub basic: Option<(String, String)>,
    pub certificates: Option<Certificates>,
    /// The message's data are not sent.
    pub without_body: bool,
    /// What is sent in place of the message's data: JSON, unless texts are plain.
    pub body: Option<String>,
    /// Data that are a text are sent without quotation marks, and what a body template makes need not be JSON.
    pub plain_text: bool,
    pub timeout_ms: u32,
    /// Calls under way at once on one shard; 0: as many as the shard allows.
    pub parallel_max: u32,
    /// Bytes of an answer; 0: as many as the data plane allows.
    pub answer_bytes_max: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Method {
    Get,
    Post,
    Put,
    Delete,
    Patch,
    Head,
    Options,
}

impl Method {
    pub const ALL: [Self; 7] = [Self::Get, Self::Post, Self::Put, Self::Delete, Self::Patch, Self::Head, Self::Options];

    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Get => "GET",
            Self::Post => "POST",
            Self::Put => "PUT",
            Self::Delete => "DELETE",
            Self::Patch => "PATCH",
            Self::Head => "HEAD",
            Self::Options => "OPTIONS",
        }
    }

    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|method| method.name() == name)
    }

    #[must_use]
    pub const fn has_body(self) -> bool {
        matches!(self, Self::Post | Self::Put | Self::Patch | Self::Delete)
    }
}

/// A publication of QoS 1 to another broker.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MqttPublish {
    pub topic: String,
    /// No template, like everything below.
    pub host: String,
    pub port: u16,
    pub timeout_ms: u32,
    /// `None`: one that nobody else has.
    pub client_id: Option<String>,
    /// The client id is followed by the node's own, so that instances do not take each other's place.
    pub own_suffix: bool,
    pub retained: bool,
    pub clean_session: bool,
    pub version: MqttVersion,
    pub user: Option<(String, String)>,
    pub tls: Option<Certificates>,
    /// Data that are a text are sent without quotation marks.
    pub plain_text: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MqttVersion {
    V31,
    V311,
    V5,
}

impl MqttVersion {
    /// The version that ThingsBoard calls so.
    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        match name {
            "MQTT_3_1" => Some(Self::V31),
            "MQTT_3_1_1" => Some(Self::V311),
            "MQTT_5" => Some(Self::V5),
            _ => None,
        }
    }
}

/// Whom a TLS connection trusts and what it shows, all PEM.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Certificates {
    /// `None`: those that the machine trusts.
    pub authorities: Option<String>,
    /// A chain that begins with its own certificate, and its key, which is not encrypted.
    pub own: Option<(String, String)>,
}

/// A record for a Kafka cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KafkaPublish {
    pub topic: String,
    pub key: Option<String>,
    /// The message's metadata become headers, in this charset.
    pub headers: Option<Charset>,
    /// Of the connection: librdkafka's names, and values that were checked. No templates.
    pub properties: Vec<(&'static str, String)>,
}

/// A message for an exchange of RabbitMQ's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RabbitMqPublish {
    /// Empty: the default exchange, whose routing keys are names of queues.
    pub exchange: String,
    pub routing_key: String,
    pub content: RabbitMqContent,
    /// No template, like everything below.
    pub host: String,
    pub port: u16,
    pub virtual_host: String,
    pub user: String,
    pub password: String,
    /// Until there is a connection,
    pub connect_ms: u32,
    /// and from then on until messages may be published over it.
    pub opening_ms: u32,
    /// What the client says of itself.
    pub properties: Vec<(String, String)>,
}

/// Properties of a message, as Java's client groups them; `None` is left out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RabbitMqContent {
    pub kind: Option<&'static str>,
    pub persistent: Option<bool>,
    pub priority: Option<u8>,
}

impl RabbitMqContent {
    pub const NAMES: &str =
        "BASIC, TEXT_PLAIN, MINIMAL_BASIC, MINIMAL_PERSISTENT_BASIC, PERSISTENT_BASIC or PERSISTENT_TEXT_PLAIN";

    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        let full = |kind, persistent| Some(Self { kind: Some(kind), persistent: Some(persistent), priority: Some(0) });
        match name {
            "MINIMAL_BASIC" => Some(Self::default()),
            "MINIMAL_PERSISTENT_BASIC" => Some(Self { persistent: Some(true), ..Self::default() }),
            "BASIC" => full("application/octet-stream", false),
            "PERSISTENT_BASIC" => full("application/octet-stream", true),
            "TEXT_PLAIN" => full("text/plain", false),
            "PERSISTENT_TEXT_PLAIN" => full("text/plain", true),
            _ => None,
        }
    }
}

/// A message for a subject of NATS's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NatsPublish {
    pub subject: String,
    /// No template, like everything below.
    pub host: String,
    pub port: u16,
    pub timeout_ms: u32,
    pub user: Option<(String, String)>,
    /// A stream has to take it.
    pub jet_stream: bool,
    /// Data that are a text are sent without quotation marks.
    pub plain_text: bool,
}

/// A message in a conversation of Slack's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SlackMessage {
    /// A bot's. No template.
    pub token: String,
    /// The conversation's id. No template.
    pub channel: String,
    pub text: String,
}

/// How a text becomes bytes, as Java names it and does it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Charset {
    Utf8,
    Ascii,
    Latin1,
    Utf16,
    Utf16Be,
    Utf16Le,
}

impl Charset {
    pub const ALL: [Self; 6] = [Self::Utf8, Self::Ascii, Self::Latin1, Self::Utf16, Self::Utf16Be, Self::Utf16Le];

    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Utf8 => "UTF-8",
            Self::Ascii => "US-ASCII",
            Self::Latin1 => "ISO-8859-1",
            Self::Utf16 => "UTF-16",
            Self::Utf16Be => "UTF-16BE",
            Self::Utf16Le => "UTF-16LE",
        }
    }

    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|charset| charset.name() == name)
    }

    /// The text's bytes; a question mark for what the charset has not.
    #[must_use]
    pub fn encode(self, text: &str) -> Vec<u8> {
        let below =
            |most: u32| move |sign: char| u8::try_from(u32::from(sign)).ok().filter(|_| u32::from(sign) < most).unwrap_or(b'?');
        match self {
            Self::Utf8 => text.as_bytes().to_vec(),
            Self::Ascii => text.chars().map(below(0x80)).collect(),
            Self::Latin1 => text.chars().map(below(0x100)).collect(),
            // Java begins it with the mark of its order.
            Self::Utf16 => [0xFE, 0xFF].into_iter().chain(text.encode_utf16().flat_map(u16::to_be_bytes)).collect(),
            Self::Utf16Be => text.encode_utf16().flat_map(u16::to_be_bytes).collect(),
            Self::Utf16Le => text.encode_utf16().flat_map(u16::to_le_bytes).collect(),
        }
    }
}

/// Where e-mails are handed in. The message says what they are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mailer {
    pub host: String,
    pub port: u16,
    pub timeout_ms: u32,
    pub security: MailSecurity,
    pub user: Option<(String, String)>,
}

/// The mail server of the installation, which nodes use that name none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SystemMail {
    pub mailer: Mailer,
    /// Whom an e-mail is from that says nobody.
    pub from: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MailSecurity {
    None,
    /// SMTP that becomes TLS, without which nothing is sent.
    StartTls,
    /// TLS from the first byte on.
    Tls,
}

impl External {
    /// Calls of the node that one shard may have under way at once; 0: as many as it likes.
    #[must_use]
    pub fn parallel_max(&self) -> u32 {
        match self {
            Self::Rest(call) => call.parallel_max,
            Self::Mqtt(_)
            | Self::Email(_)
            | Self::Kafka(_)
            | Self::RabbitMq(_)
            | Self::Nats(_)
            | Self::Slack(_)
            | Self::Wish(_) => 0,
        }
    }
}

/// What becomes of a message's values in an e-mail; all are templates.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ToEmail {
    pub from: String,
    pub to: String,
    pub cc: String,
    pub bcc: String,
    pub subject: String,
    pub body: String,
    pub html: Html,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Html {
    Is(bool),
    /// A template that says true or false.
    Said(String),
}
