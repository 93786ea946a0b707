//! What a page is asked, how it looks into the cloud, and how it says that it cannot.

use std::fmt::Display;
use std::sync::Arc;

use axum::http::StatusCode;
use axum::response::Response;
use maud::html;
use serde_json::Value;

use super::frame::Page;
use crate::kernel::cloud::Cloud;
use crate::kernel::error::ApiError;
use crate::kernel::service;

/// Names and values of a form or an address.
pub type Fields = Vec<(String, String)>;

/// Characters of what a page names.
const TEXT_CHARS_MAX: usize = 4_096;

/// What a page is asked.
#[derive(Clone)]
pub struct Ask {
    /// The cloud.
    pub cloud: Arc<Cloud>,
    /// What the address or the form says.
    pub fields: Fields,
    /// What forms carry.
    pub form_token: String,
}

/// What a page answers.
pub enum Answer {
    /// A page.
    Page(Page),
    /// Something else: a file, another address.
    Other(Response),
}

impl From<Page> for Answer {
    fn from(page: Page) -> Self {
        Self::Page(page)
    }
}

impl Ask {
    /// A text that says something.
    pub fn text(&self, name: &str) -> Option<&str> {
        let field = self.fields.iter().find(|(given, _)| given == name);
        field.map(|(_, value)| value.as_str()).filter(|value| !value.is_empty())
    }

    /// A text without which there is no page.
    pub fn required(&self, name: &str) -> Result<&str, Problem> {
        let text =
            self.text(name).ok_or_else(|| Problem::wrong(format!("`{name}` is missing.")))?;
        match text.chars().count() {
            0..=TEXT_CHARS_MAX => Ok(text),
            _ => Err(Problem::wrong(format!("`{name}` is too long."))),
        }
    }

    /// The number of the page of a list, from 0.
    pub fn page(&self) -> usize {
        self.text("page").and_then(|text| text.parse().ok()).unwrap_or(0).min(1_000_000)
    }

    /// What an operation of a service answers to the administrator. Only those that look are
    /// called.
    pub async fn read(
        &self,
        service: &str,
        operation: &str,
        params: Value,
    ) -> Result<Value, ApiError> {
        if !["Describe", "Get", "List"].iter().any(|verb| operation.starts_with(verb)) {
            return Err(ApiError::internal(format!("{operation} is no operation that looks")));
        }
        let administrator = self.cloud.identities.administrator();
        service::unseen(&self.cloud, &administrator, service, operation, &params).await
    }
}

/// Why there is no page.
#[derive(Debug)]
pub struct Problem {
    /// Status.
    pub status: StatusCode,
    /// In few words.
    pub title: String,
    /// What happened.
    pub words: String,
}

impl Problem {
    fn new(status: StatusCode, title: &str, words: impl Into<String>) -> Self {
        Self { status, title: title.to_owned(), words: words.into() }
    }

    /// It is not there.
    pub fn absent(words: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_FOUND, "Not found", words)
    }

    /// It was asked for wrongly.
    pub fn wrong(words: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "This cannot be shown", words)
    }

    /// This process failed.
    pub fn failed(error: &dyn Display) -> Self {
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, "The console failed", error.to_string())
    }

    /// As a page.
    pub fn page(&self) -> Page {
        Page::new(&self.title, html! { p.notice role="alert" { (self.words) } })
    }
}

impl From<ApiError> for Problem {
    fn from(error: ApiError) -> Self {
        let status = StatusCode::from_u16(error.status).unwrap_or(StatusCode::BAD_REQUEST);
        Self::new(status, "The service refused", error.to_string())
    }
}
