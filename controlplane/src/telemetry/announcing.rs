//! What rule chains are told of writes and asked by people, over the Query service. Never decides what is said.

use std::{collections::HashMap, time::Duration};

use schemas::generated::query as wire;
use uuid::Uuid;

use crate::{
    domain::Announcement,
    telemetry::{
        Client, Entity, Unanswered,
        client::{WRITE_TIMEOUT, to_wire, within},
    },
};

/// How much longer than a request waits its answer may be on the way.
const ANSWER_GRACE: Duration = Duration::from_secs(2);

impl Client {
    /// Has announcements taken by the shards of their entities, those of one partition in the order of their numbers. Says of each number
    /// whether it was taken, durably, now or earlier.
    ///
    /// # Errors
    /// [`Unanswered`].
    pub async fn announce(&self, announcements: Vec<(i64, Announcement)>) -> Result<HashMap<i64, bool>, Unanswered> {
        let numbers: Vec<i64> = announcements.iter().map(|(number, _)| *number).collect();
        let request = wire::AnnounceRequest { announcements: announcements.into_iter().map(announcement).collect() };
        let mut stub = self.0.clone();
        let reply = within(WRITE_TIMEOUT, stub.announce(request)).await?;
        if reply.taken.len() != numbers.len() {
            return Err(Unanswered::Refused(format!("{} announcements were answered of {}", reply.taken.len(), numbers.len())));
        }
        Ok(numbers.into_iter().zip(reply.taken).collect())
    }

    /// Has a message enter the chain of its entity, and waits for what that answers to the request: JSON, or `None` at the end of the time.
    ///
    /// # Errors
    /// [`Unanswered`].
    pub async fn ask_chain(&self, request: Uuid, message: Announcement, timeout_ms: u32) -> Result<Option<String>, Unanswered> {
        let message = Some(announcement((0, message)));
        let asked = wire::AskChainRequest { message, request_id: request.as_bytes().to_vec(), timeout_ms };
        let mut stub = self.0.clone();
        let deadline = Duration::from_millis(timeout_ms.into()) + ANSWER_GRACE;
        Ok(within(deadline, stub.ask_chain(asked)).await?.answer)
    }
}

fn announcement((number, said): (i64, Announcement)) -> wire::Announcement {
    let Announcement { tenant, of, kind, chain, metadata, data } = said;
    wire::Announcement {
        entity: Some(to_wire(&Entity { kind: of.kind.name(), id: of.id, tenant })),
        number: u64::try_from(number).unwrap_or(0),
        kind: kind.name().to_owned(),
        metadata: metadata.into_iter().collect(),
        data,
        chain_id: chain.map(|chain| chain.as_bytes().to_vec()).unwrap_or_default(),
    }
}
