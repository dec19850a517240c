//! A plan's connections, all at once, a task for each.
#![forbid(unsafe_code)]

use anyhow::{Context as _, Result};
use tokio::task::JoinSet;

/// Runs `connection` for each of `count` of them, and gives what they came to in the order in which they ended.
///
/// # Errors
/// The first failure, with the ordinal of its connection; the others are broken off.
pub async fn all<T, F>(count: usize, connection: impl Fn(usize) -> F) -> Result<Vec<T>>
where
    T: Send + 'static,
    F: Future<Output = Result<Vec<T>>> + Send + 'static,
{
    let mut connections = JoinSet::new();
    for ordinal in 0..count {
        let work = connection(ordinal);
        connections.spawn(async move { work.await.with_context(|| format!("connection {ordinal} failed")) });
    }
    let mut all = Vec::new();
    while let Some(done) = connections.join_next().await {
        all.extend(done??);
    }
    Ok(all)
}
