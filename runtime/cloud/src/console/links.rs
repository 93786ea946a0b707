//! Addresses of pages, and which page shows a resource.

use super::ask::Fields;

/// `/_steppe/object?bucket=b&key=a%2Fb`.
pub fn to(path: &str, fields: &[(&str, &str)]) -> String {
    let mut address = format!("/_steppe/{path}");
    let given: Vec<_> = fields.iter().filter(|(_, value)| !value.is_empty()).collect();
    if !given.is_empty() {
        let mut query = url::form_urlencoded::Serializer::new(String::new());
        for (name, value) in given {
            query.append_pair(name, value);
        }
        address += "?";
        address += &query.finish();
    }
    address
}

/// The same page with other values; those that are empty are left out.
pub fn again(path: &str, fields: &Fields, changed: &[(&str, &str)]) -> String {
    let kept = fields.iter().map(|(name, value)| (name.as_str(), value.as_str()));
    let kept = kept.filter(|(name, _)| !changed.iter().any(|(other, _)| other == name));
    to(path, &kept.chain(changed.iter().copied()).collect::<Vec<_>>())
}

/// The page of something that has an ARN.
pub fn of_arn(arn: &str) -> Option<String> {
    let parts: Vec<&str> = arn.splitn(6, ':').collect();
    let ["arn", _, service, _, _, rest] = parts[..] else { return None };
    match service {
        "cloudformation" if rest.starts_with("stack/") => Some(to("stack", &[("id", arn)])),
        "s3" => Some(match rest.split_once('/') {
            Some((bucket, key)) if !key.contains('*') => {
                to("object", &[("bucket", bucket), ("key", key)])
            }
            _ => to("bucket", &[("name", rest.split('/').next().unwrap_or(rest))]),
        }),
        "states" => of_states(arn, rest),
        "lambda" => {
            let name = rest.strip_prefix("function:")?.split(':').next()?;
            Some(to("function", &[("name", name)]))
        }
        "sns" => Some(to("topics", &[])),
        "iam" => Some(to("role", &[("name", rest.strip_prefix("role/")?.rsplit('/').next()?)])),
        "logs" => {
            let group = rest.strip_prefix("log-group:")?;
            Some(to("log", &[("group", group.trim_end_matches(":*"))]))
        }
        "events" => Some(to("rule", &[("name", rest.strip_prefix("rule/")?)])),
        "cloudwatch" => Some(to("alarms", &[])),
        "glue" => of_glue(rest),
        _ => None,
    }
}

fn of_states(arn: &str, rest: &str) -> Option<String> {
    match rest.split(':').next()? {
        "stateMachine" => Some(to("machine", &[("arn", arn)])),
        "execution" => Some(to("execution", &[("arn", arn)])),
        "mapRun" => Some(to("map_run", &[("arn", arn)])),
        _ => None,
    }
}

fn of_glue(rest: &str) -> Option<String> {
    match rest.split_once('/')? {
        ("job", name) => Some(to("job", &[("name", name)])),
        ("crawler", name) => Some(to("crawler", &[("name", name)])),
        ("database", name) => Some(to("database", &[("name", name)])),
        ("table", name) => {
            let (database, table) = name.split_once('/')?;
            Some(to("table", &[("database", database), ("name", table)]))
        }
        _ => None,
    }
}

/// The page of a resource of a stack.
pub fn of_resource(kind: &str, id: &str) -> Option<String> {
    if id.is_empty() {
        return None;
    }
    let named = |path: &str| Some(to(path, &[("name", id)]));
    match kind {
        "AWS::S3::Bucket" | "AWS::S3::BucketPolicy" => named("bucket"),
        "AWS::IAM::Role" => named("role"),
        "AWS::Lambda::Function" => named("function"),
        "AWS::Logs::LogGroup" => Some(to("log", &[("group", id)])),
        "AWS::Glue::Database" => named("database"),
        "AWS::Glue::Job" => named("job"),
        "AWS::Glue::Crawler" => named("crawler"),
        "AWS::Events::Rule" => named("rule"),
        "AWS::CloudWatch::Alarm" => Some(to("alarms", &[])),
        "AWS::EC2::Instance" => Some(to("instance", &[("id", id)])),
        "AWS::Athena::WorkGroup" => Some(to("queries", &[("group", id)])),
        _ => of_arn(id),
    }
}

/// The page of `s3://bucket/key`, or of a prefix.
pub fn of_s3(place: &str) -> Option<String> {
    let (bucket, key) = place.strip_prefix("s3://")?.split_once('/')?;
    Some(match key.is_empty() || key.ends_with('/') {
        true => to("bucket", &[("name", bucket), ("prefix", key)]),
        false => to("object", &[("bucket", bucket), ("key", key)]),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_cannot_leave_their_place_in_an_address() {
        let hostile = "a/b?c=d&e#f \"<>%2F";
        let address = to("object", &[("bucket", "b"), ("key", hostile)]);
        assert!(!address.contains(['"', '<', '>', ' ', '#']), "{address}");
        let query = address.split_once('?').expect("a query").1;
        let fields: Fields = url::form_urlencoded::parse(query.as_bytes()).into_owned().collect();
        assert_eq!(fields[1], ("key".to_owned(), hostile.to_owned()));
        let changed = again("object", &fields, &[("key", ""), ("page", "2")]);
        assert_eq!(changed, "/_steppe/object?bucket=b&page=2");
    }

    #[test]
    fn resources_have_pages() {
        let page = |arn: &str| of_arn(arn).unwrap_or_default();
        assert_eq!(page("arn:aws:s3:::b/a/b"), "/_steppe/object?bucket=b&key=a%2Fb");
        assert_eq!(page("arn:aws:s3:::b/*"), "/_steppe/bucket?name=b");
        assert_eq!(page("arn:aws:lambda:r:1:function:f:1"), "/_steppe/function?name=f");
        assert_eq!(page("arn:aws:glue:r:1:table/d/t"), "/_steppe/table?database=d&name=t");
        assert_eq!(page("arn:aws:iam::1:role/path/r"), "/_steppe/role?name=r");
        assert_eq!(page("arn:aws:states:r:1:activity:a"), "");
        assert_eq!(page("*"), "");
        assert_eq!(of_s3("s3://b/p/"), Some("/_steppe/bucket?name=b&prefix=p%2F".to_owned()));
    }
}
