//! The plan: a chain laid out flat, so that following an edge is two array lookups. Never evaluates.

use std::ops::Range;
use std::sync::Arc;

use schemas::chain::timed::{Count, Generate};
use schemas::chain::{Chain, DebugSettings, EDGES_MAX, EXECUTIONS_MAX, Labels, MessageType, NODES_MAX, NodeKind, label};

use uuid::Uuid;

use crate::limits::STEPS_PER_MESSAGE_MAX;
use crate::rules::node::Node;

// What the check of a chain lets through, a plan can hold and an evaluation can finish.
const _: () = assert!(EXECUTIONS_MAX <= STEPS_PER_MESSAGE_MAX as u64, "a checked chain is never cut short");
const _: () = assert!(EDGES_MAX * MessageType::COUNT + NODES_MAX <= u32::MAX as usize, "a position among the targets is a u32");

/// A compiled chain. Step `n` is node `n` of the chain. The default plan is that of the empty chain and does nothing.
#[derive(Clone, Debug, Default)]
pub struct Plan {
    /// Where messages enter, among `targets`.
    entry: Range<u32>,
    steps: Vec<Step>,
    /// Ranges of `targets`: for every step, one per label.
    routes: Vec<Range<u32>>,
    /// Steps that edges lead to.
    targets: Vec<u32>,
    /// Whether some node looks at what messages say.
    reads: bool,
    /// Whether some node may lack a fact.
    asks: bool,
    /// Whether some node acts by itself.
    acts: bool,
}

