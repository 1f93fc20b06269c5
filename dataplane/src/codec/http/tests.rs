//! Requests as data: what comes, what is understood.

use proptest::prelude::*;

use super::*;
use crate::codec::http::harness::read;
use crate::limits;

/// `METHOD path?query keep|close "content"` per request, then the error.
fn check(name: &str, bytes: &[u8], requests: &[&str], error: Option<HttpError>) {
    let (seen, failed) = read([bytes]);
    let texts: Vec<String> = seen.iter().map(text).collect();
    assert_eq!((texts, failed), (requests.iter().map(ToString::to_string).collect(), error), "{name}");
    assert_eq!(read(bytes.chunks(1)), (seen, failed), "{name}, byte by byte");
}

fn text(seen: &harness::Seen) -> String {
    let keep = if seen.keep_alive { "keep" } else { "close" };
    let query = if seen.query.is_empty() { String::new() } else { format!("?{}", seen.query) };
    format!("{:?} {}{query} {keep} {}", seen.method, seen.path, String::from_utf8_lossy(&seen.content)).trim_end().to_owned()
}

fn post(headers: &str, body: &str) -> Vec<u8> {
    format!("POST /t HTTP/1.1\r\nHost: x\r\n{headers}\r\n{body}").into_bytes()
}

#[test]
fn requests_end_where_they_say() {
    check("no body", b"GET /a?b=c HTTP/1.1\r\nHost: x\r\n\r\n", &["Get /a?b=c keep"], None);
    check("a body", &post("Content-Length: 2\r\n", "{}"), &["Post /t keep {}"], None);
    check("names in any case", &post("CONTENT-length:2\r\n", "{}"), &["Post /t keep {}"], None);
    check("space around a value", &post("Content-Length: \t 2 \t\r\n", "{}"), &["Post /t keep {}"], None);
    check("zeros before a length", &post("Content-Length: 0002\r\n", "{}"), &["Post /t keep {}"], None);
    check("a body that is not whole", &post("Content-Length: 3\r\n", "{}"), &[], None);
    let two = [post("Content-Length: 2\r\n", "{}"), b"\r\n\r\n".to_vec(), post("Content-Length: 1\r\n", "1")].concat();
    check("two, and empty lines between", &two, &["Post /t keep {}", "Post /t keep 1"], None);
    check("absolute form", b"GET http://h:1/a?b HTTP/1.1\r\nHost: x\r\n\r\n", &["Get /a?b keep"], None);
    check("absolute form without path", b"OPTIONS HTTPS://h?b HTTP/1.1\r\nHost: x\r\n\r\n", &["Options / keep"], None);
    check("asterisk", b"OPTIONS * HTTP/1.1\r\nHost: x\r\n\r\n", &["Options * keep"], None);
    check("a method of its own", b"get / HTTP/1.1\r\nHost: x\r\n\r\n", &["Other / keep"], None);
    check("a body of GET", b"GET / HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\n\r\n1", &["Get / keep 1"], None);
}

