//! Functions as they are kept, and as the API shows them.

use std::collections::{BTreeMap, HashMap};
use std::path::PathBuf;

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::kernel::cloud::{Cloud, iso};
use crate::kernel::error::{ApiError, ApiResult};

/// How long a function is being made or changed. In AWS it is a second or some minutes; who does
/// not wait for the end is refused in both places.
const CHANGE: SignedDuration = SignedDuration::from_millis(200);
/// The version that changes.
pub const LATEST: &str = "$LATEST";

/// A function, or a version of one.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Function {
    /// ARN of its role.
    pub role: String,
    /// What it does.
    pub description: String,
    /// Environment variables.
    pub variables: HashMap<String, String>,
    /// Which of the package's handlers it is.
    #[serde(default)]
    pub handler: String,
    /// The operating system that it was built for.
    #[serde(default = "al2023")]
    pub runtime: String,
    /// Seconds that an invocation may take.
    pub timeout_secs: u64,
    /// Memory that its processes may use.
    pub memory_mb: u64,
    /// Group of its logs.
    pub log_group: String,
    /// SHA-256 of its package, base64.
    pub code_sha256: String,
    /// Size of its package.
    pub code_bytes: usize,
    /// Directory of its unpacked package.
    pub directory: PathBuf,
    /// Last change; a process of an older function is not used again.
    pub modified: Timestamp,
    /// Architecture.
    pub architecture: String,
    /// Network that it is attached to.
    #[serde(default)]
    pub network: Option<Network>,
    /// Queue or topic of events that failed.
    #[serde(default)]
    pub dead_letter: Option<String>,
    /// Statements about who else may invoke it.
    #[serde(default)]
    pub permissions: Vec<Value>,
    /// What is being done to it.
    #[serde(default)]
    pub change: Option<Change>,
    /// Changes with everything that is changed.
    #[serde(default)]
    pub revision: Option<String>,
    /// Invocations that are kept for it, and that it may have at a time. Of a version it is not
    /// used.
    #[serde(default)]
    pub reserved: Option<u64>,
    /// Its tags. Of a version they are not used.
    #[serde(default)]
    pub tags: BTreeMap<String, String>,
    /// The number of the newest version that was published.
    #[serde(default)]
    pub published: u64,
}

fn al2023() -> String {
    "provided.al2023".to_owned()
}

/// Where a function is attached to a network.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Network {
    /// Subnets.
    pub subnets: Vec<String>,
    /// Security groups.
    pub groups: Vec<String>,
}

/// A change that is under way.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Change {
    /// Until when.
    pub until: Timestamp,
    /// Whether the function is being made.
    pub creates: bool,
}

impl Default for Function {
    fn default() -> Self {
        Self {
            role: String::new(),
            description: String::new(),
            variables: HashMap::new(),
            handler: String::new(),
            runtime: al2023(),
            timeout_secs: 3,
            memory_mb: 128,
            log_group: String::new(),
            code_sha256: String::new(),
            code_bytes: 0,
            directory: PathBuf::new(),
            modified: Timestamp::now(),
            architecture: "x86_64".to_owned(),
            network: None,
            dead_letter: None,
            permissions: Vec::new(),
            change: None,
            revision: None,
            reserved: None,
            tags: BTreeMap::new(),
            published: 0,
        }
    }
}

impl Function {
    /// The identifier of its present state.
    pub fn revision(&self) -> String {
        // Records of older clouds have none.
        let of_old = || uuid::Uuid::from_u128(self.modified.as_nanosecond() as u128).to_string();
        self.revision.clone().unwrap_or_else(of_old)
    }

    /// Begins a change, which gives it another revision.
    pub fn begin_change(&mut self, now: Timestamp, creates: bool) {
        self.change = Some(Change { until: now + CHANGE, creates });
        // Later than before, also when the clock stands still: processes are told apart by it.
        self.modified = now.max(self.modified + SignedDuration::from_millis(1));
        self.touch();
    }

    /// Gives it another revision.
    pub fn touch(&mut self) {
        self.revision = Some(uuid::Uuid::new_v4().to_string());
    }

    /// The change that is under way.
    pub fn changing(&self, now: Timestamp) -> Option<Change> {
        self.change.filter(|change| now < change.until)
    }

    /// Refuses what cannot be done while the function is being made.
    pub fn check_is_made(&self, now: Timestamp) -> ApiResult<()> {
        match self.changing(now) {
            Some(Change { creates: true, .. }) => Err(conflict(
                "The operation cannot be performed at this time. The function is currently in the \
                 following state: Pending",
            )),
            _ => Ok(()),
        }
    }

