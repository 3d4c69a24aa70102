//! Names by which all who speak to one manager know a unit, and the manager itself: an alias is another
//! spelling, not another unit; an address of a bus is only a way to it.

use std::time::Instant;

use zbus::{OwnedObjectPath, OwnedVariant};

use crate::probe::by;
use crate::snapshot::{FailKind, Failure, Stage};

/// The bus's own id, and for each of the units asked for its name. `Missing`: nobody is there to be asked.
pub async fn canonical(
    address: &str,
    units: &[&str],
    deadline: Instant,
) -> Result<(String, Vec<(String, String)>), Failure> {
    let failed = |kind| move |e: zbus::Error| Failure::new(kind, format!("systemd: {e}"));
    let met = async { zbus::connection::Builder::address(address).build().await };
    let met = by(deadline, Stage::Answer, "no answer from the system bus", met).await?;
    let connection = met.map_err(failed(FailKind::Missing))?;
    let asked = async {
        let bus = "org.freedesktop.DBus";
        let call = connection.call_method(Some(bus), "/org/freedesktop/DBus", Some(bus), "GetId", &());
        let id: String = call.await?.body().deserialize()?;
        let systemd = Some("org.freedesktop.systemd1");
        let mut names = Vec::new();
        for unit in units {
            let manager = Some("org.freedesktop.systemd1.Manager");
            let (at, body) = ("/org/freedesktop/systemd1", (unit,));
            let loaded = connection.call_method(systemd, at, manager, "LoadUnit", &body);
            let path: OwnedObjectPath = loaded.await?.body().deserialize()?;
            let of = ("org.freedesktop.systemd1.Unit", "Id");
            let to = Some("org.freedesktop.DBus.Properties");
            let name = connection.call_method(systemd, &path, to, "Get", &of).await?;
            let name: OwnedVariant = name.body().deserialize()?;
            names.push(((*unit).to_owned(), String::try_from(name).unwrap_or_else(|_| (*unit).to_owned())));
        }
        Ok::<_, zbus::Error>((id, names))
    };
    by(deadline, Stage::Answer, "no answer from systemd", asked).await?.map_err(failed(FailKind::Closed))
}
