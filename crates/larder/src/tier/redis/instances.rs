//! Instances: the processes that share a tier, as people look at them.

use std::time::Duration;

use ::redis::Cmd;

use super::{
    Redis,
    script::{Answer, INSTANCES, not_understood, read},
};
use crate::tier::lower::LowerError;

/// A process that shares the tier; of several caches in one, each is one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Instance {
    /// By which purges that wait for it name it.
    pub name: String,
    /// It is this process.
    pub is_self: bool,
    /// It has said something lately: otherwise it serves nothing on trust.
    pub is_alive: bool,
    /// How far it has read the log of purges.
    pub cursor: u64,
    /// So many numbers it is behind the end of the log.
    pub behind: u64,
    /// What it holds in memory, where it has said that.
    pub holds: Option<InMemory>,
    /// It has said nothing for so long.
    pub silent_for: Duration,
}

/// What an instance holds in memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InMemory {
    /// Entries.
    pub entries: u64,
    /// Their bytes.
    pub bytes: u64,
}

/// Id, generation, number, silence in milliseconds, name, what it holds.
type Row = (String, String, String, String, String, String);

impl Redis {
    /// All of them, by their names. `holds`: what this process says of itself, which the others see.
    ///
    /// # Errors
    ///
    /// The server has not answered.
    pub async fn instances(&self, holds: Option<InMemory>) -> Result<Vec<Instance>, LowerError> {
        let own = self.0.control.seen().own_readers();
        let says =
            holds.map_or(String::new(), |InMemory { entries, bytes }| format!("{entries} {bytes}"));
        let arguments = |command: &mut Cmd| {
            command.arg(&says);
            for id in &own {
                command.arg(id);
            }
        };
        let Answer { header, rest, .. } = self.0.ask_control(&INSTANCES, arguments).await?;
        let rows: Vec<Row> = read(rest.into_iter().next().ok_or_else(not_understood)?)?;
        let alive = self.0.control.settle;
        let instance = |(id, generation, number, silent, name, holds): Row| {
            let is_of_this_log = u128::from_str_radix(&generation, 16) == Ok(header.generation);
            let cursor = number.parse().ok().filter(|_| is_of_this_log);
            let silent_for = Duration::from_millis(silent.parse().ok()?);
            let holds = holds.split_once(' ').and_then(|(entries, bytes)| {
                Some(InMemory { entries: entries.parse().ok()?, bytes: bytes.parse().ok()? })
            });
            Some(Instance {
                is_self: id.parse().is_ok_and(|id| own.contains(&id)),
                is_alive: silent_for < alive,
                cursor: cursor.unwrap_or(0),
                behind: header.number.saturating_sub(cursor.unwrap_or(header.floor)),
                name,
                holds,
                silent_for,
            })
        };
        let mut instances: Vec<Instance> = rows.into_iter().filter_map(instance).collect();
        instances.sort_by(|one, other| one.name.cmp(&other.name));
        Ok(instances)
    }
}
