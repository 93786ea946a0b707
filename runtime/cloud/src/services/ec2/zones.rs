//! Availability zones, and which of them offers what.
//!
//! By default there are three and each offers everything. `zones.json` in the state folder says
//! otherwise, so that a test can have the zones of an unlucky account:
//! `{"letters": "abc", "not_offered": {"a": ["t3.micro"]}, "without_lambda": "b"}`.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::{Value, json};

use super::filter::{Candidate, Filter, page};
use crate::kernel::cloud::Cloud;
use crate::kernel::error::{ApiError, ApiResult};
use crate::kernel::service::Call;

/// Families of instance types and the architecture of their processors.
const FAMILIES: [(&str, &str, Sizes); 30] = [
    ("t2", X86, Sizes::Burst),
    ("t3", X86, Sizes::Burst),
    ("t3a", X86, Sizes::Burst),
    ("t4g", ARM, Sizes::Burst),
    ("m5", X86, Sizes::Large),
    ("m5a", X86, Sizes::Large),
    ("m6a", X86, Sizes::Large),
    ("m6g", ARM, Sizes::Medium),
    ("m6i", X86, Sizes::Large),
    ("m7a", X86, Sizes::Medium),
    ("m7g", ARM, Sizes::Medium),
    ("m7i", X86, Sizes::Large),
    ("m8g", ARM, Sizes::Medium),
    ("c5", X86, Sizes::Large),
    ("c5a", X86, Sizes::Large),
    ("c6a", X86, Sizes::Large),
    ("c6g", ARM, Sizes::Medium),
    ("c6i", X86, Sizes::Large),
    ("c7a", X86, Sizes::Medium),
    ("c7g", ARM, Sizes::Medium),
    ("c7i", X86, Sizes::Large),
    ("c8g", ARM, Sizes::Medium),
    ("r5", X86, Sizes::Large),
    ("r6a", X86, Sizes::Large),
    ("r6g", ARM, Sizes::Medium),
    ("r6i", X86, Sizes::Large),
    ("r7a", X86, Sizes::Medium),
    ("r7g", ARM, Sizes::Medium),
    ("r7i", X86, Sizes::Large),
    ("r8g", ARM, Sizes::Medium),
];
const X86: &str = "x86_64";
const ARM: &str = "arm64";
/// Families that do not run on Nitro.
const XEN: [&str; 1] = ["t2"];

/// Which sizes a family has.
#[derive(Debug, Clone, Copy)]
enum Sizes {
    Burst,
    Medium,
    Large,
}

impl Sizes {
    fn names(self) -> &'static [&'static str] {
        const LARGE: [&str; 6] = ["medium", "large", "xlarge", "2xlarge", "4xlarge", "8xlarge"];
        match self {
            Self::Burst => &["nano", "micro", "small", "medium", "large", "xlarge", "2xlarge"],
            Self::Medium => &LARGE,
            Self::Large => &LARGE[1..],
        }
    }
}

/// All instance types that this cloud knows.
fn instance_types() -> impl Iterator<Item = String> {
    FAMILIES.iter().flat_map(|(family, _, sizes)| {
        sizes.names().iter().map(move |size| format!("{family}.{size}"))
    })
}

/// The architecture of an instance type; `None` when there is no such type.
pub fn architecture(instance_type: &str) -> Option<&'static str> {
    let (family, size) = instance_type.split_once('.')?;
    let (_, architecture, sizes) = FAMILIES.iter().find(|(name, _, _)| *name == family)?;
    sizes.names().contains(&size).then_some(*architecture)
}

/// Whether the console of a type can be read as it is at this moment.
pub fn is_nitro(instance_type: &str) -> bool {
    !XEN.iter().any(|family| instance_type.split('.').next() == Some(family))
}

/// `zones.json`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Offer {
    #[serde(default = "three")]
    letters: String,
    #[serde(default)]
    not_offered: BTreeMap<char, Vec<String>>,
    #[serde(default)]
    without_lambda: String,
}

fn three() -> String {
    "abc".to_owned()
}

