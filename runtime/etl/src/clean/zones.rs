//! Time zones of columns through statements: the local time of one zone is never compared with that
//! of another. A join of a day in London with a day in UTC is right on most rows and wrong where it
//! matters.
//!
//! The zone of a column travels as metadata of its field, which says nothing to the engine. Through
//! expressions it is followed here, because functions forget metadata.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use anyhow::{Result, bail};
use datafusion::common::tree_node::{TreeNode, TreeNodeRecursion};
use datafusion::common::{Column, DFSchema, JoinType, ScalarValue};
use datafusion::logical_expr::expr::ScalarFunction;
use datafusion::logical_expr::{Expr, LogicalPlan, Operator, col};
use datafusion::prelude::DataFrame;
use steppe_wire::hint::Hinted;

/// Key of the metadata.
const ZONE: &str = "zone";
/// What to do about times of several zones.
const HINT: &str =
    "bring both to one zone: by `as` of the input's column, or by `from_utc_timestamp`";

/// Zones that may be that of a column; none when nothing is declared.
type Zones = BTreeSet<String>;

/// The table, of whose columns these are local times of zones.
pub(super) fn marked(frame: DataFrame, zones: &BTreeMap<String, String>) -> Result<DataFrame> {
    let mark = |name: &String| {
        let column = col(format!("\"{name}\""));
        match zones.get(name) {
            Some(zone) => {
                let metadata = HashMap::from([(ZONE.to_owned(), zone.clone())]);
                column.alias_with_metadata(name, Some(metadata.into()))
            }
            None => column,
        }
    };
    let columns: Vec<Expr> = frame.schema().fields().iter().map(|f| mark(f.name())).collect();
    Ok(frame.select(columns)?)
}

/// The zones of the columns of a statement's result, when there is one of each; a comparison of two
/// is an error.
pub(super) fn of(plan: &LogicalPlan) -> Result<BTreeMap<String, String>> {
    let fields = plan.schema().fields().iter();
    let zones = fields.zip(followed(plan)?.zones).filter(|(_, zones)| zones.len() == 1);
    Ok(zones
        .flat_map(|(field, zones)| zones.into_iter().map(|z| (field.name().clone(), z)))
        .collect())
}

/// The columns that an expression may name, and their zones.
struct Scope {
    schema: DFSchema,
    zones: Vec<Zones>,
}

/// What a plan gives, after a look at everything in it.
fn followed(plan: &LogicalPlan) -> Result<Scope> {
    let mut below = Scope { schema: DFSchema::empty(), zones: vec![] };
    let inputs = plan.inputs();
    for input in &inputs {
        let input = followed(input)?;
        below.schema = match below.zones.is_empty() {
            true => input.schema,
            false => below.schema.join(&input.schema).unwrap_or(below.schema),
        };
        below.zones.extend(input.zones);
    }
    for expression in plan.expressions() {
        below.look_at(&expression)?;
    }
    if let LogicalPlan::Join(join) = plan {
        for (left, right) in &join.on {
            below.refuse_mixed(left, right)?;
        }
    }
    let computed: Vec<Zones> = match plan {
        LogicalPlan::Projection(projection) => below.each(&projection.expr)?,
        LogicalPlan::Aggregate(aggregate) => {
            let groups = below.each(&aggregate.group_expr)?;
            groups.into_iter().chain(below.each(&aggregate.aggr_expr)?).collect()
        }
        LogicalPlan::Window(window) => {
            let added = below.each(&window.window_expr)?;
            std::mem::take(&mut below.zones).into_iter().chain(added).collect()
        }
        LogicalPlan::Join(join) if keeps_right(join.join_type) => {
            below.zones.split_off(join.left.schema().fields().len())
        }
        LogicalPlan::Union(union) => {
            let columns = union.schema.fields().len();
            let of = |at| below.zones.iter().skip(at).step_by(columns).flatten().cloned();
            let all: Vec<Zones> = (0..columns).map(|at| of(at).collect()).collect();
            for (zones, field) in all.iter().zip(union.schema.fields()) {
                if zones.len() > 1 {
                    let what = format!(
                        "its UNION puts times of {} into one column, {}",
                        list(zones),
                        field.name()
                    );
                    bail!(Hinted::new(what, HINT));
                }
            }
            all
        }
        _ => below.zones,
    };
    let schema = plan.schema().as_ref().clone();
    let fields = schema.fields();
    let mut zones = computed;
    zones.resize(fields.len(), Zones::new());
    for (zones, field) in zones.iter_mut().zip(fields) {
        if let Some(zone) = field.metadata().get(ZONE).filter(|_| zones.is_empty()) {
            zones.insert(zone.clone());
        }
    }
    Ok(Scope { schema, zones })
}

