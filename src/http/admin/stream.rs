//! `GET /v1/revocations/stream`: the stops, for enforcement points that judge tokens by themselves. Server-sent events.

use std::time::Duration;

use axum::Extension;
use axum::body::Body;
use axum::extract::State;
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use futures_util::stream;
use serde::{Deserialize, Serialize};
use tokio::sync::watch;
use tokio::time::{Instant, Interval, MissedTickBehavior};
use utoipa::IntoParams;

use super::Parameters;
use super::streams::{Full, Place, Streams};
use crate::broker::{Call, Following, Heartbeat};
use crate::domain::digest::Digest;
use crate::domain::id::{FollowerName, OperatorName};
use crate::domain::revocation;
use crate::http::Gate;
use crate::http::authorization::Follower;
use crate::http::call::Current;
use crate::http::problem::Problem;

const HEARTBEAT: Duration = Duration::from_secs(1);
/// A follower that takes no piece for so long is cut off. Its connection holds one piece and no more.
const SLOW: Duration = Duration::from_secs(10);
/// One that does not say what it has seen is of no use, and may be gone.
const SILENT: Duration = Duration::from_secs(60);

#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(super) struct StreamOptions {
    /// What this process calls itself: another for each process that shows the same key. 1 to 64 of `a-z 0-9 . _ -`.
    follower: String,
}

/// What `hello` says, the first event of each stream.
#[derive(Serialize)]
struct Hello<'a> {
    /// Of this format.
    version: u32,
    broker: &'a str,
    issuer: &'a str,
    follower: String,
    heartbeat_ms: u128,
    max_staleness_ms: u128,
}

#[derive(Serialize)]
struct Beat {
    revision: revocation::Revision,
    floor: revocation::Revision,
    age_ms: Option<u128>,
}

#[derive(Serialize)]
struct End {
    reason: &'static str,
}

pub(super) fn name(call: Call, key: &OperatorName, process: &str) -> Result<FollowerName, Problem> {
    let process = process.parse();
    let process = process.map_err(|error| Problem::invalid(call, format!("`follower`: {error}")))?;
    Ok(FollowerName { key: key.clone(), process })
}

/// The stops and their lifts, as they happen: `hello`, `changes`, `heartbeat` each second, `end`.
/// docs/ENFORCEMENT.md has the format.
#[utoipa::path(get, path = "/v1/revocations/stream",
    params(StreamOptions, ("Last-Event-ID" = Option<String>, Header, description = "The last id that was received: what changed after it is told, or all where that cannot be")),
    security(("operator" = []), ("resource_server" = [])),
    responses((status = 200, description = "Server-sent events without an end", content_type = "text/event-stream", body = String),
        (status = 429, description = "The key has as many streams as one may have"),
        (status = 503, description = "The broker knows less than the follower does, or has no place for one more")))]
pub(super) async fn stream(
    caller: Follower,
    State(gate): State<Gate>,
    Current(call): Current,
    Parameters(options): Parameters<StreamOptions>,
    Extension(streams): Extension<Streams>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let follower = name(call, &caller.name, &options.follower)?;
    // What is no id of ours is as good as none.
    let since = headers.get("last-event-id").and_then(|id| id.to_str().ok()?.parse().ok());
    let place = streams.open(follower).map_err(|full| match full {
        Full::Key => {
            Problem::new(call, StatusCode::TOO_MANY_REQUESTS, "this key has as many streams as one may have")
        }
        Full::All => Problem::new(
            call,
            StatusCode::SERVICE_UNAVAILABLE,
            "the broker has as many streams as it may have",
        ),
    })?;
    let following = gate.broker.follow(since).await.map_err(|denied| Problem::denied(call, &denied))?;
    tracing::info!(follower = %place.follower(), resumed = since.is_some(), "an enforcement point follows the stops");
    let mut beats = tokio::time::interval(HEARTBEAT);
    beats.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let feeder = Feeder {
        stopping: gate.stopping.clone(),
        gate,
        key: caller.key,
        place,
        following,
        beats,
        begun: Instant::now(),
        given: Instant::now(),
        state: Stage::Begins,
    };
    let events = stream::unfold(feeder, |mut feeder| async move {
        let event = feeder.next().await?;
        feeder.given = Instant::now();
        Some((Ok::<_, std::convert::Infallible>(event), feeder))
    });
    let headers = [(CONTENT_TYPE, "text/event-stream"), (CACHE_CONTROL, "no-store")];
    Ok((headers, [("x-accel-buffering", "no")], Body::from_stream(events)).into_response())
}

