//! A remedy after another, on one stack.

use lab::TOOL;

use crate::bench::{A, A_UNIT, Bench, C_UNIT, until};

#[test]
fn what_is_broken_is_mended_verified_and_taken_back() {
    let Some(mut b) = Bench::start() else { return };
    nothing_wrong_is_nothing_done(&b);
    errata_51_its_memory_is_that_of_its_units_main_process(&b);
    let innocent = b.property(C_UNIT, "MainPID");
    a_stopped_service_is_started_and_stopped_again(&mut b);
    rule_4_of_two_recoveries_at_the_same_moment_one_acts(&mut b);
    others_are_mended(&mut b);
    assert_eq!(b.property(C_UNIT, "MainPID"), innocent, "the other service was not touched");
    what_a_service_needs_is_started_or_waited_for(&mut b);
    of_all_what_died_comes_back_in_order(&mut b);
    a_stopped_database_is_started_and_stopped_again(&mut b);
    the_root_of_a_chain_is_ended_and_no_innocent(&mut b);
}

#[test]
fn who_hangs_goes_on_or_begins_anew_and_so_does_who_leaks() {
    let Some(mut b) = Bench::start() else { return };
    for fault in ["hung/postmaster", "hung/cluster"] {
        let unit = b.stack.postgres_unit();
        let main = b.property(&unit, "MainPID");
        b.inject(fault);
        let done = b.json(&["recover", "db", "--yes", "--wait", "20s"], 0);
        assert_eq!(done["outcome"], "recovered", "{fault}: {done}");
        assert!(b.stack.cluster().accepts(), "{fault}");
        assert_eq!(b.property(&unit, "MainPID"), main, "{fault}: it was not restarted");
        b.heal();
    }
    for (fault, scenario) in [("hung/deaf", "server"), ("pool-leak/shape-a", "pool")] {
        // Who is just starting is let alone.
        if scenario == "server" {
            std::thread::sleep(std::time::Duration::from_secs(31));
        }
        b.inject(fault);
        let before = b.property(A_UNIT, "MainPID");
        let done = b.json(&["recover", scenario, "--yes", "--wait", "20s"], 0);
        assert_eq!(done["outcome"], "recovered", "{fault}: {done}");
        assert!(b.is_healthy(A), "{fault}");
        assert_ne!(b.property(A_UNIT, "MainPID"), before, "{fault}");
        rule_5_what_is_restarted_was_looked_at_before(&b);
        b.heal();
    }
}

/// He may look, and is told before anything is begun what he may not do.
#[test]
fn who_may_not_start_a_unit_is_told_before_anything_is_begun() {
    let Some(mut b) = Bench::start() else { return };
    let booted = b.stack.systemd().unwrap();
    booted.systemctl(&["stop", A_UNIT]).unwrap();
    let settings = lab::Settings { plain_user: true, ..b.stack.settings().clone() };
    b.stack.configure(&settings).unwrap();
    b.tool.diagnose(&b.stack, &b.stack.dir().join("looked.json"), None).unwrap();
    let ask = ["recover", "server", "--service", A];
    // Where there is a polkit, it is for that to allow, at the act.
    b.json(&[&ask[..], &["--yes"]].concat(), 4);
    assert_eq!(b.property(A_UNIT, "ActiveState"), "inactive");
    let _ = std::fs::remove_dir_all(b.stack.dir().join("plain/state/incidents"));
    // Its root is an overlay: this takes it from nobody else.
    let booted = b.stack.systemd().unwrap();
    booted
        .exec(&["rm", "-f", "/usr/share/dbus-1/system-services/org.freedesktop.PolicyKit1.service"])
        .unwrap();
    let _ = booted.systemctl(&["stop", "polkit.service"]);
    let bus = ["org.freedesktop.DBus", "/org/freedesktop/DBus", "org.freedesktop.DBus", "ReloadConfig"];
    booted.exec(&[&["busctl", "call"], &bus[..]].concat()).unwrap();
    let plan = b.json(&[&ask[..], &["--plan"]].concat(), 0);
    assert!(plan["notes"].to_string().contains("step 1 may not be done"), "{plan}");
    let refused = b.json(&[&ask[..], &["--yes"]].concat(), 4);
    let reason = refused["reason"].as_str().unwrap();
    assert!(reason.contains("step 1 may not be done") && reason.contains("run it as root"), "{reason}");
    let list = b.json(&["incident", "list"], 0);
    assert_eq!(list["incidents"].as_array().unwrap().len(), 0, "no journal was begun: {list}");
    assert_eq!(b.property(A_UNIT, "ActiveState"), "inactive");
}

