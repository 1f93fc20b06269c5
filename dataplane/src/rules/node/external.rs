//! Nodes that call outside: whether the message may leave for one, and the call that is made for it. Calls nobody.

use schemas::chain::MessageType;
use schemas::chain::external::{External, Html, KafkaPublish, MqttPublish, NatsPublish, RabbitMqPublish, RestCall, ToEmail};
use serde_json::{Map, Value};

use crate::limits::DATA_BYTES_MAX;
use crate::owed::{Call, Email, HttpCall, KafkaCall, MqttCall, NatsCall, RabbitMqCall, SlackCall};
use crate::rules::carried::{Carried, Changed, Kind};
use crate::rules::node::{Next, Scene};
use crate::rules::template::{fill, text};

/// Kafka's bound of a topic's name, in bytes.
const TOPIC_BYTES_MAX: usize = 249;
/// AMQP's bound of names, in bytes, and ours of a subject of NATS.
const NAME_BYTES_MAX: usize = 255;

/// The message leaves, unless too much is owed already (DESIGN 8.6, 22).
pub(super) fn run(external: &External, carried: &Carried<'_>, scene: &Scene<'_, '_>) -> Next {
    // What can be known now is not found out later.
    if let Err(reason) = call(external, carried) {
        return Next::Fail(reason);
    }
    match scene.world.may_owe() {
        Ok(()) => Next::Depart,
        Err(reason) => Next::Fail(reason),
    }
}

/// What a node says outside for a message.
///
/// # Errors
/// Why there is nothing to say.
pub(in crate::rules) fn call(external: &External, carried: &Carried<'_>) -> Result<Call, String> {
    match external {
        External::Rest(rest) => Ok(Call::Http(http(rest, carried))),
        External::Mqtt(publish) => mqtt(publish, carried).map(Call::Mqtt),
        External::Kafka(publish) => kafka(publish, carried).map(Call::Kafka),
        External::RabbitMq(publish) => rabbitmq(publish, carried).map(Call::RabbitMq),
        External::Nats(publish) => nats(publish, carried).map(Call::Nats),
        External::Slack(message) => {
            let text = fill(&message.text, carried).into_owned();
            Ok(Call::Slack(SlackCall { token: message.token.clone(), channel: message.channel.clone(), text }))
        }
        External::Email(mailer) => {
            if carried.standard() != Some(MessageType::SendEmail) {
                return Err(format!("{}: expected a message of type SEND_EMAIL, as \"to email\" makes it", carried.kind_name()));
            }
            let data = carried.data();
            let field = |name: &str| data.get(name).map(text).unwrap_or_default();
            let html = data.get("html").and_then(Value::as_bool).unwrap_or(false);
            let (from, to, cc, bcc) = (field("from"), field("to"), field("cc"), field("bcc"));
            let (subject, body) = (field("subject"), field("body"));
            if to.trim().is_empty() {
                return Err("the e-mail is for nobody".to_owned());
            }
            Ok(Call::Email(Email { mailer: mailer.clone(), from, to, cc, bcc, subject, body, html }))
        }
    }
}

fn http(rest: &RestCall, carried: &Carried<'_>) -> HttpCall {
    let filled = |template: &str| fill(template, carried).into_owned();
    let body = match &rest.body {
        _ if rest.without_body || !rest.method.has_body() => None,
        Some(template) => Some(filled(template)),
        None => Some(said(carried, rest.plain_text)),
    };
    HttpCall {
        method: rest.method,
        url: filled(&rest.url),
        headers: rest.headers.iter().map(|(name, value)| (name.clone(), filled(value))).collect(),
        basic: rest.basic.clone(),
        certificates: rest.certificates.clone(),
        body,
        timeout_ms: rest.timeout_ms,
        answer_bytes_max: rest.answer_bytes_max,
    }
}

