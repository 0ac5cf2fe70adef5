//! What the doctor finds.

use std::time::{Duration, SystemTime};

use serde_json::json;
use timmy_dispatcher::durable::{
    AgentOptions, Builder, Finding, Policy, Receive, Severity, Wishes,
};
use timmy_dispatcher::ledger::machine::Phase;
use timmy_dispatcher::ledger::{Ledger, Options};
use timmy_dispatcher::route::{Registry, Routes};
use timmy_dispatcher::sandbox::Fault;
use timmy_dispatcher::task::AgentName;

use crate::world::{VERSIONS, World, until};

impl World {
    /// As an account that is not the owner's: `dispatcher`, which may write, with these scopes.
    fn doctor(&self, scopes: &[&str]) -> Builder {
        self.gitea
            .create_user("dispatcher", "narrow-token", scopes)
            .unwrap();
        self.gitea.add_writer(&self.repo, "dispatcher").unwrap();
        self.builder_with_token("narrow-token")
    }

    fn builder_with_token(&self, token: &str) -> Builder {
        let mut settings = self.settings();
        token.clone_into(&mut settings.gitea_token);
        let account = |login: &str| AgentOptions {
            gitea_user: Some(login.to_owned()),
            ..AgentOptions::default()
        };
        Builder::new(self.ledger(), settings)
            .agent(AgentName::KIMI_CODE, account("kimi"))
            .agent(AgentName::CLAUDE_CODE, account("claude"))
    }
}

const SCOPES: [&str; 3] = ["write:issue", "read:repository", "read:user"];

fn severities(findings: &[Finding]) -> Vec<(&str, Severity)> {
    let one = |finding: &Finding| finding.severity;
    findings
        .iter()
        .map(|f| (f.check.as_str(), one(f)))
        .collect()
}

/// The one finding that is not well and of that check.
fn wrong<'a>(findings: &'a [Finding], check: &str) -> &'a Finding {
    let mut found = findings
        .iter()
        .filter(|finding| finding.check == check && finding.severity != Severity::Ok);
    match (found.next(), found.next()) {
        (Some(finding), None) => {
            assert!(!finding.advice.is_empty(), "{finding:?}");
            finding
        }
        _ => panic!("not one of {check}: {findings:#?}"),
    }
}

fn errors(findings: &[Finding]) -> Vec<&Finding> {
    let bad = |finding: &&Finding| finding.severity == Severity::Error;
    findings.iter().filter(bad).collect()
}

#[tokio::test]
async fn all_is_well_and_nothing_was_changed() {
    for version in VERSIONS {
        let world = World::new(version);
        let builder = world.doctor(&SCOPES);
        let findings = builder.examine().await;
        use Severity::{Ok, Warning};
        assert_eq!(
            severities(&findings),
            [
                ("settings", Ok),
                ("server", Ok),
                ("clock", Ok),
                ("token", Ok),
                ("repository", Ok),
                ("label claude-ready", Ok),
                ("label kimi-ready", Ok),
                ("account of claude_code", Ok),
                ("account of kimi_code", Ok),
                ("webhook", Ok),
                ("endpoint of agent_api", Warning),
                ("ledger", Ok),
                findings
                    .last()
                    .map(|disk| (disk.check.as_str(), disk.severity))
                    .unwrap(),
            ],
            "{findings:#?}"
        );
        assert!(findings[1].found.contains(world.gitea.version().as_str()));
        assert!(!world.ledger().exists());
        assert!(world.gitea.labels(&world.repo).unwrap().is_empty());
    }
}

#[tokio::test]
async fn each_scope_that_a_token_lacks_is_named() {
    for version in VERSIONS {
        for missing in SCOPES {
            let world = World::new(version);
            let scopes: Vec<&str> = SCOPES.into_iter().filter(|s| *s != missing).collect();
            let findings = world.doctor(&scopes).examine().await;
            let lacking = errors(&findings);
            let named = lacking.iter().filter(|f| {
                f.check == "token" && f.found.contains(missing) && f.advice.contains(missing)
            });
            assert_eq!(named.count(), 1, "{missing}: {findings:#?}");
        }
    }
}

#[tokio::test]
async fn a_token_that_is_not_taken_and_one_that_is_not_there() {
    for version in VERSIONS {
        let world = World::new(version);
        for token in ["bad-token", ""] {
            let findings = world.builder_with_token(token).examine().await;
            let finding = wrong(&findings, "token");
            assert_eq!(finding.severity, Severity::Error);
            assert!(finding.advice.contains("GITEA_TOKEN"));
            assert!(!format!("{findings:?}").contains("bad-token"));
        }
    }
}

