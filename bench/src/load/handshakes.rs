//! How many clients a server lets in a second, and what each costs it: connect, CONNECT, CONNACK, goodbye, again. Publishes
//! nothing.

use std::collections::BTreeMap;

use anyhow::bail;
use serde_json::{Value, json};

use super::clock::{self, MILLI, SECOND};
use super::connection::{Phase, Shape};
use super::crowd::{self, Crowd, News};
use super::options::{Handshakes, TlsArgs};
use super::packet;
use super::process;
use super::report::{self, Quantiles, new_histogram};

/// After an attempt that failed.
const PAUSE: u64 = 100 * MILLI;

/// # Errors
/// Nobody is let in, or the process cannot be looked at.
pub(crate) fn run(options: &Handshakes) -> anyhow::Result<()> {
    if let Some(core) = options.scene.core {
        process::pin(core)?;
    }
    crowd::descriptors(usize::from(options.in_flight) * 4)?;
    let shape = options.scene.shape()?;
    report::say(&format!(
        "{:>10} {:>10} {:>10} {:>10} {:>14} {:>14} {:>14} {:>8}",
        "kind", "per s", "admitted", "resumed", "connect p50 ms", "connect p99 ms", "server us each", "failed"
    ));
    let mut rows = Vec::new();
    match &shape.tls {
        None => rows.push(measure(options, "plain", shape)?),
        Some(secure) => {
            let resumes = secure.resumes();
            let full = TlsArgs { no_resumption: true, ..options.scene.tls.clone() }.secure(&options.scene.mqtt)?;
            rows.push(measure(options, "full", Shape { tls: full, ..shape.clone() })?);
            if resumes {
                rows.push(measure(options, "resumed", shape)?);
            }
        }
    }
    report::write_json(
        &json!({ "version": 1, "in_flight": options.in_flight, "handshakes": rows }),
        options.scene.json.as_deref(),
    )
}

/// One kind, from its warm-up to its row.
fn measure(options: &Handshakes, kind: &str, shape: Shape) -> anyhow::Result<Value> {
    let process = options.scene.process()?;
    let (devices, _, anonymous) = options.scene.devices(usize::from(options.in_flight), 0)?;
    let mut crowd = Crowd::new(shape, "tg-shake", (devices, anonymous), options.scene.sources)?;
    let count = crowd.members.len();
    let mut opened = vec![0; count];
    let begun = clock::now();
    let (from, end) = (begun + options.warmup.0, begun + options.warmup.0 + options.duration.0);
    let (mut cpu, mut measuring) = (None, false);
    let (mut admitted, mut resumed, mut failures) = (0_u64, 0_u64, BTreeMap::<&str, u64>::new());
    let (mut times, mut news) = (new_histogram(), Vec::new());
    loop {
        let now = clock::now();
        if now >= end {
            break;
        }
        if now >= from && !measuring {
            measuring = true;
            cpu = process.map(|process| process.cpu()).transpose()?;
        }
        for (index, opened) in opened.iter_mut().enumerate() {
            if crowd.members[index].phase == Phase::Closed && crowd.members[index].open_at <= now {
                *opened = now;
                crowd.open(index)?;
            }
        }
        crowd.step(20 * MILLI, &mut news)?;
        let now = clock::now();
        for (index, news) in news.drain(..) {
            let failure = match news {
                News::Admitted { resumed: continued } => {
                    crowd.members[index].leave();
                    if measuring {
                        admitted += 1;
                        resumed += u64::from(continued);
                        times.saturating_record(now - opened[index]);
                    }
                    continue;
                }
                News::Refused(code) => packet::refusal(crowd.shape.protocol, code),
                News::Gone(stage) => stage,
                News::Acked { .. } => continue,
            };
            *failures.entry(failure).or_default() += u64::from(measuring);
            crowd.members[index].open_at = now + PAUSE;
        }
    }
    let seconds = (clock::now() - from) as f64 / SECOND as f64;
    let used = match (process, cpu) {
        (Some(process), Some(before)) => Some(process.cpu()?.since(before).total_s() * 1e6 / admitted.max(1) as f64),
        _ => None,
    };
    if admitted == 0 {
        bail!("{} let nobody in: {}", crowd.shape.server, crowd.fault.unwrap_or_else(|| format!("{failures:?}")));
    }
    let times = Quantiles::of(&times);
    let failed: u64 = failures.values().sum();
    report::say(&format!(
        "{kind:>10} {:>10.0} {admitted:>10} {resumed:>10} {:>14.2} {:>14.2} {:>14} {failed:>8}",
        admitted as f64 / seconds,
        times.p50 / 1e3,
        times.p99 / 1e3,
        used.map_or_else(|| "-".to_owned(), |us| format!("{us:.0}")),
    ));
    Ok(json!({
        "kind": kind, "admitted": admitted, "resumed": resumed, "per_s": admitted as f64 / seconds, "connect_us": times,
        "server_cpu_us": used, "failures": failures,
    }))
}
