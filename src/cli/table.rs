//! Lists for people: all columns in a pipe or file, those that fit on a terminal.
//!
//! Where a line would be longer than the terminal is wide, instants lose the fraction of their second and then their year,
//! free text is cut, and columns are left out, the least telling first. Names and ids are never cut: somebody copies them
//! into the next command.

use crate::cli::show;
use crate::cli::{Failure, Host, Outcome};

/// Where a terminal does not say how wide it is.
const USUAL_WIDTH: usize = 80;
/// Between two columns.
const GAP: usize = 2;
/// Columns up to this rank tell more than the year of an instant.
const WORTH_A_YEAR: u8 = 4;
/// As far as free text is cut.
const SHORTEST: usize = 10;

#[derive(Debug, Clone, Default, clap::Args)]
pub struct TableArgs {
    /// Print every column, however wide the terminal is
    #[arg(long, conflicts_with_all = ["json", "columns"])]
    wide: bool,
    /// Print these columns, comma-separated, as the table's head names them
    #[arg(long, value_name = "NAME,…", value_delimiter = ',', conflicts_with = "json")]
    columns: Vec<String>,
}

impl TableArgs {
    pub fn names_columns(&self) -> bool {
        !self.columns.is_empty()
    }
}

/// What a column holds, which says how it may be shortened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Holds {
    /// Names, ids, numbers: whole or not at all.
    Names,
    /// An instant in RFC 3339: without the fraction of its second where there is little room, and without the year, which
    /// all of them share, where there is less.
    Instants,
    /// A person's or the broker's words: cut where there is little room.
    Words,
}

/// How much of an instant is printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Instants {
    Whole,
    /// `2026-11-23T09:30:00Z`
    Seconds,
    /// `11-23 09:30:00Z`
    OfOneYear,
}

/// One column of a kind of table.
#[derive(Debug, Clone, Copy)]
pub struct Column {
    head: &'static str,
    holds: Holds,
    /// The columns with the lowest ranks stay.
    rank: u8,
}

impl Column {
    pub const fn new(head: &'static str, holds: Holds, rank: u8) -> Self {
        Self { head, holds, rank }
    }

    /// As `--columns` names it.
    fn name(&self) -> String {
        self.head.to_ascii_lowercase().replace(' ', "-")
    }
}

/// Rows with a cell for each column.
pub struct Table {
    columns: &'static [Column],
    rows: Vec<Vec<String>>,
}

impl Table {
    pub fn new(columns: &'static [Column], rows: impl IntoIterator<Item = Vec<String>>) -> Self {
        let safe = |cell: String| show::safe(&cell).into_owned();
        let rows = rows.into_iter().map(|row| row.into_iter().map(safe).collect());
        Self { columns, rows: rows.collect() }
    }

    /// Prints it as wide as standard output allows.
    ///
    /// # Errors
    /// Usage where a column is named that there is not.
    pub fn print(&self, args: &TableArgs, host: &mut Host<'_>) -> Outcome {
        let width = width(host).filter(|_| !args.wide);
        if !args.columns.is_empty() {
            let chosen = self.chosen(&args.columns)?;
            return Ok(host.out.write_all(self.text(&chosen, Instants::Whole, None).as_bytes())?);
        }
        let Some(width) = width else {
            let all: Vec<usize> = (0..self.columns.len()).collect();
            return Ok(host.out.write_all(self.text(&all, Instants::Whole, None).as_bytes())?);
        };
        let (text, left_out) = self.fitted(width);
        host.out.write_all(text.as_bytes())?;
        if !left_out.is_empty() {
            host.out.flush()?;
            host.note(&format!(
                "not shown for want of room: {}; --wide shows all, --columns {},… those you name",
                left_out.join(", "),
                left_out[0]
            ));
        }
        Ok(())
    }

