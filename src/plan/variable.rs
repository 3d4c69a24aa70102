//! Which variables may be set for a service by a word: none that holds a secret (it would stand in a file that
//! all can read), and none by which a program is made to run something else.

/// Words in a name whose value is a secret, or an address that may hold one.
const SECRET: [&str; 10] =
    ["PASS", "SECRET", "TOKEN", "KEY", "CREDENTIAL", "DSN", "URL", "URI", "AUTH", "COOKIE"];
/// Beginnings and ends of names that tell a program, or its interpreter or loader, what to run or load, or whom
/// to trust.
const LOADER: [&str; 8] = ["LD_", "DYLD_", "GLIBC_", "GCONV_", "BASH_", "GIT_", "SSH_", "DOCKER_"];
const RUNS: [&str; 21] = [
    "PATH",
    "OPT",
    "OPTS",
    "OPTIONS",
    "ARGS",
    "LIB",
    "HOME",
    "SHELL",
    "ENV",
    "IFS",
    "STARTUP",
    "CONF",
    "CONFIG",
    "MODULES",
    "ENGINES",
    "BUNDLE",
    "BREAKPOINT",
    "WARNINGS",
    "EDITOR",
    "VISUAL",
    "PAGER",
];
/// Anywhere in a name: what it loads, whom it trusts, and who stands between.
const TRUSTS: [&str; 3] = ["PRELOAD", "CERT", "PROXY"];
const LONGEST: usize = 256;

/// `Err` says why not, without the value.
pub fn settable(name: &str, value: &str) -> Result<(), String> {
    let letters = |c: char| c.is_ascii_uppercase() || c.is_ascii_digit() || c == '_';
    if !name.starts_with(|c: char| c.is_ascii_uppercase()) || !name.chars().all(letters) {
        return Err(format!("`{name}` is no name of a variable (A-Z, 0-9 and _)"));
    }
    if SECRET.iter().any(|w| name.contains(w)) {
        return Err(format!("{name} may hold a secret: it belongs into a file that only its service reads"));
    }
    let last = name.rsplit('_').next().unwrap_or_default();
    let runs = RUNS.iter().any(|w| last.ends_with(w)) || TRUSTS.iter().any(|w| name.contains(w));
    let runs = runs || name.split('_').any(|w| w == "CONF" || w == "CONFIG");
    if runs || LOADER.iter().any(|w| name.starts_with(w)) {
        return Err(format!("{name} tells programs what to run or whom to trust: it is for people"));
    }
    // What systemd or a shell would take for something else is no plain value.
    let plain = |c: char| c.is_ascii_alphanumeric() || "._:,/-".contains(c);
    if value.len() > LONGEST || !value.chars().all(plain) {
        return Err(format!("the value of {name} is none of letters, digits and ._:,/-"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rule_9_what_may_hold_a_secret_is_not_written_nor_shown() {
        for name in ["DB_PASSWORD", "API_KEY", "SENTRY_DSN", "GITHUB_TOKEN", "DATABASE_URL", "PGPASSWORD"] {
            let why = settable(name, "hunter2").unwrap_err();
            assert!(why.contains("secret") && !why.contains("hunter2"), "{why}");
        }
    }

    #[test]
    fn rule_8_nothing_is_made_to_run_by_a_variable() {
        for name in [
            "LD_PRELOAD",
            "LD_LIBRARY_PATH",
            "PATH",
            "PYTHONPATH",
            "PYTHONSTARTUP",
            "NODE_OPTIONS",
            "PERL5OPT",
            "PERL5LIB",
            "RUBYOPT",
            "JAVA_TOOL_OPTIONS",
            "BASH_ENV",
            "ENV",
            "IFS",
            "PYTHONHOME",
            "SHELL",
            "GIT_EXEC",
            "GUNICORN_CMD_ARGS",
            "OPENSSL_CONF",
            "OPENSSL_MODULES",
            "OPENSSL_ENGINES",
            "APP_CONFIG_FILE",
            "PYTHONBREAKPOINT",
            "PYTHONWARNINGS",
            "HTTPS_PROXY",
            "NO_PROXY",
            "SSL_CERT_FILE",
            "SSL_CERT_DIR",
            "REQUESTS_CA_BUNDLE",
            "EDITOR",
        ] {
            assert!(settable(name, "x").unwrap_err().contains("what to run"), "{name}");
        }
        for name in ["", "a", "A B", "A=B", "A\nB", "1A", "_A"] {
            assert!(settable(name, "x").is_err(), "{name}");
        }
        for value in ["a b", "$(id)", "%h", "a\\", "\"", "a\nb", &"x".repeat(300)] {
            assert!(settable("WORKERS", value).is_err(), "{value}");
        }
    }

    #[test]
    fn what_tunes_a_service_may_be_set() {
        for (name, value) in [
            ("LOG_LEVEL", "WARNING"),
            ("MALLOC_ARENA_MAX", "2"),
            ("POOL_MAX_SIZE", "20"),
            ("WEB_CONCURRENCY", "4"),
            ("RUST_LOG", "info,hyper:warn"),
            ("CACHE_DIR", "/var/cache/x"),
            ("MALLOC_TRIM_THRESHOLD_", "65536"),
            ("X", ""),
        ] {
            assert_eq!(settable(name, value), Ok(()), "{name}");
        }
    }
}