#[tokio::test]
async fn an_account_that_may_not_write() {
    for version in VERSIONS {
        let world = World::new(version);
        world
            .gitea
            .create_user("guest", "guest-token", &SCOPES)
            .unwrap();
        let findings = world.builder_with_token("guest-token").examine().await;
        let finding = wrong(&findings, "rights");
        assert_eq!(finding.severity, Severity::Error);
        assert!(finding.advice.contains("collaborator"));
    }
}

#[tokio::test]
async fn repositories_that_cannot_be_worked_on() {
    for version in VERSIONS {
        let world = World::new(version);
        let builder = world.doctor(&SCOPES);
        world.gitea.set_issues_enabled(&world.repo, false).unwrap();
        let findings = builder.examine().await;
        assert!(
            wrong(&findings, "repository")
                .found
                .contains("switched off")
        );
        world.gitea.set_issues_enabled(&world.repo, true).unwrap();
        world.gitea.archive_repo(&world.repo).unwrap();
        let findings = builder.examine().await;
        assert!(wrong(&findings, "repository").found.contains("archived"));
        let mut world = World::new(version);
        let builder = world.doctor(&SCOPES);
        world.gitea.rename_repo(&world.repo, "renamed").unwrap();
        let findings = builder.examine().await;
        let finding = wrong(&findings, "repository");
        assert!(finding.advice.contains("repo move"), "{finding:?}");
        world.repo = "timmy/nowhere".to_owned();
        let findings = world.builder_with_token("narrow-token").examine().await;
        assert!(wrong(&findings, "repository").found.contains("not there"));
    }
}

#[tokio::test]
async fn labels_of_one_name_and_labels_that_take_others_off() {
    for version in VERSIONS {
        let world = World::new(version);
        let mut registry = Registry::default();
        let mut kimi = registry.get(&AgentName::KIMI_CODE).unwrap().clone();
        kimi.gitea_label = Some("agent/kimi".to_owned());
        registry.insert(kimi);
        let first = world
            .gitea
            .create_label(&world.repo, "claude-ready", "#fff")
            .unwrap();
        world
            .gitea
            .duplicate_label(&world.repo, "claude-ready")
            .unwrap();
        let path = format!("/repos/{}/labels", world.repo);
        let label = json!({ "name": "agent/kimi", "color": "#fff", "exclusive": true });
        world.gitea.act("timmy", "POST", &path, &label).unwrap();
        let builder = world.doctor(&SCOPES).team(registry, Routes::default());
        let findings = builder.examine().await;
        let twice = wrong(&findings, "label claude-ready");
        assert!(
            twice.advice.contains(&format!("all but {first},")),
            "{twice:?}"
        );
        assert!(
            wrong(&findings, "label agent/kimi")
                .found
                .contains("exclusive")
        );
    }
}

#[tokio::test]
async fn accounts_of_agents() {
    for version in VERSIONS {
        let world = World::new(version);
        let account = |login: &str| AgentOptions {
            gitea_user: Some(login.to_owned()),
            ..AgentOptions::default()
        };
        let builder = world
            .doctor(&SCOPES)
            .agent(AgentName::KIMI_CODE, account("Dispatcher"))
            .agent(AgentName::CLAUDE_CODE, account("nobody"));
        let findings = builder.examine().await;
        let own = wrong(&findings, "account of kimi_code");
        assert_eq!(own.severity, Severity::Warning);
        assert!(own.found.contains("our own"));
        let none = wrong(&findings, "account of claude_code");
        assert_eq!(none.severity, Severity::Error);
        let builder = world
            .builder_with_token("narrow-token")
            .agent(AgentName::KIMI_CODE, AgentOptions::default());
        let findings = builder.examine().await;
        assert!(
            wrong(&findings, "account of kimi_code")
                .advice
                .contains("gitea_user")
        );
    }
}

