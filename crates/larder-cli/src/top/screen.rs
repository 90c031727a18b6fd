//! Screen: what is drawn of the figures. Pure, but for the buffer that it draws into.

use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

use bytesize::ByteSize;
use ratatui::{
    Frame,
    layout::{Constraint, Layout, Rect},
    style::{Color, Modifier, Style},
    text::{Line, Span},
    widgets::{Block, Borders, Cell, LineGauge, Paragraph, Row, Sparkline, Table},
};

use super::{
    figures::{Figures, RouteFigures},
    look::Look,
};

/// How many seconds are drawn behind one another.
const REMEMBERED: usize = 300;
/// A purge of a longer name is cut.
const RECENT_PURGES: usize = 8;

/// By what routes are ordered, the most first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Order {
    #[default]
    Requests,
    /// By how long the service is waited for.
    Origin,
    Memory,
}

impl Order {
    pub(super) fn next(self) -> Order {
        match self {
            Order::Requests => Order::Origin,
            Order::Origin => Order::Memory,
            Order::Memory => Order::Requests,
        }
    }

    fn word(self) -> &'static str {
        match self {
            Order::Requests => "requests",
            Order::Origin => "time at the service",
            Order::Memory => "memory",
        }
    }

    fn sort(self, routes: &mut [RouteFigures]) {
        let key = |route: &RouteFigures| match self {
            Order::Requests => route.requests_per_second,
            Order::Origin => route.origin_seconds_per_second,
            Order::Memory => route.bytes as f64,
        };
        routes.sort_by(|one, other| {
            key(other).total_cmp(&key(one)).then_with(|| one.route.cmp(&other.route))
        });
    }
}

/// What is on the screen.
pub(super) struct View {
    place: String,
    latest: Look,
    figures: Option<Figures>,
    requests: VecDeque<u64>,
    seen: Instant,
    pub(super) order: Order,
    pub(super) is_paused: bool,
    /// Why the last look failed.
    pub(super) trouble: Option<String>,
}

impl View {
    pub(super) fn new(place: String, first: Look) -> View {
        View {
            place,
            seen: first.at,
            latest: first,
            figures: None,
            requests: VecDeque::new(),
            order: Order::default(),
            is_paused: false,
            trouble: None,
        }
    }

    /// What is paused stays as it is; the next look is compared with the last one that was shown.
    pub(super) fn see(&mut self, look: Look, now: Instant) {
        (self.seen, self.trouble) = (now, None);
        if self.is_paused {
            return;
        }
        let figures = Figures::between(&self.latest, &look);
        if self.requests.len() == REMEMBERED {
            self.requests.pop_front();
        }
        self.requests.push_back(figures.requests_per_second.round() as u64);
        (self.latest, self.figures) = (look, Some(figures));
    }
}

const QUIET: Style = Style::new().add_modifier(Modifier::DIM);
const STRONG: Style = Style::new().add_modifier(Modifier::BOLD);
const BAD: Style = Style::new().fg(Color::Red).add_modifier(Modifier::BOLD);

/// One screen of it. What does not fit is cut; on a very small one only the first lines are there.
pub(super) fn draw(frame: &mut Frame<'_>, view: &View) {
    let purges = view.latest.purges.as_ref().map_or(0, |purges| purges.len().min(RECENT_PURGES));
    let slowest = view.latest.slowest.as_ref().map_or(0, Vec::len);
    let heights = [
        Constraint::Length(1),
        Constraint::Length(2),
        Constraint::Length(3),
        Constraint::Length(1),
        Constraint::Min(3),
        Constraint::Max(if slowest == 0 { 0 } else { rows(slowest) + 1 }),
        Constraint::Max(if purges == 0 { 0 } else { rows(purges) + 1 }),
        Constraint::Length(1),
    ];
    let [head, summary, spark, memory, routes, entries, purged, foot] =
        Layout::vertical(heights).areas(frame.area());
    frame.render_widget(title(view), head);
    let Some(figures) = &view.figures else {
        frame.render_widget(Paragraph::new("the first second is being counted …"), summary);
        frame.render_widget(keys(view), foot);
        return;
    };
    frame.render_widget(Paragraph::new(numbers(figures)), summary);
    requests(frame, spark, view);
    bound(frame, memory, figures);
    table(frame, routes, view, figures);
    slow(frame, entries, view);
    recent(frame, purged, view);
    frame.render_widget(keys(view), foot);
}

