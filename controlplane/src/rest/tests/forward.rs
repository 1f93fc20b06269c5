//! Devices that speak HTTP to the control plane: passed on as they are, over a real socket. The data plane is a small server
//! that says what it was asked.

use std::time::Duration;

use axum::{
    Router,
    body::{Body, Bytes},
    http::{HeaderMap, Method, StatusCode, Uri},
    response::{IntoResponse, Response},
    routing::{any, get, post},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};

use super::*;
use crate::telemetry::tests::JOIN_TOKEN;

/// A data plane's HTTP listener; its address as the data plane announces it.
async fn device_listener() -> String {
    let echo = async |method: Method, uri: Uri, headers: HeaderMap, body: Bytes| {
        let seen = |name: &str| headers.get(name).map(|value| value.to_str().unwrap().to_owned()).unwrap_or_default();
        let hops: Vec<_> = ["connection", "keep-alive", "te", "x-hop", "upgrade"]
            .into_iter()
            .filter(|name| headers.contains_key(*name))
            .collect();
        // All there are: a second one could be believed in place of ours.
        let all = |name: &str| headers.get_all(name).iter().map(|value| value.to_str().unwrap()).collect::<Vec<_>>().join("+");
        let vouched = format!("{} {}", all("x-forwarded-for"), all("tidegate-forwarded-proof"));
        let said = format!("{method} {uri} {} {vouched} {hops:?} {}", seen("x-kept"), body.len());
        ([("x-answer", "kept"), ("connection", "x-secret"), ("x-secret", "hop")], said)
    };
    let slow = async || {
        tokio::time::sleep(Duration::from_millis(300)).await;
        StatusCode::REQUEST_TIMEOUT
    };
    // Two pieces with a pause between: a proxy that waits for the whole shows neither in time.
    let pieces = async || {
        let pieces = futures_util::stream::unfold(0, |number| async move {
            if number == 1 {
                tokio::time::sleep(Duration::from_secs(5)).await;
            }
            (number < 2).then(|| (Ok::<_, std::io::Error>(format!("piece {number};")), number + 1))
        });
        Response::new(Body::from_stream(pieces))
    };
    let router = Router::new()
        .route("/api/v1/{token}/telemetry", any(echo))
        .route("/api/v1/{token}/rpc", get(slow))
        .route("/api/v1/{token}/firmware", get(pieces))
        .route(
            "/api/v1/{token}/attributes",
            post(async || (StatusCode::TOO_MANY_REQUESTS, [("retry-after", "7")]).into_response()),
        );
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
    format!("http://{address}")
}

/// The control plane on a socket, with a data plane that has this listener.
async fn serve(endpoint: &str) -> (House, Fake, std::net::SocketAddr) {
    let mut fake = Fake::start().await;
    endpoint.clone_into(&mut fake.device_endpoint);
    let house = House::open(Some(&fake)).await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let service = router(Arc::clone(&house.app)).into_make_service_with_connect_info::<std::net::SocketAddr>();
    tokio::spawn(async move { axum::serve(listener, service).await.unwrap() });
    (house, fake, address)
}

/// Sends one request as it is and reads until `until` came or the connection closed.
async fn raw(address: std::net::SocketAddr, request: &str, until: &str) -> String {
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut said = Vec::new();
    let read = async {
        let mut buffer = [0; 4096];
        loop {
            let count = stream.read(&mut buffer).await.unwrap();
            said.extend_from_slice(&buffer[..count]);
            if count == 0 || String::from_utf8_lossy(&said).contains(until) {
                return String::from_utf8_lossy(&said).into_owned();
            }
        }
    };
    tokio::time::timeout(Duration::from_secs(3), read).await.expect("an answer is due")
}

