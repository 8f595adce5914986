//! Why the topology is not as it has to be.

use lapin::ErrorKind;

/// What to do about an exchange that differs. Its queues keep their messages.
const EXCHANGE_REMEDY: &str = "stop ingest and the workers, delete the exchange, whose queues keep \
     what they hold, and start again";
/// What to do about a queue that differs.
const QUEUE_REMEDY: &str = "drain and delete it, or choose another AMQP_PREFIX, and start again";

/// The broker's reply codes that mean something here.
pub(super) mod reply {
    pub(in super::super) const ACCESS_REFUSED: u16 = 403;
    pub(in super::super) const NOT_FOUND: u16 = 404;
    pub(in super::super) const PRECONDITION_FAILED: u16 = 406;
}

/// Why the topology could not be declared.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TopologyError {
    /// Something of that name exists and is different. Waiting does not help.
    #[error(
        "{what} exists on the broker and differs from what is wanted ({wanted}): {reply}; {remedy}"
    )]
    Mismatch {
        /// The exchange or queue, by kind and name.
        what: String,
        /// How it is declared here.
        wanted: String,
        /// The broker's own words, which say what exists.
        reply: String,
        /// What a person has to do.
        remedy: &'static str,
    },
    /// It is not there, and this user may not make it. Whoever may has to come
    /// first.
    #[error("{what} is not there yet, and this broker user may not declare it")]
    Absent {
        /// The exchange or queue, by kind and name.
        what: String,
    },
    /// This user may neither make it nor look at it: whether it is there is not
    /// known.
    #[error(
        "this broker user may neither declare {what} nor look whether it is there: RabbitMQ \
         wants a right of the user on it"
    )]
    Hidden {
        /// The exchange or queue, by kind and name.
        what: String,
    },
    /// The broker went away, or refused for another reason.
    #[error("cannot declare {what}")]
    Broker {
        /// The exchange, queue or binding, by kind and name.
        what: String,
        /// What went wrong.
        source: lapin::Error,
    },
}

impl TopologyError {
    /// Whether only a person can resolve this.
    #[must_use]
    pub fn is_mismatch(&self) -> bool {
        matches!(self, Self::Mismatch { .. })
    }

    /// Whether the broker refused for want of a right.
    pub(super) fn is_refusal(&self) -> bool {
        matches!(self, Self::Broker { source, .. } if is(source, reply::ACCESS_REFUSED))
    }

    /// A declaration of `what`, as `wanted`, failed.
    pub(super) fn of_declaring(source: lapin::Error, what: String, wanted: String) -> Self {
        match source.kind() {
            ErrorKind::ProtocolError(error) if error.get_id() == reply::PRECONDITION_FAILED => {
                let is_exchange = what.starts_with("exchange");
                Self::Mismatch {
                    what,
                    wanted,
                    reply: error.get_message().to_string(),
                    remedy: if is_exchange {
                        EXCHANGE_REMEDY
                    } else {
                        QUEUE_REMEDY
                    },
                }
            }
            _ => Self::Broker { what, source },
        }
    }

    /// A look at `what` failed.
    pub(super) fn of_looking(source: lapin::Error, what: String) -> Self {
        if is(&source, reply::NOT_FOUND) {
            Self::Absent { what }
        } else if is(&source, reply::ACCESS_REFUSED) {
            Self::Hidden { what }
        } else {
            Self::Broker { what, source }
        }
    }
}

/// Whether the broker refused with this code.
fn is(error: &lapin::Error, code: u16) -> bool {
    matches!(error.kind(), ErrorKind::ProtocolError(error) if error.get_id() == code)
}

#[cfg(test)]
mod tests {
    use super::TopologyError;
    use lapin::protocol::{AMQPError, AMQPErrorKind, AMQPHardError, AMQPSoftError};

    #[test]
    fn a_refused_look_does_not_mean_that_something_is_missing() {
        let look = |kind: AMQPErrorKind| {
            let error = AMQPError::new(kind, "the broker's words".into());
            let error = lapin::ErrorKind::ProtocolError(error).into();
            TopologyError::of_looking(error, "queue q".into())
        };
        let refused = look(AMQPSoftError::ACCESSREFUSED.into());
        assert!(
            matches!(refused, TopologyError::Hidden { .. }),
            "{refused:?}"
        );
        assert!(!refused.is_mismatch(), "a right can still be given");
        let missing = look(AMQPSoftError::NOTFOUND.into());
        assert!(
            matches!(missing, TopologyError::Absent { .. }),
            "{missing:?}"
        );
        let away = look(AMQPHardError::CONNECTIONFORCED.into());
        assert!(matches!(away, TopologyError::Broker { .. }), "{away:?}");
    }
}
