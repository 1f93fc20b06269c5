//! Math function: a formula over values of the message and its originator; the result goes into the message, an attribute or a
//! series.

use std::borrow::Cow;
use std::rc::Rc;

use schemas::chain::{Math, MathOperand, MathResult};
use serde_json::Value as Json;

use crate::effect::{Effect, Held, Saving};
use crate::message::{Entry, Reading, Readings, Scope, Value};
use crate::rules::carried::{Carried, Changed};
use crate::rules::node::delta::{number, of, rounded};
use crate::rules::node::keys::put;
use crate::rules::node::{Next, Scene};
use crate::rules::template;

pub(super) fn run(math: &Math, carried: &Carried<'_>, scene: &mut Scene<'_, '_>) -> Next {
    let mut changed = carried.change();
    match work_out(math, carried, scene, &mut changed) {
        Ok(()) => Next::With(changed),
        Err(reason) => Next::Fail(reason),
    }
}

fn work_out(math: &Math, carried: &Carried<'_>, scene: &mut Scene<'_, '_>, changed: &mut Changed) -> Result<(), String> {
    let mut values = Vec::with_capacity(math.arguments.len());
    for argument in &math.arguments {
        let found = operand(&argument.from, carried, scene, changed).or(argument.otherwise);
        values.push(found.ok_or_else(|| format!("{:?}: there is no such number", argument.from))?);
    }
    let value = math.formula.value(&values).ok_or("the result is no finite number")?;
    save(&math.result, value, carried, scene, changed)
}

fn operand(from: &MathOperand, carried: &Carried<'_>, scene: &mut Scene<'_, '_>, changed: &Changed) -> Option<f64> {
    match from {
        MathOperand::Constant(number) => Some(*number),
        MathOperand::Data(key) => number(changed.data.get(&*template::fill(key, carried))?),
        MathOperand::Metadata(key) => carried.metadata(&template::fill(key, carried))?.trim().parse().ok(),
        MathOperand::Attribute(scope, key) => {
            let (_, value) = scene.attribute(*scope, &template::fill(key, carried))?;
            number(&value.to_json())
        }
        MathOperand::Timeseries(key) => {
            let (_, value) = scene.latest(&template::fill(key, carried))?;
            number(&value.to_json())
        }
    }
}

/// A series has the result as it is, everything else with the decimals that are asked for: with none it is a whole number, cut off.
fn save(
    result: &MathResult,
    value: f64,
    carried: &Carried<'_>,
    scene: &mut Scene<'_, '_>,
    changed: &mut Changed,
) -> Result<(), String> {
    let key = match &result.to {
        MathOperand::Data(key) | MathOperand::Metadata(key) | MathOperand::Timeseries(key) | MathOperand::Attribute(_, key) => {
            template::fill(key, carried).into_owned()
        }
        // No checked chain has one.
        MathOperand::Constant(_) => return Err("a constant is no place for a result".to_owned()),
    };
    let shown = if result.precision == 0 { of(value.trunc()) } else { Json::from(rounded(value, result.precision)) };
    let (to_data, to_metadata) = match &result.to {
        MathOperand::Data(_) => (true, false),
        MathOperand::Metadata(_) => (false, true),
        MathOperand::Attribute(scope, _) => {
            let of = shown.as_i64().map_or_else(|| Value::Double(shown.as_f64().unwrap_or_default()), Value::Long);
            let (readings, scope, saving) = (one(&key, of), *scope, Saving::EVERYTHING);
            let (only_on_change, notify_device, tell) = (false, scope == Scope::Shared, None);
            scene.into.push(Effect::SaveAttributes { readings, scope, only_on_change, notify_device, tell, saving });
            (result.add_to_data, result.add_to_metadata)
        }
        _ => {
            let (readings, saving) = (one(&key, Value::Double(value)), Saving::EVERYTHING);
            scene.into.push(Effect::SaveTimeseries { readings, ttl_s: 0, use_server_ts: false, saving });
            (result.add_to_data, result.add_to_metadata)
        }
    };
    if to_metadata {
        put(changed, schemas::chain::Side::Metadata, key.clone(), shown.clone())?;
    }
    if to_data {
        put(changed, schemas::chain::Side::Data, key, shown)?;
    }
    Ok(())
}

fn one(key: &str, value: Value<'static>) -> Held<'static, Readings<'static>> {
    let reading = Reading { key: Cow::Owned(key.to_owned()), value };
    Held::Made(Rc::new(Readings { entries: vec![Entry { ts: None, range: 0..1 }], readings: vec![reading] }))
}
