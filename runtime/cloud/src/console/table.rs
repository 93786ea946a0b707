//! Tables, and pages of long ones.

use maud::{Markup, html};

use super::ask::Ask;
use super::links;

/// Rows on a page of a table.
pub const ROWS: usize = 50;

/// A table with a caption. A column whose name begins with `#` has numbers; what rows begin with
/// names them.
pub fn table(caption: &str, columns: &[&str], rows: &[Vec<Markup>]) -> Markup {
    if rows.is_empty() {
        return html! { p.quiet { "None." } };
    }
    let is_number = |index: usize| columns.get(index).is_some_and(|name| name.starts_with('#'));
    let class = |index: usize| is_number(index).then_some("number");
    html! {
        div.scroll role="region" aria-label=(caption) tabindex="0" {
            table {
                caption { (caption) }
                thead {
                    tr {
                        @for (index, name) in columns.iter().enumerate() {
                            th scope="col" class=[class(index)] { (name.trim_start_matches('#')) }
                        }
                    }
                }
                tbody {
                    @for row in rows {
                        tr {
                            @for (index, cell) in row.iter().enumerate() {
                                @if index == 0 { th scope="row" class=[class(index)] { (cell) } }
                                @else { td class=[class(index)] { (cell) } }
                            }
                        }
                    }
                }
            }
        }
    }
}

/// The page that is asked for of what is known as a whole, and links to the others.
pub fn paged<T>(ask: &Ask, path: &str, items: Vec<T>) -> (Vec<T>, Markup) {
    paged_by(ask, path, items, ROWS)
}

/// The same with so many items on a page.
pub fn paged_by<T>(ask: &Ask, path: &str, items: Vec<T>, size: usize) -> (Vec<T>, Markup) {
    let count = items.len();
    let pages = count.div_ceil(size).max(1);
    let page = ask.page().min(pages - 1);
    let first = page * size;
    let shown: Vec<T> = items.into_iter().skip(first).take(size).collect();
    let address = |page: usize| links::again(path, &ask.fields, &[("page", &page.to_string())]);
    let pager = html! {
        @if pages > 1 {
            nav.pager aria-label="Pages" {
                @if page > 0 { a rel="prev" href=(address(page - 1)) { "Previous" } }
                span { (first + 1) " to " (first + shown.len()) " of " (count) }
                @if page + 1 < pages { a rel="next" href=(address(page + 1)) { "Next" } }
            }
        }
    };
    (shown, pager)
}

/// Links to the first and the next page of what is known page by page.
pub fn onward(ask: &Ask, path: &str, field: &str, next: Option<&str>) -> Markup {
    let is_first = ask.text(field).is_none();
    let address = |value: &str| links::again(path, &ask.fields, &[(field, value)]);
    html! {
        @if !is_first || next.is_some() {
            nav.pager aria-label="Pages" {
                @if !is_first { a href=(address("")) { "First page" } }
                @if let Some(next) = next {
                    a rel="next" href=(address(next)) { "Next page" }
                }
            }
        }
    }
}
