//! Fleet: several processes over one server, each told what to do in a line, and answering with one of JSON.

use std::{path::Path, process::Stdio, time::Duration};

use anyhow::{Context, bail, ensure};
use futures_util::future::try_join_all;
use serde_json::Value;
use tokio::{
    io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines},
    process::{Child, ChildStdin, ChildStdout, Command},
    time::timeout,
};

const PATIENCE: Duration = Duration::from_secs(120);

/// They end when this is dropped.
pub(super) struct Fleet(Vec<Instance>);

pub(super) struct Instance {
    _child: Child,
    input: ChildStdin,
    output: Lines<BufReader<ChildStdout>>,
}

impl Fleet {
    /// So many processes with a cache over the server.
    pub(super) async fn of_larder(
        size: usize,
        url: &str,
        namespace: &str,
    ) -> anyhow::Result<Fleet> {
        let own = std::env::current_exe()?;
        Fleet::start(size, &own, &["shared-instance", url, namespace]).await
    }

    /// So many of any program that speaks as they do, once they are ready.
    pub(super) async fn start(
        size: usize,
        program: &Path,
        arguments: &[&str],
    ) -> anyhow::Result<Fleet> {
        let instances = (0..size).map(|_| Instance::start(program, arguments));
        let mut fleet = Fleet(instances.collect::<Result<_, _>>()?);
        fleet.tell_all("ready").await?;
        Ok(fleet)
    }

    pub(super) fn first(&mut self) -> &mut Instance {
        &mut self.0[0]
    }

    pub(super) fn second(&mut self) -> &mut Instance {
        &mut self.0[1]
    }

    /// The same to each, at once.
    pub(super) async fn tell_all(&mut self, what: &str) -> anyhow::Result<Vec<Value>> {
        try_join_all(self.0.iter_mut().map(|instance| instance.tell(what))).await
    }

    /// Something else to the first than to the others, at once.
    pub(super) async fn tell_first_and_others(
        &mut self,
        first: &str,
        others: &str,
    ) -> anyhow::Result<(Value, Vec<Value>)> {
        let (one, rest) = self.0.split_first_mut().context("a fleet of nobody")?;
        let others = try_join_all(rest.iter_mut().map(|instance| instance.tell(others)));
        tokio::try_join!(one.tell(first), others)
    }
}

impl Instance {
    fn start(program: &Path, arguments: &[&str]) -> anyhow::Result<Instance> {
        let mut command = Command::new(program);
        command.args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).kill_on_drop(true);
        let mut child = command.spawn().with_context(|| format!("no {}", program.display()))?;
        let input = child.stdin.take().context("it has no input")?;
        let output = child.stdout.take().context("it has no output")?;
        Ok(Instance { _child: child, input, output: BufReader::new(output).lines() })
    }

    /// Its answer.
    pub(super) async fn tell(&mut self, what: &str) -> anyhow::Result<Value> {
        self.input.write_all(format!("{what}\n").as_bytes()).await?;
        let line = timeout(PATIENCE, self.output.next_line()).await;
        let line = line.with_context(|| format!("{what}: no answer"))??;
        let Some(line) = line else { bail!("{what}: it has ended") };
        let answer: Value = serde_json::from_str(&line).with_context(|| line.clone())?;
        ensure!(answer.get("error").is_none(), "{what}: {answer}");
        Ok(answer)
    }
}

/// A number in an answer.
pub(super) fn number(answer: &Value, name: &str) -> anyhow::Result<f64> {
    answer[name].as_f64().with_context(|| format!("no {name} in {answer}"))
}

/// The sum, or the largest, of a number in all answers.
pub(super) fn all(answers: &[Value], name: &str, join: fn(f64, f64) -> f64) -> anyhow::Result<f64> {
    let numbers = answers.iter().map(|answer| number(answer, name));
    numbers.reduce(|one, other| Ok(join(one?, other?))).context("nobody has answered")?
}
