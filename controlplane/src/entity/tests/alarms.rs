//! The projection of alarms on every backend: the newest version wins, in whatever order they come, and rows go with what they are of.

use schemas::alarm::{Alarm, Propagation, Severity};
use schemas::id::{EntityId, TenantId};

use super::*;
use crate::{
    domain::AlarmFilter,
    entity::{alarm, comment},
};

fn an_alarm(device: &Device, kind: &str) -> Alarm {
    Alarm {
        id: Uuid::now_v7(),
        version: 1,
        tenant: TenantId(device.tenant),
        originator: EntityId(device.id),
        originator_type: "DEVICE".to_owned(),
        kind: kind.to_owned(),
        severity: Severity::Minor,
        created_ts: NOW,
        start_ts: NOW,
        end_ts: NOW,
        ack_ts: None,
        clear_ts: None,
        assign_ts: None,
        assignee: None,
        details: r#"{"a":"ü"}"#.to_owned(),
        propagation: Propagation::default(),
        deleted: false,
    }
}

async fn take(store: &Store, alarms: Vec<Alarm>) {
    let mut write = store.write(Author::system(), NOW).await.unwrap();
    alarm::take(&mut write, alarms).await.unwrap();
    assert_eq!(write.commit().await.unwrap(), None, "data planes need nothing of it");
}

async fn list(store: &Store, tenant: Uuid, filter: &AlarmFilter) -> Vec<Alarm> {
    let link = PageLink::new(1_000, 0).unwrap();
    alarm::page(store.reader(), (tenant, None), filter, &link).await.unwrap().data
}

#[tokio::test]
async fn the_newest_version_wins_in_whatever_order_they_come() {
    check(LOG, async |store| {
        let (tenant, devices) = save_devices(store, "T", &["a", "b"]).await;
        let first = an_alarm(&devices[0], "hot");
        let versions: Vec<Alarm> =
            (1..=4).map(|version| Alarm { version, end_ts: NOW + version.cast_signed(), ..first.clone() }).collect();
        take(store, vec![versions[1].clone(), versions[0].clone()]).await;
        assert_eq!(alarm::find(store.reader(), tenant.id, first.id).await.unwrap(), Some(versions[1].clone()));
        take(store, vec![versions[0].clone()]).await;
        assert_eq!(alarm::find(store.reader(), tenant.id, first.id).await.unwrap(), Some(versions[1].clone()));
        take(store, vec![versions[2].clone(), versions[3].clone(), versions[1].clone()]).await;
        assert_eq!(list(store, tenant.id, &AlarmFilter::default()).await, [versions[3].clone()]);
        assert_eq!(alarm::find(store.reader(), Uuid::nil(), first.id).await.unwrap(), None, "another tenant's");

        // Nobody's, of a tenant that is not there, and of the tenant itself.
        let nobody = Alarm { originator: EntityId(Uuid::from_u128(7)), ..an_alarm(&devices[0], "x") };
        let nowhere = Alarm { tenant: TenantId(Uuid::from_u128(7)), originator_type: "CUSTOMER".to_owned(), ..nobody.clone() };
        let own = Alarm { originator: EntityId(tenant.id), originator_type: "TENANT".to_owned(), ..an_alarm(&devices[0], "own") };
        take(store, vec![nobody, nowhere, own.clone()]).await;
        let kinds = alarm::kinds(store.reader(), (tenant.id, None), &PageLink::new(9, 0).unwrap()).await.unwrap();
        assert_eq!(kinds.data, ["own", "hot"]);

        let many: Vec<Alarm> = (0..1_200).map(|n| Alarm { created_ts: NOW + n, ..an_alarm(&devices[1], "many") }).collect();
        take(store, many).await;
        let of_b = AlarmFilter { originator: Some(("DEVICE".to_owned(), devices[1].id)), ..AlarmFilter::default() };
        let page = alarm::page(store.reader(), (tenant.id, None), &of_b, &PageLink::new(7, 0).unwrap()).await.unwrap();
        assert_eq!((page.data.len(), page.total_elements, page.data[0].created_ts), (7, 1_200, NOW + 1_199));
    })
    .await;
}

#[tokio::test]
async fn alarms_and_comments_go_with_what_they_are_of() {
    check(LOG, async |store| {
        let (tenant, devices) = save_devices(store, "T", &["a", "b"]).await;
        let alarms: Vec<Alarm> = devices.iter().map(|device| an_alarm(device, "hot")).collect();
        let again = Alarm { version: 2, deleted: true, ..an_alarm(&devices[1], "gone") };
        take(store, alarms.clone()).await;
        take(store, vec![Alarm { version: 1, deleted: false, ..again.clone() }]).await;
        let mut write = store.write(Author::system(), NOW).await.unwrap();
        for alarm_id in [alarms[0].id, alarms[1].id, again.id] {
            let row = comment::Model {
                id: Uuid::now_v7(),
                alarm_id,
                created_ms: NOW,
                user_id: None,
                kind: "OTHER".into(),
                comment: "{}".into(),
            };
            comment::insert(&mut write, row).await.unwrap();
        }
        write.commit().await.unwrap();
        let comments =
            async |id: Uuid| comment::page(store.reader(), id, &PageLink::new(9, 0).unwrap()).await.unwrap().total_elements;
        take(store, vec![again.clone()]).await;
        assert_eq!((list(store, tenant.id, &AlarmFilter::default()).await.len(), comments(again.id).await), (2, 0));
        let mut write = store.write(Author::system(), NOW).await.unwrap();
        credential::delete_of_device(&mut write, devices[0].id).await.unwrap();
        device::delete(&mut write, devices[0].id).await.unwrap();
        write.commit().await.unwrap();
        assert_eq!(list(store, tenant.id, &AlarmFilter::default()).await, [alarms[1].clone()]);
        assert_eq!((comments(alarms[0].id).await, comments(alarms[1].id).await), (0, 1));
        let mut write = store.write(Author::system(), NOW).await.unwrap();
        cascade::delete_tenant(&mut write, tenant.id).await.unwrap();
        write.commit().await.unwrap();
        assert_eq!(comments(alarms[1].id).await, 0);
    })
    .await;
}