#[test]
fn connections_persist_as_their_version_says() {
    check("1.1", b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", &["Get / keep"], None);
    check("1.1 close", b"GET / HTTP/1.1\r\nHost: x\r\nConnection: a, Close\r\n\r\n", &["Get / close"], None);
    check("1.0", b"GET / HTTP/1.0\r\n\r\n", &["Get / close"], None);
    check("1.0 kept", b"GET / HTTP/1.0\r\nConnection: Keep-Alive\r\n\r\n", &["Get / keep"], None);
    let both = b"GET / HTTP/1.1\r\nHost: x\r\nConnection: keep-alive\r\nConnection: close\r\n\r\n";
    check("close wins", both, &["Get / close"], None);
}

#[test]
fn chunks_make_one_body() {
    const CHUNKED: &str = "Transfer-Encoding: Chunked\r\n";
    let ok = |name, body, content: &str| {
        let followed = [post(CHUNKED, body), b"GET /next HTTP/1.1\r\nHost: x\r\n\r\n".to_vec()].concat();
        check(name, &followed, &[format!("Post /t keep {content}").trim_end(), "Get /next keep"], None);
    };
    ok("empty", "0\r\n\r\n", "");
    ok("one", "2\r\n{}\r\n0\r\n\r\n", "{}");
    ok("three", "1\r\n{\r\n2\r\n12\r\n0A\r\n3456789}\r\n\r\n0\r\n\r\n", "{123456789}\r\n");
    ok("digits of both cases", "a\r\n0123456789\r\nA\r\n0123456789\r\n00\r\n\r\n", "01234567890123456789");
    ok("extensions", "1;a=\"b;c\"\r\n{\r\n1 ;d\r\n}\r\n0;e\r\n\r\n", "{}");
    ok("trailers", "2\r\n{}\r\n0\r\nX: y\r\nContent-Length: 9\r\n\r\n", "{}");
    check("not whole", &post(CHUNKED, "2\r\n{}\r\n0\r\n"), &[], None);
    let fails = |name, body: &str, error| check(name, &post(CHUNKED, body), &[], Some(error));
    fails("no size", "\r\n{}\r\n0\r\n\r\n", HttpError::Chunk);
    fails("a sign", "+2\r\n{}\r\n0\r\n\r\n", HttpError::Chunk);
    fails("a prefix", "0x2\r\n{}\r\n0\r\n\r\n", HttpError::Chunk);
    fails("a space before the size", " 2\r\n{}\r\n0\r\n\r\n", HttpError::Chunk);
    fails("something else behind the size", "2 2\r\n{}\r\n0\r\n\r\n", HttpError::Chunk);
    fails("a bare line feed", "2\n{}\r\n0\r\n\r\n", HttpError::Chunk);
    fails("a carriage return in an extension", "2;\r2\r\n{}\r\n0\r\n\r\n", HttpError::Chunk);
    fails("too short a size", "1\r\n{}\r\n0\r\n\r\n", HttpError::Chunk);
    fails("too long a size", "3\r\n{}\r\n0\r\n\r\n", HttpError::Chunk);
    fails("a bare line feed behind a chunk", "2\r\n{}\n0\r\n\r\n", HttpError::Chunk);
    fails("a size beyond all", "ffffffffffffffffff\r\n", HttpError::BodyTooLarge);
    fails("one byte too many", "10001\r\n", HttpError::BodyTooLarge);
    fails("an endless line", &format!("1;{}", "x".repeat(limits::HTTP_CHUNK_LINE_BYTES_MAX)), HttpError::Chunk);
    fails(
        "endless trailers",
        &format!("0\r\n{}", "X: y\r\n".repeat(limits::HTTP_CHUNKED_BYTES_MAX / 6)),
        HttpError::BodyTooLarge,
    );
    fails("endless small chunks", &"1\r\nx\r\n".repeat(limits::HTTP_CHUNKED_BYTES_MAX / 6 + 1), HttpError::BodyTooLarge);
}

/// Whatever could end in two places is refused (RFC 9112, 11.2).
#[test]
fn nothing_is_smuggled() {
    let fails =
        |name, headers: &str, error| check(name, &post(headers, "0\r\n\r\nGET /admin HTTP/1.1\r\n\r\n"), &[], Some(error));
    fails("two lengths", "Content-Length: 5\r\nContent-Length: 6\r\n", HttpError::ContentLength);
    fails("two equal lengths", "Content-Length: 5\r\nContent-Length: 5\r\n", HttpError::ContentLength);
    fails("a list of lengths", "Content-Length: 5, 5\r\n", HttpError::ContentLength);
    fails("a signed length", "Content-Length: +5\r\n", HttpError::ContentLength);
    fails("a negative length", "Content-Length: -5\r\n", HttpError::ContentLength);
    fails("a hexadecimal length", "Content-Length: 0x5\r\n", HttpError::ContentLength);
    fails("no length", "Content-Length:\r\n", HttpError::ContentLength);
    fails("length and chunks", "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n", HttpError::ContentLength);
    fails("chunks and length", "Transfer-Encoding: chunked\r\nContent-Length: 5\r\n", HttpError::ContentLength);
    fails("chunks twice", "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n", HttpError::TransferEncoding);
    fails("chunks twice in a list", "Transfer-Encoding: chunked, chunked\r\n", HttpError::TransferEncoding);
    fails("chunks not last", "Transfer-Encoding: chunked, identity\r\n", HttpError::TransferEncoding);
    fails("no chunks", "Transfer-Encoding: identity\r\n", HttpError::TransferEncoding);
    fails("nearly chunks", "Transfer-Encoding: xchunked\r\n", HttpError::TransferEncoding);
    fails("a form feed before chunked", "Transfer-Encoding: \x0Cchunked\r\n", HttpError::Malformed);
    fails("a parameter", "Transfer-Encoding: chunked;a=b\r\n", HttpError::TransferEncoding);
    fails("compressed", "Transfer-Encoding: gzip, chunked\r\n", HttpError::TransferCoding);
    fails("a space before the colon", "Content-Length : 5\r\n", HttpError::Malformed);
    fails("a folded line", "Content-Length: 5\r\nX: a\r\n b\r\n", HttpError::Malformed);
    fails("a bare line feed", "Content-Length: 5\nX: y\r\n", HttpError::BareLineFeed);
    fails("a bare carriage return", "X: y\rContent-Length: 5\r\n", HttpError::Malformed);
    fails("a null byte", "X: y\0\r\n", HttpError::Malformed);
    fails("a second Host", "Host: y\r\n", HttpError::Host);
    let old = b"POST /t HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n";
    check("chunks of 1.0", old, &[], Some(HttpError::TransferEncoding));
}

#[test]
fn heads_are_refused_for_what_is_wrong_with_them() {
    let fails = |name, bytes: &[u8], error| check(name, bytes, &[], Some(error));
    fails("TLS", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", HttpError::Malformed);
    fails("MQTT", b"\x10\x0f\x00\x04MQTT\x04\x82\x00\x3c\x00\x00\x00\x01t", HttpError::Malformed);
    fails("a line feed", b"\nGET / HTTP/1.1\r\n", HttpError::Malformed);
    fails("HTTP/2", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", HttpError::Version);
    fails("HTTP/0.9", b"GET /\r\n\r\n", HttpError::Malformed);
    fails("no Host", b"GET / HTTP/1.1\r\n\r\n", HttpError::Host);
    fails("authority form", b"CONNECT h:80 HTTP/1.1\r\nHost: x\r\n\r\n", HttpError::Target);
    fails("no slash", b"GET t HTTP/1.1\r\nHost: x\r\n\r\n", HttpError::Target);
    fails("two spaces", b"GET  / HTTP/1.1\r\nHost: x\r\n\r\n", HttpError::Malformed);
    fails("a tab", b"GET\t/ HTTP/1.1\r\nHost: x\r\n\r\n", HttpError::Malformed);
    fails("a space before the first header", b"GET / HTTP/1.1\r\n Host: x\r\n\r\n", HttpError::Malformed);
    fails("a target that is not UTF-8", b"GET /\xff HTTP/1.1\r\nHost: x\r\n\r\n", HttpError::Malformed);
    fails("an unknown expectation", &post("Expect: 200-ok\r\n", ""), HttpError::Expectation);
    fails("a body one byte too large", &post("Content-Length: 65537\r\n", ""), HttpError::BodyTooLarge);
    fails("a body beyond all", &post("Content-Length: 99999999999999999999999\r\n", ""), HttpError::BodyTooLarge);
    let long = "x".repeat(limits::HTTP_REQUEST_LINE_BYTES_MAX);
    fails("an endless request line", format!("GET /{long}").as_bytes(), HttpError::RequestLineTooLong);
    let fields = format!("X: {}\r\n", "y".repeat(1_000)).repeat(9);
    fails("a large head", &post(&fields, ""), HttpError::HeadTooLarge);
    fails("many headers", &post(&"X: y\r\n".repeat(limits::HTTP_HEADERS_MAX), ""), HttpError::HeadTooLarge);
}

#[test]
fn what_fits_the_bounds_exactly_is_taken() {
    let body = "7".repeat(limits::PAYLOAD_BYTES_MAX);
    let whole = format!("Post /t keep {body}");
    check("a body", &post("Content-Length: 65536\r\n", &body), &[&whole], None);
    let chunks: String = (0..16).map(|_| format!("1000\r\n{}\r\n", "7".repeat(4_096))).collect();
    check("chunks", &post("Transfer-Encoding: chunked\r\n", &format!("{chunks}0\r\n\r\n")), &[&whole], None);
    check("headers", &post(&"X: y\r\n".repeat(limits::HTTP_HEADERS_MAX - 1), ""), &["Post /t keep"], None);
    let path = "p".repeat(limits::HTTP_REQUEST_LINE_BYTES_MAX - "GET / HTTP/1.1\r\n".len());
    let line = format!("GET /{path} HTTP/1.1\r\nHost: x\r\n\r\n");
    check("a request line", line.as_bytes(), &[&format!("Get /{path} keep")], None);
    let rest = limits::HTTP_HEAD_BYTES_MAX - post("X: \r\n", "").len();
    check("a head", &post(&format!("X: {}\r\n", "y".repeat(rest)), ""), &["Post /t keep"], None);
    check("one more", &post(&format!("X: {}\r\n", "y".repeat(rest + 1)), ""), &[], Some(HttpError::HeadTooLarge));
}

#[test]
fn targets_are_unescaped_as_their_part_demands() {
    assert_eq!(decoded("a%20b+c%2Fd").as_deref(), Some("a b+c/d"));
    assert_eq!(decoded("%ff"), None);
    assert_eq!(decoded("100%").as_deref(), Some("100%"), "what is no escape stays");
    let of = |query, name| parameter(query, name).map(|value| value.map(|value| value.into_owned()));
    let some = |text: &str| Some(Some(text.to_owned()));
    assert_eq!(of("a=1&b=2&a=3", "a"), some("1"));
    assert_eq!(of("a=1&b=x%2Cy+z", "b"), some("x,y z"));
    assert_eq!(of("%61=1", "a"), some("1"));
    assert_eq!(of("a", "a"), some(""));
    assert_eq!(of("a=b=c", "a"), some("b=c"));
    assert_eq!(of("ab=1", "a"), None);
    assert_eq!(of("a=%ff", "a"), Some(None));
    assert_eq!(of("a=+%ff", "a"), Some(None));
}

#[test]
fn who_a_request_was_passed_on_for_is_said_once() {
    let check = |headers: &str, expected: Option<(&str, &str)>| {
        let bytes = post(headers, "");
        let request = Incoming::default().next(&mut bytes.as_slice()).unwrap().unwrap();
        let said = request.head.forwarded.map(|said| (said.address.to_vec(), said.proof.0.to_vec()));
        let expected = expected.map(|(address, proof)| (address.as_bytes().to_vec(), proof.as_bytes().to_vec()));
        assert_eq!(said, expected, "{headers}");
        assert!(!format!("{:?}", request.head.forwarded).contains(&format!("{:?}", b"p00f")), "a proof is not printed");
    };
    let (address, proof) = ("X-Forwarded-For: 1.2.3.4\r\n", "Tidegate-Forwarded-Proof: p00f\r\n");
    check(&format!("{address}{proof}"), Some(("1.2.3.4", "p00f")));
    check(&format!("{proof}{}", address.to_lowercase()), Some(("1.2.3.4", "p00f")));
    check("", None);
    check(address, None);
    check(proof, None);
    check(&format!("{address}{address}{proof}"), None);
    check(&format!("{address}{proof}{proof}"), None);
}

#[test]
fn responses_are_written_in_the_manner_of_the_request() {
    const FAILURE: Content<'static> = Content::Failure { message: "a \"b\"\n", error_code: 31 };
    let json = "{\"status\":400,\"message\":\"a \\\"b\\\"\\u000a\",\"errorCode\":31,\"timestamp\":1700000000000}";
    let check = |status, content, persistence, head_only, text: &str| {
        let mut written = Vec::new();
        let response = Response { status, retry_after_s: None, allow: None, content };
        encode_response(&response, Manner { persistence, head_only }, 1_700_000_000_000, &mut written);
        assert_eq!(String::from_utf8(written).unwrap(), text);
    };
    let (implied, keep, close) = (Persistence::Implied, Persistence::KeepAlive, Persistence::Close);
    check(Status::Ok, Content::Empty, implied, false, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
    let head = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 2\r\n";
    check(Status::Ok, Content::Json(b"{}"), keep, false, &format!("{head}Connection: keep-alive\r\n\r\n{{}}"));
    check(Status::Ok, Content::Json(b"{}"), close, true, &format!("{head}Connection: close\r\n\r\n"));
    check(Status::NoContent, Content::Empty, implied, false, "HTTP/1.1 204 No Content\r\n\r\n");
    let head = format!("HTTP/1.1 400 Bad Request\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n", json.len());
    check(Status::BadRequest, FAILURE, implied, false, &format!("{head}{json}"));
}

proptest! {
    #[test]
    fn any_bytes_are_read_alike_in_any_pieces(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        harness::any(&bytes);
    }

    #[test]
    fn any_mixture_of_parts_is_read_alike_in_any_pieces(parts in prop::collection::vec(prop::sample::select(PARTS), 0..24)) {
        harness::any(parts.concat().as_slice());
    }

    #[test]
    fn any_well_formed_request_is_read_as_it_was_meant(
        path in "/[a-zA-Z0-9/%._~-]{0,40}",
        content in prop::collection::vec(any::<u8>(), 0..600),
        chunk in prop::option::of(1usize..300),
        close in any::<bool>(),
    ) {
        let mut bytes = format!("POST {path} HTTP/1.1\r\nhost: x\r\n").into_bytes();
        if close {
            bytes.extend_from_slice(b"Connection: close\r\n");
        }
        match chunk {
            None => {
                bytes.extend_from_slice(format!("Content-Length: {}\r\n\r\n", content.len()).as_bytes());
                bytes.extend_from_slice(&content);
            }
            Some(size) => {
                bytes.extend_from_slice(b"Transfer-Encoding: chunked\r\n\r\n");
                for piece in content.chunks(size) {
                    bytes.extend_from_slice(format!("{:x}\r\n", piece.len()).as_bytes());
                    bytes.extend_from_slice(piece);
                    bytes.extend_from_slice(b"\r\n");
                }
                bytes.extend_from_slice(b"0\r\n\r\n");
            }
        }
        harness::any(&bytes);
        let meant = harness::Seen { method: Method::Post, path, query: String::new(), keep_alive: !close, content };
        prop_assert_eq!(read([bytes.as_slice()]), (vec![meant], None));
    }
}

/// Pieces of requests, right and wrong, that reach further into the reader than random bytes.
const PARTS: &[&[u8]] = &[
    b"GET /a HTTP/1.1\r\nHost: x\r\n",
    b"POST /b HTTP/1.1\r\nHost: x\r\n",
    b"GET /c HTTP/1.0\r\n",
    b"Content-Length: 3\r\n",
    b"Content-Length: 3\n",
    b"Transfer-Encoding: chunked\r\n",
    b"Connection: close\r\n",
    b"Expect: 100-continue\r\n",
    b"\r\n",
    b"\r",
    b"\n",
    b"abc",
    b"3\r\nabc\r\n",
    b"0\r\n\r\n",
    b"0\r\n",
    b"1;x\r\n",
    b"X: y\r\n",
];
