//! What stands in what is received. All of it is hostile until its signature was checked, and some
//! of it then too.

use std::borrow::Cow;

use serde::Deserialize;
use serde_json::Value;
use uuid::Uuid;

use crate::dispatch::settings::check_repo;

/// The JSON of a webhook, which is what its signature covers: the body, or its field `payload`
/// where it is a form. `None` for any other content.
///
/// ```
/// use timmy_dispatcher::durable::watch::payload;
///
/// assert_eq!(payload("application/json; charset=utf-8", b"{}").as_deref(), Some(&b"{}"[..]));
/// let form = payload("application/x-www-form-urlencoded", b"a=1&payload=%7B%7D");
/// assert_eq!(form.as_deref(), Some(&b"{}"[..]));
/// assert_eq!(payload("text/plain", b"{}"), None);
/// ```
#[must_use]
pub fn payload<'a>(content_type: &str, body: &'a [u8]) -> Option<Cow<'a, [u8]>> {
    let media = content_type.split(';').next().unwrap_or_default().trim();
    if media.eq_ignore_ascii_case("application/json") {
        return Some(Cow::Borrowed(body));
    }
    if !media.eq_ignore_ascii_case("application/x-www-form-urlencoded") {
        return None;
    }
    let mut fields = form_urlencoded::parse(body);
    let (_, payload) = fields.find(|(name, _)| name == "payload")?;
    Some(Cow::Owned(payload.into_owned().into_bytes()))
}

/// The repository that a webhook is about, if any.
#[must_use]
pub fn repository(payload: &[u8]) -> Option<String> {
    #[derive(Deserialize)]
    struct Told {
        repository: Named,
    }
    #[derive(Deserialize)]
    struct Named {
        full_name: String,
    }
    let told: Told = serde_json::from_slice(payload).ok()?;
    let name = told.repository.full_name;
    (name.len() <= 300 && check_repo(&name).is_ok()).then_some(name)
}

/// The dispatch that a path names: `/callbacks/<id>`.
#[must_use]
pub fn callback_path(path: &str) -> Option<Uuid> {
    let id = path.strip_prefix("/callbacks/")?;
    // As we write it ourselves, and not in another of its spellings: the signature covers it.
    let known = Uuid::parse_str(id).ok()?;
    (known.to_string() == id).then_some(known)
}

/// The fence that a callback names, and all that it says.
#[must_use]
pub fn callback(body: &[u8]) -> Option<(u64, Value)> {
    let said: Value = serde_json::from_slice(body).ok()?;
    let fence = said.as_object()?.get("fence")?.as_u64()?;
    Some((fence, said))
}
