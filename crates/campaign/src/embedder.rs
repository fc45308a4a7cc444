//! An embedder that speaks real HTTP and misbehaves on command.

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicUsize, Ordering};
use std::time::Duration;

use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

/// How it answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Mood {
    /// As it should.
    Well,
    /// 500.
    Failing,
    /// Longer than anybody waits.
    Slow,
    /// Vectors of another model.
    Wide,
    /// No JSON at all.
    Garbled,
}

/// A running embedder. Ends with this value.
pub struct FakeEmbedder {
    /// Its base URL, as `SEARCH_EMBEDDER_URL` takes it.
    pub url: String,
    mood: Arc<AtomicU8>,
    calls: Arc<AtomicUsize>,
    _serving: JoinSet<()>,
}

impl FakeEmbedder {
    /// Listens on a free port.
    pub async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/v1", listener.local_addr().unwrap());
        let mood = Arc::new(AtomicU8::new(Mood::Well as u8));
        let calls = Arc::new(AtomicUsize::new(0));
        let mut serving = JoinSet::new();
        let (its_mood, its_calls) = (Arc::clone(&mood), Arc::clone(&calls));
        serving.spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                let (mood, calls) = (Arc::clone(&its_mood), Arc::clone(&its_calls));
                // A client that goes away ends its connection, which is of no interest here.
                connections.spawn(async move { drop(serve(stream, &mood, &calls).await) });
                while connections.try_join_next().is_some() {}
            }
        });
        Self {
            url,
            mood,
            calls,
            _serving: serving,
        }
    }

    /// Changes how it answers from now on.
    pub fn be(&self, mood: Mood) {
        self.mood.store(mood as u8, Ordering::SeqCst);
    }

    /// Calls so far.
    pub fn calls(&self) -> usize {
        self.calls.load(Ordering::SeqCst)
    }
}

async fn serve(stream: TcpStream, mood: &AtomicU8, calls: &AtomicUsize) -> std::io::Result<()> {
    let mut stream = BufReader::new(stream);
    loop {
        let mut length = 0;
        loop {
            let mut line = String::new();
            if stream.read_line(&mut line).await? == 0 {
                return Ok(());
            }
            if let Some(value) = line.to_ascii_lowercase().strip_prefix("content-length:") {
                length = value.trim().parse().unwrap_or(0);
            }
            if line.trim().is_empty() {
                break;
            }
        }
        let mut body = vec![0; length];
        stream.read_exact(&mut body).await?;
        calls.fetch_add(1, Ordering::SeqCst);
        let mood = mood.load(Ordering::SeqCst);
        if mood == Mood::Slow as u8 {
            // sleeps because slowness is what is proved
            tokio::time::sleep(Duration::from_secs(30)).await;
        }
        let (status, answer) = answer(mood, &body);
        let head = format!(
            "HTTP/1.1 {status}\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n",
            answer.len()
        );
        stream.write_all(head.as_bytes()).await?;
        stream.write_all(answer.as_bytes()).await?;
    }
}

fn answer(mood: u8, body: &[u8]) -> (&'static str, String) {
    if mood == Mood::Failing as u8 {
        return ("500 Internal Server Error", "{}".to_owned());
    }
    if mood == Mood::Garbled as u8 {
        return ("200 OK", "<html>welcome to the proxy</html>".to_owned());
    }
    let request: Value = serde_json::from_slice(body).unwrap_or_default();
    let texts = request["input"].as_array().cloned().unwrap_or_default();
    let rows: Vec<Value> = texts
        .iter()
        .enumerate()
        .map(|(index, text)| {
            let mut vector = search::lexical::embed(text.as_str().unwrap_or_default());
            if mood == Mood::Wide as u8 {
                vector.resize(1536, 0.1);
            }
            json!({"index": index, "embedding": vector})
        })
        .collect();
    ("200 OK", json!({"data": rows}).to_string())
}
