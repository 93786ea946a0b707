//! What a statement is, by its first words.

use serde::{Deserialize, Serialize};

/// A kind of statement.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Statement {
    /// `SELECT`, `WITH`, `VALUES`, `TABLE`.
    Select,
    /// `EXPLAIN`.
    Explain,
    /// `INSERT INTO`.
    Insert,
    /// `UNLOAD`.
    Unload,
    /// `CREATE TABLE … AS`.
    CreateTableAsSelect,
    /// `SHOW DATABASES` or `SHOW SCHEMAS`.
    ShowDatabases,
    /// `SHOW TABLES`.
    ShowTables,
    /// `SHOW COLUMNS`.
    ShowColumns,
    /// `SHOW PARTITIONS`.
    ShowPartitions,
    /// `SHOW TBLPROPERTIES`.
    ShowTableProperties,
    /// `SHOW CREATE TABLE`.
    ShowCreateTable,
    /// `SHOW CREATE VIEW`.
    ShowCreateView,
    /// `SHOW VIEWS`.
    ShowViews,
    /// `DESCRIBE` or `DESC`.
    Describe,
    /// `CREATE DATABASE` or `CREATE SCHEMA`.
    CreateDatabase,
    /// `DROP DATABASE` or `DROP SCHEMA`.
    DropDatabase,
    /// `ALTER DATABASE` or `ALTER SCHEMA`.
    AlterDatabase,
    /// `CREATE EXTERNAL TABLE`.
    CreateTable,
    /// `DROP TABLE`.
    DropTable,
    /// `CREATE VIEW`.
    CreateView,
    /// `DROP VIEW`.
    DropView,
    /// `ALTER TABLE … ADD COLUMNS`.
    AlterTableAddColumns,
    /// `ALTER TABLE … REPLACE COLUMNS`.
    AlterTableReplaceColumns,
    /// `ALTER TABLE … CHANGE COLUMN`.
    AlterTableChangeColumn,
    /// `ALTER TABLE … SET TBLPROPERTIES`.
    AlterTableProperties,
    /// `ALTER TABLE … SET LOCATION`.
    AlterTableSetLocation,
    /// `ALTER TABLE … ADD PARTITION`.
    AlterTableAddPartition,
    /// `ALTER TABLE … DROP PARTITION`.
    AlterTableDropPartition,
    /// `ALTER TABLE … PARTITION … RENAME TO PARTITION`.
    AlterTableRenamePartition,
    /// `MSCK REPAIR TABLE`.
    MsckRepair,
    /// `PREPARE`.
    Prepare,
    /// `DEALLOCATE PREPARE`.
    Deallocate,
    /// Anything else.
    Other,
}

/// Where the result of a statement goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Written {
    /// Rows with a header: `ID.csv`.
    Rows,
    /// Lines: `ID.txt`.
    Lines,
    /// Nothing but a list of files: `ID`.
    Elsewhere,
    /// Files of a new table: `tables/ID`.
    Table,
}

/// `EXECUTE name USING expressions`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Executed<'a> {
    /// The prepared statement.
    pub name: &'a str,
    /// What stands behind `USING`.
    pub using: Option<&'a str>,
}

impl<'a> Executed<'a> {
    /// `None` when the statement is another one.
    pub fn of(sql: &'a str) -> Option<Self> {
        let mut words = Words(sql);
        if words.next()? != "EXECUTE" {
            return None;
        }
        let rest = words.0.trim().trim_end_matches(';');
        let rest = rest.trim_end();
        let (name, behind) = match rest.strip_prefix('"') {
            Some(quoted) => quoted.split_once('"')?,
            None => rest.split_at(rest.find(char::is_whitespace).unwrap_or(rest.len())),
        };
        let mut behind = Words(behind);
        match behind.next().as_deref() {
            None if !name.is_empty() => Some(Self { name, using: None }),
            Some("USING") if !name.is_empty() => Some(Self { name, using: Some(behind.0.trim()) }),
            _ => None,
        }
    }
}

