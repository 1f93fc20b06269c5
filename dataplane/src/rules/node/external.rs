//! Nodes that call outside, or the control plane: whether the message may leave for one, and the call that is made for it. Calls
//! nobody.

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use schemas::chain::external::{External, Html, KafkaPublish, MqttPublish, NatsPublish, RabbitMqPublish, RestCall, ToEmail};
use schemas::chain::{EntityType, MessageType, Side, Wish};
use serde_json::{Map, Value};

use crate::limits::DATA_BYTES_MAX;
use crate::owed::{Call, Email, HttpCall, KafkaCall, MqttCall, NatsCall, RabbitMqCall, SlackCall};
use crate::rules::carried::{Carried, Changed, Kind};
use crate::rules::node::{Next, Scene};
use crate::rules::template::{fill, fill_json, text};

/// Of a URL's parameters all that RFC 3986 does not leave unreserved.
const RESERVED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');
/// Of a URL with parameters, in bytes. A template may name the message's data as often as it likes.
const URL_BYTES_MAX: usize = 64 << 10;
/// Kafka's bound of a topic's name, in bytes.
const TOPIC_BYTES_MAX: usize = 249;
/// AMQP's bound of names, in bytes, and ours of a subject of NATS and of what an entity is called (`schemas::config`).
const NAME_BYTES_MAX: usize = 255;

/// The message leaves, unless too much is owed already (DESIGN 8.6, 22).
pub(super) fn run(external: &External, carried: &Carried<'_>, scene: &Scene<'_, '_>) -> Next {
    // What can be known now is not found out later.
    let possible = match external {
        External::Wish(wish) => may_want(wish, scene.message.originator_type),
        _ => Ok(()),
    };
    if let Err(reason) = possible.and_then(|()| call(external, carried).map(drop)) {
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
        External::Rest(rest) => http(rest, carried).map(Call::Http),
        External::Mqtt(publish) => mqtt(publish, carried).map(Call::Mqtt),
        External::Kafka(publish) => kafka(publish, carried).map(Call::Kafka),
        External::RabbitMq(publish) => rabbitmq(publish, carried).map(Call::RabbitMq),
        External::Nats(publish) => nats(publish, carried).map(Call::Nats),
        External::Slack(message) => {
            let text = fill(&message.text, carried).into_owned();
            Ok(Call::Slack(SlackCall { token: message.token.clone(), channel: message.channel.clone(), text }))
        }
        External::Wish(wish) => {
            if *wish == Wish::Credentials(Side::Data) && !carried.data().is_object() {
                return Err("the message is no object that credentials could be put into".to_owned());
            }
            let mut longest = 0;
            let filled = wish.filled(|template| {
                let text = fill(template, carried);
                longest = longest.max(text.len());
                if text.len() > NAME_BYTES_MAX { String::new() } else { text.into_owned() }
            });
            match longest > NAME_BYTES_MAX {
                true => Err(format!("a name of {longest} bytes; nothing has one of more than {NAME_BYTES_MAX}")),
                false => Ok(Call::Wish(filled)),
            }
        }
        External::Email(mailer) => {
            if carried.standard() != Some(MessageType::SendEmail) {
                return Err(format!("{}: expected a message of type SEND_EMAIL, as \"to email\" makes it", carried.kind_name()));
            }
            let data = carried.data();
            // A script's null is nobody's address.
            let field = |name: &str| data.get(name).filter(|value| !value.is_null()).map(text).unwrap_or_default();
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

fn may_want(wish: &Wish, originator: EntityType) -> Result<(), String> {
    let fitting = wish.originators();
    if fitting.is_empty() || fitting.contains(&originator) {
        return Ok(());
    }
    let names = fitting.iter().map(|kind| kind.name()).collect::<Vec<_>>().join(", ");
    Err(format!("Unsupported originator type '{}'! Only {names} types are allowed.", originator.name()))
}

fn http(rest: &RestCall, carried: &Carried<'_>) -> Result<HttpCall, String> {
    let filled = |template: &str| fill(template, carried).into_owned();
    let body = match &rest.body {
        _ if rest.without_body || !rest.method.has_body() => None,
        Some(template) if rest.plain_text => Some(filled(template)),
        Some(template) => Some(json(template, carried)?),
        None => Some(said(carried, rest.plain_text)),
    };
    Ok(HttpCall {
        method: rest.method,
        url: url(rest, carried)?,
        headers: rest.headers.iter().map(|(name, value)| (name.clone(), filled(value))).collect(),
        basic: rest.basic.clone(),
        certificates: rest.certificates.clone(),
        body,
        timeout_ms: rest.timeout_ms,
        answer_bytes_max: rest.answer_bytes_max,
    })
}

/// The URL with its parameters, which nothing that is put into them can add to or cut off.
fn url(rest: &RestCall, carried: &Carried<'_>) -> Result<String, String> {
    let filled = fill(&rest.url, carried);
    let (before, fragment) = match filled.split_once('#') {
        Some((before, fragment)) => (before, Some(fragment)),
        None => (&*filled, None),
    };
    let mut url = before.to_owned();
    for (name, value) in &rest.parameters {
        url.push(if url.contains('?') { '&' } else { '?' });
        url.extend(utf8_percent_encode(&fill(name, carried), RESERVED));
        url.push('=');
        url.extend(utf8_percent_encode(&fill(value, carried), RESERVED));
        if url.len() > URL_BYTES_MAX {
            return Err(format!("a URL of more than {URL_BYTES_MAX} bytes"));
        }
    }
    if let Some(fragment) = fragment {
        url.push('#');
        url.push_str(fragment);
    }
    Ok(url)
}

fn json(template: &str, carried: &Carried<'_>) -> Result<String, String> {
    let json = fill_json(template, carried).into_owned();
    match serde_json::from_str::<Value>(&json) {
        Ok(_) => Ok(json),
        Err(error) => Err(format!("requestBodyTemplate makes no JSON of this message: {error}")),
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
