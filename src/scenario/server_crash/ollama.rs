//! An Ollama that takes no work: it does not answer, or the model that is asked of it is not there.
//! An unloaded model is none: it is loaded when it is asked for.

use super::dependency::{Dependency, Trouble, probe, unanswered};
use crate::config::{Config, Ollama};
use crate::diagnosis::{Certainty, shell_word};
use crate::snapshot::ollama::OllamaLook;
use crate::snapshot::{FailKind, Looks, Reading, Snapshot};

/// Where `ollama` itself asks, if it is not told otherwise.
const USUAL: [&str; 2] = ["127.0.0.1:11434", "localhost:11434"];
/// How many names are said of those that are there.
const NAMES: usize = 5;

pub fn all<'a>(looks: &'a Looks, config: &'a Config) -> Vec<(Dependency<'a>, Option<Trouble>)> {
    let look = |o: &'a Ollama| Some((o, looks.now.ollama.get(&o.name)?));
    config.ollama.iter().filter_map(look).map(|(o, look)| one(o, look, looks)).collect()
}

/// What its look came to, whatever it has.
pub fn answer(now: &Snapshot, name: &str) -> Option<Reading<()>> {
    Some(match &now.ollama.get(name)?.models.reading {
        Reading::Seen { .. } => Reading::Seen { value: () },
        Reading::Failed(f) => Reading::Failed(f.clone()),
        Reading::NotAsked { why } => Reading::not_asked(why.clone()),
    })
}

fn one<'a>(o: &'a Ollama, look: &'a OllamaLook, looks: &'a Looks) -> (Dependency<'a>, Option<Trouble>) {
    let before = looks.before.as_ref().and_then(|b| b.ollama.get(&o.name));
    let d = Dependency {
        name: &o.name,
        kind: "Ollama",
        endpoint: &look.endpoint,
        unit: o.unit.as_deref(),
        container: o.container.as_deref(),
        optional: o.optional,
        seen_before: before.is_some_and(|b| b.models.seen().is_some()),
    };
    let trouble = match &look.models.reading {
        Reading::Seen { value } => missing(&d, o.model.as_deref(), value),
        Reading::Failed(f) if f.kind == FailKind::Unsupported && is_error(f.code.as_deref()) => Some(
            Trouble::new(
                Certainty::Likely,
                "answers with an error when its models are asked for",
                "See its log, and what stands before it",
            )
            .saw(probe(&d), "answer", f.detail.clone()),
        ),
        Reading::Failed(f) => unanswered(&d, f, look.here, &looks.now),
        Reading::NotAsked { .. } => None,
    };
    (d, trouble)
}

/// HTTP 5xx: the server's own trouble. 4xx is of our asking.
fn is_error(code: Option<&str>) -> bool {
    code.is_some_and(|c| c.starts_with('5'))
}

fn missing(d: &Dependency, model: Option<&str>, there: &[String]) -> Option<Trouble> {
    let model = model?;
    if there.iter().any(|m| full(m) == full(model)) {
        return None;
    }
    let some = there.iter().take(NAMES).map(String::as_str).collect::<Vec<_>>().join(", ");
    let has = match there.len() {
        0 => "nothing".to_owned(),
        n if n > NAMES => format!("{some} and {} more", n - NAMES),
        _ => some,
    };
    let trouble = Trouble::new(
        Certainty::Proven,
        format!("has no model {model}; it has {has}"),
        "Pull the model: it takes some minutes; or mend the name in the configuration",
    );
    let trouble = trouble.command(pull(d, model));
    Some(trouble.saw(probe(d), "models", has))
}

/// A name as Ollama itself completes it: case, registry and namespace by default, and the tag. What
/// digest is pinned is not in the list.
fn full(name: &str) -> String {
    let name = name.trim().split('@').next().unwrap_or_default().to_lowercase();
    let name = name.strip_prefix("registry.ollama.ai/").unwrap_or(&name);
    let name = name.strip_prefix("library/").unwrap_or(name);
    // The colon of `host:5000/model` is none of a tag.
    let tagged = name.rsplit('/').next().is_some_and(|last| last.contains(':'));
    if tagged { name.to_owned() } else { format!("{name}:latest") }
}

fn pull(d: &Dependency, model: &str) -> String {
    let pull = format!("ollama pull {}", shell_word(model));
    match d.container {
        Some(container) => format!("docker exec {} {pull}", shell_word(container)),
        None if USUAL.contains(&d.endpoint) => pull,
        None => format!("OLLAMA_HOST={} {pull}", shell_word(d.endpoint)),
    }
}
