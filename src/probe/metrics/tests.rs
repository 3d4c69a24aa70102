//! The reader against pages as they occur: both formats, odd numbers, hostile text, a large page.

use std::fmt::Write as _;

use super::*;
use crate::snapshot::metrics::Histogram;

fn at() -> Timestamp {
    Timestamp::from_second(1_800_000_000).unwrap()
}

fn durations(text: &str) -> Vec<Histogram> {
    read(text.as_bytes(), at(), &["/health/status", "/metrics"]).unwrap().durations
}

fn one(text: &str) -> Histogram {
    let all = durations(text);
    assert_eq!(all.iter().filter(|h| h.whole).count(), 1, "{all:?}");
    all.into_iter().find(|h| h.whole).unwrap()
}

const PLAIN: &str = r#"# HELP request_duration_seconds Time to answer.
# TYPE request_duration_seconds histogram
request_duration_seconds_bucket{path="/search",le="0.1"} 3
request_duration_seconds_bucket{path="/search",le="0.5"} 7
request_duration_seconds_bucket{path="/search",le="+Inf"} 10
request_duration_seconds_sum{path="/search"} 8.5
request_duration_seconds_count{path="/search"} 10
request_duration_seconds_bucket{path="/health/status",le="0.1"} 900
request_duration_seconds_bucket{path="/health/status",le="0.5"} 900
request_duration_seconds_bucket{path="/health/status",le="+Inf"} 900
"#;

#[test]
fn prometheus_text_is_read_and_our_own_requests_are_left_out() {
    let all = durations(PLAIN);
    assert_eq!(all.len(), 2);
    let h = &all[0];
    assert!(h.whole && h.route.is_none());
    assert_eq!((&h.bounds[..], &h.counts[..]), (&[0.1, 0.5][..], &[3.0, 7.0][..]));
    assert_eq!((h.count, h.sum), (10.0, Some(8.5)));
    assert_eq!(all[1].route.as_deref(), Some("/search"));
}

