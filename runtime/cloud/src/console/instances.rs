//! Instances of EC2, and what they wrote to their consoles.

use maud::{Markup, html};
use serde_json::{Value, json};

use super::ask::{Answer, Ask, Problem};
use super::frame::Page;
use super::html::{code, facts, link, section, status, tags, text, time};
use super::links::to;
use super::table::{paged, table};

/// The state of an instance, as the API tells it.
async fn state(ask: &Ask, id: &str) -> String {
    let answer = ask.read("ec2", "DescribeInstances", json!({ "InstanceIds": [id] })).await;
    let state = answer.ok().and_then(|mut answer| {
        let name = answer.pointer_mut("/Reservations/0/Instances/0/State/Name")?.take();
        name.as_str().map(str::to_owned)
    });
    state.unwrap_or_else(|| "unknown".to_owned())
}

/// All instances.
pub async fn list(ask: &Ask) -> Result<Answer, Problem> {
    let (instances, pager) = paged(ask, "instances", ask.cloud.services.ec2.instances.all());
    let mut rows: Vec<Vec<Markup>> = Vec::new();
    for (id, instance) in &instances {
        rows.push(vec![
            link(&to("instance", &[("id", id)]), id),
            status(&state(ask, id).await),
            text(&instance.instance_type),
            text(&instance.address.to_string()),
            text(&instance.units.join(", ")),
            time(instance.launched),
        ]);
    }
    let columns = ["ID", "State", "Type", "Address", "Units", "Launched"];
    let body = html! { (table("Instances", &columns, &rows)) (pager) };
    Ok(Page::new("Instances", body).into())
}

/// One instance.
pub async fn one(ask: &Ask) -> Result<Answer, Problem> {
    let id = ask.required("id")?;
    let instance = ask.cloud.services.ec2.instances.get(id);
    let instance =
        instance.ok_or_else(|| Problem::absent(format!("There is no instance {id}.")))?;
    let body = html! {
        (facts(vec![
            ("State", status(&state(ask, id).await)),
            ("Type", text(&instance.instance_type)),
            ("Image", text(&instance.image)),
            ("Address", text(&instance.address.to_string())),
            ("Instance profile", text(&instance.profile)),
            ("Subnet", text(&instance.subnet)),
            ("Security groups", text(&instance.groups.join(", "))),
            ("Zone", text(&instance.zone)),
            ("Units", text(&instance.units.join(", "))),
            ("Launched", time(instance.launched)),
            ("Tags", tags(&instance.tags)),
        ]))
        (section("Console", &output(ask, id).await))
    };
    Ok(Page::new(id, body).below("Instances", to("instances", &[])).into())
}

async fn output(ask: &Ask, id: &str) -> Markup {
    use base64::Engine as _;

    let answer = match ask.read("ec2", "GetConsoleOutput", json!({ "InstanceId": id })).await {
        Ok(answer) => answer,
        Err(error) => return html! { p.quiet { (error.message) } },
    };
    let encoded = answer.get("Output").and_then(Value::as_str).unwrap_or_default();
    let bytes = base64::engine::general_purpose::STANDARD.decode(encoded).unwrap_or_default();
    match bytes.is_empty() {
        true => html! { p.quiet { "Nothing." } },
        false => code("Console", &String::from_utf8_lossy(&bytes)),
    }
}
