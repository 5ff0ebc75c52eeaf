//! Who does what when: one file for each part of the installation. Each function names the code that it stands for.

mod authority;
mod follow;
mod issue;
mod push;
mod revoke;
mod store;
mod surroundings;

pub(crate) use self::push::{How, Pushed};

use crate::facts::{Cast, Facts, Real};
use crate::mutants::Mutant;
use crate::state::State;

/// The rules of one installation.
pub(crate) struct Rules {
    pub(crate) real: Real,
    pub(crate) cast: Cast,
    /// The rule that is broken on purpose.
    pub(crate) mutant: Option<Mutant>,
}

impl Rules {
    pub(crate) fn new(cast: Cast, mutant: Option<Mutant>) -> Self {
        Self { real: Real::new(cast), cast, mutant }
    }

    pub(crate) fn breaks(&self, mutant: Mutant) -> bool {
        self.mutant == Some(mutant)
    }

    /// `Link::lost`.
    pub(crate) fn lose_session(&self, state: &mut State, n: usize) {
        push::lose_session(state, n);
    }

    /// What node `n` waits to have numbered: `Unjournaled::book`.
    pub(crate) fn waiting(state: &State, n: usize) -> Facts {
        state.unnumbered(state.nodes[n].waiting)
    }
}
