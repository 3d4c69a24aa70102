//! A state folder that does not answer: a file system that is frozen under it, as a dead disk or server does
//! it to who writes there. It must not hold up the cure; the journal is elsewhere then, and that is said.

use std::fs;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use crate::bench::{A, A_UNIT, Bench};

/// How long it stays frozen; a thread that waits for it ends no sooner.
const FROZEN: u64 = 20;

/// In mounts of its own, with another place of its own: others' tools look there as well. Thawed whatever
/// becomes of the tool.
const SCRIPT: &str = r#"
set -e
mkdir -p "$1"
mount -o loop "$2" "$1"
mkdir -p "$1/incidents"
head -c 262144 /dev/zero > "$1/ballast"
mkdir -p /run/mcp-ir
mount -t tmpfs tmpfs /run/mcp-ir
fsfreeze -f "$1"
state=$1; shift 2
"$@" & tool=$!
sleep "$FROZEN"
fsfreeze -u "$state"
wait $tool && code=0 || code=$?
cp -r /run/mcp-ir/incidents "$SPARE"
umount "$state" || true
exit $code
"#;

#[test]
#[expect(clippy::disallowed_macros, reason = "a test that is left out says so")]
fn rule_2_and_10_a_state_folder_that_hangs_holds_up_no_cure() {
    let Some(mut b) = Bench::start() else { return };
    let (state, image) = (b.stack.dir().join("hung"), b.stack.dir().join("hung.image"));
    fs::File::create(&image).unwrap().set_len(16 << 20).unwrap();
    let made = Command::new("mkfs.ext4").args(["-q", "-F"]).arg(&image).status();
    let mut able = Command::new("unshare");
    able.args(["-m", "sh", "-c", "mount -o loop \"$1\" /mnt", "sh"]).arg(&image).stderr(Stdio::null());
    let able = able.status();
    if !(made.is_ok_and(|s| s.success()) && able.is_ok_and(|s| s.success())) {
        println!("left out: no file system can be mounted here");
        return;
    }
    b.inject("stopped/exit-0");
    b.forget_incidents();
    let tool = b.tool.command(&b.stack, &["recover", "server", "--yes"]);
    let mut command = Command::new("unshare");
    command.args(["-m", "sh", "-c", SCRIPT, "sh"]).arg(&state).arg(&image);
    command.arg(tool.get_program()).args(tool.get_args());
    for (name, value) in tool.get_envs().filter_map(|(n, v)| Some((n, v?))) {
        command.env(name, value);
    }
    let spare = b.stack.dir().join("spare");
    command.env("MCP_IR_STATE_DIR", &state).env("FROZEN", FROZEN.to_string()).env("SPARE", &spare);
    let (out, err) = (b.stack.dir().join("hung.out"), b.stack.dir().join("hung.err"));
    command.stdin(Stdio::null());
    command.stdout(fs::File::create(&out).unwrap()).stderr(fs::File::create(&err).unwrap());
    let begun = Instant::now();
    let mut child = command.spawn().unwrap();
    while !b.is_healthy(A) && begun.elapsed() < Duration::from_secs(FROZEN + 30) {
        std::thread::sleep(Duration::from_millis(20));
    }
    let healed = begun.elapsed();
    let code = child.wait().unwrap().code();
    let said = fs::read_to_string(&out).unwrap() + &fs::read_to_string(&err).unwrap();
    assert!(healed < Duration::from_secs(FROZEN), "it waited for the folder: {healed:?}\n{said}");
    assert_eq!((code, b.property(A_UNIT, "ActiveState").as_str()), (Some(0), "active"), "{said}");
    assert!(said.contains("/run/mcp-ir/incidents/"), "where its journal is: {said}");
    // Ours alone: by the id that it told.
    let id = said.split_whitespace().find(|w| w.starts_with("INC-")).unwrap();
    let name = id.trim_end_matches(|c: char| !c.is_ascii_alphanumeric());
    let lines = fs::read_to_string(spare.join(format!("{name}.jsonl"))).unwrap();
    let at = |event: &str| lines.find(&format!("\"event\":\"{event}\"")).unwrap();
    assert!(at("intent") < at("done") && at("verified") < at("ended"), "{lines}");
    b.heal();
}
