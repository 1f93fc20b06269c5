//! What arrives when peers are slow, stingy, rude or gone, and when a stream moves between threads.

use std::{
    io::{Read, Write},
    sync::Arc,
};

use rustls::{
    ClientConfig, ServerConfig,
    version::{TLS12, TLS13},
};

use super::fixture::{Authority, Heard, Talk, client_config, pair, server_config};
use crate::limits;
use crate::transport::{Fault, Received, Sent, Stream};

fn configs(version: &'static rustls::SupportedProtocolVersion) -> (Arc<ServerConfig>, Arc<ClientConfig>) {
    let authority = Authority::new("root");
    (server_config(&authority), client_config(&authority, version, None))
}

/// A talk whose handshake is over.
fn talk(version: &'static rustls::SupportedProtocolVersion) -> Talk {
    let (server, client) = configs(version);
    let mut talk = Talk::new(&server, &client);
    talk.run();
    assert!(!talk.stream.is_handshaking() && talk.stream.kept_bytes() == 0);
    talk
}

fn numbered(count: usize) -> Vec<u8> {
    (0..count).map(|index| u8::try_from(index % 251).unwrap()).collect()
}

#[test]
fn one_byte_at_a_time_is_a_handshake_and_a_message() {
    for version in [&TLS12, &TLS13] {
        let (server, client) = configs(version);
        let mut talk = Talk::new(&server, &client);
        talk.client_says(b"slowly");
        let (mut heard, mut into, mut wire) = (Heard::default(), [0; 4], Vec::new());
        while heard.by_shard.len() < 6 {
            while talk.client.wants_write() {
                talk.client.write_tls(&mut wire).unwrap();
            }
            for byte in wire.drain(..) {
                (&talk.far).write_all(&[byte]).unwrap();
                loop {
                    match talk.stream.receive(&mut into) {
                        Received::Bytes { count, more } => {
                            heard.by_shard.extend_from_slice(&into[..count]);
                            assert!(more == talk.stream.has_unread() || count == into.len());
                        }
                        other => break assert_eq!(other, Received::Nothing),
                    }
                }
            }
            talk.client_hears(&mut heard);
        }
        assert_eq!(heard.by_shard, b"slowly");
        assert_eq!(talk.stream.kept_bytes(), 0);
    }
}

#[test]
fn a_short_read_with_more_behind_it_says_so() {
    let mut talk = talk(&TLS13);
    talk.client_says(&numbered(10));
    talk.client_sends();
    let mut into = [0; 4];
    assert_eq!(talk.stream.receive(&mut into), Received::Bytes { count: 4, more: true });
    assert_eq!((into, talk.stream.has_unread(), talk.stream.kept_bytes()), ([0, 1, 2, 3], true, 6));
    assert_eq!(talk.stream.receive(&mut into), Received::Bytes { count: 4, more: true });
    assert_eq!(talk.stream.receive(&mut into), Received::Bytes { count: 2, more: false });
    assert_eq!(talk.stream.receive(&mut into), Received::Nothing);
    let mut wide = [0; 64];
    talk.client_says(b"x");
    talk.client_sends();
    assert_eq!(talk.stream.receive(&mut wide), Received::Bytes { count: 1, more: false });
}

#[test]
fn much_arrives_whole_however_small_the_room() {
    for room in [1, 1_000, 4_096, 16_384, limits::READ_BUFFER_BYTES] {
        let mut talk = talk(&TLS13);
        let sent = numbered(60_000);
        talk.client_says(&sent);
        let (mut heard, mut into) = (Vec::new(), vec![0; room]);
        loop {
            talk.client_sends();
            match talk.stream.receive(&mut into) {
                Received::Bytes { count, .. } => heard.extend_from_slice(&into[..count]),
                other => break assert_eq!(other, Received::Nothing),
            }
            assert!(talk.stream.kept_bytes() <= 2 * (limits::TLS_RECORD_BYTES + limits::SCARCE_READ_BYTES));
        }
        assert!(heard == sent, "room {room}");
    }
}

