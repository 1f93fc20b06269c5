//! Settings are refused all at once, with path, value and rule, before anything is bound. Never starts a server that runs.

use std::process::Command;
use tests::harness::instance::{Home, Setup, binary, without_settings};

/// EX_USAGE.
const USAGE: i32 = 64;

fn check_settings(home: &Home, text: &str, environment: &[(&str, &str)]) -> (i32, String) {
    let file = home.path().join("settings.toml");
    std::fs::write(&file, text).expect("the test's directory is writable");
    let mut command = Command::new(binary());
    without_settings(&mut command)
        .args(["check-settings", "--settings"])
        .arg(&file)
        .envs(environment.iter().copied())
        .current_dir(home.path());
    let output = command.output().expect("the binary runs");
    let said = [output.stdout, output.stderr].concat();
    (output.status.code().expect("an exit code"), String::from_utf8_lossy(&said).into_owned())
}

#[test]
fn good_settings_pass() {
    let home = Home::new();
    let (code, said) = check_settings(&home, "", &[("TIDEGATE_SHARDS", "2"), ("TIDEGATE_DURABILITY", "buffered")]);
    assert_eq!(code, 0, "{said}");
}

#[test]
fn every_error_is_said_at_once() {
    let home = Home::new();
    let text = "shards = 0\nno_such_key = 1\n[http]\nlisten = \"nowhere\"\n[mqtt]\ncolour = \"blue\"\n";
    let (code, said) = check_settings(&home, text, &[("TIDEGATE_DRIVER", "rocket"), ("TIDEGATE_DURABILITY", "maybe")]);
    assert_eq!(code, USAGE, "{said}");
    for part in ["shards", "no_such_key", "http.listen", "nowhere", "colour", "rocket", "maybe", "synced", "io_uring"] {
        assert!(said.contains(part), "{part} is named in:\n{said}");
    }
}

#[test]
fn a_start_with_wrong_settings_exits_64_and_binds_nothing() {
    let home = Home::new();
    let setup = Setup::standalone(&home).with("TIDEGATE_DRIVER", "rocket").with("TIDEGATE_SHARDS", "many");
    let (status, out, log) = setup.launch().end();
    assert_eq!(status.code(), Some(USAGE), "{log}");
    assert!(log.contains("rocket") && log.contains("many"), "both are said: {log}");
    assert!(!out.contains("listening"), "{out}");
}

#[test]
fn a_malformed_file_and_a_missing_one_are_said() {
    let home = Home::new();
    let (code, said) = check_settings(&home, "shards = = 1", &[]);
    assert_eq!(code, USAGE, "{said}");
    assert!(said.contains("settings.toml"), "{said}");
    let mut command = Command::new(binary());
    let output = without_settings(&mut command)
        .args(["check-settings", "--settings", "no-such-file.toml"])
        .current_dir(home.path())
        .output();
    let output = output.expect("the binary runs");
    assert_eq!(output.status.code(), Some(USAGE));
    assert!(String::from_utf8_lossy(&output.stderr).contains("no-such-file.toml"));
}

#[test]
fn an_address_in_use_is_said() {
    let home = Home::new();
    let taken = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = taken.local_addr().expect("an address").to_string();
    let (status, out, log) = Setup::standalone(&home).with("TIDEGATE_HTTP_LISTEN", &address).launch().end();
    assert!(!status.success(), "{out}");
    assert!(log.contains(&address), "the address is named: {log}");
}

#[test]
fn a_start_says_what_it_chose() {
    let home = Home::new();
    let instance = Setup::standalone(&home).shards(3).driver("epoll").with("TIDEGATE_DURABILITY", "buffered").start();
    let said = instance.stdout();
    for part in ["driver epoll", "3 shards", "durability buffered", "sum", "MiB", "NOT FOR PRODUCTION"] {
        assert!(said.contains(part), "{part} is said in:\n{said}");
    }
    instance.stop();
}

#[test]
fn a_data_directory_in_use_is_said() {
    let home = Home::new();
    let setup = Setup::standalone(&home);
    let first = setup.start();
    let (status, out, log) = setup.launch().end();
    assert!(!status.success() && !out.contains("ready"), "{out}{log}");
    first.stop();
}
