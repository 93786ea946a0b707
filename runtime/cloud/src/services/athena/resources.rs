//! What templates can make of Athena.

use std::sync::Arc;

use async_trait::async_trait;
use serde_json::{Map, Value, json};

use super::{NamedQuery, WorkGroup, group_arn, work_groups};
use crate::kernel::cloud::Cloud;
use crate::kernel::resource::{Handler, Live, Made, Place, ResourceType, attributes, text};

/// The types.
pub const TYPES: &[ResourceType] = &[
    ResourceType::new(
        "AWS::Athena::WorkGroup",
        &[
            "Name",
            "Description",
            "RecursiveDeleteOption",
            "WorkGroupConfiguration/BytesScannedCutoffPerQuery",
            "WorkGroupConfiguration/EnforceWorkGroupConfiguration",
            "WorkGroupConfiguration/EngineVersion/SelectedEngineVersion=AUTO|\
             Athena engine version 3",
            "WorkGroupConfiguration/PublishCloudWatchMetricsEnabled=false",
            "WorkGroupConfiguration/RequesterPaysEnabled=false",
            "WorkGroupConfiguration/ResultConfiguration/OutputLocation",
            "WorkGroupConfiguration/ResultConfiguration/EncryptionConfiguration\
             /EncryptionOption=SSE_S3",
            "State",
            "Tags",
        ],
        &WorkGroupType,
    )
    .named_by("Name"),
    ResourceType::new(
        "AWS::Athena::NamedQuery",
        &["Name", "Description", "Database", "WorkGroup", "QueryString"],
        &NamedQueryType,
    ),
];

#[derive(Debug)]
struct WorkGroupType;

impl WorkGroupType {
    fn set(place: &Place<'_>, id: &str, properties: &Value) -> Made {
        let group = WorkGroup::from_properties(properties)?;
        place.cloud.services.athena.work_groups.put(id, group)?;
        Ok(Map::new())
    }
}

#[async_trait]
impl Handler for WorkGroupType {
    fn exists(&self, cloud: &Arc<Cloud>, id: &str, _: &Value) -> Option<bool> {
        // Every account has `primary`.
        Some(id == work_groups::PRIMARY || cloud.services.athena.work_groups.contains(id))
    }

    async fn create(&self, place: &Place<'_>, id: &str, properties: &Value) -> Made {
        Self::set(place, id, properties)
    }

    async fn update(&self, place: &Place<'_>, id: &str, properties: &Value, _: &Value) -> Made {
        Self::set(place, id, properties)
    }

    async fn delete(&self, place: &Place<'_>, id: &str, _: &Value) -> Result<(), String> {
        place.cloud.services.athena.work_groups.remove(id)?;
        Ok(())
    }

    fn read(&self, cloud: &Arc<Cloud>, id: &str, _: &Value) -> Live {
        Live::of(cloud.services.athena.work_groups.get(id).map(|group| group.properties(id)))
    }

    fn arn(&self, cloud: &Arc<Cloud>, id: &str) -> Option<String> {
        Some(group_arn(cloud, id))
    }

    fn list(&self, cloud: &Arc<Cloud>) -> Option<Vec<String>> {
        Some(cloud.services.athena.work_groups.names(""))
    }
}

#[derive(Debug)]
struct NamedQueryType;

#[async_trait]
impl Handler for NamedQueryType {
    fn id(&self, _: &Place<'_>, _: Option<&str>, _: &Value) -> String {
        uuid::Uuid::new_v4().to_string()
    }

    async fn create(&self, place: &Place<'_>, id: &str, properties: &Value) -> Made {
        let owned = |name: &str| text(properties, name).to_owned();
        let given = Some(owned("WorkGroup")).filter(|group| !group.is_empty());
        let query = NamedQuery {
            name: owned("Name"),
            description: owned("Description"),
            database: owned("Database"),
            work_group: given.unwrap_or_else(|| work_groups::PRIMARY.to_owned()),
            sql: owned("QueryString"),
        };
        place.cloud.services.athena.named_queries.put(id, query)?;
        Ok(attributes(json!({ "NamedQueryId": id })))
    }

    async fn delete(&self, place: &Place<'_>, id: &str, _: &Value) -> Result<(), String> {
        place.cloud.services.athena.named_queries.remove(id)?;
        Ok(())
    }

    fn read(&self, cloud: &Arc<Cloud>, id: &str, _: &Value) -> Live {
        Live::of(cloud.services.athena.named_queries.get(id).map(|query| {
            json!({
                "Name": query.name, "Description": query.description, "Database": query.database,
                "WorkGroup": query.work_group, "QueryString": query.sql,
            })
        }))
    }

    fn list(&self, cloud: &Arc<Cloud>) -> Option<Vec<String>> {
        Some(cloud.services.athena.named_queries.names(""))
    }
}
