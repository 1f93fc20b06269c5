//! Messages for NATS: one connection per node, kept while it is used. With JetStream a message is taken when a stream says so; without,
//! when the server has answered the PING behind it, which says that it was read and passed to those who listen then. Its idempotency
//! key is the header `Nats-Msg-Id`, by which a stream passes over what it has already.

use std::collections::VecDeque;

use schemas::chain::external::NatsPublish;
use serde_json::{Value, json};
use uuid::Uuid;

use super::Told;
use super::kept::Kept;
use super::line::{Over, Place, Said, Speech, serve};
use crate::codec::nats::{self, FromServer};
use crate::limits;
use crate::owed::{Answer, Answered, NatsCall};

/// A call and the key by which its target can tell that it has heard it before.
type Keyed = (NatsCall, String);

/// The servers that nodes are connected to.
#[derive(Debug)]
pub(super) struct Servers(Kept<(NatsPublish, bool), Keyed>);

impl Servers {
    pub(super) fn new() -> Self {
        Self(Kept::new(limits::BROKERS_MAX))
    }

    /// Publishes over the node's connection, which is made if there is none with these settings.
    pub(super) fn publish(&mut self, node: Uuid, private: bool, (call, key): Keyed, told: Told) {
        let settings = (call.server.clone(), private);
        self.0.give((node, settings), ((call, key), told), |(server, private), calls| {
            let (host, port, wait_ms) = (server.host.clone(), server.port, server.timeout_ms);
            let place = Place { host, port, connect_ms: wait_ms, opening_ms: wait_ms, tls: None, private };
            // Nobody else hears what is answered to this connection.
            let inbox = format!("_INBOX.{}", Uuid::new_v4().simple());
            tokio::spawn(serve(place, Publisher::new(server, inbox), calls));
        });
    }
}

#[derive(Debug)]
struct Publisher {
    server: NatsPublish,
    inbox: String,
    greeted: bool,
    open: bool,
    /// Bytes of a message.
    payload_bytes_max: usize,
    last_call: u64,
    /// PONGs that come, in their order: what for, if not to keep the connection.
    pongs: VecDeque<Option<Unanswered>>,
}

#[derive(Debug)]
struct Unanswered {
    call: u64,
    subject: String,
    refused: Option<String>,
}

impl Publisher {
    fn new(server: NatsPublish, inbox: String) -> Self {
        Self { server, inbox, greeted: false, open: false, payload_bytes_max: 0, last_call: 0, pongs: VecDeque::new() }
    }

    fn greet(&mut self, info: &str, out: &mut Vec<u8>) -> Result<(), Over> {
        let info: Value = serde_json::from_str(info).map_err(Over::ended)?;
        self.payload_bytes_max = info["max_payload"].as_u64().and_then(|max| usize::try_from(max).ok()).unwrap_or(usize::MAX);
        if self.greeted {
            return Ok(());
        }
        self.greeted = true;
        if info["tls_required"] == true {
            return Err(Over::Refused("the server wants TLS, which is not supported yet".to_owned()));
        }
        if info["headers"] != true {
            return Err(Over::Refused("the server knows no headers: it is older than 2.2".to_owned()));
        }
        let mut connect = json!({ "verbose": false, "pedantic": false, "tls_required": false, "lang": "rust", "protocol": 1,
            "version": env!("CARGO_PKG_VERSION"), "name": "tidegate", "headers": true, "no_responders": true });
        if let (Some((user, password)), Some(fields)) = (&self.server.user, connect.as_object_mut()) {
            fields.extend([("user".to_owned(), user.clone().into()), ("pass".to_owned(), password.clone().into())]);
        }
        nats::put_connect(out, &connect.to_string());
        if self.server.jet_stream {
            nats::put_subscribe(out, &format!("{}.*", self.inbox));
        }
        nats::put_ping(out);
        Ok(())
    }

