//! What must hold for any bytes whatsoever; the property test and the fuzz target both call this. Panics on a finding.

use std::collections::BTreeMap;

use super::{File, Input, KEYS, Loaded, Role, load};

/// Bytes before the first 0xFF are the settings file, those after it alternate variable names and values.
///
/// # Panics
/// If loading is not total, a refusal says nothing, or the effective values do not read back as themselves.
pub fn any(bytes: &[u8]) {
    let mut parts = bytes.split(|byte| *byte == 0xFF);
    let file = parts.next().unwrap_or_default();
    let mut environment = BTreeMap::new();
    while let (Some(name), Some(value)) = (parts.next(), parts.next()) {
        // A short name picks a declared key, so that values are reached and not only names.
        let name = match name {
            [index] => KEYS[usize::from(*index) % KEYS.len()].variable(),
            other => String::from_utf8_lossy(other).into_owned(),
        };
        environment.insert(name, String::from_utf8_lossy(value).into_owned());
    }
    for role in Role::ALL {
        match load(&Input { role, file: Some(File { name: "fuzzed", bytes: file }), environment: &environment, arguments: &[] }) {
            Ok(loaded) => reads_back(&loaded),
            Err(invalid) => {
                assert!(!invalid.problems.is_empty(), "a refusal names at least one problem");
                for problem in &invalid.problems {
                    assert!(!problem.path.is_empty() && !problem.value.is_empty() && !problem.rule.is_empty());
                }
                assert!(invalid.to_string().contains(&invalid.problems[0].rule));
            }
        }
    }
}

fn reads_back(loaded: &Loaded) {
    let environment: BTreeMap<String, String> =
        loaded.entries().iter().filter_map(|entry| Some((entry.key.variable(), entry.value.as_ref()?.to_string()))).collect();
    let again = load(&Input { role: loaded.role(), file: None, environment: &environment, arguments: &[] })
        .expect("effective values obey their own rules");
    for (first, second) in loaded.entries().iter().zip(again.entries()) {
        assert_eq!(first.value, second.value, "{} reads back as itself", first.key.path());
    }
}
