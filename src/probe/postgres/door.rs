//! What stands at an address, as far as it says without a login: a pooler, or anything else.
//! Sends a login's first words, and leaves before it is asked for a password.

use std::time::Instant;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

use super::failure::early;
use crate::config::PgHost;
use crate::probe::place::{self, Place, Stream};
use crate::probe::{by, io_failure};
use crate::snapshot::network::{Door, Host};
use crate::snapshot::{FailKind, Failure, Stage};

/// Where a host leads, by this machine's resolver.
pub async fn host(host: &PgHost, deadline: Instant) -> Result<Host, Failure> {
    let place = super::place(host, 0, deadline).await?;
    let here = place.here();
    let addresses = match place {
        Place::Unix(_) => Vec::new(),
        Place::Tcp(all) => all.iter().map(|a| a.ip().to_canonical()).collect(),
    };
    Ok(Host { addresses, here })
}

/// Knocks. A pgbouncer refuses a setting that it does not know before it asks for a password, by
/// 08P01; a server asks first, and takes a setting with a dot in its name from anybody.
/// In the name of whom the door was named to: a name that a server does not know stands in its log.
pub async fn door(
    host: &PgHost,
    port: u16,
    (user, database): (&str, &str),
    deadline: Instant,
) -> Result<Door, Failure> {
    let who = (user, database);
    let place = super::place(host, port, deadline).await?;
    let open = by(deadline, Stage::Connect, "no connection", place::open(&place, deadline)).await?;
    let said = match open.map_err(|e| io_failure(&e, "").at(Stage::Connect))? {
        Stream::Tcp(s) => by(deadline, Stage::Answer, "no answer", knock(s, who)).await?,
        Stream::Unix(s) => by(deadline, Stage::Answer, "no answer", knock(s, who)).await?,
    }
    .map_err(|e| io_failure(&e, "").at(Stage::Answer))?;
    match said.split_first() {
        // Early words have their length before them, as `early` reads them.
        Some((b'E', rest)) => {
            let f = early(rest);
            let pooler = f.postgres.is_some_and(|e| e.sqlstate == "08P01");
            Ok(if pooler { Door::Pooler } else { Door::Other })
        }
        Some(_) => Ok(Door::Other),
        None => Err(Failure::new(FailKind::Closed, "connection closed in the middle").at(Stage::Answer)),
    }
}

async fn knock(
    mut stream: impl AsyncRead + AsyncWrite + Unpin,
    (user, database): (&str, &str),
) -> std::io::Result<Vec<u8>> {
    // Protocol 3.0.
    let mut words = vec![0, 3, 0, 0];
    for word in ["user", user, "database", database, "mcp_ir.look", "1"] {
        words.extend(word.bytes().filter(|b| *b != 0));
        words.push(0);
    }
    words.push(0);
    let length = u32::try_from(words.len() + 4).map_err(|_| std::io::ErrorKind::InvalidInput)?;
    stream.write_all(&length.to_be_bytes()).await?;
    stream.write_all(&words).await?;
    let mut said = vec![0; 1024];
    let mut filled = 0;
    // Up to the end of the first message, or of what is read of it.
    while filled < said.len() {
        let n = stream.read(&mut said[filled..]).await?;
        filled += n;
        let whole = said.get(1..5).and_then(|l| l.try_into().ok()).map(u32::from_be_bytes);
        let complete = filled >= 5 && whole.is_some_and(|w| filled > w as usize);
        if n == 0 || complete || (filled > 0 && said[0] != b'E') {
            break;
        }
    }
    said.truncate(filled);
    Ok(said)
}
