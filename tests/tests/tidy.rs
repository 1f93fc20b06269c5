//! The shape of the code, checked (DESIGN 6): who may use whom, what may appear where, how long things may be. Reads the
//! sources and judges them; never runs them. Every check has a test that feeds it a bad snippet and expects a finding.
//!
//! The tables in `tidy/table.rs` describe the code: split or rename modules as the code teaches, and change the table with
//! them. No cycle is ever allowed.

#[path = "tidy/absence.rs"]
mod absence;
#[path = "tidy/imports.rs"]
mod imports;
#[path = "tidy/negative.rs"]
mod negative;
#[path = "tidy/shape.rs"]
mod shape;
#[path = "tidy/source.rs"]
mod source;
#[path = "tidy/table.rs"]
mod table;
#[path = "tidy/tree.rs"]
mod tree;

use source::{Finding, Source};

/// Runs one check over every file of the repository.
fn check(check: fn(&Source) -> Vec<Finding>) {
    let sources = source::repository();
    assert!(sources.len() > 20, "the repository was found");
    judge(sources.iter().flat_map(check).collect());
}

fn judge(findings: Vec<Finding>) {
    let lines: Vec<String> = findings.iter().map(ToString::to_string).collect();
    assert!(lines.is_empty(), "{} findings:\n{}\n", lines.len(), lines.join("\n"));
}

#[test]
fn modules_use_only_what_their_row_allows() {
    check(imports::allowed);
}

#[test]
fn the_tables_have_no_cycle_and_name_the_modules_that_exist() {
    judge(imports::tables(&source::repository()));
}

#[test]
fn crates_are_named_only_where_they_belong() {
    check(imports::crates);
}

#[test]
fn planes_meet_only_in_schemas() {
    judge(tree::dependencies(&source::repository()));
}

#[test]
fn no_path_climbs_two_levels() {
    check(imports::climbing);
}

#[test]
fn async_stays_where_bytes_move() {
    check(absence::asynchrony);
}

#[test]
fn unsafe_code_stays_in_its_file() {
    check(absence::unsafety);
}

#[test]
fn only_the_clock_reads_the_time() {
    check(absence::os_clock);
}

#[test]
fn the_data_plane_has_no_locks() {
    check(absence::locks);
}

#[test]
fn nothing_is_left_for_later() {
    check(absence::unfinished);
}

#[test]
fn no_machine_is_named() {
    check(absence::machine_paths);
}

#[test]
fn every_file_says_what_it_does() {
    check(shape::file_header);
}

#[test]
fn files_and_functions_fit_a_mind() {
    check(shape::file_length);
    check(shape::function_length);
    check(shape::argument_count);
}

#[test]
fn names_say_what_things_are() {
    check(shape::names);
}

#[test]
fn the_data_planes_face_owns_no_items() {
    check(shape::module_lists);
}

#[test]
fn the_top_level_is_as_designed() {
    judge(tree::top_level(&source::repository()));
}
