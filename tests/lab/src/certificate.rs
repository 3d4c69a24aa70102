//! Certificates good and bad, made by openssl as an administrator makes them.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Result;
use jiff::{SignedDuration, Timestamp};

use crate::program::run;

/// What is wrong with a server's certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    Expired,
    /// Of another authority than the trusted one.
    Authority,
    /// For another name.
    Name,
    /// Nothing; of so many hours that it lives so many are left.
    Ends {
        life: i64,
        left: i64,
    },
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

    /// One that was made before.
    pub fn at(folder: &Path) -> Self {
        Self { folder: folder.to_owned() }
    }

    pub fn certificate(&self) -> PathBuf {
        self.folder.join("ours.crt")
    }

    /// A server's certificate and key for 127.0.0.1, but for one fault.
    pub fn issue(&self, fault: Fault, certificate: &Path, key: &Path) -> Result<()> {
        let dates = match fault {
            Fault::Expired => ("20200101000000Z".into(), "20200201000000Z".into()),
            Fault::Authority | Fault::Name => ("20200101000000Z".into(), "20491231000000Z".into()),
            Fault::Ends { life, left } => (hours_ahead(left - life), hours_ahead(left)),
        };
        self.sign(fault, dates, certificate, key)
    }

    fn sign(&self, fault: Fault, (from, to): (String, String), certificate: &Path, key: &Path) -> Result<()> {
        let authority = if fault == Fault::Authority { "foreign" } else { "ours" };
        let name = if fault == Fault::Name { "DNS:db.example.org" } else { "IP:127.0.0.1,DNS:localhost" };
        let extensions = format!("subjectAltName={name}\nextendedKeyUsage=serverAuth\n");
        fs::write(self.folder.join("extensions"), extensions)?;
        let mut request =
            openssl(&self.folder, "req -newkey rsa:2048 -nodes -subj /CN=postgres -out request");
        run(request.arg("-keyout").arg(key))?;
        fs::write(self.folder.join("index"), "")?;
        fs::write(self.folder.join("config"), CA)?;
        let mut command = openssl(&self.folder, "ca -batch -notext -rand_serial -config config -in request");
        command.args(["-startdate", &from, "-enddate", &to, "-extfile", "extensions", "-outdir", "."]);
        command.args(["-cert", &format!("{authority}.crt"), "-keyfile", &format!("{authority}.key")]);
        run(command.arg("-out").arg(certificate)).map(drop)
    }
}

/// As openssl writes it.
fn hours_ahead(hours: i64) -> String {
    let at = Timestamp::now() + SignedDuration::from_hours(hours);
    at.strftime("%Y%m%d%H%M%SZ").to_string()
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
