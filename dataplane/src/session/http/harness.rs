//! What must hold for any sequence of bytes, settlements, answers and moments: called by the property tests and by the fuzz
//! target. Panics when it does not hold, so the server never calls it.

use std::collections::HashMap;
use std::fmt;

use super::{Decoded, Http, answering};
use crate::clock::{Instant, Now, Timestamp};
use crate::codec::cursor::Cursor;
use crate::codec::http::{Incoming, Method, harness::read};
use crate::limits;
use crate::session::{Close, Delivery, Downlink, Intent, Operation, Outcome, Reason, Receipt};

/// Reads `script` as a list of deeds done to one session and checks after each that: what the shard is asked is what another
/// reading of the same bytes finds; responses are whole, at most one for each request, in the order of the requests, and say how
/// they were settled; no settled request at the front stays unanswered; nothing is understood or said after the end.
///
/// # Panics
/// When one of these does not hold.
pub fn any(script: &[u8]) {
    let mut script = Cursor::new(script);
    let mut run = Run::new();
    while let Some(deed) = script.u8() {
        let argument = script.u8().unwrap_or_default();
        match deed % 16 {
            0 => {
                let bytes = script.take(usize::from(argument)).unwrap_or_else(|| script.take_rest());
                run.feed(bytes);
            }
            1..=6 => run.feed(&request(argument)),
            7 => {
                let bytes = request(argument);
                let (first, second) = bytes.split_at(bytes.len() * usize::from(deed) / 256);
                run.feed(first);
                run.feed(second);
            }
            8..=10 => run.settle(argument),
            11 => run.answer(argument),
            12 => run.elapse(argument),
            13 => run.take_back(),
            14 if argument & 1 == 0 => run.session.pause(),
            14 => run.session.resume(run.now.instant),
            _ if argument.is_multiple_of(16) => run.end(Close { reason: Reason::ShuttingDown }),
            _ => run.drain(argument),
        }
        run.check_output();
    }
}

/// Feeds a stream of requests whole and in pieces to sessions whose receipts settle at once: intents, responses and end are the
/// same.
///
/// # Panics
/// When they are not.
pub fn pieces(parts: &[u8]) {
    let stream: Vec<u8> = parts.iter().flat_map(|&part| request(part)).collect();
    let whole = serve([stream.as_slice()]);
    assert_eq!(serve(stream.chunks(1)), whole, "byte by byte");
    assert_eq!(serve(stream.chunks(parts.len() * 5 + 2)), whole, "in pieces");
}

fn serve<'a>(pieces: impl IntoIterator<Item = &'a [u8]>) -> (Vec<String>, String, Option<Reason>) {
    let now = Now { instant: Instant::from_nanos(1), timestamp: Timestamp(1) };
    let (mut session, mut decoded, mut unread) = (Http::new(now.instant), Decoded::default(), Vec::new());
    let (mut intents, mut output, mut end) = (Vec::new(), Vec::new(), None);
    for piece in pieces {
        unread.extend_from_slice(piece);
        let mut input = unread.as_slice();
        while end.is_none() {
            let settled = match session.next(&mut input, &mut decoded, now) {
                Ok(Some(intent)) => {
                    intents.push(format!("{intent:?}"));
                    match intent {
                        Intent::Request { receipt, .. } => session.settle(receipt, Outcome::Stored, now),
                        _ => Ok(()),
                    }
                }
                Ok(None) => break,
                Err(close) => Err(close),
            };
            end = settled.err().map(|close| close.reason);
        }
        output.extend(std::mem::take(session.output()));
        unread = input.to_vec();
    }
    // Who sends all at once is not told to go on.
    let output = String::from_utf8_lossy(&output).replace("HTTP/1.1 100 Continue\r\n\r\n", "");
    (intents, output, end)
}

/// A response, as another reader sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    pub status: u16,
    pub keep_alive: bool,
    pub retry_after: Option<String>,
    pub content: Vec<u8>,
}

impl fmt::Display for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", self.status, if self.keep_alive { "+" } else { "" })?;
        if let Some(seconds) = &self.retry_after {
            write!(f, " retry {seconds}")?;
        }
        let space = if self.content.is_empty() { "" } else { " " };
        write!(f, "{space}{}", String::from_utf8_lossy(&self.content))
    }
}

/// All responses of an output, none of which answers HEAD.
///
/// # Panics
/// When they are not whole.
#[must_use]
pub fn responses(output: &[u8]) -> Vec<Answer> {
    let (mut rest, mut responses) = (output, Vec::new());
    while !rest.is_empty() {
        responses.push(response(&mut rest, false));
    }
    responses
}

