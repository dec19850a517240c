//! Asks a running agent.

use std::{fmt::Write as _, time::Duration};

use anyhow::{Context as _, bail};
use bytes::Bytes;
use clap::Args;
use http::{Request, StatusCode, header};
use http_body_util::{BodyExt as _, Empty, Limited};
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::TokioExecutor,
};
use serde_json::Value as Json;

/// How long an answer may take.
const PATIENCE: Duration = Duration::from_secs(40);
/// Bytes of an answer at most.
const ANSWER_MAX: usize = 256 << 20;

/// Which agent is asked, and how its answer is shown.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Agent")]
pub struct AgentFlags {
    #[command(flatten)]
    agent: Agent,
    /// Print the agent's answer as it is
    #[arg(long)]
    pub json: bool,
}

/// Which agent is asked.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Agent")]
pub struct Agent {
    /// Ask the agent that listens here
    #[arg(long, value_name = "URL", env = "NETSPAN_AGENT", default_value = "http://127.0.0.1:4410")]
    agent: String,
    /// The agent's token
    #[arg(long, value_name = "TOKEN", env = "NETSPAN_TOKEN", hide_env_values = true)]
    token: Option<String>,
}

impl Agent {
    /// The answer to `path` with these words, which may take so long.
    pub fn get(&self, path: &str, words: &[(&str, String)], patience: Duration) -> anyhow::Result<Bytes> {
        let base = self.agent.trim_end_matches('/');
        let base = if base.contains("://") { base.to_owned() } else { format!("http://{base}") };
        if !base.starts_with("http://") {
            bail!("--agent {base}: only http:// is spoken; for another host use a tunnel, such as ssh -L");
        }
        let mut request = Request::get(format!("{base}{path}{}", query(words)));
        if let Some(token) = &self.token {
            request = request.header(header::AUTHORIZATION, format!("Bearer {token}"));
        }
        let request = request.body(Empty::<Bytes>::new()).with_context(|| format!("--agent {base}"))?;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let (status, body) = runtime.block_on(async {
            let client = Client::builder(TokioExecutor::new()).build(HttpConnector::new());
            let answer = async {
                let response = client.request(request).await.with_context(|| {
                    format!("no agent answers at {base}; is netspan run there, and does --agent name its --listen?")
                })?;
                let status = response.status();
                let body = Limited::new(response.into_body(), ANSWER_MAX).collect().await;
                let body = body.map_err(|error| anyhow::anyhow!("{base}: the answer broke off: {error}"))?;
                anyhow::Ok((status, body.to_bytes()))
            };
            tokio::time::timeout(patience, answer).await.with_context(|| format!("{base} does not answer"))?
        })?;
        if status != StatusCode::OK {
            let why =
                serde_json::from_slice::<Json>(&body).ok().and_then(|json| Some(json["error"].as_str()?.to_owned()));
            bail!("{base} refuses: {}", why.unwrap_or_else(|| status.to_string()));
        }
        Ok(body)
    }
}

impl AgentFlags {
    /// The answer to `path` with these words, as JSON.
    pub fn get_json(&self, path: &str, words: &[(&str, String)]) -> anyhow::Result<Json> {
        let body = self.get(path, words)?;
        serde_json::from_slice(&body).context("the answer is no JSON: is this the agent's address?")
    }

    /// The answer to `path` with these words.
    pub fn get(&self, path: &str, words: &[(&str, String)]) -> anyhow::Result<Bytes> {
        self.agent.get(path, words, PATIENCE)
    }

    /// The answer as JSON; nothing if it was printed, because that was asked for.
    pub fn ask(&self, path: &str, words: &[(&str, String)]) -> anyhow::Result<Option<Json>> {
        if self.json {
            super::table::print(&format!("{}\n", String::from_utf8_lossy(&self.get(path, words)?)))?;
            return Ok(None);
        }
        self.get_json(path, words).map(Some)
    }
}

/// Words as a query string (RFC 3986, section 2.1: everything that is not unreserved is escaped).
fn query(words: &[(&str, String)]) -> String {
    let mut text = String::new();
    for (at, (word, value)) in words.iter().enumerate() {
        text.push(if at == 0 { '?' } else { '&' });
        text.push_str(word);
        text.push('=');
        for byte in value.bytes() {
            if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
                text.push(char::from(byte));
            } else {
                let _ = write!(text, "%{byte:02X}");
            }
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_escaped() {
        assert_eq!(query(&[]), "");
        let words = [("path", "/a b&c=é".to_owned()), ("status", ">=400".to_owned())];
        assert_eq!(query(&words), "?path=%2Fa%20b%26c%3D%C3%A9&status=%3E%3D400");
    }
}
