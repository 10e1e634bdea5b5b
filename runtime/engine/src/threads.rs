//! The worker threads: a small persistent pool that runs numbered tasks.
//!
//! A launch is a count of tasks; participants take the next number from an atomic counter. The caller always
//! takes part, so a launch ends even if every worker is busy with others. Tasks are independent and write
//! disjoint elements, so which thread runs which task changes no bit. Must not know what a task does.

use std::collections::{BTreeMap, VecDeque};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, Weak};
use std::thread::JoinHandle;

/// What a launch runs: called once per task number, on participant `slot`.
pub trait Tasks: Send + Sync {
    /// Runs task `task` on participant `slot` (below the participant count); one slot is never used by two
    /// threads at once.
    fn run(&self, slot: usize, task: i64);
}

/// A launch in flight.
struct Job {
    tasks: Arc<dyn Tasks>,
    count: i64,
    next: AtomicI64,
    slots: AtomicUsize,
    panicked: AtomicBool,
}

impl Job {
    /// Takes tasks until none is left.
    fn work(&self) {
        let slot = self.slots.fetch_add(1, Ordering::Relaxed);
        let outcome = catch_unwind(AssertUnwindSafe(|| {
            loop {
                let task = self.next.fetch_add(1, Ordering::Relaxed);
                if task >= self.count {
                    return;
                }
                self.tasks.run(slot, task);
            }
        }));
        if outcome.is_err() {
            self.next.store(self.count, Ordering::Relaxed);
            self.panicked.store(true, Ordering::Relaxed);
        }
    }
}

/// One invitation to take part in a job.
struct Ticket {
    job: Arc<Job>,
    left: Arc<Latch>,
}

/// Counts invited workers that have started and not yet finished.
#[derive(Default)]
struct Latch {
    working: Mutex<usize>,
    idle: Condvar,
}

#[derive(Default)]
struct Queue {
    tickets: VecDeque<Ticket>,
    closing: bool,
}

#[derive(Default)]
struct Shared {
    queue: Mutex<Queue>,
    arrival: Condvar,
}

/// A pool of worker threads; workers are started on first use and joined on drop.
pub struct ThreadPool {
    shared: Arc<Shared>,
    workers: Mutex<Vec<JoinHandle<()>>>,
    threads: usize,
}

/// A task panicked: a defect of the engine, reported rather than spread.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TaskPanicked;

impl ThreadPool {
    /// A pool in which up to `threads` threads, the caller included, run a launch. 0 counts as 1.
    pub fn new(threads: usize) -> Self {
        Self { shared: Arc::default(), workers: Mutex::default(), threads: threads.max(1) }
    }

    /// The process's pool of that size, made on first use and kept as long as someone holds it.
    pub fn shared(threads: usize) -> Arc<Self> {
        static POOLS: Mutex<BTreeMap<usize, Weak<ThreadPool>>> = Mutex::new(BTreeMap::new());
        let mut pools = lock(&POOLS);
        if let Some(pool) = pools.get(&threads).and_then(Weak::upgrade) {
            return pool;
        }
        let pool = Arc::new(Self::new(threads));
        pools.insert(threads, Arc::downgrade(&pool));
        pool
    }

    /// Threads that take part in a launch, the caller included.
    pub fn threads(&self) -> usize {
        self.threads
    }

    /// Runs tasks `0..count` and returns when all are done.
    ///
    /// # Errors
    /// If a task panicked; the others may then not have run.
    pub fn run(&self, tasks: Arc<dyn Tasks>, count: i64) -> Result<(), TaskPanicked> {
        let job = Arc::new(Job {
            tasks,
            count,
            next: AtomicI64::new(0),
            slots: AtomicUsize::new(0),
            panicked: AtomicBool::new(false),
        });
        let helpers = self.threads.min(usize::try_from(count).unwrap_or(usize::MAX)).saturating_sub(1);
        let latch = Arc::new(Latch::default());
        if helpers > 0 {
            self.start_workers();
            let mut queue = lock(&self.shared.queue);
            for _ in 0..helpers {
                queue.tickets.push_back(Ticket { job: Arc::clone(&job), left: Arc::clone(&latch) });
            }
            drop(queue);
            self.shared.arrival.notify_all();
        }
        job.work();
        if helpers > 0 {
            lock(&self.shared.queue).tickets.retain(|t| !Arc::ptr_eq(&t.job, &job));
            let mut working = lock(&latch.working);
            while *working > 0 {
                working = latch.idle.wait(working).unwrap_or_else(|poisoned| poisoned.into_inner());
            }
        }
        if job.panicked.load(Ordering::Relaxed) { Err(TaskPanicked) } else { Ok(()) }
    }

    fn start_workers(&self) {
        let mut workers = lock(&self.workers);
        while workers.len() + 1 < self.threads {
            let shared = Arc::clone(&self.shared);
            let name = format!("attnc-{}", workers.len() + 1);
            match std::thread::Builder::new().name(name).spawn(move || serve(&shared)) {
                Ok(handle) => workers.push(handle),
                // The caller does all the work itself; a later launch tries again.
                Err(_) => return,
            }
        }
    }
}

impl Drop for ThreadPool {
    fn drop(&mut self) {
        lock(&self.shared.queue).closing = true;
        self.shared.arrival.notify_all();
        for worker in lock(&self.workers).drain(..) {
            // A worker catches its tasks' panics; there is nothing to report here.
            let _ = worker.join();
        }
    }
}

fn serve(shared: &Shared) {
    loop {
        let ticket = {
            let mut queue = lock(&shared.queue);
            loop {
                if let Some(ticket) = queue.tickets.pop_front() {
                    // Counted while the queue is locked, so that the caller, which empties the queue under the
                    // same lock, sees every ticket either in the queue or counted.
                    *lock(&ticket.left.working) += 1;
                    break ticket;
                }
                if queue.closing {
                    return;
                }
                queue = shared.arrival.wait(queue).unwrap_or_else(|poisoned| poisoned.into_inner());
            }
        };
        ticket.job.work();
        // Before the latch: the caller's buffers must not be reachable from here afterwards.
        drop(ticket.job);
        *lock(&ticket.left.working) -= 1;
        ticket.left.idle.notify_all();
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Count(Vec<AtomicUsize>);

    impl Tasks for Count {
        fn run(&self, slot: usize, task: i64) {
            assert!(slot < 3);
            self.0[task as usize].fetch_add(1, Ordering::Relaxed);
        }
    }

    #[test]
    fn every_task_runs_once_from_many_callers() {
        let pool = ThreadPool::new(3);
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for count in [0, 1, 2, 100] {
                        let tasks = Arc::new(Count((0..count).map(|_| AtomicUsize::new(0)).collect()));
                        pool.run(tasks.clone(), count).expect("no task panics");
                        assert!(tasks.0.iter().all(|n| n.load(Ordering::Relaxed) == 1));
                    }
                });
            }
        });
    }

    struct Bad;

    impl Tasks for Bad {
        fn run(&self, _: usize, task: i64) {
            assert!(task != 5, "on purpose");
        }
    }

    #[test]
    fn a_panic_is_an_error_and_the_pool_lives_on() {
        let pool = ThreadPool::new(2);
        assert_eq!(pool.run(Arc::new(Bad), 10), Err(TaskPanicked));
        assert_eq!(pool.run(Arc::new(Bad), 5), Ok(()));
    }
}
