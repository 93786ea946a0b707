//! As-of joins, and times of several zones, which are never compared.

use steppe_spec::Manifest;

use crate::etl::{plan_of, run};
use crate::inputs::rows;

const MANIFEST: &str = r#"schema_version = 2
name = "trading"

[[inputs]]
name = "trades"
unique = ["symbol", "at"]
columns = { symbol = "string", at = "timestamp", price = "double" }

[[inputs]]
name = "quotes"
unique = ["symbol", "at"]
columns = { symbol = "string", at = "timestamp", bid = "double", venue = "string" }

[[tables]]
name = "priced"
as_of = { left = "trades", right = "quotes", on = "at", by = ["symbol"] }
columns = {symbol = "string", at = "timestamp", price = "double", bid = "double", venue = "string" }
keys = ["symbol", "at"]

[[tasks]]
name = "price"
table = "priced"
series = "symbol"
time = "at"
target = "price"
frequency = "hourly"
"#;

const TRADES: &[u8] = b"symbol,at,price\n\
    A,2024-01-02 10:00:00,1\n\
    A,2024-01-02 11:00:00,2\n\
    A,2024-01-02 12:00:00,3\n\
    B,2024-01-02 11:00:00,4\n\
    C,2024-01-02 11:00:00,5\n\
    ,2024-01-02 11:00:00,6\n";
/// The newest quote of A at noon has no bid, which is no reason to take an older one.
const QUOTES: &[u8] = b"symbol,at,bid,venue\n\
    A,2024-01-02 10:30:00,0.5,x\n\
    A,2024-01-02 11:00:00,1.5,y\n\
    A,2024-01-02 11:59:59.999999,,z\n\
    A,2024-01-02 12:00:01,9,later\n\
    B,2024-01-02 09:00:00,3.5,x\n\
    ,2024-01-02 09:00:00,7,nobody\n";

fn priced(manifest: &str) -> Vec<String> {
    let manifest = Manifest::parse("trading/pipeline.toml", manifest).expect("valid");
    let given: [(&str, &str, &[u8]); 2] =
        [("trades", "trades.csv", TRADES), ("quotes", "quotes.csv", QUOTES)];
    rows(run(&plan_of(&manifest, &[]), &given).expect("cleaned").table("priced"))
}

fn defect(from: &str, to: &str) -> String {
    assert!(MANIFEST.contains(from), "{from}");
    let manifest = MANIFEST.replacen(from, to, 1);
    Manifest::parse("trading/pipeline.toml", &manifest).expect_err("refused").to_string()
}

#[test]
fn each_row_gets_the_newest_row_by_then() {
    let expected = [
        "null 2024-01-02 11:00:00.000000 +00:00 6.0 null null",
        "\"A\" 2024-01-02 10:00:00.000000 +00:00 1.0 null null",
        "\"A\" 2024-01-02 11:00:00.000000 +00:00 2.0 1.5 \"y\"",
        "\"A\" 2024-01-02 12:00:00.000000 +00:00 3.0 null \"z\"",
        "\"B\" 2024-01-02 11:00:00.000000 +00:00 4.0 3.5 \"x\"",
        "\"C\" 2024-01-02 11:00:00.000000 +00:00 5.0 null null",
    ];
    assert_eq!(priced(MANIFEST), expected);
    let older = priced(&MANIFEST.replace("by = [\"symbol\"]", "by = [\"symbol\"], exact = false"));
    assert_eq!(older[2], "\"A\" 2024-01-02 11:00:00.000000 +00:00 2.0 0.5 \"x\"");
    assert_eq!([&older[..2], &older[3..]], [&expected[..2], &expected[3..]]);
}

#[test]
fn what_does_not_meet_is_told_with_its_place() {
    let cases = [
        ("left = \"trades\"", "left = \"trade\"", "expected an input, or a table before `priced`"),
        (
            "right = \"quotes\"",
            "right = \"priced\"",
            "expected an input, or a table before `priced`",
        ),
        ("on = \"at\"", "on = \"venue\"", "the table `trades` has no such column"),
        ("on = \"at\", by = [\"symbol\"]", "on = \"symbol\"", "expected a time or a whole number"),
        ("by = [\"symbol\"] }", "by = [] }", "`quotes` may have several rows of the same at"),
        (
            "bid = \"double\", venue = \"string\" }\nkeys",
            "bid = \"int\" }\nkeys",
            "`bid` is `double` where",
        ),
        (
            "venue = \"string\" }\nkeys",
            "vendor = \"string\" }\nkeys",
            "neither `trades` nor `quotes`",
        ),
        ("as_of = {", "sql = \"x.sql\"\nas_of = {", "made by either `sql` or `as_of`"),
        (
            "at = \"timestamp\", bid",
            "at = \"date\", bid",
            "is `timestamp` in `trades` and `date` in",
        ),
    ];
    for (from, to, told) in cases {
        let found = defect(from, to);
        assert!(found.contains(told), "{to}: {found}");
        assert!(found.contains("trading/pipeline.toml:"), "{found}");
    }
    let zoned = MANIFEST
        .replacen(
            "at = \"timestamp\", price",
            "at = { type = \"timestamp\", zone = \"UTC\" }, price",
            1,
        )
        .replacen(
            "at = \"timestamp\", bid",
            "at = { type = \"timestamp\", zone = \"Asia/Almaty\" }, bid",
            1,
        );
    let found = Manifest::parse("trading/pipeline.toml", &zoned).expect_err("refused").to_string();
    assert!(found.contains("`at` is a time of UTC in `trades` and of Asia/Almaty in"), "{found}");
}

