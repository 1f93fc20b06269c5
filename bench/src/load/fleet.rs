//! Creates the devices of a load over REST, in bulk where the platform can, and writes their tokens down. Never publishes.

use std::collections::HashMap;

use anyhow::{Context as _, bail};
use serde_json::{Value, json};
use uuid::Uuid;

use super::clock::{self, SECOND};
use super::options::Fleet;
use super::report;
use super::rest::{Rest, shortened};
use super::tokens::{self, Device};

/// Devices of one import.
const CHUNK: u32 = 5_000;
/// Devices of one page of the list.
const PAGE: u32 = 1_000;

/// # Errors
/// The platform refuses, or the file cannot be written.
pub(crate) fn run(options: &Fleet) -> anyhow::Result<()> {
    let mut rest = Rest::login(options.platform.platform()?)?;
    let start = clock::now();
    let names = |from: u32, to: u32| (from..to).map(|number| format!("{}-{number:07}", options.prefix)).collect::<Vec<_>>();
    let mut from = 0;
    let mut bulk = true;
    while from < options.count {
        let to = options.count.min(from + CHUNK);
        let names = names(from, to);
        bulk = bulk && import(&mut rest, &names)?;
        if !bulk {
            one_by_one(&mut rest, &names)?;
        }
        from = to;
        let seconds = (clock::now() - start) as f64 / SECOND as f64;
        report::progress(&format!("{to} of {} devices, {:.0}/s", options.count, f64::from(to) / seconds));
    }
    let ids = identify(&mut rest, &options.prefix, options.count)?;
    let devices: Vec<Device> =
        names(0, options.count).into_iter().map(|name| Device { id: ids.get(&name).copied(), token: token(&name) }).collect();
    let unknown = devices.iter().filter(|device| device.id.is_none()).count();
    if unknown > 0 {
        bail!("{unknown} of {} devices are not in the platform's list", options.count);
    }
    tokens::write(&options.tokens, &devices).with_context(|| format!("--tokens {}", options.tokens.display()))?;
    let seconds = (clock::now() - start) as f64 / SECOND as f64;
    report::say(&format!("{} devices in {seconds:.1} s, tokens in {}", options.count, options.tokens.display()));
    Ok(())
}

fn token(name: &str) -> String {
    format!("tok-{name}")
}

/// ThingsBoard's bulk import; false when the platform does not have it.
fn import(rest: &mut Rest, names: &[String]) -> anyhow::Result<bool> {
    let file: String = names.iter().map(|name| format!("{name},default,{}\n", token(name))).collect();
    let columns = json!([{ "type": "NAME" }, { "type": "TYPE" }, { "type": "ACCESS_TOKEN" }]);
    let mapping = json!({ "columns": columns, "delimiter": ",", "header": false, "update": true });
    let reply = rest.post("/api/device/bulk_import", &json!({ "file": file, "mapping": mapping }).to_string())?;
    if reply.status == 404 || reply.status == 405 {
        return Ok(false);
    }
    let answer: Value = serde_json::from_str(&reply.text).unwrap_or_default();
    let errors = answer.get("errors").and_then(Value::as_u64);
    if reply.status != 200 || errors != Some(0) {
        bail!("the bulk import was refused: {} {}", reply.status, shortened(&reply.text));
    }
    Ok(true)
}

fn one_by_one(rest: &mut Rest, names: &[String]) -> anyhow::Result<()> {
    for name in names {
        let body = json!({ "name": name, "type": "default" }).to_string();
        let reply = rest.post(&format!("/api/device?accessToken={}", token(name)), &body)?;
        // 400: it is there from an earlier run.
        if reply.status != 200 && reply.status != 400 {
            bail!("device {name} was refused: {} {}", reply.status, shortened(&reply.text));
        }
    }
    Ok(())
}

/// The ids of the fleet's devices by name.
fn identify(rest: &mut Rest, prefix: &str, count: u32) -> anyhow::Result<HashMap<String, Uuid>> {
    let mut ids = HashMap::new();
    for page in 0.. {
        let path =
            format!("/api/tenant/devices?pageSize={PAGE}&page={page}&textSearch={prefix}-&sortProperty=name&sortOrder=ASC");
        let answer: Value = serde_json::from_str(&rest.get(&path)?).with_context(|| format!("GET {path}"))?;
        let rows = answer.get("data").and_then(Value::as_array).with_context(|| format!("GET {path}: no data"))?;
        for row in rows {
            let name = row.get("name").and_then(Value::as_str);
            let id = row.pointer("/id/id").and_then(Value::as_str).and_then(|id| Uuid::parse_str(id).ok());
            if let (Some(name), Some(id)) = (name, id) {
                ids.insert(name.to_owned(), id);
            }
        }
        let more = answer.get("hasNext").and_then(Value::as_bool).unwrap_or(false);
        // Names of the fleet sort before longer ones, but others may begin alike: read on until all were seen.
        if !more || ids.len() as u64 >= u64::from(count) * 4 {
            break;
        }
    }
    Ok(ids)
}
