//! The services of a stack: started, told another environment, asked, awaited.

use std::net::TcpStream;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use anyhow::Result;

use crate::service::Service;
use crate::{units, wait};

use super::{Ground, Stack};

impl Stack {
    pub fn start_service(&mut self, name: &'static str) -> Result<()> {
        let service = self.service(name)?.clone();
        match &mut self.ground {
            Ground::Systemd(booted) => {
                booted.systemctl(&["reset-failed", &service.unit()]).ok();
                booted.systemctl(&["restart", &service.unit()]).map(drop)
            }
            Ground::Plain(plain) => {
                let mut command = Command::new(&self.binary);
                command.args(service.arguments()).envs(units::environment(self.cluster.port));
                plain.start(name, &mut command)
            }
        }
    }

    /// Variables of a service's unit, by a drop-in, and a restart that makes them hold.
    pub fn set_environment(&self, name: &str, variables: &[(&str, String)]) -> Result<()> {
        let booted = self.systemd()?;
        let unit = self.service(name)?.unit();
        let lines: String = variables.iter().map(|(k, v)| format!("Environment={k}={v}\n")).collect();
        booted.drop_in(&unit, &format!("[Service]\n{lines}"))?;
        booted.systemctl(&["restart", &unit]).map(drop)
    }

    /// A server that somebody started by hand in a session, of no service, has its port; its start fails.
    pub fn serve_by_hand(&self, name: &str) -> Result<()> {
        let (booted, service) = (self.systemd()?, self.service(name)?);
        let (unit, listen) = (service.unit(), format!("127.0.0.1:{}", service.port));
        booted.systemctl(&["stop", &unit])?;
        let serve = format!("{} serve --name by-hand --listen {listen} --shape c", self.binary.display());
        let run = format!(
            "DATABASE_URL=postgresql://nobody@127.0.0.1:1/none systemd-run --scope -q --unit=by-hand \
             {serve} </dev/null >/dev/null 2>&1 &"
        );
        booted.exec(&["sh", "-c", &run])?;
        let limit = Duration::from_secs(20);
        wait::until("it listens", limit, || TcpStream::connect(&listen).is_ok())?;
        booted.systemctl(&["start", &unit]).ok();
        wait::until("its start fails", limit, || {
            booted.property(&unit, "ActiveState").is_ok_and(|state| state == "failed")
        })
    }

    pub fn end_by_hand(&self) -> Result<()> {
        // Who has ended is no unit any more.
        let _ = self.systemd()?.systemctl(&["stop", "by-hand.scope"]);
        Ok(())
    }

    /// The services' database is elsewhere from now on, as the services see it.
    pub fn point_services_at(&self, host: &str, port: u16, query: &str) -> Result<()> {
        for name in self.names() {
            self.set_environment(name, &[("DATABASE_URL", units::database_url(host, port, query))])?;
        }
        Ok(())
    }

    pub fn restart_services(&mut self) -> Result<()> {
        for name in self.names() {
            self.start_service(name)?;
        }
        Ok(())
    }

    /// Users who search; they wait as long as the service lets them.
    pub fn add_searches(&self, name: &str, count: usize) -> Result<()> {
        let service = self.service(name)?.clone();
        for _ in 0..count {
            let service = service.clone();
            thread::spawn(move || service.search(Duration::from_secs(600)).is_ok());
        }
        Ok(())
    }

    /// Users who ask again and again, whatever they are told, until the stack is healed.
    pub fn keep_asking(&mut self, name: &str, count: usize) -> Result<()> {
        self.keep_posting(name, count, Service::SEARCH)
    }

    /// The same with a search of their own.
    pub fn keep_posting(&mut self, name: &str, count: usize, body: &'static str) -> Result<()> {
        let service = self.service(name)?.clone();
        let asking = Arc::new(AtomicBool::new(true));
        for _ in 0..count {
            let (service, asking) = (service.clone(), Arc::clone(&asking));
            thread::spawn(move || {
                while asking.load(Ordering::Relaxed) {
                    if service.post(body, Duration::from_secs(5)).is_err() {
                        thread::sleep(Duration::from_millis(100));
                    }
                }
            });
        }
        self.asking = Some(asking);
        Ok(())
    }

    pub fn stop_asking(&mut self) {
        if let Some(asking) = self.asking.take() {
            asking.store(false, Ordering::Relaxed);
        }
    }

    pub fn wait_until_healthy(&self) -> Result<()> {
        self.wait_until_all_say("healthy")
    }

    pub fn wait_until_all_say(&self, status: &str) -> Result<()> {
        for service in &self.services {
            let what = format!("{} is {status}", service.name);
            wait::until(&what, Duration::from_secs(10), || service.says(status))?;
        }
        Ok(())
    }
}
