//! A package as a data plane gets it: facts once, bytes in pieces, or one piece that says there is nothing.

use futures_util::{StreamExt, stream};
use schemas::generated::registry::{PackagePiece, PackageRequest};
use serde_json::Value;
use uuid::Uuid;

use super::*;
use crate::{
    app::App,
    domain::{Algorithm, PackageDraft, PackageKind, UploadDraft},
    error::Error,
    push::package::package,
};

async fn pieces(app: &std::sync::Arc<App>, device: Uuid, software: bool) -> Vec<PackagePiece> {
    let request = PackageRequest { device_id: device.as_bytes().to_vec(), software };
    package(app, request).await.unwrap().map(Result::unwrap).collect().await
}

#[tokio::test]
async fn a_package_leaves_in_pieces() {
    let (_directory, running, admin) = demo().await;
    let app = running.app();
    let device = app.save_device(&admin, a_device("pump"), None).await.unwrap().value;
    assert_eq!(pieces(app, device.id, false).await, [PackagePiece::default()], "nothing is assigned");
    let draft = PackageDraft {
        id: None,
        profile: Some(device.profile),
        kind: PackageKind::Firmware,
        title: "T".to_owned(),
        release: "1".to_owned(),
        tag: None,
        url: None,
        additional_info: Value::Null,
    };
    let made = app.save_package(&admin, draft).await.unwrap();
    let (file_name, content_type) = ("a.bin".to_owned(), "application/octet-stream".to_owned());
    let upload = UploadDraft { file_name, content_type, algorithm: Algorithm::Sha256, checksum: None };
    let bytes: Vec<u8> = (0_u32..150_000).flat_map(u32::to_le_bytes).collect();
    let parts: Vec<Result<Vec<u8>, Error>> = bytes.chunks(70_000).map(|part| Ok(part.to_vec())).collect();
    app.upload_package(&admin, made.id, upload, stream::iter(parts)).await.unwrap();
    let assigned = DeviceDraft { id: Some(device.id), firmware: Some(made.id), ..a_device("pump") };
    app.save_device(&admin, assigned, None).await.unwrap();
    let found = pieces(app, device.id, false).await;
    let facts = found[0].facts.clone().unwrap();
    assert_eq!(
        (facts.id, facts.title.as_str(), facts.version.as_str(), facts.size),
        (made.id.as_bytes().to_vec(), "T", "1", 600_000)
    );
    assert!(found[1..].iter().all(|piece| piece.facts.is_none()));
    assert!(found.len() == 3 && found.iter().all(|piece| piece.bytes.len() <= 256 << 10), "{}", found.len());
    assert_eq!(found.into_iter().flat_map(|piece| piece.bytes).collect::<Vec<u8>>(), bytes);
    assert_eq!(pieces(app, device.id, true).await, [PackagePiece::default()], "it has no software");

    let refusal =
        async |device_id: Vec<u8>| package(app, PackageRequest { device_id, software: false }).await.err().unwrap().code();
    assert_eq!(refusal(vec![1; 3]).await, Code::InvalidArgument);
    assert_eq!(refusal(Uuid::nil().as_bytes().to_vec()).await, Code::NotFound);
    running.drain().await;
}
