//! What an MCP endpoint answers: streams of events, however they are cut, and plain answers.

use mcp_ir::probe::http::Answer;
use mcp_ir::probe::mcp::{Events, read, reply};

use crate::is_short;

/// The first byte says how the stream is cut, and the status of a plain answer.
pub fn events(data: &[u8]) {
    let Some((&first, text)) = data.split_first() else { return };
    let whole = by(text, text.len().max(1));
    assert_eq!(by(text, usize::from(first % 32) + 1), whole, "another cut, other events");
    let length: usize = whole.iter().map(Vec::len).sum();
    assert!(length <= text.len(), "{length} bytes of {}", text.len());
    for event in &whole {
        let value = serde_json::from_slice(event).ok();
        if let Some(Err(f)) = value.and_then(|v| reply(&v, 1)) {
            is_short(&f.detail, 600);
        }
    }
    let status = 100 + u16::from(first) * 2;
    let answer = Answer {
        status,
        content_type: "application/json".into(),
        location: None,
        body: text.to_vec(),
        ..Answer::default()
    };
    match read(&answer, 1) {
        Ok(_) => assert!((200..300).contains(&status), "a result by HTTP {status}"),
        Err(f) => is_short(&f.detail, 1000),
    }
}

fn by(text: &[u8], piece: usize) -> Vec<Vec<u8>> {
    let mut events = Events::default();
    text.chunks(piece).for_each(|p| events.feed(p));
    std::iter::from_fn(|| events.take()).collect()
}
