//! The generated Rust: messages, clients, servers and validators.

use std::fs;

use anyhow::{Context as _, Result};

use super::compile::Compiled;
use crate::tree::{self, Content};

/// Everything that belongs into `crates/proto/src/gen`.
pub fn generate(compiled: &Compiled) -> Result<Content> {
    let dir = tempfile::tempdir()?;
    let mut config = tonic_prost_build::Config::new();
    config.enable_type_names();
    tonic_prost_build::configure()
        .out_dir(dir.path())
        .extern_path(".buf.validate", "::prost_protovalidate_types")
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
    fs::write(dir.path().join("descriptors.bin"), &compiled.bytes)?;
    tree::content(dir.path())
}
