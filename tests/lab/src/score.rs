//! Whether a diagnosis is right: pure, and strict.
//! Every complaint is a sentence for the person who reads the matrix.

use crate::fault::Fault;
use crate::tool::{Diagnosis, Finding};

/// What is wrong with a diagnosis of this fault; nothing, if it is right.
pub fn complaints(fault: &Fault, code: Option<i32>, seen: &Diagnosis) -> Vec<String> {
    let mut wrong = form(seen);
    let (verdict, exit) = match fault.cause {
        Some(_) if !fault.note => ("problem", 1),
        None if fault.not_known => ("unknown", 3),
        _ => ("healthy", 0),
    };
    if seen.verdict != verdict {
        wrong.push(format!("verdict {}, not {verdict}", seen.verdict));
    }
    if code != Some(exit) {
        wrong.push(format!("exit code {code:?}, not {exit}"));
    }
    let roots: Vec<&Finding> = seen.findings.iter().filter(|f| f.is_root()).collect();
    match fault.cause {
        None => wrong.extend(roots.iter().map(|f| format!("{} where nothing is wrong", f.id))),
        Some(_) if !fault.parts.is_empty() => together(fault, &roots, seen, &mut wrong),
        Some(cause) if fault.note => {
            let expected = format!("{cause}@{}", fault.subject);
            wrong.extend(roots.iter().map(|f| format!("{} where a note was expected", f.id)));
            if !seen.findings.iter().any(|f| f.id == expected && !f.is_problem()) {
                wrong.push(format!("no note {expected}"));
            }
        }
        Some(cause) => root(fault, cause, &roots, seen, &mut wrong),
    }
    changes(fault, seen, &mut wrong);
    wrong
}

/// What was changed of late: told where something is wrong, and nowhere else.
fn changes(fault: &Fault, seen: &Diagnosis, wrong: &mut Vec<String>) {
    let first = seen.changes.first().map_or("nothing", |c| c.what.as_str());
    if let Some(what) = fault.changed.filter(|what| !first.starts_with(what)) {
        wrong.push(format!("first of the changes is {first}, not {what}"));
    }
    if let Some(what) = fault.also_changed.filter(|w| !seen.changes.iter().any(|c| c.what.starts_with(w))) {
        let all: Vec<&str> = seen.changes.iter().map(|c| c.what.as_str()).collect();
        wrong.push(format!("{what} is not told of, but {}", all.join("; ")));
    }
    let old = |what: &str| seen.changes.iter().find(|c| c.what.contains(what));
    if let Some(change) = fault.not_changed.and_then(old) {
        wrong.push(format!("{} is said to be of late", change.what));
    }
    if fault.cause.is_none() && !seen.changes.is_empty() {
        wrong.push(format!("{first} is told of a stack in which nothing is wrong"));
    }
}

/// What is wrong in the words of a tool that may see less than all: a root that isn't one,
/// or a clean bill of health for a stack in which a symptom is red.
pub fn untruths(fault: &Fault, seen: &Diagnosis) -> Vec<String> {
    let mut wrong = form(seen);
    let parts = fault.parts().unwrap_or_default();
    let every = || std::iter::once(fault).chain(&parts).filter(|f| !f.note);
    let expected = |f: &Finding| {
        every()
            .any(|x| x.root().as_ref() == Some(&f.id) || [x.lesser, x.beside].contains(&Some(f.id.as_str())))
    };
    let roots = seen.findings.iter().filter(|f| f.is_root() && !expected(f));
    wrong.extend(roots.map(|f| format!("{} is a root", f.id)));
    if !fault.consequences.is_empty() && seen.verdict == "healthy" {
        wrong.push("verdict healthy".into());
    }
    wrong
}

fn root(fault: &Fault, cause: &str, roots: &[&Finding], seen: &Diagnosis, wrong: &mut Vec<String>) {
    let expected = format!("{cause}@{}", fault.subject);
    let Some(first) = seen.findings.first() else {
        wrong.push("nothing was found".into());
        return;
    };
    if first.id != expected {
        wrong.push(format!("first is {}, not {expected}", first.id));
    }
    for other in roots.iter().filter(|f| f.id != expected && fault.beside != Some(f.id.as_str())) {
        wrong.push(format!("{} is a root beside it", other.id));
    }
    if let Some(id) = fault.beside.filter(|id| !roots.iter().any(|f| f.id == *id)) {
        wrong.push(format!("{id} is no root"));
    }
    if seen.severity.as_deref() != Some(first.severity.as_str()) {
        wrong.push(format!("severity {:?}, but the worst root is {}", seen.severity, first.severity));
    }
    if let Some(next) = fault.next.filter(|next| first.remedy.command != *next) {
        wrong.push(format!("next is `{}`, not `{next}`", first.remedy.command));
    }
    let says =
        |words: &str| first.summary.contains(words) || first.evidence.iter().any(|e| e.value.contains(words));
    if let Some(words) = fault.said.filter(|words| !says(words)) {
        wrong.push(format!("it does not say {words}: {}", first.summary));
    }
    for subject in fault.consequences {
        let explained = |f: &&Finding| f.subject == *subject && leads_to(f, &expected, seen);
        if !seen.findings.iter().any(|f| explained(&f)) {
            wrong.push(format!("nothing about {subject} is explained by it"));
        }
    }
}

