//! A name server that knows no name: to every question it answers that there is no such name.
//! It listens in the lab's own network and ends with the process.

use std::net::UdpSocket;
use std::sync::OnceLock;
use std::thread;

use anyhow::{Context, Result};

/// Starts it, once.
pub fn know_nothing() -> Result<()> {
    static STARTED: OnceLock<()> = OnceLock::new();
    if STARTED.get().is_some() {
        return Ok(());
    }
    let socket = UdpSocket::bind(("127.0.0.1", 53)).context("no name server on port 53")?;
    thread::spawn(move || {
        let mut packet = [0_u8; 512];
        while let Ok((length, from)) = socket.recv_from(&mut packet) {
            if let Some(answer) = no_such_name(&packet[..length]) {
                let _ = socket.send_to(&answer, from);
            }
        }
    });
    let _ = STARTED.set(());
    Ok(())
}

/// The question again, as an answer with code 3 and no records.
fn no_such_name(question: &[u8]) -> Option<Vec<u8>> {
    let mut answer = question.to_vec();
    let header = answer.get_mut(..12)?;
    header[2] |= 0x80;
    header[3] = 0x83;
    header[6..12].fill(0);
    // Behind the name, its type and class; an additional record is not repeated.
    let end = 12 + question.get(12..)?.iter().position(|byte| *byte == 0)? + 5;
    answer.truncate(end);
    Some(answer)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn a_question_comes_back_as_no_such_name() {
        let mut question = vec![7, 7, 1, 0, 0, 1, 0, 0, 0, 0, 0, 1];
        question.extend(b"\x02db\x03lab\0\0\x01\0\x01\0\0\x29");
        let answer = no_such_name(&question).unwrap();
        assert_eq!(answer[..12], [7, 7, 0x81, 0x83, 0, 1, 0, 0, 0, 0, 0, 0]);
        assert!(answer.ends_with(b"\x03lab\0\0\x01\0\x01"));
    }
}