impl Statement {
    /// Looks at words behind white space, comments and parentheses.
    pub fn of(sql: &str) -> Self {
        let mut words = Words(sql);
        let (first, second) = (words.word(), words.word());
        match (first.as_str(), second.as_str()) {
            ("SELECT" | "WITH" | "VALUES" | "TABLE", _) => Self::Select,
            ("EXPLAIN", _) => Self::Explain,
            ("INSERT", _) => Self::Insert,
            ("UNLOAD", _) => Self::Unload,
            ("SHOW", "DATABASES" | "SCHEMAS") => Self::ShowDatabases,
            ("SHOW", "TABLES") => Self::ShowTables,
            ("SHOW", "COLUMNS") => Self::ShowColumns,
            ("SHOW", "PARTITIONS") => Self::ShowPartitions,
            ("SHOW", "TBLPROPERTIES") => Self::ShowTableProperties,
            ("SHOW", "VIEWS") => Self::ShowViews,
            ("SHOW", "CREATE") if words.word() == "VIEW" => Self::ShowCreateView,
            ("SHOW", "CREATE") => Self::ShowCreateTable,
            ("DESCRIBE" | "DESC", _) => Self::Describe,
            ("CREATE", "DATABASE" | "SCHEMA") => Self::CreateDatabase,
            ("DROP", "DATABASE" | "SCHEMA") => Self::DropDatabase,
            ("ALTER", "DATABASE" | "SCHEMA") => Self::AlterDatabase,
            ("CREATE", "EXTERNAL") => Self::CreateTable,
            ("CREATE", "TABLE") if is_made_by_query(words.0) => Self::CreateTableAsSelect,
            ("CREATE", "TABLE") => Self::CreateTable,
            ("DROP", "TABLE") => Self::DropTable,
            ("CREATE", "VIEW") => Self::CreateView,
            ("CREATE", "OR") if words.word() == "REPLACE" && words.word() == "VIEW" => {
                Self::CreateView
            }
            ("DROP", "VIEW") => Self::DropView,
            ("ALTER", "TABLE") => Self::of_alteration(words.0),
            ("MSCK", _) => Self::MsckRepair,
            ("PREPARE", _) => Self::Prepare,
            ("DEALLOCATE", _) => Self::Deallocate,
            _ => Self::Other,
        }
    }

    /// What is behind `ALTER TABLE`: a name, then what is done.
    fn of_alteration(rest: &str) -> Self {
        let words: Vec<String> = bare_words(rest);
        let pairs = words.iter().zip(words.iter().skip(1));
        let known = pairs.map(|(one, other)| match (one.as_str(), other.as_str()) {
            ("ADD", "COLUMNS") => Self::AlterTableAddColumns,
            ("REPLACE", "COLUMNS") => Self::AlterTableReplaceColumns,
            ("CHANGE", _) => Self::AlterTableChangeColumn,
            ("SET", "TBLPROPERTIES") => Self::AlterTableProperties,
            ("SET", "LOCATION") => Self::AlterTableSetLocation,
            ("ADD", "PARTITION" | "IF") => Self::AlterTableAddPartition,
            ("DROP", "PARTITION" | "IF") => Self::AlterTableDropPartition,
            ("RENAME", "TO") if words.first().is_some_and(|w| w == "PARTITION") => {
                Self::AlterTableRenamePartition
            }
            _ => Self::Other,
        });
        known.into_iter().find(|kind| *kind != Self::Other).unwrap_or(Self::Other)
    }

