//! Whose chunk is next: the order in which the workers of one model serve the requests. Pure.
//!
//! What a request has cost is counted in audio given to the workers, not in chunks, which differ in length.
//! Three rules, from the strongest:
//!
//! 1. While others are preferred, a fifth of the service goes to whoever has waited longest, so nobody starves.
//! 2. Of the rest, high priority goes before normal before low.
//! 3. Within a priority the request that has been served least goes first while it is young (a minute of audio), so a
//!    short clip or the start of a stream does not wait for a long file; afterwards all get equal shares.
//!
//! The third is least attained service with a bound on the advantage of youth; the equal shares are
//! start-time fair queueing (Goyal, Vin, Cheng 1996). Knows nothing of threads, models or samples.

use std::cmp::Reverse;
use std::collections::{BTreeMap, VecDeque};

use crate::time::SAMPLE_RATE;

/// How soon a request's chunks are served beside those of others.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Priority {
    /// After all others: work that nobody waits for.
    Low,
    /// As it comes.
    #[default]
    Normal,
    /// Before all others: somebody listens.
    High,
}

impl Priority {
    /// From the last served to the first.
    pub const ALL: [Self; 3] = [Self::Low, Self::Normal, Self::High];

    /// Its name on the wire and on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Self::Low => "low",
            Self::Normal => "normal",
            Self::High => "high",
        }
    }

    /// The priority of this name.
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|priority| priority.name() == name)
    }
}

/// A request is young until it has been given this much audio, in samples.
const YOUTH: u64 = 60 * SAMPLE_RATE as u64;

/// For so many samples given to those who are preferred, one is saved for whoever has waited longest.
const SAVED_OF: u64 = 4;

/// The waiting jobs of all open requests.
pub struct FairQueue<J> {
    lanes: BTreeMap<u64, Lane<J>>,
    /// Samples given out since the start: the clock by which waiting is measured.
    served: u64,
    /// Virtual time of each priority's grown requests; only rises.
    virtual_time: [u64; Priority::ALL.len()],
}

/// One request's jobs in order, and what it has had.
struct Lane<J> {
    priority: Priority,
    jobs: VecDeque<Waiting<J>>,
    /// Samples given to it.
    served: u64,
    /// Virtual time at which its next job may start, once it is grown.
    start: u64,
    /// The queue's clock when it was served last, or when its first job came.
    since: u64,
    /// Samples saved for it while others were preferred.
    saved: u64,
}

struct Waiting<J> {
    cost: u64,
    job: J,
}

impl<J> Default for FairQueue<J> {
    fn default() -> Self {
        Self { lanes: BTreeMap::new(), served: 0, virtual_time: Default::default() }
    }
}

impl<J> FairQueue<J> {
    /// Makes room for `request`. Requests are numbered as they come; of equals the smaller number is first.
    pub fn open(&mut self, request: u64, priority: Priority) {
        let lane =
            Lane { priority, jobs: VecDeque::new(), served: 0, start: 0, since: self.served, saved: 0 };
        self.lanes.insert(request, lane);
    }

    /// Adds a job of `cost` samples behind the others of its request. A request that has been closed, or was
    /// never opened, gets its job back.
    ///
    /// # Errors
    /// The job.
    pub fn push(&mut self, request: u64, cost: u64, job: J) -> Result<(), J> {
        let Some(lane) = self.lanes.get_mut(&request) else { return Err(job) };
        if lane.jobs.is_empty() {
            lane.since = self.served;
        }
        // Nothing is free, or a request of empty chunks would be served for ever.
        lane.jobs.push_back(Waiting { cost: cost.max(1), job });
        Ok(())
    }

    /// How many jobs wait.
    pub fn len(&self) -> usize {
        self.lanes.values().map(|lane| lane.jobs.len()).sum()
    }

    /// Whether none waits.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The next job, by the rules above.
    pub fn pop(&mut self) -> Option<J> {
        let waiting = || self.lanes.iter().filter(|(_, lane)| !lane.jobs.is_empty());
        let (&preferred, lane) = waiting().min_by_key(|(id, lane)| self.rank(**id, lane))?;
        let gift = lane.jobs.front()?.cost.div_ceil(SAVED_OF);
        let others = waiting().filter(|(id, _)| **id != preferred);
        let oldest = others.min_by_key(|(id, lane)| (lane.since, **id)).map(|(id, _)| *id);
        if let Some(lane) = oldest.and_then(|oldest| self.lanes.get_mut(&oldest)) {
            let due = lane.jobs.front()?.cost;
            if lane.saved >= due {
                let rest = lane.saved - due;
                return self.take(oldest?, rest);
            }
            lane.saved += gift;
        }
        self.take(preferred, 0)
    }

    /// Takes the waiting jobs of `request` back and forgets it.
    pub fn close(&mut self, request: u64) {
        self.lanes.remove(&request);
    }

