//! A node's class and configuration to its kind, as ThingsBoard writes them, in its older forms too. Every problem is
//! reported; fields that change nothing are passed over. Never reads a chain.

mod alarm;
mod enrichment;
mod external;
mod kafka;
mod processing;
mod relations;
mod timed;
mod wish;

pub use external::system_mail;

use std::sync::Arc;

use serde_json::{Map, Value};
use uuid::Uuid;

use super::{
    CalculateDelta, CheckFields, DeleteAttributes, DeviceEvent, EntityType, External, Keys, Math, MathArgument, MathOperand,
    MathResult, MessageType, MessageTypes, NodeKind, OriginatorAttributes, OriginatorFields, Owner, Passing, Renames, RestReply,
    SaveAttributes, SaveTimeseries, Side, Target,
    formula::Formula,
    geofence::{Geofence, GeofenceEvents, Perimeter, Point, Source},
    json_path::JsonPath,
    node::{
        ACKNOWLEDGE, ALARM_STATUS, ASSET_PROFILE_SWITCH, ASSIGN, CALCULATE_DELTA, CALCULATE_FIELDS, CHANGE_ORIGINATOR,
        CHECK_FIELDS, CHECK_RELATION, CHECKPOINT, CLEAR_ALARM, COPY_KEYS, COUNT, CREATE_ALARM, CREDENTIALS, CUSTOMER_DETAILS,
        CUSTOMER_VALUES, DEDUPLICATE, DELAY, DELETE_ATTRIBUTES, DELETE_KEYS, DEVICE_ATTRIBUTES, DEVICE_PROFILE, DEVICE_STATE,
        ENTITY_FILTER, ENTITY_SWITCH, GENERATE, GEOFENCE, GEOFENCE_EVENTS, JSON_PATH, KAFKA, LOG, MATH, MQTT, NATS, NESTED,
        ORIGINATOR_ATTRIBUTES, ORIGINATOR_FIELDS, ORIGINATOR_TELEMETRY, OUTPUT, PROFILE_SWITCH, RABBIT_MQ, RELATE,
        RELATED_VALUES, RENAME_KEYS, REST_CALL, REST_REPLY, RPC_REPLY, RPC_REQUEST, SAVE_ATTRIBUTES, SAVE_TIMESERIES,
        SCRIPT_FILTER, SCRIPT_SWITCH, SCRIPT_TRANSFORM, SEND_EMAIL, SLACK, SPLIT_ARRAY, TENANT_DETAILS, TENANT_VALUES, TO_EMAIL,
        TYPE_FILTER, TYPE_SWITCH, UNASSIGN, UNRELATE,
    },
    parse::Problems,
};
use crate::{
    config::NAME_BYTES_MAX,
    id::ChainId,
    script::{Form, Language, Script},
    telemetry::Scope,
};

/// Entries of one list of a configuration.
const ENTRIES_MAX: usize = 1_000;
/// What a pattern may become when it is compiled, in bytes.
pub(super) const PATTERN_BYTES_MAX: usize = 64 << 10;

