//! Who uses whom: inside a crate by its table, between crates by name.

use crate::source::{Finding, Marks, Source};
use crate::table::{CRATES, TABLES, Table};

/// The first name after `crate::` must be in the file's row.
pub(crate) fn allowed(source: &Source) -> Vec<Finding> {
    let Some((table, module)) = place(source) else { return Vec::new() };
    let Some((_, uses)) = table.rows.iter().find(|(name, _)| *name == module) else {
        return vec![source.finding(1, format!("module {module} has no row in tests/tests/tidy/table.rs"))];
    };
    let marks = Marks::of(source);
    let crate_paths =
        marks.paths.iter().filter(|(path, _)| path.len() > 1 && path[0] == "crate").map(|(path, line)| (&path[1], line));
    // In `src/session.rs` itself, `super` is the crate.
    let supers = marks.supers.iter().filter(|(path, _)| path.len() > 1 && source.is_top(table.folder));
    let all = crate_paths.chain(supers.map(|(path, line)| (&path[1], line)));
    let foreign = all.filter(|(used, _)| *used != module && !uses.contains(&used.as_str()));
    foreign.map(|(used, line)| source.finding(*line, format!("{module} may not use {used}; it may use {uses:?}"))).collect()
}

fn place(source: &Source) -> Option<(&'static Table, &str)> {
    let table = TABLES.iter().find(|table| source.is_in(table.folder))?;
    let module = source.module(table.folder)?;
    (module != "lib").then_some((table, module))
}

/// Rows use only rows above them, and rows and modules are the same set.
pub(crate) fn tables(sources: &[Source]) -> Vec<Finding> {
    let mut findings = Vec::new();
    for table in &TABLES {
        findings.extend(order(table));
        let Some(face) = sources.iter().find(|source| source.path == format!("{}lib.rs", table.folder)) else { continue };
        let modules = modules(face);
        for (name, _) in table.rows.iter().filter(|(name, _)| !modules.iter().any(|module| module == name)) {
            findings.push(face.finding(1, format!("the table has a row for {name}, which is no module")));
        }
        for module in modules.iter().filter(|module| !table.rows.iter().any(|(name, _)| name == module)) {
            findings.push(face.finding(1, format!("module {module} has no row in the table")));
        }
    }
    findings
}

/// A row that uses a later row could be part of a cycle; one order from the bottom up proves that there is none.
pub(crate) fn order(table: &Table) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (index, (name, uses)) in table.rows.iter().enumerate() {
        for used in uses.iter().filter(|used| !table.rows[..index].iter().any(|(above, _)| above == *used)) {
            let says = format!("{name} uses {used}, which is not above it");
            findings.push(Finding { path: table.folder.to_owned(), line: 1, says });
        }
    }
    findings
}

fn modules(face: &Source) -> Vec<String> {
    let items = face.syntax.iter().flat_map(|file| &file.items);
    items
        .filter_map(|item| match item {
            syn::Item::Mod(module) => Some(module.ident.to_string()),
            _ => None,
        })
        .collect()
}

/// Outside crates are named only where they belong.
pub(crate) fn crates(source: &Source) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (name, within, places) in CRATES {
        if !source.is_in(within) || places.iter().any(|place| source.is_in(place)) {
            continue;
        }
        for (path, line) in Marks::of(source).paths.iter().filter(|(path, _)| path.len() > 1 && path[0] == *name) {
            findings.push(source.finding(*line, format!("{} may not be named here, only in {places:?}", path.join("::"))));
        }
    }
    findings
}

/// `super::super` hides where a thing lives.
pub(crate) fn climbing(source: &Source) -> Vec<Finding> {
    let marks = Marks::of_all(source);
    let climbs = marks.paths.iter().filter(|(path, _)| path.len() > 1 && path[0] == "super" && path[1] == "super");
    climbs.map(|(_, line)| source.finding(*line, "a path climbs two levels: begin it with crate")).collect()
}
