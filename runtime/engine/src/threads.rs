//! The worker threads: a small persistent pool that runs numbered tasks.
//!
//! A launch is a count of tasks. Each participant has a share of consecutive numbers and helps with the others' when it
//! is done, so that stages that follow each other mostly find what they read in their own core's cache. The caller always
//! takes part, so a launch ends even if every worker is busy with others. Tasks are independent and write
//! disjoint elements, so which thread runs which task changes no bit. Whoever waits looks for a short while before it
//! sleeps, since waking a sleeping thread takes longer than a small stage. Must not know what a task does.

use std::collections::{BTreeMap, VecDeque};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, Weak};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// What a launch runs: called once per task number, on participant `slot`.
pub trait Tasks: Sync {
    /// Runs task `task` on participant `slot` (below the participant count); one slot is never used by two
    /// threads at once.
    fn run(&self, slot: usize, task: i64);
}

/// How long a waiting thread looks before it sleeps: about what waking it would take.
const LOOKS: Duration = Duration::from_micros(50);

/// Shares of a launch at most; further participants have none of their own.
const SHARES: usize = 8;

/// Consecutive tasks, of which anyone takes the next. In lines of the cache of its own.
#[repr(align(128))]
struct Share {
    next: AtomicI64,
    end: i64,
}

impl Share {
    fn take(&self) -> Option<i64> {
        // A look costs less than a claim.
        if self.next.load(Ordering::Relaxed) >= self.end {
            return None;
        }
        let task = self.next.fetch_add(1, Ordering::Relaxed);
        (task < self.end).then_some(task)
    }

    fn give_up(&self) {
        self.next.store(self.end, Ordering::Relaxed);
    }
}

/// A launch in flight. It lies on the caller's stack: see [`Ticket`].
struct Job<'a> {
    tasks: &'a dyn Tasks,
    shares: [Share; SHARES],
    /// The next worker's slot; the caller's is 0.
    slots: AtomicUsize,
    panicked: AtomicBool,
    /// Invited workers that have started and not yet finished.
    working: AtomicUsize,
}

impl<'a> Job<'a> {
    fn new(tasks: &'a dyn Tasks, count: i64, participants: usize) -> Self {
        let shares = participants.min(SHARES) as i64;
        // Without a product of two large numbers.
        let from = |share: i64| count / shares * share.min(shares) + (count % shares).min(share);
        Self {
            tasks,
            shares: std::array::from_fn(|s| Share { next: from(s as i64).into(), end: from(s as i64 + 1) }),
            slots: AtomicUsize::new(1),
            panicked: AtomicBool::new(false),
            working: AtomicUsize::new(0),
        }
    }

    /// Takes tasks until none is left, first of the own share.
    fn work(&self, slot: usize) {
        let outcome = catch_unwind(AssertUnwindSafe(|| {
            for turn in 0..SHARES {
                let share = &self.shares[(slot + turn) % SHARES];
                while let Some(task) = share.take() {
                    self.tasks.run(slot, task);
                }
            }
        }));
        if outcome.is_err() {
            self.shares.iter().for_each(Share::give_up);
            self.panicked.store(true, Ordering::Relaxed);
        }
    }
}

/// One invitation to take part in a job, which outlives it: the caller takes back what nobody has accepted, and waits
/// for everyone who has, before it leaves the frame that the job lies in.
#[derive(Clone, Copy, PartialEq)]
struct Ticket(*const Job<'static>);

// SAFETY: a job is shared by reference between threads: its tasks are `Sync`, the rest is atomic.
unsafe impl Send for Ticket {}

#[derive(Default)]
struct Queue {
    tickets: VecDeque<Ticket>,
    /// Workers that sleep until a ticket arrives.
    idle: usize,
    /// Callers that sleep until a worker leaves their job.
    waiting: usize,
    closing: bool,
}

#[derive(Default)]
struct Shared {
    queue: Mutex<Queue>,
    /// Whether a look into the queue may be worth it: there are tickets, or the pool is closing.
    news: AtomicBool,
    arrival: Condvar,
    departure: Condvar,
}

/// A pool of worker threads; workers are started on first use and joined on drop.
pub struct ThreadPool {
    shared: Arc<Shared>,
    workers: Mutex<Vec<JoinHandle<()>>>,
    /// Number of workers, for a look without the lock.
    started: AtomicUsize,
    threads: usize,
}

/// A task panicked: a defect of the engine, reported rather than spread.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TaskPanicked;

impl ThreadPool {
    /// A pool in which up to `threads` threads, the caller included, run a launch. 0 counts as 1.
    pub fn new(threads: usize) -> Self {
        let (shared, workers, started) = Default::default();
        Self { shared, workers, started, threads: threads.max(1) }
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

    /// Runs tasks `0..count` on at most `most` threads and returns when all are done.
    ///
    /// # Errors
    /// If a task panicked; the others may then not have run.
    pub fn run(&self, tasks: &dyn Tasks, count: i64, most: usize) -> Result<(), TaskPanicked> {
        let participants = self.threads.min(most).min(usize::try_from(count).unwrap_or(usize::MAX));
        if participants < 2 {
            // No number has to be claimed from anyone.
            let all = || (0..count).for_each(|task| tasks.run(0, task));
            return catch_unwind(AssertUnwindSafe(all)).map_err(|_| TaskPanicked);
        }
        let job = Job::new(tasks, count, participants);
        self.start_workers();
        let ticket = Ticket((&raw const job).cast());
        let invited = Invited { shared: &self.shared, job: &job, ticket };
        self.shared.invite(ticket, participants - 1);
        job.work(0);
        drop(invited);
        if job.panicked.load(Ordering::Relaxed) { Err(TaskPanicked) } else { Ok(()) }
    }

    fn start_workers(&self) {
        if self.started.load(Ordering::Acquire) + 1 >= self.threads {
            return;
        }
        let mut workers = lock(&self.workers);
        while workers.len() + 1 < self.threads {
            let shared = Arc::clone(&self.shared);
            let name = format!("attnc-{}", workers.len() + 1);
            match std::thread::Builder::new().name(name).spawn(move || serve(&shared)) {
                Ok(handle) => workers.push(handle),
                // The caller does all the work itself; a later launch tries again.
                Err(_) => break,
            }
        }
        self.started.store(workers.len(), Ordering::Release);
    }
}

impl Drop for ThreadPool {
    fn drop(&mut self) {
        let mut queue = lock(&self.shared.queue);
        queue.closing = true;
        self.shared.news.store(true, Ordering::Release);
        drop(queue);
        self.shared.arrival.notify_all();
        for worker in lock(&self.workers).drain(..) {
            // A worker catches its tasks' panics; there is nothing to report here.
            let _ = worker.join();
        }
    }
}

/// Workers invited to a job: none of them knows of it any more when this is dropped.
struct Invited<'a> {
    shared: &'a Shared,
    job: &'a Job<'a>,
    ticket: Ticket,
}

impl Drop for Invited<'_> {
    fn drop(&mut self) {
        self.shared.take_back(self.ticket);
        let gone = || self.job.working.load(Ordering::Acquire) == 0;
        if !looked_for(gone) {
            self.shared.sleep_until(gone);
        }
    }
}

