//! Keeping credentials out of what people read.

/// The URL without its user and password: `http://***@host/path`.
///
/// ```
/// use timmy_dispatcher::http::redact_url;
/// assert_eq!(redact_url("http://me:secret@git.example/x"), "http://***@git.example/x");
/// assert_eq!(redact_url("http://git.example/@me"), "http://git.example/@me");
/// ```
#[must_use]
pub fn redact_url(url: &str) -> String {
    match split_userinfo(url) {
        Some((scheme, _, rest)) => format!("{scheme}***@{rest}"),
        None => url.to_owned(),
    }
}

/// The same for every URL inside a longer text.
#[must_use]
pub fn redact_userinfo(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find("://") {
        let (before, after) = rest.split_at(at + 3);
        out.push_str(before);
        let end = authority_end(after);
        let (authority, tail) = after.split_at(end);
        match authority.rfind('@') {
            Some(at) => {
                out.push_str("***");
                out.push_str(authority.get(at..).unwrap_or_default());
            }
            None => out.push_str(authority),
        }
        rest = tail;
    }
    out.push_str(rest);
    out
}

/// `(scheme with "://", user and password, the rest)` of a URL that has a user.
pub(crate) fn split_userinfo(url: &str) -> Option<(&str, &str, &str)> {
    let after = url.find("://")? + 3;
    let (scheme, rest) = url.split_at(after);
    let authority = rest.get(..authority_end(rest))?;
    let at = authority.rfind('@')?;
    Some((scheme, rest.get(..at)?, rest.get(at + 1..)?))
}

fn authority_end(text: &str) -> usize {
    text.find(|c: char| matches!(c, '/' | '?' | '#' | '"' | '\'' | '<' | '>') || c.is_whitespace())
        .unwrap_or(text.len())
}
