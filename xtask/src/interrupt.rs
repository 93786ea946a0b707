//! Ctrl-C: what a verb began in the cloud goes on without this program, so the first one tells so
//! and how to come back, and the second ends. With nothing under way in the cloud the first ends.

use std::sync::Mutex;

use crate::terminal::err;

/// Exit code of a program that Ctrl-C ended, as shells have it.
const INTERRUPTED: i32 = 130;

/// What goes on in the cloud, newest last.
static UNDER_WAY: Mutex<Vec<(u64, String)>> = Mutex::new(Vec::new());

/// Something goes on in the cloud until this is dropped.
pub struct UnderWay(u64);

impl UnderWay {
    /// What goes on, and how to see it or come back to it, as a sentence.
    pub fn begin(what: &str) -> Self {
        let mut all = lock();
        let number = all.last().map_or(0, |(n, _)| n + 1);
        all.push((number, what.to_owned()));
        Self(number)
    }
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        lock().retain(|(number, _)| *number != self.0);
    }
}

fn lock() -> std::sync::MutexGuard<'static, Vec<(u64, String)>> {
    UNDER_WAY.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}

/// Listens for Ctrl-C from now on; needs the runtime.
pub fn listen() {
    tokio::spawn(async {
        let mut told = false;
        while tokio::signal::ctrl_c().await.is_ok() {
            let newest = lock().last().map(|(_, what)| what.clone());
            match newest {
                Some(what) if !told => {
                    told = true;
                    err(&format!("\n{:>12}  {what}", "goes on"));
                    err(&format!("{:>12}  press Ctrl-C again to leave it alone", ""));
                }
                Some(_) => std::process::exit(INTERRUPTED),
                None => {
                    err(&format!(
                        "\n{:>12}  nothing of this command goes on; repeat it to continue",
                        "interrupted"
                    ));
                    std::process::exit(INTERRUPTED)
                }
            }
        }
    });
}
