//! Enrichment by what the shard knows of the originator: attributes, latest readings and fields.

use schemas::chain::{EntityType, OriginatorAttributes, OriginatorFields};
use schemas::config::End;
use serde_json::{Value, json};

use crate::clock::Timestamp;
use crate::message::Scope;
use crate::rules::carried::{Carried, Changed};
use crate::rules::node::keys::put;
use crate::rules::node::{Next, Scene};
use crate::rules::template;

/// Attributes come under their names with ThingsBoard's prefixes, latest readings under their keys.
pub(super) fn attributes(of: &OriginatorAttributes, carried: &Carried<'_>, scene: &mut Scene<'_, '_>) -> Next {
    enrich(of, carried, |scope, name| match scope {
        Some(scope) => scene.attribute(scope, name),
        None => scene.latest(name),
    })
}

/// Puts what `known` says of a scope's attribute, or of a latest reading. Where nothing may be missing and something is, the message
/// goes on by Failure with the rest.
pub(super) fn enrich(
    of: &OriginatorAttributes,
    carried: &Carried<'_>,
    known: impl FnMut(Option<Scope>, &str) -> Option<(Timestamp, crate::message::Value<'static>)>,
) -> Next {
    let mut changed = carried.change();
    match put_known(of, carried, &mut changed, known) {
        Ok(missing) if of.must_exist && !missing.is_empty() => {
            Next::FailWith(changed, format!("there is no {}", missing.join(", ")))
        }
        Ok(_) => Next::With(changed),
        Err(reason) => Next::Fail(reason),
    }
}

/// Says what is missing.
fn put_known(
    of: &OriginatorAttributes,
    carried: &Carried<'_>,
    changed: &mut Changed,
    mut known: impl FnMut(Option<Scope>, &str) -> Option<(Timestamp, crate::message::Value<'static>)>,
) -> Result<Vec<String>, String> {
    let mut missing = Vec::new();
    let scopes = [(Scope::Client, "cs_", &of.client), (Scope::Shared, "shared_", &of.shared), (Scope::Server, "ss_", &of.server)];
    for (scope, prefix, names) in scopes {
        for name in names {
            let name = template::fill(name, carried);
            match known(Some(scope), &name) {
                Some((_, value)) => put(changed, of.to, format!("{prefix}{name}"), value.to_json())?,
                None => missing.push(format!("{} {name}", scope.name())),
            }
        }
    }
    for name in &of.latest {
        let name = template::fill(name, carried);
        match known(None, &name) {
            Some((ts, value)) if of.with_ts => {
                put(changed, of.to, name.into_owned(), json!({ "ts": ts.0, "value": value.to_json() }))?;
            }
            Some((_, value)) => put(changed, of.to, name.into_owned(), value.to_json())?,
            None => missing.push(format!("latest {name}")),
        }
    }
    Ok(missing)
}

pub(super) fn fields(of: &OriginatorFields, carried: &Carried<'_>, scene: &mut Scene<'_, '_>) -> Next {
    let message = scene.message;
    let end = End { kind: message.originator_type, id: message.originator };
    put_fields(of, carried, end, |field| match field {
        // What every message brings needs no look at the table.
        "name" if end.kind == EntityType::Device => Some(message.device_name.to_owned()),
        "type" if end.kind == EntityType::Device => Some(message.device_type.to_owned()),
        _ => scene.world.field(field),
    })
}

/// Puts fields of an entity, as far as they are known; what it has not is left out.
pub(super) fn put_fields(of: &OriginatorFields, carried: &Carried<'_>, end: End, known: impl Fn(&str) -> Option<String>) -> Next {
    let mut changed = carried.change();
    for (field, name) in &of.mapping {
        let value = match field.as_str() {
            "id" => Some(end.id.to_string()),
            "entityType" => Some(end.kind.name().to_owned()),
            other => known(other),
        };
        let value = match value {
            Some(value) if !value.is_empty() => value,
            // ThingsBoard's text of null.
            Some(_) if !of.ignore_null => "null".to_owned(),
            _ => continue,
        };
        if let Err(reason) = put(&mut changed, of.to, template::fill(name, carried).into_owned(), Value::String(value)) {
            return Next::Fail(reason);
        }
    }
    Next::With(changed)
}