impl Shared {
    fn invite(&self, ticket: Ticket, helpers: usize) {
        let mut queue = lock(&self.queue);
        queue.tickets.extend(std::iter::repeat_n(ticket, helpers));
        self.news.store(true, Ordering::Release);
        // Who looks needs no call into the system.
        let asleep = queue.idle.min(helpers);
        drop(queue);
        (0..asleep).for_each(|_| self.arrival.notify_one());
    }

    /// Takes back the tickets that nobody has accepted.
    fn take_back(&self, ticket: Ticket) {
        let mut queue = lock(&self.queue);
        queue.tickets.retain(|t| *t != ticket);
        self.news.store(!queue.tickets.is_empty() || queue.closing, Ordering::Release);
    }

    /// Waits for the next ticket, counted at its job; `None` when the pool closes.
    fn accept(&self) -> Option<Ticket> {
        looked_for(|| self.news.load(Ordering::Acquire));
        let mut queue = lock(&self.queue);
        loop {
            if let Some(ticket) = queue.tickets.pop_front() {
                self.news.store(!queue.tickets.is_empty() || queue.closing, Ordering::Release);
                // SAFETY: the ticket was in the queue, so the job's caller has not taken it back yet and the job lives.
                // Counted while the queue is locked, so that the caller, which takes back under the same lock, sees
                // every ticket either in the queue or counted, and waits for it.
                unsafe { &*ticket.0 }.working.fetch_add(1, Ordering::Relaxed);
                return Some(ticket);
            }
            if queue.closing {
                return None;
            }
            queue.idle += 1;
            queue = self.arrival.wait(queue).unwrap_or_else(|poisoned| poisoned.into_inner());
            queue.idle -= 1;
        }
    }

    /// Wakes the callers whose workers have left.
    fn leave(&self) {
        if lock(&self.queue).waiting > 0 {
            self.departure.notify_all();
        }
    }

    fn sleep_until(&self, done: impl Fn() -> bool) {
        let mut queue = lock(&self.queue);
        queue.waiting += 1;
        while !done() {
            queue = self.departure.wait(queue).unwrap_or_else(|poisoned| poisoned.into_inner());
        }
        queue.waiting -= 1;
    }
}

fn serve(shared: &Shared) {
    while let Some(ticket) = shared.accept() {
        // SAFETY: the job counts this worker, and its caller waits until it no longer does.
        let job = unsafe { &*ticket.0 };
        job.work(job.slots.fetch_add(1, Ordering::Relaxed));
        // The last touch of the job.
        job.working.fetch_sub(1, Ordering::Release);
        shared.leave();
    }
}

/// Looks for a while, until `found`.
fn looked_for(found: impl Fn() -> bool) -> bool {
    let started = Instant::now();
    loop {
        for _ in 0..64 {
            if found() {
                return true;
            }
            std::hint::spin_loop();
        }
        if started.elapsed() >= LOOKS {
            return false;
        }
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
                        let tasks = Count((0..count).map(|_| AtomicUsize::new(0)).collect());
                        pool.run(&tasks, count, 3).expect("no task panics");
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
        assert_eq!(pool.run(&Bad, 10, 2), Err(TaskPanicked));
        assert_eq!(pool.run(&Bad, 5, 1), Ok(()));
    }
}
