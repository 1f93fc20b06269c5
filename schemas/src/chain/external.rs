//! What a rule node calls outside: its target and how, as the node's configuration says. Texts are templates unless said otherwise.
//! Never reads JSON and calls nobody.

/// A node whose work is done outside; the message goes on when it is (DESIGN 8.6, 22).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum External {
    Rest(RestCall),
    Mqtt(MqttPublish),
    /// `None`: by the installation's own mail server.
    Email(Option<Mailer>),
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
            Self::Mqtt(_) | Self::Email(_) => 0,
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
