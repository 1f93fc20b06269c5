//! Messages for RabbitMQ's exchanges: one connection per node, kept while it is used. A message is taken when the broker has confirmed
//! it, and refused when no queue takes it. It carries its idempotency key as its message id and as a header.

use std::collections::VecDeque;

use schemas::chain::external::RabbitMqPublish;
use uuid::Uuid;

use super::Told;
use super::kept::Kept;
use super::line::{Over, Place, Said, Speech, serve};
use crate::codec::amqp::{self, Frame, Method, NoFrame};
use crate::limits;
use crate::owed::{Answer, Answered, RabbitMqCall};

/// A call and the key by which its target can tell that it has heard it before.
type Keyed = (RabbitMqCall, String);

/// Exchanges that one connection publishes to at once. Each has a channel, since a broker closes that of a message whose exchange
/// there is not.
const CHANNELS_MAX: u16 = 16;

/// The brokers that nodes are connected to.
#[derive(Debug)]
pub(super) struct Brokers(Kept<(RabbitMqPublish, bool), Keyed>);

impl Brokers {
    pub(super) fn new() -> Self {
        Self(Kept::new(limits::BROKERS_MAX))
    }

    /// Publishes over the node's connection, which is made if there is none with these settings.
    pub(super) fn publish(&mut self, node: Uuid, private: bool, (call, key): Keyed, told: Told) {
        let settings = (call.broker.clone(), private);
        self.0.give((node, settings), ((call, key), told), |(broker, private), calls| {
            let (host, port) = (broker.host.clone(), broker.port);
            let (connect_ms, opening_ms) = (broker.connect_ms, broker.opening_ms);
            let place = Place { host, port, connect_ms, opening_ms, tls: None, private };
            tokio::spawn(serve(place, Publisher::new(broker), calls));
        });
    }
}

#[derive(Debug)]
struct Publisher {
    broker: RabbitMqPublish,
    open: bool,
    frame_bytes_max: usize,
    channels: Vec<Channel>,
    last_call: u64,
}

/// A channel in confirm mode. Its number is its place and 1.
#[derive(Debug, Default)]
struct Channel {
    exchange: String,
    open: bool,
    last_tag: u64,
    /// In the order of their tags.
    unconfirmed: VecDeque<Unconfirmed>,
    /// A message comes back, for this reason.
    returning: Option<String>,
}

#[derive(Debug)]
struct Unconfirmed {
    tag: u64,
    call: u64,
    key: String,
    returned: Option<String>,
}

impl Publisher {
    fn new(broker: RabbitMqPublish) -> Self {
        Self { broker, open: false, frame_bytes_max: amqp::FRAME_BYTES_MIN, channels: Vec::new(), last_call: 0 }
    }

    /// The channel of an exchange; one that nobody waits for may become it.
    fn channel(&mut self, exchange: &str) -> Option<u16> {
        let found = self.channels.iter().position(|channel| channel.exchange == exchange);
        let place = match found {
            Some(place) => place,
            None if self.channels.len() < usize::from(CHANNELS_MAX) => {
                self.channels.push(Channel::default());
                self.channels.len() - 1
            }
            None => self.channels.iter().position(|channel| channel.unconfirmed.is_empty())?,
        };
        exchange.clone_into(&mut self.channels.get_mut(place)?.exchange);
        u16::try_from(place + 1).ok()
    }

    fn of(&mut self, number: u16) -> Option<&mut Channel> {
        self.channels.get_mut(usize::from(number).checked_sub(1)?)
    }

    fn hear_frame(&mut self, frame: &Frame<'_>, said: &mut Said) -> Result<(), Over> {
        match frame.kind {
            amqp::METHOD => match Method::read(frame.payload).ok_or_else(malformed)? {
                method if frame.channel == 0 => self.of_connection(method, said),
                method => self.of_channel(frame.channel, method, said),
            },
            amqp::HEADER => {
                let key = amqp::message_id(frame.payload).ok_or_else(malformed)?;
                if let Some(channel) = self.of(frame.channel)
                    && let Some(reason) = channel.returning.take()
                    && let Some(one) = channel.unconfirmed.iter_mut().find(|one| key == Some(one.key.as_str()))
                {
                    one.returned = Some(reason);
                }
                Ok(())
            }
            // The content of what comes back, and heartbeats.
            amqp::BODY | amqp::HEARTBEAT => Ok(()),
            kind => Err(Over::ended(format!("the broker sends a frame of type {kind}"))),
        }
    }

