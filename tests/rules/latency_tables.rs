//! What the catalogue proves of the tables that slow statements use.

use mcp_ir::snapshot::work::{Holder, Index, Work};

use crate::two::{SEARCH, Two, evidence};

#[test]
fn a_missing_index_is_only_said_where_the_catalogue_proves_it() {
    let slow = || Two::slow().ran(10.0, 6000.0, SEARCH);
    let read = |w: &mut Work, by_index: f64| {
        let t = &mut w.tables[0];
        (t.scans, t.scanned, t.by_index) = (t.scans + 10.0, t.scanned + 2_000_000.0, t.by_index + by_index);
    };
    let d = slow().work(|w| read(w, 0.0)).is(&["slow-queries@postgres"], &[]);
    let said = evidence(&d);
    assert!(
        said.contains("public.code_chunks: read from its beginning to its end 10 times, 200000 rows each"),
        "{said}"
    );
    let d = slow().work(|w| read(w, 3.0)).is(&["slow-queries@postgres"], &[]);
    assert!(!evidence(&d).contains("one is missing"));
    let other = slow().work(|w| read(w, 0.0)).both(|w| w.tables[0].name = "chunks".into());
    assert!(!evidence(&other.is(&["slow-queries@postgres"], &[])).contains("one is missing"));
}

#[test]
fn old_statistics_of_a_table_that_is_used_explain_the_slow_statement() {
    let slow = || Two::slow().ran(10.0, 6000.0, SEARCH);
    let d = slow().both(|w| w.tables[0].dead = 150_000.0);
    let d = d.is(&["stale-statistics@postgres"], &["slow-queries@postgres"]);
    assert_eq!(d.findings[0].remedy.command, "mcp-ir recover latency");
    slow()
        .both(|w| w.tables[0].changed = 150_000.0)
        .is(&["stale-statistics@postgres"], &["slow-queries@postgres"]);
    // Not enough; or in a table that nobody slow uses.
    slow().both(|w| w.tables[0].dead = 30_000.0).is(&["slow-queries@postgres"], &[]);
    let other = slow().both(|w| (w.tables[0].dead, w.tables[0].name) = (150_000.0, "audit".into()));
    other.is(&["slow-queries@postgres"], &[]);
}

#[test]
fn what_holds_dead_rows_comes_before_them() {
    let holder = |age_s: Option<f64>, age| Holder {
        kind: "session".into(),
        name: "pid 7 (report)".into(),
        age,
        age_s,
    };
    let slow = |h: Holder| {
        Two::slow().ran(10.0, 6000.0, SEARCH).both(move |w| {
            w.tables[0].dead = 150_000.0;
            w.holders.push(h.clone());
        })
    };
    slow(holder(Some(900.0), 50.0))
        .is(&["xmin-held@postgres"], &["slow-queries@postgres", "stale-statistics@postgres"]);
    slow(holder(Some(9.0), 50.0)).is(&["stale-statistics@postgres"], &["slow-queries@postgres"]);
    slow(holder(None, 50_000.0))
        .is(&["xmin-held@postgres"], &["slow-queries@postgres", "stale-statistics@postgres"]);
}

#[test]
fn an_invalid_index_of_a_table_that_is_used() {
    let index =
        |table: &str| Index { schema: "public".into(), name: "chunks_ccnew".into(), table: table.into() };
    let slow = |table: &'static str| {
        Two::slow().ran(10.0, 6000.0, SEARCH).both(move |w| w.invalid_indexes.push(index(table)))
    };
    slow("code_chunks").is(&["invalid-index@postgres"], &["slow-queries@postgres"]);
    slow("audit").is(&["slow-queries@postgres"], &[]);
}
