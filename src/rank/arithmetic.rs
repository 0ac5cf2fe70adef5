//! `exp` and `ln` from additions and multiplications alone, which are the same everywhere; those
//! of the platforms are not, and the same texts must give the same model.

const LN_2: f64 = std::f64::consts::LN_2;

/// e to the `x`, for `x` not above 700.
pub(super) fn exp(x: f64) -> f64 {
    if x < -700.0 {
        return 0.0;
    }
    let halves = (x / LN_2).round();
    let rest = x - halves * LN_2;
    let series = (1..=13)
        .rev()
        .fold(1.0, |sum, n| 1.0 + sum * rest / f64::from(n));
    let power = ((halves as i64 + 1023) as u64) << 52;
    series * f64::from_bits(power)
}

/// The natural logarithm of a normal, positive `x`.
pub(super) fn ln(x: f64) -> f64 {
    let bits = x.to_bits();
    let exponent = (bits >> 52) as i64 - 1023;
    let mantissa = f64::from_bits((bits & ((1 << 52) - 1)) | (1023 << 52));
    let ratio = (mantissa - 1.0) / (mantissa + 1.0);
    let square = ratio * ratio;
    let series = (0..=14)
        .rev()
        .fold(0.0, |sum, n| sum * square + 1.0 / f64::from(2 * n + 1));
    2.0 * ratio * series + exponent as f64 * LN_2
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn they_are_those_of_the_platform_to_twelve_digits() {
        for step in -4000..4000 {
            let x = f64::from(step) * 0.1;
            assert!((exp(x) - x.exp()).abs() <= 1e-12 * x.exp(), "{x}");
            let y = x.exp();
            assert!((ln(y) - x).abs() <= 1e-12 * x.abs().max(1.0), "{x}");
        }
    }
}
