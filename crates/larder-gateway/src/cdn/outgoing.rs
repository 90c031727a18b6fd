//! Outgoing: what a purge by tag asks a CDN for, as answers tell it their tags.
//!
//! The rules are the policy's ([`larder::http::policy::outgoing`]): a route's `cdn_cache_control`, `cdn_tags`, `etag`.

pub use larder::http::policy::tags_out::{OVERFLOW, purged_by, tag_out};
