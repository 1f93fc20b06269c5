//! The smallest and the fullest bodies of each form, and the query string of a history read. Pure.

use serde::de::DeserializeOwned;
use uuid::Uuid;

use crate::{
    domain::{Authority, CustomerDraft, DeviceDraft, NULL_UUID, ProfileDraft, RuleChainDraft, TenantDraft, UserDraft},
    rest::{
        chain::ChainForm, customer::CustomerForm, device::DeviceForm, extract::Params, profile::ProfileForm, telemetry::range,
        tenant::TenantForm, user::UserForm,
    },
    telemetry::{Aggregation, Range},
};

fn read<T: DeserializeOwned>(text: &str) -> T {
    serde_json::from_str(text).unwrap_or_else(|error| panic!("{text}: {error}"))
}

#[test]
fn the_smallest_bodies_are_enough() {
    let device = DeviceDraft::from(read::<DeviceForm>(r#"{"name":"A","type":"default"}"#));
    assert_eq!(device, DeviceDraft { name: "A".to_owned(), kind: Some("default".to_owned()), ..DeviceDraft::default() });
    let tenant = TenantDraft::from(read::<TenantForm>(r#"{"title":"T"}"#));
    assert_eq!(tenant, TenantDraft { title: "T".to_owned(), ..TenantDraft::default() });
    let customer = CustomerDraft::from(read::<CustomerForm>(r#"{"title":"C"}"#));
    assert_eq!(customer, CustomerDraft { title: "C".to_owned(), ..CustomerDraft::default() });
    let profile = ProfileDraft::from(read::<ProfileForm>(r#"{"name":"P"}"#));
    assert_eq!(profile, ProfileDraft { name: "P".to_owned(), ..ProfileDraft::default() });
    let chain = RuleChainDraft::try_from(read::<ChainForm>(r#"{"name":"R"}"#)).unwrap();
    assert_eq!(chain, RuleChainDraft { name: "R".to_owned(), ..RuleChainDraft::default() });
    let user = UserDraft::try_from(read::<UserForm>(r#"{"email":"a@b.c","authority":"CUSTOMER_USER"}"#)).unwrap();
    assert_eq!((user.authority, user.tenant, user.id), (Authority::CustomerUser, None, None));
}

#[test]
fn what_was_shown_can_be_sent_back() {
    let id = Uuid::from_u128(5);
    let text = format!(
        r#"{{"id":{{"entityType":"DEVICE","id":"{id}"}},"createdTime":1,"tenantId":{{"entityType":"TENANT","id":"{id}"}},
        "customerId":{{"entityType":"CUSTOMER","id":"{NULL_UUID}"}},"name":"A","type":"default","label":null,
        "deviceProfileId":{{"entityType":"DEVICE_PROFILE","id":"{NULL_UUID}"}},"deviceData":{{}},"firmwareId":null,
        "version":3,"additionalInfo":{{"gateway":true}},"unknown":[1]}}"#
    );
    let draft = DeviceDraft::from(read::<DeviceForm>(&text));
    assert_eq!((draft.id, draft.version, draft.profile), (Some(id), Some(3), None), "the null UUID is none");
    assert_eq!(draft.additional_info["gateway"], true);
}

fn check(query: &[(&str, &str)], expected: Result<Option<Range>, &str>) {
    let params = Params::of(query);
    let found = range(&params).map_err(|invalid| invalid.to_string());
    assert_eq!(found, expected.map_err(str::to_owned), "{query:?}");
}

#[test]
fn a_range_is_read_with_thingsboards_defaults() {
    let plain = Range {
        keys: vec!["a".to_owned(), "b".to_owned()],
        start: 1,
        end: 5,
        limit: 100,
        ascending: false,
        aggregation: Aggregation::None,
        interval_ms: 0,
    };
    let base = [("keys", "a, b,"), ("startTs", "1"), ("endTs", "5")];
    check(&[("keys", "a")], Ok(None));
    check(&base, Ok(Some(plain.clone())));
    check(&[("key", "a"), ("key", "b"), ("key", "a"), ("startTs", "1"), ("endTs", "5")], Ok(Some(plain.clone())));
    let more = [("agg", "AVG"), ("interval", "2"), ("orderBy", "ASC"), ("limit", "7"), ("intervalType", "MILLISECONDS")];
    let full = Range { aggregation: Aggregation::Avg, interval_ms: 2, ascending: true, limit: 7, ..plain };
    check(&[&base[..], &more[..]].concat(), Ok(Some(full)));
}

#[test]
fn a_wrong_parameter_is_named_with_value_and_rule() {
    let with = |name, value| [("keys", "a"), ("startTs", "1"), ("endTs", "5"), (name, value)];
    check(&[("startTs", "1")], Err("endTs: \"\" must be given together with startTs"));
    check(&[("endTs", "1")], Err("startTs: \"\" must be given together with endTs"));
    check(&[("startTs", "9"), ("endTs", "5")], Err("startTs: \"9\" must be 0 or more and not above endTs 5"));
    check(&[("startTs", "now"), ("endTs", "5")], Err("startTs: \"now\" must be milliseconds since the Unix epoch"));
    check(&[("startTs", "1"), ("endTs", "5")], Err("keys: \"\" must name at least one key when a time range is asked for"));
    check(&with("agg", "MEDIAN"), Err("agg: \"MEDIAN\" must be NONE, MIN, MAX, AVG, SUM or COUNT"));
    check(&with("orderBy", "asc"), Err("orderBy: \"asc\" must be ASC or DESC"));
    check(&with("limit", "0"), Err("limit: \"0\" must be a number of 1 or more"));
    check(&with("interval", "-1"), Err("interval: \"-1\" must be milliseconds, 0 or more"));
    let rule = "intervalType: \"WEEK\" must be MILLISECONDS: calendar intervals are not offered yet";
    check(&with("intervalType", "WEEK"), Err(rule));
}