    /// What a stream, or the server in place of one, says of a message.
    fn of_stream(&self, subject: &str, status: Option<u16>, payload: &[u8]) -> Option<(u64, Answered)> {
        let call = subject.strip_prefix(&self.inbox)?.strip_prefix('.')?.parse().ok()?;
        if status == Some(503) {
            return Some((call, Answered::Failed("no stream takes the subject".to_owned(), Answer::default())));
        }
        let said: Value = serde_json::from_slice(payload).unwrap_or_default();
        let text = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        if let Some(error) = said.get("error") {
            let reason = format!("the stream refuses the message: {} {}", error["code"], text(&error["description"]));
            let again = error["code"].as_u64().is_none_or(|code| code >= 500);
            let answered = if again { Answered::Failed } else { Answered::Refused };
            return Some((call, answered(reason, Answer::default())));
        }
        if !said["stream"].is_string() {
            let reason = "what answers the message is no stream".to_owned();
            return Some((call, Answered::Refused(reason, Answer::default())));
        }
        let told = [("stream", "stream"), ("seq", "sequence"), ("duplicate", "duplicate")];
        let metadata = told.into_iter().filter(|(field, _)| said.get(field).is_some());
        let metadata = metadata.map(|(field, name)| (name.to_owned(), text(&said[field]))).collect();
        Some((call, Answered::Done(Answer { metadata, data: None })))
    }

    fn of_error(&mut self, error: &str) -> Result<(), Over> {
        let reason = format!("the server says: {error}");
        if error.to_ascii_lowercase().starts_with("permissions violation for publish") {
            // It names the subject, and goes on.
            let is_meant = |one: &&mut Unanswered| one.refused.is_none() && error.ends_with(&format!("\"{}\"", one.subject));
            let meant = self.pongs.iter_mut().flatten().find(is_meant);
            if let Some(one) = meant {
                one.refused = Some(reason);
            }
            return Ok(());
        }
        let credentials = ["authorization violation", "authentication expired", "user authentication"];
        let refused = credentials.iter().any(|begin| error.to_ascii_lowercase().starts_with(begin));
        Err(if refused { Over::Refused(reason) } else { Over::Ended(reason) })
    }
}

impl Speech for Publisher {
    type Call = Keyed;

    /// The server speaks first.
    fn begin(&mut self, _out: &mut Vec<u8>) {}

    fn is_open(&self) -> bool {
        self.open
    }

    fn say(&mut self, (call, key): Keyed, out: &mut Vec<u8>) -> Result<u64, Answered> {
        if call.payload.len() > self.payload_bytes_max {
            return Err(Answered::Refused("the message is larger than the server takes".to_owned(), Answer::default()));
        }
        self.last_call += 1;
        let reply = self.server.jet_stream.then(|| format!("{}.{}", self.inbox, self.last_call));
        nats::put_publish(out, &call.subject, reply.as_deref(), ("Nats-Msg-Id", &key), call.payload.as_bytes());
        nats::put_ping(out);
        self.pongs.push_back(Some(Unanswered { call: self.last_call, subject: call.subject, refused: None }));
        Ok(self.last_call)
    }

    fn hear(&mut self, bytes: &[u8], said: &mut Said) -> Result<usize, Over> {
        let mut read = 0;
        while let Some((heard, length)) = FromServer::read(bytes.get(read..).unwrap_or_default()).map_err(Over::ended)? {
            read += length;
            match heard {
                FromServer::Info(info) => self.greet(info, &mut said.out)?,
                FromServer::Ping => nats::put_pong(&mut said.out),
                FromServer::Pong if !self.open => self.open = true,
                FromServer::Pong => {
                    if let Some(Some(Unanswered { call, refused, .. })) = self.pongs.pop_front() {
                        let refused = refused.map(|reason| Answered::Refused(reason, Answer::default()));
                        let read = (!self.server.jet_stream).then(|| Answered::Done(Answer::default()));
                        said.answers.extend(refused.or(read).map(|answered| (call, answered)));
                    }
                }
                FromServer::Error(error) => self.of_error(error)?,
                FromServer::Message { subject, status, payload } => said.answers.extend(self.of_stream(subject, status, payload)),
                FromServer::Ok => {}
            }
        }
        Ok(read)
    }

