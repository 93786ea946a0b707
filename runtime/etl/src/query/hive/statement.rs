//! Hive's statements of databases, tables and partitions, and Trino's of views, read.
//!
//! <https://docs.aws.amazon.com/athena/latest/ug/ddl-reference.html>

use datafusion::sql::sqlparser::tokenizer::{Token, TokenWithSpan};
use steppe_wire::query::{QueryFailure, Statement};

use super::words::{TableName, Words};
use crate::query::failure::{failed, malformed};
use crate::query::tables::arrow_type;

type Read<T> = Result<T, QueryFailure>;

/// A partition by its keys: `(year=2019, month='1')`.
pub type Spec = Vec<(String, String)>;

/// A statement.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Hive {
    /// `CREATE DATABASE`.
    CreateDatabase(NewDatabase),
    /// `DROP DATABASE`.
    DropDatabase {
        /// Its name.
        name: String,
        /// No error when it is not there.
        if_exists: bool,
        /// With its tables.
        cascade: bool,
    },
    /// `ALTER DATABASE … SET DBPROPERTIES`.
    AlterDatabase {
        /// Its name.
        name: String,
        /// What is set.
        properties: Vec<(String, String)>,
    },
    /// `CREATE EXTERNAL TABLE`.
    CreateTable(Box<NewTable>),
    /// `DROP TABLE`.
    DropTable {
        /// Which one.
        table: TableName,
        /// No error when it is not there.
        if_exists: bool,
    },
    /// `ALTER TABLE`.
    AlterTable {
        /// Which one.
        table: TableName,
        /// What is done.
        change: Change,
    },
    /// `MSCK REPAIR TABLE`.
    Repair(TableName),
    /// `SHOW PARTITIONS`.
    ShowPartitions {
        /// Of which table.
        table: TableName,
        /// Of which partitions.
        spec: Spec,
    },
    /// `SHOW TBLPROPERTIES`.
    ShowProperties {
        /// Of which table.
        table: TableName,
        /// One of them.
        name: Option<String>,
    },
    /// `SHOW CREATE TABLE`.
    ShowCreateTable(TableName),
    /// `SHOW CREATE VIEW`.
    ShowCreateView(TableName),
    /// `SHOW VIEWS`.
    ShowViews {
        /// In which database.
        database: String,
        /// Names that are wanted.
        pattern: Option<String>,
    },
    /// `DESCRIBE EXTENDED` and `FORMATTED`, of a table, a column or a partition.
    Describe {
        /// Of which table.
        table: TableName,
        /// How much is told.
        detail: Detail,
        /// One column.
        column: Option<String>,
        /// One partition.
        partition: Option<Spec>,
    },
    /// `DROP VIEW`.
    DropView {
        /// Which one.
        view: TableName,
        /// No error when it is not there.
        if_exists: bool,
    },
    /// `DEALLOCATE PREPARE`.
    Deallocate(String),
}

/// How much `DESCRIBE` tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Detail {
    /// Columns.
    Columns,
    /// All in one line.
    Extended,
    /// All in lines.
    Formatted,
}

/// A database that is to be made.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct NewDatabase {
    /// Its name.
    pub name: String,
    /// No error when it is there.
    pub if_not_exists: bool,
    /// What it is.
    pub comment: Option<String>,
    /// Where its tables are.
    pub location: Option<String>,
    /// What is written down of it.
    pub properties: Vec<(String, String)>,
}

/// A column with its Hive type.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewColumn {
    /// Its name.
    pub name: String,
    /// Its type: `array<int>`.
    pub kind: String,
    /// What it is.
    pub comment: Option<String>,
}

/// How the rows of a table are read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RowFormat {
    /// `SERDE 'library' WITH SERDEPROPERTIES`.
    Serde(String, Vec<(String, String)>),
    /// `DELIMITED`, as parameters of `LazySimpleSerDe`.
    Delimited(Vec<(String, String)>),
}

/// How the files of a table are stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Stored {
    /// `STORED AS PARQUET`.
    As(String),
    /// `STORED AS INPUTFORMAT … OUTPUTFORMAT`.
    Formats(String, String),
}

/// A table that is to be made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewTable {
    /// Its name.
    pub table: TableName,
    /// Whether it says `EXTERNAL`.
    pub external: bool,
    /// No error when it is there.
    pub if_not_exists: bool,
    /// Its columns.
    pub columns: Vec<NewColumn>,
    /// What it is.
    pub comment: Option<String>,
    /// Keys of its partitions.
    pub keys: Vec<NewColumn>,
    /// How rows are read.
    pub row_format: Option<RowFormat>,
    /// How files are stored.
    pub stored: Option<Stored>,
    /// Where they are.
    pub location: Option<String>,
    /// Its parameters.
    pub properties: Vec<(String, String)>,
}

