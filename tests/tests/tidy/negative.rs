//! Every check finds what it is for, and only that.

use crate::source::{Finding, Source};
use crate::table::{Row, Table};
use crate::{absence, imports, shape, tree};

/// The check must say each of `expected` about the text, in order, and nothing else.
fn check(check: fn(&Source) -> Vec<Finding>, path: &str, text: &str, expected: &[&str]) {
    compare(&check(&Source::new(path, text)), expected);
}

fn compare(findings: &[Finding], expected: &[&str]) {
    let lines: Vec<String> = findings.iter().map(ToString::to_string).collect();
    assert_eq!(lines.len(), expected.len(), "{lines:#?}");
    for (line, words) in lines.iter().zip(expected) {
        assert!(line.contains(words), "{line:?} should say {words:?}");
    }
}

#[test]
fn imports_are_found_in_every_form() {
    let bad = "use crate::store::Ticket;\nuse crate::{codec::Packet, auth};\nfn f() { crate::shard::g(); }\n\
               fn h() { tracing::info!(\"{}\", crate::link::X); }\nuse super::rules;";
    let expected =
        ["session.rs:1: session may not use store", "session.rs:2: session may not use auth", ":3: session may not use shard"];
    let expected = [&expected[..], &[":4: session may not use link", ":5: session may not use rules"]].concat();
    check(imports::allowed, "dataplane/src/session.rs", bad, &expected);
}

#[test]
fn imports_that_the_row_allows_and_tests_are_free() {
    let good = "use crate::codec::Packet;\nuse crate::session::Slab;\nuse super::rules;\n#[cfg(test)]\nmod tests { use crate::store::X; }";
    check(imports::allowed, "dataplane/src/session/mqtt.rs", good, &[]);
    check(imports::allowed, "dataplane/src/session/mqtt/tests.rs", "use crate::store::X;", &[]);
    check(imports::allowed, "dataplane/src/novel.rs", "//! x", &["module novel has no row"]);
    check(imports::allowed, "controlplane/src/domain/device.rs", "use crate::entity::X;", &["domain may not use entity"]);
}

#[test]
fn cycles_in_a_table_are_found() {
    const ROWS: &[Row] = &[("a", &["b"]), ("b", &["a"])];
    compare(&imports::order(&Table { folder: "x/", rows: ROWS }), &["a uses b, which is not above it"]);
}

#[test]
fn modules_without_row_and_rows_without_module_are_found() {
    let face = Source::new("dataplane/src/lib.rs", "pub mod novel;");
    let lines: Vec<String> = imports::tables(&[face]).iter().map(ToString::to_string).collect();
    assert!(lines.iter().any(|line| line.contains("module novel has no row")), "{lines:#?}");
    assert!(lines.iter().any(|line| line.contains("row for shard, which is no module")), "{lines:#?}");
}

#[test]
fn crates_out_of_place_are_found() {
    let bad = "fn f(db: &rocksdb::DB) {}";
    check(imports::crates, "dataplane/src/store/batch.rs", bad, &["rocksdb::DB may not be named here"]);
    check(imports::crates, "dataplane/src/store/rocks/open.rs", bad, &[]);
    check(imports::crates, "dataplane/src/session.rs", "use monoio::net;", &["monoio::net"]);
    check(imports::crates, "dataplane/src/auth.rs", "use controlplane::app;", &["controlplane::app"]);
    check(imports::crates, "controlplane/src/app.rs", "use dataplane::limits;", &["dataplane::limits"]);
    check(imports::crates, "controlplane/src/domain/device.rs", "use serde::Serialize;", &["serde::Serialize"]);
}

#[test]
fn climbing_is_found() {
    check(imports::climbing, "schemas/src/id.rs", "use super::super::x;", &["climbs two levels"]);
    check(imports::climbing, "schemas/src/id.rs", "fn f() { super::super::x() }\nuse super::y;", &[":1: a path climbs"]);
}

#[test]
fn waiting_in_the_wrong_module_is_found() {
    check(absence::asynchrony, "dataplane/src/rules.rs", "async fn f() {}", &["rules may not wait"]);
    check(absence::asynchrony, "dataplane/src/rules.rs", "fn f() { let x = async { 1 }; }", &["rules may not wait"]);
    check(absence::asynchrony, "dataplane/src/rules.rs", "fn f() { m!(async move {}); }", &["rules may not wait"]);
    check(absence::asynchrony, "dataplane/src/link/subscribe.rs", "async fn f() {}", &[]);
    check(absence::asynchrony, "controlplane/src/app.rs", "async fn f() {}", &[]);
}

#[test]
fn unsafe_out_of_place_is_found() {
    check(absence::unsafety, "dataplane/src/codec.rs", "fn f() { unsafe { g() } }", &["unsafe belongs to"]);
    check(absence::unsafety, "dataplane/src/codec.rs", "unsafe impl Send for X {}\nunsafe fn f() {}", &[":1: ", ":2: "]);
    check(absence::unsafety, "dataplane/src/transport/socket.rs", "fn f() { unsafe { g() } }", &["unsafe belongs to"]);
    check(absence::unsafety, "controlplane/src/app.rs", "#[cfg(test)] mod tests { fn f() { unsafe { g() } } }", &["unsafe"]);
}

