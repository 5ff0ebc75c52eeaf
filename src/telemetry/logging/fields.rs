//! The fields of a span as JSON.
//!
//! Each request has a span, so each writes these fields, whether anything is logged or not. `JsonFields` of
//! `tracing-subscriber` makes a map of JSON values first, and reads the text again for each field that is recorded later: that was a
//! twentieth of what an introspection calculates. This one only writes.

use std::fmt::{self, Debug, Write};

use tracing::field::{Field, Visit};
use tracing::span::Record;
use tracing_subscriber::field::RecordFields;
use tracing_subscriber::fmt::FormattedFields;
use tracing_subscriber::fmt::format::{FormatFields, Writer};

#[derive(Debug)]
pub(super) struct SpanFields;

impl<'writer> FormatFields<'writer> for SpanFields {
    fn format_fields<R: RecordFields>(&self, mut writer: Writer<'writer>, fields: R) -> fmt::Result {
        writer.write_char('{')?;
        members(writer, false, |members| fields.record(members))
    }

    /// A field that is recorded twice is there twice, and a reader takes the later.
    fn add_fields(&self, current: &'writer mut FormattedFields<Self>, fields: &Record<'_>) -> fmt::Result {
        match current.fields.pop() {
            Some(_end) => {}
            None => current.fields.push('{'),
        }
        let follows = !current.fields.ends_with('{');
        members(current.as_writer(), follows, |members| fields.record(members))
    }
}

/// Writes what `record` gives, and the end of the object.
fn members(mut writer: Writer<'_>, follows: bool, record: impl FnOnce(&mut Members<'_, '_>)) -> fmt::Result {
    let mut members = Members { writer: &mut writer, follows, written: Ok(()) };
    record(&mut members);
    members.written?;
    writer.write_char('}')
}

struct Members<'a, 'writer> {
    writer: &'a mut Writer<'writer>,
    /// There is a member before the next one.
    follows: bool,
    written: fmt::Result,
}

impl Members<'_, '_> {
    fn member(&mut self, field: &Field, value: impl FnOnce(&mut Writer<'_>) -> fmt::Result) {
        let separator = if std::mem::replace(&mut self.follows, true) { "," } else { "" };
        // The name of a field is an identifier, which JSON takes as it is.
        let written = write!(self.writer, "{separator}\"{}\":", field.name());
        self.written = self.written.and(written).and_then(|()| value(self.writer));
    }
}

impl Visit for Members<'_, '_> {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        self.member(field, |writer| {
            writer.write_char('"')?;
            write!(Text(writer), "{value:?}")?;
            writer.write_char('"')
        });
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.record_debug(field, &format_args!("{value}"));
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.member(field, |writer| write!(writer, "{value}"));
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.member(field, |writer| write!(writer, "{value}"));
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.member(field, |writer| write!(writer, "{value}"));
    }
}

/// Text inside a string of JSON.
struct Text<'a, 'writer>(&'a mut Writer<'writer>);

impl Write for Text<'_, '_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let mut rest = text;
        // RFC 8259 §7: no other character must be escaped.
        while let Some(place) = rest.bytes().position(|b| b < b' ' || matches!(b, b'"' | b'\\')) {
            let (plain, special) = rest.split_at(place);
            self.0.write_str(plain)?;
            write!(self.0, "\\u{:04x}", special.as_bytes()[0])?;
            rest = &special[1..];
        }
        self.0.write_str(rest)
    }
}
