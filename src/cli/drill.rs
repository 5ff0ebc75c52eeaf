//! `hallpass drill`: rehearses the kill switch and says how long everybody took.

use serde::Deserialize;

use crate::cli::admin::AdminArgs;
use crate::cli::client::wait;
use crate::cli::show::{facts_within, json_line, safe, table};
use crate::cli::table::width;
use crate::cli::{Failure, Host, Outcome};

#[derive(Debug, clap::Args)]
pub struct DrillArgs {
    /// Print JSON instead of text
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    admin: AdminArgs,
}

#[derive(Deserialize)]
struct Drill {
    passed: bool,
    broker: String,
    points: Vec<Point>,
    slowest_ms: u64,
    refused_ms: Option<u64>,
    lifted_ms: Option<u64>,
    faults: Vec<String>,
}

#[derive(Deserialize)]
struct Point {
    name: String,
    kind: String,
    confirmed_ms: Option<u64>,
}

/// # Errors
/// Also failed when the drill ran and did not pass.
pub fn run(args: &DrillArgs, host: &mut Host<'_>) -> Outcome {
    let client = args.admin.connect(host)?;
    let body = serde_json::json!({});
    let answer = wait(async { client.post_json("/v1/drill", &body).await?.success() })?;
    let drill: Drill = answer.json()?;
    let shown = if args.json {
        writeln!(host.out, "{}", json_line(answer.text()?.trim(), host.terminal))
    } else {
        let facts = facts_within(&drill.facts(), width(host));
        write!(host.out, "{}\n{}{facts}", drill.headline(), drill.table())
    };
    let shown = shown.and_then(|()| host.out.flush());
    // That a drill failed must not be lost where nobody reads standard output.
    if !drill.passed {
        let faults: Vec<_> = drill.faults.iter().map(|fault| safe(fault)).collect();
        return Err(Failure::failed(format!("THE DRILL FAILED: {}", faults.join("; "))).remedy(
            "until that is mended a real stop would be as late there; docs/KILL-SWITCH.md says what each name means",
        ));
    }
    Ok(shown?)
}

impl Drill {
    fn headline(&self) -> String {
        let confirmed = self.points.iter().filter(|point| point.confirmed_ms.is_some()).count();
        let outcome = if self.passed { "passed" } else { "failed" };
        let of = self.points.len();
        format!("the drill {outcome}: {confirmed} of {of} confirmed, the slowest in {} ms\n", self.slowest_ms)
    }

    fn table(&self) -> String {
        let rows = self.points.iter().map(|point| {
            let confirmed = point.confirmed_ms.map_or_else(|| "NO".to_owned(), |ms| format!("{ms} ms"));
            [safe(&point.name).into_owned(), safe(&point.kind).replace('_', " "), confirmed]
        });
        if self.points.is_empty() {
            return String::new();
        }
        format!("{}\n", table(&["NAME", "IS", "CONFIRMED"], rows))
    }

    fn facts(&self) -> [(&'static str, String); 3] {
        let ms = |time: Option<u64>| time.map_or_else(|| "no".to_owned(), |ms| format!("{ms} ms"));
        let refused = match self.refused_ms {
            Some(ms) => format!("after {ms} ms"),
            None => "no".to_owned(),
        };
        [("run by", self.broker.clone()), ("token refused", refused), ("stop lifted in", ms(self.lifted_ms))]
    }
}
