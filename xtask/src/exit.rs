//! How a verb's end becomes an exit code that scripts can rely on.

use std::process::ExitCode;

use anyhow::Result;
use steppe_plan::events::Event;
pub use steppe_plan::events::Outcome;

use crate::hint::hints_of;
use crate::host::Host;
use crate::terminal::{err, lost};

/// Tells how the verb ended.
pub fn end(host: &Host, ran: Result<Outcome>) -> ExitCode {
    let outcome = ran.unwrap_or_else(|error| {
        let mut chain = error.chain().map(ToString::to_string);
        let message = chain.next().unwrap_or_default();
        let (causes, hints) = (chain.collect(), hints_of(&error));
        host.tell(Event::Error { message, causes, hints });
        Outcome::Error
    });
    let outcome = match lost() {
        // On a terminal of its own, because the way of the events may be what was lost.
        Some(why) if outcome != Outcome::Error => {
            err(&format!("error: the result could not be written: {why}"));
            Outcome::Error
        }
        _ => outcome,
    };
    host.end(outcome);
    ExitCode::from(outcome.exit_code())
}
