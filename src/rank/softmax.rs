//! Scores → probabilities without a float: `exp` differs between platforms, this does not.

use crate::task::TaskType;

/// What probabilities are counted in: 1/10,000.
pub const WHOLE: u32 = 10_000;

/// One nat of a logit.
pub(super) const NAT: i64 = 1 << 16;

/// The table's steps per halving, as a power of two.
const STEPS: u32 = 8;
/// `2^(-1/256)` in 1/2^63.
const RATIO: u128 = 9_198_432_556_164_277_331;
/// `log2(e)` in 1/2^32.
const LOG2_E: i64 = 6_196_328_019;

/// `2^(-i/256)` in 1/2^32.
const POWERS: [u64; 1 << STEPS] = {
    let mut powers = [0; 1 << STEPS];
    let mut power: u128 = 1 << 63;
    let mut index = 0;
    while index < powers.len() {
        powers[index] = (power >> 31) as u64;
        power = (power * RATIO) >> 63;
        index += 1;
    }
    powers
};

/// `exp(-x)` in 1/2^32, for `x` in 1/[`NAT`], not negative.
fn exp_of_negative(x: i64) -> u64 {
    let halvings = (i128::from(x) * i128::from(LOG2_E)) >> (16 + 32 - STEPS);
    let whole = halvings >> STEPS;
    if whole >= 40 {
        return 0;
    }
    let step = (halvings & ((1 << STEPS) - 1)) as usize;
    POWERS.get(step).copied().unwrap_or(0) >> whole
}

/// The probabilities of logits in 1/[`NAT`]; they sum to [`WHOLE`]. What rounding leaves goes to
/// those that lost most by it, the first of equals first.
pub(super) fn probabilities(logits: &[i64; TaskType::ALL.len()]) -> [u32; TaskType::ALL.len()] {
    let highest = logits.iter().copied().max().unwrap_or(0);
    let powers = logits.map(|logit| exp_of_negative(highest.saturating_sub(logit)));
    let total: u64 = powers.iter().sum::<u64>().max(1);
    let shares = powers.map(|power| power * u64::from(WHOLE));
    let mut rounded = shares.map(|share| (share / total) as u32);
    let mut order: [usize; TaskType::ALL.len()] = std::array::from_fn(|index| index);
    order.sort_by_key(|index| std::cmp::Reverse(shares.get(*index).map(|share| share % total)));
    let left = WHOLE.saturating_sub(rounded.iter().sum());
    for index in order.into_iter().take(left as usize) {
        if let Some(probability) = rounded.get_mut(index) {
            *probability += 1;
        }
    }
    rounded
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_exp_to_five_digits() {
        for x in (0..20 * NAT).step_by(7_919) {
            let exact = (-(x as f64) / NAT as f64).exp();
            let ours = exp_of_negative(x) as f64 / 2f64.powi(32);
            assert!(
                (ours - exact).abs() < 0.003 * exact + 1e-9,
                "{x}: {ours} {exact}"
            );
        }
    }

    #[test]
    fn probabilities_sum_to_the_whole() {
        assert_eq!(probabilities(&[0; 14]).iter().sum::<u32>(), WHOLE);
        let mut logits = [-NAT * 3; 14];
        logits[4] = NAT * 2;
        // 9,194.6 to the last digit; the table has 256 steps.
        assert!(probabilities(&logits)[4].abs_diff(9_195) <= 3);
        logits[4] = i64::MAX >> 20;
        logits[5] = -(i64::MAX >> 20);
        assert_eq!(probabilities(&logits)[4], WHOLE);
    }
}
