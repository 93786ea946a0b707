//! `model`: the card of the model in service, the list of all models, promotion and rollback.

use anyhow::{Context, Result, bail};
use steppe_model::ModelCard;
use steppe_plan::deploy::Refusal;
use steppe_wire::registry::{Contest, InService, Promoter, Service, TrainingRecord};

use crate::cli::ModelVerb;
use crate::deployment::Deployment;
use crate::exit::Outcome;
use crate::project::Workspace;
use crate::registry::{Registry, short};
use crate::story::{Story, table};
use crate::terminal::{out, out_json, say};
use crate::training;

/// Runs the verb; without one it prints the card.
pub async fn run(
    workspace: &Workspace,
    verb: Option<&ModelVerb>,
    as_json: bool,
) -> Result<Outcome> {
    match verb {
        None => card(workspace, as_json).await,
        Some(ModelVerb::List) => list(workspace, as_json).await,
        Some(ModelVerb::Promote { version }) => promote(workspace, version).await,
        Some(ModelVerb::Rollback) => roll_back(workspace).await,
    }
}

/// Prints the card of the deployed model, or of the one trained here when nothing is deployed.
async fn card(workspace: &Workspace, as_json: bool) -> Result<Outcome> {
    let (version, card) = match deployed_card(workspace).await {
        Ok(found) => found,
        Err(foreign) if foreign.is::<Refusal>() => return Err(foreign),
        Err(not_deployed) => match training::newest(workspace) {
            Some(artifact) => (
                format!("{} (trained here, not deployed)", artifact.version()),
                artifact.card_bytes,
            ),
            None => {
                return Err(
                    not_deployed.context("there is no model, neither deployed nor trained here")
                );
            }
        },
    };
    if as_json {
        out_json(&String::from_utf8_lossy(&card));
        return Ok(Outcome::Done);
    }
    let card: ModelCard = serde_json::from_slice(&card)?;
    out(&card.to_text(&version));
    Ok(Outcome::Done)
}

async fn deployed_card(workspace: &Workspace) -> Result<(String, Vec<u8>)> {
    let ours = Deployment::open(workspace).await?;
    let registry = Registry::of(&ours)?;
    let version = registry.some_pointer().await?.in_service.current.model.version;
    let card = registry.card_bytes(&version).await?;
    Ok((version, card))
}

/// Prints every model with its backtest and its times in service, and what trainings found.
async fn list(workspace: &Workspace, as_json: bool) -> Result<Outcome> {
    let ours = Deployment::open(workspace).await?;
    let registry = Registry::of(&ours)?;
    let in_service = registry.some_pointer().await?.in_service;
    let records = registry.records().await?;
    if as_json {
        let all = serde_json::json!({ "in_service": in_service, "trainings": records });
        out_json(&serde_json::to_string_pretty(&all)?);
        return Ok(Outcome::Done);
    }
    let mut rows = Vec::new();
    for version in registry.versions().await? {
        // A model of another version of Steppe is listed too; it cannot be served.
        let about = registry
            .card(&version)
            .await
            .map_or_else(|_| vec!["?".to_owned(); 4], |card| about(&card));
        rows.push((last_service(&in_service, &version), version, about));
    }
    rows.sort_by(|a, b| (&b.0, &b.1).cmp(&(&a.0, &a.1)));
    let current = &in_service.current.model.version;
    let row = |(since, version, about): (String, String, Vec<String>)| {
        let mark = if version == *current { "→" } else { "" };
        [vec![mark.to_owned(), version], about, vec![short(&since)]].concat()
    };
    let columns = ["", "version", "family", "data until", "MAPE %", "MASE", "in service since"];
    out(&table(&columns, &rows.into_iter().map(row).collect::<Vec<_>>()));
    say!(
        "\nin service: {current}, by {}: {}",
        by(in_service.current.by),
        in_service.current.reason
    );
    if !records.is_empty() {
        say!("\ntrainings");
        let columns =
            ["time", "data until", "challenger", "champion", "MASE", "against", "outcome"];
        out(&table(&columns, &records.iter().rev().map(training_row).collect::<Vec<_>>()));
    }
    Ok(Outcome::Done)
}

