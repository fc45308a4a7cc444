//! The executables themselves refuse to serve as a role that row level security does not bind.

use sqlx::{AssertSqlSafe, Executor as _};
use testkit::TestDb;

use campaign::{Fleet, FleetPlan};

use super::SERVICES;

/// Roles of this test's own, because roles belong to the whole server.
struct Unfit {
    bypassing: String,
    of_owner: String,
    of_bypassing: String,
}

impl Unfit {
    async fn create(database: &TestDb) -> Self {
        let tag = kernel::Ids::random(kernel::Clock::system()).next().simple();
        let unfit = Self {
            bypassing: format!("unfit_bypassing_{tag}"),
            of_owner: format!("unfit_of_owner_{tag}"),
            of_bypassing: format!("unfit_of_bypassing_{tag}"),
        };
        let mut sql = String::new();
        for role in unfit.names() {
            sql.push_str(&format!(
                "create role {role} login password 'testkit'; grant connect on database {} to {role}; ",
                database.name()
            ));
        }
        sql.push_str(&format!("alter role {} bypassrls; ", unfit.bypassing));
        for (service, _) in SERVICES {
            sql.push_str(&format!("grant {service}_owner to {}; ", unfit.of_owner));
        }
        sql.push_str(&format!(
            "grant {} to {}",
            unfit.bypassing, unfit.of_bypassing
        ));
        let mut admin = database.admin().await;
        admin
            .execute(sqlx::raw_sql(AssertSqlSafe(sql)))
            .await
            .unwrap();
        unfit
    }

    fn names(&self) -> [&str; 3] {
        [&self.bypassing, &self.of_owner, &self.of_bypassing]
    }

    async fn drop(self, database: &TestDb) {
        let mut admin = database.admin().await;
        for role in self.names() {
            let sql = format!("drop owned by {role}; drop role {role}");
            admin
                .execute(sqlx::raw_sql(AssertSqlSafe(sql)))
                .await
                .unwrap();
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn no_binary_starts_as_a_role_that_sees_through_row_level_security() {
    let plan = FleetPlan {
        gateways: 1,
        ..FleetPlan::default()
    };
    let fleet = Fleet::prepare(plan).await;
    let unfit = Unfit::create(&fleet.db).await;
    let binaries: Vec<String> = fleet
        .names()
        .into_iter()
        .filter(|name| !name.starts_with("gateway"))
        .collect();
    assert_eq!(binaries.len(), 8, "{binaries:?}");
    let cases = [
        ("", "is superuser"),
        ("_owner", "owns tables"),
        (unfit.bypassing.as_str(), "has BYPASSRLS"),
        (unfit.of_owner.as_str(), "owns tables through"),
        (unfit.of_bypassing.as_str(), "has BYPASSRLS through"),
    ];
    for (role, problem) in cases {
        for setting in ["DB_URL", "DB_RELAY_URL"] {
            refuse(&fleet, &binaries, (role, setting), problem).await;
        }
    }
    unfit.drop(&fleet.db).await;
}

/// Starts all binaries side by side with the role in one of their connection strings; each says why and ends.
async fn refuse(fleet: &Fleet, binaries: &[String], (role, setting): (&str, &str), problem: &str) {
    let mut said_before = Vec::new();
    for binary in binaries {
        let service = binary.split('-').next().unwrap();
        let url = match role {
            "" => fleet.db.admin_url(),
            "_owner" => fleet.db.url(&format!("{service}_owner")),
            role => fleet.db.url(role),
        };
        said_before.push(fleet.log(binary).len());
        let name = format!("{}_{setting}", service.to_uppercase());
        fleet.spawn_with(binary, &[(&name, &url)]);
    }
    for (binary, before) in binaries.iter().zip(said_before) {
        let status = fleet.ended(binary).await;
        let log = fleet.log(binary).split_off(before);
        assert_eq!(status.code(), Some(1), "{binary} as {problem}: {log}");
        let reasons: Vec<&str> = log
            .lines()
            .filter(|line| line.contains("refusing to run"))
            .collect();
        assert_eq!(reasons.len(), 1, "{binary} {setting}: {log}");
        assert!(reasons[0].contains(problem), "{binary} {setting}: {log}");
        assert!(
            !log.contains("testkit") && !log.contains("panic"),
            "{binary}: {log}"
        );
    }
}
