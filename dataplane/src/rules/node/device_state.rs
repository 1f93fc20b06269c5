//! Device state: what a message says of a device that is connected to something else. As in ThingsBoard, a node says it of a device no more
//! often than once a second, 30 times a minute and 60 times an hour, which it remembers durably. Never says what follows from it.

use schemas::chain::{DeviceEvent, EntityType};
use uuid::Uuid;

use crate::clock::Timestamp;
use crate::effect::Effect;
use crate::rules::carried::{Carried, name};
use crate::rules::node::{Next, SUCCESS, Scene};

const RATE_LIMITED: usize = 1;
/// How often, and in how many milliseconds.
const LIMITS: [(i64, i64); 3] = [(1, 1_000), (30, 60_000), (60, 3_600_000)];

pub(super) fn run(event: DeviceEvent, node: Uuid, carried: &Carried<'_>, scene: &mut Scene<'_, '_>) -> Next {
    let message = scene.message;
    if message.originator_type != EntityType::Device {
        return Next::Fail(format!(
            "the originator is of type {}: only a DEVICE has a connection",
            message.originator_type.name()
        ));
    }
    if node.is_nil() {
        return Next::Fail("the node has no id under which it could remember".to_owned());
    }
    if let Err(reason) = scene.world.may_forward() {
        return Next::Fail(reason);
    }
    let before = scene.numbers(node).unwrap_or_default();
    let Some(spent) = spend(before, message.received.0) else { return Next::By(RATE_LIMITED) };
    scene.keep_numbers(node, spent);
    let at = carried.metadata(name::TS).and_then(|ts| ts.parse().ok()).map_or(message.received, Timestamp);
    scene.into.push(Effect::Connectivity { node, event, at });
    Next::By(SUCCESS)
}

/// Of each limit is remembered until when its bucket is not full again; `None`: one of them is empty.
fn spend(before: [i64; 3], now: i64) -> Option<[i64; 3]> {
    let mut after = before;
    for (full_at, (times, ms)) in after.iter_mut().zip(LIMITS) {
        let most = now.saturating_add(ms);
        // Later than that it is only where the clock was set back.
        let base = if *full_at > most { now } else { now.max(*full_at) };
        *full_at = base.saturating_add(ms / times);
        if *full_at > most {
            return None;
        }
    }
    Some(after)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// How many of those that come every `every` milliseconds pass in the first `ms`.
    fn pass(every: i64, ms: i64) -> usize {
        let mut state = [0; 3];
        let mut pass = 0;
        for now in (1_000_000..1_000_000 + ms).step_by(usize::try_from(every).unwrap()) {
            if let Some(spent) = spend(state, now) {
                state = spent;
                pass += 1;
            }
        }
        pass
    }

    #[test]
    fn each_limit_holds() {
        assert_eq!(pass(100, 1_000), 1);
        assert_eq!(pass(1_000, 40_000), 40);
        assert_eq!(pass(1_000, 70_000), 61, "59 of the minute's and two that time adds, then the hour's is empty");
        assert_eq!(pass(60_000, 7_200_000), 120);
    }

    #[test]
    fn a_clock_that_is_set_back_closes_nothing_for_ever() {
        let ahead = spend([0; 3], 10_000_000).unwrap();
        assert_eq!(spend(ahead, 1_000_000), spend([0; 3], 1_000_000));
        assert!(spend([i64::MAX; 3], 1_000_000).is_some());
    }
}
