//! Whether every acceptance criterion is ticked.

use std::collections::HashSet;

use pulldown_cmark::{Event, Options, Parser, Tag, TagEnd};
use serde_json::{Value, json};

use super::{Case, Said, Verdict, undecided};
use crate::durable::Server;
use crate::durable::effects::MARK;
use crate::gitea::Comment;
use crate::http::Transport;

/// Looks for the criteria in the issue's text, and in what the agent wrote since it has the task.
pub(super) async fn judge<T: Transport>(server: &Server<T>, case: Case<'_>) -> Said {
    let criteria = &case.order.acceptance_criteria;
    let Some(issue) = case.order.issue.filter(|_| !criteria.is_empty()) else {
        return (Verdict::Passed, json!({ "criteria": criteria.len() }));
    };
    let repository = server.repository(&case.order.repo);
    let mut ticked = match repository.issue(issue).await {
        Ok(issue) => ticked(&issue.body),
        Err(error) => return undecided(&error),
    };
    let open = |ticked: &HashSet<String>| -> Vec<&String> {
        let is_open = |criterion: &&String| !ticked.contains(&plain(criterion));
        criteria.iter().filter(is_open).collect()
    };
    if !open(&ticked).is_empty() {
        match repository.comments(issue).await {
            Ok(comments) => {
                let theirs = comments.iter().filter(|comment| is_theirs(case, comment));
                ticked.extend(theirs.flat_map(|comment| self::ticked(&comment.body)));
            }
            Err(error) => return undecided(&error),
        }
    }
    let open = open(&ticked);
    let evidence: Value = json!({ "criteria": criteria.len(), "open": open });
    if open.is_empty() {
        return (Verdict::Passed, evidence);
    }
    let shown: Vec<&str> = open.iter().map(|criterion| criterion.as_str()).collect();
    let reason = format!("not ticked: {}", shown.join("; "));
    (Verdict::Failed(reason), evidence)
}

/// Whether the agent wrote it, under this attempt; not what we wrote under an account that we share.
fn is_theirs(case: Case<'_>, comment: &Comment) -> bool {
    let agent = case.terms.gitea_user.as_deref().unwrap_or_default();
    let since = case.watched.handover.unwrap_or_default();
    comment.user.is(agent) && comment.id > since && !comment.body.contains(MARK)
}

/// The texts of the ticked entries of a text's task lists, without their markup.
fn ticked(markdown: &str) -> HashSet<String> {
    let mut found = HashSet::new();
    // What stands in each of the lists' entries that are not ended yet, where they are ticked.
    let mut entries: Vec<Option<String>> = Vec::new();
    for event in Parser::new_ext(markdown, Options::ENABLE_TASKLISTS) {
        match event {
            Event::Start(Tag::Item) => entries.push(None),
            Event::TaskListMarker(true) => {
                if let Some(entry) = entries.last_mut() {
                    *entry = Some(String::new());
                }
            }
            Event::End(TagEnd::Item) => {
                found.extend(entries.pop().flatten().map(|text| same(&text)));
            }
            // A list within an entry is not part of its text.
            other => {
                if let (Some(text), Some(Some(entry))) = (words(&other), entries.last_mut()) {
                    entry.push_str(text);
                }
            }
        }
    }
    found
}

/// A text without its markup.
fn plain(markdown: &str) -> String {
    let events = Parser::new_ext(markdown, Options::ENABLE_TASKLISTS);
    let text: String = events
        .filter_map(|event| words(&event).map(str::to_owned))
        .collect();
    same(&text)
}

fn words<'a>(event: &'a Event<'_>) -> Option<&'a str> {
    match event {
        Event::Text(text) | Event::Code(text) => Some(text),
        Event::SoftBreak | Event::HardBreak | Event::End(TagEnd::Paragraph) => Some(" "),
        _ => None,
    }
}

/// Texts that differ in blanks and capitals are the same.
fn same(text: &str) -> String {
    let words: Vec<&str> = text.split_whitespace().collect();
    words.join(" ").to_lowercase()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn is_ticked(criterion: &str, text: &str) -> bool {
        ticked(text).contains(&plain(criterion))
    }

    #[test]
    fn a_tick_counts_however_it_is_written() {
        for text in [
            "- [x] All tests pass",
            "* [X]   all  tests   PASS\n",
            "1. [x] All **tests** pass",
            "> - [x] All `tests` pass",
            "# List\n\nwords\n- [ ] other\n- [x] All tests pass\n- last",
            "- [ ] outer\n  - [x] All tests pass",
            "- [x] All tests pass\n  - [ ] inner",
            "- [x] All tests\n  pass",
            "- [x] [All tests](http://ci.example) pass",
            "- [x] All tests pass\n\n- [x] loose",
        ] {
            assert!(is_ticked("All tests pass", text), "{text}");
        }
        assert!(is_ticked("**All** `tests` pass", "- [x] All tests pass"));
        assert!(is_ticked("- All tests pass", "- [x] All tests pass"));
    }

    #[test]
    fn what_only_looks_like_a_tick_does_not_count() {
        for text in [
            "",
            "- [ ] All tests pass",
            "- All tests pass [x]",
            "[x] All tests pass",
            "```\n- [x] All tests pass\n```",
            "`- [x] All tests pass`",
            "<!--\n- [x] All tests pass\n-->",
            "- [x] All tests pass, nearly",
            "- [x] outer\n  - [ ] All tests pass",
            "- [x]\n\n All tests pass",
        ] {
            assert!(!is_ticked("All tests pass", text), "{text}");
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn any_text_is_read(text in "(?s)([-*x\\[\\] \n`>#|a<!]|- \\[x\\] ){0,60}") {
            let _ = ticked(&text);
            let _ = plain(&text);
        }

        #[test]
        fn words_are_found_again(words in "[a-z]{1,8}( [a-z]{1,8}){0,5}", more in "[a-z ]{0,20}") {
            let text = format!("{more}\n\n- [ ] no\n- [x] {words}\n");
            prop_assert!(is_ticked(&words, &text));
        }
    }
}
