//! What the system under a process does wrong: libraries that are loaded before its own.

use std::path::{Path, PathBuf};
use std::process::Command;

/// What goes wrong.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Fault {
    /// The time of day, by `CLOCK_SKEW_S` seconds.
    ClockSkew,
    /// The disk has no room while the file `FULL_DISK_FLAG` exists.
    FullDisk,
}

impl Fault {
    /// Compiles it into `folder`; whoever starts with the answer as `LD_PRELOAD` has the fault. The linker of every Rust build is a C compiler.
    pub(crate) fn compile(self, folder: &Path) -> PathBuf {
        let (name, source) = match self {
            Self::ClockSkew => ("clock_skew", "faults/clock_skew.c"),
            Self::FullDisk => ("full_disk", "faults/full_disk.c"),
        };
        let library = folder.join(format!("{name}.so"));
        if library.exists() {
            return library;
        }
        let status = Command::new("cc")
            .args(["-Wall", "-Werror", "-O2", "-shared", "-fPIC", "-o"])
            .arg(&library)
            .arg(Path::new(env!("CARGO_MANIFEST_DIR")).join(source))
            .status()
            .expect("there is a C compiler");
        assert!(status.success(), "{source} compiles");
        library
    }
}
