//! Nodes that act by themselves: they make messages, or count those that come and say how many there were. Which there are follows from
//! the chains of now. What a generator makes next is on disk; what was counted and not told is lost with the process, as in ThingsBoard.

use std::collections::{HashMap, HashSet};
use std::rc::Rc;
use std::sync::Arc;

use schemas::chain::MessageType;
use schemas::chain::timed::{Count, Maker};
use schemas::id::{ChainId, EntityId, Partition, TenantId};
use serde_json::{Value, json};
use uuid::Uuid;

use super::letter::Letter;
use super::residents::{Parked, Parking};
use super::turn::Shard;
use crate::clock::{Instant, Timestamp};
use crate::device::outbox::OwedCall;
use crate::device::waiting::{self, Due};
use crate::limits;
use crate::metric::Counter;
use crate::owed::{Departed, Waits};
use crate::rules::{self, Running, Timer};
use crate::script::{Answer, Said, Subject};

/// A generator that has made all of its messages is remembered with this time.
const NEVER: Timestamp = Timestamp(i64::MAX);

/// A node that counts, on one shard. The owner of its tenant says the sum of all shards.
#[derive(Debug)]
pub(super) struct Counting {
    tenant: TenantId,
    chain: ChainId,
    node: Uuid,
    step: usize,
    count: Arc<Count>,
    running: Rc<Running>,
    /// Of those that the plan has counted, so many are in the sum.
    taken: u64,
    sum: u64,
    /// When the sum began, and when it is told.
    since: Timestamp,
    due: Timestamp,
    /// When the owner was told of this shard's part.
    told: Instant,
}

impl Counting {
    /// Takes what has come since into the sum.
    fn take(&mut self) {
        let executed = self.running.executed(self.step);
        self.sum += executed - self.taken;
        self.taken = executed;
    }
}

/// One shard's part of a count, for the owner of the tenant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Counted {
    pub node: Uuid,
    pub messages: u64,
}

impl Shard {
    /// Nodes that act by themselves are those of the chains of now. One whose configuration has changed begins anew.
    pub(super) fn follow_timers(&mut self) {
        if !self.timers_changed || !self.dues.has_begun() {
            return;
        }
        self.timers_changed = false;
        let (makers, counting) = self.timers();
        self.counting = counting;
        let is = |due: &Due| (due.node, due.originator, due.configuration);
        let wanted: HashSet<_> = makers.iter().map(|(due, _)| is(due)).collect();
        let (before, gone): (Vec<Due>, Vec<Due>) = self.dues.makers().partition(|due| wanted.contains(&is(due)));
        for gone in gone {
            self.forget_maker(gone);
        }
        let before: HashSet<_> = before.iter().map(is).collect();
        for (due, chain) in makers.into_iter().filter(|(due, _)| !before.contains(&is(due))) {
            if let Err(reason) = self.dues.waiting(due.tenant, due.originator, due.node) {
                self.counters.increment(Counter::NodesFailed);
                tracing::debug!(node = %due.node, reason, "a generator has no room to begin");
                continue;
            }
            let departed = Departed { path: vec![(chain, due.node)], data: "{}".to_owned(), ..Departed::default() };
            self.keep_maker(due, departed);
        }
    }

    /// What makes messages on this shard, with its chain; what counts.
    fn timers(&self) -> (Vec<(Due, ChainId)>, Vec<Counting>) {
        let (mut makers, mut counting) = (Vec::new(), Vec::new());
        let before: HashMap<Uuid, &Counting> = self.counting.iter().map(|before| (before.node, before)).collect();
        let now = self.now.timestamp;
        for (chain, tenant, running) in self.table.chains() {
            for (step, node, timer) in running.plan().timers().filter(|(_, node, _)| !node.is_nil()) {
                match timer {
                    Timer::Generate(generate) => {
                        let originator = match generate.originator {
                            Maker::Node => Some(EntityId(node)),
                            Maker::Tenant => Some(tenant.into()),
                            Maker::Device(id) => self.table.device(id).filter(|of| of.tenant == tenant).map(|_| id.into()),
                        };
                        let at = later(now, generate.period_ms);
                        let due = |originator| Due {
                            configuration: generate.configuration,
                            ..Due::new(originator, node, 0, (tenant, Waits::Made, at))
                        };
                        makers.extend(originator.filter(|of| self.owns(*of)).map(|originator| (due(originator), chain)));
                    }
                    Timer::Count(count) => {
                        let before = before.get(&node).copied().filter(|before| before.count == *count);
                        counting.push(self.counting_of((tenant, chain, node), (step, count, running), before));
                    }
                }
            }
        }
        (makers, counting)
    }

    fn owns(&self, entity: EntityId) -> bool {
        self.placement.shard_of(Partition::of(entity)) == self.index
    }

    /// A node that counted before goes on, with what it had.
    fn counting_of(
        &self,
        (tenant, chain, node): (TenantId, ChainId, Uuid),
        (step, count, running): (usize, &Arc<Count>, &Rc<Running>),
        before: Option<&Counting>,
    ) -> Counting {
        let now = self.now;
        let mut counting = Counting {
            tenant,
            chain,
            node,
            step,
            count: Arc::clone(count),
            running: Rc::clone(running),
            taken: 0,
            sum: 0,
            since: now.timestamp,
            due: later(now.timestamp, count.interval_ms),
            told: now.instant,
        };
        if let Some(before) = before {
            let same = Rc::ptr_eq(&before.running, running);
            let untold = before.running.executed(before.step) - before.taken;
            (counting.sum, counting.since, counting.due) = (before.sum, before.since, before.due);
            if same {
                counting.taken = before.taken;
            } else {
                counting.sum += untold;
            }
        }
        counting
    }

