//! The frames that answer a batch's deliveries. Pure.

/// One frame to the broker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Answer {
    /// Returns the delivery of this tag to the queue.
    Return(u64),
    /// Acks every delivery up to this tag that is not answered yet.
    AckUpTo(u64),
}

/// The answers to a batch, in the order in which they are to be sent: first the tags to
/// return, then one ack for all the rest. Everything before the batch is answered, and
/// so is everything of it that returns, before the ack reaches over it.
pub(super) fn answers(returned: &[u64], acked: &[u64]) -> Vec<Answer> {
    let returned = returned.iter().map(|tag| Answer::Return(*tag));
    let last = acked.iter().max().map(|tag| Answer::AckUpTo(*tag));
    returned.chain(last).collect()
}

#[cfg(test)]
mod tests;
