//! Waist two: what must happen because of a message. Knows no store and no socket.

use crate::message::{Readings, Scope};

/// One thing that must happen. Borrows from the message it came from.
#[derive(Clone, Debug, PartialEq)]
pub enum Effect<'m> {
    /// Save all entries. `ttl_s` 0 = no expiry. With `use_server_ts` the entries' own ts are ignored.
    SaveTimeseries { readings: &'m Readings<'m>, ttl_s: u32, use_server_ts: bool },
    /// Save attributes of one scope.
    SaveAttributes { readings: &'m Readings<'m>, scope: Scope, only_on_change: bool, notify_device: bool },
    /// Write the message to the log (sampled), under the node's name.
    Log { node: &'m str },
}
