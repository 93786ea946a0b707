//! What is unusual: rows of a table that are unlike the others, or values of series that are unlike
//! those before them.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Fits, features, names, need_column, need_numbers, need_seen};
use crate::column::{ColumnType, Columns};
use crate::defects::Defects;

/// What is unusual in which table.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct AnomalyEntry {
    /// Name of the task and of the table that it makes: a lower-case letter, then lower-case
    /// letters, digits and underscores.
    pub name: String,
    /// The input or table that it looks at.
    pub table: String,
    /// What is looked for.
    #[serde(flatten)]
    pub task: AnomalyTask,
}

/// The kind of a task about what is unusual.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum AnomalyKind {
    /// What is unlike the rest.
    Anomaly,
}

/// What is looked for.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct AnomalyTask {
    /// The kind of task.
    pub kind: AnomalyKind,
    /// Column that names what a row is about, such as a household: rows are held against each
    /// other.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub entity: Option<String>,
    /// Column that names the series, of the type `string`, in place of `entity`: values are held
    /// against those before them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub series: Option<String>,
    /// Of series, the column of when a value was taken, by which they are put in order: a `date`, a
    /// `timestamp`, a whole number, or a `string` whose order is that of time, as ISO 8601 is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub time: Option<String>,
    /// Of series, the column of values, a number.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target: Option<String>,
    /// Column whose values have a comparison each, such as a group of households. Groups of fewer
    /// than 20 rows are compared with all rows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub within: Option<String>,
    /// Columns of numbers that are looked at; every one of the table when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 500))]
    pub features: Option<Vec<String>>,
    /// Columns that are not looked at.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 500))]
    pub ignore: Vec<String>,
    /// Columns of which only large values are unusual, as of a count of faults; of the others small
    /// ones are, too.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 500))]
    pub high: Vec<String>,
    /// Columns that are looked at as ln(1 + value), as counts and amounts should be; their values
    /// are at least 0.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 500))]
    pub log: Vec<String>,
    /// The share of the rows that are flagged.
    #[serde(default = "one_in_twenty")]
    #[schemars(extend("exclusiveMinimum" = 0), extend("exclusiveMaximum" = 1))]
    pub share: f64,
    /// Reasons that a row has, the strongest first.
    #[serde(default = "three")]
    #[schemars(range(max = 100))]
    pub explain: usize,
    /// With which model.
    #[serde(default)]
    pub model: AnomalyModel,
    /// The values behind the rows: `evaluate` draws those of what is flagged, and plants faults in
    /// them to tell how many are found.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub readings: Option<Readings>,
}

fn one_in_twenty() -> f64 {
    0.05
}

fn three() -> usize {
    3
}

/// The values in time of what rows are about.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Readings {
    /// The input that they are in; its column of entities is called as the task's `entity`.
    pub input: String,
    /// Its column of when a value was taken, of the type `date` or `timestamp`.
    pub time: String,
    /// Its column of values, a `double` that is not negative.
    pub value: String,
}

/// Which families look, and their options.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct AnomalyModel {
    /// The family that decides, or `vote`.
    pub kind: AnomalyFamily,
    /// Of rows, the families that vote, or that are told beside the one that decides; all four when
    /// absent. Of series all three vote.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 10))]
    pub candidates: Option<Vec<AnomalyFamily>>,
    /// Seed of everything random.
    pub seed: u64,
    /// Trees of an isolation forest.
    #[schemars(range(min = 1, max = 10_000))]
    pub trees: usize,
    /// Groups whose centres `k-means-distance` measures from; chosen when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 100))]
    pub clusters: Option<usize>,
    /// Distance within which rows are near to each other, in standard deviations; chosen when
    /// absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(extend("exclusiveMinimum" = 0), range(max = 1_000_000))]
    pub eps: Option<f64>,
    /// Rows near to a row that make it a core of `dbscan-noise`, itself counted, and rows of a
    /// group from which `k-means-distance` measures.
    #[schemars(range(min = 1, max = 10_000))]
    pub min_points: usize,
    /// Of series, values after an alarm in which only a stronger one is told.
    #[schemars(range(max = 100_000))]
    pub rest: usize,
    /// Of series, the score from which on a value is an alarm.
    #[schemars(extend("exclusiveMinimum" = 0), range(max = 1))]
    pub threshold: f64,
    /// Of series, values that are seen before the first alarm; 15 % of a series, at most 750, when
    /// absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(max = 1_000_000))]
    pub probation: Option<usize>,
}

