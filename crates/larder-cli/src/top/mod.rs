//! `larder top`: what a gateway does now, on one screen that goes on.
//!
//! `look` asks the admin API, ◇ `figures` makes rates of two looks, ◇ `screen` draws them. A thread asks, so that a
//! gateway that is slow to answer does not keep keys from being heard.

mod figures;
mod look;
mod screen;

use std::{
    io::{self, IsTerminal, Write, stdout},
    sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel},
    thread,
    time::{Duration, Instant},
};

use clap::Args;
use larder_gateway::config::amount;
use ratatui::{
    DefaultTerminal,
    crossterm::event::{self, Event, KeyCode, KeyEvent, KeyEventKind, KeyModifiers},
};
use tokio::{
    runtime::Builder,
    signal::unix::{SignalKind, signal},
};

use self::{
    figures::Figures,
    look::{Look, look},
    screen::{View, draw},
};
use crate::ask::{AskError, Where};

/// How often keys are looked for.
const KEYS_EVERY: Duration = Duration::from_millis(100);
const LEAST: Duration = Duration::from_millis(100);
const MOST: Duration = Duration::from_secs(3600);

/// Shows what a gateway does, again and again, by way of its admin API.
#[derive(Debug, Args)]
#[command(after_help = "\
Keys: q ends, p pauses, o orders the routes by requests, by what they ask of the service, or by memory.

Exit codes: 0 it was ended, 1 nobody has answered at the first look or at the last of --count, 2 wrong usage.

Examples:
  larder top
  larder top --admin https://gateway.example:9191 --token-file token
  larder top --json --count 5 | jq .hit_ratio     one line each second")]
pub(crate) struct Top {
    /// How often it is asked
    #[arg(long, value_name = "DURATION", default_value = "1s", value_parser = interval)]
    every: Duration,
    /// Print a line of JSON each time, instead of a screen
    #[arg(long)]
    json: bool,
    /// End after so many
    #[arg(long, value_name = "NUMBER")]
    count: Option<u64>,
    #[command(flatten)]
    admin: Where,
}

