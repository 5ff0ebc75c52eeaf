//! Nodes that follow, and the durable store that they share, which the test writes.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};

use arc_swap::ArcSwap;
use hallpass::domain::digest::Digest;
use hallpass::domain::revocation::{Point, Standing};
use hallpass::revocation::{Source, UnnumberedStop};
use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::*;

/// The store of every node of a test: one history of changes.
#[derive(Clone, Default)]
pub(super) struct Durable(Arc<History>);

#[derive(Default)]
struct History {
    /// Tells two histories that give the same numbers apart.
    name: String,
    book: ArcSwap<Book>,
    /// Which change had which number; held by whoever makes one.
    marks: Mutex<BTreeMap<Revision, Digest>>,
    stops: Mutex<BTreeSet<StopId>>,
}

impl Durable {
    /// A store with what this one holds, that goes its own way from here: an older copy that is restored later.
    pub(super) fn copy(&self, name: &str) -> Self {
        let marks = self.0.marks.lock().unwrap().clone();
        let standings = self.book();
        let standings: Vec<_> = standings.standings().map(|(target, one)| (target.clone(), one)).collect();
        let book = Book::of(self.book().point(), self.book().floor(), standings);
        Self(Arc::new(History {
            name: name.to_owned(),
            book: ArcSwap::from_pointee(book),
            marks: Mutex::new(marks),
            stops: Mutex::new(self.0.stops.lock().unwrap().clone()),
        }))
    }

    pub(super) fn book(&self) -> Arc<Book> {
        self.0.book.load_full()
    }

    pub(super) fn revision(&self) -> Revision {
        self.book().revision()
    }

    fn change(&self, note: impl FnOnce(&mut Book, Revision)) -> Revision {
        let mut marks = self.0.marks.lock().unwrap();
        let mut book = Book::clone(&self.book());
        let revision = book.revision().next();
        let mark = Digest::of(format!("{} {revision}", self.0.name).as_bytes());
        note(&mut book, revision);
        book.complete_to(Point { revision, mark });
        marks.insert(revision, mark);
        self.0.book.store(Arc::new(book));
        revision
    }

    /// Numbers a stop.
    pub(super) fn stop_as(&self, target: &Target, id: StopId) -> Revision {
        self.0.stops.lock().unwrap().insert(id);
        self.change(|book, now| {
            book.note(target.clone(), Standing { stop: Some(id), stopped: now, changed: now });
        })
    }

    pub(super) fn stop(&self, target: &Target) -> Revision {
        self.stop_as(target, new_id())
    }

    pub(super) fn lift(&self, target: &Target) -> Revision {
        self.change(|book, now| {
            let stopped = book.get(target).expect("it was stopped").stopped;
            book.note(target.clone(), Standing { stop: None, stopped, changed: now });
        })
    }

    pub(super) fn end(&self, token: TokenId) -> Revision {
        self.change(|book, now| book.end(token, now))
    }

    /// Every token that was decided before `floor` has expired.
    pub(super) fn raise_floor(&self, floor: Revision) {
        let _writing = self.0.marks.lock().unwrap();
        let mut book = Book::clone(&self.book());
        book.raise_floor(floor);
        self.0.book.store(Arc::new(book));
    }

    /// As the broker takes a lost history over: above its numbers, and with its stops.
    fn adopt(&self, theirs: &Book) {
        {
            let _writing = self.0.marks.lock().unwrap();
            let mut book = Book::clone(&self.book());
            let above = theirs.revision().max(book.revision());
            book.complete_to(Point { revision: above, ..book.point() });
            self.0.book.store(Arc::new(book));
        }
        let adopted = self.change(|_, _| {});
        self.raise_floor(adopted);
        for (target, standing) in theirs.standings() {
            if let Some(id) = standing.stop {
                self.stop_as(target, id);
            }
        }
    }
}

pub(super) fn new_id() -> StopId {
    static LAST: std::sync::atomic::AtomicU64 = std::sync::atomic::AtomicU64::new(0);
    let [a, b, c, d, e, f, g, h] = LAST.fetch_add(1, Ordering::Relaxed).to_be_bytes();
    StopId::new(at(0), &[1, 0, a, b, c, d, e, f, g, h])
}

/// What one node shows of the store.
#[derive(Clone)]
pub(super) struct OfNode {
    pub(super) store: Durable,
    revocation: Arc<Revocation>,
    unnumbered: Arc<Mutex<Vec<UnnumberedStop>>>,
    /// The disk is full: nothing gets a number.
    down: Arc<AtomicBool>,
}

impl Source for OfNode {
    async fn book(&self) -> Result<Arc<Book>, RevocationError> {
        Ok(self.store.book())
    }

    async fn mark(&self, revision: Revision) -> Result<Option<Digest>, RevocationError> {
        if revision == Revision::ZERO {
            return Ok(Some(Point::ZERO.mark));
        }
        Ok(self.store.0.marks.lock().unwrap().get(&revision).copied())
    }

    fn unnumbered(&self) -> Vec<UnnumberedStop> {
        self.unnumbered.lock().unwrap().clone()
    }

    async fn is_numbered(&self, stop: &UnnumberedStop) -> Result<bool, RevocationError> {
        if self.down.load(Ordering::SeqCst) {
            return Err(RevocationError::Source("the disk is full".to_owned()));
        }
        Ok(self.store.0.stops.lock().unwrap().contains(&stop.id))
    }

    async fn take_over(&self) -> Result<(), RevocationError> {
        let theirs = self.revocation.load().await?;
        self.store.adopt(&theirs);
        self.revocation.push_over(self, theirs.point()).await.map(drop)
    }
}

