//! What a client may ask on a socket: ThingsBoard's legacy frames (arrays by name) and its current ones (`cmds` with a type),
//! both read into one list of commands. Total on any text; never decides who may ask.

use serde::{Deserialize, de::IgnoredAny};
use serde_json::Value;
use uuid::Uuid;

use crate::telemetry::{Aggregation, Watch};
use crate::ws::alarms::Wanted;
use schemas::telemetry::Scope;

/// Commands of one frame.
const COMMANDS_PER_FRAME_MAX: usize = 200;
/// ThingsBoard's default number of points per key.
const LIMIT_DEFAULT: u32 = 100;

/// What one frame asks.
#[derive(Debug, Default, PartialEq)]
pub(in crate::ws) struct Frame {
    /// The access token of `authCmd`.
    pub(in crate::ws) token: Option<String>,
    pub(in crate::ws) commands: Vec<Result<Command, Refused>>,
}

/// A command that cannot be carried out; answered under its id, the socket lives on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::ws) struct Refused {
    pub(in crate::ws) id: i64,
    pub(in crate::ws) reason: String,
}

#[derive(Clone, Debug, PartialEq)]
pub(in crate::ws) enum Command {
    Subscribe(Subscription),
    Unsubscribe {
        id: i64,
    },
    History {
        id: i64,
        subject: Subject,
        span: Span,
    },
    /// The query as it came.
    Alarms {
        id: i64,
        wanted: Wanted,
        query: Value,
    },
}

#[derive(Clone, Debug, PartialEq)]
pub(in crate::ws) struct Subscription {
    pub(in crate::ws) id: i64,
    pub(in crate::ws) subject: Subject,
    pub(in crate::ws) what: Watch,
    /// A first reply with what the window holds, in place of the latest values.
    pub(in crate::ws) window: Option<Span>,
}

/// Which entity, and which of its keys; empty = all.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::ws) struct Subject {
    pub(in crate::ws) kind: String,
    pub(in crate::ws) id: Uuid,
    pub(in crate::ws) keys: Vec<String>,
}

/// A time range. `start` absent: the window ends now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::ws) struct Span {
    pub(in crate::ws) start: Option<i64>,
    pub(in crate::ws) length_ms: i64,
    pub(in crate::ws) interval_ms: i64,
    pub(in crate::ws) limit: u32,
    pub(in crate::ws) aggregation: Aggregation,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct RawFrame {
    auth_cmd: Option<RawAuth>,
    #[serde(default)]
    cmds: Option<Vec<RawCommand>>,
    #[serde(default)]
    ts_sub_cmds: Option<Vec<RawCommand>>,
    #[serde(default)]
    attr_sub_cmds: Option<Vec<RawCommand>>,
    #[serde(default)]
    history_cmds: Option<Vec<RawCommand>>,
    #[serde(default)]
    alarm_data_cmds: Option<Vec<RawCommand>>,
    #[serde(default)]
    alarm_data_unsubscribe_cmds: Option<Vec<RawCommand>>,
    #[serde(default)]
    alarm_count_cmds: Option<Vec<RawCommand>>,
    #[serde(default)]
    alarm_count_unsubscribe_cmds: Option<Vec<RawCommand>>,
    #[serde(flatten)]
    other: std::collections::BTreeMap<String, IgnoredAny>,
}

