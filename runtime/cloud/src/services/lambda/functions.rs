//! Functions: made, changed, deleted and shown.

use std::sync::Arc;

use serde_json::{Value, json};

use super::aliases::Alias;
use super::function::{
    Function, LATEST, Shown, check_revision, conflict, describe, invalid, listed,
};
use super::versions::{self, Expected, page, resolve};
use super::{Reference, arn, configure, find, named, package, qualified_arn, tags};
use crate::kernel::cloud::Cloud;
use crate::kernel::error::{ApiError, ApiResult};
use crate::kernel::service::Call;
use crate::services::ec2::{self, Attached};

/// The function that a call is about, which it names without a version.
fn unqualified<'a>(call: &Call<'a>) -> ApiResult<&'a str> {
    let reference = named(call)?;
    match reference.qualifier {
        None | Some(LATEST) => Ok(reference.name),
        Some(_) => Err(invalid("Versions and aliases of functions cannot be changed.")),
    }
}

/// Unpacks a package without holding up others.
async fn unpacked(cloud: &Arc<Cloud>, name: &str, bytes: Vec<u8>) -> ApiResult<package::Package> {
    let (cloud, name) = (cloud.clone(), name.to_owned());
    let work = tokio::task::spawn_blocking(move || package::unpack(&cloud, &name, &bytes));
    work.await.map_err(ApiError::internal)?
}

fn take_code(function: &mut Function, package: package::Package) {
    function.code_sha256 = package.sha256;
    function.code_bytes = package.bytes;
    function.directory = package.directory;
}

/// `CreateFunction`.
pub async fn create(call: &Call<'_>) -> ApiResult {
    let (cloud, params) = (call.cloud, call.params);
    let name = unqualified(call)?;
    call.authorize(&arn(cloud, name))?;
    configure::check_name(name)?;
    let mut function = configure::begin(name, params)?;
    function.tags = tags::given(&params["Tags"]);
    if !function.tags.is_empty() {
        cloud.authorize(call.caller, "lambda:TagResource", &arn(cloud, name), &[])?;
    }
    cloud.pass_role(call.caller, &function.role, "lambda.amazonaws.com")?;
    let taken = || conflict(format!("Function already exist: {name}"));
    if cloud.services.lambda.functions.contains(name) {
        return Err(taken());
    }
    configure::check_surroundings(cloud, name, &function)?;
    let bytes = package::fetch(call, &params["Code"])?;
    take_code(&mut function, unpacked(cloud, name, bytes).await?);
    function.begin_change(cloud.clock.now(), true);
    if !cloud.services.lambda.functions.create(name, function.clone())? {
        return Err(taken());
    }
    configure::attach(cloud, name, &function, None)?;
    let version = match params["Publish"] == true {
        true => versions::publish_now(cloud, name, Expected::default())?.to_string(),
        false => LATEST.to_owned(),
    };
    let shown = Shown { name, version: &version, qualifier: None };
    Ok(describe(cloud, &shown, &function))
}

/// The function that is to be changed, when it may be.
fn changeable(call: &Call<'_>, name: &str) -> ApiResult<Arc<Function>> {
    let cloud = call.cloud;
    let arn = arn(cloud, name);
    call.authorize(&arn)?;
    let function = find(cloud, name)?;
    check_revision(call.text("RevisionId"), &function.revision())?;
    function.check_is_settled(&arn, cloud.clock.now())?;
    Ok(function)
}

/// Writes a change of `former`, unless somebody else was quicker.
fn change(
    cloud: &Cloud,
    name: &str,
    former: &Function,
    change: impl FnOnce(&mut Function),
) -> ApiResult<Function> {
    let functions = &cloud.services.lambda.functions;
    let (arn, now, mut written) = (arn(cloud, name), cloud.clock.now(), None);
    functions.replace(name, |present: Option<&Function>| {
        let present = present.ok_or_else(|| super::missing(cloud, name))?;
        if present.modified != former.modified {
            return Err(conflict(format!(
                "The operation cannot be performed at this time. An update is in progress for \
                 resource: {arn}"
            )));
        }
        let mut function = present.clone();
        change(&mut function);
        function.begin_change(now, false);
        written = Some(function.clone());
        Ok::<_, ApiError>(function)
    })?;
    cloud.services.lambda.environments.retire(name);
    written.ok_or_else(|| super::missing(cloud, name))
}

/// `UpdateFunctionCode`.
pub async fn update_code(call: &Call<'_>) -> ApiResult {
    let (cloud, params) = (call.cloud, call.params);
    let name = unqualified(call)?;
    let former = changeable(call, name)?;
    let mut wanted = (*former).clone();
    configure::set_architecture(&mut wanted, params, &former.architecture)?;
    let bytes = package::fetch(call, params)?;
    if params["DryRun"] == true {
        package::check(&bytes)?;
        (wanted.code_sha256, wanted.code_bytes) = (package::sha256(&bytes), bytes.len());
        return Ok(describe(cloud, &Shown { name, version: LATEST, qualifier: None }, &wanted));
    }
    let package = unpacked(cloud, name, bytes).await?;
    let changed = change(cloud, name, &former, |function| {
        function.architecture = wanted.architecture;
        take_code(function, package);
    })?;
    if params["Publish"] == true {
        let expected = Expected { unchanged: true, ..Expected::default() };
        let number = versions::publish_now(cloud, name, expected)?;
        return versions::shown(cloud, name, number);
    }
    Ok(describe(cloud, &Shown { name, version: LATEST, qualifier: None }, &changed))
}

