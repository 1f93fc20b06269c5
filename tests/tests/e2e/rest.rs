//! REST as ThingsBoard's clients use it: users, devices, credentials, profiles, errors. Telemetry has its own files.

use serde_json::{Value, json};
use std::collections::BTreeSet;
use tests::harness::fixture::{self, Fixture, device, id_of, telemetry};
use tests::harness::instance::{Home, Setup};
use tests::harness::mqtt::{Connect, DISCONNECT, V5, Wire};

#[test]
fn login_refresh_and_the_current_user() {
    let fixture = Fixture::start();
    let anonymous = fixture.instance.rest();
    let body = json!({ "username": "tenant@thingsboard.org", "password": "tenant" });
    let pair = anonymous.post("/api/auth/login", &body).json();
    let refresh = json!({ "refreshToken": pair["refreshToken"] });
    let renewed = anonymous.post("/api/auth/token", &refresh).json();
    let user = anonymous.bearer(renewed["token"].as_str().expect("a token")).get("/api/auth/user").json();
    assert_eq!(user["email"], "tenant@thingsboard.org");
    assert_eq!(user["authority"], "TENANT_ADMIN");
    assert_eq!(user["tenantId"]["entityType"], "TENANT");
    for (login, authority) in
        [(fixture::sysadmin(&fixture.instance), "SYS_ADMIN"), (fixture::customer(&fixture.instance), "CUSTOMER_USER")]
    {
        assert_eq!(login.get("/api/auth/user").json()["authority"], authority);
    }
    let wrong = json!({ "username": "tenant@thingsboard.org", "password": "wrong" });
    anonymous.post("/api/auth/login", &wrong).expect_error(401);
    anonymous.get("/api/auth/user").expect_error(401);
    anonymous.bearer("no.such.token").get("/api/auth/user").expect_error(401);
    let refresh_token = pair["refreshToken"].as_str().expect("a refresh token");
    anonymous.bearer(refresh_token).get("/api/auth/user").expect_error(401);
    anonymous.post("/api/auth/token", &json!({ "refreshToken": pair["token"] })).expect_error(401);
    fixture.instance.stop();
}

#[test]
fn devices_are_made_changed_found_and_deleted() {
    let fixture = Fixture::start();
    let rest = &fixture.tenant;
    let made = rest.post("/api/device", &json!({ "name": "Boiler", "type": "default", "label": "cellar" })).json();
    assert_eq!(made["id"]["entityType"], "DEVICE");
    for field in ["createdTime", "tenantId", "customerId", "deviceProfileId", "version"] {
        assert!(!made[field].is_null(), "{field}: {made}");
    }
    let id = id_of(&made);
    let mut changed = made;
    changed["label"] = json!("roof");
    let changed = rest.post("/api/device", &changed).json();
    assert_eq!((&changed["label"], id_of(&changed)), (&json!("roof"), id.clone()));
    assert_eq!(rest.get(&format!("/api/device/{id}")).json()["label"], "roof");
    assert_eq!(id_of(&rest.get("/api/tenant/devices?deviceName=Boiler").json()), id);
    let info = rest.get(&format!("/api/device/info/{id}")).json();
    assert_eq!(info["deviceProfileName"], "default", "{info}");
    rest.post("/api/device", &json!({ "name": "Boiler", "type": "default" })).expect_error(400);
    rest.get("/api/tenant/devices?deviceName=Nothing").expect_error(404);
    rest.delete(&format!("/api/device/{id}")).expect_text(200);
    rest.get(&format!("/api/device/{id}")).expect_error(404);
    rest.get(&telemetry(&id, "values/timeseries")).expect_error(404);
    rest.delete(&format!("/api/device/{id}")).expect_error(404);
    fixture.instance.stop();
}

#[test]
fn lists_are_paged_and_searched() {
    let fixture = Fixture::start();
    for number in 0..7 {
        let body = json!({ "name": format!("Pump {number}"), "type": "default" });
        let _device = fixture.tenant.post("/api/device", &body).json();
    }
    let page = |query: &str| fixture.tenant.get(&format!("/api/tenant/devices?{query}")).json();
    let names = |page: &Value| -> Vec<String> {
        let rows = page["data"].as_array().expect("a page has data");
        rows.iter().map(|row| row["name"].as_str().expect("a device has a name").to_owned()).collect()
    };
    let first = page("pageSize=3&page=0&textSearch=pump&sortProperty=name&sortOrder=ASC");
    assert_eq!(names(&first), ["Pump 0", "Pump 1", "Pump 2"]);
    assert_eq!((&first["totalElements"], &first["totalPages"], &first["hasNext"]), (&json!(7), &json!(3), &json!(true)));
    let last = page("pageSize=3&page=2&textSearch=PUMP&sortProperty=name&sortOrder=ASC");
    assert_eq!((names(&last), &last["hasNext"]), (vec!["Pump 6".to_owned()], &json!(false)));
    let mut seen = BTreeSet::new();
    for number in 0..4 {
        let found = page(&format!("pageSize=2&page={number}&textSearch=Pump"));
        assert!(names(&found).into_iter().all(|name| seen.insert(name)), "no row is on two pages");
    }
    assert_eq!(seen.len(), 7);
    assert_eq!(page("pageSize=10&page=0&textSearch=%25")["totalElements"], 0, "a percent sign is not a wildcard");
    fixture.instance.stop();
}