fn response(rest: &mut &[u8], head_only: bool) -> Answer {
    let Some(answer) = whole_response(rest, head_only) else { panic!("a response is whole: {rest:?}") };
    answer
}

fn whole_response(rest: &mut &[u8], head_only: bool) -> Option<Answer> {
    let mut headers = [httparse::EMPTY_HEADER; 16];
    let mut parsed = httparse::Response::new(&mut headers);
    let Ok(httparse::Status::Complete(head)) = parsed.parse(rest) else { panic!("output is whole responses: {rest:?}") };
    let said = |name: &str| {
        let header = parsed.headers.iter().find(|header| header.name.eq_ignore_ascii_case(name));
        header.map(|header| String::from_utf8_lossy(header.value).into_owned())
    };
    let length = said("content-length").map(|length| length.parse::<usize>());
    let status = parsed.code.unwrap_or_default();
    assert_eq!(length.is_none(), status < 200 || status == 204, "content has a length");
    let length = if head_only { 0 } else { length.unwrap_or(Ok(0)).unwrap_or(usize::MAX) };
    let (content, behind) = rest[head..].split_at_checked(length)?;
    let keep_alive = said("connection").is_none_or(|connection| connection != "close");
    let answer = Answer { status, keep_alive, retry_after: said("retry-after"), content: content.to_vec() };
    *rest = behind;
    Some(answer)
}

struct Run {
    session: Http,
    decoded: Decoded,
    now: Now,
    /// All bytes that came.
    stream: Vec<u8>,
    /// How many of them were consumed.
    consumed: usize,
    /// How the requests the shard was asked were settled, by receipt: status and content, if so.
    promised: HashMap<u64, Option<(u16, Vec<u8>)>>,
    /// The newest receipt, and where its request began.
    newest: Option<(Receipt, usize)>,
    /// Final responses that were sent.
    answered: u64,
    /// What was sent of a response that is not whole.
    said: Vec<u8>,
    /// What is to come of a download that has begun.
    download: Option<Vec<u8>>,
    upgraded: bool,
    over: bool,
}

impl Run {
    fn new() -> Self {
        let now = Now { instant: Instant::from_nanos(1), timestamp: Timestamp(1) };
        Self {
            session: Http::new(now.instant),
            decoded: Decoded::default(),
            now,
            stream: Vec::new(),
            consumed: 0,
            promised: HashMap::new(),
            newest: None,
            answered: 0,
            said: Vec::new(),
            download: None,
            upgraded: false,
            over: false,
        }
    }

    fn feed(&mut self, bytes: &[u8]) {
        self.stream.extend_from_slice(bytes);
        let stream = std::mem::take(&mut self.stream);
        let mut decoded = std::mem::take(&mut self.decoded);
        loop {
            let mut input = &stream[self.consumed..];
            let began = self.consumed;
            let next = self.session.next(&mut input, &mut decoded, self.now);
            self.consumed = stream.len() - input.len();
            match next {
                Ok(Some(intent)) => self.understand(&intent, began, &stream),
                Ok(None) => break,
                Err(close) => {
                    self.stream = stream;
                    self.decoded = decoded;
                    return self.end(close);
                }
            }
        }
        self.stream = stream;
        self.decoded = decoded;
    }

    fn understand(&mut self, intent: &Intent<'_>, began: usize, stream: &[u8]) {
        assert!(!self.over && !self.upgraded, "nothing is understood after the end");
        assert!(self.consumed > began, "an intent comes from bytes");
        let Intent::Request { token, operation, receipt, .. } = intent else {
            assert_eq!(*intent, Intent::Upgrade, "HTTP knows requests and upgrades");
            self.upgraded = true;
            return;
        };
        assert!(token.len() <= limits::TOKEN_BYTES_MAX, "a token is bounded");
        assert!(self.session.unsettled() <= limits::RECEIPTS_PER_CONNECTION_MAX, "open requests are bounded");
        let seen = read([stream]).0;
        let seen = &seen[usize::try_from(receipt.0).expect("receipts are few")];
        match operation {
            Operation::Telemetry { payload, .. }
            | Operation::Attributes { payload, .. }
            | Operation::RpcRequest { payload, .. }
            | Operation::RpcResponse { payload, .. }
            | Operation::Claim { payload }
            | Operation::Provision { payload } => {
                assert_eq!((seen.method, *payload), (Method::Post, seen.content.as_slice()), "the payload is the request's");
            }
            _ => assert!(matches!(seen.method, Method::Get | Method::Head), "the rest is asked for"),
        }
        assert_eq!(self.promised.insert(receipt.0, None), None, "receipts are numbered");
        self.newest = Some((*receipt, last_request(stream, began, self.consumed)));
    }

