//! Condition operators.
//!
//! <https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_elements_condition_operators.html>
//! and `reference_policies_condition-single-vs-multi-valued-context-keys.html` beside it.

use std::net::IpAddr;

use base64::Engine;
use jiff::Timestamp;

use super::context::{Context, Lookup};
use super::decision::Unknown;
use super::pattern::Pattern;

/// How a value of the request is compared with one of the policy.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Comparison {
    /// `StringEquals`.
    Text,
    /// `StringEqualsIgnoreCase`.
    TextIgnoringCase,
    /// `StringLike`.
    TextLike,
    /// `Numeric…`.
    Number(Order),
    /// `Date…`.
    Date(Order),
    /// `Bool`.
    Bool,
    /// `BinaryEquals`.
    Binary,
    /// `IpAddress`.
    Address,
    /// `ArnEquals` and `ArnLike`, which are the same.
    Arn,
    /// `Null`.
    Null,
}

/// Order that is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Order {
    /// The same.
    Equal,
    /// Smaller.
    Less,
    /// Smaller or the same.
    LessOrEqual,
    /// Larger.
    Greater,
    /// Larger or the same.
    GreaterOrEqual,
}

/// Which of several values of the request are compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Quantifier {
    /// The key has one value.
    None,
    /// `ForAllValues:`.
    All,
    /// `ForAnyValue:`.
    Any,
}

/// An operator with its prefix and suffix.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Operator {
    quantifier: Quantifier,
    comparison: Comparison,
    negated: bool,
    if_exists: bool,
}

/// One key of one operator with the values of the policy.
#[derive(Debug, Clone)]
pub struct Condition {
    /// Operator.
    pub operator: Operator,
    /// Name of the condition key.
    pub key: String,
    /// Values, any of which may match.
    pub values: Vec<String>,
}

impl Operator {
    /// `ForAnyValue:StringNotLikeIfExists` in its parts; `None` when there is no such operator.
    pub fn parse(name: &str) -> Option<Self> {
        let (quantifier, name) = match name.split_once(':') {
            Some(("ForAllValues", rest)) => (Quantifier::All, rest),
            Some(("ForAnyValue", rest)) => (Quantifier::Any, rest),
            Some(_) => return None,
            None => (Quantifier::None, name),
        };
        let (name, if_exists) =
            name.strip_suffix("IfExists").map_or((name, false), |name| (name, true));
        let (comparison, negated) = comparison(name)?;
        let null = comparison == Comparison::Null;
        (!null || (!if_exists && quantifier == Quantifier::None)).then_some(Self {
            quantifier,
            comparison,
            negated,
            if_exists,
        })
    }

    /// Whether the operator can compare with `value` at all.
    pub fn accepts(&self, value: &str) -> bool {
        // A variable is only known with the request.
        value.contains("${")
            || match self.comparison {
                Comparison::Number(_) => value.trim().parse::<f64>().is_ok_and(f64::is_finite),
                Comparison::Date(_) => date(value).is_some(),
                Comparison::Bool | Comparison::Null => {
                    value.eq_ignore_ascii_case("true") || value.eq_ignore_ascii_case("false")
                }
                Comparison::Address => network(value).is_some(),
                Comparison::Binary => decode(value).is_some(),
                Comparison::Text
                | Comparison::TextIgnoringCase
                | Comparison::TextLike
                | Comparison::Arn => true,
            }
    }
}

fn comparison(name: &str) -> Option<(Comparison, bool)> {
    Some(match name {
        "StringEquals" => (Comparison::Text, false),
        "StringNotEquals" => (Comparison::Text, true),
        "StringEqualsIgnoreCase" => (Comparison::TextIgnoringCase, false),
        "StringNotEqualsIgnoreCase" => (Comparison::TextIgnoringCase, true),
        "StringLike" => (Comparison::TextLike, false),
        "StringNotLike" => (Comparison::TextLike, true),
        "NumericEquals" => (Comparison::Number(Order::Equal), false),
        "NumericNotEquals" => (Comparison::Number(Order::Equal), true),
        "NumericLessThan" => (Comparison::Number(Order::Less), false),
        "NumericLessThanEquals" => (Comparison::Number(Order::LessOrEqual), false),
        "NumericGreaterThan" => (Comparison::Number(Order::Greater), false),
        "NumericGreaterThanEquals" => (Comparison::Number(Order::GreaterOrEqual), false),
        "DateEquals" => (Comparison::Date(Order::Equal), false),
        "DateNotEquals" => (Comparison::Date(Order::Equal), true),
        "DateLessThan" => (Comparison::Date(Order::Less), false),
        "DateLessThanEquals" => (Comparison::Date(Order::LessOrEqual), false),
        "DateGreaterThan" => (Comparison::Date(Order::Greater), false),
        "DateGreaterThanEquals" => (Comparison::Date(Order::GreaterOrEqual), false),
        "Bool" => (Comparison::Bool, false),
        "BinaryEquals" => (Comparison::Binary, false),
        "IpAddress" => (Comparison::Address, false),
        "NotIpAddress" => (Comparison::Address, true),
        "ArnEquals" | "ArnLike" => (Comparison::Arn, false),
        "ArnNotEquals" | "ArnNotLike" => (Comparison::Arn, true),
        "Null" => (Comparison::Null, false),
        _ => return None,
    })
}

