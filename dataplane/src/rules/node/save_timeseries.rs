//! Save time series: all entries of a telemetry message. Anything else, and a message without readings, is a Failure, as in
//! ThingsBoard. A TIMESERIES_UPDATED routed here is stored again: whoever draws that wants it.

use std::rc::Rc;

use schemas::chain::{MessageType, SaveTimeseries};
use uuid::Uuid;

use crate::clock::Timestamp;
use crate::effect::{Effect, Held, Saving};
use crate::message::{Body, Readings};
use crate::payload::{self, Casting};
use crate::rules::carried::{Carried, Changed, name};
use crate::rules::node::{Next, SUCCESS, Scene, processing};

pub(super) fn run<'m>(save: &SaveTimeseries, node: Uuid, carried: &Carried<'m>, scene: &mut Scene<'_, 'm>) -> Next {
    let SaveTimeseries { default_ttl_s, use_server_ts, processing: settings } = *save;
    let (readings, ttl_s) = match carried {
        Carried::AsCame(message) => match &message.body {
            Body::Telemetry(readings) => (Held::Borrowed(readings), default_ttl_s),
            _ => return no_telemetry(message.kind.name()),
        },
        Carried::Changed(changed) => {
            if !matches!(carried.standard(), Some(MessageType::PostTelemetryRequest | MessageType::TimeseriesUpdated)) {
                return no_telemetry(changed.kind.name());
            }
            let ttl_s = changed.metadata.get(name::TTL).and_then(|ttl| ttl.parse().ok()).unwrap_or(default_ttl_s);
            match readings_of(changed) {
                Ok(readings) => (Held::Made(Rc::new(readings)), ttl_s),
                Err(reason) => return Next::Fail(reason),
            }
        }
    };
    if readings.is_empty() {
        return Next::Fail("the message has no readings".to_owned());
    }
    let mut saving = Saving::EVERYTHING;
    if let Some(settings) = settings {
        let own = readings.entries.first().and_then(|entry| entry.ts).filter(|_| !use_server_ts);
        match processing::decide(settings, node, own.unwrap_or(scene.message.received), scene) {
            Ok(Saving::NOTHING) => return Next::By(SUCCESS),
            Ok(decided) => saving = decided,
            Err(reason) => return Next::Fail(reason),
        }
    }
    scene.into.push(Effect::SaveTimeseries { readings, ttl_s, use_server_ts, saving });
    Next::By(SUCCESS)
}

fn no_telemetry(kind: &str) -> Next {
    Next::Fail(format!("{kind} is no telemetry"))
}

/// What a changed message says, in any of the forms that devices may use. Entries without a ts have the metadata's, unless that
/// is only the moment at which the message came: then the server chooses (DESIGN 8.5, 15).
fn readings_of(changed: &Changed) -> Result<Readings<'static>, String> {
    let text = changed.data.to_string();
    let mut readings = Readings::default();
    payload::telemetry(text.as_bytes(), Casting::Enabled, &mut readings).map_err(|error| error.to_string())?;
    let mut readings = readings.into_owned();
    if changed.own_ts
        && let Some(ts) = changed.metadata.get(name::TS).and_then(|ts| ts.parse().ok())
    {
        readings.entries.iter_mut().for_each(|entry| entry.ts = Some(entry.ts.unwrap_or(Timestamp(ts))));
    }
    Ok(readings)
}