fn about(card: &ModelCard) -> Vec<String> {
    let errors = &card.section.backtest.model;
    vec![
        card.family.name().to_owned(),
        card.section.data.last.clone(),
        format!("{:.2}", errors.mape),
        format!("{:.3}", errors.mase),
    ]
}

/// When a model was last put into service; empty when it never was.
fn last_service(in_service: &InService, version: &str) -> String {
    let all = std::iter::once(&in_service.current).chain(&in_service.previous);
    let mut of_version = all.filter(|s: &&Service| s.model.version == version);
    of_version.next().map_or_else(String::new, |s| s.since.clone())
}

fn training_row(record: &TrainingRecord) -> Vec<String> {
    let mase = |of: fn(&Contest) -> f64| {
        record.contest.as_ref().map_or_else(String::new, |c| format!("{:.3}", of(c)))
    };
    vec![
        short(&record.time),
        record.observed_until.clone(),
        record.challenger.version.clone(),
        record.champion.as_ref().map_or_else(String::new, |c| c.version.clone()),
        mase(|c| c.challenger.errors.mase),
        mase(|c| c.champion.errors.mase),
        format!("{}: {}", if record.promoted { "promoted" } else { "kept out" }, record.reason),
    ]
}

fn by(promoter: Promoter) -> &'static str {
    match promoter {
        Promoter::Deploy => "deploy",
        Promoter::Training => "training",
        Promoter::Person => "hand",
    }
}

/// Puts a model into service that is there already.
async fn promote(workspace: &Workspace, wanted: &str) -> Result<Outcome> {
    let story = Story::begin();
    let ours = Deployment::open(workspace).await?;
    let registry = Registry::of(&ours)?;
    let before = registry.some_pointer().await?;
    let version = find(registry.versions().await?, wanted)?;
    if before.in_service.current.model.version == version {
        story.note("unchanged", &format!("model {version} is in service already"));
        return Ok(Outcome::Done);
    }
    let artifact = registry.artifact(&version).await?;
    registry
        .promote(Some(before), artifact.pointer(), Promoter::Person, "promoted by hand")
        .await?;
    told(&story, &version);
    Ok(Outcome::Done)
}

/// The one version that begins with `wanted`.
fn find(versions: Vec<String>, wanted: &str) -> Result<String> {
    let mut fitting: Vec<String> =
        versions.iter().filter(|v| v.starts_with(wanted)).cloned().collect();
    match (fitting.len(), wanted.is_empty()) {
        (1, false) => fitting.pop().context("there is one"),
        (0, _) => bail!(
            "there is no model {wanted}\nhint: `cargo xtask model list` lists those that there are"
        ),
        _ => bail!("`{wanted}` means {}\nhint: give more of the version", fitting.join(" or ")),
    }
}

/// Puts the model before the one in service back.
async fn roll_back(workspace: &Workspace) -> Result<Outcome> {
    let story = Story::begin();
    let ours = Deployment::open(workspace).await?;
    let registry = Registry::of(&ours)?;
    let back = registry.roll_back().await?;
    told(&story, &back.current.model.version);
    Ok(Outcome::Done)
}

fn told(story: &Story, version: &str) {
    story.done("in service", &format!("model {version}"), story.elapsed());
    story.note(
        "note",
        "the server takes it up within seconds; the next deployment leaves it in \
                service unless it trains another model",
    );
}

#[cfg(test)]
mod tests {
    #[test]
    fn a_version_may_be_shortened_while_it_is_clear() {
        let find = |wanted| {
            super::find(vec!["ab12".into(), "ab34".into(), "cd56".into()], wanted)
                .map_err(|e| e.to_string())
        };
        assert_eq!(find("cd"), Ok("cd56".into()));
        assert!(find("ab").expect_err("two").contains("ab12 or ab34"));
        assert!(find("x").expect_err("none").contains("there is no model x"));
        assert!(find("").is_err());
    }
}