    fn of_connection(&mut self, method: Method<'_>, said: &mut Said) -> Result<(), Over> {
        let broker = &self.broker;
        match method {
            Method::Start => amqp::put_start_ok(&mut said.out, &broker.properties, &broker.user, &broker.password),
            Method::Tune { channel_max, frame_max } => {
                let theirs = usize::try_from(frame_max).ok().filter(|max| *max > 0).unwrap_or(usize::MAX);
                self.frame_bytes_max = theirs.clamp(amqp::FRAME_BYTES_MIN, limits::BROKER_PACKET_BYTES_MAX / 2);
                amqp::put_tune_ok(&mut said.out, channel_max, self.frame_bytes_max, 2 * limits::BROKER_KEEP_ALIVE_MS / 1_000);
                amqp::put_open(&mut said.out, &broker.virtual_host);
            }
            Method::OpenOk => self.open = true,
            Method::Close { code, reason } => {
                let reason = format!("the broker closes the connection: {code} {reason}");
                // ACCESS_REFUSED, NOT_ALLOWED (no such virtual host).
                return Err(if matches!(code, 403 | 530) { Over::Refused(reason) } else { Over::Ended(reason) });
            }
            Method::Secure => return Err(Over::Refused("the broker wants more than a name and a password".to_owned())),
            _ => {}
        }
        Ok(())
    }

    fn of_channel(&mut self, number: u16, method: Method<'_>, said: &mut Said) -> Result<(), Over> {
        let Some(channel) = self.of(number) else { return Err(malformed()) };
        match method {
            Method::Ack { tag, multiple } => channel.settle(tag, multiple, said, |one| match one.returned {
                None => Answered::Done(Answer::default()),
                Some(reason) => Answered::Refused(reason, Answer::default()),
            }),
            Method::Nack { tag, multiple } => channel.settle(tag, multiple, said, |_| {
                Answered::Failed("the broker could not take the message (nack)".to_owned(), Answer::default())
            }),
            Method::Return { code, reason } => {
                channel.returning = Some(format!("the broker returns the message: {code} {reason}"));
            }
            Method::ChannelClose { code, reason } => {
                amqp::put_channel_close_ok(&mut said.out, number);
                let reason = format!("the broker closes the channel: {code} {reason}");
                // ACCESS_REFUSED, NOT_FOUND: said of the exchange, which all messages of the channel are for.
                let refused = matches!(code, 403 | 404);
                let answered = |reason| match refused {
                    true => Answered::Refused(reason, Answer::default()),
                    false => Answered::Failed(reason, Answer::default()),
                };
                let lost = channel.unconfirmed.drain(..).map(|one| (one.call, answered(reason.clone())));
                said.answers.extend(lost);
                *channel = Channel { exchange: std::mem::take(&mut channel.exchange), ..Channel::default() };
            }
            _ => {}
        }
        Ok(())
    }
}

impl Channel {
    fn settle(&mut self, tag: u64, multiple: bool, said: &mut Said, answered: impl Fn(Unconfirmed) -> Answered) {
        let is_meant = |one: &Unconfirmed| one.tag == tag || (multiple && (one.tag < tag || tag == 0));
        let (meant, left) = self.unconfirmed.drain(..).partition(is_meant);
        self.unconfirmed = left;
        let meant: VecDeque<Unconfirmed> = meant;
        said.answers.extend(meant.into_iter().map(|one| (one.call, answered(one))));
    }
}

fn malformed() -> Over {
    Over::ended(NoFrame)
}

impl Speech for Publisher {
    type Call = Keyed;

    fn begin(&mut self, out: &mut Vec<u8>) {
        out.extend_from_slice(&amqp::PROTOCOL);
    }

    fn is_open(&self) -> bool {
        self.open
    }

    fn say(&mut self, (call, key): Keyed, out: &mut Vec<u8>) -> Result<u64, Answered> {
        let Some(number) = self.channel(&call.exchange) else {
            let reason = format!("messages for {CHANNELS_MAX} other exchanges wait already");
            return Err(Answered::Failed(reason, Answer::default()));
        };
        let frame_bytes_max = self.frame_bytes_max;
        self.last_call += 1;
        let id = self.last_call;
        if let Some(channel) = self.of(number) {
            if !channel.open {
                channel.open = true;
                amqp::put_channel_open(out, number);
            }
            channel.last_tag += 1;
            let (tag, key_sent) = (channel.last_tag, key.clone());
            channel.unconfirmed.push_back(Unconfirmed { tag, call: id, key, returned: None });
            amqp::put_publish(out, number, (&call.exchange, &call.routing_key));
            amqp::put_content(out, number, &call.broker.content, &key_sent, call.payload.as_bytes(), frame_bytes_max);
        }
        Ok(id)
    }

    fn hear(&mut self, bytes: &[u8], said: &mut Said) -> Result<usize, Over> {
        let mut read = 0;
        loop {
            let rest = bytes.get(read..).unwrap_or_default();
            if !self.open && rest.starts_with(b"AMQP") {
                return Err(Over::Refused("the broker speaks another version of AMQP".to_owned()));
            }
            let Some(frame) = Frame::read(rest, limits::BROKER_PACKET_BYTES_MAX).map_err(Over::ended)? else {
                return Ok(read);
            };
            read += frame.bytes;
            self.hear_frame(&frame, said)?;
        }
    }

