//! The bytes of an event as the log stores and hashes them: its own JSON with `seq` as the first member.

use crate::domain::event::Event;

/// What stands before `seq` in the stored bytes.
const SEQ_MEMBER: &str = "{\"seq\":";

/// The event's JSON after its `{`.
pub(super) fn tail(event: &Event) -> String {
    let mut tail = serde_json::to_string(event).expect("an event is strings and numbers, which have a JSON");
    tail.remove(0);
    tail
}

/// The bytes that are stored and hashed.
pub(super) fn bytes(seq: u64, tail: &str) -> String {
    format!("{SEQ_MEMBER}{seq},{tail}")
}

/// The event of stored bytes, if they are exactly what the log writes for it at `seq`.
pub(super) fn parse(seq: u64, bytes: &str) -> Result<Event, String> {
    let rest = bytes.strip_prefix(SEQ_MEMBER).ok_or("its first member is not seq")?;
    let (number, tail) = rest.split_once(',').ok_or("it ends after seq")?;
    if number != seq.to_string() {
        return Err(format!("it says that its seq is {number}"));
    }
    let event: Event =
        serde_json::from_str(&format!("{{{tail}")).map_err(|error| format!("it is not an event: {error}"))?;
    if self::tail(&event) != tail {
        return Err("it is spelled otherwise than hallpass writes it".to_owned());
    }
    Ok(event)
}
