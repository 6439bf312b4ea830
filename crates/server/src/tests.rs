//! The real router on a real Postgres with a real engine; only the outside is a lamp.

mod api;
mod audit;
mod bench;
mod brakes;
mod deciding;
mod docs;
mod drills;
mod flood;
mod forms;
mod gate;
mod hooks;
mod hooks_any;
mod incidents;
mod issuer;
mod oidc;
mod openapi;
mod pages;
mod people;
mod policies;
mod routes;
mod sign_in;
mod slack;
mod sns;
mod starting;
mod tokens;
mod watched;
