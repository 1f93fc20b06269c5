//! `curl`: HTTP by a client that others wrote. Never fails on a status; fails when curl itself cannot finish.

use super::rest::Rest;
use serde_json::Value;
use std::fmt::Display;
use std::io::Write as _;
use std::process::{Command, Stdio};
use std::thread::JoinHandle;

/// What curl is to print after the body: all that tests look at of the head.
const REPORT: &str = "\n%{http_code}\t%header{retry-after}\t%header{content-type}\t%header{allow}";

/// One request.
#[derive(Debug)]
pub struct Curl {
    arguments: Vec<String>,
    body: Option<Vec<u8>>,
}

/// What came back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    pub status: u16,
    pub body: Vec<u8>,
    /// Empty when it was not there, as the next ones.
    pub retry_after: String,
    pub content_type: String,
    pub allow: String,
}

impl Answer {
    /// The body as text.
    #[must_use]
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// The JSON body, when the status is 200.
    ///
    /// # Panics
    /// When it is another, or the body is no JSON.
    #[must_use]
    pub fn json(&self) -> Value {
        assert_eq!(self.status, 200, "{}", self.text());
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error}: {}", self.text()))
    }
}

impl Curl {
    /// GET.
    #[must_use]
    pub fn get(url: impl Display) -> Self {
        Self { arguments: vec![url.to_string()], body: None }
    }

    /// POST of what is said to be JSON.
    #[must_use]
    pub fn post(url: impl Display, body: &str) -> Self {
        let curl = Self::get(url).argument("-H").argument("Content-Type: application/json");
        Self { body: Some(body.as_bytes().to_vec()), ..curl }
    }

    /// Another method.
    #[must_use]
    pub fn method(self, method: &str) -> Self {
        self.argument("-X").argument(method)
    }

    /// One more argument of the command line.
    #[must_use]
    pub fn argument(mut self, argument: impl Display) -> Self {
        self.arguments.push(argument.to_string());
        self
    }

    /// As the user of `rest`.
    #[must_use]
    pub fn by(self, rest: &Rest) -> Self {
        self.argument("-H").argument(format!("X-Authorization: Bearer {}", rest.token()))
    }

    /// Runs to its end.
    ///
    /// # Panics
    /// When curl cannot finish the exchange.
    #[must_use]
    pub fn run(self) -> Answer {
        self.attempt().unwrap_or_else(|said| panic!("curl: {said}"))
    }

    /// Runs in the background, for requests that wait for something.
    #[must_use]
    pub fn start(self) -> JoinHandle<Answer> {
        std::thread::spawn(move || self.run())
    }

    /// Runs to its end, or says what curl says.
    pub fn attempt(self) -> Result<Answer, String> {
        let mut command = Command::new("curl");
        command.args(["--silent", "--show-error", "--http1.1", "--max-time", &super::PATIENCE.as_secs().to_string()]);
        command.args(["--write-out", REPORT]).args(&self.arguments);
        if self.body.is_some() {
            command.args(["--data-binary", "@-"]);
        }
        let child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn();
        let mut child = child.unwrap_or_else(|error| panic!("curl: {error}: install curl"));
        let mut stdin = child.stdin.take().expect("stdin is piped");
        if let Some(body) = &self.body {
            // curl reads all of it before it connects.
            stdin.write_all(body).expect("curl reads the body");
        }
        drop(stdin);
        let output = child.wait_with_output().expect("a child can be waited for");
        if !output.status.success() {
            return Err(format!("{:?}: {}", self.arguments, String::from_utf8_lossy(&output.stderr)));
        }
        Ok(read(&output.stdout))
    }
}

fn read(output: &[u8]) -> Answer {
    let end = output.iter().rposition(|byte| *byte == b'\n').expect("the report begins a line");
    let (body, report) = output.split_at(end);
    let report = String::from_utf8_lossy(report).trim_start().to_owned();
    let mut parts = report.split('\t').map(str::to_owned);
    let mut next = || parts.next().unwrap_or_default();
    let status = next().parse().expect("curl reports the status");
    Answer { status, body: body.to_vec(), retry_after: next(), content_type: next(), allow: next() }
}
