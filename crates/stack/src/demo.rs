//! A walk through the running platform, as a stranger would take it, over its public API alone.

mod client;
mod package_index;
mod walk;

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::Context as _;
use runtime::Reader;

pub use client::Client;
pub use package_index::{COLUMNS, sample};
pub use walk::{Outcome, Resident, Walk};

/// Tells a person what happens.
pub type Narrator = Arc<dyn Fn(&str) + Send + Sync>;

/// `stack demo`: walks with the machine's own package index and tells what happens.
pub fn main() -> ExitCode {
    let runtime = match tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
    {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("demo: cannot start: {error}");
            return ExitCode::FAILURE;
        }
    };
    match runtime.block_on(run()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("\ndemo: {error:#}");
            ExitCode::FAILURE
        }
    }
}

async fn run() -> anyhow::Result<()> {
    let mut reader = Reader::from_env();
    let listen = reader.text(
        "GATEWAY_HTTP_LISTEN",
        "127.0.0.1:8080",
        "where the platform answers",
    );
    let mail_dir = PathBuf::from(reader.text(
        "MAIL_DIR",
        ".dev/mail",
        "the folder that mails are written to",
    ));
    reader.finish()?;
    let narrator: Narrator = Arc::new(say);
    narrator("Reading this machine's Debian package index");
    let file = package_index::read().await.context("the package index")?;
    narrator(&format!(
        "  {} packages, {:.1} MB of CSV",
        file.rows,
        file.csv.len() as f64 / 1e6
    ));
    let walk = Walk {
        base_url: format!("http://{listen}"),
        mail_dir,
        csv: file.csv,
        query: "video player".to_owned(),
        section: "video".to_owned(),
        narrator,
    };
    walk.take().await?;
    Ok(())
}

#[expect(clippy::print_stdout, reason = "the demo exists to tell")]
fn say(text: &str) {
    println!("{text}");
}
