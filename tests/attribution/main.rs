//! From the networks' numbers to turns, on conversations that are made up: no weights, no recordings.

mod conversation;
mod day;
mod edges;
mod properties;
