//! Randomness that can be repeated: the seed is told, and `TENANTRY_CAMPAIGN_SEED` sets it.

use kernel::{Clock, Ids};

/// SplitMix64 (Steele, Lea and Flood, 2014): small, fast, and the same everywhere.
pub struct Dice(u64);

impl Dice {
    /// A seed of this run, told to whoever reads the output.
    #[expect(
        clippy::disallowed_methods,
        reason = "repeats one run of a test; no setting of the product"
    )]
    pub fn of_this_run(campaign: &str) -> Self {
        let given = std::env::var("TENANTRY_CAMPAIGN_SEED").ok();
        let seed = given.map_or_else(
            || Ids::random(Clock::system()).next().as_u64_pair().1,
            |seed| seed.parse().expect("TENANTRY_CAMPAIGN_SEED is a number"),
        );
        campaign::Extent::of_this_run().tell(&format!("{campaign}: seed"), seed);
        Self(seed)
    }

    /// Another sequence for another task.
    pub fn split(&mut self) -> Self {
        Self(self.roll())
    }

    pub fn roll(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number below `limit`.
    pub fn below(&mut self, limit: u64) -> u64 {
        self.roll() % limit
    }
}
