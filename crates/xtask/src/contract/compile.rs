//! From `.proto` files to descriptors, without `protoc`.

use std::path::Path;

use anyhow::{Context as _, Result, anyhow};
use prost_reflect::DescriptorPool;
use protox::Compiler;
use protox::file::{
    ChainFileResolver, DescriptorSetFileResolver, FileResolver, GoogleFileResolver,
    IncludeFileResolver,
};

use crate::tree;

/// The contract, compiled.
pub struct Compiled {
    /// The descriptors with every option readable.
    pub pool: DescriptorPool,
    /// The same for code generators, which read no custom option.
    pub files: prost_types::FileDescriptorSet,
    /// The encoded `FileDescriptorSet` with imports, comments and options.
    pub bytes: Vec<u8>,
    /// The names of the files of the contract itself: not those that come with a library.
    pub own_files: Vec<String>,
}

/// Compiles every `.proto` file below `dir`.
pub fn folder(dir: &Path) -> Result<Compiled> {
    let names: Vec<String> = tree::files(dir, &[".proto"])?
        .iter()
        .map(|path| {
            path.strip_prefix(dir)
                .expect("found below dir")
                .to_string_lossy()
                .into_owned()
        })
        .collect();
    with_resolver(IncludeFileResolver::new(dir.to_path_buf()), names)
}

/// Compiles `names` with `own` as the source of everything that no library brings.
pub fn with_resolver(own: impl FileResolver + 'static, names: Vec<String>) -> Result<Compiled> {
    let rules = prost_protovalidate_types::DESCRIPTOR_POOL.encode_to_vec();
    let mut chain = ChainFileResolver::new();
    chain.add(own);
    chain.add(
        DescriptorSetFileResolver::decode(rules.as_slice())
            .context("the descriptors of buf.validate")?,
    );
    chain.add(GoogleFileResolver::new());
    let mut compiler = Compiler::with_file_resolver(chain);
    compiler.include_imports(true).include_source_info(true);
    for name in &names {
        // The debug form of the error carries the position and the quoted source line; its display form does not.
        compiler
            .open_file(name)
            .map_err(|error| anyhow!("{name} does not compile: {error:?}"))?;
    }
    Ok(Compiled {
        pool: compiler.descriptor_pool(),
        files: compiler.file_descriptor_set(),
        bytes: compiler.encode_file_descriptor_set(),
        own_files: names,
    })
}
