//! Public images of Amazon Linux 2023, and the parameters that name the newest of them.
//!
//! One image of each architecture is there from the beginning. `images.json` in the state folder
//! adds releases, so that a test can have AWS release one:
//! `[{"image": "ami-…", "architecture": "x86_64", "created": "2026-12-01T00:00:00Z"}]`.

use jiff::Timestamp;
use serde::Deserialize;
use serde_json::{Value, json};

use super::filter::{Candidate, Filter, page};
use crate::kernel::cloud::{Cloud, iso};
use crate::kernel::error::{ApiError, ApiResult};
use crate::kernel::service::Call;

/// Amazon's account, which owns the images.
const OWNER: &str = "137112412989";
/// The first releases that this cloud knows.
const FIRST: [(&str, &str); 2] =
    [("ami-0c10bedded0008664", "x86_64"), ("ami-0c10bedded000a664", "arm64")];
/// When they were released.
const FIRST_CREATED: &str = "2026-11-10T00:00:00Z";
/// What the names of the parameters begin with.
const PARAMETERS: &str = "/aws/service/ami-amazon-linux-latest/";
/// Kernels whose newest image a parameter names; this cloud has one image for both.
const KERNELS: [&str; 2] = ["al2023-ami-kernel-default-", "al2023-ami-kernel-6.1-"];

/// A release.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Image {
    /// Its ID.
    pub image: String,
    /// `x86_64` or `arm64`.
    pub architecture: String,
    /// When it was released.
    pub created: Timestamp,
}

impl Image {
    fn name(&self) -> String {
        let date = self.created.strftime("%Y%m%d");
        format!("al2023-ami-2023.9.{date}.0-kernel-6.1-{}", self.architecture)
    }
}

/// All releases, oldest first.
pub fn images(cloud: &Cloud) -> Result<Vec<Image>, String> {
    let created = FIRST_CREATED.parse().map_err(|e| format!("{FIRST_CREATED}: {e}"))?;
    let first = FIRST.iter().map(|(image, architecture)| Image {
        image: (*image).to_owned(),
        architecture: (*architecture).to_owned(),
        created,
    });
    let mut images: Vec<Image> = first.collect();
    let file = cloud.path("images.json");
    match std::fs::read(&file) {
        Ok(bytes) => {
            let released: Vec<Image> = serde_json::from_slice(&bytes)
                .map_err(|e| format!("{} is not valid: {e}", file.display()))?;
            images.extend(released);
        }
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => {}
        Err(e) => return Err(format!("{} cannot be read: {e}", file.display())),
    }
    images.sort_by_key(|i| i.created);
    Ok(images)
}

/// The release called so.
pub fn find(cloud: &Cloud, id: &str) -> Result<Option<Image>, String> {
    Ok(images(cloud)?.into_iter().find(|i| i.image == id))
}

/// What a public parameter says at this moment, and how often it has changed; `None` when there is
/// no such parameter. Both `ssm:GetParameter` and templates' parameters ask here.
pub fn newest(cloud: &Cloud, parameter: &str) -> Result<Option<(Image, usize)>, String> {
    let Some(name) = parameter.strip_prefix(PARAMETERS) else { return Ok(None) };
    let Some(architecture) = KERNELS.iter().find_map(|kernel| name.strip_prefix(kernel)) else {
        return Ok(None);
    };
    let mut images = images(cloud)?;
    images.retain(|i| i.architecture == architecture);
    let releases = images.len();
    let newest = images.pop();
    Ok(match (cloud.faults.parameter(parameter), newest) {
        (Some(other), Some(newest)) => Some((Image { image: other, ..newest }, releases + 1)),
        (_, newest) => newest.map(|image| (image, releases)),
    })
}

/// Whether an instance type can run an image; the error has AWS's words. Images that are not
/// Amazon's are not known here and pass.
pub fn check_architecture(cloud: &Cloud, id: &str, instance_type: &str) -> Result<(), String> {
    let (Some(image), Some(needed)) = (find(cloud, id)?, super::zones::architecture(instance_type))
    else {
        return Ok(());
    };
    if image.architecture == needed {
        return Ok(());
    }
    Err(format!(
        "The architecture '{needed}' of the specified instance type does not match the \
         architecture '{}' of the specified AMI. Specify an instance type and an AMI that have \
         matching architectures, and try again. You can use 'describe-instance-types' or \
         'describe-images' to discover the architecture of the instance type or AMI.",
        image.architecture
    ))
}

/// `DescribeImages`.
pub fn describe(call: &Call<'_>) -> ApiResult {
    let Call { cloud, params, .. } = *call;
    call.authorize("*")?;
    let names =
        ["name", "architecture", "state", "image-id", "owner-id", "owner-alias", "image-type"];
    let filter = Filter::new(params, "ImageIds", &names)?;
    let images = images(cloud).map_err(ApiError::internal)?;
    if let Some(id) = filter.missing(|id| images.iter().any(|i| i.image == id)) {
        let message = format!("The image id '[{id}]' does not exist");
        return Err(ApiError::new("InvalidAMIID.NotFound", message));
    }
    let owners = params["Owners"].as_array().into_iter().flatten();
    let owners: Vec<&str> = owners.filter_map(Value::as_str).collect();
    let chosen = images.iter().filter(|i| {
        let name = i.name();
        let fields = [
            ("name", name.as_str()),
            ("architecture", &i.architecture),
            ("state", "available"),
            ("image-id", &i.image),
            ("owner-id", OWNER),
            ("owner-alias", "amazon"),
            ("image-type", "machine"),
        ];
        let ours = owners.is_empty() || owners.contains(&"amazon") || owners.contains(&OWNER);
        ours && filter.admits(&Candidate { id: &i.image, tags: &Value::Null, fields: &fields })
    });
    let (set, next) = page(chosen.map(describe_image).collect(), params)?;
    Ok(json!({ "Images": set, "NextToken": next }))
}

fn describe_image(image: &Image) -> Value {
    json!({
        "ImageId": image.image, "ImageLocation": format!("amazon/{}", image.name()),
        "State": "available", "OwnerId": OWNER, "ImageOwnerAlias": "amazon",
        "CreationDate": iso(image.created), "Public": true, "Architecture": image.architecture,
        "ImageType": "machine", "Name": image.name(), "PlatformDetails": "Linux/UNIX",
        "UsageOperation": "RunInstances", "RootDeviceType": "ebs", "RootDeviceName": "/dev/xvda",
        "VirtualizationType": "hvm", "Hypervisor": "xen", "EnaSupport": true,
        "ImdsSupport": "v2.0",
        "BlockDeviceMappings": [{
            "DeviceName": "/dev/xvda",
            "Ebs": {
                "DeleteOnTermination": true, "VolumeSize": 8, "VolumeType": "gp3",
                "Encrypted": false,
            },
        }],
    })
}
