//! Rows as lines, of values and of objects, and as tensors.

use axum::body::Body;
use axum::http::Request;
use serde_json::{Value, json};
use steppe_wire::score::ScoredRow;

use super::{COLUMNS, JSON, Server, expected, infer, row, tensors, with};

#[tokio::test]
async fn lines_of_csv_are_answered_in_lines() {
    let server = Server::start().await;
    let line = format!("{}\n", expected());
    let ask = |body: &'static str| server.post("/invocations", "text/csv; charset=utf-8", body);
    for (what, body) in [
        ("by place", "f,61,true,2025-03-04,27.5\n"),
        ("without an end", "f,61,1,2025-03-04,27.5"),
        ("with quotes", "\"f\",\"61\",\"True\",\"2025-03-04\",\"27.5\"\r\n"),
        ("by name", "age,sex,bmi,seen,smoker\n61,f,27.5,2025-03-04,true\n"),
        ("with others", "id,age,sex,bmi,seen,smoker,ill\np1,61,f,27.5,2025-03-04,true,0\n"),
        ("behind a mark", "\u{feff}sex,age,smoker,seen,bmi\nf,61,true,2025-03-04,27.5\n"),
        ("between empty lines", "\n\nf,61,true,2025-03-04,27.5\n\n"),
    ] {
        let answer = ask(body).await;
        assert_eq!((answer.status, answer.text()), (200, line.clone()), "{what}");
        assert_eq!(answer.kind, "text/csv", "{what}");
    }
    let missing = ask("f,,,,\nm,50,,,30\n").await;
    assert_eq!((missing.status, missing.text().lines().count()), (200, 2));
    let body = "id,age,sex,bmi,seen,smoker\np1,61,f,27.5,2025-03-04,true\n";
    let answer = server.post_for("/invocations", "text/csv", JSON, body).await.scored();
    assert_eq!(answer.rows[0].entity.as_deref(), Some("p1"));
    assert_eq!(answer.rows[0].probability, Some(expected()));
    let lines = server.post_for("/invocations", "text/csv", "application/jsonlines", body).await;
    assert_eq!(lines.json()["probability"].as_f64(), Some(expected()));
}

#[tokio::test]
async fn an_object_per_line_is_answered_by_one() {
    let server = Server::start().await;
    let body = format!("{}\n\n{}\n", row(), with(json!({ "id": "p2" })));
    for kind in ["application/jsonlines", "application/jsonl", "application/x-ndjson"] {
        let answer = server.post("/invocations", kind, body.clone()).await;
        assert_eq!((answer.status, answer.kind.as_str()), (200, kind));
        let lines: Vec<ScoredRow> =
            answer.text().lines().map(|line| serde_json::from_str(line).expect("a row")).collect();
        assert_eq!(lines.len(), 2);
        assert_eq!(lines[0].probability, Some(expected()));
        assert_eq!(lines[1].entity.as_deref(), Some("p2"));
    }
    let answer = server.post_for("/invocations", "application/jsonlines", "text/csv", body).await;
    assert_eq!(answer.text(), format!("{0}\n{0}\n", expected()));
}

#[tokio::test]
async fn the_open_inference_protocol_tells_and_takes_a_tensor_per_column() {
    let server = Server::start().await;
    let index = server.post("/v2/repository/index", JSON, "{}").await.json();
    assert_eq!((&index[0]["name"], &index[0]["state"]), (&json!("risk"), &json!("READY")));
    let metadata = server.get("/v2/models/risk").await.json();
    let names = |value: &Value| -> Vec<String> {
        let all = value.as_array().expect("a list").iter();
        all.map(|slot| slot["name"].as_str().expect("a name").to_owned()).collect()
    };
    assert_eq!(names(&metadata["inputs"]), ["sex", "age", "smoker", "seen", "bmi"]);
    assert_eq!(metadata["inputs"][0]["datatype"], "BYTES");
    assert_eq!(names(&metadata["outputs"]), ["probability", "label", "effects"]);
    assert_eq!(metadata["outputs"][2]["shape"], json!([-1, 5]));
    let config = server.get("/v2/models/risk/config").await.json();
    assert_eq!(config["input"][1]["data_type"], "TYPE_FP64");
    assert_eq!(server.get("/v2/models/risk/ready").await.status, 200);
    assert_eq!(server.get("/v2/models/other").await.status, 404);

    let answer = infer(&server, &json!({ "id": "q", "inputs": tensors() })).await;
    let told = answer.json();
    assert_eq!((answer.status, &told["id"], names(&told["outputs"]).len()), (200, &json!("q"), 2));
    assert_eq!(told["outputs"][0]["data"][0].as_f64(), Some(expected()));
    assert_eq!(told["outputs"][1]["datatype"], "BYTES");
    let direct = server.predict(&json!({ "rows": [with(json!({ "bmi": null }))] })).await.scored();
    assert_eq!(told["outputs"][0]["data"][1].as_f64(), direct.rows[0].probability);
}

#[tokio::test]
async fn tensors_come_and_go_as_bytes_with_what_each_column_adds() {
    let server = Server::start().await;
    let text = [&1_u32.to_le_bytes()[..], b"f"].concat();
    let mut bytes = text.clone();
    let mut inputs = vec![json!({ "name": "sex", "shape": [1], "datatype": "BYTES",
            "parameters": { "binary_data_size": text.len() } })];
    for (name, value) in [("age", 61.0), ("smoker", 1.0), ("seen", 20_151.0), ("bmi", 27.5_f64)] {
        inputs.push(json!({ "name": name, "shape": [1], "datatype": "FP64",
            "parameters": { "binary_data_size": 8 } }));
        bytes.extend(value.to_le_bytes());
    }
    let effects = json!({ "name": "effects", "parameters": { "binary_data": true } });
    let head = json!({ "inputs": inputs, "outputs": [effects, { "name": "label" }] }).to_string();
    let length = head.len();
    let post = |body: Vec<u8>| {
        Request::post("/v2/models/risk/infer")
            .header("host", "localhost")
            .header("inference-header-content-length", length)
            .body(Body::from(body))
            .expect("a request")
    };
    let whole = [head.clone().into_bytes(), bytes.clone()].concat();
    let answer = server.ask(post(whole.clone())).await;
    let length = answer.headers["inference-header-content-length"].to_str().expect("a length");
    let (json, binary) = answer.body.split_at(length.parse().expect("a number"));
    let told: Value = serde_json::from_slice(json).expect("JSON");
    assert_eq!(told["outputs"][0]["shape"], json!([1, 5]));
    let numbers: Vec<f64> = binary
        .chunks_exact(8)
        .map(|bytes| f64::from_le_bytes(bytes.try_into().expect("eight")))
        .collect();
    let body = json!({ "rows": [row()], "explain": true });
    let scored = server.predict(&body).await.scored().rows.remove(0);
    let reasons = scored.reasons.expect("reasons");
    for ((name, _), number) in COLUMNS.iter().zip(&numbers) {
        let reason = reasons.iter().find(|reason| reason.column == *name).expect("a reason");
        assert_eq!(reason.effect, *number, "{name}");
    }
    let longer = server.ask(post([whole, vec![0; 3]].concat())).await;
    assert!(longer.status == 400 && longer.text().contains("3 bytes more"), "{}", longer.text());
}