/// `readings` has hours of London, `weather` hours of UTC.
const ZONES: &str = r#"schema_version = 2
name = "zones"

[[inputs]]
name = "readings"
unique = ["meter", "at"]

[inputs.columns]
meter = "string"
at = { type = "timestamp", zone = "UTC", as = "Europe/London" }
kwh = "double"

[[inputs]]
name = "weather"
unique = ["at"]
columns = { at = { type = "timestamp", zone = "UTC" }, t = "double" }

[[inputs]]
name = "holidays"
unique = ["day"]
columns = { day = "date" }

[[tables]]
name = "hours"
sql = "hours.sql"
columns = { meter = "string", at = "timestamp", kwh = "double" }
keys = ["meter", "at"]

[[tables]]
name = "joined"
sql = "joined.sql"
columns = { meter = "string", at = "timestamp", kwh = "double" }
keys = ["meter", "at"]

[[tasks]]
name = "load"
table = "joined"
series = "meter"
time = "at"
target = "kwh"
frequency = "hourly"
"#;

fn joined(hours: &str, sql: &str) -> Result<Vec<String>, String> {
    let manifest = Manifest::parse("zones/pipeline.toml", ZONES).expect("valid");
    let plan = plan_of(&manifest, &[("hours.sql", hours), ("joined.sql", sql)]);
    let given: [(&str, &str, &[u8]); 3] = [
        ("readings", "r.csv", b"meter,at,kwh\nm,2024-07-01 12:00:00,1.5\n"),
        ("weather", "w.csv", b"at,t\n2024-07-01 12:00:00,20\n2024-07-01 13:00:00,21\n"),
        ("holidays", "h.csv", b"day\n2024-07-01\n"),
    ];
    run(&plan, &given).map(|cleaned| rows(cleaned.table("joined")))
}

const HOURS: &str = "SELECT meter, at, kwh FROM readings";

#[test]
fn times_of_two_zones_are_not_compared() {
    let refused = [
        "SELECT r.meter, r.at, r.kwh FROM readings r JOIN weather w ON r.at = w.at",
        "SELECT r.meter, r.at, r.kwh FROM readings r JOIN weather w USING (at)",
        "SELECT r.meter, r.at, w.t AS kwh FROM readings r, weather w WHERE r.at = w.at",
        "SELECT r.meter, r.at, r.kwh FROM readings r LEFT ANTI JOIN weather w ON r.at = w.at",
        "SELECT r.meter, r.at, w.t AS kwh FROM readings r JOIN weather w \
         ON CAST(r.at AS DATE) = CAST(w.at AS DATE)",
        "WITH days AS (SELECT CAST(at AS DATE) AS day, MAX(t) AS t FROM weather GROUP BY at) \
         SELECT h.meter, h.at, d.t AS kwh FROM hours h JOIN days d ON d.day = CAST(h.at AS DATE)",
        "SELECT meter, at, kwh FROM hours WHERE at IN (SELECT at FROM weather)",
        "SELECT meter, at, kwh FROM hours h WHERE at < (SELECT MAX(at) FROM weather)",
        "SELECT meter, at, kwh FROM hours UNION ALL SELECT 'w' AS meter, at, t AS kwh FROM weather",
    ];
    for sql in refused {
        let told = joined(HOURS, sql).expect_err(sql);
        assert!(told.contains("the SQL of the table `joined`"), "{sql}: {told}");
        assert!(told.contains("UTC") && told.contains("Europe/London"), "{sql}: {told}");
        assert!(told.contains("hint: bring both to one zone"), "{sql}: {told}");
    }
    let right = [
        "SELECT r.meter, r.at, r.kwh FROM readings r JOIN weather w \
         ON r.at = from_utc_timestamp(w.at, 'Europe/London')",
        "SELECT r.meter, r.at, r.kwh FROM readings r JOIN holidays h ON CAST(r.at AS DATE) = h.day",
        "SELECT r.meter, r.at, r.kwh FROM readings r JOIN hours h ON r.at = h.at",
        "SELECT r.meter, r.at, r.kwh FROM readings r JOIN weather w ON w.t = 20",
    ];
    for sql in right {
        let found = joined(HOURS, sql).expect(sql);
        assert_eq!(found, ["\"m\" 2024-07-01 13:00:00.000000 +00:00 1.5"], "{sql}");
    }
}
