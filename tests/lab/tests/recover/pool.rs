//! The size of a pool: by a drop-in and by its interface; ignored, fatal, and taken back.

use std::fs;

use crate::bench::{A, A_UNIT, Bench, C_UNIT};

const ASK: [&str; 7] = ["recover", "pool", "--service", A, "--max-size", "20", "--yes"];

#[test]
fn a_pool_is_widened_verified_and_put_back() {
    let Some(mut b) = Bench::start() else { return };
    by_a_drop_in(&mut b);
    somebody_elses_change_is_not_taken_back(&mut b);
    errata_38_ignored_it_is_rolled_back_and_says_which_file_wins(&mut b);
    errata_33_a_variable_that_its_server_does_not_read_is_rolled_back(&mut b);
    where_its_payload_leaves_the_size_out_nothing_is_set(&mut b);
    errata_32_fatal_it_is_rolled_back(&mut b);
    by_its_interface(&mut b);
}

fn by_a_drop_in(b: &mut Bench) {
    let (former, innocent) = (b.settings(), b.property(C_UNIT, "MainPID"));
    b.inject("client-pool-saturated/shape-a");
    let refused = b.json(&["recover", "pool", "--max-size", "5000", "--yes"], 4);
    let offered = refused["hints"][0].as_str().unwrap();
    assert!(offered.starts_with("mcp-ir recover pool --service codebase-mcp --max-size "), "{refused}");
    // Its health takes a second to say that no connection is left: nobody waits for that.
    let done = b.json(&ASK, 0);
    assert_eq!(done["outcome"], "recovered", "{done}");
    assert!(done.to_string().contains("health answer was not waited for"), "{done}");
    assert!(b.is_healthy(A));
    assert_eq!(b.max_size(), 20);
    let pid = b.property(A_UNIT, "MainPID");
    let environment = b.stack.systemd().unwrap().exec(&["cat", &format!("/proc/{pid}/environ")]).unwrap();
    assert!(environment.split('\0').any(|v| v == "POOL_MAX_SIZE=20"), "{environment}");
    assert_eq!(b.json(&ASK, 0)["outcome"], "nothing-to-do", "it is so already");
    b.undo(&done);
    assert_eq!(b.settings(), former);
    assert_eq!(b.property(C_UNIT, "MainPID"), innocent);
    b.heal();
}

fn somebody_elses_change_is_not_taken_back(b: &mut Bench) {
    let done = b.json(&ASK, 0);
    let file = b.stack.dir().join("units").join(format!("{A_UNIT}.d/zz-mcp-ir.conf"));
    fs::write(&file, "[Service]\nEnvironment=POOL_MAX_SIZE=15\n").unwrap();
    let refused = b.json(&["undo", done["incident"].as_str().unwrap(), "--yes"], 4);
    assert!(refused["reason"].as_str().unwrap().contains("changed by somebody else"), "{refused}");
    assert!(fs::read_to_string(&file).unwrap().contains("=15"));
    b.heal();
}

fn errata_38_ignored_it_is_rolled_back_and_says_which_file_wins(b: &mut Bench) {
    let file = b.stack.dir().join("units/their.env");
    fs::write(&file, "POOL_MAX_SIZE=10\n").unwrap();
    let booted = b.stack.systemd().unwrap();
    booted.drop_in(A_UNIT, "[Service]\nEnvironmentFile=/etc/systemd/system/their.env\n").unwrap();
    booted.systemctl(&["restart", A_UNIT]).unwrap();
    b.stack.wait_until_healthy().unwrap();
    let former = b.settings();
    let failed = b.json(&ASK, 6);
    let reason = failed["reason"].as_str().unwrap();
    assert!(reason.contains("EnvironmentFile=/etc/systemd/system/their.env sets it, and wins"), "{reason}");
    assert!(reason.contains("rolled back"), "{reason}");
    b.stack.wait_until_healthy().unwrap();
    assert_eq!(b.settings(), former);
    fs::remove_file(file).unwrap();
    b.heal();
}

