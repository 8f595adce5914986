//! How far a host is, in sentences for people.

use chrono::{DateTime, Utc};

use crate::{onboarding::Status, rows::HostRow};

/// The most fields that a sentence names.
const NAMED: usize = 8;

/// Says whether the host may sell and why.
pub fn whether_and_why(host: &HostRow) -> Vec<String> {
    let whether = match host.can_sell {
        true => "The host may sell.",
        false => "The host may not sell.",
    };
    vec![whether.to_owned(), why(host)]
}

/// As [`whether_and_why`], and what is due by when.
pub fn sentences(host: &HostRow) -> Vec<String> {
    let mut said = whether_and_why(host);
    let requirements = &host.requirements;
    said.extend(listed("Overdue", &requirements.past_due));
    // Fields that are overdue are listed as due as well.
    let due: Vec<String> = requirements
        .currently_due
        .iter()
        .filter(|field| !requirements.past_due.contains(field))
        .cloned()
        .collect();
    said.extend(listed("Due now", &due));
    said.extend(listed("Due in future", &host.future_due));
    said.extend(listed("Being checked", &requirements.pending_verification));
    if let Some(deadline) = host.deadline {
        said.push(format!("The deadline is {}.", day(deadline)));
    }
    said
}

fn why(host: &HostRow) -> String {
    let reason = host.requirements.disabled_reason.as_deref();
    let because = |sentence: &str| match reason {
        Some(reason) => format!("{sentence} (Stripe's reason: {reason})."),
        None => format!("{sentence}."),
    };
    match host.status {
        Status::Unknown => {
            "Nothing has been heard of the account since it was connected: it is read from Stripe \
             next."
                .to_owned()
        }
        Status::Disconnected => {
            "The host has cut the connection to the platform, or the account is closed.".to_owned()
        }
        Status::Rejected => because("Stripe has rejected the account"),
        Status::InReview => because("Stripe is checking the account; the host need do nothing"),
        Status::Paused => because("The platform has paused the account"),
        Status::Incomplete => "The host has not finished Stripe's form.".to_owned(),
        Status::Restricted => because("Stripe holds the account back"),
        Status::RestrictedSoon => {
            "Stripe will hold the account back unless the host gives what is due.".to_owned()
        }
        Status::Enabled => match host.can_sell {
            true => "Nothing is due.".to_owned(),
            false => "Nothing is due, but the capability card_payments is not active.".to_owned(),
        },
    }
}

fn listed(what: &str, fields: &[String]) -> Option<String> {
    if fields.is_empty() {
        return None;
    }
    let named = fields[..fields.len().min(NAMED)].join(", ");
    let rest = match fields.len().saturating_sub(NAMED) {
        0 => String::new(),
        rest => format!(" and {rest} more"),
    };
    Some(format!("{what}: {named}{rest}."))
}

fn day(at: DateTime<Utc>) -> String {
    at.format("%Y-%m-%d %H:%M UTC").to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{account::Account, ids::AccountId};

    fn host(status: Status, can_sell: bool) -> HostRow {
        let id = AccountId::from("acct_1".to_owned());
        HostRow {
            status,
            can_sell,
            ..HostRow::new(&id, &Account::default())
        }
    }

    #[test]
    fn every_status_says_whether_and_why() {
        for status in Status::ALL {
            for can_sell in [true, false] {
                let said = sentences(&host(*status, can_sell));
                assert_eq!(said.len(), 2, "{said:?}");
                assert_eq!(said[0].contains("not"), !can_sell);
            }
        }
    }

    #[test]
    fn what_is_due_is_listed_once_and_long_lists_are_cut() {
        let mut host = host(Status::Restricted, false);
        host.requirements.past_due = vec!["tos_acceptance.date".into()];
        host.requirements.currently_due = (0..10).map(|n| format!("field_{n}")).collect();
        host.requirements
            .currently_due
            .push("tos_acceptance.date".into());
        host.requirements.disabled_reason = Some("requirements.past_due".into());
        host.deadline = DateTime::from_timestamp(1_800_000_000, 0);
        let said = sentences(&host);
        assert_eq!(
            said[1],
            "Stripe holds the account back (Stripe's reason: requirements.past_due)."
        );
        assert_eq!(said[2], "Overdue: tos_acceptance.date.");
        assert!(said[3].starts_with("Due now: field_0, "), "{}", said[3]);
        assert!(said[3].ends_with("field_7 and 2 more."), "{}", said[3]);
        assert_eq!(said[4], "The deadline is 2027-01-15 08:00 UTC.");
    }
}
