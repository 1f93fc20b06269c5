//! Sessions as data: what is done, what must come out.

mod downloading;

use proptest::prelude::*;

use super::*;
use crate::session::{Operation, Package};

const START: Now = Now { instant: Instant::from_nanos(5_000_000_000), timestamp: Timestamp(9) };

/// One deed and what must follow from it.
enum Do {
    /// Bytes come: these intents (as text), then silence.
    Feed(Vec<u8>, &'static [&'static str]),
    /// Bytes come and the connection ends for this reason, before which these intents come.
    Break(Vec<u8>, &'static [&'static str], Reason),
    Settle(u64, Outcome),
    SettleBreaks(u64, Outcome, Reason),
    Answer(u64, Downlink<'static>, Delivery),
    TakeBack(u64),
    Close(Reason),
    /// So many milliseconds pass; the connection ends for this reason, if any.
    Elapse(u64, Option<Reason>),
    Pause,
    Resume,
    /// These responses are waiting to be sent: status, `+` if the connection stays, content.
    Sends(&'static [&'static str]),
    /// Exactly this is.
    SendsText(&'static str),
    Blocked(bool),
}
use Do::{Answer, Blocked, Break, Elapse, Feed, Pause, Resume, Sends, SendsText, Settle, SettleBreaks, TakeBack};

fn check(name: &str, deeds: Vec<Do>) {
    let mut session = Http::new(START.instant);
    let (mut now, mut unread) = (START, Vec::new());
    for (index, deed) in deeds.into_iter().enumerate() {
        let at = format!("{name}, deed {index}");
        match deed {
            Feed(bytes, intents) => {
                unread.extend(bytes);
                assert_eq!(feed(&mut session, &mut unread, now), (texts(intents), None), "{at}");
            }
            Break(bytes, intents, reason) => {
                unread.extend(bytes);
                assert_eq!(feed(&mut session, &mut unread, now), (texts(intents), Some(reason)), "{at}");
                session.close(Close { reason }, now);
            }
            Settle(receipt, outcome) => assert_eq!(session.settle(Receipt(receipt), outcome, now), Ok(()), "{at}"),
            SettleBreaks(receipt, outcome, reason) => {
                assert_eq!(session.settle(Receipt(receipt), outcome, now), Err(Close { reason }), "{at}");
                session.close(Close { reason }, now);
            }
            Answer(receipt, downlink, delivery) => {
                assert_eq!(session.answer(Some(Receipt(receipt)), downlink, now), Ok(delivery), "{at}");
            }
            TakeBack(receipt) => session.take_back(Receipt(receipt)),
            Do::Close(reason) => session.close(Close { reason }, now),
            Elapse(ms, reason) => {
                now.instant = now.instant.after_ms(ms);
                let close = session.elapse(now);
                assert_eq!(close.map(|close| close.reason), reason, "{at}");
                if let Some(close) = close {
                    session.close(close, now);
                }
            }
            Pause => session.pause(),
            Resume => session.resume(now.instant),
            Sends(responses) => assert_eq!(sent(&mut session), texts(responses), "{at}"),
            SendsText(text) => assert_eq!(String::from_utf8_lossy(&std::mem::take(session.output())), text, "{at}"),
            Blocked(blocked) => assert_eq!(session.blocked(), blocked, "{at}"),
        }
    }
}

fn feed(session: &mut Http, unread: &mut Vec<u8>, now: Now) -> (Vec<String>, Option<Reason>) {
    let (mut decoded, mut intents) = (Decoded::default(), Vec::new());
    let bytes = std::mem::take(unread);
    let mut input = bytes.as_slice();
    let close = loop {
        match session.next(&mut input, &mut decoded, now) {
            Ok(Some(intent)) => intents.push(text(&intent)),
            Ok(None) => break None,
            Err(close) => break Some(close.reason),
        }
    };
    *unread = input.to_vec();
    (intents, close)
}

fn sent(session: &mut Http) -> Vec<String> {
    let output = std::mem::take(session.output());
    let responses = harness::responses(&output);
    responses.iter().map(|response| response.to_string()).collect()
}

fn texts(list: &[&str]) -> Vec<String> {
    list.iter().map(ToString::to_string).collect()
}

