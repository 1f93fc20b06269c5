//! Persistent calls on a whole shard: at every moment each of them is open in memory or over on the disk, and read as one. Those that rules
//! make are there once their message was acknowledged, wherever a crash falls.

use std::time::Duration;

use schemas::chain::Chain;
use schemas::generated::{kept, query::CallStatus};
use serde_json::json;
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

/// What is stored of "A" makes a persistent call, whose outcome becomes the client attribute "n": 1, or 0 without one.
fn calling() -> Chain {
    let node = |id: u128, class: &str, configuration: serde_json::Value| {
        let (id, class) = (Uuid::from_u128(id), format!("org.thingsboard.rule.engine.{class}"));
        json!({ "id": { "entityType": "RULE_NODE", "id": id }, "type": class, "name": class, "configuration": configuration })
    };
    let script = |id, script: &str| node(id, "transform.TbTransformMsgNode", json!({ "scriptLang": "JS", "jsScript": script }));
    let ask = "metadata.persistent = 'true'; return {msg: {method: 'm', params: 1}, metadata: metadata, msgType: msgType};";
    let tell = "return {msg: {n: msg.rpcId ? 1 : 0}, metadata: metadata, msgType: 'POST_ATTRIBUTES_REQUEST'};";
    let nodes = [
        node(11, "filter.TbMsgTypeFilterNode", json!({ "messageTypes": ["TIMESERIES_UPDATED"] })),
        script(12, ask),
        node(13, "rpc.TbSendRPCRequestNode", json!({ "timeoutInSeconds": 600 })),
        script(14, tell),
        node(15, "telemetry.TbMsgAttributesNode", json!({ "scope": "CLIENT_SCOPE" })),
    ];
    let edges = [(0, "True", 1), (1, "Success", 2), (2, "Success", 3), (2, "Failure", 3), (3, "Success", 4)]
        .map(|(from, label, to)| json!({ "fromIndex": from, "toIndex": to, "type": label }));
    Chain::parse(&json!({ "firstNodeIndex": 0, "nodes": nodes, "connections": edges }).to_string()).expect("valid")
}

#[test]
fn a_call_that_a_rule_makes_is_stored_once_wherever_a_crash_falls() {
    let mut made = 0;
    for (turns, keeping) in (0..10).flat_map(|turns| [(turns, 0), (turns, 1), (turns, 99)]) {
        let mut fleet = Fleet::start(engines(1), 1);
        fleet.draw(&calling());
        let said = |reply| Query::SaveTimeseries { payload: br#"{"t":1}"#.to_vec(), ttl_s: 0, as_written: false, reply };
        let mut said = ask(&mut fleet, said);
        (0..turns).for_each(|_| fleet.turn());
        let acknowledged = said.try_recv().is_ok_and(|said| said.is_ok());
        let mut fleet = Fleet::start(fleet.crash(&[keeping]), 2);
        fleet.draw(&calling());
        if acknowledged {
            fleet.turn_until("its message has gone on", |fleet| fleet.attribute("A").is_some());
        }
        (0..50).for_each(|_| fleet.turn());
        let calls = ask(&mut fleet, |reply| Query::Calls { id: None, reply });
        let calls = answered(&mut fleet, calls).expect("an answer").len();
        let expected = if calls == 0 { None } else { Some(1) };
        assert_eq!((fleet.attribute("A"), calls <= 1), (expected, true), "{turns} turns, keeping {keeping}: {calls} calls");
        assert!(calls == 1 || !acknowledged, "{turns} turns, keeping {keeping}");
        made += calls;
    }
    assert!(made > 0);
}
