//! The life of an instance: directory, user data, services.

use std::collections::HashMap;
use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::{Arc, LazyLock, Mutex};

use tokio::process::Command;
use tokio::sync::oneshot;

use super::Instance;
use super::unit::{Restart, Unit};
use crate::cloud::Cloud;

/// Commands that the instance has of this cloud rather than of the machine.
const TOOLS: [&str; 4] = ["aws", "curl", "systemctl", "journalctl"];
/// A service that fails this often in a row is given up.
const RESTARTS_MAX: u32 = 10;

/// Stops a running service; by instance and unit.
type Stops = HashMap<(String, String), oneshot::Sender<oneshot::Sender<()>>>;
static RUNNING: LazyLock<Mutex<Stops>> = LazyLock::new(Mutex::default);

fn running() -> std::sync::MutexGuard<'static, Stops> {
    RUNNING.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}

/// `instances/i-…` below the state directory.
pub fn directory(cloud: &Cloud, id: &str) -> PathBuf {
    cloud.path("instances").join(id)
}

fn root(cloud: &Cloud, id: &str) -> PathBuf {
    directory(cloud, id).join("root")
}

/// The newest bytes of the console: what user data wrote, then what units wrote to `journal+console`.
pub fn console(cloud: &Cloud, id: &str, bytes_max: usize) -> Vec<u8> {
    let directory = directory(cloud, id);
    let mut files: Vec<PathBuf> =
        std::fs::read_dir(&directory).into_iter().flatten().flatten().map(|e| e.path()).collect();
    files.retain(|f| f.extension().is_some_and(|e| e == "log"));
    files.sort_by_key(|f| (f.file_name().is_some_and(|n| n != "console.log"), f.clone()));
    let mut text: Vec<u8> =
        files.iter().flat_map(|f| tail(f, bytes_max as u64).unwrap_or_default()).collect();
    text.drain(..text.len().saturating_sub(bytes_max));
    text
}

fn tail(file: &Path, bytes_max: u64) -> std::io::Result<Vec<u8>> {
    use std::io::{Read, Seek, SeekFrom};
    let mut file = File::open(file)?;
    let length = file.metadata()?.len();
    file.seek(SeekFrom::Start(length.saturating_sub(bytes_max)))?;
    let mut text = Vec::new();
    file.take(bytes_max).read_to_end(&mut text)?;
    Ok(text)
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
    write_tools(cloud, &directory)?;
    std::fs::write(directory.join("user-data.sh"), user_data)?;
    let console = File::create(directory.join("console.log"))?;
    cloud.instances.put(id, instance.clone())?;
    let mut command = Command::new("bash");
    command
        .arg(directory.join("user-data.sh"))
        .current_dir(root(cloud, id))
        .env_clear()
        .envs(environment(cloud, id, &instance))
        .stdin(Stdio::null())
        .stdout(console.try_clone()?)
        .stderr(console)
        .process_group(0)
        .kill_on_drop(true);
    let mut child = command.spawn()?;
    let id = id.to_owned();
    let (stop, stopped) = oneshot::channel();
    running().insert((id.clone(), "user-data".to_owned()), stop);
    tokio::spawn(async move {
        tokio::select! {
            status = child.wait() => match status {
                Ok(status) if status.success() => {}
                other => tracing::warn!(id, "user data ended with {other:?}"),
            },
            done = stopped => {
                kill_group(&mut child).await;
                answer(done);
            }
        }
    });
    Ok(())
}

fn write_tools(cloud: &Cloud, directory: &Path) -> std::io::Result<()> {
    use std::os::unix::fs::PermissionsExt;
    let bin = directory.join("bin");
    std::fs::create_dir_all(&bin)?;
    for tool in TOOLS {
        let file = bin.join(tool);
        std::fs::write(
            &file,
            format!(
                "#!/bin/sh\nexec '{}' instance-tool {tool} \"$@\"\n",
                cloud.config.own_binary.display()
            ),
        )?;
        std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o755))?;
    }
    Ok(())
}

