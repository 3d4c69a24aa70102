//! Promises about passwords and headers: in which order they are found, and that none is seen.

use super::*;
use crate::config::testbed::{Bed, really_root};

const PG: &str = "[[postgres]]\nurl='postgresql://ann@h:5433/x'\n";

fn found(bed: &Bed) -> Option<(String, String)> {
    let secrets = bed.loaded().secrets;
    secrets
        .password("postgres")
        .map(|p| (p.secret.reveal().to_owned(), p.source.to_string().replace(&bed.path(), "DIR")))
}

#[track_caller]
fn is(bed: &Bed, secret: &str, source: &str) {
    assert_eq!(found(bed), Some((secret.into(), source.into())));
}

#[test]
fn passwords_are_found_in_libpqs_order_after_ours() {
    let bed = Bed::new().config(PG);
    assert_eq!(found(&bed), None);
    bed.file("home/.pgpass", "h:5433:x:ann:five\n", 0o600);
    is(&bed, "five", "passfile DIR/home/.pgpass");
    let bed = bed.var("PGPASSWORD", "four");
    is(&bed, "four", "$PGPASSWORD");
    let bed = bed.config(&format!("{PG}password_env='PW'")).var("PW", "three");
    is(&bed, "three", "password_env $PW");
    bed.file("pw", "two\n", 0o600);
    let bed = bed.config(&format!("{PG}password_env='PW'\npassword_file='DIR/pw'"));
    is(&bed, "two", "password_file DIR/pw");
    let bed = bed.config("[[postgres]]\nurl='postgresql://ann:one@h/x'\npassword_file='DIR/pw'");
    is(&bed, "one", "url");
    let bed = bed.config("[[postgres]]\nurl='postgresql://ann@h/x?password=%6Fne'");
    is(&bed, "one", "url");
}

#[test]
fn a_password_leaves_the_configuration() {
    let loaded = Bed::new()
        .config("[[postgres]]\nurl='postgresql://ann:hunter2@h/x'\n[[redis]]\nurl='redis://:hun%74er2@h'")
        .loaded();
    assert_eq!(loaded.config.postgres[0].url.password.as_ref().unwrap().reveal(), MASK);
    assert_eq!(loaded.config.redis[0].url, "redis://:****@h");
    assert_eq!(loaded.secrets.redis("redis").unwrap().reveal(), "hunter2");
    assert!(!format!("{loaded:?}").contains("hunter2"), "not even {{:?}} shows it");
}

#[test]
fn a_password_file_holds_one_line() {
    let bed = |text: &str| {
        let bed = Bed::new().config(&format!("{PG}password_file='DIR/pw'"));
        bed.file("pw", text, 0o600);
        bed
    };
    is(&bed("a b "), "a b ", "password_file DIR/pw");
    is(&bed("crlf\r\n"), "crlf", "password_file DIR/pw");
    is(&bed("übel\n"), "übel", "password_file DIR/pw");
    bed("").error().says("password_file DIR/pw is empty", "alone, on one line");
    bed("\n").error().says("password_file DIR/pw is empty", "");
    let said = bed("hunter2\nhunter3\n").error();
    said.says("password_file DIR/pw has more than one line", "");
    assert!(!format!("{said:?}").contains("hunter"), "{said:?}");
    bed("a\0b").error().says("NUL", "");
}

#[test]
fn a_secret_file_that_is_missing_or_no_file_is_an_error_with_its_place() {
    let bed = Bed::new().config(&format!("{PG}password_file='DIR/gone'"));
    bed.error().says(
        "password_file DIR/gone does not exist",
        "take out `postgres[0].password_file` in DIR/c.toml:3",
    );
    let bed = Bed::new().config(&format!("{PG}password_file='DIR'"));
    bed.error().says("password_file DIR is a folder", "in DIR/c.toml:3");
    let bed = Bed::new().config(&format!("{PG}password_file='DIR/big'"));
    bed.file("big", vec![b'x'; 70_000], 0o600);
    bed.error().says("password_file DIR/big is larger than 64 KiB", "");
    let bed = Bed::new().config("[[redis]]\nurl='redis://h'\npassword_file='DIR/gone'");
    bed.error().says("does not exist", "`redis[0].password_file` in DIR/c.toml:3");
}

#[test]
fn a_secret_file_that_everybody_can_read_is_a_warning() {
    for (mode, warned) in [(0o600, false), (0o640, false), (0o644, true), (0o604, true)] {
        let bed = Bed::new().config(&format!("{PG}password_file='DIR/pw'"));
        bed.file("pw", "x", mode);
        let warnings = bed.loaded().warnings.join("\n").replace(&bed.path(), "DIR");
        assert_eq!(warnings.contains("can be read by everybody"), warned, "{mode:o}: {warnings}");
        assert_eq!(warnings.contains("chmod o-r DIR/pw"), warned);
    }
}

