//! Drivers: one file for each vendor that can be told what has gone.
//!
//! Each has a `Config`, the table of the configuration that names its account, and a driver made of it that puts wishes
//! into requests and reads answers. What they have in common: `credential` (secrets, never shown), `naming` (what a wish
//! names), `batch` (what goes into one call), `exchange` (requests and answers), `quota` (how many calls are left), `escape`;
//! `sigv4` and `edgegrid` sign, both with a `stamp`.

mod batch;
mod credential;
mod edgegrid;
mod escape;
mod exchange;
mod naming;
mod quota;
mod sigv4;
mod stamp;

pub mod akamai;
pub mod bunny;
pub mod cloudflare;
pub mod cloudfront;
pub mod fastly;
pub mod google;
pub mod larder;
pub mod nginx;
pub mod template;
pub mod varnish;

pub use self::credential::{OfProcess, Secret, Secrets, Wrong};
pub(super) use self::{
    exchange::{is_about_credentials, shown_by_status},
    quota::by_standard,
};
