//! A plan as one shard runs it: with what happened at each of its nodes. Never shared between shards, so that counting costs
//! an addition.

use std::cell::Cell;
use std::sync::Arc;

use schemas::id::ChainId;
use uuid::Uuid;

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
    /// Per route.
    taken: Box<[Cell<u64>]>,
}

/// What happened at a node.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NodeCount {
    pub name: String,
    /// Messages that came in.
    pub executed: u64,
    pub failed: u64,
    /// Messages that left, by label; labels that nothing left by are left out.
    pub left: Vec<(String, u64)>,
}

impl Running {
    #[must_use]
    pub fn new(plan: Arc<Plan>) -> Self {
        let zeros = |count| (0..count).map(|_| Cell::new(0)).collect();
        let chain = ChainId(Uuid::nil());
        Self { chain, executed: zeros(plan.len()), failed: zeros(plan.len()), taken: zeros(plan.routes()), plan }
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
            name: self.plan.name(step).unwrap_or_default().to_owned(),
            executed: of(&self.executed, step),
            failed: of(&self.failed, step),
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
        add(&self.executed, step);
    }

    pub(super) fn count_failed(&self, step: usize) {
        add(&self.failed, step);
    }

    pub(super) fn count_taken(&self, route: usize) {
        add(&self.taken, route);
    }
}

fn add(counts: &[Cell<u64>], index: usize) {
    if let Some(count) = counts.get(index) {
        count.set(count.get() + 1);
    }
}

impl Default for Running {
    fn default() -> Self {
        Self::new(Arc::default())
    }
}
