//! The terminal of `vctl top`: a screen of its own that is drawn over itself, so that nothing flickers, and left as it was found.

use std::io::{self, Stdout, Write};
use std::time::Instant;

use crossterm::cursor::{Hide, MoveTo, Show};
use crossterm::event::{self, Event, KeyCode, KeyEventKind, KeyModifiers};
use crossterm::style::Print;
use crossterm::terminal::{
    BeginSynchronizedUpdate, Clear, ClearType, EndSynchronizedUpdate, EnterAlternateScreen, LeaveAlternateScreen, disable_raw_mode,
    enable_raw_mode, size,
};
use crossterm::{execute, queue};

/// Columns and rows of a terminal that does not tell.
const USUAL: (u16, u16) = (80, 24);

/// What the person did.
pub enum Pressed {
    /// q, Escape or Ctrl-C.
    Quit,
    /// The terminal has another size.
    Resized,
}

/// The screen; dropping it gives the terminal back.
pub struct Screen {
    out: Stdout,
}

impl Screen {
    pub fn open() -> io::Result<Self> {
        enable_raw_mode()?;
        let mut screen = Self { out: io::stdout() };
        execute!(screen.out, EnterAlternateScreen, Hide)?;
        Ok(screen)
    }

    /// Draws lines over what was there, as many and as much of them as fit.
    pub fn draw(&mut self, lines: &[String]) -> io::Result<()> {
        let (columns, rows) = size().ok().filter(|(columns, rows)| *columns > 0 && *rows > 0).unwrap_or(USUAL);
        queue!(self.out, BeginSynchronizedUpdate)?;
        for (row, line) in (0..rows).zip(lines) {
            let shown: String = line.chars().take(usize::from(columns)).collect();
            queue!(self.out, MoveTo(0, row), Print(shown), Clear(ClearType::UntilNewLine))?;
        }
        let used = u16::try_from(lines.len()).unwrap_or(rows);
        if used < rows {
            queue!(self.out, MoveTo(0, used), Clear(ClearType::FromCursorDown))?;
        }
        queue!(self.out, EndSynchronizedUpdate)?;
        self.out.flush()
    }

    /// What is pressed until a moment; `None` when it has come.
    pub fn pressed(&mut self, until: Instant) -> io::Result<Option<Pressed>> {
        loop {
            let left = until.saturating_duration_since(Instant::now());
            if !event::poll(left)? {
                return Ok(None);
            }
            match event::read()? {
                Event::Resize(..) => return Ok(Some(Pressed::Resized)),
                Event::Key(key) if key.kind != KeyEventKind::Release => match key.code {
                    KeyCode::Char('q') | KeyCode::Esc => return Ok(Some(Pressed::Quit)),
                    KeyCode::Char('c') if key.modifiers.contains(KeyModifiers::CONTROL) => return Ok(Some(Pressed::Quit)),
                    _ => {}
                },
                _ => {}
            }
        }
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        // The terminal may be gone; then there is nothing to give back.
        drop(execute!(self.out, Show, LeaveAlternateScreen));
        drop(disable_raw_mode());
    }
}
