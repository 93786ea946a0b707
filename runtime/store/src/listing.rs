//! Listings with encoded keys, page by page, signed as the library signs its own requests.

use std::sync::Arc;
use std::time::Duration;

use futures::stream::{self, BoxStream};
use futures::{StreamExt, TryStreamExt};
use http::{HeaderValue, Method, StatusCode};
use http_body_util::{BodyExt, Limited};
use object_store::aws::{AmazonS3Builder, AmazonS3ConfigKey, AwsAuthorizer, AwsCredentialProvider};
use object_store::client::{
    HttpClient, HttpConnector, HttpRequest, HttpRequestBody, ReqwestConnector,
};
use object_store::path::Path;
use object_store::{ClientOptions, Error, ListResult, ObjectMeta, Result};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use thiserror::Error as ThisError;

use crate::page::{Page, Refusal};

/// Pages of one listing; ten million objects.
const PAGES_MAX: usize = 10_000;
/// Bytes of one page: a thousand keys of a thousand bytes, each written in three.
const PAGE_BYTES_MAX: usize = 8 * 1024 * 1024;
/// Times that a page is asked for.
const TRIES: u32 = 5;
/// Wait before the second try; each further one is twice as long.
const PAUSE: Duration = Duration::from_millis(100);
/// What a query carries as it is.
const QUERY: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~');
const OWNER_HEADER: &str = "x-amz-expected-bucket-owner";

/// Why a listing failed.
#[derive(Debug, ThisError)]
enum Failure {
    #[error("S3 answered with {0}: {1} {2}")]
    Refused(StatusCode, String, String),
    #[error("the answer is no listing: {0}")]
    NoListing(String),
    #[error("there are more than {PAGES_MAX} pages")]
    TooLong,
    #[error("S3 names the same next page again and again")]
    Circle,
    #[error("the settings make no request: {0}")]
    Settings(String),
}

/// What lists a bucket.
#[derive(Debug)]
pub struct Listing {
    client: HttpClient,
    credentials: AwsCredentialProvider,
    region: String,
    /// Address of the bucket, without a slash at its end.
    address: String,
    owner: Option<HeaderValue>,
}

impl Listing {
    /// Of the bucket that `builder` describes.
    pub fn new(
        builder: &AmazonS3Builder,
        credentials: AwsCredentialProvider,
        owner: Option<String>,
    ) -> Result<Self> {
        let setting = |key: AmazonS3ConfigKey| builder.get_config_value(&key);
        let bucket = setting(AmazonS3ConfigKey::Bucket).unwrap_or_default();
        let region = setting(AmazonS3ConfigKey::Region).unwrap_or_else(|| "us-east-1".to_owned());
        let endpoint =
            setting(AmazonS3ConfigKey::S3Endpoint).or(setting(AmazonS3ConfigKey::Endpoint));
        let endpoint = endpoint.unwrap_or_else(|| format!("https://s3.{region}.amazonaws.com"));
        let endpoint = endpoint.trim_end_matches('/');
        let options = ClientOptions::new().with_allow_http(endpoint.starts_with("http://"));
        let owner = owner.map(|owner| HeaderValue::try_from(owner).map_err(|e| e.to_string()));
        Ok(Self {
            client: ReqwestConnector::default().connect(&options)?,
            credentials,
            region,
            address: format!("{endpoint}/{bucket}"),
            owner: owner.transpose().map_err(|e| failed(Failure::Settings(e)))?,
        })
    }

