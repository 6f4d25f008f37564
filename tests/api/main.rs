//! The HTTP server as a black box, over a scripted backend. One module per route or concern.

mod auth;
mod diarizations;
mod disconnect;
mod encodings;
mod health;
mod limits;
mod malformed;
mod metrics;
mod models;
mod routes;
mod separation;
mod speakers;
mod stopping;
mod stream;
mod support;
mod transcriptions;
mod translations;
