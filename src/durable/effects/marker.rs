//! The mark by which a comment of ours is found again.

use crate::gitea::{Comment, User};
use crate::ledger::Errand;

/// How the mark of every comment of ours begins.
pub(in crate::durable) const MARK: &str = "<!-- timmy-dispatch:";

/// The mark of an errand's comment: invisible where comments are shown.
pub(crate) fn marker(errand: &Errand) -> String {
    let Errand {
        dispatch,
        fence,
        effect,
        nonce,
        ..
    } = errand;
    format!("{MARK}{dispatch}:{fence}:{effect}:{nonce} -->")
}

/// The ids of the comments that are ours and end with the mark, the lowest first.
///
/// Anybody may copy a mark into a comment of their own, or into a description that we quote. So it
/// must be the end of the comment, where only we write, and the comment from our account.
pub(super) fn marked(comments: &[Comment], marker: &str, me: &User) -> Vec<i64> {
    let is_it =
        |comment: &&Comment| is(&comment.user, me) && comment.body.trim_end().ends_with(marker);
    let mut ids: Vec<i64> = comments.iter().filter(is_it).map(|one| one.id).collect();
    ids.sort_unstable();
    ids.dedup();
    ids
}

/// Whether they are the same account, renamed or not.
pub(in crate::durable) fn is(user: &User, me: &User) -> bool {
    if user.id == 0 || me.id == 0 {
        user.is(&me.login)
    } else {
        user.id == me.id
    }
}