    /// Athena's `StatementType` and `SubstatementType`, as they were measured by others.
    /// <https://github.com/aoyagikouhei/athena-local/blob/main/docs/dev/measurements/statements.md>
    pub fn types(self) -> (&'static str, Option<&'static str>) {
        match self {
            Self::Select => ("DML", Some("SELECT")),
            Self::Explain => ("DML", Some("EXPLAIN")),
            Self::Insert => ("DML", Some("INSERT")),
            Self::Unload => ("DML", Some("UNLOAD")),
            Self::CreateTableAsSelect => ("DDL", Some("CREATE_TABLE_AS_SELECT")),
            Self::ShowDatabases => ("UTILITY", Some("SHOW_DATABASES")),
            Self::ShowTables => ("UTILITY", Some("SHOW_TABLES")),
            Self::ShowColumns => ("UTILITY", Some("SHOW_COLUMNS")),
            Self::ShowPartitions => ("UTILITY", Some("SHOW_PARTITIONS")),
            Self::ShowTableProperties => ("UTILITY", Some("SHOW_TABLE_PROPERTIES")),
            Self::ShowCreateTable => ("UTILITY", Some("SHOW_CREATE_TABLE")),
            Self::ShowCreateView => ("UTILITY", Some("SHOW_CREATE_VIEW")),
            Self::ShowViews => ("UTILITY", Some("SHOW_VIEWS")),
            Self::Describe => ("UTILITY", Some("DESCRIBE_TABLE")),
            Self::CreateDatabase => ("DDL", Some("CREATE_DATABASE")),
            Self::DropDatabase => ("DDL", Some("DROP_DATABASE")),
            Self::AlterDatabase => ("DDL", Some("ALTER_DATABASE_PROPERTIES")),
            Self::CreateTable => ("DDL", Some("CREATE_TABLE")),
            Self::DropTable => ("DDL", Some("DROP_TABLE")),
            Self::CreateView => ("DDL", Some("CREATE_VIEW")),
            Self::DropView => ("DDL", Some("DROP_VIEW")),
            Self::AlterTableAddColumns => ("DDL", Some("ALTER_TABLE_ADD_COLUMN")),
            Self::AlterTableReplaceColumns => ("DDL", Some("ALTER_TABLE_REPLACE_COLUMN")),
            Self::AlterTableChangeColumn => ("DDL", Some("ALTER_TABLE_CHANGE_COLUMN")),
            Self::AlterTableProperties => ("DDL", Some("ALTER_TABLE_PROPERTIES")),
            Self::AlterTableSetLocation => ("DDL", Some("ALTER_TABLE_SET_LOCATION")),
            Self::AlterTableAddPartition => ("DDL", Some("ALTER_TABLE_ADD_PARTITION")),
            Self::AlterTableDropPartition => ("DDL", Some("ALTER_TABLE_DROP_PARTITION")),
            Self::AlterTableRenamePartition => ("DDL", Some("ALTER_TABLE_RENAME_PARTITION")),
            Self::MsckRepair => ("DDL", Some("MSCK_REPAIR")),
            Self::Prepare => ("DDL", Some("PREPARE")),
            Self::Deallocate => ("DDL", Some("DEALLOCATE")),
            Self::Other => ("DDL", None),
        }
    }

    /// Where its result goes.
    /// <https://docs.aws.amazon.com/athena/latest/ug/querying-finding-output-files.html>
    pub fn written(self) -> Written {
        match self {
            Self::Select => Written::Rows,
            Self::Insert | Self::Unload => Written::Elsewhere,
            Self::CreateTableAsSelect => Written::Table,
            _ => Written::Lines,
        }
    }

    /// Whether it changes the catalogue or writes files besides its result.
    pub fn changes(self) -> bool {
        let (kind, _) = self.types();
        self != Self::Other && (kind == "DDL" || self.written() == Written::Elsewhere)
    }

    /// Whether answers with its rows have a count of changed ones, be it 0.
    pub fn is_counted(self) -> bool {
        match self.written() {
            Written::Rows | Written::Elsewhere | Written::Table => true,
            Written::Lines => {
                let (kind, _) = self.types();
                kind == "UTILITY" && !matches!(self, Self::Describe | Self::ShowCreateTable)
            }
        }
    }
}

/// Whether `CREATE TABLE` goes on with a query: behind `AS`, outside of parentheses.
fn is_made_by_query(rest: &str) -> bool {
    bare_words(rest).iter().any(|word| word == "AS")
}

/// Words outside of parentheses, quotes and comments, in upper case, behind the name.
fn bare_words(rest: &str) -> Vec<String> {
    let (mut words, mut word, mut depth) = (Vec::new(), String::new(), 0_usize);
    let mut characters = rest.chars().peekable();
    while let Some(character) = characters.next() {
        if character.is_alphanumeric() || character == '_' {
            if depth == 0 {
                word.extend(character.to_uppercase());
            }
            continue;
        }
        if !word.is_empty() {
            words.push(std::mem::take(&mut word));
        }
        match character {
            '(' => depth += 1,
            ')' => depth = depth.saturating_sub(1),
            '\'' | '"' | '`' => {
                for quoted in characters.by_ref() {
                    if quoted == character {
                        break;
                    }
                }
                if character != '\'' && depth == 0 {
                    words.push(String::new());
                }
            }
            '-' if characters.peek() == Some(&'-') => {
                for skipped in characters.by_ref() {
                    if skipped == '\n' {
                        break;
                    }
                }
            }
            _ => {}
        }
    }
    words.push(word);
    // The name of the table, with that of its database.
    let begin = usize::from(words.first().is_some_and(|w| w == "IF")) * 3;
    let dotted = rest.trim_start().split(char::is_whitespace).next();
    let parts = dotted.map_or(1, |name| name.matches('.').count() + 1);
    words.into_iter().skip(begin + parts).collect()
}

/// Words in upper case.
struct Words<'a>(&'a str);

