//! The loader against texts, environments and arbitrary bytes.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::{File, Input, InvalidSettings, KEYS, Loaded, Role, Source, harness, load};

fn loaded(role: Role, file: &str, environment: &[(&str, &str)]) -> Result<Loaded, InvalidSettings> {
    let environment: BTreeMap<String, String> =
        environment.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    load(&Input {
        role,
        file: Some(File { name: "test.toml", bytes: file.as_bytes() }),
        environment: &environment,
        arguments: &[],
    })
}

/// Loads for standalone and compares the problems, one `path = value: rule` beginning per expected entry.
fn check(role: Role, file: &str, environment: &[(&str, &str)], expected: &[&str]) {
    match loaded(role, file, environment) {
        Ok(_) => assert!(expected.is_empty(), "accepted, although {expected:?} was expected"),
        Err(invalid) => {
            let lines: Vec<String> = invalid.problems.iter().map(ToString::to_string).collect();
            assert_eq!(lines.len(), expected.len(), "{lines:#?}");
            for (line, begin) in lines.iter().zip(expected) {
                assert!(line.starts_with(begin), "{line:?} should begin with {begin:?}");
            }
        }
    }
}

const TOKEN: (&str, &str) = ("TIDEGATE_GRPC_JOIN_TOKEN", "0123456789abcdef");

#[test]
fn every_default_obeys_its_rule_and_paths_and_variables_are_unique() {
    let mut variables = std::collections::BTreeSet::new();
    for key in KEYS {
        if let Some(default) = key.default {
            assert!(key.rule.read(default).is_ok(), "{}", key.path());
        }
        assert!(!key.help.is_empty(), "{}", key.path());
        assert!(variables.insert(key.variable()), "{}", key.variable());
        assert!(!key.name.contains('.') && !key.section.contains(['.', '_']), "{}", key.path());
    }
    check(Role::Standalone, "", &[], &[]);
}

#[test]
fn the_environment_overrides_the_file_and_both_override_the_default() {
    let file = "shards = 3\ndurability = \"buffered\"\nmemory_max = \"4G\"\n[mqtt]\nlisten = \"127.0.0.1:0\"\n";
    let loaded = loaded(Role::Standalone, file, &[("TIDEGATE_SHARDS", "2"), ("PATH", "/bin")]).unwrap();
    assert_eq!(loaded.number("shards"), Some(2));
    assert_eq!(loaded.text("durability"), Some("buffered"));
    assert_eq!(loaded.number("memory_max"), Some(4 << 30));
    assert_eq!(loaded.address("mqtt.listen"), "127.0.0.1:0".parse().ok());
    let source = |path: &str| loaded.entries().iter().find(|entry| entry.key.is(path)).unwrap().source;
    assert_eq!(source("shards"), Source::Environment);
    assert_eq!(source("durability"), Source::File);
    assert_eq!(source("driver"), Source::Default);
}

#[test]
fn arguments_override_everything() {
    let environment = BTreeMap::from([("TIDEGATE_DATA_DIR".to_owned(), "from-env".to_owned())]);
    let arguments = [("data_dir", "from-argument".to_owned())];
    let input = Input { role: Role::Standalone, file: None, environment: &environment, arguments: &arguments };
    assert_eq!(load(&input).unwrap().text("data_dir"), Some("from-argument"));
}

#[test]
fn every_key_is_reachable_by_its_variable() {
    for key in KEYS {
        // No rule accepts the empty text, so every variable that is read is also refused.
        check(Role::Standalone, "", &[(&key.variable(), "")], &[&format!("{} = ", key.variable())]);
    }
}

#[test]
fn all_problems_come_at_once_with_path_value_and_rule() {
    check(
        Role::Standalone,
        "shards = 65\ncolour = \"red\"\n[mqtt]\nlisten = \"here\"\nport = 1\n",
        &[("TIDEGATE_DRIVER", "kqueue"), ("TIDEGATE_MQTT_PORT", "1")],
        &[
            "colour = \"red\": no such setting; there are data_dir, shards",
            "mqtt.listen = \"here\": an IP address and port",
            "mqtt.port = \"1\": no such setting; [mqtt] has listen, tls_listen",
            "shards = \"65\": auto, or a whole number from 1 to 64",
            "TIDEGATE_DRIVER = \"kqueue\": one of auto, io_uring, epoll",
            "TIDEGATE_MQTT_PORT = \"(hidden)\": no such setting",
        ],
    );
}

#[test]
fn kinds_of_toml_that_are_no_value_are_refused() {
    let standalone = |file: &str, begin: &str| check(Role::Standalone, file, &[], &[begin]);
    standalone("shards = true", "shards = \"true\"");
    standalone("shards = 1.0", "shards = \"1\"");
    standalone("shards = [1]", "shards = \"[…]\"");
    standalone("shards = -1", "shards = \"-1\"");
    standalone("mqtt = 1", "mqtt = \"1\": no such setting");
    standalone("[mqtt.listen]\nport = 1", "mqtt.listen = \"{…}\"");
    standalone("[nowhere]\nport = 1", "nowhere = \"{…}\": no such setting");
    standalone("log.filter = [\"info\"]", "log.filter = \"[…]\"");
    standalone("log.filter = 7", "log.filter = \"7\"");
    standalone("shards = 1\nshards = 2", "test.toml = line 2: TOML (");
    standalone("shards = ", "test.toml = line 1: TOML (");
}

