//! What rule chains are still to be told: numbered in commit order, forgotten with what was not committed, bounded.

use std::collections::BTreeMap;

use schemas::chain::MessageType;
use serde_json::{Value, json};

use super::*;
use crate::{
    domain::{Announcement, End, RuleChain},
    entity::{announcement, cascade, chain},
};

fn said(tenant: &Tenant, device: &Device, data: &str) -> Announcement {
    let of = End { kind: EntityKind::Device, id: device.id };
    let metadata = BTreeMap::from([("userId".to_owned(), "x".to_owned())]);
    Announcement { tenant: tenant.id, of, kind: MessageType::EntityUpdated, chain: None, metadata, data: data.to_owned() }
}

/// A tenant with a device whose chain heeds everything.
async fn heeding(store: &Store) -> (Tenant, Vec<Device>) {
    let (tenant, devices) = save_devices(store, "T", &["a"]).await;
    draw(store, &tenant, 1, "action.TbLogNode", &[]).await;
    (tenant, devices)
}

/// Gives the tenant a chain that begins at such a node, from which edges of these labels lead on.
async fn draw(store: &Store, tenant: &Tenant, number: u128, class: &str, labels: &[&str]) {
    let node =
        |class: &str| json!({ "type": format!("org.thingsboard.rule.engine.{class}"), "name": class, "configuration": {} });
    let edges: Vec<Value> = labels.iter().map(|label| json!({ "fromIndex": 0, "toIndex": 1, "type": label })).collect();
    let metadata = json!({ "firstNodeIndex": 0, "nodes": [node(class), node("action.TbLogNode")], "connections": edges });
    let chain = RuleChain {
        id: Uuid::from_u128(number),
        created_ms: NOW,
        version: 1,
        tenant: tenant.id,
        name: number.to_string(),
        root: false,
        debug_mode: false,
        first_node: None,
        additional_info: Value::Null,
    };
    let mut write = store.write(Author::system(), NOW).await.unwrap();
    chain::insert(&mut write, &chain, &metadata.to_string()).await.unwrap();
    write.commit().await.unwrap();
}

async fn announce(store: &Store, all: Vec<Announcement>) {
    let mut write = store.write(Author::system(), NOW).await.unwrap();
    all.into_iter().for_each(|one| write.announce(one));
    assert_eq!(write.commit().await.unwrap(), None, "data planes need nothing of it");
}

/// So many behind a number are told, and gone.
async fn tell(store: &Store, behind: i64, most: u64) -> Vec<announcement::Model> {
    let rows = announcement::after(store.reader(), behind, most).await.unwrap();
    let told: Vec<_> = rows.iter().collect();
    let write = store.write(Author::system(), NOW).await.unwrap();
    announcement::delete(&write, &told).await.unwrap();
    write.commit().await.unwrap();
    announcement::forget(store.waiting(), &told);
    rows
}

async fn waiting(store: &Store) -> Vec<(i64, String)> {
    let rows = announcement::after(store.reader(), 0, 100_000).await.unwrap();
    rows.into_iter().map(|row| (row.number, row.said().unwrap().data)).collect()
}

#[tokio::test]
async fn announcements_are_numbered_in_commit_order_and_go_when_they_are_told() {
    check(LOG, async |store: &Store| {
        let (tenant, devices) = heeding(store).await;
        let one = |data: &str| said(&tenant, &devices[0], data);
        announce(store, vec![one("1"), one("2")]).await;
        let mut dropped = store.write(Author::system(), NOW).await.unwrap();
        dropped.announce(one("never"));
        drop(dropped);
        announce(store, vec![one("3")]).await;
        let first = NOW * 1_000;
        assert_eq!(waiting(store).await, [(first, "1".to_owned()), (first + 1, "2".to_owned()), (first + 2, "3".to_owned())]);
        assert_eq!(tell(store, first, 1).await[0].said().unwrap(), one("2"));
        // Numbers go on behind those that are told.
        announce(store, vec![one("4")]).await;
        let numbers: Vec<i64> = waiting(store).await.iter().map(|(number, _)| *number).collect();
        assert_eq!(numbers, [first, first + 2, first + 3]);
        let mut write = store.write(Author::system(), NOW).await.unwrap();
        cascade::delete_tenant(&mut write, tenant.id).await.unwrap();
        write.commit().await.unwrap();
        assert_eq!(waiting(store).await, []);
    })
    .await;
}

