//! What data planes are told of customers and of whose devices are.

use serde_json::json;
use uuid::Uuid;

use super::{LOG, NOW, check, save_devices};
use crate::{
    domain::{Contact, Customer, Device, EntityKind},
    entity::{
        Author, Store, cascade, change_log, customer, device,
        pushed::{self, Body, Details},
    },
};

async fn body(store: &Store, kind: EntityKind, id: Uuid) -> (u64, Body) {
    let mut rows = pushed::by_ids(store.reader(), kind, vec![id]).await.unwrap();
    let row = rows.pop().expect("it is there");
    (row.revision, row.body)
}

#[tokio::test]
async fn customers_are_pushed_and_devices_say_whose_they_are() {
    check(LOG, async |store| {
        let (tenant, devices) = save_devices(store, "Acme", &["a", "b"]).await;
        let (id, contact) = (Uuid::now_v7(), Contact { city: Some("Ulm".to_owned()), ..Contact::default() });
        let (title, additional_info) = ("Both".to_owned(), json!({ "description": "d" }));
        let tenant_id = tenant.id;
        let saved = Customer { id, created_ms: NOW, version: 1, tenant: tenant_id, title, contact, additional_info };
        let mut write = store.write(Author::system(), NOW).await.unwrap();
        customer::insert(&mut write, &saved).await.unwrap();
        device::update(&mut write, &Device { customer: Some(id), ..devices[0].clone() }).await.unwrap();
        let revision = write.commit().await.unwrap().expect("data planes are told");
        let details = Details { title: saved.title.clone(), contact: saved.contact.clone(), description: Some("d".to_owned()) };
        let told = body(store, EntityKind::Customer, id).await;
        assert!(told == (revision - 1, Body::Customer { tenant: tenant_id, details: Box::new(details.clone()) }));
        let whose = async |device: &Device| match body(store, EntityKind::Device, device.id).await {
            (revision, Body::Device { customer, .. }) => (revision, customer),
            (_, other) => panic!("{other:?}"),
        };
        assert_eq!(whose(&devices[0]).await, (revision, Some(id)));
        assert_eq!(whose(&devices[1]).await.1, None);
        let all = pushed::after(store.reader(), EntityKind::Customer, None, 10).await.unwrap();
        assert_eq!(all.iter().map(|row| row.id).collect::<Vec<_>>(), [id]);

        let mut write = store.write(Author::system(), NOW).await.unwrap();
        let changed = Customer { title: "More".to_owned(), version: 2, ..saved };
        customer::update(&mut write, &changed).await.unwrap();
        assert_eq!(write.commit().await.unwrap(), Some(revision + 1));
        let details = Box::new(Details { title: "More".to_owned(), ..details });
        assert!(body(store, EntityKind::Customer, id).await == (revision + 1, Body::Customer { tenant: tenant_id, details }));

        let mut write = store.write(Author::system(), NOW).await.unwrap();
        cascade::delete_customer(&mut write, tenant_id, id).await.unwrap();
        assert_eq!(write.commit().await.unwrap(), Some(revision + 3));
        assert_eq!(whose(&devices[0]).await, (revision + 2, None), "devices stay, and are nobody's");
        let log = change_log::after(store.reader(), revision + 1, 10).await.unwrap();
        let log: Vec<_> = log.iter().map(|entry| (entry.kind, entry.id, entry.deleted)).collect();
        assert_eq!(log, [(EntityKind::Device, devices[0].id, false), (EntityKind::Customer, id, true)]);
    })
    .await;
}