impl Default for AnomalyModel {
    fn default() -> Self {
        Self {
            kind: AnomalyFamily::Vote,
            candidates: None,
            seed: 1,
            trees: 300,
            clusters: None,
            eps: None,
            min_points: 5,
            rest: 50,
            threshold: 0.41,
            probation: None,
        }
    }
}

/// Families that look for what is unusual.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "kebab-case")]
pub enum AnomalyFamily {
    /// All candidates together.
    Vote,
    /// Of rows: how far beyond the tail of the others a value lies, in its strangest column.
    Tails,
    /// Of rows: how few random cuts set a row apart.
    IsolationForest,
    /// Of rows: how far a row is from the centre of its group.
    KMeansDistance,
    /// Of rows: how far a row is from where rows are dense.
    DbscanNoise,
    /// Of series: how improbable a value is after a slow mean.
    Deviation,
    /// Of series: how far the newest window is from the nearest one before.
    NearestWindows,
    /// Of series: how much a forest that forgets is changed by the newest window.
    CutForest,
    /// Of series as a whole: how badly a few shapes make up each window.
    Reconstruction,
}

impl AnomalyFamily {
    /// Those of rows that vote where nothing is said.
    pub const OF_ROWS: [Self; 4] =
        [Self::Tails, Self::IsolationForest, Self::KMeansDistance, Self::DbscanNoise];
    /// Those of series.
    pub const OF_SERIES: [Self; 4] =
        [Self::Deviation, Self::NearestWindows, Self::CutForest, Self::Reconstruction];

    /// As manifests have it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Vote => "vote",
            Self::Tails => "tails",
            Self::IsolationForest => "isolation-forest",
            Self::KMeansDistance => "k-means-distance",
            Self::DbscanNoise => "dbscan-noise",
            Self::Deviation => "deviation",
            Self::NearestWindows => "nearest-windows",
            Self::CutForest => "cut-forest",
            Self::Reconstruction => "reconstruction",
        }
    }
}

impl AnomalyTask {
    /// About the rows of `entity`, with everything else as it is by default.
    pub fn of_rows(entity: &str) -> Self {
        Self {
            kind: AnomalyKind::Anomaly,
            entity: Some(entity.to_owned()),
            series: None,
            time: None,
            target: None,
            within: None,
            features: None,
            ignore: vec![],
            high: vec![],
            log: vec![],
            share: one_in_twenty(),
            explain: three(),
            model: AnomalyModel::default(),
            readings: None,
        }
    }

    /// About the values `target` of each `series`, with everything else as it is by default.
    pub fn of_series([series, time, target]: [&str; 3]) -> Self {
        Self {
            entity: None,
            series: Some(series.to_owned()),
            time: Some(time.to_owned()),
            target: Some(target.to_owned()),
            ..Self::of_rows("")
        }
    }

    /// Column that names what is unusual: rows or series.
    pub fn entity(&self) -> &str {
        self.entity.as_deref().or(self.series.as_deref()).unwrap_or_default()
    }

    /// Whether it is about the values of series.
    pub fn is_of_series(&self) -> bool {
        self.series.is_some()
    }

    /// The families that are asked about rows, whoever decides.
    pub fn candidates(&self) -> Vec<AnomalyFamily> {
        self.model.candidates.clone().unwrap_or(AnomalyFamily::OF_ROWS.to_vec())
    }

    /// The families that decide about rows.
    pub fn deciding(&self) -> Vec<AnomalyFamily> {
        match self.model.kind {
            AnomalyFamily::Vote => self.candidates(),
            family => vec![family],
        }
    }

    /// The columns of numbers that it looks at; of series none.
    pub(super) fn features(&self, columns: &Columns) -> Vec<String> {
        if self.is_of_series() {
            return vec![];
        }
        let own = [self.entity.as_deref(), self.within.as_deref()];
        let own: Vec<&str> = own.into_iter().flatten().collect();
        features(columns, self.features.as_ref(), &self.ignore, &own)
    }