#[test]
fn a_peer_that_does_not_read_fills_its_socket_and_nothing_else() {
    for version in [&TLS12, &TLS13] {
        let mut talk = talk(version);
        let bytes = numbered(2 << 20);
        let (mut sent, mut heard, mut pauses) = (0, Heard::default(), 0);
        while sent < bytes.len() {
            match talk.stream.send(&bytes[sent..]) {
                Sent::Bytes(count) => sent += count,
                Sent::Full => {
                    assert!(talk.stream.wants_write());
                    assert_eq!(talk.stream.send(&bytes[sent..]), Sent::Full, "and nothing is taken meanwhile");
                    pauses += 1;
                    talk.client_hears(&mut heard);
                }
                Sent::Broken => panic!("nobody broke it"),
            }
            assert!(talk.stream.kept_bytes() <= limits::TLS_RECORD_BYTES + 512, "{}", talk.stream.kept_bytes());
        }
        while talk.stream.wants_write() {
            talk.client_hears(&mut heard);
            talk.stream.flush();
        }
        talk.client_hears(&mut heard);
        assert!(pauses > 1 && heard.by_client == bytes);
    }
}

#[test]
fn a_stream_moves_between_threads_with_what_it_holds() {
    for version in [&TLS12, &TLS13] {
        let mut talk = talk(version);
        talk.client_says(&numbered(40_000));
        talk.client_sends();
        let mut heard = vec![0; 100];
        assert_eq!(talk.stream.receive(&mut heard), Received::Bytes { count: 100, more: true });
        // A partial record as well.
        let (mut wire, sent) = (Vec::new(), numbered(40_000));
        talk.client_says(b"end");
        talk.client.write_tls(&mut wire).unwrap();
        (&talk.far).write_all(&wire[..7]).unwrap();
        assert!(talk.stream.has_unread());
        let released = talk.stream.release().unwrap();
        let mover = std::thread::spawn(move || {
            let mut stream = Stream::adopt(released);
            assert!(stream.has_unread());
            let (mut rest, mut into) = (Vec::new(), vec![0; 30_000]);
            while let Received::Bytes { count, .. } = stream.receive(&mut into) {
                rest.extend_from_slice(&into[..count]);
            }
            assert!(stream.kept_bytes() >= 7);
            assert_eq!(stream.send(b"from here"), Sent::Bytes(9));
            (rest, stream)
        });
        let (rest, stream) = mover.join().unwrap();
        heard.extend(rest);
        assert!(heard == sent);
        talk.stream = stream;
        (&talk.far).write_all(&wire[7..]).unwrap();
        let last = talk.run();
        assert_eq!((&last.by_shard[..], &last.by_client[..]), (&b"end"[..], &b"from here"[..]));
    }
}

#[test]
fn a_stream_with_something_left_to_send_is_not_handed_over() {
    let mut talk = talk(&TLS13);
    let much = numbered(4 << 20);
    while talk.stream.send(&much) != Sent::Full {}
    talk.stream = talk.stream.release().unwrap_err();
    talk.client_hears(&mut Heard::default());
    while talk.stream.wants_write() {
        talk.stream.flush();
    }
    assert!(talk.stream.release().is_ok());
}

#[test]
fn an_end_is_said_after_what_came_before_it() {
    for version in [&TLS12, &TLS13] {
        let mut into = [0; 64];
        let mut polite = talk(version);
        polite.client_says(b"bye");
        polite.client.send_close_notify();
        polite.client_sends();
        assert_eq!(polite.stream.receive(&mut into), Received::Bytes { count: 3, more: true });
        assert_eq!(polite.stream.receive(&mut into), Received::End);
        // Half closed: what was owed can still be said.
        assert_eq!(polite.stream.send(b"owed"), Sent::Bytes(4));
        let mut heard = Heard::default();
        polite.client_hears(&mut heard);
        assert_eq!(heard.by_client, b"owed");

        let mut rude = talk(version);
        rude.client_says(b"bye");
        rude.client_sends();
        rude.far.shutdown(std::net::Shutdown::Write).unwrap();
        assert_eq!(rude.stream.receive(&mut into), Received::Bytes { count: 3, more: false });
        assert_eq!(rude.stream.receive(&mut into), Received::End);
        assert_eq!(rude.stream.receive(&mut into), Received::End);
    }
}

