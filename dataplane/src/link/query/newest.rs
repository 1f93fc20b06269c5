//! The newest values of many entities in one question, for lists: each entity is asked of its own shard, some at a time. Never
//! reads a store itself.

use schemas::generated::query as wire;
use schemas::telemetry::Scope;
use tokio::task::JoinSet;
use tonic::Status;

use super::{Queries, convert};
use crate::limits;
use crate::query::{Query, Target};

/// What is asked of each.
#[derive(Clone, Debug)]
struct Wanted {
    series: Vec<String>,
    /// `None`: every scope.
    attributes: Vec<(Option<Scope>, Vec<String>)>,
}

pub(super) async fn latest_of(queries: &Queries, request: wire::LatestOfRequest) -> Result<wire::LatestOfReply, Status> {
    let wire::LatestOfRequest { entities, series, attributes } = request;
    if entities.len() > limits::LISTED_ENTITIES_MAX || series.len() + attributes.len() > limits::LISTED_KEYS_MAX {
        let (entities, keys) = (limits::LISTED_ENTITIES_MAX, limits::LISTED_KEYS_MAX);
        return Err(Status::invalid_argument(format!("at most {entities} entities and {keys} keys")));
    }
    let mut scopes: Vec<(Option<Scope>, Vec<String>)> = Vec::new();
    for wire::AttributeKey { scope, key } in attributes {
        let scope = convert::any_scope(scope)?;
        match scopes.iter_mut().find(|(known, _)| *known == scope) {
            Some((_, keys)) => keys.push(key),
            None => scopes.push((scope, vec![key])),
        }
    }
    let wanted = Wanted { series, attributes: scopes };
    let targets: Vec<Target> = entities.into_iter().map(|entity| convert::target(Some(entity))).collect::<Result<_, _>>()?;
    let mut answers = vec![wire::LatestOf::default(); targets.len()];
    let mut asked = JoinSet::new();
    for (place, target) in targets.into_iter().enumerate() {
        if asked.len() >= limits::LISTED_AT_ONCE_MAX {
            take(&mut answers, asked.join_next().await)?;
        }
        let (queries, wanted) = (queries.clone(), wanted.clone());
        asked.spawn(async move { (place, newest(&queries, target, wanted).await) });
    }
    while let Some(done) = asked.join_next().await {
        take(&mut answers, Some(done))?;
    }
    Ok(wire::LatestOfReply { entities: answers })
}

type Done = Result<(usize, Result<wire::LatestOf, Status>), tokio::task::JoinError>;

fn take(answers: &mut [wire::LatestOf], done: Option<Done>) -> Result<(), Status> {
    let Some(done) = done else { return Ok(()) };
    let (place, answer) = done.map_err(|error| Status::internal(error.to_string()))?;
    if let Some(into) = answers.get_mut(place) {
        *into = answer?;
    }
    Ok(())
}

async fn newest(queries: &Queries, target: Target, wanted: Wanted) -> Result<wire::LatestOf, Status> {
    let mut answer = wire::LatestOf::default();
    // Here no keys are none.
    if !wanted.series.is_empty() {
        let series = queries.ask(target, |reply| Query::Latest { keys: wanted.series, reply }).await?;
        answer.series = convert::all_series(series);
    }
    for (scope, keys) in wanted.attributes {
        let attributes = queries.ask(target, |reply| Query::Attributes { scope, keys, reply }).await?;
        answer.attributes.extend(convert::all_attributes(attributes));
    }
    Ok(answer)
}
