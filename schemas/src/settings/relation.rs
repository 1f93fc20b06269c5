//! Rules that bind several settings together. Says every breach, changes nothing.

use std::net::SocketAddr;

use super::{Loaded, Problem};

/// Adds the breaches to `problems`.
pub(super) fn check(loaded: &Loaded, problems: &mut Vec<Problem>) {
    let role = loaded.role();
    if role.has_control_plane() {
        certificate(loaded, "grpc", problems);
        token_lives(loaded, problems);
    }
    if role.has_data_plane() {
        certificate(loaded, "query", problems);
        device_certificates(loaded, problems);
        device_listeners(loaded, problems);
        advertised(loaded, problems);
    }
    if role != super::Role::Standalone && loaded.value("grpc.join_token").is_none() && !is_named("grpc.join_token", problems) {
        let rule = format!("`tidegate {}` needs the token that the planes show each other, at least 16 characters", role.name());
        problems.push(Problem { path: "grpc.join_token".to_owned(), value: "(not set)".to_owned(), rule });
    }
}

/// Certificate and key come together, and a listener that others can reach needs them (DESIGN 8.7, 27).
fn certificate(loaded: &Loaded, section: &str, problems: &mut Vec<Problem>) {
    let path = |name: &str| format!("{section}.{name}");
    let given = |name: &str| loaded.value(&path(name)).is_some();
    for (one, other) in [("tls_cert", "tls_key"), ("tls_key", "tls_cert")] {
        if given(one) && !given(other) && !is_named(&path(other), problems) {
            let rule = format!("needed, because {} is given", path(one));
            problems.push(Problem { path: path(other), value: "(not set)".to_owned(), rule });
        }
    }
    let Some(listen) = loaded.address(&path("listen")) else { return };
    if !listen.ip().is_loopback() && !given("tls_cert") {
        let rule =
            format!("a loopback address such as 127.0.0.1:{}, or {} and {}", listen.port(), path("tls_cert"), path("tls_key"));
        problems.push(Problem::new(path("listen"), &listen.to_string(), rule));
    }
}

/// Listeners that devices reach.
const DEVICE_LISTENERS: [&str; 4] = ["mqtt.listen", "mqtt.tls_listen", "device.http_listen", "device.http_tls_listen"];

fn device_certificates(loaded: &Loaded, problems: &mut Vec<Problem>) {
    const CERTIFICATES: &str = "device.tls_certificates";
    let listener = ["mqtt.tls_listen", "device.http_tls_listen"].into_iter().find(|path| loaded.value(path).is_some());
    if let Some(listener) = listener
        && loaded.value(CERTIFICATES).is_none()
        && !is_named(CERTIFICATES, problems)
    {
        let rule = format!("needed, because {listener} is given");
        problems.push(Problem { path: CERTIFICATES.to_owned(), value: "(not set)".to_owned(), rule });
    }
}

/// Shards share their ports with each other, so the kernel would let two protocols share one as well, connection by connection.
fn device_listeners(loaded: &Loaded, problems: &mut Vec<Problem>) {
    let given = DEVICE_LISTENERS.map(|path| (path, loaded.address(path)));
    for (index, (path, address)) in given.iter().enumerate() {
        let same =
            |(_, other): &&(&str, Option<SocketAddr>)| matches!((address, other), (Some(one), Some(other)) if meet(*one, *other));
        if let (Some(address), Some((other, _))) = (address, given.iter().take(index).find(same)) {
            problems.push(Problem::new(*path, &address.to_string(), format!("another port than that of {other}")));
        }
    }
}

/// Whether a connection could reach either. Port 0 is always another one.
fn meet(one: SocketAddr, other: SocketAddr) -> bool {
    let everywhere = one.ip().is_unspecified() || other.ip().is_unspecified();
    one.port() != 0 && one.port() == other.port() && (everywhere || one.ip() == other.ip())
}

/// Nobody can call 0.0.0.0.
fn advertised(loaded: &Loaded, problems: &mut Vec<Problem>) {
    let Some(listen) = loaded.address("query.listen") else { return };
    let missing = loaded.value("query.advertise").is_none() && !is_named("query.advertise", problems);
    if listen.ip().is_unspecified() && missing {
        let rule = format!("the URL of this instance is needed, because query.listen is {listen}");
        problems.push(Problem { path: "query.advertise".to_owned(), value: "(not set)".to_owned(), rule });
    }
}

fn token_lives(loaded: &Loaded, problems: &mut Vec<Problem>) {
    let (Some(access), Some(refresh)) = (loaded.number("access.access_token_s"), loaded.number("access.refresh_token_s")) else {
        return;
    };
    if refresh < access {
        let rule = format!("at least access.access_token_s, which is {access}");
        problems.push(Problem::new("access.refresh_token_s", &refresh.to_string(), rule));
    }
}

/// A value that was refused is not also reported as missing.
fn is_named(path: &str, problems: &[Problem]) -> bool {
    let variable = format!("{}{}", super::VARIABLE_PREFIX, path.replace('.', "_").to_uppercase());
    problems.iter().any(|problem| problem.path == path || problem.path == variable)
}