#[derive(Deserialize)]
struct RawAuth {
    token: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct RawCommand {
    #[serde(default)]
    cmd_id: i64,
    r#type: Option<String>,
    entity_type: Option<String>,
    entity_id: Option<String>,
    scope: Option<String>,
    keys: Option<String>,
    #[serde(default)]
    unsubscribe: bool,
    start_ts: Option<i64>,
    end_ts: Option<i64>,
    time_window: Option<i64>,
    interval: Option<i64>,
    limit: Option<i64>,
    agg: Option<String>,
    token: Option<String>,
    query: Option<Value>,
}

/// Reads one text frame. `Err` when it is no frame at all.
pub(in crate::ws) fn parse(text: &str) -> Result<Frame, String> {
    let raw: RawFrame = serde_json::from_str(text).map_err(|error| format!("not a command frame: {error}"))?;
    let cmds = raw.cmds.unwrap_or_default().into_iter();
    let mut token = raw.auth_cmd.and_then(|auth| auth.token);
    let mut commands = Vec::new();
    for command in cmds {
        if command.r#type.as_deref() == Some("AUTH") {
            token = token.or(command.token);
            continue;
        }
        commands.push(typed(command));
    }
    commands.extend(raw.ts_sub_cmds.unwrap_or_default().into_iter().map(subscribe_timeseries));
    commands.extend(raw.attr_sub_cmds.unwrap_or_default().into_iter().map(subscribe_attributes));
    commands.extend(raw.history_cmds.unwrap_or_default().into_iter().map(history));
    commands.extend(raw.alarm_data_cmds.unwrap_or_default().into_iter().map(|raw| alarms(raw, Wanted::Page)));
    commands.extend(raw.alarm_count_cmds.unwrap_or_default().into_iter().map(|raw| alarms(raw, Wanted::Count)));
    let ended = [raw.alarm_data_unsubscribe_cmds, raw.alarm_count_unsubscribe_cmds].into_iter().flatten().flatten();
    commands.extend(ended.map(|raw| Ok(Command::Unsubscribe { id: raw.cmd_id })));
    if commands.is_empty() && token.is_none() && !raw.other.is_empty() {
        let names: Vec<&str> = raw.other.keys().map(String::as_str).collect();
        return Err(format!("none of {} is offered here", names.join(", ")));
    }
    if commands.len() > COMMANDS_PER_FRAME_MAX {
        return Err(format!("{} commands in one frame, at most {COMMANDS_PER_FRAME_MAX}", commands.len()));
    }
    Ok(Frame { token, commands })
}

fn typed(raw: RawCommand) -> Result<Command, Refused> {
    match raw.r#type.as_deref() {
        Some("TIMESERIES") => subscribe_timeseries(raw),
        Some("ATTRIBUTES") => subscribe_attributes(raw),
        Some("TIMESERIES_HISTORY") => history(raw),
        Some("ALARM_DATA") => alarms(raw, Wanted::Page),
        Some("ALARM_COUNT") => alarms(raw, Wanted::Count),
        Some("TIMESERIES_UNSUBSCRIBE" | "ATTRIBUTES_UNSUBSCRIBE" | "ALARM_DATA_UNSUBSCRIBE" | "ALARM_COUNT_UNSUBSCRIBE") => {
            Ok(Command::Unsubscribe { id: raw.cmd_id })
        }
        Some(other) => Err(refused(&raw, format!("type: \"{other}\" is not offered"))),
        None => Err(refused(&raw, "type: missing".to_owned())),
    }
}

fn subscribe_timeseries(raw: RawCommand) -> Result<Command, Refused> {
    if raw.unsubscribe {
        return Ok(Command::Unsubscribe { id: raw.cmd_id });
    }
    if let Some(scope) = raw.scope.as_deref().filter(|scope| !scope.is_empty() && *scope != "LATEST_TELEMETRY") {
        return Err(refused(&raw, format!("scope: \"{scope}\" must be LATEST_TELEMETRY for a time series subscription")));
    }
    let subject = subject(&raw)?;
    let window = match raw.time_window {
        Some(length) if length > 0 => Some(span(&raw, raw.start_ts.filter(|start| *start > 0), length)?),
        Some(length) if length < 0 => return Err(refused(&raw, format!("timeWindow: {length} must not be negative"))),
        _ => None,
    };
    if window.is_some() && subject.keys.is_empty() {
        return Err(refused(&raw, "keys: must be named when a timeWindow is asked for".to_owned()));
    }
    Ok(Command::Subscribe(Subscription { id: raw.cmd_id, subject, what: Watch::Timeseries, window }))
}