/// Short enough to write down: receipt, token, operation.
fn text(intent: &Intent<'_>) -> String {
    let Intent::Request { token, operation, receipt, .. } = intent else { return format!("{intent:?}") };
    let of = |name: &str, payload: &[u8]| format!("{name} {}", String::from_utf8_lossy(payload));
    let operation = match operation {
        Operation::Telemetry { payload, format: Format::Profile } => of("telemetry", payload),
        Operation::Attributes { payload, format: Format::Profile } => of("attributes", payload),
        Operation::AttributesOf { client, shared } => format!("of {client:?} {shared:?}"),
        Operation::RpcRequest { id, payload, format: Format::Profile } => of(&format!("call {id}"), payload),
        Operation::RpcResponse { id, payload, format: Format::Profile } => of(&format!("answer {id}"), payload),
        Operation::Claim { payload } => of("claim", payload),
        Operation::Provision { payload } => of("provision", payload),
        Operation::AwaitAttributes { timeout_ms } => format!("await attributes {timeout_ms}"),
        Operation::AwaitRpc { timeout_ms } => format!("await rpc {timeout_ms}"),
        Operation::Download { package, title, version, size, chunk } => {
            format!("{package:?} {title}/{version} {size} {chunk}")
        }
        other => format!("{other:?}"),
    };
    format!("{} {token}: {operation}", receipt.0).trim_end().to_owned()
}

use crate::session::Format;

fn request(method: &str, target: &str, headers: &str, body: &str) -> Vec<u8> {
    format!("{method} {target} HTTP/1.1\r\nHost: x\r\nContent-Length: {}\r\n{headers}\r\n{body}", body.len()).into_bytes()
}

fn get(target: &str) -> Vec<u8> {
    request("GET", target, "", "")
}

fn post(target: &str, body: &str) -> Vec<u8> {
    request("POST", target, "", body)
}

fn telemetry() -> Vec<u8> {
    post("/api/v1/T/telemetry", "{}")
}

const JSON: Downlink<'static> = Downlink::RpcResponse { id: 0, json: b"{\"a\":1}" };

#[test]
fn every_path_asks_for_its_operation() {
    let asks = |bytes, intent: &'static str| check(intent, vec![Feed(bytes, Box::leak(Box::new([intent]))), Sends(&[])]);
    asks(post("/api/v1/T/telemetry", "{\"a\":1}"), "0 T: telemetry {\"a\":1}");
    asks(post("/api/v1/T/attributes", "{\"a\":1}"), "0 T: attributes {\"a\":1}");
    asks(get("/api/v1/T/attributes"), "0 T: of None None");
    asks(get("/api/v1/T/attributes?clientKeys=a,b&sharedKeys=c%20d+e"), "0 T: of Some(\"a,b\") Some(\"c d e\")");
    asks(get("/api/v1/T/attributes?clientKeys=&x=y"), "0 T: of None None");
    asks(request("HEAD", "/api/v1/T/attributes", "", ""), "0 T: of None None");
    asks(get("/api/v1/T/attributes/updates?timeout=20000"), "0 T: await attributes 20000");
    asks(get("/api/v1/T/attributes/updates"), "0 T: await attributes 60000");
    asks(get("/api/v1/T/rpc?timeout=0"), "0 T: await rpc 60000");
    asks(get("/api/v1/T/rpc?timeout=300001"), "0 T: await rpc 300000");
    asks(post("/api/v1/T/rpc/17", "{\"ok\":true}"), "0 T: answer 17 {\"ok\":true}");
    asks(post("/api/v1/T/rpc", "{\"method\":\"m\"}"), "0 T: call 0 {\"method\":\"m\"}");
    asks(post("/api/v1/T/claim", ""), "0 T: claim");
    asks(post("/api/v1/T/claim", "{\"secretKey\":\"x\"}"), "0 T: claim {\"secretKey\":\"x\"}");
    asks(get("/api/v1/T/firmware?title=a%26b&version=1.0&size=4096&chunk=2"), "0 T: Firmware a&b/1.0 4096 2");
    asks(get("/api/v1/T/software?version=1&title=a"), "0 T: Software a/1 0 0");
    asks(post("/api/v1/provision", "{\"deviceName\":\"D\"}"), "0 : provision {\"deviceName\":\"D\"}");
    asks(post("/api/v1/provision/telemetry", "{}"), "0 provision: telemetry {}");
    asks(post("/api/v1/a%2Fb%20+c/telemetry", "{}"), "0 a/b +c: telemetry {}");
    asks(post("http://host:8081/api/v1/T/telemetry", "{}"), "0 T: telemetry {}");
    let chunks =
        b"POST /api/v1/T/telemetry HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n1\r\n{\r\n1\r\n}\r\n0\r\n\r\n";
    asks(chunks.to_vec(), "0 T: telemetry {}");
}