/// Each is a root, there is no other, and what each makes red is explained by it.
fn together(fault: &Fault, roots: &[&Finding], seen: &Diagnosis, wrong: &mut Vec<String>) {
    let Ok(parts) = fault.parts() else {
        return wrong.push("it is made of faults that there are not".into());
    };
    let expected: Vec<String> = parts.iter().filter_map(Fault::root).collect();
    let missing = expected.iter().filter(|id| !roots.iter().any(|f| f.id == **id));
    wrong.extend(missing.map(|id| format!("{id} is no root")));
    let others = roots.iter().filter(|f| !expected.contains(&f.id));
    wrong.extend(others.map(|f| format!("{} is a root beside them", f.id)));
    let worst = roots.iter().map(|f| f.severity.as_str()).min();
    if seen.severity.as_deref() != worst || seen.findings.first().map(|f| f.severity.as_str()) != worst {
        wrong.push(format!("severity {:?}, but the worst root is {worst:?}", seen.severity));
    }
    for (part, root) in parts.iter().zip(&expected) {
        for subject in part.consequences.iter().filter(|s| !parts.iter().any(|p| p.subject == **s)) {
            if !seen.findings.iter().any(|f| f.subject == *subject && leads_to(f, root, seen)) {
                wrong.push(format!("nothing about {subject} is explained by {root}"));
            }
        }
    }
}

/// Whether the chain of explanations of a finding ends at a root of this id.
fn leads_to(finding: &Finding, root: &str, seen: &Diagnosis) -> bool {
    let mut open = finding.explained_by.clone();
    let mut done: Vec<String> = Vec::new();
    while let Some(id) = open.pop() {
        if id == root {
            return true;
        }
        if !done.contains(&id) {
            open.extend(seen.findings.iter().filter(|f| f.id == id).flat_map(|f| f.explained_by.clone()));
            done.push(id);
        }
    }
    false
}

