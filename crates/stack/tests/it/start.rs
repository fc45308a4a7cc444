//! As whom the process connects.

use std::process::{Command, Output};

use sqlx::migrate::Migrator;
use testkit::TestDb;

const SERVICES: [(&str, &Migrator); 4] = [
    ("auth", &auth::MIGRATOR),
    ("tenant", &tenant::MIGRATOR),
    ("niche", &niche::MIGRATOR),
    ("search", &search::MIGRATOR),
];

/// The one process of the laptop sets the passwords of its roles from the connection strings, so it looks at the names before it touches the server.
#[tokio::test(flavor = "multi_thread")]
async fn the_stack_does_not_start_as_somebody_else() {
    let database = TestDb::with_services(&SERVICES).await;
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
            let url = database.url(&role);
            let run = run(&database, (setting, &url)).await;
            let said = String::from_utf8_lossy(&run.stderr).into_owned()
                + &String::from_utf8_lossy(&run.stdout);
            assert_eq!(run.status.code(), Some(78), "{role}: {said}");
            let reason = format!("{setting} does not connect as {service}_{suffix}");
            assert!(said.contains(&reason), "{role}: {said}");
            assert!(!said.contains("testkit"), "{said}");
        }
    }
}

async fn run(database: &TestDb, (name, url): (&str, &str)) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_stack"));
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
