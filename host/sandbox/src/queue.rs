//! Who is next: a queue per tenant, served in turn. Pure, so that its fairness is tested without threads.

use std::collections::{HashMap, VecDeque};

use portolan_domain::TenantId;

use crate::settings::QueueLimits;

/// The calls that wait, and how many of each tenant run.
#[derive(Debug)]
pub(crate) struct FairQueue<T> {
    limits: QueueLimits,
    running_per_tenant_max: usize,
    tenants: HashMap<TenantId, OfTenant<T>>,
    /// Tenants that have something waiting and may run more; each at most once.
    turn: VecDeque<TenantId>,
    waiting: usize,
}

#[derive(Debug)]
struct OfTenant<T> {
    waiting: VecDeque<T>,
    running: usize,
    in_turn: bool,
}

/// The queue, or the tenant's part of it, has no room.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Full;

impl<T> FairQueue<T> {
    pub(crate) fn new(limits: QueueLimits, threads: usize) -> Self {
        let running_per_tenant_max =
            limits.running_per_tenant_max.unwrap_or(threads.saturating_sub(1)).max(1);
        Self { limits, running_per_tenant_max, tenants: HashMap::new(), turn: VecDeque::new(), waiting: 0 }
    }

    /// Puts a call at the end of its tenant's queue.
    pub(crate) fn push(&mut self, tenant: &TenantId, call: T) -> Result<(), Full> {
        if self.waiting >= self.limits.total_max {
            return Err(Full);
        }
        let of_tenant = match self.tenants.get_mut(tenant) {
            Some(of_tenant) => of_tenant,
            None => self.tenants.entry(tenant.clone()).or_insert_with(|| OfTenant {
                waiting: VecDeque::new(),
                running: 0,
                in_turn: false,
            }),
        };
        if of_tenant.waiting.len() >= self.limits.per_tenant_max {
            return Err(Full);
        }
        of_tenant.waiting.push_back(call);
        self.waiting = self.waiting.saturating_add(1);
        self.take_turn(tenant);
        Ok(())
    }

    /// The next call. Its tenant must be handed to [`Self::finished`] when it has ended.
    pub(crate) fn next(&mut self) -> Option<(TenantId, T)> {
        let tenant = self.turn.pop_front()?;
        let of_tenant = self.tenants.get_mut(&tenant)?;
        of_tenant.in_turn = false;
        let call = of_tenant.waiting.pop_front()?;
        of_tenant.running = of_tenant.running.saturating_add(1);
        self.waiting = self.waiting.saturating_sub(1);
        self.take_turn(&tenant);
        Some((tenant, call))
    }

    /// A call of this tenant has ended. Says whether another may begin because of it.
    pub(crate) fn finished(&mut self, tenant: &TenantId) -> bool {
        let Some(of_tenant) = self.tenants.get_mut(tenant) else { return false };
        of_tenant.running = of_tenant.running.saturating_sub(1);
        if of_tenant.running == 0 && of_tenant.waiting.is_empty() {
            self.tenants.remove(tenant);
            return false;
        }
        self.take_turn(tenant)
    }

    /// Calls that wait.
    pub(crate) const fn waiting(&self) -> usize {
        self.waiting
    }

    /// Forgets everything that waits.
    pub(crate) fn clear(&mut self) {
        self.tenants.clear();
        self.turn.clear();
        self.waiting = 0;
    }

    fn take_turn(&mut self, tenant: &TenantId) -> bool {
        match self.tenants.get_mut(tenant) {
            Some(of_tenant)
                if !of_tenant.in_turn
                    && !of_tenant.waiting.is_empty()
                    && of_tenant.running < self.running_per_tenant_max =>
            {
                of_tenant.in_turn = true;
                self.turn.push_back(tenant.clone());
                true
            }
            _ => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use portolan_domain::Timestamp;

    use super::*;

    fn tenants() -> (TenantId, TenantId) {
        (TenantId::generate(Timestamp::from_millis(1)), TenantId::generate(Timestamp::from_millis(2)))
    }

    fn limits(running: usize) -> QueueLimits {
        QueueLimits { running_per_tenant_max: Some(running), ..QueueLimits::default() }
    }

    #[test]
    fn one_tenants_flood_does_not_delay_anothers_call() {
        let (flood, victim) = tenants();
        let mut queue = FairQueue::new(limits(100), 2);
        for call in 0..1_000 {
            queue.push(&flood, call).unwrap();
        }
        queue.push(&victim, 7_777).unwrap();
        let order: Vec<i32> = std::iter::from_fn(|| queue.next()).map(|(_, call)| call).take(3).collect();
        assert_eq!(order, [0, 7_777, 1]);
    }

    #[test]
    fn a_tenant_whose_calls_never_end_leaves_a_thread_to_the_others() {
        let (looping, victim) = tenants();
        let mut queue = FairQueue::new(QueueLimits::default(), 2);
        queue.push(&looping, 1).unwrap();
        queue.push(&looping, 2).unwrap();
        assert_eq!(queue.next(), Some((looping.clone(), 1)));
        assert_eq!(queue.next(), None, "two threads: one for the looping tenant, one for the others");
        queue.push(&victim, 3).unwrap();
        assert_eq!(queue.next(), Some((victim, 3)));
        assert!(queue.finished(&looping));
        assert_eq!(queue.next(), Some((looping, 2)));
    }

    #[test]
    fn calls_of_a_tenant_keep_their_order() {
        let (tenant, _) = tenants();
        let mut queue = FairQueue::new(limits(100), 2);
        (0..10).for_each(|call| queue.push(&tenant, call).unwrap());
        let order: Vec<i32> = std::iter::from_fn(|| queue.next()).map(|(_, call)| call).collect();
        assert_eq!(order, (0..10).collect::<Vec<_>>());
    }

    #[test]
    fn a_full_queue_turns_away_and_forgets_nothing() {
        let (flood, victim) = tenants();
        let limits = QueueLimits { per_tenant_max: 2, total_max: 3, running_per_tenant_max: None };
        let mut queue = FairQueue::new(limits, 2);
        assert_eq!([1, 2, 3].map(|call| queue.push(&flood, call)), [Ok(()), Ok(()), Err(Full)]);
        assert_eq!([4, 5].map(|call| queue.push(&victim, call)), [Ok(()), Err(Full)]);
        assert_eq!(queue.waiting(), 3);
    }

    #[test]
    fn a_tenant_without_calls_is_not_remembered() {
        let (tenant, _) = tenants();
        let mut queue = FairQueue::new(limits(1), 2);
        queue.push(&tenant, 1).unwrap();
        queue.next().unwrap();
        queue.finished(&tenant);
        assert!(queue.tenants.is_empty() && queue.turn.is_empty());
    }
}