impl Offer {
    fn of(cloud: &Cloud) -> Result<Self, String> {
        let file = cloud.path("zones.json");
        match std::fs::read(&file) {
            Ok(bytes) => serde_json::from_slice(&bytes)
                .map_err(|e| format!("{} is not valid: {e}", file.display())),
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(Self {
                letters: three(),
                not_offered: BTreeMap::new(),
                without_lambda: String::new(),
            }),
            Err(e) => Err(format!("{} cannot be read: {e}", file.display())),
        }
    }

    fn offers(&self, letter: char, instance_type: &str) -> bool {
        !self.not_offered.get(&letter).is_some_and(|types| types.iter().any(|t| t == instance_type))
    }
}

/// A zone. As in a real account, letters and numbers do not go together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Zone {
    /// `us-east-1a`.
    pub name: String,
    /// `use1-az2`.
    pub id: String,
    letter: char,
}

/// All zones, in the order of their names.
pub fn zones(cloud: &Cloud) -> Result<Vec<Zone>, String> {
    let letters: Vec<char> = Offer::of(cloud)?.letters.chars().collect();
    let region = &cloud.config.region;
    let number = |index: usize| (index + 1) % letters.len() + 1;
    let zones = letters.iter().enumerate().map(|(index, letter)| Zone {
        name: format!("{region}{letter}"),
        id: format!("{}-az{}", short_region(region), number(index)),
        letter: *letter,
    });
    Ok(zones.collect())
}

/// `use1` of `us-east-1`, `apse2` of `ap-southeast-2`.
fn short_region(region: &str) -> String {
    let parts: Vec<&str> = region.split('-').collect();
    let [area, .., direction, number] = parts.as_slice() else { return region.to_owned() };
    let mut direction = (*direction).to_owned();
    for (word, letter) in
        [("north", "n"), ("south", "s"), ("east", "e"), ("west", "w"), ("central", "c")]
    {
        direction = direction.replace(word, letter);
    }
    format!("{area}{direction}{number}")
}

/// The zone called or numbered so.
pub fn find(cloud: &Cloud, name_or_id: &str) -> Result<Zone, String> {
    let known = zones(cloud)?.into_iter().find(|z| z.name == name_or_id || z.id == name_or_id);
    known.ok_or_else(|| format!("Value ({name_or_id}) for parameter availabilityZone is invalid."))
}

/// Whether an instance can be launched there; the error has AWS's words.
pub fn check_offered(cloud: &Cloud, zone: &Zone, instance_type: &str) -> Result<(), String> {
    let offer = Offer::of(cloud)?;
    if offer.offers(zone.letter, instance_type) {
        return Ok(());
    }
    let others: Vec<String> = zones(cloud)?
        .into_iter()
        .filter(|z| offer.offers(z.letter, instance_type))
        .map(|z| z.name)
        .collect();
    Err(format!(
        "Your requested instance type ({instance_type}) is not supported in your requested \
         Availability Zone ({}). Please retry your request by not specifying an Availability Zone \
         or choosing {}.",
        zone.name,
        others.join(", ")
    ))
}

/// Whether functions can be attached to a subnet there.
pub fn has_lambda(cloud: &Cloud, zone: &Zone) -> Result<bool, String> {
    Ok(!Offer::of(cloud)?.without_lambda.contains(zone.letter))
}

/// `DescribeAvailabilityZones`.
pub fn describe(call: &Call<'_>) -> ApiResult {
    let Call { cloud, params, .. } = *call;
    call.authorize("*")?;
    let names = ["zone-name", "zone-id", "state", "region-name", "zone-type", "opt-in-status"];
    let by_name = Filter::new(params, "ZoneNames", &names)?;
    let by_id = Filter::new(params, "ZoneIds", &names)?;
    let region = cloud.config.region.as_str();
    let all = zones(cloud).map_err(ApiError::internal)?;
    let unknown = by_name
        .missing(|name| all.iter().any(|z| z.name == name))
        .or_else(|| by_id.missing(|id| all.iter().any(|z| z.id == id)));
    if let Some(unknown) = unknown {
        let message = format!("Invalid availability zone: [{unknown}]");
        return Err(ApiError::new("InvalidParameterValue", message));
    }
    let chosen = all.iter().filter(|z| {
        let fields = [
            ("zone-name", z.name.as_str()),
            ("zone-id", &z.id),
            ("state", "available"),
            ("region-name", region),
            ("zone-type", "availability-zone"),
            ("opt-in-status", "opt-in-not-required"),
        ];
        let candidate = |id| Candidate { id, tags: &Value::Null, fields: &fields };
        by_name.admits(&candidate(&z.name)) && by_id.admits(&candidate(&z.id))
    });
    let set: Vec<Value> = chosen
        .map(|z| {
            json!({
                "ZoneName": z.name, "ZoneId": z.id, "State": "available",
                "RegionName": region, "ZoneType": "availability-zone",
                "OptInStatus": "opt-in-not-required",
                "GroupName": format!("{region}-zg-1"), "NetworkBorderGroup": region,
            })
        })
        .collect();
    Ok(json!({ "AvailabilityZones": set }))
}