fn rows(count: usize) -> u16 {
    u16::try_from(count).unwrap_or(u16::MAX)
}

/// Who is looked at, and whether all is well there.
fn title(view: &View) -> Line<'_> {
    let up = Duration::from_secs(view.latest.stats.uptime_seconds.max(0.0) as u64);
    let mut parts = vec![
        Span::styled("larder ", STRONG),
        Span::raw(view.place.as_str()),
        Span::styled(format!("  up {}  ", humantime::format_duration(up)), QUIET),
    ];
    if let Some(trouble) = &view.trouble {
        let ago = view.seen.elapsed().as_secs();
        parts.push(Span::styled(format!("no answer for {ago} s: {trouble}"), BAD));
        return Line::from(parts);
    }
    let down: Vec<_> = view
        .figures
        .iter()
        .flat_map(|figures| &figures.upstreams)
        .filter(|upstream| !upstream.down.is_empty())
        .map(|upstream| match upstream.down.len() == upstream.addresses {
            true => format!("{} is down", upstream.name),
            false => format!("{}: {} down", upstream.name, upstream.down.join(", ")),
        })
        .collect();
    match down.is_empty() {
        true => parts.push(Span::styled("all upstreams answer", QUIET)),
        false => parts.push(Span::styled(down.join(", "), BAD)),
    }
    if view.is_paused {
        parts.push(Span::styled("  paused", STRONG));
    }
    Line::from(parts)
}

fn numbers(figures: &Figures) -> Vec<Line<'static>> {
    let fails = match figures.origin_failures_per_second {
        failures if failures > 0.0 => Span::styled(format!(", {} fail", rate(failures)), BAD),
        _ => Span::raw(""),
    };
    vec![
        Line::from(vec![
            Span::styled(format!("{:>9}", rate(figures.requests_per_second)), STRONG),
            Span::raw(" requests a second, "),
            Span::styled(percent(figures.hit_ratio), STRONG),
            Span::raw(format!(
                " hits ({} fresh, {} stale, {} shared a fetch, {} missed)",
                rate(figures.hits_per_second),
                rate(figures.stale_per_second),
                rate(figures.collapsed_per_second),
                rate(figures.misses_per_second)
            )),
        ]),
        Line::from(vec![
            Span::styled(format!("{:>9}", rate(figures.origin_calls_per_second)), STRONG),
            Span::raw(" fetches a second"),
            fails,
            Span::raw(format!(
                ", {} s of waiting saved, {} evicted",
                rate(figures.saved_seconds_per_second),
                rate(figures.evictions_per_second)
            )),
        ]),
    ]
}

fn requests(frame: &mut Frame<'_>, area: Rect, view: &View) {
    let room = usize::from(area.width);
    let skipped = view.requests.len().saturating_sub(room);
    let shown: Vec<u64> = view.requests.iter().skip(skipped).copied().collect();
    frame.render_widget(Sparkline::default().data(shown).style(Style::new().fg(Color::Cyan)), area);
}

fn bound(frame: &mut Frame<'_>, area: Rect, figures: &Figures) {
    let held = ByteSize(figures.bytes).display().iec();
    let Some(max) = figures.max_bytes.filter(|max| *max > 0) else {
        let text = format!("memory {held} in {} entries", figures.entries);
        return frame.render_widget(Paragraph::new(text), area);
    };
    let share = (figures.bytes as f64 / max as f64).clamp(0.0, 1.0);
    let most = ByteSize(max).display().iec();
    let label = format!("memory {held} of {most}, {} entries", figures.entries);
    let gauge = LineGauge::default().ratio(share).label(label);
    frame.render_widget(gauge.filled_style(Style::new().fg(Color::Cyan)), area);
}

