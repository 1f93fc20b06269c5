//! Calls to the outside that were given up: asked of all shards, whose answers become one. Never reads a store itself.

use std::time::Duration;

use schemas::generated::query as wire;
use schemas::id::{ChainId, EntityId, InvalidId, TenantId, uuid};
use tokio::sync::oneshot;
use tokio::time::timeout;
use tonic::Status;

use super::{post, status};
use crate::clock::{Clock, Timestamp};
use crate::limits;
use crate::query::{DeadLetters, DeadLettersAsk, EndedDeadLetters, FoundDeadLetters, Reply};
use crate::shard::{Event, Mailbox, Shards};

pub(super) async fn found(shards: &Shards, request: wire::DeadLettersRequest) -> Result<wire::DeadLettersReply, Status> {
    let sought = sought(request.filter, Timestamp(i64::MAX))?;
    let skip = usize::try_from(request.skip).unwrap_or(usize::MAX);
    let limit = usize::try_from(request.limit).unwrap_or(usize::MAX);
    let most = skip.saturating_add(limit);
    if most > limits::DEAD_LETTERS_PER_ANSWER_MAX {
        let most = limits::DEAD_LETTERS_PER_ANSWER_MAX;
        return Err(Status::invalid_argument(format!("only the last {most} are shown")));
    }
    let with_message = request.with_message;
    let mut all = FoundDeadLetters::default();
    for mailbox in shards.all() {
        let asked = |reply| DeadLettersAsk::Find { most, with_message, reply };
        let FoundDeadLetters { letters, total, partial } = ask(mailbox, sought, asked).await?;
        all.letters.extend(letters);
        all.total += total;
        all.partial |= partial;
    }
    let last_first = |(originator, letter): &(EntityId, schemas::generated::kept::DeadLetter)| {
        std::cmp::Reverse((letter.given_up_ts, letter.number, *originator))
    };
    all.letters.sort_by_key(last_first);
    let letters = all.letters.into_iter().skip(skip).take(limit).map(|(originator, letter)| wire::DeadLetter {
        originator_id: originator.0.as_bytes().to_vec(),
        letter: prost::Message::encode_to_vec(&letter),
    });
    Ok(wire::DeadLettersReply { letters: letters.collect(), total: all.total, partial: all.partial })
}

/// Ends as many as there is time for.
pub(super) async fn end(
    shards: &Shards,
    request: wire::EndDeadLettersRequest,
    clock: Clock,
) -> Result<wire::EndDeadLettersReply, Status> {
    let begun = clock.now();
    // Those that are given up again meanwhile are not meant, so there is an end.
    let sought = sought(request.filter, begun.timestamp)?;
    let mut told = wire::EndDeadLettersReply::default();
    for mailbox in shards.all() {
        loop {
            let again = request.again;
            let asked = |reply| DeadLettersAsk::End { again, reply };
            let EndedDeadLetters { ended, left, partial } = ask(mailbox, sought, asked).await?;
            told.ended += ended;
            told.left |= left > 0;
            if !partial || left > 0 || ended == 0 {
                told.left |= partial;
                break;
            }
            if clock.now().instant.ms_since(begun.instant) > limits::DEAD_LETTERS_END_MS {
                told.left = true;
                return Ok(told);
            }
        }
    }
    Ok(told)
}

/// Asks one shard. A reply dropped unanswered is an error, never a hang.
async fn ask<T: Send>(
    mailbox: &Mailbox,
    sought: DeadLetters,
    asked: impl FnOnce(Reply<T>) -> DeadLettersAsk + Send,
) -> Result<T, Status> {
    let (reply, answer) = oneshot::channel();
    post(mailbox, Event::DeadLetters { sought, ask: asked(reply) }).await?;
    match timeout(Duration::from_millis(limits::QUERY_DEADLINE_MS), answer).await {
        Ok(Ok(answer)) => answer.map_err(status),
        Ok(Err(_)) => Err(Status::unavailable("the shard dropped the query unanswered")),
        Err(_) => Err(Status::deadline_exceeded("a shard did not answer")),
    }
}

fn sought(filter: Option<wire::DeadLetterFilter>, until: Timestamp) -> Result<DeadLetters, Status> {
    let wrong = |error: InvalidId| Status::invalid_argument(error.to_string());
    let filter = filter.ok_or_else(|| Status::invalid_argument("filter: missing"))?;
    let given = |field, bytes: &[u8]| if bytes.is_empty() { Ok(None) } else { uuid(field, bytes).map(Some).map_err(wrong) };
    Ok(DeadLetters {
        tenant: TenantId(uuid("filter.tenant_id", &filter.tenant_id).map_err(wrong)?),
        originator: given("filter.originator_id", &filter.originator_id)?.map(EntityId),
        chain: given("filter.chain_id", &filter.chain_id)?.map(ChainId),
        number: filter.number,
        until,
    })
}
