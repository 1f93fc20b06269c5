//! Duplicate keys of one JSON object: the last one wins, also when it is a null. Never touches readings of other objects.

use std::borrow::Cow;

use crate::message::Reading;

/// Up to this many readings every pair is compared; beyond it they are sorted.
const PAIRWISE_MAX: usize = 24;

/// A null, which is not stored, but takes an earlier value of its key away.
#[derive(Debug)]
pub(crate) struct Null<'a> {
    pub(crate) key: Cow<'a, str>,
    /// How many readings there were when it was met.
    pub(crate) before: usize,
}

/// Drops every reading from `from` on whose key comes again later, as a reading or as a null.
pub(crate) fn keep_last<'a>(readings: &mut Vec<Reading<'a>>, from: usize, nulls: &[Null<'a>]) {
    let object = readings.get(from..).unwrap_or_default();
    if object.len() <= PAIRWISE_MAX && nulls.len() <= PAIRWISE_MAX && !has_duplicate(object, nulls) {
        return;
    }
    let mut order: Vec<usize> = (0..object.len()).collect();
    order.sort_unstable_by(|a, b| object[*a].key.cmp(&object[*b].key).then(a.cmp(b)));
    let mut dead = vec![false; object.len()];
    let mut found = false;
    for pair in order.windows(2) {
        if let [earlier, later] = *pair
            && object[earlier].key == object[later].key
        {
            dead[earlier] = true;
            found = true;
        }
    }
    for null in nulls {
        let first = order.partition_point(|index| object[*index].key < null.key);
        for index in order.iter().skip(first).take_while(|index| object[**index].key == null.key) {
            if from + index < null.before {
                dead[*index] = true;
                found = true;
            }
        }
    }
    if found {
        let mut index = 0;
        readings.retain(|_| {
            index += 1;
            index <= from || !dead[index - 1 - from]
        });
    }
}

fn has_duplicate(object: &[Reading<'_>], nulls: &[Null<'_>]) -> bool {
    object.iter().enumerate().any(|(index, reading)| {
        object.iter().take(index).any(|earlier| earlier.key == reading.key) || nulls.iter().any(|null| null.key == reading.key)
    })
}