impl Scope {
    fn each(&self, expressions: &[Expr]) -> Result<Vec<Zones>> {
        expressions.iter().map(|expression| self.zones_of(expression)).collect()
    }

    /// The zones of what an expression gives.
    fn zones_of(&self, expression: &Expr) -> Result<Zones> {
        match expression {
            Expr::Column(column) => Ok(self.of_column(column)),
            Expr::ScalarFunction(function) if let Some(zone) = converted(function) => {
                Ok(Zones::from([zone]))
            }
            // How many there are is no time.
            Expr::AggregateFunction(function) if function.func.name() == "count" => {
                Ok(Zones::new())
            }
            Expr::ScalarSubquery(query) => {
                let given = followed(&query.subquery)?.zones;
                Ok(given.into_iter().next().unwrap_or_default())
            }
            _ => {
                let mut zones = Zones::new();
                let mut refused = None;
                expression.apply_children(|child| {
                    match self.zones_of(child) {
                        Ok(found) => zones.extend(found),
                        Err(error) => refused = Some(error),
                    }
                    Ok(TreeNodeRecursion::Continue)
                })?;
                refused.map_or(Ok(zones), Err)
            }
        }
    }

    fn of_column(&self, column: &Column) -> Zones {
        let at = self.schema.maybe_index_of_column(column);
        at.and_then(|at| self.zones.get(at)).cloned().unwrap_or_default()
    }

    /// Looks for comparisons of two zones in an expression.
    fn look_at(&self, expression: &Expr) -> Result<()> {
        let mut refused = Ok(());
        expression.apply(|expression| {
            refused = match expression {
                Expr::BinaryExpr(binary) if compares(binary.op) => {
                    self.refuse_mixed(&binary.left, &binary.right)
                }
                Expr::Between(between) => self
                    .refuse_mixed(&between.expr, &between.low)
                    .and_then(|()| self.refuse_mixed(&between.expr, &between.high)),
                Expr::InList(list) => {
                    let mut values = list.list.iter();
                    values.try_for_each(|value| self.refuse_mixed(&list.expr, value))
                }
                Expr::InSubquery(query) => followed(&query.subquery.subquery).and_then(|given| {
                    let first = given.zones.into_iter().next().unwrap_or_default();
                    refuse(&query.expr, &self.zones_of(&query.expr)?, &"a subquery", &first)
                }),
                Expr::Exists(exists) => followed(&exists.subquery.subquery).map(drop),
                Expr::ScalarFunction(function)
                    if function.name().replace('_', "") == "datediff" =>
                {
                    match &function.args[..] {
                        [left, right] => self.refuse_mixed(left, right),
                        _ => Ok(()),
                    }
                }
                _ => Ok(()),
            };
            Ok(match refused {
                Ok(()) => TreeNodeRecursion::Continue,
                Err(_) => TreeNodeRecursion::Stop,
            })
        })?;
        refused
    }

    fn refuse_mixed(&self, left: &Expr, right: &Expr) -> Result<()> {
        refuse(left, &self.zones_of(left)?, right, &self.zones_of(right)?)
    }
}

/// Whether a join gives the columns of its right side alone.
fn keeps_right(kind: JoinType) -> bool {
    matches!(kind, JoinType::RightSemi | JoinType::RightAnti | JoinType::RightMark)
}

/// Whether an operator asks how two times stand to each other.
fn compares(operator: Operator) -> bool {
    use Operator::{Eq, Gt, GtEq, IsDistinctFrom, IsNotDistinctFrom, Lt, LtEq, Minus, NotEq};
    matches!(
        operator,
        Eq | NotEq | Lt | LtEq | Gt | GtEq | IsDistinctFrom | IsNotDistinctFrom | Minus
    )
}

/// The zone into which a function converts.
fn converted(function: &ScalarFunction) -> Option<String> {
    match (function.name(), &function.args[..]) {
        ("from_utc_timestamp", [_, Expr::Literal(ScalarValue::Utf8(zone), _)]) => zone.clone(),
        _ => None,
    }
}

fn refuse(
    left: &dyn std::fmt::Display,
    left_zones: &Zones,
    right: &dyn std::fmt::Display,
    right_zones: &Zones,
) -> Result<()> {
    let same = left_zones == right_zones;
    if same || left_zones.is_empty() || right_zones.is_empty() {
        return Ok(());
    }
    let (left_zones, right_zones) = (list(left_zones), list(right_zones));
    bail!(Hinted::new(
        format!(
            "it compares {left}, a time of {left_zones}, with {right}, a time of {right_zones}"
        ),
        HINT
    ))
}

fn list(zones: &Zones) -> String {
    zones.iter().map(String::as_str).collect::<Vec<_>>().join(" or ")
}