    /// The table in lines of at most `width`, if that can be, and the names of the columns that were left out.
    pub fn fitted(&self, width: usize) -> (String, Vec<String>) {
        // A column of dashes says no more than that it is not there.
        let told = |index: &usize| self.rows.iter().any(|row| !matches!(row[*index].as_str(), "-" | "none"));
        let mut ranked: Vec<usize> = (0..self.columns.len()).filter(told).collect();
        ranked.sort_by_key(|index| self.columns[*index].rank);
        let mut instants = Instants::Seconds;
        let mut shown = self.that_fit(&ranked, instants, width);
        let closer = self.that_fit(&ranked, Instants::OfOneYear, width);
        let gains = |index: &usize| self.columns[*index].rank <= WORTH_A_YEAR && !shown.contains(index);
        if closer.iter().any(gains) && self.is_of_one_year() {
            (instants, shown) = (Instants::OfOneYear, closer);
        }
        shown.sort_unstable();
        let left_out = ranked.iter().filter(|index| !shown.contains(index));
        let left_out = left_out.map(|index| self.columns[*index].name()).collect();
        (self.text(&shown, instants, Some(width)), left_out)
    }

    /// Of columns in the order of their ranks, those that find room beside the ones before them.
    fn that_fit(&self, ranked: &[usize], instants: Instants, width: usize) -> Vec<usize> {
        let mut shown = Vec::new();
        for index in ranked.iter().copied() {
            let mut tried = shown.clone();
            tried.push(index);
            if shown.is_empty() || self.least_width(&tried, instants) <= width {
                shown = tried;
            }
        }
        shown
    }

    /// Whether every instant in it is of the same year.
    fn is_of_one_year(&self) -> bool {
        let of_instants = |row: &&Vec<String>| -> Vec<String> {
            let cells = row.iter().zip(self.columns).filter(|(_, column)| column.holds == Holds::Instants);
            cells.filter_map(|(cell, _)| cell.split_once('-').map(|(year, _)| year.to_owned())).collect()
        };
        let mut years: Vec<String> = self.rows.iter().flat_map(|row| of_instants(&row)).collect();
        years.dedup();
        years.len() <= 1
    }

    fn chosen(&self, names: &[String]) -> Outcome<Vec<usize>> {
        let find = |name: &String| {
            let wanted = name.trim().to_ascii_lowercase();
            self.columns.iter().position(|column| column.name() == wanted).ok_or_else(|| {
                let all: Vec<String> = self.columns.iter().map(Column::name).collect();
                Failure::usage(format!("--columns: there is no column {name}"))
                    .remedy(format!("the columns are {}", all.join(",")))
            })
        };
        names.iter().map(find).collect()
    }

    /// How wide the widest cell of a column is, shortened as far as it may be.
    fn least(&self, index: usize, instants: Instants) -> usize {
        let column = &self.columns[index];
        let cells = self.rows.iter().map(|row| match column.holds {
            Holds::Instants => length(&instant(&row[index], instants)),
            Holds::Words => length(&row[index]).min(SHORTEST),
            Holds::Names => length(&row[index]),
        });
        cells.max().unwrap_or(0).max(column.head.len())
    }

    fn least_width(&self, columns: &[usize], instants: Instants) -> usize {
        columns.iter().map(|index| self.least(*index, instants)).sum::<usize>()
            + GAP * columns.len().saturating_sub(1)
    }

    /// How wide free text may be, so that a line of these columns has `width`.
    fn room_for_words(&self, columns: &[usize], instants: Instants, width: usize) -> usize {
        let words = columns.iter().filter(|index| self.columns[**index].holds == Holds::Words);
        let count = words.clone().count().max(1);
        let least: usize = words.map(|index| self.least(*index, instants)).sum();
        let others = self.least_width(columns, instants).saturating_sub(least);
        (width.saturating_sub(others) / count).max(SHORTEST)
    }

    fn text(&self, columns: &[usize], instants: Instants, width: Option<usize>) -> String {
        let room = width.map(|width| self.room_for_words(columns, instants, width));
        let cell = |row: &[String], index: usize| match (self.columns[index].holds, room) {
            (Holds::Instants, _) => instant(&row[index], instants),
            (Holds::Words, Some(room)) => cut(&row[index], room),
            _ => row[index].clone(),
        };
        let heads: Vec<&str> = columns.iter().map(|index| self.columns[*index].head).collect();
        let rows =
            self.rows.iter().map(|row| columns.iter().map(|index| cell(row, *index)).collect::<Vec<_>>());
        show::table(&heads, rows)
    }
}