#[test]
fn what_no_device_is_asked_about_is_answered_at_once() {
    let answers = |name, bytes, response: &'static str| {
        check(name, vec![Feed(bytes, &[]), Sends(Box::leak(Box::new([response]))), Feed(telemetry(), &["1 T: telemetry {}"])]);
    };
    let not_found = "404+ {\"status\":404,\"message\":\"what was asked for does not exist\",\"errorCode\":32,\"timestamp\":9}";
    for path in
        ["/", "/api/v1", "/api/v1/", "/api/v1/T", "/api/v1/T/", "/api/v1//telemetry", "/api/v1/T/telemetry/", "/api/v2/T/rpc"]
    {
        answers(path, post(path, "{}"), not_found);
    }
    answers("a part of an id", post("/api/v1/T/rpc/1/2", "{}"), not_found);
    answers("no id", post("/api/v1/T/rpc/", "{}"), not_found);
    let number = "400+ {\"status\":400,\"message\":\"a number is none, or too large\",\"errorCode\":31,\"timestamp\":9}";
    for path in ["/api/v1/T/rpc/x", "/api/v1/T/rpc/+1", "/api/v1/T/rpc/4294967296"] {
        answers(path, post(path, "{}"), number);
    }
    let firmware = "/api/v1/T/firmware?title=a&version=1";
    for query in ["&size=-1", "&chunk=x", "&size=4294967296"] {
        answers(query, get(&format!("{firmware}{query}")), number);
    }
    answers("a timeout", get("/api/v1/T/rpc?timeout=-1"), number);
    answers(
        "no text",
        get("/api/v1/T/attributes?clientKeys=%ff"),
        "400+ {\"status\":400,\"message\":\"a parameter is not UTF-8\",\"errorCode\":31,\"timestamp\":9}",
    );
    let missing = "400+ {\"status\":400,\"message\":\"title and version are needed\",\"errorCode\":31,\"timestamp\":9}";
    answers("no title", get("/api/v1/T/firmware?version=1"), missing);
    answers("no version", get("/api/v1/T/firmware?title=1&version="), missing);
    let nobody = "401+ {\"status\":401,\"message\":\"no device has this token\",\"errorCode\":10,\"timestamp\":9}";
    answers("a token that is no text", post("/api/v1/%ff/telemetry", "{}"), nobody);
    answers("a token longer than any", post(&format!("/api/v1/{}/telemetry", "x".repeat(257)), "{}"), nobody);
}

#[test]
fn methods_are_those_of_the_target() {
    let allows = |path: &str, methods: &str, wrong: &str| {
        let body = "{\"status\":405,\"message\":\"the target does not know this method\",\"errorCode\":2,\"timestamp\":9}";
        let options = format!("HTTP/1.1 204 No Content\r\nAllow: {methods}\r\n\r\n");
        let refused = format!(
            "HTTP/1.1 405 Method Not Allowed\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\
             Allow: {methods}\r\n\r\n{}",
            body.len(),
            if wrong == "HEAD" { "" } else { body }
        );
        check(
            path,
            vec![
                Feed(request("OPTIONS", path, "", ""), &[]),
                SendsText(Box::leak(options.into_boxed_str())),
                Feed(request(wrong, path, "", ""), &[]),
                SendsText(Box::leak(refused.into_boxed_str())),
            ],
        );
    };
    allows("/api/v1/T/telemetry", "POST, OPTIONS", "GET");
    allows("/api/v1/T/attributes", "GET, HEAD, POST, OPTIONS", "DELETE");
    allows("/api/v1/T/attributes/updates", "GET, OPTIONS", "HEAD");
    allows("/api/v1/T/rpc", "GET, POST, OPTIONS", "HEAD");
    allows("/api/v1/T/rpc/1", "POST, OPTIONS", "GET");
    allows("/api/v1/T/claim", "POST, OPTIONS", "PUT");
    allows("/api/v1/T/firmware", "GET, HEAD, OPTIONS", "POST");
    allows("/api/v1/provision", "POST, OPTIONS", "post");
    allows("/mqtt", "GET, OPTIONS", "POST");
    allows("*", "GET, HEAD, POST, OPTIONS", "GET");
}

