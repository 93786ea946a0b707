//! The console: what is in this cloud, as web pages below `/_steppe/`, rendered by the server.
//!
//! It only looks: the one thing that it starts are statements of SQL that read. It works without
//! JavaScript, which adds sorting of tables and fresh pages while something is at work.
//!
//! It is for the owner of the state folder. Who can read the file `identity` there gets a session
//! ([`session`]); everything else gets a page that says how. Beside what keeps web pages out of the
//! whole port ([`crate::protocol`]), the host must be `127.0.0.1` or `localhost` with this cloud's
//! port, forms carry a token, and nothing that is shown can run: all text is escaped, objects are
//! shown as text or handed out as attachments, and reports are in a sandbox of their own.
//!
//! Values of `NoEcho` parameters, of environment variables and of arguments that are named like
//! secrets are masked ([`mask`]). Every page is bounded in rows, bytes and time, and few are made
//! at once.
//!
//! What it reads is read with the administrator's rights and is no call: no script of faults counts
//! it, and no audit log has it.

mod ask;
mod buckets;
mod card;
mod catalogue;
mod chart;
mod chart_text;
mod execution;
mod faults;
mod forecasts;
mod found;
mod frame;
mod functions;
mod graph;
mod html;
mod instances;
mod jobs;
mod links;
mod logs;
mod machines;
mod mask;
mod messages;
mod objects;
mod overview;
mod preview;
mod queries;
mod roles;
mod rows;
mod session;
mod sql;
mod stack;
mod stacks;
mod states;
mod table;
mod yaml;

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::http::request::Parts;
use axum::http::{HeaderName, HeaderValue, Method, Request, StatusCode, header};
use axum::response::{IntoResponse, Response};
use tokio::sync::Semaphore;

use self::ask::{Answer, Ask, Problem};
use self::frame::Page;
use self::session::Session;
use crate::kernel::cloud::Cloud;

/// Bytes of a form: the longest statement, with each of its bytes written as three.
const FORM_BYTES_MAX: usize = 1024 * 1024;
/// Longest time of a page.
const PAGE_TIME: Duration = Duration::from_secs(30);
/// Pages that are made at once; the others wait.
const PAGES: usize = 4;
static MAKING: Semaphore = Semaphore::const_new(PAGES);

const STYLE: &str = include_str!("console/style.css");
const SCRIPT: &str = include_str!("console/script.js");

/// What nothing but the console's own files may be in a page.
const POLICY: &str = "default-src 'none'; style-src 'self'; img-src 'self' data:; \
    script-src 'self'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'";

type Made<'a> = Pin<Box<dyn Future<Output = Result<Answer, Problem>> + Send + 'a>>;

/// A page: its address below `/_steppe/`, how it is asked for, and what makes it.
struct Route {
    path: &'static str,
    method: Method,
    make: for<'a> fn(&'a Ask) -> Made<'a>,
}

macro_rules! routes {
    ($($method:ident $path:literal => $make:path),* $(,)?) => {
        /// All pages.
        static ROUTES: &[Route] = &[$(Route {
            path: $path,
            method: Method::$method,
            make: |ask| Box::pin($make(ask)),
        }),*];
    };
}

routes![
    GET "" => overview::page,
    GET "stacks" => stacks::list,
    GET "stack" => stack::page,
    GET "buckets" => buckets::list,
    GET "bucket" => buckets::one,
    GET "object" => objects::page,
    GET "download" => objects::download,
    GET "report" => objects::report,
    GET "databases" => catalogue::databases,
    GET "database" => catalogue::database,
    GET "table" => catalogue::table,
    GET "sql" => sql::form,
    POST "sql" => sql::run,
    GET "queries" => queries::list,
    GET "query" => queries::one,
    GET "machines" => machines::list,
    GET "machine" => machines::one,
    GET "execution" => execution::page,
    GET "history" => execution::history,
    GET "map_run" => machines::map_run,
    GET "functions" => functions::list,
    GET "function" => functions::one,
    GET "instances" => instances::list,
    GET "instance" => instances::one,
    GET "logs" => logs::groups,
    GET "log" => logs::events,
    GET "jobs" => jobs::list,
    GET "job" => jobs::job,
    GET "crawler" => jobs::crawler,
    GET "rules" => messages::rules,
    GET "rule" => messages::rule,
    GET "topics" => messages::topics,
    GET "outbox" => messages::outbox,
    GET "mail" => messages::mail,
    GET "alarms" => messages::alarms,
    GET "models" => card::list,
    GET "model" => card::page,
    GET "forecasts" => forecasts::list,
    GET "forecast" => forecasts::one,
    GET "roles" => roles::list,
    GET "role" => roles::one,
    GET "faults" => faults::page,
    GET "covered" => faults::covered,
];

/// Whether the console has that path below `/_steppe/`.
pub fn has(path: &str) -> bool {
    matches!(path, "login" | "logout" | "ticket" | "style.css" | "script.js")
        || ROUTES.iter().any(|route| route.path == path)
}