fn length(text: &str) -> usize {
    text.chars().count()
}

fn cut(text: &str, room: usize) -> String {
    if length(text) <= room {
        return text.to_owned();
    }
    let mut kept: String = text.chars().take(room.saturating_sub(1)).collect();
    kept.push('…');
    kept
}

/// An instant, or another text as it is.
fn instant(text: &str, instants: Instants) -> String {
    let seconds = match text.split_once('.') {
        Some((whole, rest)) if rest.ends_with('Z') => format!("{whole}Z"),
        _ => text.to_owned(),
    };
    match instants {
        Instants::Whole => text.to_owned(),
        Instants::Seconds => seconds,
        Instants::OfOneYear => match seconds.split_once('-') {
            Some((_, of_year)) => of_year.replacen('T', " ", 1),
            None => seconds,
        },
    }
}

/// `2026-11-23T09:30:00.012Z` without its fraction.
pub fn to_the_second(text: &str) -> String {
    instant(text, Instants::Seconds)
}

/// How wide standard output is. `None` where it is no terminal.
pub fn width(host: &Host<'_>) -> Option<usize> {
    if !host.terminal {
        return None;
    }
    let said = host.env("COLUMNS").and_then(|columns| columns.to_str()?.parse().ok());
    let asked = || rustix::termios::tcgetwinsize(std::io::stdout()).ok().map(|size| size.ws_col.into());
    said.or_else(asked).filter(|width| *width > 0).or(Some(USUAL_WIDTH))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const COLUMNS: &[Column] = &[
        Column::new("SEQ", Holds::Names, 0),
        Column::new("AT", Holds::Instants, 2),
        Column::new("REASON", Holds::Words, 1),
        Column::new("LIVE TOKENS", Holds::Names, 3),
        Column::new("NEVER", Holds::Names, 0),
    ];

    fn table() -> Table {
        let row = |seq: &str, reason: &str| {
            [seq, "2026-11-23T09:30:00.012Z", reason, "7", "-"].map(str::to_owned).to_vec()
        };
        Table::new(COLUMNS, [row("9", "pushes to the wrong branch"), row("10", "-")])
    }

    #[test]
    fn the_least_telling_columns_go_first_and_words_are_cut() {
        let shown = |width| table().fitted(width);
        let (text, left_out) = shown(200);
        assert_eq!(
            text.lines().next(),
            Some("SEQ  AT                    REASON                      LIVE TOKENS")
        );
        assert!(text.contains("pushes to the wrong branch") && left_out.is_empty(), "{text}");
        let (text, left_out) = shown(40);
        assert_eq!(
            text,
            "SEQ  AT                    REASON\n9    2026-11-23T09:30:00Z  pushes to th…\n10   2026-11-23T09:30:00Z  -\n"
        );
        assert_eq!(left_out, ["live-tokens"]);
        assert_eq!(shown(20).1, ["at", "live-tokens"]);
        assert_eq!(shown(1).0, "SEQ\n9\n10\n", "one column there always is");
    }

    #[test]
    fn columns_are_chosen_by_name() {
        let chosen = table().chosen(&["live-tokens".to_owned(), " SEQ".to_owned()]).unwrap();
        assert_eq!(
            table().text(&chosen, Instants::Whole, None),
            "LIVE TOKENS  SEQ\n7            9\n7            10\n"
        );
        let unknown = table().chosen(&["owner".to_owned()]).unwrap_err();
        assert!(unknown.to_string().contains("the columns are seq,at,reason,live-tokens,never"), "{unknown}");
    }

    proptest! {
        /// No line is longer than the terminal is wide, unless one column alone is.
        #[test]
        fn lines_fit(width in 12_usize..120, reasons in proptest::collection::vec("[a-zé ]{0,60}", 1..5)) {
            let rows = reasons.into_iter().map(|reason| {
                ["4711".to_owned(), "2026-11-23T09:30:00.012Z".to_owned(), reason, "7".to_owned(), "-".to_owned()].to_vec()
            });
            let (text, _) = Table::new(COLUMNS, rows).fitted(width);
            for line in text.lines() {
                prop_assert!(line.chars().count() <= width, "{width}: {line}");
            }
        }
    }
}
