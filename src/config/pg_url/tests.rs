//! Promises about PostgreSQL URLs: libpq's reading, and a password that is never shown.

use super::*;

fn url(text: &str) -> PgUrl {
    text.parse().unwrap_or_else(|e| panic!("{text}: {e}"))
}

#[track_caller]
fn refused(text: &str, why: &str) {
    let e = text.parse::<PgUrl>().unwrap_err();
    assert!(e.contains(why), "{text}: {e}");
}

fn tcp(host: &str) -> PgHost {
    PgHost::Tcp(host.into())
}

#[test]
fn every_part_is_read() {
    let u = url(
        "postgresql://ann:p%40ss@db.example:6000/shop?sslmode=require&connect_timeout=3&application_name=x%20y&options=-c%20search_path%3Da",
    );
    assert_eq!((u.user.as_str(), u.password.as_ref().unwrap().reveal()), ("ann", "p@ss"));
    assert_eq!((u.host, u.port, u.dbname.as_str()), (tcp("db.example"), 6000, "shop"));
    assert_eq!((u.sslmode, u.connect_timeout), (SslMode::Require, Some(3)));
    assert_eq!(
        (u.application_name.as_deref(), u.options.as_deref()),
        (Some("x y"), Some("-c search_path=a"))
    );
}

#[test]
fn a_drivers_name_in_the_scheme_is_stripped() {
    for scheme in [
        "postgresql",
        "postgres",
        "postgresql+asyncpg",
        "postgresql+psycopg2",
        "postgresql+psycopg",
        "postgres+pg8000",
    ] {
        let u = url(&format!("{scheme}://ann@h/x"));
        assert_eq!(u.to_string(), "postgresql://ann@h:5432/x", "{scheme}");
    }
    for scheme in ["mysql", "postgresql+", "+asyncpg", "http", "", "POSTGRESQL"] {
        refused(&format!("{scheme}://ann@h/x"), "must begin with postgresql://");
    }
    refused("ann@h/x", "not a URL");
}

#[test]
fn what_is_left_out_is_libpqs_default() {
    let u = url("postgresql://");
    assert_eq!((u.user.as_str(), u.dbname.as_str(), u.port), ("postgres", "postgres", 5432));
    assert_eq!(u.host, PgHost::Unix("/var/run/postgresql".into()));
    assert_eq!(u.host.socket(u.port), Some("/var/run/postgresql/.s.PGSQL.5432".into()));
    assert_eq!(url("postgresql://ann@h").dbname, "ann", "the database is named like the user");
    assert_eq!(url("postgresql://ann@h/").dbname, "ann");
    assert_eq!(url("postgresql://ann@h:/x").port, 5432);
    assert_eq!(url("postgresql://ann:@h/x").password, None);
    let bob = PgDefaults { user: Some("bob".into()), ..PgDefaults::default() };
    let u = PgUrl::parse("postgresql://h", &bob).unwrap();
    assert_eq!((u.user.as_str(), u.dbname.as_str()), ("bob", "bob"));
    let e = PgUrl::parse("postgresql://h", &PgDefaults::default()).unwrap_err();
    assert!(e.contains("names no user"), "{e}");
}

#[test]
fn a_socket_is_a_host_that_is_a_folder() {
    let socket = PgHost::Unix("/run/postgresql".into());
    for text in [
        "postgresql://ann@/x?host=/run/postgresql",
        "postgresql:///x?host=/run/postgresql&user=ann",
        "postgresql://ann@%2Frun%2Fpostgresql/x",
        "postgresql://ann@ignored/x?host=%2Frun%2Fpostgresql",
    ] {
        let u = url(text);
        assert_eq!((u.user.as_str(), u.host, u.dbname.as_str()), ("ann", socket.clone(), "x"), "{text}");
    }
    assert_eq!(url("postgresql://ann@%2Frun:6000/x").port, 6000);
    assert_eq!(url("postgresql:///x?host=/run&port=6000").port, 6000);
}