#[test]
fn outcomes_have_their_status() {
    let says = |outcome, response: &'static str| {
        check(
            response,
            vec![
                Feed(telemetry(), &["0 T: telemetry {}"]),
                Settle(0, outcome),
                Sends(Box::leak(Box::new([response]))),
                Settle(0, outcome),
                Sends(&[]),
            ],
        );
    };
    says(Outcome::Stored, "200+");
    says(
        Outcome::PayloadInvalid,
        "400+ {\"status\":400,\"message\":\"the payload is not valid\",\"errorCode\":31,\"timestamp\":9}",
    );
    says(
        Outcome::TopicInvalid,
        "404+ {\"status\":404,\"message\":\"what was asked for does not exist\",\"errorCode\":32,\"timestamp\":9}",
    );
    says(
        Outcome::NotFound,
        "404+ {\"status\":404,\"message\":\"what was asked for does not exist\",\"errorCode\":32,\"timestamp\":9}",
    );
    says(
        Outcome::QuotaExceeded,
        "403+ {\"status\":403,\"message\":\"a limit of what is kept is reached\",\"errorCode\":41,\"timestamp\":9}",
    );
    says(
        Outcome::RateExceeded { retry_after_s: 7 },
        "429+ retry 7 {\"status\":429,\"message\":\"too many requests\",\"errorCode\":33,\"timestamp\":9}",
    );
    says(
        Outcome::Unauthorized,
        "401+ {\"status\":401,\"message\":\"no device has this token\",\"errorCode\":10,\"timestamp\":9}",
    );
    says(Outcome::Forbidden, "403+ {\"status\":403,\"message\":\"the device may not do this\",\"errorCode\":20,\"timestamp\":9}");
    says(Outcome::TimedOut, "408+ {\"status\":408,\"message\":\"nothing came in time\",\"errorCode\":2,\"timestamp\":9}");
    says(
        Outcome::Unavailable,
        "503+ retry 1 {\"status\":503,\"message\":\"not now; try again\",\"errorCode\":2,\"timestamp\":9}",
    );
    says(Outcome::Unspecified, "500+ {\"status\":500,\"message\":\"an unexpected error\",\"errorCode\":2,\"timestamp\":9}");
}

#[test]
fn answers_carry_what_was_asked_for() {
    let carries = |downlink, response: &'static str| {
        check(
            response,
            vec![
                Feed(get("/api/v1/T/attributes"), &["0 T: of None None"]),
                Answer(0, downlink, Delivery::QueuedUnacked),
                Sends(Box::leak(Box::new([response]))),
                Answer(0, downlink, Delivery::NotSubscribed),
            ],
        );
    };
    carries(Downlink::AttributesResponse { id: 0, json: b"{\"client\":{}}" }, "200+ {\"client\":{}}");
    carries(Downlink::AttributesUpdated { json: b"{\"a\":1}" }, "200+ {\"a\":1}");
    carries(Downlink::RpcRequest { id: 1, json: b"{\"id\":1}" }, "200+ {\"id\":1}");
    carries(JSON, "200+ {\"a\":1}");
    carries(Downlink::Provisioned { json: b"{\"status\":\"SUCCESS\"}" }, "200+ {\"status\":\"SUCCESS\"}");
    let whole = Downlink::Download { length: 4, bytes: b"\x00raw" };
    carries(whole, "200+ \0raw");
    check(
        "whole",
        vec![
            Feed(request("HEAD", "/api/v1/T/firmware?title=a&version=1", "", ""), &["0 T: Firmware a/1 0 0"]),
            Answer(0, whole, Delivery::QueuedUnacked),
            SendsText("HTTP/1.1 200 OK\r\nContent-Type: application/octet-stream\r\nContent-Length: 4\r\n\r\n"),
            Feed(get("/api/v1/T/rpc"), &["1 T: await rpc 60000"]),
            Answer(1, Downlink::GatewayRpcRequest { json: b"" }, Delivery::NotSubscribed),
            Answer(1, Downlink::ChunkError { package: Package::Firmware, text: "of MQTT" }, Delivery::NotSubscribed),
            Answer(2, JSON, Delivery::NotSubscribed),
            Answer(1, Downlink::AttributesUpdated { json: &[b'7'; limits::OUTBOX_BYTES_MAX] }, Delivery::TooLarge),
            Answer(1, Downlink::AttributesUpdated { json: &[b'7'; limits::OUTBOX_BYTES_MAX - 320] }, Delivery::QueuedUnacked),
            Feed(get("/api/v1/T/rpc"), &["2 T: await rpc 60000"]),
            Answer(2, JSON, Delivery::Full),
            Settle(2, Outcome::Unavailable),
        ],
    );
}

