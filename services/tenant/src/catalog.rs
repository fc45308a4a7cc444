//! The catalogue: what can be done at all, and which package entitles a tenant to it. The same for every tenant.

pub mod store;

use std::collections::BTreeMap;

use kernel::{Error, RequestContext, Result, TenantId};
use serde::Deserialize;
use sha2::{Digest, Sha256};

use crate::{App, tenants};

/// The catalogue as it ships.
const SOURCE: &str = include_str!("../catalog.yaml");

/// A text by language tag.
pub type Texts = BTreeMap<String, String>;

/// The catalogue file.
#[derive(Debug, Deserialize)]
pub struct Catalog {
    pub tools: Vec<Tool>,
    pub packages: Vec<Package>,
}

/// A group of actions.
#[derive(Debug, Deserialize)]
pub struct Tool {
    pub key: String,
    pub name: Texts,
    pub actions: Vec<ToolAction>,
}

/// One thing that can be done; its key is the permission of a method.
#[derive(Debug, Deserialize)]
pub struct ToolAction {
    pub key: String,
    pub name: Texts,
    pub description: Texts,
}

/// What a tenant subscribes to.
#[derive(Debug, Deserialize)]
pub struct Package {
    pub key: String,
    pub name: Texts,
    pub actions: Vec<String>,
}

/// What a seed did.
#[derive(Debug, PartialEq, Eq)]
pub enum Seeded {
    /// The stored catalogue is this one.
    Unchanged,
    /// The catalogue was written, and this many tenants were told of their entitlements.
    Written {
        /// Tenants whose entitlements were told anew.
        tenants: usize,
    },
}

/// Writes the catalogue that ships with this version. Idempotent: a second run reads one row.
///
/// Actions and packages that are gone are retired, never deleted, since the audit log names them.
pub async fn seed(app: &App) -> Result<Seeded> {
    let ctx = RequestContext::system("tenant", TenantId::PLATFORM)
        .request_id("seed")
        .build();
    let catalog: Catalog = serde_norway::from_str(SOURCE)
        .map_err(|error| Error::internal(error).context("while reading catalog.yaml"))?;
    let digest = hex::encode(Sha256::digest(SOURCE.as_bytes()));
    let mut tx = app
        .db
        .across_tenants(&ctx, "the catalogue is the same for every tenant")
        .await?;
    let first_time = match store::lock_digest(&mut tx).await? {
        Some(stored) if stored == digest => {
            tx.commit().await?;
            return Ok(Seeded::Unchanged);
        }
        stored => stored.is_none(),
    };
    store::replace_catalog(&mut tx, &catalog, app.clock.now()).await?;
    store::upsert_digest(&mut tx, &digest, app.clock.now()).await?;
    tx.commit().await?;
    let tenants = if first_time {
        0
    } else {
        tenants::refresh_entitlements(app, &ctx).await?
    };
    Ok(Seeded::Written { tenants })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn catalog() -> Catalog {
        serde_norway::from_str(SOURCE).unwrap()
    }

    #[test]
    fn every_action_of_a_package_exists() {
        let catalog = catalog();
        let known: Vec<&str> = catalog
            .tools
            .iter()
            .flat_map(|tool| &tool.actions)
            .map(|action| action.key.as_str())
            .collect();
        for package in &catalog.packages {
            for action in &package.actions {
                assert!(
                    known.contains(&action.as_str()),
                    "package {} names {action}",
                    package.key
                );
            }
        }
    }

    #[test]
    fn every_text_is_there_in_both_languages() {
        let catalog = catalog();
        let actions = catalog
            .tools
            .iter()
            .flat_map(|tool| &tool.actions)
            .flat_map(|action| [&action.name, &action.description]);
        for texts in catalog
            .tools
            .iter()
            .map(|tool| &tool.name)
            .chain(catalog.packages.iter().map(|package| &package.name))
            .chain(actions)
        {
            assert!(
                texts.contains_key("pt-BR") && texts.contains_key("en"),
                "{texts:?}"
            );
        }
    }
}