/// `DescribeInstanceTypeOfferings`.
pub fn describe_offerings(call: &Call<'_>) -> ApiResult {
    let Call { cloud, params, .. } = *call;
    call.authorize("*")?;
    let filter = Filter::new(params, "", &["location", "instance-type"])?;
    let offer = Offer::of(cloud).map_err(ApiError::internal)?;
    let zones = zones(cloud).map_err(ApiError::internal)?;
    let kind = params["LocationType"].as_str().unwrap_or("region");
    let places: Vec<(&str, Vec<char>)> = match kind {
        "region" => vec![(&cloud.config.region, zones.iter().map(|z| z.letter).collect())],
        "availability-zone" => zones.iter().map(|z| (z.name.as_str(), vec![z.letter])).collect(),
        "availability-zone-id" => zones.iter().map(|z| (z.id.as_str(), vec![z.letter])).collect(),
        other => {
            let message = format!("Invalid value '{other}' for LocationType.");
            return Err(ApiError::new("InvalidParameterValue", message));
        }
    };
    let mut offerings = Vec::new();
    for name in instance_types() {
        for (place, letters) in &places {
            let fields = [("location", *place), ("instance-type", &name)];
            let candidate = Candidate { id: "", tags: &Value::Null, fields: &fields };
            let there = letters.iter().any(|letter| offer.offers(*letter, &name));
            if there && filter.admits(&candidate) {
                offerings
                    .push(json!({ "InstanceType": name, "LocationType": kind, "Location": place }));
            }
        }
    }
    let (offerings, next) = page(offerings, params)?;
    Ok(json!({ "InstanceTypeOfferings": offerings, "NextToken": next }))
}

/// `DescribePrefixLists`: the addresses of S3, which gateway endpoints and egress rules name. The
/// ID is AWS's in us-east-1; the addresses are this machine's.
pub fn describe_prefix_lists(call: &Call<'_>) -> ApiResult {
    let Call { cloud, params, .. } = *call;
    let name_filter = "prefix-list-name";
    call.authorize("*")?;
    let filter = Filter::new(params, "PrefixListIds", &[name_filter])?;
    let name = format!("com.amazonaws.{}.s3", cloud.config.region);
    let list = Candidate { id: "pl-63a5400a", tags: &Value::Null, fields: &[(name_filter, &name)] };
    let described = json!({
        "PrefixListId": list.id, "PrefixListName": name, "Cidrs": ["127.0.0.0/8"],
    });
    let set: Vec<Value> = filter.admits(&list).then_some(described).into_iter().collect();
    Ok(json!({ "PrefixLists": set }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn regions_have_the_short_names_of_zone_ids() {
        for (region, short) in [
            ("us-east-1", "use1"),
            ("eu-central-1", "euc1"),
            ("ap-southeast-2", "apse2"),
            ("ap-northeast-1", "apne1"),
            ("ca-central-1", "cac1"),
        ] {
            assert_eq!(short_region(region), short);
        }
    }

    #[test]
    fn types_have_an_architecture() {
        assert_eq!(architecture("t4g.small"), Some("arm64"));
        assert_eq!(architecture("m5.medium"), None);
        assert!(is_nitro("t3.micro") && !is_nitro("t2.micro"));
    }
}
