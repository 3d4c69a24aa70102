//! Many findings of one cause are one thing to read: who has it, one of them in full, the rest
//! counted. Decides only what is put together; nothing is left out of JSON.

use super::text;
use crate::diagnosis::Finding;

/// So many of one cause are still shown each for itself, and so many names of a longer list.
const APART: usize = 3;
const NAMED: usize = 8;

/// Findings of one cause and severity, in the order of the diagnosis.
pub struct Group<'a>(Vec<&'a Finding>);

impl<'a> Group<'a> {
    /// The first: the most certain, as the diagnosis sorts them.
    pub fn first(&self) -> &'a Finding {
        self.0[0]
    }

    pub fn is_one(&self) -> bool {
        self.0.len() == 1
    }

    /// `server-crash/unhealthy @ api`, or `@ 98 targets`.
    pub fn title(&self) -> String {
        let f = self.first();
        if self.is_one() {
            format!("{} @ {}", f.cause, text::line(&f.subject))
        } else {
            format!("{} @ {}", f.cause, text::count(self.0.len(), "target"))
        }
    }

    /// Who has it; nothing where the title says it.
    pub fn who(&self, all: bool) -> Option<String> {
        (!self.is_one()).then(|| names(self.0.iter().map(|f| f.subject.as_str()), all))
    }

    /// `proven`, or how many are.
    pub fn certainty(&self) -> String {
        let first = self.first().certainty;
        let same = self.0.iter().filter(|f| f.certainty == first).count();
        if same == self.0.len() {
            return first.word().to_owned();
        }
        let rest = self.0.iter().find(|f| f.certainty != first).map_or("", |f| f.certainty.word());
        format!("{same} {}, {} {rest}", first.word(), self.0.len() - same)
    }

    pub fn explains(&self, consequence: &Finding) -> bool {
        consequence.explained_by.iter().any(|id| self.0.iter().any(|f| f.id == *id))
    }
}

/// By cause and severity; with `all`, each for itself.
pub fn groups<'a>(findings: impl Iterator<Item = &'a Finding>, all: bool) -> Vec<Group<'a>> {
    let mut groups: Vec<Group> = Vec::new();
    for f in findings {
        let same = |g: &&mut Group| g.first().cause == f.cause && g.first().severity == f.severity;
        match groups.iter_mut().find(same) {
            Some(group) => group.0.push(f),
            None => groups.push(Group(vec![f])),
        }
    }
    let apart = |g: Group<'a>| match all || g.0.len() <= APART {
        true => g.0.into_iter().map(|f| Group(vec![f])).collect(),
        false => vec![g],
    };
    groups.into_iter().flat_map(apart).collect()
}

/// `a, b, c … and 95 more`, or all of them.
pub fn names<'a>(names: impl Iterator<Item = &'a str>, all: bool) -> String {
    let names: Vec<_> = names.map(text::line).collect();
    if all || names.len() <= NAMED + 1 {
        return names.join(", ");
    }
    format!("{} … and {} more", names[..NAMED].join(", "), names.len() - NAMED)
}

/// For one line that is drawn again and again: `a, b, c and 95 more`.
pub fn few(names: &[String]) -> String {
    match names.len().checked_sub(APART).filter(|more| *more > 1) {
        Some(more) => format!("{} and {more} more", names[..APART].join(", ")),
        None => names.join(", "),
    }
}
