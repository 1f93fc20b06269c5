//! What the control plane has to say of entities, brought to the shards that own them: partition by partition, each in the order of
//! the numbers, a few at a time; and people's requests that a chain answers. Never sends what is behind something that was not taken.

use std::collections::{HashMap, VecDeque};
use std::time::Duration;

use schemas::chain::EntityType;
use schemas::config::End;
use schemas::generated::query as wire;
use schemas::id::{ChainId, EntityId, Partition, uuid};
use tokio::sync::oneshot;
use tokio::task::JoinSet;
use tokio::time::timeout;
use tonic::Status;

use super::{Queries, convert, post, status};
use crate::limits;
use crate::query::{Entering, Query, Target};
use crate::shard::{Event, Shards};

/// A message, its number, and its place in the request.
type Placed = (usize, u64, Entering);

pub(super) async fn announce(shards: &Shards, request: wire::AnnounceRequest) -> Result<wire::AnnounceReply, Status> {
    let announcements = request.announcements;
    if announcements.len() > limits::ANNOUNCEMENTS_AT_ONCE_MAX {
        let most = limits::ANNOUNCEMENTS_AT_ONCE_MAX;
        return Err(Status::invalid_argument(format!("announcements: {} of them, at most {most}", announcements.len())));
    }
    let mut taken = vec![false; announcements.len()];
    let mut by_partition: HashMap<Partition, VecDeque<Placed>> = HashMap::new();
    for (place, announcement) in announcements.into_iter().enumerate() {
        let number = announcement.number;
        let entering = entering(announcement)?;
        by_partition.entry(Partition::of(entering.originator.id)).or_default().push_back((place, number, entering));
    }
    let mut bringing = JoinSet::new();
    for (partition, messages) in by_partition {
        bringing.spawn(bring(shards.clone(), partition, messages));
    }
    while let Some(brought) = bringing.join_next().await {
        for place in brought.map_err(|error| Status::internal(error.to_string()))? {
            if let Some(taken) = taken.get_mut(place) {
                *taken = true;
            }
        }
    }
    Ok(wire::AnnounceReply { taken })
}

/// Brings the messages of one partition to its shard; gives back the places of those that it took.
async fn bring(shards: Shards, to: Partition, messages: VecDeque<Placed>) -> Vec<usize> {
    let (mut taken, mut messages) = (Vec::new(), messages.into_iter().peekable());
    while messages.peek().is_some() {
        let mut places = Vec::new();
        let some = messages.by_ref().take(limits::ANNOUNCEMENTS_PER_PARTITION_MAX).map(|(place, number, entering)| {
            places.push((place, number));
            (number, entering)
        });
        let some = some.collect();
        let (reply, answer) = oneshot::channel();
        let asked = async {
            post(shards.of(to), Event::Announcements { to, messages: some, reply }).await.ok()?;
            answer.await.ok()?.ok()
        };
        let deadline = Duration::from_millis(limits::ANNOUNCED_MS_MAX);
        let Ok(Some(up_to)) = timeout(deadline, asked).await else { return taken };
        taken.extend(places.iter().filter(|(_, number)| *number <= up_to).map(|(place, _)| *place));
        if places.last().is_some_and(|(_, last)| *last > up_to) {
            return taken;
        }
    }
    taken
}

/// Has a message enter its chain, and waits for what that answers to the request.
pub(super) async fn ask_chain(queries: &Queries, request: wire::AskChainRequest) -> Result<wire::AskChainReply, Status> {
    let wire::AskChainRequest { message, request_id, timeout_ms } = request;
    let message = message.ok_or_else(|| Status::invalid_argument("message: missing"))?;
    let request = uuid("request_id", &request_id).map_err(|error| Status::invalid_argument(error.to_string()))?;
    let entering = Box::new(entering(message)?);
    let target = Target { entity: entering.originator.id, tenant: entering.tenant };
    let (reply, answer) = oneshot::channel();
    // Before it enters: the answer may be there at once.
    post(queries.shards.owner(EntityId(request)), Event::Await { tenant: target.tenant, request, reply }).await?;
    let asked = async {
        queries.ask(target, |reply| Query::Enter { entering, reply }).await?;
        match answer.await {
            Ok(answer) => answer.map_err(status),
            Err(_) => Err(Status::unavailable("the shard ended")),
        }
    };
    let deadline = Duration::from_millis(u64::from(timeout_ms).min(limits::CALL_MS_MAX));
    // Who waits no longer is forgotten with the next ones.
    let answer = timeout(deadline, asked).await.ok().transpose()?;
    Ok(wire::AskChainReply { answer })
}

fn entering(announcement: wire::Announcement) -> Result<Entering, Status> {
    let wire::Announcement { entity, number: _, kind, metadata, data, chain_id } = announcement;
    let invalid = |error: schemas::id::InvalidId| Status::invalid_argument(error.to_string());
    let kind_of = entity.as_ref().map(|entity| entity.r#type.clone()).unwrap_or_default();
    let unknown = || Status::invalid_argument(format!("entity.type: {kind_of} is no entity type"));
    let kind_of = EntityType::parse(&kind_of).ok_or_else(unknown)?;
    let target = convert::target(entity)?;
    let chain = if chain_id.is_empty() { None } else { Some(ChainId(uuid("chain_id", &chain_id).map_err(invalid)?)) };
    let originator = End { kind: kind_of, id: target.entity };
    let metadata = metadata.into_iter().collect();
    Ok(Entering { tenant: target.tenant, originator, kind, metadata, data, chain })
}
