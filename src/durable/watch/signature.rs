//! Whether a payload comes from who knows the secret.

use ring::hmac;

/// Whether these are the hexadecimal digits of the payload's HMAC-SHA256, in constant time. An
/// empty secret signs nothing.
#[must_use]
pub(super) fn verify(secret: &str, payload: &[u8], digits: &str) -> bool {
    let Some(tag) = bytes(digits.trim()) else {
        return false;
    };
    let key = hmac::Key::new(hmac::HMAC_SHA256, secret.as_bytes());
    !secret.is_empty() && hmac::verify(&key, payload, &tag).is_ok()
}

fn bytes(digits: &str) -> Option<[u8; 32]> {
    let mut tag = [0; 32];
    if digits.len() != 64 || !digits.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return None;
    }
    for (byte, at) in tag.iter_mut().zip((0..).step_by(2)) {
        *byte = u8::from_str_radix(digits.get(at..at + 2)?, 16).ok()?;
    }
    Some(tag)
}
