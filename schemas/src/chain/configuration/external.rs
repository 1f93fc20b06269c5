//! Configurations of the nodes that call outside. What we cannot do is refused, so that no call silently lacks it.

use serde_json::{Map, Value};

use super::{Problems, Reader};
use crate::chain::{
    Problem,
    external::{
        Certificates, Html, MailSecurity, Mailer, Method, MqttPublish, MqttVersion, NatsPublish, RabbitMqContent,
        RabbitMqPublish, RestCall, SlackMessage, SystemMail, ToEmail,
    },
};
use crate::config::NAME_BYTES_MAX;

/// The longest that anybody outside may take for an answer, in milliseconds.
const TIMEOUT_MS_MAX: u64 = 60_000;
const TIMEOUT_MS: u64 = 20_000;
const ANSWER_KIB_MAX: u64 = 64;
/// What ThingsBoard's whole numbers hold.
const NUMBER_MAX: u64 = i32::MAX as u64;
/// Headers of a call; so many parameters, too.
const HEADERS_MAX: usize = 64;
const HEADER_BYTES_MAX: usize = 4_096;
const PEM_BYTES_MAX: usize = 32 << 10;

impl Reader<'_> {
    pub(super) fn rest_call(&mut self) -> Option<RestCall> {
        for field in ["enableProxy", "useSystemProxyProperties"] {
            self.refuse_flag(field, "a proxy");
        }
        let url = self.text("restEndpointUrlPattern", "a URL");
        if let Some(url) = &url
            && !["http://", "https://", "${", "$["].iter().any(|begin| url.starts_with(begin))
        {
            self.problem("restEndpointUrlPattern", format!("{url}: expected http:// or https://"));
        }
        let method = match self.value("requestMethod") {
            None => Some(Method::Post),
            Some(_) => self.required("requestMethod", "GET, POST, PUT, DELETE, PATCH, HEAD or OPTIONS", |value| {
                value.as_str().and_then(Method::parse)
            }),
        };
        // The oldest configurations have another name for it.
        let plain = if self.value("parseToPlainText").is_none() { "trimDoubleQuotes" } else { "parseToPlainText" };
        let (without_body, plain_text) = (self.flag("ignoreRequestBody"), self.flag(plain));
        let timeout_ms = self.number_up_to("readTimeoutMs", NUMBER_MAX);
        let parallel_max = self.number_up_to("maxParallelRequestsCount", NUMBER_MAX);
        let parameters = self.parameters();
        let answer_kib = self.number_up_to("maxInMemoryBufferSizeInKb", 25_000);
        let (body, headers, shown) = (self.optional_text("requestBodyTemplate"), self.headers(), self.credentials());
        let Shown { user: basic, certificates } = shown?;
        Some(RestCall {
            url: url?,
            parameters: parameters?,
            method: method?,
            headers: headers?,
            basic,
            certificates,
            without_body: without_body?,
            body: body?.filter(|body| !body.trim().is_empty()),
            plain_text: plain_text?,
            timeout_ms: or(timeout_ms?.min(TIMEOUT_MS_MAX), TIMEOUT_MS),
            parallel_max: or(parallel_max?, 0),
            answer_bytes_max: or(answer_kib?.min(ANSWER_KIB_MAX) * 1_024, ANSWER_KIB_MAX * 1_024),
        })
    }

    pub(super) fn mqtt_publish(&mut self) -> Option<MqttPublish> {
        let version = match self.value("protocolVersion") {
            None => Some(MqttVersion::V311),
            Some(_) => self.required("protocolVersion", "MQTT_3_1, MQTT_3_1_1 or MQTT_5", |value| {
                value.as_str().and_then(MqttVersion::parse)
            }),
        };
        let (topic, host) = (self.text("topicPattern", "a topic"), self.text("host", "a host name"));
        let (port, timeout_s) = (self.port("port", 1_883), self.number_up_to("connectTimeoutSec", 200));
        let (client_id, own_suffix) = (self.optional_text("clientId"), self.flag("appendClientIdSuffix"));
        let (retained, plain_text) = (self.flag("retainedMessage"), self.flag("parseToPlainText"));
        let clean_session = if self.value("cleanSession").is_none() { Some(true) } else { self.flag("cleanSession") };
        let (ssl, shown) = (self.flag("ssl"), self.credentials());
        let Shown { user, certificates } = shown?;
        if certificates.is_some() && ssl == Some(false) {
            self.problem("credentials.type", "cert.PEM needs ssl: true");
        }
        let tls = ssl?.then(|| certificates.unwrap_or_default());
        Some(MqttPublish {
            topic: topic?,
            host: host?,
            port: port?,
            timeout_ms: or(timeout_s? * 1_000, 10_000),
            client_id: client_id?,
            own_suffix: own_suffix?,
            retained: retained?,
            clean_session: clean_session?,
            version: version?,
            user,
            tls,
            plain_text: plain_text?,
        })
    }

    pub(super) fn rabbitmq_publish(&mut self) -> Option<RabbitMqPublish> {
        let (exchange, routing_key) = (self.optional_text("exchangeNamePattern"), self.optional_text("routingKeyPattern"));
        let content = match self.optional_text("messageProperties")? {
            None => Some(RabbitMqContent::default()),
            Some(_) => self
                .required("messageProperties", RabbitMqContent::NAMES, |value| value.as_str().and_then(RabbitMqContent::parse)),
        };
        let (host, port) = (self.text("host", "a host name"), self.port("port", 5_672));
        let mut short = |field: &str, usual: &str| {
            let text = self.optional_text(field)?.unwrap_or_else(|| usual.to_owned());
            let fits = text.len() <= NAME_BYTES_MAX && !text.contains('\0');
            if !fits {
                self.problem(field, format!("expected at most {NAME_BYTES_MAX} bytes, none of them 0"));
            }
            fits.then_some(text)
        };
        // What Java's client does without them.
        let (virtual_host, user, password) = (short("virtualHost", "/"), short("username", "guest"), short("password", "guest"));
        // A connection that ends is made anew in any case.
        let _recovers = self.flag("automaticRecoveryEnabled");
        let connect = self.number_up_to("connectionTimeout", u64::from(u32::MAX));
        let opening = self.number_up_to("handshakeTimeout", u64::from(u32::MAX));
        let properties = self.named_texts("clientProperties", |name| name.len() <= NAME_BYTES_MAX);
        Some(RabbitMqPublish {
            exchange: exchange?.unwrap_or_default(),
            routing_key: routing_key?.unwrap_or_default(),
            content: content?,
            host: host?,
            port: port?,
            virtual_host: virtual_host?,
            user: user?,
            password: password?,
            connect_ms: or(connect?.min(TIMEOUT_MS_MAX), TIMEOUT_MS_MAX),
            opening_ms: or(opening?.min(TIMEOUT_MS_MAX), 10_000),
            properties: properties?,
        })
    }

    /// Not a node of ThingsBoard's; its fields are those of the MQTT node.
    pub(super) fn nats_publish(&mut self) -> Option<NatsPublish> {
        self.refuse_flag("ssl", "TLS");
        let (subject, host) = (self.text("subjectPattern", "a subject"), self.text("host", "a host name"));
        let (port, timeout_s) = (self.port("port", 4_222), self.number_up_to("connectTimeoutSec", 200));
        let (jet_stream, plain_text, shown) = (self.flag("jetStream"), self.flag("parseToPlainText"), self.credentials());
        let Shown { user, certificates } = shown?;
        if certificates.is_some() {
            self.problem("credentials.type", "cert.PEM: TLS is not supported yet");
        }
        Some(NatsPublish {
            subject: subject?,
            host: host?,
            port: port?,
            timeout_ms: or(timeout_s? * 1_000, 10_000),
            user,
            jet_stream: jet_stream?,
            plain_text: plain_text?,
        })
    }

    pub(super) fn slack_message(&mut self) -> Option<SlackMessage> {
        // ThingsBoard's default is true, and the system has no Slack of its own here.
        if self.value("useSystemSettings").is_none_or(|value| *value != Value::Bool(false)) {
            self.problem("useSystemSettings", "expected false, with a botToken: the system has none of its own");
        }
        let token = self.required("botToken", "a token of visible ASCII characters", |value| {
            let token = value.as_str().filter(|token| (1..=HEADER_BYTES_MAX).contains(&token.len()))?;
            token.bytes().all(|byte| byte.is_ascii_graphic()).then(|| token.to_owned())
        });
        let channel = self.required("conversation", "an object with the id of a conversation", |value| {
            value.get("id").and_then(Value::as_str).filter(|id| (1..=NAME_BYTES_MAX).contains(&id.len())).map(str::to_owned)
        });
        let text = self.text("messageTemplate", "a text");
        Some(SlackMessage { token: token?, channel: channel?, text: text? })
    }

    /// The mail server of a node; `Some(None)`: the installation's.
    pub(super) fn node_mailer(&mut self) -> Option<Option<Mailer>> {
        // ThingsBoard's default is true.
        if self.value("useSystemSmtpSettings").is_none() || self.flag("useSystemSmtpSettings")? {
            return Some(None);
        }
        self.mailer().map(Some)
    }

    fn mailer(&mut self) -> Option<Mailer> {
        self.refuse_flag("enableProxy", "a proxy");
        let tls = self.flag("enableTls");
        let protocol = self.value("smtpProtocol").and_then(Value::as_str).unwrap_or("smtp").to_owned();
        let security = match (protocol.as_str(), tls) {
            ("smtps", Some(_)) => Some(MailSecurity::Tls),
            ("smtp", Some(true)) => Some(MailSecurity::StartTls),
            ("smtp", Some(false)) => Some(MailSecurity::None),
            ("smtp" | "smtps", None) => None,
            _ => {
                self.problem("smtpProtocol", format!("{protocol}: expected smtp or smtps"));
                None
            }
        };
        let (host, port) = (self.text("smtpHost", "a host name"), self.port("smtpPort", 25));
        let timeout_ms = self.number_up_to("timeout", NUMBER_MAX);
        let user = login_of(self.fields);
        Some(Mailer {
            host: host?,
            port: port?,
            timeout_ms: or(timeout_ms?.min(TIMEOUT_MS_MAX), 10_000),
            security: security?,
            user,
        })
    }

    pub(super) fn email(&mut self) -> Option<ToEmail> {
        let mut text = |field: &str| self.optional_text(field).map(Option::unwrap_or_default);
        let (from, to, cc, bcc) = (text("fromTemplate"), text("toTemplate"), text("ccTemplate"), text("bccTemplate"));
        let (subject, body) = (text("subjectTemplate"), text("bodyTemplate"));
        let kind = self.value("mailBodyType").and_then(Value::as_str).map(str::to_owned);
        let html = match kind.as_deref() {
            Some("dynamic") => self.text("isHtmlTemplate", "a template that says true or false").map(Html::Said),
            Some("true") => Some(Html::Is(true)),
            Some("false") => Some(Html::Is(false)),
            None => self.flag("isHtmlTemplate").map(Html::Is),
            Some(other) => {
                self.problem("mailBodyType", format!("{other}: expected true, false or dynamic"));
                None
            }
        };
        if to.as_ref().is_some_and(String::is_empty) {
            self.problem("toTemplate", "missing: expected whom the e-mail is for");
        }
        Some(ToEmail { from: from?, to: to?, cc: cc?, bcc: bcc?, subject: subject?, body: body?, html: html? })
    }

    /// `credentials`, with which a node shows who it is; absent shows nothing.
    fn credentials(&mut self) -> Option<Shown> {
        let Some(credentials) = self.value("credentials") else { return Some(Shown::default()) };
        let kind = credentials.get("type").and_then(Value::as_str).map(str::to_owned);
        match kind.as_deref() {
            None | Some("anonymous") => Some(Shown::default()),
            Some("basic") => {
                let user = credentials.as_object().and_then(login_of);
                if user.is_none() {
                    self.problem("credentials", "expected username and password");
                }
                user.map(|user| Shown { user: Some(user), certificates: None })
            }
            Some("cert.PEM") => match certificates(credentials) {
                Ok(certificates) => Some(Shown { user: None, certificates: Some(certificates) }),
                Err(problems) => {
                    problems.into_iter().for_each(|(field, rule)| self.problem(field, rule));
                    None
                }
            },
            Some(other) => {
                self.problem(
                    "credentials.type",
                    format!("{other} is not supported; supported are anonymous, basic and cert.PEM"),
                );
                None
            }
        }
    }

    /// Names and templates of values; absent is none of them.
    fn headers(&mut self) -> Option<Vec<(String, String)>> {
        let token = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
        self.named_texts("headers", |name| name.bytes().all(token))
    }

    /// What goes behind the URL's `?`: names and values, both templates.
    fn parameters(&mut self) -> Option<Vec<(String, String)>> {
        if self.value("queryParams").is_none() {
            return Some(Vec::new());
        }
        let text =
            |entry: &Value, field| entry.get(field)?.as_str().filter(|text| text.len() <= HEADER_BYTES_MAX).map(str::to_owned);
        let pair = |entry: &Value| Some((text(entry, "key")?, text(entry, "value")?));
        let expected = format!(
            "an array of at most {HEADERS_MAX} parameters, each a key and a value, texts of at most {HEADER_BYTES_MAX} bytes"
        );
        self.required("queryParams", &expected, |value| {
            value.as_array().filter(|all| all.len() <= HEADERS_MAX)?.iter().map(pair).collect()
        })
    }

    fn named_texts(&mut self, field: &str, is_name: impl Fn(&str) -> bool) -> Option<Vec<(String, String)>> {
        let named = |(name, value): (&String, &Value)| {
            let value = value.as_str().filter(|value| value.len() <= HEADER_BYTES_MAX)?;
            (!name.is_empty() && is_name(name)).then(|| (name.clone(), value.to_owned()))
        };
        let texts = match self.value(field) {
            None => Some(Vec::new()),
            Some(Value::Object(texts)) if texts.len() <= HEADERS_MAX => texts.iter().map(named).collect(),
            Some(_) => None,
        };
        if texts.is_none() {
            let rule = format!(
                "expected an object of at most {HEADERS_MAX} names, each with a text of at most {HEADER_BYTES_MAX} bytes"
            );
            self.problem(field, rule);
        }
        texts
    }

    fn refuse_flag(&mut self, field: &str, what: &str) {
        if self.flag(field) == Some(true) {
            self.problem(field, format!("true: {what} is not supported yet"));
        }
    }

    /// A text that has to be there.
    pub(super) fn text(&mut self, field: &str, expected: &str) -> Option<String> {
        self.required(field, expected, |value| value.as_str().filter(|text| !text.trim().is_empty()).map(str::to_owned))
    }

    /// A text; an empty one is none.
    pub(super) fn optional_text(&mut self, field: &str) -> Option<Option<String>> {
        match self.value(field) {
            None => Some(None),
            Some(Value::String(text)) => Some(Some(text.clone()).filter(|text| !text.is_empty())),
            Some(value) => {
                let rule = format!("{value}: expected a text");
                self.problem(field, rule);
                None
            }
        }
    }

    /// A whole number, which older versions wrote as a text, too; absent is 0.
    pub(super) fn number_up_to(&mut self, field: &str, most: u64) -> Option<u64> {
        let Some(value) = self.value(field) else { return Some(0) };
        let number = value.as_u64().or_else(|| value.as_str().and_then(|text| text.parse().ok()));
        let number = number.filter(|number| *number <= most);
        if number.is_none() {
            let rule = format!("{value}: expected a whole number from 0 to {most}");
            self.problem(field, rule);
        }
        number
    }

    fn port(&mut self, field: &str, otherwise: u16) -> Option<u16> {
        let port = self.number_up_to(field, u16::MAX.into())?;
        Some(u16::try_from(port).ok().filter(|port| *port > 0).unwrap_or(otherwise))
    }
}