fn nothing_wrong_is_nothing_done(b: &Bench) {
    let pid = b.property(A_UNIT, "MainPID");
    assert_eq!(b.json(&["recover", "--yes"], 0)["outcome"], "nothing-to-do");
    assert_eq!(b.property(A_UNIT, "MainPID"), pid);
    assert!(b.journal().is_empty(), "no incident for nothing");
}

/// Both services are the same program: by its name there are two, and each of the lab's beside.
fn errata_51_its_memory_is_that_of_its_units_main_process(b: &Bench) {
    let save = b.stack.dir().join("looked.json");
    b.run(&["diagnose", "--save", save.to_str().unwrap()], 0);
    let look: serde_json::Value = serde_json::from_str(&std::fs::read_to_string(&save).unwrap()).unwrap();
    for (name, unit) in [(A, A_UNIT), ("workflow-mcp", C_UNIT)] {
        let process = &look["host"]["taken"][name]["process"]["value"];
        assert_eq!(process["pid"].to_string(), b.property(unit, "MainPID"), "{process}");
        assert!(process["resident"].as_u64().unwrap() > 1 << 20, "{process}");
    }
}

fn a_stopped_service_is_started_and_stopped_again(b: &mut Bench) {
    b.inject("stopped/exit-0");
    let plan = b.json(&["recover", "server", "--plan"], 0);
    assert_eq!((&plan["outcome"], &plan["steps"][0]["status"]), (&"planned".into(), &"planned".into()));
    let refused = b.json(&["recover", "server"], 4);
    assert!(refused["reason"].as_str().unwrap().contains("nothing was changed"));
    assert_eq!(b.property(A_UNIT, "ActiveState"), "inactive", "a plan and a refusal change nothing");
    let done = b.json(&["recover", "server", "--yes", "--reason", "a test"], 0);
    assert_eq!(done["outcome"], "recovered", "{done}");
    assert!(done["verification"]["looks"].as_u64().unwrap() >= 3);
    assert!(b.is_healthy(A) && b.property(A_UNIT, "ActiveState") == "active");
    b.undo(&done);
    assert_eq!(b.property(A_UNIT, "ActiveState"), "inactive");
    let again = b.json(&["undo", done["incident"].as_str().unwrap(), "--yes"], 0);
    assert_eq!(again["outcome"], "nothing-to-do");

    // Rule 3: what somebody else started since then is not ours to stop.
    let done = b.json(&["recover", "server", "--yes"], 0);
    b.stack.systemd().unwrap().systemctl(&["restart", A_UNIT]).unwrap();
    let refused = b.json(&["undo", done["incident"].as_str().unwrap(), "--yes"], 4);
    assert!(refused["reason"].as_str().unwrap().contains("started anew"), "{refused}");
    assert_eq!(b.property(A_UNIT, "ActiveState"), "active");
    b.heal();
}

/// A start that takes two seconds.
fn slow_and_stopped(b: &Bench) {
    let booted = b.stack.systemd().unwrap();
    booted.drop_in(A_UNIT, "[Service]\nExecStartPre=/bin/sleep 2\n").unwrap();
    booted.systemctl(&["stop", A_UNIT]).unwrap();
    b.forget_incidents();
}

