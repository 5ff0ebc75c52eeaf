//! The brokers of this installation, as each tells the others about itself once a second, through Redis. It is for people:
//! the kill switch counts its nodes by what they report to it.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use crate::broker::Broker;
use crate::broker::degraded::Degraded;
use crate::domain::count::counted;
use crate::domain::id::BrokerName;
use crate::domain::time::Timestamp;
use crate::revocation::since_machine_start;

/// Whoever told nothing for so long is silent.
const ALIVE: Duration = Duration::from_secs(10);
/// What a silent broker told is removed after this.
const FORGET: Duration = Duration::from_secs(3600);
/// So long brokers may have different agent files, as while new ones are rolled out.
const ROLLOUT: Duration = Duration::from_secs(60);
/// Tokens allow their readers' clocks five seconds, and an offset is measured to about two.
const CLOCKS: u64 = 7_000;
/// More brokers, or more about one of them, come from somebody else.
const MOST: usize = 256;
const LONGEST: usize = 1_024;
/// What the end of a broker waits for Redis to forget it.
const FAREWELL: Duration = Duration::from_millis(500);
/// The version of the running program.
pub(super) const VERSION: &str = env!("CARGO_PKG_VERSION");

/// What a broker tells. Members that are not known are passed over, as those of another version.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Facts {
    /// Another one each time.
    beat: u64,
    version: String,
    started: Timestamp,
    /// The revision of the agent files.
    registry: String,
    /// The wall clock when this was told.
    clock: Timestamp,
}

/// One broker, as this one knows it. What it has not told is `None`, as with a version that tells nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Node {
    pub name: BrokerName,
    pub version: Option<String>,
    pub started: Option<Timestamp>,
    /// The revision of the agent files by which it decides.
    pub registry: Option<String>,
    /// How many milliseconds its wall clock is ahead of this broker's, to about two seconds.
    pub clock_offset: Option<i64>,
    /// Since this broker heard it last.
    pub silent: Option<Duration>,
    pub is_alive: bool,
}

/// The other brokers.
#[derive(Default)]
pub(super) struct Nodes {
    heard: Mutex<BTreeMap<BrokerName, Heard>>,
}

#[derive(Debug)]
struct Heard {
    facts: Facts,
    at: Instant,
    /// Of a broker that told something anew since this one knows it: before that, it may have told it long ago.
    clock_offset: Option<i64>,
    /// Since when it has other agent files than this broker.
    differs: Option<Instant>,
}

impl Heard {
    fn is_alive(&self, now: Instant) -> bool {
        now.saturating_duration_since(self.at) < ALIVE
    }
}

impl Nodes {
    fn lock(&self) -> MutexGuard<'_, BTreeMap<BrokerName, Heard>> {
        self.heard.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes in what every broker told. Gives those that have been silent for so long that it should be removed.
    fn hear(
        &self,
        told: HashMap<String, String>,
        me: &BrokerName,
        registry: &str,
        (clock, now): (Timestamp, Instant),
    ) -> Vec<String> {
        let mut nodes = self.lock();
        // One that ended in good order took its own away.
        nodes.retain(|name, _| told.contains_key(name.as_str()));
        let mut old = Vec::new();
        for (name, text) in told {
            let Ok(node) = name.parse::<BrokerName>() else { continue };
            if node == *me || text.len() > LONGEST {
                continue;
            }
            let Ok(facts) = serde_json::from_str::<Facts>(&text) else { continue };
            let is_room = nodes.len() < MOST;
            match nodes.get_mut(&node) {
                Some(known) if known.facts == facts => {
                    let is_old = now.saturating_duration_since(known.at) > FORGET;
                    old.extend(is_old.then_some(name));
                }
                Some(known) => {
                    known.clock_offset = Some(facts.clock.millis().saturating_sub(clock.millis()));
                    (known.facts, known.at) = (facts, now);
                }
                None if is_room => {
                    nodes.insert(node, Heard { facts, at: now, clock_offset: None, differs: None });
                }
                None => {}
            }
        }
        for node in nodes.values_mut() {
            let differs = node.is_alive(now) && node.facts.registry != registry;
            node.differs = differs.then(|| node.differs.unwrap_or(now));
        }
        old
    }

