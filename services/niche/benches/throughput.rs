//! How fast rows are mapped, checked and written: `cargo bench -p niche`. Needs the test servers.

use std::time::Instant;

use kernel::{Clock, Locale};
use niche::forms::EntityForm;
use niche::kits::Kits;
use niche::mappings::RowMapper;
use niche::records::{Target, write_batch};
use niche::{App, Config};
use runtime::settings::Profile;
use runtime::{Process, Reader};
use serde_json::{Value, json};
use testkit::{ANN, TENANT_A, TestDb};

const ROWS: usize = 20_000;
const BATCH: usize = 500;

fn main() {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .expect("this machine has threads");
    let kit = Kits::embedded()
        .expect("the kits are sound")
        .get("software-catalog", "")
        .expect("the kit ships");
    let form =
        EntityForm::compile(&kit.entities["packages"], &kit.taxonomies).expect("the form compiles");
    let rows: Vec<Vec<String>> = (0..ROWS).map(row).collect();

    let mapper = RowMapper::new(&form, form.entity.import_mappings.first(), HEADER);
    let records: Vec<Value> = timed("map a row", || {
        rows.iter()
            .map(|row| mapper.record(|i| row.get(i).map(String::as_str)))
            .collect()
    });
    let sound = timed("check a sound row", || {
        records
            .iter()
            .filter(|r| form.check(r, Locale::En).is_empty())
            .count()
    });
    assert_eq!(sound, ROWS);
    let broken: Vec<Value> = records.iter().map(|r| broken(r.clone())).collect();
    let problems: usize = timed("check a broken row", || {
        broken
            .iter()
            .map(|r| form.check(r, Locale::PtBr).len())
            .sum()
    });
    assert_eq!(problems, 3 * ROWS);
    runtime.block_on(write(&form, records));
}

const HEADER: [&str; 12] = [
    "Package",
    "Version",
    "Section",
    "Priority",
    "Architecture",
    "Installed-Size",
    "Homepage",
    "Maintainer",
    "Summary",
    "Description",
    "Tag",
    "Unused",
];

fn row(i: usize) -> Vec<String> {
    let sections = ["web", "libs", "database", "admin", "python", "doc"];
    [
        &format!("package-{i}"), "1:2.3-4+deb12u1", sections[i % 6], "optional", "amd64", "1234", "https://example.org/package",
        "Debian Example Team <team+example@tracker.debian.org>", "a package of the benchmark with a summary",
        "A package that exists to be written.\nIt has a description of two lines, about as long as those of real packages are.",
        "role::program, use::storing, interface::commandline", "",
    ]
    .iter()
    .map(|cell| (*cell).to_owned())
    .collect()
}

fn broken(mut record: Value) -> Value {
    record["homepage"] = json!("nowhere");
    record["installed_size"] = json!("many");
    record["colour"] = json!("red");
    record
}

fn timed<T>(what: &str, work: impl FnOnce() -> T) -> T {
    let start = instant();
    let done = work();
    say(what, start.elapsed().as_secs_f64());
    done
}

async fn write(form: &EntityForm, records: Vec<Value>) {
    let db = TestDb::new("niche", &niche::MIGRATOR).await;
    let process = Process::new("niche", Profile::Dev, Clock::system());
    let mut reader = Reader::from_map([
        ("TENANTRY_PROFILE", "dev"),
        ("NICHE_DB_URL", "postgres://niche_app:x@localhost/x"),
        ("NICHE_DB_RELAY_URL", "postgres://niche_relay:x@localhost/x"),
        ("CURSOR_KEY", "a cursor key for benchmarks, 32 characters"),
    ]);
    let config = Config {
        db: db.config(),
        keyring: testkit::keyring("niche"),
        ..Config::read(&mut reader)
    };
    let app = App::connect(&config, &process)
        .await
        .expect("the test database takes its role");
    let ctx = testkit::context().user(ANN).tenant(TENANT_A).build();
    let target = Target {
        niche: "software-catalog",
        entity: "packages",
        form,
    };
    for what in ["write a new row", "write an equal row"] {
        let start = instant();
        for batch in records.chunks(BATCH) {
            let mut tx = app.db.tenant(&ctx).await.expect("the database answers");
            write_batch(&app, &mut tx, target, batch.to_vec())
                .await
                .expect("the batch is written");
            tx.commit().await.expect("the batch is committed");
        }
        say(what, start.elapsed().as_secs_f64());
    }
    let changed: Vec<Value> = records
        .into_iter()
        .map(|mut r| {
            r["section"] = json!("games");
            r
        })
        .collect();
    let start = instant();
    for batch in changed.chunks(BATCH) {
        let mut tx = app.db.tenant(&ctx).await.expect("the database answers");
        write_batch(&app, &mut tx, target, batch.to_vec())
            .await
            .expect("the batch is written");
        tx.commit().await.expect("the batch is committed");
    }
    say("write a changed row", start.elapsed().as_secs_f64());
}

fn instant() -> Instant {
    Clock::system().instant()
}

#[expect(
    clippy::print_stdout,
    reason = "figures on standard output are what a benchmark is for"
)]
fn say(what: &str, seconds: f64) {
    println!(
        "{what:24} {:8.2} us  {:9.0} rows/s",
        seconds * 1e6 / ROWS as f64,
        ROWS as f64 / seconds
    );
}
