//! Answers that are written down as they come, however long they are.

use std::io::Write;
use std::time::Duration;

use tokio::time::timeout;

use super::{Client, TOTAL_TIMEOUT};
use crate::cli::{Failure, Outcome};
use crate::outbound::{Method, Request};

/// For the whole of it; each piece has [`TOTAL_TIMEOUT`].
const COPY_TIMEOUT: Duration = Duration::from_secs(24 * 60 * 60);

impl Client {
    /// Writes the body of a yes to `out`; each piece has 30 s to come.
    ///
    /// # Errors
    /// As [`Client::send`] and [`Answer::success`]; also when `out` cannot be written.
    pub async fn copy(&self, path: &str, query: &[(&str, String)], out: &mut dyn Write) -> Outcome {
        let mut url = self.base.join(path);
        url.query_pairs_mut().extend_pairs(query);
        let mut request = Request::new(Method::GET, url);
        *request.timeout_mut() = Some(COPY_TIMEOUT);
        let stalled = |_| Failure::failed(format!("the broker at {} stopped in the middle", self.base));
        let head = timeout(TOTAL_TIMEOUT, self.execute(request)).await;
        let mut response = head.map_err(stalled)??;
        if !(200..=299).contains(&response.status()) {
            let refused = timeout(TOTAL_TIMEOUT, self.collect(response)).await;
            return refused.map_err(stalled)??.success().map(drop);
        }
        loop {
            let piece = timeout(TOTAL_TIMEOUT, response.piece()).await.map_err(stalled)?;
            match piece.map_err(|error| self.unreachable(&error))? {
                Some(piece) => out.write_all(&piece)?,
                None => return Ok(()),
            }
        }
    }
}
