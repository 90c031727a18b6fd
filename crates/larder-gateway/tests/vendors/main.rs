//! Each driver against a strict double of its vendor, written from the vendor's documentation: signatures are checked,
//! bounds are enforced, calls are refused for being too many, answers are lost on their way.

#![expect(clippy::unwrap_used, reason = "in a test, an unwrap that fails is the failed test")]

mod bounds;
mod client;
mod documented;
mod double;
mod ends;
mod examples;
mod laws;
mod rates;
mod receipts;
mod refusals;
mod setups;
mod signatures;
mod told;

mod akamai;
mod bunny;
mod cloudflare;
mod cloudfront;
mod fastly;
mod google;
mod nginx;
mod template;
mod varnish;
mod working;
