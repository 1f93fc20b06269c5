//! Persistent calls on a whole shard: at every moment each of them is open in memory or over on the disk, and read as one.

use std::time::Duration;

use schemas::generated::{kept, query::CallStatus};
use tokio::sync::oneshot;
use uuid::Uuid;

use super::fleet::{Fleet, TENANT, device, engines};
use crate::clock::Timestamp;
use crate::limits;
use crate::query::{Call, Called, Query, QueryError, Reply, Target};
use crate::shard::Event;
use crate::snapshot::ShardChange;

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

/// Makes a persistent call that expires in 2 s.
fn call(fleet: &mut Fleet, id: Uuid, params: String) -> Result<Called, QueryError> {
    let call = Call {
        id,
        method: "m".into(),
        params,
        one_way: false,
        persistent: true,
        expires: Timestamp(fleet.clock.now().timestamp.0 + 2_000),
        retries: 0,
        additional_info: String::new(),
    };
    let answer = ask(fleet, |reply| Query::Call { call, reply });
    answered(fleet, answer)
}

#[test]
fn a_call_is_found_in_the_turn_in_which_it_expires() {
    let mut fleet = Fleet::start(engines(1), 1);
    let id = Uuid::from_u128(7);
    assert_eq!(call(&mut fleet, id, "1".into()), Ok(Called::Queued));
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

#[test]
fn open_calls_of_a_device_are_bounded_by_what_they_say_and_go_with_it() {
    let mut fleet = Fleet::start(engines(1), 1);
    let [first, second, third] = [1, 2, 3].map(Uuid::from_u128);
    let says = |bytes: usize| format!("\"{}\"", "1".repeat(bytes - 3));
    let too_large = call(&mut fleet, first, says(limits::PAYLOAD_BYTES_MAX + 1));
    assert!(matches!(too_large, Err(QueryError::Invalid(_))), "{too_large:?}");
    assert_eq!(call(&mut fleet, first, says(limits::PAYLOAD_BYTES_MAX / 2)), Ok(Called::Queued));
    let full = Err(QueryError::TooLarge("the device has 65536 bytes of open calls already".to_owned()));
    assert_eq!(call(&mut fleet, second, says(limits::PAYLOAD_BYTES_MAX / 2 + 1)), full);
    assert_eq!(call(&mut fleet, first, says(limits::PAYLOAD_BYTES_MAX)), Ok(Called::Queued), "in the place of the first");
    assert_eq!((call(&mut fleet, third, says(3)), fleet.shards[0].calls.len()), (full, 1));
    let forgotten = ask(&mut fleet, |reply| Query::DeleteCall { id: first, reply });
    assert_eq!(answered(&mut fleet, forgotten), Ok(()));
    assert_eq!(call(&mut fleet, second, says(3)), Ok(Called::Queued));
    assert_eq!(fleet.shards[0].calls.len(), 1);
    fleet.apply(&[ShardChange::DeviceDeleted(device("A"))]);
    assert_eq!(fleet.shards[0].calls.len(), 0);
}
