//! Instances, their networks and interfaces, which every environment has: single calls of EC2.

use serde::Deserialize;

use crate::single::{Protocol, Service};
use crate::{Aws, AwsError, Result};

const EC2: Service = Service { name: "ec2", protocol: Protocol::Query { version: "2016-11-15" } };
/// Pages of one list; ten thousand entries and more.
const PAGES_MAX: usize = 1_000;

/// A list of EC2's.
#[derive(Deserialize)]
struct Items<T> {
    #[serde(default = "Vec::new")]
    item: Vec<T>,
}

impl<T> Default for Items<T> {
    fn default() -> Self {
        Self { item: Vec::new() }
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Interface {
    network_interface_id: String,
    #[serde(default)]
    description: String,
    #[serde(default)]
    status: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Interfaces {
    #[serde(default)]
    network_interface_set: Items<Interface>,
    next_token: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Vpc {
    vpc_id: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Vpcs {
    #[serde(default)]
    vpc_set: Items<Vpc>,
    next_token: Option<String>,
}

#[derive(Deserialize)]
struct State {
    name: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Instance {
    instance_id: String,
    instance_state: Option<State>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Reservation {
    #[serde(default)]
    instances_set: Items<Instance>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Reservations {
    #[serde(default)]
    reservation_set: Items<Reservation>,
    next_token: Option<String>,
}

#[derive(Deserialize)]
struct Console {
    #[serde(default)]
    output: String,
}

/// What a call answers that answers nothing but that it was done.
#[derive(Deserialize)]
struct Done {}

/// A page of a list.
trait Page: serde::de::DeserializeOwned {
    type Item;
    fn parts(self) -> (Vec<Self::Item>, Option<String>);
}

impl Page for Interfaces {
    type Item = Interface;
    fn parts(self) -> (Vec<Interface>, Option<String>) {
        (self.network_interface_set.item, self.next_token)
    }
}

impl Page for Vpcs {
    type Item = Vpc;
    fn parts(self) -> (Vec<Vpc>, Option<String>) {
        (self.vpc_set.item, self.next_token)
    }
}

impl Page for Reservations {
    type Item = Reservation;
    fn parts(self) -> (Vec<Reservation>, Option<String>) {
        (self.reservation_set.item, self.next_token)
    }
}

impl Aws {
    /// Everything of a list that all filters admit, each a name and a value.
    async fn listed<P: Page>(
        &self,
        call: &'static str,
        filters: &[(String, String)],
    ) -> Result<Vec<P::Item>> {
        let mut params = Vec::new();
        for (n, (name, value)) in filters.iter().enumerate() {
            params.push((format!("Filter.{}.Name", n + 1), name.clone()));
            params.push((format!("Filter.{}.Value.1", n + 1), value.clone()));
        }
        let (mut items, mut token) = (Vec::new(), None::<String>);
        for _ in 0..PAGES_MAX {
            let mut asked: Vec<(&str, &str)> =
                params.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
            asked.extend(token.as_deref().map(|token| ("NextToken", token)));
            let (page, next) = self.form::<P>(call, &EC2, &asked).await?.parts();
            items.extend(page);
            match next.filter(|token| !token.is_empty()) {
                Some(next) => token = Some(next),
                None => return Ok(items),
            }
        }
        Err(AwsError::local(call, format!("there are more than {PAGES_MAX} pages")))
    }

    /// The console of an instance as it is now: what user data and services wrote.
    pub async fn console(&self, instance: &str) -> Result<String> {
        let call = "ec2:GetConsoleOutput";
        // Without `Latest` it is what was there when the instance last changed its state.
        let asked = [("InstanceId", instance), ("Latest", "true")];
        let console: Console = self.form(call, &EC2, &asked).await?;
        let bytes = aws_smithy_types::base64::decode(console.output)
            .map_err(|e| AwsError::local(call, e.to_string()))?;
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    }

    /// Deletes the network interfaces that Lambda made for these functions and left behind; returns
    /// how many were deleted, and how many are still in use.
    ///
    /// Lambda deletes them with the rights of the function's role, and leaves them when that is
    /// gone. They keep subnets and security groups from being deleted.
    pub async fn delete_interfaces_of(&self, functions: &[String]) -> Result<(usize, usize)> {
        let (call, mut deleted, mut in_use) = ("ec2:DeleteNetworkInterface", 0, 0);
        for function in functions {
            for interface in self.interfaces_of(function).await? {
                if interface.status != "available" {
                    in_use += 1;
                    continue;
                }
                let named = [("NetworkInterfaceId", interface.network_interface_id.as_str())];
                match self.form::<Done>(call, &EC2, &named).await {
                    Ok(Done {}) => deleted += 1,
                    // AWS was faster.
                    Err(error) if error.is_not_found() => {}
                    Err(error) => return Err(error),
                }
            }
        }
        Ok((deleted, in_use))
    }

    /// Interfaces that Lambda made for a function.
    async fn interfaces_of(&self, function: &str) -> Result<Vec<Interface>> {
        let begin = format!("AWS Lambda VPC ENI-{function}-");
        let filters = [("description".to_owned(), format!("{begin}*"))];
        let call = "ec2:DescribeNetworkInterfaces";
        let mut found = self.listed::<Interfaces>(call, &filters).await?;
        // What follows must be Lambda's ID: `a` must not take the interfaces of `a-b`.
        found.retain(|i| i.description.strip_prefix(&begin).is_some_and(is_uuid));
        Ok(found)
    }

    /// Networks, and what is in them, that carry the tags.
    pub(crate) async fn network_of(&self, tags: &[(String, String)]) -> Result<Vec<String>> {
        let filters: Vec<(String, String)> =
            tags.iter().map(|(k, v)| (format!("tag:{k}"), v.clone())).collect();
        let vpcs = self.listed::<Vpcs>("ec2:DescribeVpcs", &filters).await?;
        let mut found: Vec<String> =
            vpcs.into_iter().map(|vpc| format!("network {}", vpc.vpc_id)).collect();
        let reservations = self.listed::<Reservations>("ec2:DescribeInstances", &filters).await?;
        let instances = reservations.into_iter().flat_map(|r| r.instances_set.item);
        // A terminated instance is listed for a while, but costs nothing.
        let is_live =
            |i: &Instance| i.instance_state.as_ref().is_none_or(|s| s.name != "terminated");
        found.extend(instances.filter(is_live).map(|i| format!("instance {}", i.instance_id)));
        Ok(found)
    }
}

/// Whether a text is a UUID, as Lambda puts it behind the names of functions.
fn is_uuid(text: &str) -> bool {
    let lengths: Vec<usize> = text.split('-').map(str::len).collect();
    lengths == [8, 4, 4, 4, 12] && text.bytes().all(|b| b == b'-' || b.is_ascii_hexdigit())
}

#[cfg(test)]
mod tests {
    use super::is_uuid;

    #[test]
    fn an_interface_of_another_function_is_not_taken() {
        assert!(is_uuid("0a1b2c3d-0000-4000-8000-0123456789ab"));
        assert!(!is_uuid("x-0a1b2c3d-0000-4000-8000-0123456789ab"));
        assert!(!is_uuid("0a1b2c3d-0000-4000-8000-0123456789ag"));
    }
}
