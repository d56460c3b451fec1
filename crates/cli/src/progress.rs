//! Bars for what is on its way, on terminals only.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use client::copy::CopyEvent;
use indicatif::{MultiProgress, ProgressBar, ProgressStyle};
use oci::Digest;

use crate::context::Context;

/// The bars, one for each blob.
pub(crate) struct Progress {
    bars: Option<MultiProgress>,
    open: Mutex<HashMap<Digest, ProgressBar>>,
}

impl Progress {
    /// Returns bars on standard error if that is a terminal, else nothing to see.
    pub(crate) fn new(context: &Context) -> Self {
        Self {
            bars: context.shows_progress().then(MultiProgress::new),
            open: Mutex::default(),
        }
    }

    /// Shows `event`.
    pub(crate) fn show(&self, event: CopyEvent<'_>) {
        let Some(bars) = &self.bars else { return };
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        match event {
            CopyEvent::Started(blob) => {
                let bar = ProgressBar::new(blob.size)
                    .with_style(style())
                    .with_message(blob.digest.short().to_owned());
                open.insert(blob.digest.clone(), bars.add(bar));
            }
            CopyEvent::Advanced(blob, bytes) => {
                if let Some(bar) = open.get(&blob.digest) {
                    bar.inc(bytes);
                }
            }
            CopyEvent::Copied(blob) => {
                if let Some(bar) = open.remove(&blob.digest) {
                    bar.finish_and_clear();
                }
            }
            CopyEvent::Present(_) => {}
        }
    }
}

fn style() -> ProgressStyle {
    ProgressStyle::with_template("{msg} {bar:30} {bytes}/{total_bytes} {bytes_per_sec}")
        .unwrap_or_else(|_| ProgressStyle::default_bar())
}
