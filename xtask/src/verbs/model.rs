//! `model`: the card of the model in service, the list of all models, promotion and rollback.

use anyhow::Result;
use serde_json::{Value, json};
use steppe_model::any::About;
use steppe_plan::deploy::Refusal;
use steppe_plan::events::{Did, Fact};
use steppe_plan::runs::Promotion;
use steppe_store::Pointer;
use steppe_wire::registry::{Contest, InService, Promoter, Scores, Service, TrainingRecord};

use crate::cli::{ModelVerb, PlanArgs};
use crate::deployment::Deployment;
use crate::exit::Outcome;
use crate::host::Host;
use crate::project::Workspace;
use crate::registry::{Registry, deciding, short};
use crate::table::table;
use crate::training;

/// Runs the verb; without one it prints the card.
pub async fn run(workspace: &Workspace, host: &Host, verb: Option<&ModelVerb>) -> Result<Outcome> {
    match verb {
        None => card(workspace, host).await,
        Some(ModelVerb::List) => list(workspace, host).await,
        Some(ModelVerb::Promote { version, plan }) => {
            let ours = Deployment::open(workspace).await?;
            let registry = Registry::of(&ours)?;
            let before = registry.some_pointer().await?;
            let versions = registry.versions().await?;
            let promotion = Promotion::of(&before.in_service, &versions, version)?;
            promote(&registry, host, (before, promotion), *plan).await
        }
        Some(ModelVerb::Rollback(plan)) => {
            let ours = Deployment::open(workspace).await?;
            let registry = Registry::of(&ours)?;
            let before = registry.some_pointer().await?;
            let promotion = Promotion::back(&before.in_service)?;
            promote(&registry, host, (before, promotion), *plan).await
        }
    }
}

/// Prints the card of the deployed model, or of the one trained here when nothing is deployed.
async fn card(workspace: &Workspace, host: &Host) -> Result<Outcome> {
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
    let whole: Value = serde_json::from_slice(&card)?;
    host.result(&whole, &About::read(&card, &version)?.text);
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
async fn list(workspace: &Workspace, host: &Host) -> Result<Outcome> {
    let ours = Deployment::open(workspace).await?;
    let registry = Registry::of(&ours)?;
    let in_service = registry.some_pointer().await?.in_service;
    let records = registry.records().await?;
    let mut rows = Vec::new();
    for version in registry.versions().await? {
        // A model of another version of Steppe is listed too; it cannot be served.
        let about = registry
            .about(&version)
            .await
            .map_or_else(|_| vec!["?".to_owned(); 3], |about| told(&about));
        rows.push((last_service(&in_service, &version), version, about));
    }
    rows.sort_by(|a, b| (&b.0, &b.1).cmp(&(&a.0, &a.1)));
    let all = json!({ "in_service": in_service, "trainings": records });
    host.result(&all, &listed(&in_service, rows, &records));
    Ok(Outcome::Done)
}

/// When it came into service last, its version, and what its card says.
type Row = (String, String, Vec<String>);

fn listed(in_service: &InService, rows: Vec<Row>, records: &[TrainingRecord]) -> String {
    let current = &in_service.current.model.version;
    let row = |(since, version, about): Row| {
        let mark = if version == *current { "→" } else { "" };
        [vec![mark.to_owned(), version], about, vec![short(&since)]].concat()
    };
    let columns = ["", "version", "family", "data until", "in trials", "in service since"];
    let models = table(&columns, &rows.into_iter().map(row).collect::<Vec<_>>());
    let (by, reason) = (by(in_service.current.by), &in_service.current.reason);
    let text = format!("{models}\nin service: {current}, by {by}: {reason}\n");
    if records.is_empty() {
        return text;
    }
    let columns =
        ["time", "data until", "challenger", "champion", "in the contest", "against", "outcome"];
    let trainings = table(&columns, &records.iter().rev().map(training_row).collect::<Vec<_>>());
    format!("{text}\ntrainings\n{trainings}")
}

fn told(about: &About) -> Vec<String> {
    vec![about.family.to_owned(), about.known.clone(), deciding(&about.model.backtest)]
}

/// When a model was last put into service; empty when it never was.
fn last_service(in_service: &InService, version: &str) -> String {
    let all = std::iter::once(&in_service.current).chain(&in_service.previous);
    let mut of_version = all.filter(|s: &&Service| s.model.version == version);
    of_version.next().map_or_else(String::new, |s| s.since.clone())
}

fn training_row(record: &TrainingRecord) -> Vec<String> {
    let score = |of: fn(&Contest) -> &Scores| {
        record.contest.as_ref().map_or_else(String::new, |contest| deciding(of(contest)))
    };
    vec![
        short(&record.time),
        record.observed_until.clone(),
        record.challenger.version.clone(),
        record.champion.as_ref().map_or_else(String::new, |c| c.version.clone()),
        score(|contest| &contest.challenger),
        score(|contest| &contest.champion),
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

/// Carries out a change of the model in service, which was `before` when it was planned.
async fn promote(
    registry: &Registry<'_>,
    host: &Host,
    (before, promotion): (Pointer, Promotion),
    options: PlanArgs,
) -> Result<Outcome> {
    if options.dry_run {
        host.result(&promotion, &promotion.to_string());
        return Ok(Outcome::Done);
    }
    host.planned(&promotion);
    let version = match promotion {
        Promotion::Unchanged { version } => {
            host.fact(Fact::ModelUnchanged { version });
            return Ok(Outcome::Done);
        }
        Promotion::Replace { to, .. } => {
            let model = registry.model(&to).await?.pointer;
            registry.promote(Some(before), model, Promoter::Person, "promoted by hand").await?;
            to
        }
        Promotion::Back { .. } => registry.roll_back(before).await?.current.model.version,
    };
    host.result(&json!({ "in_service": version }), "");
    host.did(Did::SetModel { version });
    host.fact(Fact::ModelTakesEffect);
    Ok(Outcome::Done)
}
