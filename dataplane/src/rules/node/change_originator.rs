//! Change originator: who the originator is from this node on. The message goes on where the new one lives (DESIGN 8.3, 8). Never evaluates
//! anything for another originator than the message's own.

use schemas::chain::{EntityType, NewOriginator, Owner};
use schemas::config::End;

use crate::rules::node::{Next, SUCCESS, Scene};

/// A message whose originator stays who it was goes on at once.
pub(super) fn run(to: &NewOriginator, scene: &Scene<'_, '_>) -> Next {
    let found = match to {
        NewOriginator::Owner(owner) => {
            let kind = if *owner == Owner::Customer { EntityType::Customer } else { EntityType::Tenant };
            scene.world.owner(*owner).map(|id| End { kind, id })
        }
        NewOriginator::Related(query) => scene.world.neighbours(query).into_iter().next(),
        // What is said of an alarm has its originator already; an alarm itself says nothing here.
        NewOriginator::OfAlarm => return Next::Fail("the originator is no alarm".to_owned()),
    };
    match (found, scene.world.may_forward()) {
        (None, _) => Next::Fail("Failed to find new originator!".to_owned()),
        (Some(same), _) if same.id == scene.message.originator => Next::By(SUCCESS),
        (Some(_), Err(reason)) => Next::Fail(reason),
        (Some(to), Ok(())) => Next::Forward(to),
    }
}
