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
    Slack(SlackMessage),
    /// Of the control plane.
    Wish(Wish),
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RestCall {
    pub url: String,
    pub method: Method,
    pub headers: Vec<(String, String)>,
    /// User name and password, no templates.
    pub basic: Option<(String, String)>,
    /// The message's data are not sent.
    pub without_body: bool,
    /// What is sent in place of the message's data.
    pub body: Option<String>,
    /// Data that are a text are sent without quotation marks.
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
    pub user: Option<(String, String)>,
    /// Data that are a text are sent without quotation marks.
    pub plain_text: bool,
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
            Self::Mqtt(_) | Self::Email(_) | Self::Kafka(_) | Self::Slack(_) | Self::Wish(_) => 0,
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
