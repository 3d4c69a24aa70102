//! Whose turn it is: jobs share the processors, so a fault that takes them all has to itself what the
//! others would be measured by.

use std::fs::File;
use std::path::Path;

use anyhow::{Context, Result};

pub struct Turns {
    /// Held while one waits for its turn: who wants to be alone would else wait for ever.
    queue: File,
    ground: File,
}

/// Ends the turn when it is dropped.
pub struct Turn<'a>(&'a File);

impl Turns {
    /// Of all jobs that keep their files in this folder.
    pub fn of(folder: &Path) -> Result<Self> {
        let open = |name: &str| {
            let path = folder.join(name);
            File::create(&path).with_context(|| format!("cannot write {}", path.display()))
        };
        Ok(Self { queue: open("queue.lock")?, ground: open("ground.lock")? })
    }

    pub fn take(&self, alone: bool) -> Result<Turn<'_>> {
        self.queue.lock()?;
        let taken = if alone { self.ground.lock() } else { self.ground.lock_shared() };
        self.queue.unlock()?;
        taken?;
        Ok(Turn(&self.ground))
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        // Closed with the process at the latest.
        let _ = self.0.unlock();
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;
    use std::thread;
    use std::time::Duration;

    use super::*;

    #[test]
    fn who_wants_to_be_alone_is_let_in_before_the_next_who_does_not() {
        let folder = tempfile::tempdir().expect("a folder");
        let [first, alone, next] = [0; 3].map(|_| Turns::of(folder.path()).expect("turns"));
        let (say, heard) = mpsc::channel();
        let held = first.take(false).expect("a turn");
        let together = next.take(false).expect("a turn");
        drop(together);
        let other = say.clone();
        let one = thread::spawn(move || {
            let turn = alone.take(true).expect("a turn");
            other.send("alone").expect("sent");
            thread::sleep(Duration::from_millis(100));
            other.send("done").expect("sent");
            drop(turn);
        });
        thread::sleep(Duration::from_millis(200));
        let two = thread::spawn(move || {
            let _turn = next.take(false).expect("a turn");
            say.send("next").expect("sent");
        });
        thread::sleep(Duration::from_millis(200));
        assert_eq!(heard.try_recv(), Err(mpsc::TryRecvError::Empty), "nobody comes in while one is there");
        drop(held);
        one.join().expect("one");
        two.join().expect("two");
        assert_eq!(heard.iter().collect::<Vec<_>>(), ["alone", "done", "next"]);
    }
}
