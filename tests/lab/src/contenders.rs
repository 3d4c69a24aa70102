//! What the tool is compared with: other programs on the same stack, with the same role.
//! What is not installed is named, never replaced.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

use anyhow::Result;

use crate::cluster::TOOL;
use crate::measure::Measurable;
use crate::program::installed;
use crate::stack::Stack;

/// Somebody else's look at the same stack.
pub struct Contender {
    pub name: &'static str,
    pub command: Measurable,
    /// What it ends with when all is well; some programs don't care.
    pub code: Option<i32>,
}

/// The contenders that are here, and what is missing for the others.
pub struct Field {
    pub here: Vec<Contender>,
    pub missing: Vec<String>,
}

impl Field {
    pub fn on(stack: &Stack) -> Result<Self> {
        let mut field = Self { here: Vec::new(), missing: Vec::new() };
        let real = stack.cluster().postgres.bin.join("psql");
        field.add("psql, the program", psql(stack, &real)?);
        match installed("psql").filter(|p| fs::canonicalize(p).ok() != fs::canonicalize(&real).ok()) {
            Some(wrapper) => field.add("psql, Debian's wrapper", psql(stack, &wrapper)?),
            None => field.lacks("psql, Debian's wrapper", "/usr/bin/psql"),
        }
        field.runbook(stack)?;
        field.plugins(stack);
        field.monit(stack)?;
        Ok(field)
    }

    fn add(&mut self, name: &'static str, command: Measurable) {
        self.here.push(Contender { name, command, code: Some(0) });
    }

    fn lacks(&mut self, name: &str, what: &str) {
        self.missing.push(format!("{name} ({what} is not installed)"));
    }

    /// The commands of the runbook's detection sections, one after another.
    fn runbook(&mut self, stack: &Stack) -> Result<()> {
        const NAME: &str = "the runbook's commands";
        let (Some(psql_path), Some(curl)) = (installed("psql"), installed("curl")) else {
            self.lacks(NAME, "psql or curl");
            return Ok(());
        };
        let passwords = password_file(stack)?;
        let mut lines = vec![format!("{} {} -c 'SELECT 1'", psql_path.display(), login(stack).join(" "))];
        for service in stack.services() {
            let line = format!("{} -sm 5 {}/health/status", curl.display(), service.url());
            lines.push(match installed("jq") {
                Some(jq) => format!("{line} | {} .status", jq.display()),
                None => line,
            });
        }
        if let Some(booted) = stack.booted() {
            let enter = format!("nsenter -t {} -m -p -C -w --", booted.leader);
            for unit in ["postgresql", "codebase-mcp", "workflow-mcp"] {
                lines.push(format!("{enter} systemctl is-active {unit}"));
            }
        }
        let script = lines.join("; ");
        let command = Measurable::new("/bin/sh".as_ref()).args(["-c", &script]).env("PGPASSFILE", passwords);
        self.add(NAME, command);
        Ok(())
    }

    /// One check after another, as a monitoring agent runs them.
    fn plugins(&mut self, stack: &Stack) {
        const NAME: &str = "monitoring-plugins";
        let (Some(pgsql), Some(http)) = (installed("check_pgsql"), installed("check_http")) else {
            return self.lacks(NAME, "check_pgsql or check_http");
        };
        let port = stack.cluster().port;
        let mut lines = vec![format!(
            "{} -H 127.0.0.1 -P {port} -d codebase_mcp -l {} -p {}",
            pgsql.display(),
            TOOL.role,
            TOOL.password
        )];
        for service in stack.services() {
            let text = r#"-s '"status":"healthy"'"#;
            lines.push(format!(
                "{} -I 127.0.0.1 -p {} -u /health/status {text}",
                http.display(),
                service.port
            ));
        }
        self.add(NAME, Measurable::new("/bin/sh".as_ref()).args(["-c", &lines.join("; ")]));
    }

    fn monit(&mut self, stack: &Stack) -> Result<()> {
        const NAME: &str = "monit validate";
        let Some(monit) = installed("monit") else {
            self.lacks(NAME, "monit");
            return Ok(());
        };
        let dir = stack.dir();
        let mut text = format!(
            "set log {0}/monit.log\nset statefile {0}/monit.state\nset idfile {0}/monit.id\n\
             check host postgres with address 127.0.0.1\n  \
             if failed port {1} protocol pgsql username \"{2}\" password \"{3}\" database \"codebase_mcp\" then alert\n",
            dir.display(),
            stack.cluster().port,
            TOOL.role,
            TOOL.password
        );
        for service in stack.services() {
            text += &format!(
                "check host {} with address 127.0.0.1\n  if failed port {} protocol http \
                 request \"/health/status\" content = '\"status\":\"healthy\"' then alert\n",
                service.name, service.port
            );
        }
        let file = dir.join("monitrc");
        secret(&file, &text)?;
        let command = Measurable::new(&monit).args(["-c".into(), file.into_os_string(), "validate".into()]);
        self.here.push(Contender { name: NAME, command, code: None });
        Ok(())
    }
}

fn psql(stack: &Stack, program: &std::path::Path) -> Result<Measurable> {
    let passwords = password_file(stack)?;
    Ok(Measurable::new(program).args(login(stack)).args(["-c", "SELECT 1"]).env("PGPASSFILE", passwords))
}

fn login(stack: &Stack) -> [String; 8] {
    let port = stack.cluster().port.to_string();
    ["-h", "127.0.0.1", "-p", &port, "-U", TOOL.role, "-d", "codebase_mcp"].map(String::from)
}

fn password_file(stack: &Stack) -> Result<PathBuf> {
    let file = stack.dir().join("pgpass");
    secret(&file, &format!("*:*:*:{}:{}\n", TOOL.role, TOOL.password))?;
    Ok(file)
}

fn secret(file: &std::path::Path, text: &str) -> Result<()> {
    fs::write(file, text)?;
    fs::set_permissions(file, fs::Permissions::from_mode(0o600))?;
    Ok(())
}
