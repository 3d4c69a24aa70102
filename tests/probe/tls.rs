//! `sslmode` as libpq means it, on a real PostgreSQL with a certificate of its own authority.

use mcp_ir::snapshot::postgres::Login;
use mcp_ir::snapshot::{FailKind, Stage};

use crate::cluster::{Cluster, pem};
use crate::postgres::seen;

async fn login(c: &Cluster, user: &str, mode: &str, root: Option<&str>) -> Result<bool, (FailKind, String)> {
    let root = root.map_or_else(String::new, |r| format!("&sslrootcert={}", pem(r).display()));
    let look = seen(&c.target(user, &format!("sslmode={mode}{root}"))).await;
    match (look.login.seen(), look.login.failure()) {
        (Some(Login { tls }), _) => {
            assert!(look.server.seen().is_some(), "{look:#?}");
            // Read whatever is checked of it, and only where there is one.
            let ends = look.certificate.map(|c| c.ends.to_string());
            assert_eq!(ends.as_deref(), tls.then_some("2119-01-01T00:00:00Z"), "{mode}");
            Ok(*tls)
        }
        (None, Some(f)) => {
            let tls = f.kind == FailKind::Tls;
            assert_eq!(f.stage, Some(if tls { Stage::Tls } else { Stage::Answer }));
            Err((f.kind, f.detail.clone()))
        }
        (None, None) => panic!("{look:#?}"),
    }
}

#[tokio::test]
async fn a_certificate_is_checked_as_far_as_the_mode_says() {
    let c = Cluster::start("").await;
    for (mode, root, encrypted) in [
        ("disable", None, false),
        ("prefer", None, true),
        ("require", None, true),
        ("require", Some("ca.pem"), true),
        ("verify-ca", Some("ca.pem"), true),
        ("verify-full", Some("ca.pem"), true),
    ] {
        assert_eq!(login(&c, "watcher", mode, root).await, Ok(encrypted), "{mode}");
    }
    for mode in ["require", "verify-ca", "verify-full"] {
        let (kind, text) = login(&c, "watcher", mode, Some("stranger.pem")).await.unwrap_err();
        assert_eq!(
            (kind, text.as_str()),
            (FailKind::Tls, "invalid peer certificate: UnknownIssuer"),
            "{mode}"
        );
    }
    assert_eq!(login(&c, "watcher", "verify-full", None).await.unwrap_err().0, FailKind::Tls);
}

#[tokio::test]
async fn a_certificate_for_another_name_passes_verify_ca_and_not_verify_full() {
    let c = Cluster::start("ssl_cert_file = 'elsewhere.pem'").await;
    assert_eq!(login(&c, "watcher", "verify-ca", Some("ca.pem")).await, Ok(true));
    let (kind, text) = login(&c, "watcher", "verify-full", Some("ca.pem")).await.unwrap_err();
    assert_eq!(kind, FailKind::Tls);
    assert!(text.contains("not valid for name"), "{text}");
}

#[tokio::test]
async fn a_server_that_wants_tls_and_one_that_has_none_are_said_to_be_so() {
    let c = Cluster::start("").await;
    assert_eq!(login(&c, "tls_only", "prefer", None).await, Ok(true));
    let (kind, text) = login(&c, "tls_only", "disable", None).await.unwrap_err();
    assert_eq!(kind, FailKind::Denied);
    assert!(text.ends_with("(SQLSTATE 28000)"), "{text}");
    let bare = Cluster::start("ssl = off").await;
    assert_eq!(login(&bare, "watcher", "prefer", None).await, Ok(false));
    let want = (FailKind::Tls, "the server does not offer TLS".to_owned());
    assert_eq!(login(&bare, "watcher", "require", None).await, Err(want));
}
