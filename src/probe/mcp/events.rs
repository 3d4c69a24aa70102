//! The framing of an event stream: from pieces to the data of each event. It keeps what is not yet
//! whole; how much may come at all is the reader's limit.

use std::collections::VecDeque;

#[derive(Default)]
pub struct Events {
    line: Vec<u8>,
    data: Option<Vec<u8>>,
    whole: VecDeque<Vec<u8>>,
    /// A carriage return came last: a line feed after it ends no second line.
    returned: bool,
    begun: bool,
}

impl Events {
    pub fn feed(&mut self, piece: &[u8]) {
        for &byte in piece {
            let second = std::mem::replace(&mut self.returned, byte == b'\r') && byte == b'\n';
            match byte {
                b'\n' | b'\r' if !second => self.end_of_line(),
                b'\n' | b'\r' => {}
                other => self.line.push(other),
            }
        }
    }

    /// The data of the next event that is whole. One that is cut off is none.
    pub fn take(&mut self) -> Option<Vec<u8>> {
        self.whole.pop_front()
    }

    fn end_of_line(&mut self) {
        let line = std::mem::take(&mut self.line);
        let first = !std::mem::replace(&mut self.begun, true);
        let line = line.strip_prefix(b"\xef\xbb\xbf").filter(|_| first).unwrap_or(&line);
        if line.is_empty() {
            self.whole.extend(self.data.take());
            return;
        }
        // A comment, or another field: its name, its id, when to come again.
        let Some(value) = line.strip_prefix(b"data").filter(|v| v.is_empty() || v[0] == b':') else { return };
        let value = value.strip_prefix(b":").unwrap_or(value);
        let value = value.strip_prefix(b" ").unwrap_or(value);
        match &mut self.data {
            None => self.data = Some(value.to_vec()),
            Some(data) => {
                data.push(b'\n');
                data.extend_from_slice(value);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(text: &[u8], piece: usize) -> Vec<String> {
        let mut events = Events::default();
        text.chunks(piece).for_each(|p| events.feed(p));
        std::iter::from_fn(|| events.take()).map(|d| String::from_utf8(d).unwrap()).collect()
    }

    #[test]
    fn events_are_the_same_however_they_are_cut() {
        for end in ["\n", "\r\n", "\r"] {
            let text = "\u{feff}event: message|id: 7|data: {\"a\":|data:1}||: still here||data||data: x|";
            let text = text.replace('|', end);
            for piece in [1, 2, 3, 1000] {
                assert_eq!(all(text.as_bytes(), piece), ["{\"a\":\n1}", ""], "{end:?} by {piece}");
            }
        }
    }

    #[test]
    fn what_is_no_data_is_passed_over() {
        assert_eq!(all(b"datas: x\ndata x\n:data: x\nretry: 5\n\n\n\n", 5), Vec::<String>::new());
        assert_eq!(all(b"data:  two\n\n", 4), [" two"]);
        assert_eq!(all("data: \u{feff}\n\n\u{feff}data: x\n\n".as_bytes(), 4), ["\u{feff}"]);
    }
}
