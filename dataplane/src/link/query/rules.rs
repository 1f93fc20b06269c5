//! Questions about rules: what happened at a chain's nodes, on all shards together, and what a script answers. A script is tried on
//! a thread that may block; its engine is made for it and has a shard's limits.

use std::sync::Arc;

use schemas::generated::query as wire;
use schemas::id::{ChainId, FieldId, TenantId, uuid};
use schemas::script::{Form, Language, Script};
use serde_json::{Value, json};
use tokio::sync::oneshot;
use tonic::Status;

use crate::clock::Clock;
use crate::rules::NodeCount;
use crate::script::{Answer, Engine, Said, Subject};
use crate::shard::{Event, Shards};

pub(super) async fn node_counts(shards: &Shards, request: &wire::NodeCountsRequest) -> Result<wire::NodeCountsReply, Status> {
    let wrong = |error: schemas::id::InvalidId| Status::invalid_argument(error.to_string());
    let tenant = TenantId(uuid("tenant_id", &request.tenant_id).map_err(wrong)?);
    let chain = ChainId(uuid("chain_id", &request.chain_id).map_err(wrong)?);
    let mut asked = Vec::new();
    for mailbox in shards.all() {
        let (reply, answer) = oneshot::channel();
        mailbox.deliver(Event::Count { tenant, chain, reply }).await;
        asked.push(answer);
    }
    let mut nodes: Vec<wire::NodeCount> = Vec::new();
    for answer in asked {
        let counts = answer.await.map_err(|_| Status::unavailable("a shard has ended"))?;
        nodes.resize_with(nodes.len().max(counts.len()), wire::NodeCount::default);
        nodes.iter_mut().zip(counts).for_each(|(sum, count)| add(sum, count));
    }
    Ok(wire::NodeCountsReply { nodes })
}

fn add(sum: &mut wire::NodeCount, count: NodeCount) {
    sum.node_id = count.id.as_bytes().to_vec();
    sum.name = count.name;
    sum.executed += count.executed;
    sum.failed += count.failed;
    sum.timed += count.timed;
    sum.timed_ns += count.timed_ns;
    for (label, left) in count.left {
        *sum.left.entry(label).or_default() += left;
    }
}

pub(super) async fn field_count(shards: &Shards, request: &wire::FieldCountRequest) -> Result<wire::FieldCountReply, Status> {
    let wrong = |error: schemas::id::InvalidId| Status::invalid_argument(error.to_string());
    let tenant = TenantId(uuid("tenant_id", &request.tenant_id).map_err(wrong)?);
    let field = FieldId(uuid("field_id", &request.field_id).map_err(wrong)?);
    let mut asked = Vec::new();
    for mailbox in shards.all() {
        let (reply, answer) = oneshot::channel();
        mailbox.deliver(Event::CountField { tenant, field, reply }).await;
        asked.push(answer);
    }
    let mut sum = wire::FieldCountReply::default();
    for answer in asked {
        let count = answer.await.map_err(|_| Status::unavailable("a shard has ended"))?;
        sum.calculated += count.calculated;
        sum.failed += count.failed;
        if let Some((ts, reason)) = count.last_failure
            && ts.0 >= sum.last_failure_ts
        {
            (sum.last_failure_ts, sum.last_failure) = (ts.0, reason);
        }
    }
    Ok(sum)
}

pub(super) async fn try_script(request: wire::TryScriptRequest) -> Result<wire::TryScriptReply, Status> {
    let form = match request.form() {
        wire::ScriptForm::Filter => Form::Filter,
        wire::ScriptForm::Switch => Form::Switch,
        wire::ScriptForm::Transform => Form::Transform,
        wire::ScriptForm::Text => Form::Text,
        wire::ScriptForm::Details => Form::Details,
        wire::ScriptForm::Unspecified => return Err(Status::invalid_argument("form: missing")),
    };
    let language = if request.tbel { Language::Tbel } else { Language::Js };
    let data: Value = serde_json::from_str(&request.msg).map_err(|error| Status::invalid_argument(format!("msg: {error}")))?;
    let metadata = request.metadata.into_iter().collect();
    let tried = tokio::task::spawn_blocking(move || {
        let script = Script::parse(form, language, &request.body).map_err(|refused| refused.to_string())?;
        let subject = Subject { data: &data, metadata: &metadata, kind: &request.msg_type };
        Engine::new(Clock::start()).run(&Arc::new(script), subject).map_err(|failure| failure.to_string())
    });
    let outcome = match tried.await.map_err(|error| Status::internal(error.to_string()))? {
        Ok(answer) => wire::try_script_reply::Outcome::Answer(shown(answer)),
        Err(failure) => wire::try_script_reply::Outcome::Failure(failure),
    };
    Ok(wire::TryScriptReply { outcome: Some(outcome) })
}

fn shown(answer: Answer) -> String {
    let message = |said: Said| json!({ "msg": said.data, "metadata": said.metadata, "msgType": said.kind });
    match answer {
        Answer::Truth(truth) => truth.to_string(),
        Answer::Labels(labels) => json!(labels).to_string(),
        Answer::Messages(mut messages) if messages.len() == 1 => message(messages.remove(0)).to_string(),
        Answer::Messages(messages) => Value::Array(messages.into_iter().map(message).collect()).to_string(),
        Answer::Text(text) => Value::String(text).to_string(),
        Answer::Details(details) => details.to_string(),
    }
}
