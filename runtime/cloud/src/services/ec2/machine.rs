//! The life of an instance: directory, user data, services.

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use parking_lot::{Mutex, MutexGuard};
use tokio::sync::Notify;

use super::Instance;
use super::service::{self, CONSOLE, Service, Services, State, tail};
use super::unit::{Unit, service_name};
use crate::kernel::cloud::Cloud;
use crate::kernel::durable::keep_only;
use crate::kernel::identity::Credentials;
use crate::kernel::processes::{self, Program};

/// Commands that the instance has of this cloud rather than of the machine.
const TOOLS: [&str; 5] = ["aws", "curl", "systemctl", "journalctl", "cfn-signal"];
/// Name of user data among what runs; no unit can have it.
const USER_DATA: &str = "user data";
/// How long a terminated instance is listed, as in AWS.
const LISTED: SignedDuration = SignedDuration::from_hours(1);
/// How many of them.
const LISTED_MAX: usize = 100;
/// AWS keeps the last 64 kB of a console.
const CONSOLE_BYTES_MAX: usize = 64 * 1024;

/// What a cloud knows of its instances besides their records.
#[derive(Debug, Default)]
pub struct Machines {
    /// What runs in them.
    pub(super) services: Services,
    /// Woken when an interface in a network is gone or left behind.
    pub(super) released: Notify,
    /// Instances that are being terminated.
    leaving: Mutex<BTreeSet<String>>,
    /// Instances that were terminated and are listed for a while.
    gone: Mutex<VecDeque<(String, Arc<Instance>, Timestamp)>>,
    /// Credentials of instances' roles.
    credentials: Mutex<HashMap<String, Credentials>>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock()
}

impl Machines {
    /// Whether an instance is being terminated.
    pub(super) fn is_leaving(&self, id: &str) -> bool {
        lock(&self.leaving).contains(id)
    }

    /// Instances that were terminated within the last hour.
    pub(super) fn gone(&self) -> Vec<(String, Arc<Instance>)> {
        let mut gone = lock(&self.gone);
        let begin = Timestamp::now() - LISTED;
        gone.retain(|(_, _, when)| *when > begin);
        gone.iter().map(|(id, instance, _)| (id.clone(), instance.clone())).collect()
    }

    pub(super) fn list_as_gone(&self, id: &str, instance: Arc<Instance>) {
        let mut gone = lock(&self.gone);
        gone.push_back((id.to_owned(), instance, Timestamp::now()));
        let surplus = gone.len().saturating_sub(LISTED_MAX);
        gone.drain(..surplus);
    }

    /// Credentials of an instance that are good for a while; `fresh` makes new ones.
    pub(super) fn credentials(&self, id: &str, fresh: impl FnOnce() -> Credentials) -> Credentials {
        let mut all = lock(&self.credentials);
        let soon = Timestamp::now() + SignedDuration::from_hours(1);
        match all.get(id).filter(|c| c.expires.is_some_and(|e| e > soon)) {
            Some(credentials) => credentials.clone(),
            None => {
                let credentials = fresh();
                all.insert(id.to_owned(), credentials.clone());
                credentials
            }
        }
    }
}

/// `instances/i-…` below the state directory.
fn directory(cloud: &Cloud, id: &str) -> PathBuf {
    cloud.path("instances").join(id)
}

fn root(cloud: &Cloud, id: &str) -> PathBuf {
    directory(cloud, id).join("root")
}

fn journal(cloud: &Cloud, id: &str) -> PathBuf {
    directory(cloud, id).join("journal")
}

/// The console at this moment: what user data wrote, then what units wrote to `journal+console`.
pub fn console(cloud: &Cloud, id: &str) -> Vec<u8> {
    let entries = std::fs::read_dir(journal(cloud, id)).into_iter().flatten().flatten();
    let mut files: Vec<PathBuf> = entries.map(|e| e.path()).collect();
    files.retain(|f| f.extension().is_some_and(|e| e == CONSOLE));
    files.sort();
    files.insert(0, directory(cloud, id).join("console.log"));
    let tails = files.iter().map(|f| tail(f, CONSOLE_BYTES_MAX as u64).unwrap_or_default());
    let mut text: Vec<u8> = tails.flatten().collect();
    text.drain(..text.len().saturating_sub(CONSOLE_BYTES_MAX));
    text
}