/// What `ALTER TABLE` does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// `ADD PARTITION`.
    AddPartitions {
        /// No error when it is there.
        if_not_exists: bool,
        /// Each with its place.
        partitions: Vec<(Spec, Option<String>)>,
    },
    /// `DROP PARTITION`.
    DropPartitions {
        /// No error when it is not there.
        if_exists: bool,
        /// Which ones.
        partitions: Vec<Spec>,
    },
    /// `PARTITION … RENAME TO PARTITION`.
    RenamePartition(Spec, Spec),
    /// `ADD COLUMNS`.
    AddColumns(Vec<NewColumn>),
    /// `REPLACE COLUMNS`.
    ReplaceColumns(Vec<NewColumn>),
    /// `CHANGE COLUMN`.
    Column {
        /// Which one.
        from: String,
        /// What it becomes.
        to: NewColumn,
    },
    /// `SET TBLPROPERTIES`.
    SetProperties(Vec<(String, String)>),
    /// `SET LOCATION`, of one partition or of the table.
    SetLocation(Option<Spec>, String),
}

impl Hive {
    /// Reads a statement.
    pub fn parse(kind: Statement, tokens: &[TokenWithSpan], database: &str) -> Read<Self> {
        let mut words = Words::new(tokens);
        let parsed = match kind {
            Statement::CreateDatabase => Self::CreateDatabase(new_database(&mut words)?),
            Statement::DropDatabase => drop_database(&mut words)?,
            Statement::AlterDatabase => alter_database(&mut words)?,
            Statement::CreateTable => Self::CreateTable(Box::new(new_table(&mut words, database)?)),
            Statement::DropTable => {
                words.expect(&["DROP", "TABLE"])?;
                let if_exists = words.if_exists(false)?;
                Self::DropTable { if_exists, table: words.table(database)? }
            }
            Statement::DropView => {
                words.expect(&["DROP", "VIEW"])?;
                let if_exists = words.if_exists(false)?;
                Self::DropView { if_exists, view: words.table(database)? }
            }
            Statement::MsckRepair => {
                words.expect(&["MSCK", "REPAIR", "TABLE"])?;
                Self::Repair(words.table(database)?)
            }
            Statement::ShowPartitions => {
                words.expect(&["SHOW", "PARTITIONS"])?;
                let table = words.table(database)?;
                let spec = if words.keyword(&["PARTITION"]) { spec(&mut words)? } else { vec![] };
                Self::ShowPartitions { table, spec }
            }
            Statement::ShowTableProperties => {
                words.expect(&["SHOW", "TBLPROPERTIES"])?;
                let table = words.table(database)?;
                let named = words.sign(&Token::LParen);
                let name = named.then(|| words.expect_text()).transpose()?;
                if named {
                    words.expect_sign(&Token::RParen)?;
                }
                Self::ShowProperties { table, name }
            }
            Statement::ShowCreateTable => {
                words.expect(&["SHOW", "CREATE", "TABLE"])?;
                Self::ShowCreateTable(words.table(database)?)
            }
            Statement::ShowCreateView => {
                words.expect(&["SHOW", "CREATE", "VIEW"])?;
                Self::ShowCreateView(words.table(database)?)
            }
            Statement::ShowViews => {
                words.expect(&["SHOW", "VIEWS"])?;
                let named = words.keyword(&["IN", "FROM"]);
                let database = if named { words.name()? } else { database.to_owned() };
                words.keyword(&["LIKE"]);
                Self::ShowViews { database, pattern: words.text() }
            }
            Statement::Describe => describe(&mut words, database)?,
            Statement::Deallocate => {
                words.expect(&["DEALLOCATE", "PREPARE"])?;
                Self::Deallocate(words.name()?)
            }
            _ => alter_table(&mut words, database)?,
        };
        words.end()?;
        Ok(parsed)
    }
}

