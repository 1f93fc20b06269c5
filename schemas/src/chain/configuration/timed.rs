//! Configurations of nodes that wait for time.

use serde_json::Value;
use uuid::Uuid;

use super::Reader;
use crate::chain::timed::{Amount, Count, Deduplicate, Delay, DelayUnit, Generate, Maker, Strategy};
use crate::config::NAME_BYTES_MAX;
use crate::id::DeviceId;
use crate::script::Form;

/// ThingsBoard's own bound of what waits at a node that delays.
const DELAYED_MAX: u64 = 100_000;
/// Messages of one originator that wait at a node that deduplicates: together they become one message.
const DEDUPLICATED_MAX: u64 = 1_000;

impl Reader<'_> {
    /// Older configurations count seconds.
    pub(super) fn delay(&mut self) -> Option<Delay> {
        let old = self.value("periodValue").is_none() && self.value("periodValuePattern").is_none();
        let [said, template, count] = if old {
            ["useMetadataPeriodInSecondsPatterns", "periodInSecondsPattern", "periodInSeconds"]
        } else {
            ["usePeriodValuePattern", "periodValuePattern", "periodValue"]
        };
        let period = if self.flag(said)? {
            self.name(template).map(Amount::Template)
        } else {
            self.whole(count, (0, u32::MAX.into()), Some(60)).and_then(|count| u32::try_from(count).ok()).map(Amount::Fixed)
        };
        let unit = if self.flag("usePeriodTimeUnitPattern")? {
            self.name("periodTimeUnitPattern").map(DelayUnit::Template)
        } else if self.value("periodTimeUnit").is_none() {
            Some(DelayUnit::Fixed(1_000))
        } else {
            let unit = |value: &Value| value.as_str().and_then(DelayUnit::parse);
            self.required("periodTimeUnit", DelayUnit::NAMES, unit).map(DelayUnit::Fixed)
        };
        let pending_max = self.pending(DELAYED_MAX, 1_000);
        Some(Delay { period: period?, unit: unit?, pending_max: pending_max? })
    }

    pub(super) fn deduplicate(&mut self) -> Option<Deduplicate> {
        let interval_s = self.whole("interval", (1, u32::MAX.into()), Some(60));
        let strategy = if self.value("strategy").is_none() { Some("FIRST".to_owned()) } else { self.strategy_name() };
        let strategy = match strategy.as_deref() {
            Some("FIRST") => Some(Strategy::First),
            Some("LAST") => Some(Strategy::Last),
            Some(_) => {
                let fits = |text: &&str| (1..=NAME_BYTES_MAX).contains(&text.len());
                let expected = "a message type, since all messages become one";
                let kind = self.required("outMsgType", expected, |value| value.as_str().filter(fits).map(str::to_owned));
                kind.map(|kind| Strategy::All { kind })
            }
            None => None,
        };
        let pending_max = self.pending(DEDUPLICATED_MAX, 100);
        // There is no queue that could refuse a message: the number of attempts is passed over, once it is one.
        let _attempts = self.whole("maxRetries", (0, u32::MAX.into()), Some(3))?;
        Some(Deduplicate { interval_ms: interval_s? * 1_000, strategy: strategy?, pending_max: pending_max? })
    }

    pub(super) fn count(&mut self) -> Option<Count> {
        let prefix =
            if self.value("telemetryPrefix").is_none() { Some("messageCount".to_owned()) } else { self.name("telemetryPrefix") };
        let interval_s = self.whole("interval", (1, u32::MAX.into()), Some(1));
        Some(Count { prefix: prefix?, interval_ms: interval_s? * 1_000 })
    }

    pub(super) fn generate(&mut self) -> Option<Generate> {
        let most = self.whole("msgCount", (0, i32::MAX.unsigned_abs().into()), Some(0));
        let period_s = self.whole("periodInSeconds", (1, u32::MAX.into()), Some(1));
        let (originator, script) = (self.maker(), self.script(Form::Generate));
        let configuration = serde_json::to_string(self.fields).unwrap_or_default();
        Some(Generate {
            most: most?,
            period_ms: period_s? * 1_000,
            originator: originator?,
            script: script?,
            configuration: xxhash_rust::xxh3::xxh3_64(configuration.as_bytes()),
        })
    }

    /// Without a type it is the node, as in older configurations.
    fn maker(&mut self) -> Option<Maker> {
        let named = |value: &Value| value.as_str().map(str::to_owned);
        let kind = match self.value("originatorType").and_then(named).filter(|kind| !kind.is_empty()) {
            None if self.value("originatorId").and_then(named).is_none_or(|id| id.is_empty()) => return Some(Maker::Node),
            None => "DEVICE".to_owned(),
            Some(kind) => kind,
        };
        match kind.as_str() {
            "RULE_NODE" => Some(Maker::Node),
            "TENANT" => Some(Maker::Tenant),
            "DEVICE" => {
                let id = |value: &Value| Uuid::parse_str(value.as_str()?).ok();
                self.required("originatorId", "the id of a device", id).map(|id| Maker::Device(DeviceId(id)))
            }
            other => {
                let rule = format!("{other} is not supported yet; supported are DEVICE, TENANT, RULE_NODE");
                self.problem("originatorType", rule);
                None
            }
        }
    }

    /// How long a call to a device may take, in milliseconds.
    pub(super) fn call_timeout_ms(&mut self) -> Option<u64> {
        self.whole("timeoutInSeconds", (0, u32::MAX.into()), Some(60)).map(|timeout_s| timeout_s * 1_000)
    }

    fn strategy_name(&mut self) -> Option<String> {
        let known = |name: &&str| matches!(*name, "FIRST" | "LAST" | "ALL");
        self.required("strategy", "FIRST, LAST or ALL", |value| value.as_str().filter(known).map(str::to_owned))
    }

    fn pending(&mut self, most: u64, otherwise: u64) -> Option<usize> {
        self.whole("maxPendingMsgs", (1, most), Some(otherwise)).and_then(|count| usize::try_from(count).ok())
    }

    /// A whole number within these bounds, both included.
    pub(super) fn whole(&mut self, field: &str, (least, most): (u64, u64), otherwise: Option<u64>) -> Option<u64> {
        if let (None, Some(otherwise)) = (self.value(field), otherwise) {
            return Some(otherwise);
        }
        let fits = |count: &u64| (least..=most).contains(count);
        self.required(field, &format!("a whole number from {least} to {most}"), |value| value.as_u64().filter(fits))
    }
}
