//! A table with partitions: its keys are columns, and only partitions that a statement can want are
//! read.
//!
//! Conditions on keys alone choose partitions before anything of theirs is read; the other
//! conditions go to the files. Schemas are compared of the chosen partitions only, as Athena does.

use std::collections::{BTreeSet, HashSet};
use std::sync::Arc;

use async_trait::async_trait;
use datafusion::arrow::array::{ArrayRef, AsArray, RecordBatch};
use datafusion::arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use datafusion::catalog::{Session, TableProvider};
use datafusion::common::{DFSchema, ScalarValue};
use datafusion::error::{DataFusionError, Result};
use datafusion::logical_expr::{
    BinaryExpr, Expr, Operator, TableProviderFilterPushDown, TableType, utils::split_conjunction,
};
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_expr::expressions::{Column, Literal};
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::empty::EmptyExec;
use datafusion::physical_plan::projection::ProjectionExec;
use datafusion::physical_plan::union::UnionExec;
use datafusion::prelude::SessionContext;
use futures::TryStreamExt;
use steppe_wire::query::{Partition, Table};

use super::failure::Failed;
use super::projection::{Kind, Projection};
use super::scanned::Scan;
use super::tables::{arrow_type, check_partition, files, unsupported};
use crate::storage::Realm;

/// How Hive names the value of a key that is not there.
pub const NULL: &str = "__HIVE_DEFAULT_PARTITION__";
/// Partitions of one scan.
const PARTITIONS_MAX: usize = 1_000_000;
/// Partitions that are asked for one by one whether they have files.
const ASKED_MAX: usize = 50;

/// A table with partitions.
pub struct Partitioned {
    context: SessionContext,
    scan: Scan,
    table: Arc<Table>,
    schema: SchemaRef,
    kinds: Vec<DataType>,
    projection: Option<Projection>,
}

impl std::fmt::Debug for Partitioned {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Partitioned({}.{})", self.table.database, self.table.name)
    }
}

impl Partitioned {
    /// With the partitions of the catalogue, or those that parameters tell.
    pub fn new(context: &SessionContext, table: &Table, scan: &Scan) -> Result<Self, Failed> {
        let name = format!("{}.{}", table.database, table.name);
        let mut seen = BTreeSet::new();
        if !table.all_columns().all(|column| seen.insert(&column.name)) {
            let what = format!(
                "Hive metadata for table {name} is invalid: Table descriptor contains duplicate \
                 columns"
            );
            return Err(Failed::named("HIVE_INVALID_METADATA", what));
        }
        let mut fields = Vec::new();
        for column in table.all_columns() {
            let kind = arrow_type(&column.hive_type).map_err(|what| unsupported(table, what))?;
            fields.push(Field::new(&column.name, kind, true));
        }
        let kinds = fields[table.columns.len()..].iter().map(|f| f.data_type().clone()).collect();
        let projection = Projection::of(table).map_err(|what| {
            Failed::named("INVALID_TABLE_PROPERTY", format!("Table {name}: {what}"))
        })?;
        Ok(Self {
            context: context.clone(),
            scan: scan.clone(),
            table: Arc::new(table.clone()),
            schema: Arc::new(Schema::new(fields)),
            kinds,
            projection,
        })
    }

    /// The place of the first key among the columns.
    fn first_key(&self) -> usize {
        self.table.columns.len()
    }

    /// Whether a condition is about keys only.
    fn is_of_keys(&self, condition: &Expr) -> bool {
        let names: HashSet<&str> = self.table.keys.iter().map(|key| key.name.as_str()).collect();
        let columns = condition.column_refs();
        !columns.is_empty() && columns.iter().all(|column| names.contains(column.name()))
    }