    fn list(&self, now: Instant) -> Vec<Node> {
        let node = |(name, heard): (&BrokerName, &Heard)| Node {
            name: name.clone(),
            version: Some(heard.facts.version.clone()),
            started: Some(heard.facts.started),
            registry: Some(heard.facts.registry.clone()),
            clock_offset: heard.clock_offset,
            silent: Some(now.saturating_duration_since(heard.at)),
            is_alive: heard.is_alive(now),
        };
        self.lock().iter().map(node).collect()
    }

    /// What operators should know of the brokers that are alive.
    pub(super) fn degraded(&self, registry: &str, now: Instant) -> Vec<Degraded> {
        let mut degraded = Vec::new();
        for (name, heard) in self.lock().iter().filter(|(_, heard)| heard.is_alive(now)) {
            if heard.differs.is_some_and(|since| now.saturating_duration_since(since) >= ROLLOUT) {
                let theirs = short(&heard.facts.registry);
                degraded.push(Degraded::new(
                    format!(
                        "registry: {name} has had other agent files than this broker for over a minute: {theirs} \
                         there, {} here",
                        short(registry)
                    ),
                    "give every broker the same agent files; see with `hallpass check-config` why one refuses them",
                ));
            }
            if let Some(offset) = heard.clock_offset.filter(|offset| offset.unsigned_abs() > CLOCKS) {
                let seconds = counted(offset.unsigned_abs() / 1_000, "second");
                let side = if offset > 0 { "ahead of" } else { "behind" };
                degraded.push(Degraded::new(
                    format!("clock: that of {name} is {seconds} {side} this broker's"),
                    "set the clocks, by NTP: a token of a clock that is ahead counts elsewhere only when its time comes",
                ));
            }
        }
        degraded
    }
}

/// `sha256:` and the first digits. What another broker told is cut to what a revision can be.
fn short(revision: &str) -> String {
    revision.chars().filter(char::is_ascii_graphic).take("sha256:".len() + 12).collect()
}

impl Broker {
    /// Tells the other brokers about this one, and hears them.
    pub(super) async fn meet_nodes(&self) {
        let registry = self.registry_revision();
        let facts = Facts {
            beat: u64::try_from(since_machine_start().as_micros()).unwrap_or(u64::MAX),
            version: VERSION.to_owned(),
            started: self.started_at,
            registry: registry.to_string(),
            clock: self.now(),
        };
        let Ok(text) = serde_json::to_string(&facts) else { return };
        let revocation = self.kill_switch.revocation();
        // A Redis that is away is told elsewhere.
        let Ok(told) = revocation.exchange_facts(&text).await else { return };
        let old = self.nodes.hear(told, &self.name, &registry, (self.now(), Instant::now()));
        if let Err(error) = revocation.forget_facts(&old).await {
            tracing::debug!(%error, "silent brokers are not forgotten");
        }
    }

    /// This broker ends.
    pub(super) async fn leave_nodes(&self) {
        let me = [self.name.to_string()];
        // Otherwise the others see it as silent, for an hour.
        let _gone_or_late =
            tokio::time::timeout(FAREWELL, self.kill_switch.revocation().forget_facts(&me)).await;
    }

