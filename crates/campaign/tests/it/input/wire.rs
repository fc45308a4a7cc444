//! Bytes to the public port and back, without a library that would mend them.

use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::timeout;

/// After so much silence nothing more comes, and a second answer would have come.
const SILENCE: Duration = Duration::from_millis(700);

/// One answer of the server.
#[derive(Debug, PartialEq, Eq)]
pub struct Answer {
    pub status: u16,
    /// Names in lower case.
    pub headers: Vec<(String, String)>,
    pub body: String,
}

impl Answer {
    pub fn header(&self, name: &str) -> &str {
        self.headers
            .iter()
            .find(|(known, _)| known == name)
            .map_or("", |(_, value)| value)
    }

    /// The public code of a problem, both envelopes checked; empty for a success.
    pub fn code(&self) -> String {
        if self.status < 400 {
            return String::new();
        }
        assert_eq!(
            self.header("content-type"),
            "application/problem+json",
            "{self:?}"
        );
        let body: serde_json::Value =
            serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error}: {self:?}"));
        assert_eq!(body["status"], self.status, "{self:?}");
        body["error"]["code"].as_str().unwrap().to_owned()
    }
}

/// All that came back on a connection.
#[derive(Debug)]
pub struct Exchange {
    pub answers: Vec<Answer>,
    /// Whether the server closed the connection.
    pub closed: bool,
}

impl Exchange {
    pub fn statuses(&self) -> Vec<u16> {
        self.answers.iter().map(|answer| answer.status).collect()
    }
}

/// Sends bytes and gathers what comes back until the server closes or falls silent.
pub async fn talk(address: SocketAddr, bytes: &[u8]) -> Exchange {
    let mut stream = TcpStream::connect(address).await.unwrap();
    let (mut reader, mut writer) = stream.split();
    let mut heard = Vec::new();
    let mut closed = false;
    let sending = async {
        // The server may refuse and close before it has read everything.
        let _ = writer.write_all(bytes).await;
    };
    let hearing = async {
        let mut part = vec![0; 64 * 1024];
        let mut patience = Duration::from_secs(20);
        while let Ok(read) = timeout(patience, reader.read(&mut part)).await {
            match read {
                Ok(0) | Err(_) => {
                    closed = true;
                    break;
                }
                Ok(count) => heard.extend_from_slice(&part[..count]),
            }
            patience = SILENCE;
        }
    };
    tokio::join!(sending, hearing);
    Exchange {
        answers: answers(&heard),
        closed,
    }
}

/// What comes back until the server closes.
pub async fn answer_of(stream: &mut TcpStream) -> Answer {
    let mut heard = Vec::new();
    stream.read_to_end(&mut heard).await.unwrap();
    answers(&heard).pop().unwrap()
}

/// A request that is beyond reproach, with more header lines.
pub fn get(path: &str, lines: &str) -> Vec<u8> {
    format!("GET {path} HTTP/1.1\r\nHost: tenantry.test\r\n{lines}\r\n").into_bytes()
}

/// The same as the last one of its connection.
pub fn get_once(path: &str, lines: &str) -> Vec<u8> {
    get(path, &format!("Connection: close\r\n{lines}"))
}

/// Splits a stream of answers; fails when a byte belongs to none.
fn answers(mut bytes: &[u8]) -> Vec<Answer> {
    let mut answers = Vec::new();
    while !bytes.is_empty() {
        let text = String::from_utf8_lossy(bytes);
        let end = text
            .find("\r\n\r\n")
            .unwrap_or_else(|| panic!("an answer without an end: {text}"));
        let (head, rest) = (text[..end].to_owned(), &bytes[end + 4..]);
        let mut lines = head.split("\r\n");
        let status_line = lines.next().unwrap();
        let status = status_line[9..12].parse().unwrap();
        let headers: Vec<(String, String)> = lines
            .filter_map(|line| line.split_once(':'))
            .map(|(name, value)| (name.to_lowercase(), value.trim().to_owned()))
            .collect();
        let length = headers
            .iter()
            .find(|(name, _)| name == "content-length")
            .map_or(0, |(_, value)| value.parse().unwrap());
        let length: usize = if status == 100 { 0 } else { length };
        answers.push(Answer {
            status,
            headers,
            body: String::from_utf8_lossy(&rest[..length.min(rest.len())]).into_owned(),
        });
        bytes = &rest[length.min(rest.len())..];
    }
    answers
}

/// The server lives, and answers a fresh connection with what was asked for.
pub async fn canary(address: SocketAddr, after: &str) {
    let exchange = talk(address, &get_once("/health/live", "")).await;
    assert_eq!(exchange.statuses(), [200], "after {after}: {exchange:?}");
    assert_eq!(
        exchange.answers[0].body, r#"{"status":"live"}"#,
        "after {after}"
    );
}
