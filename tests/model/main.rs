//! A model of the kill switch's protocol: two nodes, the store that they share, and Redis, with everything that can go
//! wrong between them. A small checker visits every state that a bounded history can reach.

mod checker;
mod facts;
mod mutants;
mod named;
mod planted;
mod proven;
mod rules;
mod scenarios;
mod state;
mod world;
