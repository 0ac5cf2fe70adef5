//! Who asks, and what they may.

use super::answer::Answer;
use super::ask::Ask;
use super::state::{Access, Repo, Site, Token};

/// The scope that a token needs to have any other.
const EVERYTHING: &str = "all";

/// Who sent a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Caller {
    /// No `Authorization`, or none that Gitea knows how to read.
    Nobody,
    /// Holder of a token, or of a password, which has every scope.
    User {
        id: u64,
        admin: bool,
        scopes: Vec<String>,
    },
}

impl Caller {
    /// Reads `Authorization: token X`, `Bearer X` and `Basic …`. What is wrong is 401, on public
    /// repos too.
    pub(super) fn of(site: &Site, ask: &Ask) -> Result<Self, Answer> {
        let Some((scheme, secret)) = ask.authorization.and_then(|value| value.split_once(' '))
        else {
            return Ok(Self::Nobody);
        };
        let secret = secret.trim();
        let found = if scheme.eq_ignore_ascii_case("token") || scheme.eq_ignore_ascii_case("bearer")
        {
            if secret.is_empty() {
                return Ok(Self::Nobody);
            }
            Self::by_token(site, secret)
        } else if scheme.eq_ignore_ascii_case("basic") {
            Self::by_password(site, secret)
        } else {
            return Ok(Self::Nobody);
        };
        found.ok_or_else(|| site.error(401, "invalid username, password or token"))
    }

    fn by_token(site: &Site, secret: &str) -> Option<Self> {
        let token = site.tokens.iter().find(|token| token.secret == secret)?;
        Self::user(site, token.user, token.scopes.clone())
    }

    /// A token is taken in place of either half, as Gitea does.
    fn by_password(site: &Site, encoded: &str) -> Option<Self> {
        let text = String::from_utf8(base64(encoded)?).ok()?;
        let (name, password) = text.split_once(':')?;
        let by_password = || {
            let user = site.user_named(name)?;
            (user.password == password && !password.is_empty())
                .then(|| Self::trusted(site, user.id))?
        };
        by_password()
            .or_else(|| Self::by_token(site, password))
            .or_else(|| Self::by_token(site, name))
    }

    /// A user who is not asked for scopes.
    pub(super) fn trusted(site: &Site, id: u64) -> Option<Self> {
        Self::user(site, id, vec![EVERYTHING.to_owned()])
    }

    fn user(site: &Site, id: u64, scopes: Vec<String>) -> Option<Self> {
        let admin = site.user(id)?.admin;
        Some(Self::User { id, admin, scopes })
    }

    /// The caller's id, or Gitea's answer to who has none.
    pub(super) fn known(&self, site: &Site) -> Result<u64, Answer> {
        match self {
            Self::Nobody => Err(site.error(401, "token is required")),
            Self::User { id, .. } => Ok(*id),
        }
    }

    /// Whether the caller is an administrator, who is shown more.
    pub(super) fn admin(&self) -> bool {
        matches!(self, Self::User { admin: true, .. })
    }

    /// Whether the token's scopes cover `category`; a write scope covers reading.
    pub(super) fn scope(&self, site: &Site, category: &str, write: bool) -> Result<(), Answer> {
        let Self::User { scopes, .. } = self else {
            return Ok(());
        };
        let writes = format!("write:{category}");
        let reads = format!("read:{category}");
        let covered = scopes
            .iter()
            .any(|scope| scope == EVERYTHING || *scope == writes || (!write && *scope == reads));
        if covered {
            return Ok(());
        }
        let (required, given) = (if write { writes } else { reads }, scopes.join(","));
        let message = format!(
            "token does not have at least one of required scope(s), \
             required=[{required}], token scope={given}"
        );
        Err(site.error(403, message))
    }

    /// Whether the caller sees the repo; who does not gets a 404, as if it were not there.
    pub(super) fn sees(&self, repo: &Repo) -> bool {
        !repo.private || self.may(repo, Access::Read)
    }

    /// Whether the caller was let into the repo so far; administrators of the site always are.
    fn may(&self, repo: &Repo, access: Access) -> bool {
        match self {
            Self::Nobody => false,
            Self::User { id, admin, .. } => {
                *admin || repo.access(*id).is_some_and(|given| given >= access)
            }
        }
    }

    pub(super) fn writes(&self, repo: &Repo) -> bool {
        self.may(repo, Access::Write)
    }

    /// Whether the caller may change the repo itself, its hooks and its collaborators.
    pub(super) fn administers(&self, repo: &Repo) -> bool {
        self.may(repo, Access::Admin)
    }

    /// The id of who may, or Gitea's answer to who may not.
    pub(super) fn administrator(&self, site: &Site, repo: &Repo) -> Result<u64, Answer> {
        let user = self.known(site)?;
        if self.administers(repo) {
            return Ok(user);
        }
        let why = "user should be an owner or a collaborator with admin write of a repository";
        Err(site.error(403, why))
    }
}

impl Site {
    pub(super) fn add_token(&mut self, user: u64, secret: &str, scopes: Vec<String>) {
        self.tokens.push(Token {
            secret: secret.to_owned(),
            user,
            scopes,
        });
    }

    /// A token that may do everything.
    pub(super) fn add_full_token(&mut self, user: u64, secret: &str) {
        self.add_token(user, secret, vec![EVERYTHING.to_owned()]);
    }
}

pub(super) fn base64(text: &str) -> Option<Vec<u8>> {
    let (mut out, mut bits, mut held) = (Vec::new(), 0u32, 0u32);
    for byte in text.trim_end_matches('=').bytes() {
        let value = match byte {
            b'A'..=b'Z' => byte - b'A',
            b'a'..=b'z' => byte - b'a' + 26,
            b'0'..=b'9' => byte - b'0' + 52,
            b'+' => 62,
            b'/' => 63,
            _ => return None,
        };
        bits = (bits << 6 | u32::from(value)) & 0xFFFF;
        held += 6;
        if held >= 8 {
            held -= 8;
            out.push(u8::try_from(bits >> held & 0xFF).ok()?);
        }
    }
    Some(out)
}

#[cfg(test)]
mod tests {
    use super::base64;

    #[test]
    fn base64_is_read() {
        assert_eq!(
            base64("Z3Vlc3Q6UGFzc3cwcmQheA=="),
            Some(b"guest:Passw0rd!x".to_vec())
        );
        assert_eq!(base64("YQ"), Some(b"a".to_vec()));
        assert_eq!(base64(""), Some(vec![]));
        assert_eq!(base64("a*"), None);
    }
}
