//! A damaged index that was built anew: what its log said before is no reason to do it once more.

use jiff::Timestamp;
use mcp_ir::engine::recover::{Choice, Request};
use mcp_ir::plan::{Act, Aim, Chore, IndexState, Recovered, Upkeep};
use mcp_ir::scenario;
use mcp_ir::snapshot::Looks;

use super::upkeep::index;
use super::{acts, chosen, of, planned};
use crate::payload;
use crate::stack::{A, PG_UNIT, Stack, ago};

fn damaged() -> Stack {
    let line = "mcp_user@codebase_mcp ERROR:  index \"code_chunks_pkey\" contains unexpected zero page";
    Stack::healthy().line(PG_UNIT, 120.0, 6, line)
}

fn built(at: Option<Timestamp>) -> Request {
    let mut request = of("db-down");
    request.ask.near.indexes = [("postgres".to_owned(), vec![super::upkeep::damaged()])].into();
    let of = |at| ("postgres".to_owned(), [("code_chunks_pkey".to_owned(), at)].into());
    request.ask.near.rebuilt = at.map(of).into_iter().collect();
    request
}

#[test]
fn what_was_built_anew_since_its_log_said_so_is_not_built_once_more() {
    for at in [None, Some(ago(121.0))] {
        let plan = planned(&damaged(), &built(at));
        let [Act::Upkeep(Upkeep { chore: Chore::Reindex, .. })] = acts(&plan)[..] else { panic!("{plan:?}") };
    }
    let Choice::Refused { why, .. } = chosen(&damaged(), &built(Some(ago(60.0)))) else { panic!() };
    assert!(why.contains("code_chunks_pkey was built anew at"), "{why}");
    // A service that meets it now is of now.
    let error = "index \"code_chunks_pkey\" contains unexpected zero page at block 1 (ERROR XX002)";
    let s = damaged().health(A, payload::a_down(error));
    assert_eq!(planned(&s, &built(Some(ago(60.0)))).steps.len(), 1);
}

#[test]
fn errata_23_what_a_build_of_it_that_was_cut_off_left_is_dropped_behind_the_next() {
    let mut request = built(None);
    let left = IndexState { replaced: true, ..index("code_chunks_pkey_ccnew") };
    request.ask.near.indexes.get_mut("postgres").unwrap().push(left);
    let plan = planned(&damaged(), &request);
    let [Act::Upkeep(built), Act::Upkeep(dropped)] = acts(&plan)[..] else { panic!("{plan:?}") };
    assert_eq!((built.chore, built.name.as_str()), (Chore::Reindex, "code_chunks_pkey"));
    assert_eq!((dropped.chore, dropped.name.as_str()), (Chore::DropIndex, "code_chunks_pkey_ccnew"));
}

#[test]
fn that_its_log_is_told_of_for_a_while_is_said() {
    let looks = Looks { now: damaged().now, before: None };
    let judged = |cause| {
        let aim = Aim { cause: Some(cause), subject: "postgres", size: None };
        (scenario::by_name("db-down").unwrap().recovered)(&looks, &aim, &looks.now.config)
    };
    let Recovered::Yes(says) = judged("db-down/index-corrupt") else { panic!() };
    assert!(says.contains("what its log said before is told of for 10 min"), "{says}");
    let Recovered::Yes(says) = judged("db-down/postgres-stopped") else { panic!() };
    assert!(!says.contains("its log"), "{says}");
}
