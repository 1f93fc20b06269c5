//! An alarm query: alarms of entities that match, what is shown of them (reference 2.3, 11). Never looks at an alarm.

use crate::domain::{AlarmFilter, AlarmInfo, EntityQuery, EntityRow, Invalid, Key, PageLink};

/// Which alarms are counted.
#[derive(Clone, Debug, PartialEq)]
pub struct AlarmCount {
    /// Only of these; `None`: of everything that the caller sees.
    pub entities: Option<EntityQuery>,
    pub filter: AlarmFilter,
    /// Only those created so many milliseconds before now, or later.
    pub window_ms: Option<i64>,
}

impl AlarmCount {
    /// The filter at a time: a window ends now.
    #[must_use]
    pub fn filter_at(&self, now_ms: i64) -> AlarmFilter {
        let mut filter = self.filter.clone();
        if let Some(window_ms) = self.window_ms {
            (filter.from_ms, filter.to_ms) = (Some(now_ms.saturating_sub(window_ms)), None);
        }
        filter
    }
}

/// A page of them and what is shown of their entities.
#[derive(Clone, Debug, PartialEq)]
pub struct AlarmListing {
    pub count: AlarmCount,
    pub link: PageLink,
    /// Entity fields, attributes and series.
    pub shown: Vec<Key>,
}

impl AlarmListing {
    /// # Errors
    /// [`Invalid`] naming what breaks a bound.
    pub fn checked(self) -> Result<Self, Invalid> {
        let count = self.count.checked()?;
        Key::shown("latestValues", &self.shown)?;
        Ok(Self { count, ..self })
    }
}

impl AlarmCount {
    /// # Errors
    /// [`Invalid`] naming what breaks a bound.
    pub fn checked(self) -> Result<Self, Invalid> {
        if let Some(window_ms) = self.window_ms.filter(|window| *window <= 0) {
            return Err(Invalid::new("timeWindow", &window_ms.to_string(), "must be more than 0"));
        }
        Ok(Self { entities: self.entities.map(EntityQuery::checked).transpose()?, ..self })
    }
}

/// An alarm with its entity.
#[derive(Clone, Debug, PartialEq)]
pub struct AlarmRow {
    pub info: AlarmInfo,
    /// With what is shown of it; only devices and assets have that.
    pub entity: Option<EntityRow>,
}
