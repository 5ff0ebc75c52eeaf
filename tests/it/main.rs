//! One binary: each module is one behaviour of hallpass as its users see it.

mod identity;
mod layout;
mod revocation;
mod support;
mod vectors;
