//! More connections for all: the database is restarted with them, and back; where it does not come up with them,
//! the line is taken out of its file again.

use std::fs;

use crate::bench::{Bench, until};

fn grant(b: &Bench, words: &str) {
    let role = "mcp_ir";
    let direction = if words == "GRANT" { "TO" } else { "FROM" };
    b.stack
        .cluster()
        .sql(&format!("{words} ALTER SYSTEM ON PARAMETER max_connections {direction} {role}"))
        .unwrap();
}

fn most(b: &Bench) -> String {
    b.stack.cluster().sql("SHOW max_connections").unwrap().concat()
}

fn auto_conf(b: &Bench) -> String {
    fs::read_to_string(b.stack.cluster().data.join("postgresql.auto.conf")).unwrap()
}

#[test]
fn errata_21_more_connections_come_with_a_restart_and_go_with_its_undo() {
    let Some(mut b) = Bench::start() else { return };
    let (unit, former, file) = (b.stack.postgres_unit(), most(&b), auto_conf(&b));
    let ask = ["recover", "pool", "--max-connections", "150", "--yes", "--allow", "destructive"];
    // Without the right nothing is begun, and it is said which one.
    let refused = b.json(&ask, 4);
    assert!(refused["hints"][0].as_str().unwrap().starts_with("GRANT ALTER SYSTEM"), "{refused}");
    grant(&b, "GRANT");
    assert_eq!(b.run(&["recover", "pool", "--max-connections", "150", "--yes"], 4).code, Some(4), "unasked");
    assert_eq!((most(&b), auto_conf(&b)), (former.clone(), file.clone()));
    let run = b.property(&unit, "InvocationID");
    let done = b.json(&ask, 0);
    assert_eq!(done["outcome"], "recovered", "{done}");
    assert_eq!(most(&b), "150");
    assert_ne!(b.property(&unit, "InvocationID"), run);
    for name in b.stack.names() {
        assert!(b.is_healthy(name), "{name}");
    }
    b.json(&["undo", done["incident"].as_str().unwrap(), "--yes", "--allow", "destructive"], 0);
    assert_eq!((most(&b), auto_conf(&b)), (former.clone(), file.clone()));
    // What somebody else has armed is not set off.
    b.stack.cluster().sql("ALTER SYSTEM SET max_connections = 400").unwrap();
    let refused = b.json(&ask, 4);
    assert!(refused["reason"].as_str().unwrap().contains("400 already"), "{refused}");
    b.stack.cluster().sql("ALTER SYSTEM RESET max_connections").unwrap();
    for more in ["", "Restart=on-failure\nRestartSec=100ms\n"] {
        does_not_come_up(&mut b, &unit, &former, more);
    }
}

/// As where the kernel gives no memory for so many; also where systemd starts it again and again.
fn does_not_come_up(b: &mut Bench, unit: &str, former: &str, more: &str) {
    let booted = b.stack.systemd().unwrap();
    booted.drop_in(unit, &format!("[Service]\nLimitAS=600M\n{more}")).unwrap();
    booted.systemctl(&["restart", unit]).unwrap();
    b.stack.wait_until_healthy().unwrap();
    let file = auto_conf(b);
    let done =
        b.json(&["recover", "pool", "--max-connections", "90000", "--yes", "--allow", "destructive"], 6);
    until(&format!("it is up again: {more}{done}"), || b.stack.cluster().accepts());
    assert_eq!((most(b).as_str(), auto_conf(b)), (former, file), "{done}");
    b.stack.wait_until_healthy().unwrap();
    b.forget_incidents();
}
