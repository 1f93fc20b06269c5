//! Answers that do not come as a whole: in their turn, no faster than they are taken, visibly short when they end early.

use super::*;

const HEAD: &str = "HTTP/1.1 200 OK\r\nContent-Type: application/octet-stream\r\nContent-Length: 6\r\n\r\n";
const BEGINNING: Downlink<'static> = Downlink::Download { length: 6, bytes: b"ab" };

fn download(headers: &str) -> Vec<u8> {
    request("GET", "/api/v1/T/firmware?title=a&version=1", headers, "")
}

/// A session that was asked this, and what it has not read of it.
fn asked(requests: &[Vec<u8>], intents: &[&str]) -> (Http, Vec<u8>) {
    let (mut session, mut unread) = (Http::new(START.instant), requests.concat());
    assert_eq!(feed(&mut session, &mut unread, START), (texts(intents), None));
    (session, unread)
}

fn begun(headers: &str) -> Http {
    let (mut session, _) = asked(&[download(headers)], &["0 T: Firmware a/1 0 0"]);
    assert_eq!(session.answer(Some(Receipt(0)), BEGINNING, START), Ok(Delivery::QueuedUnacked));
    assert_eq!(said(&mut session).split_once("\r\n\r\n").map(|(_, content)| content.to_owned()).as_deref(), Some("ab"));
    session
}

fn said(session: &mut Http) -> String {
    String::from_utf8(std::mem::take(session.output())).unwrap()
}

#[test]
fn a_download_goes_on_when_what_it_said_is_taken() {
    let (mut session, mut unread) = asked(&[download(""), telemetry()], &["0 T: Firmware a/1 0 0"]);
    assert!(session.blocked() && session.downloads(), "what comes behind it is not read");
    assert_eq!(session.drained(), Ok(false), "nothing was said");
    assert_eq!(session.answer(Some(Receipt(0)), BEGINNING, START), Ok(Delivery::QueuedUnacked));
    assert_eq!(session.answer(Some(Receipt(0)), BEGINNING, START), Ok(Delivery::NotSubscribed), "it has its answer");
    assert_eq!(said(&mut session), format!("{HEAD}ab"));
    for (more, last) in [("cd", false), ("e", false), ("f", true)] {
        assert_eq!(session.drained(), Ok(true));
        assert_eq!(session.go_on(more.as_bytes()), Ok(()));
        assert_eq!(said(&mut session), more);
        assert!(session.blocked(), "it is over when its last bytes have left");
        assert_eq!(feed(&mut session, &mut unread, START), (Vec::new(), None));
        assert_eq!(session.unsettled(), 1);
        assert!(!last || session.drained() == Ok(false));
    }
    assert!(!session.blocked() && !session.downloads());
    assert_eq!(feed(&mut session, &mut unread, START), (texts(&["1 T: telemetry {}"]), None));
}

#[test]
fn a_download_waits_for_its_turn() {
    let requests = [telemetry(), post("/api/v1/T/rpc", "1"), download("")];
    let (mut session, _) = asked(&requests, &["0 T: telemetry {}", "1 T: call 0 1", "2 T: Firmware a/1 0 0"]);
    assert_eq!(session.answer(Some(Receipt(2)), BEGINNING, START), Ok(Delivery::QueuedUnacked));
    assert_eq!(session.settle(Receipt(1), Outcome::Stored, START), Ok(()));
    assert_eq!((said(&mut session).as_str(), session.drained()), ("", Ok(false)));
    assert_eq!(session.settle(Receipt(0), Outcome::Stored, START), Ok(()));
    let ok = "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n";
    assert_eq!(said(&mut session), format!("{ok}{ok}{HEAD}ab"));
    assert_eq!((session.drained(), session.go_on(b"cdef"), session.drained()), (Ok(true), Ok(()), Ok(false)));
    assert_eq!((session.unsettled(), session.waiting.held_bytes()), (0, 0));
}

#[test]
fn what_is_refused_or_only_looked_at_is_no_download() {
    let (mut session, _) = asked(&[download("")], &["0 T: Firmware a/1 0 0"]);
    assert_eq!(session.settle(Receipt(0), Outcome::NotFound, START), Ok(()));
    assert!(said(&mut session).starts_with("HTTP/1.1 404") && !session.blocked());
    let head = request("HEAD", "/api/v1/T/firmware?title=a&version=1", "", "");
    let (mut session, _) = asked(&[head], &["0 T: Firmware a/1 0 0"]);
    assert_eq!(session.answer(Some(Receipt(0)), BEGINNING, START), Ok(Delivery::QueuedUnacked));
    assert_eq!((said(&mut session).as_str(), session.blocked()), (HEAD, false));
}

#[test]
fn who_will_go_is_given_all_of_it() {
    let mut session = begun("Connection: close\r\n");
    assert_eq!((session.drained(), session.go_on(b"cdef")), (Ok(true), Ok(())));
    assert_eq!(session.drained(), Err(Close { reason: Reason::PeerClosed }));
    let (mut session, _) = asked(&[download("Connection: close\r\n")], &["0 T: Firmware a/1 0 0"]);
    let whole = Downlink::Download { length: 2, bytes: b"ab" };
    assert_eq!(session.answer(Some(Receipt(0)), whole, START), Ok(Delivery::QueuedUnacked), "not before it has left");
    assert_eq!(session.drained(), Err(Close { reason: Reason::PeerClosed }));
}

#[test]
fn a_download_that_ends_early_says_nothing_more() {
    for reason in [Reason::Unavailable, Reason::ShuttingDown] {
        let mut session = begun("");
        session.close(Close { reason }, START);
        assert_eq!(said(&mut session), "", "anything would be taken for a part of it");
        let (mut session, _) = asked(&[download("")], &["0 T: Firmware a/1 0 0"]);
        session.close(Close { reason }, START);
        assert!(said(&mut session).starts_with("HTTP/1.1 503"), "it has not begun");
    }
    assert_eq!(begun("").go_on(b"cdefg"), Err(Close { reason: Reason::Unspecified }), "more than was announced");
    let (mut session, _) = asked(&[download("")], &["0 T: Firmware a/1 0 0"]);
    assert_eq!(session.go_on(b"ab"), Err(Close { reason: Reason::Unspecified }), "before its beginning");
}

#[test]
fn who_does_not_take_a_download_is_left() {
    let after = |minutes: u64| Now { instant: START.instant.after_ms(minutes * limits::HTTP_IDLE_MS), ..START };
    let mut session = begun("");
    session.pause();
    assert_eq!(session.elapse(after(1)), None);
    assert_eq!(session.drained(), Ok(true));
    // Now it is we who are slow.
    assert!((2..7).all(|minutes| session.elapse(after(minutes)).is_none()));
    assert_eq!(session.go_on(b"cd"), Ok(()));
    assert_eq!(session.elapse(after(7)), None);
    assert_eq!(session.drained(), Ok(true), "taken within two minutes");
    assert_eq!(session.go_on(b"e"), Ok(()));
    assert_eq!((session.elapse(after(8)), session.elapse(after(9))), (None, Some(Close { reason: Reason::SlowPeer })));
}
