//! What rule chains are still to be told: numbered in commit order, forgotten with what was not committed, bounded.

use std::collections::BTreeMap;

use schemas::chain::MessageType;

use super::*;
use crate::{
    domain::{Announcement, End},
    entity::{announcement, cascade},
};

fn said(tenant: &Tenant, device: &Device, data: &str) -> Announcement {
    let of = End { kind: EntityKind::Device, id: device.id };
    let metadata = BTreeMap::from([("userId".to_owned(), "x".to_owned())]);
    Announcement { tenant: tenant.id, of, kind: MessageType::EntityUpdated, chain: None, metadata, data: data.to_owned() }
}

async fn announce(store: &Store, all: Vec<Announcement>) {
    let mut write = store.write(Author::system(), NOW).await.unwrap();
    all.into_iter().for_each(|one| write.announce(one));
    assert_eq!(write.commit().await.unwrap(), None, "data planes need nothing of it");
}

async fn waiting(store: &Store) -> Vec<(i64, String)> {
    let rows = announcement::after(store.reader(), 0, 100_000).await.unwrap();
    rows.into_iter().map(|row| (row.number, row.said().unwrap().data)).collect()
}

#[tokio::test]
async fn announcements_are_numbered_in_commit_order_and_go_when_they_are_told() {
    check(LOG, async |store: &Store| {
        let (tenant, devices) = save_devices(store, "T", &["a"]).await;
        let one = |data: &str| said(&tenant, &devices[0], data);
        announce(store, vec![one("1"), one("2")]).await;
        let mut dropped = store.write(Author::system(), NOW).await.unwrap();
        dropped.announce(one("never"));
        drop(dropped);
        announce(store, vec![one("3")]).await;
        let first = NOW * 1_000;
        assert_eq!(waiting(store).await, [(first, "1".to_owned()), (first + 1, "2".to_owned()), (first + 2, "3".to_owned())]);
        let rows = announcement::after(store.reader(), first, 1).await.unwrap();
        let told: Vec<_> = rows.iter().collect();
        assert_eq!(rows[0].said().unwrap(), one("2"));
        let write = store.write(Author::system(), NOW).await.unwrap();
        announcement::delete(&write, &told).await.unwrap();
        write.commit().await.unwrap();
        announcement::forget(store.waiting(), &told);
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
        let (tenant, devices) = save_devices(store, "T", &["a"]).await;
        let large = "x".repeat(2 << 20);
        for _ in 0..128 {
            announce(store, vec![said(&tenant, &devices[0], &large)]).await;
        }
        assert_eq!(store.waiting().left_out(), 0);
        announce(store, vec![said(&tenant, &devices[0], "too many")]).await;
        assert_eq!(store.waiting().left_out(), 1);
        let rows = announcement::after(store.reader(), 0, 1).await.unwrap();
        let told: Vec<_> = rows.iter().collect();
        let write = store.write(Author::system(), NOW).await.unwrap();
        announcement::delete(&write, &told).await.unwrap();
        write.commit().await.unwrap();
        announcement::forget(store.waiting(), &told);
        announce(store, vec![said(&tenant, &devices[0], "room again")]).await;
        assert_eq!(store.waiting().left_out(), 1);
        let counted = announcement::Waiting::count(store.reader()).await.unwrap();
        let figures = |waiting: &announcement::Waiting| format!("{waiting:?}").split_once(", left_out").unwrap().0.to_owned();
        assert_eq!(figures(&counted), figures(store.waiting()));
    })
    .await;
}
