//! HMAC-SHA256 in hexadecimal digits, by which it is known who sent something.

use ring::hmac;

/// The digits of a message's signature.
pub(super) fn sign(secret: &str, message: &[u8]) -> String {
    let tag = hmac::sign(&key(secret), message);
    tag.as_ref()
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect()
}

/// Whether these are the digits of the message's signature, in constant time. An empty secret signs
/// nothing.
pub(super) fn verify(secret: &str, message: &[u8], digits: &str) -> bool {
    let Some(tag) = bytes(digits.trim()) else {
        return false;
    };
    !secret.is_empty() && hmac::verify(&key(secret), message, &tag).is_ok()
}

fn key(secret: &str) -> hmac::Key {
    hmac::Key::new(hmac::HMAC_SHA256, secret.as_bytes())
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
