//! Aggregates that the engine has not, or has with another meaning.
//!
//! Their state is a list of rows, which those that can keep short.
//! <https://trino.io/docs/current/functions/aggregate.html>

use std::collections::{HashMap, HashSet};
use std::hash::{Hash, Hasher};
use std::mem::size_of;
use std::sync::Arc;

use datafusion::arrow::array::ArrayRef;
use datafusion::arrow::datatypes::{DataType, Field, FieldRef};
use datafusion::common::ScalarValue;
use datafusion::error::{DataFusionError, Result};
use datafusion::logical_expr::function::{AccumulatorArgs, StateFieldsArgs};
use datafusion::logical_expr::{
    Accumulator, AggregateUDF, AggregateUDFImpl, Signature, Volatility,
};

use super::call::{self, Outcome, Shape, invalid};
use super::maps;
use super::types;
use super::value::{self, Value};

/// Rows after which a state is made shorter.
const ROWS_MAX: usize = 1_024;

/// Values up to which a percentile is exact, and parts that more of them are kept as.
const EXACT_MAX: usize = 100_000;
const PARTS: usize = 10_000;

type Row = Vec<Value>;

/// An aggregate.
#[derive(Clone, Copy)]
struct Spec {
    name: &'static str,
    signatures: &'static [&'static str],
    /// What is kept of the arguments of a row; `None` keeps nothing.
    keep: fn(Row) -> Option<Row>,
    /// Types of what is kept, when these are not the arguments.
    kept: Option<&'static [DataType]>,
    /// Fewer rows that mean the same.
    shorten: Option<fn(Vec<Row>) -> Vec<Row>>,
    finish: fn(&DataType, Vec<Row>) -> Outcome,
}

const fn of(
    name: &'static str,
    signatures: &'static [&'static str],
    keep: fn(Row) -> Option<Row>,
    finish: fn(&DataType, Vec<Row>) -> Outcome,
) -> Spec {
    Spec { name, signatures, keep, kept: None, shorten: None, finish }
}

impl Spec {
    const fn shortened(mut self, shorten: fn(Vec<Row>) -> Vec<Row>) -> Self {
        self.shorten = Some(shorten);
        self
    }

    const fn keeping(mut self, kinds: &'static [DataType]) -> Self {
        self.kept = Some(kinds);
        self
    }
}

fn first_there(row: Row) -> Option<Row> {
    (!row[0].is_null()).then_some(row)
}

fn second_there(row: Row) -> Option<Row> {
    (!row[1].is_null()).then_some(row)
}

fn all_there(row: Row) -> Option<Row> {
    (!row.iter().any(Value::is_null)).then_some(row)
}

fn first(_: &DataType, rows: Vec<Row>) -> Outcome {
    let row = rows.into_iter().next();
    Ok(row.map_or(Value::Null, |mut row| row.swap_remove(0)))
}

/// The row whose second value is the largest; of several the first.
fn largest(rows: Vec<Row>) -> Vec<Row> {
    let best = rows.into_iter().reduce(|best, row| if row[1] > best[1] { row } else { best });
    best.into_iter().collect()
}

fn smallest(rows: Vec<Row>) -> Vec<Row> {
    let best = rows.into_iter().reduce(|best, row| if row[1] < best[1] { row } else { best });
    best.into_iter().collect()
}

/// So many of the best, which the last value of each row says.
fn several(mut rows: Vec<Row>, by: usize, largest: bool) -> Vec<Row> {
    rows.sort_by(|a, b| if largest { b[by].cmp(&a[by]) } else { a[by].cmp(&b[by]) });
    let count = rows.first().and_then(|row| row.last()).map_or(0, Value::whole);
    // A wrong number is an error at the end.
    rows.truncate(usize::try_from(count).unwrap_or(1).max(1));
    rows
}

fn listed(_: &DataType, rows: Vec<Row>) -> Outcome {
    let count = rows.first().and_then(|row| row.last()).map_or(1, Value::whole);
    if count <= 0 {
        return invalid(format!(
            "third argument of max_by/min_by must be a positive integer: {count}"
        ));
    }
    if rows.is_empty() {
        return Ok(Value::Null);
    }
    Ok(Value::List(rows.into_iter().map(|mut row| row.swap_remove(0)).collect()))
}