#[test]
fn a_configuration_with_a_password_that_everybody_can_read_is_a_warning() {
    let bed = Bed::new().config("[[postgres]]\nurl='postgresql://ann:hunter2@h/x'");
    assert!(bed.loaded().warnings.is_empty());
    bed.file("c.toml", "[[postgres]]\nurl='postgresql://ann:hunter2@h/x'", 0o644);
    assert!(
        bed.loaded().warnings[0].contains("has a password in a URL and can be read by everybody (mode 0644)")
    );
    bed.file("c.toml", "[[postgres]]\nurl='postgresql://ann@h/x'", 0o644);
    assert!(bed.loaded().warnings.is_empty());
}

#[test]
fn a_secret_file_that_this_user_may_not_read_is_left_out_with_a_warning() {
    if really_root() {
        return; // root reads everything
    }
    let bed = Bed::new().config(&format!("{PG}password_file='DIR/pw'"));
    bed.file("pw", "x", 0o000);
    assert_eq!(found(&bed), None);
    assert!(bed.loaded().warnings[0].contains("can't be read by you"));
}

#[test]
fn a_variable_that_is_not_set_is_a_warning_and_the_next_source_counts() {
    let bed = Bed::new().config(&format!("{PG}password_env='PW'")).var("PGPASSWORD", "four");
    is(&bed, "four", "$PGPASSWORD");
    let warnings = bed.loaded().warnings.join("\n").replace(&bed.path(), "DIR");
    assert_eq!(warnings, "$PW is not set: password_env of postgres in DIR/c.toml:3 gives no password");
}

#[test]
fn a_passfile_that_others_may_read_is_passed_over_as_libpq_does() {
    for mode in [0o640, 0o604, 0o660] {
        let bed = Bed::new().config(PG);
        bed.file("home/.pgpass", "*:*:*:*:x\n", mode);
        assert_eq!(found(&bed), None);
        let warning = bed.loaded().warnings.join("\n").replace(&bed.path(), "DIR");
        assert!(
            warning.contains(&format!(
                "passfile DIR/home/.pgpass is not used: others than you may read it (mode {mode:04o})"
            )),
            "{warning}"
        );
        assert!(warning.contains("chmod 0600 DIR/home/.pgpass"), "{warning}");
    }
}

#[test]
fn pgpassfile_names_another_and_a_missing_one_is_quiet() {
    let bed = Bed::new().config(PG);
    bed.file("home/.pgpass", "*:*:*:*:home\n", 0o600);
    let other = bed.file("other", "*:*:*:*:other\n", 0o600).display().to_string();
    let bed = bed.var("PGPASSFILE", &other);
    is(&bed, "other", "passfile DIR/other");
    let bed = bed.var("PGPASSFILE", "/nonexistent/x");
    assert_eq!((found(&bed), bed.loaded().warnings), (None, Vec::new()));
    let folder = bed.path();
    let bed = bed.var("PGPASSFILE", &folder);
    assert!(
        bed.loaded().warnings[0].contains("is a folder, not a file: it is not used"),
        "{:?}",
        bed.loaded().warnings
    );
}

#[test]
fn headers_are_read_and_never_seen() {
    let text = "[[service]]\nname='x'\nurl='http://x'\nheaders_file='DIR/h'";
    let bed = Bed::new().config(text);
    bed.file("h", "# to the gateway\n\nAuthorization: Bearer hunter2:x\r\n X-Tenant :  t \n", 0o600);
    bed.error().says("headers_file DIR/h:4 has a header name that can't be one", "Name: value");
    bed.file("h", "# to the gateway\n\nAuthorization: Bearer hunter2:x\r\n X-Tenant:  t \n", 0o600);
    let loaded = bed.loaded();
    let seen: Vec<_> =
        loaded.secrets.headers("x").iter().map(|h| (h.name.as_str(), h.value.reveal())).collect();
    assert_eq!(seen, [("Authorization", "Bearer hunter2:x"), ("X-Tenant", "t")]);
    assert!(loaded.secrets.headers("y").is_empty());
    assert!(!format!("{loaded:?}").contains("hunter2"));
    for (line, why) in [
        ("hunter2", "has no `:`"),
        (": hunter2", "header name"),
        ("X-A:", "no value"),
        ("X-A: hunter2\u{7f}", "a letter that a header can't carry"),
        ("X-Ä: hunter2", "header name"),
        ("X-A: hünter2", "a letter that a header can't carry"),
    ] {
        bed.file("h", format!("\n{line}\n"), 0o600);
        let said = bed.error();
        said.says("headers_file DIR/h:2 ", "Name: value");
        said.says(why, "");
        assert!(!format!("{said:?}").contains("nter2"), "{said:?}");
    }
}
