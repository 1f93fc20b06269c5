//! Persistent calls on a whole shard: at every moment each of them is open in memory or over on the disk, and read as one.

use std::time::Duration;

use schemas::generated::{kept, query::CallStatus};
use tokio::sync::oneshot;
use uuid::Uuid;

use super::fleet::{Fleet, TENANT, device, engines};
use crate::clock::Timestamp;
use crate::query::{Call, Called, Query, QueryError, Reply, Target};
use crate::shard::Event;

/// Asks the only shard about "A"; the answer comes with later turns.
fn ask<T>(fleet: &mut Fleet, query: impl FnOnce(Reply<T>) -> Query) -> oneshot::Receiver<Result<T, QueryError>> {
    let (reply, answer) = oneshot::channel();
    let target = Target { entity: device("A").into(), tenant: TENANT };
    fleet.shards[0].take_event(Event::Query { target, query: query(reply) });
    answer
}

fn answered<T>(fleet: &mut Fleet, mut answer: oneshot::Receiver<Result<T, QueryError>>) -> Result<T, QueryError> {
    let mut answered = None;
    fleet.turn_until("an answer", |_| {
        answered = answer.try_recv().ok();
        answered.is_some()
    });
    answered.expect("it was waited for")
}

#[test]
fn a_call_is_found_in_the_turn_in_which_it_expires() {
    let mut fleet = Fleet::start(engines(1), 1);
    let id = Uuid::from_u128(7);
    let call = Call {
        id,
        method: "m".into(),
        params: "1".into(),
        one_way: false,
        persistent: true,
        expires: Timestamp(fleet.clock.now().timestamp.0 + 2_000),
        retries: 0,
        additional_info: String::new(),
    };
    let answer = ask(&mut fleet, |reply| Query::Call { call, reply });
    assert_eq!(answered(&mut fleet, answer), Ok(Called::Queued));
    let shard = &mut fleet.shards[0];
    shard.now.timestamp = Timestamp(shard.now.timestamp.0 + 3_000);
    shard.expire_calls();
    let answer = ask(&mut fleet, |reply| Query::Calls { id: Some(id), reply });
    // The reader lane has all the time it wants before the turn's batch is written.
    std::thread::sleep(Duration::from_millis(50));
    let calls: Vec<(Uuid, kept::Call)> = answered(&mut fleet, answer).expect("an answer");
    let found: Vec<(Uuid, i32)> = calls.iter().map(|(id, call)| (*id, call.status)).collect();
    assert_eq!(found, [(id, CallStatus::Expired.into())]);
}
