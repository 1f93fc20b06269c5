//! Simple scripts evaluated over what a message carries: no engine, no copy of the message as text, and no allocation where a filter
//! compares numbers (DESIGN 3.4). Whatever the engine might answer otherwise, or refuse, has no answer here and is asked of it;
//! nothing that was done until then is kept.

mod value;

use std::borrow::Cow;

use schemas::script::simple::{Expression, Outcome, Part, Side, Simple, Statement, Step};
use schemas::script::{Form, Script};
use serde_json::{Map, Value as Json};

use crate::limits::{SCRIPT_ARGUMENTS_BYTES_MAX, SCRIPT_RESULT_BYTES_MAX};
use crate::message::{Reading, Value as Said};
use crate::rules::carried::{Beside, Carried, Changed, Data, Kind, Metadata, Sight, name};
use value::{Value, binary, finite, json, unary};

/// What a simple script answers.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Answer {
    Truth(bool),
    Labels(Vec<String>),
    Message(Changed),
}

/// What a script answers, if it is simple and so is the message. `None`: ask the engine.
pub(super) fn answer(script: &Script, carried: &Carried<'_>) -> Option<Answer> {
    let simple = script.simple.as_ref()?;
    if script.form == Form::Transform { transform(simple, carried) } else { decide(script.form, simple, carried) }
}

fn decide(form: Form, simple: &Simple, carried: &Carried<'_>) -> Option<Answer> {
    carried.look(|sight| {
        if bytes_at_most(&sight) > SCRIPT_ARGUMENTS_BYTES_MAX {
            return None;
        }
        let mut locals = Vec::new();
        let outcome = walk(&simple.statements, &mut |statement| match statement {
            Statement::Declare(local, expression) => declare(&mut locals, *local, expression, &sight),
            Statement::Assign(..) => None,
            Statement::If(condition, ..) => Some(Go::By(value_of(condition, &Scope { sight: &sight, locals: &locals })?.truth())),
            Statement::Return(outcome) => Some(Go::Answer(outcome)),
        })??;
        let scope = Scope { sight: &sight, locals: &locals };
        match outcome {
            Outcome::Value(expression) => match (form, value_of(expression, &scope)?) {
                (Form::Filter, Value::Truth(truth)) => Some(Answer::Truth(truth)),
                (Form::Switch, Value::Text(label)) => labels(vec![label.into_owned()]),
                _ => None,
            },
            Outcome::List(expressions) => {
                let label = |expression| match value_of(expression, &scope)? {
                    Value::Text(label) => Some(label.into_owned()),
                    _ => None,
                };
                labels(expressions.iter().map(label).collect::<Option<_>>()?)
            }
            Outcome::Message { .. } => None,
        }
    })
}

fn transform(simple: &Simple, carried: &Carried<'_>) -> Option<Answer> {
    let mut changed = carried.change();
    if bytes_at_most(&changed.sight()) > SCRIPT_ARGUMENTS_BYTES_MAX {
        return None;
    }
    let own_ts = changed.metadata.get(name::TS).cloned();
    let mut locals = Vec::new();
    let outcome = walk(&simple.statements, &mut |statement| match statement {
        Statement::Declare(local, expression) => declare(&mut locals, *local, expression, &changed.sight()),
        Statement::Assign(side, keys, expression) => {
            let scope = Scope { sight: &changed.sight(), locals: &locals };
            let value = value_of(expression, &scope)?.into_owned();
            assign(&mut changed, *side, keys, &value)?;
            Some(Go::On)
        }
        Statement::If(condition, ..) => {
            let scope = Scope { sight: &changed.sight(), locals: &locals };
            Some(Go::By(value_of(condition, &scope)?.truth()))
        }
        Statement::Return(outcome) => Some(Go::Answer(outcome)),
    })??;
    let Outcome::Message { data, metadata, kind } = outcome else { return None };
    let made = made(&changed, (data, metadata, kind.as_ref()), &locals)?;
    if let Some(data) = made.data {
        changed.data = data;
    } else if *data == Part::Same {
        through_engine(&mut changed.data)?;
    }
    if let Some(metadata) = made.metadata {
        changed.metadata = metadata;
    }
    if let Some(kind) = made.kind {
        changed.kind = kind;
    }
    changed.own_ts |= changed.metadata.get(name::TS) != own_ts.as_ref();
    (bytes_at_most(&changed.sight()) <= SCRIPT_RESULT_BYTES_MAX).then_some(Answer::Message(changed))
}

fn labels(labels: Vec<String>) -> Option<Answer> {
    let bytes: usize = labels.iter().map(|label| text_bytes(label)).sum();
    (bytes <= SCRIPT_RESULT_BYTES_MAX).then_some(Answer::Labels(labels))
}

