//! Questions about rules, over the Query service: what happened at a chain's nodes, what a script answers. Never runs a script.

use std::collections::BTreeMap;

use schemas::generated::query as wire;
use uuid::Uuid;

use crate::{
    domain::{ScriptForm, ScriptTrial},
    telemetry::{
        Client, Unanswered,
        client::{READ_TIMEOUT, within},
    },
};

/// What happened at a node.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NodeCount {
    /// Nil if it was saved without one.
    pub id: Uuid,
    pub name: String,
    pub executed: u64,
    pub failed: u64,
    /// Of how many executions the time was taken, and how long these were together, in nanoseconds.
    pub timed: u64,
    pub timed_ns: u64,
    /// By label.
    pub left: BTreeMap<String, u64>,
}

/// What became of a calculated field.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FieldCount {
    pub calculated: u64,
    pub failed: u64,
    /// When, in milliseconds since the Unix epoch, and why.
    pub last_failure: Option<(i64, String)>,
}

impl NodeCount {
    /// What several instances counted at the nodes of one chain, together. One that runs with another version of the chain adds its
    /// nodes that are the same ones.
    #[must_use]
    pub fn sum(all: impl IntoIterator<Item = Vec<Self>>) -> Vec<Self> {
        let mut all = all.into_iter();
        let mut sum = all.next().unwrap_or_default();
        for (place, count) in all.flat_map(|counts| counts.into_iter().enumerate()) {
            let same = |known: &Self| (known.id, &known.name) == (count.id, &count.name);
            let there = sum.get(place).is_some_and(same).then_some(place);
            match there.or_else(|| sum.iter().position(|known| !known.id.is_nil() && same(known))) {
                Some(there) => sum[there].add(count),
                None => sum.push(count),
            }
        }
        sum
    }

    fn add(&mut self, other: Self) {
        self.executed += other.executed;
        self.failed += other.failed;
        self.timed += other.timed;
        self.timed_ns += other.timed_ns;
        for (label, left) in other.left {
            *self.left.entry(label).or_default() += left;
        }
    }
}

impl Client {
    /// One per node of the chain, in its order; none when the data plane does not know it.
    ///
    /// # Errors
    /// [`Unanswered`]; so does the other function.
    pub async fn node_counts(&self, tenant: Uuid, chain: Uuid) -> Result<Vec<NodeCount>, Unanswered> {
        let request = wire::NodeCountsRequest { tenant_id: tenant.as_bytes().to_vec(), chain_id: chain.as_bytes().to_vec() };
        let mut stub = self.0.clone();
        let reply = within(READ_TIMEOUT, stub.node_counts(request)).await?;
        let count = |node: wire::NodeCount| {
            let wire::NodeCount { name, executed, failed, left, node_id, timed, timed_ns } = node;
            let id = Uuid::from_slice(&node_id).unwrap_or_default();
            NodeCount { id, name, executed, failed, timed, timed_ns, left: left.into_iter().collect() }
        };
        Ok(reply.nodes.into_iter().map(count).collect())
    }

    /// All zero when the data plane does not know the field.
    ///
    /// # Errors
    /// [`Unanswered`].
    pub async fn field_count(&self, tenant: Uuid, field: Uuid) -> Result<FieldCount, Unanswered> {
        let request = wire::FieldCountRequest { tenant_id: tenant.as_bytes().to_vec(), field_id: field.as_bytes().to_vec() };
        let mut stub = self.0.clone();
        let wire::FieldCountReply { calculated, failed, last_failure, last_failure_ts } =
            within(READ_TIMEOUT, stub.field_count(request)).await?;
        let last_failure = (!last_failure.is_empty()).then_some((last_failure_ts, last_failure));
        Ok(FieldCount { calculated, failed, last_failure })
    }

    /// What the script answers, as JSON, or why it does not.
    ///
    /// # Errors
    /// [`Unanswered`].
    pub async fn try_script(&self, trial: &ScriptTrial) -> Result<Result<String, String>, Unanswered> {
        let form = match trial.form {
            ScriptForm::Filter => wire::ScriptForm::Filter,
            ScriptForm::Switch => wire::ScriptForm::Switch,
            ScriptForm::Update => wire::ScriptForm::Transform,
            ScriptForm::Text => wire::ScriptForm::Text,
            ScriptForm::Details => wire::ScriptForm::Details,
        };
        let request = wire::TryScriptRequest {
            form: form.into(),
            tbel: trial.tbel,
            body: trial.body.clone(),
            msg: trial.msg.clone(),
            metadata: trial.metadata.clone().into_iter().collect(),
            msg_type: trial.msg_type.clone(),
        };
        let mut stub = self.0.clone();
        let reply = within(READ_TIMEOUT, stub.try_script(request)).await?;
        match reply.outcome {
            Some(wire::try_script_reply::Outcome::Answer(answer)) => Ok(Ok(answer)),
            Some(wire::try_script_reply::Outcome::Failure(failure)) => Ok(Err(failure)),
            None => Err(Unanswered::Refused("a script came back without an outcome".to_owned())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Nodes by id, name and executions.
    fn counts(nodes: &[(u128, &str, u64)]) -> Vec<NodeCount> {
        let count = |(id, name, executed): &(u128, &str, u64)| NodeCount {
            id: Uuid::from_u128(*id),
            name: (*name).to_owned(),
            executed: *executed,
            left: [("Success".to_owned(), *executed)].into(),
            ..NodeCount::default()
        };
        nodes.iter().map(count).collect()
    }

    #[test]
    fn instances_are_counted_together() {
        // Two nodes without an id are told apart by their places; the second instance has another version of the chain.
        let first = counts(&[(1, "a", 1), (0, "x", 2), (0, "x", 3), (2, "b", 4)]);
        let second = counts(&[(1, "a", 10), (0, "x", 20), (0, "x", 30), (3, "c", 40), (2, "b", 50)]);
        let sum = NodeCount::sum([first, second]);
        assert_eq!(sum, counts(&[(1, "a", 11), (0, "x", 22), (0, "x", 33), (2, "b", 54), (3, "c", 40)]));
        assert_eq!(NodeCount::sum([]), []);
    }
}
