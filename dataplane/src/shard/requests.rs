//! Requests of people that enter a chain and wait for what it answers, each on the shard that its id names, wherever the chain comes to its
//! answer. Only in memory: a request does not outlive its process. Never waits itself, and knows no HTTP.

use std::collections::HashMap;

use foldhash::fast::RandomState;
use schemas::id::{EntityId, Partition, TenantId};
use uuid::Uuid;

use super::letter::Letter;
use super::needing::Waiter;
use super::passing::passage_of;
use super::turn::Shard;
use crate::limits;
use crate::metric::Counter;
use crate::query::{Entering, QueryError, Reply};
use crate::session::Outcome;

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Requests {
    waiting: HashMap<Uuid, (TenantId, Reply<String>), RandomState>,
}

impl Shard {
    /// Somebody waits for the answer to a request, until he goes away.
    pub(super) fn await_reply(&mut self, (tenant, request): (TenantId, Uuid), reply: Reply<String>) {
        let waiting = &mut self.requests.waiting;
        if waiting.len() >= limits::REQUESTS_PER_SHARD_MAX {
            waiting.retain(|_, (_, reply)| !reply.is_closed());
        }
        if waiting.len() < limits::REQUESTS_PER_SHARD_MAX {
            waiting.insert(request, (tenant, reply));
        } else {
            drop(reply.send(Err(QueryError::Unavailable(format!("{} requests wait for an answer", waiting.len())))));
        }
    }

    /// A message enters the chain of an originator of this shard, whose state is resident.
    pub(super) fn enter(&mut self, entering: Entering, reply: Reply<()>) {
        let passage = passage_of(entering, self.now.timestamp);
        let entered = match self.evaluate_passage(passage, Waiter::Nobody) {
            Some(Outcome::Unavailable) => Err(QueryError::Unavailable("too many messages wait".to_owned())),
            _ => Ok(()),
        };
        self.reply(reply, entered);
    }

    /// What a chain answered is durable with what it wrote: it goes where the request waits (DESIGN 8.1, 3).
    pub(super) fn send_reply(&mut self, of: (TenantId, Uuid), json: String) {
        let to = self.placement.shard_of(Partition::of(EntityId(of.1)));
        if to == self.index {
            self.take_reply(of, json);
        } else if self.mesh.has_room(to) {
            self.mesh.send(to, Letter::Reply(Box::new((of, json))));
        } else {
            self.counters.increment(Counter::MessagesLost);
        }
    }

    /// The answer to a request that waits here, unless it is over or another tenant's.
    pub(super) fn take_reply(&mut self, (tenant, request): (TenantId, Uuid), json: String) {
        let waiting = &mut self.requests.waiting;
        if waiting.get(&request).is_none_or(|(of, _)| *of != tenant) {
            return;
        }
        if let Some((_, reply)) = waiting.remove(&request) {
            // Whoever asked may have gone away.
            drop(reply.send(Ok(json)));
        }
    }
}
