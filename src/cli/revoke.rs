//! `hallpass revoke` and `lift`: the kill switch.
//!
//! `revoke` succeeds only when every enforcement point that was counted has confirmed. With one
//! missing, the stop is in effect and says so, but the exit code is 1: a script that goes on after
//! `revoke && …` goes on knowing that the target is dead everywhere.

use std::time::{Duration, Instant};

use serde::Deserialize;

use crate::cli::admin::AdminArgs;
use crate::cli::client::{Answer, wait};
use crate::cli::moment::duration;
use crate::cli::redact::holds_a_secret;
use crate::cli::show::{facts_within, json_line, or_dash, safe, words};
use crate::cli::table::width;
use crate::cli::target::Asked;
use crate::cli::{Failure, Host, Outcome};
use crate::domain::id::StopId;
use crate::domain::time::Timestamp;

#[derive(Debug, clap::Args)]
#[command(override_usage = "\
hallpass revoke [OPTIONS] --reason <TEXT> <TARGET>
       hallpass revoke [OPTIONS] --dry-run <TARGET>")]
pub struct RevokeArgs {
    /// What to stop: token:JTI, agent:ID, owner:TEAM, issuer:NAME or everything; or a whole token, or - to read one
    /// from standard input, where no history keeps it
    target: Asked,
    /// Why, for whoever reads the audit log; a dry run needs none
    #[arg(
        long,
        value_name = "TEXT",
        value_parser = clap::builder::NonEmptyStringValueParser::new(),
        required_unless_present = "dry_run"
    )]
    reason: Option<String>,
    /// For so long, such as 90s, 15m, 2h or 7d; then the broker lifts the stop. Without it the stop lasts until it is lifted
    #[arg(long = "for", value_name = "TIME", value_parser = duration)]
    lasts: Option<Duration>,
    /// Stop nothing; show the live tokens, agents and repositories it would hit
    #[arg(long)]
    dry_run: bool,
    /// Print JSON instead of text
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    admin: AdminArgs,
}

#[derive(Debug, clap::Args)]
pub struct LiftArgs {
    /// The revocation, as `hallpass revocations` lists it
    #[arg(value_name = "ID")]
    id: StopId,
    /// Why, for whoever reads the audit log
    #[arg(long, value_name = "TEXT", value_parser = clap::builder::NonEmptyStringValueParser::new())]
    reason: String,
    /// Print JSON instead of text
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    admin: AdminArgs,
}

#[derive(Deserialize)]
pub(super) struct Revocation {
    pub(super) id: String,
    pub(super) target: String,
    pub(super) at: String,
    pub(super) reason: String,
    pub(super) operator: Option<String>,
    pub(super) until: Option<String>,
    pub(super) lift: Option<Lift>,
}

#[derive(Deserialize)]
pub(super) struct Lift {
    pub(super) at: String,
    pub(super) reason: String,
    pub(super) operator: String,
}

#[derive(Deserialize)]
struct Effect {
    revocation: Revocation,
    #[serde(default)]
    already_stopped: bool,
    #[serde(default)]
    unknown_token: bool,
    until: Option<String>,
    took_effect: String,
    confirmed: Vec<String>,
    pending: Vec<String>,
    audit: Option<String>,
}

#[derive(Deserialize)]
struct Preview {
    target: String,
    #[serde(default)]
    unknown_token: bool,
    live_tokens: u64,
    agents: Vec<String>,
    repositories: Vec<String>,
}

/// # Errors
/// Also failed when the stop is in effect but someone has yet to confirm it.
pub fn revoke(args: &RevokeArgs, host: &mut Host<'_>) -> Outcome {
    let target = args.target.target(host)?;
    let mut body = serde_json::json!({ "target": target });
    if let Some(reason) = &args.reason {
        refuse_secret(reason)?;
        body["reason"] = reason.as_str().into();
    }
    if let Some(lasts) = args.lasts {
        body["for_seconds"] = lasts.as_secs().into();
    }
    let client = args.admin.connect(host)?;
    let path = if args.dry_run { "/v1/revocations?dry_run=true" } else { "/v1/revocations" };
    let asked = Instant::now();
    let answer = wait(async { client.post_json(path, &body).await?.success() })?;
    let took = asked.elapsed();
    if args.dry_run {
        return preview(&answer, args.json, host);
    }
    let effect: Effect = answer.json()?;
    let was = if effect.already_stopped { "was stopped already" } else { "is stopped" };
    let headline = format!("{} {was}\n{}", safe(&effect.revocation.target), effect.confirmed_in(took));
    let mut lines = match effect.already_stopped {
        true => effect.earlier_facts(),
        false => effect.facts(&effect.revocation.at),
    };
    lines.extend(effect.until.clone().map(|until| ("until", until)));
    lines.push(("end it with", format!("hallpass lift {} --reason TEXT", effect.revocation.id)));
    let shown = show(&answer, args.json, &headline, &lines, host);
    if effect.already_stopped {
        host.note(
            "the earlier stop goes on, and one lift ends it; this call and its reason are for the audit log",
        );
        if effect.until.is_none() && args.lasts.is_some() {
            host.note("--for changes nothing: the earlier stop lasts until it is lifted");
        }
    }
    if effect.unknown_token {
        host.warn("this log knows no such token; it is stopped all the same");
    }
    effect.warn_of_audit(host);
    effect.outlives_the_broker()?;
    effect.proven("STOPPED, BUT NOT PROVEN EVERYWHERE").map_err(|failure| {
        failure.remedy(
            "no token is issued to it any more; whoever is pending refuses by itself once its view of the \
             stops is older than max_staleness (2 s unless configured); see that they run, and reach Redis or a broker",
        )
    })?;
    shown
}