    /// Refuses what cannot be done while the function is being made or changed.
    pub fn check_is_settled(&self, arn: &str, now: Timestamp) -> ApiResult<()> {
        self.check_is_made(now)?;
        match self.changing(now) {
            Some(_) => Err(conflict(format!(
                "The operation cannot be performed at this time. An update is in progress for \
                 resource: {arn}"
            ))),
            None => Ok(()),
        }
    }
}

/// What cannot be done now, or because something is there.
pub fn conflict(message: impl Into<String>) -> ApiError {
    ApiError::new("ResourceConflictException", message).with_status(409).with("Type", "User".into())
}

/// A parameter that Lambda refuses.
pub fn invalid(message: impl Into<String>) -> ApiError {
    ApiError::new("InvalidParameterValueException", message).with("Type", "User".into())
}

/// Something that is not there.
pub fn not_found(message: impl Into<String>) -> ApiError {
    ApiError::new("ResourceNotFoundException", message).with_status(404).with("Type", "User".into())
}

/// Refuses a revision that is not the present one.
pub fn check_revision(given: Option<&str>, present: &str) -> ApiResult<()> {
    if given.is_none_or(|given| given == present) {
        return Ok(());
    }
    let message = "The Revision Id provided does not match the latest Revision Id. Call the \
                   GetFunction/GetAlias API to retrieve the latest Revision Id";
    Err(ApiError::new("PreconditionFailedException", message).with_status(412))
}

/// Which function is shown, and how it is named.
#[derive(Debug, Clone, Copy)]
pub struct Shown<'a> {
    /// The function's name.
    pub name: &'a str,
    /// Its version.
    pub version: &'a str,
    /// What the ARN ends with: a version or an alias.
    pub qualifier: Option<&'a str>,
}

/// As the API describes a function or a version.
pub fn describe(cloud: &Cloud, shown: &Shown<'_>, function: &Function) -> Value {
    let network = function
        .network
        .as_ref()
        .map(|n| json!({ "SubnetIds": n.subnets, "SecurityGroupIds": n.groups }));
    let dead_letter = function.dead_letter.as_ref().map(|arn| json!({ "TargetArn": arn }));
    let arn = super::arn(cloud, shown.name);
    let arn = shown.qualifier.map_or_else(|| arn.clone(), |q| format!("{arn}:{q}"));
    let mut described = json!({
        "FunctionName": shown.name, "FunctionArn": arn, "Runtime": function.runtime,
        "Handler": function.handler, "Role": function.role, "CodeSize": function.code_bytes,
        "Description": function.description, "Timeout": function.timeout_secs,
        "MemorySize": function.memory_mb,
        "LastModified": iso(function.modified).replace('Z', "+0000"),
        "CodeSha256": function.code_sha256, "Version": shown.version, "VpcConfig": network,
        "DeadLetterConfig": dead_letter,
        "Environment": { "Variables": function.variables },
        "TracingConfig": { "Mode": "PassThrough" },
        "State": "Active", "LastUpdateStatus": "Successful", "PackageType": "Zip",
        "Architectures": [function.architecture], "EphemeralStorage": { "Size": 512 },
        "SnapStart": { "ApplyOn": "None", "OptimizationStatus": "Off" },
        "LoggingConfig": { "LogFormat": "Text", "LogGroup": function.log_group },
        "RevisionId": function.revision(),
    });
    if let Some(change) = function.changing(cloud.clock.now()) {
        describe_change(&mut described, change);
    }
    described
}

fn describe_change(described: &mut Value, change: Change) {
    let reason = "The function is being created.";
    if change.creates {
        described["State"] = "Pending".into();
        described["StateReason"] = reason.into();
        described["StateReasonCode"] = "Creating".into();
    }
    described["LastUpdateStatus"] = "InProgress".into();
    described["LastUpdateStatusReason"] = reason.into();
    described["LastUpdateStatusReasonCode"] = "Creating".into();
}

/// The same in a list: nothing is said of what is being done to a function.
pub fn listed(cloud: &Cloud, shown: &Shown<'_>, function: &Function) -> Value {
    let mut described = describe(cloud, shown, function);
    if let Some(members) = described.as_object_mut() {
        members.retain(|name, _| !name.starts_with("State") && !name.starts_with("LastUpdate"));
    }
    described
}
