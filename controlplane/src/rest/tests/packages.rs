//! OTA packages, from the REST side: facts, bytes, assignment, and what devices are told in which order and at what pace.

use uuid::Uuid;

use super::*;
use crate::domain::PackageKind;

const NOW: i64 = 1_700_000_000_000;
/// The sums of "firmware bytes".
const CRC32: &str = "f6e69267";

struct Shop {
    house: House,
    fake: Fake,
    token: String,
    profile: String,
}

impl Shop {
    async fn open() -> Self {
        let fake = Fake::start().await;
        let house = House::open(Some(&fake)).await;
        let token = house.sign_in("tenant@thingsboard.org", "tenant").await;
        let profile = house.ask(&Method::GET, "/api/deviceProfileInfo/default", Some(&token), None).await.body;
        let profile = profile["id"]["id"].as_str().unwrap().to_owned();
        Self { house, fake, token, profile }
    }

    async fn ask(&self, method: Method, path: &str, body: Value) -> Answer {
        self.house.ask(&method, path, Some(&self.token), Some(&body.to_string())).await
    }

    fn facts(&self, kind: &str, title: &str) -> Value {
        json!({"type": kind, "title": title, "version": "1.0", "deviceProfileId": {"id": self.profile}})
    }

    async fn make(&self, facts: Value) -> String {
        let made = self.ask(Method::POST, "/api/otaPackage", facts).await;
        made.body["id"]["id"].as_str().unwrap_or_else(|| panic!("{made:?}")).to_owned()
    }

    async fn upload(&self, id: &str, query: &str, bytes: &str) -> Answer {
        self.house.upload(&format!("/api/otaPackage/{id}{query}"), &self.token, ("fw (1).bin", bytes)).await
    }

    async fn stored(&self, kind: &str, title: &str) -> String {
        let id = self.make(self.facts(kind, title)).await;
        let answer = self.upload(&id, "?checksumAlgorithm=CRC32", "firmware bytes").await;
        assert_eq!(answer.status, StatusCode::OK, "{answer:?}");
        id
    }

    async fn device(&self, name: &str) -> Value {
        let path = format!("/api/tenant/devices?deviceName={}", name.replace(' ', "%20"));
        self.ask(Method::GET, &path, Value::Null).await.body
    }

    async fn assign(&self, name: &str, field: &str, package: Option<&str>) -> Answer {
        let mut device = self.device(name).await;
        device[field] = package.map_or(Value::Null, |id| json!({"entityType": "OTA_PACKAGE", "id": id}));
        self.ask(Method::POST, "/api/device", device).await
    }

    async fn assign_to_profile(&self, package: Option<&str>) -> Answer {
        let mut profile = self.ask(Method::GET, &format!("/api/deviceProfile/{}", self.profile), Value::Null).await.body;
        profile["firmwareId"] = package.map_or(Value::Null, |id| json!({"entityType": "OTA_PACKAGE", "id": id}));
        self.ask(Method::POST, "/api/deviceProfile", profile).await
    }

    /// Steps until there is nothing to do at this time; what was written meanwhile, in order.
    async fn roll_out(&self, now_ms: i64) -> Vec<String> {
        while self.house.app.roll_out_step(now_ms).await.unwrap() {}
        std::mem::take(&mut *self.fake.written.lock().await)
    }
}

