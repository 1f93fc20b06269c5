//! Builds the power-cut recorder and rolls a data directory back to what was synced. Never part of the product.

use super::instance::{Home, Setup};
use std::path::{Path, PathBuf};
use std::process::Command;

/// A recorder over one data directory.
#[derive(Debug)]
pub struct Recorder {
    library: PathBuf,
    shadow: PathBuf,
}

impl Recorder {
    /// Compiles the recorder into the test's directory.
    ///
    /// # Panics
    /// When there is no C compiler or the source does not compile.
    #[must_use]
    pub fn build(home: &Home) -> Self {
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("powercut/recorder.c");
        let library = home.path().join("recorder.so");
        let mut command = Command::new("cc");
        command.args(["-O2", "-Wall", "-Wextra", "-Werror", "-shared", "-fPIC", "-o"]).arg(&library).arg(&source);
        let status = command.args(["-ldl", "-lpthread"]).status().expect("cc is installed");
        assert!(status.success(), "{} compiles", source.display());
        let shadow = home.path().join("shadow");
        std::fs::create_dir(&shadow).expect("the test's directory is writable");
        Self { library, shadow }
    }

    /// The same instance under the recorder.
    #[must_use]
    pub fn over(&self, setup: &Setup) -> Setup {
        // The recorder compares the paths of open files, which have no symbolic links in them.
        std::fs::create_dir_all(setup.data()).expect("the data directory can be made");
        let data = setup.data().canonicalize().expect("the data directory was made");
        let setup = setup.clone().with("LD_PRELOAD", self.library.display()).with("POWERCUT_DATA", data.display());
        setup.with("POWERCUT_SHADOW", self.shadow.display()).data_in(&data)
    }

    /// Puts what was synced in the place of the data directory. The process must be dead.
    pub fn cut_power(&self, data: &Path) {
        std::fs::remove_dir_all(data).expect("the data directory is there");
        let status = Command::new("cp").arg("-a").arg(&self.shadow).arg(data).status().expect("cp is installed");
        assert!(status.success(), "the shadow is copied back");
    }
}