#[tokio::test]
async fn what_devices_say_and_hear_is_passed_on() {
    let endpoint = device_listener().await;
    let (_house, _fake, address) = serve(&endpoint).await;
    let request = "POST /api/v1/T%20K/telemetry?a=1&b=%2F HTTP/1.1\r\nHost: control\r\nX-Kept: yes\r\nX-Forwarded-For: 1.2.3.4\r\n\
                   X-Forwarded-For: 5.6.7.8\r\nTidegate-Forwarded-Proof: 00\r\nTidegate-Forwarded-Proof: 11\r\n\
                   X-Hop: no\r\nConnection: close, X-Hop\r\nKeep-Alive: 5\r\nTE: trailers\r\nContent-Length: 5\r\n\r\nhello";
    let said = raw(address, request, "\0").await;
    assert!(said.starts_with("HTTP/1.1 200"), "{said}");
    // The sender's own word for where it comes from does not count; ours is vouched for. From another implementation:
    // printf 'tidegate forwarded 1\x7f\0\0\x01' | openssl dgst -sha256 -hmac 0123456789abcdef
    let proof = "797845bf678f62824fa420dcea75b4b20b779b45bc6059b9d27f7c631ea38207";
    assert!(said.contains(&format!("POST /api/v1/T%20K/telemetry?a=1&b=%2F yes 127.0.0.1 {proof} [] 5")), "{said}");
    assert!(!said.contains(JOIN_TOKEN), "the token itself stays here");
    let said = said.to_lowercase();
    assert!(said.contains("x-answer: kept") && !said.contains("x-secret"), "{said}");
    // Codes and their headers are the data plane's; a long poll is waited for.
    let get = |path: &str| format!("GET /api/v1/T/{path} HTTP/1.1\r\nHost: c\r\nConnection: close\r\n\r\n");
    assert!(raw(address, &get("rpc?timeout=300"), "\0").await.starts_with("HTTP/1.1 408"));
    let limited = "POST /api/v1/T/attributes HTTP/1.1\r\nHost: c\r\nConnection: close\r\nContent-Length: 0\r\n\r\n";
    let limited = raw(address, limited, "\0").await.to_lowercase();
    assert!(limited.starts_with("http/1.1 429") && limited.contains("retry-after: 7"), "{limited}");
    assert!(raw(address, &get("nothing"), "\0").await.starts_with("HTTP/1.1 404"));
    let first = raw(address, &get("firmware"), "piece 0").await;
    assert!(!first.contains("piece 1"), "it is passed on as it comes: {first}");
}

#[tokio::test]
async fn a_body_that_is_too_long_is_refused() {
    let endpoint = device_listener().await;
    let (_house, _fake, address) = serve(&endpoint).await;
    let long = "x".repeat((1 << 20) + 1);
    let head =
        format!("POST /api/v1/T/telemetry HTTP/1.1\r\nHost: c\r\nConnection: close\r\nContent-Length: {}\r\n\r\n", long.len());
    let said = raw(address, &format!("{head}{long}"), "}").await;
    assert!(said.starts_with("HTTP/1.1 413") && said.contains("at most 1048576 bytes"), "{said}");
    let most = "x".repeat(1 << 20);
    let head =
        format!("POST /api/v1/T/telemetry HTTP/1.1\r\nHost: c\r\nConnection: close\r\nContent-Length: {}\r\n\r\n", most.len());
    assert!(raw(address, &format!("{head}{most}"), "\0").await.contains("[] 1048576"));
}

#[tokio::test]
async fn without_a_data_plane_devices_are_told_so() {
    let unavailable = StatusCode::SERVICE_UNAVAILABLE;
    let house = House::open(None).await;
    let said = house.ask(&Method::POST, "/api/v1/TOKEN/telemetry", None, Some("{}")).await;
    refused(&said, unavailable, 2, "no data plane is connected");
    // One that serves no devices over HTTP, one that is gone, one whose address is none.
    for (endpoint, code, says) in [
        ("", unavailable, "no data plane is connected"),
        ("http://127.0.0.1:1", unavailable, "does not answer"),
        ("not a url", StatusCode::INTERNAL_SERVER_ERROR, "Internal"),
    ] {
        let mut fake = Fake::start().await;
        endpoint.clone_into(&mut fake.device_endpoint);
        let house = House::open(Some(&fake)).await;
        let said = house.ask(&Method::GET, "/api/v1/TOKEN/rpc?timeout=1", None, None).await;
        refused(&said, code, 2, says);
    }
}
