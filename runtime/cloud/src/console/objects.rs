//! One object: what is known of it, its beginning, and its bytes as a download.

use axum::body::Body;
use axum::http::{HeaderValue, header};
use axum::response::{IntoResponse, Response};
use maud::{Markup, html};

use super::ask::{Answer, Ask, Problem};
use super::frame::Page;
use super::html::{bytes, facts, link, section, text, time};
use super::links::to;
use super::preview;
use super::table::table;
use crate::services::s3::{Object, StoreError, VerifiedBytes};

/// Bytes of a report; it is handed out in one piece.
const REPORT_BYTES_MAX: u64 = 16 * 1024 * 1024;
/// What a report may do: show itself, with its own styles and pictures.
const REPORT_POLICY: &str = "sandbox; default-src 'none'; style-src 'unsafe-inline'; \
    img-src data:; font-src data:; form-action 'none'; frame-ancestors 'none'; base-uri 'none'";
/// Bytes that are read of a file at a time.
const CHUNK_BYTES: usize = 64 * 1024;

fn refused(error: &StoreError) -> Problem {
    match error {
        StoreError::NoSuchBucket | StoreError::NoSuchKey => Problem::absent(error.to_string()),
        other => Problem::failed(other),
    }
}

/// The page.
pub async fn page(ask: &Ask) -> Result<Answer, Problem> {
    let (bucket, key) = (ask.required("bucket")?, ask.required("key")?);
    let object = ask.cloud.services.s3.head(bucket, key).map_err(|e| refused(&e))?;
    let fields = [("bucket", bucket), ("key", key)];
    let folder = key.rfind('/').map_or("", |at| &key[..=at]);
    let body = html! {
        (about(bucket, key, &object))
        p.actions {
            (link(&to("download", &fields), "Download"))
            @if is_report(key) { (link(&to("report", &fields), "Show as a page, without scripts")) }
            @if key.ends_with("/card.json") {
                (link(&to("model", &fields), "Read as a model card"))
            }
        }
        (pairs("Metadata", object.meta.metadata.iter()))
        (pairs("Tags", object.meta.tags.iter()))
        (section("Beginning", &preview::of(ask, bucket, key, &object).await))
    };
    let page = Page::new(key.rsplit('/').find(|part| !part.is_empty()).unwrap_or(key), body)
        .below("Buckets", to("buckets", &[]))
        .below(bucket, to("bucket", &[("name", bucket)]));
    Ok(if folder.is_empty() {
        page
    } else {
        page.below(folder, to("bucket", &[("name", bucket), ("prefix", folder)]))
    }
    .into())
}

fn about(bucket: &str, key: &str, object: &Object) -> Markup {
    let meta = &object.meta;
    let maybe = |value: &Option<String>| text(value.as_deref().unwrap_or_default());
    facts(vec![
        ("Address", text(&format!("s3://{bucket}/{key}"))),
        ("Size", text(&bytes(object.size))),
        ("Written", time(object.modified)),
        ("ETag", text(&object.etag)),
        ("Content-Type", maybe(&meta.content_type)),
        ("Content-Encoding", maybe(&meta.content_encoding)),
        ("Content-Disposition", maybe(&meta.content_disposition)),
        ("Content-Language", maybe(&meta.content_language)),
        ("Cache-Control", maybe(&meta.cache_control)),
        ("Expires", maybe(&meta.expires)),
    ])
}

fn pairs<'a>(title: &str, pairs: impl Iterator<Item = (&'a String, &'a String)>) -> Markup {
    let rows: Vec<Vec<Markup>> = pairs.map(|(name, value)| vec![text(name), text(value)]).collect();
    html! { @if !rows.is_empty() { (section(title, &table(title, &["Name", "Value"], &rows))) } }
}

fn is_report(key: &str) -> bool {
    let key = key.to_ascii_lowercase();
    key.ends_with(".html") || key.ends_with(".htm")
}

