//! The screen: a head, a table that is read again and again, a line that says what the keys do.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::Duration;

use octo_protocol::admin::Actors;
use ratatui::Frame;
use ratatui::crossterm::event::{self, Event, KeyCode, KeyEventKind, KeyModifiers};
use ratatui::layout::{Constraint, Layout};
use ratatui::style::{Color, Modifier, Style};
use ratatui::text::Line;
use ratatui::widgets::{Cell, Row, Table, TableState};
use tokio::sync::mpsc;

use super::look::{HEAD, Look, cells};
use crate::arguments::{Sort, Top};
use crate::commands::Asking;
use crate::exit::Failure;
use crate::show;

/// How soon the thread that hears keys notices that nobody listens any more.
const HEAR: Duration = Duration::from_millis(100);
/// Keys that wait to be acted on; more are passed over.
const KEYS: usize = 64;
/// Rows that a page moves by.
const PAGE: usize = 10;

/// What is on the screen.
struct Screen {
    path: String,
    sort: Sort,
    held: bool,
    colour: bool,
    look: Look,
    /// Why the last reading failed, or what it left out.
    trouble: Option<String>,
    selected: TableState,
}

pub async fn run(asking: &Asking, top: &Top, interval: Duration) -> Result<(), Failure> {
    let (keys, mut pressed) = mpsc::channel(KEYS);
    let over = Arc::new(AtomicBool::new(false));
    let mut terminal = ratatui::try_init().map_err(|error| Failure::other(format!("the terminal cannot be drawn on: {error}")))?;
    let listener = {
        let over = Arc::clone(&over);
        tokio::task::spawn_blocking(move || hear(&keys, &over))
    };
    let colour = std::env::var_os("NO_COLOR").is_none_or(|v| v.is_empty());
    let mut screen = Screen {
        path: top.below.path.clone(),
        sort: top.sort,
        held: false,
        colour,
        look: Look::default(),
        trouble: None,
        selected: TableState::default().with_selected(0),
    };
    let done = watch(asking, &mut terminal, &mut screen, &mut pressed, interval).await;
    over.store(true, Relaxed);
    let _ = listener.await;
    ratatui::restore();
    done
}

async fn watch(
    asking: &Asking,
    terminal: &mut ratatui::DefaultTerminal,
    screen: &mut Screen,
    pressed: &mut mpsc::Receiver<KeyCode>,
    interval: Duration,
) -> Result<(), Failure> {
    let path = format!("/actors?path={}", crate::commands::escaped(&screen.path));
    let mut ticks = tokio::time::interval(interval);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut before: Option<Actors> = None;
    loop {
        terminal.draw(|frame| screen.draw(frame)).map_err(|error| Failure::other(format!("the terminal cannot be drawn on: {error}")))?;
        tokio::select! {
            key = pressed.recv() => match key {
                Some(key) => if screen.press(key) { return Ok(()) },
                None => return Ok(()),
            },
            _ = ticks.tick(), if !screen.held => match asking.client.get::<Actors>(&path).await {
                Ok(now) => {
                    screen.trouble = now.left_out.first().map(|left| format!("{} is left out: {}", left.path, left.reason));
                    screen.look = Look::between(before.as_ref(), now.clone(), screen.sort);
                    before = Some(now);
                }
                // Nothing was ever seen: the answer is the sentence.
                Err(failure) if before.is_none() => return Err(failure),
                Err(failure) => screen.trouble = Some(failure.message),
            },
        }
    }
}

/// Hears keys until it is over.
fn hear(keys: &mpsc::Sender<KeyCode>, over: &AtomicBool) {
    while !over.load(Relaxed) {
        if !event::poll(HEAR).unwrap_or(false) {
            continue;
        }
        match event::read() {
            Ok(Event::Key(key)) if key.kind == KeyEventKind::Press => {
                let interrupt = key.code == KeyCode::Char('c') && key.modifiers.contains(KeyModifiers::CONTROL);
                let _ = keys.try_send(if interrupt { KeyCode::Esc } else { key.code });
            }
            Ok(_) => {}
            Err(_) => return,
        }
    }
}