#[tokio::test]
async fn webhooks_are_held_against_the_receiver() {
    for version in VERSIONS {
        let world = World::new(version);
        let builder = |token: &str, public_url: &str| {
            world.builder_with_token(token).policy(Policy {
                receive: Some(Receive {
                    address: "127.0.0.1:0".parse().unwrap(),
                    secret: "hook-secret".to_owned(),
                    public_url: Some(public_url.to_owned()),
                }),
                ..Policy::default()
            })
        };
        let ours = "http://127.0.0.1:8000/timmy";
        let look = async |token: &str| builder(token, ours).examine().await;
        world.doctor(&SCOPES);
        // Who does not administer the repository does not see its hooks.
        let findings = look("narrow-token").await;
        let finding = wrong(&findings, "webhook");
        assert!(
            finding
                .advice
                .contains("http://127.0.0.1:8000/timmy/webhooks/gitea")
        );
        let findings = look(world.gitea.token()).await;
        assert!(wrong(&findings, "webhook").found.contains("none of 0"));
        let url = format!("{ours}/webhooks/gitea");
        let path = format!("/repos/{}/hooks", world.repo);
        let hook = |events: &[&str], active: bool, form: &str| {
            json!({
                "type": "gitea", "events": events, "active": active,
                "config": { "url": url, "content_type": form, "secret": "hook-secret" },
            })
        };
        let events = ["issues", "issue_comment"];
        for (hook, found) in [
            (hook(&events, false, "json"), "switched off"),
            (hook(&events, true, "form"), "form"),
            (hook(&events[1..], true, "json"), "not tell of issues"),
        ] {
            let made = world.gitea.act("timmy", "POST", &path, &hook).unwrap();
            let findings = look(world.gitea.token()).await;
            let bad: Vec<&Finding> = findings
                .iter()
                .filter(|f| f.check == "webhook" && f.found.contains(found))
                .collect();
            assert_eq!(bad.len(), 1, "{found}: {findings:#?}");
            let path = format!("{path}/{}", made["id"]);
            world
                .gitea
                .act("timmy", "DELETE", &path, &json!(null))
                .unwrap();
        }
        world
            .gitea
            .act("timmy", "POST", &path, &hook(&events, true, "json"))
            .unwrap();
        let findings = look(world.gitea.token()).await;
        // It is as it should be, and yet nothing will come of it.
        let finding = wrong(&findings, "webhook");
        assert!(finding.advice.contains("ALLOWED_HOST_LIST"), "{finding:?}");
        assert!(finding.advice.contains("loopback"), "{finding:?}");
        assert!(!format!("{findings:?}").contains("hook-secret"));
    }
}

#[tokio::test]
async fn servers_that_are_elsewhere_or_none() {
    for version in VERSIONS {
        let world = World::new(version);
        let builder = world.doctor(&SCOPES);
        for (fault, found) in [
            (
                Fault::redirect(301, "https://git.example/"),
                "moved to https://git.example/",
            ),
            (Fault::status(404), "404"),
            (Fault::status(503).message("maintenance"), "maintenance"),
            (Fault::replace("<html>"), "JSON"),
            (Fault::drop_connection(), "broke off"),
        ] {
            world.gitea.fault(fault.on("GET", "/version")).unwrap();
            let findings = builder.examine().await;
            let finding = wrong(&findings, "server");
            assert!(finding.found.contains(found), "{found}: {finding:?}");
            assert_eq!(finding.severity, Severity::Error);
            world.gitea.clear_faults();
        }
        world.gitea.stop();
        let findings = builder.examine().await;
        assert!(wrong(&findings, "server").found.contains("cannot connect"));
    }
}

