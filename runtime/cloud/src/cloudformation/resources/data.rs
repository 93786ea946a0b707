//! Resources that hold or describe data: buckets, catalogue, queries, logs, topics, alarms.

use jiff::Timestamp;
use serde_json::{Map, Value, json};

use super::{Made, Place, attributes, must_be_new, number, text};
use crate::services::cloudwatch::{self, Alarm};
use crate::services::glue::{Database, Job, Table};
use crate::services::logs::{self, LogGroup};
use crate::services::sns::Subscription;
use crate::services::{athena, sns};

pub fn create_bucket(place: &Place<'_>, id: &str, p: &Value) -> Made {
    place.cloud.buckets.create(id, p["Tags"].clone()).map_err(|e| format!("{id}: {e}"))?;
    configure_bucket(place, id, p)
}

pub fn configure_bucket(place: &Place<'_>, id: &str, p: &Value) -> Made {
    let notified = p["NotificationConfiguration"].as_object().into_iter().flatten();
    if let Some((other, _)) =
        notified.into_iter().find(|(name, _)| *name != "EventBridgeConfiguration")
    {
        return Err(format!(
            "the embedded cloud does not implement {other} of buckets' notifications"
        ));
    }
    let settings = p
        .as_object()
        .into_iter()
        .flatten()
        .filter(|(name, _)| !matches!(name.as_str(), "BucketName" | "Tags"));
    let settings = settings.map(|(name, value)| (name.clone(), value.clone())).collect();
    let configured = place.cloud.buckets.configure(id, |b| {
        b.tags = p["Tags"].clone();
        b.settings = settings;
    });
    configured.map_err(|e| e.to_string())?;
    let region = &place.cloud.config.region;
    Ok(attributes(json!({
        "Arn": format!("arn:aws:s3:::{id}"), "DomainName": format!("{id}.s3.amazonaws.com"),
        "RegionalDomainName": format!("{id}.s3.{region}.amazonaws.com"),
    })))
}

pub fn delete_bucket(place: &Place<'_>, id: &str) -> Result<(), String> {
    match place.cloud.buckets.delete(id) {
        Ok(()) | Err(crate::s3::StoreError::NoSuchBucket) => Ok(()),
        Err(error) => Err(format!("{error} (Service: S3, Status Code: 409, Bucket: {id})")),
    }
}

pub fn set_bucket_policy(place: &Place<'_>, id: &str, p: &Value) -> Made {
    crate::iam::check_bucket_policy(place.cloud, id, &p["PolicyDocument"])?;
    place
        .cloud
        .buckets
        .configure(id, |b| b.policy = Some(p["PolicyDocument"].clone()))
        .map_err(|e| e.to_string())?;
    Ok(Map::new())
}

pub fn remove_bucket_policy(place: &Place<'_>, id: &str) {
    if let Err(error) = place.cloud.buckets.configure(id, |b| b.policy = None) {
        tracing::debug!("the policy of {id} went with its bucket: {error}");
    }
}

pub fn set_database(place: &Place<'_>, id: &str, p: &Value, new: bool) -> Made {
    must_be_new(new && place.cloud.databases.contains(id), "Database", id)?;
    place.cloud.databases.put(
        id,
        Database {
            description: text(&p["DatabaseInput"], "Description").to_owned(),
            created: Timestamp::now(),
        },
    )?;
    Ok(Map::new())
}

pub fn set_table(place: &Place<'_>, id: &str, p: &Value, new: bool) -> Made {
    let database = text(p, "DatabaseName");
    let key = format!("{database}.{id}");
    must_be_new(new && place.cloud.glue_tables.contains(&key), "Table", id)?;
    let table = Table {
        database: database.to_owned(),
        name: id.to_owned(),
        input: p["TableInput"].clone(),
        created: Timestamp::now(),
    };
    place.cloud.glue_tables.put(&key, table)?;
    Ok(Map::new())
}

pub fn set_job(place: &Place<'_>, id: &str, p: &Value, new: bool) -> Made {
    must_be_new(new && place.cloud.jobs.contains(id), "Job", id)?;
    let arguments = p["DefaultArguments"].as_object().into_iter().flatten();
    let job = Job {
        role: text(p, "Role").to_owned(),
        script: text(&p["Command"], "ScriptLocation").to_owned(),
        arguments: arguments
            .map(|(k, v)| (k.clone(), v.as_str().map_or_else(|| v.to_string(), str::to_owned)))
            .collect(),
        timeout_mins: number(&p["Timeout"], 2_880),
        concurrent_max: number(&p["ExecutionProperty"]["MaxConcurrentRuns"], 1),
    };
    place.cloud.jobs.put(id, job)?;
    Ok(Map::new())
}

pub fn set_work_group(place: &Place<'_>, id: &str, p: &Value, new: bool) -> Made {
    must_be_new(new && place.cloud.work_groups.contains(id), "WorkGroup", id)?;
    let group = athena::WorkGroup {
        output: text(&p["WorkGroupConfiguration"]["ResultConfiguration"], "OutputLocation")
            .to_owned(),
        description: text(p, "Description").to_owned(),
        created: Timestamp::now(),
    };
    place.cloud.work_groups.put(id, group)?;
    Ok(Map::new())
}

