//! What a diagnosis says, and short ways to demand it. Every complaint shows all findings.

use mcp_ir::diagnosis::{Certainty, Diagnosis, Finding, Severity, SymptomState, Verdict};

pub struct Told {
    pub d: Diagnosis,
    /// Stands before every complaint.
    case: String,
}

impl Told {
    pub fn new(d: Diagnosis) -> Self {
        Self { d, case: String::new() }
    }

    /// Names the case of a table.
    pub fn case(mut self, name: impl Into<String>) -> Self {
        self.case = format!("{}: ", name.into());
        self
    }

    fn all(&self) -> String {
        let findings: Vec<String> = self
            .d
            .findings
            .iter()
            .map(|f| {
                format!(
                    "  {} {:?} {:?} by {:?}: {}",
                    f.id, f.severity, f.certainty, f.explained_by, f.summary
                )
            })
            .collect();
        format!("{:?}\n{}\n  unknown {:?}", self.d.verdict, findings.join("\n"), self.d.unknown)
    }

    /// Ids of the roots of P1 to P3, in their order.
    pub fn roots(&self) -> Vec<&str> {
        let root = |f: &&Finding| f.is_root() && f.severity < Severity::P4;
        self.d.findings.iter().filter(root).map(|f| f.id.as_str()).collect()
    }

    #[track_caller]
    pub fn find(&self, id: &str) -> &Finding {
        let found = self.d.findings.iter().find(|f| f.id == id);
        found.unwrap_or_else(|| panic!("{}no {id} in {}", self.case, self.all()))
    }

    /// These are the roots, and no others.
    #[track_caller]
    pub fn expect_roots(&self, ids: &[&str]) -> &Self {
        assert_eq!(self.roots(), ids, "{}{}", self.case, self.all());
        self
    }

    /// This is the only root, and so certain; the verdict is a problem.
    #[track_caller]
    pub fn expect_root(&self, id: &str, certainty: Certainty) -> &Self {
        self.expect_roots(&[id]);
        assert_eq!(self.find(id).certainty, certainty, "{}{}", self.case, self.all());
        self.verdict(Verdict::Problem)
    }

    /// It is there, and explained by exactly these.
    #[track_caller]
    pub fn explained(&self, id: &str, by: &[&str]) -> &Self {
        let mut got = self.find(id).explained_by.clone();
        got.sort();
        let mut by = by.to_vec();
        by.sort_unstable();
        assert_eq!(got, by, "{}{id} in {}", self.case, self.all());
        self
    }

    /// No finding of this cause, on whatever subject.
    #[track_caller]
    pub fn never(&self, cause: &str) -> &Self {
        let found = self.d.findings.iter().any(|f| f.cause.starts_with(cause));
        assert!(!found, "{}{cause} in {}", self.case, self.all());
        self
    }

    #[track_caller]
    pub fn verdict(&self, verdict: Verdict) -> &Self {
        assert_eq!(self.d.verdict, verdict, "{}{}", self.case, self.all());
        self
    }

    /// Healthy, exit 0: not even a note.
    #[track_caller]
    pub fn healthy(&self) -> &Self {
        assert!(self.d.findings.is_empty(), "{}{}", self.case, self.all());
        self.verdict(Verdict::Healthy)
    }

    /// No cause is named, and nothing is called healthy.
    #[track_caller]
    pub fn unknown(&self) -> &Self {
        assert!(self.roots().is_empty(), "{}{}", self.case, self.all());
        self.verdict(Verdict::Unknown)
    }

    #[track_caller]
    pub fn symptom(&self, subject: &str, state: SymptomState) -> &Self {
        let s = self.d.symptoms.iter().find(|s| s.subject == subject).expect("a symptom");
        assert_eq!(s.state, state, "{}{} says {}", self.case, subject, s.says);
        self
    }

    /// What is said of a target beside its state.
    pub fn says(&self, subject: &str) -> String {
        self.d.symptoms.iter().find(|s| s.subject == subject).expect("a symptom").says.clone()
    }

    /// Some evidence of this finding has these words.
    #[track_caller]
    pub fn evidence(&self, id: &str, words: &str) -> &Self {
        let e = &self.find(id).evidence;
        let said = e.iter().any(|e| e.value.contains(words) || e.fact.contains(words));
        assert!(said, "{}{words:?} is not in {e:#?}", self.case);
        self
    }
}