    fn keep_maker(&mut self, due: Due, departed: Departed) {
        let message = OwedCall { tenant: due.tenant, taken: self.now.timestamp, departed };
        let bytes = waiting::put(&mut self.ledger.batch, due, &message);
        self.dues.add(Due { bytes, ..due }, self.now);
    }

    fn forget_maker(&mut self, due: Due) -> bool {
        let finished = self.dues.finish(due.originator, due.node, due.number);
        if let Some(due) = finished {
            waiting::delete(&mut self.ledger.batch, due);
        }
        finished.is_some()
    }

    /// A generator makes a message of the one before, and waits for the next in the same batch.
    pub(super) fn make(&mut self, due: Due, messages: Vec<(u64, OwedCall)>) {
        let Some((_, before)) = messages.into_iter().next().filter(|_| self.forget_maker(due)) else { return };
        let (chain, node) = before.departed.node();
        let running = self.table.plan(due.tenant, chain).map(Rc::clone);
        let Some(generate) = running.as_ref().and_then(|running| rules::generator(running, node)) else { return };
        let data: Value = serde_json::from_str(&before.departed.data).unwrap_or_default();
        let subject = Subject { data: &data, metadata: &before.departed.metadata, kind: &before.departed.kind };
        // Its own place is free; where others have taken more than there is, it keeps what it had.
        let room = self.dues.waiting(due.tenant, due.originator, node);
        let answer = room.and_then(|_| {
            let answer = self.scripts.run(due.tenant, &generate.script, subject);
            answer.map_err(|failure| failure.to_string())
        });
        let (departed, failure) = match answer {
            Ok(Answer::Messages(mut messages)) if messages.len() == 1 => {
                let Said { data, metadata, kind } = messages.remove(0);
                let own_ts = metadata.contains_key("ts");
                let path = before.departed.path.clone();
                (Departed { path, kind, metadata, data: data.to_string(), own_ts, ..Departed::default() }, None)
            }
            Ok(_) => (before.departed, Some("the script was to answer one message".to_owned())),
            Err(failure) => (before.departed, Some(failure)),
        };
        let number = due.number + 1;
        let now = self.now.timestamp;
        // What was missed is not made up for.
        let at = match later(due.at, generate.period_ms) {
            _ if generate.most > 0 && number >= generate.most => NEVER,
            at if at > now => at,
            _ => later(now, generate.period_ms),
        };
        self.keep_maker(Due { number, at, ..due }, departed.clone());
        self.behind(due.originator, &OwedCall { tenant: due.tenant, taken: now, departed }, failure);
    }

    /// Another shard has counted.
    pub(super) fn counted(&mut self, counted: Counted) {
        if let Some(counting) = self.counting.iter_mut().find(|counting| counting.node == counted.node) {
            counting.sum += counted.messages;
        }
    }

    /// Says what was counted: to the owner of the tenant, or as a message of the tenant.
    pub(super) fn tell_counts(&mut self) {
        let now = self.now;
        for place in 0..self.counting.len() {
            let Some(counting) = self.counting.get_mut(place) else { return };
            counting.take();
            let tenant = EntityId::from(counting.tenant);
            let owner = self.placement.shard_of(Partition::of(tenant));
            if owner != self.index {
                let waited = now.instant.ms_since(counting.told) >= limits::COUNT_TOLD_MS;
                if counting.sum > 0 && waited && self.mesh.has_room(owner) {
                    let messages = std::mem::take(&mut counting.sum);
                    counting.told = now.instant;
                    self.mesh.send(owner, Letter::Counted(Box::new(Counted { node: counting.node, messages })));
                }
            } else if counting.due <= now.timestamp {
                let passed = now.timestamp.0.saturating_sub(counting.since.0);
                let key = format!("{}_{}", counting.count.prefix, self.instance);
                let departed = Departed {
                    path: vec![(counting.chain, counting.node)],
                    kind: MessageType::PostTelemetryRequest.name().to_owned(),
                    metadata: [("delta".to_owned(), passed.to_string())].into(),
                    data: json!({ key: counting.sum }).to_string(),
                    ..Departed::default()
                };
                counting.since = now.timestamp;
                counting.sum = 0;
                counting.due = match later(counting.due, counting.count.interval_ms) {
                    due if due > now.timestamp => due,
                    _ => later(now.timestamp, counting.count.interval_ms),
                };
                let message = OwedCall { tenant: counting.tenant, taken: now.timestamp, departed };
                self.say_behind(tenant, message);
            }
        }
    }

    /// A message that a node made goes on behind it when its originator's state is there. One for which there is no room is dropped.
    fn say_behind(&mut self, originator: EntityId, message: OwedCall) {
        if self.residents.contains(originator) {
            return self.behind(originator, &message, None);
        }
        if let Parking::Load = self.residents.park(message.tenant, originator, Parked::Behind(Box::new(message))) {
            self.loads.push_back(originator);
        }
    }
}

fn later(from: Timestamp, ms: u64) -> Timestamp {
    Timestamp(from.0.saturating_add(i64::try_from(ms).unwrap_or(i64::MAX)))
}
