//! Rows of files of tables, which only the engine reads.

use std::time::Duration;

use steppe_wire::rows::{RowsAsked, RowsSeen};

use super::ask::Ask;
use crate::kernel::engine::Engine;

/// Longest time of the engine.
const TIME: Duration = Duration::from_secs(20);

/// Asks the engine, as the administrator.
pub async fn of(ask: &Ask, asked: &RowsAsked) -> Result<RowsSeen, String> {
    let answer = tokio::time::timeout(TIME, answer(ask, asked)).await;
    answer.unwrap_or_else(|_| Err(format!("it took longer than {} seconds", TIME.as_secs())))
}

async fn answer(ask: &Ask, asked: &RowsAsked) -> Result<RowsSeen, String> {
    let administrator = ask.cloud.identities.administrator();
    let mut engine = Engine::start(&ask.cloud, &administrator, &["rows"])?;
    engine.say(asked).await?;
    let Some(line) = engine.hear().await? else {
        return Err(engine.end().await?.reason());
    };
    serde_json::from_str(&line).map_err(|error| format!("its answer cannot be read: {error}"))
}
