//! Keeping credentials out of what people read.

use percent_encoding::NON_ALPHANUMERIC;

/// The URL without its user and password: `http://***@host/path`.
///
/// ```
/// use timmy_dispatcher::http::redact_url;
/// assert_eq!(redact_url("http://me:secret@git.example/x"), "http://***@git.example/x");
/// assert_eq!(redact_url("http://git.example/@me"), "http://git.example/@me");
/// assert_eq!(redact_url("me:secret@git.example"), "me:***@git.example");
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

/// `(scheme with its slashes, user and password, the rest)` of a URL that has a user, also of what
/// somebody took for a URL.
pub(crate) fn split_userinfo(url: &str) -> Option<(&str, &str, &str)> {
    let last = url.rfind('@')?;
    let in_scheme = |c: char| c.is_ascii_alphanumeric() || matches!(c, '+' | '-' | '.');
    let colon = url.find(|c| !in_scheme(c)).unwrap_or(0);
    let after = url.get(colon..).and_then(|rest| rest.strip_prefix(':'));
    let rest = after.unwrap_or(url).trim_start_matches(['/', '\\']);
    let start = url.len() - rest.len();
    let authority = rest.split(['/', '?', '#', '\\']).next().unwrap_or_default();
    let at = match authority.rfind('@') {
        // As likely as not a password with a slash in it.
        _ if last >= start && reqwest::Url::parse(url).is_err() => last,
        Some(at) => start + at,
        None => return None,
    };
    Some((url.get(..start)?, url.get(start..at)?, url.get(at + 1..)?))
}

/// What is shorter is a placeholder: Gitea's tokens have 40 characters. Taking it out of every word
/// that holds it would make the text unreadable.
const SHORTEST_SECRET: usize = 6;

/// The token and the passwords that must not be read by people, in every spelling in which a
/// server or a library may hand them back.
///
/// The spellings are made when a text is looked at, for most hand-overs have none to look at.
#[derive(Clone, Default)]
pub(crate) struct Secrets {
    given: Vec<String>,
    urls: Vec<String>,
}

impl Secrets {
    /// Keeps a token out of texts.
    pub(crate) fn add(&mut self, secret: &str) {
        remember(&mut self.given, secret);
    }

    /// Keeps the password of a URL out of texts, as it stands there, decoded, and as a server sees
    /// it. A user without a password is one itself.
    pub(crate) fn add_url(&mut self, url: &str) {
        // Most have none.
        if url.contains('@') {
            remember(&mut self.urls, url);
        }
    }

    fn spellings(&self) -> Spellings {
        let mut spellings = Spellings::default();
        for secret in &self.given {
            spellings.add(secret);
        }
        for url in &self.urls {
            spellings.add_url(url);
        }
        spellings
    }

    /// The text with `***` in place of each secret and of each URL's user and password.
    pub(crate) fn redact(&self, text: &str) -> String {
        let clean = redact_userinfo(text);
        self.without(&clean).unwrap_or(clean)
    }

    /// The text with `***` in place of each secret; None where there is none in it.
    pub(crate) fn without(&self, text: &str) -> Option<String> {
        let mut clean = None;
        for spelling in &self.spellings().0 {
            let so_far = clean.as_deref().unwrap_or(text);
            if so_far.contains(spelling.as_str()) {
                clean = Some(so_far.replace(spelling.as_str(), "***"));
            }
        }
        clean
    }

    /// Whether there is nothing to hide.
    #[cfg(feature = "python")]
    pub(crate) fn is_empty(&self) -> bool {
        self.given.is_empty() && self.urls.is_empty()
    }
}

fn remember(known: &mut Vec<String>, text: &str) {
    if !text.is_empty() && !known.iter().any(|other| other == text) {
        known.push(text.to_owned());
    }
}

/// Every spelling of some secrets, the longest first: one may contain another.
#[derive(Default)]
struct Spellings(Vec<String>);

impl Spellings {
    fn add(&mut self, secret: &str) {
        self.add_spelling(secret);
        // Any other spelling of letters and digits is the same one.
        if !secret.bytes().all(|byte| byte.is_ascii_alphanumeric()) {
            let json = serde_json::Value::from(secret).to_string();
            self.add_spelling(json.get(1..json.len() - 1).unwrap_or_default());
            self.add_spelling(&secret.replace('\\', r"\\").replace('\'', r"\'"));
            self.add_spelling(&secret.escape_default().to_string());
            self.add_spelling(secret.trim());
            let percent = percent_encoding::utf8_percent_encode(secret, NON_ALPHANUMERIC);
            self.add_spelling(&percent.to_string());
        }
    }

