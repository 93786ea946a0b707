//! What the documentation says that the embedded cloud has is what it has.

use steppe_cloud::kernel::service::Service;
use steppe_cloud::{coverage, services};

use crate::tools::root;

#[test]
fn the_page_is_what_the_registrations_say() {
    let page = root().join("docs/coverage.md");
    expectorate::assert_contents(page, &coverage::page());
}

/// Members that operations read are AWS's, and AWS's models know every operation that is here.
#[test]
fn registrations_and_models_fit_together() {
    let mut wrong = Vec::new();
    for service in services::all() {
        let model = (service.model)();
        let modelled: Vec<&str> = model.operations().map(|(name, _)| name).collect();
        let mut here = names(service);
        here.sort_unstable();
        assert_eq!(here, modelled, "{}: run models/trim_api_models.py", service.id);
        for operation in service.operations {
            for reads in operation.members {
                let known = model.input(operation.name).and_then(|i| i.members.get(reads.name));
                if known.is_none_or(|member| model.of(member).is_none()) {
                    wrong.push(format!("{}:{} {}", service.id, operation.name, reads.name));
                }
            }
        }
    }
    assert_eq!(wrong, Vec::<String>::new(), "run models/trim_api_models.py");
}

fn names(service: &Service) -> Vec<&'static str> {
    let own = service.operations.iter().map(|operation| operation.name);
    own.chain((service.elsewhere)()).collect()
}
