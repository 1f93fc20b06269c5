//! Nodes that want something of the control plane: what they want of it for a message, and where the message goes on.

use schemas::chain::wish::{Named, Relate};
use schemas::chain::{EntityType, MessageType, Side, Wish};
use schemas::config::End;
use schemas::id::EntityId;
use serde_json::{Value as Json, json};
use uuid::Uuid;

use super::external::{Chains, said, shows};
use super::message;
use super::nodes::telemetry;
use crate::message::{Body, Message};
use crate::owed::Call;

const ASSIGN: &str = "action.TbAssignToCustomerNode";
const UNASSIGN: &str = "action.TbUnassignFromCustomerNode";
const CREATE: &str = "action.TbCreateRelationNode";
const DELETE: &str = "action.TbDeleteRelationNode";
const CHANGE: &str = "transform.TbChangeOriginatorNode";
const FETCH: &str = "metadata.TbFetchDeviceCredentialsNode";

fn asset(name: &str) -> Named {
    Named { kind: EntityType::Asset, name: name.to_owned() }
}

fn to_asset(more: Json) -> Json {
    let mut configuration = json!({ "direction": "FROM", "relationType": "${deviceType}", "entityType": "ASSET",
        "entityNamePattern": "hall $[t]", "entityTypePattern": "$[kind]" });
    configuration.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    configuration
}

#[test]
fn wishes_are_filled_in() {
    let relate =
        Relate { inward: false, kind: "default".to_owned(), with: asset("hall 1"), create: None, alone: false, becomes: false };
    let unrelate = |with| Wish::Unrelate { inward: false, kind: "default".to_owned(), with };
    let becomes =
        json!({ "createEntityIfNotExists": true, "removeCurrentRelations": true, "changeOriginatorToRelatedEntity": true });
    let tenant = json!({ "direction": "TO", "relationType": "Owns", "entityType": "TENANT", "createEntityIfNotExists": true });
    for (class, configuration, expected) in [
        (
            ASSIGN,
            json!({ "customerNamePattern": "of $[kind]", "createCustomerIfNotExists": true, "customerCacheExpiration": 300 }),
            Wish::Assign { customer: "of room".to_owned(), create: true },
        ),
        (UNASSIGN, json!({ "customerNamePattern": "" }), Wish::Unassign),
        (CREATE, to_asset(json!({})), Wish::Relate(relate.clone())),
        (CREATE, to_asset(json!({ "entityCacheExpiration": 300 })), Wish::Relate(Relate { inward: true, ..relate.clone() })),
        (
            CREATE,
            to_asset(becomes),
            Wish::Relate(Relate { create: Some("room".to_owned()), alone: true, becomes: true, ..relate.clone() }),
        ),
        (
            CREATE,
            tenant,
            Wish::Relate(Relate {
                inward: true,
                kind: "Owns".to_owned(),
                with: Named { kind: EntityType::Tenant, name: String::new() },
                ..relate
            }),
        ),
        (DELETE, to_asset(json!({ "deleteForSingleEntity": true })), unrelate(Some(asset("hall 1")))),
        (DELETE, json!({ "direction": "FROM", "relationType": "default" }), unrelate(None)),
        (
            CHANGE,
            json!({ "originatorSource": "ENTITY", "entityType": "ASSET", "entityNamePattern": "${deviceName} $[gone]" }),
            Wish::Become(asset("A $[gone]")),
        ),
        (FETCH, json!({ "fetchTo": "DATA" }), Wish::Credentials(Side::Data)),
        (FETCH, json!({ "fetchToMetadata": true }), Wish::Credentials(Side::Metadata)),
    ] {
        let said = said(class, &configuration, &telemetry(r#"{"t":1,"kind":"room"}"#));
        assert_eq!(said, Call::Wish(expected), "{class} {configuration}");
    }
}

fn fails(class: &str, configuration: Json, message: &Message<'_>) -> String {
    let mut chains = Chains::new(&[(1, &[(class, configuration)], &[])]);
    let (departed, mut shown) = chains.departed(message);
    assert_eq!(departed, None, "{class}");
    shown.pop().expect("a failure")
}

#[test]
fn what_can_never_be_granted_is_not_asked() {
    let of_tenant = Message { originator_type: EntityType::Tenant, ..telemetry(r#"{"t":1}"#) };
    let only = |kinds: &str| format!("Unsupported originator type 'TENANT'! Only {kinds} types are allowed.");
    assert_eq!(fails(ASSIGN, json!({ "customerNamePattern": "c" }), &of_tenant), only("DEVICE, ASSET"));
    assert_eq!(fails(UNASSIGN, json!({}), &of_tenant), only("DEVICE, ASSET"));
    assert_eq!(fails(FETCH, json!({ "fetchTo": "METADATA" }), &of_tenant), only("DEVICE"));
    let long = format!(r#"{{"t":"{}"}}"#, "x".repeat(300));
    let reason = "a name of 305 bytes; nothing has one of more than 255";
    assert_eq!(fails(CREATE, to_asset(json!({})), &telemetry(long.leak())), reason);
    let list = message(MessageType::ToServerRpcRequest, Body::Rpc { request: "[1]".into(), id: None });
    let reason = "the message is no object that credentials could be put into";
    assert_eq!(fails(FETCH, json!({ "fetchTo": "DATA" }), &list), reason);
}

#[test]
fn a_message_goes_on_as_another_originators() {
    let nodes: &[_] = &[(CREATE, to_asset(json!({}))), shows(), ("action.TbLogNode", json!({}))];
    let mut chains = Chains::new(&[(1, nodes, &[(0, "Success", 1), (0, "Failure", 2)])]);
    let (departed, shown) = chains.departed(&telemetry(r#"{"t":1}"#));
    let departed = departed.unwrap_or_else(|| panic!("{shown:?}"));
    let node = departed.node().1;
    let hall = End { kind: EntityType::Asset, id: EntityId(Uuid::from_u128(5)) };
    let itself = End { kind: EntityType::Device, id: telemetry(r#"{"t":1}"#).originator };
    let stays = Some(vec![r#"answer 1 {"t":1}"#.to_owned()]);
    assert_eq!(chains.comes_back(&departed, Ok(None)), stays);
    let waits = Some(vec![format!("forward to DEVICE {} from {node}", itself.id)]);
    assert_eq!(chains.comes_back(&departed, Ok(Some(itself))), waits, "for a fact, if it has to");
    assert_eq!(chains.comes_back(&departed, Ok(Some(hall))), Some(vec![format!("forward to ASSET {} from {node}", hall.id)]));
    assert_eq!(chains.comes_back(&departed, Err("no".to_owned())), Some(vec!["log TbLogNode2".to_owned()]));
    chains.passing.set(false);
    assert_eq!(chains.comes_back(&departed, Ok(Some(itself))), stays, "without facts");
    assert_eq!(chains.comes_back(&departed, Ok(Some(hall))), Some(vec!["log TbLogNode2".to_owned()]), "there is no room");
}
