//! What this machine can do at best, measured with the least that does the same
//! work.

pub(crate) mod commit;
pub(crate) mod publish;
pub(crate) mod rows;
pub(crate) mod single;
pub(crate) mod sql;