/// A node, which may follow.
pub(super) struct Node {
    pub(super) revocation: Arc<Revocation>,
    pub(super) source: OfNode,
    shutdown: watch::Sender<bool>,
    following: Option<JoinHandle<()>>,
}

impl Node {
    /// It follows nothing: what it says of a target it has asked for.
    pub(super) async fn alone(name: &str, settings: &RevocationSettings, store: &Durable) -> Self {
        Self::of(connect(name, settings).await, store)
    }

    pub(super) fn of(revocation: Arc<Revocation>, store: &Durable) -> Self {
        let source = OfNode {
            store: store.clone(),
            revocation: Arc::clone(&revocation),
            unnumbered: Arc::default(),
            down: Arc::default(),
        };
        Self { revocation, source, shutdown: watch::channel(false).0, following: None }
    }

    pub(super) async fn start(name: &str, settings: &RevocationSettings, store: &Durable) -> Self {
        Self::alone(name, settings, store).await.follow()
    }

    pub(super) fn follow(mut self) -> Self {
        self.shutdown.send_replace(false);
        let (follower, source, ending) =
            (Arc::clone(&self.revocation), self.source.clone(), self.shutdown.subscribe());
        self.following = Some(tokio::spawn(async move { follower.follow(ending, &source).await }));
        self
    }

    /// And waits for its view.
    pub(super) async fn ready(name: &str, settings: &RevocationSettings, store: &Durable) -> Self {
        let node = Self::start(name, settings, store).await;
        node.wait_until_ready().await;
        node
    }

    pub(super) async fn wait_until_ready(&self) {
        eventually("a view", || self.revocation.view().is_ok()).await;
        eventually("trust", || self.revocation.status() == Status::Usable).await;
    }

    pub(super) async fn shut_down(&mut self) {
        self.shutdown.send_replace(true);
        self.following.take().unwrap().await.unwrap();
    }

    /// As if its machine had lost power.
    pub(super) fn crash(&mut self) {
        self.following.take().unwrap().abort();
    }

    pub(super) fn fill_disk(&self, full: bool) {
        self.source.down.store(full, Ordering::SeqCst);
    }

    pub(super) async fn push(&self) -> Result<Applied, RevocationError> {
        self.revocation.push(&self.source).await
    }

    /// As the broker does it: the store first, then the authority.
    pub(super) async fn stop(&self, target: &Target) -> Applied {
        self.source.store.stop(target);
        self.push().await.unwrap()
    }

    pub(super) async fn lift(&self, target: &Target) -> Applied {
        self.source.store.lift(target);
        self.push().await.unwrap()
    }

    /// A stop while the store is down.
    pub(super) async fn stop_unnumbered(
        &self,
        target: &Target,
    ) -> (StopId, Result<Applied, RevocationError>) {
        let id = new_id();
        self.source.unnumbered.lock().unwrap().push(UnnumberedStop { id, target: target.clone() });
        (id, self.push().await.map(Applied::without_number))
    }

    /// The store takes the stops that waited, in the order in which the broker does it.
    pub(super) fn number_waiting(&self) {
        for stop in std::mem::take(&mut *self.source.unnumbered.lock().unwrap()) {
            if self.source.store.book().get(&stop.target).is_none_or(|known| known.stop.is_none()) {
                self.source.store.stop_as(&stop.target, stop.id);
            }
            self.revocation.note_numbered(stop.target, stop.id);
        }
    }

    /// What the authority says; refills it once when told to, as issuance does.
    pub(super) async fn ask(&self, levels: &Levels) -> Result<Arc<Book>, RevocationError> {
        match self.revocation.ask(levels).await {
            Err(RevocationError::Amnesia) => {
                self.push().await?;
                self.revocation.ask(levels).await
            }
            asked => asked,
        }
    }

    /// By what the authority says alone.
    pub(super) async fn asked(&self, levels: &Levels) -> Result<Verdict, RevocationError> {
        Ok(self.ask(levels).await?.verdict(levels))
    }

    /// By what the authority says and what this node knows; the store is not asked.
    pub(super) async fn may_issue(&self, levels: &Levels) -> Result<bool, RevocationError> {
        let live = self.ask(levels).await?;
        Ok(!Verdict::of(levels, &[&live, &self.revocation.known()]).is_dead())
    }

    /// Who has confirmed, and who is pending after `millis`.
    pub(super) async fn seen(&self, change: &Applied, millis: u64) -> (Vec<String>, Vec<String>) {
        let who = self.revocation.confirmations(change, Duration::from_millis(millis)).await.unwrap();
        let text = |names: Vec<hallpass::domain::id::BrokerName>| -> Vec<String> {
            names.iter().map(|name| name.as_str().to_owned()).collect()
        };
        (text(who.confirmed), text(who.pending))
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        if let Some(following) = &self.following {
            following.abort();
        }
    }
}

pub(super) async fn eventually(what: &str, holds: impl Fn() -> bool) {
    let started = Instant::now();
    while !holds() {
        assert!(started.elapsed() < Duration::from_secs(20), "{what} did not come");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// Until issuance is possible again.
pub(super) async fn recovered(node: &Node) -> Duration {
    let started = Instant::now();
    while node.may_issue(&others()).await.is_err() {
        assert!(started.elapsed() < Duration::from_secs(20), "the node did not recover");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    started.elapsed()
}

/// Whether the node's own view has `target` as the widest that stops [`request`].
pub(super) fn in_view(node: &Node, target: &Target) -> bool {
    node.revocation
        .view()
        .is_ok_and(|book| book.verdict(&since(book.revision())).stopped.as_ref() == Some(target))
}