/// A node that acts by itself.
#[derive(Clone, Copy, Debug)]
pub enum Timer<'p> {
    Count(&'p Arc<Count>),
    Generate(&'p Arc<Generate>),
}

#[derive(Clone, Debug)]
pub(super) struct Step {
    pub(super) node: Node,
    pub(super) name: Arc<str>,
    /// What the node's state lies under; nil if it was saved without one.
    pub(super) id: Uuid,
    /// What somebody wants to see there.
    pub(super) debug: DebugSettings,
    /// Index in `routes` of the node's outcome 0.
    routes: usize,
    /// The outcome that stands for a failure.
    failure: usize,
    /// The labels of its outcomes, then those that its script or chain may say: label `n` is route `routes + n`.
    labels: Vec<Box<str>>,
}

impl Plan {
    /// Lays a chain out. Cannot fail: a [`Chain`] is checked, and an edge that led nowhere would be left out.
    #[must_use]
    pub fn compile(chain: &Chain) -> Self {
        let steps = chain.nodes.len();
        // Whoever looks at messages sees one for each ts.
        let reads = chain.nodes.iter().any(|node| node.kind.reads() || node.debug.all_until_ms > 0);
        let asks = chain.nodes.iter().any(|node| node.kind.asks());
        let acts = chain.nodes.iter().any(|node| matches!(node.kind, NodeKind::Count(_) | NodeKind::Generate(_)));
        let mut plan = Self { reads, asks, acts, ..Self::default() };
        plan.targets.extend(chain.first.and_then(|first| target(first, steps)));
        plan.entry = 0..position(plan.targets.len());
        let mut outgoing = vec![Vec::new(); steps];
        for edge in &chain.edges {
            if let (Some(edges), Some(to)) = (outgoing.get_mut(edge.from), target(edge.to, steps)) {
                edges.push((edge.label.as_str(), to));
            }
        }
        for (node, edges) in chain.nodes.iter().zip(&outgoing) {
            let fixed: Vec<&str> = node.kind.labels().fixed().collect();
            let failure = fixed.iter().position(|label| *label == label::FAILURE).unwrap_or(0);
            let mut labels: Vec<Box<str>> = fixed.into_iter().map(Into::into).collect();
            for (said, _) in edges {
                if node.kind.labels() == Labels::Any && !labels.iter().any(|label| label::same(label, said)) {
                    labels.push((*said).into());
                }
            }
            let routes = plan.routes.len();
            for label in &labels {
                plan.route_by(label, edges);
            }
            let (name, id, debug) = (node.name.as_str().into(), node.id.unwrap_or_default(), node.debug);
            plan.steps.push(Step { node: Node::compile(node), name, id, debug, routes, failure, labels });
        }
        plan
    }

    fn route_by(&mut self, wanted: &str, edges: &[(&str, u32)]) {
        let from = self.targets.len();
        self.targets.extend(edges.iter().filter(|(edge, _)| label::same(edge, wanted)).map(|(_, to)| *to));
        self.routes.push(position(from)..position(self.targets.len()));
    }

    /// How many steps there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.steps.len()
    }

    /// Whether the plan does nothing.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.entry.is_empty()
    }

    /// Whether some node looks at what messages say, so that each ts of telemetry has to be a message of its own.
    #[must_use]
    pub fn reads(&self) -> bool {
        self.reads
    }

    /// Whether some node may lack a fact, of this chain or of one that it leads to.
    #[must_use]
    pub fn asks(&self) -> bool {
        self.asks
    }

    /// The name of the node that a step came from.
    #[must_use]
    pub fn name(&self, step: usize) -> Option<&str> {
        self.steps.get(step).map(|step| &*step.name)
    }

    /// The nodes that act by themselves when time has passed, each with its step and id.
    pub fn timers(&self) -> impl Iterator<Item = (usize, Uuid, Timer<'_>)> {
        let steps = if self.acts { self.steps.as_slice() } else { &[] };
        steps.iter().enumerate().filter_map(|(index, step)| match &step.node {
            Node::Count(count) => Some((index, step.id, Timer::Count(count))),
            Node::Generate(generate) => Some((index, step.id, Timer::Generate(generate))),
            _ => None,
        })
    }

    /// The ids of its nodes; nil for those that have none.
    pub fn ids(&self) -> impl Iterator<Item = Uuid> {
        self.steps.iter().map(|step| step.id)
    }

    /// The step of the node with this id.
    pub(super) fn find(&self, id: Uuid) -> Option<(usize, &Step)> {
        self.steps.iter().enumerate().find(|(_, step)| step.id == id)
    }

    /// The step at an index.
    pub(super) fn at(&self, index: usize) -> Option<&Step> {
        self.steps.get(index)
    }

    /// The id of a step; nil if it has none.
    pub(super) fn id(&self, step: usize) -> Uuid {
        self.steps.get(step).map_or(Uuid::nil(), |step| step.id)
    }

    pub(super) fn routes(&self) -> usize {
        self.routes.len()
    }

    /// The labels of a step with their routes.
    pub(super) fn labels(&self, step: usize) -> impl Iterator<Item = (&str, usize)> {
        let step = self.steps.get(step);
        step.into_iter().flat_map(|step| step.labels.iter().enumerate().map(|(n, label)| (&**label, step.routes + n)))
    }

    /// Where a message enters.
    pub(super) fn entry(&self) -> Range<u32> {
        self.entry.clone()
    }

    /// The step at a place among the targets, with its index.
    pub(super) fn step(&self, target: u32) -> Option<(usize, &Step)> {
        let index = usize::try_from(*self.targets.get(usize::try_from(target).ok()?)?).ok()?;
        Some((index, self.steps.get(index)?))
    }

    /// The targets of a route, in the order of the chain's edges.
    pub(super) fn route(&self, route: usize) -> Range<u32> {
        self.routes.get(route).cloned().unwrap_or(0..0)
    }

    /// The label of the edge at a place among the targets; `None` where messages enter.
    pub(super) fn label_to(&self, target: u32) -> Option<&str> {
        let route = self.routes.partition_point(|route| route.end <= target);
        self.routes.get(route).filter(|route| route.contains(&target))?;
        let step = self.steps.get(self.steps.partition_point(|step| step.routes <= route).checked_sub(1)?)?;
        step.label(route - step.routes)
    }

    /// The route of a label that a node said, if an edge has it.
    pub(super) fn route_of(&self, step: usize, said: &str) -> Option<usize> {
        self.labels(step).find(|(label, _)| label::same(label, said)).map(|(_, route)| route)
    }
}

impl Step {
    pub(super) fn route(&self, outcome: usize) -> usize {
        self.routes + outcome
    }

    pub(super) fn failure(&self) -> usize {
        self.routes + self.failure
    }

    pub(super) fn label(&self, outcome: usize) -> Option<&str> {
        self.labels.get(outcome).map(|label| &**label)
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
