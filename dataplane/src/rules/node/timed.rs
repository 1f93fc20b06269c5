//! Nodes at which messages wait for time: whether one may, and for how long; what becomes of those that waited together.

use schemas::chain::timed::{Amount, Deduplicate, Delay, DelayUnit, Strategy};
use serde_json::{Value, json};
use uuid::Uuid;

use crate::clock::Timestamp;
use crate::effect::Effect;
use crate::limits::DATA_BYTES_MAX;
use crate::owed::{Departed, Waits};
use crate::rules::carried::{Carried, name};
use crate::rules::node::{Next, Scene};
use crate::rules::template::fill;

pub(super) fn delay(delay: &Delay, node: Uuid, carried: &Carried<'_>, scene: &Scene<'_, '_>) -> Next {
    let period_ms = match period_ms(delay, carried) {
        Ok(period_ms) => period_ms,
        Err(reason) => return Next::Fail(reason),
    };
    match scene.world.waiting(node) {
        Ok((at_node, _)) if at_node + staged(node, scene) >= delay.pending_max => Next::Fail(full(delay.pending_max)),
        Ok(_) => Next::Wait(Waits::Alone, after(scene.message.received, period_ms)),
        Err(reason) => Next::Fail(reason),
    }
}

fn period_ms(delay: &Delay, carried: &Carried<'_>) -> Result<u64, String> {
    let count = match &delay.period {
        Amount::Fixed(count) => *count,
        Amount::Template(template) => {
            let text = fill(template, carried);
            text.trim().parse().map_err(|_| format!("{text:?} is no period: expected a whole number"))?
        }
    };
    let unit_ms = match &delay.unit {
        DelayUnit::Fixed(unit_ms) => *unit_ms,
        DelayUnit::Template(template) => {
            let text = fill(template, carried);
            DelayUnit::parse(text.trim()).ok_or_else(|| format!("{text:?} is no unit: expected {}", DelayUnit::NAMES))?
        }
    };
    Ok(u64::from(count) * unit_ms)
}

/// A message is due when its interval is over whatever came before it: no later than then it is part of a pack.
pub(super) fn deduplicate(with: &Deduplicate, node: Uuid, carried: &Carried<'_>, scene: &Scene<'_, '_>) -> Next {
    let taken = scene.message.received;
    let said = carried.metadata(name::TS).and_then(|ts| ts.parse().ok()).map_or(taken, Timestamp);
    match scene.world.waiting(node) {
        Ok((_, of_originator)) if of_originator + staged(node, scene) >= with.pending_max => Next::Fail(full(with.pending_max)),
        Ok(_) => Next::Wait(Waits::Together, after(taken.max(said), with.interval_ms)),
        Err(reason) => Next::Fail(reason),
    }
}

fn full(most: usize) -> String {
    format!("{most} messages wait at the node already")
}

fn after(from: Timestamp, ms: u64) -> Timestamp {
    Timestamp(from.0.saturating_add(i64::try_from(ms).unwrap_or(i64::MAX)))
}

/// Messages that this evaluation has left at the node already.
fn staged(node: Uuid, scene: &Scene<'_, '_>) -> usize {
    scene.into.iter().filter(|effect| matches!(effect, Effect::Wait(waiting) if waiting.departed.node().1 == node)).count()
}

/// What of an originator's waits at a node that deduplicates.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pending {
    pub number: u64,
    pub taken: Timestamp,
    pub departed: Departed,
}

/// One message, and the numbers of those that it stands for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pack {
    pub departed: Departed,
    pub of: Vec<u64>,
}

/// The messages that go on now in place of those whose interval is over. An interval begins with the least ts.
pub(in crate::rules) fn packs(with: &Deduplicate, mut pending: Vec<Pending>, now: Timestamp) -> Vec<Pack> {
    let ts = |one: &Pending| one.departed.metadata.get(name::TS).and_then(|ts| ts.parse().ok()).unwrap_or(one.taken.0);
    let mut packs = Vec::new();
    while let Some(start) = pending.iter().map(ts).min() {
        let end = after(Timestamp(start), with.interval_ms);
        if end > now {
            break;
        }
        let (pack, rest) = pending.into_iter().partition::<Vec<_>, _>(|one| ts(one) < end.0);
        pending = rest;
        match &with.strategy {
            Strategy::All { kind } => packs.extend(merged(kind, pack, now)),
            Strategy::First | Strategy::Last => {
                let of = pack.iter().map(|one| one.number).collect();
                // Of those with the same ts the one that came first, as in ThingsBoard.
                let chosen = if with.strategy == Strategy::First {
                    pack.into_iter().min_by_key(ts)
                } else {
                    pack.into_iter().rev().max_by_key(ts)
                };
                packs.extend(chosen.map(|chosen| Pack { departed: chosen.departed, of }));
            }
        }
    }
    packs
}

/// All of a pack in one message, or in several if one would be too large.
fn merged(kind: &str, pack: Vec<Pending>, now: Timestamp) -> Vec<Pack> {
    let mut packs: Vec<(Pack, usize)> = Vec::new();
    for Pending { number, departed, .. } in pack {
        let data: Value = serde_json::from_str(&departed.data).unwrap_or_default();
        let text = json!({ "msg": data, "metadata": departed.metadata }).to_string();
        match packs.last_mut() {
            Some((last, bytes)) if *bytes + text.len() < DATA_BYTES_MAX => {
                last.departed.data.push(',');
                last.departed.data.push_str(&text);
                last.of.push(number);
                *bytes += text.len() + 1;
            }
            _ => {
                let metadata = [(name::TS.to_owned(), now.0.to_string())].into();
                let (path, data, bytes) = (departed.path, format!("[{text}"), text.len() + 1);
                let departed = Departed { path, kind: kind.to_owned(), metadata, data, ..Departed::default() };
                packs.push((Pack { departed, of: vec![number] }, bytes));
            }
        }
    }
    packs.iter_mut().for_each(|(pack, _)| pack.departed.data.push(']'));
    packs.into_iter().map(|(pack, _)| pack).collect()
}
