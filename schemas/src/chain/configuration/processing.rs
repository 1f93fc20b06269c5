//! Processing settings of nodes that save. What ThingsBoard separates and Tidegate does not, history and latest value, must be told alike.

use serde_json::{Map, Value};

use super::Reader;
use crate::chain::processing::{Processing, Strategy};

/// ThingsBoard's own bound, in seconds: a day.
const INTERVAL_S_MAX: u32 = 86_400;
const SETTINGS: &str = "processingSettings";
const INTERVAL: &str = "deduplicationIntervalSecs";
const TYPES: &str = "ON_EVERY_MESSAGE, DEDUPLICATE, WEBSOCKETS_ONLY or ADVANCED";

impl Reader<'_> {
    /// `stored` are the members of ADVANCED settings that say what is stored. What is the same for every message is `Some(None)`.
    #[expect(clippy::option_option, reason = "settings that are wrong, and none")]
    pub(super) fn processing(&mut self, stored: &[&str]) -> Option<Option<Processing>> {
        let Some(settings) = self.value(SETTINGS) else { return Some(None) };
        let Some(settings) = settings.as_object().cloned() else {
            self.problem(SETTINGS, "expected an object");
            return None;
        };
        match settings.get("type").and_then(Value::as_str) {
            Some("ON_EVERY_MESSAGE") => Some(None),
            Some("WEBSOCKETS_ONLY") => Some(Some(Processing::LIVE_ONLY)),
            Some("DEDUPLICATE") => self.once_in(SETTINGS, &settings).map(Processing::deduplicate).map(Some),
            Some("ADVANCED") => self.advanced(stored, &settings).map(Some),
            _ => {
                let shown = settings.get("type").map_or_else(|| "missing".to_owned(), Value::to_string);
                self.problem(&format!("{SETTINGS}.type"), format!("{shown}: expected {TYPES}"));
                None
            }
        }
    }

    fn advanced(&mut self, stored: &[&str], settings: &Map<String, Value>) -> Option<Processing> {
        let stores: Vec<Option<Strategy>> = stored.iter().map(|member| self.strategy(member, settings)).collect();
        let live = self.strategy("webSockets", settings);
        // Settings of before there were calculated fields do not have it.
        let has_fields = settings.get("calculatedFields").is_some_and(|said| !said.is_null());
        let calculate = if has_fields { self.strategy("calculatedFields", settings) } else { stores.first().copied().flatten() };
        let store = (*stores.first()?)?;
        if let Some(place) = stores.iter().position(|other| other.is_some_and(|other| other != store)) {
            let (other, first) = (stored.get(place)?, stored.first()?);
            self.problem(&format!("{SETTINGS}.{other}"), format!("must be as {first}: the two are not stored apart"));
            return None;
        }
        stores.iter().all(Option::is_some).then_some(Processing { store, live: live?, calculate: calculate? })
    }

    fn strategy(&mut self, member: &str, settings: &Map<String, Value>) -> Option<Strategy> {
        let path = format!("{SETTINGS}.{member}");
        let said = settings.get(member).and_then(Value::as_object);
        match said.and_then(|said| said.get("type")).and_then(Value::as_str) {
            Some("ON_EVERY_MESSAGE") => Some(Strategy::EveryMessage),
            Some("SKIP") => Some(Strategy::Skip),
            Some("DEDUPLICATE") => self.once_in(&path, said?).map(Strategy::Deduplicate),
            _ => {
                self.problem(&format!("{path}.type"), "expected ON_EVERY_MESSAGE, DEDUPLICATE or SKIP");
                None
            }
        }
    }

    fn once_in(&mut self, path: &str, settings: &Map<String, Value>) -> Option<u32> {
        let said = settings.get(INTERVAL).and_then(Value::as_u64).and_then(|seconds| u32::try_from(seconds).ok());
        let interval = said.filter(|seconds| (1..=INTERVAL_S_MAX).contains(seconds));
        if interval.is_none() {
            let shown = settings.get(INTERVAL).map_or_else(|| "missing".to_owned(), Value::to_string);
            self.problem(&format!("{path}.{INTERVAL}"), format!("{shown}: expected seconds, 1 to {INTERVAL_S_MAX}"));
        }
        interval
    }
}
