//! The generated Rust: messages, clients, servers and validators.

use std::fs;

use anyhow::{Context as _, Result};

use super::compile::Compiled;
use super::surface::Surface;
use super::tables;
use crate::tree::{self, Content};

/// What is included beside the modules of the packages.
const TAIL: &str = r#"mod validators {
    use super::*;
    include!("validate_impl.rs");
    include!("unconstrained.rs");
}
pub(crate) mod policy_table {
    include!("policy.rs");
}
pub(crate) mod event_table {
    include!("events.rs");
}
pub(crate) mod pii_table {
    include!("pii.rs");
}
"#;

/// Everything that belongs into `crates/proto/src/gen`.
pub fn generate(compiled: &Compiled, surface: &Surface) -> Result<Content> {
    let dir = tempfile::tempdir()?;
    let mut config = tonic_prost_build::Config::new();
    config.enable_type_names();
    tonic_prost_build::configure()
        .out_dir(dir.path())
        .extern_path(".buf.validate", "::prost_protovalidate_types")
        // Free-form data is mostly handed on, so it is not taken apart.
        .extern_path(".google.protobuf.Struct", "crate::Document")
        // A part of an uploaded file is handed on without a copy.
        .bytes(".google.api.HttpBody.data")
        .include_file("mod.rs")
        .emit_rerun_if_changed(false)
        .compile_fds_with_config(compiled.files.clone(), config)
        .context("messages, clients and servers")?;
    prost_protovalidate_build::Builder::new()
        .file_descriptor_set_bytes(compiled.bytes.clone())
        .out_dir(dir.path())
        // A rule that the generated code cannot check would otherwise be dropped in silence.
        .fail_on_runtime_only(true)
        .compile()
        .context("validators")?;
    let validators = fs::read_to_string(dir.path().join("validate_impl.rs"))?;
    for (name, text) in [
        ("policy.rs", tables::policies(surface)),
        ("events.rs", tables::events(surface)),
        ("pii.rs", tables::pii(surface)),
        (
            "unconstrained.rs",
            tables::unconstrained(surface, &validators),
        ),
    ] {
        fs::write(dir.path().join(name), text)?;
    }
    let modules = dir.path().join("mod.rs");
    fs::write(&modules, fs::read_to_string(&modules)? + TAIL)?;
    fs::write(dir.path().join("descriptors.bin"), &compiled.bytes)?;
    tree::content(dir.path())
}