#[tokio::test]
async fn a_clock_that_is_wrong() {
    let world = World::new(VERSIONS[0]);
    let builder = world.doctor(&SCOPES);
    for (time, way) in [
        (SystemTime::now() + Duration::from_secs(600), "ahead"),
        (SystemTime::now() - Duration::from_secs(600), "behind"),
    ] {
        let fault = Fault::replace(r#"{"version": "1.26.1"}"#)
            .header("Date", &httpdate::fmt_http_date(time))
            .on("GET", "/version");
        world.gitea.fault(fault).unwrap();
        let findings = builder.examine().await;
        assert!(
            wrong(&findings, "clock").found.contains(way),
            "{findings:?}"
        );
        world.gitea.clear_faults();
    }
}

#[tokio::test]
async fn endpoints_are_connected_to_and_sent_nothing() {
    let world = World::new(VERSIONS[0]);
    let with = |endpoint: String| {
        let mut registry = Registry::default();
        let mut api = registry.get(&AgentName::AGENT_API).unwrap().clone();
        api.api_endpoint = Some(endpoint);
        registry.insert(api);
        world
            .builder_with_token("narrow-token")
            .team(registry, Routes::default())
    };
    world.doctor(&SCOPES);
    let address = world.gitea.address();
    let findings = with(format!("http://me:hidden@{address}/agent"))
        .examine()
        .await;
    let check = "endpoint of agent_api";
    let finding = findings.iter().find(|f| f.check == check).unwrap();
    assert_eq!(finding.severity, Severity::Ok, "{finding:?}");
    assert!(!format!("{findings:?}").contains("hidden"));
    let asked = world.gitea.requests();
    assert!(asked.iter().all(|request| request.path != "/agent"));
    let unused = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let nobody = unused.local_addr().unwrap();
    drop(unused);
    for endpoint in [
        format!("http://{nobody}/"),
        "ftp://agent.example".to_owned(),
    ] {
        let findings = with(endpoint).examine().await;
        assert_eq!(wrong(&findings, check).severity, Severity::Error);
    }
}

#[tokio::test]
async fn settings_that_cannot_be() {
    let world = World::new(VERSIONS[0]);
    let with = async |change: &dyn Fn(&mut timmy_dispatcher::dispatch::Settings)| {
        let mut settings = world.settings();
        change(&mut settings);
        Builder::new(world.ledger(), settings).examine().await
    };
    let findings = with(&|settings| settings.gitea_enabled = false).await;
    assert!(
        wrong(&findings, "settings")
            .advice
            .contains("GITEA_ENABLED")
    );
    let findings = with(&|settings| settings.gitea_repo = "swarm".to_owned()).await;
    assert!(wrong(&findings, "settings").advice.contains("GITEA_REPO"));
    let findings = with(&|settings| settings.gitea_url = "me:pw@git".to_owned()).await;
    assert!(wrong(&findings, "settings").advice.contains("GITEA_URL"));
    assert!(!format!("{findings:?}").contains("pw"));
    assert!(world.gitea.requests().is_empty());
}

#[tokio::test]
async fn the_ledger_and_who_works_on_it() {
    use std::os::unix::fs::PermissionsExt;
    let world = World::new(VERSIONS[0]);
    let doctor = world.doctor(&SCOPES);
    // A visitor is no worker.
    let visitor = world.builder(World::policy()).visit().await.unwrap();
    let findings = doctor.examine().await;
    assert!(wrong(&findings, "workers").found.contains("none runs"));
    // Who is there is known only with the first worker; what comes before it is kept.
    let task = world.task("Fix it");
    let early = visitor.submit(&task, &Wishes::default()).await.unwrap();
    let reason = early.get().await.unwrap().reason;
    assert!(reason.contains("no process has come yet"), "{reason}");
    let worker = world.open().await;
    until(&worker, early.id(), Phase::HandedOver).await;
    let findings = doctor.examine().await;
    let workers: Vec<&Finding> = findings.iter().filter(|f| f.check == "workers").collect();
    assert!(workers[0].found.contains("1 runs"), "{workers:?}");
    assert!(workers[0].found.contains("kimi_code"), "{workers:?}");
    // Nobody does Timmy's own work here.
    assert!(workers[1].found.contains("timmy"), "{workers:?}");
    let ledger = world.ledger();
    for (mode, severity) in [(0o644, Severity::Warning), (0o600, Severity::Ok)] {
        std::fs::set_permissions(&ledger, std::fs::Permissions::from_mode(mode)).unwrap();
        let findings = doctor.examine().await;
        let finding = findings.iter().find(|f| f.check == "permissions").unwrap();
        assert_eq!(finding.severity, severity);
    }
    worker.close(Duration::from_secs(5)).await;
    let findings = doctor.examine().await;
    assert!(wrong(&findings, "workers").found.contains("none runs"));
    assert_eq!(Ledger::check(&ledger).await.unwrap(), Vec::<String>::new());
}

#[tokio::test]
async fn ledgers_that_are_none_or_newer() {
    let world = World::new(VERSIONS[0]);
    let doctor = world.doctor(&SCOPES);
    let ledger = world.ledger();
    std::fs::write(
        &ledger,
        "no database, but text that is long enough to be read",
    )
    .unwrap();
    let findings = doctor.examine().await;
    assert_eq!(wrong(&findings, "ledger").severity, Severity::Error);
    std::fs::remove_file(&ledger).unwrap();
    Ledger::visit(&ledger, Options::default()).await.unwrap();
    let findings = doctor.examine().await;
    assert!(errors(&findings).is_empty(), "{findings:#?}");
}

#[tokio::test]
async fn a_ledger_that_cannot_be_reached() {
    let world = World::new(VERSIONS[0]);
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let nobody = free.local_addr().unwrap();
    drop(free);
    let place = format!("postgresql://me:hunter22@{nobody}/db");
    let findings = Builder::new(place, world.settings()).examine().await;
    let finding = wrong(&findings, "ledger");
    assert_eq!(finding.severity, Severity::Error);
    let there = nobody.to_string();
    assert!(finding.found.contains(&there), "{finding:?}");
    assert!(
        finding.advice.contains("that PostgreSQL runs"),
        "{finding:?}"
    );
    assert!(!format!("{findings:?}").contains("hunter22"));
}
