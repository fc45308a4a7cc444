//! Building the binaries once per run of the tests.

use std::path::{Path, PathBuf};
use std::process::Command;

use tokio::sync::OnceCell;

/// What a fleet runs.
pub(super) const NAMES: [&str; 9] = [
    "auth",
    "auth-worker",
    "gateway",
    "niche",
    "niche-worker",
    "search",
    "search-worker",
    "tenant",
    "tenant-worker",
];
const PACKAGES: [&str; 5] = ["auth", "tenant", "niche", "search", "gateway"];

/// Which binaries a fleet runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Build {
    /// With fail points, like the test itself, so that most of it is compiled already.
    Faulty,
    /// The release build as it is shipped.
    Shipped,
}

/// The setting that names a folder of binaries that are there already; then nothing is built.
const BINARIES: &str = "TENANTRY_FLEET_BINARIES";

/// Builds unless that is done. Answers the folder of the binaries, and the target folder.
pub(super) async fn binaries(build: Build) -> (PathBuf, PathBuf) {
    if let Some(folder) = given().filter(|_| build == Build::Faulty) {
        return (folder, target_folder());
    }
    static FAULTY: OnceCell<()> = OnceCell::const_new();
    static SHIPPED: OnceCell<()> = OnceCell::const_new();
    let (done, profile) = match build {
        Build::Faulty => (&FAULTY, own_profile()),
        Build::Shipped => (&SHIPPED, "release".to_owned()),
    };
    let folder = target_folder().join(&profile);
    done.get_or_init(|| async {
        tokio::task::spawn_blocking(move || cargo_build(build, &profile))
            .await
            .unwrap();
    })
    .await;
    (folder, target_folder())
}

#[expect(
    clippy::disallowed_methods,
    reason = "where a test finds what it starts, no setting of the product"
)]
fn given() -> Option<PathBuf> {
    std::env::var_os(BINARIES).map(PathBuf::from)
}

fn cargo_build(build: Build, profile: &str) {
    let mut cargo = Command::new(env!("CARGO"));
    cargo
        .args(["build", "--quiet", "--locked", "--bins"])
        .current_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("../.."))
        .env("CARGO_TARGET_DIR", target_folder());
    for package in PACKAGES {
        cargo.args(["--package", package]);
    }
    if profile == "release" {
        cargo.arg("--release");
    }
    if build == Build::Faulty {
        // This package has no binaries; naming it brings its feature, and with it the libraries as the test has them.
        cargo.args(["--package", "campaign", "--features", "campaign/failpoints"]);
    }
    let built = cargo.output().expect("cargo runs: it runs this test");
    assert!(
        built.status.success(),
        "the binaries cannot be built\n{}",
        String::from_utf8_lossy(&built.stderr)
    );
}

/// `target`, from where the test itself lies: `target/<profile>/deps/<test>`.
fn target_folder() -> PathBuf {
    profile_folder()
        .parent()
        .expect("a test lies in a target folder")
        .to_path_buf()
}

fn own_profile() -> String {
    let folder = profile_folder();
    let name = folder.file_name().expect("a profile has a name");
    name.to_string_lossy().into_owned()
}

fn profile_folder() -> PathBuf {
    let test = std::env::current_exe().expect("a test knows where it is");
    test.ancestors()
        .nth(2)
        .expect("a test lies in deps")
        .to_path_buf()
}