impl Condition {
    /// Whether the request meets the condition. `variables` says whether the policy's language
    /// version has policy variables.
    pub fn holds(&self, context: &Context, variables: bool) -> Result<bool, Unknown> {
        let present = match context.get(&self.key) {
            Lookup::Present(values) => Some(values),
            Lookup::Absent => None,
            Lookup::Unknown => return Err(Unknown(self.key.clone())),
        };
        let Operator { quantifier, comparison, negated, if_exists } = self.operator;
        if comparison == Comparison::Null {
            let absent = present.is_none();
            return Ok(self.values.iter().any(|v| v.eq_ignore_ascii_case("true") == absent));
        }
        let Some(given) = present else {
            // A key that is not there matches negated operators, and sets of no values match
            // `ForAllValues` but not `ForAnyValue`.
            return Ok(if_exists
                || match quantifier {
                    Quantifier::All => true,
                    Quantifier::Any => false,
                    Quantifier::None => negated,
                });
        };
        let wanted = self.wanted(context, variables)?;
        let matches = |given: &String| {
            wanted.iter().any(|wanted| compare(comparison, given, wanted)) != negated
        };
        Ok(match quantifier {
            Quantifier::All => given.iter().all(matches),
            Quantifier::Any => given.iter().any(matches),
            // Several values without a quantifier: all must differ, or any may be equal.
            Quantifier::None if negated => given.iter().all(matches),
            Quantifier::None => given.iter().any(matches),
        })
    }

    /// The policy's values with variables replaced, without those that have none.
    fn wanted(&self, context: &Context, variables: bool) -> Result<Vec<Pattern>, Unknown> {
        if !variables {
            return Ok(self.values.iter().map(|value| Pattern::wildcards(value)).collect());
        }
        let expanded = self.values.iter().map(|value| Pattern::expand(value, context));
        expanded.filter_map(Result::transpose).collect()
    }
}

fn compare(comparison: Comparison, given: &str, wanted: &Pattern) -> bool {
    match comparison {
        Comparison::TextLike => wanted.matches(given),
        Comparison::Arn => wanted.matches_arn(given),
        Comparison::Text => wanted.literal() == given,
        Comparison::TextIgnoringCase => wanted.literal().to_lowercase() == given.to_lowercase(),
        Comparison::Bool => wanted.literal().eq_ignore_ascii_case(given) && is_bool(given),
        Comparison::Number(order) => {
            let numbers = (given.trim().parse::<f64>(), wanted.literal().trim().parse::<f64>());
            matches!(numbers, (Ok(given), Ok(wanted)) if ordered(order, &given, &wanted))
        }
        Comparison::Date(order) => {
            let dates = (date(given), date(&wanted.literal()));
            matches!(dates, (Some(given), Some(wanted)) if ordered(order, &given, &wanted))
        }
        Comparison::Binary => {
            decode(given).is_some_and(|given| decode(&wanted.literal()) == Some(given))
        }
        Comparison::Address => network(&wanted.literal())
            .zip(given.parse().ok())
            .is_some_and(|((network, prefix), address)| within(network, prefix, address)),
        // Answered without comparing.
        Comparison::Null => false,
    }
}

fn is_bool(text: &str) -> bool {
    text.eq_ignore_ascii_case("true") || text.eq_ignore_ascii_case("false")
}

fn ordered<T: PartialOrd>(order: Order, given: &T, wanted: &T) -> bool {
    match order {
        Order::Equal => given == wanted,
        Order::Less => given < wanted,
        Order::LessOrEqual => given <= wanted,
        Order::Greater => given > wanted,
        Order::GreaterOrEqual => given >= wanted,
    }
}

/// An ISO 8601 date or time (UTC unless it says otherwise), or seconds since 1970.
fn date(text: &str) -> Option<Timestamp> {
    let text = text.trim();
    if let Ok(seconds) = text.parse::<i64>() {
        // Four digits are a year.
        if text.len() != 4 {
            return Timestamp::from_second(seconds).ok();
        }
        return date(&format!("{text}-01-01"));
    }
    if let Ok(time) = text.parse::<Timestamp>() {
        return Some(time);
    }
    let month = (text.len() == 7).then(|| format!("{text}-01"));
    let civil: jiff::civil::DateTime = month.as_deref().unwrap_or(text).parse().ok()?;
    civil.to_zoned(jiff::tz::TimeZone::UTC).ok().map(|zoned| zoned.timestamp())
}

fn decode(text: &str) -> Option<Vec<u8>> {
    base64::engine::general_purpose::STANDARD.decode(text).ok()
}

/// `203.0.113.0/24`, or one address.
fn network(text: &str) -> Option<(IpAddr, u8)> {
    let (address, prefix) = match text.trim().split_once('/') {
        Some((address, prefix)) => (address, Some(prefix.parse::<u8>().ok()?)),
        None => (text.trim(), None),
    };
    let address: IpAddr = address.parse().ok()?;
    let bits = if address.is_ipv4() { 32 } else { 128 };
    let prefix = prefix.unwrap_or(bits);
    (prefix <= bits).then_some((address, prefix))
}

fn within(network: IpAddr, prefix: u8, address: IpAddr) -> bool {
    let (network, address, bits) = match (network, address) {
        (IpAddr::V4(network), IpAddr::V4(address)) => {
            (u128::from(network.to_bits()), u128::from(address.to_bits()), 32)
        }
        (IpAddr::V6(network), IpAddr::V6(address)) => (network.to_bits(), address.to_bits(), 128),
        _ => return false,
    };
    let shift = bits - u32::from(prefix);
    shift == 128 || network >> shift == address >> shift
}
