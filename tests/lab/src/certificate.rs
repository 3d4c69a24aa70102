//! Certificates good and bad, made by openssl as an administrator makes them.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Result;

use crate::program::run;

/// What is wrong with a server's certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    Expired,
    /// Of another authority than the trusted one.
    Authority,
    /// For another name.
    Name,
}

/// An authority that services and tool are told to trust.
pub struct Authority {
    folder: PathBuf,
}

impl Authority {
    pub fn new(folder: &Path) -> Result<Self> {
        fs::create_dir_all(folder)?;
        for name in ["ours", "foreign"] {
            let subject = format!("/CN=Lab authority, {name}");
            let mut command = openssl(folder, "req -x509 -newkey rsa:2048 -nodes -days 30");
            command.args(["-subj", &subject]).arg("-keyout").arg(format!("{name}.key"));
            run(command.arg("-out").arg(format!("{name}.crt")))?;
        }
        Ok(Self { folder: folder.to_owned() })
    }

    pub fn certificate(&self) -> PathBuf {
        self.folder.join("ours.crt")
    }

    /// A server's certificate and key for 127.0.0.1, but for one fault.
    pub fn issue(&self, fault: Fault, certificate: &Path, key: &Path) -> Result<()> {
        let authority = if fault == Fault::Authority { "foreign" } else { "ours" };
        let name = if fault == Fault::Name { "DNS:db.example.org" } else { "IP:127.0.0.1,DNS:localhost" };
        let extensions = format!("subjectAltName={name}\nextendedKeyUsage=serverAuth\n");
        fs::write(self.folder.join("extensions"), extensions)?;
        let mut request =
            openssl(&self.folder, "req -newkey rsa:2048 -nodes -subj /CN=postgres -out request");
        run(request.arg("-keyout").arg(key))?;
        fs::write(self.folder.join("index"), "")?;
        fs::write(self.folder.join("config"), CA)?;
        let (from, to) = match fault {
            Fault::Expired => ("20200101000000Z", "20200201000000Z"),
            Fault::Authority | Fault::Name => ("20200101000000Z", "20491231000000Z"),
        };
        let mut command = openssl(&self.folder, "ca -batch -notext -rand_serial -config config -in request");
        command.args(["-startdate", from, "-enddate", to, "-extfile", "extensions", "-outdir", "."]);
        command.args(["-cert", &format!("{authority}.crt"), "-keyfile", &format!("{authority}.key")]);
        run(command.arg("-out").arg(certificate)).map(drop)
    }
}

const CA: &str = "
[ca]
default_ca = lab
[lab]
database = index
default_md = sha256
policy = any
serial = serial
[any]
commonName = supplied
";

fn openssl(folder: &Path, arguments: &str) -> Command {
    let mut command = Command::new("openssl");
    command.args(arguments.split(' ')).current_dir(folder);
    command
}