/// The node's kind, if its class exists and its configuration is valid.
pub(super) fn kind(
    (class, version): (&str, u64),
    fields: &Map<String, Value>,
    path: &str,
    problems: &mut Problems,
) -> Option<NodeKind> {
    let mut reader = Reader { fields, path: format!("{path}.configuration"), problems };
    match class {
        TYPE_SWITCH => Some(NodeKind::MessageTypeSwitch),
        TYPE_FILTER => reader.message_types().map(NodeKind::MessageTypeFilter),
        ENTITY_SWITCH => Some(NodeKind::EntityTypeSwitch),
        ENTITY_FILTER => reader.entity_types().map(|kinds| NodeKind::EntityTypeFilter { kinds }),
        PROFILE_SWITCH => Some(NodeKind::ProfileSwitch),
        ASSET_PROFILE_SWITCH => Some(NodeKind::AssetProfileSwitch),
        CHECK_RELATION => reader.check_relation(version).map(NodeKind::CheckRelation),
        CHECK_FIELDS => reader.check_fields().map(NodeKind::CheckFields),
        GEOFENCE => reader.geofence().map(NodeKind::Geofence),
        ORIGINATOR_ATTRIBUTES => reader.originator_attributes().map(NodeKind::OriginatorAttributes),
        ORIGINATOR_FIELDS => reader.originator_fields().map(NodeKind::OriginatorFields),
        CUSTOMER_VALUES => reader.owner_values(Owner::Customer).map(NodeKind::OwnerValues),
        TENANT_VALUES => reader.owner_values(Owner::Tenant).map(NodeKind::OwnerValues),
        CUSTOMER_DETAILS => reader.owner_details(Owner::Customer).map(NodeKind::OwnerDetails),
        TENANT_DETAILS => reader.owner_details(Owner::Tenant).map(NodeKind::OwnerDetails),
        ORIGINATOR_TELEMETRY => reader.originator_telemetry().map(NodeKind::OriginatorTelemetry),
        RELATED_VALUES => reader.related_values().map(NodeKind::RelatedValues),
        DEVICE_ATTRIBUTES => reader.device_attributes().map(NodeKind::DeviceAttributes),
        COPY_KEYS => reader.keys("copyFrom").map(NodeKind::CopyKeys),
        DELETE_KEYS => reader.keys("deleteFrom").map(NodeKind::DeleteKeys),
        RENAME_KEYS => reader.renames().map(NodeKind::RenameKeys),
        SPLIT_ARRAY => Some(NodeKind::SplitArray),
        CHANGE_ORIGINATOR => reader.change_originator(),
        JSON_PATH => reader.json_path().map(NodeKind::JsonPath),
        SAVE_TIMESERIES => reader.save_timeseries().map(NodeKind::SaveTimeseries),
        SAVE_ATTRIBUTES => reader.save_attributes(version).map(NodeKind::SaveAttributes),
        DELETE_ATTRIBUTES => reader.delete_attributes().map(NodeKind::DeleteAttributes),
        SCRIPT_FILTER => reader.script(Form::Filter).map(NodeKind::ScriptFilter),
        SCRIPT_SWITCH => reader.script(Form::Switch).map(NodeKind::ScriptSwitch),
        SCRIPT_TRANSFORM => reader.script(Form::Transform).map(NodeKind::ScriptTransform),
        CALCULATE_FIELDS => Some(NodeKind::CalculateFields),
        DEVICE_STATE => reader.device_event().map(NodeKind::DeviceState),
        LOG => reader.log(),
        CREATE_ALARM => reader.create_alarm().map(NodeKind::CreateAlarm),
        CLEAR_ALARM => reader.clear_alarm().map(NodeKind::ClearAlarm),
        ALARM_STATUS => reader.alarm_statuses().map(|statuses| NodeKind::AlarmStatus { statuses }),
        CALCULATE_DELTA => reader.delta().map(NodeKind::CalculateDelta),
        MATH => reader.math().map(NodeKind::Math),
        DEVICE_PROFILE => Some(NodeKind::DeviceProfile),
        REST_CALL => reader.rest_call().map(|call| NodeKind::External(Arc::new(External::Rest(call)))),
        MQTT => reader.mqtt_publish().map(|publish| NodeKind::External(Arc::new(External::Mqtt(publish)))),
        SEND_EMAIL => reader.node_mailer().map(|mailer| NodeKind::External(Arc::new(External::Email(mailer)))),
        KAFKA => reader.kafka_publish().map(|publish| NodeKind::External(Arc::new(External::Kafka(publish)))),
        RABBIT_MQ => reader.rabbitmq_publish().map(|publish| NodeKind::External(Arc::new(External::RabbitMq(publish)))),
        NATS => reader.nats_publish().map(|publish| NodeKind::External(Arc::new(External::Nats(publish)))),
        SLACK => reader.slack_message().map(|message| NodeKind::External(Arc::new(External::Slack(message)))),
        ASSIGN | UNASSIGN | RELATE | UNRELATE | CREDENTIALS => reader.wish(class, version),
        TO_EMAIL => reader.email().map(NodeKind::ToEmail),
        RPC_REPLY => reader.rpc_reply().map(|request_key| NodeKind::RpcReply { request_key }),
        RPC_REQUEST => reader.call_timeout_ms().map(|timeout_ms| NodeKind::RpcRequest { timeout_ms }),
        REST_REPLY => reader.rest_reply().map(NodeKind::RestReply),
        GEOFENCE_EVENTS => reader.geofence_events().map(NodeKind::GeofenceEvents),
        DELAY => reader.delay().map(NodeKind::Delay),
        DEDUPLICATE => reader.deduplicate().map(NodeKind::Deduplicate),
        COUNT => reader.count().map(NodeKind::Count),
        GENERATE => reader.generate().map(|generate| NodeKind::Generate(Arc::new(generate))),
        NESTED => reader.target().map(|chain| NodeKind::Nested { chain }),
        OUTPUT => Some(NodeKind::Output),
        ACKNOWLEDGE => Some(NodeKind::Pass(Passing::Acknowledge)),
        CHECKPOINT => Some(NodeKind::Pass(Passing::Checkpoint)),
        _ => {
            let supported = NodeKind::CLASSES.join(", ");
            problems.add(format!("{path}.type"), format!("node class {class} is not supported yet; supported are {supported}"));
            None
        }
    }
}

