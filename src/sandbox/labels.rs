//! Labels: of a repo, and on an issue.

use serde_json::{Value, json};

use super::access::Caller;
use super::answer::{Answer, Handled, Page};
use super::ask::Ask;
use super::hooks::Happened;
use super::state::{Event, GiteaVersion, Issue, Label, Repo, Site, next};

impl Label {
    pub(super) fn json(&self, site: &Site, repo: &Repo) -> Value {
        json!({
            "id": self.id,
            "name": self.name,
            "exclusive": self.exclusive,
            "is_archived": self.archived,
            "color": self.color,
            "description": self.description,
            "url": format!("{}/labels/{}", site.api_url(repo), self.id),
        })
    }

    /// What stands before the last `/` of an exclusive label's name.
    fn scope(&self) -> Option<&str> {
        let (scope, name) = self.name.rsplit_once('/')?;
        (self.exclusive && !scope.is_empty() && !name.is_empty()).then_some(scope)
    }
}

/// Six lower-case digits of `#rgb`, `#rrggbb`, or either without `#`.
pub(super) fn normalized_color(color: &str) -> Result<String, String> {
    let mut color = color.trim().to_lowercase();
    if matches!(color.len(), 3 | 6) {
        color.insert(0, '#');
    }
    let refused = format!("invalid color: {color}");
    match color.strip_prefix('#') {
        Some(digits) if digits.bytes().all(|b| b.is_ascii_hexdigit()) => match digits.len() {
            3 => Ok(digits.chars().flat_map(|digit| [digit, digit]).collect()),
            6 => Ok(digits.to_owned()),
            _ => Err(refused),
        },
        _ => Err(refused),
    }
}

impl Repo {
    /// Names are not unique: asked twice, it makes two.
    pub(super) fn add_label(
        &mut self,
        site: &mut Site,
        name: &str,
        color: &str,
    ) -> Result<&mut Label, String> {
        let color = normalized_color(color)?;
        let id = next(&mut site.ids.label);
        self.labels.push(Label {
            id,
            name: name.to_owned(),
            color,
            description: String::new(),
            exclusive: false,
            archived: false,
        });
        self.labels.last_mut().ok_or_else(String::new)
    }

    /// By name, and by id where names are the same.
    fn sorted<'a>(labels: impl Iterator<Item = &'a Label>) -> Vec<&'a Label> {
        let mut labels: Vec<_> = labels.collect();
        labels.sort_by(|a, b| (&a.name, a.id).cmp(&(&b.name, b.id)));
        labels
    }

    pub(super) fn labels_json(&self, site: &Site) -> Vec<Value> {
        let labels = Self::sorted(self.labels.iter());
        labels.iter().map(|label| label.json(site, self)).collect()
    }

    pub(super) fn issue_labels_json(&self, site: &Site, issue: &Issue) -> Vec<Value> {
        let labels = Self::sorted(issue.labels.iter().filter_map(|id| self.label(*id)));
        labels.iter().map(|label| label.json(site, self)).collect()
    }

    /// Puts labels on an issue. Ids that are not this repo's are passed over without a word, and
    /// an exclusive label takes the others of its scope off. False where there is no such issue.
    pub(super) fn attach(&mut self, site: &mut Site, user: u64, number: u64, ids: &[u64]) -> bool {
        let Self { labels, issues, .. } = self;
        let Some(issue) = issues.iter_mut().find(|issue| issue.number == number) else {
            return false;
        };
        let label = |id: u64| labels.iter().find(|label| label.id == id);
        for added in ids.iter().filter_map(|id| label(*id)) {
            if issue.labels.contains(&added.id) {
                continue;
            }
            if let Some(scope) = added.scope() {
                let rivals: Vec<u64> = issue
                    .labels
                    .iter()
                    .copied()
                    .filter(|id| label(*id).and_then(Label::scope) == Some(scope))
                    .collect();
                for rival in rivals {
                    issue.detach(site, user, rival);
                }
            }
            issue.labels.push(added.id);
            issue.record(&mut site.ids, user, Event::LabelAdded(added.id));
        }
        true
    }
}

impl Issue {
    fn detach(&mut self, site: &mut Site, user: u64, label: u64) {
        if self.labels.contains(&label) {
            self.labels.retain(|id| *id != label);
            self.record(&mut site.ids, user, Event::LabelRemoved(label));
        }
    }
}

/// `GET /repos/{o}/{r}/labels`.
pub(super) fn list(site: &Site, repo: &Repo, ask: &Ask) -> Handled {
    let all = repo.labels_json(site);
    let total = all.len();
    // Before 1.26 the list is paged only when a page is asked for, whatever `limit` says.
    let paged = site.version >= GiteaVersion::V1_26
        || ask
            .query
            .get("page")
            .and_then(|page| page.parse::<usize>().ok())
            .is_some_and(|page| page > 0);
    let shown = if paged {
        Page::asked(&ask.query).of(all)
    } else {
        all
    };
    Ok(Answer::json(200, &shown.into()).with("X-Total-Count", total))
}

