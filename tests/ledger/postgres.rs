//! A PostgreSQL of the tests' own, with a PgBouncer in front of it.

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::OnceLock;

use uuid::Uuid;

pub(crate) struct Server {
    script: Child,
    input: Option<ChildStdin>,
    output: BufReader<ChildStdout>,
    pub(crate) url: String,
    pub(crate) pooled: String,
    pub(crate) certificate: String,
    /// Empty where there is none.
    pub(crate) standby: String,
}

impl Server {
    /// The one for all tests that do nothing to it. Its end is the end of the process, where its
    /// input is closed.
    pub(crate) fn shared() -> &'static Self {
        static SHARED: OnceLock<Server> = OnceLock::new();
        SHARED.get_or_init(|| Self::start(&[]))
    }

    /// With options and settings as the script has them.
    pub(crate) fn start(settings: &[&str]) -> Self {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("scripts/postgres");
        let mut script = Command::new(script)
            .args(settings)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let input = script.stdin.take();
        let output = BufReader::new(script.stdout.take().unwrap());
        let mut server = Self {
            script,
            input,
            output,
            url: String::new(),
            pooled: String::new(),
            certificate: String::new(),
            standby: String::new(),
        };
        server.url = server.line();
        server.pooled = server.line();
        server.certificate = server.line();
        if settings.contains(&"--standby") {
            server.standby = server.line();
        }
        assert!(server.url.starts_with("postgresql://"), "see above");
        server
    }

    fn line(&mut self) -> String {
        let mut line = String::new();
        self.output.read_line(&mut line).unwrap();
        line.trim_end().to_owned()
    }

    /// What the script can do, such as `restart`.
    pub(crate) fn tell(&mut self, what: &str) {
        writeln!(self.input.as_ref().unwrap(), "{what}").unwrap();
        assert_eq!(self.line(), what);
    }

    /// The URL of a schema that nobody has.
    pub(crate) fn schema(&self) -> String {
        let name = Uuid::new_v4().simple();
        format!("{}?schema=test_{name}", self.url)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        drop(self.input.take());
        let _ = self.script.wait();
    }
}
