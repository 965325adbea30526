//! Showing how far long work is: a bar on a terminal, lines elsewhere.

use std::io::{IsTerminal, stderr};

use cygnet_convert::Progress;
use indicatif::{ProgressBar, ProgressStyle};

/// Progress on standard error.
pub struct Shown {
    bar: Option<ProgressBar>,
    quiet: bool,
}

impl Shown {
    /// Nothing is shown when `quiet`.
    pub fn new(quiet: bool) -> Self {
        Self { bar: None, quiet }
    }

    fn end(&mut self) {
        if let Some(bar) = self.bar.take() {
            bar.finish_and_clear();
        }
    }
}

impl Progress for Shown {
    fn stage(&mut self, name: &str, steps: Option<usize>) {
        self.end();
        if self.quiet {
            return;
        }
        if !stderr().is_terminal() {
            eprintln!("{name}");
            return;
        }
        let bar = match steps {
            Some(n) => ProgressBar::new(n as u64),
            None => ProgressBar::new_spinner(),
        };
        let template = if steps.is_some() { "{msg} {wide_bar} {pos}/{len} {eta}" } else { "{spinner} {msg}" };
        // The templates are constant; the default style shows the same less neatly.
        if let Ok(style) = ProgressStyle::with_template(template) {
            bar.set_style(style);
        }
        bar.set_message(name.to_owned());
        bar.tick();
        self.bar = Some(bar);
    }

    fn advance(&mut self) {
        if let Some(bar) = &self.bar {
            bar.inc(1);
        }
    }
}

impl Drop for Shown {
    fn drop(&mut self) {
        self.end();
    }
}
