//! Artifacts whose hashes are right and whose contents are not: the model in service stays.

use std::sync::Arc;

use bytes::Bytes;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use steppe_model::Artifact;
use steppe_model::host::{Quiet, Stage};
use steppe_server::batch::{self, Source};
use steppe_server::config::Limits;
use steppe_server::model_store::ServedModel;
use steppe_server::watch::Watch;
use steppe_spec::{Family, Kind};

use crate::forecasts::{Server, ask};
use crate::tools::{artifact, dataset, put_model, spec};

fn trained(family: Family) -> Artifact {
    let spec = spec().with(|s| s.model.kind = Kind::Of(family));
    Artifact::train(&dataset(), &spec, &Stage::new(&Quiet)).expect("trains")
}

/// `artifact` with other weights and a card to fit, changed by `change`.
fn forged(artifact: &Artifact, weights: Vec<u8>, change: impl FnOnce(&mut Value)) -> Artifact {
    let mut card: Value = serde_json::from_slice(&artifact.card_bytes).expect("a card");
    card["weights_sha256"] = hex(&weights).into();
    change(&mut card);
    let card_bytes = serde_json::to_vec(&card).expect("JSON");
    Artifact { card_bytes, weights_bytes: weights, ..artifact.clone() }
}

fn hex(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|b| format!("{b:02x}")).collect()
}

fn card(change: impl FnOnce(&mut Value)) -> Artifact {
    let whole = artifact();
    forged(&whole, whole.weights_bytes.clone(), change)
}

/// Why the server does not take `artifact` up.
async fn refusal(server: &Server, artifact: &Artifact) -> String {
    let before = server.service.models.current().model_ref.version.clone();
    put_model(&server.artifacts, artifact).await;
    let outcome = server.service.models.reload().await;
    let error = format!("{:#}", outcome.expect_err("it must not be taken up"));
    assert_eq!(server.service.models.current().model_ref.version, before);
    assert_eq!(server.post(ask(json!("Almaty"))).await.0.as_u16(), 200);
    error
}

#[tokio::test]
async fn a_card_that_breaks_an_invariant_is_refused() {
    let server = Server::start(Limits::default()).await;
    let place = |path: &'static str, value: Value| {
        move |card: &mut Value| *card.pointer_mut(path).expect("a place") = value
    };
    let cases = [
        ("/calibration/offsets", json!([]), "offsets for 0 steps of 2"),
        ("/calibration/offsets/1", json!([]), "not one ascending offset"),
        ("/calibration/offsets/0/0", json!(1e9), "not one ascending offset"),
        ("/calibration/probabilities", json!([]), "probabilities are not ascending"),
        ("/calibration/probabilities/0", json!(-0.5), "probabilities are not ascending"),
        ("/calibration/level", json!(0.5), "of another configuration"),
        ("/calibration/season", json!(7), "of another configuration"),
        ("/calibration/relative_error", json!(-1.0), "relative errors"),
        ("/members", json!([]), "names 0 members"),
        ("/members/0/family", json!("theta"), "the only member"),
        ("/members/0/weight", json!(0.5), "add up to 0.5"),
        ("/members/0/record", Value::Null, "what the card has of `lstm`: invalid type: null"),
        ("/members/0/record/context", json!(1), "of another configuration"),
        ("/members/0/record/context", json!(1_000_000_000_000u64), "of another configuration"),
        ("/members/0/record/horizon", json!(1_000_000_000), "of another configuration"),
        ("/members/0/record/change", json!(0.0), "typical changes"),
        ("/members/0/record/step", json!(1e308), "no finite number"),
        ("/members/0/record/features", json!([{ "mean": 0.0, "deviation": 1.0 }]), "scales"),
        ("/spec/task/horizon", json!(1_000_000_000), "`task.horizon` is 1000000000"),
        ("/spec/model/lstm/context", json!(1_000_000_000_000u64), "`model.lstm.context` is"),
        ("/spec/model/lstm/hidden", json!(1_000_000), "`model.lstm.hidden` is"),
        ("/spec/model/lstm/members", json!(200), "`model.lstm.members` is 200"),
        ("/spec/backtest/interval_level", json!(1.5), "`backtest.interval_level` is 1.5"),
        ("/spec/pipeline", json!("other"), "the card's id is not"),
        ("/schema_version", json!(4), "train again with `cargo xtask train`"),
        (
            "/task",
            json!("classification"),
            "a model for `classification`, and this server began with one for `forecast`",
        ),
        ("/reference/distributions", json!([]), "reference for drift"),
        ("/reference/distributions/0/statistic", json!("change"), "reference for drift"),
        ("/reference/distributions/0/counts", json!([]), "reference for drift"),
        ("/data/fingerprint", json!("ąąąąąąąąąąąąą"), "not a hash"),
    ];
    for (path, value, expected) in cases {
        let said = refusal(&server, &card(place(path, value.clone()))).await;
        assert!(said.contains(expected), "{path} {value}: {said}");
    }
    let without = card(|card| {
        card["calibration"].as_object_mut().expect("an object").remove("offsets");
    });
    assert!(refusal(&server, &without).await.contains("is not a model card"));
    let other = card(|card| {
        card["spec"]["pipeline"] = json!("other");
        card["id"] = json!("other-lstm");
    });
    let said = refusal(&server, &other).await;
    assert!(said.contains("a model of the pipeline `other`, not of `marriages`"), "{said}");
}