#[test]
fn bytes_that_are_not_text_are_refused() {
    let input = Input {
        role: Role::Standalone,
        file: Some(File { name: "x", bytes: b"\xFF\xFE" }),
        environment: &BTreeMap::new(),
        arguments: &[],
    };
    let invalid = load(&input).unwrap_err();
    assert!(invalid.problems[0].rule.starts_with("UTF-8 text"), "{invalid}");
}

#[test]
fn listeners_that_others_reach_need_tls() {
    let open = "[grpc]\nlisten = \"0.0.0.0:7070\"\n";
    check(
        Role::Standalone,
        open,
        &[],
        &["grpc.listen = \"0.0.0.0:7070\": a loopback address such as 127.0.0.1:7070, or grpc.tls_cert"],
    );
    check(Role::Dataplane, open, &[TOKEN], &[]);
    let half = "[grpc]\nlisten = \"0.0.0.0:7070\"\ntls_cert = \"c.pem\"\n";
    check(Role::Controlplane, half, &[TOKEN], &["grpc.tls_key = (not set): needed, because grpc.tls_cert"]);
    let whole = "[grpc]\nlisten = \"0.0.0.0:7070\"\ntls_cert = \"c.pem\"\ntls_key = \"k.pem\"\n";
    check(Role::Controlplane, whole, &[TOKEN], &[]);
    let query = "[query]\nlisten = \"[::]:7071\"\n";
    check(Role::Dataplane, query, &[TOKEN], &["query.listen = \"[::]:7071\"", "query.advertise = (not set)"]);
    check(Role::Controlplane, query, &[TOKEN], &[]);
}

#[test]
fn certificates_of_devices_come_in_pairs() {
    let pairs = |file: &str, environment: &[(&str, &str)]| {
        let pairs = loaded(Role::Standalone, file, environment).map(|loaded| loaded.pairs("device.tls_certificates").to_vec());
        pairs.map_err(|invalid| invalid.to_string())
    };
    let pair = |one: &str, other: &str| (one.to_owned(), other.to_owned());
    let both = Ok(vec![pair("a.pem", "a.key"), pair("/etc/b.pem", "b.key")]);
    assert_eq!(pairs("", &[]), Ok(Vec::new()));
    assert_eq!(pairs("device.tls_certificates = [\"a.pem:a.key\", \"/etc/b.pem:b.key\"]", &[]), both);
    assert_eq!(pairs("device.tls_certificates = \"a.pem:a.key, /etc/b.pem:b.key\"", &[]), both);
    assert_eq!(pairs("", &[("TIDEGATE_DEVICE_TLS_CERTIFICATES", "a.pem:a.key,/etc/b.pem:b.key")]), both);
    for wrong in ["[]", "[\"a.pem\"]", "[\"a.pem:\"]", "[\":a.key\"]", "[\"a:b:c\"]", "\"a:b,\"", "[1]", "[[\"a:b\"]]", "true"] {
        let refusal = pairs(&format!("device.tls_certificates = {wrong}"), &[]).unwrap_err();
        assert!(refusal.contains("device.tls_certificates = ") && refusal.contains("pairs of paths"), "{wrong}: {refusal}");
    }
    let many = |count: usize| vec!["a:b"; count].join(",");
    assert!(pairs("", &[("TIDEGATE_DEVICE_TLS_CERTIFICATES", &many(64))]).is_ok());
    assert!(pairs("", &[("TIDEGATE_DEVICE_TLS_CERTIFICATES", &many(65))]).is_err());
}

#[test]
fn tls_listeners_of_devices_need_certificates() {
    let missing = |listener: &str| format!("device.tls_certificates = (not set): needed, because {listener} is given");
    let mqtt = "[mqtt]\ntls_listen = \"0.0.0.0:8883\"\n";
    let http = "[device]\nhttp_tls_listen = \"0.0.0.0:8443\"\n";
    check(Role::Standalone, mqtt, &[], &[&missing("mqtt.tls_listen")]);
    check(Role::Dataplane, http, &[TOKEN], &[&missing("device.http_tls_listen")]);
    check(Role::Controlplane, mqtt, &[TOKEN], &[]);
    let certificates = ("TIDEGATE_DEVICE_TLS_CERTIFICATES", "a.pem:a.key");
    check(Role::Standalone, &format!("{mqtt}{http}"), &[certificates], &[]);
    let wrong = ("TIDEGATE_DEVICE_TLS_CERTIFICATES", "a.pem");
    check(Role::Standalone, mqtt, &[wrong], &["TIDEGATE_DEVICE_TLS_CERTIFICATES = \"a.pem\": 1 to 64 pairs"]);
}

