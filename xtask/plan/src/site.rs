//! Facts about an account's region that the template needs: image, zones, partition.
//!
//! The deployer asks for them before the template is rendered, so that the template says exactly
//! what will be made and equal inputs give equal templates.

use thiserror::Error;

use crate::elf::Architecture;

/// What the template takes from the place that it is deployed to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Site {
    /// The image that the server is made from.
    pub image_id: String,
    /// IDs of the two availability zones of the subnets; the server is in the first.
    pub zones: [String; 2],
    /// ID of the list of S3's addresses, the only ones that functions and server may call besides
    /// each other: `ec2:DescribePrefixLists` with the name `com.amazonaws.REGION.s3`.
    pub s3_prefix_list: String,
}

impl Site {
    /// The embedded cloud's, which also stands for a template that is only looked at.
    pub fn embedded(architecture: Architecture) -> Self {
        Self {
            image_id: match architecture {
                Architecture::X86_64 => "ami-0c10bedded0008664",
                Architecture::Arm64 => "ami-0c10bedded000a664",
            }
            .to_owned(),
            zones: ["use1-az1".to_owned(), "use1-az2".to_owned()],
            s3_prefix_list: "pl-63a5400a".to_owned(),
        }
    }
}

/// The public parameter that names the newest image of Amazon Linux 2023.
/// <https://docs.aws.amazon.com/linux/al2023/ug/ec2.html>
pub fn image_parameter(architecture: Architecture) -> String {
    format!(
        "/aws/service/ami-amazon-linux-latest/al2023-ami-kernel-default-{}",
        architecture.as_str()
    )
}

/// Zones in which Lambda cannot attach functions to a network. No call tells them; creating such a
/// function fails with "The provided subnets contain availability zone Lambda doesn't support".
const ZONES_WITHOUT_LAMBDA: [&str; 1] = ["use1-az3"];

/// Why no two zones can be chosen.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum ZoneError {
    /// A zone of the configuration does not offer what is needed.
    #[error("the zone {zone} of `zones` does not offer {instance_type} here; {} do", .offering.join(", "))]
    NotOffered {
        /// The zone.
        zone: String,
        /// The instance type.
        instance_type: String,
        /// Zones that offer it.
        offering: Vec<String>,
    },
    /// The region has not enough zones.
    #[error("{instance_type} is offered in {found} usable zones of this region; two are needed")]
    TooFew {
        /// The instance type.
        instance_type: String,
        /// Zones that offer it.
        found: usize,
    },
}

/// What zones are chosen from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ZoneChoice<'a> {
    /// IDs of the zones that offer the instance type: `ec2:DescribeInstanceTypeOfferings` with the
    /// location type `availability-zone-id`.
    pub offering: &'a [String],
    /// The instance type.
    pub instance_type: &'a str,
    /// `zones` of the environment in `steppe.toml`.
    pub wanted: Option<&'a [String; 2]>,
    /// The zones of the stack that is there.
    pub current: Option<&'a [String; 2]>,
}

impl ZoneChoice<'_> {
    /// Two zones: the wanted ones; else the stack's own, because other zones would make its
    /// subnets, server and functions anew; else the first two that offer everything.
    pub fn choose(&self) -> Result<[String; 2], ZoneError> {
        let mut usable: Vec<&String> = self
            .offering
            .iter()
            .filter(|zone| !ZONES_WITHOUT_LAMBDA.contains(&zone.as_str()) && is_zone(zone))
            .collect();
        usable.sort();
        usable.dedup();
        let lacking = |zones: &[String; 2]| zones.iter().find(|z| !usable.contains(z)).cloned();
        if let Some(wanted) = self.wanted {
            return match lacking(wanted) {
                None => Ok(wanted.clone()),
                Some(zone) => Err(ZoneError::NotOffered {
                    zone,
                    instance_type: self.instance_type.to_owned(),
                    offering: usable.into_iter().cloned().collect(),
                }),
            };
        }
        if let Some(current) = self.current.filter(|zones| lacking(zones).is_none()) {
            return Ok(current.clone());
        }
        match usable[..] {
            [first, second, ..] => Ok([first.clone(), second.clone()]),
            _ => Err(ZoneError::TooFew {
                instance_type: self.instance_type.to_owned(),
                found: usable.len(),
            }),
        }
    }
}