#[test]
fn changed_credentials_close_the_old_session_and_admit_the_new_token_at_once() {
    let fixture = Fixture::start();
    let rest = &fixture.tenant;
    let device = device(rest, "before");
    let mqtt = fixture.instance.mqtt();
    let mut old = Wire::admitted(mqtt, &Connect::new("before").version(V5));
    let path = format!("/api/device/{}/credentials", device.id);
    let mut credentials = rest.get(&path).json();
    assert_eq!((&credentials["credentialsType"], &credentials["credentialsId"]), (&json!("ACCESS_TOKEN"), &json!("before")));
    credentials["credentialsId"] = json!("after");
    let reply = rest.post("/api/device/credentials", &credentials);
    assert_ne!(reply.applied.as_deref(), Some("false"), "DESIGN 8.7 (26): answered when applied");
    let _saved = reply.json();
    let _new = Wire::session(mqtt, "after");
    let said = old.read_to_close();
    assert_eq!(said.iter().map(|packet| (packet.kind(), packet.code(0))).collect::<Vec<_>>(), [(DISCONNECT, 0x98)]);
    let refused = Wire::open(mqtt).handshake(&Connect::new("before")).expect("a CONNACK");
    assert_eq!(refused.code(1), 5, "the old token is unknown");
    assert_eq!(rest.get(&path).json()["credentialsId"], "after");
    fixture.instance.stop();
}