/// What every process of the instance has in its environment.
fn environment(cloud: &Cloud, id: &str, instance: &Instance) -> Vec<(String, String)> {
    let metadata = format!("{}/_steppe/imds/{}", cloud.config.endpoint(), instance.token);
    let mut pairs = cloud.config.client_env();
    let bin = directory(cloud, id).join("bin");
    pairs.extend([
        ("PATH".to_owned(), format!("{}:/usr/local/bin:/usr/bin:/bin", bin.display())),
        ("STEPPE_ROOT".to_owned(), root(cloud, id).display().to_string()),
        (
            "STEPPE_INSTANCE_URL".to_owned(),
            format!("{}/_steppe/instances/{}", cloud.config.endpoint(), instance.token),
        ),
        // The SDKs' name, and that of the `object_store` crate.
        ("AWS_EC2_METADATA_SERVICE_ENDPOINT".to_owned(), metadata.clone()),
        ("AWS_METADATA_ENDPOINT".to_owned(), metadata),
    ]);
    pairs
}

/// What the instance's `systemctl` asks for.
pub async fn systemctl(
    cloud: &Arc<Cloud>,
    token: &str,
    verb: &str,
    unit: &str,
) -> Result<String, String> {
    let (id, instance) = cloud
        .instances
        .all()
        .into_iter()
        .find(|(_, i)| i.token == token)
        .ok_or("the instance no longer exists")?;
    let unit = unit.trim_end_matches(".service");
    match verb {
        "start" => {
            start_unit(cloud, &id, &instance, unit)?;
            cloud.instances.update(&id, |i| {
                if !i.units.iter().any(|u| u == unit) {
                    i.units.push(unit.to_owned())
                }
            })?;
        }
        "stop" => {
            stop_unit(&id, unit).await;
            cloud.instances.update(&id, |i| i.units.retain(|u| u != unit))?;
        }
        "is-active" => {
            let active = running().contains_key(&(id, unit.to_owned()));
            return if active { Ok("active".to_owned()) } else { Err("inactive".to_owned()) };
        }
        other => return Err(format!("the embedded cloud has no `systemctl {other}`")),
    }
    Ok(String::new())
}

fn start_unit(cloud: &Arc<Cloud>, id: &str, instance: &Instance, name: &str) -> Result<(), String> {
    let key = (id.to_owned(), name.to_owned());
    if running().contains_key(&key) {
        return Ok(());
    }
    let file = root(cloud, id).join("etc/systemd/system").join(format!("{name}.service"));
    let text = std::fs::read_to_string(&file)
        .map_err(|e| format!("Failed to start {name}.service: {}: {e}", file.display()))?;
    let unit = Unit::parse(&text).map_err(|e| format!("{name}.service: {e}"))?;
    let logs = directory(cloud, id);
    let (stop, stopped) = oneshot::channel();
    running().insert(key.clone(), stop);
    let environment = environment(cloud, id, instance);
    tokio::spawn(async move {
        supervise(&unit, &environment, &logs, &key.1, stopped).await;
        running().remove(&key);
    });
    Ok(())
}

async fn supervise(
    unit: &Unit,
    environment: &[(String, String)],
    logs: &Path,
    name: &str,
    mut stopped: oneshot::Receiver<oneshot::Sender<()>>,
) {
    let restarts_max = if unit.gives_up { RESTARTS_MAX } else { u32::MAX };
    for restarts in 0..=restarts_max {
        let mut child = match spawn_service(unit, environment, logs, name) {
            Ok(child) => child,
            Err(error) => return tracing::error!("the service `{name}` cannot start: {error}"),
        };
        let success = tokio::select! {
            status = child.wait() => status.is_ok_and(|s| s.success()),
            done = &mut stopped => {
                terminate_child(&mut child).await;
                answer(done);
                return;
            }
        };
        tracing::warn!(restarts, success, "the service `{name}` ended");
        if unit.restart == Restart::No || (success && unit.restart == Restart::OnFailure) {
            return;
        }
        tokio::time::sleep(unit.restart_after).await;
    }
    tracing::error!("the service `{name}` failed {RESTARTS_MAX} times and is given up");
}

