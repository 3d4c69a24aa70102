//! Health answers, saved looks, lines of the journal, pages of metrics.

use mcp_ir::config::HealthPointers;
use mcp_ir::engine::{Filter, diagnose};
use mcp_ir::probe::health::read;
use mcp_ir::probe::http::Answer;
use mcp_ir::probe::systemd::journal_entries;
use mcp_ir::render::{self, Color, Out};
use mcp_ir::scenario;
use mcp_ir::snapshot::metrics::{Metrics, ROUTES};
use mcp_ir::snapshot::service::Health;
use mcp_ir::snapshot::{Looks, Snapshot};

use crate::{is_printable, is_short};

/// The first two bytes are the status, the third whether pointers are configured.
pub fn health(data: &[u8]) {
    let Some((head, body)) = data.split_at_checked(3) else { return };
    let status = 100 + u16::from_le_bytes([head[0], head[1]]) % 500;
    let body = body.to_vec();
    let answer =
        Answer { status, content_type: "application/json".into(), location: None, body, certificate: None };
    let pointers: HealthPointers = serde_json::from_str(
        r#"{"path":"/h","status":"/status","pool_used":"/pool/used","pool_max":"/pool/max"}"#,
    )
    .unwrap();
    match read(&answer, (head[2] % 2 == 1).then_some(&pointers)) {
        Ok(h) => {
            assert_eq!(h.http_status, status);
            h.messages.iter().for_each(|m| is_short(m, 600));
            if let Some(d) = &h.database {
                is_short(d, 100);
            }
            let again: Health = serde_json::from_str(&serde_json::to_string(&h).unwrap()).unwrap();
            assert_eq!(again, h);
        }
        Err(f) => is_short(&f.detail, 1000),
    }
}

/// A look that can be read is judged, printed in every form, and read again as itself.
pub fn snapshot(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let now = match Snapshot::from_json(text) {
        Ok(now) => now,
        Err(e) => {
            is_printable(&render::error(&e, false, false));
            is_printable(&render::error(&e, true, false));
            return;
        }
    };
    let saved = now.to_json().unwrap();
    assert_eq!(Snapshot::from_json(&saved).unwrap(), now, "a saved look is the look");
    let looks = Looks { now, before: None };
    let d = diagnose(&looks, &Filter::default());
    let out = Out { width: 60, ..Out::new(Color::Never, false) };
    for page in [
        render::human_diagnosis(&d, &out),
        render::human_readings(&d, &out),
        render::document(&d).unwrap(),
        render::nagios_line(&d, &looks.now),
        render::prometheus_page(&d, &looks.now),
        render::why_not(&mcp_ir::engine::why_not(&looks, &scenario::causes(), &[]), &out),
    ] {
        is_printable(&page);
    }
    let line = render::nagios_line(&d, &looks.now);
    assert_eq!((line.lines().count(), line.matches('|').count()), (1, 1), "{line}");
}

pub fn journal(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    let journal = journal_entries(&text);
    journal.lines.iter().for_each(|l| {
        is_short(&l.text, 1000);
        assert!(l.priority <= 7);
    });
    let again = serde_json::from_str(&serde_json::to_string(&journal).unwrap()).unwrap();
    assert_eq!(journal, again);
}

/// What is kept of a page contradicts nothing, and is written and read again as itself.
pub fn metrics(data: &[u8]) {
    let Some(m) = mcp_ir::probe::metrics::read(data, jiff::Timestamp::UNIX_EPOCH, &["/metrics"]) else {
        return;
    };
    assert!(m.durations.len() <= 2 * ROUTES);
    for h in &m.durations {
        h.route.iter().chain(&h.method).for_each(|l| is_short(l, 300));
        assert_eq!(h.bounds.len(), h.counts.len());
        assert!(!h.bounds.is_empty() && h.bounds.windows(2).all(|w| w[0] < w[1]), "{h:?}");
        assert!(h.counts.windows(2).all(|w| w[0] <= w[1]) && h.counts.iter().all(|c| *c <= h.count), "{h:?}");
        assert!(h.bounds.iter().chain([&h.count]).all(|n| n.is_finite()), "{h:?}");
    }
    let again: Metrics = serde_json::from_str(&serde_json::to_string(&m).unwrap()).unwrap();
    assert_eq!(again, m);
}