/// Reads ThingsBoard's admin settings `mail`: the mail server of the installation.
///
/// # Errors
/// Everything that is wrong.
pub fn system_mail(settings: &Map<String, Value>) -> Result<SystemMail, Vec<Problem>> {
    let mut problems = Problems::default();
    let mut reader = Reader { fields: settings, path: "jsonValue".to_owned(), problems: &mut problems };
    let (mailer, from) = (reader.mailer(), reader.text("mailFrom", "whom e-mails are from"));
    match (mailer, from) {
        (Some(mailer), Some(from)) if problems.0.is_empty() => Ok(SystemMail { mailer, from }),
        _ => Err(problems.0),
    }
}

/// What a node shows of itself.
#[derive(Default)]
struct Shown {
    user: Option<(String, String)>,
    certificates: Option<Certificates>,
}

/// Credentials `cert.PEM`: whom to trust, what to show, or both.
fn certificates(credentials: &Value) -> Result<Certificates, Vec<(&'static str, String)>> {
    let mut problems = Vec::new();
    let mut pem = |field: &'static str, place: &'static str, label: &str| {
        let text = credentials.get(field).and_then(Value::as_str).filter(|text| !text.trim().is_empty())?;
        let begin = |kind: &str| text.contains(&format!("-----BEGIN {kind}"));
        if begin("ENCRYPTED PRIVATE KEY") || text.contains("Proc-Type: 4,ENCRYPTED") {
            problems.push((place, "an encrypted key is not supported yet".to_owned()));
        } else if text.len() > PEM_BYTES_MAX || !(begin(label) || label == "PRIVATE KEY" && (begin("RSA ") || begin("EC "))) {
            problems.push((place, format!("expected {label} as PEM, at most {PEM_BYTES_MAX} bytes")));
        }
        Some(text.to_owned())
    };
    let authorities = pem("caCert", "credentials.caCert", "CERTIFICATE");
    let chain = pem("cert", "credentials.cert", "CERTIFICATE");
    let key = pem("privateKey", "credentials.privateKey", "PRIVATE KEY");
    let own = match (chain, key) {
        (Some(chain), Some(key)) => Some((chain, key)),
        (None, None) => None,
        _ => {
            problems.push(("credentials", "cert and privateKey belong together".to_owned()));
            None
        }
    };
    if authorities.is_none() && own.is_none() && problems.is_empty() {
        problems.push(("credentials", "expected caCert, or cert and privateKey".to_owned()));
    }
    if problems.is_empty() { Ok(Certificates { authorities, own }) } else { Err(problems) }
}

/// `username` and `password`, if there is a name.
fn login_of(fields: &Map<String, Value>) -> Option<(String, String)> {
    let text = |field: &str| fields.get(field).and_then(Value::as_str).unwrap_or_default().to_owned();
    Some((text("username"), text("password"))).filter(|(user, _)| !user.is_empty())
}

/// 0 stands for what is usual.
fn or(number: u64, usual: u64) -> u32 {
    u32::try_from(if number == 0 { usual } else { number }).unwrap_or(u32::MAX)
}