fn rule_4_of_two_recoveries_at_the_same_moment_one_acts(b: &mut Bench) {
    // Both at the same moment: whoever comes second does nothing, whatever it saw.
    slow_and_stopped(b);
    let mut both = [b.spawn(&["recover", "server", "--yes"]), b.spawn(&["recover", "server", "--yes"])];
    let codes = both.each_mut().map(|c| c.wait().unwrap().code().unwrap());
    // It is refused by the lock, or comes after it and finds it starting, which is not known, or well.
    assert!(codes.contains(&0) && codes.iter().all(|c| matches!(c, 0 | 3 | 4)), "{codes:?}");
    let starts =
        b.all_events().iter().filter(|e| e["event"] == "intent" && e["act"]["act"] == "start-unit").count();
    assert_eq!(starts, 1, "one start, in all journals: {codes:?}");
    assert!(b.is_healthy(A));
    b.heal();
}

fn others_are_mended(b: &mut Bench) {
    for (fault, scenario) in [
        ("failed/exit-1", "server"),
        ("unhealthy/shape-a", "server"),
        ("hung/stopped", "server"),
        ("not-listening/closed", "server"),
    ] {
        b.inject(fault);
        let before = b.property(A_UNIT, "MainPID");
        let done = b.json(&["recover", scenario, "--yes", "--wait", "20s"], 0);
        assert_eq!(done["outcome"], "recovered", "{fault}: {done}");
        assert!(b.is_healthy(A), "{fault}");
        let restarted = b.events().contains(&"captured".to_owned());
        assert_eq!(restarted, fault != "failed/exit-1" && fault != "hung/stopped", "{fault}");
        if restarted {
            rule_5_what_is_restarted_was_looked_at_before(b);
        }
        assert_eq!(b.property(A_UNIT, "MainPID") == before, fault == "hung/stopped", "{fault}");
        b.heal();
    }
}

/// On disk before the first step begins: the whole look, which `diagnose --from` judges again.
fn rule_5_what_is_restarted_was_looked_at_before(b: &Bench) {
    let kept = |e: &serde_json::Value| e["file"].as_str().is_some_and(|f| f.ends_with(".evidence.txt"));
    let journal = b.journal();
    let at = journal.iter().position(kept).expect("what its process was doing is kept");
    assert!(at < journal.iter().position(|e| e["event"] == "intent").unwrap(), "errata 49: before it ends");
    let text = std::fs::read_to_string(journal[at]["file"].as_str().unwrap()).unwrap();
    for part in ["codebase-mcp/threads.txt", "Max open files", "memory.max"] {
        assert!(text.contains(part), "{part}: {text}");
    }
    let events = b.events();
    let at = |e: &str| events.iter().position(|x| x == e).unwrap();
    assert!(at("captured") < at("intent"), "{events:?}");
    let captured = &b.journal()[at("captured")];
    let file = captured["file"].as_str().unwrap();
    let judged = b.tool.run(&b.stack, &["diagnose", "--from", file]).unwrap();
    assert_eq!(judged.code, Some(1), "what was wrong then: {}{}", judged.stdout, judged.stderr);
}

fn of_all_what_died_comes_back_in_order(b: &mut Bench) {
    b.inject("postgres-stopped");
    b.stack.systemd().unwrap().systemctl(&["kill", "-s", "KILL", A_UNIT]).unwrap();
    until("it is down", || b.property(A_UNIT, "ActiveState") == "failed");
    let done = b.json(&["recover", "all", "--yes", "--wait", "30s"], 0);
    assert_eq!(done["outcome"], "recovered", "{done}");
    let steps: Vec<&str> =
        done["steps"].as_array().unwrap().iter().map(|s| s["describe"].as_str().unwrap()).collect();
    assert_eq!(steps, [format!("start {}", b.stack.postgres_unit()), format!("start {A_UNIT}")]);
    assert!(b.stack.cluster().accepts() && b.is_healthy(A) && b.is_healthy("workflow-mcp"));
    b.heal();
}