    /// The partitions that may have rows for these conditions.
    async fn chosen(&self, session: &dyn Session, conditions: &[&Expr]) -> Result<Vec<Partition>> {
        let Some(projection) = &self.projection else {
            let all = self.table.partitions.iter();
            let values: Vec<Vec<String>> = all.map(|partition| partition.values.clone()).collect();
            let kept = self.kept(session, conditions, &values)?;
            let pairs = self.table.partitions.iter().zip(kept);
            return Ok(pairs.filter(|(_, kept)| *kept).map(|(p, _)| p.clone()).collect());
        };
        let mut rows: Vec<Vec<String>> = vec![vec![]];
        for (at, kind) in projection.keys.iter().enumerate() {
            let key = &self.table.keys[at].name;
            let values = match kind {
                Kind::Listed(values) => values.clone(),
                Kind::Injected => injected(key, conditions)?,
            };
            // One key at a time, so that what is left out is never multiplied.
            let own: Vec<&Expr> = conditions.iter().copied().filter(|c| only(c, key)).collect();
            let kept = self.kept_of(session, &own, at, &values)?;
            let values: Vec<String> =
                values.into_iter().zip(kept).filter(|(_, k)| *k).map(|(v, _)| v).collect();
            if rows.len().saturating_mul(values.len()) > PARTITIONS_MAX {
                return Err(DataFusionError::Execution(format!(
                    "HIVE_EXCEEDED_PARTITION_LIMIT: Query over table '{}.{}' can potentially read \
                     more than {PARTITIONS_MAX} partitions",
                    self.table.database, self.table.name
                )));
            }
            let longer = rows.iter().flat_map(|row| {
                values.iter().map(|value| {
                    let mut longer = row.clone();
                    longer.push(value.clone());
                    longer
                })
            });
            rows = longer.collect();
        }
        let kept = self.kept(session, conditions, &rows)?;
        let rows: Vec<_> = rows.into_iter().zip(kept).filter(|(_, k)| *k).map(|(r, _)| r).collect();
        let partition = |values: Vec<String>| Partition {
            location: projection.location(&values),
            values,
            columns: vec![],
        };
        self.with_files(rows.into_iter().map(partition).collect()).await
    }

    /// Leaves out projected partitions without files, when there are many.
    async fn with_files(&self, partitions: Vec<Partition>) -> Result<Vec<Partition>> {
        if partitions.len() <= ASKED_MAX {
            return Ok(partitions);
        }
        let root = common_prefix(partitions.iter().map(|partition| partition.location.as_str()));
        let Ok(place) = Realm::S3.prefix(&root) else { return Ok(partitions) };
        let bucket = place.url.host_str().unwrap_or_default().to_owned();
        let objects: Vec<_> = place.store.list(Some(&place.path)).try_collect().await?;
        let mut folders = HashSet::new();
        for object in objects {
            let key = object.location.as_ref();
            for (end, _) in key.match_indices('/') {
                folders.insert(format!("s3://{bucket}/{}", &key[..=end]));
            }
        }
        Ok(partitions.into_iter().filter(|p| folders.contains(&p.location)).collect())
    }

    fn kept_of(
        &self,
        session: &dyn Session,
        conditions: &[&Expr],
        key: usize,
        values: &[String],
    ) -> Result<Vec<bool>> {
        let field = self.schema.field(self.first_key() + key).clone();
        let array = self.array(key, values.iter().map(String::as_str))?;
        judged(session, conditions, Arc::new(Schema::new(vec![field])), vec![array], values.len())
    }

    fn kept(
        &self,
        session: &dyn Session,
        conditions: &[&Expr],
        rows: &[Vec<String>],
    ) -> Result<Vec<bool>> {
        let keys = self.table.keys.len();
        if let Some(odd) = rows.iter().find(|row| row.len() != keys) {
            return Err(DataFusionError::Execution(format!(
                "HIVE_INVALID_METADATA: table {}.{}: a partition has {} values and not {keys}",
                self.table.database,
                self.table.name,
                odd.len()
            )));
        }
        let fields: Vec<_> = self.schema.fields()[self.first_key()..].to_vec();
        let arrays = (0..keys).map(|key| self.array(key, rows.iter().map(|row| row[key].as_str())));
        let arrays = arrays.collect::<Result<Vec<_>>>()?;
        judged(session, conditions, Arc::new(Schema::new(fields)), arrays, rows.len())
    }

