//! Enrichment by what the shard knows of the originator: attributes, latest readings and fields.

use schemas::chain::{OriginatorAttributes, OriginatorField, OriginatorFields};
use serde_json::{Value, json};

use crate::message::Scope;
use crate::rules::carried::{Carried, Changed};
use crate::rules::node::keys::put;
use crate::rules::node::{Next, Scene};
use crate::rules::template;

/// Attributes come under their names with ThingsBoard's prefixes, latest readings under their keys.
pub(super) fn attributes(of: &OriginatorAttributes, carried: &Carried<'_>, scene: &mut Scene<'_, '_>) -> Next {
    let mut changed = carried.change();
    match enrich(of, carried, scene, &mut changed) {
        Ok(()) => Next::With(changed),
        Err(reason) => Next::Fail(reason),
    }
}

fn enrich(
    of: &OriginatorAttributes,
    carried: &Carried<'_>,
    scene: &mut Scene<'_, '_>,
    changed: &mut Changed,
) -> Result<(), String> {
    let mut missing = Vec::new();
    let scopes = [(Scope::Client, "cs_", &of.client), (Scope::Shared, "shared_", &of.shared), (Scope::Server, "ss_", &of.server)];
    for (scope, prefix, names) in scopes {
        for name in names {
            let name = template::fill(name, carried);
            match scene.attribute(scope, &name) {
                Some((_, value)) => put(changed, of.to, format!("{prefix}{name}"), value.to_json())?,
                None => missing.push(format!("{} {name}", scope.name())),
            }
        }
    }
    for name in &of.latest {
        let name = template::fill(name, carried);
        match scene.latest(&name) {
            Some((ts, value)) if of.with_ts => {
                put(changed, of.to, name.into_owned(), json!({ "ts": ts.0, "value": value.to_json() }))?;
            }
            Some((_, value)) => put(changed, of.to, name.into_owned(), value.to_json())?,
            None => missing.push(format!("latest {name}")),
        }
    }
    if of.must_exist && !missing.is_empty() {
        return Err(format!("the originator has no {}", missing.join(", ")));
    }
    Ok(())
}

pub(super) fn fields(of: &OriginatorFields, carried: &Carried<'_>, scene: &mut Scene<'_, '_>) -> Next {
    let message = scene.message;
    let (own, kind) = scene.world.asset().unwrap_or_else(|| (message.device_name.to_owned(), message.device_type.to_owned()));
    let mut changed = carried.change();
    for (field, name) in &of.mapping {
        let value = match field {
            OriginatorField::Name => own.clone(),
            OriginatorField::Type => kind.clone(),
            OriginatorField::EntityType => message.originator_type.name().to_owned(),
            OriginatorField::Id => message.originator.to_string(),
        };
        if let Err(reason) = put(&mut changed, of.to, template::fill(name, carried).into_owned(), Value::String(value)) {
            return Next::Fail(reason);
        }
    }
    Next::With(changed)
}
