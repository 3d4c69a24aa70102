//! What is refused, what was begun, and what is only not seen: by the journal's word somebody decides then.

use super::*;

fn piece() -> Piece {
    Piece { owner: "ann".into(), allowed: true, parted: false, vacuums: 0, analyzes: 0, dead: 0 }
}

fn of(chore: Chore) -> Upkeep {
    let (server, url) = ("postgres".into(), "postgresql://me@h/d".into());
    Upkeep { server, url, schema: "public".into(), name: "t".into(), chore }
}

fn said(code: &str) -> Failed {
    Lost::Said { code: code.into(), why: "it says so".into() }.failed()
}

#[test]
fn who_may_not_and_what_has_no_rows_itself_is_refused_with_the_reason() {
    let u = of(Chore::Vacuum);
    assert_eq!(may_not(&piece(), &u, "me"), None);
    let (why, helps) = may_not(&Piece { allowed: false, ..piece() }, &u, "me").unwrap();
    assert!(why.contains("public.t is ann's") && helps.contains("GRANT ann TO me"), "{why} {helps}");
    let (why, _) = may_not(&Piece { parted: true, ..piece() }, &u, "me").unwrap();
    assert!(why.contains("partitioned"), "{why}");
}

/// What is called changed has gone by itself, and the run goes on: this is there, and is not mended.
#[test]
fn errata_23_an_index_that_somebody_holds_is_refused_and_not_called_gone() {
    let own = IndexState { name: "a".into(), ..IndexState::default() };
    let on = |own: IndexState, chore| held(&own, chore);
    assert_eq!(on(own.clone(), Chore::Reindex), None);
    let taken = IndexState { held_by: Some(7), ..own.clone() };
    for (index, chore) in [
        (taken.clone(), Chore::Reindex),
        (taken, Chore::DropIndex),
        (IndexState { building: true, ..own.clone() }, Chore::Reindex),
        (IndexState { valid: true, ..own.clone() }, Chore::DropIndex),
        (own, Chore::DropIndex),
    ] {
        let failed = on(index, chore).unwrap();
        assert!(matches!(&failed, Failed::Refused { hint: Some(h), .. } if h == "mcp-ir who"), "{failed:?}");
        assert!(!failed.touched());
    }
}

#[test]
fn a_rebuild_that_waited_in_vain_has_begun_nothing_where_nothing_of_it_is_found() {
    let waited = || Lost::Said { code: "55P03".into(), why: "it waited".into() };
    assert!(!waited().after("").touched());
    assert!(waited().after("; what it left, a_ccnew, was dropped").touched());
    assert!(waited().after("; whether it left something could not be seen").touched());
    assert!(Lost::Said { code: "57014".into(), why: String::new() }.after("").touched());
}

#[test]
fn what_was_done_and_not_seen_afterwards_is_not_called_untouched() {
    let unseen = done_unseen(&Failed::Refused { why: "too many clients".into(), hint: None });
    assert!(unseen.touched(), "{unseen:?}");
    assert!(unseen.words().contains("it was done") && unseen.words().contains("too many clients"));
}

#[test]
fn errata_23_only_what_was_not_begun_is_untouched() {
    for code in ["42501", "25006", "42601"] {
        assert!(Lost::Said { code: code.into(), why: String::new() }.is_before(), "{code}");
        assert!(!said(code).touched(), "{code}");
    }
    // A drop or a vacuum that waited for its lock is not begun; what a rebuild that waited left is looked for.
    assert!(!said("55P03").touched());
    for code in ["55P03", "57014", "23505", "53100"] {
        assert!(!Lost::Said { code: code.into(), why: String::new() }.is_before(), "{code}");
    }
    assert!(said("57014").touched() && said("53100").touched());
    assert!(Lost::Silent("gone".into()).failed().touched());
}

#[test]
fn nothing_is_sent_to_a_session_that_is_not_limited() {
    for chore in [Chore::Vacuum, Chore::Analyze, Chore::DropIndex, Chore::Reindex] {
        let u = of(chore);
        assert!(bounded(Some(&u.lock_timeout().to_string()), &u).is_ok());
        for other in [None, Some("0"), Some("2000000"), Some("")] {
            let Err(lost) = bounded(other, &u) else { panic!("{other:?}") };
            assert!(lost.is_before() && !lost.failed().touched(), "{other:?}");
        }
    }
}
