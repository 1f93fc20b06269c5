//! A rule node's wish of the control plane and what comes of it, on the wire and as values (registry.proto). Never grants one.

use uuid::Uuid;

use crate::{
    chain::{
        EntityType, Side, Wish,
        wish::{Named, Relate},
    },
    config::End,
    generated::registry::{
        WishReply, WishRequest, WishedEntity, WishedName,
        wish_reply::{self, Outcome},
        wish_request::{self as request, Wish as Asked},
    },
    id::{EntityId, TenantId, uuid},
};

/// What one message wants.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wished {
    pub tenant: TenantId,
    pub originator: End,
    /// Its templates are filled in. Where the message goes on is its shard's to know, and not on the wire.
    pub wish: Wish,
}

/// What became of it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Granted {
    /// Of a relation or a name: whom it leads to.
    pub entity: Option<End>,
    /// Of credentials: ThingsBoard's `credentialsType`, and JSON.
    pub credentials: Option<(String, String)>,
}

/// Bytes that are no wish, or no answer to one.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct InvalidWish(String);

impl From<Wished> for WishRequest {
    fn from(wished: Wished) -> Self {
        let Wished { tenant, originator, wish } = wished;
        let wish = match wish {
            Wish::Assign { customer, create } => Asked::Assign(request::Assign { customer, create }),
            Wish::Unassign => Asked::Unassign(request::Unassign {}),
            Wish::Relate(Relate { inward, kind, with, create, alone, .. }) => {
                Asked::Relate(request::Relate { inward, r#type: kind, with: Some(with.into()), create, alone })
            }
            Wish::Unrelate { inward, kind, with } => {
                Asked::Unrelate(request::Unrelate { inward, r#type: kind, with: with.map(WishedName::from) })
            }
            Wish::Become(named) => Asked::Find(named.into()),
            Wish::Credentials(_) => Asked::Credentials(request::Credentials {}),
        };
        Self { tenant_id: tenant.0.as_bytes().to_vec(), originator: Some(originator.into()), wish: Some(wish) }
    }
}

impl TryFrom<WishRequest> for Wished {
    type Error = InvalidWish;

    fn try_from(asked: WishRequest) -> Result<Self, InvalidWish> {
        let WishRequest { tenant_id, originator, wish } = asked;
        let missing = |field: &str| InvalidWish(format!("{field}: missing"));
        let tenant = uuid("tenant_id", &tenant_id).map_err(|invalid| InvalidWish(invalid.to_string()))?;
        let wish = match wish.ok_or_else(|| missing("wish"))? {
            Asked::Assign(request::Assign { customer, create }) => Wish::Assign { customer, create },
            Asked::Unassign(_) => Wish::Unassign,
            Asked::Relate(request::Relate { inward, r#type: kind, with, create, alone }) => {
                let with = with.ok_or_else(|| missing("relate.with"))?.try_into()?;
                Wish::Relate(Relate { inward, kind, with, create, alone, becomes: false })
            }
            Asked::Unrelate(request::Unrelate { inward, r#type: kind, with }) => {
                Wish::Unrelate { inward, kind, with: with.map(Named::try_from).transpose()? }
            }
            Asked::Find(named) => Wish::Become(named.try_into()?),
            Asked::Credentials(_) => Wish::Credentials(Side::Metadata),
        };
        let originator = originator.ok_or_else(|| missing("originator"))?.try_into()?;
        Ok(Self { tenant: TenantId(tenant), originator, wish })
    }
}

impl From<Result<Granted, String>> for WishReply {
    fn from(granted: Result<Granted, String>) -> Self {
        let outcome = match granted {
            Ok(Granted { entity, credentials }) => Outcome::Granted(wish_reply::Granted {
                entity: entity.map(WishedEntity::from),
                credentials: credentials.map(|(kind, json)| wish_reply::ShownCredentials { r#type: kind, json }),
            }),
            Err(reason) => Outcome::Refused(reason),
        };
        Self { outcome: Some(outcome) }
    }
}

/// What an answer says: what was granted, or why it never is.
///
/// # Errors
/// [`InvalidWish`].
pub fn answered(reply: WishReply) -> Result<Result<Granted, String>, InvalidWish> {
    match reply.outcome {
        Some(Outcome::Granted(wish_reply::Granted { entity, credentials })) => {
            let entity = entity.map(End::try_from).transpose()?;
            let credentials = credentials.map(|shown| (shown.r#type, shown.json));
            Ok(Ok(Granted { entity, credentials }))
        }
        Some(Outcome::Refused(reason)) => Ok(Err(reason)),
        None => Err(InvalidWish("an answer without an outcome".to_owned())),
    }
}

impl From<End> for WishedEntity {
    fn from(end: End) -> Self {
        Self { r#type: end.kind.name().to_owned(), id: end.id.0.as_bytes().to_vec() }
    }
}

impl TryFrom<WishedEntity> for End {
    type Error = InvalidWish;

    fn try_from(entity: WishedEntity) -> Result<Self, InvalidWish> {
        let id: Uuid = uuid("id", &entity.id).map_err(|invalid| InvalidWish(invalid.to_string()))?;
        Ok(Self { kind: kind(&entity.r#type)?, id: EntityId(id) })
    }
}

impl From<Named> for WishedName {
    fn from(named: Named) -> Self {
        Self { r#type: named.kind.name().to_owned(), name: named.name }
    }
}

impl TryFrom<WishedName> for Named {
    type Error = InvalidWish;

    fn try_from(named: WishedName) -> Result<Self, InvalidWish> {
        Ok(Self { kind: kind(&named.r#type)?, name: named.name })
    }
}

fn kind(name: &str) -> Result<EntityType, InvalidWish> {
    EntityType::parse(name).ok_or_else(|| InvalidWish(format!("type: {name:?} is no entity type")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wishes_and_answers_cross_the_wire() {
        let named = |name: &str| Named { kind: EntityType::Asset, name: name.to_owned() };
        let end = End { kind: EntityType::Device, id: EntityId(Uuid::from_u128(5)) };
        let kind = || "Contains".to_owned();
        for wish in [
            Wish::Assign { customer: "C".to_owned(), create: true },
            Wish::Unassign,
            Wish::Relate(Relate {
                inward: true,
                kind: kind(),
                with: named("A"),
                create: Some("hall".to_owned()),
                alone: true,
                becomes: false,
            }),
            Wish::Unrelate { inward: false, kind: kind(), with: Some(named("A")) },
            Wish::Unrelate { inward: true, kind: kind(), with: None },
            Wish::Become(named("A")),
            Wish::Credentials(Side::Metadata),
        ] {
            let wished = Wished { tenant: TenantId(Uuid::from_u128(9)), originator: end, wish };
            assert_eq!(Wished::try_from(WishRequest::from(wished.clone())), Ok(wished));
        }
        let shown = Some(("ACCESS_TOKEN".to_owned(), "\"t\"".to_owned()));
        for granted in [Ok(Granted { entity: Some(end), credentials: shown }), Err("no".to_owned())] {
            assert_eq!(answered(WishReply::from(granted.clone())), Ok(granted));
        }
        assert!(answered(WishReply { outcome: None }).is_err());
        assert!(Wished::try_from(WishRequest::default()).is_err());
    }
}