#[test]
fn open_metrics_with_exemplars_times_and_no_end_is_read() {
    let h = one(r#"# TYPE http_request_duration_seconds histogram
# UNIT http_request_duration_seconds seconds
http_request_duration_seconds_bucket{handler="/a",method="GET",le="0.5"} 4 1800000000.1 # {trace_id="ab}c\"d"} 0.3 1.8e9
http_request_duration_seconds_bucket{handler="/a",method="GET",le="+Inf"} 5 # {} 0.7
http_request_duration_seconds_count{handler="/a",method="GET"} 5.0
http_request_duration_seconds_created{handler="/a",method="GET"} 1.7e9
process_start_time_seconds 1.79e+09"#);
    assert_eq!((h.counts[0], h.count), (4.0, 5.0));
    let m = read(b"process_start_time_seconds{a=\"b\"} 1.79e+09\n# EOF\n", at(), &[]).unwrap();
    assert_eq!((m.started, m.durations.len()), (Some(1.79e9), 0));
}

/// A bucket like the one before is known by its bytes; every other is taken apart.
#[test]
fn where_the_bound_stands_and_what_comes_in_between_makes_no_difference() {
    let orders: [fn(&str) -> String; 4] = [
        |le| format!(r#"{{a="1",b="2",le="{le}"}}"#),
        |le| format!(r#"{{le="{le}",a="1",b="2"}}"#),
        |le| format!(r#"{{a="1",le="{le}",b="2"}}"#),
        |le| format!(r#"{{a="1", le="{le}", b="2"}}"#),
    ];
    for (at, labels) in orders.iter().enumerate() {
        let without = if at == 3 { r#"{a="1", b="2"}"# } else { r#"{a="1",b="2"}"# };
        for (end, mixed) in [("\n", false), ("\r\n", false), ("\n", true)] {
            let mut page = String::new();
            for (le, n) in [("0.1", 3), ("0.5", 7), ("+Inf", 10)] {
                let _ = write!(page, "request_duration_seconds_bucket{} {n}{end}", labels(le));
                if mixed {
                    let _ = write!(page, "other_latency_seconds_bucket{} {}{end}", labels(le), 2 * n);
                }
            }
            let _ = write!(page, "request_duration_seconds_sum{without} 8.5{end}");
            let all = durations(&page);
            let h = all.iter().find(|h| h.name == "request_duration_seconds").unwrap();
            let seen = (&h.bounds[..], &h.counts[..], h.count, h.sum);
            assert_eq!(seen, (&[0.1, 0.5][..], &[3.0, 7.0][..], 10.0, Some(8.5)), "{page}");
            assert_eq!(all.len(), 1 + usize::from(mixed), "{page}");
        }
    }
}

#[test]
fn series_that_differ_in_other_labels_are_summed() {
    let text = |status: u32, n: u32| {
        format!(
            "x_request_duration_seconds_bucket{{route=\"/a\",method=\"POST\",status=\"{status}\",le=\"1\"}} {n}\n\
             x_request_duration_seconds_bucket{{route=\"/a\",method=\"POST\",status=\"{status}\",le=\"+Inf\"}} {}\n",
            n + 1
        )
    };
    let all = durations(&(text(200, 10) + &text(500, 2)));
    assert_eq!(all.len(), 2);
    assert!(all.iter().all(|h| h.counts == [12.0] && h.count == 14.0), "{all:?}");
    assert_eq!(all[1].method.as_deref(), Some("POST"));
}

#[test]
fn other_bounds_are_never_added_up() {
    let all = durations(
        "a_latency_seconds_bucket{x=\"1\",le=\"1\"} 1\na_latency_seconds_bucket{x=\"1\",le=\"+Inf\"} 1\n\
         a_latency_seconds_bucket{x=\"2\",le=\"2\"} 1\na_latency_seconds_bucket{x=\"2\",le=\"+Inf\"} 1\n",
    );
    assert_eq!(all.iter().map(|h| h.count).collect::<Vec<_>>(), [1.0, 1.0]);
}

#[test]
fn milliseconds_are_seconds() {
    let h = one(
        "http_request_duration_ms_bucket{le=\"250\"} 1\nhttp_request_duration_ms_bucket{le=\"+Inf\"} 2\n\
         http_request_duration_ms_sum 900\n",
    );
    assert_eq!((h.bounds[0], h.sum), (0.25, Some(0.9)));
}

#[test]
fn a_series_that_contradicts_itself_is_left_out() {
    for odd in [
        // Falls with its bound.
        "a_latency_seconds_bucket{le=\"1\"} 5\na_latency_seconds_bucket{le=\"2\"} 4\na_latency_seconds_bucket{le=\"+Inf\"} 9\n",
        // More in a bucket than in all.
        "a_latency_seconds_bucket{le=\"1\"} 5\na_latency_seconds_bucket{le=\"+Inf\"} 4\n",
        "a_latency_seconds_bucket{le=\"1\"} NaN\na_latency_seconds_bucket{le=\"+Inf\"} 4\n",
        "a_latency_seconds_bucket{le=\"1\"} -3\na_latency_seconds_bucket{le=\"+Inf\"} 4\n",
        "a_latency_seconds_bucket{le=\"1\"} 1\na_latency_seconds_bucket{le=\"+Inf\"} +Inf\n",
        // No whole at all, no bound at all, no bucket at all.
        "a_latency_seconds_bucket{le=\"1\"} 1\n",
        "a_latency_seconds_bucket{x=\"1\"} 1\n",
        "a_latency_seconds_count 4\na_latency_seconds_sum NaN\n",
    ] {
        assert_eq!(durations(odd), [], "{odd}");
    }
    let h =
        one("a_latency_seconds_bucket{le=\"1\"} 1\na_latency_seconds_count 4\na_latency_seconds_sum NaN\n");
    assert_eq!((h.count, h.sum), (4.0, None), "the count stands for the last bucket");
}

#[test]
fn escapes_are_read_and_secrets_masked() {
    let all = durations(
        "a_latency_seconds_bucket{route=\"/x\\\\n\\\"}\\n{,y\", le = \"1\" ,} 1\n\
         a_latency_seconds_bucket{route=\"/x\\\\n\\\"}\\n{,y\",le=\"+Inf\",} 1\n",
    );
    // Blanks may differ: these are two series for us, and neither contradicts.
    assert!(all.iter().all(|h| h.count <= 1.0), "{all:?}");
    let all = durations(
        "a_latency_seconds_bucket{route=\"/x?password=hunter2\",le=\"1\"} 1\n\
         a_latency_seconds_bucket{route=\"/x?password=hunter2\",le=\"+Inf\"} 1\n",
    );
    assert!(!format!("{all:?}").contains("hunter2"), "{all:?}");
}

#[test]
fn what_is_no_page_of_metrics_is_none() {
    for text in ["", "<html><body>hello</body></html>", "{\"status\": \"healthy\"}", "# EOF\n", "a\nb\nc 1\n"]
    {
        assert_eq!(read(text.as_bytes(), at(), &[]), None, "{text}");
    }
    let cut = PLAIN.split_at(PLAIN.len() / 2).0;
    assert!(read(cut.as_bytes(), at(), &[]).is_some(), "a line that is cut costs that line");
}

/// Half of it histograms, as of an exporter with many routes.
fn large() -> String {
    let mut text = String::new();
    let mut n = 0;
    while text.len() < 5 << 20 {
        n += 1;
        for le in ["0.005", "0.05", "0.1", "0.5", "1", "5", "+Inf"] {
            let _ = writeln!(
                text,
                "http_request_duration_seconds_bucket{{method=\"GET\",path=\"/api/v1/item/{}\",status=\"200\",le=\"{le}\"}} {n}",
                n % 3000
            );
            let _ =
                writeln!(text, "go_memstats_other_things_total{{instance=\"a{n}\",kind=\"{le}\"}} 1.5e+06");
        }
    }
    text
}

#[test]
fn five_megabytes_are_read_in_time() {
    let text = large();
    let start = Instant::now();
    let m = read(text.as_bytes(), at(), &[]).unwrap();
    let took = start.elapsed().as_millis();
    assert_eq!(m.durations.iter().filter(|h| !h.whole).count(), crate::snapshot::metrics::ROUTES);
    // 50 ms in a release; a debug build on busy cores takes many times of that.
    let limit = if cfg!(debug_assertions) { 3000 } else { 50 };
    assert!(took <= limit, "{took} ms");
}

#[test]
fn an_answer_is_judged_by_its_status() {
    let answer = |status, body: &str| Answer {
        status,
        content_type: String::new(),
        location: None,
        body: body.as_bytes().to_vec(),
        certificate: None,
    };
    let kind = |status, body| page(&answer(status, body), at(), &[]).unwrap_err().kind;
    assert_eq!(kind(403, ""), FailKind::Denied);
    assert_eq!(kind(404, ""), FailKind::Missing);
    assert_eq!(kind(302, ""), FailKind::Unsupported);
    assert_eq!(kind(200, "<html>"), FailKind::Malformed);
    assert!(page(&answer(200, PLAIN), at(), &[]).is_ok());
}