    fn settle(&mut self, argument: u8) {
        const OUTCOMES: [Outcome; 8] = [
            Outcome::Stored,
            Outcome::PayloadInvalid,
            Outcome::RateExceeded { retry_after_s: 3 },
            Outcome::NotFound,
            Outcome::Unauthorized,
            Outcome::TimedOut,
            Outcome::Unavailable,
            Outcome::Unspecified,
        ];
        let outcome = OUTCOMES[usize::from(argument >> 5)];
        // Also receipts that do not exist, and the same ones again.
        let receipt = Receipt(self.answered + u64::from(argument & 0x1F));
        let status = answering::of_outcome(outcome).status.code();
        if !self.over
            && let Some(settled) = self.promised.get_mut(&receipt.0)
        {
            settled.get_or_insert((status, Vec::new()));
        }
        self.forget(receipt);
        match self.session.settle(receipt, outcome, self.now) {
            Ok(()) => self.feed(&[]),
            Err(close) => self.end(close),
        }
    }

    fn answer(&mut self, argument: u8) {
        let receipt = Receipt(self.answered + u64::from(argument & 0x07));
        let json = format!("{{\"n\":{}}}", receipt.0).repeat(usize::from(argument));
        let open = !self.over && self.promised.get(&receipt.0).is_some_and(Option::is_none);
        self.forget(receipt);
        // The newest may be one that blocks those behind it.
        let stretches = self.session.downloads() && receipt.0 + 1 == self.answered + self.session.unsettled() as u64;
        let (bytes, later) = json.as_bytes().split_at(if stretches { json.len() / 3 } else { json.len() });
        let length = json.len() as u64;
        let downlink =
            if stretches { Downlink::Download { length, bytes } } else { Downlink::AttributesUpdated { json: json.as_bytes() } };
        if stretches && open {
            self.download = Some(later.to_vec());
        }
        match self.session.answer(Some(receipt), downlink, self.now) {
            Ok(Delivery::Full) => assert!(open, "what is full was asked for"),
            Ok(delivery) => {
                assert_eq!(delivery == Delivery::QueuedUnacked, open, "what is open is answered");
                if open {
                    self.promised.insert(receipt.0, Some((200, json.into_bytes())));
                }
                self.check_output();
                self.feed(&[]);
            }
            Err(close) => {
                self.promised.insert(receipt.0, Some((200, json.into_bytes())));
                self.end(close);
            }
        }
    }

    /// All output has left: a download goes on.
    fn drain(&mut self, argument: u8) {
        self.check_output();
        match self.session.drained() {
            Ok(true) => {
                let Some(later) = &mut self.download else { panic!("nobody downloads") };
                assert!(!later.is_empty(), "who wants more was not given all of it");
                let more: Vec<u8> = later.drain(..later.len().min(usize::from(argument))).collect();
                assert_eq!(self.session.go_on(&more), Ok(()));
                self.check_output();
            }
            Ok(false) => self.feed(&[]),
            Err(close) => self.end(close),
        }
    }

    /// What is settled cannot be taken back.
    fn forget(&mut self, receipt: Receipt) {
        if self.newest.is_some_and(|(newest, _)| newest == receipt) {
            self.newest = None;
        }
    }

    fn take_back(&mut self) {
        // The shard does so at once, or not at all.
        if let Some((receipt, began)) = self.newest.take()
            && !self.over
            && usize::try_from(receipt.0 - self.answered + 1) == Ok(self.session.unsettled())
        {
            self.session.take_back(receipt);
            self.promised.remove(&receipt.0);
            self.consumed = began;
        }
    }

    fn elapse(&mut self, seconds: u8) {
        self.now.instant = self.now.instant.after_ms(u64::from(seconds) * 1_000);
        if let Some(close) = self.session.elapse(self.now) {
            self.end(close);
        } else if !self.over && !self.upgraded {
            assert!(self.session.deadline() > self.now.instant, "a session that goes on has a deadline ahead");
        }
    }

    fn end(&mut self, close: Close) {
        self.check_output();
        self.session.close(close, self.now);
        let told = std::mem::take(self.session.output());
        assert!(told.is_empty() || self.said.is_empty(), "nothing is said in the middle of a response");
        let told = responses(&told);
        assert!(told.len() <= 1 && told.iter().all(|answer| answer.status == 503 && !self.over), "one word at the end");
        self.over = true;
        assert!(!self.session.connected() && self.session.unsettled() == 0);
    }