/// Whether `id` is the ID of an availability zone, such as `euc1-az2`. Local zones and Wavelength
/// zones have a place in the middle, and take neither gateway endpoints nor functions.
pub fn is_zone(id: &str) -> bool {
    let Some((region, number)) = id.split_once("-az") else { return false };
    let plain = |text: &str| text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit());
    !region.is_empty() && plain(region) && zone_number(number).is_some()
}

/// The number of a zone: 2 of `2`. Networks are numbered by it.
fn zone_number(number: &str) -> Option<u8> {
    number.parse().ok().filter(|n| (1..=99).contains(n) && !number.starts_with(['0', '+']))
}

/// A subnet of one zone. Name and addresses derive from the zone, so that in other zones there are
/// other subnets, which can be made before the old ones are deleted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SubnetPlace {
    /// Last part of its logical ID: `Az2`.
    pub name: String,
    /// Its addresses: `10.42.2.0/24`.
    pub cidr: String,
}

/// The subnet of a zone.
pub fn subnet(zone: &str) -> SubnetPlace {
    let number = zone.rsplit_once("-az").and_then(|(_, n)| zone_number(n)).unwrap_or_default();
    SubnetPlace { name: format!("Az{number}"), cidr: format!("10.42.{number}.0/24") }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn zones(ids: &[&str]) -> Vec<String> {
        ids.iter().map(|id| (*id).to_owned()).collect()
    }

    fn pair(first: &str, second: &str) -> [String; 2] {
        [first.to_owned(), second.to_owned()]
    }

    #[test]
    fn two_zones_that_offer_everything_are_chosen_and_kept() {
        let offering = zones(&["use1-az6", "use1-az3", "use1-az2", "use1-bos1-az1", "use1-az1"]);
        let choice = ZoneChoice {
            offering: &offering,
            instance_type: "t3.micro",
            wanted: None,
            current: None,
        };
        assert_eq!(choice.choose(), Ok(pair("use1-az1", "use1-az2")));
        let current = pair("use1-az6", "use1-az2");
        let kept = ZoneChoice { current: Some(&current), ..choice };
        assert_eq!(kept.choose(), Ok(current.clone()));
        let gone = pair("use1-az5", "use1-az2");
        let renewed = ZoneChoice { current: Some(&gone), ..choice };
        assert_eq!(renewed.choose(), Ok(pair("use1-az1", "use1-az2")));
        let wanted = pair("use1-az2", "use1-az6");
        let obeyed = ZoneChoice { wanted: Some(&wanted), current: Some(&current), ..choice };
        assert_eq!(obeyed.choose(), Ok(wanted.clone()));
        let without_lambda = pair("use1-az2", "use1-az3");
        let refused = ZoneChoice { wanted: Some(&without_lambda), ..choice };
        assert_eq!(
            refused.choose().expect_err("no Lambda there").to_string(),
            "the zone use1-az3 of `zones` does not offer t3.micro here; use1-az1, use1-az2, \
             use1-az6 do"
        );
        let few = ZoneChoice { offering: &offering[..2], ..choice };
        assert!(few.choose().expect_err("one zone").to_string().contains("in 1 usable zones"));
    }

    #[test]
    fn other_zones_have_other_subnets() {
        assert_eq!(subnet("euc1-az2").cidr, "10.42.2.0/24");
        assert_ne!(subnet("euc1-az2"), subnet("euc1-az3"));
        for id in ["eu-central-1a", "use1-bos1-az1", "euc1-az", "euc1-az0", "-az1", "euc1-az+1"] {
            assert!(!is_zone(id), "{id}");
        }
        assert!(is_zone("euc1-az2") && is_zone("apne1-az4"));
    }
}
