//! The states of a machine as a picture: an SVG in the page, drawn by the server.
//!
//! A state is as far down as the longest way to it; what leads past others is drawn at the left
//! side, what leads back at the right. What a Parallel or a Map runs is within its box. The same is
//! in a table below the picture.

use std::collections::{BTreeMap, BTreeSet};

use maud::{Markup, html};
use serde_json::Value;

use super::html::{kind_of, short};

/// States of a picture.
const STATES_MAX: usize = 250;
/// Machines within each other.
const DEPTH_MAX: usize = 6;
const NODE_HEIGHT: f64 = 46.0;
const CHAR_WIDTH: f64 = 7.4;
/// Room for a type and a status.
const WIDTH_MIN: f64 = 158.0;
/// Between ways at a side.
const LANE: f64 = 9.0;
const LANES_MAX: usize = 6;
const NAME_CHARS: usize = 30;
const ACROSS: f64 = 26.0;
const DOWN: f64 = 40.0;
const PADDING: f64 = 16.0;
const HEADING: f64 = 46.0;

/// What is known of a state in an execution: its status and how often it was visited.
pub type Statuses = BTreeMap<String, (&'static str, usize)>;

/// States with their places.
struct Block {
    width: f64,
    height: f64,
    nodes: Vec<Node>,
    edges: Vec<Edge>,
    ranks: Vec<usize>,
    /// Where each row ends.
    bottoms: Vec<f64>,
}

struct Node {
    name: String,
    kind: String,
    x: f64,
    y: f64,
    width: f64,
    height: f64,
    inner: Vec<Block>,
}

#[derive(Clone)]
struct Edge {
    from: usize,
    to: usize,
    is_catch: bool,
}

/// The picture of a definition; nothing when it is too large for one.
pub fn drawn(definition: &Value, statuses: &Statuses) -> Option<Markup> {
    let mut left = STATES_MAX;
    let block = block(definition, 0, &mut left)?;
    let (width, height) = (block.width + 2.0 * PADDING, block.height + 2.0 * PADDING);
    let shown: Vec<String> =
        statuses.iter().map(|(name, (status, _))| format!("{name}: {status}")).collect();
    let label = format!("Graph of the states. {}", shown.join(", "));
    Some(html! {
        div.scroll role="region" aria-label="Graph" tabindex="0" {
            svg.graph viewBox={ "0 0 " (width) " " (height) } width=(width) height=(height)
                role="img" aria-label=(label) {
                (arrow_head())
                g transform={ "translate(" (PADDING) " " (PADDING) ")" } {
                    (picture(&block, statuses))
                }
            }
        }
    })
}

fn arrow_head() -> Markup {
    html! {
        defs {
            marker #arrow viewBox="0 0 10 10" refX="9" refY="5" markerWidth="7" markerHeight="7"
                orient="auto-start-reverse" {
                path.arrow d="M 0 0 L 10 5 L 0 10 z" {}
            }
        }
    }
}

fn block(machine: &Value, depth: usize, left: &mut usize) -> Option<Block> {
    let states = machine["States"].as_object()?;
    *left = left.checked_sub(states.len())?;
    if depth > DEPTH_MAX || states.is_empty() {
        return None;
    }
    let names: Vec<&String> = states.keys().collect();
    let index: BTreeMap<&str, usize> =
        names.iter().enumerate().map(|(at, n)| (n.as_str(), at)).collect();
    let edges = edges(states, &index);
    let start = machine["StartAt"].as_str().and_then(|name| index.get(name)).copied().unwrap_or(0);
    let ranks = ranks(names.len(), start, &edges);
    let mut nodes = Vec::with_capacity(names.len());
    for (name, state) in states {
        nodes.push(node(name, state, depth, left)?);
    }
    Some(placed(nodes, edges, ranks))
}

fn node(name: &str, state: &Value, depth: usize, left: &mut usize) -> Option<Node> {
    let kind = state["Type"].as_str().unwrap_or_default().to_owned();
    let branches = state["Branches"].as_array().into_iter().flatten();
    let processor =
        [&state["ItemProcessor"], &state["Iterator"]].into_iter().filter(|m| m.is_object());
    let mut inner = Vec::new();
    for machine in branches.chain(processor) {
        inner.push(block(machine, depth + 1, left)?);
    }
    let chars = name.chars().count().min(NAME_CHARS + 1);
    let own = (chars as f64 * CHAR_WIDTH + 2.0 * PADDING).max(WIDTH_MIN);
    let within: f64 = inner.iter().map(|b| b.width + ACROSS).sum::<f64>() + PADDING;
    let tallest = inner.iter().map(|b| b.height).fold(0.0, f64::max);
    let (width, height) = match inner.is_empty() {
        true => (own, NODE_HEIGHT),
        false => (own.max(within), HEADING + tallest + PADDING),
    };
    Some(Node { name: name.to_owned(), kind, x: 0.0, y: 0.0, width, height, inner })
}

/// What follows what.
fn edges(states: &serde_json::Map<String, Value>, index: &BTreeMap<&str, usize>) -> Vec<Edge> {
    let mut all = Vec::new();
    let mut seen = BTreeSet::new();
    for (from, (_, state)) in states.iter().enumerate() {
        let each = |member: &str| state[member].as_array().into_iter().flatten();
        let next = [&state["Next"], &state["Default"]].into_iter();
        let next = next.chain(each("Choices").map(|choice| &choice["Next"])).map(|to| (to, false));
        let caught = each("Catch").map(|caught| (&caught["Next"], true));
        for (to, is_catch) in next.chain(caught) {
            let Some(to) = to.as_str().and_then(|name| index.get(name)).copied() else { continue };
            if seen.insert((from, to)) {
                all.push(Edge { from, to, is_catch });
            }
        }
    }
    all
}

/// How far down each state is. What leads back to a state on the way counts nothing.
fn ranks(count: usize, start: usize, edges: &[Edge]) -> Vec<usize> {
    let mut ranks = vec![0; count];
    let mut order = Vec::new();
    let mut marks = vec![0_u8; count];
    // States that nothing leads to come as well.
    for root in std::iter::once(start).chain(0..count) {
        let mut stack = vec![(root, 0)];
        while let Some((state, next)) = stack.pop() {
            if next == 0 {
                if marks[state] != 0 {
                    continue;
                }
                marks[state] = 1;
            }
            match edges.iter().filter(|edge| edge.from == state).nth(next) {
                Some(edge) => {
                    stack.push((state, next + 1));
                    if marks[edge.to] == 0 {
                        stack.push((edge.to, 0));
                    }
                }
                None => {
                    marks[state] = 2;
                    order.push(state);
                }
            }
        }
    }
    order.reverse();
    let position: BTreeMap<usize, usize> =
        order.iter().enumerate().map(|(at, s)| (*s, at)).collect();
    for state in &order {
        for edge in edges.iter().filter(|edge| edge.from == *state) {
            if position[&edge.to] > position[state] {
                ranks[edge.to] = ranks[edge.to].max(ranks[*state] + 1);
            }
        }
    }
    ranks
}

/// Gives each state its place: rows by rank, each in the middle.
fn placed(mut nodes: Vec<Node>, edges: Vec<Edge>, ranks: Vec<usize>) -> Block {
    let deepest = ranks.iter().copied().max().unwrap_or(0);
    let rows: Vec<Vec<usize>> = (0..=deepest)
        .map(|rank| (0..nodes.len()).filter(|at| ranks[*at] == rank).collect())
        .collect();
    let width_of =
        |row: &Vec<usize>| row.iter().map(|at| nodes[*at].width + ACROSS).sum::<f64>() - ACROSS;
    let widths: Vec<f64> = rows.iter().map(width_of).collect();
    let widest = widths.iter().copied().fold(0.0, f64::max);
    // What leads past rows or back runs at the sides.
    let strays = edges.iter().filter(|e| ranks[e.to] != ranks[e.from] + 1).count();
    let side = match strays {
        0 => 0.0,
        count => PADDING + LANE * count.min(LANES_MAX) as f64,
    };
    let (mut y, mut bottoms) = (0.0, Vec::new());
    for (row, width) in rows.iter().zip(widths) {
        let mut x = side + (widest - width) / 2.0;
        let tallest = row.iter().map(|at| nodes[*at].height).fold(0.0, f64::max);
        for at in row {
            (nodes[*at].x, nodes[*at].y) = (x, y);
            x += nodes[*at].width + ACROSS;
        }
        bottoms.push(y + tallest);
        y += tallest + DOWN;
    }
    Block { width: widest + 2.0 * side, height: (y - DOWN).max(0.0), nodes, edges, ranks, bottoms }
}

fn picture(block: &Block, statuses: &Statuses) -> Markup {
    let is_stray = |edge: &&Edge| block.ranks[edge.to] != block.ranks[edge.from] + 1;
    let (strays, near): (Vec<&Edge>, Vec<&Edge>) = block.edges.iter().partition(is_stray);
    html! {
        @for edge in near { (arrow(edge, &ahead(block, edge))) }
        @for (lane, edge) in strays.into_iter().enumerate() {
            (arrow(edge, &aside(block, edge, lane)))
        }
        @for node in &block.nodes { (state(node, statuses)) }
    }
}

fn arrow(edge: &Edge, d: &str) -> Markup {
    let class = if edge.is_catch { "edge catch" } else { "edge" };
    html! { path class=(class) d=(d) marker-end="url(#arrow)" {} }
}

/// The way to the next row.
fn ahead(block: &Block, edge: &Edge) -> String {
    let (from, to) = (&block.nodes[edge.from], &block.nodes[edge.to]);
    let (x1, y1) = (from.x + from.width / 2.0, from.y + from.height);
    let (x2, y2) = (to.x + to.width / 2.0, to.y);
    let bend = DOWN / 2.0;
    // Beside a taller state of the same row straight down first.
    format!("M{x1} {y1} L{x1} {} C{x1} {y2} {x2} {} {x2} {y2}", y2 - 2.0 * bend, y2 - bend)
}

/// The way along a side, past other rows on the left and back on the right: it leaves below its row
/// and arrives above the other one, so that it passes through no state.
fn aside(block: &Block, edge: &Edge, lane: usize) -> String {
    let (from, to) = (&block.nodes[edge.from], &block.nodes[edge.to]);
    let out = 4.0 + LANE * (lane % LANES_MAX) as f64;
    let is_ahead = block.ranks[edge.to] > block.ranks[edge.from];
    let x = if is_ahead { out } else { block.width - out };
    // Beside the middle, where the ways to the next row are.
    let shift = if is_ahead { -14.0 } else { 14.0 };
    let (x1, x2) = (from.x + from.width / 2.0 + shift, to.x + to.width / 2.0 + shift);
    let (y1, y2) = (from.y + from.height, to.y);
    let below = block.bottoms[block.ranks[edge.from]] + DOWN * 0.3;
    let above = y2 - DOWN * 0.3;
    format!("M{x1} {y1} L{x1} {below} L{x} {below} L{x} {above} L{x2} {above} L{x2} {y2}")
}

fn state(node: &Node, statuses: &Statuses) -> Markup {
    let known = statuses.get(&node.name);
    let class = known.map_or("none", |(status, _)| kind_of(status));
    let status = match known {
        Some((status, 1)) => format!("{} · {status}", node.kind),
        Some((status, count)) => format!("{} · {status} ×{count}", node.kind),
        None => node.kind.clone(),
    };
    let middle = node.width / 2.0;
    // Side by side, from the left.
    let beside = node.inner.iter().scan(PADDING, |x, inner| {
        let at = *x;
        *x += inner.width + ACROSS;
        Some((at, inner))
    });
    html! {
        g.state.(class) transform={ "translate(" (node.x) " " (node.y) ")" } {
            title { (node.name) ": " (status) }
            rect x="0" y="0" width=(node.width) height=(node.height) rx="6" {}
            text.name x=(middle) y="20" text-anchor="middle" { (short(&node.name, NAME_CHARS)) }
            text.kind x=(middle) y="36" text-anchor="middle" { (status) }
            @for (at, inner) in beside {
                g transform={ "translate(" (at) " " (HEADING) ")" } { (picture(inner, statuses)) }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn machine() -> Value {
        json!({ "StartAt": "A", "States": {
            "A": { "Type": "Choice", "Choices": [{ "Next": "B" }], "Default": "<C>" },
            "B": { "Type": "Task", "Next": "A", "Catch": [{ "Next": "<C>" }] },
            "<C>": { "Type": "Parallel", "End": true, "Branches": [
                { "StartAt": "D", "States": { "D": { "Type": "Pass", "End": true } } },
                { "StartAt": "E", "States": { "E": { "Type": "Map", "End": true, "ItemProcessor":
                    { "StartAt": "F", "States": { "F": { "Type": "Pass", "End": true } } } } } },
            ] },
        } })
    }

    #[test]
    fn every_state_is_drawn_once_with_its_status() {
        let statuses =
            Statuses::from([("B".to_owned(), ("FAILED", 2)), ("F".to_owned(), ("SUCCEEDED", 1))]);
        let drawn = drawn(&machine(), &statuses).expect("a picture").into_string();
        assert_eq!(drawn.matches("<rect").count(), 6, "{drawn}");
        assert!(drawn.contains("Task · FAILED ×2") && drawn.contains("&lt;C&gt;"), "{drawn}");
        assert!(!drawn.contains("<C>"), "{drawn}");
    }

    #[test]
    fn what_leads_back_does_not_move_a_state_down() {
        let edge = |from, to| Edge { from, to, is_catch: false };
        let edges = [edge(0, 1), edge(1, 0), edge(0, 2), edge(1, 2)];
        assert_eq!(ranks(3, 0, &edges), [0, 1, 2]);
        assert_eq!(ranks(2, 0, &[edge(0, 0)]), [0, 0]);
    }

    #[test]
    fn what_is_no_machine_or_too_large_is_not_drawn() {
        assert!(drawn(&json!({}), &Statuses::new()).is_none());
        let states: serde_json::Map<String, Value> =
            (0..300).map(|n| (format!("S{n}"), json!({ "Type": "Pass" }))).collect();
        assert!(drawn(&json!({ "States": states }), &Statuses::new()).is_none());
    }
}
