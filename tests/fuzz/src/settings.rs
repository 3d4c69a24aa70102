//! What people write: the configuration, connection URLs, the password file.

use std::path::PathBuf;

use mcp_ir::config::{self, Env, Flags, PgUrl, Secret, find_password};
use mcp_ir::render;

use crate::is_printable;

/// The password that stands in what is read, and in nothing that is said.
const SECRET: &str = "Zq7xHunter2";

/// The bytes as a file, read through the program's own door. `@@` stands for the password.
pub fn config(data: &[u8]) {
    let folder = PathBuf::from(format!("/dev/shm/mcp-ir-fuzz-{}", std::process::id()));
    let file = folder.join("c.toml");
    std::fs::create_dir_all(&folder).unwrap();
    let text: Vec<u8> = String::from_utf8_lossy(data).replace("@@", SECRET).into_bytes();
    // Both: text that can be read, and what is no text at all.
    for bytes in [text.as_slice(), data] {
        std::fs::write(&file, bytes).unwrap();
        let env = Env {
            vars: Default::default(),
            euid: 1000,
            user: Some("fuzz".into()),
            home: Some(folder.clone()),
            etc: folder.join("etc"),
        };
        match config::load(&Flags { config: Some(file.clone()), timeout: None }, &env) {
            Ok(loaded) => {
                let shown = config::show::human(&loaded);
                is_printable(&render::text::block(&shown).replace('\t', " "));
                is_printable(&render::text::block(&config::show::as_json(&loaded)).replace('\t', " "));
                // What is shown is a configuration again, and the same one. A masked password is refused.
                if shown.contains(config::MASK) {
                    continue;
                }
                std::fs::write(&file, &shown).unwrap();
                let again = config::load(&Flags { config: Some(file.clone()), timeout: None }, &env);
                let again = again.unwrap_or_else(|e| panic!("{e}\n{shown}"));
                assert_eq!(again.config, loaded.config, "{shown}");
            }
            Err(e) => {
                is_printable(&render::error(&e, false, false).replace('\t', " "));
                is_printable(&render::error(&e, true, false));
            }
        }
    }
}

/// Before and after the password, whatever there may be; without one too.
pub fn url(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    if let Ok(url) = text.parse::<PgUrl>() {
        let shown = PgUrl { password: None, ..url.clone() };
        let again: PgUrl = shown.to_string().parse().unwrap_or_else(|e| panic!("{e}: {shown}"));
        assert_eq!(again, shown, "{text:?} is shown as {shown}");
    }
    let (user, rest) = text.split_once('\n').unwrap_or(("m", &text));
    let with = format!("postgresql://{user}:{SECRET}@{rest}");
    // After one of these it stands in no password's place: it is a name like any other. And a fuzzer
    // that is guided by comparisons learns the word.
    if user.contains(['@', '/', '?', '#', ':']) || text.contains(SECRET) {
        return;
    }
    let said = match with.parse::<PgUrl>() {
        Ok(url) => url.to_string(),
        Err(e) => e.to_string(),
    };
    assert!(!said.contains(SECRET), "{with:?}: {said}");
}

pub fn pgpass(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    let url: PgUrl = "postgresql://mcp_user@db.example:5432/app".parse().unwrap();
    if let Some(found) = find_password(&text, &url) {
        assert!(!found.reveal().is_empty());
        assert_eq!(format!("{found:?}"), format!("{:?}", Secret::new("another")), "shown by its mask alone");
    }
}
