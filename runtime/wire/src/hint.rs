//! What a process tells of an error when a text is its only way: an exit that Glue, Lambda or
//! CloudFormation passes on, or standard error.
//!
//! The message comes first, then what to do about it, each on a line of its own that begins with
//! `hint: `. Nobody else takes texts apart: within a process hints are fields of errors.

/// What a hint's line begins with.
const MARK: &str = "hint: ";

/// The message of such a text, and its hints.
pub fn parts(text: &str) -> (String, Vec<String>) {
    let (hints, message): (Vec<&str>, Vec<&str>) =
        text.trim_end().lines().partition(|line| line.starts_with(MARK));
    let hint = |line: &str| line.trim_start_matches(MARK).to_owned();
    (message.join("\n"), hints.into_iter().map(hint).collect())
}

#[cfg(test)]
mod tests {
    use super::parts;

    #[test]
    fn hints_stand_on_lines_of_their_own() {
        let (message, hints) = parts("it is a folder\nhint: give a file\nhint: or two\n");
        assert_eq!((message.as_str(), hints.len()), ("it is a folder", 2));
        assert_eq!(hints, ["give a file", "or two"]);
        assert_eq!(parts("no hint: at all"), ("no hint: at all".to_owned(), vec![]));
    }
}