fn mqtt(publish: &MqttPublish, carried: &Carried<'_>) -> Result<MqttCall, String> {
    let topic = fill(&publish.topic, carried).into_owned();
    // [MQTT-3.3.2-2]
    if topic.is_empty() || topic.len() > usize::from(u16::MAX) || topic.contains(['+', '#', '\0']) {
        return Err(format!("{topic:?} is no topic to publish to"));
    }
    Ok(MqttCall { broker: publish.clone(), topic, payload: said(carried, publish.plain_text) })
}

fn kafka(publish: &KafkaPublish, carried: &Carried<'_>) -> Result<KafkaCall, String> {
    let topic = fill(&publish.topic, carried).into_owned();
    let legal = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
    if !(1..=TOPIC_BYTES_MAX).contains(&topic.len()) || !topic.bytes().all(legal) || topic == "." || topic == ".." {
        return Err(format!("{topic:?} is no topic of Kafka's"));
    }
    let key = publish.key.as_ref().map(|key| fill(key, carried).into_owned()).filter(|key| !key.trim().is_empty());
    let headers = match publish.headers {
        None => Vec::new(),
        Some(charset) => {
            let metadata = carried.change().metadata;
            metadata.iter().map(|(name, value)| (format!("tb_msg_md_{name}"), charset.encode(value))).collect()
        }
    };
    Ok(KafkaCall { cluster: publish.clone(), topic, key, headers, payload: said(carried, false) })
}

fn rabbitmq(publish: &RabbitMqPublish, carried: &Carried<'_>) -> Result<RabbitMqCall, String> {
    let (exchange, routing_key) =
        (fill(&publish.exchange, carried).into_owned(), fill(&publish.routing_key, carried).into_owned());
    if let Some(long) = [&exchange, &routing_key].into_iter().find(|name| name.len() > NAME_BYTES_MAX) {
        return Err(format!("{long:?} is longer than {NAME_BYTES_MAX} bytes, which AMQP does not allow"));
    }
    Ok(RabbitMqCall { broker: publish.clone(), exchange, routing_key, payload: said(carried, false) })
}

fn nats(publish: &NatsPublish, carried: &Carried<'_>) -> Result<NatsCall, String> {
    let subject = fill(&publish.subject, carried).into_owned();
    let wrong = |part: &str| part.is_empty() || part == "*" || part == ">" || part.contains(|sign: char| sign <= ' ');
    if subject.len() > NAME_BYTES_MAX || subject.split('.').any(wrong) {
        return Err(format!("{subject:?} is no subject to publish to"));
    }
    Ok(NatsCall { server: publish.clone(), subject, payload: said(carried, publish.plain_text) })
}

/// The message's data; a text without quotation marks if it is to be plain.
fn said(carried: &Carried<'_>, plain: bool) -> String {
    let data = carried.data();
    if plain { text(&data) } else { data.to_string() }
}

/// To email: the message becomes what "send email" takes.
pub(super) fn to_email(email: &ToEmail, carried: &Carried<'_>) -> Next {
    let filled = |template: &str| fill(template, carried).into_owned();
    let html = match &email.html {
        Html::Is(html) => *html,
        Html::Said(template) => filled(template).trim().eq_ignore_ascii_case("true"),
    };
    let parts = [
        ("from", &email.from),
        ("to", &email.to),
        ("cc", &email.cc),
        ("bcc", &email.bcc),
        ("subject", &email.subject),
        ("body", &email.body),
    ];
    let parts = parts.map(|(name, template)| (name.to_owned(), filled(template)));
    // A template may name the message's own body several times, and the next node may do so again.
    if parts.iter().map(|(_, text)| text.len()).sum::<usize>() > DATA_BYTES_MAX {
        return Next::Fail(format!("the e-mail is longer than {DATA_BYTES_MAX} bytes"));
    }
    let mut data: Map<String, Value> = parts.into_iter().map(|(name, text)| (name, Value::String(text))).collect();
    data.insert("html".to_owned(), Value::Bool(html));
    let data = Value::Object(data);
    Next::With(Changed { kind: Kind::Standard(MessageType::SendEmail), data, ..carried.change() })
}
