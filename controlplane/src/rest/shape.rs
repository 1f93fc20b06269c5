//! The JSON shapes every resource shares: id objects, pages, contact fields, the error body. ThingsBoard's, field by field.
//! Never checks a rule: that is the domain's.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use uuid::Uuid;

use crate::domain::{Contact, EntityKind, NULL_UUID, Page, present};

/// `{"entityType":"DEVICE","id":"..."}`
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = EntityId)]
pub(in crate::rest) struct IdShape {
    /// ThingsBoard's entity type. Not needed in requests, where the field says which kind is meant.
    #[serde(default)]
    #[schema(example = "DEVICE")]
    pub(in crate::rest) entity_type: String,
    pub(in crate::rest) id: Uuid,
}

impl IdShape {
    pub(in crate::rest) fn new(kind: EntityKind, id: Uuid) -> Self {
        Self { entity_type: kind.name().to_owned(), id }
    }

    /// An id that may be absent: ThingsBoard shows its null UUID then.
    pub(in crate::rest) fn or_null(kind: EntityKind, id: Option<Uuid>) -> Self {
        Self::new(kind, id.unwrap_or(NULL_UUID))
    }

    /// A firmware or software package.
    pub(in crate::rest) fn of_package(id: Uuid) -> Self {
        Self { entity_type: "OTA_PACKAGE".to_owned(), id }
    }
}

/// An entity's id and name.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = EntityInfo)]
pub(in crate::rest) struct NamedShape {
    id: IdShape,
    name: String,
}

impl NamedShape {
    pub(in crate::rest) fn new(kind: EntityKind, id: Uuid, name: String) -> Self {
        Self { id: IdShape::new(kind, id), name }
    }
}

/// The id in an optional id object, where ThingsBoard's null UUID means none.
pub(in crate::rest) fn given(id: Option<IdShape>) -> Option<Uuid> {
    present(id?.id)
}

/// One page of a list.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = PageData)]
pub(in crate::rest) struct PageShape<T> {
    data: Vec<T>,
    total_pages: u64,
    total_elements: u64,
    has_next: bool,
}

impl<T> PageShape<T> {
    pub(in crate::rest) fn of<U>(page: Page<U>, convert: impl FnMut(U) -> T) -> Self {
        let Page { data, total_pages, total_elements, has_next } = page.map(convert);
        Self { data, total_pages, total_elements, has_next }
    }
}

/// Where a tenant or customer is reached.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(default)]
#[schema(as = Contact)]
pub(in crate::rest) struct ContactShape {
    country: Option<String>,
    state: Option<String>,
    city: Option<String>,
    address: Option<String>,
    address2: Option<String>,
    zip: Option<String>,
    phone: Option<String>,
    email: Option<String>,
}

impl From<Contact> for ContactShape {
    fn from(contact: Contact) -> Self {
        let Contact { country, state, city, address, address2, zip, phone, email } = contact;
        Self { country, state, city, address, address2, zip, phone, email }
    }
}

impl From<ContactShape> for Contact {
    fn from(contact: ContactShape) -> Self {
        let ContactShape { country, state, city, address, address2, zip, phone, email } = contact;
        Self { country, state, city, address, address2, zip, phone, email }
    }
}

/// The body of every refusal.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = ErrorResponse)]
pub(in crate::rest) struct ErrorShape {
    /// The HTTP status, repeated.
    #[schema(example = 400)]
    pub(in crate::rest) status: u16,
    pub(in crate::rest) message: String,
    /// 2 general, 10 not signed in, 11 token expired, 20 not permitted, 31 bad parameter, 32 not found, 33 too many
    /// requests, 35 version conflict, 41 the tenant may have no more of these.
    #[schema(example = 31)]
    pub(in crate::rest) error_code: u32,
    /// Milliseconds since the Unix epoch.
    pub(in crate::rest) timestamp: i64,
}