    /// Least is first: priority, youth, what it has had, age.
    fn rank(&self, id: u64, lane: &Lane<J>) -> (Reverse<Priority>, bool, u64, u64) {
        let (is_grown, had) =
            if lane.served < YOUTH { (false, lane.served) } else { (true, self.start_of(lane)) };
        (Reverse(lane.priority), is_grown, had, id)
    }

    /// When a grown request may start: one that had nothing to do meanwhile has saved nothing up.
    fn start_of(&self, lane: &Lane<J>) -> u64 {
        lane.start.max(self.virtual_time[lane.priority as usize])
    }

    /// The first job of `request`, which then has so much saved.
    fn take(&mut self, request: u64, saved: u64) -> Option<J> {
        let start = self.start_of(self.lanes.get(&request)?);
        let least = self.least_start(request);
        let lane = self.lanes.get_mut(&request)?;
        let Waiting { cost, job } = lane.jobs.pop_front()?;
        if lane.served >= YOUTH {
            lane.start = start + cost;
            let time = &mut self.virtual_time[lane.priority as usize];
            // A request that came by its age may be ahead of the others; time waits for those.
            *time = (*time).max(least.map_or(start, |least| least.min(start)));
        }
        self.served += cost;
        lane.served += cost;
        lane.since = self.served;
        lane.saved = saved;
        Some(job)
    }

