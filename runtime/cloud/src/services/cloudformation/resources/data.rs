//! Resources that hold or describe data: buckets, catalogue, queries, logs, topics, alarms.

use jiff::Timestamp;
use serde_json::{Map, Value, json};

use super::{Failure, Made, Place, attributes, number, text};
use crate::services::cloudwatch;
use crate::services::glue::{Database, Job};
use crate::services::logs::{self, LogGroup};
use crate::services::sns::Subscription;
use crate::services::{athena, glue, sns};

pub fn create_bucket(place: &Place<'_>, id: &str, p: &Value) -> Made {
    place.cloud.services.s3.create(id, p["Tags"].clone()).map_err(|error| match error {
        crate::services::s3::StoreError::BucketExists => {
            Failure::Exists(format!("{id} already exists"))
        }
        other => Failure::Other(format!("{id}: {other}")),
    })?;
    configure_bucket(place, id, p)
}

pub fn configure_bucket(place: &Place<'_>, id: &str, p: &Value) -> Made {
    let notified = p["NotificationConfiguration"].as_object().into_iter().flatten();
    if let Some((other, _)) =
        notified.into_iter().find(|(name, _)| *name != "EventBridgeConfiguration")
    {
        return Err(format!(
            "the embedded cloud does not implement {other} of buckets' notifications"
        )
        .into());
    }
    let settings = p
        .as_object()
        .into_iter()
        .flatten()
        .filter(|(name, _)| !matches!(name.as_str(), "BucketName" | "Tags"));
    let settings = settings.map(|(name, value)| (name.clone(), value.clone())).collect();
    let configured = place.cloud.services.s3.configure(id, |b| {
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
    match place.cloud.services.s3.delete(id) {
        Ok(()) | Err(crate::services::s3::StoreError::NoSuchBucket) => Ok(()),
        Err(error) => Err(format!("{error} (Service: S3, Status Code: 409, Bucket: {id})")),
    }
}

pub fn set_bucket_policy(place: &Place<'_>, id: &str, p: &Value) -> Made {
    crate::kernel::iam::check_bucket_policy(place.cloud, id, &p["PolicyDocument"])?;
    place
        .cloud
        .services
        .s3
        .configure(id, |b| b.policy = Some(p["PolicyDocument"].clone()))
        .map_err(|e| e.to_string())?;
    Ok(Map::new())
}

pub fn remove_bucket_policy(place: &Place<'_>, id: &str) -> Result<(), String> {
    match place.cloud.services.s3.configure(id, |b| b.policy = None) {
        // It went with its bucket.
        Ok(()) | Err(crate::services::s3::StoreError::NoSuchBucket) => Ok(()),
        Err(error) => Err(error.to_string()),
    }
}

pub fn set_database(place: &Place<'_>, id: &str, p: &Value) -> Made {
    let databases = &place.cloud.services.glue.databases;
    let created = databases.get(id).map_or_else(Timestamp::now, |d| d.created);
    databases.put(id, Database { created, ..Database::new(p["DatabaseInput"].clone()) })?;
    Ok(Map::new())
}

/// Tables are kept by `database.table`.
pub fn table_key(id: &str, p: &Value) -> String {
    format!("{}.{id}", text(p, "DatabaseName"))
}

pub fn set_table(place: &Place<'_>, id: &str, p: &Value) -> Made {
    let database = text(p, "DatabaseName");
    if !place.cloud.services.glue.databases.contains(database) {
        return Err(glue_refuses(
            "EntityNotFoundException",
            &format!("Database {database} not found."),
        ));
    }
    glue::check_table_input(&p["TableInput"])?;
    let input = p["TableInput"].clone();
    glue::versions::put(place.cloud, database, id, input, glue::versions::Archive::Keep)?;
    Ok(Map::new())
}

fn glue_refuses(code: &str, words: &str) -> Failure {
    let words = format!("{words} (Service: Glue, Status Code: 400, Error Code: {code})");
    Failure::Other(words)
}

pub fn set_crawler(place: &Place<'_>, id: &str, p: &Value) -> Made {
    glue::crawlers::check(p)?;
    place.may_pass(text(p, "Role"), "glue.amazonaws.com")?;
    let put = glue::crawlers::put(place.cloud, id, p);
    put.map_err(|error| glue_refuses(&error.code, &error.message))?;
    Ok(Map::new())
}

pub fn set_job(place: &Place<'_>, id: &str, p: &Value) -> Made {
    place.may_pass(text(p, "Role"), "glue.amazonaws.com")?;
    let arguments = p["DefaultArguments"].as_object().into_iter().flatten();
    let (now, former) = (Timestamp::now(), place.cloud.services.glue.jobs.get(id));
    let created = former.and_then(|job| job.times).map_or(now, |(created, _)| created);
    let job = Job {
        role: text(p, "Role").to_owned(),
        script: text(&p["Command"], "ScriptLocation").to_owned(),
        arguments: arguments
            .map(|(k, v)| (k.clone(), v.as_str().map_or_else(|| v.to_string(), str::to_owned)))
            .collect(),
        timeout_mins: number(&p["Timeout"], 2_880),
        concurrent_max: number(&p["ExecutionProperty"]["MaxConcurrentRuns"], 1),
        described: described_job(p),
        times: Some((created, now)),
    };
    place.cloud.services.glue.jobs.put(id, job)?;
    Ok(Map::new())
}

/// The properties that the API has by the same names, beside those that [`Job`] has itself.
fn described_job(p: &Value) -> Value {
    let texts = ["Description", "GlueVersion", "WorkerType", "Command"];
    let texts = texts.iter().filter(|name| !p[**name].is_null());
    let mut described: Map<String, Value> =
        texts.map(|name| ((*name).to_owned(), p[*name].clone())).collect();
    for name in ["NumberOfWorkers", "MaxRetries"] {
        if !p[name].is_null() {
            described.insert(name.to_owned(), number(&p[name], 0).into());
        }
    }
    Value::Object(described)
}

pub fn set_work_group(place: &Place<'_>, id: &str, p: &Value) -> Made {
    let group = athena::WorkGroup::from_properties(p)?;
    place.cloud.services.athena.work_groups.put(id, group)?;
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
    place.cloud.services.athena.named_queries.put(id, query)?;
    Ok(attributes(json!({ "NamedQueryId": id })))
}

pub fn set_log_group(place: &Place<'_>, id: &str, p: &Value) -> Made {
    let days = number(&p["RetentionInDays"], 0);
    let created =
        place.cloud.services.logs.groups.get(id).map_or_else(Timestamp::now, |g| g.created);
    let group = LogGroup { retention_days: (days > 0).then_some(days), created };
    place.cloud.services.logs.groups.put(id, group)?;
    Ok(attributes(json!({ "Arn": logs::arn(place.cloud, id) })))
}

pub fn delete_log_group(place: &Place<'_>, id: &str) -> Result<(), String> {
    place.cloud.services.logs.groups.remove(id)?;
    logs::delete_events(place.cloud, id);
    Ok(())
}

pub fn set_topic(place: &Place<'_>, id: &str, p: &Value) -> Made {
    sns::check_display_name(text(p, "DisplayName"))?;
    let subscriptions = place
        .cloud
        .services
        .sns
        .topics
        .get(id)
        .map(|t| t.subscriptions.clone())
        .unwrap_or_default();
    place
        .cloud
        .services
        .sns
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
        )
        .into());
    }
    sns::check_email(text(p, "Endpoint"))?;
    let subscription = Subscription { arn: id.to_owned(), email: text(p, "Endpoint").to_owned() };
    let topic = text(p, "TopicArn");
    place
        .cloud
        .services
        .sns
        .topics
        .update(topic, |t| t.subscriptions.push(subscription))?
        .ok_or_else(|| format!("the topic {topic} does not exist"))?;
    Ok(Map::new())
}

pub fn delete_subscription(place: &Place<'_>, id: &str) -> Result<(), String> {
    let topic = id.rsplit_once(':').map_or(id, |(topic, _)| topic);
    place.cloud.services.sns.topics.update(topic, |t| t.subscriptions.retain(|s| s.arn != id))?;
    Ok(())
}

pub fn set_alarm(place: &Place<'_>, id: &str, p: &Value) -> Made {
    let put = cloudwatch::from_properties(place.cloud, p)
        .and_then(|alarm| cloudwatch::put_alarm(place.cloud, id, alarm));
    put.map_err(|error| error.message)?;
    Ok(attributes(json!({ "Arn": cloudwatch::alarm_arn(place.cloud, id) })))
}