    fn add_spelling(&mut self, spelling: &str) {
        let guards = spelling.chars().count() >= SHORTEST_SECRET;
        if guards && !self.0.iter().any(|known| known == spelling) {
            let shorter = |known: &String| known.len() < spelling.len();
            let place = self.0.iter().position(shorter).unwrap_or(self.0.len());
            self.0.insert(place, spelling.to_owned());
        }
    }

    fn add_url(&mut self, url: &str) {
        let Some((_, userinfo, _)) = split_userinfo(url) else {
            return;
        };
        let (user, password) = userinfo.split_once(':').unwrap_or((userinfo, ""));
        let secret = if password.is_empty() { user } else { password };
        self.add(userinfo);
        self.add(secret);
        self.add(&percent_decoded(secret));
        self.add(&basic_credentials(user, password));
    }
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
    fn every_spelling_of_a_secret_goes() {
        let mut secrets = Secrets::default();
        secrets.add(r#"to'k"e\n$.*"#);
        secrets.add_url("http://me:p%40ss:w%3Frd@git.example/x");
        for said in [
            r#"token to'k"e\n$.*!"#,
            r#"{"seen":"token to'k\"e\\n$.*"}"#,
            r#"b'token to\'k"e\\n$.*'"#,
            "to%27k%22e%5Cn%24%2E%2A",
            "p%40ss:w%3Frd",
            "p@ss:w?rd",
            "Basic bWU6cEBzczp3P3Jk",
            "http://me:p%40ss:w%3Frd@git.example/x",
        ] {
            let clean = secrets.redact(said);
            assert!(clean.contains("***"), "{clean}");
            for part in ["k\"e", "e\\n", "p@ss", "p%40", "bWU6", "%27k"] {
                assert!(!clean.contains(part), "{clean}");
            }
        }
        assert_eq!(secrets.redact("me, git.example"), "me, git.example");
    }

    #[test]
    fn a_token_with_a_line_break_and_a_placeholder() {
        let mut secrets = Secrets::default();
        secrets.add("sekrit\n");
        secrets.add("token");
        assert_eq!(secrets.redact(r"b'token sekrit\n'"), "b'token ***'");
        assert_eq!(secrets.redact("bad sekrit"), "bad ***");
    }

    #[test]
    fn what_is_no_url_may_have_a_password_too() {
        for (url, shown) in [
            ("http:/me:secret@host/x", "http:/***@host/x"),
            ("//me:secret@host", "//***@host"),
            ("me:secret@host", "me:***@host"),
            ("http://me:sec/ret@host/x", "http://***@host/x"),
            ("http://me:sec'ret@host/@x", "http://***@host/@x"),
            ("ftp:\\\\me:secret@host", "ftp:\\\\***@host"),
            ("me@secret@host", "***@host"),
            ("@", "***@"),
            ("http://host/a@b?c=d@e", "http://host/a@b?c=d@e"),
            ("host", "host"),
            ("", ""),
        ] {
            assert_eq!(redact_url(url), shown);
        }
    }

    #[test]
    fn a_user_alone_may_be_a_token() {
        let mut secrets = Secrets::default();
        secrets.add_url("https://s3cr3t@git.example");
        secrets.add_url("https://git.example");
        assert_eq!(secrets.redact("s3cr3t, czNjcjN0Og=="), "***, ***");
        assert_eq!(Secrets::default().redact("as it is"), "as it is");
    }

    #[test]
    fn a_password_is_found_as_it_is_written_decoded_and_encoded() {
        let mut secrets = Secrets::default();
        secrets.add_url("http://me:pass%20word@host/x");
        assert_eq!(secrets.redact("Basic bWU6cGFzcyB3b3Jk"), "Basic ***");
        assert_eq!(secrets.redact("pass%20word, pass word"), "***, ***");
        assert_eq!(secrets.redact("me at host"), "me at host");
        secrets.add_url("http://token-4711@h");
        assert_eq!(secrets.redact("token-4711 as a user"), "*** as a user");
    }
}
