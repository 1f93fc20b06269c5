//! Frames as data: what comes, what is understood, what is answered.

use proptest::prelude::*;

use super::harness::{client_frame, decode, frames};
use super::*;

const KEY: [u8; 4] = [0x37, 0xFA, 0x21, 0x3D];

/// These frames make this payload and these control frames, and end like this.
fn check(name: &str, raw: &[Vec<u8>], payload: &[u8], output: &[(u8, &[u8])], result: Result<Stream, WebSocketError>) {
    let raw = raw.concat();
    let whole = decode([raw.as_slice()]);
    assert_eq!((whole.0.as_slice(), frames(&whole.1).as_slice(), whole.2), (payload, output, result), "{name}");
    assert_eq!(decode(raw.chunks(1)), whole, "{name}, byte by byte");
}

fn binary(payload: &[u8]) -> Vec<u8> {
    client_frame(true, BINARY, KEY, payload)
}

fn part(fin: bool, opcode: u8, payload: &[u8]) -> Vec<u8> {
    client_frame(fin, opcode, KEY, payload)
}

#[test]
fn the_accept_key_is_that_of_the_specification() {
    // RFC 6455, 1.3
    assert_eq!(accept(b"dGhlIHNhbXBsZSBub25jZQ==").as_deref(), Some("s3pPLMBiTxaQ9kYGzzhZRbK+xOo="));
    for key in
        ["", "dGhlIHNhbXBsZSBub25jZQ", "dGhlIHNhbXBsZSBub25j", "dGhlIHNhbXBsZSBub25jZTE=", "dGhlIHNhbXBsZSBub25jZQ==x", "%"]
    {
        assert_eq!(accept(key.as_bytes()), None, "{key}");
    }
}

#[test]
fn data_frames_become_one_stream() {
    let open = Ok(Stream::Open);
    // RFC 6455, 5.7: "Hello", here as binary.
    check("masked", &[b"\x82\x85\x37\xfa\x21\x3d\x7f\x9f\x4d\x51\x58".to_vec()], b"Hello", &[], open);
    check("none", &[binary(b"")], b"", &[], open);
    check("two messages", &[binary(b"ab"), binary(b"c")], b"abc", &[], open);
    check("fragments", &[part(false, 2, b"a"), part(false, 0, b""), part(true, 0, b"b"), binary(b"c")], b"abc", &[], open);
    let long = vec![7; 70_000];
    check("lengths of two and eight bytes", &[binary(&long[..126]), binary(&long)], &vec![7; 70_126], &[], open);
    let within = [part(false, 2, b"a"), part(true, PING, b"?"), part(true, PONG, b"!"), part(true, 0, b"b")];
    check("control frames within a message", &within, b"ab", &[(PONG, b"?")], open);
    check("a ping of 125 bytes", &[part(true, PING, &long[..125])], b"", &[(PONG, &long[..125])], open);
}

#[test]
fn a_close_is_answered_and_ends_the_stream() {
    let closes = |name, payload: &[u8], answer: &[u8]| {
        let raw = [binary(b"a"), part(true, CLOSE, payload), binary(b"b"), vec![0xFF]];
        check(name, &raw, b"a", &[(CLOSE, answer)], Ok(Stream::Closed));
    };
    closes("without a word", b"", b"");
    closes("normally", b"\x03\xe8", b"\x03\xe8");
    closes("with a reason", b"\x03\xe9bye", b"\x03\xe9");
    closes("with a code of its own", b"\x0f\xa0", b"\x0f\xa0");
    let fails = |name, payload: &[u8], error| check(name, &[part(true, CLOSE, payload)], b"", &[], Err(error));
    fails("half a code", b"\x03", WebSocketError::CloseCode);
    fails("a code that is never sent", b"\x03\xed", WebSocketError::CloseCode);
    fails("a code below all", b"\x00\x00", WebSocketError::CloseCode);
    fails("a reason that is no text", b"\x03\xe8\xff", WebSocketError::CloseReason);
}

#[test]
fn frames_that_no_client_may_send_are_refused() {
    let fails = |name, raw: Vec<u8>, error: WebSocketError, code| {
        check(name, &[binary(b"a"), raw], b"a", &[], Err(error));
        assert_eq!(error.close_code(), code, "{name}");
    };
    let protocol = CloseCode::PROTOCOL_ERROR;
    fails("not masked", b"\x82\x01x".to_vec(), WebSocketError::Unmasked, protocol);
    fails("reserved bits", part(true, 0x42, b"x"), WebSocketError::ReservedBits, protocol);
    fails("reserved opcode", part(true, 0x3, b"x"), WebSocketError::Opcode, protocol);
    fails("reserved control opcode", part(true, 0xB, b"x"), WebSocketError::Opcode, protocol);
    // [MQTT-6.0.0-1].
    fails("text", part(true, TEXT, b"x"), WebSocketError::Text, CloseCode::UNSUPPORTED);
    fails("a ping in parts", part(false, PING, b"x"), WebSocketError::Control, protocol);
    fails("a ping of 126 bytes", part(true, PING, &[0; 126]), WebSocketError::Control, protocol);
    fails("a continuation of nothing", part(true, CONTINUATION, b"x"), WebSocketError::Continuation, protocol);
    fails("a message within a message", [part(false, 2, b""), binary(b"x")].concat(), WebSocketError::Continuation, protocol);
    fails("a length in two bytes too many", b"\x82\xfe\x00\x7d".to_vec(), WebSocketError::Length, protocol);
    fails("a length in eight bytes too many", b"\x82\xff\0\0\0\0\0\0\xff\xff".to_vec(), WebSocketError::Length, protocol);
    fails("a negative length", b"\x82\xff\x80\0\0\0\0\0\0\0".to_vec(), WebSocketError::Length, protocol);
}

#[test]
fn nothing_is_held_between_frames_and_within_data() {
    let (mut decoder, mut payload, mut output) = (Decoder::default(), Vec::new(), Vec::new());
    let raw = [part(true, PING, b"?"), binary(b"abc")].concat();
    let mut held = Vec::new();
    for byte in raw.chunks(1) {
        assert_eq!(decoder.decode(byte, &mut payload, &mut output), Ok(Stream::Open));
        held.push(decoder.held.capacity() > 0);
    }
    let expected = [true, true, true, true, true, true, false, true, true, true, true, true, false, false, false, false];
    assert_eq!(held, expected, "seven bytes of the ping, six of a header, three of data");
}

proptest! {
    #[test]
    fn any_bytes_are_read_alike_in_any_pieces(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        harness::any(&bytes);
    }

    #[test]
    fn any_frames_are_read_alike_in_any_pieces(
        frames in prop::collection::vec(
            (any::<bool>(), prop::sample::select(&[0u8, 2, 2, 8, 9, 10][..]), prop::collection::vec(any::<u8>(), 0..140)),
            0..6,
        ),
        key in any::<[u8; 4]>(),
    ) {
        let raw = frames.iter().flat_map(|(fin, opcode, payload)| client_frame(*fin, *opcode, key, payload));
        harness::any(&raw.collect::<Vec<_>>());
    }

    #[test]
    fn any_large_message_makes_the_round(length in 60_000usize..70_000, seed in any::<u8>()) {
        harness::any(&vec![seed; length]);
    }
}
