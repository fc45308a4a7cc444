//! The moments at which each process is killed.

/// A command of a service: before it is permanent, and permanent but not answered.
const COMMAND: [&str; 2] = ["db::before_commit", "db::after_commit"];
/// The way of an event out of the outbox: not yet sent, sent but not confirmed, confirmed, about to be put aside.
const RELAY: [&str; 4] = [
    "relay.before_publish",
    "relay.before_confirm",
    "relay.after_publish",
    "relay.before_delete",
];
/// The way of an event through a consumer: just come, its effect not yet permanent, permanent but not acknowledged.
const CONSUMER: [&str; 4] = [
    "consumer.before_handler",
    "db::before_commit",
    "db::after_commit",
    "consumer.before_ack",
];

/// Where a process of this name can die; it comes to each of them by itself while there is work. None for one that only reads.
pub fn of(process: &str) -> Vec<&'static str> {
    let (service, is_worker) = match process.split_once('-') {
        Some((service, "worker")) => (service, true),
        Some((service, _)) => (service, false),
        None => (process, false),
    };
    match (service, is_worker) {
        ("gateway", _) => vec!["gateway.before_answer"],
        ("niche", true) => [&CONSUMER[..], &["import.between_batches"]].concat(),
        // Hears of tenants; what the service has told it already it need not write.
        ("auth", true) => vec!["consumer.before_handler", "consumer.before_ack"],
        // Its outbox is filled by its worker, which also empties it.
        ("search", true) => [&CONSUMER[..], &RELAY[..]].concat(),
        ("search", false) => Vec::new(),
        (_, true) => CONSUMER.to_vec(),
        (_, false) => [&COMMAND[..], &RELAY[..]].concat(),
    }
}

#[test]
fn every_process_has_a_point_of_its_own() {
    for process in [
        "auth",
        "tenant-worker",
        "niche-worker",
        "search-worker",
        "gateway-2",
    ] {
        assert!(!of(process).is_empty(), "{process}");
    }
}