fn spawn_service(
    unit: &Unit,
    environment: &[(String, String)],
    logs: &Path,
    name: &str,
) -> std::io::Result<tokio::process::Child> {
    let append =
        |file: &str| std::fs::OpenOptions::new().create(true).append(true).open(logs.join(file));
    let mut journal = append(&format!("{name}.log"))?;
    writeln!(journal, "Started {name}.service")?;
    let child = Command::new(&unit.exec[0])
        .args(&unit.exec[1..])
        .env_clear()
        .envs(environment.iter().cloned())
        .envs(unit.environment.iter().cloned())
        .stdin(Stdio::null())
        .stdout(journal.try_clone()?)
        .stderr(journal)
        .process_group(0)
        .kill_on_drop(true)
        .spawn()?;
    let pid = child.id().map_or_else(String::new, |p| format!("{p} {}", unit.exec[0]));
    std::fs::write(logs.join(format!("{name}.pid")), pid)?;
    Ok(child)
}

/// Tells whoever stopped a process that it has ended; they may have stopped waiting.
fn answer(done: Result<oneshot::Sender<()>, oneshot::error::RecvError>) {
    if let Ok(done) = done {
        done.send(()).unwrap_or_default();
    }
}

fn signal(pid: i32, signal: &str) {
    let status = std::process::Command::new("kill")
        .args(["-s", signal, "--", &pid.to_string()])
        .stderr(Stdio::null())
        .status();
    if let Err(error) = status {
        tracing::warn!("cannot signal the process {pid}: {error}");
    }
}

/// SIGTERM, and SIGKILL for what is left after some seconds.
async fn terminate_child(child: &mut tokio::process::Child) {
    if let Some(pid) = child.id() {
        signal(pid as i32, "TERM");
    }
    if tokio::time::timeout(std::time::Duration::from_secs(5), child.wait()).await.is_err() {
        kill_group(child).await;
    }
}

async fn kill_group(child: &mut tokio::process::Child) {
    if let Some(pid) = child.id() {
        signal(-(pid as i32), "KILL");
    }
    if let Err(error) = child.wait().await {
        tracing::warn!("a process of an instance did not end: {error}");
    }
}

async fn stop_unit(id: &str, name: &str) {
    let stop = running().remove(&(id.to_owned(), name.to_owned()));
    let Some(stop) = stop else { return };
    let (done, ended) = oneshot::channel();
    if stop.send(done).is_ok() {
        // An error means that the service ended by itself in the meantime.
        ended.await.unwrap_or_default();
    }
}

/// Stops everything in an instance and deletes it.
pub async fn terminate(cloud: &Cloud, id: &str) -> std::io::Result<()> {
    stop_instance(id).await;
    cloud.instances.remove(id)?;
    match std::fs::remove_dir_all(directory(cloud, id)) {
        Err(e) if e.kind() != std::io::ErrorKind::NotFound => Err(e),
        _ => Ok(()),
    }
}

async fn stop_instance(id: &str) {
    let units: Vec<String> =
        running().keys().filter(|(i, _)| i == id).map(|(_, u)| u.clone()).collect();
    for unit in units {
        stop_unit(id, &unit).await;
    }
}

/// Stops all services; the instances stay.
pub async fn stop_all(cloud: &Cloud) {
    for (id, _) in cloud.instances.all() {
        stop_instance(&id).await;
    }
}

/// Starts the services of all instances again, as after a reboot.
pub fn resume_all(cloud: &Arc<Cloud>) {
    for (id, instance) in cloud.instances.all() {
        for unit in &instance.units {
            end_leftover(&directory(cloud, &id).join(format!("{unit}.pid")));
            if let Err(error) = start_unit(cloud, &id, &instance, unit) {
                tracing::error!("the service `{unit}` of {id} did not come back: {error}");
            }
        }
    }
}

/// Ends a service that an earlier process of this cloud, killed without warning, left running.
fn end_leftover(pid_file: &Path) {
    let Ok(text) = std::fs::read_to_string(pid_file) else { return };
    let Some((pid, program)) = text.split_once(' ') else { return };
    let command_line = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    if command_line.starts_with(program.as_bytes()) {
        pid.parse().map(|pid: i32| signal(pid, "KILL")).unwrap_or_default();
    }
}
