//! Patterns of policies: wildcards, policy variables, and how ARNs are compared.
//!
//! - `*` and `?` are wildcards in actions, resources, `StringLike` and ARN conditions.
//!   <https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_elements_resource.html>
//! - `${key}`, `${key, 'default'}`, `${*}`, `${?}` and `${$}` are variables of the language version
//!   2012-10-17; what they stand for is compared literally.
//!   <https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_variables.html>

use super::context::{Context, Lookup};
use super::decision::Unknown;

/// One piece of a pattern.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Piece {
    /// Exactly this character.
    Literal(char),
    /// Any one character.
    One,
    /// Any characters.
    Many,
    /// Any characters but colons: a `*` inside a segment of an ARN.
    ManyInSegment,
}

/// A pattern whose variables have values.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pattern(Vec<Piece>);

impl Pattern {
    /// Wildcards of `text`, no variables.
    pub fn wildcards(text: &str) -> Self {
        Self(text.chars().map(piece).collect())
    }

    /// Wildcards and variables of `text`; `None` when a variable has no value, so that nothing
    /// equals it.
    pub fn expand(text: &str, context: &Context) -> Result<Option<Self>, Unknown> {
        let mut pieces = Vec::with_capacity(text.len());
        let mut rest = text;
        while let Some(start) = rest.find("${") {
            let Some(length) = rest[start..].find('}') else { break };
            pieces.extend(rest[..start].chars().map(piece));
            let variable = &rest[start + 2..start + length];
            match value(variable, context)? {
                Some(value) => pieces.extend(value.chars().map(Piece::Literal)),
                None => return Ok(None),
            }
            rest = &rest[start + length + 1..];
        }
        pieces.extend(rest.chars().map(piece));
        Ok(Some(Self(pieces)))
    }

    /// Whether the whole of `text` matches.
    pub fn matches(&self, text: &str) -> bool {
        matches(&self.0, text)
    }

    /// The text as it stands, with wildcards taken literally: what `StringEquals` compares with.
    pub fn literal(&self) -> String {
        let character = |piece: &Piece| match piece {
            Piece::Literal(c) => *c,
            Piece::One => '?',
            Piece::Many | Piece::ManyInSegment => '*',
        };
        self.0.iter().map(character).collect()
    }

    /// Whether the ARN of a resource matches. A `*` stays within its segment (the parts between
    /// colons) unless it is the segment's last character; the sixth segment has no boundaries.
    pub fn matches_resource(&self, resource: &str) -> bool {
        let mut segment = 1;
        let bounded: Vec<Piece> = self
            .0
            .iter()
            .enumerate()
            .map(|(at, piece)| {
                let last = matches!(self.0.get(at + 1), None | Some(Piece::Literal(':')));
                match piece {
                    Piece::Many if segment < 6 && !last => return Piece::ManyInSegment,
                    Piece::Literal(':') => segment += 1,
                    _ => {}
                }
                *piece
            })
            .collect();
        matches(&bounded, resource)
    }

    /// Whether `arn` matches in each of the six components, as `ArnEquals` and `ArnLike` compare.
    pub fn matches_arn(&self, arn: &str) -> bool {
        let wanted: Vec<&[Piece]> = self.0.splitn(6, |p| *p == Piece::Literal(':')).collect();
        let given: Vec<&str> = arn.splitn(6, ':').collect();
        wanted.len() == 6
            && given.len() == 6
            && wanted.iter().zip(given).all(|(pattern, component)| matches(pattern, component))
    }
}

fn piece(character: char) -> Piece {
    match character {
        '*' => Piece::Many,
        '?' => Piece::One,
        other => Piece::Literal(other),
    }
}

/// What the variable between the braces stands for.
fn value(variable: &str, context: &Context) -> Result<Option<String>, Unknown> {
    if matches!(variable, "*" | "?" | "$") {
        return Ok(Some(variable.to_owned()));
    }
    let (key, default) = match variable.split_once(',') {
        Some((key, default)) => {
            let default = default.trim();
            (key, default.strip_prefix('\'').and_then(|d| d.strip_suffix('\'')))
        }
        None => (variable, None),
    };
    match context.get(key.trim()) {
        // A key with several values cannot be a variable.
        Lookup::Present([only]) => Ok(Some(only.clone())),
        Lookup::Present(_) => Ok(None),
        Lookup::Absent => Ok(default.map(str::to_owned)),
        Lookup::Unknown => Err(Unknown(key.trim().to_owned())),
    }
}

/// Takes time proportional to the product of both lengths, whatever the pattern.
fn matches(pattern: &[Piece], text: &str) -> bool {
    // reached[i]: the first i pieces match what was read of the text.
    let mut reached = vec![false; pattern.len() + 1];
    reached[0] = true;
    skip_empty(pattern, &mut reached);
    for character in text.chars() {
        let mut next = vec![false; pattern.len() + 1];
        for (at, piece) in pattern.iter().enumerate().filter(|(at, _)| reached[*at]) {
            match piece {
                Piece::Literal(wanted) => next[at + 1] |= *wanted == character,
                Piece::One => next[at + 1] = true,
                Piece::Many => next[at] = true,
                Piece::ManyInSegment => next[at] |= character != ':',
            }
        }
        skip_empty(pattern, &mut next);
        reached = next;
    }
    reached[pattern.len()]
}

/// A `*` also stands for nothing.
fn skip_empty(pattern: &[Piece], reached: &mut [bool]) {
    for (at, piece) in pattern.iter().enumerate() {
        if reached[at] && matches!(piece, Piece::Many | Piece::ManyInSegment) {
            reached[at + 1] = true;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_star_within_a_segment_does_not_cross_colons() {
        let resource = |pattern: &str, arn: &str| Pattern::wildcards(pattern).matches_resource(arn);
        let queue = "arn:aws:sqs:us-east-1:1:q";
        assert!(resource("arn:aws:sqs:us-*-1:1:q", queue));
        assert!(!resource("arn:aws:s*1:1:q", queue));
        assert!(resource("arn:aws:s*", queue), "a last star goes on");
        assert!(resource("arn:aws:s3:::bucket/a*z", "arn:aws:s3:::bucket/a:b:z"));
        assert!(!resource("arn:aws:s3:::bucket/?", "arn:aws:s3:::bucket/ab"));
    }

    #[test]
    fn long_patterns_end() {
        let pattern = Pattern::wildcards(&"*a".repeat(500));
        assert!(!pattern.matches(&"a".repeat(400)));
    }
}