#[test]
fn devices_are_imported_from_a_csv_file_and_let_in() {
    let fixture = Fixture::start();
    let rest = &fixture.tenant;
    let _taken = device(rest, "taken");
    let columns = json!([{ "type": "NAME" }, { "type": "TYPE" }, { "type": "ACCESS_TOKEN" }, { "type": "LABEL" }]);
    let import = |file: &str, update: bool| {
        let mapping = json!({ "columns": columns, "delimiter": ",", "header": true, "update": update });
        rest.post("/api/device/bulk_import", &json!({ "file": file, "mapping": mapping }))
    };
    let mut file = "name,type,token,label\n".to_owned();
    for number in 0..2_000 {
        file += &format!("imported {number},meter,import-{number},first\n");
    }
    file += "too,few\n,meter,nameless,\nIMPORTED 7,meter,other,\nelse,meter,import-8,\nfree,meter,taken,\ndevice taken,meter,,\n";
    let reply = import(&file, false);
    assert_ne!(reply.applied.as_deref(), Some("false"), "DESIGN 8.7 (26): answered when applied");
    let result = reply.json();
    assert_eq!((&result["created"], &result["updated"], &result["errors"]), (&json!(2_000), &json!(0), &json!(6)), "{result}");
    let wrong = result["errorsList"].as_array().expect("a list").iter().map(|line| line.as_str().unwrap_or_default());
    let mut wrong: Vec<&str> = wrong.collect();
    wrong.sort_unstable();
    let lines: Vec<&str> = wrong.iter().map(|line| line.split(':').next().unwrap_or_default()).collect();
    assert_eq!(lines, ["Line 2002", "Line 2003", "Line 2004", "Line 2005", "Line 2006", "Line 2007"], "{wrong:?}");
    let mqtt = fixture.instance.mqtt();
    let mut last = Wire::admitted(mqtt, &Connect::new("import-1999").version(V5));
    // The same file again replaces; the same token leaves the session alone.
    let result = import("name,type,token,label\nimported 1999,meter,import-1999,second\n", true).json();
    assert_eq!((&result["created"], &result["updated"], &result["errors"]), (&json!(0), &json!(1), &json!(0)), "{result}");
    let found = rest.get("/api/tenant/devices?deviceName=imported%201999").json();
    assert_eq!((&found["label"], &found["type"]), (&json!("second"), &json!("meter")));
    last.publish("v1/devices/me/telemetry", Some(1), r#"{"v":1}"#).expect("the session is still open");
    assert_eq!(last.read().expect("an answer").kind(), tests::harness::mqtt::PUBACK);
    // Another token closes it.
    let _result = import("name,type,token,label\nimported 1999,meter,renewed,\n", true).json();
    let said = last.read_to_close();
    assert_eq!(said.iter().map(|packet| (packet.kind(), packet.code(0))).collect::<Vec<_>>(), [(DISCONNECT, 0x98)]);
    let columns = json!([{ "type": "NAME" }, { "type": "X509" }]);
    let refused = rest.post("/api/device/bulk_import", &json!({ "file": "a,b", "mapping": { "columns": columns } })).json();
    assert_eq!(refused["errors"], 1, "{refused}");
    assert!(refused["errorsList"][0].as_str().is_some_and(|said| said.contains("Line 1: X509")), "{refused}");
    fixture.instance.stop();
}

#[test]
fn profiles_and_openapi_are_served() {
    let fixture = Fixture::start();
    let profile = fixture.tenant.get("/api/deviceProfileInfo/default").json();
    assert_eq!(profile["name"], "default", "{profile}");
    let page = fixture.tenant.get("/api/deviceProfiles?pageSize=10&page=0").json();
    assert!(page["data"].as_array().is_some_and(|rows| rows.iter().any(|row| row["default"] == true)), "{page}");
    let document = fixture.instance.rest().get("/v3/api-docs").json();
    for path in ["/api/auth/login", "/api/device", "/api/ruleChain/metadata"] {
        assert!(document["paths"][path].is_object(), "{path} is described");
    }
    fixture.instance.stop();
}

#[test]
fn bad_requests_get_the_error_body() {
    let fixture = Fixture::start();
    let rest = &fixture.tenant;
    let device = device(rest, "bad");
    let series = |query: &str| telemetry(&device.id, &format!("values/timeseries?{query}"));
    let get = [
        ("/api/device/not-a-uuid".to_owned(), 400),
        ("/api/device/13814000-1dd2-11b2-8080-808080808080".to_owned(), 404),
        ("/api/no/such/path".to_owned(), 404),
        ("/api/tenant/devices?pageSize=0&page=0".to_owned(), 400),
        ("/api/tenant/devices?pageSize=10&page=-1".to_owned(), 400),
        ("/api/tenant/devices?pageSize=10&page=0&sortProperty=drop%20table".to_owned(), 400),
        (series("keys=a&startTs=x&endTs=2"), 400),
        (series("keys=a&startTs=1&endTs=2&agg=MEDIAN"), 400),
        (series("keys=a&startTs=1&endTs=2&agg=AVG&interval=-5"), 400),
        (series("keys=a&startTs=0&endTs=1700000000000&agg=AVG&interval=1"), 400),
        ("/api/plugins/telemetry/ROBOT/13814000-1dd2-11b2-8080-808080808080/keys/timeseries".to_owned(), 400),
    ];
    for (path, status) in get {
        rest.get(&path).expect_error(status);
    }
    let post = [
        ("/api/device".to_owned(), "{", 400),
        ("/api/device".to_owned(), r#"{"type":"default"}"#, 400),
        ("/api/device".to_owned(), r#"{"name":"","type":"default"}"#, 400),
        (telemetry(&device.id, "timeseries/ANY"), r#"[1,2]"#, 400),
        (telemetry(&device.id, "timeseries/ANY"), r#"{"ts":-5,"values":{"a":1}}"#, 400),
        (telemetry(&device.id, "attributes/NO_SCOPE"), r#"{"a":1}"#, 400),
        ("/api/auth/login".to_owned(), "not json", 400),
    ];
    for (path, body, status) in post {
        rest.post_text(&path, body).expect_error(status);
    }
    let mut stale = rest.get(&format!("/api/device/{}", device.id)).json();
    let _saved = rest.post("/api/device", &stale.clone()).json();
    stale["label"] = json!("late");
    rest.post("/api/device", &stale).expect_error(409);
    fixture.instance.stop();
}

#[test]
fn the_first_start_without_demo_makes_one_administrator() {
    use std::os::unix::fs::PermissionsExt as _;
    let home = Home::new();
    let setup = Setup::standalone(&home).demo(false);
    let instance = setup.start();
    let printed = format!("{}\n{}", instance.stdout(), instance.log());
    let words: Vec<&str> = printed.split(|c: char| c.is_whitespace() || "\"'`=:,".contains(c)).collect();
    let files = std::fs::read_dir(setup.data()).expect("the data directory").chain(
        std::fs::read_dir(setup.data())
            .expect("the data directory")
            .filter_map(Result::ok)
            .filter(|entry| entry.path().is_dir())
            .flat_map(|entry| std::fs::read_dir(entry.path()).expect("a directory")),
    );
    let mut found = None;
    for file in files.filter_map(Result::ok).filter(|entry| entry.path().is_file()) {
        let Ok(text) = std::fs::read_to_string(file.path()) else { continue };
        let password = words.iter().find(|word| word.len() >= 12 && !word.contains('/') && text.contains(**word));
        if let (Some(password), 0o600) = (password, file.metadata().expect("a file").permissions().mode() & 0o777) {
            let body = json!({ "username": "sysadmin@thingsboard.org", "password": password });
            if instance.rest().post("/api/auth/login", &body).status == 200 {
                found = Some((file.path(), (*password).to_owned()));
                break;
            }
        }
    }
    let (path, password) = found.expect("the password is printed and written with mode 0600");
    let body = json!({ "username": "sysadmin@thingsboard.org", "password": "sysadmin" });
    instance.rest().post("/api/auth/login", &body).expect_error(401);
    instance.stop();
    let again = setup.start();
    assert!(!again.stdout().contains(&password) && !again.log().contains(&password), "printed once");
    assert!(path.exists(), "{} stays until the administrator removes it", path.display());
    let _administrator = again.rest().login("sysadmin@thingsboard.org", &password);
    again.stop();
}
