//! `[shared]`: what several gateways share.

use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::config::value::Time;

/// `[shared]`.
#[derive(Clone, Debug, Default, Deserialize, Serialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct SharedPart {
    /// Share answers and purges with other gateways over this server of Redis 7 or Valkey, or several: redis://host:6379,
    /// rediss:// over TLS, redis+sentinel://host,host/NAME, redis+cluster://host,host. Default none. Without a
    /// password: that is read from a file or from LARDER_SHARED_PASSWORD. While the server is away nothing fails
    #[schemars(example = &"redis://127.0.0.1:6379")]
    pub url: Option<String>,
    /// Which gateways share: those with one name on one server. Default larder
    #[schemars(example = &"larder")]
    pub namespace: Option<String>,
    /// The server's user, if it has users. Default none
    #[schemars(example = &"larder")]
    pub user: Option<String>,
    /// A file with the password in its first line. Default none
    #[schemars(example = &"redis-password")]
    pub password_file: Option<PathBuf>,
    /// The user of the sentinels, of redis+sentinel://, if they have users. Default none
    #[schemars(example = &"larder")]
    pub sentinel_user: Option<String>,
    /// A file with the password of the sentinels in its first line, which is not that of the server. Default none; or the
    /// variable LARDER_SHARED_SENTINEL_PASSWORD
    #[schemars(example = &"sentinel-password")]
    pub sentinel_password_file: Option<PathBuf>,
    /// A file for purges that the server does not have yet: one that says it is queued outlives this process, and is sent
    /// by the next. Of one gateway alone, in a folder that is there. Default none: they are in memory
    #[schemars(example = &"/var/lib/larder/outbox")]
    pub outbox: Option<PathBuf>,
    /// A file with 64 hexadecimal digits, one for all gateways (openssl rand -hex 32): what is not signed with this key
    /// is not served, whoever has written it to the server. Default none
    #[schemars(example = &"shared-key")]
    pub key_file: Option<PathBuf>,
    /// For rediss:// with certificates of one's own: a PEM file with those that vouch for the server's. Default those
    /// that browsers know
    #[schemars(example = &"ca.pem")]
    pub ca_file: Option<PathBuf>,
    /// For how long what is in memory is served without hearing of the server: no purge that another gateway has made is
    /// missed for longer. One value for all gateways. Default 10s, from 1s to 30m
    #[schemars(example = &"10s")]
    pub max_incoherence: Option<Time>,
    /// What becomes of what is in memory after max_incoherence. Default fetch
    #[schemars(example = &"fetch")]
    pub unsure: Option<UnsureWord>,
}

/// What becomes of what is in memory without hearing of the shared tier.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum UnsureWord {
    /// It is fetched anew, and used for as long
    Fetch,
    /// It is served as far as stale answers may be: a purge at another gateway may go unnoticed for as long
    ServeStale,
}
