//! `GET /v1/audit/export`: the log as a file, streamed.

use axum::body::Body;
use axum::extract::State;
use axum::http::header::{CONTENT_DISPOSITION, CONTENT_TYPE};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use futures_util::stream;
use tracing::{Instrument as _, Span};

use super::Parameters;
use super::filter::event_filter;
use super::reads::Reading;
use crate::broker::{Call, Format};
use crate::http::Gate;
use crate::http::authorization::Auditor;
use crate::http::call::Current;
use crate::http::problem::Problem;

event_filter! {
    Wanted {
        /// `jsonl`, each event as it was hashed, or `csv`; `jsonl` where not given.
        format: Option<String>,
    }
}

impl Wanted {
    fn format(&self, call: Call) -> Result<Format, Problem> {
        match self.format.as_deref() {
            None | Some("jsonl") => Ok(Format::JsonLines),
            Some("csv") => Ok(Format::Csv),
            Some(_) => Err(Problem::invalid(call, "`format` is jsonl or csv")),
        }
    }
}

/// Every event that matches, newest first, as the log was when it was asked. An answer that breaks off
/// is not whole.
#[utoipa::path(get, path = "/v1/audit/export", params(Wanted),
    security(("operator" = ["auditor"]), ("operator" = ["admin"])),
    responses((status = 200, description = "JSON Lines, or CSV (RFC 4180) with a header line, in which a cell that would be a formula begins with `'`",
            content((String = "application/x-ndjson"), (String = "text/csv")))))]
pub(super) async fn export(
    _: Auditor,
    State(gate): State<Gate>,
    Current(call): Current,
    Parameters(wanted): Parameters<Wanted>,
    _: Reading,
) -> Result<Response, Problem> {
    let format = wanted.format(call)?;
    let mut export = gate.broker.audit().export(wanted.events(call)?, format);
    // The first piece is read before the head is sent: a store that cannot be read is a 503.
    let first = export.next().await.map_err(|error| Problem::store(call, &error))?;
    // The body is read after the handler has ended, and with it the request's span.
    let span = Span::current();
    let pieces = stream::try_unfold((first, export), move |(ready, mut export)| {
        let next = async move {
            let piece = match ready {
                Some(piece) => Some(piece),
                None => {
                    export.next().await.inspect_err(|error| tracing::error!(%error, "an export broke off"))?
                }
            };
            Ok::<_, crate::store::StoreError>(piece.map(|piece| (Bytes::from(piece), (None, export))))
        };
        next.instrument(span.clone())
    });
    let name = match format {
        Format::JsonLines => "attachment; filename=\"hallpass-audit.jsonl\"",
        Format::Csv => "attachment; filename=\"hallpass-audit.csv\"",
    };
    let headers = [(CONTENT_TYPE, format.media_type()), (CONTENT_DISPOSITION, name)];
    Ok((headers, Body::from_stream(pieces)).into_response())
}