/// `POST /repos/{o}/{r}/labels`.
pub(super) fn create(site: &mut Site, repo: &mut Repo, caller: &Caller, ask: &Ask) -> Handled {
    caller.known(site)?;
    if !caller.writes(repo) {
        return Err(site.error(403, "user should have a permission to write to a repo"));
    }
    let fields = ask.object(site)?;
    let name = fields.required(site, "name")?;
    let color = fields.required(site, "color")?;
    let description = fields.text(site, "description")?.unwrap_or_default();
    let exclusive = fields.flag(site, "exclusive")?.unwrap_or(false);
    let archived = fields.flag(site, "is_archived")?.unwrap_or(false);
    let label = match repo.add_label(site, name, color) {
        Ok(label) => label,
        Err(why) => return Err(site.error(422, why)),
    };
    label.description = description.to_owned();
    label.exclusive = exclusive;
    label.archived = archived;
    let label = label.clone();
    Ok(Answer::json(201, &label.json(site, repo)))
}

/// `GET /repos/{o}/{r}/labels/{id}`.
pub(super) fn get(site: &Site, repo: &Repo, id: u64) -> Handled {
    let label = repo.label(id).ok_or_else(|| site.not_found())?;
    Ok(Answer::json(200, &label.json(site, repo)))
}

/// `GET /repos/{o}/{r}/issues/{n}/labels`.
pub(super) fn list_of_issue(site: &Site, repo: &Repo, number: u64) -> Handled {
    let issue = repo.issue(number).ok_or_else(|| site.not_found())?;
    let labels = repo.issue_labels_json(site, issue);
    Ok(Answer::json(200, &labels.into()))
}

/// `POST` adds to what is there, `PUT` replaces it.
pub(super) fn add_to_issue(
    site: &mut Site,
    repo: &mut Repo,
    caller: &Caller,
    number: u64,
    ask: &Ask,
) -> Handled {
    let user = caller.known(site)?;
    let fields = ask.object(site)?;
    let issue = repo.issue(number).ok_or_else(|| site.not_found())?;
    let wanted = wanted_ids(site, repo, fields.get("labels"))?;
    if !caller.writes(repo) {
        return Err(site.error(403, "write permission is required"));
    }
    if ask.method == "PUT" {
        let dropped: Vec<u64> = issue
            .labels
            .iter()
            .copied()
            .filter(|id| !wanted.contains(id))
            .collect();
        if let Some(issue) = repo.issue_mut(number) {
            for label in dropped {
                issue.detach(site, user, label);
            }
        }
    }
    repo.attach(site, user, number, &wanted);
    // Also where nothing changed, as Gitea does.
    site.notice(repo.id, number, user, Happened::Labels("label_updated"));
    list_of_issue(site, repo, number)
}

/// Ids as they stand, or the ids of every label that has one of the names. A number written as a
/// string is a name.
fn wanted_ids(site: &Site, repo: &Repo, labels: Option<&Value>) -> Result<Vec<u64>, Answer> {
    let none = Vec::new();
    let labels = match labels {
        None => &none,
        Some(Value::Array(labels)) => labels,
        Some(_) => {
            let why = "[]: json: cannot unmarshal value into Go struct field .labels of type []any";
            return Err(site.error(422, why));
        }
    };
    let names: Vec<&str> = labels.iter().filter_map(Value::as_str).collect();
    if names.is_empty() && labels.iter().all(Value::is_number) {
        return Ok(labels.iter().filter_map(Value::as_u64).collect());
    }
    if names.len() != labels.len() {
        return Err(site.error(400, "labels should be an array of strings or integers"));
    }
    let named = |label: &&Label| names.contains(&label.name.as_str());
    Ok(repo
        .labels
        .iter()
        .filter(named)
        .map(|label| label.id)
        .collect())
}

/// `DELETE /repos/{o}/{r}/issues/{n}/labels/{id}`: 204 also where the label is not on the issue.
pub(super) fn remove_from_issue(
    site: &mut Site,
    repo: &mut Repo,
    caller: &Caller,
    number: u64,
    label: u64,
) -> Handled {
    let user = caller.known(site)?;
    if repo.issue(number).is_none() {
        return Err(site.not_found());
    }
    if !caller.writes(repo) {
        return Err(site.error(403, "write permission is required"));
    }
    if repo.label(label).is_none() {
        return Err(site.error(422, "label does not exist [label_id: 0]"));
    }
    if let Some(issue) = repo.issue_mut(number) {
        issue.detach(site, user, label);
    }
    let happened = Happened::Labels("label_updated");
    site.notice(repo.id, number, user, happened);
    Ok(Answer::empty(204))
}

/// `DELETE /repos/{o}/{r}/issues/{n}/labels`: all of them.
pub(super) fn clear(site: &mut Site, repo: &mut Repo, caller: &Caller, number: u64) -> Handled {
    let user = caller.known(site)?;
    if repo.issue(number).is_none() {
        return Err(site.not_found());
    }
    if !caller.writes(repo) {
        return Err(site.error(403, "write permission is required"));
    }
    if let Some(issue) = repo.issue_mut(number) {
        for label in issue.labels.clone() {
            issue.detach(site, user, label);
        }
    }
    let happened = Happened::Labels("label_cleared");
    site.notice(repo.id, number, user, happened);
    Ok(Answer::empty(204))
}
