//! Waist two: what must happen because of a message. Knows no store and no socket.

use std::{ops::Deref, rc::Rc, sync::Arc};

use schemas::alarm::Alarm;
use schemas::chain::DeviceEvent;
use schemas::config::End;
use uuid::Uuid;

use crate::clock::Timestamp;
use crate::message::{Readings, Scope};
use crate::owed::{Departed, Waiting};
use crate::progress::Progress;

/// One thing that must happen. Borrows from the message it came from, unless a node made it.
#[derive(Clone, Debug, PartialEq)]
pub enum Effect<'m> {
    /// Save all entries. `ttl_s` 0 = no expiry. With `use_server_ts` the entries' own ts are ignored.
    SaveTimeseries { readings: Held<'m, Readings<'m>>, ttl_s: u32, use_server_ts: bool, saving: Saving },
    /// Save attributes of one scope. What is new among them is the data of `tell`, which goes to the originator's chain.
    SaveAttributes {
        readings: Held<'m, Readings<'m>>,
        scope: Scope,
        only_on_change: bool,
        notify_device: bool,
        tell: Option<Box<Departed>>,
        saving: Saving,
    },
    /// Delete attributes of one scope. Those that there were are the data of `tell`.
    DeleteAttributes { scope: Scope, keys: Vec<String>, notify_device: bool, tell: Option<Box<Departed>> },
    /// Answer the originator's call with this number; JSON.
    Answer { request: u32, json: String },
    /// Answer a person's request; JSON.
    Reply { request: Uuid, json: String },
    /// What a node remembers of the originator from now on.
    KeepState { node: Uuid, state: Box<[u8]> },
    /// How far the alarm rules of the originator's profile have come at a node.
    KeepProgress(Box<Progress>),
    /// Call outside for a message that goes on when that is answered (DESIGN 8.6, 22).
    Owe(Box<Departed>),
    /// Keep a message that goes on when its time has come (DESIGN 8.1, 2).
    Wait(Box<Waiting>),
    /// The message goes on where this entity is its originator (DESIGN 8.3, 8).
    Forward { departed: Box<Departed>, to: End },
    /// An alarm of the originator is like this from now on.
    Alarm(Box<Alarm>),
    /// This happened to the originator, a device, where it is connected, as a node says that remembers when it last did.
    Connectivity { node: Uuid, event: DeviceEvent, at: Timestamp },
    /// Write the message to the log (sampled), under the node's name.
    Log { node: Arc<str> },
}

/// What of a save happens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Saving {
    /// It is written.
    pub store: bool,
    /// Those who watch see it.
    pub live: bool,
    /// Calculated fields that depend on it are calculated; without `store` they alone know of it.
    pub calculate: bool,
}

impl Saving {
    pub const EVERYTHING: Self = Self { store: true, live: true, calculate: true };
    pub const NOTHING: Self = Self { store: false, live: false, calculate: false };
}

impl Effect<'_> {
    /// Whether it changes what is kept of the originator.
    #[must_use]
    pub fn is_kept(&self) -> bool {
        matches!(
            self,
            Self::SaveTimeseries { .. }
                | Self::SaveAttributes { .. }
                | Self::DeleteAttributes { .. }
                | Self::KeepState { .. }
                | Self::KeepProgress(_)
                | Self::Alarm(_)
                | Self::Connectivity { .. }
        )
    }
}

/// Something of the message that came in, or made on the way.
#[derive(Clone, Debug)]
pub enum Held<'m, T> {
    Borrowed(&'m T),
    Made(Rc<T>),
}

impl<T> Deref for Held<'_, T> {
    type Target = T;

    fn deref(&self) -> &T {
        match self {
            Self::Borrowed(held) => held,
            Self::Made(held) => held,
        }
    }
}

impl<T: PartialEq> PartialEq for Held<'_, T> {
    fn eq(&self, other: &Self) -> bool {
        **self == **other
    }
}