#[tokio::test]
async fn what_waits_is_bounded() {
    check(LOG, async |store: &Store| {
        let (tenant, devices) = heeding(store).await;
        // So many rows, or so much text, whichever comes first.
        announce(store, (0..2_000).map(|_| said(&tenant, &devices[0], "")).collect()).await;
        announce(store, vec![said(&tenant, &devices[0], "one row too many")]).await;
        assert_eq!((waiting(store).await.len(), store.waiting().left_out()), (2_000, 1));
        tell(store, 0, 10_000).await;
        let large = "x".repeat(2 << 20);
        for _ in 0..128 {
            announce(store, vec![said(&tenant, &devices[0], &large)]).await;
        }
        assert_eq!(store.waiting().left_out(), 1);
        announce(store, vec![said(&tenant, &devices[0], "too many")]).await;
        assert_eq!(store.waiting().left_out(), 2);
        tell(store, 0, 1).await;
        announce(store, vec![said(&tenant, &devices[0], "room again")]).await;
        assert_eq!(store.waiting().left_out(), 2);
        let counted = announcement::Waiting::count(store.reader()).await.unwrap();
        let figures = |waiting: &announcement::Waiting| format!("{waiting:?}").split_once(", left_out").unwrap().0.to_owned();
        assert_eq!(figures(&counted), figures(store.waiting()));
    })
    .await;
}

#[tokio::test]
async fn nobody_is_told_what_no_chain_heeds() {
    check(LOG, async |store: &Store| {
        let (tenant, devices) = save_devices(store, "T", &["a"]).await;
        let one = |data: &str| said(&tenant, &devices[0], data);
        announce(store, vec![one("no chain")]).await;
        draw(store, &tenant, 1, "filter.TbMsgTypeSwitchNode", &["Post telemetry", "Entity Created"]).await;
        announce(store, vec![one("another label")]).await;
        assert_eq!(waiting(store).await, []);
        // One of its chains is enough, whichever it is.
        draw(store, &tenant, 2, "filter.TbMsgTypeSwitchNode", &["Entity Updated"]).await;
        announce(store, vec![one("heeded")]).await;
        let mut write = store.write(Author::system(), NOW).await.unwrap();
        chain::delete(&mut write, Uuid::from_u128(2)).await.unwrap();
        write.announce(one("with the chain that heeded it"));
        write.commit().await.unwrap();
        announce(store, vec![one("no more")]).await;
        assert_eq!(waiting(store).await.into_iter().map(|(_, data)| data).collect::<Vec<_>>(), ["heeded"]);
        assert_eq!(store.waiting().left_out(), 0, "nothing was lost for want of room");
    })
    .await;
}

/// What was not committed is not remembered: another write may give other chains the same numbers.
#[tokio::test]
async fn chains_that_were_not_committed_heed_nothing() {
    check(LOG, async |store: &Store| {
        let (tenant, devices) = save_devices(store, "T", &["a"]).await;
        draw(store, &tenant, 1, "filter.TbMsgTypeSwitchNode", &["Post telemetry"]).await;
        let dropped = async |number: u128| {
            let mut write = store.write(Author::system(), NOW).await.unwrap();
            let found = chain::find(write.db(), tenant.id, Uuid::from_u128(number)).await.unwrap().unwrap();
            let metadata = json!({ "firstNodeIndex": 0, "connections": [],
                "nodes": [{ "type": "org.thingsboard.rule.engine.action.TbLogNode", "name": "log", "configuration": {} }] });
            chain::update_metadata(&mut write, &found, &metadata.to_string()).await.unwrap();
            assert!(store.waiting().heeded(&write, tenant.id).await.contains(&MessageType::EntityUpdated));
        };
        dropped(1).await;
        let mut write = store.write(Author::system(), NOW).await.unwrap();
        let found = chain::find(write.db(), tenant.id, Uuid::from_u128(1)).await.unwrap().unwrap();
        let same = chain::metadata(write.db(), found.id).await.unwrap().unwrap();
        chain::update_metadata(&mut write, &found, &same).await.unwrap();
        write.announce(said(&tenant, &devices[0], "unheeded"));
        write.commit().await.unwrap();
        announce(store, vec![said(&tenant, &devices[0], "unheeded")]).await;
        assert_eq!(waiting(store).await, []);
    })
    .await;
}
