//! Synthetic documents in the index, written past the service: three tenants in one partition, and so in one vector index.
//!
//! Vectors are like those of sentence embedders in what matters to an index: they come in clusters, and within 384 dimensions they
//! really vary in few. Texts draw their words by Zipf's law.

use std::fmt::Write as _;

use anyhow::Result;
use sqlx::Executor as _;
use sqlx::postgres::PgConnection;

use super::database;
use super::platform::DATABASE;

/// As wide as the index.
const DIMENSIONS: usize = 384;
/// Directions in which vectors really vary.
const LATENT: usize = 16;
const CLUSTERS: usize = 200;
/// How far members lie from the middle of their cluster, in units of how far clusters lie apart.
const SPREAD: f32 = 0.5;
/// What is left in all other directions.
const NOISE: f32 = 0.02;
const WORDS: usize = 5_000;
/// Vectors that are added up to new ones, in each of two pools: twenty-five million pairs for each cluster.
const POOL: usize = 5_000;
/// Decimals of a vector's numbers as they are written.
const SCALE: f32 = 10_000.0;
/// Rows in one message of COPY.
const BATCH: usize = 1_000;
/// The built-in embedder's, or the service would not look at the vectors.
pub(super) const MODEL: &str = "lexical-hash-v1";

/// What is written between emptying and indexing. The text search vectors are built as the service builds them, and as many vectors are left out
/// of the index as the service would leave out at most.
const STAGE: &str = "create schema if not exists bench; drop table if exists bench.stage;
    create unlogged table bench.stage (tenant_id uuid, id uuid, title text, content text, vector text)";
/// The definition of a parent's index says `only`, which would leave the partitions without.
const INDEXES: &str = "select replace(indexdef, ' ON ONLY ', ' ON ') from pg_catalog.pg_indexes where schemaname = 'search' and indexname in ('idx_chunks_tsv', 'idx_embeddings_embedding')";
const FILL: &str = "
    insert into search.documents (tenant_id, id, niche, entity, title, facet_terms, record_version, content_hash, indexed_at)
    select tenant_id, id, 'software-catalog', 'packages', title, array['section:utils'], 1, sha256(content::bytea), now() from bench.stage;
    insert into search.chunks (tenant_id, document_id, ordinal, niche, entity, facet_terms, content, content_hash, tsv)
    select tenant_id, id, 0, 'software-catalog', 'packages', array['section:utils'], content, sha256(content::bytea),
           setweight(to_tsvector('pg_catalog.english', title) || to_tsvector('pg_catalog.portuguese', title), 'A')
           || to_tsvector('pg_catalog.english', content) || to_tsvector('pg_catalog.portuguese', content)
    from bench.stage;
    insert into search.embeddings (tenant_id, document_id, ordinal, niche, entity, facet_terms, content_hash, embedding, embedding_model, embedding_updated_at, walked)
    select tenant_id, id, 0, 'software-catalog', 'packages', array['section:utils'], sha256(content::bytea), vector::ext.halfvec, 'lexical-hash-v1', now(),
           records > 20000 and place > 500
    from (select *, count(*) over (partition by tenant_id) as records, row_number() over (partition by tenant_id order by id) as place from bench.stage) s;
    drop table bench.stage;
";

/// Makes the same documents and queries in every run.
pub(super) struct Library {
    random: Random,
    centres: Vec<Vec<f32>>,
    pools: [Vec<Vec<f32>>; 2],
    /// Each number from -1 to 1 as it is written, with its comma: formatting forty million of them would take longer than all the rest.
    numbers: Vec<String>,
    words: Vec<String>,
    /// The share of all words up to and with each.
    shares: Vec<f64>,
}

impl Library {
    pub(super) fn new() -> Self {
        let mut random = Random(42);
        let directions: Vec<Vec<f32>> = (0..LATENT)
            .map(|_| (0..DIMENSIONS).map(|_| random.normal()).collect())
            .collect();
        // Two of a pool together lie as far from the middle as `SPREAD` says.
        let around = SPREAD / std::f32::consts::SQRT_2;
        let mut some = |count: usize, length: f32, noise: f32| {
            (0..count)
                .map(|_| spread(&mut random, &directions, (length, noise)))
                .collect::<Vec<_>>()
        };
        let centres = some(CLUSTERS, 1.0, 0.0);
        let pools = [some(POOL, around, NOISE), some(POOL, around, NOISE)];
        let steps = -(SCALE as i32)..=SCALE as i32;
        let numbers = steps.map(|step| format!("{:.4},", step as f32 / SCALE));
        let mut sum = 0.0;
        let shares = (0..WORDS).map(|rank| {
            sum += 1.0 / (rank as f64 + 20.0);
            sum
        });
        Self {
            centres,
            pools,
            numbers: numbers.collect(),
            words: (0..WORDS).map(word).collect(),
            shares: shares.collect(),
            random,
        }
    }

