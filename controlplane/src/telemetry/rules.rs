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
    pub name: String,
    pub executed: u64,
    pub failed: u64,
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
            let wire::NodeCount { name, executed, failed, left } = node;
            NodeCount { name, executed, failed, left: left.into_iter().collect() }
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