#[test]
fn responses_leave_in_the_order_of_the_requests() {
    let three = [telemetry(), post("/api/v1/U/rpc", "1"), get("/nowhere"), telemetry()].concat();
    check(
        "pipelined",
        vec![
            Feed(three, &["0 T: telemetry {}", "1 U: call 0 1", "3 T: telemetry {}"]),
            Settle(3, Outcome::Stored),
            Answer(1, JSON, Delivery::QueuedUnacked),
            Sends(&[]),
            Settle(1, Outcome::TimedOut),
            Settle(0, Outcome::Unavailable),
            Sends(&[
                "503+ retry 1 {\"status\":503,\"message\":\"not now; try again\",\"errorCode\":2,\"timestamp\":9}",
                "200+ {\"a\":1}",
                "404+ {\"status\":404,\"message\":\"what was asked for does not exist\",\"errorCode\":32,\"timestamp\":9}",
                "200+",
            ]),
        ],
    );
    let mut many =
        vec![Feed(telemetry().repeat(65), Box::leak((0..64).map(|n| &*format!("{n} T: telemetry {{}}").leak()).collect()))];
    many.extend([Blocked(true), Settle(1, Outcome::Stored), Blocked(true), Settle(0, Outcome::Stored), Blocked(false)]);
    many.extend([Sends(&["200+", "200+"]), Feed(Vec::new(), &["64 T: telemetry {}"])]);
    check("64 at once", many);
}

#[test]
fn connections_end_when_the_client_says_so() {
    check(
        "1.1",
        vec![
            Feed(request("POST", "/api/v1/T/telemetry", "Connection: close\r\n", "{}"), &["0 T: telemetry {}"]),
            Blocked(true),
            Feed(telemetry(), &[]),
            SettleBreaks(0, Outcome::Stored, Reason::PeerClosed),
            Sends(&["200"]),
        ],
    );
    let old = |headers: &str| format!("POST /api/v1/T/claim HTTP/1.0\r\n{headers}\r\n").into_bytes();
    check(
        "1.0",
        vec![
            Feed([telemetry(), old("")].concat(), &["0 T: telemetry {}", "1 T: claim"]),
            Settle(1, Outcome::Stored),
            SettleBreaks(0, Outcome::Stored, Reason::PeerClosed),
            Sends(&["200+", "200"]),
        ],
    );
    check(
        "1.0, kept",
        vec![
            Feed(old("Connection: keep-alive\r\n"), &["0 T: claim"]),
            Settle(0, Outcome::Stored),
            SendsText("HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: keep-alive\r\n\r\n"),
            Feed(telemetry(), &["1 T: telemetry {}"]),
        ],
    );
    check(
        "answered at once",
        vec![
            Break(request("GET", "/", "Connection: close\r\n", ""), &[], Reason::PeerClosed),
            Sends(&["404 {\"status\":404,\"message\":\"what was asked for does not exist\",\"errorCode\":32,\"timestamp\":9}"]),
        ],
    );
}

