//! Rows as tensors: one per column in, and answers out.

use std::collections::HashMap;

use steppe_model::rows::table::{Column, Table};
use steppe_model::tabular::{Answered, ModelCard};
use steppe_spec::ColumnType;

use super::{Questions, ServedModel, push};
use crate::problems::RequestError;
use crate::served::Inferred;
use crate::tensors::{Datatype, Signature, Slot, Tensor, Values, invalid};

/// The output of what each column adds.
pub const EFFECTS: &str = "effects";

/// One tensor per column: FP64 for numbers, truth values (0 and 1) and times (days since 1970),
/// NaN where one is missing; BYTES for texts, empty where one is missing.
pub fn signature(card: &ModelCard) -> Signature {
    let inputs = card.spec.columns.iter().map(|column| {
        let datatype = match column.kind {
            ColumnType::String => Datatype::Bytes,
            _ => Datatype::Fp64,
        };
        Slot::new(column.name.clone(), datatype, &[-1])
    });
    let labels = card.section.target.labels.len();
    let columns = card.spec.columns.len() as i64;
    let answers = match labels {
        0 => Slot::new("value", Datatype::Fp64, &[-1]),
        2 => Slot::new("probability", Datatype::Fp64, &[-1]),
        _ => Slot::new("probabilities", Datatype::Fp64, &[-1, labels as i64]),
    };
    let label = (labels > 0).then(|| Slot::new("label", Datatype::Bytes, &[-1]));
    let effects = Slot { on_request: true, ..Slot::new(EFFECTS, Datatype::Fp64, &[-1, columns]) };
    Signature {
        inputs: inputs.collect(),
        outputs: [answers].into_iter().chain(label).chain([effects]).collect(),
    }
}

/// The rows that tensors stand for.
pub fn read(card: &ModelCard, inputs: &[Tensor]) -> Result<Questions, RequestError> {
    let columns = &card.spec.columns;
    for tensor in inputs {
        if !columns.iter().any(|column| column.name == tensor.name) {
            return Err(invalid(format!("the model has no column `{}`", tensor.name)));
        }
    }
    let mut all = Vec::with_capacity(columns.len());
    for column in columns {
        let mut given = inputs.iter().filter(|tensor| tensor.name == column.name);
        let (Some(tensor), None) = (given.next(), given.next()) else {
            return Err(invalid(format!("the input `{}` is needed, once", column.name)));
        };
        tensor.check_list()?;
        all.push((&column.name, of_tensor(column.kind, tensor)?));
    }
    let rows = all.first().map_or(0, |(_, column)| column.rows());
    if rows == 0 {
        return Err(invalid("the inputs have no rows"));
    }
    let mut table = Table::new(rows);
    for (name, column) in all {
        push(&mut table, name, column)?;
    }
    Ok(Questions { table, entities: vec![None; rows] })
}

fn of_tensor(kind: ColumnType, tensor: &Tensor) -> Result<Column, RequestError> {
    if kind == ColumnType::String {
        let texts = tensor.texts()?;
        let some = texts.iter().map(|text| (!text.is_empty()).then_some(text.as_str()));
        return Ok(Column::category(some));
    }
    let numbers = tensor.numbers()?;
    if kind != ColumnType::Boolean {
        return Ok(Column::Number(numbers));
    }
    let truth = |number: &f64| match *number {
        0.0 => Ok(Some(false)),
        1.0 => Ok(Some(true)),
        missing if missing.is_nan() => Ok(None),
        other => Err(invalid(format!("input `{}` has {other}; expected 0 or 1", tensor.name))),
    };
    Ok(Column::Boolean(numbers.iter().map(truth).collect::<Result<_, _>>()?))
}

/// The outputs of answers.
pub fn told(model: &ServedModel, answered: &[Answered], outputs: &[&str]) -> Inferred {
    let card = &model.artifact.card;
    let rows = answered.len() as i64;
    let places: HashMap<&str, usize> =
        card.spec.columns.iter().map(|column| column.name.as_str()).zip(0..).collect();
    let one = |name: &&str| match *name {
        "label" => {
            let label = |answered: &Answered| {
                card.section.label(&answered.answers, None).unwrap_or_default().to_owned()
            };
            let labels = answered.iter().map(label).collect();
            (Slot::new("label", Datatype::Bytes, &[rows]), Values::Texts(labels))
        }
        EFFECTS => {
            let columns = card.spec.columns.len();
            let mut values = vec![0.0; answered.len() * columns];
            for (row, answered) in values.chunks_mut(columns).zip(answered) {
                // A family that looks at a few columns has no effects of the others.
                for (name, effect) in answered.reasons.iter().flat_map(|all| &all.effects) {
                    row[places[name.as_str()]] += effect;
                }
            }
            let shape = [rows, columns as i64];
            (Slot::new(EFFECTS, Datatype::Fp64, &shape), Values::Numbers(values))
        }
        name => {
            let values: Vec<f64> =
                answered.iter().flat_map(|answered| answered.answers.iter().copied()).collect();
            let shape = match card.section.target.labels.len() {
                0..=2 => vec![rows],
                labels => vec![rows, labels as i64],
            };
            (Slot::new(name.to_owned(), Datatype::Fp64, &shape), Values::Numbers(values))
        }
    };
    let version = model.model_ref.version.clone();
    Inferred { version, outputs: outputs.iter().map(one).collect() }
}
