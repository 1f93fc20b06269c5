//! Over-the-air packages (reference 1.3, 1.7): uploaded with curl, assigned by device and by profile, downloaded in pieces over HTTP,
//! by paho and by ThingsBoard's SDK. Never asserts how fast a fleet is told.

use serde_json::{Value, json};
use std::process::Command;
use tests::harness::curl::Curl;
use tests::harness::fixture::{self, Device, Fixture, attributes, device, device_with, id_of, latest_value};
use tests::harness::instance::{Home, Setup, drivers};
use tests::harness::python::Client;
use tests::harness::raw_http::{RawHttp, request};
use tests::harness::rest::Rest;
use tests::harness::{Dice, eventually};

pub(crate) const BYTES: usize = 2_500;
const PIECE: usize = 1_000;

/// A package with its bytes uploaded.
pub(crate) struct Package {
    id: String,
    pub(crate) title: String,
    version: String,
    bytes: Vec<u8>,
    sha256: String,
}

impl Package {
    pub(crate) fn upload(fixture: &Fixture, kind: &str, version: &str) -> Self {
        Self::upload_of(fixture, kind, version, BYTES)
    }

    fn upload_of(fixture: &Fixture, kind: &str, version: &str, bytes: usize) -> Self {
        let (tenant, title) = (&fixture.tenant, format!("{} image", kind.to_lowercase()));
        let profile = tenant.get("/api/deviceProfileInfo/default").json()["id"].clone();
        let draft = json!({ "deviceProfileId": profile, "type": kind, "title": title, "version": version, "tag": "first" });
        let saved = tenant.post("/api/otaPackage", &draft).json();
        assert_eq!(saved["hasData"], false, "{saved}");
        let (bytes, path) = image(&fixture.home, version, bytes);
        let sha256 = sha256(&path);
        let url = |checksum: &str| {
            let address = fixture.instance.address("http");
            format!("http://{address}/api/otaPackage/{}?checksumAlgorithm=SHA256&checksum={checksum}", id_of(&saved))
        };
        let form = format!("file=@{};type=application/octet-stream", path.display());
        let wrong = Curl::get(url(&"0".repeat(64))).by(tenant).argument("-F").argument(&form).run();
        assert_eq!(wrong.status, 400, "a checksum that is not that of the bytes: {}", wrong.text());
        let uploaded = Curl::get(url(&sha256)).by(tenant).argument("-F").argument(&form).run().json();
        assert_eq!((&uploaded["hasData"], &uploaded["dataSize"]), (&json!(true), &json!(bytes.len())), "{uploaded}");
        assert_eq!(uploaded["checksum"], sha256.as_str(), "{uploaded}");
        Self { id: id_of(&saved), title, version: version.to_owned(), bytes, sha256 }
    }

    pub(crate) fn reference(&self) -> Value {
        json!({ "entityType": "OTA_PACKAGE", "id": self.id })
    }
}

/// Bytes that nobody could guess, and a file of them.
fn image(home: &Home, name: &str, bytes: usize) -> (Vec<u8>, std::path::PathBuf) {
    let mut dice = Dice::cast("an image");
    let bytes: Vec<u8> = (0..bytes).map(|_| u8::try_from(dice.roll(0..256)).expect("a byte")).collect();
    let path = home.path().join(format!("image-{name}"));
    std::fs::write(&path, &bytes).expect("the test's directory is writable");
    (bytes, path)
}

fn sha256(path: &std::path::Path) -> String {
    let output = Command::new("sha256sum").arg(path).output().expect("sha256sum is installed");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    text.split_whitespace().next().expect("a checksum").to_owned()
}

/// Gives the device a package; `field` is `firmwareId` or `softwareId`.
pub(crate) fn assign(tenant: &Rest, device: &Device, field: &str, package: Value) {
    let mut full = tenant.get(&format!("/api/device/{}", device.id)).json();
    full[field] = package;
    let _saved = tenant.post("/api/device", &full).json();
}

/// Packs of devices follow each other at once: the pace is the control plane's own tests' subject.
fn quick(setup: Setup) -> Setup {
    setup.shards(2).with("TIDEGATE_OTA_PACK_INTERVAL_S", 1)
}

/// Waits until the device is told of the package by shared attributes.
fn is_told(tenant: &Rest, device: &Device, prefix: &str, package: &Package) {
    let key = |name: &str| format!("{prefix}_{name}");
    let told = eventually("the device is told", || {
        let shared = attributes(tenant, &device.id, "SHARED_SCOPE");
        (shared.get(&key("version")) == Some(&json!(package.version))).then_some(shared)
    });
    assert_eq!(told[&key("title")], package.title.as_str(), "{told:?}");
    assert_eq!(told[&key("size")], package.bytes.len(), "{told:?}");
    assert_eq!(told[&key("checksum")], package.sha256.as_str(), "{told:?}");
    assert_eq!(told[&key("checksum_algorithm")], "SHA256", "{told:?}");
}

