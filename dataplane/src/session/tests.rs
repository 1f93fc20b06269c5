//! Sessions as data: what is done, what must come out. The names in brackets are normative statements of the specifications;
//! those of MQTT 5 are counted by `tests/conformance.rs`.

mod conformance;
mod connecting;
mod delivering;
mod ending;
mod exactly_once;
mod properties;
mod publishing;
mod subscribing;

use super::*;
use crate::clock::Instant;
use crate::limits;

const START: Instant = Instant::from_nanos(5_000_000_000);

/// One deed and what must follow from it.
enum Do {
    /// Bytes come: these intents (as their text), then silence.
    Feed(Vec<u8>, &'static [&'static str]),
    /// Bytes come and the connection ends for this reason, before which these intents come.
    Break(Vec<u8>, &'static [&'static str], Reason),
    Admit(Admission),
    Refuse(Refusal),
    Settle(u64, Outcome),
    SettleBreaks(u64, Outcome, Reason),
    Deliver(Downlink<'static>, Sending, Delivery),
    Answer(Option<u64>, Downlink<'static>, Delivery),
    Close(Reason),
    /// So many milliseconds pass; the connection ends for this reason, if any.
    Elapse(u64, Option<Reason>),
    Pause,
    Resume,
    /// These bytes are waiting to be sent.
    Sends(Vec<u8>),
    /// This is what would be kept.
    Keeps(Kept),
}
use Do::{Admit, Answer, Break, Deliver, Elapse, Feed, Keeps, Pause, Refuse, Resume, Sends, Settle, SettleBreaks};

fn check(name: &str, deeds: Vec<Do>) {
    let mut session = Session::new(START);
    let mut now = START;
    for (index, deed) in deeds.into_iter().enumerate() {
        let at = format!("{name}, deed {index}");
        let ended = match deed {
            Feed(bytes, intents) => {
                assert_eq!(feed(&mut session, &bytes, now), (texts(intents), None), "{at}");
                None
            }
            Break(bytes, intents, reason) => {
                assert_eq!(feed(&mut session, &bytes, now), (texts(intents), Some(reason)), "{at}");
                Some(Close { reason })
            }
            Refuse(refusal) => {
                let close = session.refuse(refusal);
                assert_eq!(close.reason, Reason::Refused(refusal), "{at}");
                Some(close)
            }
            Settle(receipt, outcome) => {
                assert_eq!(session.settle(Receipt(receipt), outcome), Ok(()), "{at}");
                None
            }
            SettleBreaks(receipt, outcome, reason) => {
                assert_eq!(session.settle(Receipt(receipt), outcome), Err(Close { reason }), "{at}");
                Some(Close { reason })
            }
            Elapse(ms, reason) => {
                now = now.after_ms(ms);
                let close = session.elapse(now);
                assert_eq!(close.map(|close| close.reason), reason, "{at}");
                close
            }
            Do::Close(reason) => Some(Close { reason }),
            deed => {
                act(&mut session, deed, now, &at);
                None
            }
        };
        if let Some(close) = ended {
            session.close(close);
        }
    }
}

/// Deeds that end nothing.
fn act(session: &mut Session, deed: Do, now: Instant, at: &str) {
    match deed {
        Admit(admission) => session.admit(admission, now),
        Deliver(downlink, sending, delivery) => assert_eq!(session.deliver(downlink, sending, now), delivery, "{at}"),
        Answer(receipt, downlink, delivery) => {
            assert_eq!(session.answer(receipt.map(Receipt), downlink, now), Ok(delivery), "{at}");
        }
        Pause => session.pause(),
        Resume => session.resume(now),
        Sends(bytes) => assert_eq!(std::mem::take(session.output()), bytes, "{at}"),
        Keeps(kept) => assert_eq!(session.kept(), kept, "{at}"),
        _ => panic!("{at}: the caller does this"),
    }
}

fn feed(session: &mut Session, bytes: &[u8], now: Instant) -> (Vec<String>, Option<Reason>) {
    let (mut input, mut intents) = (bytes, Vec::new());
    loop {
        match session.next(&mut input, now) {
            Ok(Some(intent)) => intents.push(text(&intent)),
            Ok(None) => return (intents, None),
            Err(close) => return (intents, Some(close.reason)),
        }
    }
}

fn texts(intents: &[&str]) -> Vec<String> {
    intents.iter().map(ToString::to_string).collect()
}

/// Short enough to write down: the kind, its numbers, the receipt (with the identifier of a QoS 2 message), the payload.
fn text(intent: &Intent<'_>) -> String {
    match intent {
        Intent::Admit(wish) => admit_text(wish),
        Intent::Operation { operation, promise } => operation_text(operation, *promise),
        Intent::Request { token, .. } => format!("request of {token}"),
        Intent::Release { packet_id, receipt } => format!("release {} #{packet_id}", receipt.0),
        Intent::UnknownTopic { promise } => format!("unknown {}", promise_text(*promise)),
        Intent::Acknowledged { number } => format!("acknowledged {number}"),
        Intent::Subscribed => String::from("subscribed"),
        Intent::Unsubscribed => String::from("unsubscribed"),
        Intent::Ping => String::from("ping"),
        Intent::Disconnect { with_will, expiry_s } => {
            let expiry = expiry_s.map(|seconds| format!(" {seconds} s")).unwrap_or_default();
            format!("disconnect {with_will}{expiry}")
        }
        Intent::Upgrade => String::from("upgrade"),
    }
}

fn admit_text(wish: &Wish<'_>) -> String {
    let Credential { user_name, client_id, password } = wish.credential;
    let mut text = format!("admit {}/{client_id}/{}", user_name.unwrap_or_default(), password.is_some());
    if !wish.clean_start {
        text.push_str(" resume");
    }
    if wish.expiry_s > 0 {
        text.push_str(&format!(" {} s", wish.expiry_s));
    }
    if let Some(Will { topic, payload, delay_s }) = wish.will {
        text.push_str(&format!(" will {topic} {} after {delay_s} s", String::from_utf8_lossy(payload)));
    }
    text
}

fn promise_text(promise: Option<Promise>) -> String {
    match promise {
        None => String::from("-"),
        Some(Promise { receipt, exactly_once: None }) => receipt.0.to_string(),
        Some(Promise { receipt, exactly_once: Some(id) }) => format!("{}#{id}", receipt.0),
    }
}

fn operation_text(operation: &Operation<'_>, promise: Option<Promise>) -> String {
    let suffix = |format: &Format| match format {
        Format::Profile => "",
        Format::Json => "/j",
        Format::Protobuf => "/p",
    };
    let (kind, payload) = match operation {
        Operation::Telemetry { payload, format } => (format!("telemetry{}", suffix(format)), *payload),
        Operation::Attributes { payload, format } => (format!("attributes{}", suffix(format)), *payload),
        Operation::AttributesRequest { id, payload, format } => (format!("request{} {id}", suffix(format)), *payload),
        Operation::RpcRequest { id, payload, format } => (format!("call{} {id}", suffix(format)), *payload),
        Operation::RpcResponse { id, payload, format } => (format!("answer{} {id}", suffix(format)), *payload),
        Operation::Claim { payload } => (String::from("claim"), *payload),
        Operation::Provision { payload } => (String::from("provision"), *payload),
        Operation::Chunk { package, request, chunk, size } => (format!("chunk {package:?} {request} {chunk}"), *size),
        Operation::Gateway { operation, payload } => (format!("gateway {operation:?}"), *payload),
        other => (format!("{other:?}"), &[][..]),
    };
    format!("{kind} {} {}", promise_text(promise), String::from_utf8_lossy(payload)).trim_end().to_string()
}

// Packets, by hand: the codec under test does not write what clients send.

fn packet(first: u8, parts: &[&[u8]]) -> Vec<u8> {
    let body = parts.concat();
    let mut bytes = vec![first];
    let mut left = body.len();
    loop {
        let low = u8::try_from(left & 0x7F).unwrap();
        left >>= 7;
        bytes.push(if left == 0 { low } else { low | 0x80 });
        if left == 0 {
            break;
        }
    }
    bytes.extend(body);
    bytes
}

fn string(text: &str) -> Vec<u8> {
    [&u16::try_from(text.len()).unwrap().to_be_bytes(), text.as_bytes()].concat()
}

fn connect4(client_id: &str, flags: u8, keep_alive: u16, token: &str) -> Vec<u8> {
    let token = if flags & 0x80 == 0 { Vec::new() } else { string(token) };
    packet(0x10, &[b"\x00\x04MQTT\x04", &[flags], &keep_alive.to_be_bytes(), &string(client_id), &token])
}

fn connect5(client_id: &str, keep_alive: u16, properties: &[u8], flags: u8, rest: &[&[u8]]) -> Vec<u8> {
    let length = [u8::try_from(properties.len()).unwrap()];
    let head: [&[u8]; 6] = [b"\x00\x04MQTT\x05", &[flags], &keep_alive.to_be_bytes(), &length, properties, &string(client_id)];
    packet(0x10, &[head.concat().as_slice(), &rest.concat()])
}

fn publish4(first: u8, topic: &str, id: Option<u16>, payload: &[u8]) -> Vec<u8> {
    packet(first, &[&string(topic), &id.map(u16::to_be_bytes).map(Vec::from).unwrap_or_default(), payload])
}

fn publish5(first: u8, topic: &str, id: Option<u16>, properties: &[u8], payload: &[u8]) -> Vec<u8> {
    let length = packet(0, &[properties]);
    let id = id.map(u16::to_be_bytes).map(Vec::from).unwrap_or_default();
    packet(first, &[&string(topic), &id, &length[1..], payload])
}

fn subscribe4(id: u16, filters: &[(&str, u8)]) -> Vec<u8> {
    let filters: Vec<u8> = filters.iter().flat_map(|(name, qos)| [string(name), vec![*qos]].concat()).collect();
    packet(0x82, &[&id.to_be_bytes(), &filters])
}

fn subscribe5(id: u16, properties: &[u8], filters: &[(&str, u8)]) -> Vec<u8> {
    let filters: Vec<u8> = filters.iter().flat_map(|(name, qos)| [string(name), vec![*qos]].concat()).collect();
    packet(0x82, &[&id.to_be_bytes(), &[u8::try_from(properties.len()).unwrap()], properties, &filters])
}

/// `properties` is the property length and nothing in MQTT 5, nothing before.
fn unsubscribe(id: u16, properties: &[u8], filters: &[&str]) -> Vec<u8> {
    packet(0xA2, &[&id.to_be_bytes(), properties, &filters.iter().flat_map(|name| string(name)).collect::<Vec<u8>>()])
}

// What a server of MQTT 5 sends.

/// PUBACK (0x40), PUBREC (0x50) or PUBCOMP (0x70), as it says how something ended.
fn ack5(first: u8, id: u16, outcome: Outcome, code: u8) -> Vec<u8> {
    let [high, low] = id.to_be_bytes();
    if code == 0 {
        return vec![first, 2, high, low];
    }
    packet(first, &[&[high, low, code], &reason_string(&outcome.text())])
}

fn disconnect5(reason: Reason, code: u8) -> Vec<u8> {
    packet(0xE0, &[&[code], &reason_string(&reason.text())])
}

fn refusal5(refusal: Refusal, code: u8) -> Vec<u8> {
    packet(0x20, &[&[0, code], &reason_string(refusal.text())])
}

fn reason_string(text: &str) -> Vec<u8> {
    let property = [&[0x1F][..], &string(text)].concat();
    [vec![u8::try_from(property.len()).unwrap()], property].concat()
}

const TELEMETRY: &str = "v1/devices/me/telemetry";
const ATTRIBUTES: &str = "v1/devices/me/attributes";
const RESPONSES: &str = "v1/devices/me/attributes/response/+";
const ACCEPTED4: [u8; 4] = [0x20, 2, 0, 0];
const ONCE: Sending = Sending { number: 0, packet_id: None, again: false };
/// The first identifier that a session gives to a publish of its own choice.
const OWN: u16 = 0x8000;

fn admit() -> Do {
    Admit(Admission::default())
}

/// A session kept for `expiry_s` seconds, as it was left.
fn resume(expiry_s: u32, subscriptions: &[(&str, u8)], received: &[u16]) -> Do {
    let subscriptions = subscriptions.iter().map(|(filter, qos)| (String::from(*filter), *qos)).collect();
    Admit(Admission { kept: Some(Kept { subscriptions, received: received.to_vec() }), expiry_s, ..Admission::default() })
}

/// A 3.1.1 session with keep-alive 60 s, ready.
fn ready4(then: Vec<Do>) -> Vec<Do> {
    let begin = vec![Feed(connect4("id", 0x82, 60, "tok"), &["admit tok/id/false"]), admit(), Sends(ACCEPTED4.to_vec())];
    begin.into_iter().chain(then).collect()
}

/// An MQTT 5 session with keep-alive 60 s and these CONNECT properties, ready. Not kept.
fn ready5(properties: &[u8], then: Vec<Do>) -> Vec<Do> {
    let connect = connect5("id", 60, properties, 0x82, &[&string("tok")]);
    let begin = vec![Feed(connect, &["admit tok/id/false"]), admit(), Sends(accepted5(None, &[]))];
    begin.into_iter().chain(then).collect()
}

/// An MQTT 5 session that is kept for 9 s, ready.
fn kept5(then: Vec<Do>) -> Vec<Do> {
    let connect = connect5("id", 60, &[0x11, 0, 0, 0, 9], 0x82, &[&string("tok")]);
    let admission = Admission { expiry_s: 9, ..Admission::default() };
    let begin = vec![Feed(connect, &["admit tok/id/false 9 s"]), Admit(admission), Sends(accepted5(None, &[]))];
    begin.into_iter().chain(then).collect()
}

/// A session that may do what `admission` says, with no output waiting.
fn admitted(connect: &[u8], admission: Admission) -> Session {
    let mut session = Session::new(START);
    feed(&mut session, connect, START);
    session.admit(admission, START);
    session.output().clear();
    session
}

/// CONNACK of a session that is not resumed; `expiry_s` where it is not what was asked for. `extra` is a server keep-alive, an
/// assigned identifier, or both.
fn accepted5(expiry_s: Option<u32>, extra: &[u8]) -> Vec<u8> {
    let size = u32::try_from(limits::PACKET_BYTES_MAX).unwrap().to_be_bytes();
    let expiry = expiry_s.map_or_else(Vec::new, |seconds| [&[0x11], &seconds.to_be_bytes()[..]].concat());
    let (keep_alive, assigned) = extra.split_at(extra.len().min(if extra.first() == Some(&0x13) { 3 } else { 0 }));
    let flags: &[u8] = &[0x29, 0, 0x2A, 0];
    let aliases: &[u8] = &[0x22, 0, 16];
    let properties = [&expiry, &[0x21, 0, 64, 0x27][..], &size, aliases, keep_alive, flags, assigned].concat();
    packet(0x20, &[&[0, 0, u8::try_from(properties.len()).unwrap()], &properties])
}