#[tokio::test]
async fn a_package_is_described_uploaded_and_downloaded() {
    let shop = Shop::open().await;
    let bad = StatusCode::BAD_REQUEST;
    let id = shop.make(shop.facts("FIRMWARE", "Pump")).await;
    let info = shop.ask(Method::GET, &format!("/api/otaPackage/info/{id}"), Value::Null).await.body;
    assert_eq!((&info["hasData"], &info["type"], &info["dataSize"]), (&json!(false), &json!("FIRMWARE"), &Value::Null));
    refused(&shop.ask(Method::GET, &format!("/api/otaPackage/{id}/download"), Value::Null).await, bad, 31, "no bytes");
    // Whatever is refused leaves no bytes behind, and the package as it was.
    refused(&shop.upload(&id, "?checksumAlgorithm=ROT13", "x").await, bad, 31, "checksumAlgorithm: \"ROT13\" must be one of MD5");
    refused(&shop.upload(&id, "?checksumAlgorithm=CRC32&checksum=zz", "x").await, bad, 31, "8 hexadecimal digits");
    let wrong = shop.upload(&id, "?checksumAlgorithm=CRC32&checksum=00000000", "firmware bytes").await;
    refused(&wrong, bad, 31, CRC32);
    refused(&shop.upload(&id, "", "").await, bad, 31, "file");
    let large = "x".repeat((1 << 20) + 1);
    refused(&shop.upload(&id, "", &large).await, StatusCode::PAYLOAD_TOO_LARGE, 31, "more than 1048576 bytes");
    refused(&shop.ask(Method::POST, &format!("/api/otaPackage/{id}"), json!({})).await, bad, 31, "request body");
    let files = || std::fs::read_dir(shop.house.directory().join("ota")).unwrap().count();
    assert_eq!(files(), 0);
    let stored = shop.upload(&id, &format!("?checksumAlgorithm=CRC32&checksum={}", CRC32.to_uppercase()), "firmware bytes").await;
    assert_eq!((stored.status, &stored.body["hasData"]), (StatusCode::OK, &json!(true)), "{stored:?}");
    assert_eq!((&stored.body["checksum"], &stored.body["dataSize"]), (&json!(CRC32), &json!(14)));
    assert_eq!((&stored.body["fileName"], &stored.body["contentType"]), (&json!("fw (1).bin"), &json!("text/plain")));
    refused(&shop.upload(&id, "", "another").await, bad, 31, "Updating otaPackage data is prohibited!");
    assert_eq!(files(), 1);
    let download = shop.ask(Method::GET, &format!("/api/otaPackage/{id}/download"), Value::Null).await;
    assert_eq!((download.status, download.text.as_str()), (StatusCode::OK, "firmware bytes"));
    assert_eq!(download.headers["content-length"], "14");
    assert_eq!(download.headers["x-filename"], "fw_(1).bin");
    assert_eq!(shop.ask(Method::GET, &format!("/api/otaPackage/{id}"), Value::Null).await.body, stored.body);

    let page = shop.ask(Method::GET, "/api/otaPackages?pageSize=10&page=0&textSearch=pump", Value::Null).await.body;
    assert_eq!(page["data"], json!([stored.body]));
    let empty = shop.make(shop.facts("FIRMWARE", "Empty")).await;
    let path = format!("/api/otaPackages/{}/FIRMWARE?pageSize=10&page=0", shop.profile);
    let of_profile = shop.ask(Method::GET, &path, Value::Null).await;
    assert_eq!(of_profile.body["totalElements"], 1, "one without data cannot be given");
    assert_eq!(shop.ask(Method::DELETE, &format!("/api/otaPackage/{empty}"), Value::Null).await.status, StatusCode::OK);
    assert_eq!(shop.ask(Method::DELETE, &format!("/api/otaPackage/{id}"), Value::Null).await.status, StatusCode::OK);
    assert_eq!(files(), 0);
    refused(
        &shop.ask(Method::GET, &format!("/api/otaPackage/{id}"), Value::Null).await,
        StatusCode::NOT_FOUND,
        32,
        "OTA package",
    );
}