fn errata_32_fatal_it_is_rolled_back(b: &mut Bench) {
    let booted = b.stack.systemd().unwrap();
    booted.drop_in(A_UNIT, "[Service]\nEnvironment=LAB_POOL_LARGEST=15\n").unwrap();
    booted.systemctl(&["restart", A_UNIT]).unwrap();
    b.stack.wait_until_healthy().unwrap();
    let former = b.settings();
    let run = b.tool.run(&b.stack, &[&ASK[..], &["-o", "json"]].concat()).unwrap();
    assert!(matches!(run.code, Some(5 | 6)), "{}", run.stdout);
    assert!(run.stdout.contains("rolled back"), "{}", run.stdout);
    b.stack.wait_until_healthy().unwrap();
    assert_eq!(b.settings(), former);
    b.heal();
}

/// Its process has the variable, and its pool is what it was (errata 33).
fn errata_33_a_variable_that_its_server_does_not_read_is_rolled_back(b: &mut Bench) {
    let (former, settings) = (b.settings(), b.stack.settings().clone());
    let config = fs::read_to_string(b.stack.config()).unwrap();
    assert!(config.contains("max_env = \"POOL_MAX_SIZE\""));
    // Its own alone: what the other has is known by its variable.
    fs::write(b.stack.config(), config.replacen("POOL_MAX_SIZE", "POOL_LARGEST", 1)).unwrap();
    let failed = b.json(&[&ASK[..], &["--wait", "4s"]].concat(), 5);
    let reason = failed["reason"].as_str().unwrap();
    assert!(reason.contains("not of 20") && reason.contains("rolled back"), "{reason}");
    b.stack.configure(&settings).unwrap();
    b.stack.wait_until_healthy().unwrap();
    assert_eq!(b.settings(), former);
    b.heal();
}

/// That its process has what we set proves nothing of its pool: what could not be verified is not begun.
fn where_its_payload_leaves_the_size_out_nothing_is_set(b: &mut Bench) {
    let (former, pid) = (b.property(C_UNIT, "Environment"), b.property(C_UNIT, "MainPID"));
    let ask = ["recover", "pool", "--service", "workflow-mcp", "--max-size", "20", "--yes"];
    let refused = b.json(&ask, 4);
    let reason = refused["reason"].as_str().unwrap();
    assert!(reason.contains("does not say the size of its pool"), "{reason}");
    assert_eq!((b.property(C_UNIT, "Environment"), b.property(C_UNIT, "MainPID")), (former, pid));
    b.heal();
}

/// `--persist`: the drop-in beside it, and still no restart.
fn it_is_kept_for_the_next_process_where_that_is_asked_for(b: &Bench) {
    let pid = b.property(A_UNIT, "MainPID");
    let kept = b.json(&[&ASK[..], &["--persist"]].concat(), 0);
    assert_eq!(kept["outcome"], "recovered", "{kept}");
    assert!(b.property(A_UNIT, "Environment").contains("POOL_MAX_SIZE=20"), "for its next process");
    assert_eq!(
        (b.max_size(), b.property(A_UNIT, "MainPID")),
        (20, pid),
        "and in this one, without a restart"
    );
    b.undo(&kept);
}

fn by_its_interface(b: &mut Bench) {
    let booted = b.stack.systemd().unwrap();
    booted.drop_in(A_UNIT, "[Service]\nEnvironment=LAB_RESIZE=1\n").unwrap();
    booted.systemctl(&["restart", A_UNIT]).unwrap();
    b.stack.wait_until_healthy().unwrap();
    let (former, pid) = (b.settings(), b.property(A_UNIT, "MainPID"));
    b.inject("client-pool-saturated/shape-a");
    let settings = b.stack.settings().clone();
    let config = fs::read_to_string(b.stack.config()).unwrap();
    let (without, with) =
        ("max_env = \"POOL_MAX_SIZE\" }", "max_env = \"POOL_MAX_SIZE\", resize = \"/admin/pool/resize\" }");
    assert!(config.contains(without));
    fs::write(b.stack.config(), config.replace(without, with)).unwrap();
    let done = b.json(&ASK, 0);
    assert_eq!(done["outcome"], "recovered", "{done}");
    assert_eq!((b.max_size(), b.property(A_UNIT, "MainPID")), (20, pid.clone()), "without a restart");
    b.undo(&done);
    assert_eq!((b.settings(), b.property(A_UNIT, "MainPID")), (former.clone(), pid.clone()));
    it_is_kept_for_the_next_process_where_that_is_asked_for(b);
    assert_eq!((b.settings(), b.property(A_UNIT, "MainPID")), (former, pid));
    b.stack.configure(&settings).unwrap();
    b.heal();
}
