//! Every schedule of a few tasks on one thread.
//!
//! Tasks that share a thread take turns where they await, and nowhere else. So
//! all that can happen is told by which of the woken tasks is polled next, and
//! [`every`] runs a test once for each sequence of such choices.

use std::{
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll, Wake, Waker},
};

/// More polls than this in one schedule are taken for a task that never ends.
const MAX_POLLS: usize = 10_000;

/// A task of one schedule.
pub type Task<'a> = Pin<Box<dyn Future<Output = ()> + 'a>>;

#[derive(Default)]
struct Woken(AtomicBool);

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Runs the tasks that `make` makes anew for each schedule, in every schedule
/// that there is, and says how many there are. Each task must end.
///
/// # Panics
/// A task panics, or all that are left wait for each other. The choices that
/// led there are printed.
pub fn every<'a>(mut make: impl FnMut() -> Vec<Task<'a>>) -> usize {
    let mut choices: Vec<(usize, usize)> = Vec::new();
    let mut schedules = 0;
    loop {
        run(make(), &mut choices);
        schedules += 1;
        // The last choice that has an alternative left takes it.
        while choices.last().is_some_and(|(taken, of)| taken + 1 == *of) {
            choices.pop();
        }
        match choices.last_mut() {
            Some((taken, _)) => *taken += 1,
            None => return schedules,
        }
    }
}

/// Runs one schedule: the choices given, then always the first.
fn run(tasks: Vec<Task<'_>>, choices: &mut Vec<(usize, usize)>) {
    let mut tasks: Vec<(Option<Task<'_>>, Arc<Woken>)> = tasks
        .into_iter()
        .map(|task| (Some(task), Arc::new(Woken(AtomicBool::new(true)))))
        .collect();
    for poll in 0.. {
        let woken: Vec<usize> = (0..tasks.len())
            .filter(|place| tasks[*place].0.is_some() && tasks[*place].1.0.load(Ordering::Relaxed))
            .collect();
        if woken.is_empty() {
            let waiting = tasks.iter().filter(|(task, _)| task.is_some()).count();
            assert_eq!(waiting, 0, "tasks wait for each other after {choices:?}");
            return;
        }
        assert!(poll < MAX_POLLS, "never ends after {choices:?}");
        if poll == choices.len() {
            choices.push((0, woken.len()));
        }
        let (taken, of) = choices[poll];
        assert_eq!(of, woken.len(), "a task depends on more than its schedule");
        let (task, flag) = &mut tasks[woken[taken]];
        flag.0.store(false, Ordering::Relaxed);
        let waker = Waker::from(Arc::clone(flag));
        let polled = task
            .as_mut()
            .map(|task| task.as_mut().poll(&mut Context::from_waker(&waker)));
        if polled.is_some_and(|polled| polled == Poll::Ready(())) {
            *task = None;
        }
    }
}

/// Lets others take their turn.
pub async fn turn() {
    let mut taken = false;
    std::future::poll_fn(|cx| {
        if std::mem::replace(&mut taken, true) {
            return Poll::Ready(());
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}

#[cfg(test)]
mod tests {
    use super::{Task, every, turn};
    use std::{cell::RefCell, collections::BTreeSet};

    #[test]
    fn every_order_of_turns_is_tried_once() {
        let orders = RefCell::new(Vec::new());
        let orders = &orders;
        let schedules = every(|| {
            orders.borrow_mut().push(String::new());
            let task = |name: char| -> Task<'_> {
                Box::pin(async move {
                    for _ in 0..2 {
                        orders.borrow_mut().last_mut().unwrap().push(name);
                        turn().await;
                    }
                })
            };
            vec![task('a'), task('b')]
        });
        let seen: BTreeSet<String> = orders.borrow().iter().cloned().collect();
        // Six orders of "aabb"; three polls of each task make 20 schedules.
        assert_eq!((seen.len(), schedules), (6, 20));
    }

    #[test]
    #[should_panic(expected = "tasks wait for each other")]
    fn a_task_that_nobody_wakes_is_reported() {
        every(|| vec![Box::pin(std::future::pending())]);
    }
}
