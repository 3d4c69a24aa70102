//! Where a service is told to find its database, from the variables of its environment. Pure.
//! Of a URL that is read here the password goes no further.

use std::collections::BTreeMap;

use crate::config::{PgDefaults, PgHost, PgUrl};
use crate::snapshot::network::Target;
use crate::snapshot::{FailKind, Failure};

/// The variables by which servers are told of their database, where none are configured.
const USUAL: [&str; 8] =
    ["DATABASE_URL", "DB_URL", "POSTGRES_URL", "POSTGRESQL_URL", "PGHOST", "PGPORT", "PGDATABASE", "PGUSER"];

/// The names to ask for; the configured ones alone where there are any.
pub fn names(configured: &[String]) -> Vec<&str> {
    if configured.is_empty() { USUAL.to_vec() } else { configured.iter().map(String::as_str).collect() }
}

/// The URLs in the order of the names; libpq's own variables only where there is no URL.
pub fn read(
    variables: &BTreeMap<String, String>,
    names: &[&str],
    source: &str,
) -> Result<Vec<Target>, Failure> {
    let urls: Vec<(&str, &String)> = names
        .iter()
        .filter(|n| !n.starts_with("PG"))
        .filter_map(|n| Some((*n, variables.get(*n)?)))
        .filter(|(_, v)| v.starts_with("postgres"))
        .collect();
    let defaults = PgDefaults { user: Some(String::new()), ..PgDefaults::default() };
    let read: Vec<Result<Target, Failure>> = urls
        .into_iter()
        .map(|(name, text)| {
            let url = PgUrl::parse(text, &defaults)
                // Its words never repeat what the URL says.
                .map_err(|why| Failure::new(FailKind::Malformed, format!("{name} of {source} {why}")))?;
            Ok(Target {
                source: format!("{name} of {source}"),
                user: Some(url.user).filter(|u| !u.is_empty()),
                host: url.host.text(),
                port: url.port,
                database: Some(url.dbname).filter(|d| !d.is_empty()),
            })
        })
        .collect();
    if !read.is_empty() {
        return read.into_iter().collect();
    }
    let value = |name: &str| variables.get(name).filter(|v| !v.is_empty()).cloned();
    let set: Vec<&str> =
        ["PGHOST", "PGPORT", "PGDATABASE"].into_iter().filter(|n| value(n).is_some()).collect();
    if set.is_empty() {
        return Err(Failure::new(FailKind::Missing, format!("{source} names no database")));
    }
    let port = match value("PGPORT") {
        None => 5432,
        Some(p) => p
            .trim()
            .parse()
            .map_err(|_| Failure::new(FailKind::Malformed, format!("PGPORT of {source} is no port")))?,
    };
    let host = value("PGHOST").unwrap_or_else(|| crate::config::SOCKET_FOLDER.into());
    if host.contains(',') {
        return Err(Failure::new(FailKind::Unsupported, format!("PGHOST of {source} names several")));
    }
    Ok(vec![Target {
        source: format!("{} of {source}", set.join(", ")),
        user: value("PGUSER"),
        host: PgHost::named(&host).text(),
        port,
        // libpq takes the user's name, which may be the operating system's: not known here.
        database: value("PGDATABASE").or_else(|| value("PGUSER")),
    }])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(variables: &[(&str, &str)]) -> Result<Vec<Target>, Failure> {
        let variables = variables.iter().map(|(n, v)| ((*n).to_owned(), (*v).to_owned())).collect();
        read(&variables, &names(&[]), "process 7")
    }

    #[test]
    fn a_url_is_read_without_its_password_whatever_its_driver() {
        let all = of(&[("DATABASE_URL", "postgresql+asyncpg://app:s3cret@db.example:6000/shop?ssl=require")]);
        let all = all.unwrap();
        assert_eq!(all[0].to_string(), "db.example:6000, database shop");
        assert_eq!(all[0].source, "DATABASE_URL of process 7");
        assert!(!format!("{all:?}").contains("s3cret"));
    }

    #[test]
    fn a_url_that_can_t_be_read_is_said_without_what_it_says() {
        let f = of(&[("DATABASE_URL", "postgresql://app:s3c/ret@h/x")]).unwrap_err();
        assert_eq!(f.kind, FailKind::Malformed);
        assert!(!f.detail.contains("ret"), "{}", f.detail);
    }

    #[test]
    fn libpq_s_variables_count_where_there_is_no_url() {
        let all = of(&[("PGHOST", "10.0.0.5"), ("PGPORT", "6000"), ("PGUSER", "app")]).unwrap();
        assert_eq!(all[0].to_string(), "10.0.0.5:6000, database app");
        let all = of(&[("PGDATABASE", "shop")]).unwrap();
        assert_eq!(all[0].to_string(), "/var/run/postgresql/.s.PGSQL.5432, database shop");
        let all = of(&[("PGHOST", "10.0.0.5"), ("DB_URL", "postgres://h/x")]).unwrap();
        assert_eq!(all[0].host, "h");
        assert_eq!(of(&[("PGHOST", "a,b")]).unwrap_err().kind, FailKind::Unsupported);
    }

    #[test]
    fn what_is_of_another_kind_or_not_there_names_no_database() {
        for value in ["", "mysql://h/x", "sqlite:///x"] {
            assert_eq!(of(&[("DATABASE_URL", value)]).unwrap_err().kind, FailKind::Missing, "{value}");
        }
        assert_eq!(of(&[]).unwrap_err().kind, FailKind::Missing);
    }

    #[test]
    fn configured_names_stand_for_the_usual_ones() {
        let own = ["MCP_DSN".to_owned()];
        let variables = BTreeMap::from([
            ("MCP_DSN".to_owned(), "postgresql://a/x".to_owned()),
            ("DATABASE_URL".to_owned(), "postgresql://b/x".to_owned()),
        ]);
        assert_eq!(read(&variables, &names(&own), "x").unwrap()[0].host, "a");
    }
}
