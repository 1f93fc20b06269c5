//! Rules that bind several settings together. Says every breach, changes nothing.

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
