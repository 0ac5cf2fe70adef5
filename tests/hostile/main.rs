//! Whatever a server or a file holds: no panic, no secret, no lie, no end that is too far off.
//!
//! Arbitrary bytes, and answers of a real server with something wrong in them. A long run:
//!
//! ```console
//! $ PROPTEST_CASES=100000 PROPTEST_RNG_SEED=7 cargo test --release --test hostile
//! ```

#![cfg(all(feature = "net", feature = "tables"))]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod answers;
mod dispatching;
mod redaction;
mod tables;

use std::hash::{BuildHasher, RandomState};

use proptest::prelude::ProptestConfig;
use proptest::test_runner::RngSeed;

/// A seed of its own for each run, printed where the test fails.
fn config() -> ProptestConfig {
    let mut config = ProptestConfig::default();
    if config.rng_seed == RngSeed::Random {
        config.rng_seed = RngSeed::Fixed(RandomState::new().hash_one(0));
    }
    if let RngSeed::Fixed(seed) = config.rng_seed {
        eprintln!("to repeat: PROPTEST_RNG_SEED={seed}");
    }
    config.failure_persistence = None;
    config
}