    fn keep_alive(&mut self, out: &mut Vec<u8>) {
        out.extend_from_slice(&amqp::HEARTBEAT_FRAME);
    }

    fn goodbye(&mut self, out: &mut Vec<u8>) {
        amqp::put_close(out);
    }
}

#[cfg(test)]
mod tests {
    use schemas::chain::external::RabbitMqContent;

    use super::*;

    /// What a publisher answers when it hears these methods and headers, each with its channel: per call its number and how it went.
    fn check(exchanges: &[&str], heard: &[(u8, u16, Vec<u8>)], expected: &[(u64, &str)]) {
        let broker = RabbitMqPublish {
            exchange: String::new(),
            routing_key: String::new(),
            content: RabbitMqContent::default(),
            host: "h".to_owned(),
            port: 1,
            virtual_host: "/".to_owned(),
            user: "u".to_owned(),
            password: "p".to_owned(),
            connect_ms: 1,
            opening_ms: 1,
            properties: Vec::new(),
        };
        let mut publisher = Publisher::new(broker.clone());
        let mut said = Said::default();
        for (number, exchange) in exchanges.iter().enumerate() {
            let (exchange, routing_key, payload) = ((*exchange).to_owned(), "r".to_owned(), "{}".to_owned());
            let call = RabbitMqCall { broker: broker.clone(), exchange, routing_key, payload };
            publisher.say((call, format!("k{}", number + 1)), &mut said.out).expect("it is said");
        }
        let mut bytes = Vec::new();
        for (kind, channel, payload) in heard {
            bytes.push(*kind);
            bytes.extend_from_slice(&channel.to_be_bytes());
            bytes.extend_from_slice(&u32::try_from(payload.len()).expect("short").to_be_bytes());
            bytes.extend_from_slice(payload);
            bytes.push(0xCE);
        }
        assert_eq!(publisher.hear(&bytes, &mut said), Ok(bytes.len()));
        let answers: Vec<(u64, String)> = said.answers.iter().map(|(call, answered)| (*call, told(answered))).collect();
        let expected: Vec<(u64, String)> = expected.iter().map(|(call, told)| (*call, (*told).to_owned())).collect();
        assert_eq!(answers, expected);
    }

    fn told(answered: &Answered) -> String {
        match answered {
            Answered::Done(_) => "done".to_owned(),
            Answered::Refused(reason, _) => format!("refused: {reason}"),
            Answered::Failed(reason, _) => format!("failed: {reason}"),
            Answered::Unreachable(reason) => format!("unreachable: {reason}"),
        }
    }

    fn settled(method: u8, tag: u8, multiple: u8) -> Vec<u8> {
        vec![0, 60, 0, method, 0, 0, 0, 0, 0, 0, 0, tag, multiple]
    }

    #[test]
    fn what_a_broker_says_of_messages() {
        let (ack, nack) = (80, 120);
        check(&["a", "a"], &[(1, 1, settled(ack, 2, 0)), (1, 1, settled(ack, 1, 0))], &[(2, "done"), (1, "done")]);
        check(&["a", "b", "a"], &[(1, 1, settled(ack, 2, 1))], &[(1, "done"), (3, "done")]);
        check(&["a", "a"], &[(1, 1, settled(ack, 0, 1))], &[(1, "done"), (2, "done")]);
        let refused = "failed: the broker could not take the message (nack)";
        check(&["a", "a"], &[(1, 1, settled(nack, 1, 0)), (1, 1, settled(ack, 2, 0))], &[(1, refused), (2, "done")]);
        check(&["a"], &[(1, 1, settled(ack, 9, 0)), (8, 0, Vec::new())], &[]);
        // The second of two comes back: it is known by its message id.
        let returned = vec![0, 60, 0, 50, 1, 56, 8, b'N', b'O', b'_', b'R', b'O', b'U', b'T', b'E', 0, 0];
        let header = vec![0, 60, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2, 0, 0x80, 2, b'k', b'2'];
        let heard = [(1, 1, returned), (2, 1, header), (3, 1, b"{}".to_vec()), (1, 1, settled(ack, 2, 1))];
        check(&["a", "a"], &heard, &[(1, "done"), (2, "refused: the broker returns the message: 312 NO_ROUTE")]);
        // A channel that closes takes its own messages with it, and no other's.
        let close = |code: u16| [&[0, 20, 0, 40][..], &code.to_be_bytes(), &[2, b'n', b'o', 0, 60, 0, 40]].concat();
        let gone = "refused: the broker closes the channel: 404 no";
        check(&["a", "b", "a"], &[(1, 1, close(404)), (1, 2, settled(ack, 1, 0))], &[(1, gone), (3, gone), (2, "done")]);
        check(&["a"], &[(1, 1, close(541))], &[(1, "failed: the broker closes the channel: 541 no")]);
    }
}
