//! The worker's side of AMQP: the headers that it reads and writes, properties as JSON,
//! the one confirmed publisher and the one consumer loop.

pub mod consumer;
pub mod headers;
pub mod properties_json;
pub mod publisher;
