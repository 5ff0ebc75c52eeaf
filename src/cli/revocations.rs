//! `hallpass revocations`: what operators have stopped. Tokens that their holders ended are no stops, and not listed.

use crate::cli::admin::AdminArgs;
use crate::cli::agents::{json_list, parse};
use crate::cli::client::wait;
use crate::cli::revoke::{Lift, Revocation};
use crate::cli::show::or_dash;
use crate::cli::table::{Column, Holds, Table, TableArgs};
use crate::cli::{Host, Outcome};

#[derive(Debug, clap::Args)]
pub struct RevocationsArgs {
    /// Those that were lifted, instead of those in effect
    #[arg(long, conflicts_with = "all")]
    lifted: bool,
    /// Both those in effect and those that were lifted
    #[arg(long)]
    all: bool,
    /// Print JSON instead of a table
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    table: TableArgs,
    #[command(flatten)]
    admin: AdminArgs,
}

/// The columns of a table of stops; those of their lifts stand last.
const COLUMNS: &[Column] = &[
    Column::new("ID", Holds::Names, 0),
    Column::new("TARGET", Holds::Names, 1),
    Column::new("SINCE", Holds::Instants, 4),
    Column::new("BY", Holds::Names, 5),
    Column::new("REASON", Holds::Words, 3),
    Column::new("LIFTED", Holds::Instants, 2),
    Column::new("LIFTED BY", Holds::Names, 6),
    Column::new("LIFT REASON", Holds::Words, 7),
];
const STOP_COLUMNS: usize = 5;

/// The same of stops in force of which some are for a while.
const WITH_ENDS: &[Column] =
    &[COLUMNS[0], COLUMNS[1], COLUMNS[2], COLUMNS[3], COLUMNS[4], Column::new("UNTIL", Holds::Instants, 2)];

/// # Errors
/// See [`crate::cli::failure::Exit`].
pub fn run(args: &RevocationsArgs, host: &mut Host<'_>) -> Outcome {
    let client = args.admin.connect(host)?;
    let active = ("active", (!args.lifted).to_string());
    let query = if args.all { vec![] } else { vec![active] };
    let raw = wait(client.list("/v1/revocations", &query, "revocations", usize::MAX))?;
    if args.json {
        return Ok(writeln!(host.out, "{}", json_list("revocations", &raw, host.terminal))?);
    }
    let revocations = parse::<Revocation>(&raw)?;
    if revocations.is_empty() {
        host.note(if args.lifted || args.all { "no revocations" } else { "nothing is stopped" });
        return Ok(());
    }
    let with_lifts = args.lifted || args.all;
    let with_ends = !with_lifts && revocations.iter().any(|stop| stop.until.is_some());
    let rows = revocations.into_iter().map(|stop| {
        let by = or_dash(stop.operator.as_deref());
        let mut row = vec![stop.id, stop.target, stop.at, by, stop.reason];
        if with_ends {
            row.push(or_dash(stop.until.as_deref()));
        }
        if with_lifts {
            let lift = stop.lift.as_ref();
            let of = |part: fn(&Lift) -> &String| or_dash(lift.map(|lift| part(lift).as_str()));
            row.extend([of(|l| &l.at), of(|l| &l.operator), of(|l| &l.reason)]);
        }
        row
    });
    let columns = match (with_lifts, with_ends) {
        (true, _) => COLUMNS,
        (false, true) => WITH_ENDS,
        (false, false) => &COLUMNS[..STOP_COLUMNS],
    };
    Table::new(columns, rows).print(&args.table, host)
}
