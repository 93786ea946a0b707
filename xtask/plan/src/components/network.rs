//! A private network without a way to the internet; S3 is reached through its gateway endpoint.

use serde_json::json;

use super::server::SERVER_PORT;
use super::{Component, Fragment, Stack};

pub(super) fn component(stack: &Stack<'_>, others: &[Component]) -> Option<Component> {
    // Lambda removes the functions' network interfaces with the functions' roles; without them the
    // interfaces stay, and with them subnets and groups. So the roles are deleted last.
    let roles: Vec<_> =
        others.iter().flat_map(|other| &other.functions).map(|function| function.role).collect();
    let context = json!({
        "deleted_before": roles,
        "server_port": SERVER_PORT,
        "s3_prefix_list": stack.spec.site.s3_prefix_list,
    });
    Some(Component {
        name: "network",
        resources: vec![Fragment::new("network.yaml.tera", context)],
        ..Component::default()
    })
}