/// Answers a request to `/_steppe/PATH`.
pub async fn answer(cloud: &Arc<Cloud>, path: &str, request: Request<Body>) -> Response {
    let (parts, body) = request.into_parts();
    if !session::is_own_host(&parts, cloud.config.port) {
        let host = format!("127.0.0.1:{}", cloud.config.port);
        let words =
            format!("The console is at http://{host}/_steppe/ and answers to no other name.");
        return guarded((StatusCode::MISDIRECTED_REQUEST, words).into_response());
    }
    let body = axum::body::to_bytes(body, FORM_BYTES_MAX).await;
    let Ok(body) = body else {
        let words = "The form is too large, or it did not arrive.";
        return guarded((StatusCode::PAYLOAD_TOO_LARGE, words).into_response());
    };
    let session = Session::of(cloud);
    let form = |bytes: &[u8]| url::form_urlencoded::parse(bytes).into_owned().collect();
    let fields = match parts.method {
        Method::POST => form(&body),
        _ => form(parts.uri.query().unwrap_or_default().as_bytes()),
    };
    match (&parts.method, path) {
        (&Method::GET, "style.css") => guarded(file("text/css; charset=utf-8", STYLE)),
        (&Method::GET, "script.js") => guarded(file("text/javascript; charset=utf-8", SCRIPT)),
        (&Method::POST, "ticket") => guarded(session.ticket(&parts.headers)),
        (&Method::GET | &Method::POST, "login") => guarded(session.log_in(cloud, &fields)),
        _ if !session.is_in(&parts.headers) => {
            guarded(session::closed(cloud, StatusCode::UNAUTHORIZED, ""))
        }
        (&Method::POST, _) if !session.is_form(&parts, &fields) => {
            let words = "The form did not come from this console. Load its page again.";
            guarded((StatusCode::FORBIDDEN, words).into_response())
        }
        (&Method::POST, "logout") => guarded(session.log_out()),
        _ => {
            let ask = Ask { cloud: cloud.clone(), fields, form_token: session.form_token() };
            page(path, &parts, ask).await
        }
    }
}

fn route(path: &str, method: &Method) -> Result<&'static Route, Problem> {
    let mut routes = ROUTES.iter().filter(|route| route.path == path);
    let found = routes.clone().find(|route| route.method == *method);
    found.ok_or_else(|| match routes.next() {
        Some(_) => Problem {
            status: StatusCode::METHOD_NOT_ALLOWED,
            title: "This cannot be done".to_owned(),
            words: format!("There is no {method} of this page."),
        },
        None => Problem::absent("There is no such page."),
    })
}

/// Makes a page on a thread of its own, because it reads files and records.
async fn page(path: &str, parts: &Parts, ask: Ask) -> Response {
    let route = match route(path, &parts.method) {
        Ok(route) => route,
        Err(problem) => return html(problem.status, &ask, path, &problem.page()),
    };
    let shown = ask.clone();
    let made = tokio::task::spawn_blocking(move || {
        tokio::runtime::Handle::current().block_on(async {
            let _place = MAKING.acquire().await.map_err(|error| Problem::failed(&error))?;
            (route.make)(&ask).await
        })
    });
    match tokio::time::timeout(PAGE_TIME, made).await {
        Ok(Ok(Ok(Answer::Page(page)))) => html(StatusCode::OK, &shown, route.path, &page),
        Ok(Ok(Ok(Answer::Other(response)))) => guarded(response),
        Ok(Ok(Err(problem))) => html(problem.status, &shown, route.path, &problem.page()),
        Ok(Err(error)) => {
            let problem = Problem::failed(&error);
            html(problem.status, &shown, route.path, &problem.page())
        }
        Err(_) => {
            let problem = Problem {
                status: StatusCode::GATEWAY_TIMEOUT,
                title: "This took too long".to_owned(),
                words: format!("The page was not ready after {} seconds.", PAGE_TIME.as_secs()),
            };
            html(problem.status, &shown, route.path, &problem.page())
        }
    }
}

fn html(status: StatusCode, ask: &Ask, path: &str, page: &Page) -> Response {
    let text = frame::layout(ask, path, page).into_string();
    let mut response =
        (status, [(header::CONTENT_TYPE, "text/html; charset=utf-8")], text).into_response();
    if page.has_form {
        // A form of a page without a referrer has no origin either, and would be refused.
        let policy = HeaderValue::from_static("same-origin");
        response.headers_mut().insert(header::REFERRER_POLICY, policy);
    }
    guarded(response)
}

fn file(kind: &'static str, text: &'static str) -> Response {
    ([(header::CONTENT_TYPE, kind)], text).into_response()
}

/// Adds what keeps browsers from doing anything with an answer but showing it. What an answer says
/// itself stays.
fn guarded(mut response: Response) -> Response {
    let headers = [
        (header::CONTENT_SECURITY_POLICY, POLICY),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::REFERRER_POLICY, "no-referrer"),
        (header::CACHE_CONTROL, "no-store"),
        (header::X_FRAME_OPTIONS, "DENY"),
        (HeaderName::from_static("cross-origin-opener-policy"), "same-origin"),
        (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
    ];
    for (name, value) in headers {
        response.headers_mut().entry(name).or_insert(HeaderValue::from_static(value));
    }
    response
}