/// What follows a statement.
enum Go<'s> {
    On,
    /// Into this branch of an `if`.
    By(bool),
    Answer(&'s Outcome),
}

/// Executes statements; `Some(None)`: the end was reached without an answer. No deeper than a recognised script is nested.
fn walk<'s>(statements: &'s [Statement], one: &mut dyn FnMut(&'s Statement) -> Option<Go<'s>>) -> Option<Option<&'s Outcome>> {
    for statement in statements {
        match (one(statement)?, statement) {
            (Go::Answer(outcome), _) => return Some(Some(outcome)),
            (Go::By(is), Statement::If(_, then, otherwise)) => {
                if let Some(outcome) = walk(if is { then } else { otherwise }, one)? {
                    return Some(Some(outcome));
                }
            }
            _ => {}
        }
    }
    Some(None)
}

/// A local that is an object could change with it.
fn declare<'s>(locals: &mut Vec<Value<'static>>, local: usize, expression: &Expression, sight: &Sight<'_>) -> Option<Go<'s>> {
    let value = value_of(expression, &Scope { sight, locals })?.into_owned();
    if value == Value::Thing {
        return None;
    }
    if locals.len() <= local {
        locals.resize(local + 1, Value::Undefined);
    }
    *locals.get_mut(local)? = value;
    Some(Go::On)
}

fn assign(changed: &mut Changed, side: Side, keys: &[Box<str>], value: &Value<'static>) -> Option<()> {
    let (last, path) = keys.split_last()?;
    let member = match value {
        Value::Undefined => None,
        // Would be read again as 0.
        Value::Number(number) if *number == 0.0 && number.is_sign_negative() => return None,
        value => Some(json(value)?),
    };
    if side == Side::Metadata {
        match member {
            Some(member) if !member.is_null() => changed.metadata.insert(last.to_string(), as_text(member)),
            _ => changed.metadata.remove(&**last),
        };
        return Some(());
    }
    let mut object = changed.data.as_object_mut()?;
    for key in path {
        object = object.get_mut(&**key)?.as_object_mut()?;
    }
    match member {
        Some(member) => object.insert(last.to_string(), member),
        None => object.remove(&**last),
    };
    Some(())
}

/// As the metadata of an answer become texts.
fn as_text(member: Json) -> String {
    if let Json::String(text) = member { text } else { member.to_string() }
}

/// What replaces a message's parts.
struct Made {
    data: Option<Json>,
    metadata: Option<Metadata>,
    kind: Option<Kind>,
}

fn made(
    changed: &Changed,
    (data, metadata, kind): (&Part, &Part, Option<&Expression>),
    locals: &[Value<'static>],
) -> Option<Made> {
    let scope = Scope { sight: &changed.sight(), locals };
    let members = |members: &[(Box<str>, Expression)]| {
        let mut made = Map::new();
        for (key, expression) in members {
            match value_of(expression, &scope)? {
                Value::Undefined => {}
                // Not a number, or an infinite one.
                Value::Number(number) if !number.is_finite() => drop(made.insert(key.to_string(), Json::Null)),
                value => drop(made.insert(key.to_string(), json(&value)?)),
            }
        }
        Some(made)
    };
    let of = |part: &Part| match part {
        Part::Made(parts) => members(parts).map(Some),
        Part::Kept | Part::Same => Some(None),
    };
    let kind = match kind.map(|kind| value_of(kind, &scope)) {
        None => None,
        Some(Some(Value::Undefined | Value::Null)) => None,
        Some(Some(Value::Text(kind))) => (!kind.is_empty()).then(|| Kind::parse(&kind)),
        Some(_) => return None,
    };
    let texts = |metadata: Map<String, Json>| {
        metadata.into_iter().filter(|(_, value)| !value.is_null()).map(|(name, value)| (name, as_text(value))).collect()
    };
    let metadata = of(metadata)?.map(texts);
    Some(Made { data: of(data)?.map(Json::Object), metadata, kind })
}

/// What becomes of values that go through the engine: numbers are doubles, and whole ones have no fraction.
fn through_engine(json: &mut Json) -> Option<()> {
    match json {
        Json::Number(number) => {
            let small = number.as_i64().is_some_and(|whole| whole.unsigned_abs() <= 1 << 53);
            if !small {
                *json = finite(number.as_f64()?)?;
            }
            Some(())
        }
        Json::Array(values) => values.iter_mut().try_for_each(through_engine),
        Json::Object(members) => members.values_mut().try_for_each(through_engine),
        Json::Null | Json::Bool(_) | Json::String(_) => Some(()),
    }
}

/// What an expression may use.
struct Scope<'v> {
    sight: &'v Sight<'v>,
    locals: &'v [Value<'static>],
}

