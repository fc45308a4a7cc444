//! What callers were told, for the reckoning at the end.

use std::collections::BTreeMap;

/// The books of one caller.
#[derive(Clone, Debug, Default)]
pub struct Ledger {
    /// Records by their names.
    pub records: BTreeMap<String, Written>,
    /// Creations whose outcome is unknown and that were not repeated: the name and its idempotency key.
    pub open: BTreeMap<String, String>,
    /// How often each audited act has happened: by the action and the id of what it was done to.
    pub acts: BTreeMap<(String, String), i64>,
    /// Imports by their ids: the first part of their records' names, and how many records.
    pub imports: BTreeMap<String, (String, usize)>,
    /// Tenants by their ids: the status that they have.
    pub tenants: BTreeMap<String, String>,
    /// What contradicts what was told before.
    pub contradictions: Vec<String>,
}

/// A record as its writer was told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Written {
    /// Its id.
    pub id: String,
    /// Its version.
    pub version: i64,
    /// Whether it was deleted afterwards.
    pub is_deleted: bool,
}

impl Ledger {
    /// Notes an audited act.
    pub fn act(&mut self, action: &str, id: &str) {
        let key = (action.to_owned(), id.to_owned());
        *self.acts.entry(key).or_default() += 1;
    }

    /// Notes what contradicts what was told before.
    pub fn contradiction(&mut self, what: String) {
        self.contradictions.push(what);
    }

    /// Adds the books of another caller.
    pub fn absorb(&mut self, other: Self) {
        self.records.extend(other.records);
        self.open.extend(other.open);
        self.imports.extend(other.imports);
        self.tenants.extend(other.tenants);
        self.contradictions.extend(other.contradictions);
        for (act, times) in other.acts {
            *self.acts.entry(act).or_default() += times;
        }
    }

    /// How many changes were acknowledged.
    pub fn acknowledged(&self) -> i64 {
        self.acts.values().sum()
    }
}