impl Screen {
    /// Acts on a key; true when that ends it.
    fn press(&mut self, key: KeyCode) -> bool {
        match key {
            KeyCode::Char('q') | KeyCode::Esc => return true,
            KeyCode::Char('s') => {
                self.sort = match self.sort {
                    Sort::Rate => Sort::Mailbox,
                    Sort::Mailbox => Sort::Restarts,
                    Sort::Restarts => Sort::Busy,
                    Sort::Busy => Sort::Path,
                    Sort::Path => Sort::Rate,
                };
                self.look.sort(self.sort);
            }
            KeyCode::Char(' ') => self.held = !self.held,
            KeyCode::Down | KeyCode::Char('j') => self.select(|at| at.saturating_add(1)),
            KeyCode::Up | KeyCode::Char('k') => self.select(|at| at.saturating_sub(1)),
            KeyCode::PageDown => self.select(|at| at.saturating_add(PAGE)),
            KeyCode::PageUp => self.select(|at| at.saturating_sub(PAGE)),
            KeyCode::Home => self.select(|_| 0),
            KeyCode::End => self.select(|_| usize::MAX),
            _ => {}
        }
        false
    }

    fn select(&mut self, to: impl FnOnce(usize) -> usize) {
        let last = self.look.rows.len().saturating_sub(1);
        self.selected.select(Some(to(self.selected.selected().unwrap_or(0)).min(last)));
    }

    fn draw(&mut self, frame: &mut Frame<'_>) {
        let [head, body, remark, foot] =
            Layout::vertical([Constraint::Length(1), Constraint::Min(1), Constraint::Length(1), Constraint::Length(1)]).areas(frame.area());
        let (count, rate, held) = (self.look.rows.len(), self.look.rate, if self.held { "  (held)" } else { "" });
        let sort = format!("{:?}", self.sort).to_lowercase();
        frame.render_widget(
            Line::from(format!("{}  {count} actors  {rate:.1} msg/s  by {sort}{held}", self.path)).style(Modifier::BOLD),
            head,
        );
        let rows = self.look.rows.iter().map(|busy| {
            let style = match busy.row.state.as_str() {
                "stuck" | "degraded" if self.colour => Style::from(Color::Red),
                "restarting" | "starting" | "stopping" if self.colour => Style::from(Color::Yellow),
                _ => Style::default(),
            };
            Row::new(cells(busy).map(Cell::from)).style(style)
        });
        let widths = [8, 10, 8, 8, 10, 10].map(Constraint::Length).into_iter().chain([Constraint::Min(20)]);
        let table = Table::new(rows, widths).header(Row::new(HEAD).style(Modifier::DIM)).row_highlight_style(Modifier::REVERSED);
        frame.render_stateful_widget(table, body, &mut self.selected);
        let chosen = self.selected.selected().and_then(|at| self.look.rows.get(at)).map(|busy| show::remark(&busy.row));
        let text = self.trouble.clone().or(chosen).unwrap_or_default();
        frame.render_widget(Line::from(show::short(&text, usize::from(remark.width))), remark);
        frame.render_widget(Line::from("q ends  s sorts  ↑↓ move  Space holds").style(Modifier::DIM), foot);
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use octo_protocol::mux::system::ActorRow;
    use ratatui::Terminal;
    use ratatui::backend::TestBackend;

    fn actors() -> Actors {
        let row = |path: &str, state: &str, mailbox: u64| ActorRow {
            path: path.into(),
            kind: "k".into(),
            state: state.into(),
            restarts: 1,
            mailbox,
            processed: 7,
            last_error: Some("why it failed".into()),
            trouble: None,
            started_at: 0,
            mailbox_limit: Some(16),
            busy_ms: None,
            busy_with: None,
        };
        Actors { rows: vec![row("/users", "running", 0), row("/users/alice", "degraded", 3)], at: 1, left_out: vec![] }
    }

    fn drawn(screen: &mut Screen) -> String {
        let mut terminal = Terminal::new(TestBackend::new(90, 7)).unwrap();
        terminal.draw(|frame| screen.draw(frame)).unwrap();
        terminal.backend().to_string()
    }

    #[test]
    fn the_screen_shows_actors_and_obeys_its_keys() {
        let look = Look::between(None, actors(), Sort::Rate);
        let selected = TableState::default().with_selected(0);
        let mut screen = Screen { path: "/".into(), sort: Sort::Rate, held: false, colour: true, look, trouble: None, selected };
        insta::assert_snapshot!("top_by_rate", drawn(&mut screen));
        assert!(!screen.press(KeyCode::Char('s')) && !screen.press(KeyCode::Char(' ')) && !screen.press(KeyCode::End));
        insta::assert_snapshot!("top_by_mailbox_held", drawn(&mut screen));
        assert!(screen.press(KeyCode::Char('q')));
    }
}
