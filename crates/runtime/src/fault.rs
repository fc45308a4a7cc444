//! Fail points of a process under test.
//!
//! The points stand in the code (`fail::fail_point!`) and are nothing at all in a normal build: only a build with the feature
//! `fail/failpoints`, which the tests alone ask for, has them. Then `FAILPOINTS` gives them actions as the crate `fail` describes it, and
//! `TENANTRY_KILL_AT=<point>=<n>` ends the process by SIGKILL when it comes to the point for the n-th time.

use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};

/// The setting that names the point at which the process dies.
const KILL_AT: &str = "TENANTRY_KILL_AT";

/// Arms what the environment asks for. Without fail points this is constantly nothing, and the compiler leaves it out.
pub(crate) fn arm() {
    if fail::has_failpoints() {
        // The points stay armed as long as the process lives.
        std::mem::forget(fail::FailScenario::setup());
        if let Some(wish) = wish() {
            kill_at(&wish);
        }
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "no setting of the product: it exists in builds for fault tests alone"
)]
fn wish() -> Option<String> {
    std::env::var(KILL_AT).ok().filter(|wish| !wish.is_empty())
}

fn kill_at(wish: &str) {
    let (point, nth) = wish.rsplit_once('=').unwrap_or((wish, "1"));
    let nth: u32 = nth.parse().unwrap_or(1);
    let passed = AtomicU32::new(0);
    let armed = fail::cfg_callback(point, move || {
        if passed.fetch_add(1, Ordering::SeqCst) + 1 == nth {
            die();
        }
    });
    if let Err(problem) = armed {
        eprintln!("{KILL_AT} names no point that can be armed: {problem}");
    }
}

/// SIGKILL to ourselves, through a shell, which needs no unsafe code. Whoever came to the point never leaves it.
fn die() {
    let killing = Command::new("/bin/sh")
        .args(["-c", "kill -9 $PPID"])
        .status();
    // Only reached where there is no shell.
    drop(killing);
    std::process::abort();
}
