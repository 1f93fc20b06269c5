//! What a message waits for: the call to the outside that is made for it and what came of it, or a time (DESIGN 8.1, 2 and 8.6, 22).
//! Values only: makes no call and keeps nothing.

use std::collections::BTreeMap;

use schemas::chain::external::{Certificates, KafkaPublish, Mailer, Method, MqttPublish, NatsPublish, RabbitMqPublish};
use schemas::id::ChainId;
use uuid::Uuid;

use crate::clock::Timestamp;

/// A message that left its chain at a node, to go on there when the world has answered, or one that enters a chain.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Departed {
    /// The node where it waits, last; before it the nodes by which it entered each chain but the first. Of a message that has been in no
    /// chain there is none, or a nil one in the chain that it enters if its originator has none.
    pub path: Vec<(ChainId, Uuid)>,
    pub kind: String,
    pub metadata: BTreeMap<String, String>,
    /// JSON.
    pub data: String,
    /// Whether the ts in the metadata is the device's.
    pub own_ts: bool,
    /// How often it has left a node like this, this time included.
    pub departures: u32,
    /// By which it is known to whoever looks at it on its way.
    pub trace: Option<Uuid>,
}

impl Departed {
    /// About what it says takes in memory, in bytes.
    #[must_use]
    pub fn bytes(&self) -> usize {
        let metadata = |(name, value): (&String, &String)| 2 * size_of::<String>() + name.len() + value.len();
        self.data.len() + self.metadata.iter().map(metadata).sum::<usize>() + size_of_val(self.path.as_slice())
    }

    /// Whether it has been in no chain yet.
    #[must_use]
    pub fn begins(&self) -> bool {
        self.node().1.is_nil()
    }

    /// Where it waits. Nil for one that waits nowhere.
    #[must_use]
    pub fn node(&self) -> (ChainId, Uuid) {
        self.path.last().copied().unwrap_or((ChainId(Uuid::nil()), Uuid::nil()))
    }
}

/// A message that waits at a node for a time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Waiting {
    pub how: Waits,
    /// When it goes on.
    pub due: Timestamp,
    pub departed: Departed,
}

/// How something waits at a node. The numbers are on disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Waits {
    /// A message that goes on as it is.
    Alone = 1,
    /// A message of which others of the same originator may become one with it.
    Together = 2,
    /// What a node that makes messages made last; the next is made then.
    Made = 3,
    /// A message whose originator was called, until it has answered.
    Answer = 4,
}

impl Waits {
    /// The way with this number, if there is one.
    #[must_use]
    pub fn from_number(number: u8) -> Option<Self> {
        [Self::Alone, Self::Together, Self::Made, Self::Answer].into_iter().find(|how| *how as u8 == number)
    }
}

/// What is to be said to whom.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Call {
    Http(HttpCall),
    Mqtt(MqttCall),
    Email(Email),
    Kafka(KafkaCall),
    RabbitMq(RabbitMqCall),
    Nats(NatsCall),
    Slack(SlackCall),
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HttpCall {
    pub method: Method,
    pub url: String,
    pub headers: Vec<(String, String)>,
    pub basic: Option<(String, String)>,
    pub certificates: Option<Certificates>,
    pub body: Option<String>,
    pub timeout_ms: u32,
    pub answer_bytes_max: u32,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MqttCall {
    /// Its topic is a template; `topic` is what became of it.
    pub broker: MqttPublish,
    pub topic: String,
    pub payload: String,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KafkaCall {
    /// Its topic and key are templates; `topic` and `key` are what became of them.
    pub cluster: KafkaPublish,
    pub topic: String,
    pub key: Option<String>,
    pub headers: Vec<(String, Vec<u8>)>,
    pub payload: String,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RabbitMqCall {
    /// Its exchange and routing key are templates; `exchange` and `routing_key`, of at most 255 bytes, are what became of them.
    pub broker: RabbitMqPublish,
    pub exchange: String,
    pub routing_key: String,
    pub payload: String,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NatsCall {
    /// Its subject is a template; `subject`, without spaces, is what became of it.
    pub server: NatsPublish,
    pub subject: String,
    pub payload: String,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SlackCall {
    pub token: String,
    pub channel: String,
    pub text: String,
}

/// Addresses are lists with commas between them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Email {
    /// `None`: the node leaves it to the installation's, and there is none.
    pub mailer: Option<Mailer>,
    pub from: String,
    pub to: String,
    pub cc: String,
    pub bcc: String,
    pub subject: String,
    pub body: String,
    pub html: bool,
}

/// What came of a call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answered {
    /// It was taken.
    Done(Answer),
    /// It was refused, as it would be again.
    Refused(String, Answer),
    /// It may go well if it is made again.
    Failed(String, Answer),
    /// Nobody was there to hear it, nor would the next be heard.
    Unreachable(String),
}

/// What the message goes on with.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Answer {
    pub metadata: Vec<(String, String)>,
    /// In place of the message's data; JSON.
    pub data: Option<String>,
}

/// A call to be made, and by what its maker is to say what came of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Due {
    pub shard: u16,
    pub flight: u64,
    pub node: Uuid,
    /// The same for every attempt, and for no other call: by it a target can tell that it has heard a call before.
    pub key: String,
    /// Whether it may reach what is not on the public internet.
    pub private: bool,
    pub call: Call,
}
