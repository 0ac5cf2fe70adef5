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

/// The text without the token and without what `url` holds of a user and a password, in the forms
/// in which a server or a library may repeat them; nor those of other URLs.
///
/// Fewer than four characters guard nothing, and taking them out of every word that holds them
/// would make the text unreadable.
pub(crate) fn redact_secrets(text: &str, token: &str, url: &str) -> String {
    let mut text = redact_userinfo(text);
    let mut take_out = |secret: &str| {
        if secret.chars().count() >= 4 && text.contains(secret) {
            text = text.replace(secret, "***");
        }
    };
    take_out(token);
    // Libraries complain of a token with a line break by quoting it, escaped.
    if token.contains(|c: char| c.is_control() || c.is_whitespace()) {
        take_out(&token.escape_default().to_string());
        take_out(token.trim());
    }
    if let Some((_, userinfo, _)) = split_userinfo(url) {
        let (user, password) = userinfo.split_once(':').unwrap_or((userinfo, ""));
        take_out(&basic_credentials(user, password));
        take_out(userinfo);
        take_out(password);
        take_out(&percent_decoded(password));
    }
    text
}

/// What basic authorization makes of a URL's user and password.
pub(super) fn basic_credentials(user: &str, password: &str) -> String {
    use base64::Engine as _;
    let pair = format!("{}:{}", percent_decoded(user), percent_decoded(password));
    base64::engine::general_purpose::STANDARD.encode(pair)
}

fn percent_decoded(text: &str) -> String {
    percent_encoding::percent_decode_str(text)
        .decode_utf8_lossy()
        .into_owned()
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
        assert_eq!(redact_secrets("bad sekrit", "sekrit", ""), "bad ***");
        assert_eq!(
            redact_secrets(r"b'token sekrit\n'", "sekrit\n", ""),
            "b'token ***'"
        );
        assert_eq!(redact_secrets(r"b'se\nkrit'", "se\nkrit", ""), "b'***'");
        assert_eq!(redact_secrets("a test", "", ""), "a test");
        assert_eq!(redact_secrets("a test", "t", ""), "a test");
        assert_eq!(
            redact_secrets("at http://me:pw@host", "x", ""),
            "at http://***@host"
        );
    }

    #[test]
    fn a_password_is_found_as_it_is_written_decoded_and_encoded() {
        let clean = |text: &str| redact_secrets(text, "", "http://me:pass%20word@host/x");
        assert_eq!(clean("Basic bWU6cGFzcyB3b3Jk"), "Basic ***");
        assert_eq!(clean("user me:pass%20word!"), "user ***!");
        assert_eq!(clean("pass%20word, pass word"), "***, ***");
        assert_eq!(clean("me at host"), "me at host");
        assert_eq!(
            redact_secrets("token-4711 as a user", "", "http://token-4711@h"),
            "*** as a user"
        );
    }
}
