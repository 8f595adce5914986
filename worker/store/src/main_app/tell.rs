//! Tells the main app of the rows that are written: what it was told before, and the news.

use std::collections::BTreeMap;

use domain::{
    given_back::GivenBack,
    ids::{BookingId, InvoiceId},
    main_app::Target,
    news::{self, BookingNews, HostBefore, News, Refund},
};
use futures_util::try_join;

use super::{host, row::Row};
use crate::{Result, WriteTx, outbox, outbox_refund};

/// What news is compared with.
#[derive(Debug)]
pub(super) struct Before {
    /// What hosts showed, by account.
    hosts: BTreeMap<String, HostBefore>,
    /// What bookings were told of the refunds of their invoices.
    refunds: BTreeMap<(BookingId, InvoiceId), GivenBack>,
}

/// Reads what the news of these rows is compared with. It is sent before the rows are written.
pub(super) async fn before(
    tx: &WriteTx<'_>,
    news: &BTreeMap<BookingId, BookingNews>,
    rows: &[Row<'_>],
) -> Result<Before> {
    let accounts = rows.iter().filter_map(|row| match row {
        Row::Host(host) => Some(host.account.as_str()),
        Row::Insert(_) | Row::Update(_) | Row::Delete(..) | Row::Unchanged(..) => None,
    });
    let accounts: Vec<&str> = accounts.collect();
    let bookings = rows.iter().filter_map(|row| row.booking());
    let refunds = bookings.filter_map(|booking| news.get(&booking)?.refund.as_ref());
    let invoices: Vec<&str> = refunds.map(|refund| refund.invoice.as_str()).collect();
    let (hosts, refunds) = try_join!(
        host::shown(tx, &accounts),
        outbox_refund::load(tx, &invoices),
    )?;
    Ok(Before { hosts, refunds })
}

/// Writes the news of these rows.
pub(super) async fn tell(
    tx: &WriteTx<'_>,
    news: &BTreeMap<BookingId, BookingNews>,
    rows: &[Row<'_>],
    before: &Before,
) -> Result<()> {
    let mut told: Vec<(Target, News)> = Vec::new();
    let mut refunds: Vec<(BookingId, &Refund)> = Vec::new();
    for row in rows {
        if let Row::Host(host) = row {
            let one = news::of_host(before.hosts.get(host.account.as_str()), host);
            told.extend(one.map(|one| (row.target(), one)));
        }
        let booking = row.booking();
        let Some((booking, of_booking)) = booking.and_then(|id| Some((id, news.get(&id)?))) else {
            continue;
        };
        let of_row = of_booking.row.iter();
        told.extend(of_row.map(|one| (row.target(), one.clone())));
        if let Some(refund) = &of_booking.refund {
            let before = before.refunds.get(&(booking, refund.invoice.clone()));
            if let Some(one) = refund.news(before.copied()) {
                told.push((row.target(), one));
                refunds.push((booking, refund));
            }
        }
    }
    let told: Vec<(Target, &News)> = told.iter().map(|(row, one)| (row.clone(), one)).collect();
    try_join!(outbox::add(tx, &told), outbox_refund::write(tx, &refunds),)?;
    Ok(())
}
