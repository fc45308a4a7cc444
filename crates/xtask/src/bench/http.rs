//! HTTP/1.1 over one kept connection: just enough to load a server without spending much on it.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use serde_json::Value;

const PATIENCE: Duration = Duration::from_secs(60);

/// What was answered.
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) body: Vec<u8>,
}

/// A connection that is kept between requests.
pub(super) struct Connection {
    stream: TcpStream,
    buffer: Vec<u8>,
}

impl Connection {
    pub(super) fn open(address: &str) -> Result<Self> {
        let stream =
            TcpStream::connect(address).with_context(|| format!("cannot reach {address}"))?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        Ok(Self {
            stream,
            buffer: Vec::with_capacity(16 * 1024),
        })
    }

    /// Sends a request that [`request`] made and reads its answer.
    pub(super) fn exchange(&mut self, request: &[u8]) -> Result<Answer> {
        self.stream.write_all(request)?;
        self.buffer.clear();
        let head = loop {
            if let Some(head) = Head::read(&self.buffer)? {
                break head;
            }
            self.fill()?;
        };
        let ends = head.bytes + head.body_bytes;
        while self.buffer.len() < ends {
            self.fill()?;
        }
        Ok(Answer {
            status: head.status,
            body: self.buffer[head.bytes..ends].to_vec(),
        })
    }

    fn fill(&mut self) -> Result<()> {
        let mut part = [0_u8; 16 * 1024];
        let count = self.stream.read(&mut part)?;
        if count == 0 {
            bail!("the platform closed the connection");
        }
        self.buffer.extend_from_slice(&part[..count]);
        Ok(())
    }
}

/// The head of an answer.
#[derive(Clone, Copy)]
pub(super) struct Head {
    pub(super) status: u16,
    pub(super) has_retry_after: bool,
    /// How long it is itself, and how long the body after it.
    pub(super) bytes: usize,
    pub(super) body_bytes: usize,
}

impl Head {
    /// Reads it; nothing while it is not complete.
    pub(super) fn read(buffer: &[u8]) -> Result<Option<Self>> {
        let Some(at) = find(buffer, b"\r\n\r\n") else {
            return Ok(None);
        };
        let text =
            std::str::from_utf8(&buffer[..at]).context("the head of an answer is not text")?;
        let status = text
            .get(9..12)
            .and_then(|digits| digits.parse().ok())
            .context("no status line")?;
        let length = header(text, "content-length").and_then(|text| text.parse().ok());
        let body_bytes = match (length, status) {
            (Some(length), _) => length,
            (None, 204 | 304) => 0,
            (None, _) => bail!("an answer without a length: {text}"),
        };
        Ok(Some(Self {
            status,
            has_retry_after: header(text, "retry-after").is_some(),
            bytes: at + 4,
            body_bytes,
        }))
    }
}

/// The bytes of a request.
pub(super) fn request(line: &str, token: Option<&str>, content: Option<(&str, &[u8])>) -> Vec<u8> {
    let mut head = format!("{line} HTTP/1.1\r\nhost: bench\r\n");
    if let Some(token) = token {
        head.push_str(&format!("authorization: Bearer {token}\r\n"));
    }
    let body = match content {
        None => &[][..],
        Some((media_type, body)) => {
            head.push_str(&format!(
                "content-type: {media_type}\r\ncontent-length: {}\r\n",
                body.len()
            ));
            body
        }
    };
    head.push_str("\r\n");
    [head.as_bytes(), body].concat()
}

/// A caller of the API.
#[derive(Clone)]
pub(super) struct Caller {
    pub(super) address: String,
    pub(super) token: Option<String>,
}

impl Caller {
    pub(super) fn get(&self, path: &str) -> Result<Value> {
        self.json(&format!("GET {path}"), None)
    }

    pub(super) fn post(&self, path: &str, body: &Value) -> Result<Value> {
        self.json(
            &format!("POST {path}"),
            Some(("application/json", body.to_string().as_bytes())),
        )
    }

    /// Sends a file.
    pub(super) fn upload(&self, path: &str, csv: &[u8]) -> Result<Value> {
        self.json(&format!("POST {path}"), Some(("text/csv", csv)))
    }

    fn json(&self, line: &str, content: Option<(&str, &[u8])>) -> Result<Value> {
        let answer = Connection::open(&self.address)?.exchange(&request(
            line,
            self.token.as_deref(),
            content,
        ))?;
        let text = String::from_utf8_lossy(&answer.body);
        if !(200..300).contains(&answer.status) {
            bail!("{line} answered {}: {text}", answer.status);
        }
        if text.is_empty() {
            return Ok(Value::Null);
        }
        serde_json::from_str(&text)
            .with_context(|| format!("{line} answered something else than JSON"))
    }
}

fn find(bytes: &[u8], wanted: &[u8]) -> Option<usize> {
    bytes
        .windows(wanted.len())
        .position(|window| window == wanted)
}

fn header<'h>(head: &'h str, name: &str) -> Option<&'h str> {
    let mut lines = head.lines().filter_map(|line| line.split_once(':'));
    lines
        .find(|(known, _)| known.eq_ignore_ascii_case(name))
        .map(|(_, value)| value.trim())
}

#[cfg(test)]
mod tests {
    use std::io::{Read as _, Write as _};
    use std::net::TcpListener;

    use super::*;

    #[test]
    fn answers_are_read_whole_and_the_connection_is_kept() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let server = std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut seen = [0_u8; 1024];
            for answer in [
                "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello",
                "HTTP/1.1 204 No Content\r\n\r\n",
            ] {
                let count = stream.read(&mut seen).unwrap();
                assert!(seen[..count].ends_with(b"\r\n\r\n"));
                let (one, two) = answer.split_at(answer.len() - 2);
                stream.write_all(one.as_bytes()).unwrap();
                stream.write_all(two.as_bytes()).unwrap();
            }
        });
        let mut connection = Connection::open(&address).unwrap();
        let wanted = request("GET /", Some("t"), None);
        let first = connection.exchange(&wanted).unwrap();
        assert_eq!((first.status, first.body), (200, b"hello".to_vec()));
        assert_eq!(connection.exchange(&wanted).unwrap().status, 204);
        server.join().unwrap();
    }
}