fn bits(rows: Vec<Row>, of: fn(i64, i64) -> i64) -> Vec<Row> {
    let done = rows.into_iter().map(|row| row[0].whole()).reduce(of);
    done.map(|bits| vec![Value::Whole(bits)]).into_iter().collect()
}

/// Key and value of each row; the first value of a key stays.
fn map(_: &DataType, rows: Vec<Row>) -> Outcome {
    if rows.is_empty() {
        return Ok(Value::Null);
    }
    let mut seen = HashSet::new();
    let mut entries = Vec::new();
    for mut row in rows {
        let value = row.swap_remove(1);
        let key = row.swap_remove(0);
        if seen.insert(key.clone()) {
            entries.push((key, value));
        }
    }
    Ok(Value::Map(entries))
}

fn multimap(_: &DataType, rows: Vec<Row>) -> Outcome {
    if rows.is_empty() {
        return Ok(Value::Null);
    }
    let entries = rows.into_iter().map(|mut row| {
        let value = row.swap_remove(1);
        (row.swap_remove(0), value)
    });
    Ok(maps::grouped(entries.collect()))
}

fn union(_: &DataType, rows: Vec<Row>) -> Outcome {
    if rows.is_empty() {
        return Ok(Value::Null);
    }
    let mut seen = HashSet::new();
    let entries = rows.iter().flat_map(|row| row[0].entries());
    let entries = entries.filter(|(key, _)| seen.insert(key)).cloned();
    Ok(Value::Map(entries.collect()))
}

/// Values with how often they came.
fn counted(rows: Vec<Row>) -> Vec<Row> {
    let mut places: HashMap<Value, usize> = HashMap::new();
    let mut all: Vec<Row> = Vec::new();
    for row in rows {
        match places.get(&row[0]) {
            Some(at) => {
                let sum = all[*at][1].whole() + row[1].whole();
                all[*at][1] = Value::Whole(sum);
            }
            None => {
                places.insert(row[0].clone(), all.len());
                all.push(row);
            }
        }
    }
    all
}

/// Where a share of sorted values, each with its weight, is: as the digest of Trino says while it
/// holds every value by itself.
fn percentile(sorted: &[(Value, f64)], share: f64) -> Value {
    let total: f64 = sorted.iter().map(|(_, weight)| weight).sum();
    let wanted = share * total;
    let mut sum = 0.0;
    for (value, weight) in sorted {
        sum += weight;
        if sum > wanted {
            return value.clone();
        }
    }
    sorted.last().map_or(Value::Null, |(value, _)| value.clone())
}

/// Values, their weights, and shares, which may be an array.
fn percentiles(_: &DataType, rows: Vec<Row>) -> Outcome {
    let Some(shares) = rows.first().map(|row| row[2].clone()) else { return Ok(Value::Null) };
    let mut values: Vec<(Value, f64)> = Vec::with_capacity(rows.len());
    for mut row in rows {
        let weight = row[1].double();
        if weight <= 0.0 {
            return invalid("percentile weight must be > 0");
        }
        values.push((row.swap_remove(0), weight));
    }
    values.sort_by(|a, b| a.0.cmp(&b.0));
    let of = |share: &Value| match share.double() {
        share if (0.0..=1.0).contains(&share) => Ok(percentile(&values, share)),
        _ => invalid("Percentile must be between 0 and 1"),
    };
    match &shares {
        Value::List(shares) => Ok(Value::List(shares.iter().map(of).collect::<Outcome<_>>()?)),
        share => of(share),
    }
}

/// Of very many values, some that stand for their neighbours: the middle one of each of equal parts
/// of the weight, and both ends.
fn representatives(mut rows: Vec<Row>) -> Vec<Row> {
    if rows.len() <= EXACT_MAX {
        return rows;
    }
    rows.sort_by(|a, b| a[0].cmp(&b[0]));
    let total: f64 = rows.iter().map(|row| row[1].double()).sum();
    let part = total / PARTS as f64;
    let last = rows.len() - 1;
    let (mut kept, mut open, mut weight) = (Vec::with_capacity(PARTS + 2), Vec::new(), 0.0);
    for (at, row) in rows.into_iter().enumerate() {
        if at == 0 || at == last {
            kept.push(row);
            continue;
        }
        weight += row[1].double();
        open.push(row);
        if weight >= part || at + 1 == last {
            let mut middle = open.swap_remove(open.len() / 2);
            middle[1] = Value::Double(weight);
            kept.push(middle);
            (open, weight) = (Vec::new(), 0.0);
        }
    }
    kept
}

