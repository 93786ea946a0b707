//! What cannot be answered, and how the refusal says it.

use serde_json::{Value, json};
use steppe_server::config::Limits;

use super::{BUCKET, JSON, LOGISTIC, Server, entities, infer, refused, row, rows, tensors, with};

#[tokio::test]
async fn a_row_that_cannot_be_used_is_named_with_its_column() {
    let server = Server::start().await;
    let bad = |second: Value| rows(&[row(), with(second)]);
    let text = |from: &str, to: &str| rows(&[row(), row()]).replacen(from, to, 2);
    let lacks = {
        let mut row = row();
        row.as_object_mut().expect("it").remove("bmi");
        row
    };
    let row_is = |said| (422, "bad-row", said);
    let cases = [
        (
            bad(json!({ "age": "61" })),
            row_is("rows[1]: `age` is `\"61\"`; expected a finite number"),
        ),
        (bad(json!({ "age": true })), row_is("rows[1]: `age` is `true`; expected a finite number")),
        (bad(json!({ "age": [1] })), row_is("rows[1]: `age` is a list; expected a finite number")),
        (bad(json!({ "sex": 1 })), row_is("rows[1]: `sex` is `1`; expected a text")),
        (bad(json!({ "sex": {} })), row_is("rows[1]: `sex` is an object; expected a text")),
        (bad(json!({ "smoker": 2 })), row_is("rows[1]: `smoker` is `2`; expected true or false")),
        (bad(json!({ "smoker": "yes" })), row_is("`smoker` is `\"yes\"`; expected true or false")),
        (bad(json!({ "seen": "2025-02-30" })), row_is("expected a date, such as `2026-01-31`")),
        (bad(json!({ "seen": 20_151 })), row_is("`seen` is `20151`; expected a date")),
        (bad(json!({ "agee": 3 })), row_is("the model has no column `agee`; did you mean `age`?")),
        (bad(json!({ "id": ["p1"] })), row_is("rows[1]: what it is about is neither a text")),
        (rows(&[row(), lacks]), row_is("rows[1]: lacks `bmi`; send null where a value is missing")),
        (rows(&[row(), json!(5)]), row_is("rows[1]: cannot be read: invalid type")),
        (text("61", "1e400"), row_is("rows[0]: `age` cannot be read: number out of range")),
        (text("\"bmi\"", "\"age\""), row_is("rows[0]: has `age` twice")),
    ];
    let cases = cases.map(|(body, (status, problem, said))| (body, status, problem, said));
    refused(&server, JSON, "/predict", &cases).await;
    let lines = [
        (format!("{}\n\n{}", row(), with(json!({ "age": "x" }))), 422, "bad-row", "rows[1]: `age`"),
        (format!("{}\n7", row()), 422, "bad-row", "rows[1]: the line is no JSON object"),
        (format!("{0} {0}", row()), 422, "bad-row", "trailing characters"),
        (row().to_string().replace("61", "NaN"), 422, "bad-row", "or null where it is missing"),
        ("\n \n".to_owned(), 400, "invalid-request", "the body has no rows"),
    ];
    refused(&server, "application/jsonlines", "/invocations", &lines).await;
}