fn table(frame: &mut Frame<'_>, area: Rect, view: &View, figures: &Figures) {
    let Some(mut routes) = figures.routes.clone() else {
        return frame.render_widget(part("routes: this gateway does not tell of them"), area);
    };
    view.order.sort(&mut routes);
    let head = ["req/s", "hits", "fetch/s", "fail/s", "at service", "memory", "route"];
    let head = Row::new(head).style(QUIET);
    let rows = routes.iter().map(|route| {
        let failures = route.origin_failures_per_second;
        let fails = if failures > 0.0 { BAD } else { QUIET };
        let numbers = [
            (rate(route.requests_per_second), Style::new()),
            (percent(route.hit_ratio), Style::new()),
            (rate(route.origin_calls_per_second), Style::new()),
            (rate(failures), fails),
            (format!("{} s/s", rate(route.origin_seconds_per_second)), Style::new()),
            (ByteSize(route.bytes).display().iec().to_string(), Style::new()),
        ];
        let numbers =
            numbers.map(|(text, style)| Cell::new(Line::from(text).right_aligned()).style(style));
        Row::new(numbers.into_iter().chain([Cell::new(route.route.clone())]))
    });
    let widths = [8, 7, 8, 7, 11, 10].map(Constraint::Length);
    let widths = widths.into_iter().chain([Constraint::Min(10)]);
    let title = format!("routes by {}", view.order.word());
    frame.render_widget(Table::new(rows, widths).header(head).block(part(title)), area);
}

fn slow(frame: &mut Frame<'_>, area: Rect, view: &View) {
    let Some(slowest) = view.latest.slowest.as_ref().filter(|slowest| !slowest.is_empty()) else {
        return;
    };
    let lines = slowest.iter().map(|entry| {
        let cost = Span::styled(format!("{:>9.3} s ", entry.cost_seconds), STRONG);
        Line::from(vec![cost, Span::raw(plain(&entry.key))])
    });
    let lines: Vec<_> = lines.collect();
    frame.render_widget(Paragraph::new(lines).block(part("slowest to fetch")), area);
}

fn recent(frame: &mut Frame<'_>, area: Rect, view: &View) {
    let purges = view.latest.purges.as_deref().unwrap_or_default();
    if purges.is_empty() {
        return;
    }
    let lines = purges.iter().rev().take(RECENT_PURGES).map(|purge| {
        let time = purge.at.get(11..19).unwrap_or_default().to_owned();
        let what = plain(&purge.what.join(", "));
        let state = states(&purge.tiers);
        Line::from(vec![
            Span::styled(format!("{time} "), QUIET),
            Span::raw(format!("{what} ({})", plain(&purge.mode))),
            Span::styled(format!("  {state}"), QUIET),
        ])
    });
    let lines: Vec<_> = lines.collect();
    frame.render_widget(Paragraph::new(lines).block(part("purged of late")), area);
}

/// Each tier with its state, and each CDN with its own.
fn states(tiers: &serde_json::Value) -> String {
    let word = |value: &serde_json::Value| value["state"].as_str().map(plain);
    let mut said = Vec::new();
    for tier in ["memory", "shared"] {
        said.extend(word(&tiers[tier]).map(|state| format!("{tier} {state}")));
    }
    for cdn in tiers["cdn"].as_array().into_iter().flatten() {
        let name = plain(cdn["name"].as_str().unwrap_or("cdn"));
        said.extend(word(cdn).map(|state| format!("{name} {state}")));
    }
    said.join(", ")
}

fn keys(view: &View) -> Line<'static> {
    let pause = if view.is_paused { "p goes on" } else { "p pauses" };
    Line::from(Span::styled(format!("q ends  {pause}  o orders the routes"), QUIET))
}

fn part<'a>(title: impl Into<Line<'a>>) -> Block<'a> {
    Block::default().borders(Borders::TOP).border_style(QUIET).title(title)
}

/// A key may be anybody's text: what a terminal would obey is shown as a mark.
fn plain(text: &str) -> String {
    text.chars().map(|letter| if letter.is_control() { '\u{fffd}' } else { letter }).collect()
}

fn percent(ratio: Option<f64>) -> String {
    ratio.map_or_else(|| "–".to_owned(), |ratio| format!("{:.1} %", ratio * 100.0))
}

