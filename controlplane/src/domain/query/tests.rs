//! Every predicate against every kind of value, as data.

use serde_json::json;

use super::*;

fn text(operation: TextOperation, operand: &str, ignore_case: bool) -> Predicate {
    Predicate::Text { operation, operand: Operand { fixed: operand.to_owned(), dynamic: None }, ignore_case }
}

fn numeric(operation: NumberOperation, operand: f64) -> Predicate {
    Predicate::Number { operation, operand: Operand { fixed: operand, dynamic: None } }
}

fn boolean(operation: BoolOperation, operand: bool) -> Predicate {
    Predicate::Bool { operation, operand: Operand { fixed: operand, dynamic: None } }
}

fn word(text: &str) -> Value<'static> {
    Value::Text(text.to_owned().into())
}

fn check(predicate: &Predicate, value: Option<Value<'static>>, expected: bool) {
    assert_eq!(predicate.matches(value.as_ref()), expected, "{predicate:?} on {value:?}");
}

#[test]
fn texts_are_compared_as_shown() {
    use TextOperation::{Contains, EndsWith, Equal, In, NotContains, NotEqual, NotIn, StartsWith};
    let cases = [
        (Equal, "Boiler", true),
        (Equal, "boiler", false),
        (NotEqual, "boiler", true),
        (StartsWith, "Boi", true),
        (StartsWith, "ler", false),
        (EndsWith, "ler", true),
        (Contains, "oil", true),
        (NotContains, "oil", false),
        (In, "Pump, Boiler", true),
        (In, "Pump", false),
        (NotIn, "Pump,Boiler", false),
    ];
    for (operation, operand, expected) in cases {
        check(&text(operation, operand, false), Some(word("Boiler")), expected);
        let denial = matches!(operation, NotEqual | NotContains | NotIn);
        check(&text(operation, operand, false), None, denial);
    }
    check(&text(Equal, "BOILER", true), Some(word("Boiler")), true);
    check(&text(Equal, "21.0", false), Some(Value::Double(21.0)), true);
    check(&text(Contains, "ру", true), Some(word("ТРУБА")), true);
}

#[test]
fn numbers_and_booleans_are_compared_by_kind() {
    use NumberOperation::{Equal, Greater, GreaterOrEqual, Less, LessOrEqual, NotEqual};
    for (operation, expected) in
        [(Equal, true), (NotEqual, false), (Greater, false), (Less, false), (GreaterOrEqual, true), (LessOrEqual, true)]
    {
        check(&numeric(operation, 21.0), Some(Value::Long(21)), expected);
        for other in [None, Some(word("21")), Some(Value::Bool(true))] {
            check(&numeric(operation, 21.0), other, operation == NotEqual);
        }
    }
    check(&numeric(Greater, 20.5), Some(Value::Double(20.6)), true);
    check(&boolean(BoolOperation::Equal, true), Some(Value::Bool(true)), true);
    check(&boolean(BoolOperation::NotEqual, true), Some(Value::Bool(true)), false);
    check(&boolean(BoolOperation::Equal, true), Some(word("true")), false);
    check(&boolean(BoolOperation::NotEqual, true), None, true);
    let between = Predicate::All(vec![numeric(Greater, 10.0), numeric(Less, 20.0)]);
    check(&between, Some(Value::Long(15)), true);
    check(&between, Some(Value::Long(25)), false);
    let outside = Predicate::Any(vec![numeric(Less, 10.0), numeric(Greater, 20.0)]);
    check(&outside, Some(Value::Long(25)), true);
    check(&outside, Some(Value::Long(15)), false);
}

#[test]
fn a_dynamic_operand_takes_what_it_finds() {
    let dynamic = Dynamic { source: DynamicSource::Tenant, attribute: "limit".to_owned(), inherit: false };
    let make = || {
        Predicate::All(vec![Predicate::Number {
            operation: NumberOperation::Greater,
            operand: Operand { fixed: 1.0, dynamic: Some(dynamic.clone()) },
        }])
    };
    for (found, expected) in [(Some(Value::Long(30)), false), (Some(word("x")), true), (None, true)] {
        let mut predicate = make();
        let mut asked = Vec::new();
        predicate.dynamics(&mut asked);
        assert_eq!(asked, std::slice::from_ref(&dynamic));
        predicate.resolve(&|_: &Dynamic| found.clone());
        check(&predicate, Some(Value::Long(20)), expected);
    }
}