    /// Every broker that is known, by name; this one is alive.
    pub(super) fn nodes(&self) -> Vec<Node> {
        let mut nodes = self.nodes.list(Instant::now());
        nodes.push(Node {
            name: self.name.clone(),
            version: Some(VERSION.to_owned()),
            started: Some(self.started_at),
            registry: Some(self.registry_revision().to_string()),
            clock_offset: Some(0),
            silent: Some(Duration::ZERO),
            is_alive: true,
        });
        // Those of a version that tells the kill switch alone.
        for name in self.kill_switch.revocation().unconfirmed().pending {
            if nodes.iter().all(|node| node.name != name) {
                nodes.push(Node {
                    name,
                    version: None,
                    started: None,
                    registry: None,
                    clock_offset: None,
                    silent: None,
                    is_alive: true,
                });
            }
        }
        nodes.sort_by(|a, b| a.name.cmp(&b.name));
        nodes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(beat: u64, registry: &str, clock: i64) -> HashMap<String, String> {
        let facts = Facts {
            beat,
            version: "1.2.3".to_owned(),
            started: Timestamp::from_millis(7),
            registry: registry.to_owned(),
            clock: Timestamp::from_millis(clock),
        };
        let text = serde_json::to_string(&facts).unwrap();
        [("b".to_owned(), text), ("me".to_owned(), "{}".to_owned()), ("UPPER".to_owned(), "{}".to_owned())]
            .into()
    }

    fn hear(nodes: &Nodes, told: HashMap<String, String>, at: Instant) -> Vec<String> {
        nodes.hear(told, &"me".parse().unwrap(), "sha256:a", (Timestamp::from_millis(50_000), at))
    }

    #[test]
    fn other_agent_files_are_a_fault_after_a_minute_and_only_while_they_differ() {
        let (nodes, start) = (Nodes::default(), Instant::now());
        let at = |seconds| start + Duration::from_secs(seconds);
        let faults = |seconds| nodes.degraded("sha256:a", at(seconds)).len();
        for second in 0..=60 {
            hear(&nodes, told(second, "sha256:b", 50_000), at(second));
            assert_eq!(faults(second), usize::from(second == 60), "{second}");
        }
        let [fault] = &nodes.degraded("sha256:a", at(60))[..] else { panic!("one fault") };
        assert!(fault.what.contains("registry: b has had other agent files"), "{fault:?}");
        assert!(fault.what.contains("sha256:b there, sha256:a here"), "{fault:?}");
        assert_eq!(faults(75), 0, "it is silent: nobody knows what it has");
        hear(&nodes, told(76, "sha256:b", 50_000), at(76));
        assert_eq!(faults(76), 1, "it hung for a while, with the same files");
        hear(&nodes, told(77, "sha256:a", 50_000), at(77));
        assert_eq!(faults(77), 0);
        hear(&nodes, told(78, "sha256:b", 50_000), at(78));
        assert_eq!(faults(79), 0, "the minute begins anew");
    }

    #[test]
    fn a_clock_is_compared_only_with_what_was_told_just_now() {
        let (nodes, start) = (Nodes::default(), Instant::now());
        hear(&nodes, told(1, "sha256:a", 10_000), start);
        assert_eq!((nodes.list(start)[0].clock_offset, nodes.degraded("sha256:a", start).len()), (None, 0));
        hear(&nodes, told(2, "sha256:a", 10_000), start);
        assert_eq!(nodes.list(start)[0].clock_offset, Some(-40_000));
        let fault = &nodes.degraded("sha256:a", start)[0].what;
        assert_eq!(fault, "clock: that of b is 40 seconds behind this broker's");
    }

    #[test]
    fn one_that_left_is_gone_and_one_that_fell_silent_is_removed_after_an_hour() {
        let (nodes, start) = (Nodes::default(), Instant::now());
        assert_eq!(hear(&nodes, told(1, "sha256:a", 0), start), Vec::<String>::new());
        let later = start + ALIVE;
        assert!(hear(&nodes, told(1, "sha256:a", 0), later).is_empty());
        let seen = nodes.list(later);
        assert_eq!((seen.len(), seen[0].is_alive, seen[0].silent), (1, false, Some(ALIVE)));
        let much_later = start + FORGET + Duration::from_secs(1);
        assert_eq!(hear(&nodes, told(1, "sha256:a", 0), much_later), ["b"]);
        hear(&nodes, HashMap::new(), much_later);
        assert!(nodes.list(much_later).is_empty());
    }

    #[test]
    fn what_is_no_report_or_too_much_is_passed_over() {
        let nodes = Nodes::default();
        let long = told(1, &"x".repeat(LONGEST), 0);
        let mut many: HashMap<_, _> =
            (0..2 * MOST).map(|number| (format!("b-{number}"), told(1, "r", 0)["b"].clone())).collect();
        hear(&nodes, long, Instant::now());
        hear(&nodes, [("b".to_owned(), "[]".to_owned())].into(), Instant::now());
        assert!(nodes.list(Instant::now()).is_empty());
        let newer = told(1, "r", 0)["b"].replacen('{', "{\"later\":[1],", 1);
        many.insert("a".to_owned(), newer.clone());
        hear(&nodes, many, Instant::now());
        assert_eq!(nodes.list(Instant::now()).len(), MOST);
        hear(&nodes, [("a".to_owned(), newer)].into(), Instant::now());
        assert_eq!(nodes.list(Instant::now())[0].version.as_deref(), Some("1.2.3"), "of a later version");
    }
}
