//! Clients that go away at any byte and any moment: nothing stays open, nothing acknowledged is lost or doubled, nobody gets somebody else's answer.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use sqlx::postgres::PgConnection;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use campaign::{Extent, Platform};

use super::dice::Dice;
use super::two_houses::{House, RECORDS, two_houses};

/// Clients at the same time; more than there are connections to the database.
const CLIENTS: u64 = 12;
/// Longer than an answer usually takes, so that some clients leave before it and some after.
const STAYS_AT_MOST_US: u64 = 12_000;
/// What a platform at rest may have grown by; the long form sends a hundred times as many requests as the short one.
const GROWTH_MAX_BYTES: u64 = 96 * 1024 * 1024;

struct Customer {
    address: String,
    house: Arc<House>,
    /// In no answer that this customer gets.
    foreign: [String; 2],
    known: Vec<String>,
    dice: Dice,
    label: String,
    /// Names of records whose creation was acknowledged, with their ids.
    acknowledged: BTreeMap<String, String>,
    answered: u64,
}

impl Customer {
    async fn visit(&mut self, requests: u64) {
        for n in 0..requests {
            let name = format!("{}-{n}", self.label);
            let request = self.request(&name);
            let answer = self.send(&request).await;
            let text = String::from_utf8_lossy(&answer);
            for foreign in &self.foreign {
                assert!(!text.contains(foreign), "{foreign} in the answer to {name}");
            }
            let Some((head, body)) = text.split_once("\r\n\r\n") else {
                continue;
            };
            self.answered += 1;
            assert!(!head.starts_with("HTTP/1.1 500"), "{text}");
            let whole: Option<serde_json::Value> = serde_json::from_str(body).ok();
            if let (true, Some(body)) = (head.starts_with("HTTP/1.1 201"), whole) {
                let id = body["data"]["id"].as_str().unwrap().to_owned();
                self.known.push(id.clone());
                self.acknowledged.insert(name, id);
            }
        }
    }

    fn request(&mut self, name: &str) -> Vec<u8> {
        let pick = usize::try_from(self.dice.below(self.known.len() as u64)).unwrap();
        let known = &self.known[pick];
        let (line, body) = match self.dice.below(5) {
            0 => (format!("GET {RECORDS}/{known}"), String::new()),
            1 => (format!("GET {RECORDS}?limit=20"), String::new()),
            2 => {
                let change = format!("{{\"data\": {{\"version\": \"{name}\"}}}}");
                (format!("PATCH {RECORDS}/{known}"), change)
            }
            _ => (
                format!("POST {RECORDS}"),
                self.house.package(name).to_string(),
            ),
        };
        let mut head = format!(
            "{line} HTTP/1.1\r\nhost: {}\r\nauthorization: Bearer {}\r\nconnection: close\r\n",
            self.address, self.house.token
        );
        if !body.is_empty() {
            head.push_str(&format!(
                "content-type: application/json\r\ncontent-length: {}\r\n",
                body.len()
            ));
        }
        format!("{head}\r\n{body}").into_bytes()
    }

