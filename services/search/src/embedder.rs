//! Texts into vectors.

use std::time::Duration;

use kernel::{Error, ErrorCode, Result};
use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Serialize};

use crate::lexical;

/// The width of the vectors in the index. A model that answers another width is refused: mixed widths cannot be compared.
pub const DIMENSIONS: usize = 384;
/// Texts in one call to an embedding endpoint.
pub const TEXTS_PER_CALL_MAX: usize = 100;

/// Turns texts into unit vectors of [`DIMENSIONS`] numbers.
#[derive(Clone)]
pub enum Embedder {
    /// Works offline and without a download. It compares words and parts of words, not meaning, and its name says so.
    Lexical,
    /// Any endpoint that speaks the OpenAI embeddings API.
    Http(HttpEmbedder),
}

/// An endpoint that speaks the OpenAI embeddings API: `POST {base_url}/embeddings`.
#[derive(Clone)]
pub struct HttpEmbedder {
    /// Without a trailing slash, for example `https://api.openai.com/v1`.
    pub base_url: String,
    /// The name of the model, as the endpoint knows it.
    pub model: String,
    /// Sent as a bearer token when there is one.
    pub api_key: Option<SecretString>,
    /// A client with time limits and without redirects.
    pub client: reqwest::Client,
}

#[derive(Serialize)]
struct EmbeddingsRequest<'a> {
    model: &'a str,
    input: &'a [&'a str],
    dimensions: usize,
}

#[derive(Deserialize)]
struct EmbeddingsResponse {
    data: Vec<EmbeddingRow>,
}

#[derive(Deserialize)]
struct EmbeddingRow {
    index: usize,
    embedding: Vec<f32>,
}

impl Embedder {
    /// The model's name as it is stored with each vector; vectors of different models are never compared.
    pub fn model(&self) -> &str {
        match self {
            Self::Lexical => lexical::MODEL,
            Self::Http(http) => &http.model,
        }
    }

    /// Whether it works within this process, where there is nothing to wait for and nothing to fail.
    pub fn is_local(&self) -> bool {
        matches!(self, Self::Lexical)
    }

    /// One unit vector for each text, in order. At most [`TEXTS_PER_CALL_MAX`] texts.
    ///
    /// Fails with `Unavailable` when the endpoint is down, slow or answers something else than asked for.
    pub async fn embed(&self, texts: &[&str]) -> Result<Vec<Vec<f32>>> {
        match self {
            // A query's words take a few microseconds; a hundred passages would hold up every request on this thread.
            Self::Lexical if texts.len() == 1 => Ok(vec![lexical::embed(texts[0])]),
            Self::Lexical => {
                let texts: Vec<String> = texts.iter().map(|&text| text.to_owned()).collect();
                let work = move || texts.iter().map(|text| lexical::embed(text)).collect();
                tokio::task::spawn_blocking(work)
                    .await
                    .map_err(Error::internal)
            }
            Self::Http(http) => http.embed(texts).await,
        }
    }
}

impl HttpEmbedder {
    /// A client for an endpoint: 2 s to connect, `timeout` in all, no redirects (they could lead into the private network).
    pub fn new(
        base_url: &str,
        model: &str,
        api_key: Option<SecretString>,
        timeout: Duration,
    ) -> Result<Self> {
        let client = reqwest::Client::builder()
            .connect_timeout(Duration::from_secs(2))
            .timeout(timeout)
            .redirect(reqwest::redirect::Policy::none())
            .build()
            .map_err(Error::internal)?;
        Ok(Self {
            base_url: base_url.trim_end_matches('/').to_owned(),
            model: model.to_owned(),
            api_key,
            client,
        })
    }

    async fn embed(&self, texts: &[&str]) -> Result<Vec<Vec<f32>>> {
        let body = EmbeddingsRequest {
            model: &self.model,
            input: texts,
            dimensions: DIMENSIONS,
        };
        let mut request = self
            .client
            .post(format!("{}/embeddings", self.base_url))
            .json(&body);
        if let Some(key) = &self.api_key {
            request = request.bearer_auth(key.expose_secret());
        }
        let response = request
            .send()
            .await
            .map_err(|error| Error::unavailable("embedder", error))?;
        let status = response.status();
        if !status.is_success() {
            return Err(Error::unavailable(
                "embedder",
                std::io::Error::other(format!("the embedder answered {status}")),
            ));
        }
        let answer: EmbeddingsResponse = response
            .json()
            .await
            .map_err(|error| Error::unavailable("embedder", error))?;
        check_answer(answer, texts.len())
    }
}

/// Brings the rows into the order of the texts and refuses whatever is not one vector of the right width for each.
fn check_answer(answer: EmbeddingsResponse, expected: usize) -> Result<Vec<Vec<f32>>> {
    let mut rows: Vec<Option<Vec<f32>>> = vec![None; expected];
    for row in answer.data {
        if row.embedding.len() != DIMENSIONS {
            let width = row.embedding.len();
            return Err(wrong_answer(format!(
                "the embedder answered {width} dimensions, the index has {DIMENSIONS}"
            )));
        }
        let place = rows.get_mut(row.index).ok_or_else(|| {
            wrong_answer("the embedder answered a text that was not asked for".into())
        })?;
        *place = Some(unit(row.embedding).ok_or_else(|| {
            wrong_answer("the embedder answered a vector without direction".into())
        })?);
    }
    rows.into_iter()
        .collect::<Option<Vec<_>>>()
        .ok_or_else(|| wrong_answer("the embedder left out some of the texts".into()))
}

fn wrong_answer(what: String) -> Error {
    Error::new(
        ErrorCode::ServiceUnavailable,
        "search.embedder_wrong_answer",
        "the embedding service gave an unusable answer",
    )
    .caused_by(std::io::Error::other(what))
}

/// Scales to length 1; `None` for a zero or non-finite vector, which has no direction.
pub fn unit(mut vector: Vec<f32>) -> Option<Vec<f32>> {
    let length = vector.iter().map(|x| x * x).sum::<f32>().sqrt();
    if !length.is_finite() || length <= f32::EPSILON {
        return None;
    }
    for x in &mut vector {
        *x /= length;
    }
    Some(vector)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(index: usize, width: usize) -> EmbeddingRow {
        EmbeddingRow {
            index,
            embedding: vec![1.0; width],
        }
    }

    fn check(rows: Vec<EmbeddingRow>, texts: usize) -> bool {
        check_answer(EmbeddingsResponse { data: rows }, texts).is_ok()
    }

    #[test]
    fn an_answer_must_be_one_vector_of_the_right_width_for_each_text() {
        assert!(check(vec![row(1, DIMENSIONS), row(0, DIMENSIONS)], 2));
        assert!(!check(vec![row(0, DIMENSIONS)], 2), "a text is missing");
        assert!(!check(vec![row(0, 1536)], 1), "too wide");
        assert!(!check(vec![row(5, DIMENSIONS)], 1), "not asked for");
        assert!(
            !check(
                vec![EmbeddingRow {
                    index: 0,
                    embedding: vec![0.0; DIMENSIONS]
                }],
                1
            ),
            "no direction"
        );
    }
}