#[test]
fn parameters_win_over_what_stands_before_them() {
    let u = url("postgresql://a:b@c:1/d?user=e&password=f&host=g&port=2&dbname=h");
    assert_eq!((u.user.as_str(), u.host, u.port, u.dbname.as_str()), ("e", tcp("g"), 2, "h"));
    assert_eq!(u.password.unwrap().reveal(), "f");
    assert_eq!(url("postgresql://a@b/c?").dbname, "c");
    assert_eq!(url("postgresql://a@b?dbname=c").dbname, "c");
    assert_eq!(url("postgresql://a@b?sslmode=require").sslmode, SslMode::Require);
}

#[test]
fn ipv6_stands_in_brackets() {
    let u = url("postgresql://ann@[fe80::1]:6000/x");
    assert_eq!((u.host.clone(), u.port), (tcp("fe80::1"), 6000));
    assert_eq!(url(&u.to_string()), u);
    assert_eq!(url("postgresql://[::1]").port, 5432);
    refused("postgresql://[::1", "`]`");
    refused("postgresql://[]/x", "empty address");
    refused("postgresql://[::1]x/y", "between `]`");
    refused("postgresql://::1/x", "[brackets]");
}

#[test]
fn sslmode_is_one_of_libpqs_words() {
    for (word, mode) in SslMode::WORDS {
        let cert = if word.starts_with("verify") { "&sslrootcert=/x" } else { "" };
        assert_eq!(url(&format!("postgresql://a@b?sslmode={word}{cert}")).sslmode, mode);
        assert_eq!(mode.word(), word);
    }
    assert_eq!(url("postgresql://a@b").sslmode, SslMode::Prefer);
    refused("postgresql://a@b?sslmode=verify_full", "did you mean `verify-full`?");
    refused("postgresql://a@b?sslmode=on", "must be one of disable, allow");
    refused("postgresql://a@b?sslmode=", "must be one of");
}

#[test]
fn drivers_ssl_is_read_as_sslmode() {
    for (word, mode) in [
        ("true", SslMode::Require),
        ("1", SslMode::Require),
        ("False", SslMode::Disable),
        ("prefer", SslMode::Prefer),
        ("verify-full", SslMode::VerifyFull),
    ] {
        assert_eq!(url(&format!("postgresql+asyncpg://a@b?ssl={word}")).sslmode, mode, "{word}");
    }
    refused("postgresql://a@b?ssl=maybe", "must be one of");
}

#[test]
fn the_systems_authorities_demand_the_full_check() {
    let u = url("postgresql://a@b?sslrootcert=system");
    assert_eq!((u.sslmode, u.sslrootcert), (SslMode::VerifyFull, Some(RootCert::System)));
    refused("postgresql://a@b?sslrootcert=system&sslmode=require", "too weak for sslrootcert=system");
    let u = url("postgresql://a@b?sslmode=verify-ca&sslrootcert=/etc/ca.pem");
    assert_eq!(u.sslrootcert, Some(RootCert::File("/etc/ca.pem".into())));
    let env = PgDefaults {
        user: None,
        sslmode: Some(SslMode::Require),
        sslrootcert: Some(RootCert::File("/e".into())),
    };
    let u = PgUrl::parse("postgresql://a@b", &env).unwrap();
    assert_eq!((u.sslmode, u.sslrootcert), (SslMode::Require, Some(RootCert::File("/e".into()))));
}

#[test]
fn an_unknown_parameter_is_refused_with_the_nearest() {
    refused("postgresql://a@b?sslmod=require", "unknown parameter `sslmod` (did you mean `sslmode`?)");
    refused("postgresql://a@b?aplication_name=x", "did you mean `application_name`?");
    refused("postgresql://a@b?zzz=1", "unknown parameter `zzz`");
    refused("postgresql://a@b?sslmode", "without `=`");
    refused("postgresql://a@b?SSLMODE=require", "unknown parameter");
    for name in UNSUPPORTED_SAMPLE {
        refused(&format!("postgresql://a@b?{name}=1"), "not supported");
    }
    assert_eq!(
        url("postgresql://a@b/c?keepalives=1&target_session_attrs=any&gssencmode=disable").dbname,
        "c"
    );
    assert_eq!(url("postgresql+asyncpg://a@b/c?prepared_statement_cache_size=0").dbname, "c");
    refused("postgresql://a@b/c?prepared_statement_cache_size=0", "unknown parameter");
}