    /// Earliest start among the other grown requests of the same priority that have jobs.
    fn least_start(&self, request: u64) -> Option<u64> {
        let priority = self.lanes.get(&request)?.priority;
        let others = self.lanes.iter().filter(|(id, lane)| {
            **id != request && lane.priority == priority && lane.served >= YOUTH && !lane.jobs.is_empty()
        });
        others.map(|(_, lane)| self.start_of(lane)).min()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const SECOND: u64 = SAMPLE_RATE as u64;

    /// A job that knows whose it is, its number there, and what it costs.
    type Job = (u64, usize, u64);

    /// A queue whose requests have `costs` (in seconds) waiting, numbered from 0.
    fn queue(requests: &[(Priority, &[u64])]) -> FairQueue<Job> {
        let mut queue = FairQueue::default();
        for (request, (priority, costs)) in (0..).zip(requests) {
            queue.open(request, *priority);
            push_all(&mut queue, request, costs);
        }
        queue
    }

    fn push_all(queue: &mut FairQueue<Job>, request: u64, costs: &[u64]) {
        for (number, cost) in costs.iter().enumerate() {
            assert!(queue.push(request, cost * SECOND, (request, number, cost * SECOND)).is_ok());
        }
    }

    fn drain(queue: &mut FairQueue<Job>) -> Vec<Job> {
        std::iter::from_fn(|| queue.pop()).collect()
    }

    fn order(queue: &mut FairQueue<Job>) -> Vec<u64> {
        drain(queue).into_iter().map(|(request, ..)| request).collect()
    }

    #[test]
    fn a_short_clip_goes_before_the_rest_of_a_long_file() {
        let mut queue = queue(&[(Priority::Normal, &[20; 50])]);
        (0..10).for_each(|_| _ = queue.pop());
        queue.open(1, Priority::Normal);
        push_all(&mut queue, 1, &[4, 4, 4]);
        assert_eq!(order(&mut queue)[..4], [1, 1, 1, 0]);
    }

    #[test]
    fn a_second_long_file_has_its_first_minute_soon_and_then_its_share() {
        let mut queue = queue(&[(Priority::Normal, &[10; 400])]);
        (0..100).for_each(|_| _ = queue.pop());
        queue.open(1, Priority::Normal);
        push_all(&mut queue, 1, &[10; 400]);
        let served: Vec<u64> = (0..100).map(|_| queue.pop().unwrap().0).collect();
        assert_eq!(served[..6].iter().sum::<u64>(), 5, "one in five is for the first file: {served:?}");
        let later = served[10..].iter().sum::<u64>();
        assert!((44..=46).contains(&later), "{later} of 90");
    }

    #[test]
    fn high_goes_before_normal_before_low_and_none_is_forgotten() {
        let mut queue =
            queue(&[(Priority::Low, &[10; 20]), (Priority::Normal, &[10; 20]), (Priority::High, &[10; 20])]);
        let order = order(&mut queue);
        assert_eq!(order[..4], [2, 2, 2, 2]);
        let end = |request| order.iter().rposition(|other| *other == request).unwrap();
        assert!(end(2) < end(1) && end(1) < end(0));
        // One fifth is for those who wait, in turn.
        assert_eq!(order[..25].iter().filter(|request| **request == 2).count(), 20);
        assert!(order[..25].contains(&0) && order[..25].contains(&1));
    }

    #[test]
    fn a_closed_request_leaves_nothing_behind_and_takes_nothing() {
        let mut queue = queue(&[(Priority::High, &[5; 3]), (Priority::Low, &[5])]);
        queue.close(0);
        assert_eq!(queue.push(0, 1, (0, 9, 1)), Err((0, 9, 1)));
        assert_eq!(order(&mut queue), [1]);
    }

    #[test]
    fn priorities_are_known_by_their_names() {
        for priority in Priority::ALL {
            assert_eq!(Priority::parse(priority.name()), Some(priority));
        }
        assert_eq!((Priority::parse("urgent"), Priority::parse("")), (None, None));
        assert!(Priority::High > Priority::Normal && Priority::Normal > Priority::Low);
    }

    fn priorities() -> impl Strategy<Value = Priority> {
        prop_oneof![Just(Priority::Low), Just(Priority::Normal), Just(Priority::High)]
    }

    /// Longest chunk in the properties, in seconds.
    const LONGEST: u64 = 30;

    proptest! {
        #[test]
        fn every_job_comes_out_once_and_in_the_order_of_its_request(
            requests in prop::collection::vec((priorities(), prop::collection::vec(0..LONGEST, 0..20)), 0..8),
        ) {
            let requests: Vec<_> = requests.iter().map(|(priority, costs)| (*priority, &costs[..])).collect();
            let jobs = drain(&mut queue(&requests));
            for (request, (_, costs)) in (0..).zip(&requests) {
                let numbers: Vec<_> = jobs.iter().filter(|job| job.0 == request).map(|job| job.1).collect();
                prop_assert_eq!(numbers, (0..costs.len()).collect::<Vec<_>>());
            }
        }

        #[test]
        fn whoever_waits_is_served_after_a_bounded_time_whatever_comes(
            victim in priorities(),
            arrivals in prop::collection::vec((priorities(), 1..LONGEST, 1..4_usize), 100..400),
            crowd in 1..6_usize,
        ) {
            // At any time at most `crowd` others wait; a new one takes the place of each that is done.
            let mut queue = queue(&[(victim, &[LONGEST; 1_000])]);
            let mut left: BTreeMap<u64, usize> = BTreeMap::new();
            let mut arrivals = (1_u64..).zip(arrivals);
            let (mut waited, mut worst) = (0, 0);
            let mut own = 0;
            while own < 1_000 {
                while left.len() < crowd {
                    let Some((id, (priority, cost, count))) = arrivals.next() else { break };
                    queue.open(id, priority);
                    push_all(&mut queue, id, &vec![cost; count]);
                    left.insert(id, count);
                }
                if left.len() < crowd {
                    break;
                }
                let (request, _, cost) = queue.pop().unwrap();
                if request == 0 {
                    (waited, own) = (0, own + 1);
                    continue;
                }
                waited += cost;
                worst = worst.max(waited);
                let count = left.get_mut(&request).unwrap();
                *count -= 1;
                if *count == 0 {
                    left.remove(&request);
                    queue.close(request);
                }
            }
            // Each of those who waited before may be due once, and to save for one chunk takes four times its length.
            let bound = (crowd as u64 + 1) * (SAVED_OF + 2) * LONGEST * SECOND;
            prop_assert!(worst <= bound, "waited for {} s of others", worst / SECOND);
        }

        #[test]
        fn long_files_of_one_priority_get_equal_shares_of_audio(
            chunks in prop::collection::vec(1..=LONGEST, 2..6),
        ) {
            // Each file has chunks of another length.
            let files: Vec<_> = chunks.iter().map(|cost| vec![*cost; 3_000]).collect();
            let requests: Vec<_> = files.iter().map(|costs| (Priority::Normal, &costs[..])).collect();
            let mut queue = queue(&requests);
            let mut had = vec![0; files.len()];
            while had.iter().sum::<u64>() < 2_000 * SECOND {
                let (request, _, cost) = queue.pop().unwrap();
                had[request as usize] += cost;
            }
            let (most, least) = (had.iter().max().unwrap(), had.iter().min().unwrap());
            prop_assert!(most - least <= 3 * LONGEST * SECOND, "{had:?}");
        }

        #[test]
        fn low_priority_keeps_a_fifth_beside_an_endless_rush(cost in 1..=LONGEST, rush in 1..=LONGEST) {
            let mut queue = queue(&[(Priority::Low, &vec![cost; 3_000]), (Priority::High, &vec![rush; 3_000])]);
            let mut had = [0; 2];
            while had.iter().sum::<u64>() < 1_000 * SECOND {
                let (request, _, cost) = queue.pop().unwrap();
                had[request as usize] += cost;
            }
            let share = had[0] as f64 / had.iter().sum::<u64>() as f64;
            prop_assert!((0.15..=0.25).contains(&share), "{share}");
        }
    }
}
