//! Enrichment by whose the originator is: values and details of its customer or its tenant.

use std::borrow::Cow;

use schemas::chain::{Detail, Owner, OwnerDetails, OwnerValues, Values};
use schemas::config::Details;
use schemas::id::EntityId;
use serde_json::Value;

use crate::limits::NAME_BYTES_MAX;
use crate::message::Scope;
use crate::rules::carried::Carried;
use crate::rules::node::keys::put;
use crate::rules::node::{Next, Scene};
use crate::rules::{Absent, Fact, template};

pub(super) fn values(of: &OwnerValues, carried: &Carried<'_>, scene: &Scene<'_, '_>) -> Next {
    match scene.world.owner(of.of) {
        Some(entity) => values_of(entity, &of.values, carried, scene),
        None => nobody(),
    }
}

/// Values that do not exist are left out, as in ThingsBoard.
pub(super) fn values_of(entity: EntityId, of: &Values, carried: &Carried<'_>, scene: &Scene<'_, '_>) -> Next {
    let mut names: Vec<(Cow<'_, str>, Cow<'_, str>)> = Vec::with_capacity(of.mapping.len());
    for (key, name) in &of.mapping {
        names.push((template::fill(key, carried), template::fill(name, carried)));
    }
    if let Some((key, _)) = names.iter().find(|(key, _)| key.len() > NAME_BYTES_MAX) {
        return Next::Fail(format!("a key of {} bytes, at most {NAME_BYTES_MAX}", key.len()));
    }
    let keys = names.iter().map(|(key, _)| key.clone().into_owned()).collect();
    let fact = if of.latest { Fact::Latest { entity, keys } } else { Fact::Attributes { entity, scope: Scope::Server, keys } };
    let known = match scene.world.fact(&fact) {
        Ok(known) => known,
        Err(Absent::NotYet) => return Next::Need(Box::new(fact)),
        Err(Absent::Never(reason)) => return Next::Fail(reason),
    };
    let mut changed = carried.change();
    for (key, name) in names {
        let value = known.iter().find(|series| series.key == key).and_then(|series| series.points.first());
        if let Some(value) = value
            && let Err(reason) = put(&mut changed, of.to, name.into_owned(), value.value.to_json())
        {
            return Next::Fail(reason);
        }
    }
    Next::With(changed)
}

/// Details come under their names behind `customer_` or `tenant_`; those that nobody has written are left out.
pub(super) fn details(of: &OwnerDetails, carried: &Carried<'_>, scene: &mut Scene<'_, '_>) -> Next {
    let Some(owner) = scene.world.owner(of.of) else { return nobody() };
    let Some(known) = scene.world.details(owner) else { return Next::Fail(format!("nothing is known of {owner}")) };
    let prefix = match of.of {
        Owner::Customer => "customer_",
        Owner::Tenant => "tenant_",
    };
    let mut changed = carried.change();
    for detail in &of.details {
        let value = said(*detail, owner, known);
        if !value.is_empty()
            && let Err(reason) = put(&mut changed, of.to, format!("{prefix}{}", detail.key()), Value::String(value))
        {
            return Next::Fail(reason);
        }
    }
    Next::With(changed)
}

fn said(detail: Detail, owner: EntityId, of: &Details) -> String {
    match detail {
        Detail::Id => owner.to_string(),
        Detail::AdditionalInfo => of.description.clone(),
        other => of.field(other.key()).unwrap_or_default().to_owned(),
    }
}

fn nobody() -> Next {
    Next::Fail("the originator is assigned to nobody".to_owned())
}
