//! Evaluates a message by a plan: effects in the order in which the chain's edges lead to them, depth first.
//! Total: no IO, no clock, no failure.

use crate::effect::Effect;
use crate::limits::STEPS_PER_MESSAGE_MAX;
use crate::message::Message;
use crate::rules::plan::Plan;

/// How often each node of a plan was executed, always on; owned by the shard, beside the plan. A new plan gets new counts.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NodeCounts(Vec<u64>);

impl NodeCounts {
    #[must_use]
    pub fn new(plan: &Plan) -> Self {
        Self(vec![0; plan.len()])
    }

    /// One count per node, in the chain's order.
    #[must_use]
    pub fn counts(&self) -> &[u64] {
        &self.0
    }
}

/// What an evaluation took.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Evaluation {
    /// Steps executed, one as often as a way led to it.
    pub executed: u32,
    /// The bound on steps ended the evaluation, so that effects are missing. No checked chain reaches it.
    pub cut: bool,
}

/// Evaluates `message` from the plan's first node on, appending its effects to `into`.
pub fn evaluate<'m>(plan: &'m Plan, message: &'m Message<'m>, counts: &mut NodeCounts, into: &mut Vec<Effect<'m>>) -> Evaluation {
    let mut walk = Walk { plan, message, counts, into, evaluation: Evaluation::default() };
    walk.run();
    walk.evaluation
}

struct Walk<'w, 'm> {
    plan: &'m Plan,
    message: &'m Message<'m>,
    counts: &'w mut NodeCounts,
    into: &'w mut Vec<Effect<'m>>,
    evaluation: Evaluation,
}

impl<'m> Walk<'_, 'm> {
    fn run(&mut self) {
        // The route being followed; what is left of the routes it branched from waits in `routes`. A route of one step, the
        // usual one, needs no place there, so most evaluations allocate nothing.
        let mut route = self.plan.entry();
        let mut routes: Vec<&'m [u32]> = Vec::new();
        loop {
            let Some((&index, rest)) = route.split_first() else {
                match routes.pop() {
                    Some(waiting) => route = waiting,
                    None => return,
                }
                continue;
            };
            if self.evaluation.executed == STEPS_PER_MESSAGE_MAX {
                self.evaluation.cut = true;
                return;
            }
            let next = self.step(index);
            if !rest.is_empty() {
                routes.push(rest);
            }
            route = next;
        }
    }

    /// Executes one step and returns the route to take.
    fn step(&mut self, index: u32) -> &'m [u32] {
        let Some(step) = self.plan.step(index) else { return &[] };
        self.evaluation.executed += 1;
        if let Some(count) = usize::try_from(index).ok().and_then(|index| self.counts.0.get_mut(index)) {
            *count += 1;
        }
        let outcome = step.node.run(self.message, self.into);
        self.plan.route(step, outcome)
    }
}
