//! What is owed to the world outside: the message that waits, the call that is made for it, and what came of it (DESIGN 8.1, 2 and
//! 8.6, 22). Values only: makes no call and keeps nothing.

use std::collections::BTreeMap;

use schemas::chain::external::{Mailer, Method, MqttPublish};
use schemas::id::ChainId;
use uuid::Uuid;

/// A message that left its chain at a node, to go on there when the world has answered.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Departed {
    /// The node where it waits, last; before it the nodes by which it entered each chain but the first.
    pub path: Vec<(ChainId, Uuid)>,
    pub kind: String,
    pub metadata: BTreeMap<String, String>,
    /// JSON.
    pub data: String,
    /// Whether the ts in the metadata is the device's.
    pub own_ts: bool,
}

impl Departed {
    /// Where it waits. Nil for one that waits nowhere.
    #[must_use]
    pub fn node(&self) -> (ChainId, Uuid) {
        self.path.last().copied().unwrap_or((ChainId(Uuid::nil()), Uuid::nil()))
    }
}

/// What is to be said to whom.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Call {
    Http(HttpCall),
    Mqtt(MqttCall),
    Email(Email),
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HttpCall {
    pub method: Method,
    pub url: String,
    pub headers: Vec<(String, String)>,
    pub basic: Option<(String, String)>,
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
