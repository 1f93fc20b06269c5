//! Script filter, switch and transformation: what is simple is evaluated in place, else the tenant's engine answers; what is answered
//! follows.

use std::sync::Arc;

use schemas::script::Script;

use crate::rules::carried::{Carried, Changed, Kind, name};
use crate::rules::node::{Next, Scene, decide};
use crate::rules::simple;
use crate::script::{Answer, Said, Subject};

pub(super) fn run(script: &Arc<Script>, carried: &Carried<'_>, scene: &mut Scene<'_, '_>) -> Next {
    match simple::answer(script, carried) {
        Some(simple::Answer::Truth(truth)) => decide(truth),
        Some(simple::Answer::Labels(labels)) => Next::Said(labels),
        Some(simple::Answer::Message(changed)) => Next::With(changed),
        None => by_engine(script, carried, scene),
    }
}

/// Asks the tenant's engine.
pub(in crate::rules) fn by_engine(script: &Arc<Script>, carried: &Carried<'_>, scene: &mut Scene<'_, '_>) -> Next {
    // A script sees everything, so there is no cheaper way to it than the whole message.
    let whole = match carried {
        Carried::AsCame(_) => &carried.change(),
        Carried::Changed(changed) => &**changed,
    };
    let subject = Subject { data: &whole.data, metadata: &whole.metadata, kind: whole.kind.name() };
    match scene.world.run(script, subject) {
        Ok(Answer::Truth(truth)) => decide(truth),
        Ok(Answer::Labels(labels)) => Next::Said(labels),
        Ok(Answer::Messages(mut messages)) if messages.len() == 1 => Next::With(made(messages.remove(0), whole)),
        Ok(Answer::Messages(messages)) if messages.is_empty() => Next::Fail("the script answered no message".to_owned()),
        Ok(Answer::Messages(messages)) => Next::Each(messages.into_iter().map(|said| made(said, whole)).collect()),
        Ok(Answer::Details(_)) => Next::Fail("details are no outcome".to_owned()),
        Ok(Answer::Text(text)) => Next::Fail(format!("a text is no outcome: {text}")),
        Err(failure) => Next::Fail(failure.to_string()),
    }
}

/// A ts that a script sets is as good as the device's own.
fn made(said: Said, before: &Changed) -> Changed {
    let Said { data, metadata, kind } = said;
    let own_ts = before.own_ts || metadata.get(name::TS) != before.metadata.get(name::TS);
    Changed { kind: Kind::parse(&kind), metadata, data, own_ts }
}
