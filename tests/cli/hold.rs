//! `hold` as a user types it.

use crate::desk::Desk;
use crate::schemas::keeps;

#[test]
fn a_hold_is_set_shown_respected_and_ended() {
    let desk = Desk::new();
    let state = desk.dir.path().join("state");
    let run = |args: &[&str]| desk.with(args, &[("MCP_IR_STATE_DIR", state.to_str().unwrap())]);
    let json = |args: &[&str]| {
        let ran = run(&[args, &["-o", "json"]].concat());
        assert_eq!(ran.code, Some(0), "{args:?}: {}{}", ran.stdout, ran.stderr);
        keeps("hold", &ran.stdout)
    };
    assert!(json(&["hold"])["hold"].is_null());
    let held = json(&["hold", "--reason", "an index is built", "--until", "2h"]);
    assert_eq!(held["hold"]["reason"], "an index is built");
    assert_eq!(json(&["hold"]), held);
    let ran = run(&["hold"]);
    assert!(ran.stdout.contains("an index") && ran.stdout.contains("until"), "{}", ran.stdout);
    assert!(json(&["hold", "--off"])["hold"].is_null());
    assert!(json(&["hold"])["hold"].is_null());
    for (args, hint) in [
        (&["hold", "--until", "2h"][..], "--reason"),
        (&["hold", "--reason", "x", "--until", "tomorrow"], "no time"),
        (&["hold", "--reason", "x", "--off"], "cannot be used"),
    ] {
        let ran = run(args);
        assert_eq!(ran.code, Some(2), "{args:?}: {}", ran.stdout);
        assert!(ran.stderr.contains(hint), "{args:?}: {}", ran.stderr);
    }
}
