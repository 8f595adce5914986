//! The lock by which one of several workers runs a job.

use diesel::{
    QueryableByName,
    sql_types::{Bool, Double, Integer, Nullable, Text},
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

/// The session that has the lock of a job.
#[derive(Clone, Copy, Debug, PartialEq, QueryableByName)]
pub struct Holder {
    /// Its process id at the server.
    #[diesel(sql_type = Integer)]
    pub pid: i32,
    /// For how many seconds it has had the lock; `None` where this role may not see it.
    #[diesel(sql_type = Nullable<Double>)]
    pub seconds: Option<f64>,
}

/// Which other session has the lock of a job; `None` where none has it any more.
pub async fn holder(mut conn: &Connection, job: &str) -> Result<Option<Holder>> {
    // Whoever has it asks nothing in that session until it gives the lock back.
    let query = "SELECT l.pid, \
            extract(epoch FROM clock_timestamp() - a.state_change)::float8 AS seconds \
        FROM pg_locks l LEFT JOIN pg_stat_activity a ON a.pid = l.pid \
        WHERE l.locktype = 'advisory' AND l.granted AND l.objsubid = 2 \
            AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database()) \
            AND l.classid::bigint = $1 AND l.objid::bigint = hashtext($2)::bigint & 4294967295 \
        LIMIT 1";
    let holders: Vec<Holder> = diesel::sql_query(query)
        .bind::<Integer, _>(LOCKS)
        .bind::<Text, _>(job)
        .load(&mut conn)
        .await?;
    Ok(holders.into_iter().next())
}