#[tokio::test]
async fn weights_that_are_no_numbers_are_refused_and_not_served_as_zeros() {
    let server = Server::start(Limits::default()).await;
    let whole = artifact();
    let header = u64::from_le_bytes(whole.weights_bytes[..8].try_into().expect("eight bytes"));
    let filled = |value: f32| {
        let mut weights = whole.weights_bytes.clone();
        let data = &mut weights[8 + header as usize..];
        data.chunks_exact_mut(4).for_each(|b| b.copy_from_slice(&value.to_le_bytes()));
        forged(&whole, weights, |_| {})
    };
    for value in [f32::NAN, f32::INFINITY] {
        let said = refusal(&server, &filled(value)).await;
        assert!(said.contains("no finite numbers"), "{value}: {said}");
    }
    let said = refusal(&server, &filled(3e38)).await;
    assert!(said.contains("no finite number"), "{said}");
}

#[tokio::test]
async fn trees_that_lead_in_a_circle_or_nowhere_are_refused() {
    // The same length, so that the tensor's place stays: a child is its own parent, or is not
    // there.
    for (family, from, to) in [
        (Family::GradientBoosting, "\"left_child\":1,", "\"left_child\":0,"),
        (Family::GradientBoosting, "\"left_child\":1,", "\"left_child\":9,"),
        (Family::RandomForest, "\"right\":[2,", "\"right\":[1,"),
        (Family::RandomForest, "\"right\":[2,", "\"right\":[9,"),
    ] {
        let server = Server::start(Limits::default()).await;
        let trees = trained(family);
        put_model(&server.artifacts, &trees).await;
        let taken = server.service.models.reload().await.expect("whole trees");
        assert_eq!(taken, Some(trees.version()));
        let at = trees.weights_bytes.windows(from.len()).position(|w| w == from.as_bytes());
        let at = at.expect("a tree that splits");
        let mut weights = trees.weights_bytes.clone();
        weights[at..at + to.len()].copy_from_slice(to.as_bytes());
        let said = refusal(&server, &forged(&trees, weights, |_| {})).await;
        assert!(said.contains("a way that ends at no leaf"), "{said}");
    }
}

#[tokio::test]
async fn coefficients_of_another_length_are_refused() {
    let server = Server::start(Limits::default()).await;
    let pooled = trained(Family::PooledAutoregression);
    let cases = [
        ("lags", json!([]), "the lags are not ascending"),
        ("lags", json!([0, 1]), "the lags are not ascending"),
        ("lags", json!([1, 1_000_000_000]), "the lags are not ascending"),
        ("coefficients", json!([1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0]), "one finite coefficient"),
    ];
    for (field, value, expected) in cases {
        let change = |card: &mut Value| card["members"][0]["record"][field] = value.clone();
        let said = refusal(&server, &forged(&pooled, pooled.weights_bytes.clone(), change)).await;
        assert!(said.contains(expected), "{field} {value}: {said}");
    }
}

fn served(artifact: Artifact) -> Arc<ServedModel> {
    let (model_ref, watch) = (artifact.forecast_ref(), Watch::new(&artifact));
    Arc::new(ServedModel { artifact, card: Bytes::new(), model_ref, form: (), watch })
}

/// Nothing known breaks a model that was checked; what is not known must not reach the others'
/// requests.
#[tokio::test]
async fn a_model_that_breaks_answers_nobody_and_those_beside_it_are_answered() {
    let mut hollow = artifact();
    hollow.card.section.calibration.offsets.clear();
    let (broken, sound) = (served(hollow), served(artifact()));
    let source = || Source::Own(Arc::new(dataset().series().to_vec()));
    let asked = |model: &Arc<ServedModel>| batch::forecast(model.clone(), source(), 1);
    let (leader, beside, last) = tokio::join!(asked(&broken), asked(&sound), asked(&broken));
    assert!(leader.is_none() && last.is_none());
    assert_eq!(beside.expect("answered").len(), 2);
}
