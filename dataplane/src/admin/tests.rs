//! The three pages, asked over a real socket with the plainest HTTP there is.

use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::*;
use crate::metric::{Counter, ShardCounters, ShardHealth};

async fn get_page(address: std::net::SocketAddr, path: &str) -> (u16, String) {
    let mut stream = tokio::net::TcpStream::connect(address).await.unwrap();
    let request = format!("GET {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    let status = answer.split(' ').nth(1).unwrap().parse().unwrap();
    (status, answer)
}

#[tokio::test]
async fn tells_life_readiness_and_numbers() {
    let reports: Vec<ShardReport> =
        (0..2).map(|_| ShardReport { counters: Arc::new(ShardCounters::new()), health: Arc::new(ShardHealth::new()) }).collect();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let (stop, shutdown) = watch::channel(false);
    let status = link::Status::new();
    let serving = tokio::spawn(serve(listener, Clock::start(), reports.clone(), status, shutdown));

    let (code, page) = get_page(address, "/livez").await;
    assert_eq!(code, 200, "{page}");
    let (code, page) = get_page(address, "/readyz").await;
    assert_eq!(code, 503, "{page}");
    assert!(page.contains(r#"{"reason":"starting","shard":1}"#) && page.contains("no configuration was ever loaded"), "{page}");

    reports[0].health.ready();
    reports[1].health.not_ready("the store refuses: disk full");
    let (_, page) = get_page(address, "/readyz").await;
    assert!(page.contains("disk full") && !page.contains(r#""shard":0"#), "{page}");

    reports[1].counters.add(Counter::ReadingsStored, 42);
    let (code, page) = get_page(address, "/metrics").await;
    assert_eq!(code, 200);
    for line in [
        "# TYPE tidegate_readings_stored_total counter",
        "tidegate_readings_stored_total{shard=\"0\"} 0",
        "tidegate_readings_stored_total{shard=\"1\"} 42",
        "# TYPE tidegate_connections_open gauge",
        "tidegate_link_connected 0",
        concat!("tidegate_build_info{version=\"", env!("CARGO_PKG_VERSION"), "\"} 1"),
    ] {
        assert!(page.lines().any(|shown| shown == line), "{line:?} in {page}");
    }
    assert!(page.contains("process_resident_memory_bytes ") && page.contains("process_open_fds "), "{page}");

    stop.send(true).unwrap();
    serving.await.unwrap().unwrap();
}

#[test]
fn a_shard_without_heartbeat_is_dead() {
    let report = ShardReport { counters: Arc::new(ShardCounters::new()), health: Arc::new(ShardHealth::new()) };
    report.health.beat(7_000);
    let check = |now_ms: u64, alive: bool| {
        let silent = silent_ms(&report, now_ms);
        assert_eq!(silent <= limits::HEARTBEAT_MS_MAX, alive, "at {now_ms} ms: silent for {silent} ms");
    };
    check(7_000, true);
    check(12_000, true);
    check(12_001, false);
    check(6_000, true);
}