impl Words<'_> {
    /// The next word, or none.
    fn word(&mut self) -> String {
        self.next().unwrap_or_default()
    }
}

impl Iterator for Words<'_> {
    type Item = String;

    fn next(&mut self) -> Option<String> {
        loop {
            let rest = self.0.trim_start_matches(|c: char| c.is_whitespace() || c == '(');
            self.0 = if let Some(comment) = rest.strip_prefix("--") {
                comment.split_once('\n').map_or("", |(_, after)| after)
            } else if let Some(comment) = rest.strip_prefix("/*") {
                comment.split_once("*/").map_or("", |(_, after)| after)
            } else {
                let end = rest.find(|c: char| !c.is_ascii_alphanumeric() && c != '_');
                let (word, after) = rest.split_at(end.unwrap_or(rest.len()));
                self.0 = after;
                return (!word.is_empty()).then(|| word.to_uppercase());
            };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_changes_something_is_told_from_what_only_reads() {
        for sql in ["SELECT 1", "SHOW TABLES", "DESCRIBE t", "EXPLAIN SELECT 1", "selct 1"] {
            assert!(!Statement::of(sql).changes(), "{sql}");
        }
        for sql in [
            "drop table t",
            "INSERT INTO t VALUES (1)",
            "UNLOAD (SELECT 1) TO 's3://b/p/'",
            "CREATE TABLE t AS SELECT 1",
            "MSCK REPAIR TABLE t",
            "PREPARE p FROM SELECT 1",
        ] {
            assert!(Statement::of(sql).changes(), "{sql}");
        }
    }

    #[test]
    fn statements_are_told_by_their_first_words() {
        for sql in ["select 1", " -- show tables\n/* x */ WITH a AS", "((SELECT 1))", "VALUES(1)"] {
            assert_eq!(Statement::of(sql), Statement::Select, "{sql}");
        }
        for (sql, kind) in [
            ("show  schemas", Statement::ShowDatabases),
            ("SHOW/**/TABLES IN x", Statement::ShowTables),
            ("show columns from t", Statement::ShowColumns),
            ("desc `t`", Statement::Describe),
            ("SHOW CREATE TABLE t", Statement::ShowCreateTable),
            ("SHOW CREATE VIEW t", Statement::ShowCreateView),
            ("INSERT INTO t", Statement::Insert),
            ("create or replace view v AS SELECT 1", Statement::CreateView),
            ("CREATE TABLE a.b WITH (format = 'ORC') AS SELECT 1", Statement::CreateTableAsSelect),
            ("CREATE TABLE IF NOT EXISTS t AS(SELECT 1)", Statement::CreateTableAsSelect),
            ("CREATE TABLE \"a b\".\"c\" AS SELECT 1", Statement::CreateTableAsSelect),
            ("CREATE TABLE t (a int) LOCATION 's3://as/as'", Statement::CreateTable),
            ("CREATE EXTERNAL TABLE `as` (a int)", Statement::CreateTable),
            ("ALTER TABLE t ADD COLUMNS (a int)", Statement::AlterTableAddColumns),
            ("ALTER TABLE add.t SET TBLPROPERTIES ('a'='b')", Statement::AlterTableProperties),
            ("ALTER TABLE t ADD IF NOT EXISTS PARTITION (a=1)", Statement::AlterTableAddPartition),
            ("ALTER TABLE t DROP PARTITION (a=1)", Statement::AlterTableDropPartition),
            (
                "ALTER TABLE t PARTITION (a=1) RENAME TO PARTITION (a=2)",
                Statement::AlterTableRenamePartition,
            ),
            ("ALTER TABLE t RENAME TO u", Statement::Other),
        ] {
            assert_eq!(Statement::of(sql), kind, "{sql}");
        }
        for sql in ["", "--", "/*", "SHOW", "selects", "CREATE", "EXECUTE x", "MERGE INTO t"] {
            assert_eq!(Statement::of(sql), Statement::Other, "{sql}");
        }
    }

    #[test]
    fn executions_of_prepared_statements_are_taken_apart() {
        let of = |sql| Executed::of(sql).map(|executed| (executed.name, executed.using));
        assert_eq!(of("EXECUTE q USING 1, 'a b';"), Some(("q", Some("1, 'a b'"))));
        assert_eq!(of("execute \"Q\""), Some(("Q", None)));
        for other in ["EXECUTE", "EXECUTE q WITH 1", "SELECT 1", "EXECUTE \"q"] {
            assert_eq!(of(other), None, "{other}");
        }
    }
}
