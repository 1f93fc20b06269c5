//! What nodes take of whose the originator is. Values only; reads no JSON.

use super::Side;

/// Whose a device is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Owner {
    /// The customer it is assigned to.
    Customer,
    Tenant,
}

/// Values of the originator's owner.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OwnerValues {
    pub of: Owner,
    pub values: Values,
}

/// Server attributes or latest readings of another entity. Names on both sides are templates.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Values {
    /// Latest readings, else attributes.
    pub latest: bool,
    /// The key, and the name under which it is put.
    pub mapping: Vec<(String, String)>,
    pub to: Side,
}

/// What people have written of the originator's owner.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OwnerDetails {
    pub of: Owner,
    pub details: Vec<Detail>,
    pub to: Side,
}

/// One of [`OwnerDetails`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Detail {
    Id,
    Title,
    Country,
    State,
    City,
    Zip,
    Address,
    Address2,
    Phone,
    Email,
    /// Its description.
    AdditionalInfo,
}

impl Detail {
    pub const ALL: [Self; 11] = [
        Self::Id,
        Self::Title,
        Self::Country,
        Self::State,
        Self::City,
        Self::Zip,
        Self::Address,
        Self::Address2,
        Self::Phone,
        Self::Email,
        Self::AdditionalInfo,
    ];

    /// As ThingsBoard's configurations write it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Id => "ID",
            Self::Title => "TITLE",
            Self::Country => "COUNTRY",
            Self::State => "STATE",
            Self::City => "CITY",
            Self::Zip => "ZIP",
            Self::Address => "ADDRESS",
            Self::Address2 => "ADDRESS2",
            Self::Phone => "PHONE",
            Self::Email => "EMAIL",
            Self::AdditionalInfo => "ADDITIONAL_INFO",
        }
    }

    /// As ThingsBoard's messages write it, behind whose it is.
    #[must_use]
    pub fn key(self) -> &'static str {
        match self {
            Self::Id => "id",
            Self::Title => "title",
            Self::Country => "country",
            Self::State => "state",
            Self::City => "city",
            Self::Zip => "zip",
            Self::Address => "address",
            Self::Address2 => "address2",
            Self::Phone => "phone",
            Self::Email => "email",
            Self::AdditionalInfo => "additionalInfo",
        }
    }
}
