//! How the nodes of a draft are connected: indices in range, labels that exist, no cycle, no explosion of paths.
//! Never reads JSON.

use std::collections::HashSet;

use super::{
    Chain, Edge, Labels, Node, NodeKind, label,
    parse::{Draft, Problems},
};

/// Nodes of one chain.
pub const NODES_MAX: usize = 1_000;
/// Edges of one chain.
pub const EDGES_MAX: usize = 10_000;
/// Nodes that one message may execute, a node counted once for every way that leads to it.
pub const EXECUTIONS_MAX: u64 = 1_000;

/// The chain, if there is no problem in the draft.
pub(super) fn check(draft: Draft, problems: &mut Problems) -> Option<Chain> {
    first(&draft, problems);
    ids(&draft, problems);
    let in_range = edges(&draft, problems);
    if in_range {
        paths(&draft, problems);
    }
    let nodes = draft.nodes.into_iter().collect::<Option<_>>()?;
    let edges = draft.edges.into_iter().collect::<Option<_>>()?;
    problems.0.is_empty().then_some(Chain { first: draft.first, nodes, edges })
}

fn first(draft: &Draft, problems: &mut Problems) {
    let nodes = draft.nodes.len();
    match draft.first {
        Some(first) if first >= nodes => problems.add("firstNodeIndex", format!("{first}: there are {nodes} nodes")),
        // What generators make needs no entry.
        None if nodes > 0
            && generators(draft).next().is_none()
            && !problems.0.iter().any(|problem| problem.path == "firstNodeIndex") =>
        {
            problems.add("firstNodeIndex", "missing: no message would enter the chain");
        }
        _ => {}
    }
}

/// Nodes from which messages come that enter nowhere.
fn generators(draft: &Draft) -> impl Iterator<Item = usize> {
    let generates = |node: &Option<Node>| node.as_ref().is_some_and(|node| matches!(node.kind, NodeKind::Generate(_)));
    draft.nodes.iter().enumerate().filter(move |(_, node)| generates(node)).map(|(index, _)| index)
}

fn ids(draft: &Draft, problems: &mut Problems) {
    let mut seen = HashSet::new();
    for (index, node) in draft.nodes.iter().enumerate() {
        if let Some(id) = node.as_ref().and_then(|node| node.id)
            && !seen.insert(id)
        {
            problems.add(format!("nodes[{index}].id"), format!("{id}: another node has it"));
        }
    }
}

/// Whether every edge could be read and lies between nodes.
fn edges(draft: &Draft, problems: &mut Problems) -> bool {
    let nodes = draft.nodes.len();
    let mut in_range = true;
    let mut seen = HashSet::new();
    for (index, edge) in draft.edges.iter().enumerate() {
        let Some(edge) = edge else {
            in_range = false;
            continue;
        };
        let path = format!("connections[{index}]");
        for (field, end) in [("fromIndex", edge.from), ("toIndex", edge.to)] {
            if end >= nodes {
                problems.add(format!("{path}.{field}"), format!("{end}: there are {nodes} nodes"));
                in_range = false;
            }
        }
        if let Some(Some(from)) = draft.nodes.get(edge.from)
            && !from.kind.allows(&edge.label)
        {
            problems.add(format!("{path}.type"), format!("{}: {} has no such label", edge.label, from.kind.class()));
        }
        if !seen.insert((edge.from, edge.to, edge.label.to_ascii_lowercase())) {
            problems.add(path, format!("node {} is already connected to node {} by {}", edge.from, edge.to, edge.label));
        }
    }
    in_range
}

/// Walks the nodes in an order in which every node precedes those it leads to, which exists if there is no cycle.
fn paths(draft: &Draft, problems: &mut Problems) {
    let nodes = draft.nodes.len();
    let mut incoming = vec![0_usize; nodes];
    let mut outgoing: Vec<Vec<&Edge>> = vec![Vec::new(); nodes];
    for edge in draft.edges.iter().flatten() {
        incoming[edge.to] += 1;
        outgoing[edge.from].push(edge);
    }
    let mut order: Vec<usize> = (0..nodes).filter(|node| incoming[*node] == 0).collect();
    let mut next = 0;
    while let Some(&node) = order.get(next) {
        next += 1;
        for edge in &outgoing[node] {
            incoming[edge.to] -= 1;
            if incoming[edge.to] == 0 {
                order.push(edge.to);
            }
        }
    }
    if order.len() < nodes {
        let stuck = (0..nodes).filter(|node| incoming[*node] > 0);
        let stuck: Vec<String> = stuck.take(10).map(|node| format!("nodes[{node}]")).collect();
        problems.add("connections", format!("a cycle, on the way to or through {}", stuck.join(", ")));
        return;
    }
    let mut executions = vec![1_u64; nodes];
    for &node in order.iter().rev() {
        let worst = match &draft.nodes[node] {
            Some(checked) => worst(&checked.kind, &outgoing[node], &executions),
            None => 0,
        };
        executions[node] = worst.saturating_add(1);
    }
    let begins = draft.first.into_iter().chain(generators(draft));
    let worst = begins.filter_map(|node| executions.get(node)).copied().max().unwrap_or(0);
    if worst > EXECUTIONS_MAX {
        problems.add("connections", format!("one message could execute {worst} nodes, at most {EXECUTIONS_MAX}"));
    }
}

/// Nodes executed after a node of this kind, at worst: it takes one of its outcomes, and every edge of that outcome's label.
fn worst(kind: &NodeKind, outgoing: &[&Edge], executions: &[u64]) -> u64 {
    let by_label = |wanted: &str| {
        let taken = outgoing.iter().filter(|edge| label::same(&edge.label, wanted));
        taken.fold(0_u64, |sum, edge| sum.saturating_add(executions[edge.to]))
    };
    match (outgoing, kind.labels()) {
        ([], _) => 0,
        ([edge], _) => executions[edge.to],
        // A script may name several labels.
        (_, Labels::Any) => outgoing.iter().fold(0, |sum, edge| sum.saturating_add(executions[edge.to])),
        (_, labels) => labels.fixed().map(by_label).max().unwrap_or(0),
    }
}
