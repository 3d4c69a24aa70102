//! Promises about free text: secrets go, all else stays, and a long line costs no more than its length.

use super::text;

#[track_caller]
fn masks(from: &str, to: &str) {
    assert_eq!(text(from), to);
    assert_eq!(text(to), to, "masking twice is masking once");
}

#[track_caller]
fn keeps(same: &str) {
    assert_eq!(text(same), same);
}

#[test]
fn the_password_of_a_url_goes_and_the_url_stays() {
    masks("postgresql://ann:hunter2@h:5432/x", "postgresql://ann:****@h:5432/x");
    masks(
        "could not connect to redis://:hunter2@h:6379/0: refused",
        "could not connect to redis://:****@h:6379/0: refused",
    );
    masks("a http://u:p@x/y and https://v:q@z, too", "a http://u:****@x/y and https://v:****@z, too");
    masks("postgresql+asyncpg://ann:p%40ss@h/x", "postgresql+asyncpg://ann:****@h/x");
    masks("dsn='postgresql://ann:hunter2@h/x'", "dsn='postgresql://ann:****@h/x'");
    masks("(postgresql://ann:hunter2@h)", "(postgresql://ann:****@h)");
    masks("postgresql://ann:übel@h", "postgresql://ann:****@h");
    masks("amqp://u:p@h//vhost", "amqp://u:****@h//vhost");
}

#[test]
fn a_password_with_raw_letters_goes_whole() {
    masks("postgresql://ann:a@b@h/x", "postgresql://ann:****@h/x");
    masks("postgresql://ann:a:b@h/x", "postgresql://ann:****@h/x");
    masks("postgresql://ann:a/b@h/x", "postgresql://ann:****@h/x");
    masks("postgresql://ann:a#b?c@h/x", "postgresql://ann:****@h/x");
}

#[test]
fn a_url_without_a_password_stays() {
    keeps("http://127.0.0.1:8000/health/status");
    keeps("postgresql://ann@h:5432/x");
    keeps("http://h:80/@user");
    keeps("http://[::1]:8000/x");
    keeps("redis://h:6379/0?mail=a@b");
    keeps("unix:///run/x.sock");
    keeps("see https://example.org: write to a@b");
    keeps("://");
    keeps("a://:@");
}

#[test]
fn an_assignment_of_a_secret_goes() {
    masks("password=hunter2", "password=****");
    masks("host=h password=hunter2 dbname=x", "host=h password=**** dbname=x");
    masks("host=h password='hun ter2' dbname=x", "host=h password='****' dbname=x");
    masks("PGPASSWORD=hunter2 psql", "PGPASSWORD=**** psql");
    masks("DB_PASSWORD=\"hun ter\\\"2\" x", "DB_PASSWORD=\"****\" x");
    masks("API_KEY=abc TOKEN=def CLIENT_SECRET=ghi", "API_KEY=**** TOKEN=**** CLIENT_SECRET=****");
    masks("apikey: abc", "apikey: ****");
    masks("x-api-key: abc", "x-api-key: ****");
    masks("password = hunter2", "password = ****");
    masks("password => hunter2", "password => ****");
    masks("db_pass=hunter2;", "db_pass=****;");
    masks("https://h/x?user=a&password=hunter2&b=c", "https://h/x?user=a&password=****&b=c");
    masks("access_token=abc&x=y", "access_token=****&x=y");
    masks("--password hunter2 --x", "--password **** --x");
    masks("--password=hunter2", "--password=****");
    masks("Passwd: hunter2", "Passwd: ****");
    masks("password='it''s' x", "password='****' x");
    masks("password=hünter2, x", "password=****, x");
}

#[test]
fn a_secret_in_json_goes() {
    masks(r#"{"user":"a","password":"hunter2","n":1}"#, r#"{"user":"a","password":"****","n":1}"#);
    masks(r#"{"token" : "abc"}"#, r#"{"token" : "****"}"#);
    masks(r#"{\"password\": \"hunter2\", \"x\": 1}"#, r#"{\"password\": \"****\", \"x\": 1}"#);
    masks(r#"{'secret': 'a b'}"#, r#"{'secret': '****'}"#);
    masks(r#"{"api_key":123}"#, r#"{"api_key":****}"#);
}

#[test]
fn headers_with_credentials_go() {
    masks("Authorization: Bearer abc.def-ghi", "Authorization: Bearer ****");
    masks("authorization: basic dXNlcjpw", "authorization: basic ****");
    masks("Authorization: abc", "Authorization: ****");
    masks("sent Bearer abc to h", "sent Bearer **** to h");
    masks("\"Authorization\": \"Bearer abc\"", "\"Authorization\": \"****\"");
}

#[test]
fn a_password_in_sql_goes() {
    masks("ALTER ROLE ann PASSWORD 'hunter2'", "ALTER ROLE ann PASSWORD '****'");
    masks(
        "STATEMENT:  CREATE USER a WITH PASSWORD 'it''s' LOGIN",
        "STATEMENT:  CREATE USER a WITH PASSWORD '****' LOGIN",
    );
}

#[test]
fn what_is_no_secret_stays() {
    for line in [
        "FATAL:  password authentication failed for user \"ann\"",
        "fe_sendauth: no password supplied",
        "unexpected token: }",
        "max_tokens=500 tokens: 3",
        "password_file=/etc/mcp-ir/pg password_encryption=scram-sha-256",
        "bypass=1 compass: north",
        "secretary=ann",
        "",
        "ä ö ü 🦀 :// @ = :",
        "password",
        "password=",
        "Bearer",
        "2026-11-24 14:31:02.037 UTC [123] LOG:  database system is ready",
    ] {
        keeps(line);
    }
}

#[test]
fn an_open_quote_hides_to_the_end_of_its_line() {
    masks("password=\"hunter2 and more\nnext", "password=\"****\nnext");
    masks("PASSWORD 'hunter2", "PASSWORD '****");
}

#[test]
fn hostile_text_takes_time_by_its_length() {
    for piece in [
        "://",
        "a://b:",
        "a://b:c/",
        "password=",
        "password=\"",
        "password '",
        "@",
        "://a:b@",
        "bearer ",
        "\\\"",
        "a:",
        "'",
        "--password ",
        "authorization: ",
        "token",
        "://x:y#",
    ] {
        let long = piece.repeat(400_000 / piece.len());
        let start = std::time::Instant::now();
        let _ = text(&long);
        assert!(start.elapsed().as_secs() < 3, "{piece:?}: {:?}", start.elapsed());
    }
}

#[test]
fn a_secret_never_survives_beside_others() {
    let forms = [
        "postgresql://a:HUNTER@h/x",
        "password=HUNTER",
        "\"token\": \"HUNTER\"",
        "Bearer HUNTER",
        "PASSWORD 'HUNTER'",
    ];
    for a in forms {
        for b in forms {
            for between in [" ", "\n", ", ", " ü "] {
                let out = text(&format!("{a}{between}{b}"));
                assert!(!out.contains("HUNTER"), "{a}{between}{b} → {out}");
            }
        }
    }
}

#[test]
fn a_token_in_the_place_of_a_name_is_masked_over_the_web_alone() {
    let out = text("pull https://ghp_HUNTER@github.com/org/app main: Fast-forward");
    assert!(!out.contains("HUNTER") && out.contains("@github.com/org/app main"), "{out}");
    assert_eq!(text("postgresql://monitor@127.0.0.1/app"), "postgresql://monitor@127.0.0.1/app");
    assert_eq!(text("see http://127.0.0.1/a@b"), "see http://127.0.0.1/a@b");
}
