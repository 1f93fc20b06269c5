//! Attributes of one entity. All of them are in memory, so a read by key never visits the others.

use schemas::{
    calculated::Written,
    telemetry::{Scope, Value},
};

use super::{ATTRIBUTE_BYTES, DeviceState, RefusedReadings, Writing, connectivity::INACTIVITY_TIMEOUT};
use crate::{
    limits,
    message::Readings,
    query,
    store::{
        Family, key,
        record::{Attribute, text_bytes},
    },
};

impl DeviceState {
    /// Saves attributes of one scope: all of them or, refused, none. Returns the keys that changed, or, without
    /// `only_on_change`, all keys.
    ///
    /// # Errors
    /// [`RefusedReadings::StateTooLarge`].
    pub fn save_attributes(
        &mut self,
        w: &mut Writing<'_>,
        scope: Scope,
        readings: &Readings<'_>,
        only_on_change: bool,
    ) -> Result<Vec<String>, RefusedReadings> {
        let grown = readings.readings.iter().map(|reading| {
            let new = text_bytes(&reading.value);
            match self.scope(scope).get(reading.key.as_ref()) {
                Some(old) => new.saturating_sub(text_bytes(&old.value)),
                None => ATTRIBUTE_BYTES + reading.key.len() + new,
            }
        });
        let bytes = self.bytes + grown.sum::<usize>();
        if bytes > limits::DEVICE_STATE_BYTES_MAX {
            return Err(RefusedReadings::StateTooLarge { bytes });
        }
        let mut changed: Vec<String> = Vec::new();
        for reading in &readings.readings {
            let name = reading.key.as_ref();
            let same = self.scope(scope).get(name).is_some_and(|old| old.value == reading.value);
            if same && only_on_change {
                continue;
            }
            w.batch.put(Family::State, &key::attribute(self.entity, scope, name), w.encoder.attribute(w.now, &reading.value));
            let new = Attribute { ts: w.now, value: reading.value.clone().into_owned() };
            self.bytes += text_bytes(&new.value);
            match self.scope_mut(scope).insert(name.to_owned(), new) {
                Some(old) => self.bytes -= text_bytes(&old.value),
                None => self.bytes += ATTRIBUTE_BYTES + name.len(),
            }
            self.untell(w, Written::Attribute(scope, name), ..=w.now);
            if !changed.iter().any(|key| key == name) {
                changed.push(name.to_owned());
            }
        }
        self.timeout_may_have_changed(w, scope, &changed);
        Ok(changed)
    }

    /// Deletes attributes of one scope. Returns the keys that existed.
    pub fn delete_attributes(&mut self, w: &mut Writing<'_>, scope: Scope, keys: &[String]) -> Vec<String> {
        let mut deleted = Vec::new();
        for name in keys {
            self.untell(w, Written::Attribute(scope, name), ..);
            if let Some(old) = self.scope_mut(scope).remove(name) {
                self.bytes -= ATTRIBUTE_BYTES + name.len() + text_bytes(&old.value);
                w.batch.delete(Family::State, &key::attribute(self.entity, scope, name));
                deleted.push(name.clone());
            }
        }
        self.timeout_may_have_changed(w, scope, &deleted);
        deleted
    }

    /// Attributes of one scope or all, those of these keys or, if none is named, all; with the server attributes that tell
    /// about connectivity.
    #[must_use]
    pub fn attributes(&self, scope: Option<Scope>, keys: &[String]) -> Vec<query::Attribute> {
        let mut found = Vec::new();
        for scope in Scope::ALL.into_iter().filter(|each| scope.is_none_or(|scope| scope == *each)) {
            let derived = if scope == Scope::Server { self.connectivity_attributes() } else { Vec::new() };
            let is_derived = |name: &str| derived.iter().any(|attribute| attribute.key == name);
            let stored = |(key, attribute): (&String, &Attribute)| query::Attribute {
                scope,
                key: key.clone(),
                last_update: attribute.ts,
                value: attribute.value.clone(),
            };
            let of = self.scope(scope);
            if keys.is_empty() {
                found.extend(of.iter().filter(|(name, _)| !is_derived(name)).map(stored));
            } else {
                let named = keys.iter().filter(|name| !is_derived(name));
                found.extend(named.filter_map(|name| of.get_key_value(name)).map(stored));
            }
            found.extend(derived.into_iter().filter(|attribute| keys.is_empty() || keys.contains(&attribute.key)));
        }
        found
    }

    /// One attribute's value. Attributes that tell about connectivity are not found here.
    #[must_use]
    pub fn attribute(&self, scope: Scope, name: &str) -> Option<&Value<'static>> {
        self.scope(scope).get(name).map(|attribute| &attribute.value)
    }

    /// A shorter timeout must not wait for a deadline of the longer one.
    fn timeout_may_have_changed(&mut self, w: &mut Writing<'_>, scope: Scope, changed: &[String]) {
        if scope == Scope::Server && changed.iter().any(|name| name == INACTIVITY_TIMEOUT) {
            self.rearm(w);
        }
    }
}
