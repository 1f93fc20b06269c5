//! Configurations of nodes that are told of others and of the past: a message's customer, its tenant, what its originator has relations
//! to, its originator's history.
//! Never reads a chain.

use serde_json::Value;

use super::Reader;
use crate::chain::{
    Aggregate, Detail, DeviceAttributes, Fetch, Interval, OriginatorFields, OriginatorTelemetry, Owner, OwnerDetails,
    OwnerValues, RelatedTold, RelatedValues, Side, Values,
};

/// Readings of one key, as in ThingsBoard.
const READINGS_MAX: u64 = 1_000;
/// An interval ends at most so many units before the message, as in ThingsBoard.
const UNITS_MAX: i64 = i32::MAX as i64;

impl Reader<'_> {
    pub(super) fn owner_values(&mut self, of: Owner) -> Option<OwnerValues> {
        self.values().map(|values| OwnerValues { of, values })
    }

    pub(super) fn related_values(&mut self) -> Option<RelatedValues> {
        let query = self.relations_query("relationsQuery");
        let told = match self.value("dataToFetch").and_then(Value::as_str) {
            Some("FIELDS") => {
                let fields = self.originator_fields();
                fields.map(|fields| RelatedTold::Fields(OriginatorFields { ignore_null: true, ..fields }))
            }
            _ => self.values().map(RelatedTold::Values),
        };
        Some(RelatedValues { query: query?, told: told? })
    }

    pub(super) fn device_attributes(&mut self) -> Option<DeviceAttributes> {
        let (found, attributes) = (self.device_query("deviceRelationsQuery"), self.originator_attributes());
        let (query, types) = found?;
        Some(DeviceAttributes { query, types, attributes: attributes? })
    }

    /// Before configuration version 1 the mapping was `attrMapping`, and `telemetry` chose the latest readings.
    fn values(&mut self) -> Option<Values> {
        let field = if self.value("dataMapping").is_some() { "dataMapping" } else { "attrMapping" };
        let mapping = self.mapping(field);
        let latest = match self.value("dataToFetch") {
            None => self.flag("telemetry"),
            Some(_) => self.required("dataToFetch", "ATTRIBUTES or LATEST_TELEMETRY", |value| match value.as_str()? {
                "ATTRIBUTES" => Some(false),
                "LATEST_TELEMETRY" => Some(true),
                _ => None,
            }),
        };
        let to = self.side("fetchTo", Side::Metadata);
        Some(Values { latest: latest?, mapping: mapping?, to: to? })
    }

    /// Before configuration version 1 `addToMetadata` said where details go.
    pub(super) fn owner_details(&mut self, of: Owner) -> Option<OwnerDetails> {
        let names = Detail::ALL.map(Detail::name).join(", ");
        let detail = |value: &Value| {
            let name = value.as_str()?;
            Detail::ALL.into_iter().find(|detail| detail.name() == name)
        };
        let details = self.required("detailsList", &format!("a non-empty array of {names}"), |value| {
            value.as_array().filter(|all| !all.is_empty())?.iter().map(detail).collect()
        });
        let to = if self.value("fetchTo").is_none() && self.value("addToMetadata").is_some() {
            self.flag("addToMetadata").map(|metadata| if metadata { Side::Metadata } else { Side::Data })
        } else {
            self.side("fetchTo", Side::Metadata)
        };
        Some(OwnerDetails { of, details: details?, to: to? })
    }

    pub(super) fn originator_telemetry(&mut self) -> Option<OriginatorTelemetry> {
        let keys = self.strings("latestTsKeyNames");
        if keys.as_ref().is_some_and(Vec::is_empty) {
            self.problem("latestTsKeyNames", "expected at least one key");
            return None;
        }
        let (fetch, interval) = (self.fetch(), self.interval());
        Some(OriginatorTelemetry { keys: keys?, fetch: fetch?, interval: interval? })
    }

    fn fetch(&mut self) -> Option<Fetch> {
        // ThingsBoard's own default.
        let mode = match self.value("fetchMode") {
            None => "FIRST".to_owned(),
            Some(_) => self.required("fetchMode", "FIRST, LAST or ALL", |value| {
                value.as_str().filter(|mode| ["FIRST", "LAST", "ALL"].contains(mode)).map(str::to_owned)
            })?,
        };
        match mode.as_str() {
            "FIRST" => Some(Fetch::First),
            "LAST" => Some(Fetch::Last),
            _ => {
                let (limit, ascending, aggregation) = (self.limit(), self.ascending(), self.aggregation());
                Some(Fetch::All { limit: limit?, ascending: ascending?, aggregation: aggregation? })
            }
        }
    }

    /// 0 is as good as absent: the most.
    fn limit(&mut self) -> Option<usize> {
        let limit = match self.value("limit") {
            None => READINGS_MAX,
            Some(_) => self.required("limit", &format!("0 or 2 to {READINGS_MAX}"), |value| {
                value.as_u64().filter(|limit| *limit == 0 || (2..=READINGS_MAX).contains(limit))
            })?,
        };
        usize::try_from(if limit == 0 { READINGS_MAX } else { limit }).ok()
    }

    fn ascending(&mut self) -> Option<bool> {
        match self.value("orderBy") {
            None => Some(true),
            Some(_) => self.required("orderBy", "ASC or DESC", |value| match value.as_str()? {
                "ASC" => Some(true),
                "DESC" => Some(false),
                _ => None,
            }),
        }
    }

    fn aggregation(&mut self) -> Option<Option<Aggregate>> {
        match self.value("aggregation") {
            None => Some(None),
            Some(_) => self.required("aggregation", "NONE, MIN, MAX, AVG, SUM or COUNT", |value| match value.as_str()? {
                "NONE" => Some(None),
                "MIN" => Some(Some(Aggregate::Min)),
                "MAX" => Some(Some(Aggregate::Max)),
                "AVG" => Some(Some(Aggregate::Avg)),
                "SUM" => Some(Some(Aggregate::Sum)),
                "COUNT" => Some(Some(Aggregate::Count)),
                _ => None,
            }),
        }
    }

    fn interval(&mut self) -> Option<Interval> {
        if self.flag("useMetadataIntervalPatterns")? {
            let (start, end) = (self.name("startIntervalPattern"), self.name("endIntervalPattern"));
            return Some(Interval::Said { start: start?, end: end? });
        }
        let (start, end) =
            (self.before("startInterval", "startIntervalTimeUnit", 2), self.before("endInterval", "endIntervalTimeUnit", 1));
        let (start_ms, end_ms) = (start?, end?);
        if start_ms <= end_ms {
            self.problem("startInterval", "the interval ends before it begins");
            return None;
        }
        Some(Interval::Before { start_ms, end_ms })
    }

    /// So long, in milliseconds. ThingsBoard counts minutes where no unit is named.
    pub(super) fn before(&mut self, field: &str, unit: &str, otherwise: i64) -> Option<i64> {
        let count = match self.value(field) {
            None => Some(otherwise),
            Some(_) => self.required(field, &format!("0 to {UNITS_MAX}"), |value| {
                value.as_i64().filter(|count| (0..=UNITS_MAX).contains(count))
            }),
        };
        let ms = match self.value(unit) {
            None => Some(60_000),
            Some(_) => self.required(unit, "MILLISECONDS, SECONDS, MINUTES, HOURS or DAYS", |value| match value.as_str()? {
                "MILLISECONDS" => Some(1),
                "SECONDS" => Some(1_000),
                "MINUTES" => Some(60_000),
                "HOURS" => Some(3_600_000),
                "DAYS" => Some(86_400_000),
                _ => None,
            }),
        };
        Some(count? * ms?)
    }
}
