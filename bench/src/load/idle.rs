//! What an idle connection costs a server: its resident memory before and after so many clients connected and fell silent.

use std::io::{Read, Write};
use std::net::TcpStream;

use anyhow::{Context as _, bail};
use serde_json::json;

use super::clock::{self, SECOND};
use super::options::{self, Idle};
use super::packet::{self, Protocol, Received};
use super::process::Process;
use super::report;
use super::tls::Secure;

/// How long the server may take to settle before it is looked at.
const SETTLE_S: u64 = 5;

/// # Errors
/// A connection is refused, or the process cannot be looked at.
pub(crate) fn run(options: &Idle) -> anyhow::Result<()> {
    let count = usize::try_from(options.connections)?;
    let (devices, anonymous) = options::devices(options.tokens.as_deref(), count)?;
    let server = options::address("--mqtt", &options.mqtt)?;
    let tls = options.tls.secure(&options.mqtt)?;
    let process = Process::of(options.pid)?;
    let before = process.resident_bytes()?;
    let start = clock::now();
    let mut open = Vec::with_capacity(count);
    for (index, device) in devices.iter().enumerate() {
        let due = start + index as u64 * SECOND / u64::from(options.ramp);
        std::thread::sleep(std::time::Duration::from_nanos(due.saturating_sub(clock::now())));
        let token = (!anonymous).then_some(device.token.as_str());
        open.push(connect(server, tls.as_ref(), index, token).with_context(|| format!("connection {index} to {server}"))?);
    }
    std::thread::sleep(std::time::Duration::from_secs(SETTLE_S));
    let after = process.resident_bytes()?;
    let each = after.saturating_sub(before) as f64 / count as f64;
    report::say(&format!(
        "{count} idle connections: RSS {before} -> {after} bytes, {each:.0} bytes each ({:.2} KiB)",
        each / 1_024.0
    ));
    report::write_json(
        &json!({ "version": 1, "connections": count, "rss_before_bytes": before, "rss_after_bytes": after, "rss_bytes_per_connection": each }),
        options.json.as_deref(),
    )
}

/// A connection that is admitted and silent. Its keep-alive is an hour: no ping is due, and no key is needed any more.
fn connect(server: std::net::SocketAddr, tls: Option<&Secure>, index: usize, token: Option<&str>) -> anyhow::Result<TcpStream> {
    let mut stream = TcpStream::connect(server)?;
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(std::time::Duration::from_secs(30)))?;
    let greeting = packet::connect(Protocol::V311, &format!("tg-idle-{index}"), token, 3_600);
    match tls {
        None => greet(&mut stream, &greeting)?,
        Some(secure) => {
            let mut session = secure.begin(&secure.of_device())?;
            greet(&mut rustls::Stream::new(&mut session, &mut stream), &greeting)?;
        }
    }
    Ok(stream)
}

fn greet(stream: &mut (impl Read + Write), greeting: &[u8]) -> anyhow::Result<()> {
    stream.write_all(greeting)?;
    let mut answer = [0; 4];
    stream.read_exact(&mut answer)?;
    match packet::receive(Protocol::V311, &answer) {
        Ok(Some((Received::Connack(connack), _))) if connack.code == 0 => Ok(()),
        Ok(Some((Received::Connack(connack), _))) => bail!("refused: {}", packet::refusal(Protocol::V311, connack.code)),
        _ => bail!("answered with something that is no CONNACK"),
    }
}
