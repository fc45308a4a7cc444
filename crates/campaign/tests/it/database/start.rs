//! The executables themselves refuse to serve as a role that row level security does not bind.

use std::path::Path;
use std::process::{Command, Output};

use sqlx::{AssertSqlSafe, Executor as _};
use testkit::TestDb;

use campaign::{Fleet, FleetPlan};

use super::{SERVICES, whole_database};

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

/// The one process of the laptop sets the passwords of its roles from the connection strings, so it looks at the names before it touches the server.
#[tokio::test(flavor = "multi_thread")]
async fn the_stack_does_not_start_as_somebody_else() {
    let database = whole_database().await;
    let binary = tokio::task::spawn_blocking(build_stack).await.unwrap();
    for setting in ["TENANT_DB_URL", "NICHE_DB_RELAY_URL"] {
        let service = setting.split('_').next().unwrap().to_lowercase();
        let (suffix, others) = if setting.contains("RELAY") {
            ("relay", "app")
        } else {
            ("app", "relay")
        };
        let roles = [
            "postgres".to_owned(),
            format!("{service}_owner"),
            format!("{service}_definer"),
            format!("{service}_{others}"),
        ];
        for role in roles {
            let (binary, url) = (binary.clone(), database.url(&role));
            let run = run_stack(&binary, &database, (setting, &url)).await;
            let said = String::from_utf8_lossy(&run.stderr).into_owned()
                + &String::from_utf8_lossy(&run.stdout);
            assert_eq!(run.status.code(), Some(78), "{role}: {said}");
            let reason = format!("{setting} does not connect as {service}_{suffix}");
            assert!(said.contains(&reason), "{role}: {said}");
            assert!(!said.contains("testkit"), "{said}");
        }
    }
}

async fn run_stack(binary: &Path, database: &TestDb, (name, url): (&str, &str)) -> Output {
    let mut command = Command::new(binary);
    command
        .env_clear()
        .env("TENANTRY_PROFILE", "dev")
        .env("GATEWAY_HTTP_LISTEN", "127.0.0.1:0")
        .env("TENANTRY_ADMIN_DB_URL", database.admin_url())
        .env("S3_ENDPOINT", "http://127.0.0.1:9")
        .env("S3_BUCKET", "tenantry")
        .env("S3_ACCESS_KEY", "test-access")
        .env("S3_SECRET_KEY", "test-secret-of-a-test")
        .env("S3_DATA_DIR", "/nonexistent");
    for (service, _) in SERVICES {
        let upper = service.to_uppercase();
        for (suffix, role) in [
            ("URL", "app"),
            ("RELAY_URL", "relay"),
            ("OWNER_URL", "owner"),
        ] {
            let url = database.url(&format!("{service}_{role}"));
            command.env(format!("{upper}_DB_{suffix}"), url);
        }
    }
    command.env(name, url);
    tokio::task::spawn_blocking(move || command.output().unwrap())
        .await
        .unwrap()
}

/// Builds it with the features of this test, so that the libraries are compiled already.
fn build_stack() -> std::path::PathBuf {
    let test = std::env::current_exe().unwrap();
    let profile = test.ancestors().nth(2).unwrap().to_path_buf();
    let mut cargo = Command::new(env!("CARGO"));
    cargo
        .args([
            "build",
            "--quiet",
            "--locked",
            "--package",
            "stack",
            "--bin",
            "stack",
        ])
        .args(["--package", "campaign", "--features", "campaign/failpoints"])
        .current_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("../.."))
        .env("CARGO_TARGET_DIR", profile.parent().unwrap());
    if profile.file_name().is_some_and(|name| name == "release") {
        cargo.arg("--release");
    }
    let built = cargo.output().unwrap();
    let said = String::from_utf8_lossy(&built.stderr);
    assert!(built.status.success(), "the binary cannot be built\n{said}");
    profile.join("stack")
}
