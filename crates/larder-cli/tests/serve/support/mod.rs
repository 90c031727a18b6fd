//! What the tests stand on: `larder` processes and origins, and what other crates' tests stand on as well.

pub(crate) mod collector;
pub(crate) mod larder;
pub(crate) mod origin;
pub(crate) mod python;
pub(crate) mod terminal;

pub(crate) use larder_test_support::{
    answer, certificate::Certificate, eventually::eventually, haproxy::Haproxy, nginx,
    port::free_port, process::Process, program, redis::Redis, varnish::Varnish, wire::Wire,
};