/// What the schema promises of every diagnosis.
fn form(seen: &Diagnosis) -> Vec<String> {
    let mut wrong = Vec::new();
    if seen.schema != "mcp-ir/diagnosis/1" {
        wrong.push(format!("schema {}", seen.schema));
    }
    for (n, finding) in seen.findings.iter().enumerate() {
        if finding.id != format!("{}@{}", finding.cause, finding.subject) {
            wrong.push(format!("id {} of {} on {}", finding.id, finding.cause, finding.subject));
        }
        if seen.findings[..n].iter().any(|f| f.id == finding.id) {
            wrong.push(format!("{} twice", finding.id));
        }
        if !["proven", "likely"].contains(&finding.certainty.as_str()) {
            wrong.push(format!("{} is {}", finding.id, finding.certainty));
        }
        for id in &finding.explained_by {
            if !seen.findings.iter().any(|f| f.id == *id) {
                wrong.push(format!("{} is explained by {id}, which is not there", finding.id));
            }
        }
        let earlier_consequence = seen.findings[..n].iter().any(|f| !f.explained_by.is_empty());
        if finding.is_root() && earlier_consequence {
            wrong.push(format!("root {} stands after a consequence", finding.id));
        }
    }
    wrong
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use crate::fault;

    fn finding(id: &str, severity: &str, explained_by: &[&str]) -> Finding {
        let (cause, subject) = id.split_once('@').unwrap();
        Finding {
            id: id.into(),
            cause: cause.into(),
            subject: subject.into(),
            severity: severity.into(),
            certainty: "proven".into(),
            explained_by: explained_by.iter().map(|s| (*s).to_owned()).collect(),
            ..Finding::default()
        }
    }

    fn diagnosis(verdict: &str, findings: Vec<Finding>) -> Diagnosis {
        let severity = findings.first().map(|f| f.severity.clone());
        Diagnosis {
            schema: "mcp-ir/diagnosis/1".into(),
            verdict: verdict.into(),
            severity,
            findings,
            changes: Vec::new(),
            vantage: crate::tool::Vantage::default(),
        }
    }

    const ROOT: &str = "db-down/postgres-stopped@postgres";

    #[test]
    fn one_root_with_all_else_explained_is_right() {
        let fault = fault::find("postgres-stopped").unwrap();
        let seen = diagnosis(
            "problem",
            vec![
                finding(ROOT, "P1", &[]),
                finding("server-crash/unhealthy@codebase-mcp", "P1", &[ROOT]),
                finding("server-crash/unhealthy@workflow-mcp", "P1", &[ROOT]),
            ],
        );
        assert_eq!(complaints(&fault, Some(1), &seen), Vec::<String>::new());
    }

    #[test]
    fn a_second_root_is_wrong() {
        let fault = fault::find("postgres-stopped").unwrap();
        let other = finding("server-crash/unhealthy@codebase-mcp", "P1", &[]);
        let seen = diagnosis("problem", vec![finding(ROOT, "P1", &[]), other]);
        let said = complaints(&fault, Some(1), &seen).join("\n");
        assert!(said.contains("server-crash/unhealthy@codebase-mcp is a root beside it"), "{said}");
        assert!(said.contains("nothing about workflow-mcp is explained by it"), "{said}");
    }

    #[test]
    fn a_note_does_not_make_a_healthy_stack_wrong() {
        let control = fault::find("healthy").unwrap();
        let mut seen =
            diagnosis("healthy", vec![finding("pool-exhausted/idle-in-transaction@postgres", "P4", &[])]);
        seen.severity = None;
        assert_eq!(complaints(&control, Some(0), &seen), Vec::<String>::new());
    }

    #[test]
    fn the_right_cause_with_the_wrong_exit_code_is_wrong() {
        let fault = fault::find("hung/postmaster").unwrap();
        let seen = diagnosis("problem", vec![finding("db-down/hung@postgres", "P1", &[])]);
        assert_eq!(complaints(&fault, Some(3), &seen), ["exit code Some(3), not 1"]);
    }

    #[test]
    fn what_was_changed_is_asked_for_and_what_was_not_is_refused() {
        let of = |name: &str, what: &str| {
            let fault = fault::find(name).unwrap();
            let mut seen =
                diagnosis("problem", vec![finding("server-crash/bad-configuration@codebase-mcp", "P1", &[])]);
            seen.changes.push(crate::tool::Change { what: what.into() });
            complaints(&fault, Some(1), &seen)
        };
        let drop_in = "drop-in lab-fault.conf of codebase-mcp.service (POOL_MAX_SIZE)";
        assert_eq!(of("bad-configuration/pool-size", drop_in), Vec::<String>::new());
        assert_eq!(of("bad-configuration/pool-size", "package nano removed").len(), 1);
        assert_eq!(of("bad-configuration/old-drop-in", drop_in).len(), 1);
        assert_eq!(of("bad-configuration/old-drop-in", "package nano removed"), Vec::<String>::new());
    }

    #[test]
    fn a_note_is_asked_for_where_it_is_what_is_expected() {
        let fault = fault::find("pool-over-budget").unwrap();
        let mut seen =
            diagnosis("healthy", vec![finding("pool-exhausted/pool-over-budget@postgres", "P4", &[])]);
        seen.severity = None;
        assert_eq!(complaints(&fault, Some(0), &seen), Vec::<String>::new());
        seen.findings.clear();
        let said = complaints(&fault, Some(0), &seen);
        assert_eq!(said, ["no note pool-exhausted/pool-over-budget@postgres"]);
    }

    #[test]
    fn who_sees_less_may_not_know_but_may_not_be_wrong() {
        let fault = fault::find("postgres-stopped").unwrap();
        assert_eq!(untruths(&fault, &diagnosis("unknown", Vec::new())), Vec::<String>::new());
        assert_eq!(untruths(&fault, &diagnosis("healthy", Vec::new())), ["verdict healthy"]);
        let other = finding("db-down/hung@postgres", "P1", &[]);
        let said = untruths(&fault, &diagnosis("problem", vec![other]));
        assert_eq!(said, ["db-down/hung@postgres is a root"]);
    }

    #[test]
    fn of_two_faults_both_are_roots_and_nothing_else_is() {
        let pair = fault::find("pairs/stopped-and-failed").unwrap();
        let (one, other) = ("server-crash/stopped@codebase-mcp", "server-crash/failed@workflow-mcp");
        let roots =
            |ids: &[&str]| diagnosis("problem", ids.iter().map(|id| finding(id, "P1", &[])).collect());
        assert_eq!(complaints(&pair, Some(1), &roots(&[one, other])), Vec::<String>::new());
        assert!(
            complaints(&pair, Some(1), &roots(&[one]))[0]
                .contains("server-crash/failed@workflow-mcp is no root")
        );
        let third = "db-down/hung@postgres";
        assert!(complaints(&pair, Some(1), &roots(&[one, other, third]))[0].contains("beside them"));
        let explained = vec![finding(one, "P1", &[]), finding(other, "P1", &[one])];
        assert!(!complaints(&pair, Some(1), &diagnosis("problem", explained)).is_empty());
    }
}
