//! What a client is told on a socket: ThingsBoard's v1 update, values as strings. Pure.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::telemetry::{Attribute, Series, Update};

/// ThingsBoard's error codes on a socket.
pub(in crate::ws) const INTERNAL: u32 = 1;
pub(in crate::ws) const BAD_REQUEST: u32 = 2;
pub(in crate::ws) const UNAUTHORIZED: u32 = 3;

/// `{"subscriptionId":1,"errorCode":0,"errorMsg":null,"data":{"k":[[ts,"value"]]},"latestValues":{"k":ts}}`
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Shape<'a> {
    subscription_id: i64,
    error_code: u32,
    error_msg: Option<&'a str>,
    data: BTreeMap<&'a str, Vec<(i64, String)>>,
    latest_values: BTreeMap<&'a str, i64>,
}

/// Series as an update of subscription `id`.
pub(in crate::ws) fn of_series(id: i64, series: &[Series]) -> String {
    let mut data: BTreeMap<&str, Vec<(i64, String)>> = BTreeMap::new();
    for one in series {
        let points = one.points.iter().map(|point| (point.ts, point.value.to_string()));
        data.entry(one.key.as_str()).or_default().extend(points);
    }
    encode(id, data)
}

/// What a watch delivered, as an update of subscription `id`. A deleted attribute is ThingsBoard's `[0, ""]`.
pub(in crate::ws) fn of_watch(id: i64, update: &Update) -> String {
    let mut data: BTreeMap<&str, Vec<(i64, String)>> = BTreeMap::new();
    for one in &update.series {
        let points = one.points.iter().map(|point| (point.ts, point.value.to_string()));
        data.entry(one.key.as_str()).or_default().extend(points);
    }
    for Attribute { key, last_update, value, .. } in &update.attributes {
        data.entry(key.as_str()).or_default().push((*last_update, value.to_string()));
    }
    for key in &update.deleted {
        data.entry(key.as_str()).or_default().push((0, String::new()));
    }
    encode(id, data)
}

/// A refusal of command `id`.
pub(in crate::ws) fn of_error(id: i64, code: u32, text: &str) -> String {
    let shape = Shape {
        subscription_id: id,
        error_code: code,
        error_msg: Some(text),
        data: BTreeMap::new(),
        latest_values: BTreeMap::new(),
    };
    serde_json::to_string(&shape).unwrap_or_default()
}

fn encode(id: i64, data: BTreeMap<&str, Vec<(i64, String)>>) -> String {
    let latest_values = data.iter().filter_map(|(key, points)| Some((*key, points.iter().map(|(ts, _)| *ts).max()?))).collect();
    let shape = Shape { subscription_id: id, error_code: 0, error_msg: None, data, latest_values };
    serde_json::to_string(&shape).unwrap_or_default()
}