/// The console as it was posted at the last transition, and when that was.
pub fn posted_console(cloud: &Cloud, id: &str) -> Option<(Vec<u8>, Timestamp)> {
    let file = directory(cloud, id).join("console.posted");
    let posted = std::fs::metadata(&file).and_then(|m| m.modified()).ok()?;
    Some((std::fs::read(file).ok()?, Timestamp::try_from(posted).ok()?))
}

/// Posts the console, as AWS does shortly after an instance has started, stopped or restarted.
fn post_console(cloud: &Cloud, id: &str) {
    let file = directory(cloud, id).join("console.posted");
    // The instance may be gone by now.
    std::fs::write(file, console(cloud, id)).unwrap_or_else(|e| tracing::debug!("{id}: {e}"));
}

/// Makes the instance's directory and runs its user data.
pub fn launch(
    cloud: &Arc<Cloud>,
    id: &str,
    instance: Instance,
    user_data: &str,
) -> std::io::Result<()> {
    let directory = directory(cloud, id);
    std::fs::create_dir_all(root(cloud, id))?;
    std::fs::create_dir_all(journal(cloud, id))?;
    write_tools(cloud, &directory)?;
    std::fs::write(directory.join("user-data.sh"), user_data)?;
    let console = File::create(directory.join("console.log"))?;
    cloud.services.ec2.instances.put(id, instance.clone())?;
    let script = Program::new("bash")
        .args([directory.join("user-data.sh")])
        .folder(&root(cloud, id))
        .env(environment(cloud, id, &instance))
        // A script writes its metadata address into command lines, which everybody can see, so
        // the one that it is given has no secret; the instance's `curl` adds it.
        .env([("AWS_EC2_METADATA_SERVICE_ENDPOINT", metadata_address(cloud))])
        .output(console.try_clone()?, console);
    let (cloud_then, id_then) = (cloud.clone(), id.to_owned());
    let ended = move || post_console(&cloud_then, &id_then);
    service::run_once(cloud, id, USER_DATA, script, ended)
}

fn write_tools(cloud: &Cloud, directory: &Path) -> std::io::Result<()> {
    use std::os::unix::fs::PermissionsExt;
    let bin = directory.join("bin");
    std::fs::create_dir_all(&bin)?;
    let program = cloud.config.own_binary.display().to_string().replace('\'', r"'\''");
    for tool in TOOLS {
        let file = bin.join(tool);
        let script = format!("#!/bin/sh\nexec '{program}' instance-tool {tool} \"$@\"\n");
        std::fs::write(&file, script)?;
        std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o700))?;
    }
    Ok(())
}

/// The metadata service's address without the secret.
fn metadata_address(cloud: &Cloud) -> String {
    format!("{}/_steppe/imds", cloud.config.endpoint())
}

/// What every process of the instance has in its environment, which only its owner can read.
fn environment(cloud: &Cloud, id: &str, instance: &Instance) -> Vec<(String, String)> {
    let secret = format!("{}/{}", metadata_address(cloud), instance.token);
    let bin = directory(cloud, id).join("bin");
    let own = [
        ("PATH", format!("{}:/usr/local/bin:/usr/bin:/bin", bin.display())),
        ("STEPPE_ROOT", root(cloud, id).display().to_string()),
        ("STEPPE_INSTANCE_TOKEN", instance.token.clone()),
        // The SDKs' name, and that of the `object_store` crate.
        ("AWS_EC2_METADATA_SERVICE_ENDPOINT", secret.clone()),
        ("AWS_METADATA_ENDPOINT", secret),
    ];
    let mut pairs = cloud.config.client_env();
    pairs.extend(own.map(|(name, value)| (name.to_owned(), value)));
    pairs
}

/// The instance that has a token.
pub fn with_token(cloud: &Cloud, token: &str) -> Option<(String, Arc<Instance>)> {
    cloud.services.ec2.instances.all().into_iter().find(|(_, i)| i.token == token)
}