    fn check_output(&mut self) {
        let said = std::mem::take(self.session.output());
        assert!(said.is_empty() || !self.over, "nothing is said after the end");
        let requests = if said.is_empty() { Vec::new() } else { read([self.stream.as_slice()]).0 };
        let output = [std::mem::take(&mut self.said), said].concat();
        let mut rest = output.as_slice();
        while !rest.is_empty() {
            let asked = usize::try_from(self.answered).ok().and_then(|index| requests.get(index));
            let head_only = asked.is_some_and(|asked| asked.method == Method::Head) && !rest.starts_with(b"HTTP/1.1 100");
            let Some(answer) = whole_response(&mut rest, head_only) else {
                assert!(self.download.as_ref().is_some_and(|later| !later.is_empty()), "only downloads come by and by: {rest:?}");
                self.said = rest.to_vec();
                break;
            };
            match (answer.status, self.promised.get(&self.answered)) {
                (100, _) => continue,
                (101, _) => assert!(self.upgraded, "an upgrade is an intent"),
                (status, Some(settled)) => {
                    let (expected, content) = settled.as_ref().expect("a response comes after its receipt settled");
                    assert_eq!(status, *expected, "a response says how its request was settled");
                    assert!(content.is_empty() || head_only || *content == answer.content, "and carries its answer");
                }
                (status, None) => assert!(status == 204 || status >= 400, "the session alone promises nothing"),
            }
            self.answered += 1;
        }
        if self.session.connected() {
            let front = self.promised.get(&self.answered);
            assert!(front.is_none_or(Option::is_none) || !self.said.is_empty(), "a settled front is answered");
        }
    }
}

/// Where the last of the whole requests that lie between two places begins. Those before it were answered by the session alone.
fn last_request(stream: &[u8], mut from: usize, to: usize) -> usize {
    let mut rest = &stream[from..to];
    while matches!(Incoming::default().next(&mut rest), Ok(Some(_))) && !rest.is_empty() {
        from = to - rest.len();
    }
    from
}

/// Requests that get a script past the parser, and some that do not; mutations of them come from the raw deed.
fn request(which: u8) -> Vec<u8> {
    const REQUESTS: [&str; 20] = [
        "POST /api/v1/T/telemetry HTTP/1.1\r\nHost: x\r\nContent-Length: 7\r\n\r\n{\"a\":1}",
        "POST /api/v1/T/telemetry HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\n{}",
        "POST /api/v1/%54/attributes HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n1\r\n{\r\n1\r\n}\r\n0\r\n\r\n",
        "GET /api/v1/T/attributes?clientKeys=a%2Cb HTTP/1.1\r\nHost: x\r\n\r\n",
        "HEAD /api/v1/T/attributes HTTP/1.1\r\nHost: x\r\n\r\n",
        "GET /api/v1/T/attributes/updates?timeout=5 HTTP/1.1\r\nHost: x\r\n\r\n",
        "GET /api/v1/T/rpc HTTP/1.1\r\nHost: x\r\n\r\n",
        "POST /api/v1/T/rpc/7 HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\n{}",
        "POST /api/v1/T/rpc HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\n{}",
        "POST /api/v1/T/claim HTTP/1.0\r\nConnection: keep-alive\r\n\r\n",
        "GET /api/v1/T/firmware?title=a&version=b HTTP/1.1\r\nHost: x\r\n\r\n",
        "POST /api/v1/provision HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\n{}",
        "POST /api/v1/T/telemetry HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\n{}",
        "HEAD /nowhere HTTP/1.1\r\nHost: x\r\n\r\n",
        "OPTIONS /api/v1/T/rpc HTTP/1.1\r\nHost: x\r\n\r\n\r\n",
        "GET /api/v1/%ff/rpc HTTP/1.1\r\nHost: x\r\n\r\n",
        "POST /api/v1/T/telemetry HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: 2\r\n\r\n{}",
        "POST /api/v1/T/telemetry HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n{}",
        "GET / HTTP/1.1\r\n\r\n",
        "GET /mqtt HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
         Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Protocol: mqtt\r\n\r\n",
    ];
    let which = usize::from(which);
    // Those that end the connection are rare, or few scripts would get far.
    let index = if which < 240 { which % 16 } else { which % REQUESTS.len() };
    REQUESTS[index].as_bytes().to_vec()
}