#[test]
fn a_device_is_told_and_downloads_over_http() {
    let fixture = Fixture::with(quick);
    let device = device(&fixture.tenant, "otahttp");
    for (kind, prefix, field, resource) in
        [("FIRMWARE", "fw", "firmwareId", "firmware"), ("SOFTWARE", "sw", "softwareId", "software")]
    {
        let package = Package::upload(&fixture, kind, "1.0");
        assign(&fixture.tenant, &device, field, package.reference());
        is_told(&fixture.tenant, &device, prefix, &package);
        let target = eventually("what is to come is telemetry", || {
            latest_value(&fixture.tenant, &device.id, &format!("target_{prefix}_version"))
        });
        assert_eq!(target, "1.0");
        let state = latest_value(&fixture.tenant, &device.id, &format!("{prefix}_state"));
        assert!(["QUEUED", "INITIATED"].contains(&state.clone().unwrap_or_default().as_str()), "{state:?}");
        for part in ["device_http", "http"] {
            check_download(
                &fixture,
                part,
                &device,
                &format!("{resource}?title={}&version=1.0", package.title.replace(' ', "%20")),
                &package,
            );
        }
        let report = format!(r#"{{"current_{prefix}_version":"1.0","{prefix}_state":"UPDATED"}}"#);
        let url = format!("http://{}/api/v1/{}/telemetry", fixture.instance.device_http(), device.token);
        assert_eq!(Curl::post(url, &report).run().status, 200);
        assert_eq!(latest_value(&fixture.tenant, &device.id, &format!("{prefix}_state")).as_deref(), Some("UPDATED"));
        assign(&fixture.tenant, &device, field, Value::Null);
        eventually("what was taken back is forgotten", || {
            attributes(&fixture.tenant, &device.id, "SHARED_SCOPE").get(&format!("{prefix}_version")).is_none().then_some(())
        });
    }
    fixture.instance.stop();
}

fn check_download(fixture: &Fixture, part: &str, device: &Device, query: &str, package: &Package) {
    let url = format!("http://{}/api/v1/{}/{query}", fixture.instance.address(part), device.token);
    let get = |more: &str| Curl::get(format!("{url}{more}")).run();
    for whole in ["", "&size=0", "&size=0&chunk=0", &format!("&size={BYTES}&chunk=0")] {
        let answer = get(whole);
        assert!(
            answer.status == 200 && answer.body == package.bytes,
            "{part} {whole}: {} {} bytes",
            answer.status,
            answer.body.len()
        );
    }
    let pieces: Vec<u8> = (0..3).flat_map(|chunk| get(&format!("&size={PIECE}&chunk={chunk}")).body).collect();
    assert_eq!(pieces, package.bytes, "{part}: piece by piece");
    let beyond = get(&format!("&size={PIECE}&chunk=3"));
    assert!(beyond.status < 500 && (beyond.status != 200 || beyond.body.is_empty()), "past the end: {beyond:?}");
    for wrong in ["title=other&version=1.0".to_owned(), format!("title={}&version=9", package.title.replace(' ', "%20"))] {
        let resource = query.split('?').next().expect("a resource");
        let url = format!("http://{}/api/v1/{}/{resource}?{wrong}", fixture.instance.address(part), device.token);
        assert_eq!(Curl::get(url).run().status, 400, "{wrong}");
    }
}

/// More than any buffer of ours holds, in one answer.
#[test]
fn a_large_package_is_downloaded_whole() {
    const LARGE: usize = 5 << 20;
    for driver in drivers() {
        let fixture = Fixture::with(|setup| quick(setup).driver(driver));
        let device = device(&fixture.tenant, "otawhole");
        let package = Package::upload_of(&fixture, "FIRMWARE", "5.0", LARGE);
        assign(&fixture.tenant, &device, "firmwareId", package.reference());
        is_told(&fixture.tenant, &device, "fw", &package);
        let path = format!("/api/v1/{}/firmware?title={}&version=5.0", device.token, package.title.replace(' ', "%20"));
        for part in ["device_http", "http"] {
            let url = format!("http://{}{path}", fixture.instance.address(part));
            let both = [Curl::get(&url).start(), Curl::get(format!("{url}&size=0&chunk=0")).start()];
            for answer in both.map(|download| download.join().expect("curl ends")) {
                assert!(answer.status == 200 && answer.body == package.bytes, "{part}: {} bytes", answer.body.len());
            }
            // Who says that it will go is given all of it all the same.
            for more in [&["--http1.0"][..], &["-H", "Connection: close"], &["--limit-rate", "4M"]] {
                let answer = more.iter().fold(Curl::get(&url), |curl, argument| curl.argument(argument)).run();
                assert!(answer.status == 200 && answer.body == package.bytes, "{part} {more:?}: {} bytes", answer.body.len());
            }
            check_connection_is_kept(&fixture, &url, &package);
        }
        check_pipelined(&fixture, &path, &device, &package);
        check_nobody_reads(&fixture, &path);
        fixture.instance.stop();
    }
}

/// One curl, one connection: the whole package, then something else.
fn check_connection_is_kept(fixture: &Fixture, url: &str, package: &Package) {
    let file = fixture.home.path().join("downloaded");
    let other = url.replace("/firmware?", "/attributes?");
    let output = Command::new("curl")
        .args(["--silent", "--show-error", "--http1.1", "--write-out", "%{num_connects} %{http_code} %{size_download}\\n"])
        .args(["--output".as_ref(), file.as_os_str(), url.as_ref(), "--output".as_ref(), "/dev/null".as_ref(), other.as_ref()])
        .output()
        .expect("curl runs");
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    let said: Vec<&str> = said.lines().collect();
    assert_eq!(said.first(), Some(&&*format!("1 200 {}", package.bytes.len())), "{output:?}");
    assert!(said.get(1).is_some_and(|line| line.starts_with("0 200 ")), "no second connection: {output:?}");
    assert_eq!(sha256(&file), package.sha256);
}

/// What is asked before and behind a download is answered before and behind it; HEAD is told how long it would be.
fn check_pipelined(fixture: &Fixture, path: &str, device: &Device, package: &Package) {
    let telemetry = format!("/api/v1/{}/telemetry", device.token);
    let mut wire = RawHttp::open(fixture.instance.device_http());
    let post = || request("POST", &telemetry, "", r#"{"a":1}"#);
    let requests =
        [post(), request("GET", path, "", ""), post(), request("GET", path, "", ""), request("GET", "/nowhere", "", "")];
    wire.write(&requests.concat()).expect("the connection is open");
    let said: Vec<(u16, usize)> = requests.iter().map(|_| wire.response()).map(|said| (said.status, said.body.len())).collect();
    let large = package.bytes.len();
    assert_eq!(said[..4], [(200, 0), (200, large), (200, 0), (200, large)]);
    assert_eq!(said[4].0, 404);
    let head = Curl::get(format!("http://{}{path}", fixture.instance.device_http())).argument("--head").run();
    assert!(head.text().to_lowercase().contains(&format!("content-length: {large}\r\n")), "{}", head.text());
}

/// Downloads that nobody reads do not lie in our memory.
fn check_nobody_reads(fixture: &Fixture, path: &str) {
    const PEERS: usize = 40;
    let before = fixture.instance.resident_kib();
    let wires: Vec<RawHttp> = (0..PEERS)
        .map(|_| {
            let mut wire = RawHttp::open(fixture.instance.device_http());
            wire.write(&request("GET", path, "", "")).expect("the connection is open");
            wire
        })
        .collect();
    let other = Curl::get(format!("http://{}{path}", fixture.instance.device_http())).run();
    assert_eq!(other.status, 200, "they are in nobody's way");
    let grown = fixture.instance.resident_kib().saturating_sub(before);
    assert!(grown < 24 << 10, "{PEERS} downloads that nobody reads take {grown} KiB");
    drop(wires);
}

/// A device that is given another package in the middle must not take the rest of that for its own.
#[test]
fn a_download_ends_when_the_package_changes() {
    let fixture = Fixture::with(quick);
    let device = device(&fixture.tenant, "otachanged");
    let [first, second] = ["6.0", "7.0"].map(|version| Package::upload_of(&fixture, "FIRMWARE", version, 16 << 20));
    assign(&fixture.tenant, &device, "firmwareId", first.reference());
    is_told(&fixture.tenant, &device, "fw", &first);
    let path = format!("/api/v1/{}/firmware?title={}&version=6.0", device.token, first.title.replace(' ', "%20"));
    let mut wire = RawHttp::open(fixture.instance.device_http());
    wire.write(&request("GET", &path, "", "")).expect("the connection is open");
    // Else the device may have the second package before the request is read, which is then refused.
    wire.wait_for_response();
    assign(&fixture.tenant, &device, "firmwareId", second.reference());
    // What the control plane said of the first one is believed for a while.
    eventually("the device has the second package", || {
        let url = format!("http://{}{path}", fixture.instance.device_http()).replace("6.0", "7.0&size=1");
        (Curl::get(url).run().status == 200).then_some(())
    });
    assert_eq!(wire.read_to_close(), [] as [u16; 0], "the answer is not whole");
    fixture.instance.stop();
}

#[test]
fn paho_downloads_in_chunks() {
    let fixture = Fixture::with(quick);
    let package = Package::upload(&fixture, "FIRMWARE", "2.0");
    for version in [4, 5] {
        let device = device(&fixture.tenant, &format!("otapaho{version}"));
        let mut paho = Client::paho(&fixture.home, fixture.instance.mqtt(), &device.token, version);
        assert_eq!(paho.event("connected")["code"], 0);
        for topic in ["v2/fw/response/+/chunk/+", "v2/fw/error", "v1/devices/me/attributes"] {
            assert_eq!(paho.ask(&json!({ "do": "subscribe", "topic": topic }), "subscribed")["codes"], json!([1]), "{topic}");
        }
        assign(&fixture.tenant, &device, "firmwareId", package.reference());
        let told = paho.event("message");
        assert_eq!(told["payload"]["fw_version"], "2.0", "{told}");
        let mut ask = |request: u32, chunk: usize, size: &str| {
            paho.send(&json!({ "do": "publish", "topic": format!("v2/fw/request/{request}/chunk/{chunk}"), "payload": size }));
            let answer = paho.event("message");
            assert_eq!(answer["topic"], format!("v2/fw/response/{request}/chunk/{chunk}"), "{answer}");
            unhex(answer["hex"].as_str().expect("bytes"))
        };
        let mut pieces = Vec::new();
        for chunk in 0..3 {
            pieces.extend(ask(1, chunk, &PIECE.to_string()));
        }
        assert_eq!(pieces, package.bytes, "piece by piece");
        assert!(ask(1, 3, &PIECE.to_string()).is_empty(), "past the end there is nothing");
        assert_eq!(ask(2, 0, ""), package.bytes, "without a size it is the whole");
    }
    fixture.instance.stop();
}

fn unhex(text: &str) -> Vec<u8> {
    let digits: Vec<u8> =
        text.chars().map(|digit| u8::try_from(digit.to_digit(16).expect("a digit")).expect("below 16")).collect();
    digits.chunks(2).map(|pair| pair[0] * 16 + pair[1]).collect()
}

/// The SDK asks for its firmware, downloads it in chunks of 1,000 bytes, checks the checksum and reports its states.
#[test]
fn the_public_sdk_updates_itself() {
    let fixture = Fixture::start();
    let package = Package::upload(&fixture, "FIRMWARE", "3.0");
    let device = device(&fixture.tenant, "otasdk");
    assign(&fixture.tenant, &device, "firmwareId", package.reference());
    is_told(&fixture.tenant, &device, "fw", &package);
    let mut sdk = Client::sdk(&fixture.home, fixture.instance.mqtt(), &device.token);
    sdk.event("connected");
    let firmware = sdk.ask(&json!({ "do": "update" }), "firmware");
    assert_eq!(firmware["version"], "3.0");
    assert_eq!(unhex(firmware["hex"].as_str().expect("bytes")), package.bytes);
    eventually("its last state is stored", || {
        latest_value(&fixture.tenant, &device.id, "fw_state").filter(|state| state == "VERIFIED")
    });
    fixture.instance.stop();
}

/// A profile's package is for all of its devices that have none of their own.
#[test]
fn a_profile_gives_its_package_to_its_devices() {
    let fixture = Fixture::with(quick);
    let tenant = &fixture.tenant;
    let (own, common) = (Package::upload(&fixture, "FIRMWARE", "own"), Package::upload(&fixture, "FIRMWARE", "common"));
    let made: Vec<Device> = (0..5).map(|number| device(tenant, &format!("fleet{number}"))).collect();
    assign(tenant, &made[0], "firmwareId", own.reference());
    is_told(tenant, &made[0], "fw", &own);
    let profile = id_of(&tenant.get("/api/deviceProfileInfo/default").json());
    let mut full = tenant.get(&format!("/api/deviceProfile/{profile}")).json();
    full["firmwareId"] = common.reference();
    let _saved = tenant.post("/api/deviceProfile", &full).json();
    for device in &made[1..] {
        is_told(tenant, device, "fw", &common);
    }
    let late = device_with(tenant, "fleetlate", &json!({}));
    is_told(tenant, &late, "fw", &common);
    assert_eq!(attributes(tenant, &made[0].id, "SHARED_SCOPE")["fw_version"], "own", "its own comes first");
    let status = tenant.delete(&format!("/api/otaPackage/{}", common.id)).status;
    assert!((400..500).contains(&status), "a package in use stays: {status}");
    let second = fixture::second_tenant(&fixture.instance);
    let status = second.get(&format!("/api/otaPackage/{}", common.id)).status;
    assert!([403, 404].contains(&status), "another tenant's package: {status}");
    fixture.instance.stop();
}
