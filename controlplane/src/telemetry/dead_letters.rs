//! Calls to the outside that were given up, over the Query service: asked for, made once more, forgotten. Never retries.

use prost::Message;
use schemas::generated::{kept, query as wire};
use uuid::Uuid;

use crate::{
    domain::{DeadLetter, DeadLetterFilter, DeadLetterId, DeadLettersEnded},
    telemetry::{
        Client, Unanswered,
        client::{READ_TIMEOUT, WRITE_TIMEOUT, within},
    },
};

/// Part of a list, and how long the list is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FoundDeadLetters {
    /// The last one first.
    pub letters: Vec<DeadLetter>,
    pub total: u64,
    /// There are more than were counted.
    pub partial: bool,
}

impl Client {
    /// `limit` of a tenant's calls that were given up, behind the `skip` last ones.
    ///
    /// # Errors
    /// [`Unanswered`]; so does the other function.
    pub async fn dead_letters(
        &self,
        tenant: Uuid,
        filter: DeadLetterFilter,
        (skip, limit): (u32, u32),
        with_message: bool,
    ) -> Result<FoundDeadLetters, Unanswered> {
        let mut stub = self.0.clone();
        let request = wire::DeadLettersRequest { filter: Some(to_wire(tenant, filter)), skip, limit, with_message };
        let reply = within(READ_TIMEOUT, stub.dead_letters(request)).await?;
        let letters = reply.letters.into_iter().filter_map(letter).collect();
        Ok(FoundDeadLetters { letters, total: reply.total, partial: reply.partial })
    }

    /// Makes such calls `again`, or forgets them. Answered when that is durable, not when they are made.
    ///
    /// # Errors
    /// [`Unanswered`].
    pub async fn end_dead_letters(
        &self,
        tenant: Uuid,
        filter: DeadLetterFilter,
        again: bool,
    ) -> Result<DeadLettersEnded, Unanswered> {
        let mut stub = self.0.clone();
        let request = wire::EndDeadLettersRequest { filter: Some(to_wire(tenant, filter)), again };
        let reply = within(WRITE_TIMEOUT, stub.end_dead_letters(request)).await?;
        Ok(DeadLettersEnded { ended: reply.ended, left: reply.left })
    }
}

fn to_wire(tenant: Uuid, filter: DeadLetterFilter) -> wire::DeadLetterFilter {
    let bytes = |id: Option<Uuid>| id.map(|id| id.as_bytes().to_vec()).unwrap_or_default();
    wire::DeadLetterFilter {
        tenant_id: tenant.as_bytes().to_vec(),
        originator_id: bytes(filter.originator),
        chain_id: bytes(filter.chain),
        number: filter.number,
    }
}

/// One that says something this version does not know is left out.
fn letter(found: wire::DeadLetter) -> Option<DeadLetter> {
    let kept::DeadLetter { delivery, reason, given_up_ts, number } = kept::DeadLetter::decode(&*found.letter).ok()?;
    let kept::Delivery { path, kind, metadata, data, taken_ts, .. } = delivery?;
    let place = path.last()?;
    Some(DeadLetter {
        id: DeadLetterId { originator: Uuid::from_slice(&found.originator_id).ok()?, number },
        chain: Uuid::from_slice(&place.chain).ok()?,
        node: Uuid::from_slice(&place.node).ok()?,
        kind,
        metadata: metadata.into_iter().collect(),
        data,
        taken_ms: taken_ts,
        given_up_ms: given_up_ts,
        reason,
    })
}
