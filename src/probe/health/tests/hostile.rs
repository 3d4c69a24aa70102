//! Answers of the wrong server, of a broken one, and of one that means harm.

use proptest::prelude::*;

use super::*;

#[test]
fn a_missing_number_is_unknown_not_zero() {
    let h = seen(r#"{"status":"healthy","connection_pool":{"size":20}}"#);
    let p = h.pool.unwrap();
    assert_eq!((p.open, p.in_use, p.idle, p.max, p.waiting), (Some(20), None, None, None, None));
    assert_eq!((h.uptime_s, h.database), (None, None));
    let p = seen(r#"{"status":"ok","connection_pool":{"pool_utilization":1.0}}"#).pool;
    assert_eq!(p, None, "a ratio is no count");
}

#[test]
fn numbers_in_strings_are_numbers_and_nulls_are_none() {
    let h = seen(r#"{"status":"ok","connection_pool":{"size":"20","free":" 3 ","max_size":null}}"#);
    let p = h.pool.unwrap();
    assert_eq!((p.open, p.in_use, p.idle, p.max), (Some(20), Some(17), Some(3), None));
}

#[test]
fn an_absurd_number_is_no_number() {
    for bad in [
        "-1",
        "1e300",
        "1000000",
        "3.5",
        r#""NaN""#,
        r#""inf""#,
        r#""-3""#,
        r#""many""#,
        "true",
        "[3]",
        "{}",
        "18446744073709551616",
    ] {
        let h = seen(&format!(
            r#"{{"status":"ok","connection_pool":{{"size":{bad},"free":1,"max_size":{bad}}},"uptime_seconds":{bad}}}"#
        ));
        let p = h.pool.unwrap();
        assert_eq!((p.open, p.in_use, p.max), (None, None, None), "{bad}");
        assert!(h.uptime_s.is_none_or(|u| u >= 0.0), "{bad}");
    }
}

#[test]
fn a_literal_nan_is_not_json_and_not_healthy() {
    for n in ["NaN", "Infinity", "1e999"] {
        let body = format!(r#"{{"status":"healthy","connection_pool":{{"size":{n}}}}}"#);
        assert_eq!(refused(&ok(body)).0, FailKind::Malformed);
    }
}

#[test]
fn more_free_than_open_and_more_in_use_than_open_leave_the_use_unknown() {
    let a = seen(r#"{"status":"ok","connection_pool":{"size":2,"free":3,"max_size":10}}"#).pool.unwrap();
    assert_eq!((a.open, a.idle, a.in_use), (Some(2), Some(3), None));
    let c = r#"{"status":"ok","connection_pool":{"total_connections":2,"active_connections":9}}"#;
    let c = seen(c).pool.unwrap();
    assert_eq!((c.open, c.in_use), (Some(2), None));
}

#[test]
fn a_maximum_of_zero_is_unknown_not_full() {
    let p = seen(r#"{"status":"ok","connection_pool":{"size":0,"free":0,"max_size":0}}"#).pool.unwrap();
    assert_eq!((p.open, p.in_use, p.max), (Some(0), Some(0), None));
}

#[test]
fn json_without_a_status_is_another_shape() {
    for body in [
        "null",
        "[]",
        "{}",
        "true",
        "\"healthy\"",
        "42",
        r#"{"status":true,"database_status":"connected"}"#,
        r#"{"status":null,"connection_pool":{"size":1,"free":1}}"#,
        r#"{"status":["healthy"],"error":"x"}"#,
        r#"{"status":"healthy"}"#,
        r#"{"status":"healthy","error":null}"#,
        r#"[{"status":"healthy","database_status":"connected"}]"#,
        r#"{"connection_pool":{"size":20,"free":20}}"#,
    ] {
        let (kind, text) = refused(&ok(body));
        assert_eq!(kind, FailKind::Malformed, "{body}");
        assert_eq!(text, format!("HTTP 200, JSON of another shape: {body}"));
    }
}

#[test]
fn html_garbage_and_nothing_are_told_apart() {
    let mut page = ok("<!doctype html>\n<html>\n  <title>Sign in</title>");
    assert_eq!(refused(&page).1, "HTTP 200, HTML: <!doctype html> <html> <title>Sign in</title>");
    page.body = b"Welcome".to_vec();
    page.content_type = "Text/HTML; charset=utf-8".into();
    assert_eq!(refused(&page).1, "HTTP 200, HTML: Welcome");
    assert_eq!(refused(&ok("")).1, "HTTP 200, an empty body");
    assert_eq!(refused(&ok("\u{feff}")).1, "HTTP 200, an empty body");
    assert_eq!(refused(&ok("OK")).1, "HTTP 200, not JSON: OK");
    assert_eq!(refused(&ok(r#"{"status":"hea"#)).1, r#"HTTP 200, not JSON: {"status":"hea"#);
    assert_eq!(refused(&ok(b"\xff\xfe{\0".to_vec())).1, "HTTP 200, not JSON: \u{fffd}\u{fffd}{\0");
}

#[test]
fn json_that_is_called_html_is_read_all_the_same() {
    let mut a = ok(r#"{"status":"healthy","database_status":"connected"}"#);
    a.content_type = "text/html".into();
    assert_eq!(read(&a, None).unwrap().status, Some(Status::Healthy));
}

#[test]
fn a_byte_order_mark_is_passed_over() {
    let h = seen("\u{feff}{\"status\":\"healthy\",\"database_status\":\"connected\"}");
    assert_eq!(h.status, Some(Status::Healthy));
}

#[test]
fn invalid_utf8_in_a_text_makes_the_whole_unreadable_not_healthy() {
    let body = b"{\"status\":\"healthy\",\"database_status\":\"conn\xff\"}".to_vec();
    assert_eq!(refused(&ok(body)).0, FailKind::Malformed);
}

#[test]
fn nesting_without_end_is_refused_not_followed() {
    let deep = "[".repeat(500_000);
    let deep = format!(r#"{{"status":"healthy","database_status":"connected","x":{deep}"#);
    let (kind, text) = refused(&ok(deep));
    assert_eq!(kind, FailKind::Malformed);
    assert!(text.chars().count() < 250);
}

#[test]
fn of_two_keys_of_one_name_the_last_counts() {
    let h = seen(r#"{"status":"healthy","status":"unhealthy","database_status":"connected"}"#);
    assert_eq!(h.status, Some(Status::Unhealthy));
}

#[test]
fn http_statuses_are_facts_of_their_own() {
    let body = r#"{"status":"healthy","database_status":"connected"}"#;
    for (status, kind, text) in [
        (401, FailKind::Denied, "HTTP 401"),
        (403, FailKind::Denied, "HTTP 403"),
        (404, FailKind::Missing, "HTTP 404: no such path"),
        (410, FailKind::Missing, "HTTP 410: no such path"),
        (429, FailKind::Unsupported, "HTTP 429"),
        (400, FailKind::Unsupported, "HTTP 400"),
        (302, FailKind::Malformed, "HTTP 302, a redirect to nowhere"),
        (304, FailKind::Malformed, "HTTP 304, a redirect to nowhere"),
    ] {
        assert_eq!(refused(&answer(status, body)), (kind, text.to_owned()), "{status}");
    }
}

#[test]
fn a_redirect_says_where_to_without_its_secret() {
    let mut a = answer(302, "");
    a.location = Some("https://ann:hunter2@login.example/?token=abc&next=/".into());
    let (_, text) = refused(&a);
    assert_eq!(text, "HTTP 302, a redirect to https://ann:****@login.example/?token=****&next=/");
}

#[test]
fn a_5xx_is_bad_whatever_its_body() {
    for body in [
        "",
        "<html>502 Bad Gateway</html>",
        "{\"x\":",
        "null",
        r#"{"detail":"boom"}"#,
        r#"{"status":"healthy"}"#,
    ] {
        let h = read(&answer(502, body), None).unwrap();
        assert!(h.is_bad() && h.status.is_none(), "{body}");
        assert_eq!((h.shape, h.http_status), (Shape::None, 502));
        assert_eq!(h.messages, if body.is_empty() { vec![] } else { vec![body.to_owned()] });
    }
    let h = read(&answer(503, r#"{"status":"healthy","database_status":"connected"}"#), None).unwrap();
    assert!(h.is_bad(), "a 5xx that calls itself healthy is not");
}

#[test]
fn a_terminal_escape_survives_as_data_and_a_secret_does_not() {
    let esc = "\u{1b}]0;owned\u{7}\u{1b}[2J postgresql://ann:hunter2@db/x";
    let json =
        serde_json::json!({"status": esc, "database_status": esc, "error": esc, "details": {"error": esc}});
    let h = seen(&json.to_string());
    let all = format!("{:?} {:?} {:?}", h.status, h.database, h.messages);
    assert!(!all.contains("hunter"), "{all}");
    let h = h.messages.first().unwrap();
    assert_eq!(h, "\u{1b}]0;owned\u{7}\u{1b}[2J postgresql://ann:****@db/x");
    assert!(!refused(&ok(esc)).1.contains("hunter2"));
}

#[test]
fn a_secret_that_the_cut_goes_through_is_masked_too() {
    for before in 0..400 {
        let text = format!("{} postgresql://ann:hunter2hunter2@db/x", "x".repeat(before));
        let json = serde_json::json!({"status": "unhealthy", "error": text, "database_status": text});
        let h = seen(&json.to_string());
        assert!(!h.messages[0].contains("hunt"), "{before}: {}", h.messages[0]);
        assert!(!h.database.unwrap().contains("hunt"), "{before}");
        assert!(!refused(&ok(text.clone())).1.contains("hunt"), "{before}");
    }
}

#[test]
fn texts_are_cut_however_long_they_are() {
    let long = "é".repeat(200_000);
    let json = serde_json::json!({"status": long, "database_status": long, "error": long, "message": long});
    let h = seen(&json.to_string());
    assert!(h.messages.iter().all(|m| m.chars().count() <= 301));
    assert!(h.database.unwrap().chars().count() < 100);
    assert!(matches!(h.status, Some(Status::Other(w)) if w.chars().count() <= 41));
    let checks: serde_json::Map<String, Value> = (0..1000)
        .map(|n| (n.to_string(), serde_json::json!({"status":"fail","message":long[..20]})))
        .collect();
    let json = serde_json::json!({"status": "unhealthy", "database_status": "x", "checks": checks});
    assert_eq!(seen(&json.to_string()).messages.len(), MESSAGES);
}

const KEYS: &[&str] = &[
    "status",
    "database_status",
    "connection_pool",
    "database",
    "pool",
    "size",
    "max_size",
    "free",
    "total_connections",
    "active_connections",
    "idle_connections",
    "total",
    "active",
    "idle",
    "max",
    "error",
    "message",
    "checks",
    "details",
    "uptime_seconds",
    "utilization_percent",
];

const TEXTS: &[&str] = &["healthy", "ok", "Unhealthy", "connected", "12", "NaN"];

/// A document of what the shapes are made of: right and wrong types at every place.
fn document() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        (0u64..40).prop_map(Value::from),
        any::<f64>().prop_map(|f| serde_json::Number::from_f64(f).map_or(Value::Null, Value::Number)),
        proptest::sample::select(TEXTS).prop_map(Value::from),
        "\\PC{0,12}".prop_map(Value::from),
    ];
    let inner = leaf.prop_recursive(3, 40, 12, |inner| {
        prop_oneof![proptest::collection::vec(inner.clone(), 0..4).prop_map(Value::from), object(inner)]
    });
    (object(inner), proptest::option::weighted(0.8, proptest::sample::select(TEXTS))).prop_map(
        |(mut v, status)| {
            if let Some(status) = status {
                v["status"] = status.into();
            }
            v
        },
    )
}

fn object(inner: impl Strategy<Value = Value>) -> impl Strategy<Value = Value> {
    let key = proptest::sample::select(KEYS).prop_map(ToOwned::to_owned);
    proptest::collection::hash_map(key, inner, 0..12).prop_map(|m| Value::Object(m.into_iter().collect()))
}

/// All numbers of a document, also those in strings.
fn numbers(v: &Value, out: &mut Vec<f64>) {
    match v {
        Value::Array(all) => all.iter().for_each(|v| numbers(v, out)),
        Value::Object(all) => all.values().for_each(|v| numbers(v, out)),
        other => out.extend(number(other)),
    }
}

fn good(word: &Value) -> bool {
    word.as_str().is_some_and(|w| ["healthy", "ok", "pass", "up"].contains(&w.trim().to_lowercase().as_str()))
}

proptest! {
    #[test]
    fn any_bytes_of_any_status_are_read_without_a_panic(
        status in 200u16..600,
        body in proptest::collection::vec(any::<u8>(), 0..300),
        by in proptest::option::of("(/[a-z~0-9]{0,5}){0,3}"),
    ) {
        let by = by.map(|b| pointers(Some(&b)));
        let _ = read(&answer(status, body), by.as_ref());
    }

    #[test]
    fn nothing_is_made_up_whatever_the_document(v in document()) {
        if let Ok(h) = read(&ok(v.to_string()), None) {
            prop_assert_eq!(h.status == Some(Status::Healthy), good(&v["status"]));
            let mut said = Vec::new();
            numbers(&v, &mut said);
            let is_said = |n: Option<u64>| n.is_none_or(|n| said.contains(&(n as f64)));
            if let Some(p) = h.pool {
                prop_assert!(p.in_use.zip(p.open).is_none_or(|(used, open)| used <= open));
                prop_assert!(is_said(p.open) && is_said(p.idle) && is_said(p.max) && is_said(p.waiting));
                prop_assert!(is_said(p.in_use) || p.open.is_some() && p.idle.is_some());
            }
        }
    }

    #[test]
    fn a_status_by_pointer_is_healthy_only_if_the_document_says_so(v in document()) {
        if let Ok(h) = read(&ok(v.to_string()), Some(&pointers(Some("/status")))) {
            let good = v["status"] == Value::Bool(true) || good(&v["status"]);
            prop_assert_eq!(h.status == Some(Status::Healthy), good);
        }
    }
}
