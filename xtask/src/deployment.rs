//! A deployment that is known to be this configuration's own.
//!
//! Whoever changes one, or shows what is in one as its own, needs clients of the environment, and
//! they can be had here only: after the stack of that name was compared with the configuration.

use anyhow::{Error, Result, bail};
use steppe_aws::{Aws, StackView};
use steppe_plan::deploy::Refusal;
use steppe_plan::names::Names;
use steppe_plan::observed::ObservedStack;
use steppe_plan::smoke_test::MissingOutput;
use steppe_wire::hint::Hinted;

use crate::hint::OrHint;
use crate::project::Workspace;
use crate::target::connect;

/// Clients of an environment in which no other deployment has this one's names.
pub struct Deployment {
    aws: Aws,
    names: Names,
    stack: Option<StackView>,
}

impl Deployment {
    /// Connects, and refuses a stack of the deployment's name that has other tags.
    pub async fn open(workspace: &Workspace) -> Result<Self> {
        let (aws, names) = (connect(workspace).await?, workspace.names.clone());
        let stack = aws.stack(&names.stack()).await?;
        if let Some(why) = stack.as_ref().and_then(|stack| stranger(stack, &names)) {
            return Err(Refusal::StrangeStack { stack: names.stack(), why }.into());
        }
        Ok(Self { aws, names, stack })
    }

    /// Calls.
    pub fn aws(&self) -> &Aws {
        &self.aws
    }

    /// Names.
    pub fn names(&self) -> &Names {
        &self.names
    }

    /// The stack in whatever state it was found, if there is one.
    pub fn found(&self) -> Option<&StackView> {
        self.stack.as_ref()
    }

    /// The stack that was deployed, or an error that says how to get one.
    pub fn stack(&self) -> Result<&StackView> {
        let name = self.names.stack();
        let stack = self.stack.as_ref().or_hint(|| {
            Hinted::new(format!("the stack {name} does not exist"), "`cargo xtask deploy` makes it")
        })?;
        if !stack.status.is_deployed() && stack.outputs.is_empty() {
            bail!(Hinted::new(
                format!("the stack {name} is in {}", stack.status),
                "`cargo xtask deploy` brings it in order",
            ));
        }
        Ok(stack)
    }

    /// An output of the stack.
    pub fn output(&self, name: &'static str) -> Result<&str> {
        let output = self.stack()?.outputs.get(name).map(String::as_str);
        output.ok_or_else(|| of_other_version(MissingOutput(name)))
    }
}

/// What a stack lacks that another version of this program made.
pub fn of_other_version(missing: MissingOutput) -> Error {
    let hint = "it was made by another version; `cargo xtask deploy` updates it";
    Hinted::new(missing.to_string(), hint).into()
}

/// What tells that a stack is another deployment's.
fn stranger(stack: &StackView, names: &Names) -> Option<String> {
    let tags = stack.tags.clone();
    ObservedStack { tags, ..ObservedStack::new(stack.status) }.stranger(&names.tags())
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    /// Clients that were had past the comparison would act on whatever has the name.
    #[test]
    fn only_here_are_clients_of_a_deployment_made() {
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
        let (mut folders, mut connecting) = (vec![source], Vec::new());
        while let Some(folder) = folders.pop() {
            for entry in std::fs::read_dir(folder).expect("a folder") {
                let path = entry.expect("an entry").path();
                if path.is_dir() {
                    folders.push(path);
                    continue;
                }
                let text = std::fs::read_to_string(&path).expect("readable");
                if text.contains("connect(") {
                    connecting.extend(path.file_name().map(std::ffi::OsStr::to_owned));
                }
            }
        }
        connecting.sort();
        assert_eq!(connecting, ["deployment.rs", "target.rs"]);
    }
}