    /// What is wrong with it as a task about `table`.
    pub(crate) fn defects(&self, table: (&str, &Columns), out: &mut Defects) {
        match (&self.entity, &self.series) {
            (Some(entity), None) => self.row_defects(entity, table, out),
            (None, Some(series)) => self.series_defects(series, table, out),
            _ => out.add(
                "task.entity",
                "a task `anomaly` is about rows or about series: it says `entity`, or `series`, \
                 `time` and `target`"
                    .to_owned(),
            ),
        }
        self.model_defects(out);
    }

    fn row_defects(&self, entity: &str, table: (&str, &Columns), out: &mut Defects) {
        let name = (names as Fits, "`string`, `int` or `bigint`");
        need_column(("task.entity", entity), table, name, out);
        if let Some(within) = &self.within {
            let text = |kind| kind == ColumnType::String;
            need_column(("task.within", within), table, (text, "`string`"), out);
        }
        let named = self.features.as_deref().unwrap_or_default();
        let (high, log) = (("high", &*self.high), ("log", &*self.log));
        need_numbers(&[("features", named), ("ignore", &self.ignore), high, log], table, out);
        need_seen(&self.features(table.1), &[high, log], table.0, out);
        for (key, given) in [("time", &self.time), ("target", &self.target)] {
            out.need(format!("task.{key}"), given.is_none(), || {
                format!("`{key}` is of series; with `entity` rows are held against each other")
            });
        }
    }

    fn series_defects(&self, series: &str, table: (&str, &Columns), out: &mut Defects) {
        use ColumnType::{Bigint, Date, Int, String as Text, Timestamp};
        let text = |kind| kind == Text;
        need_column(("task.series", series), table, (text, "`string`"), out);
        let orders = |kind| matches!(kind, Bigint | Date | Int | Text | Timestamp);
        let expected = "`date`, `timestamp`, `int`, `bigint` or `string`";
        match &self.time {
            Some(time) => need_column(("task.time", time), table, (orders, expected), out),
            None => out.add("task.time", "series need `time`, which orders values".to_owned()),
        }
        let number = (ColumnType::is_number as Fits, "of a number");
        match &self.target {
            Some(target) => need_column(("task.target", target), table, number, out),
            None => out.add("task.target", "series need `target`, their values".to_owned()),
        }
        let of_rows = [
            ("within", self.within.is_some()),
            ("features", self.features.is_some()),
            ("ignore", !self.ignore.is_empty()),
            ("high", !self.high.is_empty()),
            ("log", !self.log.is_empty()),
            ("readings", self.readings.is_some()),
        ];
        for (key, given) in of_rows {
            out.need(format!("task.{key}"), !given, || {
                format!("`{key}` is of rows; with `series` values are held against earlier ones")
            });
        }
    }

    fn model_defects(&self, out: &mut Defects) {
        let chosen = self.is_of_series() && self.model.candidates.is_some();
        out.need("task.model.candidates", !chosen, || {
            "`candidates` are of rows; of series `vote` asks all three".to_owned()
        });
        let of_series = |family: &AnomalyFamily| AnomalyFamily::OF_SERIES.contains(family);
        let (own, other) = match self.is_of_series() {
            true => ("series", "rows"),
            false => ("rows", "series"),
        };
        let kind = (self.model.kind != AnomalyFamily::Vote).then_some(self.model.kind);
        let candidates = self.model.candidates.iter().flatten().enumerate();
        let named =
            candidates.map(|(at, family)| (format!("task.model.candidates[{at}]"), *family));
        for (key, family) in named.chain(kind.map(|kind| ("task.model.kind".to_owned(), kind))) {
            out.need(&key, family != AnomalyFamily::Vote, || {
                "`vote` is not one of those who vote".to_owned()
            });
            let fits = family == AnomalyFamily::Vote || of_series(&family) == self.is_of_series();
            out.need(&key, fits, || {
                format!("`{}` looks at {other}, and the task is about {own}", family.name())
            });
        }
    }
}
