//! Log files as Debian's PostgreSQL writes them, and as they must not be believed.

use std::fs;

use super::*;

const DEBIAN: &str = "2026-11-24 18:19:49.368 UTC [701] LOG:  unrecognized configuration parameter \"max_connection\" in file \"/etc/p.conf\" line 1
2026-11-24 18:19:49.369 UTC [701] FATAL:  configuration file \"/etc/p.conf\" contains errors
2026-11-24 18:19:50.000 UTC [702] LOG:  connection received: host=[local]
2026-11-24 18:19:51.000 UTC [703] LOG:  server process (PID 798) was terminated by signal 9: Killed
2026-11-24 18:19:51.000 UTC [703] DETAIL:  Failed process was running: SELECT * FROM t WHERE name = 'Anna' AND id = 7
";

fn at(text: &str) -> Timestamp {
    text.parse().unwrap()
}

#[test]
fn telling_lines_are_kept_with_their_time_and_no_others() {
    let lines = parse(DEBIAN);
    assert_eq!(lines.len(), 4, "{lines:?}");
    assert_eq!(lines[1].at, at("2026-11-24T18:19:49.369Z"));
    assert_eq!(lines[1].priority, 3);
}

#[test]
fn what_a_statement_held_is_not_kept() {
    let last = parse(DEBIAN).pop().unwrap();
    assert!(last.text.ends_with("running: SELECT * FROM t WHERE name = ? AND id = ?"), "{}", last.text);
}

#[test]
fn a_line_without_a_time_counts_for_nothing() {
    for line in ["FATAL:  data directory has wrong ownership", "[12] FATAL:  x", "24.11.2026 FATAL:  x", ""] {
        assert_eq!(parse(line), vec![], "{line}");
    }
}

#[test]
fn a_time_is_read_in_its_own_zone() {
    let of = |line: &str| time(line).unwrap();
    assert_eq!(of("2026-11-24 18:00:00 GMT FATAL:  x"), at("2026-11-24T18:00:00Z"));
    assert_eq!(of("[12] 2026-11-24 18:00:00.5 +03 FATAL:  x"), at("2026-11-24T15:00:00.5Z"));
    assert_eq!(time("2026-13-24 18:00:00 UTC FATAL:  x"), None);
}

#[test]
fn a_zone_that_is_not_this_machines_has_no_known_time() {
    let noon = at("2026-11-24T12:00:00Z");
    let own = TimeZone::system();
    let (local, name) = (own.to_datetime(noon), own.to_offset_info(noon).abbreviation().to_owned());
    let line = format!("{} {} {name} FATAL:  x", local.date(), local.time());
    assert_eq!(time(&line), Some(noon), "{line}");
    for zone in ["XYZT", "+0530", "[7]"] {
        assert_eq!(time(&format!("2026-11-24 12:00:00 {zone} FATAL:  x")), None, "{zone}");
    }
}

#[test]
fn only_the_end_of_a_long_log_is_read_and_its_first_line_is_whole() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("log");
    let line = "2026-11-24 18:00:00.000 UTC [1] FATAL:  the database system is starting up\n";
    fs::write(&path, line.repeat(20_000)).unwrap();
    let (text, cut) = tail(&path).unwrap();
    assert!(cut);
    let lines = parse(&text);
    assert_eq!(lines.len(), LINES);
    assert!(lines.iter().all(|l| l.text == line.trim_end()));
}

#[test]
fn a_pipe_is_no_log_and_waits_for_nobody() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("log");
    let made = std::process::Command::new("mkfifo").arg(&path).status().unwrap();
    assert!(made.success());
    assert_eq!(tail(&path).unwrap_err().kind, FailKind::Unsupported);
}

#[test]
fn a_log_is_found_where_it_is_configured_collected_or_debians() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().to_str().unwrap().to_owned();
    let url = "postgresql://a@127.0.0.1/b".parse().unwrap();
    let mut p: Postgres = serde_json::from_value(serde_json::json!({"url": "postgresql://a@h/b"})).unwrap();
    p.url = url;
    assert_eq!(read("/proc", &p).unwrap_err().kind, FailKind::Missing);
    fs::create_dir(dir.path().join("log")).unwrap();
    fs::write(dir.path().join("log/a.log"), DEBIAN).unwrap();
    fs::write(dir.path().join("current_logfiles"), "csvlog log/a.csv\nstderr log/a.log\n").unwrap();
    p.data_directory = Some(data.clone());
    assert_eq!(read("/proc", &p).unwrap().path, format!("{data}/log/a.log"));
    p.log = Some(format!("{data}/log/a.log"));
    assert_eq!(read("/proc", &p).unwrap().lines.len(), 4);
    let debians = |unit: Option<&str>, data: &str| {
        debian(&Postgres { unit: unit.map(Into::into), data_directory: Some(data.into()), ..p.clone() })
    };
    let main = Some("/var/log/postgresql/postgresql-15-main.log".to_owned());
    assert_eq!(debians(Some("postgresql@15-main.service"), "/data"), main);
    assert_eq!(debians(None, "/var/lib/postgresql/15/main/"), main);
    assert_eq!(debians(Some("postgresql.service"), "/data"), None);
}

proptest::proptest! {
    #[test]
    fn any_text_is_read_without_a_panic(text in ".{0,300}") {
        let _ = parse(&text);
        let _ = time(&text);
    }
}