#[test]
fn bytes_that_are_no_request_are_answered_in_their_turn_and_end_the_connection() {
    let malformed =
        "400 {\"status\":400,\"message\":\"the request line or a header is malformed\",\"errorCode\":31,\"timestamp\":9}";
    check("alone", vec![Break(b"\x16\x03\x01".to_vec(), &[], Reason::UnexpectedPacket), Sends(Box::leak(Box::new([malformed])))]);
    check(
        "behind others",
        vec![
            Feed(
                [telemetry(), telemetry(), b"x\r\n\r\n".to_vec(), telemetry()].concat(),
                &["0 T: telemetry {}", "1 T: telemetry {}"],
            ),
            Blocked(true),
            Settle(1, Outcome::Stored),
            Feed(telemetry(), &[]),
            Elapse(1_000_000, None),
            SettleBreaks(0, Outcome::Stored, Reason::UnexpectedPacket),
            Sends(Box::leak(Box::new(["200+", "200+", malformed]))),
        ],
    );
    let breaks = |name, bytes: &[u8], reason, response: &'static str| {
        check(name, vec![Break(bytes.to_vec(), &[], reason), Sends(Box::leak(Box::new([response])))]);
    };
    let large = request("POST", "/api/v1/T/telemetry", "Content-Length: 65537\r\nExpect: 100-continue\r\n", "");
    let large = String::from_utf8(large).unwrap().replace("Content-Length: 0\r\n", "");
    let too_large = "413 {\"status\":413,\"message\":\"the body is too large\",\"errorCode\":2,\"timestamp\":9}";
    breaks("a body", large.as_bytes(), Reason::PacketTooLarge, too_large);
    let long = "414 {\"status\":414,\"message\":\"the request line is too long\",\"errorCode\":2,\"timestamp\":9}";
    breaks("a target", &get(&"/x".repeat(3_000)), Reason::UnexpectedPacket, long);
    let headers = "431 {\"status\":431,\"message\":\"the headers are too large or too many\",\"errorCode\":2,\"timestamp\":9}";
    breaks("headers", &request("GET", "/", &"X: y\r\n".repeat(64), ""), Reason::UnexpectedPacket, headers);
    let version = "505 {\"status\":505,\"message\":\"only HTTP/1.0 and HTTP/1.1 are spoken\",\"errorCode\":2,\"timestamp\":9}";
    breaks("HTTP/2", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", Reason::UnexpectedPacket, version);
}

#[test]
fn a_client_that_asks_first_is_told_to_go_on() {
    const GO_ON: &str = "HTTP/1.1 100 Continue\r\n\r\n";
    let whole = request("POST", "/api/v1/T/telemetry", "Expect: 100-continue\r\n", "{}");
    let (head, body) = whole.split_at(whole.len() - 2);
    check(
        "alone",
        vec![
            Feed(head[..20].to_vec(), &[]),
            SendsText(""),
            Feed(head[20..].to_vec(), &[]),
            SendsText(GO_ON),
            Feed(body[..1].to_vec(), &[]),
            SendsText(""),
            Feed(body[1..].to_vec(), &["0 T: telemetry {}"]),
        ],
    );
    check(
        "behind another",
        vec![
            Feed([&telemetry(), head].concat(), &["0 T: telemetry {}"]),
            SendsText(""),
            Settle(0, Outcome::Stored),
            SendsText("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\nHTTP/1.1 100 Continue\r\n\r\n"),
            Feed(body.to_vec(), &["1 T: telemetry {}"]),
        ],
    );
    check("needlessly", vec![Feed(whole, &["0 T: telemetry {}"]), SendsText("")]);
}

#[test]
fn slow_and_idle_connections_end() {
    let late = "408 {\"status\":408,\"message\":\"the request did not arrive in time\",\"errorCode\":2,\"timestamp\":9}";
    let late: &'static [&'static str] = Box::leak(Box::new([late]));
    let bytes = telemetry();
    let head = bytes.len() - 2;
    check("nothing", vec![Elapse(9_999, None), Elapse(1, Some(Reason::ConnectTimeout)), Sends(&[])]);
    let slowly = |pieces: std::ops::Range<usize>, gap_ms| {
        pieces.flat_map(|at| [Feed(bytes[at..=at].to_vec(), &[]), Elapse(gap_ms, None)]).collect::<Vec<_>>()
    };
    let mut deeds = slowly(0..9, 1_000);
    deeds.extend([Elapse(1_000, Some(Reason::ConnectTimeout)), Sends(late)]);
    check("a byte a second", deeds);
    let mut deeds = slowly(0..head, 10);
    deeds.extend([Elapse(59_989, None), Elapse(1, Some(Reason::ConnectTimeout)), Sends(late)]);
    check("no body", deeds);
    let mut deeds =
        vec![Feed(telemetry(), &["0 T: telemetry {}"]), Settle(0, Outcome::Stored), Sends(&["200+"]), Elapse(50_000, None)];
    deeds.extend(slowly(0..9, 1_000));
    deeds.extend([Elapse(1_000, Some(Reason::ConnectTimeout)), Sends(late)]);
    check("a byte a second, later", deeds);
    check(
        "idle",
        vec![
            Feed(telemetry(), &["0 T: telemetry {}"]),
            Settle(0, Outcome::Stored),
            Sends(&["200+"]),
            Elapse(60_000, None),
            Elapse(59_999, None),
            Elapse(1, Some(Reason::KeepAlive)),
            Sends(&[]),
        ],
    );
    check(
        "slow behind another",
        vec![
            Feed([&telemetry(), &bytes[..head]].concat(), &["0 T: telemetry {}"]),
            Elapse(60_000, None),
            Feed(b"{}".to_vec(), &[]),
            SettleBreaks(0, Outcome::Stored, Reason::ConnectTimeout),
            Sends(Box::leak(Box::new(["200+", late[0]]))),
        ],
    );
}