#[test]
fn finishing_says_close_notify_and_ends_the_stream() {
    for version in [&TLS12, &TLS13] {
        let mut talk = talk(version);
        talk.stream.finish();
        talk.run();
        // rustls says an unclean end as an error.
        assert_eq!(talk.client.reader().read(&mut [0; 4]).unwrap(), 0);
        assert_eq!(talk.far.read(&mut [0; 4]).unwrap(), 0);
        assert_eq!(talk.stream.release().map(drop).map_err(drop), Ok(()));
    }
}

#[test]
fn a_handshake_that_breaks_off_is_an_end_and_keeps_little() {
    let (server, client) = configs(&TLS13);
    let mut wire = Vec::new();
    Talk::new(&server, &client).client.write_tls(&mut wire).unwrap();
    for length in 0..wire.len() {
        let (near, far) = pair();
        let mut stream = Stream::tls(near, &server).unwrap();
        (&far).write_all(&wire[..length]).unwrap();
        let mut into = [0; 64];
        assert_eq!(stream.receive(&mut into), Received::Nothing);
        assert!(stream.is_handshaking() && stream.kept_bytes() <= length);
        if length % 2 == 0 {
            stream.finish();
        }
        drop(far);
        assert_eq!(stream.receive(&mut into), Received::End);
    }
}

/// Bytes that begin no handshake, or never end it.
fn check_garbage(bytes: &[u8]) {
    let (server, _) = configs(&TLS13);
    let (near, far) = pair();
    let mut stream = Stream::tls(near, &server).unwrap();
    let (mut into, mut outcome) = ([0; 64], Received::Nothing);
    for piece in bytes.chunks(3_000) {
        (&far).write_all(piece).unwrap();
        outcome = stream.receive(&mut into);
        assert!(stream.kept_bytes() <= 2 * limits::TLS_PARTIAL_BYTES_MAX);
    }
    assert_eq!(outcome, Received::Broken(Fault::Protocol));
    assert_eq!((stream.receive(&mut into), stream.send(b"x"), stream.is_handshaking()), (outcome, Sent::Broken, true));
    stream.finish();
}

#[test]
fn what_is_not_tls_is_refused() {
    // MQTT and HTTP on the wrong port, a record of no known type, one that is too long, a handshake message that never ends.
    check_garbage(b"\x10\x0F\x00\x04MQTT\x04\x02\x00\x3C\x00\x03abc");
    check_garbage(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n");
    check_garbage(&[0x99, 3, 3, 0, 1, 0]);
    check_garbage(&[0x16, 3, 1, 0xFF, 0xFF, 1]);
    let endless: Vec<u8> = [&[0x16, 3, 1, 0x40, 0, 1, 0, 0xF0, 0][..], &[0; 16_380]].concat();
    check_garbage(&[&endless[..], &[0x16, 3, 1, 0x40, 0], &[0; 16_384], &[0x16, 3, 1, 0x40, 0], &[0; 16_384]].concat());
}

#[test]
fn a_client_that_knows_nothing_we_know_is_incompatible() {
    let (server, _) = configs(&TLS13);
    let (near, far) = pair();
    let mut stream = Stream::tls(near, &server).unwrap();
    // A hello of TLS 1.0 with one cipher suite, TLS_RSA_WITH_NULL_MD5.
    let random = [7; 32];
    let hello = [&[3, 1][..], &random, &[0, 0, 2, 0, 1, 1, 0]].concat();
    let length = u8::try_from(hello.len()).unwrap();
    (&far).write_all(&[&[0x16, 3, 1, 0, length + 4, 1, 0, 0, length][..], &hello].concat()).unwrap();
    assert_eq!(stream.receive(&mut [0; 64]), Received::Broken(Fault::Incompatible));
    let mut alert = [0; 7];
    (&far).read_exact(&mut alert).unwrap();
    assert_eq!(alert[..6], [0x15, 3, 3, 0, 2, 2], "a fatal alert");
}
