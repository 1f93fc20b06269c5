//! What calculated fields were told of one entity and is not stored: the newest value of each key. It is kept with the state, so that a
//! field whose arguments come in several messages knows all of them, after a crash too. It is newer than what is stored. Never decides which
//! keys are wanted.

use std::{collections::BTreeMap, ops::RangeBounds};

use schemas::{
    calculated::Written,
    telemetry::{Scope, Value},
};

use super::{ATTRIBUTE_BYTES, DeviceState, Writing, kept::Full};
use crate::{
    clock::Timestamp,
    limits,
    store::{
        Family, StoreError,
        key::{self, Part},
        record::{self, Attribute, text_bytes},
    },
};

/// A reading or an attribute.
#[derive(Clone, Debug, PartialEq)]
pub struct Told {
    /// `None`: it is a reading.
    pub scope: Option<Scope>,
    pub key: String,
    pub ts: Timestamp,
    pub value: Value<'static>,
}

impl Told {
    #[must_use]
    pub fn written(&self) -> Written<'_> {
        self.scope.map_or(Written::Series(&self.key), |scope| Written::Attribute(scope, &self.key))
    }
}

/// The newest of each key: of readings, then of scopes by their numbers.
#[derive(Clone, Debug, Default)]
pub(super) struct Newest([BTreeMap<String, Attribute>; 4]);

impl Newest {
    pub(super) fn is_empty(&self) -> bool {
        self.0.iter().all(BTreeMap::is_empty)
    }

    pub(super) fn bytes(&self) -> usize {
        let all = self.0.iter().flatten();
        all.map(|(key, told)| size(key, &told.value)).sum()
    }

    fn get(&self, what: Written<'_>) -> Option<&Attribute> {
        let (place, key) = place(what);
        self.0[place].get(key)
    }

    /// Takes in one row of the disk: a number and a key, and a record as attributes have it.
    pub(super) fn take(&mut self, row_key: &[u8], what: &[u8], record: &[u8]) -> Result<(), StoreError> {
        let parsed = what.split_first().and_then(|(number, key)| {
            let key = std::str::from_utf8(key).ok()?;
            Some((self.0.get_mut(usize::from(*number))?, key))
        });
        let (of, key) = parsed.ok_or_else(|| StoreError::corrupted("kept record", row_key, "expected a scope and a key"))?;
        of.insert(key.to_owned(), record::read_attribute(row_key, record)?);
        Ok(())
    }
}

fn place(what: Written<'_>) -> (usize, &str) {
    match what {
        Written::Series(key) => (0, key),
        Written::Attribute(scope, key) => (usize::from(scope as u8), key),
    }
}

/// How its row's key ends.
fn row(what: Written<'_>) -> Vec<u8> {
    let (place, key) = place(what);
    place.to_le_bytes().into_iter().take(1).chain(key.bytes()).collect()
}

/// What a value takes in memory.
fn size(key: &str, value: &Value<'_>) -> usize {
    ATTRIBUTE_BYTES + key.len() + text_bytes(value)
}

impl DeviceState {
    /// What fields were told of a key.
    #[must_use]
    pub fn told(&self, what: Written<'_>) -> Option<(Timestamp, &Value<'static>)> {
        let told = self.kept()?.told.get(what)?;
        Some((told.ts, &told.value))
    }

    /// Takes in what fields are told. Windows get all of it; else what is older than what they know already changes nothing.
    ///
    /// # Errors
    /// [`Full`] beyond [`limits::TOLD_BYTES_PER_DEVICE_MAX`].
    pub fn tell(&mut self, w: &mut Writing<'_>, told: Told) -> Result<(), Full> {
        if told.scope.is_none() {
            self.extend_windows_by(&told.key, told.ts, &told.value, w.now);
            self.bound_windows();
        }
        let known = self.told(told.written());
        let stored = match told.written() {
            Written::Series(key) => self.latest_of(w.dictionary, key).map(|(ts, _)| ts),
            Written::Attribute(scope, key) => self.scope(scope).get(key).map(|stored| stored.ts),
        };
        if known.map(|(ts, _)| ts).max(stored).is_some_and(|newest| newest > told.ts) {
            return Ok(());
        }
        let gone = known.map_or(0, |(_, value)| size(&told.key, value));
        let bytes = self.kept().map_or(0, |kept| kept.told.bytes()) - gone;
        if bytes + size(&told.key, &told.value) > limits::TOLD_BYTES_PER_DEVICE_MAX {
            return Err(Full { what: "bytes of values that fields alone know", most: limits::TOLD_BYTES_PER_DEVICE_MAX });
        }
        let row_key = key::kept(self.entity, Part::Told, &row(told.written()));
        w.batch.put(Family::State, &row_key, w.encoder.attribute(told.ts, &told.value));
        let place = place(told.written()).0;
        self.kept_mut().told.0[place].insert(told.key, Attribute { ts: told.ts, value: told.value });
        Ok(())
    }

    /// Whether fields know anything alone: where they do not, nothing has to be looked for.
    pub(super) fn has_told(&self) -> bool {
        self.kept().is_some_and(|kept| !kept.told.is_empty())
    }

    /// Something else was stored or deleted: what was told of that time, or before, counts no more.
    pub(super) fn untell(&mut self, w: &mut Writing<'_>, what: Written<'_>, times: impl RangeBounds<Timestamp>) {
        if self.told(what).is_some_and(|(ts, _)| times.contains(&ts)) {
            self.forget_told(w, |other| other != what);
        }
    }

    /// Forgets what no field wants any more.
    pub fn forget_told(&mut self, w: &mut Writing<'_>, is_wanted: impl Fn(Written<'_>) -> bool) {
        let entity = self.entity;
        let Some(kept) = self.kept.as_mut() else { return };
        for (number, of) in kept.told.0.iter_mut().enumerate() {
            let scope = u8::try_from(number).ok().and_then(Scope::from_number);
            of.retain(|key, _| {
                let what = scope.map_or(Written::Series(key), |scope| Written::Attribute(scope, key));
                let is_wanted = is_wanted(what);
                if !is_wanted {
                    w.batch.delete(Family::State, &key::kept(entity, Part::Told, &row(what)));
                }
                is_wanted
            });
        }
        self.shed_kept();
    }
}
