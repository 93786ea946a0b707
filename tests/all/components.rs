//! Every two components together, each without the other, and neither: really deployed, one after
//! the other as updates of one stack, and run where a run needs nobody to name its series.

use std::path::Path;

use steppe_plan::stack::pairs;
use steppe_spec::{Catalogue, Manifest, Scoring};

use crate::checkout::{Checkout, Said};
use crate::workspace::workspace;

/// The manifest's text with the options of `wanted`.
fn text_of(file: &str, wanted: &Manifest) -> String {
    let begin = file.split("[retrain]").next().expect("what is before the training");
    let options = [
        ("verify", wanted.stack.verify),
        ("alarms", wanted.stack.alarms),
        ("notify", wanted.stack.notify),
    ];
    let line = |line: &str| {
        let option = options.iter().find(|(name, _)| line.starts_with(&format!("{name} = ")));
        option.map_or_else(|| line.to_owned(), |(name, on)| format!("{name} = {on}"))
    };
    let mut text: String = begin.lines().map(|l| line(l) + "\n").collect();
    let catalogue = match wanted.stack.catalogue {
        Catalogue::Declared => "declared",
        Catalogue::Crawler => "crawler",
    };
    let scoring = match wanted.stack.scoring {
        Scoring::Online => "online",
        Scoring::Batch => "batch",
    };
    let own = format!("scoring = \"{scoring}\"\ncatalogue = \"{catalogue}\"\n");
    text = text.replace("[stack]\n", &format!("[stack]\n{own}"));
    if let Some(retrain) = &wanted.retrain {
        text += &format!("[retrain]\non_new_data = {}\n", retrain.on_new_data);
        text.extend(retrain.schedule.iter().map(|s| format!("schedule = \"{s}\"\n")));
    }
    text.extend(wanted.drift.iter().map(|d| format!("[drift]\nschedule = \"{}\"\n", d.schedule)));
    text
}

#[test]
fn components_are_deployed_with_and_without_each_other() {
    let checkout = Checkout::new();
    let folder = workspace(&checkout.path().join("workspace"));
    let path = Path::new("model/pipelines/marriages/pipeline.toml");
    let file = std::fs::read_to_string(folder.join(path)).expect("readable");
    let parsed = |text: &str| Manifest::parse(&path.to_string_lossy(), text).expect("valid");
    let run = |arguments: &[&str]| Said::of(checkout.command(arguments).current_dir(&folder));
    for (name, wanted) in pairs(&parsed(&file)) {
        let text = text_of(&file, &wanted);
        assert_eq!(parsed(&text), wanted, "{name}");
        std::fs::write(folder.join(path), text).expect("written");
        let deployed = run(&["deploy", "--yes"]);
        assert_eq!(deployed.code, Some(0), "{name}: {}", deployed.err);
        let runs = wanted.runs_by_itself();
        assert_eq!(deployed.err.contains("20 series forecast"), runs, "{name}");
        let resources = run(&["status"]).out;
        let there = |kind: &str| resources.contains(kind);
        let starts = wanted.retrain.as_ref().is_some_and(|r| r.schedule.is_some() || r.on_new_data);
        let expected = [
            ("AWS::SNS::Topic", wanted.stack.notify),
            ("AWS::CloudWatch::Alarm", wanted.stack.alarms),
            ("  steppe-marriages-local-train\n", wanted.retrain.is_some()),
            ("  steppe-marriages-local-score\n", wanted.stack.scoring == Scoring::Batch),
            ("  steppe-marriages-local-drift\n", wanted.drift.is_some()),
            ("AWS::Glue::Crawler", wanted.stack.catalogue == Catalogue::Crawler),
            ("AWS::Events::Rule", starts || wanted.drift.is_some() || wanted.stack.notify),
        ];
        for (kind, wanted) in expected {
            assert_eq!(there(kind), wanted, "{name}: {kind}\n{resources}");
        }
    }
    let destroyed = run(&["destroy"]);
    assert!(destroyed.err.contains("nothing left"), "{}", destroyed.err);
}
