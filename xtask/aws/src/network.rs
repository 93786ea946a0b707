//! Zones, images, instances and interfaces: what only the EC2 client can tell.

#[cfg(feature = "ec2")]
mod with_ec2 {
    use aws_sdk_ec2::types::{Filter, InstanceStateName, InstanceType, LocationType};
    use aws_smithy_types::error::metadata::ProvideErrorMetadata;

    use crate::{Aws, AwsError, Result};

    fn filter(name: &str, values: impl IntoIterator<Item = String>) -> Filter {
        Filter::builder().name(name).set_values(Some(values.into_iter().collect())).build()
    }

    impl Aws {
        /// IDs of the availability zones that offer an instance type.
        pub async fn zones_offering(&self, instance_type: &str) -> Result<Vec<String>> {
            let mut pages = self
                .ec2
                .describe_instance_type_offerings()
                .location_type(LocationType::AvailabilityZoneId)
                .filters(filter("instance-type", [instance_type.to_owned()]))
                .into_paginator()
                .send();
            let mut zones = Vec::new();
            while let Some(page) = pages.next().await {
                let page =
                    page.map_err(|e| AwsError::new("ec2:DescribeInstanceTypeOfferings", e))?;
                let offerings = page.instance_type_offerings.unwrap_or_default().into_iter();
                let of_type = offerings
                    .filter(|o| o.instance_type == Some(InstanceType::from(instance_type)));
                zones.extend(of_type.filter_map(|o| o.location));
            }
            Ok(zones)
        }

        /// ID of the list of a service's addresses, such as `com.amazonaws.us-east-1.s3`.
        pub async fn prefix_list(&self, service: &str) -> Result<String> {
            let call = "ec2:DescribePrefixLists";
            let named = filter("prefix-list-name", [service.to_owned()]);
            let request = self.ec2.describe_prefix_lists().filters(named);
            let answer = request.send().await.map_err(|e| AwsError::new(call, e))?;
            let mut lists = answer.prefix_lists.unwrap_or_default().into_iter();
            lists
                .find_map(|list| list.prefix_list_id)
                .ok_or_else(|| AwsError::local(call, format!("there is no list `{service}`")))
        }

        /// When an image was made, as AWS writes it; `None` when it is not known any more.
        pub async fn image_date(&self, image: &str) -> Result<Option<String>> {
            let call = "ec2:DescribeImages";
            let answer = self.ec2.describe_images().image_ids(image).send().await;
            let answer = answer.map_err(|e| AwsError::new(call, e))?;
            Ok(answer.images.unwrap_or_default().into_iter().find_map(|i| i.creation_date))
        }

        /// The console of an instance as it is now: what user data and services wrote.
        pub async fn console(&self, instance: &str) -> Result<String> {
            let call = "ec2:GetConsoleOutput";
            // Without `latest` it is what was there when the instance last changed its state.
            let request = self.ec2.get_console_output().instance_id(instance).latest(true);
            let answer = request.send().await.map_err(|e| AwsError::new(call, e))?;
            let bytes = aws_smithy_types::base64::decode(answer.output.unwrap_or_default())
                .map_err(|e| AwsError::local(call, e.to_string()))?;
            Ok(String::from_utf8_lossy(&bytes).into_owned())
        }

        /// Deletes the network interfaces that Lambda made for these functions and left behind;
        /// returns how many were deleted, and how many are still in use.
        ///
        /// Lambda deletes them with the rights of the function's role, and leaves them when that
        /// is gone. They keep subnets and security groups from being deleted.
        pub async fn delete_interfaces_of(&self, functions: &[String]) -> Result<(usize, usize)> {
            let (call, mut deleted, mut in_use) = ("ec2:DeleteNetworkInterface", 0, 0);
            for function in functions {
                for (id, available) in self.interfaces_of(function).await? {
                    if !available {
                        in_use += 1;
                        continue;
                    }
                    let request = self.ec2.delete_network_interface().network_interface_id(&id);
                    match request.send().await {
                        Ok(_) => deleted += 1,
                        // AWS was faster.
                        Err(error)
                            if error.code() == Some("InvalidNetworkInterfaceID.NotFound") => {}
                        Err(error) => return Err(AwsError::new(call, error)),
                    }
                }
            }
            Ok((deleted, in_use))
        }

