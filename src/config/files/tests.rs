//! Promises about what is read and what a path looks like in a hint.

use std::fs;

use super::*;
use crate::config::testbed::{Bed, really_root};

#[test]
fn a_path_is_quoted_as_a_shell_wants_it() {
    let q = |p: &str| quoted(Path::new(p));
    assert_eq!(q("/etc/mcp-ir/config.toml"), "/etc/mcp-ir/config.toml");
    assert_eq!(q("/a b/$x"), "'/a b/$x'");
    assert_eq!(q("/it's"), r"'/it'\''s'");
    assert_eq!(q(""), "''");
}

#[test]
fn every_folder_on_the_way_is_judged_on_both_sides_of_a_link() {
    let dir = tempfile::tempdir().unwrap();
    let real = dir.path().canonicalize().unwrap();
    std::fs::create_dir_all(real.join("a/b")).unwrap();
    std::fs::write(real.join("a/b/f"), "").unwrap();
    std::os::unix::fs::symlink(real.join("a/b"), real.join("link")).unwrap();
    let seen = folders(&real.join("link/f"));
    for folder in [real.join("link"), real.join("a/b"), real.join("a"), real.clone(), "/".into()] {
        assert!(seen.contains(&folder), "{folder:?} in {seen:?}");
    }
}

#[test]
fn a_missing_file_is_told_from_a_denied_and_a_broken_one() {
    let missing = read(Path::new("/nonexistent/x"), "file", 10, false);
    assert!(matches!(missing, Err(Failed::Missing)), "{missing:?}");
    let under_a_file = read(Path::new("/dev/null/x"), "file", 10, false);
    assert!(matches!(under_a_file, Err(Failed::Other(_))), "{under_a_file:?}");
    let denied = Failed::Denied.error("headers_file", Path::new("/x"));
    assert_eq!(denied.message, "headers_file /x can't be read: permission denied");
}

#[test]
fn as_root_a_file_of_another_is_refused() {
    let bed = Bed::new().config("").root();
    if really_root() {
        bed.loaded();
        let path = bed.flags.config.clone().unwrap();
        std::os::unix::fs::chown(&path, Some(4242), None).unwrap();
        bed.error().says(
            "configuration file DIR/c.toml is refused: it belongs to uid 4242 (mode 0600)",
            "chown root: DIR/c.toml && chmod go-w DIR/c.toml",
        );
    } else {
        bed.error()
            .says("configuration file DIR/c.toml is refused: it belongs to uid", "chown root: DIR/c.toml");
    }
}

#[test]
fn as_root_a_file_that_others_can_write_is_refused() {
    if !really_root() {
        return; // a file can't be made root's
    }
    let bed = Bed::new().config("").root();
    let path: PathBuf = bed.flags.config.clone().unwrap();
    use std::os::unix::fs::PermissionsExt;
    let mode =
        |path: &std::path::Path, mode| fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    for loose in [0o620, 0o602, 0o666] {
        mode(&path, loose);
        bed.error()
            .says(&format!("others than its owner can write it (mode {loose:04o})"), "chmod go-w DIR/c.toml");
    }
    mode(&path, 0o644);
    bed.loaded();
    mode(bed.dir.path(), 0o777);
    bed.error().says("others can write its folder DIR (mode 0777)", "chmod go-w DIR");
    mode(bed.dir.path(), 0o1777);
    bed.loaded();
    std::os::unix::fs::chown(bed.dir.path(), Some(4242), None).unwrap();
    bed.error().says("its folder DIR belongs to uid 4242", "/etc/mcp-ir");
}

#[test]
fn as_root_a_link_is_followed_to_what_it_names() {
    if !really_root() {
        return;
    }
    let mut bed = Bed::new().root();
    let loose = bed.file("loose/c.toml", "", 0o666);
    let link = bed.dir.path().join("link.toml");
    std::os::unix::fs::symlink(&loose, &link).unwrap();
    bed.flags.config = Some(link);
    bed.error().says("configuration file DIR/link.toml is refused: others than its owner can write it", "");
}

#[test]
fn as_root_every_file_and_program_that_is_named_is_judged() {
    if !really_root() {
        return;
    }
    let service = "[[service]]\nname='x'\nurl='https://x'\n";
    for (what, text) in [
        ("password_file", "[[postgres]]\nurl='postgresql://a@h/x'\npassword_file='DIR/f'".to_owned()),
        ("password_file", "[[redis]]\nurl='redis://h'\npassword_file='DIR/f'".to_owned()),
        ("headers_file", format!("{service}headers_file='DIR/f'")),
        ("ca_file", format!("{service}ca_file='DIR/f'")),
        (
            "sslrootcert",
            "[[postgres]]\nurl='postgresql://a@h/x?sslmode=verify-full&sslrootcert=DIR/f'".to_owned(),
        ),
        ("capture program", format!("{service}capture=[{{argv=['DIR/f']}}]")),
        ("smoke program", format!("{service}smoke={{argv=['DIR/f']}}")),
        ("deploy program", format!("{service}deploy={{argv=['DIR/f']}}")),
    ] {
        let bed = Bed::new().config(&text).root();
        let file = bed.file("f", "a: b", 0o700);
        bed.loaded();
        std::os::unix::fs::chown(&file, Some(4242), None).unwrap();
        bed.error().says(&format!("{what} DIR/f is refused: it belongs to uid 4242"), "names it");
        let plain = Bed { env: crate::config::Env { euid: 1000, ..bed.env }, ..bed };
        plain.loaded();
    }
}

#[test]
fn as_root_what_lies_in_anothers_home_is_passed_over_not_refused() {
    if !really_root() {
        return;
    }
    let bed = Bed::new().root();
    let crt = bed.file("home/.postgresql/root.crt", "pem", 0o644);
    let pass = bed.file("home/.pgpass", "*:*:*:*:x\n", 0o600);
    let loaded = bed.loaded();
    assert!(
        loaded.config.postgres[0].url.sslrootcert.is_some() && loaded.secrets.password("postgres").is_some()
    );
    std::os::unix::fs::chown(&crt, Some(4242), None).unwrap();
    std::os::unix::fs::chown(&pass, Some(4242), None).unwrap();
    let loaded = bed.loaded();
    assert!(
        loaded.config.postgres[0].url.sslrootcert.is_none() && loaded.secrets.password("postgres").is_none()
    );
    assert!(loaded.warnings[0].ends_with("it is not used"), "{:?}", loaded.warnings);
}
