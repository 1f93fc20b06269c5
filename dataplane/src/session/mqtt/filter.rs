//! Topic filters: which topics they match, which filters they cover (MQTT 5, 4.7). Never knows what a topic is for.

/// Whether `filter` matches the topic name `topic`. An empty filter matches nothing.
pub(super) fn matches(filter: &str, topic: &str) -> bool {
    // [MQTT-4.7.2-1]: a wildcard at the front does not reach topics of the server.
    if topic.starts_with('$') && filter.starts_with(['+', '#']) {
        return false;
    }
    let (mut wanted, mut levels) = (filter.split('/'), topic.split('/'));
    loop {
        match (wanted.next(), levels.next()) {
            // Also the level above it.
            (Some("#"), _) | (None, None) => return true,
            (Some("+"), Some(_)) => {}
            (Some(wanted), Some(level)) if wanted == level => {}
            _ => return false,
        }
    }
}

/// Whether all that `narrow` matches is matched by `wide`, except that `x/#` is taken for `x/+`: it matches more, but nothing
/// is ever published there. No filter with a misplaced wildcard [MQTT-4.7.1-1], [MQTT-4.7.1-2] is covered.
pub(super) fn covers(wide: &str, narrow: &str) -> bool {
    if wide.starts_with(['+', '#']) && narrow.starts_with('$') {
        return false;
    }
    let (mut outer, mut inner) = (wide.split('/'), narrow.split('/'));
    loop {
        match (outer.next(), inner.next()) {
            (None, None) | (Some("#"), None) => return true,
            (Some("#"), Some(level)) => return std::iter::once(level).chain(inner.by_ref()).all(is_level) && ends_well(narrow),
            (Some("+"), Some("#")) => return outer.next().is_none() && inner.next().is_none(),
            (Some("+"), Some(level)) if is_level(level) => {}
            (Some(outer), Some(inner)) if outer == inner => {}
            _ => return false,
        }
    }
}

/// A wildcard stands alone in its level.
fn is_level(level: &str) -> bool {
    matches!(level, "+" | "#") || !level.contains(['+', '#'])
}

/// `#` is the last character or absent.
fn ends_well(filter: &str) -> bool {
    filter.find('#').is_none_or(|at| at + 1 == filter.len())
}

/// The topic of a message that goes to whoever subscribed to `filter`: wildcards become `me`, which they match.
pub(super) fn concrete(filter: &str) -> String {
    filter.replace(['+', '#'], "me")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn filters_match_topics() {
        // [MQTT-4.7.2-1].
        for (filter, topic, expected) in [
            ("a/b", "a/b", true),
            ("a/b", "a/b/", false),
            ("a/b", "a/B", false),
            ("+", "a", true),
            ("+", "a/b", false),
            ("a/+/c", "a/b/c", true),
            ("a/+", "a/", true),
            ("a/+", "a", false),
            ("/+", "/a", true),
            ("+/+", "/a", true),
            ("#", "a/b/c", true),
            ("a/#", "a", true),
            ("a/#", "a/b/c", true),
            ("a/#", "ab", false),
            ("#", "$SYS/a", false),
            ("+/a", "$SYS/a", false),
            ("$SYS/#", "$SYS/a", true),
            ("", "a", false),
        ] {
            assert_eq!(matches(filter, topic), expected, "{filter} {topic}");
        }
    }

    #[test]
    fn filters_cover_filters() {
        // [MQTT-4.7.1-1], [MQTT-4.7.1-2].
        for (wide, narrow, expected) in [
            ("a/+", "a/+", true),
            ("a/+", "a/7", true),
            ("a/+", "a/#", true),
            ("a/+/b/+", "a/7/b/+", true),
            ("a/+/b/+", "a/#", false),
            ("a/+", "a/b/c", false),
            ("a/+", "#", false),
            ("a/+", "+/b", false),
            ("a/+", "a/b+", false),
            ("a/b", "a/#", false),
            ("a/#", "a", true),
            ("a/#", "a/b/+/#", true),
            ("a/#", "a/#/b", false),
            ("a/#", "a/b#", false),
            ("#", "$share/g/a", false),
            ("+/a", "$share/a", false),
        ] {
            assert_eq!(covers(wide, narrow), expected, "{wide} {narrow}");
        }
    }

    #[test]
    fn a_concrete_topic_matches_its_filter() {
        for filter in ["a/+/b", "+/#", "#", "a", "a/#"] {
            assert!(matches(filter, &concrete(filter)), "{filter}");
        }
    }
}
