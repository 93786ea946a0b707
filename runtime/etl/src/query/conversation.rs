//! What the engine asks of the cloud while it works on a statement.

use serde_json::Value;
use steppe_wire::query::{Call, CallError, Called, Catalogue, Needs, QueryFailure, Said, Service};
use tokio::sync::mpsc::Receiver;

use super::failure::failed;

/// Lines to and from whoever started the engine.
pub struct Conversation {
    lines: Receiver<String>,
}

impl Conversation {
    /// With the lines that come.
    pub fn new(lines: Receiver<String>) -> Self {
        Self { lines }
    }

    /// The next line as a value; `None` at the end or when it is another one.
    pub async fn hear<T: serde::de::DeserializeOwned>(&mut self) -> Option<T> {
        serde_json::from_str(&self.lines.recv().await?).ok()
    }

    /// The part of the catalogue that a statement needs.
    pub async fn catalogue(&mut self, needs: Needs) -> Result<Catalogue, QueryFailure> {
        say(&Said::Needs(needs))?;
        self.hear().await.ok_or_else(broken)
    }

    /// An operation of the catalogue, with the caller's rights.
    pub async fn glue(&mut self, operation: &str, input: Value) -> Result<Called, QueryFailure> {
        self.call(Service::Glue, operation, input).await
    }

    /// An operation on prepared statements, with the caller's rights.
    pub async fn athena(&mut self, operation: &str, input: Value) -> Result<Called, QueryFailure> {
        self.call(Service::Athena, operation, input).await
    }

    async fn call(
        &mut self,
        service: Service,
        operation: &str,
        input: Value,
    ) -> Result<Called, QueryFailure> {
        say(&Said::Call(Call { service, operation: operation.to_owned(), input }))?;
        self.hear().await.ok_or_else(broken)
    }

    /// All items of a list, page by page.
    pub async fn all(
        &mut self,
        operation: &str,
        mut input: Value,
        member: &str,
    ) -> Result<Result<Vec<Value>, CallError>, QueryFailure> {
        let mut items = vec![];
        loop {
            let mut answer = match self.glue(operation, input.clone()).await? {
                Ok(answer) => answer,
                Err(error) => return Ok(Err(error)),
            };
            if let Some(page) = answer[member].as_array_mut() {
                items.append(page);
            }
            match answer.get("NextToken") {
                Some(token) if !token.is_null() => input["NextToken"] = token.clone(),
                _ => return Ok(Ok(items)),
            }
        }
    }
}

#[expect(clippy::disallowed_macros, reason = "whoever started the engine reads its lines")]
fn say(said: &Said) -> Result<(), QueryFailure> {
    let line = serde_json::to_string(said).map_err(|error| failed(error.to_string()))?;
    println!("{line}");
    Ok(())
}

fn broken() -> QueryFailure {
    failed("GENERIC_INTERNAL_ERROR: the engine was not answered")
}