/// Why it has ended before it was told to.
#[derive(Debug, thiserror::Error)]
pub(crate) enum TopError {
    #[error(transparent)]
    Ask(#[from] AskError),
    #[error("this is no terminal: say --json for a line of JSON each time")]
    NoTerminal,
    #[error("cannot draw")]
    Draw(#[source] io::Error),
    #[error("cannot start")]
    Start(#[source] io::Error),
}

impl TopError {
    pub(crate) fn exit_code(&self) -> u8 {
        match self {
            TopError::Ask(error) => error.exit_code(),
            TopError::NoTerminal => 2,
            TopError::Draw(_) | TopError::Start(_) => 1,
        }
    }
}

fn interval(text: &str) -> Result<Duration, String> {
    let every = amount::duration(text)?;
    match (LEAST..=MOST).contains(&every) {
        true => Ok(every),
        false => Err("say a time from 100ms to 1h".to_owned()),
    }
}

/// What keeps a screen going.
enum Heard {
    Look(Box<Look>),
    /// It could not be asked.
    Trouble(AskError),
    /// The process is to end.
    Stop,
}

impl Top {
    /// Shows it until somebody has seen enough.
    pub(crate) fn run(self) -> Result<(), TopError> {
        match self.json {
            true => self.lines(),
            false => self.screen(),
        }
    }

    /// A first or a last look that fails is an error; others leave a line out, and say so on standard error.
    fn lines(self) -> Result<(), TopError> {
        let Top { every, count, admin, .. } = self;
        let mut before = look(&admin)?;
        let mut out = stdout();
        let mut left = count.unwrap_or(u64::MAX);
        while left > 0 {
            thread::sleep(every);
            left -= 1;
            let now = match look(&admin) {
                Ok(now) => now,
                Err(error) if left == 0 => return Err(error.into()),
                Err(error) => {
                    eprintln!("larder: {error}");
                    continue;
                }
            };
            let line = serde_json::to_string(&Figures::between(&before, &now));
            let line = line.expect("names and numbers");
            // Whoever reads no more has enough.
            if writeln!(out, "{line}").and_then(|()| out.flush()).is_err() {
                break;
            }
            before = now;
        }
        Ok(())
    }

    fn screen(self) -> Result<(), TopError> {
        if !stdout().is_terminal() {
            return Err(TopError::NoTerminal);
        }
        let Top { every, count, admin, .. } = self;
        let place = admin.place().to_string();
        // Before the screen is taken: what is wrong at once stands on an ordinary one.
        let first = look(&admin)?;
        // One that waits to be drawn is enough: the thread waits with the next.
        let (heard, hears) = sync_channel(1);
        hear_of_the_end(heard.clone())?;
        thread::spawn(move || ask_again_and_again(&admin, every, &heard));
        let terminal = ratatui::try_init().map_err(TopError::Draw)?;
        let shown = show(terminal, View::new(place, first), &hears, count);
        ratatui::restore();
        match shown.map_err(TopError::Draw)? {
            Some(trouble) => Err(trouble.into()),
            None => Ok(()),
        }
    }
}

/// Until nobody hears it.
fn ask_again_and_again(admin: &Where, every: Duration, heard: &SyncSender<Heard>) {
    loop {
        thread::sleep(every);
        let heard_now = match look(admin) {
            Ok(look) => Heard::Look(Box::new(look)),
            Err(error) => Heard::Trouble(error),
        };
        if heard.send(heard_now).is_err() {
            return;
        }
    }
}

/// A terminal is given back as it was, however the process is asked to end.
fn hear_of_the_end(heard: SyncSender<Heard>) -> Result<(), TopError> {
    let runtime = Builder::new_current_thread().enable_io().build().map_err(TopError::Start)?;
    let listen = || {
        let _guard = runtime.enter();
        Ok([signal(SignalKind::terminate())?, signal(SignalKind::hangup())?])
    };
    let [mut terminate, mut hangup] = listen().map_err(TopError::Start)?;
    thread::spawn(move || {
        runtime.block_on(async {
            tokio::select! {
                _ = terminate.recv() => {}
                _ = hangup.recv() => {}
            }
        });
        // Nobody hears it only where the screen is gone already.
        heard.send(Heard::Stop).ok();
    });
    Ok(())
}

/// Until somebody ends it, or as often as was said. What was wrong then at the last look.
fn show(
    mut terminal: DefaultTerminal,
    mut view: View,
    hears: &Receiver<Heard>,
    count: Option<u64>,
) -> io::Result<Option<AskError>> {
    let mut trouble = None;
    let mut left = count.unwrap_or(u64::MAX);
    terminal.draw(|frame| draw(frame, &view))?;
    while left > 0 {
        match hears.recv_timeout(KEYS_EVERY) {
            Ok(Heard::Look(look)) => {
                left -= 1;
                trouble = None;
                view.see(*look, Instant::now());
            }
            Ok(Heard::Trouble(error)) => {
                left -= 1;
                view.trouble = Some(error.to_string());
                trouble = Some(error);
            }
            Err(RecvTimeoutError::Timeout) => {}
            Ok(Heard::Stop) | Err(RecvTimeoutError::Disconnected) => return Ok(None),
        }
        while event::poll(Duration::ZERO)? {
            if let Event::Key(key) = event::read()?
                && !pressed(key, &mut view)
            {
                return Ok(None);
            }
        }
        terminal.draw(|frame| draw(frame, &view))?;
    }
    Ok(trouble)
}

/// Whether it goes on.
fn pressed(key: KeyEvent, view: &mut View) -> bool {
    if key.kind == KeyEventKind::Release {
        return true;
    }
    match key.code {
        KeyCode::Char('c') if key.modifiers.contains(KeyModifiers::CONTROL) => return false,
        KeyCode::Char('q') | KeyCode::Esc => return false,
        KeyCode::Char('p') | KeyCode::Char(' ') => view.is_paused = !view.is_paused,
        KeyCode::Char('o') => view.order = view.order.next(),
        _ => {}
    }
    true
}
