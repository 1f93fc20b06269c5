//! What lies at the root, and which of our crates depend on which.

use crate::source::{Finding, Source};
use crate::table::{DEPENDENCIES, TOP_LEVEL};

/// Exactly what DESIGN 2 lists, so that nothing settles beside it.
pub(crate) fn top_level(sources: &[Source]) -> Vec<Finding> {
    let mut present: Vec<&str> = sources.iter().filter_map(|source| source.path.split('/').next()).collect();
    present.sort_unstable();
    present.dedup();
    let at_root = |name: &str, says: &str| Finding { path: name.to_owned(), line: 1, says: says.to_owned() };
    let extra = present.iter().filter(|name| !TOP_LEVEL.contains(name)).map(|name| at_root(name, "does not belong at the top"));
    let missing = TOP_LEVEL.iter().filter(|name| !present.contains(name)).map(|name| at_root(name, "is missing at the top"));
    extra.chain(missing).collect()
}

/// Dependencies between our crates, by manifest.
pub(crate) fn dependencies(sources: &[Source]) -> Vec<Finding> {
    let ours = ["schemas", "dataplane", "controlplane", "bench", "tests", "standalone"];
    let mut findings = Vec::new();
    for (manifest, may) in DEPENDENCIES {
        let Some(source) = sources.iter().find(|source| source.path == *manifest) else {
            findings.push(Finding { path: (*manifest).to_owned(), line: 1, says: "is missing".to_owned() });
            continue;
        };
        let mut in_dependencies = false;
        for (index, line) in source.text.lines().enumerate() {
            if line.starts_with('[') {
                in_dependencies = line.contains("dependencies");
            }
            let name = line.split([' ', '.', '=']).next().unwrap_or(line);
            if in_dependencies && ours.contains(&name) && !may.contains(&name) {
                findings.push(source.finding(index + 1, format!("may not depend on {name}")));
            }
        }
    }
    findings
}