#[tokio::test]
async fn a_request_that_is_none_says_what_to_send() {
    let server = Server::start().await;
    let invalid = |body: String, said| (body, 400, "invalid-request", said);
    let both = json!({ "rows": [row()], "entities": ["p1"] });
    let keyed = json!({ "rows": [row()], "bucket_name": BUCKET });
    let nameless = json!({ "entities": ["p1"] });
    let cases = [
        invalid("{".to_owned(), "the body is not a request"),
        invalid("{}".to_owned(), "send `rows`, or `entities` with `dataset_key`"),
        invalid(rows(&[]), "`rows` is empty; send at least one row"),
        invalid(r#"{"rows": null}"#.to_owned(), "send `rows`, or `entities`"),
        invalid(both.to_string(), "send one of them"),
        invalid(keyed.to_string(), "go with `entities`; leave them out"),
        invalid(nameless.to_string(), "`entities` needs `dataset_key` and `bucket_name`"),
        invalid(r#"{"rowz": []}"#.to_owned(), "unknown field `rowz`"),
        invalid(r#"{"rows": [], "rows": []}"#.to_owned(), "duplicate field `rows`"),
        invalid(rows(&[row()]).replace("61", "NaN"), "send null where a value is missing"),
        invalid(rows(&[row()]).replace("61", "-Infinity"), "send null where a value is missing"),
        invalid(json!({ "rows": [row()], "model_version": "x" }).to_string(), "is not a version"),
    ];
    refused(&server, JSON, "/predict", &cases).await;
    let version = json!({ "rows": [{}], "model_version": "0123456789abcdef" });
    let ours = |body: Value, status, problem, said| (body.to_string(), status, problem, said);
    let elsewhere = |key: &str, bucket: &str| {
        let mut body = entities(&["p1"]);
        (body["dataset_key"], body["bucket_name"]) = (json!(key), json!(bucket));
        body
    };
    let cases = [
        ours(version, 409, "wrong-model-version", "is not in service"),
        ours(elsewhere("processed/people/", "x"), 403, "wrong-bucket", "reads only `data`"),
        ours(elsewhere("nowhere/", BUCKET), 404, "no-data-set", "run the cleaning job first"),
        ours(elsewhere("../x", BUCKET), 400, "invalid-request", "is not a key"),
        ours(entities(&["p1", "p0001"]), 404, "unknown-entity", "no row about `p0001`"),
        ours(entities(&["P 17"]), 404, "unknown-entity", "did you mean `p17`?"),
        ours(entities(&["somebody"]), 404, "unknown-entity", "has 300 others"),
    ];
    refused(&server, JSON, "/predict", &cases).await;
    for (path, kind) in [("/predict", "text/csv"), ("/invocations", "text/plain")] {
        let answer = server.post(path, kind, "x").await;
        assert_eq!((answer.status, &answer.json()["type"]), (415, &json!("/problems/not-json")));
    }
}

#[tokio::test]
async fn lines_of_csv_that_cannot_be_used_are_named() {
    let server = Server::start().await;
    let bad = |body: &str, said| (body.to_owned(), 422, "bad-row", said);
    let invalid = |body: &str, said| (body.to_owned(), 400, "invalid-request", said);
    let good = "f,61,true,2025-03-04,27.5\n";
    let names = "sex,age,smoker,seen,bmi\n";
    let cases = [
        bad(&format!("{good}f,x,true,2025-03-04,1"), "rows[1]: `age` is `x`; expected a finite"),
        bad("f,nan,true,2025-03-04,1", "expected a finite number, or nothing where it is missing"),
        bad("f,1e999,true,2025-03-04,1", "`age` is `1e999`; expected a finite number"),
        bad("f,61,yes,2025-03-04,1", "`smoker` is `yes`; expected true or false"),
        bad("f,61,true,04.03.2025,1", "`seen` is `04.03.2025`; expected a date"),
        bad("f,61\n", "rows[0]: has 2 fields; expected 5: sex,age,smoker,seen,bmi"),
        bad(&format!("{names}{good}f,61\n"), "rows[1]: has 2 fields; expected 5: as the line of"),
        invalid("", "the body has no rows"),
        invalid(names, "a line of names and no rows"),
        invalid("sex,age,smoker,seen\nf,61,true,2025-03-04\n", "the line of names lacks `bmi`"),
        invalid("sex,age,smoker,seen,bmi,age\n", "the line of names has `age` twice"),
        invalid("sex,age,smoker,seen,bmi,bmj\n", "the model has no column `bmj`; did you mean"),
        invalid("id,id,sex,age,smoker,seen,bmi\n", "says twice what a row is about"),
    ];
    refused(&server, "text/csv", "/invocations", &cases).await;
    let latin =
        server.post("/invocations", "text/csv", b"\xe4,61,true,2025-03-04,1".to_vec()).await;
    assert!(latin.status == 400 && latin.text().contains("is no CSV"), "{}", latin.text());
}

#[tokio::test]
async fn tensors_that_disagree_are_refused() {
    let server = Server::start().await;
    let changed = |place: usize, change: Value| {
        let mut inputs = tensors();
        for (name, value) in change.as_object().expect("an object") {
            inputs[place][name] = value.clone();
        }
        json!({ "inputs": inputs })
    };
    let without = |place: usize| {
        let mut inputs = tensors();
        inputs.as_array_mut().expect("a list").remove(place);
        json!({ "inputs": inputs })
    };
    for (body, said) in [
        (changed(0, json!({ "data": [1, 2] })), "input `sex` has data that are not texts"),
        (changed(0, json!({ "data": ["f"] })), "input `sex` has 1 values"),
        (changed(0, json!({ "datatype": "FP64" })), "has the type FP64; expected BYTES"),
        (changed(1, json!({ "datatype": "INT64" })), "has the type INT64; expected FP64 or FP32"),
        (changed(1, json!({ "data": ["61", "61"] })), "input `age` has data that are not numbers"),
        (changed(1, json!({ "data": [61] })), "input `age` has 1 values, its shape [2]"),
        (changed(1, json!({ "shape": [1, 2] })), "expected [rows] or [rows, 1]"),
        (changed(1, json!({ "shape": [1], "data": [61] })), "`age` has 1 of 2 rows"),
        (changed(2, json!({ "data": [1, 0.5] })), "input `smoker` has 0.5; expected 0 or 1"),
        (changed(1, json!({ "name": "weight" })), "the model has no column `weight`"),
        (without(4), "the input `bmi` is needed, once"),
        (json!({ "inputs": [] }), "the input `sex` is needed, once"),
        (json!({ "inputs": tensors(), "outputs": [{ "name": "x" }] }), "there is no output `x`"),
    ] {
        let answer = infer(&server, &body).await;
        let error = answer.json()["error"].as_str().unwrap_or_default().to_owned();
        assert!(answer.status == 400 && error.contains(said), "{body}: {}", answer.text());
    }
    let text = json!({ "inputs": tensors() }).to_string().replace("27.5", "1e400");
    let answer = server.post("/v2/models/risk/infer", JSON, text).await;
    assert!(answer.status == 400 && answer.text().contains("out of range"), "{}", answer.text());
    let version = "/v2/models/risk/versions/0123456789abcdef/infer";
    let answer = server.post(version, JSON, json!({ "inputs": tensors() }).to_string()).await;
    assert_eq!(answer.status, 409);
}

#[tokio::test]
async fn requests_stay_within_their_bounds() {
    let small = Limits { body_bytes: 500, ..Limits::default() };
    let server = Server::with(&LOGISTIC, small).await;
    let large = rows(&vec![row(); 10]);
    refused(&server, JSON, "/predict", &[(large, 413, "body-too-large", "larger than 500")]).await;

    let few = Limits { answer_values: 20, ..Limits::default() };
    let server = Server::with(&LOGISTIC, few).await;
    let twenty = json!({ "rows": vec![row(); 20] });
    assert_eq!(server.predict(&twenty).await.status, 200);
    let explained = json!({ "rows": vec![row(); 20], "explain": true }).to_string();
    let too_large = (explained, 422, "answer-too-large", "without quantiles or reasons");
    refused(&server, JSON, "/predict", &[too_large]).await;

    let none = Limits { working: 0, waiting: 0, ..Limits::default() };
    let server = Server::with(&LOGISTIC, none).await;
    let answer = server.predict(&json!({ "rows": [row()] })).await;
    assert_eq!((answer.status, answer.headers["retry-after"].as_bytes()), (429, &b"1"[..]));

    let wide = Limits { body_bytes: 10_000_000, ..Limits::default() };
    let server = Server::with(&LOGISTIC, wide).await;
    let many = "f,61,true,2025-03-04,27.5\n".repeat(10_001);
    let cases = [(many, 400, "invalid-request", "more than 10000 rows in one request")];
    refused(&server, "text/csv", "/invocations", &cases).await;
    let many = [(rows(&vec![row(); 10_001]), 400, "invalid-request", "more than 10000 rows")];
    refused(&server, JSON, "/predict", &many).await;
}
