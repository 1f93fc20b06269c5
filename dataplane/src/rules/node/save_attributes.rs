//! Save and delete attributes. What is no attributes message is a Failure; no readings are saved with Success and no effect, as
//! in ThingsBoard. Never decides what has changed.

use std::rc::Rc;

use schemas::chain::{DeleteAttributes, MessageType, SaveAttributes};
use uuid::Uuid;

use crate::effect::{Effect, Held, Saving};
use crate::limits::DEPARTURES_PER_MESSAGE_MAX;
use crate::message::{Body, Readings, Scope};
use crate::owed::Departed;
use crate::payload::{self, Casting};
use crate::rules::carried::{Carried, Changed, name, scope_of};
use crate::rules::node::{Next, SUCCESS, Scene, processing};
use crate::rules::template;

pub(super) fn run<'m>(save: &SaveAttributes, node: Uuid, carried: &Carried<'m>, scene: &mut Scene<'_, 'm>) -> Next {
    let (readings, said) = match carried {
        Carried::AsCame(message) => match &message.body {
            // A device names no scope. An update does, in ThingsBoard's metadata, and what it says precedes the node's.
            Body::Attributes { readings, .. } if message.kind == MessageType::PostAttributesRequest => {
                (Held::Borrowed(readings), None)
            }
            Body::Attributes { scope, readings } => (Held::Borrowed(readings), Some(*scope)),
            _ => return no_attributes(message.kind.name()),
        },
        Carried::Changed(changed) => {
            if !matches!(carried.standard(), Some(MessageType::PostAttributesRequest | MessageType::AttributesUpdated)) {
                return no_attributes(changed.kind.name());
            }
            match readings_of(changed) {
                Ok(readings) => (Held::Made(Rc::new(readings)), scope_of(carried)),
                Err(reason) => return Next::Fail(reason),
            }
        }
    };
    if readings.is_empty() {
        return Next::By(SUCCESS);
    }
    let scope = said.unwrap_or(save.scope);
    let tell = match told(save.tell_chain, (MessageType::AttributesUpdated, scope), scene) {
        Ok(tell) => tell,
        Err(reason) => return Next::Fail(reason),
    };
    let mut saving = Saving::EVERYTHING;
    if let Some(settings) = save.processing {
        match processing::decide(settings, node, scene.message.received, scene) {
            Ok(Saving::NOTHING) => return Next::By(SUCCESS),
            Ok(decided) => saving = decided,
            Err(reason) => return Next::Fail(reason),
        }
    }
    // Older nodes always told the device, and still do where nobody says that it knows.
    let notify_device = scope == Scope::Shared && (save.notify_device || says(carried, true));
    scene.into.push(Effect::SaveAttributes { readings, scope, only_on_change: save.only_on_change, notify_device, tell, saving });
    Next::By(SUCCESS)
}

/// Whether the message says that the device is told, or this, if it says nothing.
fn says(carried: &Carried<'_>, otherwise: bool) -> bool {
    match carried.metadata(name::NOTIFY_DEVICE) {
        Some(said) if !said.is_empty() => said.eq_ignore_ascii_case("true"),
        _ => otherwise,
    }
}

/// By what the originator's chain is told of attributes, if it is to be: a client's own it knows.
fn told(is: bool, (kind, scope): (MessageType, Scope), scene: &Scene<'_, '_>) -> Result<Option<Box<Departed>>, String> {
    if !is || scope == Scope::Client {
        return Ok(None);
    }
    scene.world.may_forward()?;
    // A chain that saves what it is told so would go on for ever.
    if scene.departures >= DEPARTURES_PER_MESSAGE_MAX {
        return Err(format!("attributes have been told of {DEPARTURES_PER_MESSAGE_MAX} times, each time because of the last"));
    }
    let message = scene.message;
    let said = [
        (name::DEVICE_NAME, message.device_name.to_owned()),
        (name::DEVICE_TYPE, message.device_type.to_owned()),
        (name::SCOPE, scope.name().to_owned()),
        (name::TS, message.received.0.to_string()),
    ];
    let metadata =
        said.into_iter().filter(|(_, value)| !value.is_empty()).map(|(name, value)| (name.to_owned(), value)).collect();
    let kind = kind.name().to_owned();
    Ok(Some(Box::new(Departed { kind, metadata, departures: scene.departures + 1, ..Departed::default() })))
}

fn no_attributes(kind: &str) -> Next {
    Next::Fail(format!("{kind} is no attributes message"))
}

fn readings_of(changed: &Changed) -> Result<Readings<'static>, String> {
    let text = changed.data.to_string();
    let mut readings = Readings::default();
    payload::attributes(text.as_bytes(), Casting::Enabled, &mut readings).map_err(|error| error.to_string())?;
    Ok(readings.into_owned())
}

/// Keys are templates; the scope that the metadata names precedes the node's.
pub(super) fn delete(delete: &DeleteAttributes, carried: &Carried<'_>, scene: &mut Scene<'_, '_>) -> Next {
    let scope = scope_of(carried).unwrap_or(delete.scope);
    let keys: Vec<String> = delete.keys.iter().map(|key| template::fill(key, carried).into_owned()).collect();
    if !keys.is_empty() {
        let notify_device = scope == Scope::Shared && (delete.notify_device || says(carried, false));
        let tell = match told(delete.tell_chain, (MessageType::AttributesDeleted, scope), scene) {
            Ok(tell) => tell,
            Err(reason) => return Next::Fail(reason),
        };
        scene.into.push(Effect::DeleteAttributes { scope, keys, notify_device, tell });
    }
    Next::By(SUCCESS)
}