fn row(number: u128, label: Option<&str>, temperature: Option<Value<'static>>) -> EntityRow {
    let entity = ListedEntity {
        kind: EntityKind::Device,
        id: Uuid::from_u128(number),
        created_ms: 5,
        tenant: Uuid::from_u128(9),
        customer: None,
        name: format!("D{number}"),
        profile_name: "default".to_owned(),
        label: label.map(str::to_owned),
        additional_info: json!({"gateway": true}),
    };
    let samples = temperature.map(|value| (temperature_key(), Sample { ts: 7, value }));
    EntityRow { entity, owner: "Acme".to_owned(), samples: samples.into_iter().collect() }
}

fn temperature_key() -> Key {
    Key { kind: KeyKind::Series, name: "temperature".to_owned() }
}

fn listing(sort: Key, descending: bool) -> EntityListing {
    let query =
        EntityQuery { kinds: vec![EntityKind::Device], selector: Selector::All, filters: Vec::new(), any: false, search: None };
    EntityListing { query, page_size: 10, page: 0, sort, descending, shown: Vec::new() }
}

#[test]
fn fields_are_those_of_the_device() {
    let device = row(1, None, None);
    let shown = |name: &str| device.value(&Key::field(name)).map(|value| value.to_string());
    let expected = [("createdTime", "5"), ("entityType", "DEVICE"), ("name", "D1"), ("displayName", "D1"), ("ownerName", "Acme")];
    for (name, value) in expected {
        assert_eq!(shown(name).as_deref(), Some(value));
    }
    assert_eq!(shown("additionalInfo").as_deref(), Some(r#"{"gateway":true}"#));
    assert_eq!((shown("label"), shown("ownerType").as_deref()), (None, Some("TENANT")));
    assert!(FIELDS.iter().all(|name| *name == "label" || shown(name).is_some()), "every field has a value");
}

#[test]
fn rows_are_sorted_with_the_valueless_last() {
    let rows = [
        row(1, None, Some(Value::Double(10.5))),
        row(2, None, None),
        row(3, None, Some(Value::Long(9))),
        row(4, None, Some(word("warm"))),
    ];
    for (descending, expected) in [(false, ["D3", "D1", "D4", "D2"]), (true, ["D4", "D1", "D3", "D2"])] {
        let listing = listing(temperature_key(), descending);
        let mut sorted = rows.to_vec();
        sorted.sort_by(|one, other| listing.order(one, other));
        assert_eq!(sorted.iter().map(|row| row.entity.name.as_str()).collect::<Vec<_>>(), expected);
    }
}

#[test]
fn what_breaks_a_bound_is_named() {
    let check = |outcome: Result<EntityListing, Invalid>, says: &str| {
        let said = outcome.expect_err(says).to_string();
        assert!(said.contains(says), "{said}");
    };
    let plain = || listing(Key::field("name"), false);
    let with = |filters: Vec<KeyFilter>| {
        let listing = plain();
        EntityListing { query: EntityQuery { filters, ..listing.query.clone() }, ..listing }.checked()
    };
    let filter = |key: Key, predicate: Predicate| KeyFilter { key, predicate };
    let truth = || boolean(BoolOperation::Equal, true);
    assert!(with(vec![filter(temperature_key(), truth())]).is_ok());
    check(with(vec![filter(Key::field("colour"), truth())]), "keyFilters.key: \"colour\" must be one of createdTime");
    check(with(vec![filter(Key { kind: KeyKind::Server, name: String::new() }, truth())]), "1 to 255 bytes");
    check(with(vec![filter(temperature_key(), truth()); 101]), "keyFilters: \"101\" must be at most 100");
    let deep = (0..9).fold(truth(), |inner, _| Predicate::All(vec![inner]));
    check(with(vec![filter(temperature_key(), deep)]), "depth");
    check(with(vec![filter(temperature_key(), Predicate::Any(vec![truth(); 256]))]), "keyFilters.predicate: \"257\"");
    check(listing(Key::field("colour"), false).checked(), "sortOrder.key: \"colour\"");
    let shown = (0..101).map(|number| Key { kind: KeyKind::Server, name: format!("k{number}") }).collect();
    check(EntityListing { shown, ..plain() }.checked(), "latestValues: \"101 keys\"");
    let selector = Selector::Ids(vec![Uuid::nil(); 1_001]);
    let query = EntityQuery { kinds: vec![EntityKind::Device], selector, filters: Vec::new(), any: false, search: None };
    check(EntityListing { query, ..plain() }.checked(), "entityList");
}