pub fn create_named_query(place: &Place<'_>, id: &str, p: &Value) -> Made {
    let owned = |name: &str| text(p, name).to_owned();
    let work_group =
        if owned("WorkGroup").is_empty() { "primary".to_owned() } else { owned("WorkGroup") };
    let query = athena::NamedQuery {
        name: owned("Name"),
        description: owned("Description"),
        database: owned("Database"),
        work_group,
        sql: owned("QueryString"),
    };
    place.cloud.named_queries.put(id, query)?;
    Ok(attributes(json!({ "NamedQueryId": id })))
}

pub fn set_log_group(place: &Place<'_>, id: &str, p: &Value, new: bool) -> Made {
    must_be_new(new && place.cloud.log_groups.contains(id), "LogGroup", id)?;
    let days = number(&p["RetentionInDays"], 0);
    place.cloud.log_groups.put(
        id,
        LogGroup { retention_days: (days > 0).then_some(days), created: Timestamp::now() },
    )?;
    Ok(attributes(json!({ "Arn": logs::arn(place.cloud, id) })))
}

pub fn delete_log_group(place: &Place<'_>, id: &str) -> Result<(), String> {
    place.cloud.log_groups.remove(id)?;
    logs::delete_events(place.cloud, id);
    Ok(())
}

pub fn set_topic(place: &Place<'_>, id: &str, p: &Value, new: bool) -> Made {
    must_be_new(new && place.cloud.topics.contains(id), "Topic", id)?;
    sns::check_display_name(text(p, "DisplayName"))?;
    let subscriptions =
        place.cloud.topics.get(id).map(|t| t.subscriptions.clone()).unwrap_or_default();
    place
        .cloud
        .topics
        .put(id, sns::Topic { display_name: text(p, "DisplayName").to_owned(), subscriptions })?;
    let name = id.rsplit(':').next().unwrap_or(id);
    Ok(attributes(json!({ "TopicArn": id, "TopicName": name })))
}

pub fn create_subscription(place: &Place<'_>, id: &str, p: &Value) -> Made {
    if text(p, "Protocol") != "email" {
        return Err(format!(
            "the embedded cloud delivers to the protocol email, not {}",
            text(p, "Protocol")
        ));
    }
    sns::check_email(text(p, "Endpoint"))?;
    let subscription = Subscription { arn: id.to_owned(), email: text(p, "Endpoint").to_owned() };
    let topic = text(p, "TopicArn");
    place
        .cloud
        .topics
        .update(topic, |t| t.subscriptions.push(subscription))?
        .ok_or_else(|| format!("the topic {topic} does not exist"))?;
    Ok(Map::new())
}

pub fn delete_subscription(place: &Place<'_>, id: &str) -> Result<(), String> {
    let topic = id.rsplit_once(':').map_or(id, |(topic, _)| topic);
    place.cloud.topics.update(topic, |t| t.subscriptions.retain(|s| s.arn != id))?;
    Ok(())
}

pub fn set_alarm(place: &Place<'_>, id: &str, p: &Value, new: bool) -> Made {
    must_be_new(new && place.cloud.alarms.contains(id), "Alarm", id)?;
    let supported = text(p, "Statistic") == "Sum"
        && text(p, "ComparisonOperator") == "GreaterThanOrEqualToThreshold"
        && number(&p["EvaluationPeriods"], 0) == 1
        && p["Dimensions"].as_array().is_some_and(|d| d.len() == 1)
        && p["Threshold"].as_f64().is_some_and(|t| t > 0.0);
    if !supported {
        return Err(
            "the embedded cloud has alarms on sums with one dimension over one period, with \
                    GreaterThanOrEqualToThreshold and a threshold above 0"
                .to_owned(),
        );
    }
    cloudwatch::check_metric(
        text(p, "Namespace"),
        text(p, "MetricName"),
        text(&p["Dimensions"][0], "Name"),
    )?;
    let dimension = &p["Dimensions"][0];
    let alarm = Alarm {
        description: text(p, "AlarmDescription").to_owned(),
        namespace: text(p, "Namespace").to_owned(),
        metric: text(p, "MetricName").to_owned(),
        dimension: (text(dimension, "Name").to_owned(), text(dimension, "Value").to_owned()),
        threshold: p["Threshold"].as_f64().unwrap_or(1.0),
        period_secs: number(&p["Period"], 60) as i64,
        actions: p["AlarmActions"]
            .as_array()
            .into_iter()
            .flatten()
            .filter_map(Value::as_str)
            .map(str::to_owned)
            .collect(),
        events: vec![],
        raised: false,
    };
    place.cloud.alarms.put(id, alarm)?;
    Ok(attributes(json!({ "Arn": place.cloud.config.arn("cloudwatch", &format!("alarm:{id}")) })))
}
