//! The automaton of a glob, all of whose states are followed at once: one bit for each.

/// What ends a segment for `*`.
pub(super) const SEPARATORS: [char; 2] = [':', '/'];

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Piece {
    Char(char),
    Star,
    DoubleStar,
}

impl Piece {
    pub(super) fn is_star(self) -> bool {
        !matches!(self, Self::Char(_))
    }

    pub(super) fn of(glob: &str) -> Vec<Self> {
        let mut pieces = Vec::with_capacity(glob.len());
        let mut chars = glob.chars().peekable();
        while let Some(c) = chars.next() {
            pieces.push(match c {
                '*' if chars.next_if_eq(&'*').is_some() => Self::DoubleStar,
                '*' => Self::Star,
                c => Self::Char(c),
            });
        }
        pieces
    }
}

/// Bit `i` of a set is about `pieces[i]`; the bit after the last piece is the end.
type Bits = Box<[u64]>;

#[derive(Clone)]
pub(super) struct Automaton {
    /// The characters, sorted.
    letters: Box<[char]>,
    /// Where each of them stands, one set after the other: an agent's file has few rules, and a registry many agents.
    places: Bits,
    /// Where a star of either kind stands.
    stars: Bits,
    /// Where `**` stands.
    double_stars: Bits,
    end: usize,
}

impl Automaton {
    pub(super) fn of(pieces: &[Piece]) -> Self {
        let words = (pieces.len() + 1).div_ceil(64);
        let places = |holds: &dyn Fn(Piece) -> bool| {
            let mut bits = vec![0; words];
            for (i, _) in pieces.iter().enumerate().filter(|(_, piece)| holds(**piece)) {
                bits[i / 64] |= 1 << (i % 64);
            }
            bits
        };
        let mut letters: Vec<char> = pieces
            .iter()
            .filter_map(|piece| match piece {
                Piece::Char(c) => Some(*c),
                _ => None,
            })
            .collect();
        letters.sort_unstable();
        letters.dedup();
        Self {
            places: letters.iter().flat_map(|c| places(&|piece| piece == Piece::Char(*c))).collect(),
            letters: letters.into(),
            stars: places(&|piece| !matches!(piece, Piece::Char(_))).into(),
            double_stars: places(&|piece| piece == Piece::DoubleStar).into(),
            end: pieces.len(),
        }
    }

    /// Whether `input` leads to the end. A star of the input is absorbed by a star as wide alone.
    pub(super) fn absorbs(&self, input: impl Iterator<Item = Piece>) -> bool {
        let mut live = vec![0; self.stars.len()];
        live[0] = 1;
        self.skip_stars(&mut live);
        for symbol in input {
            let (stay, go) = match symbol {
                Piece::Char(c) if SEPARATORS.contains(&c) => (&self.double_stars, self.places(c)),
                Piece::Char(c) => (&self.stars, self.places(c)),
                Piece::Star => (&self.stars, None),
                Piece::DoubleStar => (&self.double_stars, None),
            };
            let mut carry = 0;
            for (word, live) in live.iter_mut().enumerate() {
                let gone = *live & go.map_or(0, |go| go[word]);
                *live = (*live & stay[word]) | (gone << 1) | carry;
                carry = gone >> 63;
            }
            self.skip_stars(&mut live);
            if live.iter().all(|word| *word == 0) {
                return false;
            }
        }
        live[self.end / 64] >> (self.end % 64) & 1 == 1
    }

    fn places(&self, c: char) -> Option<&[u64]> {
        let at = self.letters.binary_search(&c).ok()?;
        self.places.chunks_exact(self.stars.len()).nth(at)
    }

    /// A star may match nothing. No two stars are neighbours, so one step is enough.
    fn skip_stars(&self, live: &mut [u64]) {
        let mut carry = 0;
        for (live, stars) in live.iter_mut().zip(&self.stars) {
            let skipped = *live & stars;
            *live |= (skipped << 1) | carry;
            carry = skipped >> 63;
        }
    }
}
