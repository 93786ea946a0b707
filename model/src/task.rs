//! A kind of question that models answer, as everything that tasks share sees it.
//!
//! Artifacts, the heads of cards, contests, checks for leaks and counts of drift are written once,
//! over this trait. What differs lies in a folder of `tasks/`: how rows become data, what a
//! question and an answer are, how models are judged, what a card says of that.

use std::fmt::Debug;

use bytes::Bytes;
use serde::Serialize;
use serde::de::DeserializeOwned;
use steppe_wire::drift::Side;
use steppe_wire::registry::Scores;

use crate::artifact::Artifact;
use crate::card::ModelCard;
use crate::error::TrainError;
use crate::family::{Fitted, Recipe};
use crate::forecast::dataset::DataError;
use crate::host::Stage;
use crate::trials::Trials;
use steppe_spec::{Family, Training};

/// What models learn from.
pub trait Data: Debug + Send + Sync + 'static {
    /// A hash over everything in it, in hexadecimal: other data have another one.
    fn fingerprint(&self) -> String;
}

/// A kind of question, with everything that training, cards, contests, drift and serving need to
/// know about it.
pub trait Task: Debug + Clone + PartialEq + Send + Sync + Sized + 'static {
    /// Its name in cards.
    const NAME: &'static str;
    /// What people call cases.
    const CASES: &'static str;
    /// What people call an answer, with its article.
    const ANSWER: &'static str;
    /// Why there may be no new case to compare two models on, before "since …".
    const NOTHING_NEW: &'static str;
    /// Distance between what was counted in trials and in service below which it does not matter.
    const KS_LIMIT: f64;
    /// How to answer where only the statistics count.
    const BRIEFLY: Self::How;

    /// What decides a model.
    type Spec: Training;
    /// What models learn from.
    type Data: Data;
    /// One question.
    type Query<'a>: Copy + Send + Sync;
    /// How questions are to be answered: how far ahead.
    type How: Copy + PartialEq + Send;
    /// The answer to a question.
    type Answer: Send;
    /// Every family on the same cases.
    type Trials<'a>: Trials<Answer = Self::Tried>;
    /// What somebody said in one case.
    type Tried: Clone;
    /// The closed set of its fitted families.
    type Model: Fitted;
    /// What its cards say beside what all cards say.
    type Section: Debug + Clone + PartialEq + Send + Sync + Serialize + DeserializeOwned;
    /// The values of [`Task::statistics_of`].
    type Statistics: AsRef<[f64]>;

    /// The data in Parquet files.
    fn read(spec: &Self::Spec, files: Vec<Bytes>) -> Result<Self::Data, DataError>;

    /// Names of the tables beside the task's own that [`Task::with_others`] takes.
    fn others(_spec: &Self::Spec) -> Vec<String> {
        vec![]
    }

    /// The data with what the other tables say, in the order of [`Task::others`].
    fn with_others(
        data: Self::Data,
        _spec: &Self::Spec,
        _tables: Vec<Vec<Bytes>>,
    ) -> Result<Self::Data, DataError> {
        Ok(data)
    }

    /// What people should know about the data, a sentence each.
    fn notes(_data: &Self::Data) -> Vec<String> {
        vec![]
    }

    /// A card as a page of text.
    fn text(card: &ModelCard<Self>, version: &str) -> String;

    /// Refuses data whose columns give away the answer.
    fn check_data(data: &Self::Data, spec: &Self::Spec) -> Result<(), TrainError>;

    /// Times at which the check for leaks stands.
    fn times_to_check(data: &Self::Data, spec: &Self::Spec) -> Vec<i64>;

    /// The data, and the same with everything scrambled that nobody could know at `time`.
    fn scrambled(data: &Self::Data, spec: &Self::Spec, time: i64) -> (Self::Data, Self::Data);

    /// What a family answers at `time` when it is fitted on what was known then.
    fn told_at(
        data: &Self::Data,
        time: i64,
        family: Family,
        spec: &Self::Spec,
    ) -> Result<Vec<Vec<f64>>, TrainError>;

    /// Judges every family on cases that none of the fits has seen.
    fn trials<'a>(
        data: &'a Self::Data,
        spec: &'a Self::Spec,
        stage: &Stage<'_>,
    ) -> Result<Self::Trials<'a>, TrainError>;

    /// How a family is fitted and read; none for one that does something else.
    fn recipe(family: Family) -> Option<Recipe<Self>>;

    /// Fitted models as one, the weighted mean of their answers; none where that is none.
    fn combined(_members: Vec<(f64, Self::Model)>, _spec: &Self::Spec) -> Option<Self::Model> {
        None
    }

    /// How the chosen family is fitted at last: with the options that the trials found.
    fn found(spec: &Self::Spec, _trials: &Self::Trials<'_>) -> Self::Spec {
        spec.clone()
    }

    /// What the card says of the trials that chose its model.
    fn section(
        data: &Self::Data,
        spec: &Self::Spec,
        trials: &Self::Trials<'_>,
    ) -> Result<Self::Section, TrainError>;

    /// What else an artifact keeps of the trials, beside the weights: names and contents.
    fn past(_trials: &Self::Trials<'_>) -> Vec<(&'static str, Vec<u8>)> {
        vec![]
    }

    /// Checks everything of a section that was read on which answers rest.
    fn check_section(section: &Self::Section, spec: &Self::Spec) -> Result<(), String>;

    /// How well the model did in its trials: the deciding score first.
    fn scores(section: &Self::Section) -> Scores;

    /// What drift counts of a question and its answer, each with the side that it is taken on.
    fn statistics_of(section: &Self::Section) -> Vec<(String, Side)>;

    /// Asks a few plain questions; an artifact without usable answers is of no use. It also brings
    /// weights into memory before the first request.
    fn try_out(artifact: &Artifact<Self>) -> Result<(), String>;

    /// One answer per question.
    fn answer(
        artifact: &Artifact<Self>,
        queries: &[Self::Query<'_>],
        how: Self::How,
    ) -> Vec<Self::Answer>;

    /// What drift counts of a question and its answer.
    fn statistics(
        artifact: &Artifact<Self>,
        query: Self::Query<'_>,
        answer: &Self::Answer,
    ) -> Option<Self::Statistics>;

    /// The questions of the trials that the model itself can answer. Those with the same number
    /// were asked at the same time.
    fn asked<'a>(
        artifact: &Artifact<Self>,
        trials: &'a Self::Trials<'_>,
    ) -> Vec<(usize, Self::Query<'a>)>;

    /// The newest that the model of a card knows, for people: a time, or how many rows.
    fn known(card: &ModelCard<Self>) -> &str;

    /// Trials about more cases that a model from elsewhere has not seen, where those of a training
    /// leave some out; none where they do not.
    fn onward<'a>(
        _champion: &Artifact<Self>,
        _data: &'a Self::Data,
        _trials: &Self::Trials<'a>,
    ) -> Result<Option<Self::Trials<'a>>, TrainError> {
        Ok(None)
    }

    /// The cases that a model from elsewhere has not seen, and the entrant that would have been
    /// chosen without them; none where that cannot be told.
    fn unseen(champion: &Artifact<Self>, trials: &Self::Trials<'_>) -> Option<(Vec<usize>, usize)>;

    /// What a model from elsewhere says in the cases with the given numbers, as far as it can.
    fn answered(
        champion: &Artifact<Self>,
        trials: &Self::Trials<'_>,
        cases: Vec<usize>,
    ) -> Vec<(usize, Self::Tried)>;
}