#[test]
fn clock_readers_are_found() {
    check(absence::os_clock, "dataplane/src/auth.rs", "fn f() { std::time::Instant::now(); }", &["read the clock"]);
    check(absence::os_clock, "dataplane/src/auth.rs", "use std::time::SystemTime;", &["read the clock"]);
    check(absence::os_clock, "dataplane/src/auth.rs", "fn f() { m!(x, Instant::now()); }", &["read the clock"]);
    check(absence::os_clock, "dataplane/src/clock.rs", "fn f() { std::time::Instant::now(); }", &[]);
    check(absence::os_clock, "dataplane/src/auth.rs", "fn f(now: Instant) { clock.now(); }", &[]);
}

#[test]
fn locks_are_found() {
    check(absence::locks, "dataplane/src/shard.rs", "use std::sync::{Arc, Mutex};", &["Mutex is a lock"]);
    check(absence::locks, "dataplane/src/shard.rs", "struct S(tokio::sync::RwLock<u8>);", &["RwLock is a lock"]);
    check(absence::locks, "controlplane/src/app.rs", "struct S(tokio::sync::RwLock<u8>);", &[]);
}

#[test]
fn unfinished_things_are_found() {
    check(absence::unfinished, "schemas/src/id.rs", "fn f() { todo!() }", &["todo!"]);
    check(
        absence::unfinished,
        "schemas/src/id.rs",
        "fn f() { unimplemented!(\"x\") }\n// FIXME",
        &["unimplemented!", ":2: FIXME"],
    );
    check(absence::unfinished, "README.md", "later\nTODO: more", &[":2: TODO"]);
}

#[test]
fn machine_paths_are_found() {
    check(absence::machine_paths, "deploy/quickstart.sh", "cd /home/me/tidegate", &["/home/ is a path"]);
    check(absence::machine_paths, "deploy/quickstart.sh", "cd \"$HOME\"", &[]);
}

#[test]
fn missing_headers_are_found() {
    check(shape::file_header, "schemas/src/id.rs", "fn f() {}", &["begin with"]);
    check(shape::file_header, "schemas/src/id.rs", "//! Ids.\nfn f() {}", &[]);
    check(shape::file_header, "README.md", "# Tidegate", &[]);
}

#[test]
fn long_files_and_functions_are_found() {
    check(shape::file_length, "schemas/src/id.rs", &"//\n".repeat(701), &["701 lines"]);
    check(shape::file_length, "schemas/src/id.rs", &"//\n".repeat(700), &[]);
    let function = |lines: usize| format!("fn long() {{\n{}\n    // free\n}}\n", "    g();\n".repeat(lines));
    check(shape::function_length, "schemas/src/id.rs", &function(71), &[":1: long has 71 lines"]);
    check(shape::function_length, "schemas/src/id.rs", &function(70), &[]);
    let method = format!("impl X {{ {} }}", function(71));
    check(shape::function_length, "schemas/src/id.rs", &method, &["long has 71 lines"]);
    check(shape::argument_count, "schemas/src/id.rs", "fn f(a: A, b: A, c: A, d: A, e: A, f: A, g: A) {}", &["f takes 7"]);
}

#[test]
fn names_that_say_nothing_are_found() {
    check(shape::names, "dataplane/src/utils.rs", "", &["utils says nothing"]);
    check(shape::names, "dataplane/src/common/x.rs", "", &["common says nothing"]);
    check(shape::names, "dataplane/src/session/mod.rs", "", &["`name.rs` beside"]);
    check(shape::names, "dataplane/src/session.rs", "mod helpers {}", &["helpers says nothing"]);
    check(shape::names, "dataplane/src/context.md", "", &["context says nothing"]);
}

#[test]
fn items_in_a_module_list_are_found() {
    check(shape::module_lists, "dataplane/src/lib.rs", "pub mod a;\npub use a::X;\nfn f() {}", &[":2: ", ":3: "]);
    check(shape::module_lists, "dataplane/src/shard.rs", "fn f() {}", &[]);
}

#[test]
fn strangers_at_the_top_are_found() {
    let lines: Vec<String> = tree::top_level(&[Source::new("notes/x.md", "")]).iter().map(ToString::to_string).collect();
    assert!(lines.iter().any(|line| line.contains("notes:1: does not belong")), "{lines:#?}");
    assert!(lines.iter().any(|line| line.contains("README.md:1: is missing")), "{lines:#?}");
}

#[test]
fn forbidden_dependencies_are_found() {
    let manifest =
        "[package]\nname = \"dataplane\"\n[dependencies]\ncontrolplane.workspace = true\nschemas = { workspace = true }\n";
    let lines: Vec<String> =
        tree::dependencies(&[Source::new("dataplane/Cargo.toml", manifest)]).iter().map(ToString::to_string).collect();
    assert!(lines.iter().any(|line| line.contains("dataplane/Cargo.toml:4: may not depend on controlplane")), "{lines:#?}");
    assert!(!lines.iter().any(|line| line.contains("depend on schemas")), "{lines:#?}");
}
