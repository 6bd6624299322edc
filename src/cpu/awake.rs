//! Threads that stay awake between the kernels of a run.

use std::hint::spin_loop;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

/// How long a thread waits for work before it sleeps after all, in a kernel that one thread computes. To wake a thread takes some
/// microseconds, and small networks have kernels that take no longer.
const IDLE: Duration = Duration::from_micros(100);
/// Turns of an idle loop between two looks for work.
const TURNS: usize = 20;

/// Keeps the threads of a pool awake from [`Awake::keep`] until it is dropped.
#[derive(Debug, Default)]
pub(super) struct Awake(Arc<Watch>);

#[derive(Debug, Default)]
struct Watch {
    /// How many threads look for work.
    looking: AtomicUsize,
    over: AtomicBool,
}

impl Awake {
    /// Has the pool's other threads look for work from here on, until there was none for a while. Called by a thread of the pool.
    pub fn keep(&self) {
        let others = rayon::current_num_threads() - 1;
        let looking = &self.0.looking;
        if others == 0 || looking.compare_exchange(0, others, Ordering::Relaxed, Ordering::Relaxed).is_err() {
            return;
        }
        let (caller, watch) = (rayon::current_thread_index(), self.0.clone());
        rayon::spawn_broadcast(move |thread| {
            if Some(thread.index()) != caller {
                watch.look();
            }
        });
    }
}

impl Drop for Awake {
    fn drop(&mut self) {
        self.0.over.store(true, Ordering::Relaxed);
    }
}

impl Watch {
    fn look(&self) {
        let mut since = Instant::now();
        while !self.over.load(Ordering::Relaxed) && since.elapsed() < IDLE {
            if rayon::yield_now() == Some(rayon::Yield::Executed) {
                since = Instant::now();
            } else {
                (0..TURNS).for_each(|_| spin_loop());
            }
        }
        self.looking.fetch_sub(1, Ordering::Relaxed);
    }
}
