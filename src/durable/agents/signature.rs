//! Who may say how an attempt went: a signature over the dispatch, its fence and the body.
//!
//! ```
//! use timmy_dispatcher::durable::agents::signature::{sign, verify};
//! use uuid::Uuid;
//!
//! let (id, body) = (Uuid::nil(), br#"{"status":"completed"}"#);
//! let signed = sign("secret", id, 3, body);
//! assert!(verify("secret", id, 3, body, &signed));
//! assert!(!verify("secret", id, 4, body, &signed)); // of another attempt
//! ```

use uuid::Uuid;

use crate::durable::hmac;

/// The header that holds it, in lower case.
pub const HEADER: &str = "x-timmy-signature";
const SCHEME: &str = "sha256=";

/// `sha256=` and the hexadecimal HMAC-SHA256 of `<id>:<fence>:` and the body. Fences never look the
/// same in two ways, so nothing can be moved between the three.
#[must_use]
pub fn sign(secret: &str, id: Uuid, fence: u64, body: &[u8]) -> String {
    format!("{SCHEME}{}", hmac::sign(secret, &signed(id, fence, body)))
}

/// Whether the signature is right, in constant time. An empty secret signs nothing.
#[must_use]
pub fn verify(secret: &str, id: Uuid, fence: u64, body: &[u8], signature: &str) -> bool {
    let digits = signature.trim().strip_prefix(SCHEME);
    digits.is_some_and(|digits| hmac::verify(secret, &signed(id, fence, body), digits))
}

fn signed(id: Uuid, fence: u64, body: &[u8]) -> Vec<u8> {
    let mut message = format!("{id}:{fence}:").into_bytes();
    message.extend_from_slice(body);
    message
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_right_secret_signs_and_only_what_it_signed() {
        let id = Uuid::from_u128(7);
        let signed = sign("secret", id, 2, b"body");
        assert!(verify("secret", id, 2, b"body", &signed));
        assert!(verify(
            "secret",
            id,
            2,
            b"body",
            &signed.to_uppercase().replace("SHA256", "sha256")
        ));
        assert!(!verify("other", id, 2, b"body", &signed));
        assert!(!verify("secret", Uuid::nil(), 2, b"body", &signed));
        assert!(!verify("secret", id, 22, b"body", &signed));
        assert!(!verify("secret", id, 2, b"bodY", &signed));
        assert!(!verify("", id, 2, b"body", &sign("", id, 2, b"body")));
        for wrong in [
            "",
            "sha256=",
            "sha1=00",
            &signed[1..],
            &signed[..70],
            &format!("{signed}0"),
            "sha256=é",
        ] {
            assert!(!verify("secret", id, 2, b"body", wrong), "{wrong}");
        }
    }

    #[test]
    fn the_signature_is_the_one_that_others_compute() {
        // printf '%s' '00000000-0000-0000-0000-000000000000:1:{}' | openssl dgst -sha256 -hmac key
        assert_eq!(
            sign("key", Uuid::nil(), 1, b"{}"),
            "sha256=971461aa44b0c48fc06ccd3550c4a70154b66714c1fc07dffa7b2fa0122e9c04"
        );
    }
}