fn new_database(words: &mut Words<'_>) -> Read<NewDatabase> {
    words.expect(&["CREATE"])?;
    words.keyword(&["DATABASE", "SCHEMA"]);
    let if_not_exists = words.if_exists(true)?;
    let mut made = NewDatabase { name: words.name()?, if_not_exists, ..NewDatabase::default() };
    loop {
        if words.keyword(&["COMMENT"]) {
            made.comment = Some(words.expect_text()?);
        } else if words.keyword(&["LOCATION"]) {
            made.location = Some(words.expect_text()?);
        } else if words.keywords(&["WITH", "DBPROPERTIES"]) {
            made.properties = words.properties()?;
        } else {
            return Ok(made);
        }
    }
}

fn drop_database(words: &mut Words<'_>) -> Read<Hive> {
    words.expect(&["DROP"])?;
    words.keyword(&["DATABASE", "SCHEMA"]);
    let if_exists = words.if_exists(false)?;
    let name = words.name()?;
    let cascade = words.keyword(&["CASCADE"]);
    if !cascade {
        words.keyword(&["RESTRICT"]);
    }
    Ok(Hive::DropDatabase { name, if_exists, cascade })
}

fn alter_database(words: &mut Words<'_>) -> Read<Hive> {
    words.expect(&["ALTER"])?;
    words.keyword(&["DATABASE", "SCHEMA"]);
    let name = words.name()?;
    words.expect(&["SET", "DBPROPERTIES"])?;
    Ok(Hive::AlterDatabase { name, properties: words.properties()? })
}

/// `name type COMMENT 'text'`; a type that no table can have is refused.
fn column(words: &mut Words<'_>) -> Read<NewColumn> {
    let name = words.name()?;
    let before = words.unexpected("a type of Hive");
    let kind = words.hive_type()?;
    if let Err(what) = arrow_type(&kind) {
        let known = ["uniontype", "interval"].iter().any(|other| kind.starts_with(other));
        return Err(if known { failed(format!("NOT_SUPPORTED: {what}")) } else { before });
    }
    let comment = words.keyword(&["COMMENT"]).then(|| words.expect_text()).transpose()?;
    Ok(NewColumn { name, kind, comment })
}

fn new_table(words: &mut Words<'_>, database: &str) -> Read<NewTable> {
    words.expect(&["CREATE"])?;
    let external = words.keyword(&["EXTERNAL"]);
    words.expect(&["TABLE"])?;
    let if_not_exists = words.if_exists(true)?;
    let mut made = NewTable {
        table: words.table(database)?,
        external,
        if_not_exists,
        columns: words.list(column)?,
        comment: None,
        keys: vec![],
        row_format: None,
        stored: None,
        location: None,
        properties: vec![],
    };
    while !words.is_at_end() {
        if words.keyword(&["COMMENT"]) {
            made.comment = Some(words.expect_text()?);
        } else if words.keywords(&["PARTITIONED", "BY"]) {
            made.keys = words.list(column)?;
        } else if words.keywords(&["CLUSTERED", "BY"]) {
            let what = "NOT_SUPPORTED: the embedded cloud makes no tables with buckets";
            return Err(failed(what));
        } else if words.keywords(&["ROW", "FORMAT"]) {
            made.row_format = Some(row_format(words)?);
        } else if words.keywords(&["WITH", "SERDEPROPERTIES"]) {
            let given = words.properties()?;
            match &mut made.row_format {
                Some(RowFormat::Serde(_, own) | RowFormat::Delimited(own)) => own.extend(given),
                None => made.row_format = Some(RowFormat::Delimited(given)),
            }
        } else if words.keywords(&["STORED", "AS"]) {
            made.stored = Some(stored(words)?);
        } else if words.keyword(&["LOCATION"]) {
            made.location = Some(words.expect_text()?);
        } else if words.keyword(&["TBLPROPERTIES"]) {
            made.properties = words.properties()?;
        } else {
            let wanted = "'COMMENT', 'LOCATION', 'PARTITIONED', 'ROW', 'STORED', 'TBLPROPERTIES'";
            return Err(words.unexpected(wanted));
        }
    }
    Ok(made)
}

fn stored(words: &mut Words<'_>) -> Read<Stored> {
    if !words.keyword(&["INPUTFORMAT"]) {
        return Ok(Stored::As(words.name()?));
    }
    let input = words.expect_text()?;
    words.expect(&["OUTPUTFORMAT"])?;
    Ok(Stored::Formats(input, words.expect_text()?))
}