#[tokio::test]
async fn what_a_package_is_never_changes() {
    let shop = Shop::open().await;
    let bad = StatusCode::BAD_REQUEST;
    let save = async |change: &dyn Fn(&mut Value)| {
        let mut facts = shop.facts("FIRMWARE", "Pump");
        change(&mut facts);
        shop.ask(Method::POST, "/api/otaPackage", facts).await
    };
    refused(&save(&|facts| facts["type"] = json!("HARDWARE")).await, bad, 31, "type: \"HARDWARE\" must be FIRMWARE or SOFTWARE");
    refused(&save(&|facts| facts["title"] = json!(" ")).await, bad, 31, "title");
    refused(&save(&|facts| facts["deviceProfileId"] = Value::Null).await, bad, 31, "deviceProfileId");
    let nowhere = json!({"id": Uuid::from_u128(9)});
    refused(&save(&|facts| facts["deviceProfileId"] = nowhere.clone()).await, StatusCode::NOT_FOUND, 32, "Device profile");
    refused(&save(&|facts| facts["url"] = json!("nowhere")).await, bad, 31, "url");
    refused(&save(&|facts| facts["usesUrl"] = json!(true)).await, bad, 31, "url");
    let linked = save(&|facts| facts["url"] = json!("https://example.org/a.bin")).await.body;
    assert_eq!((&linked["url"], &linked["hasData"]), (&json!("https://example.org/a.bin"), &json!(true)));
    refused(&save(&|_| {}).await, bad, 31, "title and version already exists");
    let id = linked["id"]["id"].as_str().unwrap();
    refused(&shop.upload(id, "", "x").await, bad, 31, "URL takes no data");
    refused(&shop.ask(Method::GET, &format!("/api/otaPackage/{id}/download"), Value::Null).await, bad, 31, "no bytes");
    for (field, value) in [
        ("title", json!("X")),
        ("version", json!("2")),
        ("tag", json!("t")),
        ("url", json!("http://x")),
        ("type", json!("SOFTWARE")),
    ] {
        let mut changed = linked.clone();
        changed[field] = value;
        refused(
            &shop.ask(Method::POST, "/api/otaPackage", changed).await,
            bad,
            31,
            &format!("Updating otaPackage {field} is prohibited"),
        );
    }
    let mut changed = linked.clone();
    changed["additionalInfo"] = json!({"note": 1});
    assert_eq!(shop.ask(Method::POST, "/api/otaPackage", changed).await.body["additionalInfo"], json!({"note": 1}));
    let customer = shop.house.sign_in("customer@thingsboard.org", "customer").await;
    let list = shop.house.ask(&Method::GET, "/api/otaPackages?pageSize=10&page=0", Some(&customer), None).await;
    refused(&list, StatusCode::FORBIDDEN, 20, "permission");
}

#[tokio::test]
async fn only_fitting_packages_are_assigned() {
    let shop = Shop::open().await;
    let bad = StatusCode::BAD_REQUEST;
    let firmware = shop.stored("FIRMWARE", "Pump").await;
    let empty = shop.make(shop.facts("FIRMWARE", "Empty")).await;
    refused(
        &shop.assign("Test Device A1", "softwareId", Some(&firmware)).await,
        bad,
        31,
        "Can't assign software with type: FIRMWARE!",
    );
    refused(&shop.assign("Test Device A1", "firmwareId", Some(&empty)).await, bad, 31, "with empty data!");
    let nowhere = Uuid::from_u128(9).to_string();
    refused(&shop.assign("Test Device A1", "firmwareId", Some(&nowhere)).await, StatusCode::NOT_FOUND, 32, "OTA package");
    let typed = shop.ask(Method::POST, "/api/device", json!({"name": "Typed", "type": "meter"})).await;
    assert_eq!(typed.status, StatusCode::OK);
    refused(&shop.assign("Typed", "firmwareId", Some(&firmware)).await, bad, 31, "different deviceProfile!");
    let assigned = shop.assign("Test Device A1", "firmwareId", Some(&firmware)).await;
    assert_eq!(assigned.body["firmwareId"], json!({"entityType": "OTA_PACKAGE", "id": firmware}), "{assigned:?}");
    let delete = async || shop.ask(Method::DELETE, &format!("/api/otaPackage/{firmware}"), Value::Null).await;
    refused(&delete().await, bad, 31, "referenced by the devices");
    shop.assign("Test Device A1", "firmwareId", None).await;
    assert_eq!(shop.assign_to_profile(Some(&firmware)).await.status, StatusCode::OK);
    refused(&delete().await, bad, 31, "referenced by the device profile");
    let profile = typed.body["deviceProfileId"]["id"].as_str().unwrap().to_owned();
    shop.make(json!({"type": "SOFTWARE", "title": "S", "version": "1", "deviceProfileId": {"id": profile}})).await;
    shop.ask(Method::DELETE, &format!("/api/device/{}", typed.body["id"]["id"].as_str().unwrap()), Value::Null).await;
    refused(&shop.ask(Method::DELETE, &format!("/api/deviceProfile/{profile}"), Value::Null).await, bad, 31, "OTA packages");
}

