//! The database keeps tenants apart, whatever the application forgets, and whatever happens to its connections.

mod attempts;
mod bonds;
mod catalogue;
mod definers;
mod detours;
mod dice;
mod disconnect;
mod matrix;
mod oracles;
mod pool_leak;
mod rows;
mod start;
mod timing;
mod two_houses;

use sqlx::migrate::Migrator;
use testkit::TestDb;

/// Every service with a schema.
pub const SERVICES: [(&str, &Migrator); 4] = [
    ("auth", &auth::MIGRATOR),
    ("tenant", &tenant::MIGRATOR),
    ("niche", &niche::MIGRATOR),
    ("search", &search::MIGRATOR),
];

/// A database with all schemas, as a laptop has it.
pub async fn whole_database() -> TestDb {
    TestDb::with_services(&SERVICES).await
}