#[test]
fn whoever_waits_for_us_is_not_idle() {
    check(
        "a long poll",
        vec![
            Feed(get("/api/v1/T/rpc?timeout=300000"), &["0 T: await rpc 300000"]),
            Elapse(60_000, None),
            Elapse(60_000, None),
            Elapse(60_000, None),
            Elapse(119_999, None),
            Answer(0, JSON, Delivery::QueuedUnacked),
            Sends(&["200+ {\"a\":1}"]),
            Elapse(60_000, None),
            Elapse(60_000, Some(Reason::KeepAlive)),
        ],
    );
    check(
        "paused",
        vec![
            Feed(telemetry(), &["0 T: telemetry {}"]),
            Settle(0, Outcome::Stored),
            Sends(&["200+"]),
            Feed(b"POST".to_vec(), &[]),
            Pause,
            Elapse(60_000, None),
            Elapse(9_999, None),
            Resume,
            Elapse(9_999, None),
            Elapse(1, Some(Reason::ConnectTimeout)),
        ],
    );
}

#[test]
fn a_request_that_cannot_be_taken_comes_again() {
    let last = || request("POST", "/api/v1/T/claim", "Connection: close\r\n", "");
    check(
        "the newest",
        vec![
            Feed([telemetry(), last()].concat(), &["0 T: telemetry {}", "1 T: claim"]),
            TakeBack(0),
            TakeBack(2),
            Blocked(true),
            TakeBack(1),
            Blocked(false),
            Feed(last(), &["1 T: claim"]),
            Settle(1, Outcome::Stored),
            TakeBack(1),
            SettleBreaks(0, Outcome::Stored, Reason::PeerClosed),
            Sends(&["200+", "200"]),
        ],
    );
}

#[test]
fn who_waits_is_told_when_the_server_ends() {
    const LATER: &str = "503 retry 1 {\"status\":503,\"message\":\"not now; try again\",\"errorCode\":2,\"timestamp\":9}";
    let waits = || Feed([telemetry(), get("/api/v1/T/rpc")].concat(), &["0 T: telemetry {}", "1 T: await rpc 60000"]);
    check("the first", vec![waits(), Do::Close(Reason::ShuttingDown), Sends(&[LATER]), Settle(0, Outcome::Stored), Sends(&[])]);
    check("a part", vec![Feed(b"GET".to_vec(), &[]), Do::Close(Reason::Unavailable), Sends(&[LATER])]);
    check("nobody", vec![Do::Close(Reason::ShuttingDown), Sends(&[])]);
    check("gone", vec![waits(), Do::Close(Reason::PeerClosed), Sends(&[])]);
}

const OFFER: &str = "Connection: keep-alive, Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
                     Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";