fn is_told(written: &str) -> bool {
    written.starts_with("Shared ")
}

#[tokio::test]
async fn devices_are_told_first_that_then_what() {
    let shop = Shop::open().await;
    let firmware = shop.stored("FIRMWARE", "Pump").await;
    assert!(shop.roll_out(NOW).await.is_empty(), "nobody has it");
    shop.assign("Test Device A1", "firmwareId", Some(&firmware)).await;
    let expected = [
        format!(
            r#"series {{"fw_state":"QUEUED","target_fw_title":"Pump","target_fw_ts":{NOW},"target_fw_version":"1.0"}} ttl 0"#
        ),
        r#"series {"fw_state":"INITIATED"} ttl 0"#.to_owned(),
        "delete Shared fw_tag+fw_url".to_owned(),
        format!(
            r#"Shared {{"fw_checksum":"{CRC32}","fw_checksum_algorithm":"CRC32","fw_size":14,"fw_title":"Pump","fw_version":"1.0"}}"#
        ),
    ];
    assert_eq!(shop.roll_out(NOW).await, expected);
    assert!(shop.roll_out(NOW + 600_000).await.is_empty(), "once is enough");
    // The device's own wins over its profile's; without its own it has that again, and with neither nothing.
    let id = shop.device("Test Device A1").await["id"]["id"].as_str().unwrap().parse().unwrap();
    let title = async || {
        let reading = shop.house.app.package_of(id, PackageKind::Firmware).await.unwrap();
        reading.map(|reading| reading.package.title)
    };
    let second = shop.stored("FIRMWARE", "Pump II").await;
    assert_eq!(shop.assign_to_profile(Some(&second)).await.status, StatusCode::OK);
    assert_eq!(title().await.as_deref(), Some("Pump"));
    shop.roll_out(NOW + 1_000_000).await;
    shop.roll_out(NOW + 2_000_000).await;
    shop.assign("Test Device A1", "firmwareId", None).await;
    assert_eq!(title().await.as_deref(), Some("Pump II"));
    let written = shop.roll_out(NOW + 3_000_000).await;
    assert!(written[0].contains("Pump II") && written.iter().filter(|one| is_told(one)).count() == 1, "{written:?}");
    shop.assign_to_profile(None).await;
    assert_eq!(title().await, None);
    let written = shop.roll_out(NOW + 4_000_000).await;
    let forgotten = "delete Shared fw_title+fw_version+fw_tag+fw_size+fw_checksum+fw_checksum_algorithm+fw_url";
    assert_eq!(written, vec![forgotten; 3], "every device of the profile, and without waiting");
}

#[tokio::test]
async fn a_profile_is_rolled_out_at_its_pace() {
    // Packs of two devices every 60 s; the demo has three devices, and one more comes.
    let shop = Shop::open().await;
    let software = shop.stored("FIRMWARE", "Pump").await;
    shop.assign_to_profile(Some(&software)).await;
    let written = shop.roll_out(NOW).await;
    assert_eq!(written.iter().filter(|one| one.contains("QUEUED")).count(), 3, "all know at once that something is to come");
    assert_eq!(written.iter().filter(|one| is_told(one)).count(), 2);
    shop.ask(Method::POST, "/api/device", json!({"name": "New"})).await;
    assert_eq!(shop.roll_out(NOW + 59_000).await.iter().filter(|one| is_told(one)).count(), 0, "not yet");
    // A device that is deleted while it waits is no obstacle.
    let gone = shop.device("New").await["id"]["id"].as_str().unwrap().to_owned();
    shop.ask(Method::DELETE, &format!("/api/device/{gone}"), Value::Null).await;
    assert_eq!(shop.roll_out(NOW + 60_000).await.iter().filter(|one| is_told(one)).count(), 1);
    assert!(shop.roll_out(NOW + 600_000).await.is_empty());
}