/// Count, mean, and sums of powers of distances from it, of two sets as one.
fn moments(rows: Vec<Row>) -> Vec<Row> {
    let merged = rows.into_iter().reduce(|a, b| {
        let of = |row: &Row, at: usize| row[at].double();
        let (na, ma, a2, a3, a4) = (of(&a, 0), of(&a, 1), of(&a, 2), of(&a, 3), of(&a, 4));
        let (nb, mb, b2, b3, b4) = (of(&b, 0), of(&b, 1), of(&b, 2), of(&b, 3), of(&b, 4));
        let (n, d) = (na + nb, mb - ma);
        let mean = ma + d * nb / n;
        let m2 = a2 + b2 + d * d * na * nb / n;
        let m3 =
            a3 + b3 + d.powi(3) * na * nb * (na - nb) / (n * n) + 3.0 * d * (na * b2 - nb * a2) / n;
        let m4 = a4
            + b4
            + d.powi(4) * na * nb * (na * na - na * nb + nb * nb) / n.powi(3)
            + 6.0 * d * d * (na * na * b2 + nb * nb * a2) / (n * n)
            + 4.0 * d * (na * b3 - nb * a3) / n;
        [n, mean, m2, m3, m4].map(Value::Double).to_vec()
    });
    merged.into_iter().collect()
}

fn moment(row: Row) -> Option<Row> {
    let row = first_there(row)?;
    Some([1.0, row[0].double(), 0.0, 0.0, 0.0].map(Value::Double).to_vec())
}

fn skewness(_: &DataType, rows: Vec<Row>) -> Outcome {
    let Some(row) = moments(rows).pop() else { return Ok(Value::Null) };
    let (n, m2, m3) = (row[0].double(), row[2].double(), row[3].double());
    Ok(if n < 3.0 { Value::Null } else { Value::Double(n.sqrt() * m3 / m2.powf(1.5)) })
}

fn kurtosis(_: &DataType, rows: Vec<Row>) -> Outcome {
    let Some(row) = moments(rows).pop() else { return Ok(Value::Null) };
    let (n, m2, m4) = (row[0].double(), row[2].double(), row[4].double());
    if n < 4.0 {
        return Ok(Value::Null);
    }
    let variance = m2 / (n - 1.0);
    let scale = n * (n + 1.0) / ((n - 1.0) * (n - 2.0) * (n - 3.0));
    let shift = 3.0 * (n - 1.0) * (n - 1.0) / ((n - 2.0) * (n - 3.0));
    Ok(Value::Double(scale * m4 / (variance * variance) - shift))
}

const FIVE_DOUBLES: &[DataType] = &[const { DataType::Float64 }; 5];

