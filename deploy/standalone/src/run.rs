//! Starts the planes, waits, drains them. The control plane starts first and ends last, so that the data plane is never
//! without it for the sake of order alone; it needs it neither to start nor to stop.

use std::io::IsTerminal as _;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use anyhow::Context as _;
use tokio::runtime::{Builder, Runtime};

use crate::planes::Planes;
use crate::report::{self, Listening};
use crate::signal;

/// What a stopping runtime may still take for tasks that do not end by themselves.
const RUNTIME_STOP: Duration = Duration::from_secs(2);
/// Workers for REST, push and signals; blocking work has its own threads.
const WORKERS: usize = 2;

/// Runs until a signal asks for a drain.
///
/// # Errors
/// What kept a plane from starting, or from ending cleanly.
pub(crate) fn run(planes: Planes) -> anyhow::Result<()> {
    let colours = std::io::stderr().is_terminal();
    tracing_subscriber::fmt().with_env_filter(planes.filter.clone()).with_ansi(colours).with_writer(std::io::stderr).init();
    let descriptors = rlimit::increase_nofile_limit(u64::MAX).context("raising the limit of open files")?;
    report::starting(&planes, descriptors);
    let runtime = Builder::new_multi_thread().worker_threads(WORKERS).thread_name("control").enable_all().build()?;
    let asked = runtime.block_on(async { signal::listen() }).context("listening for signals")?;
    let served = serve(&runtime, planes, asked);
    runtime.shutdown_timeout(RUNTIME_STOP);
    served
}

fn serve(runtime: &Runtime, planes: Planes, asked: tokio::sync::oneshot::Receiver<()>) -> anyhow::Result<()> {
    let role = planes.role();
    let link_is_given = planes.loaded.is_given("link.control_plane");
    let mut listening = Listening::default();
    let mut control = None;
    let mut notes = Vec::new();
    let mut control_plane_url = None;
    if let Some(settings) = planes.controlplane {
        let scheme = if settings.grpc_tls.is_some() { "https" } else { "http" };
        let started = runtime.block_on(controlplane::start::start(settings)).context("the control plane did not start")?;
        listening.http = Some(started.http);
        listening.grpc = Some(started.grpc);
        notes.clone_from(&started.notes);
        control_plane_url = (!link_is_given).then(|| format!("{scheme}://{}", reachable(started.grpc)));
        control = Some(started);
    }
    let mut data = None;
    if let Some(mut settings) = planes.dataplane {
        if let Some(url) = control_plane_url {
            settings.control_plane = url;
        }
        let started = dataplane::start::start(&settings).context("the data plane did not start")?;
        report::data_plane(started.driver, started.shards, &settings);
        listening.mqtt = Some(started.mqtt);
        listening.mqtts = started.mqtt_tls;
        listening.device_http = Some(started.device_http);
        listening.device_https = started.device_http_tls;
        listening.query = Some(started.query);
        listening.admin = Some(started.admin);
        data = Some(started);
    }
    report::ready(role, &listening, &notes);
    // An error means that the sender is gone, which is as good a reason to stop.
    let _ = runtime.block_on(asked);
    if let Some(running) = data {
        running.drain().context("the data plane did not drain")?;
    }
    if let Some(running) = control {
        runtime.block_on(running.drain());
    }
    report::drained();
    Ok(())
}

/// An address of this host under which a listener can be called.
fn reachable(listen: SocketAddr) -> SocketAddr {
    let ip = match listen.ip() {
        ip if !ip.is_unspecified() => ip,
        IpAddr::V4(_) => IpAddr::V4(Ipv4Addr::LOCALHOST),
        IpAddr::V6(_) => IpAddr::V6(Ipv6Addr::LOCALHOST),
    };
    SocketAddr::new(ip, listen.port())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unspecified_listener_is_called_on_loopback() {
        let check = |listen: &str, expected: &str| assert_eq!(reachable(listen.parse().unwrap()).to_string(), expected);
        check("0.0.0.0:7070", "127.0.0.1:7070");
        check("[::]:7070", "[::1]:7070");
        check("127.0.0.1:7070", "127.0.0.1:7070");
    }
}