fn subscribe_attributes(raw: RawCommand) -> Result<Command, Refused> {
    if raw.unsubscribe {
        return Ok(Command::Unsubscribe { id: raw.cmd_id });
    }
    let scope = match raw.scope.as_deref().filter(|scope| !scope.is_empty()) {
        None | Some("ANY_SCOPE") => None,
        Some(name) => Some(
            Scope::parse(name)
                .ok_or_else(|| refused(&raw, format!("scope: \"{name}\" must be CLIENT_SCOPE, SERVER_SCOPE or SHARED_SCOPE")))?,
        ),
    };
    let subject = subject(&raw)?;
    Ok(Command::Subscribe(Subscription { id: raw.cmd_id, subject, what: Watch::Attributes(scope), window: None }))
}

fn alarms(raw: RawCommand, wanted: Wanted) -> Result<Command, Refused> {
    match raw.query {
        Some(query) => Ok(Command::Alarms { id: raw.cmd_id, wanted, query }),
        None => Err(refused(&raw, "query: missing".to_owned())),
    }
}

fn history(raw: RawCommand) -> Result<Command, Refused> {
    let (Some(start), Some(end)) = (raw.start_ts, raw.end_ts) else {
        return Err(refused(&raw, "startTs, endTs: both must be given".to_owned()));
    };
    let length = end.checked_sub(start).filter(|length| *length >= 0 && start >= 0);
    let Some(length) = length else {
        return Err(refused(&raw, format!("startTs: {start} must be 0 or more and not above endTs {end}")));
    };
    let subject = subject(&raw)?;
    if subject.keys.is_empty() {
        return Err(refused(&raw, "keys: must be named".to_owned()));
    }
    let span = span(&raw, Some(start), length)?;
    Ok(Command::History { id: raw.cmd_id, subject, span })
}

fn subject(raw: &RawCommand) -> Result<Subject, Refused> {
    let kind = raw.entity_type.clone().ok_or_else(|| refused(raw, "entityType: missing".to_owned()))?;
    let text = raw.entity_id.as_deref().ok_or_else(|| refused(raw, "entityId: missing".to_owned()))?;
    let id = Uuid::parse_str(text).map_err(|_| refused(raw, format!("entityId: \"{}\" must be a UUID", shortened(text))))?;
    Ok(Subject { kind, id, keys: split_keys(raw.keys.as_deref().unwrap_or_default()) })
}

fn span(raw: &RawCommand, start: Option<i64>, length_ms: i64) -> Result<Span, Refused> {
    let aggregation = match raw.agg.as_deref().filter(|name| !name.is_empty()) {
        None => Aggregation::None,
        Some(name) => Aggregation::parse(name)
            .ok_or_else(|| refused(raw, format!("agg: \"{}\" must be NONE, MIN, MAX, AVG, SUM or COUNT", shortened(name))))?,
    };
    let limit = match raw.limit {
        None | Some(0) => LIMIT_DEFAULT,
        Some(limit) => u32::try_from(limit).map_err(|_| refused(raw, format!("limit: {limit} must be 1 or more")))?,
    };
    let interval_ms = raw.interval.unwrap_or(0);
    if interval_ms < 0 {
        return Err(refused(raw, format!("interval: {interval_ms} must not be negative")));
    }
    Ok(Span { start, length_ms, interval_ms, limit, aggregation })
}

/// `a,b` as a list; blanks around keys and empty keys are dropped.
fn split_keys(keys: &str) -> Vec<String> {
    keys.split(',').map(str::trim).filter(|key| !key.is_empty()).map(str::to_owned).collect()
}

fn refused(raw: &RawCommand, reason: String) -> Refused {
    Refused { id: raw.cmd_id, reason }
}

fn shortened(text: &str) -> String {
    text.chars().take(64).collect()
}
