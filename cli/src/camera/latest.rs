//! The newest frame of a source: a thread reads, and what nobody took in time is dropped, not queued.

use std::sync::{Arc, Condvar, Mutex, PoisonError};

use super::{Frame, Source};

/// A source that is being read.
pub struct Latest {
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    slot: Mutex<Slot>,
    arrived: Condvar,
}

#[derive(Default)]
struct Slot {
    frame: Option<Frame>,
    /// Frames that were replaced before they were taken, since the last one taken.
    dropped: u64,
    end: Option<Result<(), String>>,
    /// Nobody wants more.
    closed: bool,
}

impl Latest {
    /// Reads `source` on a thread of its own, until it ends or this is dropped. The thread then ends with its next
    /// frame; nobody waits for a camera that sends none.
    pub fn start(mut source: Box<dyn Source>) -> Self {
        let shared = Arc::new(Shared::default());
        let theirs = Arc::clone(&shared);
        std::thread::spawn(move || {
            loop {
                let next = source.next();
                let mut slot = theirs.slot.lock().unwrap_or_else(PoisonError::into_inner);
                match next {
                    Ok(Some(frame)) => slot.dropped += u64::from(slot.frame.replace(frame).is_some()),
                    Ok(None) => slot.end = Some(Ok(())),
                    Err(what) => slot.end = Some(Err(what)),
                }
                theirs.arrived.notify_one();
                if slot.closed || slot.end.is_some() {
                    return;
                }
            }
        });
        Self { shared }
    }

    /// Waits for a frame that was not taken yet. Gives it with the number of those dropped since the last one; `None` when
    /// the source has ended.
    ///
    /// # Errors
    /// What the source said, after its last frame.
    pub fn next(&self) -> Result<Option<(Frame, u64)>, String> {
        let mut slot = self.shared.slot.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            if let Some(frame) = slot.frame.take() {
                return Ok(Some((frame, std::mem::take(&mut slot.dropped))));
            }
            if let Some(end) = &slot.end {
                return end.clone().map(|()| None);
            }
            slot = self.shared.arrived.wait(slot).unwrap_or_else(PoisonError::into_inner);
        }
    }
}

impl Drop for Latest {
    fn drop(&mut self) {
        self.shared.slot.lock().unwrap_or_else(PoisonError::into_inner).closed = true;
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::{Receiver, Sender, channel};

    use super::*;

    /// Gives a frame for each number that the test sends.
    struct Scripted(Receiver<Result<u8, String>>, Sender<()>);

    impl Source for Scripted {
        fn next(&mut self) -> Result<Option<Frame>, String> {
            // Told before each wait: all sent before were taken over.
            let _ = self.1.send(());
            match self.0.recv() {
                Ok(next) => next.map(|byte| Some(Frame::Jpeg(vec![byte]))),
                Err(_) => Ok(None),
            }
        }
    }

    #[test]
    fn the_newest_frame_is_given_and_older_ones_are_counted() {
        let (frames, source) = channel();
        let (waits, waiting) = channel();
        let latest = Latest::start(Box::new(Scripted(source, waits)));
        waiting.recv().unwrap();
        for byte in 0..5 {
            frames.send(Ok(byte)).unwrap();
            waiting.recv().unwrap();
        }
        assert_eq!(latest.next(), Ok(Some((Frame::Jpeg(vec![4]), 4))));
        frames.send(Ok(9)).unwrap();
        assert_eq!(latest.next(), Ok(Some((Frame::Jpeg(vec![9]), 0))));
        drop(frames);
        assert_eq!(latest.next(), Ok(None));
        assert_eq!(latest.next(), Ok(None), "the end stays");
    }

    #[test]
    fn an_error_comes_after_the_last_frame() {
        let (frames, source) = channel();
        let (waits, _waiting) = channel();
        frames.send(Ok(1)).unwrap();
        frames.send(Err("unplugged".to_owned())).unwrap();
        let latest = Latest::start(Box::new(Scripted(source, waits)));
        assert_eq!(latest.next(), Ok(Some((Frame::Jpeg(vec![1]), 0))));
        assert_eq!(latest.next(), Err("unplugged".to_owned()));
    }
}
