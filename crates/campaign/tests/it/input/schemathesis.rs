//! The published contract against the running platform, judged by schemathesis.

use std::path::{Path, PathBuf};
use std::process::Command;

use campaign::Extent;
use serde_json::Value;

use crate::input::stage::{House, Stage};

/// The folder of the requirements and the settings of the judge.
const FOLDER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/schemathesis");
/// Where it is installed.
const INSTALLED: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../.dev/schemathesis");
/// Where its reports go.
const REPORTS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../target/schemathesis");
/// The description that is served; the tests of the gateway hold it to the contract.
const PUBLISHED: &str = concat!(
    env!("CARGO_MANIFEST_DIR"),
    "/../../services/gateway/openapi.json"
);
/// Cases of all runs together, at least.
const CASES_MIN: u64 = 10_000;

/// One run of the judge.
struct Run<'a> {
    name: &'a str,
    /// Nobody for none.
    token: Option<&'a String>,
    /// Settings that name what exists, so that a sound request has to be accepted. Without them ids and cursors are invented, and a
    /// refusal says nothing.
    known: &'a str,
    /// More arguments.
    args: &'a [&'a str],
}

/// Only the long form asks for Python; the short one is `contract.rs`, which asks the same questions in fewer words.
#[tokio::test(flavor = "multi_thread")]
async fn an_independent_judge_finds_nothing_undocumented() {
    let extent = Extent::of_this_run();
    if extent == Extent::Short {
        let pinned = std::fs::read_to_string(format!("{FOLDER}/requirements.txt")).unwrap();
        assert!(pinned.contains("schemathesis=="), "the judge is pinned");
        return;
    }
    let judge = install();
    let stage = Stage::start(&[]).await;
    let staff = stage.staff_token().await;
    let (owner, leaver) = (stage.house("Olga").await, stage.house("Lea").await);
    let keep_session = ["--exclude-operation-id", "Session_Logout"];
    let only_logout = ["--include-operation-id", "Session_Logout"];
    let known = known_things(&owner);
    let run = |name, token, known, args| Run {
        name,
        token,
        known,
        args,
    };
    let runs = [
        run("nobody", None, "", &[][..]),
        run("owner", Some(&owner.token), "", &keep_session),
        run(
            "owner-of-what-exists",
            Some(&owner.token),
            &known,
            &keep_session,
        ),
        run("staff", Some(&staff), "", &keep_session),
        run("leaver", Some(&leaver.token), "", &only_logout),
    ];
    let mut cases = 0;
    let mut failed = Vec::new();
    for run in runs {
        let (told, ok) =
            tokio::task::block_in_place(|| judge_run(&judge, &stage.platform.base_url, &run));
        extent.tell(run.name, format!("{told} cases"));
        cases += told;
        if !ok {
            failed.push(run.name);
        }
    }
    extent.tell("all cases", cases);
    assert_eq!(failed, [""; 0], "see the reports in target/schemathesis");
    assert!(cases >= CASES_MIN, "{cases} cases are too few");
    stage.platform.stop().await;
}

/// Installs the pinned judge unless it is there.
fn install() -> PathBuf {
    let judge = Path::new(INSTALLED).join("bin/schemathesis");
    if judge.exists() {
        return judge;
    }
    run(Command::new("python3").args(["-m", "venv", INSTALLED]));
    run(Command::new(format!("{INSTALLED}/bin/pip"))
        .args(["install", "--quiet", "--no-deps", "--requirement"])
        .arg(format!("{FOLDER}/requirements.txt")));
    judge
}

/// Names what exists.
fn known_things(house: &House) -> String {
    let House {
        tenant_id,
        record_id,
        import_id,
        ..
    } = house;
    format!(
        "\n[parameters]\nniche = \"software-catalog\"\nentity = \"packages\"\nkitKey = \"software-catalog\"\nversion = \"1.0.0\"\nmapping = \"debian-packages\"\ncursor = \"\"\nactor = \"{tenant_id}\"\nrecordId = \"{record_id}\"\nimportId = \"{import_id}\"\n\"path.tenantId\" = \"{tenant_id}\"\n\"header.X-Tenant-Id\" = \"{tenant_id}\"\n{WHERE_DATA_DECIDES}"
    )
}

/// Methods that refuse a request for what its data names: a form of a kit, a token from a mail, a facet.
const WHERE_DATA_DECIDES: &str = r#"
[[operations]]
include-operation-id = ["Record_CreateRecord", "Record_UpdateRecord", "Record_ListRecords", "Search_Search", "Session_VerifyEmail", "Niche_ActivateNiche", "Session_Register", "Session_Refresh", "Tenant_CreateTenant"]
checks.positive_data_acceptance.enabled = false
"#;

fn run(command: &mut Command) {
    let status = command
        .status()
        .unwrap_or_else(|error| panic!("{command:?}: {error}"));
    assert!(status.success(), "{command:?} ended with {status}");
}

/// The number of cases, and whether there was nothing to object.
fn judge_run(judge: &Path, base_url: &str, run: &Run<'_>) -> (u64, bool) {
    std::fs::create_dir_all(REPORTS).unwrap();
    let report = format!("{REPORTS}/{}.json", run.name);
    let mut settings = std::fs::read_to_string(format!("{FOLDER}/schemathesis.toml")).unwrap();
    settings += run.known;
    let config = format!("{REPORTS}/{}.toml", run.name);
    std::fs::write(&config, settings).unwrap();
    let mut command = Command::new(judge);
    command
        .args(["--config-file", &config, "run"])
        .args([PUBLISHED, "--report-json-path", &report])
        .args(["--report", "json", "--no-color", "--url", base_url])
        .args(run.args)
        .current_dir(REPORTS);
    if run.known.is_empty() {
        command.args(["--exclude-checks", "positive_data_acceptance"]);
    }
    if let Some(token) = run.token {
        command.args(["--header", &format!("Authorization: Bearer {token}")]);
    }
    let output = command.output().unwrap();
    let log = format!("{REPORTS}/{}.log", run.name);
    std::fs::write(&log, [output.stdout, output.stderr].concat()).unwrap();
    let report: Value = serde_json::from_slice(&std::fs::read(&report).unwrap()).unwrap();
    (cases_of(&report), output.status.success())
}

fn cases_of(report: &Value) -> u64 {
    report["test_cases"]["generated"].as_u64().unwrap()
}
