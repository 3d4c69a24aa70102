//! Ways to bend a stack whose service runs in a container.

use mcp_ir::snapshot::containers::{Container, ContainerLook};
use mcp_ir::snapshot::units::{Event, Journal, LogLine, Process, UnitEvent};
use mcp_ir::snapshot::{FailKind, Failure, Reading, Stage};

use super::{A, Stack, ago, failed, refused, seen};

pub const ID: &str = "95482ab4437c062b05c6bc731f8b2134e4d4ba75805c3e42d10ec1d615085311";

/// Of an engine that has no such container.
pub fn no_container() -> Failure {
    Failure::new(FailKind::Missing, "no such container").at(Stage::Body)
}

/// It ended so many seconds ago, after an hour.
pub fn exited(code: i32, seconds: f64) -> Container {
    Container {
        state: "exited".into(),
        exit_code: code,
        pid: 0,
        finished_at: Some(ago(seconds)),
        started_at: Some(ago(seconds + 3600.0)),
        ..runs(3600.0)
    }
}

/// It was started so many seconds ago.
pub fn runs(seconds: f64) -> Container {
    Container {
        id: ID.into(),
        state: "running".into(),
        pid: 77,
        started_at: Some(ago(seconds)),
        policy: "no".into(),
        ..Container::default()
    }
}

impl Stack {
    /// The service runs in a container of its own name, and does not answer.
    pub fn in_container(c: Container) -> Self {
        Self::healthy()
            .service(A, |s| {
                s.unit = None;
                s.container = Some(A.into());
            })
            .no_answer(A, refused())
            .container(A, c)
    }

    pub fn container(mut self, name: &str, c: Container) -> Self {
        self.now.containers.insert(name.into(), ContainerLook::unasked(seen(c)));
        self
    }

    /// The engine does not say.
    pub fn no_engine(mut self, name: &str, f: Failure) -> Self {
        self.now.containers.insert(name.into(), ContainerLook::unasked(failed(f)));
        self
    }

    pub fn similar(mut self, name: &str, similar: &str) -> Self {
        self.now.containers.get_mut(name).unwrap().similar.push(similar.into());
        self
    }

    fn of_container(&mut self, name: &str) -> &mut Journal {
        let look = &mut self.now.containers.get_mut(name).unwrap().journal;
        if look.seen().is_none() {
            *look = seen(Journal::default());
        }
        match &mut look.reading {
            Reading::Seen { value } => value,
            _ => panic!("these events were not seen"),
        }
    }

    pub fn container_process(mut self, name: &str, state: &str) -> Self {
        let process = Process { pid: 77, state: state.into(), freezer: None };
        self.now.containers.get_mut(name).unwrap().process = seen(process);
        self
    }

    /// What the engine remembers of it: seconds ago, and what.
    pub fn happened(mut self, name: &str, all: &[(f64, Event)]) -> Self {
        let events = all.iter().map(|(s, what)| UnitEvent { at: ago(*s), what: what.clone() });
        self.of_container(name).events.extend(events);
        self
    }

    /// A line of its log.
    pub fn logged(mut self, name: &str, seconds: f64, text: &str) -> Self {
        let lines = &mut self.of_container(name).lines;
        lines.push(LogLine { at: ago(seconds), priority: 6, text: text.into() });
        let value = lines.len();
        self.now.containers.get_mut(name).unwrap().log = Reading::Seen { value };
        self
    }
}
