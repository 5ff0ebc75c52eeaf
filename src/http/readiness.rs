//! Whether tokens can be issued: in one word for anybody, with each fault for operators.

use axum::http::StatusCode;

use crate::broker::Degraded;
use crate::http::Reachable;

pub(super) struct Readiness {
    /// 503 where no token can be issued.
    pub(super) code: StatusCode,
    /// `ok`, `degraded` or `unavailable`.
    pub(super) status: &'static str,
    /// Each part that is not well: names of issuers, counts of stops, what failed.
    pub(super) degraded: Vec<Degraded>,
}

impl Reachable {
    pub(super) fn readiness(&self) -> Readiness {
        let readiness = self.broker.readiness();
        let mut degraded = readiness.degraded;
        let renew = "renew the certificate, or correct its files; the broker takes them over by itself";
        degraded
            .extend(self.tls.iter().filter_map(|tls| tls.degraded()).map(|what| Degraded::new(what, renew)));
        let (code, status) = match (readiness.ready, degraded.is_empty()) {
            (false, _) => (StatusCode::SERVICE_UNAVAILABLE, "unavailable"),
            (true, false) => (StatusCode::OK, "degraded"),
            (true, true) => (StatusCode::OK, "ok"),
        };
        Readiness { code, status, degraded }
    }
}
