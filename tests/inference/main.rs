//! Inference against the golden vectors, and against a specification of a few lines.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod properties;
mod vectors;
