//! `larder serve` from outside: real processes, raw sockets before them, scripted origins behind them.
//!
//! Nothing here sleeps for luck: a test waits for a condition, or counts what the origin was asked.
//! The module [`real`] needs programs of others (`tools/install-test-deps`); everything else needs
//! nothing.

#![expect(clippy::unwrap_used, reason = "in a test, an unwrap that fails is the failed test")]

mod access_log;
mod admin;
mod answers;
mod behind;
mod bounded;
mod bounds;
mod broken;
mod commands;
mod compressed;
mod configured;
mod crowd;
mod explain;
mod first_day;
mod git;
mod grpc;
mod health;
mod json;
mod large;
mod limits;
mod listeners;
mod log;
mod mixed;
mod monitoring;
mod origins;
mod pools;
mod pressed;
mod purging;
mod rates;
mod readers;
mod real;
mod refreshing;
mod refusals;
mod reload;
mod route_bounds;
mod route_figures;
mod routes;
mod rules;
mod seeking;
mod shared;
mod stage;
mod start;
mod stop;
mod streams;
mod support;
mod tls;
mod together;
mod top;
mod traces;
mod upgrades;
mod websocket;