    /// Sends, and leaves in one of several ways; answers what was received until then.
    async fn send(&mut self, request: &[u8]) -> Vec<u8> {
        let mut stream = TcpStream::connect(&self.address).await.unwrap();
        stream.set_nodelay(true).unwrap();
        let mut answer = Vec::new();
        let manner = self.dice.below(5);
        if manner == 0 {
            let part = usize::try_from(self.dice.below(request.len() as u64)).unwrap();
            // The gateway may hang up first; that is its right.
            let _ = stream.write_all(&request[..part]).await;
            return answer;
        }
        stream.write_all(request).await.unwrap();
        let moment = Duration::from_micros(self.dice.below(STAYS_AT_MOST_US));
        match manner {
            // Leaves without a look.
            1 => {
                // sleeps because the client is to leave at some moment of the work on its request
                tokio::time::sleep(moment).await;
            }
            // Leaves by a reset instead of a goodbye.
            2 => {
                // sleeps because the client is to leave at some moment of the work on its request
                tokio::time::sleep(moment).await;
                stream.set_zero_linger().unwrap();
            }
            // Leaves in the middle of the answer.
            3 => {
                let part = usize::try_from(1 + self.dice.below(600)).unwrap();
                answer.resize(part, 0);
                let read = stream.read(&mut answer).await.unwrap_or(0);
                answer.truncate(read);
            }
            _ => {
                stream.read_to_end(&mut answer).await.unwrap();
            }
        }
        answer
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn clients_that_leave_at_any_moment_leave_nothing_behind() {
    let extent = Extent::of_this_run();
    let requests = extent.pick(240, 20_000) / CLIENTS;
    let mut dice = Dice::of_this_run("disconnect");
    let (platform, houses) = two_houses().await;
    let houses = houses.map(Arc::new);
    let mut admin = platform.db.admin().await;
    let mut known = Vec::new();
    for house in &houses {
        known.push(vec![
            house.create("first").await,
            house.create("second").await,
        ]);
    }
    let customers = (0..CLIENTS).map(|n| {
        let (own, other) = if n % 2 == 0 { (0, 1) } else { (1, 0) };
        Customer {
            address: platform.base_url.trim_start_matches("http://").to_owned(),
            house: Arc::clone(&houses[own]),
            foreign: [
                houses[other].canary.clone(),
                houses[other].tenant_id.clone(),
            ],
            known: known[own].clone(),
            dice: dice.split(),
            label: format!("c{n}"),
            acknowledged: BTreeMap::new(),
            answered: 0,
        }
    });
    let mut customers: Vec<Customer> = customers.collect();
    // Caches and pools have their size after some traffic, which is not what this measures.
    visit_all(&mut customers, "warm", extent.pick(4, 200)).await;
    at_rest(&mut admin).await;
    let before = resident_bytes();
    visit_all(&mut customers, "visit", requests).await;
    at_rest(&mut admin).await;
    let after = resident_bytes();

    let acknowledged: usize = customers.iter().map(|c| c.acknowledged.len()).sum();
    let answered: u64 = customers.iter().map(|c| c.answered).sum();
    extent.tell("disconnect: requests", requests * CLIENTS);
    extent.tell("disconnect: answers read", answered);
    extent.tell("disconnect: acknowledged creations", acknowledged);
    extent.tell("disconnect: resident MiB before", before >> 20);
    extent.tell("disconnect: resident MiB after", after >> 20);
    assert!(acknowledged > 0);
    assert!(
        after.saturating_sub(before) < GROWTH_MAX_BYTES,
        "{before} {after}"
    );
    for customer in &customers {
        written_once(&mut admin, customer).await;
    }
    serves_everybody(&platform, &houses).await;
    platform.stop().await;
}

async fn visit_all(customers: &mut [Customer], label: &str, requests: u64) {
    let visits = customers.iter_mut().enumerate().map(|(n, customer)| {
        customer.label = format!("{label}{n}");
        customer.visit(requests)
    });
    futures::future::join_all(visits).await;
}

/// Waits until no session of a service is within a transaction, and says which is if one stays.
async fn at_rest(admin: &mut PgConnection) {
    let mut left: Vec<(String, Option<String>)> = Vec::new();
    for _ in 0..200 {
        left = sqlx::query_as(
            "select coalesce(state, '') || ': ' || left(query, 200), usename::text from pg_stat_activity \
             where datname = current_database() and pid <> pg_backend_pid() and state <> 'idle' and usename like '%\\_app'",
        )
        .fetch_all(&mut *admin)
        .await
        .unwrap();
        if left.is_empty() {
            return;
        }
        // sleeps because the sessions belong to others and end their work by themselves
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("transactions stay open: {left:?}");
}

/// Each acknowledged record is there once, under the id that was told; an unacknowledged one at most once.
async fn written_once(admin: &mut PgConnection, customer: &Customer) {
    let rows: Vec<(String, String, i64)> = sqlx::query_as(
        "select natural_key, min(id::text), count(*) from niche.records where tenant_id = $1::uuid group by natural_key",
    )
    .bind(&customer.house.tenant_id)
    .fetch_all(admin)
    .await
    .unwrap();
    let rows: BTreeMap<String, (String, i64)> = rows
        .into_iter()
        .map(|(name, id, count)| (name, (id, count)))
        .collect();
    for (name, (_, count)) in &rows {
        assert_eq!(*count, 1, "{name}");
    }
    for (name, id) in &customer.acknowledged {
        let found = rows.get(name);
        assert_eq!(found, Some(&(id.clone(), 1)), "{name} was acknowledged");
    }
}

/// After all that, more requests at once than there are connections are served.
async fn serves_everybody(platform: &Platform, houses: &[Arc<House>; 2]) {
    let asks = (0..16).map(|n| {
        let house = &houses[n % 2];
        async move {
            house
                .client
                .status(&format!("{RECORDS}?limit=5"))
                .await
                .unwrap()
        }
    });
    for status in futures::future::join_all(asks).await {
        assert_eq!(status, reqwest::StatusCode::OK, "{}", platform.base_url);
    }
}

fn resident_bytes() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status
        .lines()
        .find(|line| line.starts_with("VmRSS:"))
        .unwrap();
    let kib: u64 = line.split_whitespace().nth(1).unwrap().parse().unwrap();
    kib * 1024
}
