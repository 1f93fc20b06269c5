//! The projection of alarms on every backend: the newest version wins, in whatever order they come, and rows go with what they are of.

use schemas::alarm::{Alarm, Propagation, Severity};
use schemas::id::{EntityId, TenantId};

use serde_json::json;

use super::*;
use crate::{
    domain::{AlarmFilter, Arrow, Contact, Customer, End, Relation, RelationGroup},
    entity::{alarm, alarm_parent, comment, customer, relation},
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

#[tokio::test]
async fn owners_and_tenants_see_what_is_propagated_to_them() {
    check(LOG, async |store| {
        let (tenant, devices) = save_devices(store, "T", &["a", "b"]).await;
        let propagating = |of: &Device, kind: &str, (to_owner, to_tenant): (bool, bool)| Alarm {
            propagation: Propagation { to_owner, to_tenant, ..Propagation::default() },
            ..an_alarm(of, kind)
        };
        let all = [
            propagating(&devices[0], "quiet", (false, false)),
            propagating(&devices[0], "owner", (true, false)),
            propagating(&devices[0], "tenant", (false, true)),
        ];
        take(store, all.to_vec()).await;
        let seen_by = async |kind: &str, id: Uuid| {
            let filter = AlarmFilter { originator: Some((kind.to_owned(), id)), ..AlarmFilter::default() };
            let mut kinds: Vec<String> = list(store, tenant.id, &filter).await.into_iter().map(|alarm| alarm.kind).collect();
            kinds.sort_unstable();
            kinds
        };
        // The owner of what is nobody's is the tenant.
        assert_eq!(seen_by("TENANT", tenant.id).await, ["owner", "tenant"]);
        let customer = Uuid::now_v7();
        let (title, contact, additional_info) = ("C".to_owned(), Contact::default(), json!({}));
        let saved = Customer { id: customer, created_ms: NOW, version: 1, tenant: tenant.id, title, contact, additional_info };
        let mut write = store.write(Author::system(), NOW).await.unwrap();
        customer::insert(&mut write, &saved).await.unwrap();
        write.commit().await.unwrap();
        assert_eq!(seen_by("CUSTOMER", customer).await, Vec::<String>::new());
        let mut write = store.write(Author::system(), NOW).await.unwrap();
        let given = Device { customer: Some(customer), version: devices[0].version + 1, ..devices[0].clone() };
        device::update(&mut write, &given).await.unwrap();
        write.commit().await.unwrap();
        assert_eq!(seen_by("CUSTOMER", customer).await, ["owner"]);
        assert_eq!(
            (seen_by("TENANT", tenant.id).await, seen_by("DEVICE", devices[0].id).await.len()),
            (vec!["tenant".to_owned()], 3)
        );
        let quieter = Alarm { version: 2, propagation: Propagation::default(), ..all[1].clone() };
        take(store, vec![quieter]).await;
        assert_eq!(seen_by("CUSTOMER", customer).await, Vec::<String>::new());
    })
    .await;
}

async fn relate(store: &Store, from: &Device, kind: &str, to: &Device) {
    let end = |device: &Device| End { kind: EntityKind::Device, id: device.id };
    let arrow = Arrow { from: end(from), to: end(to), kind: kind.to_owned(), group: RelationGroup::Common };
    let relation = Relation { id: Uuid::now_v7(), version: 1, arrow, additional_info: json!(null) };
    let mut write = store.write(Author::system(), NOW).await.unwrap();
    relation::insert(&mut write, from.tenant, &relation).await.unwrap();
    write.commit().await.unwrap();
}

/// site contains hall contains meter, which plan manages; and in a circle meter feeds site.
#[tokio::test]
async fn what_contains_an_originator_sees_what_is_propagated_along_relations() {
    check(LOG, async |store| {
        let (tenant, devices) = save_devices(store, "T", &["meter", "hall", "site", "plan"]).await;
        let [meter, hall, site, plan] = &devices[..] else { panic!("four devices") };
        for (from, kind, to) in
            [(hall, "Contains", meter), (site, "Contains", hall), (plan, "Manages", meter), (meter, "Feeds", site)]
        {
            relate(store, from, kind, to).await;
        }
        let along = |kind: &str, types: &[&str]| {
            let relation_types = types.iter().map(|kind| (*kind).to_owned()).collect();
            let propagation = Propagation { along_relations: true, relation_types, ..Propagation::default() };
            Alarm { propagation, ..an_alarm(meter, kind) }
        };
        let quiet = an_alarm(meter, "quiet");
        let (all, some) = (along("all", &[]), along("some", &["Manages", "Feeds"]));
        take(store, vec![all.clone(), some.clone(), quiet]).await;
        let seen_by = async |device: &Device| {
            let filter = AlarmFilter { originator: Some(("DEVICE".to_owned(), device.id)), ..AlarmFilter::default() };
            let mut kinds: Vec<String> = list(store, tenant.id, &filter).await.into_iter().map(|alarm| alarm.kind).collect();
            kinds.sort_unstable();
            kinds
        };
        assert_eq!((seen_by(hall).await, seen_by(site).await), (vec!["all".to_owned()], vec!["all".to_owned()]));
        assert_eq!((seen_by(plan).await.len(), seen_by(meter).await.len()), (2, 3));
        let among = |propagated| AlarmFilter { among: Some([hall.id].into()), propagated, ..AlarmFilter::default() };
        assert_eq!(list(store, tenant.id, &among(false)).await, []);
        assert_eq!(list(store, tenant.id, &among(true)).await, std::slice::from_ref(&all));
        let through = alarm_parent::through(store.reader(), &[all.id, some.id], &[hall.id]).await.unwrap();
        assert_eq!(through, [(all.id, hall.id)].into());

        // Whom it belonged to when it began; what is said of its propagation later counts then.
        let late = along("late", &["Contains"]);
        take(store, vec![late.clone()]).await;
        relate(store, plan, "Contains", meter).await;
        take(store, vec![Alarm { version: 2, ..late.clone() }]).await;
        assert_eq!(
            (seen_by(plan).await, seen_by(site).await),
            (vec!["all".into(), "some".to_owned()], vec!["all".into(), "late".to_owned()])
        );
        take(store, vec![Alarm { version: 3, propagation: all.propagation.clone(), ..late.clone() }]).await;
        assert_eq!(seen_by(plan).await, ["all", "late", "some"]);
        take(store, vec![Alarm { version: 4, propagation: Propagation::default(), ..late.clone() }]).await;
        take(store, vec![Alarm { version: 2, deleted: true, ..some.clone() }]).await;
        assert_eq!((seen_by(plan).await, seen_by(site).await), (vec!["all".to_owned()], vec!["all".to_owned()]));

        let delete = async |device: &Device| {
            let mut write = store.write(Author::system(), NOW).await.unwrap();
            credential::delete_of_device(&mut write, device.id).await.unwrap();
            device::delete(&mut write, device.id).await.unwrap();
            write.commit().await.unwrap();
        };
        delete(site).await;
        assert_eq!((seen_by(site).await, seen_by(hall).await), (Vec::<String>::new(), vec!["all".to_owned()]));
        delete(meter).await;
        assert_eq!((seen_by(hall).await, seen_by(plan).await), (Vec::<String>::new(), Vec::<String>::new()));
        let mut write = store.write(Author::system(), NOW).await.unwrap();
        cascade::delete_tenant(&mut write, tenant.id).await.unwrap();
        write.commit().await.unwrap();
    })
    .await;
}