/// `UpdateFunctionConfiguration`.
pub fn update_configuration(call: &Call<'_>) -> ApiResult {
    let (cloud, params) = (call.cloud, call.params);
    let name = unqualified(call)?;
    let former = changeable(call, name)?;
    let mut wanted = (*former).clone();
    configure::apply(&mut wanted, name, params)?;
    if wanted.role != former.role {
        cloud.pass_role(call.caller, &wanted.role, "lambda.amazonaws.com")?;
    }
    configure::check_surroundings(cloud, name, &wanted)?;
    let changed = change(cloud, name, &former, |function| {
        // What others change without changing the function is as it is now.
        wanted.permissions = std::mem::take(&mut function.permissions);
        wanted.tags = std::mem::take(&mut function.tags);
        (wanted.reserved, wanted.published) = (function.reserved, function.published);
        *function = wanted;
    })?;
    configure::attach(cloud, name, &changed, former.network.as_ref())?;
    Ok(describe(cloud, &Shown { name, version: LATEST, qualifier: None }, &changed))
}

/// `DeleteFunction`: all of it, or one version.
pub fn delete(call: &Call<'_>) -> ApiResult {
    let cloud = call.cloud;
    let reference = named(call)?;
    call.authorize(&qualified_arn(cloud, &reference))?;
    let Reference { name, qualifier } = reference;
    let function = find(cloud, name)?;
    match qualifier {
        Some(qualifier) => versions::delete(cloud, name, qualifier)?,
        None => delete_all(cloud, name, &function)?,
    }
    Ok(json!({}))
}

/// Deletes a function with all that belongs to it. What sends it events stays, as in AWS.
fn delete_all(cloud: &Arc<Cloud>, name: &str, function: &Function) -> ApiResult<()> {
    let state = &cloud.services.lambda;
    let of = Attached { function: name, role: &function.role };
    ec2::detach(cloud, of).map_err(ApiError::internal)?;
    state.functions.remove(name)?;
    let prefix = format!("{name}:");
    remove_all(&state.versions, &prefix)?;
    remove_all(&state.aliases, &prefix)?;
    remove_all(&state.event_configs, &prefix)?;
    state.environments.forget(name, function.reserved);
    match std::fs::remove_dir_all(package::folder(cloud, name)) {
        Err(e) if e.kind() != std::io::ErrorKind::NotFound => Err(ApiError::internal(e)),
        _ => Ok(()),
    }
}

fn remove_all<T>(table: &crate::kernel::store::Table<T>, prefix: &str) -> ApiResult<()>
where
    T: serde::Serialize + serde::de::DeserializeOwned,
{
    let names = table.names(prefix);
    let names = names.iter().filter(|name| name.starts_with(prefix)).map(String::as_str);
    let names: Vec<&str> = names.collect();
    if !names.is_empty() {
        table.put_all([], names)?;
    }
    Ok(())
}

/// A function or version that a call names, as it is shown.
fn shown(call: &Call<'_>) -> ApiResult<(Value, Arc<Function>)> {
    let cloud = call.cloud;
    let reference = named(call)?;
    call.authorize(&qualified_arn(cloud, &reference))?;
    let target = resolve(cloud, &reference, Alias::main)?;
    let (version, qualifier) = (target.version.as_str(), reference.qualifier);
    let shown = Shown { name: reference.name, version, qualifier };
    let owner = find(cloud, reference.name)?;
    Ok((describe(cloud, &shown, &target.function), owner))
}

/// `GetFunction`. Where its package can be fetched is not told.
pub fn get(call: &Call<'_>) -> ApiResult {
    let (configuration, owner) = shown(call)?;
    let reserved = owner.reserved.map(|count| json!({ "ReservedConcurrentExecutions": count }));
    Ok(json!({
        "Configuration": configuration, "Code": { "RepositoryType": "S3" },
        "Tags": (!owner.tags.is_empty()).then_some(&owner.tags), "Concurrency": reserved,
    }))
}

/// `GetFunctionConfiguration`.
pub fn get_configuration(call: &Call<'_>) -> ApiResult {
    shown(call).map(|(configuration, _)| configuration)
}

/// `ListFunctions`, in pages: `$LATEST`, or all versions.
pub fn list(call: &Call<'_>) -> ApiResult {
    let cloud = call.cloud;
    call.authorize("*")?;
    let with_versions = call.text("FunctionVersion").is_some();
    let mut functions = Vec::new();
    for (name, function) in cloud.services.lambda.functions.all() {
        if !with_versions {
            let shown = Shown { name: &name, version: LATEST, qualifier: None };
            functions.push(listed(cloud, &shown, &function));
            continue;
        }
        for (version, function) in versions::all(cloud, &name) {
            let shown = Shown { name: &name, version: &version, qualifier: Some(&version) };
            functions.push(listed(cloud, &shown, &function));
        }
    }
    page(call, "Functions", functions)
}