#[test]
fn websocket_is_agreed_on() {
    let upgrade = |headers: &str| format!("GET /mqtt HTTP/1.1\r\nHost: x\r\n{headers}\r\n").into_bytes();
    let agrees = |offered: &str, protocol: &str| {
        let text = format!(
            "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
             Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\nSec-WebSocket-Protocol: {protocol}\r\n\r\n"
        );
        let bytes = [upgrade(&format!("{OFFER}{offered}")), b"\x82\x80".to_vec()].concat();
        check(
            offered,
            vec![
                Feed(telemetry(), &["0 T: telemetry {}"]),
                Settle(0, Outcome::Stored),
                Sends(&["200+"]),
                Feed(bytes, &["Upgrade"]),
                SendsText(Box::leak(text.into_boxed_str())),
                Feed(Vec::new(), &[]),
                Elapse(1_000_000, None),
                Do::Close(Reason::ShuttingDown),
                SendsText(""),
            ],
        );
    };
    // [MQTT-6.0.0-4].
    agrees("Sec-WebSocket-Protocol: mqtt\r\n", "mqtt");
    agrees("Sec-WebSocket-Protocol: mqttv3.1, mqtt\r\n", "mqttv3.1");
    agrees("Sec-WebSocket-Protocol: chat\r\nSec-WebSocket-Protocol: x, mqtt\r\nSec-WebSocket-Extensions: y\r\n", "mqtt");

    let refuses =
        |name, bytes, response: &'static str| check(name, vec![Feed(bytes, &[]), Sends(Box::leak(Box::new([response])))]);
    let required =
        "426+ {\"status\":426,\"message\":\"only WebSocket, version 13, is spoken here\",\"errorCode\":2,\"timestamp\":9}";
    refuses("none", upgrade(""), required);
    refuses("another version", upgrade(&OFFER.replace("13", "8")), required);
    refuses("another protocol", upgrade(&OFFER.replace("websocket", "h2c")), required);
    refuses("not asked of us", upgrade(&OFFER.replace("Upgrade\r\n", "x\r\n")), required);
    let subprotocol =
        "400+ {\"status\":400,\"message\":\"Sec-WebSocket-Protocol must offer mqtt\",\"errorCode\":31,\"timestamp\":9}";
    refuses("no subprotocol", upgrade(OFFER), subprotocol);
    refuses("another subprotocol", upgrade(&format!("{OFFER}Sec-WebSocket-Protocol: MQTT\r\n")), subprotocol);
    let offer = format!("{OFFER}Sec-WebSocket-Protocol: mqtt\r\n");
    let key =
        "400+ {\"status\":400,\"message\":\"Sec-WebSocket-Key is not 16 bytes in base64\",\"errorCode\":31,\"timestamp\":9}";
    refuses("another key", upgrade(&offer.replace("dGhl", "")), key);
    refuses("no key", upgrade(&offer.replace("-Key", "-Kez")), key);
    let body = "400+ {\"status\":400,\"message\":\"an upgrade has no body\",\"errorCode\":31,\"timestamp\":9}";
    refuses("a body", [upgrade(&format!("{offer}Content-Length: 1\r\n")), b"1".to_vec()].concat(), body);
    check(
        "too early",
        vec![
            Feed([telemetry(), upgrade(&offer)].concat(), &["0 T: telemetry {}"]),
            SettleBreaks(0, Outcome::Stored, Reason::UnexpectedPacket),
            Sends(&[
                "200+",
                "400 {\"status\":400,\"message\":\"an upgrade behind requests that are not answered\",\"errorCode\":31,\"timestamp\":9}",
            ]),
        ],
    );
}

#[test]
fn a_peer_that_does_not_read_is_left() {
    let mut session = Http::new(START.instant);
    let mut unread = Vec::new();
    for _ in 0..3_000 {
        unread.extend(get("/"));
        if let (_, Some(reason)) = feed(&mut session, &mut unread, START) {
            assert_eq!(reason, Reason::SlowPeer);
            assert!(session.output().len() < limits::OUTBOX_BYTES_MAX + 1_000);
            return;
        }
    }
    panic!("it was not");
}

#[test]
fn nothing_is_held_when_nothing_is_under_way() {
    let mut session = Http::new(START.instant);
    let mut unread = telemetry().repeat(40);
    assert_eq!(feed(&mut session, &mut unread, START).0.len(), 40);
    for receipt in (0..40).rev() {
        session.settle(Receipt(receipt), Outcome::Stored, START).unwrap();
    }
    session.output().clear();
    assert_eq!((session.unsettled(), session.waiting.held_bytes()), (0, 0));
    assert_eq!((session.output().capacity(), session.waiting.capacity()), (0, 0));
}

proptest! {
    #[test]
    fn any_script_keeps_the_promises(script in prop::collection::vec(any::<u8>(), 0..200)) {
        harness::any(&script);
    }

    #[test]
    fn any_requests_are_answered_alike_in_any_pieces(parts in prop::collection::vec(any::<u8>(), 0..12)) {
        harness::pieces(&parts);
    }
}