fn value_of<'v>(expression: &'v Expression, scope: &Scope<'v>) -> Option<Value<'v>> {
    Some(match expression {
        Expression::Undefined => Value::Undefined,
        Expression::Null => Value::Null,
        Expression::Truth(truth) => Value::Truth(*truth),
        Expression::Number(number) => Value::Number(number.get()),
        Expression::Text(text) => Value::Text(Cow::Borrowed(text)),
        Expression::Data(steps) => data(&scope.sight.data, steps)?,
        Expression::Metadata(steps) => metadata(&scope.sight.beside, steps)?,
        Expression::Kind => Value::Text(Cow::Borrowed(scope.sight.kind)),
        Expression::Local(local) => scope.locals.get(*local)?.clone(),
        Expression::Unary(operator, of) => unary(*operator, &value_of(of, scope)?)?,
        Expression::Binary(operator, both) => {
            let [left, right] = &**both;
            let left = value_of(left, scope)?;
            binary(*operator, &left, &value_of(right, scope)?)?
        }
        Expression::And(both) => {
            let [left, right] = &**both;
            let left = value_of(left, scope)?;
            if left.truth() { value_of(right, scope)? } else { left }
        }
        Expression::Or(both) => {
            let [left, right] = &**both;
            let left = value_of(left, scope)?;
            if left.truth() { left } else { value_of(right, scope)? }
        }
        Expression::Choice(three) => {
            let [condition, then, otherwise] = &**three;
            value_of(if value_of(condition, scope)?.truth() { then } else { otherwise }, scope)?
        }
    })
}

fn data<'v>(data: &Data<'v>, steps: &[Step]) -> Option<Value<'v>> {
    let readings = match data {
        Data::Whole(json) => return member(Some(json), steps),
        Data::Readings(readings) => *readings,
    };
    let Some((first, rest)) = steps.split_first() else { return Some(Value::Thing) };
    // Of a key that comes twice the last one counts.
    let Some(reading) = readings.iter().rev().find(|reading| reading.key == *first.key) else {
        return member(None, rest);
    };
    match &reading.value {
        Said::Json(_) => member(Some(&reading.value.to_json()), rest).map(Value::into_owned),
        // Texts and numbers have their own members.
        _ if !rest.is_empty() => None,
        Said::Bool(truth) => Some(Value::Truth(*truth)),
        #[expect(clippy::cast_precision_loss, reason = "as JavaScript reads it: the nearest double")]
        Said::Long(whole) => Some(Value::Number(*whole as f64)),
        Said::Double(number) => Some(Value::Number(*number)),
        Said::Text(text) => Some(Value::Text(Cow::Borrowed(text))),
    }
}

/// The member at the end of these steps; nothing has no members, which throws.
fn member<'v>(from: Option<&'v Json>, steps: &[Step]) -> Option<Value<'v>> {
    let mut at = from;
    for step in steps {
        match at {
            None | Some(Json::Null) if step.optional => return Some(Value::Undefined),
            Some(Json::Object(members)) => at = members.get(&*step.key),
            _ => return None,
        }
    }
    Some(at.map_or(Value::Undefined, Value::of))
}

fn metadata<'v>(beside: &Beside<'v>, steps: &[Step]) -> Option<Value<'v>> {
    let Some((first, rest)) = steps.split_first() else { return Some(Value::Thing) };
    match beside.get(&first.key) {
        Some(text) if rest.is_empty() => Some(Value::Text(text)),
        Some(_) => None,
        None => member(None, rest),
    }
}

/// At most so many bytes of JSON the message is for the engine, which refuses larger ones.
fn bytes_at_most(sight: &Sight<'_>) -> usize {
    let data = match &sight.data {
        Data::Readings(readings) => readings.iter().map(reading_bytes).sum(),
        Data::Whole(json) => json_bytes(json),
    };
    data + sight.beside.at_most(text_bytes) + 64
}

/// A character becomes at most six, with the marks around a member.
fn text_bytes(text: &str) -> usize {
    6 * text.len() + 4
}

/// Longest number, in bytes.
const NUMBER_BYTES: usize = 26;

fn reading_bytes(reading: &Reading<'_>) -> usize {
    let value = match &reading.value {
        Said::Text(text) => text_bytes(text),
        // Of one digit and an exponent of two there are eighteen.
        Said::Json(text) => NUMBER_BYTES * text.len(),
        _ => NUMBER_BYTES,
    };
    text_bytes(&reading.key) + value
}

fn json_bytes(json: &Json) -> usize {
    match json {
        Json::Null | Json::Bool(_) | Json::Number(_) => NUMBER_BYTES,
        Json::String(text) => text_bytes(text),
        Json::Array(values) => values.iter().map(|value| json_bytes(value) + 1).sum::<usize>() + 2,
        Json::Object(members) => members.iter().map(|(key, value)| text_bytes(key) + json_bytes(value)).sum::<usize>() + 2,
    }
}