    /// All objects below `folder`.
    pub fn objects(
        self: Arc<Self>,
        folder: Option<&Path>,
    ) -> BoxStream<'static, Result<ObjectMeta>> {
        let objects = |page: Page| stream::iter(page.objects);
        self.pages(folder, false).map_ok(objects).map(flat).flatten().boxed()
    }

    /// The objects and folders directly in `folder`.
    pub async fn level(self: Arc<Self>, folder: Option<&Path>) -> Result<ListResult> {
        let mut pages = self.pages(folder, true);
        let mut level = ListResult { common_prefixes: vec![], objects: vec![] };
        while let Some(page) = pages.try_next().await? {
            for object in page.objects {
                level.objects.push(object?);
            }
            for folder in page.folders {
                level.common_prefixes.push(folder?);
            }
        }
        Ok(level)
    }

    fn pages(
        self: Arc<Self>,
        folder: Option<&Path>,
        level: bool,
    ) -> BoxStream<'static, Result<Page>> {
        let folder = folder.map_or("", Path::as_ref);
        let slash = if folder.is_empty() { "" } else { "/" };
        let mut query = format!("prefix={}", escaped(&format!("{folder}{slash}")));
        if level {
            query.push_str("&delimiter=%2F");
        }
        let begin = Some((0, None::<String>));
        let pages = stream::try_unfold(begin, move |at| {
            let (listing, query) = (self.clone(), query.clone());
            async move {
                let Some((number, token)) = at else { return Ok(None) };
                if number == PAGES_MAX {
                    return Err(failed(Failure::TooLong));
                }
                let page = listing.page(&query, token.as_deref()).await?;
                if page.next.is_some() && page.next == token {
                    return Err(failed(Failure::Circle));
                }
                let then = page.next.clone().map(|next| (number + 1, Some(next)));
                Ok(Some((page, then)))
            }
        });
        pages.boxed()
    }

    /// One page; what may succeed is tried again.
    async fn page(&self, query: &str, token: Option<&str>) -> Result<Page> {
        let token = token.map_or(String::new(), |t| format!("continuation-token={}&", escaped(t)));
        let address = format!("{}?{token}encoding-type=url&list-type=2&{query}", self.address);
        let mut pause = PAUSE;
        for _ in 1..TRIES {
            match self.exchange(&address).await {
                Ok((status, body)) if !is_passing(status) => return self.read(status, &body),
                _ => tokio::time::sleep(pause).await,
            }
            pause *= 2;
        }
        let (status, body) = self.exchange(&address).await?;
        self.read(status, &body)
    }

    async fn exchange(&self, address: &str) -> Result<(StatusCode, String)> {
        let credential = self.credentials.get_credential().await?;
        let request = HttpRequest::new(HttpRequestBody::empty());
        let (mut parts, body) = request.into_parts();
        parts.method = Method::GET;
        parts.uri = address.parse().map_err(|e: http::uri::InvalidUri| {
            failed(Failure::Settings(format!("{address}: {e}")))
        })?;
        if let Some(owner) = &self.owner {
            parts.headers.insert(OWNER_HEADER, owner.clone());
        }
        let mut request = HttpRequest::from_parts(parts, body);
        AwsAuthorizer::new(&credential, "s3", &self.region).authorize(&mut request, None);
        let answer = self.client.execute(request).await.map_err(failed)?;
        let status = answer.status();
        let body = Limited::new(answer.into_body(), PAGE_BYTES_MAX);
        let body = body.collect().await.map_err(|source| Error::Generic { store: "S3", source })?;
        let text = String::from_utf8(body.to_bytes().into()).map_err(failed)?;
        Ok((status, text))
    }

    fn read(&self, status: StatusCode, body: &str) -> Result<Page> {
        if status.is_success() {
            return Page::parse(body).map_err(|e| failed(Failure::NoListing(e)));
        }
        let Refusal { code, message } = Refusal::parse(body);
        let source = Box::new(Failure::Refused(status, code, message));
        let path = self.address.clone();
        Err(match status {
            StatusCode::UNAUTHORIZED => Error::Unauthenticated { path, source },
            StatusCode::FORBIDDEN => Error::PermissionDenied { path, source },
            StatusCode::NOT_FOUND => Error::NotFound { path, source },
            _ => Error::Generic { store: "S3", source },
        })
    }
}

fn escaped(text: &str) -> String {
    utf8_percent_encode(text, QUERY).to_string()
}

/// Whether the same request may succeed a moment later.
fn is_passing(status: StatusCode) -> bool {
    status.is_server_error() || status == StatusCode::TOO_MANY_REQUESTS
}

fn failed(source: impl std::error::Error + Send + Sync + 'static) -> Error {
    Error::Generic { store: "S3", source: Box::new(source) }
}

/// The objects of a page, or why there is none.
fn flat(
    page: Result<impl futures::Stream<Item = Result<ObjectMeta>> + Send + 'static>,
) -> BoxStream<'static, Result<ObjectMeta>> {
    match page {
        Ok(objects) => objects.boxed(),
        Err(error) => stream::iter([Err(error)]).boxed(),
    }
}