fn row_format(words: &mut Words<'_>) -> Read<RowFormat> {
    if words.keyword(&["SERDE"]) {
        let library = words.expect_text()?;
        let given = words.keywords(&["WITH", "SERDEPROPERTIES"]);
        let properties = if given { words.properties()? } else { vec![] };
        return Ok(RowFormat::Serde(library, properties));
    }
    words.expect(&["DELIMITED"])?;
    let mut properties: Vec<(String, String)> = vec![];
    let mut set = |name: &str, value: String| properties.push((name.to_owned(), value));
    loop {
        if words.keywords(&["FIELDS", "TERMINATED", "BY"]) {
            let delimiter = words.expect_text()?;
            set("field.delim", delimiter.clone());
            set("serialization.format", delimiter);
            if words.keywords(&["ESCAPED", "BY"]) {
                set("escape.delim", words.expect_text()?);
            }
        } else if words.keywords(&["COLLECTION", "ITEMS", "TERMINATED", "BY"]) {
            // Hive's own spelling.
            set("colelction.delim", words.expect_text()?);
        } else if words.keywords(&["MAP", "KEYS", "TERMINATED", "BY"]) {
            set("mapkey.delim", words.expect_text()?);
        } else if words.keywords(&["LINES", "TERMINATED", "BY"]) {
            set("line.delim", words.expect_text()?);
        } else if words.keywords(&["NULL", "DEFINED", "AS"]) {
            set("serialization.null.format", words.expect_text()?);
        } else {
            return Ok(RowFormat::Delimited(properties));
        }
    }
}

fn spec(words: &mut Words<'_>) -> Read<Spec> {
    words.list(|words| {
        let key = words.name()?;
        words.expect_sign(&Token::Eq)?;
        Ok((key, words.value()?))
    })
}

fn alter_table(words: &mut Words<'_>, database: &str) -> Read<Hive> {
    words.expect(&["ALTER", "TABLE"])?;
    let table = words.table(database)?;
    let change = if words.keywords(&["ADD", "COLUMNS"]) {
        Change::AddColumns(words.list(column)?)
    } else if words.keywords(&["REPLACE", "COLUMNS"]) {
        Change::ReplaceColumns(words.list(column)?)
    } else if words.keyword(&["CHANGE"]) {
        words.keyword(&["COLUMN"]);
        let from = words.name()?;
        Change::Column { from, to: column(words)? }
    } else if words.keywords(&["SET", "TBLPROPERTIES"]) {
        Change::SetProperties(words.properties()?)
    } else if words.keywords(&["SET", "LOCATION"]) {
        Change::SetLocation(None, words.expect_text()?)
    } else if words.keyword(&["ADD"]) {
        let if_not_exists = words.if_exists(true)?;
        Change::AddPartitions { if_not_exists, partitions: added(words)? }
    } else if words.keyword(&["DROP"]) {
        let if_exists = words.if_exists(false)?;
        let mut partitions = vec![];
        loop {
            words.expect(&["PARTITION"])?;
            partitions.push(spec(words)?);
            if !words.sign(&Token::Comma) {
                break;
            }
        }
        Change::DropPartitions { if_exists, partitions }
    } else if words.keyword(&["PARTITION"]) {
        let from = spec(words)?;
        if words.keywords(&["SET", "LOCATION"]) {
            Change::SetLocation(Some(from), words.expect_text()?)
        } else {
            words.expect(&["RENAME", "TO", "PARTITION"])?;
            Change::RenamePartition(from, spec(words)?)
        }
    } else if words.keywords(&["RENAME", "TO"]) {
        return Err(failed("Query type not supported by DDL engine."));
    } else {
        return Err(words.unexpected("'ADD', 'CHANGE', 'DROP', 'PARTITION', 'REPLACE', 'SET'"));
    };
    Ok(Hive::AlterTable { table, change })
}

fn added(words: &mut Words<'_>) -> Read<Vec<(Spec, Option<String>)>> {
    let mut partitions = vec![];
    loop {
        words.expect(&["PARTITION"])?;
        let spec = spec(words)?;
        let placed = words.keyword(&["LOCATION"]);
        partitions.push((spec, placed.then(|| words.expect_text()).transpose()?));
        words.sign(&Token::Comma);
        if words.is_at_end() {
            return Ok(partitions);
        }
    }
}

fn describe(words: &mut Words<'_>, database: &str) -> Read<Hive> {
    words.keyword(&["DESCRIBE", "DESC"]);
    let detail = if words.keyword(&["EXTENDED"]) {
        Detail::Extended
    } else if words.keyword(&["FORMATTED"]) {
        Detail::Formatted
    } else {
        Detail::Columns
    };
    words.keyword(&["TABLE"]);
    let table = words.table(database)?;
    let partition = words.keyword(&["PARTITION"]).then(|| spec(words)).transpose()?;
    let column = (!words.is_at_end()).then(|| words.name()).transpose()?;
    if detail == Detail::Columns && column.is_none() && partition.is_none() {
        return Err(malformed("line 1:1: DESCRIBE"));
    }
    Ok(Hive::Describe { table, detail, column, partition })
}