#[tokio::test]
async fn without_a_data_plane_devices_wait() {
    let house = House::open(None).await;
    let token = house.sign_in("tenant@thingsboard.org", "tenant").await;
    let ask = async |method: Method, path: &str, body: Value| {
        house.ask(&method, path, Some(&token), Some(&body.to_string())).await.body
    };
    let device = ask(Method::GET, "/api/tenant/devices?deviceName=Test%20Device%20A1", Value::Null).await;
    let profile = &device["deviceProfileId"];
    let facts = json!({"type": "SOFTWARE", "title": "S", "version": "1", "deviceProfileId": profile, "url": "http://x/y"});
    let package = ask(Method::POST, "/api/otaPackage", facts).await;
    let mut changed = device.clone();
    changed["softwareId"] = package["id"].clone();
    assert_eq!(ask(Method::POST, "/api/device", changed).await["softwareId"], package["id"]);
    assert!(house.app.roll_out_step(NOW).await.is_err(), "and is tried again later");
    let fake = Fake::start().await;
    let _joined = house.join(&fake);
    while house.app.roll_out_step(NOW + 1).await.unwrap() {}
    let written = fake.written.lock().await.clone();
    assert!(written[0].contains("target_sw_title"), "{written:?}");
    let shared: Vec<&String> = written.iter().filter(|one| is_told(one)).collect();
    assert_eq!(shared, [r#"Shared {"sw_title":"S","sw_url":"http://x/y","sw_version":"1"}"#]);
    assert!(written.contains(&"delete Shared sw_tag+sw_size+sw_checksum+sw_checksum_algorithm".to_owned()), "{written:?}");
}

#[tokio::test]
async fn a_tenant_has_so_many_bytes_and_a_provisioned_device_is_told() {
    let shop = Shop::open().await;
    let system = shop.house.sign_in("sysadmin@thingsboard.org", "sysadmin").await;
    let as_system = async |method: Method, path: &str, body: &Value| {
        shop.house.ask(&method, path, Some(&system), Some(&body.to_string())).await.body
    };
    let page = as_system(Method::GET, "/api/tenantProfiles?pageSize=1&page=0", &Value::Null).await;
    let mut profile = page["data"][0].clone();
    profile["profileData"]["configuration"]["maxOtaPackagesInBytes"] = json!(20);
    let saved = as_system(Method::POST, "/api/tenantProfile", &profile).await;
    assert_eq!(saved["profileData"]["configuration"]["maxOtaPackagesInBytes"], 20, "{saved}");
    let first = shop.stored("FIRMWARE", "First").await;
    let second = shop.make(shop.facts("FIRMWARE", "Second")).await;
    refused(&shop.upload(&second, "", "firmware bytes").await, StatusCode::PAYLOAD_TOO_LARGE, 31, "more than 6 bytes");
    assert_eq!(shop.upload(&second, "", "123456").await.status, StatusCode::OK);
    let third = shop.make(shop.facts("FIRMWARE", "Third")).await;
    refused(&shop.upload(&third, "", "1").await, StatusCode::BAD_REQUEST, 31, "have 20 bytes, at most 20 are allowed");

    assert_eq!(shop.assign_to_profile(Some(&first)).await.status, StatusCode::OK);
    shop.roll_out(NOW).await;
    shop.roll_out(NOW + 60_000).await;
    let made = shop.ask(Method::POST, "/api/device", json!({"name": "Gateway", "additionalInfo": {"gateway": true}})).await;
    let gateway = made.body["id"]["id"].as_str().unwrap().parse().unwrap();
    shop.house.app.child(gateway, "Child", "default").await.unwrap();
    let written = shop.roll_out(NOW + 600_000).await;
    assert_eq!(written.iter().filter(|one| is_told(one)).count(), 2, "the gateway and its child: {written:?}");
}