fn what_a_service_needs_is_started_or_waited_for(b: &mut Bench) {
    b.inject("dependency-down/redis-stopped");
    let unit = "redis-server.service";
    assert_eq!(b.property(unit, "ActiveState"), "inactive");
    let done = b.json(&["recover", "server", "--yes", "--wait", "20s"], 0);
    assert_eq!(done["outcome"], "recovered", "{done}");
    assert_eq!(b.property(unit, "ActiveState"), "active");
    b.undo(&done);
    assert_eq!(b.property(unit, "ActiveState"), "inactive");
    b.heal();
    b.inject("dependency-down/redis-loading");
    let main = b.property(unit, "MainPID");
    let done = b.json(&["recover", "server", "--yes", "--wait", "30s"], 0);
    assert_eq!(done["outcome"], "recovered", "{done}");
    assert_eq!(b.property(unit, "MainPID"), main, "it was waited for");
    b.heal();
}

fn a_stopped_database_is_started_and_stopped_again(b: &mut Bench) {
    let unit = b.stack.postgres_unit();
    b.inject("postgres-stopped");
    let refused = b.json(&["recover", "server", "--service", A, "--yes"], 4);
    assert!(refused["hints"][0].as_str().unwrap().ends_with("recover db"), "{refused}");
    let done = b.json(&["recover", "db", "--yes"], 0);
    assert_eq!(done["outcome"], "recovered", "{done}");
    assert!(b.stack.cluster().accepts());
    b.undo(&done);
    assert!(!b.stack.cluster().accepts());
    assert_eq!(b.property(&unit, "ActiveState"), "inactive");
    b.heal();
}

fn sessions(b: &Bench, of: &str) -> Vec<String> {
    let sql = format!(
        "SELECT pid FROM pg_stat_activity WHERE backend_type = 'client backend' AND application_name {of} ORDER BY 1"
    );
    b.stack.cluster().sql(&sql).unwrap()
}

/// No file of this host says so: PostgreSQL does.
fn rule_4_a_run_from_another_host_holds_the_server(b: &Bench) {
    let theirs = b.stack.cluster().session("codebase_mcp").unwrap();
    let key = (0x6d63_7069, 0x7265_636f);
    theirs.run(&format!("SELECT pg_advisory_lock({}, {})", key.0, key.1)).unwrap();
    let refused = b.json(&["recover", "pool", "--yes"], 4);
    assert!(refused["reason"].as_str().unwrap().contains("is being recovered by a run from"), "{refused}");
    assert_eq!(sessions(b, "= 'migration'").len(), 1);
}

fn the_root_of_a_chain_is_ended_and_no_innocent(b: &mut Bench) {
    b.stack.cluster().sql(&format!("REVOKE pg_signal_backend FROM {}", TOOL.role)).unwrap();
    b.inject("blocking-chain/migration");
    let refused = b.json(&["recover", "pool", "--yes"], 4);
    let reason = refused["reason"].as_str().unwrap();
    assert!(
        reason.contains("step 1 may not be done") && reason.contains("GRANT pg_signal_backend"),
        "{reason}"
    );
    assert!(b.journal().is_empty(), "said before anything is begun");
    let plan = b.json(&["recover", "pool", "--plan"], 0);
    assert!(plan["notes"].to_string().contains("GRANT pg_signal_backend"), "{plan}");
    assert_eq!(sessions(b, "= 'migration'").len(), 1);
    b.stack.cluster().sql(&format!("GRANT pg_signal_backend TO {}", TOOL.role)).unwrap();
    rule_4_a_run_from_another_host_holds_the_server(b);
    let innocents = sessions(b, "LIKE '%-mcp'");
    assert!(innocents.len() > 5);
    let done = b.json(&["recover", "pool", "--yes"], 0);
    assert_eq!(done["outcome"], "recovered", "{done}");
    assert!(sessions(b, "= 'migration'").is_empty());
    let after = sessions(b, "LIKE '%-mcp'");
    assert!(innocents.iter().all(|p| after.contains(p)), "none was lost: {innocents:?} {after:?}");
    b.stack.cluster().sql(&format!("REVOKE pg_signal_backend FROM {}", TOOL.role)).unwrap();
    b.heal();
}