const UNSUPPORTED_SAMPLE: [&str; 4] = ["sslcert", "hostaddr", "channel_binding", "service"];

#[test]
fn several_hosts_are_refused_clearly() {
    for text in [
        "postgresql://a@b,c/d",
        "postgresql://a@b:1,c:2/d",
        "postgresql:///d?host=b,c",
        "postgresql://a@b/d?port=1,2",
    ] {
        refused(text, "several hosts");
    }
}

#[test]
fn a_password_with_raw_letters_is_told_how_to_write_them() {
    refused("postgresql://ann:a@b@h/x", "`@` as %40");
    refused("postgresql://ann:a/b@h/x", "`/` as %2F");
    refused("postgresql://ann:a%b@h/x", "%25");
    refused("postgresql://ann:100%@h/x", "%25");
    refused("postgresql://ann:%ff@h/x", "UTF-8");
    refused("postgresql://ann:%00@h/x", "%00");
    let u = url("postgresql://ann:a:b?c#d@h/x");
    assert_eq!(u.password.unwrap().reveal(), "a:b?c#d", "as libpq: only `@` and `/` end it");
}

#[test]
fn a_port_is_a_number() {
    for port in ["0", "65536", "x", "-1", "5432x", "1 "] {
        refused(&format!("postgresql://a@b:{port}/c"), "port that is not a number from 1 to 65535");
    }
    refused("postgresql://a@b?connect_timeout=soon", "whole number of seconds");
    assert_eq!(url("postgresql://a@b?connect_timeout=0").connect_timeout, None);
    assert_eq!(url("postgresql://a@b?connect_timeout=-1").connect_timeout, None);
}

#[test]
fn what_it_prints_reads_back_as_the_same() {
    for text in [
        "postgresql://a@b/c",
        "postgresql://a:****@b:1/c",
        "postgresql://%C3%A4%2Fx:****@b/c%3Fd%26",
        "postgresql://a@/c?host=/run/pg%20x&port=6000",
        "postgresql://a@[::1]:5433/c?sslmode=verify-full&sslrootcert=/a%20b.pem",
        "postgresql://a@b/c?sslrootcert=system&connect_timeout=3&application_name=%26%3D&options=-c%20a%3Db",
        "postgresql://",
    ] {
        let once = url(text);
        let twice = url(&once.to_string());
        assert_eq!(once, twice, "{text} → {once}");
        assert_eq!(once.to_string(), twice.to_string());
        let json = serde_json::to_string(&once).unwrap();
        assert_eq!(serde_json::from_str::<PgUrl>(&json).unwrap(), once);
    }
}

#[test]
fn the_password_is_never_shown() {
    let u = url("postgresql://ann:hunter2@h/x?application_name=y");
    for shown in [u.to_string(), format!("{u:?}"), serde_json::to_string(&u).unwrap()] {
        assert!(!shown.contains("hunter2"), "{shown}");
        assert!(shown.contains(MASK), "{shown}");
    }
}

#[test]
fn hostile_text_ends_in_an_error_or_a_url() {
    let pieces = [
        "postgresql://",
        "@",
        ":",
        "/",
        "?",
        "[",
        "]",
        "%",
        "%41",
        "=",
        "&",
        ",",
        "a",
        "host",
        "ä",
        "#",
        " ",
    ];
    let mut state = 7u32;
    for _ in 0..20_000 {
        let mut text = String::from("postgresql://");
        for _ in 0..(state % 9) {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            text += pieces[(state >> 16) as usize % pieces.len()];
        }
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        if let Ok(u) = text.parse::<PgUrl>() {
            let again: PgUrl = u.to_string().parse().unwrap_or_else(|e| panic!("{text} → {u}: {e}"));
            assert_eq!(again.to_string(), u.to_string(), "{text}");
        }
    }
}
