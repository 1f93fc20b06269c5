//! A plan as one shard runs it: with what happened at each of its nodes. Never shared between shards, so that counting costs
//! an addition.

use std::cell::Cell;
use std::sync::Arc;

use schemas::id::ChainId;
use uuid::Uuid;

use crate::limits::MESSAGES_PER_TIMED_ONE;
use crate::rules::Plan;

/// A plan and its counts; a new version of the chain begins with new ones.
#[derive(Debug)]
pub struct Running {
    /// Nil for a plan of no chain.
    chain: ChainId,
    plan: Arc<Plan>,
    /// Per step.
    executed: Box<[Cell<u64>]>,
    failed: Box<[Cell<u64>]>,
    /// Executions that were timed, and their nanoseconds.
    timed: Box<[Cell<u64>]>,
    timed_ns: Box<[Cell<u64>]>,
    /// Messages until the next one that is timed.
    untimed: Cell<u32>,
    /// Per route.
    taken: Box<[Cell<u64>]>,
}

/// What happened at a node.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NodeCount {
    /// Nil if it was saved without one.
    pub id: Uuid,
    pub name: String,
    /// Messages that came in.
    pub executed: u64,
    pub failed: u64,
    /// Of how many of them the time was taken, and how long these took together, in nanoseconds.
    pub timed: u64,
    pub timed_ns: u64,
    /// Messages that left, by label; labels that nothing left by are left out.
    pub left: Vec<(String, u64)>,
}

impl Running {
    #[must_use]
    pub fn new(plan: Arc<Plan>) -> Self {
        let zeros = |count| (0..count).map(|_| Cell::new(0)).collect();
        let chain = ChainId(Uuid::nil());
        Self {
            chain,
            executed: zeros(plan.len()),
            failed: zeros(plan.len()),
            timed: zeros(plan.len()),
            timed_ns: zeros(plan.len()),
            untimed: Cell::new(0),
            taken: zeros(plan.routes()),
            plan,
        }
    }

    /// The same as the plan of this chain.
    #[must_use]
    pub fn of(self, chain: ChainId) -> Self {
        Self { chain, ..self }
    }

    #[must_use]
    pub fn chain(&self) -> ChainId {
        self.chain
    }

    #[must_use]
    pub fn plan(&self) -> &Plan {
        &self.plan
    }

    /// One per node, in the chain's order.
    #[must_use]
    pub fn counts(&self) -> Vec<NodeCount> {
        let of = |counts: &[Cell<u64>], index: usize| counts.get(index).map_or(0, Cell::get);
        let count = |step: usize| NodeCount {
            id: self.plan.id(step),
            name: self.plan.name(step).unwrap_or_default().to_owned(),
            executed: of(&self.executed, step),
            failed: of(&self.failed, step),
            timed: of(&self.timed, step),
            timed_ns: of(&self.timed_ns, step),
            left: self
                .plan
                .labels(step)
                .map(|(label, route)| (label, of(&self.taken, route)))
                .filter(|(_, left)| *left > 0)
                .map(|(label, left)| (label.to_owned(), left))
                .collect(),
        };
        (0..self.plan.len()).map(count).collect()
    }

    /// How many messages came to a step.
    #[must_use]
    pub fn executed(&self, step: usize) -> u64 {
        self.executed.get(step).map_or(0, Cell::get)
    }

    pub(super) fn count_executed(&self, step: usize) {
        add(&self.executed, step, 1);
    }

    pub(super) fn count_failed(&self, step: usize) {
        add(&self.failed, step, 1);
    }

    pub(super) fn count_taken(&self, route: usize) {
        add(&self.taken, route, 1);
    }

    /// Whether the message that enters here now is one that is timed.
    pub(super) fn times_this(&self) -> bool {
        let (this, left) = match self.untimed.get() {
            0 => (true, MESSAGES_PER_TIMED_ONE - 1),
            left => (false, left - 1),
        };
        self.untimed.set(left);
        this
    }

    pub(super) fn count_time(&self, step: usize, nanos: u64) {
        add(&self.timed, step, 1);
        add(&self.timed_ns, step, nanos);
    }
}

fn add(counts: &[Cell<u64>], index: usize, amount: u64) {
    if let Some(count) = counts.get(index) {
        count.set(count.get() + amount);
    }
}

impl Default for Running {
    fn default() -> Self {
        Self::new(Arc::default())
    }
}