    /// A vector of length 1.
    pub(super) fn vector(&mut self) -> Vec<f32> {
        let random = &mut self.random;
        let centre = &self.centres[random.below(CLUSTERS)];
        let [one, other] = &self.pools;
        let (one, other) = (&one[random.below(POOL)], &other[random.below(POOL)]);
        let mut square = 0.0;
        let mut vector = Vec::with_capacity(DIMENSIONS);
        for at in 0..DIMENSIONS {
            let x = centre[at] + one[at] + other[at];
            square += x * x;
            vector.push(x);
        }
        let length = square.sqrt();
        for x in &mut vector {
            *x /= length;
        }
        vector
    }

    /// Some words.
    pub(super) fn text(&mut self, count: usize) -> String {
        let all = self.shares[WORDS - 1];
        let words: Vec<&str> = (0..count)
            .map(|_| {
                let at = self.random.unit() * all;
                let rank = self.shares.partition_point(|share| *share < at);
                self.words[rank.min(WORDS - 1)].as_str()
            })
            .collect();
        words.join(" ")
    }

    /// Writes documents of each tenant and builds the indexes anew, as `create index` builds them.
    pub(super) fn fill(&mut self, admin_url: &str, tenants: &[(String, usize)]) -> Result<()> {
        let indexes: Vec<(String,)> = database::rows(admin_url, DATABASE, INDEXES)?;
        database::block_on(async {
            let mut connection = database::open(admin_url, DATABASE).await?;
            connection.execute(STAGE).await?;
            for (tenant_id, count) in tenants {
                self.stage(&mut connection, tenant_id, *count).await?;
            }
            connection
                .execute(
                    "drop index search.idx_chunks_tsv; drop index search.idx_embeddings_embedding",
                )
                .await?;
            connection.execute(FILL).await?;
            connection
                .execute(
                    "set maintenance_work_mem = '1GB'; set max_parallel_maintenance_workers = 2",
                )
                .await?;
            for (definition,) in &indexes {
                let definition = sqlx::AssertSqlSafe(definition.as_str());
                connection.execute(sqlx::raw_sql(definition)).await?;
            }
            connection.execute("vacuum analyze search.chunks").await?;
            connection
                .execute("vacuum analyze search.embeddings")
                .await?;
            connection
                .execute("vacuum analyze search.documents")
                .await?;
            connection.execute("checkpoint").await?;
            Ok(())
        })
    }

    async fn stage(
        &mut self,
        connection: &mut PgConnection,
        tenant_id: &str,
        count: usize,
    ) -> Result<()> {
        let mut copy = connection
            .copy_in_raw("copy bench.stage from stdin")
            .await?;
        let mut rows = String::new();
        for n in 0..count {
            let (title, content) = (self.text(3), self.text(16));
            let id = format!(
                "{:032x}",
                (u128::from(self.random.next()) << 64) | n as u128
            );
            write!(rows, "{tenant_id}\t{id}\t{title}\t{title}. {content}\t[")?;
            for number in self.vector() {
                let step = (number * SCALE) as i32 + SCALE as i32;
                rows.push_str(&self.numbers[step as usize]);
            }
            // In the place of the last comma.
            rows.pop();
            rows.push_str("]\n");
            if n % BATCH == BATCH - 1 || n + 1 == count {
                copy.send(rows.as_bytes()).await?;
                rows.clear();
            }
        }
        copy.finish().await?;
        Ok(())
    }
}

/// A vector that varies in the directions, by `length` in each, and by `noise` everywhere.
fn spread(random: &mut Random, directions: &[Vec<f32>], (length, noise): (f32, f32)) -> Vec<f32> {
    let mut vector: Vec<f32> = (0..DIMENSIONS).map(|_| noise * random.normal()).collect();
    for direction in directions {
        let along = length * random.normal();
        for (x, d) in vector.iter_mut().zip(direction) {
            *x += along * d;
        }
    }
    vector
}

/// A pronounceable word for each rank, none of which a dictionary stems.
fn word(rank: usize) -> String {
    const FIRST: [&str; 20] = [
        "ba", "ko", "mi", "tu", "ra", "lo", "ve", "ni", "sa", "po", "ku", "di", "fa", "ge", "ho",
        "ja", "wi", "zu", "ty", "xe",
    ];
    let [a, b, c] = [rank % 20, rank / 20 % 20, rank / 400];
    format!("{}{}{}x", FIRST[a], FIRST[b], FIRST[c])
}

/// SplitMix64 (Steele, Lea and Flood, 2014): small, and the same everywhere.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn unit(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1_u64 << 53) as f64
    }

    fn below(&mut self, limit: usize) -> usize {
        (self.unit() * limit as f64) as usize
    }

    /// Close enough to a normal distribution: the sum of four numbers out of one draw, of variance one.
    fn normal(&mut self) -> f32 {
        let bits = self.next();
        let sum: f32 = (0..4)
            .map(|part| ((bits >> (part * 16)) & 0xffff) as f32 / 65_536.0)
            .sum();
        (sum - 2.0) * 1.732_050_8
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn vectors_have_length_one_and_words_are_different() {
        let mut library = Library::new();
        let length: f32 = library.vector().iter().map(|x| x * x).sum();
        assert!((length - 1.0).abs() < 1e-3);
        let words: std::collections::BTreeSet<_> = (0..WORDS).map(word).collect();
        assert_eq!(words.len(), WORDS);
    }
}
