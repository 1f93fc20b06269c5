//! Save and delete attributes. What is no attributes message is a Failure; no readings are saved with Success and no effect, as
//! in ThingsBoard.

use std::rc::Rc;

use schemas::chain::{DeleteAttributes, MessageType, SaveAttributes};
use uuid::Uuid;

use crate::effect::{Effect, Held, Saving};
use crate::message::{Body, Readings, Scope};
use crate::payload::{self, Casting};
use crate::rules::carried::{Carried, Changed, scope_of};
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
    let mut saving = Saving::EVERYTHING;
    if let Some(settings) = save.processing {
        match processing::decide(settings, node, scene.message.received, scene) {
            Ok(Saving::NOTHING) => return Next::By(SUCCESS),
            Ok(decided) => saving = decided,
            Err(reason) => return Next::Fail(reason),
        }
    }
    let scope = said.unwrap_or(save.scope);
    scene.into.push(Effect::SaveAttributes {
        readings,
        scope,
        only_on_change: save.only_on_change,
        notify_device: save.notify_device && scope == Scope::Shared,
        saving,
    });
    Next::By(SUCCESS)
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
pub(super) fn delete(delete: &DeleteAttributes, carried: &Carried<'_>, into: &mut Vec<Effect<'_>>) -> Next {
    let scope = scope_of(carried).unwrap_or(delete.scope);
    let keys: Vec<String> = delete.keys.iter().map(|key| template::fill(key, carried).into_owned()).collect();
    if !keys.is_empty() {
        into.push(Effect::DeleteAttributes { scope, keys, notify_device: delete.notify_device && scope == Scope::Shared });
    }
    Next::By(SUCCESS)
}