/// The bytes as a file to keep: never shown by the browser, whatever they are.
pub async fn download(ask: &Ask) -> Result<Answer, Problem> {
    let (bucket, key) = (ask.required("bucket")?, ask.required("key")?);
    let buckets = &ask.cloud.services.s3;
    let (object, file) = buckets.open_object(bucket, key).map_err(|e| refused(&e))?;
    let reader = buckets.reader(&object, file, 0..object.size).map_err(|e| refused(&e))?;
    let mut response = stream(VerifiedBytes::from(reader)).into_response();
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/octet-stream"));
    headers.insert(header::CONTENT_LENGTH, HeaderValue::from(object.size));
    headers.insert(header::CONTENT_DISPOSITION, attachment(key));
    headers.insert(
        header::CONTENT_SECURITY_POLICY,
        HeaderValue::from_static("sandbox; default-src 'none'"),
    );
    Ok(Answer::Other(response))
}

/// Reads on a thread of its own, only as fast as the client takes it.
fn stream(mut bytes: VerifiedBytes) -> Body {
    use std::io::Read as _;

    let (sender, receiver) = tokio::sync::mpsc::channel::<std::io::Result<bytes::Bytes>>(2);
    tokio::task::spawn_blocking(move || {
        loop {
            let mut chunk = vec![0; CHUNK_BYTES];
            let read = bytes.read(&mut chunk).map(|count| {
                chunk.truncate(count);
                bytes::Bytes::from(chunk)
            });
            let is_end = read.as_ref().map_or(true, |chunk| chunk.is_empty());
            let is_empty = read.as_ref().is_ok_and(|chunk| chunk.is_empty());
            if !is_empty && sender.blocking_send(read).is_err() || is_end {
                return;
            }
        }
    });
    let next = |mut receiver: tokio::sync::mpsc::Receiver<_>| async move {
        receiver.recv().await.map(|chunk| (chunk, receiver))
    };
    Body::from_stream(futures::stream::unfold(receiver, next))
}

/// A file name that cannot end the header, in both of its forms.
/// <https://www.rfc-editor.org/rfc/rfc6266>
fn attachment(key: &str) -> HeaderValue {
    let name = key.rsplit('/').find(|part| !part.is_empty()).unwrap_or("object");
    let plain: String = name
        .chars()
        .map(|c| if c.is_ascii_alphanumeric() || "._-".contains(c) { c } else { '_' })
        .take(150)
        .collect();
    let short: String = name.chars().take(150).collect();
    let encoded = percent_encoding::utf8_percent_encode(&short, percent_encoding::NON_ALPHANUMERIC);
    let text = format!("attachment; filename=\"{plain}\"; filename*=UTF-8''{encoded}");
    HeaderValue::from_str(&text).unwrap_or_else(|_| HeaderValue::from_static("attachment"))
}

/// A report as the page that it is, in a sandbox: it has no origin, no scripts and no network.
pub async fn report(ask: &Ask) -> Result<Answer, Problem> {
    let (bucket, key) = (ask.required("bucket")?, ask.required("key")?);
    if !is_report(key) {
        return Err(Problem::wrong("Only files that end in .html are shown as pages."));
    }
    let object = ask.cloud.services.s3.head(bucket, key).map_err(|e| refused(&e))?;
    if object.size > REPORT_BYTES_MAX {
        let most = bytes(REPORT_BYTES_MAX);
        return Err(Problem::wrong(format!(
            "Reports are shown up to {most}; it can be downloaded."
        )));
    }
    let content = ask.cloud.services.s3.read(bucket, key).map_err(|e| refused(&e))?;
    let headers = [
        (header::CONTENT_TYPE, "text/html; charset=utf-8"),
        (header::CONTENT_SECURITY_POLICY, REPORT_POLICY),
    ];
    let response: Response = (headers, content).into_response();
    Ok(Answer::Other(response))
}

#[cfg(test)]
mod tests {
    use super::attachment;

    #[test]
    fn names_of_downloads_stay_in_their_header() {
        let header = |key| attachment(key).to_str().expect("visible").to_owned();
        assert_eq!(header("a/b.csv"), "attachment; filename=\"b.csv\"; filename*=UTF-8''b%2Ecsv");
        let hostile = header("x\"; filename=evil.exe\r\nSet-Cookie: a");
        assert!(!hostile.contains(['\r', '\n']) && !hostile.contains("evil.exe\r"), "{hostile}");
        assert_eq!(hostile.matches('"').count(), 2, "{hostile}");
        assert!(header("Қ.txt").contains("%D2%9A"));
    }
}
