//! Which events an auditor asks for: the same parameters wherever there are events.

use std::str::FromStr;

use crate::broker::Call;
use crate::http::problem::Problem;

/// A query with the filters of `/v1/audit`, and what one call has beside them. serde cannot flatten a
/// struct and refuse unknown parameters at once.
macro_rules! event_filter {
    ($(#[$doc:meta])* $type:ident { $($own:tt)* }) => {
        $(#[$doc])*
        #[derive(serde::Deserialize, utoipa::IntoParams)]
        #[into_params(parameter_in = Query)]
        #[serde(deny_unknown_fields)]
        pub(super) struct $type {
            /// With the stops and lifts that hit it.
            agent: Option<String>,
            /// With the stops and lifts that hit its agents.
            owner: Option<String>,
            kind: Option<String>,
            /// `issued`, `refused` or `done`.
            outcome: Option<String>,
            /// A permission's name or URL; of a URL, the host's case, a last slash and `.git` do not matter.
            resource: Option<String>,
            /// With its stop and what was handed down from it.
            token: Option<String>,
            request: Option<String>,
            /// RFC 3339: at or after.
            since: Option<String>,
            /// RFC 3339: before.
            until: Option<String>,
            $($own)*
        }

        impl $type {
            fn events(
                &self,
                call: $crate::broker::Call,
            ) -> Result<$crate::domain::event::EventFilter, $crate::http::problem::Problem> {
                use $crate::http::admin::filter::parsed;
                Ok($crate::domain::event::EventFilter {
                    agent: parsed(call, "agent", self.agent.as_deref())?,
                    owner: parsed(call, "owner", self.owner.as_deref())?,
                    kind: parsed(call, "kind", self.kind.as_deref())?,
                    outcome: parsed(call, "outcome", self.outcome.as_deref())?,
                    resource: self.resource.clone(),
                    token: parsed(call, "token", self.token.as_deref())?,
                    request: parsed(call, "request", self.request.as_deref())?,
                    since: parsed(call, "since", self.since.as_deref())?,
                    until: parsed(call, "until", self.until.as_deref())?,
                })
            }
        }
    };
}

pub(super) use event_filter;

/// The value of one parameter, or a problem that names it.
pub(super) fn parsed<T: FromStr<Err: std::fmt::Display>>(
    call: Call,
    name: &str,
    text: Option<&str>,
) -> Result<Option<T>, Problem> {
    text.map(T::from_str).transpose().map_err(|error| Problem::invalid(call, format!("`{name}`: {error}")))
}
