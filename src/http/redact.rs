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

/// The text without the token and without users and passwords in URLs.
///
/// A token of fewer than four characters guards nothing, and taking it out of every word that
/// holds it would make the text unreadable.
pub(crate) fn redact_secrets(text: &str, token: &str) -> String {
    let mut text = redact_userinfo(text);
    // Libraries complain of a token with a line break by quoting it, escaped.
    let escaped = token.escape_default().to_string();
    for form in [token, escaped.as_str(), token.trim()] {
        if form.chars().count() >= 4 && text.contains(form) {
            text = text.replace(form, "***");
        }
    }
    text
}

/// `(scheme with "://", user and password, the rest)` of a URL that has a user.
fn split_userinfo(url: &str) -> Option<(&str, &str, &str)> {
    let after = url.find("://")? + 3;
    let (scheme, rest) = url.split_at(after);
    let end = rest.find(['/', '?', '#', '\\']).unwrap_or(rest.len());
    let at = rest.get(..end)?.rfind('@')?;
    Some((scheme, rest.get(..at)?, rest.get(at + 1..)?))
}

/// Where the host of a URL within a text ends.
fn authority_end(text: &str) -> usize {
    text.find(|c: char| matches!(c, '/' | '?' | '#' | '"' | '\'' | '<' | '>') || c.is_whitespace())
        .unwrap_or(text.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_may_hold_quotes() {
        assert_eq!(redact_url("http://me:a\"b@host/x"), "http://***@host/x");
        assert_eq!(redact_url("http://host\\@me"), "http://host\\@me");
    }

    #[test]
    fn a_token_is_found_as_it_is_and_as_it_is_quoted() {
        assert_eq!(redact_secrets("bad sekrit", "sekrit"), "bad ***");
        assert_eq!(
            redact_secrets(r"b'token sekrit\n'", "sekrit\n"),
            "b'token ***'"
        );
        assert_eq!(redact_secrets(r"b'se\nkrit'", "se\nkrit"), "b'***'");
        assert_eq!(redact_secrets("a test", ""), "a test");
        assert_eq!(redact_secrets("a test", "t"), "a test");
        assert_eq!(
            redact_secrets("at http://me:pw@host", "x"),
            "at http://***@host"
        );
    }
}
