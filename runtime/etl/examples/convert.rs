//! Converts a file of a table into one of another format, for the checks against other libraries:
//! `convert data.json:json data.orc:orc id name=region` takes the columns `id`, and `name` as
//! `region`. Without a second file it only reads. How long both took goes to standard error.

use std::fs::File;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use steppe_etl::formats::{TableFormat, format, writer};
use steppe_wire::etl::ColumnName;
use steppe_wire::hint::told;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match convert(&arguments) {
        Ok(told) => {
            eprintln!("{told}");
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("error: {}", told(error.as_ref()));
            ExitCode::FAILURE
        }
    }
}

fn convert(arguments: &[String]) -> Result<String> {
    let usage = "convert FILE:FORMAT [FILE:FORMAT|-] COLUMN…";
    let [input, output, columns @ ..] = arguments else { bail!("usage: {usage}") };
    let (path, kind) = place(input)?;
    let wanted = columns.iter().map(|column| wanted(column)).collect::<Result<Vec<_>>>()?;
    let (mut reading, mut writing, mut rows) = (Duration::ZERO, Duration::ZERO, 0);

    let begin = Instant::now();
    let file = File::open(path).with_context(|| format!("cannot open {path}"))?;
    let reader = format(kind).context("CSV is read elsewhere")?.read(Box::new(file), &wanted)?;
    reading += begin.elapsed();
    let mut batches = reader.batches;
    let mut out = None;
    if output != "-" {
        let (path, kind) = place(output)?;
        let file = File::create(path).with_context(|| format!("cannot make {path}"))?;
        out = Some(writer(kind, reader.schema.clone(), file)?);
    }
    loop {
        let begin = Instant::now();
        let batch = batches.next().transpose()?;
        reading += begin.elapsed();
        let Some(batch) = batch else { break };
        rows += batch.num_rows();
        let begin = Instant::now();
        if let Some(out) = &mut out {
            out.write(&batch)?;
        }
        writing += begin.elapsed();
    }
    let begin = Instant::now();
    if let Some(out) = out {
        out.finish()?;
    }
    writing += begin.elapsed();
    let millis = |time: Duration| time.as_millis();
    Ok(format!("{rows} rows; read in {} ms, written in {} ms", millis(reading), millis(writing)))
}

fn place(argument: &str) -> Result<(&str, TableFormat)> {
    let (path, name) = argument.rsplit_once(':').context("a file has no `:FORMAT`")?;
    let kind = match name {
        "csv" => TableFormat::Csv,
        "json" => TableFormat::Json,
        "parquet" => TableFormat::Parquet,
        "avro" => TableFormat::Avro,
        "orc" => TableFormat::Orc,
        other => bail!("`{other}` is no format"),
    };
    Ok((path, kind))
}

fn wanted(argument: &str) -> Result<ColumnName> {
    let (source, name) = argument.split_once('=').unwrap_or((argument, argument));
    let column = serde_json::json!({ "source": source, "name": name, "type": "string" });
    Ok(serde_json::from_value(column)?)
}
