//! The lock by which one of several workers runs a job.

use diesel::{
    QueryableByName,
    sql_types::{Bool, Integer, Text},
};
use diesel_async::RunQueryDsl;

use crate::{Connection, Result};

/// The first number of every job's lock; the second is made of its name.
const LOCKS: i32 = 0x5354_4A4F;

#[derive(QueryableByName)]
struct Had {
    #[diesel(sql_type = Bool)]
    had: bool,
}

/// Takes the lock of a job for this database session; `false` if another has it.
pub async fn take(mut conn: &Connection, job: &str) -> Result<bool> {
    let lock: Had = diesel::sql_query("SELECT pg_try_advisory_lock($1, hashtext($2)) AS had")
        .bind::<Integer, _>(LOCKS)
        .bind::<Text, _>(job)
        .get_result(&mut conn)
        .await?;
    Ok(lock.had)
}

/// Gives it back.
pub async fn release(mut conn: &Connection, job: &str) -> Result<()> {
    diesel::sql_query("SELECT pg_advisory_unlock($1, hashtext($2))")
        .bind::<Integer, _>(LOCKS)
        .bind::<Text, _>(job)
        .execute(&mut conn)
        .await?;
    Ok(())
}
