//! Which of the things that saving is happen for a message, by a node's processing settings. Of what happens once in an interval the node
//! remembers, durably, in which it happened last. Saves nothing.

use schemas::chain::processing::{Processing, Strategy};
use uuid::Uuid;

use crate::clock::Timestamp;
use crate::effect::Saving;
use crate::rules::node::Scene;

/// `ts` is the message's own. `Err`: why the node cannot say.
pub(super) fn decide(of: Processing, node: Uuid, ts: Timestamp, scene: &mut Scene<'_, '_>) -> Result<Saving, String> {
    if of.remembers() && node.is_nil() {
        return Err("the node has no id under which it could remember".to_owned());
    }
    let before = if of.remembers() { scene.numbers(node) } else { None };
    let mut last = before.unwrap_or([i64::MIN; 3]);
    let mut happens = [false; 3];
    for ((strategy, last), happens) in of.each().into_iter().zip(&mut last).zip(&mut happens) {
        *happens = match strategy {
            Strategy::EveryMessage => true,
            Strategy::Skip => false,
            Strategy::Deduplicate(interval_s) => {
                let interval = ts.0.div_euclid(i64::from(interval_s) * 1_000);
                std::mem::replace(last, interval) != interval
            }
        };
    }
    if of.remembers() && before != Some(last) {
        scene.keep_numbers(node, last);
    }
    let [store, live, calculate] = happens;
    Ok(Saving { store, live, calculate })
}