const SPECS: &[Spec] = &[
    of("arbitrary", &["(T) -> T"], first_there, first)
        .shortened(|rows| rows.into_iter().take(1).collect()),
    of("max_by", &["(V, K) -> V"], second_there, |kind, rows| first(kind, largest(rows)))
        .shortened(largest),
    of("min_by", &["(V, K) -> V"], second_there, |kind, rows| first(kind, smallest(rows)))
        .shortened(smallest),
    of("$max_by_several", &["(V, K, bigint) -> array(V)"], second_there, |kind, rows| {
        listed(kind, several(rows, 1, true))
    })
    .shortened(|rows| several(rows, 1, true)),
    of("$min_by_several", &["(V, K, bigint) -> array(V)"], second_there, |kind, rows| {
        listed(kind, several(rows, 1, false))
    })
    .shortened(|rows| several(rows, 1, false)),
    of("$max_several", &["(V, bigint) -> array(V)"], first_there, |kind, rows| {
        listed(kind, several(rows, 0, true))
    })
    .shortened(|rows| several(rows, 0, true)),
    of("$min_several", &["(V, bigint) -> array(V)"], first_there, |kind, rows| {
        listed(kind, several(rows, 0, false))
    })
    .shortened(|rows| several(rows, 0, false)),
    of("bitwise_and_agg", &["(bigint) -> bigint"], first_there, |kind, rows| {
        first(kind, bits(rows, |a, b| a & b))
    })
    .shortened(|rows| bits(rows, |a, b| a & b)),
    of("bitwise_or_agg", &["(bigint) -> bigint"], first_there, |kind, rows| {
        first(kind, bits(rows, |a, b| a | b))
    })
    .shortened(|rows| bits(rows, |a, b| a | b)),
    of("map_agg", &["(K, V) -> map(K, V)"], first_there, map),
    of("multimap_agg", &["(K, V) -> map(K, array(V))"], first_there, multimap),
    of("map_union", &["(map(K, V)) -> map(K, V)"], first_there, union),
    of(
        "histogram",
        &["(K) -> map(K, bigint)"],
        |row| {
            let mut row = first_there(row)?;
            row.push(Value::Whole(1));
            Some(row)
        },
        |kind, rows| map(kind, counted(rows)),
    )
    .shortened(counted),
    of(
        "approx_percentile",
        &[
            "(bigint, double) -> bigint",
            "(real, double) -> real",
            "(double, double) -> double",
            "(bigint, array(double)) -> array(bigint)",
            "(real, array(double)) -> array(real)",
            "(double, array(double)) -> array(double)",
        ],
        |row| {
            let mut row = all_there(row)?;
            row.insert(1, Value::Double(1.0));
            Some(row)
        },
        percentiles,
    )
    .shortened(representatives),
    of(
        "$weighted_percentile",
        &[
            "(bigint, double, double) -> bigint",
            "(real, double, double) -> real",
            "(double, double, double) -> double",
            "(bigint, double, array(double)) -> array(bigint)",
            "(real, double, array(double)) -> array(real)",
            "(double, double, array(double)) -> array(double)",
        ],
        all_there,
        percentiles,
    )
    .shortened(representatives),
    of("skewness", &["(double) -> double"], moment, skewness)
        .shortened(moments)
        .keeping(FIVE_DOUBLES),
    of("kurtosis", &["(double) -> double"], moment, kurtosis)
        .shortened(moments)
        .keeping(FIVE_DOUBLES),
];

/// Whether there is an aggregate of this name.
pub fn is_one(name: &str) -> bool {
    names().any(|known| known == name)
}

/// Their names.
pub fn names() -> impl Iterator<Item = &'static str> {
    SPECS.iter().map(|spec| spec.name)
}

/// The aggregates.
pub fn udafs() -> impl Iterator<Item = AggregateUDF> {
    SPECS.iter().map(|spec| AggregateUDF::from(Aggregate::new(*spec)))
}

struct Aggregate {
    spec: Spec,
    shapes: Arc<[Shape]>,
    signature: Signature,
}

impl std::fmt::Debug for Aggregate {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.spec.name)
    }
}

impl PartialEq for Aggregate {
    fn eq(&self, other: &Self) -> bool {
        self.spec.name == other.spec.name
    }
}

impl Eq for Aggregate {}

impl Hash for Aggregate {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.spec.name.hash(state);
    }
}

impl Aggregate {
    fn new(spec: Spec) -> Self {
        let shapes = spec.signatures.iter().map(|text| Shape::parse(text)).collect();
        Self { spec, shapes, signature: Signature::user_defined(Volatility::Immutable) }
    }

    fn resolve(&self, actual: &[DataType]) -> Result<(Vec<DataType>, DataType)> {
        call::resolve(self.spec.name, self.spec.signatures, &self.shapes, actual)
    }

    /// Types of the rows of the state.
    fn kept(&self, kinds: &[DataType]) -> Vec<DataType> {
        match (self.spec.kept, self.spec.name) {
            (Some(kept), _) => kept.to_vec(),
            (None, "histogram") => vec![kinds[0].clone(), DataType::Int64],
            (None, "approx_percentile") => {
                vec![kinds[0].clone(), DataType::Float64, kinds[1].clone()]
            }
            (None, _) => kinds.to_vec(),
        }
    }
}

