//! The plan: a chain laid out flat, so that following an edge is two array lookups. Never evaluates.

use std::ops::Range;

use schemas::chain::{Chain, EDGES_MAX, EXECUTIONS_MAX, MessageType, label};

use crate::limits::STEPS_PER_MESSAGE_MAX;
use crate::rules::node::Node;

// What the check of a chain lets through, a plan can hold and an evaluation can finish.
const _: () = assert!(EXECUTIONS_MAX <= STEPS_PER_MESSAGE_MAX as u64, "a checked chain is never cut short");
const _: () = assert!(EDGES_MAX * MessageType::COUNT <= u32::MAX as usize, "a position among the targets is a u32");

/// A compiled chain. Step `n` is node `n` of the chain. The default plan is that of the empty chain and does nothing.
#[derive(Clone, Debug, Default)]
pub struct Plan {
    first: Option<u32>,
    steps: Vec<Step>,
    /// For every step, one range of `targets` per outcome of its node.
    routes: Vec<Range<u32>>,
    /// Steps that edges lead to.
    targets: Vec<u32>,
}

#[derive(Clone, Debug)]
pub(super) struct Step {
    pub(super) node: Node,
    /// Index in `routes` of the node's outcome 0.
    routes: usize,
}

impl Plan {
    /// Lays a chain out. Cannot fail: a [`Chain`] is checked, and an edge that led nowhere would be left out.
    #[must_use]
    pub fn compile(chain: &Chain) -> Self {
        let steps = chain.nodes.len();
        let mut plan = Self { first: chain.first.and_then(|first| target(first, steps)), ..Self::default() };
        let mut outgoing = vec![Vec::new(); steps];
        for edge in &chain.edges {
            if let (Some(edges), Some(to)) = (outgoing.get_mut(edge.from), target(edge.to, steps)) {
                edges.push((edge.label.as_str(), to));
            }
        }
        for (node, edges) in chain.nodes.iter().zip(&outgoing) {
            let node = Node::compile(node);
            plan.steps.push(Step { routes: plan.routes.len(), node });
            let Some(step) = plan.steps.last() else { continue };
            for outcome in step.node.outcomes() {
                let from = plan.targets.len();
                let taken = edges.iter().filter(|(edge, _)| label::same(edge, outcome));
                plan.targets.extend(taken.map(|(_, to)| *to));
                plan.routes.push(position(from)..position(plan.targets.len()));
            }
        }
        plan
    }

    /// How many steps there are; the length of its counts.
    #[must_use]
    pub fn len(&self) -> usize {
        self.steps.len()
    }

    /// Whether the plan does nothing.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.first.is_none()
    }

    /// The name of the node that a step came from.
    #[must_use]
    pub fn name(&self, step: usize) -> Option<&str> {
        self.steps.get(step).map(|step| step.node.name.as_str())
    }

    /// Where a message enters, as a route.
    pub(super) fn entry(&self) -> &[u32] {
        self.first.as_slice()
    }

    pub(super) fn step(&self, index: u32) -> Option<&Step> {
        self.steps.get(usize::try_from(index).ok()?)
    }

    /// The steps to take after `step`, in the order of the chain's edges.
    pub(super) fn route(&self, step: &Step, outcome: usize) -> &[u32] {
        let bounds = self.routes.get(step.routes + outcome);
        let range = bounds.and_then(|route| Some(usize::try_from(route.start).ok()?..usize::try_from(route.end).ok()?));
        range.and_then(|range| self.targets.get(range)).unwrap_or_default()
    }
}

fn target(node: usize, steps: usize) -> Option<u32> {
    (node < steps).then(|| position(node))
}

/// The bounds of a chain keep every position far below `u32::MAX`: a switch has one route per message type, and an edge is
/// a target of at most as many.
fn position(index: usize) -> u32 {
    u32::try_from(index).unwrap_or(u32::MAX)
}
