//! Threads that step back for those on which somebody waits.

use std::io;
use std::num::NonZero;
use std::time::Duration;

use crate::process::{DRAIN_MAX, Process};

/// Nice value of these threads. At 10 a thread weighs a tenth of an ordinary one: whoever answers a request goes first, and the work still
/// advances on a machine that is never idle.
const NICE: i32 = 10;

/// How much of the machine's work that nobody waits for may take at once, at least 1 and at most `max`: half of the cores. What it asks of a
/// database on the same machine takes the other half.
pub fn share_of_cores(max: u16) -> u16 {
    let cores = std::thread::available_parallelism().map_or(1, NonZero::get);
    u16::try_from(cores / 2).unwrap_or(max).clamp(1, max)
}

/// Calls `begin` on threads of lower priority; whatever it spawns runs on them too. They end when the tasks of the process have.
///
/// For a process that does both: answers requests, and works on what they leave behind.
pub fn begin(
    process: &Process,
    name: &'static str,
    begin: impl FnOnce() + Send + 'static,
) -> io::Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(usize::from(share_of_cores(u16::MAX)))
        .thread_name(name)
        .on_thread_start(step_back)
        .enable_all()
        .build()?;
    let (shutdown, tasks) = (process.shutdown.clone(), process.tasks.clone());
    std::thread::Builder::new()
        .name(name.to_owned())
        .spawn(move || {
            step_back();
            runtime.block_on(async {
                begin();
                shutdown.begun().await;
                tasks.drain(DRAIN_MAX).await;
            });
            // Blocking calls that hang must not keep a finished process alive.
            runtime.shutdown_timeout(Duration::from_millis(200));
        })?;
    Ok(())
}

/// Lowers the priority of the calling thread. On Linux, whose `setpriority` takes the null process for the thread that asks.
fn step_back() {
    #[cfg(target_os = "linux")]
    if let Err(error) = rustix::process::setpriority_process(None, NICE) {
        tracing::debug!(%error, "a thread keeps its priority");
    }
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use std::sync::mpsc;

    use kernel::Clock;

    use super::*;
    use crate::settings::Profile;

    fn nice() -> i32 {
        rustix::process::getpriority_process(None).unwrap()
    }

    #[tokio::test]
    async fn what_begins_in_the_background_steps_back_with_its_tasks_and_ends_with_the_process() {
        let process = Process::new("test", Profile::Dev, Clock::system());
        let (sender, told) = mpsc::channel();
        let tasks = process.tasks.clone();
        let before = nice();
        begin(&process, "background", move || {
            sender.send(nice()).unwrap();
            tasks.spawn("child", async move {
                sender.send(nice()).unwrap();
                let blocking = tokio::task::spawn_blocking(nice);
                sender.send(blocking.await.unwrap()).unwrap();
            });
        })
        .unwrap();
        let (told, process) =
            tokio::task::spawn_blocking(move || (told.iter().collect::<Vec<_>>(), process))
                .await
                .unwrap();
        assert_eq!(told, [NICE; 3]);
        assert_eq!(nice(), before, "the others stay as they were");
        assert!(process.stop(Duration::from_secs(5)).await);
    }

    #[test]
    fn a_share_is_never_nothing_and_never_more_than_asked_for() {
        assert_eq!(share_of_cores(1), 1);
        assert!((1..=4).contains(&share_of_cores(4)));
    }
}
