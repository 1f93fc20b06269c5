//! What operators and their tools ask an instance over plain HTTP: does it live, is it ready, how much has it done.
//! Reads counters and health; never changes anything and never reaches a shard.

mod text;

use std::{
    io,
    net::TcpListener,
    sync::{Arc, atomic::Ordering::Relaxed},
    time::Duration,
};

use axum::{
    Json, Router,
    extract::State,
    http::{StatusCode, header},
    response::IntoResponse,
    routing::get,
};
use serde_json::{Value, json};
use tokio::{sync::watch, time::sleep};

use crate::clock::Clock;
use crate::limits;
use crate::link;
use crate::metric::ShardReport;

/// What the answers are made of.
#[derive(Debug)]
struct Sources {
    clock: Clock,
    shards: Vec<ShardReport>,
    link: Arc<link::Status>,
}

/// Serves `/livez`, `/readyz` and `/metrics` until `shutdown` is true.
///
/// # Errors
/// When the listener cannot be used.
pub async fn serve(
    listener: TcpListener,
    clock: Clock,
    shards: Vec<ShardReport>,
    link: Arc<link::Status>,
    mut shutdown: watch::Receiver<bool>,
) -> io::Result<()> {
    listener.set_nonblocking(true)?;
    let listener = tokio::net::TcpListener::from_std(listener)?;
    let router = Router::new()
        .route("/livez", get(livez))
        .route("/readyz", get(readyz))
        .route("/metrics", get(metrics))
        .with_state(Arc::new(Sources { clock, shards, link }));
    let mut last_end = shutdown.clone();
    let serving = axum::serve(listener, router).with_graceful_shutdown(async move { stopped(&mut shutdown).await });
    tokio::select! {
        served = serving => served,
        // A caller that does not finish must not keep the process from ending.
        () = async { stopped(&mut last_end).await; sleep(Duration::from_millis(limits::SHUTDOWN_GRACE_MS)).await } => Ok(()),
    }
}

async fn stopped(shutdown: &mut watch::Receiver<bool>) {
    drop(shutdown.wait_for(|stop| *stop).await);
}

async fn livez(State(sources): State<Arc<Sources>>) -> impl IntoResponse {
    answer("live", &sources.dead())
}

async fn readyz(State(sources): State<Arc<Sources>>) -> impl IntoResponse {
    answer("ready", &sources.unready())
}

async fn metrics(State(sources): State<Arc<Sources>>) -> impl IntoResponse {
    let content_type = [(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")];
    (content_type, text::render(&sources.shards, &sources.link))
}

/// 200, or 503 with every reason.
fn answer(what: &str, reasons: &[Value]) -> (StatusCode, Json<Value>) {
    let status = if reasons.is_empty() { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (status, Json(json!({ what: reasons.is_empty(), "reasons": reasons })))
}

impl Sources {
    /// Shards whose loop does not come round any more.
    fn dead(&self) -> Vec<Value> {
        let now_ms = self.clock.now().instant.nanos() / 1_000_000;
        let silent = self.shards.iter().map(|report| silent_ms(report, now_ms)).enumerate();
        let silent = silent.filter(|(_, ms)| *ms > limits::HEARTBEAT_MS_MAX);
        silent.map(|(shard, ms)| json!({ "shard": shard, "reason": format!("no heartbeat for {ms} ms") })).collect()
    }

    /// Why devices should not be sent here: a shard says so, or there is nothing to know devices by.
    fn unready(&self) -> Vec<Value> {
        let mut reasons = self.dead();
        for (shard, report) in self.shards.iter().enumerate() {
            if let Some(reason) = report.health.reason.load_full() {
                reasons.push(json!({ "shard": shard, "reason": *reason }));
            }
        }
        if !self.link.configured() {
            let error = self.link.error().map(|error| (*error).clone());
            reasons.push(json!({ "link": "no configuration was ever loaded", "error": error }));
        }
        reasons
    }
}

fn silent_ms(report: &ShardReport, now_ms: u64) -> u64 {
    now_ms.saturating_sub(report.health.heartbeat_ms.load(Relaxed))
}

#[cfg(test)]
mod tests;
