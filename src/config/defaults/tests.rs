//! The template that `config init` writes says what holds, and says all of it.

use super::*;
use crate::config::testbed::Bed;
use crate::config::{Config, KEYS, Shape};

/// The template with every `#` before a key taken away; prose keeps its own.
fn uncommented() -> String {
    let bare = |l: &str| match l.strip_prefix('#') {
        Some(rest) if !rest.starts_with(' ') => rest.to_owned(),
        _ => l.to_owned(),
    };
    template().lines().map(bare).collect::<Vec<_>>().join("\n")
}

#[test]
fn the_template_as_it_is_changes_nothing() {
    let loaded = Bed::new().config(&template()).loaded();
    assert_eq!(loaded.config, Bed::new().loaded().config);
    assert!(template().lines().all(|l| l.is_empty() || l.starts_with('#')));
}

#[test]
fn the_template_without_its_marks_is_the_defaults() {
    let loaded = Bed::new().config(&uncommented()).loaded();
    assert_eq!(loaded.config, defaults().unwrap().config);
    assert!(loaded.warnings.is_empty());
}

#[test]
fn every_key_is_in_the_template() {
    let text = template();
    for key in KEYS {
        let last = key.path.rsplit('.').next().unwrap();
        let found = match key.shape {
            Shape::Tables | Shape::Table if !key.path.contains('.') => text.contains(&format!("[{last}]")),
            _ => text.contains(&format!("{last} = ")),
        };
        assert!(found, "{} is not in defaults.toml", key.path);
    }
}

#[test]
fn every_example_in_the_template_is_a_line_that_works() {
    let mut heading = String::new();
    let mut examples = 0;
    for line in TEXT.lines() {
        if line.starts_with('[') {
            heading = line.to_owned();
        }
        let Some(example) = line.strip_prefix("# e.g. ") else { continue };
        if example.starts_with("[[") {
            heading = example.to_owned();
            continue;
        }
        examples += 1;
        let rest = match heading.as_str() {
            "[[service]]" if example.starts_with("url") => "name = 'x'",
            "[[service]]" => "name = 'x'\nurl = 'https://x'",
            "[[postgres]]" if !example.starts_with("url") => "url = 'postgresql://a@h/x'",
            "[[pooler]]" if !example.starts_with("url") => "url = 'postgresql://a@h/pgbouncer'",
            "[[redis]]" => "url = 'redis://h'",
            "[[ollama]]" => "url = 'http://h'",
            _ => "",
        };
        // The files that examples name are not on this machine: theirs is the last error there may be.
        match Bed::new().config(&format!("{heading}\n{rest}\n{example}\n")).load() {
            Ok(_) => {}
            Err(e) => assert!(e.message.contains("does not exist"), "{example}: {e}"),
        }
    }
    assert!(examples > 15, "{examples}");
}

#[test]
fn the_defaults_depend_on_nothing_around_them() {
    let here = Bed::new().loaded().config;
    assert_eq!(defaults().unwrap().config, here);
    let json = serde_json::to_string(&here).unwrap();
    assert_eq!(serde_json::from_str::<Config>(&json).unwrap(), here);
}

#[test]
fn the_template_fits_a_screen_where_it_can() {
    let long: Vec<String> =
        template().lines().filter(|l| l.chars().count() > 120).map(str::to_owned).collect();
    assert!(long.is_empty(), "{long:#?}");
}