        /// Interfaces that Lambda made for a function, and whether nothing uses them any more.
        async fn interfaces_of(&self, function: &str) -> Result<Vec<(String, bool)>> {
            let begin = format!("AWS Lambda VPC ENI-{function}-");
            let mut pages = self
                .ec2
                .describe_network_interfaces()
                .filters(filter("description", [format!("{begin}*")]))
                .into_paginator()
                .send();
            let mut found = Vec::new();
            while let Some(page) = pages.next().await {
                let page = page.map_err(|e| AwsError::new("ec2:DescribeNetworkInterfaces", e))?;
                for interface in page.network_interfaces.unwrap_or_default() {
                    let rest = interface.description().and_then(|d| d.strip_prefix(&begin));
                    // What follows must be Lambda's ID: `a` must not take the interfaces of `a-b`.
                    if !rest.is_some_and(super::is_uuid) {
                        continue;
                    }
                    let available = interface.status().is_some_and(|s| s.as_str() == "available");
                    found.extend(interface.network_interface_id.map(|id| (id, available)));
                }
            }
            Ok(found)
        }

        /// Networks, and what is in them, that carry the tags.
        pub(crate) async fn network_of(&self, tags: &[(String, String)]) -> Result<Vec<String>> {
            let filters: Vec<Filter> =
                tags.iter().map(|(k, v)| filter(&format!("tag:{k}"), [v.clone()])).collect();
            let mut found = Vec::new();
            let mut pages =
                self.ec2.describe_vpcs().set_filters(Some(filters.clone())).into_paginator().send();
            while let Some(page) = pages.next().await {
                let page = page.map_err(|e| AwsError::new("ec2:DescribeVpcs", e))?;
                let ids = page.vpcs.unwrap_or_default().into_iter().filter_map(|v| v.vpc_id);
                found.extend(ids.map(|id| format!("network {id}")));
            }
            let mut pages =
                self.ec2.describe_instances().set_filters(Some(filters)).into_paginator().send();
            while let Some(page) = pages.next().await {
                let page = page.map_err(|e| AwsError::new("ec2:DescribeInstances", e))?;
                let instances = page
                    .reservations
                    .unwrap_or_default()
                    .into_iter()
                    .flat_map(|r| r.instances.unwrap_or_default());
                // A terminated instance is listed for a while, but costs nothing.
                let live = instances.filter(|i| {
                    let state = i.state().and_then(|s| s.name());
                    state.is_none_or(|n| *n != InstanceStateName::Terminated)
                });
                found.extend(live.filter_map(|i| i.instance_id).map(|id| format!("instance {id}")));
            }
            Ok(found)
        }
    }
}

#[cfg(not(feature = "ec2"))]
mod without_ec2 {
    use crate::{Aws, AwsError, Result};

    const WITHOUT: &str = "this program was built without the feature `ec2`";

    impl Aws {
        /// The zones of instance types need the EC2 client.
        pub async fn zones_offering(&self, _instance_type: &str) -> Result<Vec<String>> {
            Err(AwsError::local("ec2:DescribeInstanceTypeOfferings", WITHOUT))
        }

        /// Lists of addresses need the EC2 client.
        pub async fn prefix_list(&self, _service: &str) -> Result<String> {
            Err(AwsError::local("ec2:DescribePrefixLists", WITHOUT))
        }

        /// The date of an image needs the EC2 client.
        pub async fn image_date(&self, _image: &str) -> Result<Option<String>> {
            Err(AwsError::local("ec2:DescribeImages", WITHOUT))
        }

        /// The console of an instance needs the EC2 client.
        pub async fn console(&self, _instance: &str) -> Result<String> {
            Err(AwsError::local("ec2:GetConsoleOutput", WITHOUT))
        }

        /// The interfaces of functions need the EC2 client.
        pub async fn delete_interfaces_of(&self, _functions: &[String]) -> Result<(usize, usize)> {
            Err(AwsError::local("ec2:DescribeNetworkInterfaces", WITHOUT))
        }

        pub(crate) async fn network_of(&self, _tags: &[(String, String)]) -> Result<Vec<String>> {
            Err(AwsError::local("ec2:DescribeVpcs", WITHOUT))
        }
    }
}

/// Whether a text is a UUID, as Lambda puts it behind the names of functions.
#[cfg(any(feature = "ec2", test))]
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
