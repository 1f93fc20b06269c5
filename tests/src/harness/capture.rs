//! What a child process prints, kept in a file and read line by line with a deadline. Never a pipe, which could fill up.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::Stdio;

/// A file that a child writes its output to, and how far it has been read.
#[derive(Debug)]
pub struct Capture {
    path: PathBuf,
    lines_read: usize,
}

impl Capture {
    /// A new, empty file.
    #[must_use]
    pub fn new(path: PathBuf) -> Self {
        File::create(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        Self { path, lines_read: 0 }
    }

    /// The writing end for a child.
    #[must_use]
    pub fn stdio(&self) -> Stdio {
        let file = File::options().append(true).open(&self.path).expect("the capture was created by new");
        Stdio::from(file)
    }

    /// Everything printed so far.
    #[must_use]
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&std::fs::read(&self.path).expect("the capture exists until its directory is dropped"))
            .into_owned()
    }

    /// The next complete line, if there is one.
    pub fn next_line(&mut self) -> Option<String> {
        let text = self.text();
        let mut complete = text.split_inclusive('\n').filter(|line| line.ends_with('\n'));
        let line = complete.nth(self.lines_read)?.trim_end().to_owned();
        self.lines_read += 1;
        Some(line)
    }

    /// Skips lines until one satisfies `wanted`.
    ///
    /// # Panics
    /// When none does in time, with everything printed.
    pub fn wait_for(&mut self, what: &str, wanted: impl Fn(&str) -> bool) -> String {
        let found = super::within(super::PATIENCE, || self.next_matching(&wanted));
        found.unwrap_or_else(|| panic!("no line was printed that is {what}; printed:\n{}", self.tail(60)))
    }

    fn next_matching(&mut self, wanted: &impl Fn(&str) -> bool) -> Option<String> {
        while let Some(line) = self.next_line() {
            if wanted(&line) {
                return Some(line);
            }
        }
        None
    }

    /// The last lines printed.
    #[must_use]
    pub fn tail(&self, count: usize) -> String {
        let text = self.text();
        let lines: Vec<&str> = text.lines().collect();
        lines.get(lines.len().saturating_sub(count)..).unwrap_or_default().join("\n")
    }

    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }
}
