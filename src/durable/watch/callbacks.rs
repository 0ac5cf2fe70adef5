//! Stands in for `agents::signature` until that is there.

use ring::hmac;
use uuid::Uuid;

/// The header that holds it, in lower case.
pub(super) const HEADER: &str = "x-timmy-signature";
const SCHEME: &str = "sha256=";

/// Whether the signature is right, in constant time. An empty secret signs nothing.
#[must_use]
pub(super) fn verify(secret: &str, id: Uuid, fence: u64, body: &[u8], signature: &str) -> bool {
    let Some(tag) = signature.trim().strip_prefix(SCHEME).and_then(bytes) else {
        return false;
    };
    !secret.is_empty() && hmac::verify(&key(secret), &signed(id, fence, body), &tag).is_ok()
}

fn key(secret: &str) -> hmac::Key {
    hmac::Key::new(hmac::HMAC_SHA256, secret.as_bytes())
}

fn signed(id: Uuid, fence: u64, body: &[u8]) -> Vec<u8> {
    let mut message = format!("{id}:{fence}:").into_bytes();
    message.extend_from_slice(body);
    message
}

fn bytes(digits: &str) -> Option<Vec<u8>> {
    if digits.len() != 64 || !digits.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return None;
    }
    let pairs = (0..digits.len()).step_by(2);
    pairs
        .map(|at| u8::from_str_radix(digits.get(at..at + 2)?, 16).ok())
        .collect()
}