/// Shows what was done. Its caller fails for what is pending first: that must not be lost where
/// nobody reads standard output.
fn show(
    answer: &Answer,
    json: bool,
    headline: &str,
    lines: &[(&str, String)],
    host: &mut Host<'_>,
) -> Outcome {
    if json {
        writeln!(host.out, "{}", json_line(answer.text()?.trim(), host.terminal))?;
    } else {
        write!(host.out, "{headline}\n{}", facts_within(lines, width(host)))?;
    }
    Ok(host.out.flush()?)
}

fn preview(answer: &Answer, json: bool, host: &mut Host<'_>) -> Outcome {
    let preview: Preview = answer.json()?;
    let headline = format!("nothing was stopped; to stop {} would hit", safe(&preview.target));
    let lines = [
        ("live tokens", preview.live_tokens.to_string()),
        ("agents", words(&preview.agents)),
        ("repositories", words(&preview.repositories)),
    ];
    if preview.unknown_token {
        host.note("this log knows no such token; it can be stopped all the same");
    }
    show(answer, json, &headline, &lines, host)
}

/// A reason is kept for ever, and shown to every auditor.
fn refuse_secret(reason: &str) -> Outcome {
    if !holds_a_secret(reason) {
        return Ok(());
    }
    Err(Failure::usage(
        "--reason holds what may be a token or a key, and the audit log keeps it (it is not repeated here)",
    )
    .remedy("say it in words; the target names the token"))
}

/// # Errors
/// Also failed when the lift is done but someone has yet to confirm it.
pub fn lift(args: &LiftArgs, host: &mut Host<'_>) -> Outcome {
    refuse_secret(&args.reason)?;
    let client = args.admin.connect(host)?;
    let body = serde_json::json!({ "reason": args.reason });
    let path = format!("/v1/revocations/{}/lift", args.id);
    let answer = wait(async { client.post_json(&path, &body).await?.success() })?;
    let effect: Effect = answer.json()?;
    let headline = format!("the stop of {} is lifted", safe(&effect.revocation.target));
    let lifted = effect.revocation.lift.as_ref().map_or(&effect.revocation.at, |lift| &lift.at);
    let shown = show(&answer, args.json, &headline, &effect.facts(lifted), host);
    host.note("tokens that were issued before stay dead; agents get new ones by themselves");
    effect.warn_of_audit(host);
    effect.proven("LIFTED, BUT NOT SEEN EVERYWHERE").map_err(|failure| {
        failure.remedy("whoever is pending goes on refusing until it has seen the lift; see that they run")
    })?;
    shown
}

impl Effect {
    /// What happened, and how long after `since` it held.
    fn facts(&self, since: &str) -> Vec<(&'static str, String)> {
        let elapsed = self.took_effect.parse::<Timestamp>().ok().zip(since.parse::<Timestamp>().ok());
        let elapsed = elapsed.map(|(effect, since)| format!(" ({} ms)", effect.since(since).as_millis()));
        let took_effect = format!("{}{}", self.took_effect, elapsed.unwrap_or_default());
        let mut lines = vec![("revocation", self.revocation.id.clone()), ("took effect", took_effect)];
        lines.extend(self.proof());
        lines
    }

    /// Of a target that was stopped before: since when, by whom and why.
    fn earlier_facts(&self) -> Vec<(&'static str, String)> {
        let mut lines = vec![
            ("revocation", self.revocation.id.clone()),
            ("since", self.revocation.at.clone()),
            ("by", or_dash(self.revocation.operator.as_deref())),
            ("because", self.revocation.reason.clone()),
        ];
        lines.extend(self.proof());
        lines
    }

    /// How many of those that were counted have confirmed.
    fn confirmed_in(&self, took: Duration) -> String {
        let (confirmed, pending) = (self.confirmed.len(), self.pending.len());
        let count =
            format!("{confirmed} of {} confirmed in {} ms", confirmed + pending, took.as_millis().max(1));
        match self.pending.as_slice() {
            [] => count,
            pending => format!("{count}; not {}", words(pending)),
        }
    }

    /// Who has said that it holds, and whether the log has it.
    fn proof(&self) -> impl Iterator<Item = (&'static str, String)> {
        let seen = [("confirmed by", words(&self.confirmed)), ("pending", words(&self.pending))];
        seen.into_iter().chain(self.audit.clone().map(|audit| ("audit", audit)))
    }

    /// A stop that is in no file is gone with the broker's process.
    fn outlives_the_broker(&self) -> Outcome {
        if self.audit.as_deref() == Some("volatile") {
            return Err(Failure::failed("STOPPED, BUT ONLY UNTIL THE BROKER RESTARTS: neither its store nor a file beside it can be written")
                .fact("target", &*self.revocation.target)
                .remedy("free the disk or repair the store while the broker runs: it then journals the stop by itself"));
        }
        Ok(())
    }

    /// The stop is in effect although its event is late, so this is a warning and no failure.
    fn warn_of_audit(&self, host: &mut Host<'_>) {
        if self.audit.as_deref() == Some("pending") {
            host.warn(
                "in effect, but not in the audit log yet: the store is down; it is journaled when it is back",
            );
        }
    }

    fn proven(&self, headline: &str) -> Outcome {
        match self.pending.as_slice() {
            [] => Ok(()),
            pending => Err(Failure::failed(format!("{headline}: {} did not confirm", words(pending)))
                .fact("target", &*self.revocation.target)),
        }
    }
}
