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

/// What comes true of a type that the softmax gives the highest share, as points of a line; both in
/// 1/[`WHOLE`].
///
/// Texts of strangers are not those that a model learned from. On real tasks that it never saw, a
/// type that gets half is right far more often, for another that would do as well has the rest; and
/// one that gets nearly all is right less often.
const CALIBRATION: [(u64, u64); 6] = [
    (0, 0),
    (3_000, 3_000),
    (4_000, 4_500),
    (5_500, 7_800),
    (9_000, 8_000),
    (10_000, 9_900),
];

fn calibrated(share: u64) -> u64 {
    let mut segments = CALIBRATION.iter().zip(CALIBRATION.iter().skip(1));
    let segment = segments.rfind(|((start, _), _)| *start <= share);
    segment.map_or(share, |((start, from), (end, to))| {
        from + (share - start) * (to - from) / (end - start)
    })
}

/// The probabilities of logits in 1/[`NAT`]; they sum to [`WHOLE`]. The highest share is calibrated,
/// and the others divide the rest. What rounding leaves goes to those that lost most by it, the
/// first of equals first.
pub(super) fn probabilities(logits: &[i64; TaskType::ALL.len()]) -> [u32; TaskType::ALL.len()] {
    let highest = logits.iter().copied().max().unwrap_or(0);
    let first = logits.iter().position(|logit| *logit == highest);
    let first = first.unwrap_or(0);
    // Nothing is impossible, so that there are always some to divide the rest.
    let mut powers = logits.map(|logit| exp_of_negative(highest.saturating_sub(logit)).max(1));
    let most = powers.get_mut(first).map_or(0, std::mem::take);
    let others: u64 = powers.iter().sum::<u64>().max(1);
    let promised = calibrated((most * u64::from(WHOLE)).div_ceil(most + others));
    let shares = powers.map(|power| power * (u64::from(WHOLE) - promised));
    let mut rounded = shares.map(|share| (share / others) as u32);
    if let Some(probability) = rounded.get_mut(first) {
        *probability = promised as u32;
    }
    let mut order: [usize; TaskType::ALL.len()] = std::array::from_fn(|index| index);
    order.sort_by_key(|index| std::cmp::Reverse(shares.get(*index).map(|share| share % others)));
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
        // A share of 9,194.6 is right 83.7 times in a hundred; the table has 256 steps.
        assert!(probabilities(&logits)[4].abs_diff(8_369) <= 6);
        logits[4] = i64::MAX >> 20;
        logits[5] = -(i64::MAX >> 20);
        assert_eq!(probabilities(&logits)[4], 9_900);
        assert_eq!(probabilities(&logits).iter().sum::<u32>(), WHOLE);
    }

    #[test]
    fn what_is_likelier_stays_likelier() {
        let mut before = 0;
        for step in 0..2_000 {
            let mut logits: [i64; 14] = std::array::from_fn(|index| -(index as i64) * NAT / 3);
            logits[6] = step * NAT / 100;
            let found = probabilities(&logits);
            assert_eq!(found.iter().sum::<u32>(), WHOLE);
            let mut order: Vec<usize> = (0..14).collect();
            order.sort_by_key(|index| std::cmp::Reverse(logits[*index]));
            assert!(order.is_sorted_by(|a, b| found[*a] >= found[*b]), "{step}");
            assert!(found[6] >= before, "{step}");
            before = found[6];
        }
        let even = probabilities(&[0; 14]);
        assert!(even.iter().all(|one| (714..=715).contains(one)) && even[0] == 715);
    }
}