    fn array<'a>(&self, key: usize, values: impl Iterator<Item = &'a str>) -> Result<ArrayRef> {
        let scalars = values.map(|value| self.scalar(key, value)).collect::<Result<Vec<_>>>()?;
        if scalars.is_empty() {
            return Ok(datafusion::arrow::array::new_empty_array(&self.kinds[key]));
        }
        ScalarValue::iter_to_array(scalars)
    }

    /// The value of a key as its type has it.
    fn scalar(&self, key: usize, value: &str) -> Result<ScalarValue> {
        let kind = &self.kinds[key];
        if value == NULL {
            return ScalarValue::try_from(kind);
        }
        ScalarValue::try_from_string(value.to_owned(), kind).map_err(|_| {
            let key = &self.table.keys[key];
            DataFusionError::Execution(format!(
                "HIVE_INVALID_PARTITION_VALUE: Invalid partition value '{value}' for {} partition \
                 key: {}",
                key.hive_type.to_uppercase(),
                key.name
            ))
        })
    }

    /// The rows of one partition, with the wanted columns in their order.
    async fn rows(
        &self,
        session: &dyn Session,
        partition: &Partition,
        wanted: &[usize],
        conditions: &[Expr],
    ) -> Result<Arc<dyn ExecutionPlan>> {
        check_partition(&self.table, partition).map_err(told)?;
        let provider = files(&self.context, &self.table, &partition.location, &self.scan);
        let provider = provider.map_err(told)?;
        let mut own: Vec<usize> =
            wanted.iter().copied().filter(|column| *column < self.first_key()).collect();
        own.sort_unstable();
        own.dedup();
        let plan = provider.scan(session, Some(&own), conditions, None).await?;
        let mut columns: Vec<(Arc<dyn PhysicalExpr>, String)> = vec![];
        for column in wanted {
            let name = self.schema.field(*column).name().clone();
            let value: Arc<dyn PhysicalExpr> = match own.binary_search(column) {
                Ok(at) => Arc::new(Column::new(plan.schema().field(at).name(), at)),
                Err(_) => {
                    let key = column - self.first_key();
                    Arc::new(Literal::new(self.scalar(key, &partition.values[key])?))
                }
            };
            columns.push((value, name));
        }
        Ok(Arc::new(ProjectionExec::try_new(columns, plan)?))
    }
}

/// Which rows meet all conditions. One that cannot be computed here leaves nothing out: it is asked
/// again of every row.
fn judged(
    session: &dyn Session,
    conditions: &[&Expr],
    schema: SchemaRef,
    arrays: Vec<ArrayRef>,
    rows: usize,
) -> Result<Vec<bool>> {
    let mut kept = vec![true; rows];
    if rows == 0 || conditions.is_empty() {
        return Ok(kept);
    }
    let batch = RecordBatch::try_new(schema.clone(), arrays)?;
    let columns = DFSchema::try_from(schema)?;
    for condition in conditions {
        let Ok(expression) = session.create_physical_expr((*condition).clone(), &columns) else {
            continue;
        };
        let Ok(value) = expression.evaluate(&batch) else { continue };
        let array = value.into_array(rows)?;
        let Some(truths) = array.as_boolean_opt() else { continue };
        for (kept, truth) in kept.iter_mut().zip(truths) {
            *kept &= truth == Some(true);
        }
    }
    Ok(kept)
}

/// Whether a condition names this column and no other.
fn only(condition: &Expr, column: &str) -> bool {
    let columns = condition.column_refs();
    !columns.is_empty() && columns.iter().all(|named| named.name() == column)
}