fn kinds_of(fields: &[FieldRef]) -> Vec<DataType> {
    fields.iter().map(|field| field.data_type().clone()).collect()
}

impl AggregateUDFImpl for Aggregate {
    fn name(&self) -> &str {
        self.spec.name
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn coerce_types(&self, actual: &[DataType]) -> Result<Vec<DataType>> {
        self.resolve(actual)?;
        Ok(actual.to_vec())
    }

    fn return_type(&self, actual: &[DataType]) -> Result<DataType> {
        Ok(self.resolve(actual)?.1)
    }

    fn state_fields(&self, args: StateFieldsArgs) -> Result<Vec<FieldRef>> {
        let (kinds, _) = self.resolve(&kinds_of(args.input_fields))?;
        let rows = types::array(types::row(self.kept(&kinds)));
        Ok(vec![Arc::new(Field::new(format!("{}[rows]", args.name), rows, true))])
    }

    fn accumulator(&self, args: AccumulatorArgs) -> Result<Box<dyn Accumulator>> {
        let (kinds, result) = self.resolve(&kinds_of(args.expr_fields))?;
        Ok(Box::new(Rows {
            kept: self.kept(&kinds),
            spec: self.spec,
            kinds,
            result,
            distinct: args.is_distinct.then(HashSet::new),
            rows: vec![],
            shortened: 0,
        }))
    }
}

struct Rows {
    spec: Spec,
    kinds: Vec<DataType>,
    kept: Vec<DataType>,
    result: DataType,
    /// Rows of arguments that came already, when each counts once.
    distinct: Option<HashSet<Row>>,
    rows: Vec<Row>,
    /// How many rows there were after the state was made shorter.
    shortened: usize,
}

impl std::fmt::Debug for Rows {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} of {} rows", self.spec.name, self.rows.len())
    }
}

impl Rows {
    fn shorten(&mut self) {
        // Not again until there are twice as many.
        if let Some(shorten) = self.spec.shorten
            && self.rows.len() >= ROWS_MAX.max(self.shortened * 2)
        {
            self.rows = shorten(std::mem::take(&mut self.rows));
            self.shortened = self.rows.len();
        }
    }
}

impl Accumulator for Rows {
    fn update_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        for row in 0..values[0].len() {
            let arguments = values.iter().zip(&self.kinds);
            let arguments = arguments
                .map(|(column, kind)| types::coerce(value::read(column, row)?, kind))
                .collect::<Result<Row>>()?;
            if let Some(seen) = &mut self.distinct
                && !seen.insert(arguments.clone())
            {
                continue;
            }
            self.rows.extend((self.spec.keep)(arguments));
        }
        self.shorten();
        Ok(())
    }

    fn evaluate(&mut self) -> Result<ScalarValue> {
        let value = (self.spec.finish)(&self.result, self.rows.clone())
            .map_err(DataFusionError::Execution)?;
        ScalarValue::try_from_array(&value::column(&self.result, &[value])?, 0)
    }

    fn size(&self) -> usize {
        let row = self.kept.len() * size_of::<Value>() + size_of::<Row>();
        size_of::<Self>() + self.rows.len() * row
    }

    fn state(&mut self) -> Result<Vec<ScalarValue>> {
        if self.distinct.is_some() {
            return Err(DataFusionError::NotImplemented(format!(
                "the embedded cloud does not implement DISTINCT in '{}' beside other aggregates",
                self.spec.name
            )));
        }
        if let Some(shorten) = self.spec.shorten {
            self.rows = shorten(std::mem::take(&mut self.rows));
        }
        let rows = Value::List(self.rows.iter().cloned().map(Value::Row).collect());
        let column = value::column(&types::array(types::row(self.kept.clone())), &[rows])?;
        Ok(vec![ScalarValue::try_from_array(&column, 0)?])
    }

    fn merge_batch(&mut self, states: &[ArrayRef]) -> Result<()> {
        for state in value::all(&states[0])? {
            self.rows.extend(state.items().iter().map(|row| row.items().to_vec()));
        }
        self.shorten();
        Ok(())
    }
}
