//! Purging: who may purge where requests come, by the module that gives nginx `proxy_cache_purge PURGE from …`.

use larder_gateway::downstream::TrustedPeer;

use super::{scope::Ledger, syntax::Directive};
use crate::import::written::{Table, list, quoted};

/// `[purge]`, if anybody may by address.
pub(super) fn table(directives: &[Directive], ledger: &mut Ledger) -> Option<Table> {
    let mut clients = Vec::new();
    collect(directives, &mut clients, ledger);
    if clients.is_empty() {
        return None;
    }
    let mut table = Table::new("[purge]");
    table.row("allow", list(&clients));
    table.row("mode", quoted("hard"));
    Some(table)
}

fn collect(directives: &[Directive], clients: &mut Vec<String>, ledger: &mut Ledger) {
    for one in directives {
        if one.name == "proxy_cache_purge" {
            of_one(one, clients, ledger);
        }
        collect(one.block(), clients, ledger);
    }
}

/// `PURGE from 10.0.0.5 10.1.0.0/24`, the method first. With a zone and a key it is a place of its own to purge at; of `$`
/// somebody else has to say what it is.
fn of_one(one: &Directive, clients: &mut Vec<String>, ledger: &mut Ledger) {
    let words: Vec<_> = one.words.iter().map(String::as_str).collect();
    let ["PURGE", "from", from @ ..] = words.as_slice() else {
        if words != ["off"] {
            let why = "purges come by the method PURGE here, from addresses in [purge] allow, or to the admin API";
            ledger.note(one, why);
        }
        return;
    };
    for word in from {
        match word.parse::<TrustedPeer>() {
            Ok(TrustedPeer::Network(network)) if network.prefix_len() > 0 => {
                ledger.carry(one);
                if !clients.iter().any(|known| known == word) {
                    clients.push((*word).to_owned());
                }
            }
            _ => ledger.note(one, format!("{word} may not purge here: name addresses")),
        }
    }
}