/// The values that a statement compares an injected key with.
fn injected(key: &str, conditions: &[&Expr]) -> Result<Vec<String>> {
    let text = |value: &Expr| match value {
        Expr::Literal(scalar, _) => Some(scalar.to_string()),
        _ => None,
    };
    let is_key = |side: &Expr| matches!(side, Expr::Column(column) if column.name() == key);
    for condition in conditions {
        let values = match condition {
            Expr::BinaryExpr(BinaryExpr { left, op: Operator::Eq, right }) => {
                match (is_key(left), is_key(right)) {
                    (true, false) => text(right).map(|value| vec![value]),
                    (false, true) => text(left).map(|value| vec![value]),
                    _ => None,
                }
            }
            Expr::BinaryExpr(BinaryExpr { op: Operator::Or, .. }) => any_of(condition, key),
            Expr::InList(list) if is_key(&list.expr) && !list.negated => {
                list.list.iter().map(text).collect()
            }
            _ => None,
        };
        if let Some(values) = values {
            return Ok(values);
        }
    }
    Err(DataFusionError::Execution(format!(
        "CONSTRAINT_VIOLATION: For the injected projected partition column {key}, the WHERE clause \
         must contain only static equality conditions, and at least one such condition must be \
         present."
    )))
}

/// `key = 1 OR key = 2`, as the engine writes short lists.
fn any_of(condition: &Expr, key: &str) -> Option<Vec<String>> {
    match condition {
        Expr::BinaryExpr(BinaryExpr { left, op: Operator::Or, right }) => {
            Some([any_of(left, key)?, any_of(right, key)?].concat())
        }
        other => injected(key, &[other]).ok(),
    }
}

/// What all texts begin with, up to a slash.
fn common_prefix<'a>(mut texts: impl Iterator<Item = &'a str>) -> String {
    let mut prefix = texts.next().unwrap_or_default().to_owned();
    for text in texts {
        let same = prefix.bytes().zip(text.bytes()).take_while(|(a, b)| a == b).count();
        prefix.truncate((0..=same).rev().find(|at| prefix.is_char_boundary(*at)).unwrap_or(0));
    }
    let end = prefix.rfind('/').map_or(0, |at| at + 1);
    prefix.truncate(end);
    prefix
}

fn told(failed: Failed) -> DataFusionError {
    DataFusionError::Execution(failed.into_message())
}

#[async_trait]
impl TableProvider for Partitioned {
    fn schema(&self) -> SchemaRef {
        self.schema.clone()
    }

    fn table_type(&self) -> TableType {
        TableType::Base
    }

    fn supports_filters_pushdown(
        &self,
        filters: &[&Expr],
    ) -> Result<Vec<TableProviderFilterPushDown>> {
        Ok(vec![TableProviderFilterPushDown::Inexact; filters.len()])
    }

    async fn scan(
        &self,
        session: &dyn Session,
        projection: Option<&Vec<usize>>,
        filters: &[Expr],
        _limit: Option<usize>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let all = || (0..self.schema.fields().len()).collect();
        let wanted: Vec<usize> = projection.cloned().unwrap_or_else(all);
        let parts: Vec<&Expr> = filters.iter().flat_map(split_conjunction).collect();
        let (of_keys, others): (Vec<&Expr>, Vec<&Expr>) =
            parts.into_iter().partition(|condition| self.is_of_keys(condition));
        let keys: HashSet<&str> = self.table.keys.iter().map(|key| key.name.as_str()).collect();
        let of_files = |condition: &&Expr| {
            condition.column_refs().iter().all(|column| !keys.contains(column.name()))
        };
        let of_files: Vec<Expr> = others.into_iter().filter(of_files).cloned().collect();
        let mut plans = vec![];
        for partition in self.chosen(session, &of_keys).await? {
            plans.push(self.rows(session, &partition, &wanted, &of_files).await?);
        }
        if plans.is_empty() {
            return Ok(Arc::new(EmptyExec::new(Arc::new(self.schema.project(&wanted)?))));
        }
        UnionExec::try_new(plans)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_common_part_of_places_ends_with_a_slash() {
        let prefix = |texts: &[&str]| common_prefix(texts.iter().copied());
        assert_eq!(prefix(&["s3://b/t/a=1/", "s3://b/t/a=12/"]), "s3://b/t/");
        assert_eq!(prefix(&["s3://b/t/a=1/"]), "s3://b/t/a=1/");
        assert_eq!(prefix(&["s3://b/t/", "s3://c/t/"]), "s3://");
    }
}