/// What the instance's `systemctl` asks for.
pub async fn systemctl(
    cloud: &Arc<Cloud>,
    token: &str,
    verb: &str,
    unit: &str,
) -> Result<String, String> {
    let (id, instance) = with_token(cloud, token).ok_or("the instance no longer exists")?;
    let unit = service_name(unit)?;
    match verb {
        "start" => {
            start_unit(cloud, &id, &instance, unit)?;
            cloud.services.ec2.instances.update(&id, |i| {
                if !i.units.iter().any(|u| u == unit) {
                    i.units.push(unit.to_owned())
                }
            })?;
        }
        "stop" => {
            cloud.services.ec2.machines.services.stop(&id, unit).await;
            cloud.services.ec2.instances.update(&id, |i| i.units.retain(|u| u != unit))?;
        }
        "is-active" => {
            let state = cloud.services.ec2.machines.services.state(&id, unit);
            let word = state.word().to_owned();
            return if state == State::Active { Ok(word) } else { Err(word) };
        }
        other => return Err(format!("the embedded cloud has no `systemctl {other}`")),
    }
    Ok(String::new())
}

fn start_unit(cloud: &Arc<Cloud>, id: &str, instance: &Instance, name: &str) -> Result<(), String> {
    let root = root(cloud, id);
    let file = root.join("etc/systemd/system").join(format!("{name}.service"));
    let text = std::fs::read_to_string(&file)
        .map_err(|e| format!("Failed to start {name}.service: {}: {e}", file.display()))?;
    let unit = Unit::parse(&text, &root.display().to_string())
        .map_err(|e| format!("{name}.service: {e}"))?;
    let environment = environment(cloud, id, instance);
    let logs = journal(cloud, id);
    let service = Service { unit, environment, logs, name: name.to_owned() };
    service::start(cloud, id, service);
    Ok(())
}

/// Stops everything in an instance and deletes it.
pub async fn terminate(cloud: &Cloud, id: &str) -> std::io::Result<()> {
    lock(&cloud.services.ec2.machines.leaving).insert(id.to_owned());
    let terminated = end(cloud, id).await;
    lock(&cloud.services.ec2.machines.leaving).remove(id);
    terminated
}

async fn end(cloud: &Cloud, id: &str) -> std::io::Result<()> {
    stop(cloud, id).await;
    let instance = cloud.services.ec2.instances.remove(id)?;
    lock(&cloud.services.ec2.machines.credentials).remove(id);
    if let Some(instance) = instance {
        cloud.services.ec2.machines.list_as_gone(id, instance);
    }
    match std::fs::remove_dir_all(directory(cloud, id)) {
        Err(e) if e.kind() != std::io::ErrorKind::NotFound => Err(e),
        _ => Ok(()),
    }
}

async fn stop(cloud: &Cloud, id: &str) {
    cloud.services.ec2.machines.services.stop_instance(id).await;
    // What has left its group is known by its environment.
    let root = root(cloud, id).display().to_string();
    let sweep = move || processes::end_marked("STEPPE_ROOT", &root);
    match tokio::task::spawn_blocking(sweep).await {
        Ok(0) => {}
        Ok(ended) => tracing::info!(id, ended, "processes had left their services"),
        Err(error) => tracing::error!("processes of {id} may be left: {error}"),
    }
}

/// Stops all services; the instances stay.
pub async fn stop_all(cloud: &Cloud) {
    let all = cloud.services.ec2.instances.all();
    futures::future::join_all(all.iter().map(|(id, _)| stop(cloud, id))).await;
}

/// Starts the services of all instances again, as after a reboot.
pub fn resume_all(cloud: &Arc<Cloud>) {
    remove_leftovers(cloud);
    for (id, instance) in cloud.services.ec2.instances.all() {
        post_console(cloud, &id);
        if let Err(error) = write_tools(cloud, &directory(cloud, &id)) {
            tracing::error!("the tools of {id} cannot be written: {error}");
        }
        for unit in &instance.units {
            if let Err(error) = start_unit(cloud, &id, &instance, unit) {
                tracing::error!("the service `{unit}` of {id} did not come back: {error}");
            }
        }
    }
}

/// Deletes directories of instances that a crash left without a record.
fn remove_leftovers(cloud: &Cloud) {
    let Some(all) = cloud.services.ec2.instances.complete() else { return };
    let known: Vec<String> = all.into_iter().map(|(id, _)| id).collect();
    let removed = keep_only(&cloud.path("instances"), &known);
    removed.unwrap_or_else(|error| tracing::error!("leftovers of instances stay: {error}"));
}