/// One stream. It is asked for its next event when there is room for it, and holds none before.
struct Feeder {
    gate: Gate,
    stopping: watch::Receiver<bool>,
    key: Digest,
    place: Place,
    following: Following,
    beats: Interval,
    begun: Instant,
    /// When the last event was given.
    given: Instant,
    state: Stage,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Stage {
    Begins,
    Goes,
    Ended,
}

impl Feeder {
    async fn next(&mut self) -> Option<Bytes> {
        match self.state {
            Stage::Begins => {
                self.state = Stage::Goes;
                return Some(self.hello());
            }
            Stage::Ended => return None,
            Stage::Goes => {}
        }
        if let Some(why) = self.must_end() {
            return Some(self.end(why));
        }
        loop {
            if let Some((piece, at)) = self.following.piece() {
                return Some(event("changes", at.map(|at| at.to_string()).as_deref(), &piece));
            }
            let due = tokio::select! {
                biased;
                _ = self.stopping.wait_for(|stop| *stop) => Due::End("stopping"),
                () = self.place.replaced() => Due::End("replaced"),
                _ = self.beats.tick() => Due::Beat,
                () = self.following.change() => Due::Change,
            };
            match due {
                Due::End(why) => return Some(self.end(why)),
                Due::Change => {}
                Due::Beat => {
                    return Some(match self.must_end() {
                        Some(why) => self.end(why),
                        None if !self.following.is_of_this_history().await => self.end("history"),
                        None => self.beat(self.following.heartbeat().await),
                    });
                }
            }
        }
    }

    fn must_end(&self) -> Option<&'static str> {
        let quiet =
            || self.gate.broker.silence(self.place.follower()).unwrap_or_else(|| self.begun.elapsed());
        match () {
            () if *self.stopping.borrow() => Some("stopping"),
            () if !self.gate.callers.load().knows(&self.key) => Some("credential"),
            () if self.given.elapsed() > SLOW => Some("slow"),
            () if self.begun.elapsed() > SILENT && quiet() > SILENT => Some("silent"),
            () => None,
        }
    }

    fn hello(&self) -> Bytes {
        let broker = &self.gate.broker;
        let hello = Hello {
            version: 1,
            broker: broker.name().as_str(),
            issuer: broker.issuer(),
            follower: self.place.follower().to_string(),
            heartbeat_ms: HEARTBEAT.as_millis(),
            max_staleness_ms: broker.max_staleness().as_millis(),
        };
        event("hello", None, &hello)
    }

    fn beat(&self, Heartbeat { revision, floor, age }: Heartbeat) -> Bytes {
        event("heartbeat", None, &Beat { revision, floor, age_ms: age.map(|age| age.as_millis()) })
    }

    fn end(&mut self, reason: &'static str) -> Bytes {
        self.state = Stage::Ended;
        tracing::info!(follower = %self.place.follower(), reason, "the stream of an enforcement point ends");
        event("end", None, &End { reason })
    }
}

enum Due {
    End(&'static str),
    Beat,
    Change,
}

/// One event. JSON has no line breaks that a server-sent event would have to split at.
fn event(kind: &str, id: Option<&str>, data: &impl Serialize) -> Bytes {
    let data = serde_json::to_string(data).expect("names, numbers and lists have a JSON");
    let id = id.map(|id| format!("id: {id}\n")).unwrap_or_default();
    format!("event: {kind}\n{id}data: {data}\n\n").into()
}