/// Reads one node's configuration.
struct Reader<'c> {
    fields: &'c Map<String, Value>,
    path: String,
    problems: &'c mut Problems,
}

impl Reader<'_> {
    fn problem(&mut self, field: &str, rule: impl Into<String>) {
        self.problems.add(format!("{}.{field}", self.path), rule);
    }

    /// The field's value; null is as good as absent.
    fn value(&self, field: &str) -> Option<&Value> {
        self.fields.get(field).filter(|value| !value.is_null())
    }

    /// A value that has to be there and understood.
    fn required<T>(&mut self, field: &str, expected: &str, read: impl FnOnce(&Value) -> Option<T>) -> Option<T> {
        let found = self.value(field).and_then(read);
        if found.is_none() {
            let shown = self.value(field).map_or_else(|| "missing".to_owned(), Value::to_string);
            self.problem(field, format!("{shown}: expected {expected}"));
        }
        found
    }

    /// A boolean, which older versions of ThingsBoard wrote as a string, too. Absent is false.
    fn flag(&mut self, field: &str) -> Option<bool> {
        self.flag_or(field, false)
    }

    /// The same, with what absent is.
    fn flag_or(&mut self, field: &str, otherwise: bool) -> Option<bool> {
        match self.value(field) {
            None => Some(otherwise),
            Some(Value::Bool(flag)) => Some(*flag),
            Some(Value::String(text)) if text == "true" => Some(true),
            Some(Value::String(text)) if text == "false" || text.is_empty() => Some(false),
            Some(value) => {
                let rule = format!("{value}: expected true or false");
                self.problem(field, rule);
                None
            }
        }
    }

    /// Strings; absent is none of them.
    fn strings(&mut self, field: &str) -> Option<Vec<String>> {
        let text =
            |value: &Value| value.as_str().filter(|text| !text.is_empty() && text.len() <= NAME_BYTES_MAX).map(str::to_owned);
        let found = match self.value(field) {
            None => Some(Vec::new()),
            Some(Value::Array(entries)) if entries.len() <= ENTRIES_MAX => entries.iter().map(text).collect(),
            Some(_) => None,
        };
        if found.is_none() {
            self.problem(field, format!("expected at most {ENTRIES_MAX} strings of 1 to {NAME_BYTES_MAX} bytes"));
        }
        found
    }

    /// Pairs of strings, written as an object.
    fn mapping(&mut self, field: &str) -> Option<Vec<(String, String)>> {
        let pair = |(from, to): (&String, &Value)| {
            let to = to.as_str()?;
            let fits = [from.as_str(), to].iter().all(|text| (1..=NAME_BYTES_MAX).contains(&text.len()));
            fits.then(|| (from.clone(), to.to_owned()))
        };
        let expected = format!("an object of 1 to {ENTRIES_MAX} names, each with a name of 1 to {NAME_BYTES_MAX} bytes");
        self.required(field, &expected, |value| {
            let pairs = value.as_object().filter(|pairs| (1..=ENTRIES_MAX).contains(&pairs.len()))?;
            pairs.iter().map(pair).collect()
        })
    }

    fn unsupported(&mut self, field: &str) {
        if self.flag(field) == Some(true) {
            self.problem(field, "true is not supported yet");
        }
    }

    /// `DATA` or `METADATA`. In older versions it was another field, which said either that, or whether it is a certain one of them.
    fn side(&mut self, field: &str, otherwise: Side) -> Option<Side> {
        let older: &[(&str, Side)] = match field {
            "fetchTo" => &[("fetchToData", Side::Data)],
            "deleteFrom" => &[("fromMetadata", Side::Metadata), ("dataToFetch", Side::Metadata)],
            _ => &[("fromMetadata", Side::Metadata)],
        };
        let written =
            [(field, otherwise)].into_iter().chain(older.iter().copied()).find(|(field, _)| self.value(field).is_some());
        let Some((field, asked)) = written else { return Some(otherwise) };
        let other = if asked == Side::Data { Side::Metadata } else { Side::Data };
        self.required(field, "DATA or METADATA", |value| match value {
            Value::Bool(is) => Some(if *is { asked } else { other }),
            value => match value.as_str()? {
                "DATA" => Some(Side::Data),
                "METADATA" => Some(Side::Metadata),
                "true" => Some(asked),
                "false" => Some(other),
                _ => None,
            },
        })
    }

    fn scope(&mut self) -> Option<Scope> {
        // ThingsBoard's own default.
        if self.value("scope").is_none() {
            return Some(Scope::Server);
        }
        let names = format!("one of {}", Scope::ALL.map(Scope::name).join(", "));
        self.required("scope", &names, |value| value.as_str().and_then(Scope::parse))
    }

    fn message_types(&mut self) -> Option<MessageTypes> {
        if self.value("messageTypes").is_none_or(|types| !types.is_array()) {
            self.problem("messageTypes", "expected an array of message types");
            return None;
        }
        let mut types = MessageTypes::default();
        for name in self.strings("messageTypes")? {
            match MessageType::parse(&name) {
                Some(kind) if types.standard.contains(&kind) => {}
                Some(kind) => types.standard.push(kind),
                None if types.custom.contains(&name) => {}
                None => types.custom.push(name),
            }
        }
        Some(types)
    }

    fn entity_types(&mut self) -> Option<Vec<EntityType>> {
        let names = EntityType::ALL.iter().map(|kind| kind.name()).collect::<Vec<_>>().join(", ");
        let kind = |value: &Value| value.as_str().and_then(EntityType::parse);
        self.required("originatorTypes", &format!("an array of {names}"), |value| value.as_array()?.iter().map(kind).collect())
    }

    fn check_fields(&mut self) -> Option<CheckFields> {
        let (data, metadata, all) = (self.strings("messageNames"), self.strings("metadataNames"), self.flag("checkAllKeys"));
        Some(CheckFields { data: data?, metadata: metadata?, all: all? })
    }

    fn geofence(&mut self) -> Option<Geofence> {
        let mut key = |field: &str, otherwise: &str| match self.value(field) {
            None => Some(otherwise.to_owned()),
            Some(_) => self.required(field, "a name", |value| value.as_str().map(str::to_owned)),
        };
        let (latitude_key, longitude_key) = (key("latitudeKeyName", "latitude"), key("longitudeKeyName", "longitude"));
        let perimeter_key = key("perimeterKeyName", "")?;
        let fetched = self.flag("fetchPerimeterInfoFromMessageMetadata")?;
        let perimeter = if fetched && perimeter_key.is_empty() {
            Some(Source::Spread)
        } else {
            let circle = self.required("perimeterType", "CIRCLE or POLYGON", |value| match value.as_str()? {
                "CIRCLE" => Some(true),
                "POLYGON" => Some(false),
                _ => None,
            })?;
            if fetched {
                Some(Source::Metadata { key: perimeter_key, circle })
            } else {
                self.perimeter(circle).map(Source::Fixed)
            }
        };
        Some(Geofence { latitude_key: latitude_key?, longitude_key: longitude_key?, perimeter: perimeter? })
    }

    fn geofence_events(&mut self) -> Option<GeofenceEvents> {
        let fence = self.geofence();
        let (inside, outside) = (
            self.before("minInsideDuration", "minInsideDurationTimeUnit", 1),
            self.before("minOutsideDuration", "minOutsideDurationTimeUnit", 1),
        );
        let report_each = self.flag("reportPresenceStatusOnEachMessage");
        Some(GeofenceEvents { fence: fence?, min_inside_ms: inside?, min_outside_ms: outside?, report_each: report_each? })
    }

    fn perimeter(&mut self, circle: bool) -> Option<Perimeter> {
        let read = if circle {
            let mut number = |field: &str| self.required(field, "a number", Value::as_f64);
            let (latitude, longitude, range) = (number("centerLatitude"), number("centerLongitude"), number("range"));
            let unit = self.value("rangeUnit").and_then(Value::as_str).unwrap_or("METER").to_owned();
            let center = Point { latitude: latitude?, longitude: longitude? };
            Perimeter::around(center, range?, &unit).map_err(|rule| ("rangeUnit", rule))
        } else {
            let text = self.required("polygonsDefinition", "polygons as JSON text", |value| value.as_str().map(str::to_owned))?;
            let value = serde_json::from_str(&text).map_err(|error| error.to_string());
            value.and_then(|value| Perimeter::polygons(&value)).map_err(|rule| ("polygonsDefinition", rule))
        };
        read.map_err(|(field, rule)| self.problem(field, rule)).ok()
    }

    /// JavaScript where no language is named, as before there was TBEL.
    fn script(&mut self, form: Form) -> Option<Arc<Script>> {
        self.script_in(form, ("tbelScript", "jsScript"))
    }

    /// The same, in the field of its language.
    fn script_in(&mut self, form: Form, (tbel, js): (&str, &str)) -> Option<Arc<Script>> {
        let language = match self.value("scriptLang") {
            None => Some(Language::Js),
            Some(_) => self.required("scriptLang", "TBEL or JS", |value| match value.as_str()? {
                "TBEL" => Some(Language::Tbel),
                "JS" => Some(Language::Js),
                _ => None,
            }),
        }?;
        let field = if language == Language::Tbel { tbel } else { js };
        let body = self.required(field, "a script", |value| value.as_str().map(str::to_owned))?;
        Script::parse(form, language, &body).map_err(|refused| self.problem(field, refused.to_string())).ok().map(Arc::new)
    }

    /// A log node writes without its script, which has to be one all the same.
    fn log(&mut self) -> Option<NodeKind> {
        let has_script = ["jsScript", "tbelScript"].iter().any(|field| self.value(field).is_some());
        let fine = !has_script || self.script(Form::Text).is_some();
        fine.then_some(NodeKind::Log)
    }

    fn originator_attributes(&mut self) -> Option<OriginatorAttributes> {
        let (client, shared) = (self.strings("clientAttributeNames"), self.strings("sharedAttributeNames"));
        let (server, latest) = (self.strings("serverAttributeNames"), self.strings("latestTsKeyNames"));
        let (must_exist, with_ts) = (self.flag("tellFailureIfAbsent"), self.flag("getLatestValueWithTs"));
        Some(OriginatorAttributes {
            client: client?,
            shared: shared?,
            server: server?,
            latest: latest?,
            must_exist: must_exist?,
            with_ts: with_ts?,
            to: self.side("fetchTo", Side::Metadata)?,
        })
    }

    fn originator_fields(&mut self) -> Option<OriginatorFields> {
        let field = if self.value("dataMapping").is_some() { "dataMapping" } else { "fieldsMapping" };
        let (mapping, ignore_null) = (self.mapping(field), self.flag("ignoreNullStrings"));
        Some(OriginatorFields { mapping: mapping?, ignore_null: ignore_null?, to: self.side("fetchTo", Side::Metadata)? })
    }

    fn name(&mut self, field: &str) -> Option<String> {
        let fits = |text: &&str| (1..=NAME_BYTES_MAX).contains(&text.len());
        let expected = format!("a name of 1 to {NAME_BYTES_MAX} bytes");
        self.required(field, &expected, |value| value.as_str().filter(fits).map(str::to_owned))
    }

    fn delta(&mut self) -> Option<CalculateDelta> {
        let (input, output, cached) = (self.name("inputValueKey"), self.name("outputValueKey"), self.flag("useCache"));
        let period = if self.flag("addPeriodBetweenMsgs")? { Some(self.name("periodValueKey")?) } else { None };
        let round = match self.value("round") {
            None => None,
            Some(_) => Some(self.decimals("round")?),
        };
        let (negative_fails, zero_is_left_out) = (self.flag("tellFailureIfDeltaIsNegative"), self.flag("excludeZeroDeltas"));
        Some(CalculateDelta {
            input: input?,
            output: output?,
            cached: cached?,
            period,
            round,
            negative_fails: negative_fails?,
            zero_is_left_out: zero_is_left_out?,
        })
    }

    fn decimals(&mut self, field: &str) -> Option<u32> {
        self.required(field, "0 to 15 decimals", |value| u32::try_from(value.as_u64()?).ok().filter(|decimals| *decimals <= 15))
    }

    /// Every operation is a formula over the arguments, by their names.
    fn math(&mut self) -> Option<Math> {
        let entries = self.required("arguments", "an array of 1 to 20 arguments", |value| {
            value.as_array().filter(|all| (1..=20).contains(&all.len())).cloned()
        })?;
        let (mut names, mut arguments) = (Vec::new(), Vec::new());
        for (place, entry) in entries.iter().enumerate() {
            let path = format!("{}.arguments[{place}]", self.path);
            let none = Map::new();
            let mut of = Reader { fields: entry.as_object().unwrap_or(&none), path, problems: &mut *self.problems };
            names.push(of.name("name")?);
            let otherwise = of.value("defaultValue").and_then(Value::as_f64);
            arguments.push(MathArgument { from: of.operand()?, otherwise });
        }
        let result = self.required("result", "an object", |value| value.as_object().cloned())?;
        let path = format!("{}.result", self.path);
        let mut of = Reader { fields: &result, path, problems: &mut *self.problems };
        let to = match of.operand()? {
            MathOperand::Constant(_) => {
                of.problem("type", "a constant is no place for a result");
                return None;
            }
            to => to,
        };
        let mut precision = if of.value("resultValuePrecision").is_some() { of.decimals("resultValuePrecision")? } else { 0 };
        let (add_to_data, add_to_metadata) = (of.flag("addToBody")?, of.flag("addToMetadata")?);
        if self.value("operation").is_some_and(|operation| ["CEIL", "FLOOR", "GET_EXP"].iter().any(|whole| operation == whole)) {
            precision = 0;
        }
        let text = self.formula(names.len())?;
        let parsed = Formula::parse(&text, &names).map_err(|rule| self.problem("customFunction", rule)).ok()?;
        Some(Math { formula: parsed, arguments, result: MathResult { to, precision, add_to_data, add_to_metadata } })
    }

    /// The operation as a formula over the first arguments, whatever their names.
    fn formula(&mut self, arguments: usize) -> Option<String> {
        let operation = self.required("operation", "an operation", |value| value.as_str().map(str::to_owned))?;
        if operation == "CUSTOM" {
            return self.required("customFunction", "a formula", |value| value.as_str().map(str::to_owned));
        }
        let name = |place: usize| {
            let entry = self.fields.get("arguments").and_then(|all| all.get(place));
            entry.and_then(|entry| entry.get("name")).and_then(Value::as_str).unwrap_or_default().to_owned()
        };
        let (x, y) = (name(0), name(1));
        let two = match operation.as_str() {
            "ADD" => Some(format!("{x}+{y}")),
            "SUB" => Some(format!("{x}-{y}")),
            "MULT" => Some(format!("{x}*{y}")),
            "DIV" => Some(format!("{x}/{y}")),
            "POW" => Some(format!("pow({x},{y})")),
            "MIN" | "MAX" | "HYPOT" | "ATAN2" | "FLOOR_DIV" | "FLOOR_MOD" => {
                Some(format!("{}({x},{y})", operation.to_lowercase()))
            }
            _ => None,
        };
        let one = match operation.as_str() {
            "SIN" | "SINH" | "COS" | "COSH" | "TAN" | "TANH" | "ACOS" | "ASIN" | "ATAN" | "EXP" | "EXPM1" | "SQRT" | "CBRT"
            | "LOG" | "LOG10" | "LOG1P" | "CEIL" | "FLOOR" | "ABS" | "SIGNUM" | "ROUND" | "GET_EXP" => {
                Some(format!("{}({x})", operation.to_lowercase()))
            }
            "RAD" => Some(format!("{x}*pi/180")),
            "DEG" => Some(format!("{x}*180/pi")),
            _ => None,
        };
        let wanted = if two.is_some() { 2 } else { 1 };
        match two.or(one) {
            None => self.problem("operation", format!("{operation} is not supported yet")),
            Some(_) if arguments < wanted => self.problem("arguments", format!("{operation} has {wanted}")),
            formula => return formula,
        }
        None
    }

    fn operand(&mut self) -> Option<MathOperand> {
        let kinds = "MESSAGE_BODY, MESSAGE_METADATA, ATTRIBUTE, TIME_SERIES or CONSTANT";
        let kind = self.required("type", kinds, |value| value.as_str().map(str::to_owned))?;
        if kind == "CONSTANT" {
            let number = |value: &Value| value.as_f64().or_else(|| value.as_str()?.parse().ok());
            return self.required("key", "a number", number).map(MathOperand::Constant);
        }
        let key = self.name("key")?;
        match kind.as_str() {
            "MESSAGE_BODY" => Some(MathOperand::Data(key)),
            "MESSAGE_METADATA" => Some(MathOperand::Metadata(key)),
            "TIME_SERIES" => Some(MathOperand::Timeseries(key)),
            "ATTRIBUTE" => {
                let scope = if self.value("attributeScope").is_none() {
                    Scope::Server
                } else {
                    self.required("attributeScope", "a scope", |value| value.as_str().and_then(Scope::parse))?
                };
                Some(MathOperand::Attribute(scope, key))
            }
            other => {
                self.problem("type", format!("{other}: expected {kinds}"));
                None
            }
        }
    }

    fn keys(&mut self, side: &str) -> Option<Keys> {
        let patterns = self.strings("keys")?;
        for pattern in &patterns {
            if let Err(rule) = super::pattern(pattern) {
                self.problem("keys", format!("{pattern}: {rule}"));
                return None;
            }
        }
        Some(Keys { of: self.side(side, Side::Data)?, patterns })
    }

    /// ThingsBoard's own default is everything.
    fn json_path(&mut self) -> Option<JsonPath> {
        let path = match self.value("jsonPath") {
            None => Some("$".to_owned()),
            Some(_) => self.required("jsonPath", "a JSON path", |value| value.as_str().map(str::to_owned)),
        };
        JsonPath::parse(&path?).map_err(|rule| self.problem("jsonPath", rule)).ok()
    }

    fn renames(&mut self) -> Option<Renames> {
        let names = self.mapping("renameKeysMapping");
        Some(Renames { of: self.side("renameIn", Side::Data)?, names: names? })
    }

    fn save_timeseries(&mut self) -> Option<SaveTimeseries> {
        let processing = self.processing(&["timeseries", "latest"]);
        // Before configuration version 1 this stood for processingSettings.
        self.unsupported("skipLatestPersistence");
        let use_server_ts = self.flag("useServerTs");
        let default_ttl_s = match self.value("defaultTTL") {
            None => Some(0),
            Some(_) => self.required("defaultTTL", &format!("seconds, 0 to {}", u32::MAX), |value| {
                value.as_u64().and_then(|ttl| u32::try_from(ttl).ok())
            }),
        };
        Some(SaveTimeseries { default_ttl_s: default_ttl_s?, use_server_ts: use_server_ts?, processing: processing? })
    }

    /// What older versions do not say, ThingsBoard takes for true when it makes them new.
    fn save_attributes(&mut self, version: u64) -> Option<SaveAttributes> {
        let processing = self.processing(&["attributes"]);
        let notify_device = self.flag_or("notifyDevice", version < 2);
        let only_on_change = self.flag_or("updateAttributesOnlyOnValueChange", version == 1);
        let tell_chain = self.flag("sendAttributesUpdatedNotification");
        Some(SaveAttributes {
            scope: self.scope()?,
            notify_device: notify_device?,
            only_on_change: only_on_change?,
            tell_chain: tell_chain?,
            processing: processing?,
        })
    }

    fn delete_attributes(&mut self) -> Option<DeleteAttributes> {
        let (keys, notify_device) = (self.strings("keys"), self.flag("notifyDevice"));
        let tell_chain = self.flag("sendAttributesDeletedNotification");
        Some(DeleteAttributes { scope: self.scope()?, keys: keys?, notify_device: notify_device?, tell_chain: tell_chain? })
    }

    fn device_event(&mut self) -> Option<DeviceEvent> {
        let named = |name: &str| DeviceEvent::ALL.into_iter().find(|event| event.kind().name() == name);
        let events = DeviceEvent::ALL.map(|event| event.kind().name()).join(", ");
        self.required("event", &format!("one of {events}"), |value| value.as_str().and_then(named))
    }

    fn rpc_reply(&mut self) -> Option<String> {
        self.name_or("requestIdMetaDataAttribute", "requestId")
    }

    fn rest_reply(&mut self) -> Option<RestReply> {
        let place_key = self.name_or("serviceIdMetaDataAttribute", "serviceId");
        let request_key = self.name_or("requestIdMetaDataAttribute", "requestUUID");
        Some(RestReply { place_key: place_key?, request_key: request_key? })
    }

    /// A name, or this one where the field is absent.
    fn name_or(&mut self, field: &str, otherwise: &str) -> Option<String> {
        match self.value(field) {
            None => Some(otherwise.to_owned()),
            Some(_) => self.required(field, "a name", |value| value.as_str().map(str::to_owned)),
        }
    }

    fn target(&mut self) -> Option<Target> {
        let of_originator = self.flag("forwardMsgToDefaultRuleChain")?;
        if of_originator && self.value("ruleChainId").is_none() {
            return Some(Target::OfOriginator { otherwise: None });
        }
        let id = |value: &Value| value.as_str().and_then(|text| Uuid::parse_str(text).ok());
        let chain = self.required("ruleChainId", "the id of a rule chain", id).map(ChainId)?;
        Some(if of_originator { Target::OfOriginator { otherwise: Some(chain) } } else { Target::Chain(chain) })
    }
}
