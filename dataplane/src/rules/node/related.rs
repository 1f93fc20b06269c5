//! Enrichment by what the originator has relations to: values and fields of another entity, attributes of another device.

use schemas::chain::{DeviceAttributes, RelatedTold, RelatedValues};
use schemas::config::End;
use schemas::telemetry::Scope;

use crate::limits::NAME_BYTES_MAX;
use crate::query::Series;
use crate::rules::carried::Carried;
use crate::rules::node::originator::{enrich, put_fields};
use crate::rules::node::owner::values_of;
use crate::rules::node::{Next, Scene};
use crate::rules::{Absent, Fact, template};

/// Of the oldest relation that fits.
pub(super) fn values(of: &RelatedValues, carried: &Carried<'_>, scene: &Scene<'_, '_>) -> Next {
    let Some(end) = scene.world.neighbours(&of.query).into_iter().next() else { return nothing("entity") };
    match &of.told {
        RelatedTold::Values(values) => values_of(end.id, values, carried, scene),
        RelatedTold::Fields(fields) => match known(scene, Fact::Named(end)) {
            Ok(named) => put_fields(fields, carried, end, |field| text(named, field)),
            Err(next) => next,
        },
    }
}

/// Of the oldest relation to a device of a type that is wanted.
pub(super) fn device_attributes(of: &DeviceAttributes, carried: &Carried<'_>, scene: &Scene<'_, '_>) -> Next {
    let device = match device(of, scene) {
        Ok(Some(device)) => device,
        Ok(None) => return nothing("device"),
        Err(next) => return next,
    };
    let (entity, wanted) = (device.id, &of.attributes);
    let lists = [
        (Some(Scope::Client), &wanted.client),
        (Some(Scope::Shared), &wanted.shared),
        (Some(Scope::Server), &wanted.server),
        (None, &wanted.latest),
    ];
    let mut found = Vec::new();
    for (scope, names) in lists.into_iter().filter(|(_, names)| !names.is_empty()) {
        let keys: Vec<String> = names.iter().map(|name| template::fill(name, carried).into_owned()).collect();
        if let Some(key) = keys.iter().find(|key| key.len() > NAME_BYTES_MAX) {
            return Next::Fail(format!("a key of {} bytes, at most {NAME_BYTES_MAX}", key.len()));
        }
        let fact = match scope {
            Some(scope) => Fact::Attributes { entity, scope, keys },
            None => Fact::Latest { entity, keys },
        };
        match known(scene, fact) {
            Ok(series) => found.push((scope, series)),
            Err(next) => return next,
        }
    }
    enrich(wanted, carried, |of, name| {
        let (_, series) = found.iter().find(|(scope, _)| *scope == of)?;
        let point = series.iter().find(|series| series.key == name)?.points.first()?;
        Some((point.ts, point.value.clone()))
    })
}

fn device(of: &DeviceAttributes, scene: &Scene<'_, '_>) -> Result<Option<End>, Next> {
    for end in scene.world.neighbours(&of.query) {
        if of.types.is_empty() {
            return Ok(Some(end));
        }
        let kind = text(known(scene, Fact::Named(end))?, "type");
        if kind.is_some_and(|kind| of.types.contains(&kind)) {
            return Ok(Some(end));
        }
    }
    Ok(None)
}

fn known<'s>(scene: &'s Scene<'_, '_>, fact: Fact) -> Result<&'s [Series], Next> {
    match scene.world.fact(&fact) {
        Ok(known) => Ok(known),
        Err(Absent::NotYet) => Err(Next::Need(Box::new(fact))),
        Err(Absent::Never(reason)) => Err(Next::Fail(reason)),
    }
}

fn text(series: &[Series], key: &str) -> Option<String> {
    let point = series.iter().find(|series| series.key == key)?.points.first()?;
    Some(template::text(&point.value.to_json()))
}

fn nothing(what: &str) -> Next {
    Next::Fail(format!(
        "Failed to find related {what} to message originator using relation query specified in the configuration!"
    ))
}