    fn keep_alive(&mut self, out: &mut Vec<u8>) {
        nats::put_ping(out);
        self.pongs.push_back(None);
    }

    fn goodbye(&mut self, _out: &mut Vec<u8>) {}
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What came of two messages when the server says this behind its greeting.
    fn check(jet_stream: bool, heard: &str, expected: &[(u64, &str)]) {
        let server = NatsPublish {
            subject: String::new(),
            host: "h".to_owned(),
            port: 1,
            timeout_ms: 1,
            user: None,
            jet_stream,
            plain_text: false,
        };
        let mut publisher = Publisher::new(server.clone(), "_INBOX.i".to_owned());
        let mut said = Said::default();
        let greeting = "INFO {\"headers\":true,\"max_payload\":10}\r\nPONG\r\n";
        assert_eq!(publisher.hear(greeting.as_bytes(), &mut said), Ok(greeting.len()));
        let call = |subject: &str, payload: &str| {
            (NatsCall { server: server.clone(), subject: subject.to_owned(), payload: payload.to_owned() }, "k".to_owned())
        };
        let long = publisher.say(call("a", "more than ten bytes"), &mut said.out);
        assert!(matches!(long, Err(Answered::Refused(..))), "{long:?}");
        assert_eq!(publisher.say(call("a", "{}"), &mut said.out), Ok(1));
        assert_eq!(publisher.say(call("b", "{}"), &mut said.out), Ok(2));
        assert_eq!(publisher.hear(heard.as_bytes(), &mut said), Ok(heard.len()));
        let told = |answered: &Answered| match answered {
            Answered::Done(answer) => format!("done {:?}", answer.metadata),
            Answered::Refused(reason, _) => format!("refused: {reason}"),
            Answered::Failed(reason, _) => format!("failed: {reason}"),
            Answered::Unreachable(reason) => format!("unreachable: {reason}"),
        };
        let answers: Vec<(u64, String)> = said.answers.iter().map(|(call, answered)| (*call, told(answered))).collect();
        let expected: Vec<(u64, String)> = expected.iter().map(|(call, told)| (*call, (*told).to_owned())).collect();
        assert_eq!(answers, expected, "{heard}");
    }

    #[test]
    fn what_a_server_says_of_messages() {
        check(false, "PONG\r\nPING\r\n", &[(1, "done []")]);
        let violation = "-ERR 'Permissions Violation for Publish to \"b\"'\r\nPONG\r\nPONG\r\n";
        let refused = "refused: the server says: Permissions Violation for Publish to \"b\"";
        check(false, violation, &[(1, "done []"), (2, refused)]);
        check(true, violation, &[(2, refused)]);
        check(
            true,
            "PONG\r\nMSG _INBOX.i.2 1 39\r\n{\"stream\":\"S\",\"seq\":4,\"duplicate\":true}\r\n",
            &[(2, r#"done [("stream", "S"), ("sequence", "4"), ("duplicate", "true")]"#)],
        );
        check(true, "HMSG _INBOX.i.1 1 16 16\r\nNATS/1.0 503\r\n\r\n\r\n", &[(1, "failed: no stream takes the subject")]);
        let error =
            |code: u16| format!("MSG _INBOX.i.1 1 {}\r\n{{\"error\":{{\"code\":{code},\"description\":\"no\"}}}}\r\n", 41);
        check(true, &error(400), &[(1, "refused: the stream refuses the message: 400 no")]);
        check(true, &error(503), &[(1, "failed: the stream refuses the message: 503 no")]);
        check(true, "MSG _INBOX.i.1 1 2\r\nhi\r\n", &[(1, "refused: what answers the message is no stream")]);
        check(true, "MSG _INBOX.j.1 1 2\r\nhi\r\n", &[]);
    }
}