#[test]
fn listeners_of_devices_do_not_share_a_port() {
    let listen = |mqtt: &str, http: &str| format!("[mqtt]\nlisten = \"{mqtt}\"\n[device]\nhttp_listen = \"{http}\"\n");
    let refusal = &["device.http_listen = \"127.0.0.1:80\": another port than that of mqtt.listen"][..];
    for (mqtt, http, expected) in [
        ("127.0.0.1:80", "127.0.0.1:80", refusal),
        ("0.0.0.0:80", "127.0.0.1:80", refusal),
        ("[::]:80", "127.0.0.1:80", refusal),
        ("127.0.0.2:80", "127.0.0.1:80", &[]),
        ("127.0.0.1:0", "127.0.0.1:0", &[]),
    ] {
        check(Role::Standalone, &listen(mqtt, http), &[], expected);
    }
}

#[test]
fn split_planes_need_the_join_token_and_never_show_it() {
    check(Role::Dataplane, "", &[], &["grpc.join_token = (not set): `tidegate dataplane` needs"]);
    check(Role::Controlplane, "", &[], &["grpc.join_token = (not set)"]);
    let short = "[grpc]\njoin_token = \"hunter2\"\n";
    check(Role::Controlplane, short, &[], &["grpc.join_token = \"(hidden)\": 16 to 256 printable"]);
    let loaded = loaded(Role::Dataplane, "", &[TOKEN]).unwrap();
    assert!(loaded.entries().iter().all(|entry| !entry.shown().contains(TOKEN.1)));
}

#[test]
fn refresh_tokens_live_at_least_as_long_as_access_tokens() {
    let file = "[access]\naccess_token_s = 600\nrefresh_token_s = 60\n";
    check(Role::Standalone, file, &[], &["access.refresh_token_s = \"60\": at least access.access_token_s, which is 600"]);
    check(Role::Dataplane, file, &[TOKEN], &[]);
}

#[test]
fn bytes_and_urls_have_their_forms() {
    let accepts = |variable: &str, value: &str| loaded(Role::Standalone, "", &[(variable, value)]).is_ok();
    for value in ["auto", "1", "512M", "4GiB", "1T", "1K"] {
        assert!(accepts("TIDEGATE_MEMORY_MAX", value), "{value}");
    }
    for value in ["0", "-1", "+1", "G", "1 G", "1g", "99999999999T", "1.5G", ""] {
        assert!(!accepts("TIDEGATE_MEMORY_MAX", value), "{value}");
    }
    for value in ["http://127.0.0.1:7070", "https://host", "http://[::1]:7070/"] {
        assert!(accepts("TIDEGATE_LINK_CONTROL_PLANE", value), "{value}");
    }
    for value in ["127.0.0.1:7070", "ftp://host", "http://", "http://host/path", "http://host?q", "http://a b"] {
        assert!(!accepts("TIDEGATE_LINK_CONTROL_PLANE", value), "{value}");
    }
}

#[test]
fn what_this_start_chose_is_told_apart() {
    let mut loaded = loaded(Role::Standalone, "", &[]).unwrap();
    assert!(loaded.supply("grpc.join_token", "0123456789abcdef"));
    assert!(!loaded.supply("grpc.join_token", "short"));
    assert_eq!(loaded.text("grpc.join_token"), Some("0123456789abcdef"));
    assert!(loaded.is_given("grpc.join_token") && !loaded.is_given("shards"));
}

/// At least 2,000 cases; more if PROPTEST_CASES says so.
fn cases() -> ProptestConfig {
    let given = ProptestConfig::default();
    ProptestConfig { cases: given.cases.max(2_000), failure_persistence: None, ..given }
}

/// Found by `cargo fuzz run settings`: the refusal of an empty key named nothing.
#[test]
fn an_empty_key_is_named_in_its_refusal() {
    harness::any(b"''=''");
}

proptest! {
    #![proptest_config(cases())]

    #[test]
    fn any_bytes_are_settings_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..512)) {
        harness::any(&bytes);
    }

    #[test]
    fn any_text_that_looks_like_settings_is_read_or_refused(
        lines in proptest::collection::vec((0..KEYS.len(), "[a-z0-9:./\"\\[\\]{}=' -]{0,24}"), 0..6),
        variables in proptest::collection::vec((any::<u8>(), "[a-zA-Z0-9:./ -]{0,24}"), 0..4),
    ) {
        let mut bytes = Vec::new();
        for (index, value) in &lines {
            bytes.extend_from_slice(format!("{} = {value}\n", KEYS[*index].path()).as_bytes());
        }
        for (index, value) in &variables {
            bytes.extend_from_slice(&[0xFF, *index & 0x7F, 0xFF]);
            bytes.extend_from_slice(value.as_bytes());
        }
        harness::any(&bytes);
    }
}
