//! What a place offers before anything is made there: images, zones, lists of addresses.

use serde_json::json;

use crate::single::{Protocol, Service};
use crate::{Aws, AwsError, Result};

const SSM: Service =
    Service { name: "ssm", protocol: Protocol::Json { target: "AmazonSSM", version: "1.1" } };

impl Aws {
    /// The value of a parameter of the Systems Manager.
    pub async fn parameter(&self, name: &str) -> Result<String> {
        let call = "ssm:GetParameter";
        let answer = self.json(call, &SSM, json!({ "Name": name })).await?;
        let value = answer["Parameter"]["Value"].as_str().map(str::to_owned);
        value.ok_or_else(|| AwsError::local(call, format!("`{name}` has no value")))
    }
}

/// What only the EC2 client can tell.
#[cfg(feature = "ec2")]
mod with_ec2 {
    use aws_sdk_ec2::types::{Filter, InstanceType, LocationType};

    use crate::{Aws, AwsError, Result};

    fn filter(name: &str, value: &str) -> Filter {
        Filter::builder().name(name).values(value).build()
    }

    impl Aws {
        /// IDs of the availability zones that offer an instance type.
        pub async fn zones_offering(&self, instance_type: &str) -> Result<Vec<String>> {
            let mut pages = self
                .ec2
                .describe_instance_type_offerings()
                .location_type(LocationType::AvailabilityZoneId)
                .filters(filter("instance-type", instance_type))
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
            let named = filter("prefix-list-name", service);
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
    }
}

#[cfg(not(feature = "ec2"))]
mod without_ec2 {
    use crate::{Aws, AwsError, Result};

    fn without<T>(call: &'static str) -> Result<T> {
        Err(AwsError::local(call, "this program was built without the feature `ec2`"))
    }

    impl Aws {
        /// The zones of instance types need the EC2 client.
        pub async fn zones_offering(&self, _instance_type: &str) -> Result<Vec<String>> {
            without("ec2:DescribeInstanceTypeOfferings")
        }

        /// Lists of addresses need the EC2 client.
        pub async fn prefix_list(&self, _service: &str) -> Result<String> {
            without("ec2:DescribePrefixLists")
        }

        /// The date of an image needs the EC2 client.
        pub async fn image_date(&self, _image: &str) -> Result<Option<String>> {
            without("ec2:DescribeImages")
        }
    }
}