/// With as many digits as one can read at a look.
fn rate(number: f64) -> String {
    match number {
        number if number >= 1_000_000.0 => format!("{:.1}M", number / 1e6),
        number if number >= 10_000.0 => format!("{:.1}k", number / 1e3),
        number if number >= 100.0 || number == 0.0 => format!("{number:.0}"),
        number if number >= 10.0 => format!("{number:.1}"),
        number => format!("{number:.2}"),
    }
}

#[cfg(test)]
mod tests {
    use ratatui::{Terminal, backend::TestBackend};
    use serde_json::json;

    use super::*;

    fn look(hits: u64, purges: usize) -> Look {
        let stats = json!({
            "uptime_seconds": 61.0,
            "caches": [{ "hits": hits, "misses": hits / 4, "bytes": 1 << 20, "max_bytes": 4 << 20, "entries": 7 }],
            "upstreams": [{ "name": "app", "addresses": [{ "address": "http://a", "is_up": false }] }],
        });
        let routes = json!([
            { "route": "/busy", "requests": { "hit": hits }, "bytes": 1 },
            { "route": "/large", "requests": { "miss": 1 }, "bytes": 2048 },
        ]);
        let purge = json!({
            "what": ["tag post:1"], "mode": "soft", "at": "2026-11-30T12:34:56.000Z",
            "tiers": { "memory": { "state": "applied" }, "cdn": [{ "name": "edge", "state": "queued" }] },
        });
        Look {
            at: Instant::now(),
            stats: serde_json::from_value(stats).unwrap(),
            routes: Some(serde_json::from_value(routes).unwrap()),
            slowest: Some(
                serde_json::from_value(
                    json!([{ "key": "http://a/\u{1b}[2J", "cost_seconds": 2.0 }]),
                )
                .unwrap(),
            ),
            purges: Some(serde_json::from_value(vec![purge; purges].into()).unwrap()),
        }
    }

    fn drawn(view: &View, width: u16, height: u16) -> String {
        let mut terminal = Terminal::new(TestBackend::new(width, height)).unwrap();
        terminal.draw(|frame| draw(frame, view)).unwrap();
        // The backend shows no lines of no width.
        if width == 0 { String::new() } else { terminal.backend().to_string() }
    }

    fn view() -> View {
        let first = look(0, 0);
        let mut second = look(100, 2);
        second.at = first.at + Duration::from_secs(1);
        let mut view = View::new("http://127.0.0.1:9191".to_owned(), first);
        view.see(second, Instant::now());
        view
    }

    #[test]
    fn what_a_gateway_does_stands_on_one_usual_screen() {
        let screen = drawn(&view(), 80, 24);
        for words in [
            "larder http://127.0.0.1:9191  up 1m 1s  app is down",
            "125 requests a second, 80.0 % hits",
            "memory 1.0 MiB of 4.0 MiB, 7 entries",
            "routes by requests",
            "/busy",
            "slowest to fetch",
            "12:34:56 tag post:1 (soft)  memory applied, edge queued",
            "q ends",
        ] {
            assert!(screen.contains(words), "{words}\n{screen}");
        }
        assert!(!screen.contains('\u{1b}'), "a key tells the terminal nothing");
    }

    #[test]
    fn it_is_drawn_at_every_size() {
        let view = view();
        for (width, height) in [(0, 0), (0, 5), (5, 0), (1, 1), (10, 3), (40, 8), (300, 100)] {
            drawn(&view, width, height);
        }
    }

    #[test]
    fn routes_stand_in_the_order_that_is_asked_for() {
        let mut view = view();
        let is_first = |view: &View, one: &str, other: &str| {
            let screen = drawn(view, 80, 30);
            screen.find(one).unwrap() < screen.find(other).unwrap()
        };
        assert!(is_first(&view, "/busy", "/large"));
        view.order = view.order.next().next();
        assert_eq!(view.order, Order::Memory);
        assert!(is_first(&view, "/large", "/busy"));
    }

    #[test]
    fn what_is_paused_stays_and_what_fails_is_told() {
        let mut view = view();
        view.is_paused = true;
        let before = drawn(&view, 80, 24);
        view.see(look(100_000, 0), Instant::now());
        assert_eq!(drawn(&view, 80, 24), before);
        view.trouble = Some("nobody answers".to_owned());
        assert!(drawn(&view, 120, 24).contains("no answer for 0 s: nobody answers"));
    }
}
