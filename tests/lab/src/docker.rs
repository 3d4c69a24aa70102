//! A container engine of the lab's own, under the booted systemd: it ends with that, whatever becomes of us.
//! No image can be had from outside: one is made of busybox and of what the sample server needs.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};

use crate::boot::Booted;
use crate::program::{installed, run};
use crate::stack::Stack;
use crate::units;
use crate::wait::until;

const UNIT: &str = "docker.service";
/// The sample server, as it is seen inside.
const PROGRAM: &str = "/app";

pub struct Docker<'a> {
    stack: &'a Stack,
    booted: &'a Booted,
}

impl<'a> Docker<'a> {
    /// The engine of this stack, started where it does not run.
    pub fn of(stack: &'a Stack) -> Result<Self> {
        let docker = Self { stack, booted: stack.systemd()? };
        if docker.booted.property(UNIT, "ActiveState")? != "active" {
            docker.start()?;
        }
        Ok(docker)
    }

    fn start(&self) -> Result<()> {
        ensure!(installed("dockerd").is_some(), "no dockerd: tests/lab/packages.sh");
        let share = self.stack.dir().join("share");
        let text = unit(&share.join("docker"));
        fs::write(self.stack.dir().join("units").join(UNIT), text)?;
        self.booted.systemctl(&["daemon-reload"])?;
        self.booted.systemctl(&["start", UNIT])?;
        if self.run(&["images", "-q", "lab"])?.trim().is_empty() {
            let image = image(&share, self.stack.binary())?;
            self.run(&["import", &image, "lab"])?;
        }
        Ok(())
    }

    /// The client, inside.
    pub fn run(&self, argv: &[&str]) -> Result<String> {
        let mut all = vec!["docker"];
        all.extend_from_slice(argv);
        self.booted.exec(&all)
    }

    /// A container with a program of the image's; given are docker's own options first.
    pub fn start_container(&self, name: &str, options: &[&str], program: &[&str]) -> Result<()> {
        let mut argv = vec!["run", "-d", "--name", name, "--network", "host"];
        argv.extend_from_slice(options);
        argv.push("lab");
        argv.extend_from_slice(program);
        self.run(&argv).map(drop)
    }

    /// One with a program of the machine's own, and its folder at the same path.
    pub fn start_server(&self, name: &str, folder: &Path, options: &[&str], program: &[&str]) -> Result<()> {
        let folder = format!("{0}:{0}", folder.display());
        let mut all = vec!["-v", "/usr:/usr:ro", "-v", folder.as_str()];
        all.extend_from_slice(options);
        self.start_container(name, &all, program)
    }

    /// The service in a container instead of its unit, at the same port. It need not get through its start.
    pub fn move_in(&self, name: &str, options: &[&str]) -> Result<()> {
        let service = self.stack.service(name)?;
        self.booted.systemctl(&["stop", &service.unit()])?;
        let volume = format!("{}:{PROGRAM}:ro", self.stack.binary().display());
        let environment: Vec<String> =
            units::environment(self.stack.cluster().port).iter().map(|(k, v)| format!("{k}={v}")).collect();
        let mut all = vec!["-v", volume.as_str()];
        all.extend(environment.iter().flat_map(|e| ["-e", e.as_str()]));
        all.extend_from_slice(options);
        let arguments = service.arguments();
        let mut program = vec![PROGRAM];
        program.extend(arguments.iter().map(String::as_str));
        self.start_container(name, &all, &program)
    }

    /// One field of its state.
    pub fn inspect(&self, name: &str, field: &str) -> Result<String> {
        let format = format!("{{{{{field}}}}}");
        Ok(self.run(&["inspect", "-f", &format, name])?.trim().to_owned())
    }

    pub fn reaches(&self, name: &str, state: &str) -> Result<()> {
        until(&format!("container {name} is {state}"), Duration::from_secs(15), || {
            self.inspect(name, ".State.Status").is_ok_and(|now| now == state)
        })
    }

    /// A signal to its main process by a person of this machine: the engine knows of none.
    pub fn kill_from_outside(&self, name: &str, signal: &str) -> Result<()> {
        let pid = self.inspect(name, ".State.Pid")?;
        ensure!(pid != "0", "container {name} has no process");
        self.booted.exec(&["kill", "-s", signal, &pid]).map(drop)
    }

    /// All containers are gone; the engine stays.
    pub fn clear(stack: &Stack) -> Result<()> {
        let Some(booted) = stack.booted() else { return Ok(()) };
        if booted.property(UNIT, "ActiveState")? != "active" {
            return Ok(());
        }
        let docker = Docker { stack, booted };
        let all = docker.run(&["ps", "-aq"])?;
        let mut argv = vec!["rm", "-f"];
        argv.extend(all.split_whitespace());
        if argv.len() > 2 { docker.run(&argv).map(drop) } else { Ok(()) }
    }
}

/// No bridge and no rules of a firewall: containers are on the host's network.
fn unit(data: &Path) -> String {
    format!(
        "\
[Unit]
Description=Docker Application Container Engine

[Service]
Type=notify
Environment=PATH=/usr/sbin:/usr/bin:/sbin:/bin
ExecStart=/usr/sbin/dockerd -H unix:///run/docker.sock --data-root {} --bridge=none \\
  --iptables=false --ip6tables=false --ip-forward=false
Delegate=yes
KillMode=process
TimeoutStartSec=60
",
        data.display()
    )
}

/// A shell, and the libraries that the program is linked with, where it looks for them.
fn image(share: &Path, program: &Path) -> Result<String> {
    let root = share.join("image");
    fs::create_dir_all(root.join("bin"))?;
    let busybox = installed("busybox").context("no busybox: tests/lab/packages.sh")?;
    fs::copy(busybox, root.join("bin/busybox"))?;
    symlink("busybox", root.join("bin/sh"))?;
    for word in run(Command::new("ldd").arg(program))?.split_whitespace().filter(|w| w.starts_with('/')) {
        let inside = root.join(word.trim_start_matches('/'));
        fs::create_dir_all(inside.parent().context("a library without a folder")?)?;
        fs::copy(word, inside)?;
    }
    let tar = share.join("image.tar");
    run(Command::new("tar").arg("-C").arg(&root).arg("-cf").arg(&tar).arg("."))?;
    Ok(tar.display().to_string())
}