#[cfg(test)]
mod tests {
    use datafusion::sql::sqlparser::dialect::GenericDialect;
    use datafusion::sql::sqlparser::tokenizer::Tokenizer;

    use super::*;

    fn parse(sql: &str) -> Read<Hive> {
        let tokens = Tokenizer::new(&GenericDialect {}, sql).tokenize_with_location();
        Hive::parse(Statement::of(sql), &tokens.expect("tokens"), "own")
    }

    fn table(name: &str) -> TableName {
        TableName { database: "own".to_owned(), name: name.to_owned() }
    }

    #[test]
    fn tables_are_read_with_all_their_clauses() {
        let sql = "CREATE EXTERNAL TABLE IF NOT EXISTS `own`.`T` (\
                   `A` int COMMENT 'it''s', b array<struct<c:decimal(10,2)>>) COMMENT \"words\" \
                   PARTITIONED BY (`p` string) ROW FORMAT DELIMITED FIELDS TERMINATED BY '\\t' \
                   ESCAPED BY '\\\\' LINES TERMINATED BY '\\n' NULL DEFINED AS '' \
                   STORED AS TEXTFILE LOCATION 's3://b/p/' TBLPROPERTIES ('k'='v', \"l\"=\"1\")";
        let Ok(Hive::CreateTable(made)) = parse(sql) else { panic!("{:?}", parse(sql)) };
        assert_eq!(made.table, table("t"));
        assert!(made.external && made.if_not_exists);
        let columns: Vec<_> =
            made.columns.iter().map(|c| (c.name.as_str(), c.kind.as_str())).collect();
        assert_eq!(columns, [("a", "int"), ("b", "array<struct<c:decimal(10,2)>>")]);
        assert_eq!(made.columns[0].comment.as_deref(), Some("it's"));
        assert_eq!(made.keys[0].name, "p");
        let Some(RowFormat::Delimited(properties)) = &made.row_format else { panic!("delimited") };
        let pairs: Vec<_> = properties.iter().map(|(n, v)| (n.as_str(), v.as_str())).collect();
        assert_eq!(
            pairs,
            [
                ("field.delim", "\t"),
                ("serialization.format", "\t"),
                ("escape.delim", "\\"),
                ("line.delim", "\n"),
                ("serialization.null.format", ""),
            ]
        );
        assert_eq!(made.properties[1], ("l".to_owned(), "1".to_owned()));
    }

    #[test]
    fn partitions_are_read_by_their_keys() {
        let spec = |value: &str| vec![("p".to_owned(), value.to_owned())];
        assert_eq!(
            parse(
                "ALTER TABLE t ADD IF NOT EXISTS PARTITION (p='1') LOCATION 's3://b/1/' \
                 PARTITION (p=2)"
            ),
            Ok(Hive::AlterTable {
                table: table("t"),
                change: Change::AddPartitions {
                    if_not_exists: true,
                    partitions: vec![(spec("1"), Some("s3://b/1/".to_owned())), (spec("2"), None)],
                },
            })
        );
        assert_eq!(
            parse("ALTER TABLE t PARTITION (p=1) RENAME TO PARTITION (P=DATE '2019-01-01')"),
            Ok(Hive::AlterTable {
                table: table("t"),
                change: Change::RenamePartition(spec("1"), spec("2019-01-01")),
            })
        );
    }

    #[test]
    fn what_is_not_expected_is_told_with_its_place() {
        for (sql, message) in [
            ("DROP TABLE", "line 1:11: mismatched input '<EOF>'. Expecting: a name"),
            ("DROP TABLE t u", "line 1:14: mismatched input 'u'. Expecting: <EOF>"),
            (
                "CREATE EXTERNAL TABLE t (a strin)",
                "line 1:28: mismatched input 'strin'. Expecting: a type of Hive",
            ),
            ("ALTER TABLE t ADD PARTITION", "line 1:28: mismatched input '<EOF>'. Expecting: '('"),
        ] {
            assert_eq!(parse(sql).map_err(|e| e.message), Err(message.to_owned()), "{sql}");
        }
    }
}
