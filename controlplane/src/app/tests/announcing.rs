//! Rule chains are told of writes: what is said, and that what is not taken waits and holds up nobody else.

use std::sync::Arc;

use schemas::chain::MessageType;
use tempfile::TempDir;

use super::*;
use crate::{
    entity::announcement,
    feed::{Instance, Joined},
    telemetry::tests::{Fake, JOIN_TOKEN},
};

async fn waiting(app: &App) -> Vec<(MessageType, String)> {
    let rows = announcement::after(app.reader(), 0, 10_000).await.unwrap();
    let said = rows.iter().map(|row| row.said().unwrap());
    said.map(|said| (said.kind, said.metadata.get("entityName").cloned().unwrap_or_default())).collect()
}

/// A data plane that is told, but for what it refuses by name, and a tenant one of whose chains heeds everything.
struct Telling {
    app: Arc<App>,
    fake: Fake,
    admin: Caller,
    _joined: Joined,
    _directory: TempDir,
}

async fn telling() -> Telling {
    let fake = Fake::start().await;
    let directory = tempfile::tempdir().unwrap();
    let settings = Settings { join_token: JOIN_TOKEN.to_owned(), ..settings(directory.path(), true) };
    let app = App::open(&settings).await.unwrap();
    app.seed(&settings).await.unwrap();
    let admin = sign_in(&app, "tenant@thingsboard.org", "tenant").await;
    let instance = Instance {
        instance_id: "fake".to_owned(),
        query_endpoint: fake.endpoint.clone(),
        device_endpoint: String::new(),
        shards: 1,
        version: "0".to_owned(),
        connected: true,
        applied_epoch: app.store.epoch().to_string(),
        applied_revision: u64::MAX,
        refused: Vec::new(),
    };
    let joined = app.registry().join(instance).unwrap();
    assert_eq!(waiting(&app).await, [], "the demo's root chain heeds none of it");
    let draft = RuleChainDraft { name: "heeds everything".to_owned(), ..RuleChainDraft::default() };
    let chain = app.save_chain(&admin, draft).await.unwrap().value.id;
    let log = json!({ "type": "org.thingsboard.rule.engine.action.TbLogNode", "name": "log", "configuration": {} });
    let drawn = json!({ "firstNodeIndex": 0, "nodes": [log], "connections": [] });
    app.save_chain_metadata(&admin, chain, None, drawn).await.unwrap();
    Telling { app, fake, admin, _joined: joined, _directory: directory }
}

#[tokio::test]
async fn what_is_not_taken_waits_and_others_go_on() {
    let Telling { app, fake, admin, .. } = &telling().await;
    let made = app.save_device(admin, a_device("not now"), None).await.unwrap().value;
    app.delete_device(admin, made.id).await.unwrap();
    let names: Vec<String> = (0..40).map(|n| format!("n{n}")).collect();
    for name in &names {
        app.save_device(admin, a_device(name), None).await.unwrap();
    }
    fake.written.lock().await.clear();
    assert!(!app.tell_waiting().await.unwrap());
    let left = waiting(app).await;
    assert_eq!(
        left[..2],
        [(MessageType::EntityCreated, "not now".to_owned()), (MessageType::EntityDeleted, "not now".to_owned())]
    );
    assert!(left.len() < 10, "only those of one partition wait: {left:?}");
    let told = fake.written.lock().await.clone();
    assert!(told.contains(&"ENTITY_CREATED not now".to_owned()) && told.contains(&"ENTITY_CREATED n39".to_owned()), "{told:?}");
}

/// Also what is read later than what it waits behind.
#[tokio::test]
async fn what_is_behind_something_that_waits_is_not_told_before_it() {
    let Telling { app, fake, admin, .. } = &telling().await;
    let made = app.save_device(admin, a_device("not now"), None).await.unwrap().value;
    // More than is told at once.
    let long = json!({ "text": "x".repeat(60_000) });
    for n in 0..40 {
        app.save_device(admin, DeviceDraft { additional_info: long.clone(), ..a_device(&format!("n{n}")) }, None).await.unwrap();
    }
    app.save_device(admin, DeviceDraft { id: Some(made.id), ..a_device("now") }, None).await.unwrap();
    assert!(!app.tell_waiting().await.unwrap());
    let told = fake.written.lock().await.clone();
    assert!(told.contains(&"ENTITY_CREATED n0".to_owned()) && told.contains(&"ENTITY_CREATED n39".to_owned()), "{told:?}");
    assert!(!told.contains(&"ENTITY_UPDATED now".to_owned()), "{told:?}");
    let left = waiting(app).await;
    assert_eq!(left.first(), Some(&(MessageType::EntityCreated, "not now".to_owned())));
    assert_eq!(left.last(), Some(&(MessageType::EntityUpdated, "now".to_owned())));
}
